"""The job that judges the use of all certified versions, a few apps at a time."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from hilum.audit.models import ReachedDay
from hilum.infra import lanes
from hilum.infra.context import Context
from hilum.infra.lanes import Lane
from hilum.overuse import service
from hilum.overuse.models import LOOKED_BACK
from hilum.overuse.service import BusyDays, Permits, Reached

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


class KnownDays:
    """Whom services reached on days that are over. A process reads each once, since it does not change any more."""

    def __init__(self, read: Reached) -> None:
        self._read = read
        self._known: dict[tuple[str, date], tuple[ReachedDay, ...]] = {}

    def __call__(
        self, client: str, day: date, hours: Sequence[tuple[datetime, datetime]] | None
    ) -> tuple[ReachedDay, ...]:
        """Return what was read before, or read it. A service's declaration never changes, so neither do its hours on a day."""
        if (client, day) not in self._known:
            oldest = day - LOOKED_BACK - timedelta(days=2)
            self._known = {key: found for key, found in self._known.items() if key[1] > oldest}
            self._known[client, day] = tuple(self._read(client, day, hours))
        return self._known[client, day]


def run(lease: Lease, counts: Counts, reached: Reached, may_continue: Callable[[], bool]) -> None:
    """Judge every certified version once. ``may_continue`` is called before each batch; the next run judges the rest."""
    after: Any = ""
    while may_continue():
        apps, found = lease.read(partial(_judged, after=after, counts=counts, reached=reached))
        if not apps:
            return
        lease.write(partial(service.note, of=apps, found=found))
        after = apps[-1]


def _judged(ctx: Context, after: str, counts: Counts, reached: Reached) -> Any:
    apps, judged = service.next_to_judge(ctx, after)
    book = service.book_for(ctx)
    with lanes.using(Lane.OWN):
        found = [
            service.judge(
                book,
                each,
                service.uses_of(each, counts.permits),
                service.volumes_of(each, counts.busy_days, reached, ctx.now),
            )
            for each in judged
        ]
    return apps, [each for each in found if each is not None]
