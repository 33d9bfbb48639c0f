"""The job that executes dry runs, in the jobs process: one at a time, in bounded steps that another node can repeat.

A run, in order:

1. Delete what an interrupted attempt left.
2. Read the policies and the live clients, and record against which application the run compares.
3. Find the clients that the version alters, each distinct one judged once.
4. Read their agreements and launches, count those that would end or be refused, and list what lapses of what two people allowed or by findings.
5. For every APPS_AT_ONCE of their apps, read installations and counted decisions, judge, and store the rows.
6. Store the rows of the hospitals, and the result.
7. If the version is in force and observes something, notify the owners of the apps.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from hilum.apps.agreements import service as agreements
from hilum.foundation.infra import lanes
from hilum.foundation.infra.collector import uncollected
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.operations.dry_runs import observing, service
from hilum.operations.dry_runs.models import (
    APPS_AT_ONCE,
    CALLS_OF_A_CLIENT,
    CALLS_OF_A_RUN,
    Calls,
    Pack,
    Places,
)
from hilum.operations.dry_runs.quotas import ReadCalls
from hilum.operations.dry_runs.replay import Replay
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import DryRun
from hilum.records.audit.models import DecisionCount, DecisionShape, RecordedCalls

T = TypeVar("T")
JUDGED_FROM, JUDGED_UNTIL = 5, 95
"""The progress of a run, in percent, when judging begins and ends."""
_UNREADABLE = frozenset({"policy_not_as_signed", "policy_newer", "policy_unreadable"})
"""Errors of a policy that no retry fixes."""


class Transactions(Protocol):
    """Runs verbs as the system; ``write`` works only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


class Decisions(Protocol):
    """The counted decisions of the installation (``audit.live.count_decisions``)."""

    def about(
        self, clients: Collection[str], since: datetime, matters: Callable[[DecisionShape], bool]
    ) -> list[DecisionCount]: ...

    def total(self, since: datetime) -> int: ...


def run_next(
    tx: Transactions,
    count_decisions: Callable[[], Decisions],
    open_calls: Callable[[], ReadCalls | None],
    may_continue: Callable[[], bool] = lambda: True,
) -> DryRun | None:
    """Execute the oldest waiting dry run, and return it; None if there is none, or if it was stopped and starts again later.

    ``open_calls`` returns a reader of recorded calls; None if the record is not complete yet.
    """
    run = tx.read(policies.next_dry_run)
    if run is None:
        return None
    try:
        decisions = count_decisions()
        with uncollected():
            done = _run(tx, run, decisions, open_calls, may_continue)
    except HilumError as error:
        # Retry temporary faults: the database is away, or the lease was lost.
        if not isinstance(error, NotFound | Invalid | NotPermitted) and error.code not in _UNREADABLE:
            raise
        tx.write(partial(policies.fail_dry_run, run=run, fault=error.code))
        return None
    except Exception:
        # A bug would fail again each time, and block every later run.
        tx.write(partial(policies.fail_dry_run, run=run, fault="internal_error"))
        raise
    if done is not None:
        _notify(tx, done, may_continue)
    return done


def _notify(tx: Transactions, done: DryRun, may_continue: Callable[[], bool]) -> None:
    # Apart from the run, which is done whether or not its mails are.
    after = "0"
    while after and may_continue():
        after = tx.write(partial(observing.notify, run=done, after=after))


