"""A write is on record before it leaves, its outcome after; whatever breaks in between, nobody is told that nothing happened."""

import asyncio
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.standards.fhir.tags import request_of, tagged
from hilum.gateway.enforcement.settling import GIVE_UP_AFTER, SETTLED_AT_ONCE, Settler, in_turn, is_due
from hilum.gateway.upstream.live import Embedded, Upstreams
from hilum.gateway.upstream.policy import destination
from hilum.identity.people import policy as identity_policy
from hilum.identity.people import service as identity
from hilum.identity.people.models import MovedReads, TenantChange, TenantFacts, UpstreamKind, UpstreamRef
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.models import (
    CLAIM_LIFE,
    SETTLE_AFTER,
    SETTLEMENT,
    Access,
    AccessQuery,
    OpenIntent,
    Outcome,
)
from hilum.records.keys.live import vault
from hilum_ehr.fhirserver.models import FhirServerSettings, Precondition
from hilum_ehr.fhirserver.service import FhirService
from tests.flows.gateway_ground import GENERAL, PLATFORM, TRACE, Answer, Ground, Play, patient, player
from tests.sim.fhir_upstream import BASE, OtherServer, over_http
from tests.sim.world import FakeClock, SeededIds
from tests.unit.gateway.enforcement.facts import observation


@dataclass
class Place:
    """The other hospital's FHIR server, and what is on record of what it is sent."""

    folder: Path
    url: str
    other: OtherServer = field(default_factory=OtherServer)
    on_write: Callable[[], Any] = lambda: None
    after_write: Callable[[], Any] = lambda: None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        writes = scope["method"] not in {"GET", "HEAD"}
        if writes and asyncio.iscoroutine(done := self.on_write()):
            await done
        if not writes:
            await self.other(scope, receive, send)
            return
        kept: list[Any] = []

        async def keep(message: Any) -> None:
            kept.append(message)

        await self.other(scope, receive, keep)
        self.after_write()
        for message in kept:
            await send(message)

    @property
    def reader(self) -> Any:
        return journals.open_reader(self.folder / "journal", self.url)

    def outcomes(self, request_id: str) -> list[Outcome]:
        return [each.outcome for each in self.reader.find(request_id)]

    def stored(self) -> list[str]:
        return [name for name in self.other.resources if name.startswith("Observation/made")]

    def break_journal(self) -> None:
        with closing(sqlite3.connect(self.folder / "journal" / "access-0.db")) as db:
            db.execute("ALTER TABLE payload RENAME TO hidden")

    def mend_journal(self) -> None:
        with closing(sqlite3.connect(self.folder / "journal" / "access-0.db")) as db:
            db.execute("ALTER TABLE hidden RENAME TO payload")


@pytest.fixture
def place(sqlite_uow: UnitOfWork, tmp_path: Path) -> Place:
    made = Place(tmp_path, sqlite_uow.db.url)
    made.other.load(patient("p1"), patient("p2"), observation("o1"))
    return made


@pytest.fixture
def play(sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path, place: Place) -> Play:
    played = player(sqlite_uow, clock, ids, tmp_path)
    return lambda story, **settings: played(story, embedded=lambda _: place, **settings)


def fresh(text: str = "new") -> dict[str, Any]:
    made = observation("", code={"text": text})
    del made["id"]
    return made


WRITES: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", "Observation", fresh()),
    "update": ("PUT", "Observation/o1", observation("o1", code={"text": "changed"})),
    "delete": ("DELETE", "Observation/o1", None),
}
SCOPES = ("patient/Observation.cruds",)


def code_of(answer: Answer) -> str:
    return str(answer.json["issue"][0]["details"]["coding"][0]["code"])


def sentence_of(answer: Answer) -> str:
    return str(answer.json["issue"][0]["details"]["text"])


@pytest.mark.parametrize("kind", WRITES)
def test_every_write_is_on_record_before_the_server_hears_of_it(play: Play, place: Place, kind: str) -> None:
    """C196; security decision 20: who, what, at whom, and the digest of what was sent."""
    method, target, body = WRITES[kind]
    seen: list[OpenIntent] = []
    place.on_write = lambda: seen.extend(place.reader.open_intents())

    async def story(made: Ground) -> None:
        answer = await made.send(method, target, made.token(*SCOPES), body=body)

        assert answer.status in {200, 201, 204}
        (found,) = seen
        intent = found.intent
        assert (intent.request_id, intent.outcome) == (answer.headers["x-request-id"], Outcome.INTENDED)
        assert (intent.tenant, intent.interaction, intent.resource_type) == ("general", kind, "Observation")
        assert (intent.app, intent.person) == (made.clients["app"].app, made.people["doctor"].id)
        assert intent.resource == ("" if kind == "create" else "Observation/o1")
        assert bool(re.fullmatch("[0-9a-f]{64}", intent.digest)) == (body is not None)
        assert place.outcomes(intent.request_id) == [Outcome.INTENDED, Outcome.DONE]
        assert place.reader.open_intents() == []

    play(story)


