"""The control stream: one chain a writer, in the transaction of the change; whatever is done to it later shows."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, delete, literal_column, select, update

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.records.audit import service, store
from hilum.records.audit.models import (
    PURGE_ACTION,
    Access,
    AccessQuery,
    Event,
    EventQuery,
    Outcome,
    Verdict,
)
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from tests.effort import effort
from tests.sim.world import FakeClock

TRACE = Trace("req_1", "192.0.2.7", "their-id")
NURSE = Actor(ActorKind.PERSON, "per_nurse", roles=frozenset({"nurse"}))


class NoAccesses:
    """An installation whose gateway was never used."""

    def heads(self) -> dict[str, Any]:
        return {}

    def chains(self) -> Any:
        return iter(())

    def find(self, request_id: str) -> list[Access]:
        return []

    def newest(self, query: AccessQuery) -> list[Access]:
        return []

    def purge(self, before: datetime) -> int:
        return 0


NO_ACCESSES: Any = NoAccesses()
"""No file of a journal is ever opened here, so what a real reader keeps open is left out."""


def record(uow: UnitOfWork, *events: Event, trace: Trace = TRACE) -> None:
    def verb(ctx: Context) -> None:
        for event in events:
            service.record(ctx, event)

    uow.write_now(verb, actor=NURSE, trace=trace)


def newest(uow: UnitOfWork) -> int:
    last = uow.read_now(service.newest_checkpoint, trace=TRACE)
    return last.number if last is not None else 0


def checkpoint(uow: UnitOfWork, heads: Any = None, after: int | None = None) -> Any:
    after = newest(uow) if after is None else after
    return uow.write_now(lambda ctx: service.checkpoint(ctx, heads or {}, after=after), trace=TRACE)


def verify(uow: UnitOfWork) -> Verdict:
    return uow.read_now(lambda ctx: service.verify(ctx, NO_ACCESSES), trace=TRACE)


def page(uow: UnitOfWork, **wanted: Any) -> Any:
    return uow.read_now(lambda ctx: service.list_events(ctx, EventQuery(**wanted)), trace=TRACE)


def change(uow: UnitOfWork, *statements: Any) -> None:
    def verb(ctx: Context) -> None:
        for statement in statements:
            ctx.tx.execute(statement)

    uow.write_now(verb, trace=TRACE)


EVENTS = tuple(
    Event("room.thing.do", tenant="general", app=f"app_{n}", patient=f"pat-{n}", facts={"n": n})
    for n in range(1, 7)
)


def test_an_event_comes_back_as_it_was_recorded_with_who_when_and_why(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C149, C150."""
    event = Event(
        "consent.authorization.withdraw",
        Outcome.REFUSED,
        tenant="general",
        app="app_1",
        client="cli_1",
        person="per_1",
        launch="lch_1",
        authorization="aut_1",
        reason="not_yours",
        patient="pat-1",
        facts={"scopes": ["patient/*.rs"], "n": 3},
    )
    record(uow, event)

    (found,) = page(uow).events

    assert found.event == event
    assert (found.actor, found.at) == ("person:per_nurse", clock.now())
    assert (found.request_id, found.source, found.correlation_id) == ("req_1", "192.0.2.7", "their-id")


def test_a_refused_verb_leaves_its_record_and_a_failed_one_leaves_none(uow: UnitOfWork) -> None:
    """Security decision 3."""

    def refuse(ctx: Context) -> None:
        service.record(ctx, Event("room.thing.refuse", Outcome.REFUSED))
        raise NotPermitted("no")

    def fail(ctx: Context) -> None:
        service.record(ctx, Event("room.thing.fail"))
        raise ValueError("a bug")

    for verb, error in ((refuse, NotPermitted), (fail, ValueError)):
        with pytest.raises(error):
            uow.write_now(verb, trace=TRACE)

    assert [found.event.action for found in page(uow).events] == ["room.thing.refuse"]
    assert verify(uow).intact


