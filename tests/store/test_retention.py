"""Forgetting keeps up with what arrives, keeps what lives, and never touches what is held."""

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from hilum.authorization.authorize.store import authorization_code
from hilum.authorization.launches.store import launch
from hilum.authorization.tokens.store import access_token, refresh_token, token_family
from hilum.controls.approvals.store import approvals
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.settings import Settings, read
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.times import EPOCH
from hilum.identity.signin.store import attempts, sessions
from hilum.records.audit import service as audit
from hilum.records.audit.models import PURGE_BATCH, Event
from hilum.records.audit.store import audit_payload
from hilum.server import retention
from hilum.server.schedule import JobLease
from tests.effort import effort
from tests.flows.journal_ground import JournalGround, access
from tests.sim.world import FakeClock

OLD, LIVING, GONE = effort(5_000, 100_000), effort(1_000, 5_000), effort(2_000, 10_000)
WITHIN_S = 60.0
TRACE = Trace("req_test")
DAY = timedelta(days=1)
SECURITY = Actor(ActorKind.STAFF, "per_1", roles=frozenset({"security"}))
OTHER = Actor(ActorKind.STAFF, "per_2", roles=frozenset({"platform_admin"}))
AUDITOR = Actor(ActorKind.STAFF, "per_3", roles=frozenset({"auditor"}))


def settings(uow: UnitOfWork, home: Path, **more: str) -> Settings:
    given = {"HILUM_DATA_DIR": str(home), "HILUM_SECRET_KEY": "x" * 40, "HILUM_DATABASE_URL": uow.db.url}
    return read(given | more)


@pytest.fixture
def held(uow: UnitOfWork) -> JobLease:
    return JobLease(uow, "purge", "test/1", threading.Event())


def fill(uow: UnitOfWork, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Put many rows in, by the driver's own quick way."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)

    def work(tx: Any) -> None:
        driver = tx.connection.driver_connection
        if tx.dialect.name == "postgresql":
            with driver.cursor().copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ", ".join("?" * len(table.columns))
            insert = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})'  # noqa: S608 - names from the schema
            driver.executemany(insert, rows)

    uow.db.write(work)