def test_the_record_of_a_create_says_where_it_is_stored_and_the_resource_who_wrote_it(
    play: Play, place: Place
) -> None:
    """C196: from a stored resource to its request and back."""

    async def story(made: Ground) -> None:
        answer = await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())

        (name,) = place.stored()
        assert request_of(place.other.resources[name]) == answer.headers["x-request-id"]
        assert place.reader.find(answer.headers["x-request-id"])[-1].resource == name

    play(story)


def test_an_app_cannot_pass_its_write_off_as_another_request_s(play: Play, place: Place) -> None:
    """C196: the tag is the gateway's to write."""
    tags = [{"system": "urn:hilum:request", "code": "req_000009"}, {"system": "urn:x", "code": "own"}]

    async def story(made: Ground) -> None:
        body = fresh() | {"meta": {"tag": tags}}
        answer = await made.send("POST", "Observation", made.token(*SCOPES), body=body)

        kept = place.other.resources[place.stored()[0]]["meta"]["tag"]
        assert [each["code"] for each in kept] == ["own", answer.headers["x-request-id"]]

    play(story)


@pytest.mark.parametrize("kind", WRITES)
def test_a_write_whose_intent_cannot_be_recorded_does_not_leave(play: Play, place: Place, kind: str) -> None:
    """C196, C154: 503, and nothing reached the server."""
    method, target, body = WRITES[kind]

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        await made.get("Observation/o1", token)
        place.break_journal()
        before = dict(place.other.resources)

        answer = await made.send(method, target, token, body=body)

        assert (answer.status, code_of(answer)) == (503, "audit_unavailable")
        assert "the request was refused" in sentence_of(answer)
        assert place.other.resources == before
        assert [m for m, *_ in place.other.seen if m != "GET"] == []
        place.mend_journal()

        assert (await made.send(method, target, token, body=body)).status in {200, 201, 204}

    play(story)


def test_a_journal_that_somebody_locks_costs_a_refusal_in_time(play: Play, place: Place) -> None:
    """C196; the case of the review: the file locked, POST answered 503 and the resource was stored."""

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        await made.get("Observation/o1", token)
        with closing(
            sqlite3.connect(place.folder / "journal" / "access-0.db", isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(30):
                answer = await made.send("POST", "Observation", token, body=fresh())
            other.execute("ROLLBACK")

        assert (answer.status, place.stored()) == (503, [])
        assert (await made.send("POST", "Observation", token, body=fresh())).status == 201

    play(story)


@pytest.mark.parametrize("kind", WRITES)
def test_an_outcome_that_cannot_be_recorded_is_called_unknown_and_recorded_once_it_can(
    play: Play, place: Place, kind: str
) -> None:
    """C196; contract, Errors: never "not done" for what was done; the request id says under what it is settled."""
    method, target, body = WRITES[kind]

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        place.after_write = place.break_journal
        answer = await made.send(method, target, token, body=body)
        request_id = answer.headers["x-request-id"]

        assert (answer.status, code_of(answer)) == (503, "outcome_unknown")
        assert answer.headers["retry-after"] == "1"
        assert f"settled under request {request_id}" in sentence_of(answer)
        assert "not done" not in sentence_of(answer)
        assert b"subject" not in answer.body
        place.mend_journal()
        assert [each.intent.request_id for each in place.reader.open_intents()] == [request_id]

        place.after_write = lambda: None
        await made.get("Observation/o1", token)
        await _until(lambda: not place.reader.open_intents())

        last = place.reader.find(request_id)[-1]
        assert (last.outcome, last.status, last.reason) == (Outcome.DONE, 503, "outcome_unknown")

    play(story)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


def _lost() -> None:
    raise ConnectionError("the answer was lost")


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("how", ["lost", "failed"])
def test_a_lost_answer_is_recorded_as_unknown(play: Play, place: Place, kind: str, how: str) -> None:
    """C196: a deadline, a reset or a 5xx after sending says nothing about what happened."""
    method, target, body = WRITES[kind]
    if how == "lost":
        place.after_write = _lost
    else:
        place.on_write = lambda: setattr(place.other, "status", 504)

    async def story(made: Ground) -> None:
        answer = await made.send(method, target, made.token(*SCOPES), body=body)
        request_id = answer.headers["x-request-id"]

        assert (answer.status, code_of(answer)) == (503, "outcome_unknown")
        assert request_id in sentence_of(answer)
        assert place.outcomes(request_id) == [Outcome.INTENDED, Outcome.UNKNOWN]
        assert [each.intent.request_id for each in place.reader.open_intents()] == [request_id]

    play(story)


@pytest.mark.parametrize("status", [400, 409, 412, 422, 404, 403, 429])
def test_a_write_that_the_server_refuses_was_not_done(play: Play, place: Place, status: int) -> None:
    """C196."""
    place.on_write = lambda: setattr(place.other, "status", status)

    async def story(made: Ground) -> None:
        answer = await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())

        assert answer.status >= 400
        outcomes = place.outcomes(answer.headers["x-request-id"])
        assert outcomes[0] is Outcome.INTENDED
        assert outcomes[1] in {Outcome.NOT_DONE, Outcome.REFUSED}
        assert place.reader.open_intents() == []

    play(story)


def test_a_retry_after_503_finds_the_first_write_and_doubles_nothing(play: Play, place: Place) -> None:
    """C196: no help of the client's is needed; what decides is who sends what."""

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        place.after_write = _lost
        first = await made.send("POST", "Observation", token, body=fresh())
        place.after_write = lambda: None

        again = await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())
        reordered = dict(reversed(fresh().items()))
        spelled = await made.send("POST", "Observation", token, body=orjson.dumps(reordered, option=2))

        for answer in (again, spelled):
            assert (answer.status, code_of(answer)) == (409, "write_repeated")
            assert first.headers["x-request-id"] in sentence_of(answer)
        assert len(place.stored()) == 1

    play(story)


