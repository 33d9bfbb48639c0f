"""Requests to a tenant's FHIR server: sending, fetching, translating addresses, and what is judged on each fetch."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson

from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.fhir.bundles import is_bundle, resources_of
from hilum.foundation.standards.fhir.etags import etag_of
from hilum.foundation.standards.fhir.shaping import has_unique_names, load
from hilum.foundation.standards.fhir.tags import tagged
from hilum.foundation.standards.fhir.traits import RecordTraits, traits_of
from hilum.foundation.standards.fhir.visibility import is_judged_by_targets
from hilum.foundation.standards.smart.scopes import READ, SEARCH
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import EVIDENCE_AT_ONCE, EVIDENCE_BOUND
from hilum.gateway.enforcement.resource_access import NO_EVIDENCE, Evidence, judge_resource
from hilum.gateway.enforcement.response_filter import UNJUDGEABLE, judge_read, wanted_evidence
from hilum.gateway.enforcement.upstream_task import Effect, Refusal, ServerAddresses, TooLarge, UpstreamTask
from hilum.gateway.enforcement.withholding import is_suspect, may_name_server, withhold
from hilum.gateway.upstream import live as upstream
from hilum.gateway.upstream.live import Upstreams
from hilum.gateway.upstream.models import BUSY, CROWDED, SHED, UpstreamRequest, UpstreamResponse
from hilum.gateway.upstream.policy import relocated

T = TypeVar("T")
INLINE_BOUND = 256 * 1024
"""Larger answers are read and judged in a thread, one after the other: the event loop has other hospitals to serve."""
SHED_RETRY_S = 5.0
"""When who was shed may ask again: longer than others, whose requests go first."""
ACCEPT = (("accept", "application/fhir+json"),)
ABSENT = frozenset({404, 410})
_ANSWER_LOST = frozenset({upstream.LOST, upstream.TOO_LARGE})
_TOO_MUCH_EVIDENCE = Deny(
    Reason.TOO_COSTLY, "The results refer to too many records to check; request fewer with _count."
)
_OF_CODE = {
    BUSY: Reason.CONCURRENCY_EXCEEDED,
    CROWDED: Reason.APP_CONCURRENCY_EXCEEDED,
    SHED: Reason.TRAFFIC_SHED,
    upstream.TOO_LARGE: Reason.RESPONSE_UNJUDGEABLE,
    upstream.UNREADABLE: Reason.RESPONSE_UNJUDGEABLE,
}


@dataclass(slots=True)
class FetchedResource:
    """A record as it is shown (``body``) and as it is judged (``record``, whose numbers may have lost digits)."""

    record: RecordTraits
    body: bytes
    etag: str
    modified: str
    withheld: bool = False
    """An address was removed from it, so it is not all that the server stores."""
    has_unique_names: bool = True
    """No name occurs twice in an object of it, so that every parser reads it as it was judged."""


class Transport:
    """Sends the gateway's requests. Raises Refusal if the app's request must end."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._large = ThreadPoolExecutor(1, thread_name_prefix="answers")

    async def work(self, size: int, verb: Callable[[], T]) -> T:
        """Do pure work on an answer of so many bytes: here, or in a thread if it may take long."""
        if size <= INLINE_BOUND:
            return verb()
        return await asyncio.get_running_loop().run_in_executor(self._large, verb)

    async def opened(self, task: UpstreamTask, response: UpstreamResponse) -> Any:
        """Parse an answer that will be shown, as ``opened`` does. Raises Refusal."""
        return await self.work(len(response.body), partial(opened, task, response))

    async def send(self, task: UpstreamTask, outgoing: UpstreamRequest) -> UpstreamResponse:
        """Send a read or search, if the request that needs it is still permitted. Raises Refusal."""
        task.confirm()
        try:
            response = await self._upstreams.send(
                task.addresses.tenant, _named(task, outgoing), task.permit.grant.slot
            )
        except Unavailable as error:
            raise refused_by(error) from error
        return _usable(response)

    async def write(self, task: UpstreamTask, outgoing: UpstreamRequest) -> UpstreamResponse:
        """Send a write; no write leaves in any other way. Raises Refusal.

        Its intent is on record before it leaves, and it is still permitted then. Whatever keeps its outcome from being known is
        reported as such, never as "not done".
        Source: security decisions 20, 23
        """
        intent = await task.intend()
        # The tag by which settling finds the write if its answer is lost.
        if outgoing.body:
            body = await self.work(len(outgoing.body), partial(tagged, outgoing.body, intent.request_id))
            outgoing = replace(outgoing, body=body)
        try:
            response = await self._upstreams.write(
                task.addresses.tenant, _named(task, outgoing), intent, task.permit.grant.slot
            )
        except Unavailable as error:
            # The request left, so it may have been carried out. Only a request that did not leave
            # is called not done.
            if error.code in _ANSWER_LOST:
                raise Refusal(_outcome_unknown(error.detail, intent.request_id)) from error
            task.effect = Effect.NOT_DONE
            raise refused_by(error) from error
        # A server that fails may have stored it before it failed.
        if response.status >= 500 or response.status < 200:
            detail = "The FHIR server failed while it carried out the write."
            raise Refusal(_outcome_unknown(detail, intent.request_id))
        task.effect = Effect.DONE if response.status < 300 else Effect.NOT_DONE
        return _usable(response)

    async def fetch(self, task: UpstreamTask, name: str) -> FetchedResource | None:
        """Fetch a record; None if there is none. Raises Refusal."""
        response = await self.send(task, UpstreamRequest("GET", name, ACCEPT))
        if response.status != 200:
            if _usable(response).status in ABSENT:
                return None
            raise Refusal(UNJUDGEABLE)
        if len(response.body) <= INLINE_BOUND:
            return _fetched(task, name, response)
        return await self.work(len(response.body), partial(_fetched, task, name, response))

    async def evidence(
        self, task: UpstreamTask, records: Iterable[RecordTraits], known: Evidence = NO_EVIDENCE
    ) -> Evidence:
        """Fetch what must be seen to judge records, beside what is known already. Raises Refusal."""
        missing = [name for name in wanted_evidence(records) if name not in known]
        if len(missing) > EVIDENCE_BOUND:
            # Refused in words. Judging by the first of them only would leave records out in silence.
            raise Refusal(_TOO_MUCH_EVIDENCE)
        found = dict(known)
        for names in batched(missing, EVIDENCE_AT_ONCE):
            fetched = await asyncio.gather(*(self.fetch(task, name) for name in names))
            found |= {
                name: None if each is None else each.record for name, each in zip(names, fetched, strict=True)
            }
        return found

    async def judged(self, task: UpstreamTask, name: str) -> FetchedResource | None:
        """Fetch a record and judge it as the requested one; None if there is none. Raises Refusal."""
        stored = await self.fetch(task, name)
        evidence = NO_EVIDENCE
        if is_judged_by_targets(task.permit.request.type):
            evidence = await self._about(task, stored.record.resource if stored else _ABOUT_NOBODY)
        if stored is None:
            equalize_timing(task)
            return None
        if fault := judge_read(task.permit, stored.record, evidence):
            raise Refusal(fault)
        return stored

    async def _about(self, task: UpstreamTask, resource: dict[str, Any]) -> Evidence:
        """Fetch the first target of a record, and the others only if that may be seen, so that a refusal takes as long as an absent record."""
        targets = resource.get("target")
        if not isinstance(targets, list):
            return NO_EVIDENCE
        bases = task.permit.bases
        first = await self.evidence(task, (traits_of({**resource, "target": targets[:1]}, bases),))
        if any(seen is None or not self.reaches(task, seen, READ | SEARCH) for seen in first.values()):
            return first
        return await self.evidence(task, (traits_of(resource, bases),), first)

    def reaches(self, task: UpstreamTask, record: RecordTraits, letters: int = READ) -> bool:
        """Check whether the grant reaches a record by any of these letters."""
        access = task.permit.access
        grants = grant_rules(access, str(record.resource.get("resourceType")), letters)
        return judge_resource(access, record, grants) is None


