"""Accesses are found by their index as they would be by reading every journal, however far the index has come (P15)."""

import random
import sqlite3
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql, sqlite

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Invalid
from hilum.records.audit import access_index, live, search
from hilum.records.audit.access_index import AccessIndex, _search, _to_forget, open_index
from hilum.records.audit.journal_records import RecordPosition
from hilum.records.audit.models import Access, AccessQuery, Outcome
from tests.effort import effort
from tests.flows.journal_ground import AT, JournalGround, access, index_now
from tests.sim.one_world import in_one_world

WORDS = (
    "tenant",
    "app",
    "client",
    "person",
    "launch",
    "authorization",
    "run",
    "reason",
    "patient",
    "outcome",
)


def made(n: int, chance: random.Random) -> Access:
    refused = chance.random() < 0.2
    return access(
        n,
        at=AT + timedelta(seconds=n // 3),
        tenant=chance.choice(["general", "mercy"]),
        app=chance.choice(["app_1", "app_2", ""]),
        client=chance.choice(["c1", "c2"]),
        person=chance.choice(["", "per_1", "per_2", "per_3"]),
        launch=chance.choice(["", "lau_1"]),
        authorization=chance.choice(["", "aut_1", "aut_2"]),
        run=chance.choice(["", "", "run_1"]),
        patient=(patient := chance.choice(["", "p1", "p2", "p3"])),
        returned=0 if patient else 3,
        found="" if patient else chance.choice(["", "p1:2 p3:1", "p2:1 p10:2"]),
        outcome=Outcome.REFUSED if refused else Outcome.DONE,
        reason=chance.choice(["quota_exceeded", "switch_engaged"]) if refused else "",
    )


def found_rows(opened: AccessIndex) -> list[Any]:
    """Read all that an index has of the patients of answers."""
    return list(opened._database.read(lambda tx: tx.execute(select(access_index.access_found)).all()))


def rows(opened: AccessIndex) -> list[Any]:
    """Read all of an index."""
    return list(opened._database.read(lambda tx: tx.execute(select(access_index.access_index)).all()))


def asked(chance: random.Random) -> AccessQuery:
    values: dict[str, Any] = {"limit": chance.choice([1, 7, 200])}
    sample = made(1, chance)
    for word in chance.sample(WORDS, chance.choice([0, 1, 2, 3])):
        values[word] = str(getattr(sample, word))
    if chance.random() < 0.2:
        values["before"] = AT + timedelta(seconds=chance.randrange(60))
    return AccessQuery(**values)


@pytest.fixture
def place(uow: UnitOfWork, tmp_path: Path) -> JournalGround:
    return JournalGround(uow, uow.db.url, tmp_path / "journal")


def filled(place: JournalGround, count: int, seed: int = 0) -> list[Access]:
    chance = random.Random(seed)
    records = [made(n, chance) for n in range(count)]
    for start in range(0, count, 40):
        place.write(*records[start : start + 40])
    return records


def expected(place: JournalGround, query: AccessQuery) -> list[Access]:
    """What reading every journal finds."""
    return [found for _, found in place.reader.scan(replace(query, limit=200))]


def test_the_index_finds_what_reading_every_journal_finds_however_far_it_has_come(
    place: JournalGround,
) -> None:
    chance = random.Random(7)
    filled(place, 80)
    queries = [asked(chance) for _ in range(effort(10, 400))]
    for stage in ("nothing indexed", "all indexed", "a tail is not", "all again"):
        if stage.startswith("all"):
            assert index_now(place) > 0
            assert index_now(place) == 0
        if stage == "a tail is not":
            filled(place, 40, seed=3)
        for query in queries:
            found = place.reader.newest(query)
            whole = expected(place, query)
            assert [each.at for each in found] == [each.at for each in whole[: query.limit]], (stage, query)
            assert all(each in whole for each in found)


def test_pages_follow_each_other_without_a_gap_or_a_repetition(place: JournalGround) -> None:
    """Many records have one time: a cursor names a record, not a moment. What comes meanwhile disturbs nobody's walk."""
    filled(place, 80)
    index_now(place)
    query = AccessQuery(tenant="general", limit=7)
    whole = expected(place, query)
    walked: list[Access] = []
    page = place.reader.page(query)
    place.write(access(900, at=AT + timedelta(hours=1)))
    while page.accesses:
        walked += page.accesses
        if not page.next:
            break
        page = place.reader.page(replace(query, after=page.next))

    assert [each.request_id for each in walked] == [each.request_id for each in whole]


@in_one_world("cursor", ["x", "1", "1.2", "1.2.x", "-1.a.1", "9" * 30 + ".a.1", "1..", "\u0661.a.1"])
def test_what_is_no_cursor_is_refused(place: JournalGround, cursor: str) -> None:
    with pytest.raises(Invalid):
        place.reader.page(AccessQuery(after=cursor))


def test_a_cursor_comes_back_as_it_was() -> None:
    where = RecordPosition(AT, "0", 12)
    assert RecordPosition.read(where.write()) == where


def test_words_whose_digests_meet_are_told_apart(
    place: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 bits may meet: what is found is looked at again, and looked for further."""
    monkeypatch.setattr(access_index, "digest", lambda word, value: 1 if value else 0)
    filled(place, 80)
    index_now(place)
    for word in ("app", "person", "patient"):
        value = {"app": "app_2", "person": "per_3", "patient": "p2"}[word]
        query = AccessQuery(**{word: value, "limit": 30})  # type: ignore[arg-type]
        found = place.reader.newest(query)
        assert found
        assert [each.at for each in found] == [each.at for each in expected(place, query)[:30]]


def test_the_index_alone_says_nothing_of_a_patient_and_forgets_them_with_the_payloads(
    place: JournalGround,
) -> None:
    """Security decision 5: who has the database but not the key cannot try patients' ids against it."""
    filled(place, 40)
    index_now(place)
    opened = access_index.open_index(place.url, place.directory)
    assert opened is not None

    def patients() -> set[int]:
        return {row.patient for row in rows(opened) if row.patient is not None}

    kept = patients()
    assert len(kept) == 3
    assert kept == {access_index.digest("patient", each) for each in ("p1", "p2", "p3")}
    plain = {
        int.from_bytes(sha256(f"patient\n{each}".encode()).digest()[:8], "big", signed=True)
        for each in ("p1", "p2", "p3")
    }
    assert not kept & plain
    shown = found_rows(opened)
    assert {row.patient for row in shown} == {
        access_index.digest("patient", each) for each in ("p1", "p2", "p3", "p10")
    }
    place.reader.purge(AT + timedelta(seconds=5))
    assert {row.at for row in found_rows(opened)} == {
        row.at for row in shown if row.at >= AT + timedelta(seconds=5)
    }
    place.reader.purge(AT + timedelta(days=1))
    assert patients() == set()
    assert found_rows(opened) == []
    assert place.reader.newest(AccessQuery(patient="p1")) == []
    assert place.reader.newest(AccessQuery(tenant="general"))


def test_answers_that_showed_many_are_indexed_in_several_transactions(
    place: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C94: a thousand records that show hundreds each would be one transaction of hundreds of thousands of rows."""
    monkeypatch.setattr(access_index, "INDEX_FOUND_BATCH", 10)
    found = " ".join(f"p{n}:1" for n in range(4))
    place.write(*(access(n, patient="", returned=4, found=found) for n in range(30)))

    turns = iter([True, False])
    assert live.index_accesses(place.directory, place.url, lambda: next(turns)) == 3
    assert index_now(place) == 27
    opened = access_index.open_index(place.url, place.directory)
    assert opened is not None
    assert len(found_rows(opened)) == 120
    assert len(place.reader.newest(AccessQuery(patient="p3", limit=200))) == 30


def test_indexing_that_broke_off_continues_where_it_was(place: JournalGround) -> None:
    """A batch is indexed as a whole or not at all, and never twice."""
    filled(place, 80)
    turns = iter([True, False])
    first = live.index_accesses(place.directory, place.url, lambda: next(turns))
    rest = index_now(place)

    assert first + rest == 80
    opened = access_index.open_index(place.url, place.directory)
    assert opened is not None
    assert len(rows(opened)) == 80


def test_where_too_much_is_missing_the_journals_are_read(
    place: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old installation that is being indexed, or a job that stands still: slow, and never a silent gap."""
    filled(place, 40)
    index_now(place)
    filled(place, 40, seed=5)
    monkeypatch.setattr(search, "TAIL_BOUND", 10)

    assert len(place.reader.newest(AccessQuery())) == 80


def test_a_persons_newest_accesses_are_read_in_their_order_and_not_sorted(tmp_path: Path) -> None:
    """One person may have millions, and a page costs a page."""
    opened = open_index("sqlite://", tmp_path, make=True)
    assert opened is not None
    query = AccessQuery(person="per_1", limit=10)

    with sqlite3.connect(tmp_path / "index.db") as db:
        asked = str(
            _search(query, 10).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        )
        plan = " ".join(row[3] for row in db.execute("EXPLAIN QUERY PLAN " + asked))

    assert "ix_access_index_person" in plan
    assert "TEMP B-TREE FOR ORDER BY" not in plan


def test_the_purge_looks_at_nothing_but_what_it_forgets(place: JournalGround) -> None:
    """Records without a patient, however many and however old, are not read again each time; nor is what was forgotten before."""
    place.write(*(replace(made(n, random.Random(n)), patient="") for n in range(300)))
    place.write(*(replace(made(n, random.Random(n)), patient="p1") for n in range(300, 320)))
    index_now(place)
    opened = access_index.open_index(place.url, place.directory)
    assert opened is not None
    database = opened._database
    dialect: Any = sqlite if database.is_sqlite else postgresql
    asked = str(
        _to_forget(AT + timedelta(days=1)).compile(
            dialect=dialect.dialect(), compile_kwargs={"literal_binds": True}
        )
    )
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN (ANALYZE, TIMING OFF) "
    if not database.is_sqlite:
        database.write(lambda tx: tx.exec_driver_sql("ANALYZE access_index"))

    plan = " ".join(str(row) for row in database.read(lambda tx: tx.exec_driver_sql(explain + asked).all()))

    assert "ix_access_index_purge" in plan, plan
    assert "Rows Removed by Filter" not in plan
    assert "TEMP B-TREE" not in plan
    opened.forget_patients(AT + timedelta(days=1))
    assert {row.patient for row in rows(opened)} == {None}
    again = " ".join(str(row) for row in database.read(lambda tx: tx.exec_driver_sql(explain + asked).all()))
    assert "Rows Removed by Filter" not in again


def test_the_file_of_an_older_release_gets_what_the_purge_is_read_by(tmp_path: Path) -> None:
    opened = open_index("sqlite://", tmp_path, make=True)
    assert opened is not None
    opened._database.write(lambda tx: tx.execute(text("DROP INDEX ix_access_index_purge")))
    opened._database.write(lambda tx: tx.execute(text("DROP TABLE access_found")))
    assert open_index("sqlite://", tmp_path) is None, "the journals are searched"

    open_index("sqlite://", tmp_path, make=True)

    with sqlite3.connect(tmp_path / "index.db") as db:
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {"ix_access_index_purge", "ix_access_found_at"} <= names
