"""The job that goes on with departures, in the jobs process: one node at a time, in steps that each commit with how far they came."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from hilum.departures import service
from hilum.infra.context import Context

T = TypeVar("T")


class Transactions(Protocol):
    """Runs verbs as the system, only while this process holds the job's lease."""

    def write(self, verb: Callable[[Context], T]) -> T: ...


def run(tx: Transactions, may_continue: Callable[[], bool]) -> None:
    """Do what is due of every departure."""
    while may_continue() and tx.write(service.next_step):
        pass
