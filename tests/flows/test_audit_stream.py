"""The stream of decisions: every worker's, each once, resumable, bounded, and only as long as the reader may read."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.web import problems
from hilum.identity.people import service as identity
from hilum.identity.people.models import TenantChange
from hilum.identity.signin import service as signin
from hilum.records.audit import routes, service
from hilum.records.audit.follow import FollowedRecord, Follower, ResumePoint, Tail
from hilum.records.audit.models import (
    FOLLOWED_BOUND,
    FOLLOWERS_BOUND,
    RESUME_BOUND,
    RESUME_WITHIN,
    Access,
    EventQuery,
)
from hilum.records.audit.reader_slots import SlotLimits
from hilum.records.audit.stream import Pace
from tests.flows import control_site
from tests.flows.control_site import TRACE, ControlSite
from tests.flows.journal_ground import JournalGround as Journals
from tests.flows.journal_ground import access
from tests.sim.world import FakeClock

PATIENCE_S = 20.0
QUICK = Pace(poll_s=0.01, heartbeat_s=0.05, recheck_s=0.02)


class Listener:
    """Somebody who listens, over the raw protocol: no client of ours reads an answer without an end."""

    def __init__(self, site: ControlSite, token: str, query: str = "", last_event_id: str = "") -> None:
        headers = [(b"host", b"127.0.0.1:8000"), (b"authorization", f"Bearer {token}".encode())]
        if last_event_id:
            headers.append((b"last-event-id", last_event_id.encode()))
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": "/api/v1/events",
            "raw_path": b"/api/v1/events",
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "headers": headers,
            "client": ("198.51.100.8", 1),
            "server": ("127.0.0.1", 8000),
            "state": {"request_id": "req_stream", "source": "198.51.100.8"},
        }
        self._site, self._left = site, asyncio.Event()
        self._changed = asyncio.Condition()
        self.reads = asyncio.Event()
        """Cleared: the reader takes nothing."""
        self.reads.set()
        self.status, self.raw = 0, b""
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await self.reads.wait()
            async with self._changed:
                self.status = message.get("status", self.status)
                self.raw += message.get("body", b"")
                self._changed.notify_all()

        await self._site.app(self._scope, receive, send)
        async with self._changed:
            self._changed.notify_all()

    @property
    def blocks(self) -> list[dict[str, str]]:
        found = []
        for block in self.raw.decode().split("\n\n")[:-1]:
            fields = [line.partition(": ") for line in block.split("\n")]
            found.append({name: value for name, _, value in fields})
        return found

    def told(self, event: str = "decision") -> list[dict[str, Any]]:
        return [orjson.loads(block["data"]) for block in self.blocks if block.get("event") == event]

    @property
    def last_id(self) -> str:
        return next(block["id"] for block in reversed(self.blocks) if "id" in block)

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: wanted() or self._task.done()), PATIENCE_S)
        assert wanted(), self.raw[-500:]

    async def begun(self) -> "Listener":
        await self.until(lambda: b"id: " in self.raw)
        return self

    async def has(self, count: int) -> list[str]:
        await self.until(lambda: len(self.told()) >= count)
        return [each["request_id"] for each in self.told()]

    async def over(self) -> str:
        await asyncio.wait_for(asyncio.shield(self._task), PATIENCE_S)
        return str(self.told("end")[0]["why"])

    async def leave(self) -> None:
        self._left.set()
        self.reads.set()
        await asyncio.wait_for(self._task, PATIENCE_S)


class Air:
    """Two hospitals, their journals, and the API of the record at a quick pace."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock, directory: Path) -> None:
        self.site, self.clock = control_site.build(uow, clock), clock
        self.journals = Journals(uow, uow.db.url, directory)
        self.n = 0
        self.opened: list[Any] = []

    def serve(self, pace: Pace = QUICK) -> None:
        api = FastAPI()
        problems.install(api)
        api.include_router(routes.api(self.site.kit, lambda: self.journals.reader, pace))
        self.site.app = api

    def token(self, username: str = "otto") -> str:
        client = self.site.api(username)
        return client.headers["authorization"].removeprefix("Bearer ")

    def listen(
        self, query: str = "", *, by: str = "otto", token: str = "", last_event_id: str = ""
    ) -> Listener:
        return Listener(self.site, token or self.token(by), query, last_event_id)

    def workers(self, count: int) -> list[Any]:
        self.opened = [self.journals.boot() for _ in range(count)]
        return self.opened

    async def happen(self, journal: Any, count: int = 1, **more: Any) -> list[str]:
        """Record accesses of now at one worker; gives their ids."""
        made = []
        for _ in range(count):
            self.n += 1
            made.append(access(self.n, at=self.clock.now(), **more))
        await asyncio.gather(*(journal.record(each) for each in made))
        return [each.request_id for each in made]

    def close(self) -> None:
        for each in self.opened:
            each.close()

    def events(self, action: str) -> list[Any]:
        read = partial(service.list_events, query=EventQuery(action=action))
        return [each.event for each in self.site.uow.read_now(read, trace=TRACE).events]


