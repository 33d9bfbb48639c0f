"""What counts row by row is signed: who can write to the database, and has no key, can make nothing count (C179)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, literal_column, select, update

from hilum.attestations import policy, service, store
from hilum.attestations.models import ATTEST_ACTION, DIGITS, WHOLE_FROM
from hilum.audit import store as audit_store
from hilum.infra.context import Context, Trace
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict
from hilum.keys import service as keys
from hilum.keys.models import Purpose

L, N, H = store.leaves, store.nodes, store.tree_heads
TRACE = Trace("req_test")
ONE, TWO = ("thing/1", policy.digest_of("one")), ("thing/2", policy.digest_of("two"))
FORGED = ("thing/1", policy.digest_of("one", "and more"))
EVENTS = audit_store.audit_event


class Rows:
    """Two signed rows; each step is a transaction."""

    def __init__(self, uow: UnitOfWork) -> None:
        self.uow = uow
        for kept in (service._verified, service._kept, service._unproved):
            kept.clear()
        self.sign(ONE, TWO)

    def do(self, verb: Callable[..., Any], *args: Any) -> Any:
        return self.uow.write_now(lambda ctx: verb(ctx, *args), actor=SYSTEM, trace=TRACE)

    def sign(self, *states: service.State) -> None:
        self.do(service.attest, *states)

    def run(self, *statements: Any) -> None:
        self.do(lambda ctx: [ctx.tx.execute(each) for each in statements])

    def counting(self, *states: service.State) -> list[service.State]:
        """Return which rows count in a process that starts now."""
        service._verified.clear()
        return list(self.do(lambda ctx: service.intact(ctx, lambda _: states, lambda each: each)))

    def all_of(self, table: Any) -> list[dict[str, Any]]:
        return self.do(lambda ctx: [dict(each) for each in ctx.tx.execute(select(table)).mappings()])

    def begin(self, *, from_scratch: bool = False, **kinds: list[service.State]) -> int:
        sources = {kind: lambda _, found=found: found for kind, found in kinds.items()}
        return int(self.do(lambda ctx: service.begin_kinds(ctx, sources, from_scratch=from_scratch)))

    def faults(self, *states: service.State) -> str:
        return " ".join(self.do(service.faults, {"thing": lambda _: states}))


@pytest.fixture
def rows(uow: UnitOfWork) -> Rows:
    return Rows(uow)


def test_what_was_signed_counts_and_nothing_else_does(rows: Rows) -> None:
    assert rows.counting(ONE, TWO) == [ONE, TWO]
    assert rows.counting(FORGED, TWO) == [TWO]
    assert rows.counting(("thing/3", ONE[1])) == []
    assert rows.faults(ONE, TWO) == ""


def test_each_state_replaces_the_one_before_and_the_one_before_counts_no_more(rows: Rows) -> None:
    """An end that somebody takes out of a row does not bring it back, although what it is then was signed once."""
    rows.sign(FORGED)

    assert rows.counting(ONE, TWO) == [TWO]
    assert rows.counting(FORGED, TWO) == [FORGED, TWO]


PLACE = policy.place_of(ONE[0])
CHANGES: dict[str, list[Any]] = {
    "its leaf": [update(L).where(L.c.subject == ONE[0]).values(digest=FORGED[1])],
    "its leaf and its bucket": [
        update(L).where(L.c.subject == ONE[0]).values(digest=FORGED[1]),
        update(N).where(N.c.place == PLACE).values(digest=policy.bucket_digest(dict([FORGED]))),
    ],
    "its leaf in another bucket": [
        update(L).where(L.c.subject == ONE[0]).values(digest=FORGED[1], place="ffff")
    ],
    "the root": [update(H).values(root="0" * 64)],
    "the signature": [update(H).values(signature="A" * 86)],
    "the number": [update(H).values(number=H.c.number + 1)],
    "whose key signed": [update(H).values(kid="key_other")],
    "no head": [delete(H)],
    "no head and no record": [delete(H), delete(EVENTS).where(EVENTS.c.action == ATTEST_ACTION)],
    "nothing left": [delete(H), delete(L), delete(N)],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_row_that_somebody_forged_does_not_count_whatever_they_write_beside_it(
    rows: Rows, change: list[Any]
) -> None:
    """C179."""
    rows.run(*change)

    assert rows.counting(FORGED) == []
    assert rows.faults(FORGED, TWO)


@pytest.mark.parametrize("change", list(CHANGES.values())[3:], ids=list(CHANGES)[3:])
def test_nothing_is_signed_on_what_cannot_be_trusted(rows: Rows, change: list[Any]) -> None:
    rows.run(*change)
    service._verified.clear()

    with pytest.raises(Conflict) as caught:
        rows.sign(("thing/3", "x" * 64))

    assert caught.value.code == "attestations_not_as_signed"
    assert rows.begin(thing=[FORGED]) == 0
    assert rows.counting(FORGED) == []


@pytest.mark.parametrize("column", ["root", "previous", "kid", "signature"])
def test_a_head_with_a_value_that_is_no_text_is_a_fault_and_no_error(
    sqlite_uow: UnitOfWork, column: str
) -> None:
    """ADR 150: SQLite takes a value of any type, and doctor still says what is wrong."""
    rows = Rows(sqlite_uow)
    rows.run(update(H).values({column: literal_column("x'00ff'")}))

    assert rows.counting(ONE) == []
    assert "not the one in the audit trail" in rows.faults(ONE)
    rows.run(delete(EVENTS).where(EVENTS.c.action == ATTEST_ACTION))
    assert rows.counting(ONE) == []
    assert "does not match what was signed" in rows.faults(ONE)


def test_an_old_tree_that_is_restored_has_no_effect(rows: Rows) -> None:
    """C179: every row of it was signed by this platform, and the audit trail has a newer head."""
    before = {table: rows.all_of(table) for table in (L, N, H)}
    rows.sign(FORGED)

    for table, found in before.items():
        rows.run(delete(table), insert(table).values(found))

    assert rows.counting(ONE, TWO) == []
    assert "audit trail has number 2" in rows.faults(ONE, TWO)


def test_a_row_that_was_deleted_is_listed(rows: Rows) -> None:
    assert rows.faults(TWO) == "thing/1: It was signed, but is missing."
    assert rows.faults(FORGED, TWO) == "thing/1: It does not match what was signed."
    assert "thing/9: It was never signed." in rows.faults(ONE, TWO, ("thing/9", "x"))


NODES: dict[str, list[Any]] = {
    "one beside the way": [update(N).where(N.c.place == policy.place_of(TWO[0])[:1]).values(digest="0" * 64)],
    "one on the way": [delete(N).where(N.c.place == PLACE[:2])],
    "that of its bucket": [update(N).where(N.c.place == PLACE).values(digest="0" * 64)],
    "one whose parent is another": [
        update(N).where(N.c.place == policy.place_of(TWO[0])[:1]).values(parent="zz")
    ],
    "one where there is none": [insert(N).values(place="f0", parent="f", digest="0" * 64)],
    "all": [delete(N)],
}


@pytest.mark.parametrize("damage", NODES.values(), ids=list(NODES))
def test_a_node_that_was_changed_or_lost_costs_nothing_and_is_written_again(
    rows: Rows, damage: list[Any]
) -> None:
    """C179: what it was follows from the leaves."""
    before = rows.all_of(N)
    rows.run(*damage)

    assert rows.counting(ONE, TWO, ("thing/3", "x")) == [ONE, TWO]
    assert rows.counting(FORGED) == []
    assert "by which nothing is lost" in rows.faults(ONE, TWO)
    assert "thing/" not in rows.faults(ONE, TWO)

    rows.sign(ONE, TWO, ("f0/284", "x"))
    assert rows.faults(ONE, TWO, ("f0/284", "x")) == ""
    rows.sign(("f0/284", policy.GONE))
    assert sorted(map(str, rows.all_of(N))) == sorted(map(str, before))


LEAF = update(L).where(L.c.subject == ONE[0])
LEAVES: dict[str, list[Any]] = {
    "another": [LEAF.values(digest=FORGED[1])],
    "none": [delete(L).where(L.c.subject == ONE[0])],
    "at another place": [LEAF.values(place="ffff")],
    "one more beside it": [insert(L).values(subject="thing/evil", place=PLACE, digest="0" * 64)],
    "another, and a node elsewhere": [
        LEAF.values(digest=FORGED[1]),
        update(N).where(N.c.place == policy.place_of(TWO[0])[:1]).values(digest="0" * 64),
    ],
}


@pytest.mark.parametrize("damage", LEAVES.values(), ids=list(LEAVES))
def test_a_leaf_that_was_changed_or_lost_costs_its_bucket_and_nothing_else(
    rows: Rows, damage: list[Any]
) -> None:
    """C179: what is signed elsewhere counts and can be signed; what was signed there counts again once its leaf is as it was."""
    before = rows.all_of(L)
    kept = (
        delete(L),
        insert(L).values(
            [*before, {"subject": "thing/9", "place": policy.place_of("thing/9"), "digest": "x"}]
        ),
    )
    rows.run(*damage)

    assert rows.counting(ONE, TWO, FORGED) == [TWO]
    assert f"{ONE[0]}: {policy.UNPROVED}" in rows.faults(ONE, TWO)
    assert TWO[0] not in rows.faults(ONE, TWO)
    # Nobody signs it as if it were the first, or goes on from what it is now.
    assert rows.do(service.is_signed, ONE[0])
    assert rows.do(service.signed_among, {ONE[0], "thing/9"}) == {ONE[0]}
    assert not rows.do(service.can_sign, ONE[0])
    for verb, code in ((service.require, "not_as_signed"), (service.attest, "attestations_not_as_signed")):
        with pytest.raises(Conflict, match="hilum doctor") as caught:
            rows.do(verb, ONE)
        assert caught.value.code == code

    # An end waits for nothing: where it is not signed, its row says so.
    rows.do(service.attest_end, (ONE[0], "ended"), ("thing/9", "x"))
    assert rows.counting(("thing/9", "x"), ONE, TWO) == [("thing/9", "x"), TWO]
    assert rows.counting(FORGED) == []
    rows.run(*kept)
    assert rows.counting(("thing/9", "x"), ONE, TWO) == [("thing/9", "x"), ONE, TWO]
    assert rows.faults(ONE, TWO, ("thing/9", "x")) == ""


def test_a_removal_is_not_undone_by_the_leaves_and_nodes_of_before(rows: Rows) -> None:
    """C179: beside the head of today."""
    before = {table: rows.all_of(table) for table in (L, N)}
    rows.sign((ONE[0], policy.GONE))

    for tables in ((L,), (N,), (L, N)):
        for table in tables:
            rows.run(delete(table), insert(table).values(before[table]))
        assert ONE not in rows.counting(ONE, TWO)


def test_a_damaged_part_is_read_once_and_not_with_each_row(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, read = list[str](), store.read_below

    def noted(tx: Any, parent: str) -> Any:
        found.append(parent)
        return read(tx, parent)

    monkeypatch.setattr(store, "read_below", noted)
    rows.run(*NODES["one beside the way"])

    assert rows.counting(ONE) == [ONE]
    assert found == [""]
    assert rows.counting(ONE, TWO) == [ONE, TWO]
    assert len(found) == 1

    # A leaf and the node above it: what is below the node's parent is lost, and the leaves there are not read by everybody who asks.
    leaf = rows.all_of(L)
    rows.run(LEAF.values(digest=FORGED[1]), delete(N).where(N.c.place == PLACE))
    assert rows.counting(ONE, TWO) == [TWO]
    assert rows.counting(ONE) == []
    assert found == ["", PLACE[:3]]
    rows.run(delete(L), insert(L).values(leaf))
    assert rows.counting(ONE, TWO) == [ONE, TWO]


def test_damage_that_comes_in_sight_elsewhere_costs_nothing_that_was_proved_without_it(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C179: a worker that starts reads the whole tree where many parts are damaged. It failed, instead of leaving out what is not proved."""
    monkeypatch.setattr(service, "OPEN_BOUND", 0)
    free = [each for each in DIGITS if each not in {PLACE[0], policy.place_of(TWO[0])[0]}]
    evil = [{"subject": f"evil/{each}", "place": each * 4, "digest": "0" * 64} for each in free]
    rows.run(*LEAVES["another, and a node elsewhere"], delete(N).where(N.c.place == PLACE))
    rows.run(insert(L).values(evil))

    assert rows.counting(ONE, TWO, FORGED) == [TWO]
    assert not rows.do(service.can_sign, ONE[0])


