"""Decisions are counted by day out of the journals, each once, whatever breaks off (C208)."""

import random
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.audit import decision_counts, live, service_counts
from hilum.records.audit.models import (
    COUNTED_FOR,
    RULE_BOUND,
    SERVICE_SLOTS_KEPT,
    SETTLEMENT,
    SLOT,
    SLOTS_KEPT,
    Access,
    DecisionCount,
    Outcome,
)
from tests.flows.journal_ground import AT, JournalGround, access

SINCE = AT - timedelta(days=90)
CLIENTS = ("c1", "c2")


@pytest.fixture
def place(uow: UnitOfWork, tmp_path: Path) -> JournalGround:
    return JournalGround(uow, uow.db.url, tmp_path / "journal")


def counted(
    place: JournalGround, now: Any = AT, may_continue: Any = lambda: True
) -> decision_counts.DecisionCounts:
    return live.count_decisions(place.directory, place.url, now, may_continue)


def about(place: JournalGround, *clients: str, now: Any = AT) -> list[DecisionCount]:
    return sorted(counted(place, now).about(clients or CLIENTS, now - timedelta(days=90)), key=str)


def made(n: int, **more: Any) -> Access:
    facts: dict[str, Any] = {
        "at": AT - timedelta(seconds=n),
        "client": "c1",
        "app": "a1",
        "rule": "patient/Observation.rs",
    }
    return access(n, **(facts | more))


def test_equal_decisions_of_several_days_and_journals_are_one_count_with_first_last_and_an_example(
    place: JournalGround,
) -> None:
    place.write(made(1), made(2))
    place.write(made(3, at=AT - timedelta(days=40)), made(4, tenant="mercy"))

    found = about(place)

    assert [(each.tenant, each.number) for each in found] == [("general", 3), ("mercy", 1)]
    general = found[0]
    assert (general.first, general.last) == (AT - timedelta(days=40), AT - timedelta(seconds=1))
    assert general.example in {made(n).request_id for n in (1, 2, 3)}
    assert (general.app, general.client, general.rule, general.reason) == (
        "a1",
        "c1",
        "patient/Observation.rs",
        "",
    )


def test_the_counts_are_what_counting_every_record_finds_however_often_the_job_ran(
    place: JournalGround,
) -> None:
    chance = random.Random(11)
    every: list[Access] = []
    for start in range(0, 120, 30):
        some = [
            made(
                start + n,
                client=chance.choice(CLIENTS),
                tenant=chance.choice(["general", "mercy"]),
                interaction=chance.choice(["read", "search-type"]),
                at=AT - timedelta(hours=chance.randrange(1_500)),
            )
            for n in range(30)
        ]
        place.write(*some)
        every += some
        counted(place)

    expected = Counter((each.client, each.tenant, each.interaction) for each in every)
    assert {(each.client, each.tenant, each.interaction): each.number for each in about(place)} == dict(
        expected
    )
    assert counted(place).total(SINCE) == 120


def test_counting_that_broke_off_continues_where_it_was_and_counts_nothing_twice(
    place: JournalGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_counts, "COUNT_BATCH", 3)
    place.write(*(made(n) for n in range(10)))
    turns = iter([True, True, False, False])

    counted(place, may_continue=lambda: next(turns))
    assert counted(place, may_continue=lambda: False).total(SINCE) == 6

    assert [each.number for each in about(place)] == [10]


def test_what_an_earlier_release_counted_is_added_up_by_day_once(place: JournalGround) -> None:
    place.write(*(made(n) for n in range(10)))
    counts = counted(place)
    counts._database.write(lambda tx: tx.execute(decision_counts.days.delete()))
    assert counts.total(SINCE) == 0
    place.write(*(made(n) for n in range(3)))

    assert counted(place).total(SINCE) == counted(place).total(SINCE) == 13


def test_a_file_that_lacks_a_table_is_not_read_until_the_job_has_completed_it(place: JournalGround) -> None:
    """An upgrade on SQLite: nothing was counted yet, and no page fails for half a minute."""
    place.write(made(1))
    counts = counted(place)
    if not counts._database.is_sqlite:
        return  # migrations complete a server's tables before anybody reads
    counts._database.write(service_counts.days.drop)

    assert decision_counts.find_counts(place.url, place.directory) is None

    assert counted(place).total(SINCE) == 1
    assert decision_counts.find_counts(place.url, place.directory) is not None