@pytest.mark.parametrize(
    ("reason", "code"), [("", "not_permitted"), ("too_many_clients", "too_many_clients")]
)
def test_a_refusal_is_on_record_with_the_code_of_its_error(uow: UnitOfWork, reason: str, code: str) -> None:
    """C150; security decision 3."""

    def verb(ctx: Context) -> None:
        raise service.refusal(ctx, Event("room.thing.do", app="app_1", reason=reason), "Not now.")

    with pytest.raises(NotPermitted) as refused:
        uow.write_now(verb, actor=NURSE, trace=TRACE)
    assert (refused.value.code, refused.value.detail) == (code, "Not now.")
    [recorded] = page(uow).events
    assert (recorded.event.app, recorded.event.outcome, recorded.event.reason) == (
        "app_1",
        Outcome.REFUSED,
        code,
    )


def test_threads_of_one_process_never_fork_the_chain(uow: UnitOfWork) -> None:
    """C152: seq and hash go on without gap or branch however many threads record at once."""
    count = effort(40, 1_000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: record(uow, Event("room.thing.do", app=f"app_{n}")), range(count)))

    verdict = verify(uow)

    assert verdict.intact, verdict.faults
    assert verdict.records == verdict.uncovered == count
    head = uow.read_now(lambda ctx: store.control_heads(ctx.tx), trace=TRACE)
    assert sum(seq for seq, _ in head.values()) == count
    assert len(head) == 1 or not uow.db.is_sqlite


def test_what_is_remembered_of_a_chains_end_is_never_trusted_after_a_rollback(uow: UnitOfWork) -> None:
    """C152: an end that a rolled-back transaction reached is no end, whether it failed by a bug, a conflict or a refusal."""
    record(uow, EVENTS[0])

    def lost(ctx: Context) -> None:
        service.record(ctx, EVENTS[1])
        raise Conflict("late")

    for _ in range(3):
        with pytest.raises(Conflict):
            uow.write_now(lost, trace=TRACE)
        record(uow, EVENTS[0])

    assert verify(uow).intact
    assert verify(uow).records == 4


def test_somebody_else_who_writes_the_same_chain_forks_nothing(uow: UnitOfWork) -> None:
    """Two host commands share a name, and a failover may lose what this process knows to be committed."""
    other = UnitOfWork.create(Database(uow.db.url), uow.clock, uow.ids, uow.writer)
    for _ in range(4):
        record(uow, EVENTS[0])
        record(other, EVENTS[1])
    other.close()

    assert verify(uow).intact
    assert verify(uow).records == 8


def test_an_end_that_the_database_lost_is_read_again(uow: UnitOfWork) -> None:
    """Commits that a failover lost: the chain goes on from what is stored, without a gap."""
    for _ in range(3):
        record(uow, EVENTS[0])
    with uow.db.engine.connect() as behind:
        state = behind.execute(select(store.audit_chain)).one()
        behind.rollback()
    for _ in range(2):
        record(uow, EVENTS[1])

    def lose(tx: Connection) -> None:
        for table in (store.audit_event, store.audit_payload):
            tx.execute(table.delete().where(table.c.seq > state.seq))
        tx.execute(store.audit_chain.update().values(seq=state.seq, hash=state.hash))

    beside = Database(uow.db.url)
    beside.write(lose)
    beside.dispose()
    record(uow, EVENTS[2])

    assert verify(uow).intact
    assert verify(uow).records == 4


def test_a_verb_sees_what_it_recorded_itself(uow: UnitOfWork) -> None:
    """What waits for the commit is sent before anything that might look at it."""
    record(uow, EVENTS[0])

    def verb(ctx: Context) -> int:
        service.record(ctx, EVENTS[1])
        service.record(ctx, EVENTS[2])
        return len(service.list_events(ctx, EventQuery()).events)

    assert uow.write_now(verb, trace=TRACE) == 3
    assert verify(uow).intact


def test_what_a_verb_has_recorded_comes_last_and_follows_its_transaction(uow: UnitOfWork) -> None:
    """Security decision 3: after a success and a decided refusal it stands, in the name of who did it; otherwise nothing does."""

    def done(ctx: Context) -> None:
        ctx.record(EVENTS[1])
        ctx.as_actor(Actor(ActorKind.PERSON, "per_other")).record(EVENTS[2])
        service.record(ctx, EVENTS[0])

    def ended(error: Exception) -> None:
        def verb(ctx: Context) -> None:
            ctx.record(Event("room.thing.refuse", Outcome.REFUSED, reason=type(error).__name__))
            raise error

        with pytest.raises(type(error)):
            uow.write_now(verb, actor=NURSE, trace=TRACE)

    uow.write_now(done, actor=NURSE, trace=TRACE)
    for error in (NotPermitted("no"), Conflict("taken"), ValueError("a bug")):
        ended(error)

    recorded = page(uow).events
    assert [(each.event.app or each.event.reason, each.actor) for each in recorded] == [
        ("NotPermitted", "person:per_nurse"),
        ("app_3", "person:per_other"),
        ("app_2", "person:per_nurse"),
        ("app_1", "person:per_nurse"),
    ]
    assert verify(uow).intact