def test_repeated_creates_look_up_the_first_in_threads_that_are_bounded(place: Place) -> None:
    """C199: no look-up opens connections beside those of its lane."""
    seen: list[str] = []

    async def bounded(look: Callable[[], list[Access]]) -> list[Access]:
        seen.append("bounded")
        return look()

    intents = journals.Intents(lambda: place.reader, bounded)

    assert asyncio.run(intents.look_up("req_none")) == []
    assert seen == ["bounded"]


def test_only_the_same_write_of_the_same_asker_is_a_repetition(play: Play, place: Place) -> None:
    """C196: nobody is kept out by somebody else's lost answer, and nobody learns of it."""

    async def story(made: Ground) -> None:
        place.after_write = _lost
        await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())
        place.after_write = lambda: None
        others = [
            (made.token(*SCOPES), fresh("another")),
            (made.token(*SCOPES, person="nurse"), fresh()),
            (made.token("system/Observation.cruds", client="backend"), fresh()),
            (made.token(*SCOPES, client="second"), fresh()),
        ]

        for token, body in others:
            assert (await made.send("POST", "Observation", token, body=body)).status == 201

    play(story)


def test_an_answered_create_may_be_repeated(play: Play, place: Place) -> None:
    """Two equal measurements are two: only an unanswered one is kept from being doubled."""

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        for _ in range(3):
            assert (await made.send("POST", "Observation", token, body=fresh())).status == 201
        assert len(place.stored()) == 3

    play(story)


def test_of_two_at_once_one_waits_for_the_answer_of_the_other(play: Play, place: Place) -> None:
    """C196: while the first is under way the second is refused."""

    async def story(made: Ground) -> None:
        token, reached, go = made.token(*SCOPES), asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            reached.set()
            await go.wait()

        place.on_write = hold
        first = asyncio.create_task(made.send("POST", "Observation", token, body=fresh()))
        await reached.wait()
        second = await made.send("POST", "Observation", token, body=fresh())
        go.set()

        assert second.status == 409
        assert (await first).status == 201
        assert len(place.stored()) == 1

    play(story)


def test_a_claim_does_not_outlast_its_life(play: Play, place: Place) -> None:
    async def story(made: Ground) -> None:
        place.after_write = _lost
        await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())
        place.after_write = lambda: None
        made.clock.advance(CLAIM_LIFE + timedelta(seconds=1))
        made.keeper.step(0)

        assert (await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())).status == 201

    play(story)


def test_whoever_hangs_up_parts_no_write_from_its_outcome(play: Play, place: Place) -> None:
    """C196: the request is completed, and its answer counts as not received."""

    async def story(made: Ground) -> None:
        reached, go = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            reached.set()
            await go.wait()

        place.on_write = hold
        task = asyncio.create_task(made.send("POST", "Observation", made.token(*SCOPES), body=fresh()))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        await _until(lambda: not place.reader.open_intents())
        place.on_write = lambda: None

        again = await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())

        assert (again.status, len(place.stored())) == (409, 1)
        assert again.headers["location"].endswith(f"/t/general/fhir/{place.stored()[0]}")

    play(story)


def test_a_list_of_accesses_shows_each_write_once(play: Play, place: Place) -> None:
    async def story(made: Ground) -> None:
        await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())

        found = place.reader.newest(AccessQuery())
        assert [(each.interaction, each.outcome) for each in found] == [("create", Outcome.DONE)]

    play(story)


def test_verify_names_the_writes_without_an_outcome_and_is_intact(play: Play, place: Place) -> None:
    """C196, C152."""

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        await made.send("POST", "Observation", token, body=fresh("well"))
        place.after_write = _lost
        lost = await made.send("POST", "Observation", token, body=fresh("lost"))

        verdict = made.uow.read_now(lambda ctx: audit.verify(ctx, place.reader), trace=TRACE)

        assert verdict.intact, verdict.faults
        assert [each.request_id for each in verdict.unsettled] == [lost.headers["x-request-id"]]

    play(story)