def at(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def count(uow: UnitOfWork, table: Table) -> int:
    return int(uow.db.read(lambda tx: tx.execute(select(func.count()).select_from(table)).scalar_one()))


def a_busy_month(uow: UnitOfWork, now: datetime) -> None:
    """Many refresh tokens used long ago in living families, families of which nothing is left, and what lives."""
    before, lately, later = at(now - 8 * DAY), at(now - DAY), at(now + 90 * DAY)

    def refresh(n: int, family: int, used: int | None) -> tuple[Any, ...]:
        return (n.to_bytes(32), f"fam{family}", "general", "cli", "{}", True, before, later, used)

    def family(n: int, minted: int) -> tuple[Any, ...]:
        return (f"fam{n}", "general", "cli", "app", "per", "", "", True, before, minted, None, "", None, None)

    fill(uow, token_family, (family(n, lately) for n in range(LIVING)))
    fill(uow, token_family, (family(n, before) for n in range(LIVING, LIVING + GONE)))
    fill(uow, refresh_token, (refresh(n, n % LIVING, before) for n in range(OLD)))
    fill(uow, refresh_token, (refresh(n, n - OLD, None) for n in range(OLD, OLD + LIVING)))
    fill(uow, refresh_token, (refresh(n, n % LIVING, lately) for n in range(OLD + LIVING, OLD + 2 * LIVING)))
    gone = ((n + 2 * OLD).to_bytes(32) for n in range(GONE))
    rows = (
        (each, "general", "cli", f"fam{LIVING + n}", "{}", before, before, None)
        for n, each in enumerate(gone)
    )
    fill(uow, access_token, rows)


def test_what_a_busy_month_left_goes_in_one_run_and_nothing_that_lives_goes_with_it(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    """A thousand a minute were removed while 7,500 arrived; used refresh tokens stayed for 180 days."""
    a_busy_month(uow, clock.now())
    # What came in a month has statistics; what came in a second has none yet, and is read by guesses.
    uow.db.write(lambda tx: tx.exec_driver_sql("ANALYZE"))
    longest, batches = 0.0, 0
    write = uow.db.write

    def timed(work: Callable[[Any], Any]) -> Any:
        nonlocal longest, batches
        begun = monotonic()
        done = write(work)
        longest, batches = max(longest, monotonic() - begun), batches + 1
        return done

    uow.db.write = timed  # type: ignore[method-assign, assignment]  # the watch on this test's own database
    begun = monotonic()
    retention.purge(held, settings(uow, tmp_path))
    took = monotonic() - begun
    print(
        f"{uow.db.url.partition(':')[0]}: {took:.1f} s, {batches} batches, the longest {longest * 1000:.0f} ms"
    )

    assert count(uow, refresh_token) == 2 * LIVING
    assert count(uow, token_family) == LIVING, "families of which nothing is left went with their last token"
    assert count(uow, access_token) == 0
    assert took < WITHIN_S
    assert longest < 2.0, "nobody waits long for a batch"
    batches = 0
    retention.purge(held, settings(uow, tmp_path))
    assert batches <= 10, "where nothing is over, nothing is looked for again and again"


def test_what_is_used_is_recognized_for_as_long_as_the_setting_says(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    now = clock.now()
    rows = [
        (n.to_bytes(32), "fam", "general", "cli", "{}", True, at(now), at(now + 90 * DAY), at(now - n * DAY))
        for n in (1, 3, 20)
    ]
    fill(uow, refresh_token, rows)

    retention.purge(held, settings(uow, tmp_path, HILUM_KEEP_USED_TOKENS_DAYS="30"))
    assert count(uow, refresh_token) == 3
    retention.purge(held, settings(uow, tmp_path, HILUM_KEEP_USED_TOKENS_DAYS="2"))
    assert count(uow, refresh_token) == 1


def test_a_revoked_family_goes_with_all_its_tokens_once_nobody_can_use_any(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    now = clock.now()
    for name, revoked in (("fresh", now - DAY), ("stale", now - 30 * DAY)):
        began = at(now - 40 * DAY)
        fill(
            uow,
            token_family,
            [(name, "t", "c", "a", "p", "", "", True, began, began, at(revoked), "stopped", None, None)],
        )
        token = (name.encode().ljust(32), name, "t", "c", "{}", True, began, at(now + 90 * DAY), None)
        fill(uow, refresh_token, [token])
    fill(
        uow,
        token_family,
        [("barred", "", "", "", "", "", "", False, 1, 1, at(now - 30 * DAY), "replayed", None, None)],
    )

    retention.purge(held, settings(uow, tmp_path))

    left = uow.db.read(lambda tx: list(tx.execute(select(token_family.c.id)).scalars()))
    assert left == ["fresh"]
    assert count(uow, refresh_token) == 1


def test_every_class_that_expires_is_forgotten(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    """Sessions, failed attempts, codes and launches, not only tokens."""
    now, old = clock.now(), at(clock.now() - 70 * DAY)
    session = ("ses", "d", "per", "general", "nurse", "password", old, old, old, None)
    later = [None if column.nullable else "" for column in list(sessions.columns)[len(session) :]]
    fill(uow, sessions, [(*session, *later)])
    fill(uow, attempts, [("key", 3, old, old)])

    def of(table: Table, **given: Any) -> tuple[Any, ...]:
        kinds = {"JSON": "{}", "INTEGER": 0, "BOOLEAN": False, "BLOB": b"x", "BYTEA": b"x"}

        def value(column: Any) -> Any:
            if column.name in given:
                return given[column.name]
            if column.nullable:
                return None
            return kinds.get(
                str(column.type).partition("(")[0], old if "Instant" in repr(column.type) else "x"
            )

        return tuple(value(column) for column in table.columns)

    fill(uow, launch, [of(launch, id="untaken", created_at=old), of(launch, id="going", handle_hash=b"2", open_hash=b"2", created_at=old, used_at=old)])  # fmt: skip
    fill(uow, authorization_code, [of(authorization_code, expires_at=old)])

    retention.purge(held, settings(uow, tmp_path))

    for table in (sessions, attempts, authorization_code):
        assert count(uow, table) == 0, table.name
    assert uow.db.read(lambda tx: list(tx.execute(select(launch.c.id)).scalars())) == ["going"]
    assert now == clock.now()


def test_approvals_that_ran_out_are_forgotten_and_sooner_what_was_sealed_with_them(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    """C200: half of a secret does not lie about because nobody agreed. What may still be agreed to, or was lately decided, stays."""
    now = clock.now()

    def row(name: str, expires: timedelta, state: str = "pending") -> tuple[Any, ...]:
        sealed = "half of a secret" if state == "pending" else ""
        return (name, "secret", "general", "cli", "{}", "{}", sealed, "per", at(now), at(now + expires), state, "", None)  # fmt: skip

    rows = [
        row("waits", DAY),
        row("just over", -timedelta(minutes=59)),
        row("over", -timedelta(minutes=61)),
        row("decided", -89 * DAY, "approved"),
        row("old", -91 * DAY),
        row("decided long ago", -91 * DAY, "refused"),
    ]
    fill(uow, approvals, rows)

    retention.retain(held, settings(uow, tmp_path))

    query = select(approvals.c.id, approvals.c.sealed).order_by(approvals.c.expires_at)
    left = uow.db.read(lambda tx: [(row.id, bool(row.sealed)) for row in tx.execute(query)])
    assert left == [("decided", False), ("over", False), ("just over", True), ("waits", True)]


def test_a_node_that_lost_its_lease_stops_purging(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    assert held.take()
    held.lease = replace(held.lease, fence=99) if held.lease else None
    fill(uow, attempts, [("key", 3, at(clock.now() - DAY), 0)])

    with pytest.raises(Conflict, match="lease_lost"):
        retention.purge(held, settings(uow, tmp_path))

    assert count(uow, attempts) == 1


# --- payloads and holds ---------------------------------------------------------------------------------------------------------


def do(uow: UnitOfWork, verb: Callable[[Context], Any], actor: Actor = SYSTEM) -> Any:
    return uow.write_now(verb, actor=actor, trace=TRACE)


def note(uow: UnitOfWork, action: str = "identity.person.add") -> None:
    do(uow, lambda ctx: audit.record(ctx, Event(action, tenant="general", facts={"n": 1})))


def payloads(uow: UnitOfWork) -> int:
    kind = select(func.count()).select_from(audit_payload).where(audit_payload.c.kind == "identity")
    return int(uow.db.read(lambda tx: tx.execute(kind).scalar_one()))


def test_payloads_go_after_their_period_and_the_chain_holds_without_them(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    note(uow)
    clock.advance(100 * DAY)
    note(uow)

    retention.retain(held, settings(uow, tmp_path))
    assert payloads(uow) == 2, "the period is six years where nobody says otherwise"
    retention.retain(held, settings(uow, tmp_path, HILUM_KEEP_EVENTS_DAYS="60"))

    assert payloads(uow) == 1
    purged = uow.read_now(partial(audit.list_events, query=_purges()), trace=TRACE).events
    assert len({each.event.reason.partition(" ")[0] for each in purged}) == len(purged)
    retention.retain(held, settings(uow, tmp_path, HILUM_KEEP_EVENTS_DAYS="60"))
    again = uow.read_now(partial(audit.list_events, query=_purges()), trace=TRACE).events
    assert len(again) == len(purged), "a run that finds nothing says nothing"


def _purges() -> Any:
    from hilum.records.audit.models import EventQuery

    return EventQuery(action="audit.payload.purge")


def test_a_hold_wins_over_every_period_until_somebody_else_releases_it(
    uow: UnitOfWork, held: JobLease, clock: FakeClock, tmp_path: Path
) -> None:
    short = settings(uow, tmp_path, HILUM_KEEP_EVENTS_DAYS="60", HILUM_KEEP_ACCESSES_DAYS="60")
    note(uow)
    clock.advance(DAY)
    hold = do(uow, partial(audit.place_hold, reason="case 4711", since=clock.now()), SECURITY)
    note(uow)
    clock.advance(100 * DAY)

    retention.retain(held, short)

    assert payloads(uow) == 1, "what is older than the hold goes, what is held stays"
    assert do(uow, lambda ctx: audit.purgeable_before(ctx, clock.now())) == hold.since
    with pytest.raises(NotPermitted, match="second_person_needed"):
        do(uow, partial(audit.release_hold, hold=hold.id), SECURITY)
    assert do(uow, partial(audit.purge_payloads, kind="identity", before=clock.now() - 31 * DAY)) == 0
    do(uow, partial(audit.release_hold, hold=hold.id), OTHER)
    retention.retain(held, short)
    assert payloads(uow) == 0
    with pytest.raises(Conflict, match="hold_released"):
        do(uow, partial(audit.release_hold, hold=hold.id), OTHER)


class Interrupted(JobLease):
    """Does something once, in the first transaction after the first batch went."""

    went: Callable[[], bool]
    then: Callable[[], object]
    did = False

    def write(self, verb: Callable[[Context], Any]) -> Any:
        if not self.did and self.went():
            self.did = True
            self.then()
        return super().write(verb)


@pytest.mark.parametrize("what", ["a hold", "another holder", "a stop"])
def test_a_running_purge_ends_with_its_batch_at_a_hold_or_a_lost_lease(
    sqlite_uow: UnitOfWork, clock: FakeClock, tmp_path: Path, what: str
) -> None:
    """A purge may take hours; what it may remove is asked before each batch."""
    uow, total = sqlite_uow, 2 * PURGE_BATCH + 100
    place = JournalGround(uow, uow.db.url, tmp_path / "journal")
    for start in range(0, total, 700):
        place.write(*(access(n + 1, at=clock.now()) for n in range(start, start + 700)))
    clock.advance(100 * DAY)

    def left() -> int:
        with closing(sqlite3.connect(tmp_path / "journal" / "access-0.db")) as db:
            return int(db.execute("SELECT count(*) FROM payload").fetchone()[0])

    held = Interrupted(uow, "purge", "test/1", threading.Event())
    held.went = lambda: left() < total

    def lose() -> None:
        held.lease = replace(held.lease, fence=99) if held.lease else None

    since = clock.now() - 200 * DAY
    held.then = {
        "a hold": lambda: do(uow, partial(audit.place_hold, reason="case", since=since), SECURITY),
        "another holder": lose,
        "a stop": held.stop.set,
    }[what]
    with suppress(Conflict):
        retention.retain(held, settings(uow, tmp_path, HILUM_KEEP_ACCESSES_DAYS="60"))

    assert held.did
    assert left() in (
        {total - PURGE_BATCH, total - 2 * PURGE_BATCH} if what == "a stop" else {total - PURGE_BATCH}
    )
    assert place.verify().intact, "what is missing lies before the horizon on record"


def test_a_hold_about_an_unknown_tenant_is_refused_to_those_who_may_place_one(uow: UnitOfWork) -> None:
    about = {"tenant": "nowhere"}

    with pytest.raises(NotFound, match="tenant_not_found"):
        do(uow, partial(audit.place_hold, reason="case", about=about), SECURITY)
    with pytest.raises(NotPermitted, match="not_permitted"):
        do(uow, partial(audit.place_hold, reason="case", about=about), AUDITOR)

    assert do(uow, audit.list_holds, SECURITY) == []


def test_who_may_not_hold_or_release_or_see(uow: UnitOfWork) -> None:
    hold = do(uow, partial(audit.place_hold, reason="case"), SECURITY)
    administrator = Actor(ActorKind.PERSON, "per_9", tenant="general", roles=frozenset({"administrator"}))  # type: ignore[arg-type]
    for actor in (AUDITOR, administrator):
        with pytest.raises(NotPermitted):
            do(uow, partial(audit.place_hold, reason="case"), actor)
        with pytest.raises(NotPermitted):
            do(uow, partial(audit.release_hold, hold=hold.id), actor)
    assert [each.id for each in do(uow, audit.list_holds, AUDITOR)] == [hold.id]
    with pytest.raises(NotPermitted):
        do(uow, audit.list_holds, administrator)


@pytest.mark.parametrize("reason", ["", "  ", "r" * 501])
def test_a_hold_without_a_reason_is_none(uow: UnitOfWork, reason: str) -> None:
    with pytest.raises(Invalid, match="hold_invalid"):
        do(uow, partial(audit.place_hold, reason=reason), SECURITY)
    with pytest.raises(NotFound):
        do(uow, partial(audit.release_hold, hold="hld_none"), SECURITY)


def test_every_recorded_action_is_of_a_class_that_is_purged() -> None:
    """No class of events is forgotten by the retention of payloads."""
    from tools import reference

    page = reference.PAGES["audit-actions.md"]()
    classes = {line.split("`")[1].partition(".")[0] for line in page.splitlines() if line.startswith("| `")}

    assert classes <= set(retention.EVENT_CLASSES)
