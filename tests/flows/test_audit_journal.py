"""The access journal: durable before anybody is told, one chain a boot, and whatever is done to it later shows."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hilum.foundation.infra import metrics
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.strangers import AGGREGATES_BOUND, RECORDED_BOUND, SOURCES_BOUND
from hilum.records.audit import live, service
from hilum.records.audit.files import FileReader, JournalFile
from hilum.records.audit.journal_records import Batch
from hilum.records.audit.models import (
    JOURNAL_QUEUE_BOUND,
    SETTLE_AFTER,
    Access,
    AccessQuery,
    Claimed,
    Outcome,
)
from tests.effort import effort
from tests.flows.journal_ground import AT, TRACE, JournalGround, access
from tests.sim.launcher import launch_read
from tests.sim.world import FakeClock, SeededIds


def test_a_checkpoint_looks_at_no_chain_that_is_covered(
    postgres_url: str, clock: FakeClock, tmp_path: Path
) -> None:
    """C152: each second costs one look into an index for a chain, not a reading of all records on every node."""
    uow = UnitOfWork.create(Database(postgres_url), clock, SeededIds(), "test-writer")
    place = JournalGround(uow, postgres_url, tmp_path / "journal")
    place.write(access(1), access(2))
    place.write(access(3))

    assert {name: seq for name, (seq, _) in place.reader.heads().items()} == {
        "access/node-1": 2,
        "access/node-2": 1,
    }
    place.checkpoint()
    assert place.reader.heads() == {}
    place.write(access(4))
    assert set(place.reader.heads()) == {"access/node-3"}
    place.checkpoint()

    verdict = place.verify()
    assert (verdict.intact, verdict.uncovered, verdict.records) == (True, 0, 4)
    uow.close()


@pytest.fixture
def place(uow: UnitOfWork, tmp_path: Path) -> JournalGround:
    return JournalGround(uow, uow.db.url, tmp_path / "journal")


@pytest.fixture
def files(sqlite_uow: UnitOfWork, tmp_path: Path) -> JournalGround:
    return JournalGround(sqlite_uow, sqlite_uow.db.url, tmp_path / "journal")


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_an_access_comes_back_as_it_was_recorded(place: JournalGround) -> None:
    """C150: app, version, vendor, user, tenant, patient, path, decision, policy version, grant, cost and latency are joined."""
    made = access(
        version="ver_1",
        vendor="ven_1",
        role="nurse",
        authorization="aut_1",
        run="run_1",
        policy_version="p1",
        snapshot=7,
        correlation_id="theirs",
        source="192.0.2.7",
        removed=2,
        cost=3,
        latency_us=412,
        reason="scope_insufficient",
        rule="patient/*.rs",
        detail="Because.",
        outcome=Outcome.REFUSED,
        decision="req_x.1",
    )

    place.write(made)

    assert place.reader.find(made.request_id) == [made]


def test_a_record_is_durable_when_the_caller_gets_its_result(files: JournalGround) -> None:
    """Security decision 5: another connection sees it at once; with synchronous=FULL the commit has reached the disk."""

    async def work() -> None:
        journal = files.boot()
        await journal.record(access(1))
        assert [each.request_id for each in files.reader.newest(AccessQuery())] == [access(1).request_id]
        journal.close()

    run(work)
    with closing(sqlite3.connect(next(files.directory.glob("*.db")))) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_at_once_share_commits_and_keep_their_chain(place: JournalGround) -> None:
    count = effort(500, JOURNAL_QUEUE_BOUND)

    place.write(*(access(n) for n in range(1, count + 1)))

    verdict = place.verify()
    assert verdict.intact, verdict.faults
    assert verdict.records == verdict.uncovered == count


def test_a_restart_continues_in_the_same_file_with_a_chain_of_its_own(files: JournalGround) -> None:
    for n in range(1, 4):
        files.write(access(n), access(n + 10))

    assert [path.name for path in files.directory.glob("*.db")] == ["access-0.db"]
    heads = files.reader.heads()
    assert sorted(heads) == ["access/node-1", "access/node-2", "access/node-3"]
    assert {seq for seq, _ in heads.values()} == {2}
    assert files.verify().intact


def test_workers_beside_each_other_have_files_of_their_own(files: JournalGround) -> None:
    async def work() -> None:
        journals = [files.boot() for _ in range(3)]
        for n, journal in enumerate(journals, 1):
            await journal.record(access(n))
        for journal in journals:
            journal.close()

    run(work)

    assert len(list(files.directory.glob("*.db"))) == 3
    assert files.verify().records == 3


def test_making_a_journal_claims_nothing_until_it_starts(files: JournalGround) -> None:
    """A process that only builds a worker leaves the slot to the worker."""
    made = files.boot()

    assert not files.directory.exists()
    made.close()


def test_checkpoints_cover_accesses_of_every_boot(place: JournalGround) -> None:
    place.write(access(1), access(2))
    place.write(access(3))
    made = place.checkpoint()
    place.write(access(4))

    verdict = place.verify()

    assert sorted(made.heads) == ["access/node-1", "access/node-2"]
    assert (verdict.intact, verdict.records, verdict.uncovered) == (True, 4, 1)


FILE_TAMPERING: dict[str, tuple[str, str]] = {
    "an edited header": (
        "UPDATE record SET header = replace(CAST(header AS TEXT), '200', '403') WHERE id = 3",
        "record 3 was edited",
    ),
    "an edited request id": ("UPDATE record SET request_id = 'req_x' WHERE id = 3", "record 3 was edited"),
    "an edited hash": ("UPDATE record SET hash = zeroblob(32) WHERE id = 3", "record 3 was edited"),
    "an edited payload": (
        "UPDATE payload SET body = replace(CAST(body AS TEXT), 'pat-', 'pit-') WHERE id = 3",
        "payload of record 3 was edited",
    ),
    "a removed payload": ("DELETE FROM payload WHERE id = 3", "removed without a purge"),
    "a removed record": ("DELETE FROM record WHERE id = 3", "record 3 is missing"),
    "a removed tail": (
        "DELETE FROM record WHERE id > 4; DELETE FROM payload WHERE id > 4",
        "record 6 was signed for",
    ),
    "swapped records": (
        "UPDATE record SET id = 99 WHERE id = 3; UPDATE record SET id = 3 WHERE id = 4; UPDATE record SET id = 4 WHERE id = 99",
        "record 3 was edited",
    ),
    "a request id of no letters": (
        "UPDATE record SET request_id = x'ff' WHERE id = 3",
        "a value cannot be read",
    ),
    "a salt of another kind": ("UPDATE payload SET salt = 5 WHERE id = 3", "payload of record 3 was edited"),
    "a dropped table": ("DROP TABLE record", "a value cannot be read"),
    "a renamed chain": ("UPDATE chain SET writer = 'other'", "is gone"),
    "a removed chain": ("DELETE FROM chain", "records of no chain"),
    "an emptied file": ("DELETE FROM chain; DELETE FROM record; DELETE FROM payload", "is gone"),
    "a chain that begins later": ("UPDATE chain SET first = 2", "begins at record 2"),
    "a record more": (
        "INSERT INTO record SELECT 7, request_id, header, digest, hash FROM record WHERE id = 6",
        "record 7 was edited",
    ),
}


@pytest.mark.parametrize("name", FILE_TAMPERING)
def test_tampering_with_a_journal_file_is_found(files: JournalGround, name: str) -> None:
    """C152."""
    files.write(*(access(n) for n in range(1, 7)))
    files.checkpoint()
    assert files.verify().intact
    script, told = FILE_TAMPERING[name]

    with closing(sqlite3.connect(files.directory / "access-0.db")) as db:
        db.executescript(script)

    faults = files.verify().faults
    assert any(told in fault for fault in faults), faults


def test_a_removed_file_is_found(files: JournalGround) -> None:
    files.write(access(1))
    files.checkpoint()

    for path in files.directory.glob("*.db*"):
        path.unlink()

    assert any("is gone" in fault for fault in files.verify().faults)


def test_a_tail_removed_before_the_next_boot_is_found_without_a_checkpoint(files: JournalGround) -> None:
    """Each boot's chain goes on from the one before it in the file."""
    files.write(access(1), access(2))
    files.write(access(3))

    with closing(sqlite3.connect(files.directory / "access-0.db")) as db:
        db.executescript("DELETE FROM record WHERE id = 2; DELETE FROM payload WHERE id = 2")

    faults = files.verify().faults
    assert any("holds 1 record where 2 were" in fault for fault in faults), faults