@pytest.fixture
def air(uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Iterator[Air]:
    made = Air(uow, clock, tmp_path / "journal")
    yield made
    made.close()


@pytest.fixture
def one(sqlite_uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Iterator[Air]:
    made = Air(sqlite_uow, clock, tmp_path / "journal")
    yield made
    made.close()


def tell(air: Air, story: Callable[[], Awaitable[None]], pace: Pace = QUICK) -> None:
    async def told() -> None:
        air.serve(pace)
        await story()

    asyncio.run(told())


def test_every_workers_decisions_arrive_each_once(air: Air) -> None:
    """Contract: ``GET /api/v1/events`` streams decisions, whichever worker took them and whichever is listened to."""

    async def story() -> None:
        first, second, third = air.workers(3)
        await air.happen(first, 5)
        listener = await air.listen().begun()
        wanted = [
            *await air.happen(first, 3),
            *await air.happen(second, 2),
            *await air.happen(third, 1),
            *await air.happen(first, 1),
        ]
        assert sorted(await listener.has(len(wanted))) == sorted(wanted)
        late = air.journals.boot()
        air.opened.append(late)
        wanted += await air.happen(late, 2)
        assert sorted(await listener.has(len(wanted))) == sorted(wanted)
        await listener.leave()

    tell(air, story)


def test_what_one_look_finds_is_in_the_order_of_time(one: Air) -> None:
    async def story() -> None:
        workers = one.workers(3)
        listener = await one.listen().begun()
        wanted = []
        for turn in range(9):
            one.clock.advance(timedelta(milliseconds=1))
            wanted += await one.happen(workers[turn % 3])
        assert await listener.has(9) == wanted
        await listener.leave()

    tell(one, story, replace(QUICK, poll_s=1.0))


def test_a_stream_continues_where_it_was_left_at_any_worker_and_repeats_nothing(air: Air) -> None:
    """HTML 9.2.4, Last-Event-ID: also in the middle of what one look brought."""

    async def story() -> None:
        first, second = air.workers(2)
        listener = await air.listen().begun()
        before = [*await air.happen(first, 4), *await air.happen(second, 4)]
        await listener.has(8)
        await listener.leave()
        missed = [*await air.happen(second, 3), *await air.happen(first, 2)]
        new = air.journals.boot()
        air.opened.append(new)
        missed += await air.happen(new, 2)
        air.serve()
        for stopped_after in (3, 8):
            block = [each for each in listener.blocks if "data" in each][stopped_after - 1]
            given = [each["request_id"] for each in listener.told()][:stopped_after]
            again = await air.listen(last_event_id=block["id"]).begun()
            rest = await again.has(len(before) - stopped_after + len(missed))
            assert sorted(given + rest) == sorted(before + missed)
            assert again.told("missed") == []
            later = await air.happen(first, 1)
            assert (await again.has(len(rest) + 1))[-1:] == later
            missed += later
            await again.leave()

    tell(air, story)


def test_whoever_left_before_anything_came_continues_from_there(air: Air) -> None:
    """The opening bears an id of its own."""

    async def story() -> None:
        (worker,) = air.workers(1)
        await air.happen(worker, 3)
        listener = await air.listen().begun()
        await listener.leave()
        missed = await air.happen(worker, 2)
        again = await air.listen(last_event_id=listener.last_id).begun()
        assert await again.has(2) == missed
        await again.leave()

    tell(air, story)


def test_a_sign_of_life_brings_the_id_past_what_was_not_wanted(one: Air) -> None:
    async def story() -> None:
        (worker,) = one.workers(1)
        listener = await one.listen("tenant=general").begun()
        at_first = listener.last_id
        await one.happen(worker, 5, tenant="mercy")
        await listener.until(lambda: listener.raw.count(b"still here") >= 2)
        assert listener.last_id != at_first
        assert listener.told() == []
        await listener.leave()

    tell(one, story)


def test_records_too_far_back_are_omitted_with_a_notice(one: Air) -> None:
    """Bounded look-back."""

    async def story() -> None:
        (worker,) = one.workers(1)
        listener = await one.listen().begun()
        await listener.leave()
        await one.happen(worker, 2)
        one.clock.advance(RESUME_WITHIN + timedelta(seconds=1))
        lately = await one.happen(worker, 1)
        again = await one.listen(last_event_id=listener.last_id).begun()
        assert await again.has(1) == lately
        assert again.told("missed") == [{"why": "too_far_back"}]
        await again.leave()

    tell(one, story)


def test_going_on_is_bounded_in_number_too(one: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RESUME_BOUND <= 10_000
    monkeypatch.setattr("hilum.records.audit.follow.RESUME_BOUND", 4)
    monkeypatch.setattr("hilum.records.audit.follow.POLL_BOUND", 2)

    async def story() -> None:
        (worker,) = one.workers(1)
        listener = await one.listen().begun()
        await listener.leave()
        missed = await one.happen(worker, 9)
        again = await one.listen(last_event_id=listener.last_id).begun()
        assert await again.has(4) == missed[:4]
        assert again.told("missed") == [{"why": "too_far_back"}]
        await again.leave()

    tell(one, story)


@pytest.mark.parametrize(
    "changed", ["cut", "foreign reader", "other filters", "made up", "long", "not ascii"]
)
def test_an_id_that_was_not_given_to_this_reader_and_filters_opens_nothing(one: Air, changed: str) -> None:
    """An id is sealed: it tells nobody how much others do, and nobody can move in it."""

    async def story() -> None:
        one.workers(1)
        listener = await one.listen().begun()
        await listener.leave()
        held = listener.last_id
        by, query = "otto", ""
        if changed == "foreign reader":
            by = "sam"
        elif changed == "other filters":
            query = "tenant=general"
        else:
            held = {"cut": held[:-2], "made up": "1", "long": "A" * 70_000, "not ascii": "\u00e9"}[changed]
        refused = one.listen(query, by=by, last_event_id=held)
        await refused.until(lambda: refused.status != 0)
        assert refused.status == 400
        await refused.leave()
        assert orjson.loads(refused.raw)["code"] == "last_event_id_invalid"
        assert len(one.events("audit.stream.open")) == 1

    tell(one, story)


@pytest.mark.parametrize(
    ("query", "arrives"),
    [
        ("tenant=general", "wanted"),
        ("tenant=general&app=app_9", "wanted"),
        ("launch=lch_9", "wanted"),
        ("person=per_9&client=cli_9", "wanted"),
        ("tenant=mercy&app=app_9", ""),
        ("tenant=general&app=app_8", ""),
        ("launch=lch_", ""),
    ],
)
def test_only_what_fits_every_filter_arrives(one: Air, query: str, arrives: str) -> None:
    async def story() -> None:
        (worker,) = one.workers(1)
        everything, some = await one.listen().begun(), await one.listen(query).begun()
        await one.happen(worker, 3, tenant="mercy", app="app_8")
        fitting = await one.happen(worker, 1, app="app_9", launch="lch_9", person="per_9", client="cli_9")
        await everything.has(4)
        if arrives:
            assert await some.has(1) == fitting
        assert len(some.told()) == bool(arrives)
        await some.leave()
        await everything.leave()

    tell(one, story)


@pytest.mark.parametrize(
    ("who", "query"),
    [
        ("gina", ""),
        ("gina", "tenant=mercy"),
        ("gina", "tenant=children"),
        ("carl", "tenant=general"),
        ("mary", ""),
        ("rita", ""),
        ("rita", "tenant=general"),
        ("ann", ""),
        ("ann", "tenant=general"),
    ],
)
def test_nobody_else_opens_the_stream(one: Air, who: str, query: str) -> None:
    """C155: the roles are those of the lists; that somebody tried is recorded."""

    async def story() -> None:
        refused = one.listen(query, by=who)
        await refused.until(lambda: refused.status != 0)
        assert refused.status == 403
        await refused.leave()
        (recorded,) = one.events("audit.stream") + one.events("signin.token.use")
        by_role = ("signin.token.use", "not_permitted")
        expected = by_role if who in {"rita", "ann"} else ("audit.stream.open", "audit_not_yours")
        assert (recorded.action, recorded.reason) == expected

    tell(one, story)


def test_no_token_opens_no_stream(one: Air) -> None:
    async def story() -> None:
        refused = one.listen(token="hil_pat_" + "x" * 43)
        await refused.until(lambda: refused.status != 0)
        assert refused.status == 401
        await refused.leave()

    tell(one, story)


def test_opening_and_end_are_on_record_with_how_many_were_given(one: Air) -> None:
    """C155: once at the opening, once at the end; a stream of accesses tells nothing of itself, so nothing loops."""

    async def story() -> None:
        (worker,) = one.workers(1)
        listener = await one.listen("tenant=general", by="gina").begun()
        (told,) = one.events("audit.stream")
        assert (told.action, told.tenant, told.reason) == ("audit.stream.open", "general", "by tenant")
        await one.happen(worker, 3)
        await listener.has(3)
        await listener.leave()
        told = one.events("audit.stream.close")[0]
        assert told.facts == {
            "filters": {"tenant": "general"},
            "given": 3,
            "dropped": 0,
            "why": "reader_left",
        }
        assert len(one.events("audit")) == 2

    tell(one, story)


LOST: list[tuple[str, Callable[[Air], Any]]] = [
    (
        "deactivated",
        lambda air: air.site.system(identity.deactivate_person, person_id=air.site.people["gina"].id),
    ),
    (
        "password set, so tokens are revoked",
        lambda air: air.site.system(
            signin.set_password, person_id=air.site.people["gina"].id, digest=control_site.everybodys_digest()
        ),
    ),
    ("token expired", lambda air: air.clock.advance(timedelta(days=2))),
    (
        "hospital closed",
        lambda air: air.site.system(
            identity.update_tenant, tenant_id="general", change=TenantChange(active=False)
        ),
    ),
]


def stop_gina(air: Air) -> None:
    order = EngageOrder(Target(TargetKind.PERSON, air.site.people["gina"].id), Mode.FULL_STOP, "taken over")
    air.site.system(controls.engage, order=order, person_tenant="general")


def test_a_stream_ends_with_the_stop_of_its_reader(one: Air) -> None:
    """C199: what a stopped person holds open is let go too."""

    async def story() -> None:
        listener = await one.listen("tenant=general", by="gina").begun()
        await asyncio.to_thread(stop_gina, one)
        assert await listener.over() == "switch_engaged"

    tell(one, story)


@pytest.mark.parametrize("lose", [lose for _, lose in LOST], ids=[name for name, _ in LOST])
def test_a_reader_who_may_read_no_more_is_let_go(one: Air, lose: Callable[[Air], Any]) -> None:
    """C155: the right is judged again while the stream runs."""

    async def story() -> None:
        (worker,) = one.workers(1)
        listener = await one.listen("tenant=general", by="gina").begun()
        await asyncio.to_thread(lose, one)
        assert await listener.over() == "token_invalid"
        count = len(listener.told())
        await one.happen(worker, 1)
        assert len(listener.told()) == count
        assert one.events("audit.stream.close")[0].facts["why"] == "token_invalid"

    tell(one, story)


@pytest.mark.parametrize("lose", [lose for _, lose in LOST], ids=[name for name, _ in LOST])
def test_no_record_leaves_after_the_reader_lost_the_right(one: Air, lose: Callable[[Air], Any]) -> None:
    """C155: the right is judged before a record leaves, not only every few seconds."""

    async def story() -> None:
        (worker,) = one.workers(1)
        live = await one.listen("tenant=general", by="gina").begun()
        resumed_from, token = live.last_id, one.token("gina")
        await asyncio.to_thread(lose, one)
        await one.happen(worker, 3)
        assert (await live.over(), live.told()) == ("token_invalid", [])
        late = one.listen("tenant=general", token=token, last_event_id=resumed_from)
        await late.until(lambda: late.status == 401)
        assert one.events("audit.stream.close")[0].facts["given"] == 0

    tell(one, story, replace(QUICK, recheck_s=3_600.0))


def test_a_right_is_judged_again_while_records_pour_in(one: Air) -> None:
    async def story() -> None:
        (worker,) = one.workers(1)
        listener = await one.listen("tenant=general", by="gina").begun()
        pouring = asyncio.ensure_future(pour(one, worker))
        await listener.has(20)
        await asyncio.to_thread(LOST[0][1], one)
        assert await listener.over() == "token_invalid"
        pouring.cancel()
        with suppress(asyncio.CancelledError):
            await pouring

    tell(one, story)


async def pour(air: Air, worker: Any) -> None:
    while True:
        await air.happen(worker, 10)


def test_a_slow_reader_loses_the_oldest_learns_how_many_and_blocks_nobody(
    one: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FOLLOWED_BOUND <= 10_000
    monkeypatch.setattr("hilum.records.audit.follow.FOLLOWED_BOUND", 5)

    async def story() -> None:
        (worker,) = one.workers(1)
        slow, quick = await one.listen().begun(), await one.listen().begun()
        slow.reads.clear()
        wanted: list[str] = []
        for turn in range(8):
            wanted += await one.happen(worker, 5)
            await quick.has(5 * (turn + 1))
        slow.reads.set()
        await slow.until(lambda: bool(slow.told()) and slow.told()[-1]["request_id"] == wanted[-1])
        lost = sum(each["count"] for each in slow.told("missed"))
        assert lost == len(wanted) - len(slow.told()) > 0
        assert {each["why"] for each in slow.told("missed")} == {"too_slow"}
        assert quick.told("missed") == []
        await slow.leave()
        await quick.leave()
        assert {each.facts["dropped"] for each in one.events("audit.stream.close")} == {0, lost}

    tell(one, story)


def test_a_reader_who_takes_nothing_for_long_is_let_go(one: Air) -> None:
    async def story() -> None:
        (worker,) = one.workers(1)
        stuck = await one.listen().begun()
        stuck.reads.clear()
        await one.happen(worker, 1)
        await asyncio.wait_for(asyncio.shield(stuck._task), PATIENCE_S)
        assert len(one.events("audit.stream.close")) == 1

    tell(one, story, replace(QUICK, stall_s=0.1))


def test_readers_are_bounded_and_a_place_becomes_free_again(
    one: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FOLLOWERS_BOUND <= 100
    monkeypatch.setattr("hilum.records.audit.follow.FOLLOWERS_BOUND", 2)

    async def story() -> None:
        first, second = await one.listen().begun(), await one.listen().begun()
        refused = one.listen()
        await refused.until(lambda: refused.status != 0)
        assert refused.status == 503
        await refused.leave()
        assert orjson.loads(refused.raw)["code"] == "too_many_subscribers"
        await first.leave()
        third = await one.listen().begun()
        await second.leave()
        await third.leave()

    tell(one, story)


def test_one_reader_has_only_so_many_streams_and_a_place_that_is_left_is_free_again(
    one: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L2: streams are shared fairly, whoever is first."""
    monkeypatch.setattr(
        "hilum.records.audit.routes.STREAMS", SlotLimits(total=9, actor=2, tenant=9, tenants=9)
    )

    async def story() -> None:
        first, second = await one.listen().begun(), await one.listen().begun()
        refused = one.listen()
        await refused.until(lambda: refused.status != 0)
        assert refused.status == 429
        await refused.leave()
        assert orjson.loads(refused.raw)["code"] == "too_many_reads"
        await first.leave()
        third = await one.listen().begun()
        await second.leave()
        await third.leave()

    tell(one, story)


@contextmanager
def looked_at(air: Air, tail: Tail, followers: list[Follower]) -> Iterator[None]:
    try:
        yield
    finally:
        for each in followers:
            tail.leave(each)


class Away:
    """A reader whose journals are away at every second look, then for good."""

    def __init__(self, reader: Any, fails: Callable[[int], Exception | None]) -> None:
        self._reader, self._fails, self.looks = reader, fails, 0

        self.closed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def close(self) -> None:
        self.closed += 1
        self._reader.close()

    def after(self, positions: Any, most: int) -> Any:
        self.looks += 1
        if error := self._fails(self.looks):
            raise error
        return self._reader.after(positions, most)


async def taken(follower: Follower) -> Access:
    while (seen := follower.take()) is None:
        assert await follower.wait(PATIENCE_S)
        assert not follower.end_reason
    return seen.access


def test_journals_that_are_away_for_a_moment_are_followed_on(one: Air) -> None:
    async def story() -> None:
        (worker,) = one.workers(1)
        fails = lambda n: Unavailable("audit_unavailable") if n % 2 else None
        tail = Tail(lambda: Away(one.journals.reader, fails), one.clock, 0.01)
        follower = await tail.follow(lambda _: True)
        with looked_at(one, tail, [follower]):
            (wanted,) = await one.happen(worker, 1)
            assert (await taken(follower)).request_id == wanted

    tell(one, story)


def test_a_follower_receives_nothing_that_was_on_record_before_it_began(one: Air) -> None:
    """C155: also when another follower's poll has yet to read what was recorded since the last one."""

    async def story() -> None:
        (worker,) = one.workers(1)
        away = [True]
        fails = lambda _: Unavailable("audit_unavailable") if away[0] else None
        tail = Tail(lambda: Away(one.journals.reader, fails), one.clock, 0.01)
        first = await tail.follow(lambda _: True)
        (earlier,) = await one.happen(worker, 1)
        second = await tail.follow(lambda _: True)
        with looked_at(one, tail, [first, second]):
            (later,) = await one.happen(worker, 1)
            away[0] = False
            assert [(await taken(first)).request_id for _ in range(2)] == [earlier, later]
            assert (await taken(second)).request_id == later

    tell(one, story)


def test_journals_that_cannot_be_read_at_all_end_the_stream_and_a_new_one_begins(one: Air) -> None:
    async def story() -> None:
        (worker,) = one.workers(1)
        fails = iter([ValueError("no such record")])
        tail = Tail(lambda: Away(one.journals.reader, lambda _: next(fails, None)), one.clock, 0.01)
        first = await tail.follow(lambda _: True)
        await first.wait(PATIENCE_S)
        assert first.end_reason
        second = await tail.follow(lambda _: True)
        with looked_at(one, tail, [first, second]):
            (wanted,) = await one.happen(worker, 1)
            assert (await taken(second)).request_id == wanted

    tell(one, story)


def test_nobody_looks_while_nobody_follows(one: Air) -> None:
    async def story() -> None:
        one.workers(1)
        reader = Away(one.journals.reader, lambda _: None)
        tail = Tail(lambda: reader, one.clock, 0.005)
        follower = await tail.follow(lambda _: True)
        while reader.looks < 2:
            await asyncio.wait_for(follower.wait(0.01), PATIENCE_S)
        tail.leave(follower)
        tail.leave(follower)
        assert tail._polling is None
        assert not [
            task for task in asyncio.all_tasks() if "Tail._poll" in repr(task) and not task.cancelling()
        ]

    tell(one, story)


def test_whoever_leaves_at_once_leaves_nothing_open(one: Air) -> None:
    """What is opened is closed, also by a look that was cancelled before it began, or could not begin."""

    async def story() -> None:
        one.workers(1)
        reader = Away(one.journals.reader, lambda _: None)
        tail = Tail(lambda: reader, one.clock, 0.005)
        tail.leave(await tail.follow(lambda _: True))
        await until(lambda: reader.closed == 1)

        cannot: Any = Away(one.journals.reader, lambda _: None)
        cannot.ends = refuse_to_tell
        with pytest.raises(Unavailable):
            await Tail(lambda: cannot, one.clock, 0.005).follow(lambda _: True)
        await until(lambda: cannot.closed == 1)

    tell(one, story)


def refuse_to_tell() -> None:
    raise Unavailable("audit_unavailable")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_place_names_only_journals_that_wrote_lately(clock: FakeClock) -> None:
    """Boots come and go for years; an id stays short, and comes back as it was."""
    now = clock.now()
    place = ResumePoint(now, now)
    for boot in range(5_000):
        at = now + timedelta(minutes=boot)
        place.step(FollowedRecord(f"journal-{boot}", 7, access(1, at=at)))
        assert len(place.positions) <= 8

    written = place.write(now)

    assert len(written) < 600
    assert ResumePoint.read(written) == place
