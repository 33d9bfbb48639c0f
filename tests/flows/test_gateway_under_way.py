"""What takes a grant away reaches requests that are already under way: nothing leaves after it."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.authorization.consent import service as consent
from hilum.authorization.tokens import service as tokens
from hilum.controls.switches.models import Mode, Target, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.people import service as identity
from hilum.identity.people.models import TenantChange, UpstreamKind, UpstreamRef
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.models import UNDELIVERED, Access, Outcome
from tests.effort import FULL
from tests.flows.break_glass_ground import Ward
from tests.flows.gate_ground import Gate, Take, held, stop
from tests.flows.gateway_ground import GENERAL, TRACE, Answer, Ground, Play, patient, player
from tests.sim.world import FakeClock, SeededIds
from tests.unit.gateway.enforcement.facts import observation

SCOPES = ("openid", "patient/Observation.cruds", "patient/Provenance.rs")
SECRET = b"Familyp1"
FRESH = {name: value for name, value in observation("", code={"text": "Familyp1"}).items() if name != "id"}


@pytest.fixture
def gate() -> Gate:
    made = Gate()
    made.other.load(
        patient("p1"),
        patient("p2"),
        *(observation(f"o{n}", code={"text": "Familyp1"}) for n in range(1, 40)),
    )
    return made


@pytest.fixture
def play(sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path, gate: Gate) -> Play:
    played = player(sqlite_uow, clock, ids, tmp_path)
    return lambda story: played(story, embedded=lambda _: gate)


@pytest.fixture
def recorded(sqlite_uow: UnitOfWork, tmp_path: Path) -> Callable[[str], list[Access]]:
    return lambda request_id: journals.open_reader(tmp_path / "journal", sqlite_uow.db.url).find(request_id)


def grow_stale(made: Ground, _: Any) -> None:
    made.clock.advance(timedelta(seconds=2, milliseconds=1))


def move(made: Ground, _: Any) -> None:
    elsewhere = UpstreamRef(UpstreamKind.HTTP, "http://127.0.0.1:9/fhir")
    made.run(lambda ctx: identity.update_tenant(ctx, GENERAL, TenantChange(upstream=elsewhere)))


TAKEN: dict[str, tuple[Take, int, str]] = {
    "the platform is stopped": (stop(TargetKind.PLATFORM), 403, "switch_engaged"),
    "the tenant is stopped": (stop(TargetKind.TENANT, GENERAL), 403, "switch_engaged"),
    "the type is stopped": (stop(TargetKind.RESOURCE_TYPE, "Observation"), 403, "switch_engaged"),
    "the tokens are revoked": (
        lambda made, given: made.run(lambda ctx: tokens.revoke_authorization(ctx, given.id)),
        401,
        "token_revoked",
    ),
    "the person withdraws": (
        lambda made, given: made.run(lambda ctx: consent.withdraw(ctx, given.id)),
        401,
        "token_revoked",
    ),
    "the hospital moves": (move, 503, "snapshot_stale"),
    "the rules cannot be confirmed": (grow_stale, 503, "snapshot_stale"),
}


QUICK = (
    "the platform is stopped",
    "the tokens are revoked",
    "the hospital moves",
    "the rules cannot be confirmed",
)
SOME = list(TAKEN) if FULL else QUICK


def code_of(answer: Answer) -> str:
    return str(answer.json["issue"][0]["details"]["coding"][0]["code"])


@pytest.mark.parametrize(
    ("case", "target"),
    [*((case, "Observation/o1") for case in TAKEN), *((case, "Observation?_count=5") for case in SOME)],
)
def test_a_read_that_the_server_still_holds_gets_nothing(
    play: Play, gate: Gate, recorded: Callable[[str], list[Access]], case: str, target: str
) -> None:
    """C198; the case of the review: a read begun before a full stop was answered after it."""
    take, status, reason = TAKEN[case]

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        await made.get(target, bearer)
        task = await held(made, gate, made.get(target, bearer))

        take(made, given)
        gate.go.set()
        answer = await task

        assert (answer.status, code_of(answer)) == (status, reason)
        assert SECRET not in answer.body
        prepared, kept_back = recorded(answer.headers["x-request-id"])
        assert (prepared.outcome, prepared.status) == (Outcome.DONE, 200)
        assert (kept_back.outcome, kept_back.rule) == (Outcome.REFUSED, UNDELIVERED)
        assert (kept_back.status, kept_back.reason) == (status, reason)

    play(story)


@pytest.mark.parametrize("target", ["Observation/o1", "Observation?_count=5"])
def test_a_read_under_way_while_the_glass_is_broken_is_answered_as_before_it(
    play: Play, gate: Gate, recorded: Callable[[str], list[Access]], target: str
) -> None:
    """C82: in an emergency the first answer is none of ours to refuse. The whole of it is by one permit, and its record says by which."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        task = await held(made, gate, made.get(target, ward.token))

        ward.open()
        gate.go.set()
        answer = await task

        assert answer.status == 200
        assert b"OperationOutcome" not in answer.body
        (prepared,) = recorded(answer.headers["x-request-id"])
        assert (prepared.outcome, prepared.detail) == (Outcome.DONE, "")

    play(story)