TABLE_TAMPERING: dict[str, tuple[str, str]] = {
    "an edited header": ("UPDATE access_record SET header = '[]' WHERE seq = 3", "record 3 was edited"),
    "an edited request id": (
        "UPDATE access_record SET request_id = 'x' WHERE seq = 3",
        "record 3 was edited",
    ),
    "an edited payload": (
        "UPDATE access_payload SET body = '[]' WHERE seq = 3",
        "payload of record 3 was edited",
    ),
    "a removed payload": ("DELETE FROM access_payload WHERE seq = 3", "removed without a purge"),
    "a removed record": ("DELETE FROM access_record WHERE seq = 3", "record 3 is missing"),
    "a removed tail": ("DELETE FROM access_record WHERE seq > 4", "record 6 was signed for"),
    "a removed chain": ("DELETE FROM access_record; DELETE FROM access_chain", "is gone"),
}


@pytest.mark.parametrize("name", TABLE_TAMPERING)
def test_tampering_with_journal_tables_is_found(
    postgres_url: str, clock: FakeClock, ids: SeededIds, tmp_path: Path, name: str
) -> None:
    """C152."""
    from hilum.foundation.infra.db import Database

    uow = UnitOfWork.create(Database(postgres_url), clock, ids, "test-writer")
    tables = JournalGround(uow, postgres_url, tmp_path)
    tables.write(*(access(n) for n in range(1, 7)))
    tables.checkpoint()
    assert tables.verify().intact
    script, told = TABLE_TAMPERING[name]

    with psycopg.connect(postgres_url) as db:
        for statement in script.split("; "):
            db.execute(statement.encode())

    faults = tables.verify().faults
    uow.close()
    assert any(told in fault for fault in faults), faults