def facts(kind: UpstreamKind = UpstreamKind.HTTP) -> TenantFacts:
    where = UpstreamRef(kind, BASE if kind is UpstreamKind.HTTP else "")
    return TenantFacts(GENERAL, where, MovedReads.REFUSE, active=True)


async def settle(
    made: Ground,
    place: Place,
    kind: UpstreamKind = UpstreamKind.HTTP,
    *,
    app: Any = None,
    superseded: Any = None,
    tenant: TenantFacts | None = None,
) -> Access:
    """Settle what is open at the other server (taken for one of our own where ``kind`` says so); return the last record of it.

    With ``tenant``, as it is settled at that one; else as if it had been sent to a server of the kind.
    """
    server = Embedded(app or place.other, BASE)
    upstreams = Upstreams(vault(), lambda _: server)
    if kind is UpstreamKind.HTTP:
        upstreams._over_http = upstreams._in_process  # type: ignore[method-assign]  # the network is not what is tried here
    intents = journals.Intents(lambda: place.reader)
    settler = Settler(
        upstreams,
        intents,
        made.journal,
        lambda _: tenant or facts(kind),
        made.clock.now,
        superseded=superseded or (lambda *_: ()),
    )
    (opened,) = intents.list_open()
    if tenant is None:
        sent = replace(opened.intent, detail=destination(facts(kind).upstream))
        opened = replace(opened, intent=sent)
    await settler.settle([opened])
    return place.reader.find(opened.intent.request_id)[-1]


class Tagging(OtherServer):
    """A server that searches by tags, and keeps an instance's history."""

    history: dict[str, list[dict[str, Any]]]
    strips = False

    def _answer(self, method: str, path: str, query: str, body: bytes) -> Any:
        if path.endswith("/_history"):
            name = path.removesuffix("/_history")
            entries = [{"resource": each} for each in getattr(self, "history", {}).get(name, [])]
            return 200, {"resourceType": "Bundle", "type": "history", "entry": entries}, []
        status, answer, more = super()._answer(method, path, query, body)
        if method == "GET" and "_tag=" in query and isinstance(answer, dict):
            wanted = query.partition("_tag=")[2].partition("&")[0]
            wanted = wanted.replace("%3A", ":").replace("%7C", "|")
            found = [
                {"resource": each}
                for each in self.resources.values()
                if each["resourceType"] == path
                and any(
                    f"{tag['system']}|{tag['code']}".startswith(wanted)
                    for tag in each.get("meta", {}).get("tag", [])
                )
            ]
            answer = {"resourceType": "Bundle", "type": "searchset", "entry": found}
        if self.strips and method == "POST" and isinstance(answer, dict):
            answer.pop("meta", None)
        return status, answer, more


def test_a_create_that_was_carried_out_is_found_by_its_tag(play: Play, place: Place) -> None:
    """C196: settled as done, and the app that tries again is answered so."""
    place.other = Tagging(resources=place.other.resources)

    async def story(made: Ground) -> None:
        place.after_write = _lost
        await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())
        place.after_write = lambda: None
        made.clock.advance(timedelta(minutes=1))

        last = await settle(made, place)
        again = await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())

        assert last.at == made.clock.now()
        assert (last.outcome, last.rule, last.resource) == (Outcome.DONE, SETTLEMENT, place.stored()[0])
        assert place.reader.open_intents() == []
        assert again.status == 409
        assert again.headers["location"].endswith(place.stored()[0])

    play(story)


def test_a_binary_whose_answer_was_lost_is_found_where_the_gateway_put_it(play: Play, place: Place) -> None:
    """C196, ADR 27: at a server that searches by no tag too."""
    scan = {
        "resourceType": "Binary",
        "contentType": "application/pdf",
        "securityContext": {"reference": f"{PLATFORM}/t/general/fhir/Patient/p1"},
        "data": "YQ==",
    }
    # As many as a search by the tag would return of a server that ignores it.
    place.other.load(*(scan | {"id": id_} for id_ in ("b1", "b2")))

    async def story(made: Ground) -> None:
        token = made.token("patient/DocumentReference.c")
        place.after_write = _lost
        lost = await made.send("POST", "Binary", token, body=scan)
        place.after_write = lambda: None
        (where,) = [name for name in place.other.resources if name.startswith("Binary/own-")]

        last = await settle(made, place)
        again = await made.send("POST", "Binary", token, body=scan)

        assert code_of(lost) == "outcome_unknown"
        assert (last.outcome, last.resource) == (Outcome.DONE, where)
        assert place.other.resources[where]["securityContext"] == {"reference": "Patient/p1"}
        assert (again.status, again.headers["location"].endswith(where)) == (409, True)

    play(story)


