"""The job that judges every app's calls of the last hour, a few apps and hospitals in each transaction.

If the process dies halfway, the next run judges everything again; judging is idempotent.
"""

from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppAtTenant, AppId, TenantId
from hilum.operations.monitoring import judging
from hilum.operations.monitoring.judging import NOTHING
from hilum.operations.monitoring.models import BATCH, WINDOW
from hilum.records.audit.models import Served

T = TypeVar("T")


class Lease(Protocol):
    """Runs verbs as the system; ``write`` works only while this process holds the job's lease."""

    def write(self, verb: Callable[[Context], T]) -> T: ...


class Counts(Protocol):
    """The counts of calls (``audit.live.count_decisions``)."""

    def served_recently(
        self, since: datetime, after: tuple[str, str], limit: int
    ) -> dict[tuple[str, str], Served]: ...

    def called_among(self, since: datetime, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]: ...


def run(lease: Lease, counts: Counts, now: datetime, may_continue: Callable[[], bool]) -> None:
    """Judge every app that was called in the last hour, and every other one with an open alert."""
    tally: Counter[str] = Counter()
    since = now - WINDOW
    after: tuple[str, str] = ("", "")
    while may_continue() and (found := counts.served_recently(since, after, BATCH)):
        pairs = {(TenantId(tenant), AppId(app)): served for (tenant, app), served in found.items()}
        tally += lease.write(partial(judging.judge, found=pairs))
        # The last in the database's order, which may differ from Python's.
        *_, after = found
    rest: AppAtTenant | None = TenantId(""), AppId("")
    while rest is not None:
        if not may_continue():
            return
        alerted, rest = lease.write(partial(judging.list_alerted, after=rest))
        called = counts.called_among(since, alerted)
        quiet = [each for each in alerted if each not in called]
        tally += lease.write(partial(judging.judge, found=dict.fromkeys(quiet, NOTHING)))
    lease.write(partial(judging.finish, tally=tally))
