"""How the gateway answers: one table from reasons to status, issue code and headers. Pure.

Source: contract, Errors; FHIR R4 http.html#Status-Codes; RFC 6750 section 3; RFC 9110 section 10.2.3
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import orjson

from hilum.controls.switches.models import QuotaResult
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.outcomes import IssueCode, outcome
from hilum.foundation.standards.fhir.requests import FhirRequest, Unsupported

FHIR_JSON = b"application/fhir+json"
REASONS = "urn:hilum:refusal-reason"
NOT_FOUND_SENTENCE = "There is no such record within reach of this access token."
VERSIONS_KEPT = 4_000
"""Versions of records whose headers are kept."""
RATES_KEPT = 4_000
"""States of quotas whose headers are kept."""
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
_LEAVES_OPEN = frozenset({Reason.OUTCOME_UNKNOWN, Reason.WRITE_DONE_ANSWER_WITHHELD})
"""After these an identical create is a repetition; the app is referred to the first one once it may know where that is stored."""
Headers = tuple[tuple[bytes, bytes], ...]
_ALWAYS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass(frozen=True, slots=True)
class _Row:
    status: int
    code: IssueCode
    challenge: str = ""
    retry: bool = False


# RFC 6750 section 3.1: the client should get a new token. Everything that ends a token or its
# person has this answer.
_TOKEN = _Row(401, IssueCode.LOGIN, 'Bearer error="invalid_token"')
_NO = _Row(403, IssueCode.FORBIDDEN)
_ABSENT = _Row(404, IssueCode.NOT_FOUND)
_LATER = _Row(503, IssueCode.TRANSIENT, retry=True)
_SLOWER = _Row(429, IssueCode.THROTTLED, retry=True)

RENDERING: Mapping[Reason, _Row] = MappingProxyType(
    {
        Reason.TOKEN_MISSING: _Row(401, IssueCode.LOGIN, "Bearer"),
        Reason.REQUEST_UNSUPPORTED: _Row(400, IssueCode.NOT_SUPPORTED),
        Reason.SNAPSHOT_STALE: _LATER,
        Reason.TOKEN_INVALID: _TOKEN,
        Reason.PROOF_INVALID: _TOKEN,
        Reason.TOKEN_REVOKED: _TOKEN,
        Reason.APP_SUSPENDED: _NO,
        Reason.SWITCH_ENGAGED: _NO,
        Reason.TENANT_MISMATCH: _TOKEN,
        Reason.APP_NOT_CERTIFIED: _NO,
        Reason.APP_NOT_INSTALLED: _NO,
        Reason.FACILITY_NOT_ALLOWED: _NO,
        Reason.PERSON_INACTIVE: _TOKEN,
        Reason.ROLE_NOT_ALLOWED: _NO,
        Reason.AGREEMENT_MISSING: _NO,
        Reason.APPROVER_MISSING: _NO,
        Reason.NETWORK_NOT_ALLOWED: _NO,
        Reason.WORKFLOW_NOT_APPROVED: _NO,
        Reason.SCOPE_RETIRED: _NO,
        Reason.SCOPE_INSUFFICIENT: _Row(403, IssueCode.FORBIDDEN, 'Bearer error="insufficient_scope"'),
        Reason.LAUNCH_ENDED: _TOKEN,
        Reason.CONTEXT_MOVED: _NO,
        Reason.OUTSIDE_LAUNCH_CONTEXT: _ABSENT,
        Reason.AUTHORIZATION_EXPIRED: _TOKEN,
        Reason.ONE_TIME_OVER: _TOKEN,
        Reason.STUDY_ENDED: _TOKEN,
        Reason.FIXED_END_REACHED: _TOKEN,
        Reason.AUTHORIZATION_IDLE: _TOKEN,
        Reason.AUTHORIZATION_DORMANT: _TOKEN,
        Reason.REFRESH_TOKEN_OLD: _TOKEN,
        Reason.ABSOLUTE_LIMIT_REACHED: _TOKEN,
        Reason.LABEL_WITHHELD: _ABSENT,
        Reason.TOO_COSTLY: _Row(403, IssueCode.TOO_COSTLY),
        Reason.RESOURCE_TOO_LARGE: _Row(413, IssueCode.TOO_LONG),
        Reason.QUOTA_EXCEEDED: _SLOWER,
        Reason.APP_CONCURRENCY_EXCEEDED: _SLOWER,
        Reason.CONCURRENCY_EXCEEDED: _SLOWER,
        Reason.TRAFFIC_SHED: _SLOWER,
        Reason.WRITE_REPEATED: _Row(409, IssueCode.DUPLICATE, retry=True),
        Reason.UPSTREAM_UNAVAILABLE: _LATER,
        Reason.RESPONSE_UNJUDGEABLE: _Row(502, IssueCode.EXCEPTION),
        Reason.AUDIT_UNAVAILABLE: _LATER,
        Reason.OUTCOME_UNKNOWN: _LATER,
        # Neither 401 nor 503, whatever took the grant away: clients send the same again after those.
        Reason.WRITE_DONE_ANSWER_WITHHELD: _Row(403, IssueCode.SUPPRESSED),
    }
)


UNSUPPORTED_STATUS: Mapping[str, int] = MappingProxyType(
    {
        "path_unknown": 404,
        "type_unknown": 404,
        "method_unknown": 405,
        "method_not_allowed": 405,
        "format_unsupported": 406,
        "body_too_large": 413,
        "path_too_long": 414,
        "query_too_long": 414,
        "content_type_unsupported": 415,
    }
)
"""Statuses of unsupported requests by their code, where HTTP has a better one than 400. Source: FHIR R4 http.html#Status-Codes."""