def test_two_nodes_that_read_the_same_records_count_them_once(place: JournalGround) -> None:
    """A node that was frozen after it had read goes on when another one has counted the same."""
    place.write(*(made(n) for n in range(5)))
    with closing(place.reader) as reader:
        late = reader.after({}, 100)
    counts = counted(place)

    counts._database.write(lambda tx: decision_counts.add(tx, late))

    assert [each.number for each in about(place)] == [5]


@pytest.mark.parametrize(
    "what",
    [
        {"outcome": Outcome.INTENDED},
        {"client": ""},
        {"interaction": "picker"},
        {"rule": SETTLEMENT},
    ],
)
def test_what_is_no_decision_about_an_app_is_not_counted(place: JournalGround, what: dict[str, Any]) -> None:
    place.write(made(1), made(2, **what))

    assert [each.number for each in about(place, "c1", "")] == [1]


def test_counts_of_more_than_ninety_days_ago_are_neither_made_nor_kept(place: JournalGround) -> None:
    old = AT - COUNTED_FOR - timedelta(days=1)
    place.write(made(1, at=old), made(2))
    assert [each.number for each in about(place)] == [1]

    later = AT + COUNTED_FOR + timedelta(days=1)
    assert about(place, now=later) == []
    kept = counted(place, later)._database.read(
        lambda tx: tx.exec_driver_sql("SELECT count(*) FROM decision_shape").scalar_one()
    )
    assert kept == 0, "a shape without a count is deleted"


def test_foreign_text_stops_no_counting(place: JournalGround) -> None:
    """The tenant of a mismatch is from the address, and a grant may be long; the job must get past both."""
    rule = ", ".join(f"patient/Observation.rs?category=http://example.org|{n}" for n in range(200))
    place.write(made(1, tenant="x" * 300 + "\0"), made(2, rule=rule))

    found = about(place)

    assert sorted(len(each.tenant) for each in found) == [7, 300]
    kept = next(each.rule for each in found if each.tenant == "general")
    assert len(kept) <= RULE_BOUND
    assert rule.startswith(kept + ", ")


def test_the_counts_disclose_no_patient_no_person_and_no_address(place: JournalGround) -> None:
    place.write(
        made(1, patient="pat-secret", person="per-secret", path="Observation/secret", source="192.0.2.77")
    )
    counts = counted(place)

    def rows_of(tx: Connection) -> list[str]:
        tables = decision_counts.shapes, decision_counts.counts
        return [str(row) for table in tables for row in tx.execute(select(table))]

    rows = counts._database.read(rows_of)
    assert len(rows) == 2
    assert not [row for row in rows if "secret" in row or "192.0.2" in row]


def test_traffic_is_counted_by_ten_minutes_with_refusals_and_latency_and_once(place: JournalGround) -> None:
    """C218: who puts a version in force everywhere sees it, so a batch that two nodes read counts once here too."""
    refused = {"outcome": Outcome.REFUSED, "reason": "scope_missing"}
    place.write(
        made(1, latency_us=10_000),
        made(2, latency_us=10_001),
        made(3, latency_us=99_000_000, count=4),
        made(4, **refused),
        made(5, at=AT - 2 * SLOT),
        made(6, tenant="mercy", app="a2"),
    )
    with closing(place.reader) as reader:
        late = reader.after({}, 100)
    counts = counted(place)
    counts._database.write(lambda tx: decision_counts.add(tx, late))

    found = counts.traffic(AT - SLOT, AT, ["general"])["a1"]
    assert (found.refused, found.answered, found.decided) == (1, 6, 7)
    assert (found.permitted[0], found.permitted[1], found.permitted[-1]) == (1, 1, 4)
    assert counts.traffic(AT - 2 * SLOT, AT - SLOT, ["general"])["a1"].decided == 1
    assert set(counts.traffic(AT - SLOT, AT, None)) == {"a1", "a2"}
    assert counts.traffic(AT, AT + SLOT, ["general"]) == {}