def test_every_writer_has_a_chain_of_its_own(uow: UnitOfWork) -> None:
    record(uow, EVENTS[0])
    other = UnitOfWork.create(uow.db, uow.clock, uow.ids, "other-writer")
    record(other, EVENTS[1])

    heads = uow.read_now(lambda ctx: store.control_heads(ctx.tx), trace=TRACE)

    assert set(heads) == {"control/test-writer", "control/other-writer"}
    assert len({digest for _, digest in heads.values()}) == 2
    assert verify(uow).intact


def test_a_checkpoint_states_only_what_moved_and_nothing_when_nothing_did(uow: UnitOfWork) -> None:
    record(uow, *EVENTS[:2])
    other = UnitOfWork.create(uow.db, uow.clock, uow.ids, "other-writer")
    record(other, EVENTS[2])
    first = checkpoint(uow)
    quiet = checkpoint(uow)
    record(other, EVENTS[3])
    second = checkpoint(uow)

    assert set(first.heads) == {"control/test-writer", "control/other-writer"}
    assert quiet is None
    assert set(second.heads) == {"control/other-writer"}
    assert (first.number, second.number) == (1, 2)
    assert second.previous
    verdict = verify(uow)
    assert (verdict.intact, verdict.checkpoints, verdict.uncovered) == (True, 2, 0)


def test_the_tail_past_the_last_checkpoint_is_counted(uow: UnitOfWork) -> None:
    """Security decision 5."""
    record(uow, *EVENTS[:4])
    checkpoint(uow)
    record(uow, *EVENTS[4:])

    verdict = verify(uow)

    assert (verdict.intact, verdict.records, verdict.uncovered) == (True, 6, 2)


event, payload, chain, points, heads = (
    store.audit_event,
    store.audit_payload,
    store.audit_chain,
    store.audit_checkpoint,
    store.audit_head,
)
THIRD = event.c.seq == 3
AFTER_FOUR = event.c.seq > 4
LAST = event.c.seq == 6


def rehash(uow: UnitOfWork) -> None:
    """Do what somebody with the database but without the keys can do: make the whole chain fit again."""

    def verb(ctx: Context) -> None:
        from hilum.records.audit import policy

        previous = policy.genesis("control", "test-writer")
        rows = list(store.control_rows(ctx.tx, "test-writer"))
        for seq, header, digest, _, _, _ in rows:
            previous = policy.link(previous, bytes(digest), header)
            ctx.tx.execute(update(event).where(event.c.seq == seq).values(hash=previous))
        ctx.tx.execute(update(chain).values(hash=previous, seq=rows[-1][0]))

    uow.write_now(verb, trace=TRACE)


def swap(first: int, second: int) -> tuple[Any, ...]:
    return (
        update(event).where(event.c.seq == first).values(seq=1_000),
        update(event).where(event.c.seq == second).values(seq=first),
        update(event).where(event.c.seq == 1_000).values(seq=second),
    )


