"""The job that checks certified apps again, batch by batch, in the jobs process.

A batch, in order: 1 read its apps; 2 fetch their addresses, AT_ONCE at a time, with no transaction open; 3 store the findings of each app and advance the round in
one transaction. If the process dies in between, the next holder of the lease checks the remaining apps; no app is stored twice.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from hilum.foundation.infra import logs, nodes
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.errors import HilumError, Unavailable
from hilum.review.recertification import service
from hilum.review.recertification.models import AT_ONCE, Subject
from hilum.review.recertification.service import Use
from hilum.review.submissions.models import Look, Target

T = TypeVar("T")
LookAt = Callable[[Sequence[Target]], list[Look]]
_log = logs.get("revalidation")


class Lease(Protocol):
    """Runs verbs as the system; ``write`` works only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


def run(lease: Lease, look_at: LookAt, use: Use, may_continue: Callable[[], bool]) -> None:
    """Check requested apps, and the rest of this day's round."""
    lease.write(service.begin_round)
    while may_continue():
        batch = _next(lease, use)
        if not batch:
            _end(lease, may_continue)
            return
        looks = _look(batch, look_at, may_continue)
        if looks is None:
            return
        for subject in batch:
            _finish(lease, subject, [looks[each] for each in subject.targets])


def _end(lease: Lease, may_continue: Callable[[], bool]) -> None:
    """End the round, after closing what is open about apps that are no longer certified."""
    after = ""
    while may_continue() and (after := lease.write(partial(service.close_gone, after=after))):
        pass
    if not after:
        lease.write(service.end_round)


def _next(lease: Lease, use: Use) -> list[Subject]:
    """Read the next apps to check; one by one if they cannot be read together, so that one of them does not block the others."""
    try:
        return lease.read(partial(service.next_batch, use=use))
    except Exception as error:
        if _passes(error):
            raise
    named = lease.read(service.next_named)
    try:
        return lease.read(partial(service.next_batch, use=use, limit=1))
    except Exception as error:
        # A bug, or a row that somebody changed: it would fail again every night.
        if named is not None and not _passes(error):
            lease.write(partial(service.skip, subject=named))
        raise


def _passes(error: Exception) -> bool:
    """Check whether an error is temporary: the database is away, or the lease was lost."""
    return isinstance(error, Unavailable) or (
        isinstance(error, HilumError) and error.code == nodes.LEASE_LOST
    )


def _look(
    batch: Sequence[Subject], look_at: LookAt, may_continue: Callable[[], bool]
) -> dict[Target, Look] | None:
    """Fetch each address of a batch once; return None if the process is to stop."""
    targets = dict.fromkeys(each for subject in batch for each in subject.targets)
    seen: dict[Target, Look] = {}
    for some in batched(targets, AT_ONCE):
        if not may_continue():
            return None
        seen |= dict(zip(some, look_at(some), strict=True))
    return seen


def _finish(lease: Lease, subject: Subject, looks: Sequence[Look]) -> None:
    try:
        lease.write(partial(service.finish, subject=subject, looks=looks))
    except Unavailable:
        # The database is away: try the whole batch again.
        raise
    except HilumError as error:
        if error.code == nodes.LEASE_LOST:
            raise
        _log.warning("revalidation.app.skipped", code=error.code)
        lease.write(partial(service.skip, subject=subject))
    except Exception:
        # A bug would fail again every night, and block every later app.
        lease.write(partial(service.skip, subject=subject))
        raise
