"""The job that checks submissions one by one, in the jobs process; vendors take turns.

A run, in order: 1 commit the state ``checking``; 2 fetch its addresses, a few at a time, with no transaction open;
3 in one transaction everything else is read, all of it is stored and judged, and the submission moves to ``in_review``. A process that dies
in between has stored nothing: the next holder of the lease looks again, and one run is kept.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound, NotPermitted
from hilum.review.submissions import automatic, checking, lane, timekeeping
from hilum.review.submissions.models import LOOKS_AT_ONCE, Look, Target

T = TypeVar("T")


class Transactions(Protocol):
    """Runs verbs as the system; ``write`` works only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


LookAt = Callable[[Sequence[Target]], list[Look]]


def run_next(tx: Transactions, look_at: LookAt, may_continue: Callable[[], bool] = lambda: True) -> bool:
    """Check the next submission; return False if there is none, or if the check was stopped and starts again later."""
    waiting = tx.read(checking.next_to_check)
    if waiting is None:
        return False
    targets = tx.write(partial(checking.begin, submission_id=waiting))
    if targets is None:
        # It was withdrawn at this moment.
        return True
    try:
        looks: list[Look] = []
        for some in batched(targets, LOOKS_AT_ONCE):
            if not may_continue():
                return False
            looks += look_at(some)
        tx.write(partial(automatic.finish, submission_id=waiting, looks=tuple(looks)))
    except HilumError as error:
        # Any other error passes, such as a database that is away or a lost lease: the next run tries again.
        if isinstance(error, NotFound | Invalid | NotPermitted):
            tx.write(partial(checking.give_up, submission_id=waiting))
        raise
    except Exception:
        # A bug would fail again each time, and block every later submission.
        tx.write(partial(checking.give_up, submission_id=waiting))
        raise
    return True


def keep_time(tx: Transactions, may_continue: Callable[[], bool] = lambda: True) -> None:
    """Enable waiting requests of the regulated lane, reopen checks with expired evidence, notify of missed clocks, and publish figures, in batches."""
    after = ""
    while may_continue():
        after = tx.write(partial(lane.enable_next, after=after))
        if not after:
            break
    for verb in (checking.reopen_next, timekeeping.note_missed, lane.note_late):
        while may_continue() and tx.write(verb):
            pass
    if may_continue():
        tx.write(timekeeping.publish)