TAMPERING: dict[str, tuple[tuple[Any, ...], str]] = {
    "an edited action": (
        (update(event).where(THIRD).values(action="room.thing.undo"),),
        "record 3 was edited",
    ),
    "an edited actor": (
        (update(event).where(THIRD).values(actor="person:per_other"),),
        "record 3 was edited",
    ),
    "an edited outcome": ((update(event).where(THIRD).values(outcome="refused"),), "record 3 was edited"),
    "an edited reason": ((update(event).where(THIRD).values(reason="because"),), "record 3 was edited"),
    "an edited request id": ((update(event).where(THIRD).values(request_id="req_2"),), "record 3 was edited"),
    "an edited tenant": ((update(event).where(THIRD).values(tenant="mercy"),), "record 3 was edited"),
    "an edited time": (
        (update(event).where(THIRD).values(at=datetime.fromisoformat("2026-03-01T00:00:00+00:00")),),
        "record 3 was edited",
    ),
    "an edited hash": ((update(event).where(THIRD).values(hash=b"\0" * 32),), "record 3 was edited"),
    "an edited digest": ((update(event).where(THIRD).values(digest=b"\0" * 32),), "record 3 was edited"),
    "an edited payload": (
        (update(payload).where(payload.c.seq == 3).values(body=orjson.dumps(["pat-9", {}])),),
        "payload of record 3 was edited",
    ),
    "an edited salt": (
        (update(payload).where(payload.c.seq == 3).values(salt=b"salt"),),
        "payload of record 3 was edited",
    ),
    "a removed payload": (
        (delete(payload).where(payload.c.seq == 3),),
        "payload of record 3 was removed without a purge",
    ),
    "a removed record": ((delete(event).where(THIRD),), "record 3 is missing"),
    "two removed records": ((delete(event).where(event.c.seq.in_([3, 4])),), "records 3 to 4 are missing"),
    "a removed first record": ((delete(event).where(event.c.seq == 1),), "record 1 is missing"),
    "a removed tail, noted": (
        (
            delete(event).where(AFTER_FOUR),
            update(chain).values(seq=4, hash=select(event.c.hash).where(event.c.seq == 4).scalar_subquery()),
        ),
        "record 6 was signed for",
    ),
    "a removed tail, not noted": ((delete(event).where(LAST),), "record 6 was signed for"),
    "swapped records": (swap(3, 4), "record 3 was edited"),
    "a removed chain": ((delete(event), delete(payload), delete(chain)), "is gone"),
    "removed events under a kept note": ((delete(event), delete(payload)), "record 6 was signed for"),
    "a removed note of the end": ((delete(chain),), "its stored head is gone"),
    "an edited note of the end": (
        (update(chain).values(hash=b"\1" * 32),),
        "not the one that was signed for",
    ),
    "an edited checkpoint": (
        (update(points).values(heads={"control/test-writer": [5, "00" * 32]}),),
        "not signed by a key",
    ),
    "an edited signature": ((update(points).values(signature="AAAA"),), "not signed by a key"),
    "heads that are none": (
        (update(points).values(heads=["control/test-writer"]),),
        "the checkpoints: a value cannot be read",
    ),
    "a head that is none": (
        (update(points).values(heads={"control/test-writer": 6}),),
        "the checkpoints: a value cannot be read",
    ),
    "a head without a hash": (
        (update(points).values(heads={"control/test-writer": [6, "zz"]}),),
        "chain control/test-writer: a value cannot be read",
    ),
    "a purge up to no moment": (
        (update(event).where(THIRD).values(action=PURGE_ACTION, reason="room before then"),),
        "the purge events: a value cannot be read",
    ),
    "a record of no time": (
        (update(event).where(THIRD).values(at=literal_column(str(9 * 10**18))),),
        "chain control/test-writer: a value cannot be read",
    ),
    "an edited checkpoint time": (
        (update(points).values(at=datetime.fromisoformat("2026-03-01T00:00:00+00:00")),),
        "not signed by a key",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_tampering_with_the_control_stream_is_found(uow: UnitOfWork, name: str) -> None:
    """C152: verify detects an edit, removal or reorder."""
    record(uow, *EVENTS)
    checkpoint(uow)
    assert verify(uow).intact
    statements, told = TAMPERING[name]

    change(uow, *statements)

    verdict = verify(uow)
    assert not verdict.intact
    assert any(told in fault for fault in verdict.faults), verdict.faults


@pytest.mark.parametrize(
    "statement",
    [
        update(event).where(THIRD).values(action="room.thing.undo"),
        delete(event).where(LAST),
        update(event).where(THIRD).values(person="per_9"),
    ],
)
def test_a_chain_that_was_made_to_fit_again_still_misses_its_checkpoint(
    uow: UnitOfWork, statement: Any
) -> None:
    record(uow, *EVENTS)
    checkpoint(uow)

    change(uow, statement)
    rehash(uow)

    assert any("signed for" in fault for fault in verify(uow).faults)


def test_a_removed_checkpoint_in_between_is_found(uow: UnitOfWork) -> None:
    for made in EVENTS[:3]:
        record(uow, made)
        checkpoint(uow)

    change(uow, delete(points).where(points.c.number == 2))

    assert any("checkpoint 2 is missing" in fault for fault in verify(uow).faults)


def test_an_older_checkpoint_cannot_be_edited_under_a_newer_one(uow: UnitOfWork) -> None:
    """Each checkpoint names its predecessor's digest, so the newest signature covers all."""
    record(uow, EVENTS[0])
    checkpoint(uow)
    record(uow, EVENTS[1])
    checkpoint(uow)

    change(
        uow, update(points).where(points.c.number == 1).values(heads={"control/test-writer": [1, "11" * 32]})
    )

    assert any("checkpoint 2 does not follow" in fault for fault in verify(uow).faults)


def test_rotating_the_checkpoint_key_breaks_nothing(uow: UnitOfWork) -> None:
    record(uow, EVENTS[0])
    checkpoint(uow)
    uow.write_now(lambda ctx: keys.rotate(ctx, Purpose.CHECKPOINT, ""), trace=TRACE)
    record(uow, EVENTS[1])
    checkpoint(uow)

    assert verify(uow).intact


def test_faults_are_bounded_but_counted(uow: UnitOfWork) -> None:
    record(uow, *(Event("room.thing.do", facts={"n": n}) for n in range(130)))

    change(uow, update(event).values(reason="edited"))

    faults = verify(uow).faults
    assert len(faults) == 101
    assert faults[-1].startswith("and ")


def test_payloads_are_purged_by_class_and_the_chain_holds(uow: UnitOfWork, clock: FakeClock) -> None:
    """Security decision 5: the payload lies apart and can be purged by class without breaking the chain."""
    record(uow, *EVENTS[:3])
    record(uow, Event("consent.authorization.record", patient="pat-1", facts={"kept": True}))
    checkpoint(uow)
    clock.advance(timedelta(days=90))
    before = clock.now() - timedelta(days=60)

    removed = uow.write_now(lambda ctx: service.purge_payloads(ctx, "room", before), trace=TRACE)

    verdict = verify(uow)
    assert removed == 3
    assert verdict.intact, verdict.faults
    assert verdict.purged == 3
    told = {found.event.action: found.event for found in page(uow).events}
    assert told["room.thing.do"].patient == ""
    assert told["room.thing.do"].app == "app_1"
    assert told["consent.authorization.record"].facts == {"kept": True}
    assert PURGE_ACTION in told


def test_a_payload_removed_after_the_purged_time_is_found(uow: UnitOfWork, clock: FakeClock) -> None:
    record(uow, EVENTS[0])
    clock.advance(timedelta(days=90))
    uow.write_now(
        lambda ctx: service.purge_payloads(ctx, "room", clock.now() - timedelta(days=60)), trace=TRACE
    )
    record(uow, EVENTS[1])

    change(uow, delete(payload))

    assert any("removed without a purge" in fault for fault in verify(uow).faults)


def test_nothing_young_is_purged(uow: UnitOfWork, clock: FakeClock) -> None:
    record(uow, EVENTS[0])

    with pytest.raises(Invalid, match="purge_too_early"):
        uow.write_now(lambda ctx: service.purge_payloads(ctx, "room", clock.now()), trace=TRACE)

    assert page(uow).events[0].event.patient == "pat-1"


def test_pages_go_on_where_they_ended_whatever_comes_in_between(uow: UnitOfWork, clock: FakeClock) -> None:
    for n in range(7):
        record(uow, Event("room.thing.do", app=f"app_{n}"))
        if n % 3 == 2:
            clock.advance(timedelta(seconds=1))
    first = page(uow, limit=3)
    record(uow, Event("room.thing.late"))

    second = page(uow, limit=3, after=first.next)
    third = page(uow, limit=3, after=second.next)

    apps = [found.event.app for each in (first, second, third) for found in each.events]
    assert apps == [f"app_{n}" for n in reversed(range(7))]
    assert third.next == ""


def test_events_of_a_span_begin_with_its_first_moment_and_end_before_its_last(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    moments = []
    for n in range(4):
        moments.append(clock.now())
        record(uow, Event("room.thing.do", app=f"app_{n}"))
        clock.advance(timedelta(seconds=1))

    found = page(uow, since=moments[1], before=moments[3]).events

    assert [each.event.app for each in found] == ["app_2", "app_1"]
    assert page(uow, since=moments[3] + timedelta(microseconds=1)).events == ()


def test_a_page_is_bounded_and_a_foreign_cursor_is_refused(uow: UnitOfWork) -> None:
    record(uow, *(Event("room.thing.do") for _ in range(PAGE_BOUND + 5)))

    assert len(page(uow, limit=10_000).events) == PAGE_BOUND
    for cursor in ("x", "1", "1.x.w", "-1.2.w", "1." * 200, "٣.1.w"):
        with pytest.raises(Invalid, match="cursor_invalid"):
            page(uow, after=cursor)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"tenant": "general"}, {"a", "b"}),
        ({"tenant": "mercy"}, {"c"}),
        ({"tenant": "general", "app": "app_2"}, {"b"}),
        ({"action": "room"}, {"a", "b", "c"}),
        ({"action": "room.thing"}, {"a", "b", "c"}),
        ({"action": "room.th"}, set()),
        ({"action": "room.thing.do"}, {"a", "b", "c"}),
        ({"action": "roo_"}, set()),
        ({"request_id": "req_2"}, {"c"}),
        ({"tenant": "nowhere"}, set()),
    ],
)
def test_a_query_finds_what_fits_and_nothing_else(
    uow: UnitOfWork, wanted: dict[str, Any], found: set[int]
) -> None:
    record(uow, Event("room.thing.do", tenant="general", app="app_1", person="a"))
    record(uow, Event("room.thing.do", tenant="general", app="app_2", person="b"))
    record(uow, Event("room.thing.do", tenant="mercy", app="app_2", person="c"), trace=Trace("req_2"))

    assert {each.event.person for each in page(uow, **wanted).events} == found