def test_a_create_that_is_not_found_at_another_server_is_unknown_even_where_tags_are_kept(
    play: Play, place: Place
) -> None:
    """C196: the next update replaces the tag, so its absence proves nothing."""
    place.other = Tagging(resources=place.other.resources)

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        await made.send("POST", "Observation", token, body=fresh("earlier"))
        place.on_write = lambda: setattr(place.other, "status", 503)
        lost = await made.send("POST", "Observation", token, body=fresh())
        place.on_write, place.other.status = lambda: None, 0

        last = await settle(made, place)

        assert (last.request_id, last.outcome) == (lost.headers["x-request-id"], Outcome.UNKNOWN)
        again = await made.send("POST", "Observation", token, body=fresh())
        assert (again.status, code_of(again)) == (409, "write_repeated")
        assert "it cannot be found out whether it was carried out" in sentence_of(again)
        assert f"_tag=urn:hilum:request|{last.request_id}" in sentence_of(again)
        own = fresh() | {"identifier": [{"system": "urn:app", "value": "1"}]}
        assert (await made.send("POST", "Observation", token, body=own)).status == 201

    play(story)


@pytest.mark.parametrize("later", ["updated", "deleted"])
@pytest.mark.parametrize("kind", [UpstreamKind.HTTP, UpstreamKind.EMBEDDED])
def test_a_create_that_was_updated_or_deleted_before_it_is_settled_is_never_called_not_done(
    play: Play, place: Place, kind: UpstreamKind, later: str, tmp_path: Path
) -> None:
    """C196: else its app would try again, and the order would exist twice."""
    place.other = Tagging(resources=place.other.resources)

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        await made.send("POST", "Observation", token, body=fresh("earlier"))
        place.after_write = _lost
        lost = await made.send("POST", "Observation", token, body=fresh())
        place.after_write = lambda: None
        name = place.stored()[-1]
        wrote = orjson.dumps(place.other.resources[name])
        if later == "deleted":
            del place.other.resources[name]
        else:
            place.other.resources[name]["meta"]["tag"] = [
                {"system": "urn:hilum:request", "code": "req_another"}
            ]
        last = await settle(made, place, kind, superseded=lambda *_: [wrote])
        again = await made.send("POST", "Observation", token, body=fresh())

        expected = Outcome.DONE if kind is UpstreamKind.EMBEDDED else Outcome.UNKNOWN
        assert (last.request_id, last.outcome) == (lost.headers["x-request-id"], expected)
        assert again.status == 409

    play(story)


@pytest.mark.parametrize("later", ["updated", "deleted", "never made"])
def test_the_embedded_server_finds_what_a_request_wrote_among_all_that_was_replaced(
    tmp_path: Path, clock: FakeClock, ids: SeededIds, later: str
) -> None:
    """C196: a hundred later versions and a deletion hide nothing."""
    service = FhirService(FhirServerSettings(tmp_path / "fhir.db", BASE), clock, ids)
    since = clock.now()
    made, _ = service.create("Observation", tagged(orjson.dumps(fresh()), "req_first"))
    body = orjson.dumps(fresh() | {"id": made.id})
    for n in range(120):
        service.update("Observation", made.id, tagged(body, f"req_later{n}"), Precondition())
    if later == "deleted":
        service.delete("Observation", made.id, Precondition())

    wanted = "req_nobody" if later == "never made" else "req_first"
    found = service.list_superseded("Observation", wanted, since)

    assert [orjson.loads(each)["id"] for each in found] == ([] if later == "never made" else [made.id])
    service.close()


def test_a_claim_whose_holder_was_refused_is_taken_over(play: Play, place: Place) -> None:
    """C196: its app hung up before the refusal was sent, so nobody released the claim."""
    place.on_write = lambda: setattr(place.other, "status", 422)

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        made.journal.release = lambda request_id: None  # type: ignore[method-assign]  # what a client that hung up leaves behind
        refused = await made.send("POST", "Observation", token, body=fresh())
        place.on_write, place.other.status = lambda: None, 0
        del made.journal.release

        again = await made.send("POST", "Observation", token, body=fresh())

        assert (refused.status >= 400, again.status) == (True, 201)

    play(story)


