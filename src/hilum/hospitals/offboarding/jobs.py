"""The job that continues offboardings, in the jobs process of one node, in steps that commit with their progress."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from hilum.foundation.infra import logs
from hilum.foundation.infra.context import Context
from hilum.hospitals.offboarding import service

T = TypeVar("T")
_log = logs.get("offboardings")


class Transactions(Protocol):
    """Runs verbs as the system, only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


def run(tx: Transactions, may_continue: Callable[[], bool]) -> None:
    """Do the due steps of every offboarding. A failing one does not block the others and is retried in the next run; the first error is raised at the end."""
    failed: Exception | None = None
    found = tx.read(service.due)
    while found:
        for each in found:
            try:
                while may_continue() and tx.write(partial(service.next_step, offboarding_id=each)):
                    pass
            except Exception as error:
                # A lost lease or a stopping process is no failure of this offboarding.
                if not may_continue():
                    raise
                _log.exception("offboardings.step.failed", offboarding=each)
                failed = failed or error
        found = tx.read(partial(service.due, after=found[-1])) if may_continue() else []
    if failed is not None:
        raise failed