def test_two_checkpointers_make_one_chain_of_checkpoints(uow: UnitOfWork) -> None:
    def work(n: int) -> None:
        record(uow, Event("room.thing.do", app=f"app_{n}"))
        for _ in range(20):
            with suppress(Conflict):
                checkpoint(uow)
                return

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(effort(12, 100))))

    verdict = verify(uow)
    assert verdict.intact, verdict.faults


def test_heads_that_were_read_before_somebody_elses_checkpoint_are_not_signed(uow: UnitOfWork) -> None:
    """C152: of two platforms on one database the slower would put a chain back, as if it had been cut."""
    record(uow, EVENTS[0])
    before = newest(uow)
    checkpoint(uow, {"access/w": (2, "22" * 32)}, after=before)

    with pytest.raises(Conflict):
        checkpoint(uow, {"access/w": (1, "11" * 32)}, after=before)

    assert not any(fault.endswith("puts chain access/w back") for fault in verify(uow).faults)
    checkpoint(uow, {"access/w": (1, "11" * 32)}, after=newest(uow))
    assert any(fault.endswith("puts chain access/w back") for fault in verify(uow).faults)


def test_an_unknown_request_has_no_explanation(uow: UnitOfWork) -> None:
    with pytest.raises(NotFound, match="request_unknown"):
        uow.read_now(lambda ctx: service.explain(ctx, "req_none", NO_ACCESSES), trace=TRACE)


