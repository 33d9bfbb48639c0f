"""The job that checks what was submitted, in the jobs process: one submission after the other, and one vendor after the other.

A run, in order: 1 the submission goes to ``checking``, committed; 2 its addresses are looked at, a few at a time, with no transaction open;
3 in one transaction everything else is read, all of it is stored and judged, and the submission goes on to ``in_lenses``. A process that dies
in between has stored nothing: the next holder of the lease looks again, and one run is kept.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from hilum.infra.context import Context
from hilum.kernel.errors import HilumError, Invalid, NotFound, NotPermitted
from hilum.review import automatic, checking, lane, timekeeping
from hilum.review.models import LOOKS_AT_ONCE, Look, Target

T = TypeVar("T")


class Transactions(Protocol):
    """Runs verbs as the system; ``write`` only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


LookAt = Callable[[Sequence[Target]], list[Look]]


def run_next(tx: Transactions, look_at: LookAt, may_continue: Callable[[], bool] = lambda: True) -> bool:
    """Check the submission whose turn it is; return False if none does, or it was stopped and begins again later."""
    waiting = tx.read(checking.next_to_check)
    if waiting is None:
        return False
    targets = tx.write(partial(checking.begin, submission_id=waiting))
    if targets is None:
        # It was withdrawn at this moment.
        return True
    try:
        looks: list[Look] = []
        for at in range(0, len(targets), LOOKS_AT_ONCE):
            if not may_continue():
                return False
            looks += look_at(targets[at : at + LOOKS_AT_ONCE])
        tx.write(partial(automatic.finish, submission_id=waiting, looks=tuple(looks)))
    except HilumError as error:
        # A database that is away, a lease that was lost: it is tried again.
        if isinstance(error, NotFound | Invalid | NotPermitted):
            tx.write(partial(checking.give_up, submission_id=waiting))
        raise
    except Exception:
        # A fault of this program would come back each time, and keep every later submission waiting.
        tx.write(partial(checking.give_up, submission_id=waiting))
        raise
    return True


def keep_time(tx: Transactions, may_continue: Callable[[], bool] = lambda: True) -> None:
    """Enable what waits in the regulated lane, have checked again whose evidence has expired, enter missed clocks into the ledger, let them climb, and publish figures, in batches."""
    after = ""
    while may_continue():
        after = tx.write(partial(lane.enable_next, after=after))
        if not after:
            break
    for verb in (checking.reopen_next, timekeeping.note_missed, lane.note_late, timekeeping.climb):
        while may_continue() and tx.write(verb):
            pass
    if may_continue():
        tx.write(timekeeping.publish)
