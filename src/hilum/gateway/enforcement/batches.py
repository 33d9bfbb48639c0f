"""Batches: every entry is a request of its own, decided, counted, executed and recorded as if it had come by itself.

Source: FHIR R4 http.html#transaction
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import groupby
from typing import Any
from urllib.parse import quote

import orjson

from hilum.foundation.infra import logs
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.standards.fhir.requests import METHODS, PLAIN, FhirRequest, Unsupported, parse
from hilum.foundation.standards.fhir.shaping import dump, load
from hilum.gateway.enforcement.models import GatewayRequest
from hilum.gateway.enforcement.records import PATH_RECORDED_BOUND, as_recorded
from hilum.gateway.enforcement.rendering import Headers, RequestOutcome, failure, render
from hilum.gateway.enforcement.service import Enforcer
from hilum.gateway.enforcement.upstream_task import UpstreamTask

ENTRIES_BOUND = 50
READS_AT_ONCE = 4
"""Entries of one batch that run together: a batch takes no more places at a hospital's FHIR server than a browser would."""
ANSWER_BOUND = 16 * 1024 * 1024
"""Bytes of all answers of a batch together, as many as a FHIR server's one answer may have."""
BEGIN_WITHIN_S = 30.0
"""An entry that has not begun by then is refused, so that a batch ends while its client still waits."""
_JSON = "application/fhir+json"
_AS_SENT = "%/?:@!$&'()*+,;=~|"
"""Characters of a URL that are not escaped."""
_CONDITIONS = {
    "ifNoneMatch": "if-none-match",
    "ifMatch": "if-match",
    "ifNoneExist": "if-none-exist",
    "ifModifiedSince": "if-modified-since",
}
_WITH_RESOURCE = frozenset({"POST", "PUT", "PATCH"})
_NO_BATCH = Unsupported("body_malformed", "The body must be a Bundle of type batch.")
_SIZE = Unsupported("batch_size", f"A batch has at least one entry and at most {ENTRIES_BOUND}.")
_URL = Unsupported(
    "url_malformed",
    "The URL of an entry is relative to this FHIR base, such as Patient/123 or Condition?patient=123.",
)
_RESOURCE = Unsupported(
    "body_malformed", "A resource belongs to an entry that creates or updates, and to no other."
)
_TOO_LARGE = Deny(
    Reason.TOO_COSTLY,
    "Nothing was done: the answers before this entry are as large as a batch may be. Send it again in another batch.",
)
_TOO_LATE = Deny(
    Reason.UPSTREAM_UNAVAILABLE,
    "Nothing was done: the entries before this one took too long. Send it again in another batch.",
)
_log = logs.get("gateway")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it would have come by itself. ``path`` is relative to the FHIR base."""

    method: str
    path: bytes
    query: bytes
    request: FhirRequest | Unsupported


def entries_of(batch: FhirRequest, bases: tuple[str, ...]) -> tuple[Entry, ...] | Unsupported:
    """Parse the entries of a batch to a FHIR base with these addresses. What is wrong with one entry alone is its own ``request``."""
    if batch.body is None or (batch.body["resourceType"], batch.body.get("type")) != ("Bundle", "batch"):
        return _NO_BATCH
    # Read again, since a resource must be stored with every digit that was sent.
    listed = load(batch.raw).get("entry")
    if not isinstance(listed, list) or not 1 <= len(listed) <= ENTRIES_BOUND:
        return _SIZE
    found = []
    for number, each in enumerate(listed, 1):
        asked = each.get("request") if isinstance(each, dict) else None
        if not isinstance(asked, dict) or not _has_texts(asked):
            return Unsupported("body_malformed", f"Entry {number} has no request with a method and a URL.")
        found.append(_entry(asked, each.get("resource"), batch.prefer, bases))
    return tuple(found)


def _has_texts(asked: dict[str, Any]) -> bool:
    texts = [asked.get("method"), asked.get("url"), *(asked.get(name, "") for name in _CONDITIONS)]
    return all(isinstance(each, str) for each in texts)


def _entry(asked: dict[str, Any], resource: object, prefer: str, bases: tuple[str, ...]) -> Entry:
    path, _, query = asked["url"].partition("?")
    # Only one is removed: what is left is an address elsewhere, or none at all. Many clients write the slash.
    prefix = next((base for base in (*bases, "/") if path.startswith(base)), "")
    path = path[len(prefix) :]
    # As a client would have sent it: JSON holds characters that no request line does, and the record keeps what was asked for.
    sent = Entry(
        asked["method"], b"/" + quote(path, _AS_SENT).encode(), quote(query, _AS_SENT).encode(), _URL
    )
    if path.startswith("/") or ":" in path:
        return sent
    if (resource is not None) != (sent.method in _WITH_RESOURCE):
        return replace(sent, request=_RESOURCE)
    headers = {name: asked[key] for key, name in _CONDITIONS.items() if key in asked}
    headers |= {"accept": _JSON, "content-type": _JSON, "prefer": prefer}
    body = dump(resource, PLAIN) if isinstance(resource, dict) else b""
    return replace(sent, request=parse(sent.method, sent.path, sent.query, headers, body))


class Batches:
    """Answers the batches of one process."""

    def __init__(self, enforcer: Enforcer, clock: Clock, ids: Ids) -> None:
        self._enforcer, self._clock, self._ids = enforcer, clock, ids

    async def answer(self, incoming: GatewayRequest, entries: Sequence[Entry]) -> RequestOutcome:
        """Answer every entry, in order; no entry's refusal keeps another from being answered."""
        asked = [self._as_request(incoming, each) for each in entries]
        ended: list[tuple[RequestOutcome, UpstreamTask | None]] = []
        began, size = self._clock.monotonic(), 0
        for together in _groups(asked):
            deny = _exhausted(size, self._clock.monotonic() - began)
            ended += await asyncio.gather(*(self._concluded(each, deny) for each in together))
            size += sum(len(answer.body) for answer, _ in ended[-len(together) :])
        await self._still_permitted(ended)
        outcomes = [each for each, _ in ended]
        answers = [render(each, request.request_id) for each, request in zip(outcomes, asked, strict=True)]
        return RequestOutcome(
            200,
            _response(entries, asked, outcomes, answers),
            _retry_after(answers),
            rates=outcomes[-1].rates,
            origins=frozenset().union(*(each.origins for each in outcomes)),
            settles=tuple(settled for each in outcomes for settled in each.settles),
        )

    async def _concluded(
        self, asked: GatewayRequest, deny: Deny | None
    ) -> tuple[RequestOutcome, UpstreamTask | None]:
        """Answer one entry; ``deny``: why it is refused without being judged."""
        try:
            if deny is not None:
                return await self._enforcer.refuse(asked, deny), None
            return await self._enforcer.conclude(asked)
        except Exception as error:  # noqa: BLE001 - an entry's edge: what the others did must not be lost with it
            name, where = type(error).__name__, logs.place_of(error)
            _log.error("gateway.entry.failed", request=asked.request_id, error=name, where=where)
            return failure(asked.request_id), None

    def _as_request(self, incoming: GatewayRequest, entry: Entry) -> GatewayRequest:
        return replace(
            incoming,
            request_id=self._ids.new("req"),
            request=entry.request,
            method=entry.method if entry.method in METHODS else "?",
            path=as_recorded(incoming.path.rstrip("/").encode() + entry.path)[:PATH_RECORDED_BOUND],
            query=as_recorded(entry.query),
            # By it the records of one batch are found.
            correlation_id=incoming.correlation_id or incoming.request_id,
        )

    async def _still_permitted(self, ended: list[tuple[RequestOutcome, UpstreamTask | None]]) -> None:
        """Withhold what is no longer permitted: answers of first entries waited for the last ones.

        Source: security decision 23
        """
        lost = True
        # Withholding waits for the journal, in which time more may be lost.
        while lost:
            lost = False
            for outcome, task in ended:
                if task is not None and outcome.deny is None:
                    lost |= await self._enforcer.withhold_if_lost_since(task, outcome)