def test_whoever_is_frozen_after_its_intent_writes_beside_no_successor(
    play: Play, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C196: by the time it wakes, its write was settled as not done, and an identical one carried out."""

    async def story(made: Ground) -> None:
        token, real, first = made.token(*SCOPES), made.journal.intend, True

        async def freeze(intent: Access) -> Any:
            nonlocal first
            recorded = await real(intent)
            if not first:
                return recorded
            first = False
            made.clock.advance(SETTLE_AFTER)
            made.journal.release(intent.request_id)  # what settling does with a write that is not there
            made.keeper.step(0)
            successor = await made.send("POST", "Observation", token, body=fresh())
            assert successor.status == 201
            return recorded

        monkeypatch.setattr(made.journal, "intend", freeze)
        woken = await made.send("POST", "Observation", token, body=fresh())

        assert (woken.status, code_of(woken)) == (429, "concurrency_exceeded")
        assert "was not sent" in sentence_of(woken)
        assert len(place.stored()) == 1
        assert place.outcomes(woken.headers["x-request-id"]) == [Outcome.INTENDED, Outcome.REFUSED]

    play(story)


def test_no_tenant_whose_server_is_away_keeps_others_waiting(clock: FakeClock) -> None:
    """C196: tenants alternate, and each turn begins at another write."""

    def intent(tenant: str, n: int) -> OpenIntent:
        return OpenIntent(
            Access(f"req_{n}", f"req_{n}", clock.now(), tenant, "create", "", 0, Outcome.INTENDED)
        )

    due = [intent("away", n) for n in range(300)] + [intent("well", 300)]

    assert [each.intent.tenant for each in in_turn(due, 0)][:2] == ["away", "well"]
    assert len(in_turn(due, 0)) == SETTLED_AT_ONCE + 1
    firsts = {in_turn(due, turn)[0].intent.request_id for turn in range(300)}
    assert len(firsts) == 300


@pytest.mark.parametrize("after", [0, 1])
def test_a_node_that_lost_its_lease_settles_nothing(play: Play, place: Place, after: int) -> None:
    """C196: asked before the server is, and again before anything is recorded."""

    async def story(made: Ground) -> None:
        place.after_write = _lost
        await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())
        intents = journals.Intents(lambda: place.reader)
        upstreams = Upstreams(vault(), lambda _: Embedded(place.other, BASE))
        kind = facts(UpstreamKind.EMBEDDED)
        settler = Settler(
            upstreams, intents, made.journal, lambda _: kind, made.clock.now, superseded=lambda *_: ()
        )
        answers = iter([True] * after + [False])

        assert await settler.settle(intents.list_open(), lambda: next(answers)) == 0
        assert len(intents.list_open()) == 1

    play(story)


@pytest.mark.parametrize(
    "why",
    [
        "no tag was ever found",
        "tags are ignored",
        "tags are ignored, and all there is has one",
        "tags are stripped",
    ],
)
def test_what_cannot_be_found_out_is_recorded_as_unknown(play: Play, place: Place, why: str) -> None:
    """C196: honest on any FHIR R4 server."""
    if not why.startswith("tags are ignored"):
        place.other = Tagging(resources=place.other.resources)
    if why == "tags are stripped":
        place.other.strips = True  # type: ignore[attr-defined]

    async def story(made: Ground) -> None:
        token = made.token(*SCOPES)
        if why != "no tag was ever found":
            await made.send("POST", "Observation", token, body=fresh("earlier"))
        place.after_write = _lost
        if why in {"no tag was ever found", "tags are ignored, and all there is has one"}:
            del place.other.resources["Observation/o1"]
            place.on_write = lambda: setattr(place.other, "status", 503)
        await made.send("POST", "Observation", token, body=fresh())
        place.other.status = 0
        if why == "tags are ignored":
            for resource in place.other.resources.values():
                resource.pop("meta", None)

        last = await settle(made, place)

        assert (last.outcome, last.rule) == (Outcome.UNKNOWN, SETTLEMENT)
        assert place.reader.open_intents() == []
        verdict = made.uow.read_now(lambda ctx: audit.verify(ctx, place.reader), trace=TRACE)
        assert (verdict.intact, verdict.unsettled) == (True, ())

    play(story)


CHANGES: list[tuple[str, str, dict[str, Any], Outcome]] = [
    ("update", "carried out", {}, Outcome.DONE),
    ("update", "old", {"meta": {"lastUpdated": "2026-03-01T00:00:00Z"}}, Outcome.NOT_DONE),
    ("update", "changed by another", {"meta": {"lastUpdated": "2026-03-02T09:00:01Z"}}, Outcome.UNKNOWN),
    ("update", "says nothing", {"meta": {}}, Outcome.UNKNOWN),
    ("delete", "carried out", {}, Outcome.DONE),
    ("delete", "old", {"meta": {"lastUpdated": "2026-03-01T00:00:00Z"}}, Outcome.NOT_DONE),
    ("delete", "too near to tell", {"meta": {"lastUpdated": "2026-03-02T08:56:00Z"}}, Outcome.UNKNOWN),
    ("delete", "made again", {"meta": {"lastUpdated": "2026-03-02T09:00:01Z"}}, Outcome.UNKNOWN),
]


@pytest.mark.parametrize(("kind", "state", "change", "outcome"), CHANGES, ids=lambda x: str(x)[:24])
def test_updates_and_deletions_are_settled_by_what_the_record_says(
    play: Play, place: Place, kind: str, state: str, change: dict[str, Any], outcome: Outcome
) -> None:
    """C196."""
    method, target, body = WRITES[kind]

    async def story(made: Ground) -> None:
        before = dict(place.other.resources["Observation/o1"])
        place.after_write = _lost
        await made.send(method, target, made.token(*SCOPES), body=body)
        if state != "carried out":
            place.other.resources["Observation/o1"] = before | change

        last = await settle(made, place)

        assert (last.outcome, last.resource) == (outcome, "Observation/o1")

    play(story)


@pytest.mark.parametrize("wrote", [True, False], ids=["it wrote one of them", "one of them names it"])
def test_an_update_at_the_embedded_server_is_settled_by_every_version_there_was(
    play: Play, place: Place, *, wrote: bool
) -> None:
    """C196: it was replaced since; what only holds the request's number as text is another's."""

    async def story(made: Ground) -> None:
        place.after_write = _lost
        lost = await made.send("PUT", "Observation/o1", made.token(*SCOPES), body=WRITES["update"][2])
        version = dict(place.other.resources["Observation/o1"])
        if not wrote:
            version = observation("o1", note=[{"text": lost.headers["x-request-id"]}])
        place.other.load(observation("o1"))

        versions = [orjson.dumps(version)]
        last = await settle(made, place, UpstreamKind.EMBEDDED, superseded=lambda *_: versions)

        assert (last.outcome, last.rule) == (Outcome.DONE if wrote else Outcome.NOT_DONE, SETTLEMENT)

    play(story)


def test_an_answer_about_another_record_settles_nothing(play: Play, place: Place) -> None:
    """C196: it is asked again later."""

    async def story(made: Ground) -> None:
        place.after_write = _lost
        await made.send("DELETE", "Observation/o1", made.token(*SCOPES))
        old = observation("o2", meta={"lastUpdated": "2026-03-01T00:00:00Z"})
        place.other.raw = orjson.dumps(old)

        assert (await settle(made, place)).rule != SETTLEMENT

    play(story)


def test_a_write_whose_sender_records_its_outcome_meanwhile_is_not_settled_beside_it(
    play: Play, place: Place
) -> None:
    """C196: one outcome, that of who knows it."""

    async def story(made: Ground) -> None:
        place.after_write = _lost
        lost = await made.send("DELETE", "Observation/o1", made.token(*SCOPES))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            (opened,) = place.reader.open_intents()
            await made.journal.record(replace(opened.intent, outcome=Outcome.DONE, status=204))
            await place.other(scope, receive, send)

        last = await settle(made, place, app=app)

        assert (last.request_id, last.status) == (lost.headers["x-request-id"], 204)
        assert place.outcomes(last.request_id) == [Outcome.INTENDED, Outcome.UNKNOWN, Outcome.DONE]

    play(story)


def test_a_write_of_a_hospital_that_is_gone_is_settled_as_unknown(play: Play, place: Place) -> None:
    """C196: and keeps no other write from being settled."""

    async def story(made: Ground) -> None:
        place.after_write = _lost
        lost = await made.send("DELETE", "Observation/o1", made.token(*SCOPES))
        asked, intents = len(place.other.seen), journals.Intents(lambda: place.reader)
        upstreams = Upstreams(vault(), lambda _: Embedded(place.other, BASE))
        settler = Settler(
            upstreams, intents, made.journal, lambda _: None, made.clock.now, superseded=lambda *_: ()
        )

        assert await settler.settle(intents.list_open()) == 1
        assert place.outcomes(lost.headers["x-request-id"])[-1] is Outcome.UNKNOWN
        assert (len(place.other.seen), place.reader.open_intents()) == (asked, [])

    play(story)


class Losing(Tagging):
    """A server that carries out what it is sent, and fails to say so."""

    def _answer(self, method: str, path: str, query: str, body: bytes) -> Any:
        answer = super()._answer(method, path, query, body)
        return answer if method == "GET" else (503, {}, [])


def moved(made: Ground, where: UpstreamRef) -> TenantFacts:
    """Move the hospital, and return its facts."""
    made.run(lambda ctx: identity.update_tenant(ctx, GENERAL, TenantChange(upstream=where)))
    return identity_policy.facts_of(made.run(lambda ctx: identity.get_tenant(ctx, GENERAL)))


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("elsewhere", [UpstreamKind.HTTP, UpstreamKind.EMBEDDED])
def test_a_write_is_not_settled_by_asking_the_server_to_which_its_hospital_moved(
    play: Play, place: Place, kind: str, elsewhere: UpstreamKind
) -> None:
    """C196: the new one knows nothing of it: a deletion would be called done there, a create or an update not done."""
    method, target, body = WRITES[kind]
    old, new = Losing(), Tagging()
    over = new if elsewhere is UpstreamKind.HTTP else old

    async def story(made: Ground) -> None:
        before = made.run(lambda ctx: identity.get_tenant(ctx, GENERAL)).upstream
        lost = await made.send(method, target, made.token(*SCOPES), body=body)
        assert code_of(lost) == "outcome_unknown"
        seen = len(new.seen)

        url = new.base if elsewhere is UpstreamKind.HTTP else ""
        there = moved(made, UpstreamRef(elsewhere, url))
        last = await settle(made, place, UpstreamKind.EMBEDDED, app=new, tenant=there)

        assert (last.request_id, last.rule) == (lost.headers["x-request-id"], SETTLEMENT)
        assert (last.outcome, len(new.seen)) == (Outcome.UNKNOWN, seen), last.detail
        assert "has moved to another FHIR server" in last.detail
        assert there.upstream != before

    place.other = old
    with over_http(over) as base:
        old.load(patient("p1"), observation("o1"))
        play(story, http_upstream="" if elsewhere is UpstreamKind.HTTP else base)


def test_a_write_of_a_hospital_that_moved_and_came_back_is_settled_there(play: Play, place: Place) -> None:
    """C196."""

    async def story(made: Ground) -> None:
        before = made.run(lambda ctx: identity.get_tenant(ctx, GENERAL)).upstream
        place.after_write = _lost
        await made.send("DELETE", "Observation/o1", made.token(*SCOPES))

        moved(made, UpstreamRef(UpstreamKind.HTTP, "https://new.example/fhir"))
        last = await settle(made, place, UpstreamKind.EMBEDDED, tenant=moved(made, before))

        assert (last.outcome, last.resource) == (Outcome.DONE, "Observation/o1")

    play(story)


@pytest.mark.parametrize("status", [503, 401, 429])
def test_a_server_that_is_away_is_asked_again_and_given_up_after_a_day(
    play: Play, place: Place, status: int
) -> None:
    """C196: nothing is said before something is known, and not for ever; nor by a refusal of the platform's own credentials or load."""

    async def story(made: Ground) -> None:
        place.after_write = _lost
        await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())
        place.other.status = status

        first = await settle(made, place)
        made.clock.advance(GIVE_UP_AFTER)
        last = await settle(made, place)

        assert first.rule != SETTLEMENT
        assert (last.outcome, last.rule) == (Outcome.UNKNOWN, SETTLEMENT)

    play(story)