def test_the_end_of_a_request_is_dated_by_the_clock_by_which_its_worker_confirms_stops(
    play: Play, gate: Gate, recorded: Callable[[str], list[Access]]
) -> None:
    """C148: else what ended after a confirmation could look as if it had ended before, where a clock was set meanwhile."""

    async def story(made: Ground) -> None:
        _, bearer = made.authorized(*SCOPES)
        task = await held(made, gate, made.get("Observation/o1", bearer))

        made.clock.set_forward(timedelta(seconds=30))
        gate.go.set()
        answer = await task

        (prepared,) = recorded(answer.headers["x-request-id"])
        assert prepared.outcome is Outcome.DONE
        assert prepared.at + timedelta(microseconds=prepared.latency_us) == made.clock.now()

    play(story)


@pytest.mark.parametrize("case", SOME)
def test_a_read_that_waits_for_its_record_gets_nothing(
    play: Play,
    recorded: Callable[[str], list[Access]],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    """C198: reads held while they were recorded were answered 12 seconds after the stop."""
    take, status, reason = TAKEN[case]

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        await made.get("Observation/o1", bearer)
        record, waits, go = made.journal.record, asyncio.Event(), asyncio.Event()

        async def slow(access: Access) -> None:
            if access.status == 200:
                waits.set()
                await go.wait()
            await record(access)

        monkeypatch.setattr(made.journal, "record", slow)
        task = asyncio.create_task(made.get("Observation/o1", bearer))
        await waits.wait()
        take(made, given)
        go.set()
        answer = await task

        assert (answer.status, code_of(answer)) == (status, reason)
        assert SECRET not in answer.body
        assert [each.rule for each in recorded(answer.headers["x-request-id"])][-1] == UNDELIVERED
        request_id = answer.headers["x-request-id"]
        reader = journals.open_reader(Path(made.journal._writer._directory), made.uow.db.url)  # type: ignore[attr-defined]
        told = made.uow.read_now(lambda ctx: audit.explain(ctx, request_id, reader), trace=TRACE)
        assert any("The prepared answer was not delivered." in each for each in told.sentences)

    play(story)


@pytest.mark.parametrize("case", SOME)
def test_a_search_asks_for_no_further_page(play: Play, gate: Gate, case: str) -> None:
    """C198: decided again between pages, so that what was taken away stops the asking too."""
    take, status, _ = TAKEN[case]
    gate.other.load(*(observation(f"n{n}", "p2", code={"text": "x"}) for n in range(1, 60)))
    gate.other.careless = True

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        task = await held(made, gate, made.get("Observation?_count=20", bearer))
        asked = len(gate.asked)

        take(made, given)
        gate.go.set()
        answer = await task

        assert answer.status == status
        assert len(gate.asked) == asked + 1

    play(story)


@pytest.mark.parametrize(("case", "method"), [*((case, "PUT") for case in SOME), (QUICK[0], "DELETE")])
def test_a_write_does_not_leave_once_the_record_it_changes_was_looked_at(
    play: Play, gate: Gate, recorded: Callable[[str], list[Access]], case: str, method: str
) -> None:
    """C198: before each upstream write."""
    take, status, reason = TAKEN[case]

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        body = observation("o1", code={"text": "changed"}) if method == "PUT" else None
        task = await held(made, gate, made.send(method, "Observation/o1", bearer, body=body))

        take(made, given)
        gate.go.set()
        answer = await task

        assert (answer.status, code_of(answer)) == (status, reason)
        assert not [each for each in gate.asked if each.startswith(method)]
        assert recorded(answer.headers["x-request-id"])[-1].outcome is Outcome.REFUSED

    play(story)


@pytest.mark.parametrize("case", SOME)
def test_a_write_that_had_left_is_never_called_undone(
    play: Play, gate: Gate, recorded: Callable[[str], list[Access]], case: str
) -> None:
    """C196, C198: one code for "done, answer kept back", whatever took the grant away; nothing that the server said; no header that makes
    clients send it again."""
    take, _, _ = TAKEN[case]

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        task = await held(made, gate, made.send("POST", "Observation", bearer, body=FRESH))

        take(made, given)
        gate.go.set()
        answer = await task

        request_id = answer.headers["x-request-id"]
        assert (answer.status, code_of(answer)) == (403, "write_done_answer_withheld")
        assert answer.json["issue"][0]["code"] == "suppressed"
        assert not {"location", "etag", "retry-after", "www-authenticate"} & set(answer.headers)
        assert SECRET not in answer.body
        assert b"made" not in answer.body
        told = answer.json["issue"][0]["details"]["text"]
        assert f"The write was carried out, under request {request_id}." in told
        outcomes = [each.outcome for each in recorded(request_id)]
        assert outcomes == [Outcome.INTENDED, Outcome.DONE, Outcome.REFUSED]

    play(story)


def test_a_create_whose_answer_was_kept_back_is_found_again_and_not_doubled(play: Play, gate: Gate) -> None:
    """C196: what the stop kept back, the place, is given once the app is permitted again."""

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        task = await held(made, gate, made.send("POST", "Observation", bearer, body=FRESH))
        made.run(lambda ctx: tokens.revoke_authorization(ctx, given.id))
        gate.go.set()
        first = await task
        _, bearer = made.authorized(*SCOPES)
        again = await made.send("POST", "Observation", bearer, body=FRESH)

        assert (again.status, code_of(again)) == (409, "write_repeated")
        assert first.headers["x-request-id"] in again.json["issue"][0]["details"]["text"]
        assert re.search("/Observation/made[^/]*(/_history/1)?$", again.headers["location"])
        assert sum(each.startswith("POST") for each in gate.asked) == 1

    play(story)


@pytest.mark.parametrize("kind", ["GET", "POST"])
def test_explain_says_of_what_was_kept_back_what_was_done_and_what_was_answered(
    play: Play, gate: Gate, kind: str
) -> None:
    """C198: one story, without "answered with 201" beside "refused with 403"."""

    async def story(made: Ground) -> None:
        _, bearer = made.authorized(*SCOPES)
        sent = (
            made.send("POST", "Observation", bearer, body=FRESH)
            if kind == "POST"
            else made.get("Observation/o1", bearer)
        )
        task = await held(made, gate, sent)
        stop(TargetKind.TENANT, GENERAL)(made, None)
        gate.go.set()
        answer = await task
        request_id = answer.headers["x-request-id"]
        reader = journals.open_reader(Path(made.journal._writer._directory), made.uow.db.url)  # type: ignore[attr-defined]
        found = made.uow.read_now(lambda ctx: audit.explain(ctx, request_id, reader), trace=TRACE)
        story = " ".join(found.sentences)

        assert "was answered with 20" not in story
        assert "a kill switch was engaged" in story
        if kind == "POST":
            assert (
                "the creation of Observation at general was carried out; an answer with 201 was prepared"
                in story
            )
            assert "refused with 403, reason write_done_answer_withheld" in story
            assert "The write itself was carried out." in story
            assert "It is stored as Observation/made" in story
        else:
            assert "a read of Observation at general was permitted; an answer with 200 was prepared" in story
            assert "reason switch_engaged" in story
            assert "stands" not in story

    play(story)


def test_a_read_only_switch_keeps_a_write_back_and_lets_a_read_go_on(play: Play, gate: Gate) -> None:
    """C142, C198."""

    async def story(made: Ground) -> None:
        _, bearer = made.authorized(*SCOPES)
        read = await held(made, gate, made.get("Observation/o1", bearer))
        stop(TargetKind.PLATFORM, mode=Mode.READ_ONLY)(made, None)
        gate.go.set()

        assert (await read).status == 200

    play(story)


@pytest.mark.parametrize(
    "target", [Target(TargetKind.APP, "app_other"), Target(TargetKind.RESOURCE_TYPE, "Goal")]
)
def test_what_concerns_somebody_else_disturbs_nobody(
    play: Play, gate: Gate, recorded: Callable[[str], list[Access]], target: Target
) -> None:
    """C198: deciding again costs nobody an answer that they may have."""

    async def story(made: Ground) -> None:
        _, bearer = made.authorized(*SCOPES)
        task = await held(made, gate, made.get("Observation?_count=5", bearer))
        stop(target.kind, target.key)(made, None)
        gate.go.set()
        answer = await task

        assert answer.status == 200
        assert [each.outcome for each in recorded(answer.headers["x-request-id"])] == [Outcome.DONE]

    play(story)


def test_a_type_that_comes_along_is_kept_back_when_it_is_stopped(play: Play, gate: Gate) -> None:
    """C198: what was gathered under the grant of before is not delivered under a smaller one."""
    gate.other.load(
        {
            "resourceType": "Provenance",
            "id": "pr1",
            "target": [{"reference": "Observation/o1"}],
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"reference": "Practitioner/dr"}}],
        }
    )

    async def story(made: Ground) -> None:
        _, bearer = made.authorized(*SCOPES)
        target = "Observation?_count=5&_revinclude=Provenance:target"
        assert (await made.get(target, bearer)).status == 200
        task = await held(made, gate, made.get(target, bearer))
        stop(TargetKind.RESOURCE_TYPE, "Provenance")(made, None)
        gate.go.set()
        answer = await task

        assert (answer.status, code_of(answer)) == (403, "scope_insufficient")
        assert SECRET not in answer.body

    play(story)