def _run(
    tx: Transactions,
    run: DryRun,
    decisions: Decisions,
    open_calls: Callable[[], ReadCalls | None],
    may_continue: Callable[[], bool],
) -> DryRun | None:
    _until_none(tx, partial(service.delete_rows_of, run=run))
    start = _read(tx, partial(service.read_start, run=run))
    run = tx.write(partial(policies.begin_dry_run, run=run, since=start.since, after=start.versions.last))
    replay = Replay(start)
    replay.agreements = _read(tx, partial(service.read_agreements, of=replay.clients_with_other_scopes()))
    _read(tx, partial(service.count_ends, replay=replay))
    # Each is read once, and only if the version may refuse anything because of it.
    replay.launched = _read(tx, partial(service.read_launches, of=replay.clients_with_other_launches()))
    replay.between = _read(tx, partial(agreements.kinds_of_vendors, vendors=replay.vendors_asked_for_more()))
    replay.unproved = _read(tx, partial(service.read_unproved, apps=replay.asked_for_proofs()))
    climbs = _read(tx, partial(service.read_climbs, book=replay.start.candidate))
    _store(tx, run, replay.packed(replay.everywhere(climbs)), JUDGED_FROM)
    limited = len(replay.clients_with_other_quotas())
    calls, most = open_calls() if limited else None, CALLS_OF_A_RUN // max(1, limited)
    read_calls = (
        None if calls is None else partial(calls, since=start.since, most=min(most, CALLS_OF_A_CLIENT))
    )
    read_some = partial(_read_some, tx, decisions, read_calls, start.since)
    with ThreadPoolExecutor(2, thread_name_prefix="dry-run") as pool:
        stored: Future[None] | None = None
        for found in _read_ahead(pool, read_some, replay):
            packs = replay.packed(replay.judge(found.apps, found.places, found.decisions, found.calls))
            # One part at a time, and none while the lease is looked at, which is not for two threads.
            if stored is not None:
                stored.result()
            if not may_continue():
                return None
            percent = JUDGED_FROM + found.percent * (JUDGED_UNTIL - JUDGED_FROM) // 100
            stored = pool.submit(_store, tx, run, packs, percent)
        if stored is not None:
            stored.result()
    _store(tx, run, replay.packed(replay.hospitals()), JUDGED_UNTIL)
    finish = partial(
        policies.finish_dry_run,
        run=run,
        digest=replay.digest(),
        decisions=decisions.total(start.since),
        counts=replay.counts(),
    )
    done = tx.write(finish)
    _until_none(tx, service.delete_old_rows)
    return done


@dataclass(frozen=True, slots=True)
class _Asked:
    """A batch of affected apps, and what to read about them.

    ``limited``: those of their clients for which another quota would hold. ``matters``: which shapes of decisions are read.
    """

    apps: Sequence[AppId]
    clients: Collection[ClientId]
    matters: Callable[[DecisionShape], bool]
    limited: Mapping[ClientId, AppId]
    percent: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What was read about a batch of apps. ``percent``: the progress before it."""

    apps: Sequence[AppId]
    percent: int
    places: Places
    decisions: list[DecisionCount]
    calls: Calls


def _read_ahead(pool: Executor, read: Callable[[_Asked], _Found], replay: Replay) -> Iterator[_Found]:
    """Yield what was read, batch by batch, and read the next batch meanwhile: the database works while this process judges."""
    ahead: Future[_Found] | None = None
    # Computed here, since the replay is not thread-safe.
    for asked in _asked(replay):
        ready, ahead = ahead, pool.submit(read, asked)
        if ready is not None:
            yield ready.result()
    if ahead is not None:
        yield ahead.result()


def _asked(replay: Replay) -> Iterator[_Asked]:
    apps = replay.apps()
    for at in range(0, len(apps), APPS_AT_ONCE):
        some = apps[at : at + APPS_AT_ONCE]
        clients, limited = replay.clients_with_other_scopes(some), replay.clients_with_other_quotas(some)
        yield _Asked(some, clients, replay.matters(some), limited, 100 * at // len(apps))


def _read_some(
    tx: Transactions,
    decisions: Decisions,
    read_calls: Callable[[ClientId, Collection[TenantId]], RecordedCalls] | None,
    since: datetime,
    asked: _Asked,
) -> _Found:
    places = _read(tx, partial(service.read_installations, apps=asked.apps))
    calls: Calls = {}
    if read_calls is not None:
        calls = {client: read_calls(client, places.get(app, {})) for client, app in asked.limited.items()}
    return _Found(
        asked.apps, asked.percent, places, decisions.about(asked.clients, since, asked.matters), calls
    )


def ask_due(tx: Transactions) -> None:
    """Request a dry run of the versions in force that observe something, once a day: its result is the count of the observation."""
    for version in tx.read(observing.due):
        tx.write(partial(policies.ask_dry_run, version=version))


def _read(tx: Transactions, verb: Callable[[Context], T]) -> T:
    # Without a time limit: a million installations take seconds, and nobody waits for them here.
    with lanes.using(Lane.LONG):
        return tx.read(verb)


def _store(tx: Transactions, run: DryRun, packs: list[Pack], percent: int) -> None:
    for at in range(0, len(packs) or 1, service.PACKS_AT_ONCE):
        some = packs[at : at + service.PACKS_AT_ONCE]
        tx.write(partial(service.add_packs, run=run, packs=some, percent=percent))


def _until_none(tx: Transactions, delete: Callable[[Context], int]) -> None:
    while tx.write(delete):
        pass
