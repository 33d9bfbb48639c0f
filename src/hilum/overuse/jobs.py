"""The job that judges the use of all certified versions, some apps at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from hilum.infra import lanes
from hilum.infra.context import Context
from hilum.infra.lanes import Lane
from hilum.overuse import service
from hilum.overuse.service import Permits

T = TypeVar("T")


class Lease(Protocol):
    """What the job needs of its lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


def run(lease: Lease, permits: Permits, may_continue: Callable[[], bool]) -> None:
    """Judge every certified version once. ``may_continue`` is called before each batch; what a run leaves, the next one judges."""
    after: Any = ""
    while may_continue():
        apps, found = lease.read(partial(_judged, after=after, permits=permits))
        if not apps:
            return
        lease.write(partial(service.note, of=apps, found=found))
        after = apps[-1]


def _judged(ctx: Context, after: str, permits: Permits) -> Any:
    apps, judged = service.next_to_judge(ctx, after)
    book = service.book_for(ctx)
    with lanes.using(Lane.OWN):
        found = [service.judge(book, each, service.uses_of(each, permits)) for each in judged]
    return apps, [each for each in found if each is not None]
