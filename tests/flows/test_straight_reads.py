"""A read through the whole enforcement point ends as the decision says: by the facts at its beginning, and once more by those at its end."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hilum.authorization.tokens import policy as tokens
from hilum.authorization.tokens.models import AccessToken, TokenFacts
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.decision import Reason
from hilum.gateway.enforcement.models import STALENESS_BOUND, Snapshot
from hilum.identity.people.models import MovedReads, UpstreamKind, UpstreamRef
from hilum.records.audit import live as journals
from hilum.records.audit.models import UNDELIVERED, Access, Outcome
from tests.effort import effort
from tests.flows.gateway_ground import Answer, Ground, ground, patient
from tests.sim.fhir_upstream import OtherServer
from tests.sim.world import FakeClock, SeededIds
from tests.unit.gateway.enforcement.changes import CHANGES, HELD, TOKENS, Change, launched, left
from tests.unit.gateway.enforcement.facts import (
    NOW,
    RESTRICTED,
    SNAPSHOT,
    TENANT,
    TOKEN,
    observation,
    with_tenant,
)
from tests.unit.gateway.enforcement.specification import Read

RECORDS = {
    "Patient/p1": patient("p1"),
    "Patient/p2": patient("p2"),
    "Observation/o1": observation("o1"),
    "Observation/o2": observation("o2", "p2"),
    "Observation/o3": observation("o3", meta=RESTRICTED),
    "Practitioner/dr": {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Ada"}]},
}
NAMES = st.sampled_from([*RECORDS, "Patient/p9", "Observation/o9"])
SECRET_OF = {"Patient": b"Family", "Observation": b"final", "Practitioner": b"Ada"}


HERE, ELSEWHERE = (
    UpstreamRef(UpstreamKind.EMBEDDED),
    UpstreamRef(UpstreamKind.HTTP, "http://127.0.0.1:9/fhir"),
)


def at_server(snapshot: Snapshot, server: UpstreamRef) -> Snapshot:
    tenant = replace(snapshot.identity.tenants[TENANT], upstream=server)
    tenants = {**snapshot.identity.tenants, TENANT: tenant}
    return replace(snapshot, identity=replace(snapshot.identity, tenants=tenants))


def moved_away(snapshot: Snapshot) -> Snapshot:
    return at_server(snapshot, ELSEWHERE)


MOVES: st.SearchStrategy[Change] = st.one_of(
    CHANGES,
    CHANGES,
    st.just(moved_away),
    st.just(lambda it: replace(it, epoch=it.epoch + 1)),
    st.just(lambda it: launched(it, moved=True)),
    st.just(lambda it: replace(it, tokens=TokenFacts(revoked_tokens=frozenset({TOKEN.hash})))),
)
"""What may happen while the FHIR server is asked."""
PASSING = st.sampled_from(
    [timedelta(0), timedelta(microseconds=1), timedelta(minutes=59), timedelta(hours=2)]
)
MOMENTS = st.sampled_from(
    [NOW - timedelta(minutes=30), NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=47)]
)


@dataclass(frozen=True)
class Step:
    """One read: by which facts and when it begins, and what happens until the FHIR server answers."""

    change: Change
    at: datetime
    name: str
    token: AccessToken
    meanwhile: Change
    passes: timedelta
    stale: bool = False


STEPS = st.lists(
    st.builds(
        Step,
        CHANGES,
        MOMENTS,
        NAMES,
        st.sampled_from(TOKENS),
        MOVES,
        PASSING,
        st.sampled_from([False] * 9 + [True]),
    ),
    min_size=1,
    max_size=8,
)


class Desk:
    """A real gateway on an event loop of its own, whose facts, tokens and time a test sets."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock, ids: SeededIds, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock, self.folder, self.uow = clock, folder, uow
        self.server = OtherServer()
        self.server.load(*RECORDS.values())
        self.meanwhile: Callable[[], None] = lambda: None
        self.count = 0
        self._thread = Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.made: Ground = self.run(
            self._stack.enter_async_context(ground(uow, clock, ids, folder, embedded=lambda _: self._serve))
        )

    def run(self, story: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(story, self.loop).result(30)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/metadata":
            self.meanwhile()
        await self.server(scope, receive, send)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def know(self, snapshot: Snapshot, *, stale: bool = False) -> None:
        """Let the gateway decide by these facts from now on."""
        keeper = self.made.keeper
        age = 2 * STALENESS_BOUND.total_seconds() if stale else 0.0
        keeper._snapshot, keeper._confirmed_at = snapshot, self.clock.monotonic() - age

    def read(self, step: Step, before: Snapshot, after: Snapshot) -> tuple[Answer, list[Access]]:
        """Send a read; what happens meanwhile happens when it reaches the FHIR server."""
        table, self.count = self.made.gateway._enforcer._deps.tokens, self.count + 1
        bearer = f"hil_at_{self.count:043}_{'m' * 8}"
        # One object for all requests of a token, as a worker holds it: what is kept with it meets other facts.
        table._cached[tokens.fingerprint(bearer)] = step.token
        self.clock._now = step.at
        # Long enough after the one before for any quota to be full again.
        self.clock._seconds += 3_600
        self.know(before)

        def meanwhile() -> None:
            self.clock._now = step.at + step.passes
            self.know(after, stale=step.stale)

        self.meanwhile = meanwhile
        answer: Answer = self.run(self.made.get(step.name, bearer))
        self.meanwhile = lambda: None
        reader = journals.open_reader(self.folder / "journal", self.uow.db.url)
        return answer, list(reader.find(answer.headers["x-request-id"]))


@pytest.fixture
def desk(sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(sqlite_uow, clock, ids, tmp_path)
    yield made
    made.close()


def asked(step: Step, snapshot: Snapshot, now: datetime) -> Read:
    return Read(step.token, snapshot, now, tenant=TENANT, name=step.name, source="192.0.2.9")


def is_out_of_reach(step: Step, before: Snapshot) -> Reason | None:
    """Return why the record that the server has is not shown; absence is no reason, and looks the same."""
    record, read = RECORDS.get(step.name), asked(step, before, step.at)
    if record is None or read.is_own or read.type in {"Practitioner", "Patient"}:
        return None
    owner = record["subject"]["reference"].partition("/")[2]
    if not any(within is None or owner in within for within in read.reach(anywhere=False)):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    return Reason.LABEL_WITHHELD if "meta" in record and step.token.fhir_user != f"Patient/{owner}" else None


def expected(step: Step, before: Snapshot, after: Snapshot) -> tuple[set[Reason | None], bool]:
    """Return with which reasons the read may end (None: it is shown, or absent), and whether it reached the FHIR server."""
    if reason := asked(step, before, step.at).reason():
        return {reason}, False
    # What was permitted is judged once more when the answer is there; until then the record decides.
    if reason := is_out_of_reach(step, before):
        return {reason}, True
    if after is before and not step.stale:
        return {None}, True
    if step.stale:
        return {Reason.SNAPSHOT_STALE}, True
    now = step.at + step.passes
    if reason := asked(step, after, now).reason():
        return {reason}, True
    first, second = asked(step, before, step.at), asked(step, after, now)
    moved = first.place is None or second.place is None or first.place.upstream != second.place.upstream
    same = (first.held, first.is_own, first.reach(anywhere=False)) == (
        second.held,
        second.is_own,
        second.reach(anywhere=False),
    )
    # Another grant than the one by which it was gathered: refused, unless nothing of it was used.
    return {Reason.SNAPSHOT_STALE} if moved else {None} if same else {None, Reason.SNAPSHOT_STALE}, True


ALLOWED = with_tenant(moved_reads=MovedReads.ALLOW)


@given(steps=STEPS)
@example([Step(lambda it: it, NOW, "Observation/o1", HELD, moved_away, timedelta(0))])
@example(
    [Step(lambda _: ALLOWED, NOW, "Observation/o1", HELD, lambda it: launched(it, moved=True), timedelta(0))]
)
@example(
    [
        Step(
            lambda _: ALLOWED,
            NOW,
            "Observation/o1",
            HELD,
            lambda _: launched(SNAPSHOT, moved=True),
            timedelta(0),
        )
    ]
)
@example([Step(lambda it: it, NOW, "Patient/p1", HELD, lambda it: left(it, {TOKEN.person}), timedelta(0))])
@settings(
    max_examples=effort(40, 5_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_read_ends_by_the_facts_at_its_beginning_and_by_those_at_its_end(
    desk: Desk, steps: list[Step]
) -> None:
    """C71, C198: whatever is kept with a token, and whatever happens while the FHIR server is asked."""
    snapshot = SNAPSHOT
    for step in steps:
        before = at_server(step.change(snapshot), HERE)
        after = snapshot = step.meanwhile(before)

        answer, records = desk.read(step, before, after)

        reasons, reached = expected(step, before, after)
        *_, last = records
        reason = Reason(last.reason) if last.reason else None
        assert reason in reasons, (answer.status, last)
        is_shown = answer.status == 200
        assert is_shown == (reason is None and step.name in RECORDS), (answer.status, last)
        assert (SECRET_OF[step.name.partition("/")[0]] in answer.body) == is_shown
        # Nothing is recorded as done and then kept back without a second record that says so.
        if len(records) == 2:
            assert reached
            assert (records[0].outcome, records[1].rule) == (Outcome.DONE, UNDELIVERED)
        assert last.status == answer.status
