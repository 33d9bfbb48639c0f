"""What a verb is handed: its transaction, the time, names to give, and who asks."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection

from hilum.infra.epoch import Pending, View, advance
from hilum.kernel.actor import Actor
from hilum.kernel.ids import Part
from hilum.kernel.ports import Ids

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request comes from. ``source`` is the client's address as the trusted proxies tell it."""

    request_id: str
    source: str = ""
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a service verb may use of the world. ``tx`` is the open transaction; nobody below the edge commits it."""

    tx: Connection
    now: datetime
    ids: Ids
    actor: Actor
    trace: Trace
    writer: str = ""
    view: View | None = None
    margin: timedelta = timedelta(0)
    """How much later than ``now`` another process's time may be at this moment."""
    pending: Pending | None = None
    """Where changes of facts wait for the end of the verb; without it they are counted at once."""

    def advance_epoch(self, part: Part, *keys: str, urgent: bool = False) -> None:
        """Make every process read, with this transaction's commit, what became of ``keys`` among the facts of ``part``.

        The keys are the part's own words (its room's ``facts`` reads them); without any the whole part is read again. ``urgent``:
        it stops something, so other processes are woken rather than left to their next poll.
        """
        if self.view is not None:
            self.view.own.add(part)
        if self.pending is None:
            advance(self.tx, part, keys, now=self.now, urgent=urgent)
        else:
            self.pending.add(part, keys, urgent=urgent)

    def recall(self, part: Part, key: Hashable, read: Callable[["Context"], T | None]) -> T | None:
        """Return what ``read`` gives, from this process's memory while nothing of ``part`` has changed since.

        It is as good as a read: the count that it is compared with is read in this very transaction. ``read`` must give an immutable
        value that depends on nothing but ``key`` and facts of the part, of which every change advances the epoch: not on the time.
        """
        if self.view is None:
            return read(self)
        return self.view.recall(self.tx, part, key, lambda: read(self))

    def as_actor(self, actor: Actor) -> "Self":
        """Act in the same transaction on behalf of another."""
        return replace(self, actor=actor)
