"""What a verb is handed: its transaction, the time, names to give, and who asks."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from hilum.infra.epoch import Part, advance
from hilum.kernel.actor import Actor
from hilum.kernel.ports import Ids

if TYPE_CHECKING:
    from typing import Self


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

    def advance_epoch(self, part: Part) -> None:
        """Tell every process, with this transaction's commit, that facts of ``part`` changed."""
        advance(self.tx, part)

    def as_actor(self, actor: Actor) -> "Self":
        """Act in the same transaction on behalf of another."""
        return replace(self, actor=actor)