def _exhausted(size: int, lasted_s: float) -> Deny | None:
    """Return why no further entry of a batch begins; None while they do."""
    if size > ANSWER_BOUND:
        return _TOO_LARGE
    return _TOO_LATE if lasted_s > BEGIN_WITHIN_S else None


def _groups(asked: Sequence[GatewayRequest]) -> Iterator[list[GatewayRequest]]:
    """Divide requests into those that run together: reads side by side, each write by itself."""
    for is_write, run in groupby(
        asked, key=lambda each: isinstance(each.request, FhirRequest) and each.request.is_write
    ):
        yield from batched(run, 1 if is_write else READS_AT_ONCE)


_Rendered = tuple[list[tuple[bytes, bytes]], bytes]


def _response(
    entries: Sequence[Entry],
    asked: Sequence[GatewayRequest],
    outcomes: Sequence[RequestOutcome],
    answers: Sequence[_Rendered],
) -> bytes:
    """Serialize the answers. Source: FHIR R4 bundle.html#Bundle.entry.response."""
    # Each entry has its own number, under which it can be explained, as its element id (FHIR R4 element.html#id).
    listed = [
        {"id": request.request_id} | _answered(entry, outcome.status, dict(headers), body)
        for entry, request, outcome, (headers, body) in zip(entries, asked, outcomes, answers, strict=True)
    ]
    return orjson.dumps({"resourceType": "Bundle", "type": "batch-response", "entry": listed})


def _answered(entry: Entry, status: int, headers: dict[bytes, bytes], body: bytes) -> dict[str, Any]:
    response: dict[str, Any] = {"status": f"{status} {HTTPStatus(status).phrase}"}
    response |= {
        name: headers[header].decode()
        for name, header in (("location", b"location"), ("etag", b"etag"))
        if header in headers
    }
    if instant := _instant(headers.get(b"last-modified", b"")):
        response["lastModified"] = instant
    if not body or entry.method == "HEAD":
        return {"response": response}
    # The bytes as they would have been sent: what was judged is what leaves.
    shown = orjson.Fragment(body)
    if status >= 400 or _is_asked_for_outcome(entry.request):
        return {"response": response | {"outcome": shown}}
    return {"resource": shown, "response": response}


def _is_asked_for_outcome(request: FhirRequest | Unsupported) -> bool:
    return (
        isinstance(request, FhirRequest) and request.is_write and "return=OperationOutcome" in request.prefer
    )


def _retry_after(answers: Sequence[_Rendered]) -> Headers:
    """Return how long to wait before entries that were refused for now are sent again: the longest of theirs, which a Bundle has no place for."""
    waits = [value for headers, _ in answers for name, value in headers if name == b"retry-after"]
    return ((b"retry-after", max(waits, key=int)),) if waits else ()


def _instant(http_date: bytes) -> str:
    """Return an HTTP date as FHIR writes a time; empty for what is none, since the FHIR server wrote it.

    Source: RFC 9110 section 5.6.7; FHIR R4 datatypes.html#instant
    """
    try:
        return parsedate_to_datetime(http_date.decode()).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return ""
