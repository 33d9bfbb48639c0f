"""One read of the audit: judged, read, recorded, and only then returned (C155)."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import NotFound, NotPermitted
from hilum.records.audit import policy, service
from hilum.records.audit.models import Event
from hilum.records.audit.reader_slots import ReaderSlots, SlotLimits

T = TypeVar("T")


class RecordedReads:
    """Runs reads of the audit in one worker, so many at a time. Belongs to its event loop."""

    def __init__(self, uow: UnitOfWork, limits: SlotLimits) -> None:
        self._uow, self._slots = uow, ReaderSlots(limits)

    async def run(
        self, asked: Event, verb: Callable[[Context], tuple[T, Event]], *, actor: Actor, trace: Trace
    ) -> T:
        """Read, record who read what, and only then return the data. ``asked`` is the event recorded for a refusal.

        The event is written in a transaction of its own, because a long search inside a write transaction would block all writers. Raises
        TooManyReads, before anything is read, when the reader or the tenant has too many reads running.
        """

        async def record(event: Event) -> None:
            await self._uow.write(partial(service.record, event=event), actor=actor, trace=trace)

        with self._slots.held(actor), lanes.using(lane_of(actor)):
            try:
                result, event = await self._uow.read(verb, actor=actor, trace=trace)
            # A refused read is evidence too. Other errors say nothing about the reader.
            except (NotFound, NotPermitted) as refusal:
                await record(policy.refused(asked, refusal.code))
                refusal.recorded = True
                raise
            await record(event)
        return result


def lane_of(actor: Actor) -> Lane:
    """Return the lane in which an actor reads the audit."""
    return Lane.AUDIT if actor.kind in {ActorKind.PERSON, ActorKind.MEMBER} else Lane.STAFF_AUDIT