def test_payloads_of_accesses_are_purged_and_the_chain_holds(place: JournalGround) -> None:
    """Security decision 5."""
    old, young = [access(n) for n in range(1, 4)], access(9, at=AT + timedelta(days=100))
    place.write(*old, young)
    place.checkpoint()
    place.uow.clock.advance(timedelta(days=150))  # type: ignore[attr-defined]
    before = AT + timedelta(days=90)

    place.uow.write_now(lambda ctx: service.purge_payloads(ctx, "access", before), trace=TRACE)
    removed = place.reader.purge(before)

    verdict = place.verify()
    assert (removed, verdict.purged) == (3, 3)
    assert verdict.intact, verdict.faults
    (bare,) = place.reader.find(old[0].request_id)
    assert bare == replace(old[0], path="", query="", patient="")
    assert place.reader.find(young.request_id) == [young]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"limit": 2}, [6, 5]),
        ({"patient": "pat-1"}, [4, 1]),
        ({"patient": "pat-1", "app": "app_1"}, [4, 1]),
        ({"patient": "pat-1", "app": "app_2"}, []),
        ({"patient": "pat"}, []),
        ({"tenant": "mercy"}, [6]),
        ({"launch": "lch_1"}, [6, 5, 4, 3, 2, 1]),
        ({"launch": "lch_2"}, []),
        ({"person": "app_1"}, []),
        ({"before": AT + timedelta(milliseconds=3)}, [2, 1]),
    ],
)
def test_the_reader_finds_what_fits_newest_first_over_all_boots(
    place: JournalGround, wanted: dict[str, Any], found: list[int]
) -> None:
    """C150: from any one launch all calls are found."""
    place.write(*(access(n) for n in range(1, 4)))
    place.write(access(4), access(5), access(6, tenant="mercy"))

    seen = place.reader.newest(AccessQuery(**wanted))

    assert seen == [access(n, tenant="mercy" if n == 6 else "general") for n in found]


def test_an_unknown_request_is_not_found(place: JournalGround) -> None:
    place.write(access(1))

    assert place.reader.find("req_none") == []
    assert place.reader.find("") == []


class StuckWriter:
    """A disk that does nothing until it is let, and then fails or works."""

    writer = "stuck"

    def __init__(self, *, fails: bool = False) -> None:
        self.let = threading.Event()
        self.fails = fails
        self.batches: list[int] = []

    def open(self) -> None: ...

    def tip(self) -> bytes:
        return b"\0" * 32

    def append(self, batch: Batch) -> None:
        self.let.wait(30)
        self.batches.append(len(batch.request_ids))
        if self.fails:
            raise Unavailable("audit_unavailable", "The disk is full.")

    @contextmanager
    def claiming(self, wanted: Mapping[str, bytes], at: datetime) -> Iterator[dict[str, str]]:
        yield {}

    def release(self, request_ids: Sequence[str]) -> None: ...

    def close(self) -> None: ...


