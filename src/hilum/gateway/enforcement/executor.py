"""Execution of permitted requests, interaction by interaction."""

from collections.abc import Awaitable

from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.etags import matches_condition
from hilum.foundation.standards.fhir.requests import PLAIN, Interaction
from hilum.foundation.standards.fhir.shaping import dump
from hilum.gateway.enforcement.binaries import Binaries
from hilum.gateway.enforcement.pagelinks import PageLinks
from hilum.gateway.enforcement.rendering import RequestOutcome, absent, version_headers
from hilum.gateway.enforcement.response_filter import UNJUDGEABLE
from hilum.gateway.enforcement.search import Searcher
from hilum.gateway.enforcement.transport import FetchedResource, Transport, loads
from hilum.gateway.enforcement.upstream_task import Refusal, UpstreamTask
from hilum.gateway.enforcement.write import Writer
from hilum.gateway.upstream.live import Upstreams


class Executor:
    """Carries out each interaction at a FHIR server."""

    def __init__(self, upstreams: Upstreams, links: PageLinks) -> None:
        self._transport = Transport(upstreams)
        self._searcher = Searcher(self._transport, links)
        self._binaries = Binaries(self._transport, self._searcher)
        self._writer = Writer(self._transport)

    def execute(self, task: UpstreamTask) -> Awaitable[RequestOutcome]:
        """Execute a permitted request. Raises Refusal."""
        request = task.permit.request
        match request.interaction:
            case Interaction.READ if request.type != "Binary":
                return self._read(task, f"{request.type}/{request.id}")
            case Interaction.READ:
                return self._binaries.read(task)
            case Interaction.VREAD:
                return self._vread(task)
            case Interaction.SEARCH_TYPE:
                return self._searcher.search(task)
            case Interaction.CREATE if request.type == "Binary":
                return self._writer.store(task)
            case Interaction.CREATE:
                return self._writer.create(task)
            case Interaction.UPDATE:
                return self._writer.update(task)
            case Interaction.DELETE:
                return self._writer.delete(task)
        raise Refusal(Deny(Reason.REQUEST_UNSUPPORTED, "This interaction is not supported here."))

    async def _read(self, task: UpstreamTask, name: str) -> RequestOutcome:
        """Return the current version of a record."""
        return _shown(task, await self._transport.judged(task, name))

    async def _vread(self, task: UpstreamTask) -> RequestOutcome:
        """Return a version, if both it and the current version of the record are within reach."""
        request = task.permit.request
        name = f"{request.type}/{request.id}"
        stored = await self._transport.judged(task, f"{name}/_history/{request.version}")
        if stored is None:
            return absent()
        # A label on the current version, or another patient in it, counts for earlier versions too.
        current = await self._transport.judged(task, name)
        return absent() if current is None else _shown(task, stored)


def _shown(task: UpstreamTask, stored: FetchedResource | None) -> RequestOutcome:
    """Build the answer for one record, or the 404. If-None-Match is compared only after the record was judged."""
    if stored is None:
        return absent()
    request = task.permit.request
    headers = version_headers(stored.etag, stored.modified)
    patient, found = task.shown_of(stored.record)
    # A 304 for a record out of reach would confirm its version (ADR 13).
    if request.if_none_match and matches_condition(request.if_none_match, stored.etag):
        return RequestOutcome(304, b"", headers, patient=patient, returned=1 if found else 0, found=found)
    # JSON with a name twice: the last one was judged, and an app's parser may take the first.
    if not stored.has_unique_names:
        raise Refusal(UNJUDGEABLE)
    body = stored.body if request.shape is PLAIN else dump(loads(stored.body), request.shape)
    opened = task.opened((stored.record.resource,))
    returned = 1 if found else 0
    return RequestOutcome(200, body, headers, patient=patient, returned=returned, found=found, opened=opened)