def _named(task: UpstreamTask, outgoing: UpstreamRequest) -> UpstreamRequest:
    """Pass to a server in this process for whom it is asked: what a sandbox makes fail is bound to a client, launch or run."""
    if not task.addresses.in_process:
        return outgoing
    token = task.token
    return replace(outgoing, asked_by=(token.client, token.launch, token.run))


def _outcome_unknown(detail: str, request_id: str) -> Deny:
    sentence = (
        f"{detail} Whether the write was carried out is not known; its outcome is recorded as unknown and is settled under "
        f"request {request_id}."
    )
    return Deny(Reason.OUTCOME_UNKNOWN, sentence)


def refused_by(error: Unavailable) -> Refusal:
    """Return the Refusal of a request whose FHIR server did not answer."""
    kind = TooLarge if error.code == upstream.TOO_LARGE else Refusal
    wait = SHED_RETRY_S if error.code in {CROWDED, SHED} else 1.0
    if isinstance(error, upstream.RecentlyFailed):
        wait = error.retry_after_s
    return kind(Deny(_OF_CODE.get(error.code, Reason.UPSTREAM_UNAVAILABLE), error.detail), wait)


def _usable(response: UpstreamResponse) -> UpstreamResponse:
    status = response.status
    # These are about the gateway's own credentials and load, not about the app.
    if status in {401, 403, 407, 429} or status >= 500 or status < 200:
        # Of the server's answer nothing else leaves: its error text may hold addresses and names.
        wait = response.headers.get("retry-after", "")
        raise Refusal(
            Deny(Reason.UPSTREAM_UNAVAILABLE, "The FHIR server is unavailable. Try again in a moment."),
            float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 5 else 1.0,
        )
    return response