def test_links_of_a_chain_are_all_different(uow: UnitOfWork) -> None:
    """Equal events have different hashes: place and salt count."""
    record(uow, *(Event("room.thing.do", facts={"same": True}) for _ in range(10)))

    rows = uow.read_now(lambda ctx: list(store.control_rows(ctx.tx, "test-writer")), trace=TRACE)

    assert len({bytes(row[3]) for row in rows}) == len({bytes(row[2]) for row in rows}) == 10
    assert all(after[0] == before[0] + 1 for before, after in pairwise(rows))


def test_events_are_found_by_any_of_some_actions_without_others_and_by_reason(uow: UnitOfWork) -> None:
    """C149: an action counts with those below it, and not with one that only begins alike."""
    names = ("room.thing.do", "room.thing.do_more", "room.other.do", "place.thing.do")
    record(uow, *(Event(name, Outcome.REFUSED, reason=name[:4]) for name in names))

    def found(**wanted: Any) -> list[str]:
        return sorted(each.event.action for each in page(uow, **wanted).events)

    assert found(actions=("room.thing.do", "place")) == ["place.thing.do", "room.thing.do"]
    assert found(without=("room.thing", "place.thing.do")) == ["room.other.do"]
    assert found(actions=("room",), without=("room.thing",)) == ["room.other.do"]
    assert found(action="room.thing", reason="room") == ["room.thing.do", "room.thing.do_more"]
    assert found(reason="none") == found(actions=("none",)) == []