def test_traffic_is_kept_for_days_and_the_counts_by_day_for_longer(place: JournalGround) -> None:
    place.write(made(1))
    counted(place)

    later = counted(place, AT + SLOTS_KEPT + SLOT)

    assert later.traffic(AT - SLOT, AT, ["general"]) == {}
    assert later.total(SINCE) == 1


def test_where_some_kinds_were_permitted_is_listed_once_a_tenant(place: JournalGround) -> None:
    """C220: by interaction, type and what permitted it; refusals and other clients are no place."""
    other = {"interaction": "create", "rule": "user/Observation.c"}
    place.write(
        made(1),
        made(2, at=AT - timedelta(days=1)),
        made(3, tenant="mercy"),
        made(4, tenant="north", client="c3"),
        made(5, tenant="north", rule="user/Observation.rs"),
        made(6, tenant="north", outcome=Outcome.REFUSED, reason="label_withheld"),
        made(7, tenant="north", **other),
        made(8, tenant="long ago", at=AT - timedelta(days=9)),
    )
    counts, since = counted(place), AT - timedelta(days=7)
    kinds = [("read", "Observation", "patient/Observation.rs")]

    assert counts.places(CLIENTS, since, kinds) == [
        ("read", "Observation", "general"),
        ("read", "Observation", "mercy"),
    ]
    assert ("create", "Observation", "north") in counts.places(
        CLIENTS, since, [*kinds, ("create", "Observation", other["rule"])]
    )
    assert counts.places((), since, kinds) == counts.places(CLIENTS, since, [("read", "Goal", "x")]) == []


def test_how_calls_ended_is_counted_by_day_and_hospital_once_whoever_reads_it_twice(
    place: JournalGround,
) -> None:
    """C228: in the transaction of the other counts, so also when another node counted the same."""
    refused = {"outcome": Outcome.REFUSED, "status": 403}
    place.write(
        made(1, latency_us=50_000),
        made(2, latency_us=50_001, count=3),
        made(3, **refused, reason="scope_insufficient"),
        made(4, outcome=Outcome.REFUSED, reason="quota_exceeded", status=429),
        made(5, outcome=Outcome.REFUSED, reason="upstream_unavailable", status=503),
        made(6, status=422),
        made(7, **refused, reason="switch_engaged"),
        made(8, tenant="mercy", at=AT - timedelta(days=1)),
        made(9, tenant="x", outcome=Outcome.REFUSED, reason="tenant_mismatch", status=401),
        made(10, app="a2"),
        made(11, run="run_1", status=400),
    )
    with closing(place.reader) as reader:
        late = reader.after({}, 100)
    counts = counted(place)
    counts._database.write(lambda tx: decision_counts.add(tx, late))

    at = counts.served_by_tenant("a1", SINCE, "")
    assert list(at) == ["general", "mercy"], "the busiest first"
    general = at["general"]
    assert (general.refused, general.mistaken, general.throttled, general.failed) == (1, 1, 1, 1)
    assert (general.answered[:3], general.answers, general.calls) == ((1, 3, 0), 4, 8)
    by_day = counts.served_by_day("a1", SINCE, "")
    assert {day: each.calls for day, each in by_day.items()} == {
        AT.date() - timedelta(days=1): 1,
        AT.date(): 8,
    }
    assert counts.served_by_day("a1", SINCE, "mercy").keys() == {AT.date() - timedelta(days=1)}
    assert counts.served_by_tenant("a1", AT, "mercy") == {}
    totals = counts.served_totals(["general", "mercy", "nowhere"], SINCE)
    assert {tenant: each.calls for tenant, each in totals.items()} == {"general": 9, "mercy": 1}


def test_how_calls_ended_is_kept_as_long_as_decisions_are(place: JournalGround) -> None:
    place.write(made(1))
    counted(place)

    assert counted(place, AT + SERVICE_SLOTS_KEPT + SLOT).served_by_day("a1", SINCE, "")
    later = counted(place, AT + COUNTED_FOR + timedelta(days=1))

    tables = service_counts.slots, service_counts.days
    kept = later._database.read(lambda tx: [row for each in tables for row in tx.execute(select(each))])
    assert kept == []