_ABOUT_NOBODY = {"resourceType": "Provenance", "target": [{"reference": "Patient/-"}]}
_NOBODYS = orjson.dumps(
    {
        "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"},
        "subject": {"reference": "Patient/-"},
        "text": {"status": "generated", "div": "<div>" + "-" * 400 + "</div>"},
    }
)


def equalize_timing(task: UpstreamTask) -> None:
    """Spend the time of judging a record, so that an absent one takes as long as one out of reach.

    Source: security decision 12
    """
    request = task.permit.request
    stored = _read(_NOBODYS, task.addresses, request.type)
    resource = stored.resource | {"resourceType": request.type, "id": request.id}
    etag_of("", resource)
    judge_read(task.permit, traits_of(resource, task.permit.bases))


def localised(addresses: ServerAddresses, body: bytes) -> bytes:
    """Replace the FHIR server's base by the gateway's."""
    try:
        for base in addresses.upstream_bases:
            body = relocated(body, base, addresses.base)
        return body
    except ValueError:
        raise Refusal(UNJUDGEABLE) from None


def _fetched(task: UpstreamTask, name: str, response: UpstreamResponse) -> FetchedResource:
    stored = _read(response.body, task.addresses, name.partition("/")[0])
    etag = etag_of(response.headers.get("etag", ""), stored.resource)
    modified = response.headers.get("last-modified", "")
    record = traits_of(stored.resource, task.permit.bases)
    return FetchedResource(record, stored.body, etag, modified, stored.withheld, stored.has_unique_names)


class _StoredRecord(NamedTuple):
    """What the bytes of a record say, as it is shown and judged."""

    resource: dict[str, Any]
    body: bytes
    withheld: bool
    has_unique_names: bool


def _read(body: bytes, addresses: ServerAddresses, type_: str) -> _StoredRecord:
    """Read a record that was asked for by this type: with the gateway's addresses, and without those that are withheld. Raises Refusal."""
    if may_name_server(body, addresses.grounds):
        body = localised(addresses, body)
    withheld = False
    # Only what may hold an address is walked string by string; that costs several times what the check does.
    if is_suspect(body, addresses.grounds, type_):
        tree = loads(body)
        withheld = withhold(tree, addresses.grounds)
        try:
            body = orjson.dumps(tree)
        except TypeError:  # nested too deep
            raise Refusal(UNJUDGEABLE) from None
    resource = loads(body, orjson.loads)
    if not isinstance(resource, dict):
        raise Refusal(UNJUDGEABLE)
    # What an embedded server stores was written by the platform, each name once.
    is_unique = addresses.in_process or has_unique_names(body, resource)
    return _StoredRecord(resource, body, withheld, is_unique)


def opened(task: UpstreamTask, response: UpstreamResponse) -> Any:
    """Parse an answer that will be shown: with the gateway's addresses, and without those that are withheld."""
    body = response.body
    if may_name_server(body, task.addresses.grounds):
        body = localised(task.addresses, body)
    tree = loads(body)
    if is_suspect(body, task.addresses.grounds, *task.shown_types):
        for each in resources_of(tree) if is_bundle(tree) else (tree,):
            withhold(each, task.addresses.grounds)
    return tree


def outward(task: UpstreamTask) -> bytes:
    """Return the body of a write, with the gateway's base replaced by the FHIR server's."""
    raw, base, foreign = (
        task.permit.request.raw,
        task.addresses.base.encode(),
        task.addresses.upstream_bases[0].encode(),
    )
    return raw if foreign == base or not foreign else raw.replace(base + b"/", foreign + b"/")


def loads(body: bytes, read: Callable[[bytes], Any] = load) -> Any:
    try:
        return read(body)
    except ValueError:
        raise Refusal(UNJUDGEABLE) from None