async def _settle(waiting: list[asyncio.Task[None]]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)


def test_while_one_commit_runs_the_next_batch_gathers() -> None:
    """Eager group commit: the first goes alone at once, what came meanwhile goes together."""
    disk = StuckWriter()

    async def work() -> None:
        journal = live.Journal(disk, SeededIds())
        tasks = [asyncio.create_task(journal.record(access(1)))]
        await _settle(tasks)
        while journal._queue:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(journal.record(access(n))) for n in range(2, 66)]
        await _settle(tasks)
        disk.let.set()
        await asyncio.gather(*tasks)
        journal.close()

    run(work)

    assert disk.batches == [1, 64]


def test_a_full_queue_refuses_instead_of_growing() -> None:
    """C154."""
    disk = StuckWriter()

    async def work() -> None:
        journal = live.Journal(disk, SeededIds())
        tasks = [asyncio.create_task(journal.record(access(1)))]
        await _settle(tasks)
        while journal._queue:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(journal.record(access(n))) for n in range(JOURNAL_QUEUE_BOUND)]
        await _settle(tasks)
        with pytest.raises(Unavailable, match="audit_unavailable"):
            await journal.record(access(2))
        disk.let.set()
        await asyncio.gather(*tasks)
        await journal.record(access(3))
        journal.close()

    run(work)


def test_nobody_waits_for_a_disk_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """C154: refused at the deadline; what was given up is not written later as if it had been answered."""
    disk = StuckWriter()
    monkeypatch.setattr(live, "_DEADLINE_S", 0.3)

    async def work() -> None:
        journal = live.Journal(disk, SeededIds())
        first = asyncio.create_task(journal.record(access(1)))
        await _settle([first])
        while journal._queue:
            await asyncio.sleep(0)
        waiting = [first, *(asyncio.create_task(journal.record(access(n))) for n in range(2, 9))]
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in told)
        monkeypatch.setattr(live, "_DEADLINE_S", 30.0)
        disk.let.set()
        await journal.record(access(9))
        journal.close()

    run(work)

    assert sum(disk.batches) == 2, "the one that was under way, and the one that was answered"


def test_ending_does_not_wait_for_a_disk_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node can be stopped whatever its database does."""
    disk = StuckWriter()
    monkeypatch.setattr(live, "_DEADLINE_S", 0.05)
    monkeypatch.setattr(live, "JOURNAL_CLOSE_WITHIN", timedelta(milliseconds=50))

    async def work() -> None:
        journal = live.Journal(disk, SeededIds())
        with pytest.raises(Unavailable):
            await journal.record(access(1))
        journal.close()
        disk.let.set()

    run(work)


def test_notes_are_recorded_once_the_disk_works_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was refused unrecorded can be explained later, as far as memory goes."""
    disk = StuckWriter(fails=True)
    disk.let.set()
    monkeypatch.setattr(live, "NOTES_BOUND", 3)

    async def work() -> None:
        journal = live.Journal(disk, SeededIds())
        for n in range(1, 6):
            with pytest.raises(Unavailable):
                await journal.record(access(n))
            journal.note(access(n, status=503))
        disk.batches.clear()
        disk.fails = False
        await journal.record(access(9))
        while sum(disk.batches) < 5:
            await asyncio.sleep(0)
        journal.close()

    run(work)

    assert sum(disk.batches) == 5, (
        "three notes, one record that counts the other two, and the request that came after"
    )


