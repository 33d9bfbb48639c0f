"""The job that judges the use of all certified versions, a few apps at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from hilum.infra import lanes
from hilum.infra.context import Context
from hilum.infra.lanes import Lane
from hilum.overuse import service
from hilum.overuse.service import BusyDays, Permits

T = TypeVar("T")


class Lease(Protocol):
    """What the job needs of its lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


class Counts(Protocol):
    """What the job needs of the counts of decisions."""

    @property
    def permits(self) -> Permits: ...

    @property
    def busy_days(self) -> BusyDays: ...


def run(lease: Lease, counts: Counts, may_continue: Callable[[], bool]) -> None:
    """Judge every certified version once. ``may_continue`` is called before each batch; the next run judges the rest."""
    after: Any = ""
    while may_continue():
        apps, found = lease.read(partial(_judged, after=after, counts=counts))
        if not apps:
            return
        lease.write(partial(service.note, of=apps, found=found))
        after = apps[-1]


def _judged(ctx: Context, after: str, counts: Counts) -> Any:
    apps, judged = service.next_to_judge(ctx, after)
    book = service.book_for(ctx)
    with lanes.using(Lane.OWN):
        found = [
            service.judge(
                book, each, service.uses_of(each, counts.permits), service.volumes_of(each, counts.busy_days)
            )
            for each in judged
        ]
    return apps, [each for each in found if each is not None]
