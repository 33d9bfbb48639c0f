"""The job that goes on with departures, in the jobs process: one node at a time, in steps that each commit with how far they came."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from hilum.departures import service
from hilum.infra import logs
from hilum.infra.context import Context

T = TypeVar("T")
_log = logs.get("departures")


class Transactions(Protocol):
    """Runs verbs as the system, only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


def run(tx: Transactions, may_continue: Callable[[], bool]) -> None:
    """Do what is due of every departure. One that fails keeps no other waiting, and is tried again at the next run; the first fault is raised at the end."""
    failed: Exception | None = None
    found = tx.read(service.due)
    while found:
        for each in found:
            try:
                while may_continue() and tx.write(partial(service.next_step, departure_id=each)):
                    pass
            except Exception as error:
                # A lease that was lost, or a process that stops, is no fault of this departure.
                if not may_continue():
                    raise
                _log.exception("departures.step.failed", departure=each)
                failed = failed or error
        found = tx.read(partial(service.due, after=found[-1])) if may_continue() else []
    if failed is not None:
        raise failed
