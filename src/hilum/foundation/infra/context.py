"""The context of a service verb: its transaction, the time, an id generator and the actor."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self, TypeVar

from sqlalchemy import Connection

from hilum.foundation.infra.epoch import Pending, View, advance
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.events import Event
from hilum.foundation.kernel.ids import Part
from hilum.foundation.kernel.ports import Ids

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trace:
    """The origin of a request. ``source`` is the client's address as reported by the trusted proxies, ``browser`` its family."""

    request_id: str
    source: str = ""
    correlation_id: str = ""
    browser: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """Everything outside its arguments that a service verb may use. ``tx`` is the open transaction; only the unit of work commits it."""

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
    """Collects changes of facts until the verb ends; when None, each advances the epoch at once."""
    events: list[tuple["Context", Event]] | None = None
    """Collects the events of a write, each with who did it; None in a transaction that only reads."""

    def record(self, event: Event) -> None:
        """Have an event recorded in this transaction, after everything else: recording locks the chain of the audit until the commit."""
        assert self.events is not None, "only a write is recorded"
        self.events.append((self, event))

    def advance_epoch(self, part: Part, *keys: str, urgent: bool = False) -> None:
        """Announce a change of ``keys`` in the facts of ``part``: every process reads them again once this transaction commits.

        Keys are defined by the part's module, whose ``facts`` function reads them; without keys the whole part is read again.
        ``urgent``: the change stops something, so other processes are notified instead of waiting for their next poll.
        """
        if self.view is not None:
            # No cached value has this verb's own change, and no other verb may get a value with it
            # before it is committed.
            self.view.own.add(part)
        if self.pending is None:
            advance(self.tx, part, keys, now=self.now, urgent=urgent)
        else:
            self.pending.add(part, keys, urgent=urgent)

    def cached(self, part: Part, key: Hashable, read: Callable[["Context"], T | None]) -> T | None:
        """Return the result of ``read``, from this process's cache when ``part`` has not changed since it was stored.

        Never stale: the cached stamp is compared with the part's stamp as this transaction reads it. ``read`` must return an immutable
        value that depends only on ``key`` and the facts of the part, every change of which advances the epoch; in particular, not on
        the time.
        """
        if self.view is None:
            return read(self)
        return self.view.cached(self.tx, part, key, lambda: read(self))

    def as_actor(self, actor: Actor) -> Self:
        """Return a context for another actor in the same transaction."""
        return replace(self, actor=actor)
