"""The job that judges the use of all certified versions, a few apps at a time."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.records.audit.models import ReachedDay
from hilum.review.undeclared_use import policy, service
from hilum.review.undeclared_use.models import LOOKED_BACK
from hilum.review.undeclared_use.service import BusyDays, Permits, Reached

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
    """Whom services reached on past days. A process reads each once, since it no longer changes.

    ``is_indexed``: whether what was recorded until now is in the index (``audit.live.is_indexed``).
    """

    def __init__(self, read: Reached, is_indexed: Callable[[], bool]) -> None:
        self._read, self.is_indexed = read, is_indexed
        self._known: dict[tuple[str, date], tuple[ReachedDay, ...]] = {}
        self._newest = date.min

    def __call__(
        self, client: str, day: date, hours: Sequence[tuple[datetime, datetime]] | None
    ) -> tuple[ReachedDay, ...]:
        """Return what was read before, or read it. A service's declaration never changes, so neither do its hours on a day."""
        if day > self._newest:
            # Once a day, and not for each of the days of each service.
            self._newest, oldest = day, day - LOOKED_BACK - timedelta(days=2)
            self._known = {key: found for key, found in self._known.items() if key[1] > oldest}
        if (client, day) not in self._known:
            self._known[client, day] = tuple(self._read(client, day, hours))
        return self._known[client, day]


def run(lease: Lease, counts: Counts, reached: KnownDays, may_continue: Callable[[], bool]) -> None:
    """Judge every certified version once. ``may_continue`` is called before each batch; the next run judges the rest.

    While the index is behind, as after a restore, the apps of which patients or hours are judged wait for the next run.
    """
    indexed = reached.is_indexed()
    after: Any = ""
    while may_continue():
        last, apps, found = lease.read(
            partial(_judged, after=after, counts=counts, reached=reached if indexed else None)
        )
        if not last:
            return
        lease.write(partial(service.note, of=apps, found=found))
        after = last


def _judged(ctx: Context, after: str, counts: Counts, reached: Reached | None) -> Any:
    """Return the last of the next apps, those that can be judged now, and what was found of these. ``reached`` None: it is not all indexed."""
    every, judged = service.next_to_judge(ctx, after)
    # Judged by a part of its days, an open review would be closed, and nothing would be found until a process starts again.
    waiting = set() if reached else {each.app.id for each in judged if policy.needs_reached(each)}
    apps, judged = (
        [each for each in every if each not in waiting],
        [each for each in judged if each.app.id not in waiting],
    )
    book = service.book_for(ctx)
    with lanes.using(Lane.OWN):
        found = [
            service.judge(
                book,
                each,
                service.uses_of(each, counts.permits),
                service.volumes_of(each, counts.busy_days, reached or _nothing, ctx.now),
            )
            for each in judged
        ]
    return every[-1] if every else "", apps, [each for each in found if each is not None]


def _nothing(*_: object) -> tuple[ReachedDay, ...]:
    """Stand for what is not read, as no version that is judged needs it."""
    return ()