@pytest.mark.parametrize(
    ("age", "dead", "kind", "due"),
    [
        (SETTLE_AFTER, False, UpstreamKind.HTTP, True),
        (SETTLE_AFTER - timedelta(seconds=1), False, UpstreamKind.HTTP, False),
        (timedelta(0), True, UpstreamKind.HTTP, False),
        (timedelta(0), True, UpstreamKind.EMBEDDED, True),
        (timedelta(0), False, UpstreamKind.EMBEDDED, False),
        (timedelta(0), True, None, False),
    ],
)
def test_nothing_is_settled_that_may_still_be_in_progress(
    clock: FakeClock, age: timedelta, *, dead: bool, kind: UpstreamKind | None, due: bool
) -> None:
    """C196: another server may carry out what it was sent after its sender has died."""
    intent = Access("req_1", "req_1", clock.now() - age, "general", "create", "", 0, Outcome.INTENDED)

    assert is_due(OpenIntent(intent, dead), clock.now(), kind) is due


def test_explain_states_intent_outcome_and_settlement_in_sentences(play: Play, place: Place) -> None:
    """C196."""
    place.other = Tagging(resources=place.other.resources)

    async def story(made: Ground) -> None:
        place.after_write = _lost
        answer = await made.send("POST", "Observation", made.token(*SCOPES), body=fresh())
        await settle(made, place)

        request_id = answer.headers["x-request-id"]
        found = made.uow.read_now(lambda ctx: audit.explain(ctx, request_id, place.reader), trace=TRACE)

        told = "\n".join(found.sentences)
        assert "was about to be sent to the FHIR server; the intent was recorded first." in told
        assert "was sent with an unknown outcome, and answered with 503." in told
        assert "it was settled that the creation of Observation was carried out" in told
        assert f"It is stored as {place.stored()[0]}." in told

    play(story)


def test_a_stop_engaged_while_the_intent_is_recorded_keeps_the_write_back(
    play: Play, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C198; security decision 23: decided again after the intent, before anything leaves."""

    async def story(made: Ground) -> None:
        token, intend = made.token(*SCOPES), made.journal.intend

        async def slow(intent: Access) -> Any:
            done = await intend(intent)
            order = EngageOrder(Target(TargetKind.PLATFORM), Mode.FULL_STOP, "a drill")
            made.run(lambda ctx: controls.engage(ctx, order))
            return done

        monkeypatch.setattr(made.journal, "intend", slow)
        answer = await made.send("POST", "Observation", token, body=fresh())

        assert (answer.status, place.stored()) == (403, [])
        assert place.outcomes(answer.headers["x-request-id"]) == [Outcome.INTENDED, Outcome.REFUSED]
        assert place.reader.open_intents() == []

    play(story)