def test_counted_refusals_wait_for_room_in_a_full_queue_and_none_is_lost(
    files: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C154: what is counted instead of recorded singly is on record all the same."""

    async def work() -> None:
        journal = files.boot()
        for n in range(1, 101):
            await journal.record_unauthenticated_refusal(stranger(n))
        with monkeypatch.context() as full:
            full.setattr(live, "JOURNAL_QUEUE_BOUND", 0)
            journal.flush_unauthenticated()
            assert journal.waiting == 0
        await journal.record(access(200))
        journal.close()

    run(work)

    records = files.reader.newest(AccessQuery(reason="token_missing"))
    assert (len(records), sum(each.count for each in records)) == (RECORDED_BOUND + 1, 100)


def test_what_is_beyond_the_notes_is_counted_on_record_and_in_a_metric(
    files: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C154: by outcome and reason, and as nobody's in particular."""
    monkeypatch.setattr(live, "NOTES_BOUND", 3)
    before = sum(value for _, value in metrics.JOURNAL_FOLDED.read())

    async def work() -> None:
        journal = files.boot()
        journal.start()
        with monkeypatch.context() as full:
            full.setattr(live, "JOURNAL_QUEUE_BOUND", 0)
            for n in range(1, 11):
                reason = "audit_unavailable" if n % 2 else "outcome_unknown"
                journal.note(access(n, status=503, outcome=Outcome.REFUSED, reason=reason))
        journal.close()

    run(work)

    records = files.reader.newest(AccessQuery())
    assert sorted((each.reason, each.count) for each in records) == [
        ("audit_unavailable", 1),
        ("audit_unavailable", 4),
        ("outcome_unknown", 1),
        ("outcome_unknown", 1),
        ("outcome_unknown", 3),
    ]
    for each in records:
        if each.count > 1:
            assert each.rule == live.AGGREGATED_NOTES
            assert not any((each.tenant, each.app, each.person, each.patient, each.path, each.query))
    assert sum(value for _, value in metrics.JOURNAL_FOLDED.read()) - before == 7
    assert files.verify().intact


def test_a_failing_disk_fails_every_waiting_caller() -> None:
    """C154: an audit write failure refuses the request."""
    disk = StuckWriter(fails=True)
    disk.let.set()

    async def work() -> None:
        journal = live.Journal(disk, SeededIds())
        told = await asyncio.gather(*(journal.record(access(n)) for n in range(5)), return_exceptions=True)
        assert all(isinstance(error, Unavailable) for error in told)
        journal.close()

    run(work)


def test_a_file_that_failed_is_continued_when_it_can_be_written_again(files: JournalGround) -> None:
    async def work() -> None:
        journal = files.boot()
        await journal.record(access(1))
        with closing(sqlite3.connect(files.directory / "access-0.db", isolation_level=None)) as other:
            other.execute("ALTER TABLE payload RENAME TO hidden")
            with pytest.raises(Unavailable):
                await journal.record(access(2))
            other.execute("ALTER TABLE hidden RENAME TO payload")
        await journal.record(access(3))
        journal.close()

    run(work)

    assert [each.request_id for each in files.reader.newest(AccessQuery())] == [
        access(3).request_id,
        access(1).request_id,
    ]
    assert files.verify().intact


def test_a_database_that_went_away_is_found_again(
    postgres_url: str, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """Whether the batch under way arrived is unknown, so the chain's end is read again."""
    from hilum.foundation.infra.db import Database

    uow = UnitOfWork.create(Database(postgres_url), clock, ids, "test-writer")
    tables = JournalGround(uow, postgres_url, tmp_path)

    async def work() -> None:
        journal = tables.boot()
        await journal.record(access(1))
        with psycopg.connect(postgres_url, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(Unavailable):
            await journal.record(access(2))
        await journal.record(access(3))
        journal.close()

    run(work)

    verdict = tables.verify()
    uow.close()
    assert (verdict.intact, verdict.records) == (True, 2)


def test_a_disconnected_caller_loses_nobody_elses_record() -> None:
    disk = StuckWriter()

    async def work() -> None:
        journal = live.Journal(disk, SeededIds())
        tasks = [asyncio.create_task(journal.record(access(n))) for n in range(4)]
        await _settle(tasks)
        tasks[1].cancel()
        disk.let.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in done] == [type(None), asyncio.CancelledError, type(None), type(None)]
        journal.close()

    run(work)

    assert sum(disk.batches) == 4


def test_closing_makes_durable_what_was_queued_and_refuses_the_rest(files: JournalGround) -> None:
    async def work() -> None:
        journal = files.boot()
        tasks = [asyncio.create_task(journal.record(access(n))) for n in range(1, 51)]
        for _ in range(2):
            await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, journal.close)
        await asyncio.gather(*tasks)
        with pytest.raises(Unavailable):
            await journal.record(access(99))
        journal.close()

    run(work)

    assert files.verify().records == 50


def stranger(n: int, source: str = "198.51.100.1", minute: int = 0) -> Access:
    return access(
        n,
        at=AT + timedelta(minutes=minute),
        source=source,
        status=401,
        outcome=Outcome.REFUSED,
        reason="token_missing",
        app="",
        client="",
        person="",
        launch="",
        patient="",
    )


def test_strangers_are_recorded_singly_at_first_and_then_counted(files: JournalGround) -> None:
    """Security decision 5: the first 20 per source and minute singly, the rest as one counted record."""

    async def work() -> None:
        journal = files.boot()
        for n in range(1, 101):
            await journal.record_unauthenticated_refusal(stranger(n))
        await journal.record_unauthenticated_refusal(stranger(101, source="198.51.100.2"))
        journal.flush_unauthenticated()
        journal.close()

    run(work)

    records = files.reader.newest(AccessQuery())
    mine = [each for each in records if each.source == "198.51.100.1"]
    assert len(mine) == RECORDED_BOUND + 1
    assert sum(each.count for each in mine) == 100
    folded = next(each for each in mine if each.count > 1)
    assert (folded.rule, folded.path, folded.query) == ("folded", "", "")
    assert len(records) - len(mine) == 1


def test_a_new_minute_counts_from_zero_and_writes_what_the_last_one_folded(files: JournalGround) -> None:
    async def work() -> None:
        journal = files.boot()
        for minute in (0, 1):
            for n in range(1, 31):
                await journal.record_unauthenticated_refusal(stranger(n + minute * 100, minute=minute))
        journal.close()

    run(work)

    records = files.reader.newest(AccessQuery())
    assert sum(each.count for each in records) == 60
    assert sorted(each.count for each in records if each.count > 1) == [10, 10]


def test_closing_writes_the_counts(files: JournalGround) -> None:
    async def work() -> None:
        journal = files.boot()
        for n in range(1, 26):
            await journal.record_unauthenticated_refusal(stranger(n))
        journal.close()

    run(work)

    assert sum(each.count for each in files.reader.newest(AccessQuery())) == 25


def test_a_network_of_addresses_is_one_source(files: JournalGround) -> None:
    """Security decision 5: whoever holds an IPv6 /64 forces no more single records than whoever holds one address."""

    async def work() -> None:
        journal = files.boot()
        for n in range(1, 101):
            await journal.record_unauthenticated_refusal(stranger(n, source=f"2001:db8:0:1::{n:x}"))
        await journal.record_unauthenticated_refusal(stranger(101, source="2001:db8:0:2::1"))
        journal.close()

    run(work)

    records = files.reader.newest(AccessQuery())
    assert len(records) == RECORDED_BOUND + 2
    (folded,) = [each for each in records if each.count > 1]
    assert (folded.source, folded.count) == ("2001:db8:0:1::/64", 100 - RECORDED_BOUND)


def test_refusals_at_two_hospitals_are_counted_apart() -> None:
    folding = live.UnauthenticatedRefusals()

    for n in range(RECORDED_BOUND + 10):
        folding.count_refusal(replace(stranger(n), tenant=f"t{n % 2}"))

    assert sorted((each.tenant, each.count) for each in folding.flush()) == [("t0", 5), ("t1", 5)]


def test_sources_past_the_bound_share_one_count() -> None:
    folding = live.UnauthenticatedRefusals()

    single = sum(
        folding.count_refusal(stranger(1, source=f"s{n % (2 * SOURCES_BOUND)}"))
        for n in range(4 * SOURCES_BOUND)
    )

    assert len(folding._sources) <= SOURCES_BOUND + 1
    assert single == 2 * SOURCES_BOUND + RECORDED_BOUND
    assert len(folding._aggregated) <= AGGREGATES_BOUND + 1
    assert single + sum(each.count for each in folding.flush()) == 4 * SOURCES_BOUND


def test_a_clock_that_is_set_back_does_not_keep_counts_for_ever() -> None:
    folding = live.UnauthenticatedRefusals()
    for n in range(RECORDED_BOUND + 1):
        folding.count_refusal(stranger(n, minute=600))

    assert [each.count for each in folding.take_due(stranger(1))] == [1]
    assert folding.count_refusal(stranger(1))


@pytest.fixture
def killed(place: JournalGround) -> Callable[[str, int], list[str]]:
    def go(writer: str, after: int) -> list[str]:
        words = (place.url, str(place.directory), writer)
        with launch_read("tests.sim.busy_journal:main", words) as (process, printed):
            acknowledged = [printed.readline().strip() for _ in range(after)]
            process.kill()
            acknowledged += [line.strip() for line in printed if line.endswith("\n")]
        return acknowledged

    return go


def test_killing_a_writer_loses_no_record_that_was_acknowledged(
    place: JournalGround, killed: Callable[[str, int], list[str]]
) -> None:
    """S4: ``kill -9`` under load loses no audit record of an answer that left; the next boot goes on."""
    for boot in range(effort(2, 20)):
        writer = f"killed-{boot}"
        acknowledged = killed(writer, 300)

        assert len(acknowledged) >= 300
        stored = _stored(place, writer)
        assert set(acknowledged) <= stored
        verdict = place.verify()
        assert verdict.intact, verdict.faults
        place.checkpoint()

    if place.uow.db.is_sqlite:
        assert [path.name for path in place.directory.glob("*.db")] == ["access-0.db"]


def _stored(place: JournalGround, writer: str) -> set[str]:
    seen: set[str] = set()
    for chain in place.reader.chains():
        rows = {header.partition(b"\n")[0].decode() for _, header, *_ in chain.rows}
        if chain.name == f"access/{writer}":
            seen |= rows
    return seen


def test_verifying_reads_while_the_journal_is_written(place: JournalGround) -> None:
    async def work() -> None:
        journal = place.boot()
        writing = asyncio.gather(*(journal.record(access(n)) for n in range(1, 400)))
        verdicts = [await asyncio.get_running_loop().run_in_executor(None, place.verify) for _ in range(3)]
        await writing
        journal.close()
        assert all(verdict.intact for verdict in verdicts), [v.faults for v in verdicts]

    run(work)


def test_every_slot_taken_is_a_refusal(files: JournalGround, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.records.audit.files.SLOTS_BOUND", 1)
    first, second = JournalFile(files.directory, "a"), JournalFile(files.directory, "b")
    first.open()

    with pytest.raises(Unavailable):
        second.open()

    first.close()
    second.open()
    second.close()


def test_a_journal_that_cannot_be_opened_keeps_no_slot(
    files: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C154: a full disk must not use up every slot of the machine, one refused record at a time."""
    monkeypatch.setattr("hilum.records.audit.files.SLOTS_BOUND", 1)
    folder = files.directory / "refused"
    folder.mkdir(parents=True)
    (folder / "access-0.db").write_bytes(
        b"not a database, and so long that it cannot be taken for a new one" * 40
    )
    file = JournalFile(folder, "one")
    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be opened"):
            file.open()
    (folder / "access-0.db").unlink()

    file.open()

    assert file.path == folder / "access-0.db"
    file.close()


@pytest.mark.parametrize("read", ["heads", "find", "scan"])
def test_a_journal_that_cannot_be_read_is_unavailable_not_an_error(tmp_path: Path, read: str) -> None:
    """C154: an app gets 503 and not 500."""
    (tmp_path / "access-0.db").write_bytes(
        b"not a database, and so long that it cannot be taken for a new one" * 40
    )
    reader = FileReader(tmp_path)
    reads: dict[str, Callable[[], object]] = {
        "heads": reader.heads,
        "find": lambda: reader.find("req_1"),
        "scan": lambda: reader.scan(AccessQuery()),
    }

    with pytest.raises(Unavailable, match="cannot be read"):
        reads[read]()


def test_a_release_that_breaks_does_not_end_the_journal() -> None:
    """C154: whatever a release raises, later records are still made durable."""

    class Breaks(StuckWriter):
        def release(self, request_ids: Sequence[str]) -> None:
            raise RuntimeError("broken")

    async def story() -> None:
        writer = Breaks()
        writer.let.set()
        journal = live.Journal(writer, SeededIds())
        await journal.record(access(1))
        journal.release("req_1")
        await journal.record(access(2))
        await journal.record(access(3))
        journal.close()

    run(story)


def create(n: int, *, later: timedelta = timedelta()) -> Access:
    """Return the intent of a create; all of them are of the same."""
    return access(n, interaction="create", outcome=Outcome.INTENDED, at=AT + later)


class Asleep:
    """A journal's writer that sleeps in its next batch until it is woken."""

    def __init__(self, journal: live.Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frozen, self.wake = threading.Event(), threading.Event()
        self._append = journal._writer.append
        monkeypatch.setattr(journal._writer, "append", self._sleep)

    def _sleep(self, batch: Batch) -> None:
        self.frozen.set()
        self.wake.wait(30)
        self._append(batch)

    async def begun(self) -> None:
        """Wait until it sleeps."""
        await asyncio.to_thread(self.frozen.wait, 10)


def test_whoever_is_frozen_before_its_intent_is_durable_writes_beside_no_successor(
    place: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C196: claim and intent are one commit; a process that slept for a minute between them still holds its claim."""

    async def story() -> None:
        first, second = place.boot(), place.boot()
        await first.record(access(1))
        asleep = Asleep(first, monkeypatch)
        sent = asyncio.create_task(first.intend(create(2)))
        await asleep.begun()

        with pytest.raises(Unavailable):
            await second.intend(create(3, later=SETTLE_AFTER * 2))
        asleep.wake.set()
        assert (await sent).request_id == create(2).request_id
        with pytest.raises(Claimed) as claimed:
            await second.intend(create(4, later=SETTLE_AFTER * 2))
        assert claimed.value.holder == create(2).request_id
        first.close()
        second.close()

    run(story)
    assert place.verify().intact


def test_a_claim_whose_intent_fails_does_not_stand(
    place: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C196: the app was refused and nothing was sent, so its next try is no repetition."""

    def full(batch: Batch) -> None:
        raise Unavailable("audit_unavailable", "The disk is full.")

    async def story() -> None:
        journal = place.boot()
        await journal.record(access(1))
        with monkeypatch.context() as failing:
            failing.setattr(journal._writer, "append", full)
            with pytest.raises(Unavailable):
                await journal.intend(create(2))
        assert (await journal.intend(create(3))).request_id == create(3).request_id
        journal.close()

    run(story)
    assert place.verify().intact


def test_creates_that_wait_for_another_process_keep_no_other_record_waiting(
    place: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C154, C196: of one batch the create is refused, and the read beside it is recorded."""

    async def story() -> None:
        first, second = place.boot(), place.boot()
        await first.record(access(1))
        await second.record(access(2))
        asleep = Asleep(first, monkeypatch)
        sent = asyncio.create_task(first.intend(create(3)))
        await asleep.begun()
        write, read = await asyncio.gather(
            second.intend(create(4)), second.record(access(5)), return_exceptions=True
        )
        asleep.wake.set()
        await sent

        assert isinstance(write, Unavailable)
        assert read is None
        first.close()
        second.close()

    run(story)
    assert [each.outcome for each in place.reader.find(access(5).request_id)] == [Outcome.DONE]


def test_a_claim_whose_intent_is_on_record_is_kept(place: JournalGround) -> None:
    """C196: a day, since nobody knows what became of it."""

    async def story() -> None:
        journal = place.boot()
        intent = access(1, interaction="create", outcome=Outcome.INTENDED)
        await journal.intend(intent)
        with pytest.raises(Claimed):
            await journal.intend(
                replace(intent, request_id="req_again", at=intent.at + SETTLE_AFTER + timedelta(seconds=5))
            )
        journal.close()

    run(story)


def test_claims_that_a_power_cut_lost_are_restored_whichever_slots_are_written_again(
    files: JournalGround,
) -> None:
    """C196: two workers before it and one after it. Without its claim a create was stored twice once it was settled as done."""

    async def story() -> None:
        first, second = files.boot(), files.boot()
        await first.intend(create(1))
        await first.record(access(1, interaction="create"))
        first.release(create(1).request_id)
        await first.record(access(2))
        await second.intend(create(3))
        first.close()
        second.close()
        # They are in the memory of the machine for a moment; records are on the disk.
        for lost in files.directory.glob("claims.db*"):
            lost.unlink()
        (files.directory / "access-7.db").write_bytes(b"not a database" * 400)

        alone = files.boot()
        with pytest.raises(Claimed) as claimed:
            await alone.intend(create(4))
        assert claimed.value.holder == create(3).request_id
        alone.close()

    run(story)


def test_an_edited_record_keeps_no_worker_from_starting_and_costs_no_other_its_claim(
    files: JournalGround,
) -> None:
    """C196: in the worker's own file as in that of another slot."""

    async def story() -> None:
        first, second = files.boot(), files.boot()
        await first.intend(replace(create(1), digest="of the first"))
        await second.intend(replace(create(2), digest="of the second"))
        await second.intend(create(3))
        first.close()
        second.close()
        for lost in files.directory.glob("claims.db*"):
            lost.unlink()
        for slot in (0, 1):
            with closing(sqlite3.connect(files.directory / f"access-{slot}.db")) as db:
                db.execute("UPDATE record SET header = '{}' WHERE request_id <> ?", (create(3).request_id,))
                db.commit()

        alone = files.boot()
        with pytest.raises(Claimed) as claimed:
            await alone.intend(create(4))
        assert claimed.value.holder == create(3).request_id
        alone.close()

    run(story)
