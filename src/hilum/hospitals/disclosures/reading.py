"""Run one read of a history: judged, read, recorded, and only then returned."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.web.kit import Kit
from hilum.hospitals.disclosures import service
from hilum.hospitals.disclosures.models import HistoryPage, HistoryQuery
from hilum.hospitals.disclosures.service import Reader
from hilum.records.audit import policy as audit_policy
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

Held = Callable[[Actor], AbstractContextManager[None]]
"""Holds one of the slots for disclosures, or raises TooManyReads."""
Verb = Callable[[Context, HistoryQuery, Reader], HistoryPage]


class Disclosures:
    """Reads disclosures for the page and the API of one worker. Belongs to its event loop."""

    def __init__(self, kit: Kit, reader: Reader, held: Held) -> None:
        self._kit, self._reader, self._held = kit, reader, held

    async def read(self, verb: Verb, query: HistoryQuery, *, actor: Actor, trace: Trace) -> HistoryPage:
        """Read a history with one of the service's verbs. Raises NotPermitted, Invalid (cursor), TooManyReads."""
        event = partial(service.read_event, actor.tenant or "", actor.id, query)

        async def record(recorded: Event) -> None:
            await self._kit.uow.write(partial(audit.record, event=recorded), actor=actor, trace=trace)

        with self._held(actor), lanes.using(Lane.AUDIT):
            try:
                page = await self._kit.uow.read(
                    lambda ctx: verb(ctx, query, self._reader), actor=actor, trace=trace
                )
            except NotPermitted as refusal:
                # Somebody asked for the history of a record that is not theirs: evidence, and the refusal commits.
                await record(audit_policy.refused(event(), refusal.code))
                raise
            # Before anything is returned (C155).
            await record(event(len(page.entries)))
        return page