def test_what_a_retired_key_signed_counts_on(rows: Rows) -> None:
    rows.do(keys.rotate, Purpose.ATTESTATION, "")

    assert rows.counting(ONE, TWO) == [ONE, TWO]
    rows.sign(FORGED)
    assert rows.counting(FORGED, TWO) == [FORGED, TWO]


def test_people_at_two_nodes_sign_one_after_the_other(rows: Rows) -> None:
    states = [(f"thing/{n}", policy.digest_of(n)) for n in range(10, 18)]

    with ThreadPoolExecutor(len(states)) as pool:
        list(pool.map(rows.sign, states))

    assert rows.counting(*states, ONE, TWO) == [*states, ONE, TWO]
    assert rows.faults(*states, ONE, TWO) == ""
    found = rows.do(lambda ctx: store.numbered_heads(ctx.tx, range(100)))
    found.sort(key=lambda each: each.number)
    assert [each.number for each in found] == list(range(1, 10))
    assert [each.previous for each in found] == ["", *map(policy.head_digest, found[:-1])]


@pytest.mark.parametrize("one_uow", ["postgresql"], indirect=True)
def test_what_somebody_else_signs_between_two_reads_is_no_fault_of_a_row(
    one_uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C179: on SQLite nobody writes meanwhile. A row must not count for nothing, and no alarm be raised, since others work."""
    rows, read, others = Rows(one_uow), store.read_part, iter([("thing/3", policy.digest_of("three"))])

    def meanwhile(tx: Any, places: Any) -> Any:
        if (other := next(others, None)) is not None:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(rows.sign, other).result()
        return read(tx, places)

    monkeypatch.setattr(store, "read_part", meanwhile)

    assert rows.do(service.matches, ONE)
    assert next(others, None) is None, "it was signed meanwhile"
    assert not rows.do(service.matches, FORGED)


def test_a_kind_is_signed_once_and_one_that_a_later_release_adds_when_it_comes(rows: Rows) -> None:
    """The upgrade: what there was counts on; what somebody writes afterwards does not."""
    old, later = ("old/1", policy.digest_of("a")), ("old/2", policy.digest_of("b"))
    assert rows.begin(old=[old]) == 1
    assert rows.begin(old=[old, later]) == 0
    assert rows.counting(old, later, ONE) == [old, ONE]

    assert rows.begin(old=[old, later], new=[("new/1", "c")]) == 1
    assert rows.counting(old, later, ("new/1", "c")) == [old, ("new/1", "c")]


def test_a_kind_is_not_signed_again_where_nobody_knows_whether_it_was(rows: Rows) -> None:
    """Nor is a new one while some of its rows are where the tree is damaged: rows that somebody wrote meanwhile would count."""
    old, evil = ("old/1", policy.digest_of("a")), ("old/2", policy.digest_of("b"))
    rows.begin(old=[old])
    rows.run(delete(L).where(L.c.subject == "kind/old"))

    assert rows.begin(old=[old, evil]) == 0
    assert rows.counting(old, evil) == [old]

    rows.run(LEAF.values(digest=FORGED[1]))
    with pytest.raises(Conflict) as caught:
        rows.begin(new=[("new/1", "c"), FORGED])
    assert caught.value.code == "attestations_not_as_signed"
    assert rows.begin(new=[("new/1", "c")]) == 1


def test_a_platform_that_never_signed_anything_signs_what_there_is(uow: UnitOfWork) -> None:
    fresh = Rows.__new__(Rows)
    fresh.uow = uow

    assert fresh.faults() == ""
    assert fresh.counting(ONE) == []
    assert fresh.begin(thing=[ONE]) == 1
    assert fresh.counting(ONE, TWO) == [ONE]


def test_whoever_runs_the_host_signs_everything_again_where_what_was_signed_is_lost(rows: Rows) -> None:
    rows.run(delete(H), delete(L), update(N).values(digest="0" * 64))
    assert rows.begin(thing=[FORGED]) == 0

    assert rows.begin(from_scratch=True, thing=[ONE, TWO]) == 2

    assert rows.counting(FORGED, TWO) == [TWO]
    assert rows.counting(ONE, TWO) == [ONE, TWO]
    assert rows.faults(ONE, TWO) == ""
    # Its number follows those of the audit trail, so that the old tree cannot come back.
    assert rows.do(service.newest_head)[0] == 2


def test_a_row_costs_as_much_to_check_among_thousands_as_among_few(sqlite_uow: UnitOfWork) -> None:
    rows = Rows(sqlite_uow)
    few = _read(rows)

    rows.sign(*((f"more/{n}", policy.digest_of(n)) for n in range(5_000)))

    assert _read(rows) <= few + 70
    assert rows.do(lambda ctx: ctx.tx.execute(select(func.count()).select_from(L)).scalar()) == 5_002


def test_thousands_of_rows_are_checked_together_by_reading_the_whole_tree_once(
    sqlite_uow: UnitOfWork,
) -> None:
    """As a worker does with the clients of every app when it starts."""
    rows = Rows(sqlite_uow)
    many = [(f"more/{n}", policy.digest_of(n)) for n in range(3 * WHOLE_FROM // 2)]
    rows.sign(*many)

    assert rows.counting(*many, FORGED, ("thing/9", "x")) == many
    rows.run(update(L).where(L.c.subject == "thing/2").values(digest=FORGED[1]))
    rows.run(update(N).where(N.c.place == policy.place_of("more/1")).values(digest="0" * 64))
    rows.run(delete(N).where(N.c.parent == "a"))
    assert rows.counting(*many, ("thing/2", FORGED[1])) == many, "damage elsewhere takes nothing from them"
    rows.run(delete(L).where(L.c.subject == "more/1"))
    lost = {each for each in many if policy.place_of(each[0]) == policy.place_of("more/1")}
    assert rows.counting(*many) == [each for each in many if each not in lost]
    # Nor is what is wrong signed with what is right.
    extra = [(f"extra/{n}", policy.digest_of(n)) for n in range(WHOLE_FROM + 500)]
    there = {*lost, *(each for each in extra if policy.place_of(each[0]) == policy.place_of("more/1"))}
    rows.sign(*(each for each in extra if each not in there))
    assert rows.counting(*many, *extra) == [each for each in (*many, *extra) if each not in there]


def test_a_row_that_was_removed_leaves_nothing_behind_and_does_not_come_back(rows: Rows) -> None:
    rows.sign((ONE[0], policy.GONE))

    assert rows.counting(ONE, TWO) == [TWO]
    assert [each["subject"] for each in rows.all_of(L)] == [TWO[0]]
    assert rows.faults(TWO) == ""
    rows.sign(ONE)
    assert rows.counting(ONE, TWO) == [ONE, TWO]


def _read(rows: Rows) -> int:
    """Return how many leaves and nodes are read to check one row."""

    def verb(ctx: Context) -> int:
        part = store.read_part(ctx.tx, {policy.place_of(ONE[0])})
        return len(part.nodes) + sum(map(len, part.buckets.values()))

    return int(rows.do(verb))