@dataclass(slots=True)
class RequestOutcome:
    """How a request ended: what is recorded of it and what is answered, from the executor to the edge.

    ``deny``: why it was refused; ``retry_after_s`` when it may be sent again. Without one ``status``, ``headers`` and ``body`` are those of the
    answer, and a 404 is an absent record. For the audit: ``removed`` counts what was filtered out, ``patient`` is whose record it shows,
    ``found`` whose it shows if those are several, ``returned`` how many records a search's answer has, ``opened`` how many of the shown
    records an emergency access opened, ``resource`` is where a write stored what it was sent, relative to the base. ``rates`` and
    ``origins``: what is left of the app's quota, with the end of a scope that is announced, and the web origins whose scripts may read the
    answer. ``settles``: the request ids of the writes whose outcomes this answer says; ``Enforcer.answered`` is called with each once it
    was sent.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    media: bytes = FHIR_JSON
    deny: Deny | None = None
    retry_after_s: float = 1.0
    patient: str = ""
    removed: int = 0
    returned: int = 0
    found: str = ""
    opened: int = 0
    resource: str = ""
    rates: Headers = ()
    origins: frozenset[str] = frozenset()
    settles: tuple[str, ...] = ()

    def refuse(self, deny: Deny, *, retry_after_s: float = 1.0, headers: Headers = ()) -> None:
        """Make it a refusal: nothing of the answer is left, and what was found out for its record stays."""
        self.status, self.deny, self.retry_after_s = RENDERING[deny.reason].status, deny, retry_after_s
        self.body, self.headers, self.media = b"", headers, FHIR_JSON

    @property
    def is_definite(self) -> bool:
        """Whether the answer states what became of a write and where it is stored."""
        return self.deny is None or self.deny.reason not in _LEAVES_OPEN


def refused(deny: Deny, request: FhirRequest | Unsupported | None = None) -> RequestOutcome:
    """Return the outcome of a request that is refused; of an unsupported one with its status and the methods that its URL has."""
    refusal = RequestOutcome(RENDERING[deny.reason].status, deny=deny)
    if deny.reason is not Reason.REQUEST_UNSUPPORTED or not isinstance(request, Unsupported):
        return refusal
    refusal.status = UNSUPPORTED_STATUS.get(request.code, refusal.status)
    if request.allowed:
        # Every URL that can be read answers HEAD too (RFC 9110 sections 9.3.2, 10.2.1).
        allowed = [("GET, HEAD" if each == "GET" else each) for each in request.allowed if each != "HEAD"]
        refusal.headers = ((b"allow", ", ".join(allowed).encode()),)
    return refusal


def absent() -> RequestOutcome:
    """Return the outcome of a request for a record that is not there."""
    return RequestOutcome(404)


def failure(request_id: str) -> RequestOutcome:
    """Return the outcome of a fault of this program, which discloses nothing."""
    return RequestOutcome(
        500,
        orjson.dumps(outcome(IssueCode.EXCEPTION, "Something failed on our side.", decision=request_id)),
    )


def render(ended: RequestOutcome, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and the body of an answer.

    A record that is absent, out of reach or withheld looks the same, except for the decision's id; only the audit record has the reason.
    """
    headers, body = [*_ALWAYS, *ended.headers], ended.body
    row = None if ended.deny is None else RENDERING[ended.deny.reason]
    if row is _ABSENT or (row is None and ended.status == 404):
        body = orjson.dumps(outcome(IssueCode.NOT_FOUND, NOT_FOUND_SENTENCE, decision=request_id))
    elif row is not None and ended.deny is not None:
        details = REASONS, str(ended.deny.reason)
        body = orjson.dumps(outcome(row.code, ended.deny.detail, details=details, decision=request_id))
        if row.challenge:
            headers.append((b"www-authenticate", row.challenge.encode()))
        if row.retry:
            headers.append((b"retry-after", str(max(1, math.ceil(ended.retry_after_s))).encode()))
    if body:
        headers.append((b"content-type", ended.media))
    if ended.status not in {204, 304}:
        headers.append((b"content-length", b"%d" % len(body)))
    return headers, body


@lru_cache(maxsize=VERSIONS_KEPT)
def version_headers(etag: str, modified: str, location: str = "") -> Headers:
    """Return the headers with the version of an answer, its time and its place; a time that is no HTTP date is left out.

    Source: FHIR R4 http.html#versions; RFC 9110 section 5.6.7
    """
    dated = modified if _HTTP_DATE.fullmatch(modified) else ""
    headers = ((b"etag", etag), (b"last-modified", dated), (b"location", location))
    return tuple((name, v.encode()) for name, v in headers if v and v.isascii() and v.isprintable())


def rate_headers(spent: QuotaResult) -> Headers:
    """Return the headers with the rest of an app's quota."""
    return _rate_headers(spent.limit, spent.remaining, math.ceil(spent.retry_after_s))


@lru_cache(maxsize=RATES_KEPT)
def _rate_headers(limit: int, remaining: int, reset: int) -> Headers:
    return (
        (b"ratelimit-limit", b"%d" % limit),
        (b"ratelimit-remaining", b"%d" % remaining),
        (b"ratelimit-reset", b"%d" % reset),
    )


def as_headers(named: Mapping[str, str]) -> Headers:
    """Return headers as they are sent."""
    return tuple((name.lower().encode(), value.encode()) for name, value in named.items())
