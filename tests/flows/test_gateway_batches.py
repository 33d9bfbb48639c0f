"""A batch: what its entries may do is what each of them may do by itself, and nothing else."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from hilum.authorization.tokens import service as tokens
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.gateway.enforcement import batches
from hilum.gateway.enforcement.batches import ENTRIES_BOUND, READS_AT_ONCE
from hilum.gateway.enforcement.executor import Executor
from hilum.gateway.enforcement.service import Enforcer
from hilum.gateway.enforcement.upstream_task import UpstreamTask
from hilum.records.audit import live as journals
from hilum.records.audit.models import UNDELIVERED, AccessQuery
from tests.flows.gate_ground import Gate, held, stop
from tests.flows.gateway_ground import GENERAL, ORIGIN, PLATFORM, Answer, Ground, Play, patient, player
from tests.sim.fhir_upstream import OtherServer
from tests.sim.world import FakeClock, SeededIds
from tests.unit.gateway.enforcement.facts import observation

BASE = f"{PLATFORM}/t/general/fhir"
SCOPES = ("patient/Observation.cruds", "patient/Patient.rs")


@pytest.fixture
def reader(sqlite_uow: UnitOfWork, tmp_path: Path) -> Callable[[], Any]:
    return lambda: journals.open_reader(tmp_path / "journal", sqlite_uow.db.url)


def entry(method: str, url: str, resource: Any = None, **conditions: str) -> dict[str, Any]:
    made: dict[str, Any] = {"request": {"method": method, "url": url, **conditions}}
    return made if resource is None else made | {"resource": resource}


def batch(*entries: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "batch", "entry": list(entries)}


def fresh(text: str = "new") -> dict[str, Any]:
    return {k: v for k, v in observation("", "p1", code={"text": text}).items() if k != "id"}


def statuses(answer: Answer) -> list[int]:
    assert answer.status == 200, answer.body
    assert (answer.json["resourceType"], answer.json["type"]) == ("Bundle", "batch-response")
    return [int(each["response"]["status"].split(" ", 1)[0]) for each in answer.json["entry"]]


ALONE = [
    ("GET", "Observation/o1", None, {}),
    ("GET", "Observation/nothing", None, {}),
    ("GET", "Patient/p2", None, {}),
    ("GET", "Observation/o3", None, {}),
    ("GET", "Condition/c1", None, {}),
    ("GET", "Observation?_count=2", None, {}),
    ("GET", "Observation?subject=Patient/p2", None, {}),
    ("GET", "Observation?unknown=1", None, {}),
    ("GET", "Observation/o1/_history/1", None, {}),
    ("GET", "Observation/o1/_history", None, {}),
    ("GET", "patient/p1", None, {}),
    ("GET", "Patient/../Observation/o1", None, {}),
    ("GET", "Patient%2Fp1", None, {}),
    ("BREW", "Patient/p1", None, {}),
    ("GET", "Patient/p1/$everything", None, {}),
    ("POST", "Observation", fresh(), {}),
    ("POST", "Condition", {"resourceType": "Condition", "subject": {"reference": "Patient/p1"}}, {}),
    ("POST", "Observation", {**fresh(), "subject": {"reference": "Patient/p2"}}, {}),
    ("POST", "Observation", fresh(), {"ifNoneExist": "code=x"}),
    ("PUT", "Observation/o1", observation("o1", "p2"), {}),
    ("PUT", "Observation/o1", observation("o1"), {"ifMatch": 'W/"7"'}),
    ("PUT", "Observation/o1", observation("o1"), {"ifMatch": ""}),
    ("PUT", "Observation/o1", observation("o1"), {"ifNoneMatch": "*"}),
    ("PATCH", "Observation/o1", [{"op": "remove", "path": "/subject"}], {}),
    ("DELETE", "Observation?code=x", None, {}),
    ("DELETE", "Patient/p1", None, {}),
]
HEADER_OF = {"ifMatch": "If-Match", "ifNoneMatch": "If-None-Match", "ifNoneExist": "If-None-Exist"}


def without_numbers(outcome: dict[str, Any]) -> Any:
    return [{k: v for k, v in issue.items() if k != "diagnostics"} for issue in outcome["issue"]]


def test_each_entry_is_answered_as_the_same_request_alone(play: Play) -> None:
    """C80, C72, C81: no path yields more or less than the one that was judged before; one entry's refusal changes no other."""

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)
        alone = [
            await made.send(
                method, url, bearer, body=body, headers={HEADER_OF[k]: v for k, v in more.items()}
            )
            for method, url, body, more in ALONE
        ]

        together = await made.send(
            "POST", "", bearer, body=batch(*(entry(m, u, b, **c) for m, u, b, c in ALONE))
        )

        found = together.json["entry"]
        for (method, url, *_), by_itself, status, each in zip(
            ALONE, alone, statuses(together), found, strict=True
        ):
            # The create of before is done, so an identical one is another's repetition or a second record.
            assert status == by_itself.status, (method, url, each)
            if by_itself.status >= 400:
                assert without_numbers(each["response"]["outcome"]) == without_numbers(by_itself.json), url
                assert "resource" not in each
        assert found[0]["resource"] == alone[0].json
        assert found[0]["response"]["etag"] == alone[0].headers["etag"]
        assert found[0]["response"]["lastModified"] == "2026-03-02T09:00:00Z"
        assert [e["resource"]["id"] for e in found[5]["resource"]["entry"]] == [
            each.partition("/")[2] for each in alone[5].ids
        ]

    play(story)


def test_what_an_entry_creates_is_stored_with_its_digits_and_says_where(play: Play) -> None:
    """FHIR R4 datatypes.html#decimal, bundle.html#Bundle.entry.response."""

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)
        sent = orjson.dumps(batch(entry("POST", "Observation", fresh() | {"valueQuantity": {"value": 1}})))

        answer = await made.send("POST", "", bearer, body=sent.replace(b'"value":1', b'"value":5.40'))

        assert statuses(answer) == [201]
        where = answer.json["entry"][0]["response"]["location"]
        assert where.startswith(f"{BASE}/Observation/")
        stored = await made.get(where.partition("/_history")[0], bearer)
        assert b'"value":5.40' in stored.body
        minimal = await made.send(
            "POST",
            "",
            bearer,
            body=batch(entry("POST", "Observation", fresh("b"))),
            headers={"Prefer": "return=minimal"},
        )
        assert set(minimal.json["entry"][0]) == {"id", "response"}

    play(story)


def test_each_entry_costs_and_is_recorded_like_a_request(play: Play, reader: Callable[[], Any]) -> None:
    """C129, C150: fifty reads in one request are fifty reads; beyond the quota entries are refused."""

    async def story(made: Ground) -> None:
        app = made.clients["app"].app
        made.run(lambda ctx: controls.set_quota(ctx, app, GENERAL, Quota(rate_per_s=0.5, burst=3)))
        bearer = made.token(*SCOPES)
        asked = [entry("GET", f"Observation/{id_}") for id_ in ("o1", "nothing", "o1", "o1")]

        answer = await made.send("POST", "", bearer, body=batch(*asked))

        assert statuses(answer) == [200, 404, 200, 429]
        assert answer.headers["ratelimit-remaining"] == "0"
        found = reader().newest(AccessQuery(app=app))
        assert sorted((each.interaction, each.status) for each in found) == [
            ("read", 200), ("read", 200), ("read", 404), ("read", 429),
        ]  # fmt: skip
        assert {each.request_id for each in found} == {each["id"] for each in answer.json["entry"]}
        assert {each.correlation_id for each in found} == {answer.headers["x-request-id"]}
        assert {(each.method, each.path) for each in found} == {
            ("GET", "/t/general/fhir/Observation/o1"),
            ("GET", "/t/general/fhir/Observation/nothing"),
        }

    play(story)


def test_the_record_of_an_entry_says_what_it_asked_for(play: Play, reader: Callable[[], Any]) -> None:
    """C150: its own query; a method that there is not is no text of the client's choice."""

    async def story(made: Ground) -> None:
        asked = batch(entry("GET", "Observation?code=x"), entry("BREW", "Patient/p1"))

        await made.send("POST", "", made.token(*SCOPES), body=asked)

        found = reader().newest(AccessQuery(app=made.clients["app"].app))
        assert {(each.method, each.query) for each in found} == {("GET", "code=x"), ("?", "")}

    play(story)


def test_an_entry_shows_its_resource_where_the_same_request_alone_would(play: Play) -> None:
    """FHIR R4 http.html#return, bundle.html#Bundle.entry.response: an outcome is asked for of writes; a HEAD has no body; CORS as for each entry."""

    async def story(made: Ground) -> None:
        asked = batch(
            entry("HEAD", "Observation/o1"),
            entry("GET", "Observation/o1"),
            entry("PUT", "Observation/o1", observation("o1", code={"text": "x"})),
        )
        headers = {"Prefer": "return=OperationOutcome", "Origin": ORIGIN}

        answer = await made.send("POST", "", made.token(*SCOPES), body=asked, headers=headers)

        assert statuses(answer) == [200, 200, 200]
        head, read, written = answer.json["entry"]
        assert set(head) == {"id", "response"}
        assert read["resource"]["id"] == "o1"
        assert written["response"]["outcome"]["resourceType"] == "OperationOutcome"
        assert answer.headers["access-control-allow-origin"] == ORIGIN

    play(story)


class Busy:
    """A hospital's FHIR server that counts the requests it has at once."""

    def __init__(self) -> None:
        self.other, self.now, self.most = OtherServer(), 0, 0
        self.other.load(patient("p1"), *(observation(f"o{n}") for n in range(1, 10)))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(20):  # all that were sent together arrive meanwhile
            await asyncio.sleep(0)
        await self.other(scope, receive, send)
        self.now -= 1


def test_a_batch_takes_few_places_at_a_fhir_server_and_its_answers_count_together(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C133, C129: fifty entries are no fifty requests at once; and their bytes are bound as those of one answer."""
    busy = Busy()

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)
        alone = await made.get("Observation/o1", bearer)
        monkeypatch.setattr(batches, "ANSWER_BOUND", 6 * len(alone.body))
        reads = [entry("GET", f"Observation/o{n}") for n in range(1, 10)]

        answer = await made.send("POST", "", bearer, body=batch(*reads))

        assert statuses(answer) == [200] * 8 + [403]
        assert busy.most == READS_AT_ONCE

    player(sqlite_uow, clock, ids, tmp_path)(story, embedded=lambda _: busy)


EXHAUSTED: dict[str, tuple[str, float, int, int, str, str]] = {
    "so many bytes": ("ANSWER_BOUND", 0, 4, 403, "too_costly", ""),
    "so long": ("BEGIN_WITHIN_S", -1.0, 0, 503, "upstream_unavailable", "1"),
}
"""The bound that is reached, how many entries began before it, and how the others are refused: status, reason, and when to try again."""


@pytest.mark.parametrize("exhausted", EXHAUSTED.values(), ids=EXHAUSTED)
def test_an_entry_for_which_a_batch_has_no_room_is_refused_recorded_and_not_done(
    play: Play,
    reader: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    exhausted: tuple[str, float, int, int, str, str],
) -> None:
    """C129, C150: what it asked for stays on record, under the number that its answer has. Too late for time is not too costly: a later try may succeed."""
    bound, value, began, status, reason, retry_after = exhausted

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)
        before = (await made.get("Observation", bearer)).ids
        monkeypatch.setattr(batches, bound, value)
        reads = [entry("GET", "Observation/o1")] * 4

        answer = await made.send(
            "POST", "", bearer, body=batch(*reads, entry("POST", "Observation", fresh()))
        )

        assert statuses(answer) == [200] * began + [status] * (5 - began)
        assert answer.headers.get("retry-after", "") == retry_after
        found = {each.request_id: each for each in reader().newest(AccessQuery(app=made.clients["app"].app))}
        for each in answer.json["entry"][began:]:
            assert each["response"]["outcome"]["issue"][0]["details"]["coding"][0]["code"] == reason
            assert (found[each["id"]].reason, found[each["id"]].status) == (reason, status)
        assert (await made.get("Observation", bearer)).ids == before

    play(story)


def test_writes_of_a_batch_are_done_one_by_one_in_order(play: Play) -> None:
    """ADR 30: each names the version that the one before it made."""

    async def story(made: Ground) -> None:
        asked = [
            entry("PUT", "Observation/o1", observation("o1", code={"text": f"the {n}."}), ifMatch=f'W/"{n}"')
            for n in (1, 2, 3)
        ]

        answer = await made.send("POST", "", made.token(*SCOPES), body=batch(*asked))

        assert statuses(answer) == [200, 200, 200]
        assert [each["response"]["etag"] for each in answer.json["entry"]] == ['W/"2"', 'W/"3"', 'W/"4"']

    play(story)


WRONG = {
    "no Bundle": {"resourceType": "Observation"},
    "a searchset": {"resourceType": "Bundle", "type": "searchset", "entry": [entry("GET", "Patient/p1")]},
    "a transaction": {"resourceType": "Bundle", "type": "transaction", "entry": [entry("GET", "Patient/p1")]},
    "no entry": batch(),
    "too many": batch(*[entry("GET", "Patient/p1")] * (ENTRIES_BOUND + 1)),
    "no request": batch(entry("GET", "Patient/p1"), {"resource": fresh()}),
    "no url": batch(entry("GET", "Patient/p1"), {"request": {"method": "GET"}}),
    "an entry that is text": batch("GET Patient/p1"),
    "a condition that is a number": batch({"request": {"method": "GET", "url": "Patient/p1", "ifMatch": 1}}),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_batch_is_refused_whole(play: Play, wrong: dict[str, Any]) -> None:
    """C77, C80: with a sentence, and nothing is done."""

    async def story(made: Ground) -> None:
        answer = await made.send("POST", "", made.token(*SCOPES), body=wrong)

        assert answer.status == 400
        assert answer.json["issue"][0]["details"]["coding"][0]["code"] == "request_unsupported"

    play(story)


ELSEWHERE = (
    f"{BASE}/{BASE}/Patient/p1", f"{BASE}//Patient/p1", f"/{BASE}/Patient/p1", f"{BASE.replace('general', 'clinic')}/Patient/p1",
    "https://evil.example/Patient/p1", "//evil.example/Patient/p1", "//Patient/p1", "/t/clinic/fhir/Patient/p1",
    "../../clinic/fhir/Patient/p1", "Patient/p1#x", "Patient/é", "", "metadata", "urn:uuid:1", "Patient/p1?_method=DELETE", "Patient/p1\x1b[2J\n", "Patient/" + "p" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("url", ELSEWHERE, ids=[f"{each[:30]!r}" for each in ELSEWHERE])
def test_an_entry_leads_nowhere_but_below_its_own_base(
    play: Play, reader: Callable[[], Any], url: str
) -> None:
    """C81, C37: absolute entry URLs, other hospitals, batches in batches."""

    async def story(made: Ground) -> None:
        resource = batch(entry("GET", "Patient/p1")) if not url else None
        one = entry("POST" if not url else "GET", url, resource)

        answer = await made.send("POST", "", made.token(*SCOPES), body=batch(one, entry("GET", "Patient/p1")))

        first, second = statuses(answer)
        assert first in {400, 404, 414}
        assert second == 200
        assert "resource" not in answer.json["entry"][0]
        if ":" in url or url.startswith("//"):
            assert first == 400
            assert "relative to this FHIR base" in str(answer.json["entry"][0])
        refused, _ = sorted(
            reader().newest(AccessQuery(app=made.clients["app"].app)), key=lambda each: -each.status
        )
        assert refused.path.isprintable()
        assert len(refused.path) <= 512

    play(story)


def test_an_entry_may_name_its_base_or_begin_with_a_slash(play: Play) -> None:
    """FHIR R4 http.html#transaction: as Medplum's client and others write it."""

    async def story(made: Ground) -> None:
        urls = ("Patient/p1", "/Patient/p1", f"{BASE}/Patient/p1")
        asked = batch(*(entry("GET", url) for url in urls), entry("GET", f"{BASE}/Observation?_count=1"))

        answer = await made.send("POST", "", made.token(*SCOPES), body=asked)

        assert statuses(answer) == [200] * 4
        plain, *others, found = (each["resource"] for each in answer.json["entry"])
        assert others == [plain, plain]
        assert len(found["entry"]) == 1

    play(story)


def test_an_empty_condition_is_not_no_condition(play: Play) -> None:
    """FHIR R4 http.html#concurrency: a condition that nobody can mean must not become an unconditional write."""

    async def story(made: Ground) -> None:
        bearer, body = made.token(*SCOPES), observation("o1", code={"text": "x"})
        for condition in ("", " "):
            alone = await made.send(
                "PUT", "Observation/o1", bearer, body=body, headers={"If-Match": condition}
            )
            asked = batch(entry("PUT", "Observation/o1", body, ifMatch=condition))
            assert alone.status == 400
            assert statuses(await made.send("POST", "", bearer, body=asked)) == [400]
        assert (await made.get("Observation/o1", bearer)).headers["etag"] == 'W/"1"'

    play(story)


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
def test_a_resource_beside_a_read_is_refused(play: Play, method: str) -> None:
    """C81: servers differ in whether such a body means anything."""

    async def story(made: Ground) -> None:
        made.load(observation("o9", code={"text": "x"}))
        bearer = made.token(*SCOPES)
        answer = await made.send("POST", "", bearer, body=batch(entry(method, "Observation/o9", fresh())))

        assert statuses(answer) == [400]
        assert (await made.get("Observation/o9", bearer)).status == 200

    play(story)


ODD = {
    "half a character": b'"\\ud800"',
    "an integer of thirty digits": b"1" * 30,
    "no finite number": b"1e400",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("url", ["", "Observation"], ids=["in a batch", "alone"])
def test_what_cannot_be_written_again_is_answered_recorded_and_counted(
    play: Play, reader: Callable[[], Any], url: str, odd: bytes
) -> None:
    """C72, C150: such bodies were a fault of ours, without a record, and in a batch without a cost."""

    async def story(made: Ground) -> None:
        sent = fresh("odd") if url else batch(entry("POST", "Observation", fresh("odd")))

        body = orjson.dumps(sent).replace(b'"odd"', odd)
        answer = await made.send("POST", url, made.token(*SCOPES), body=body)

        last = answer.status if answer.status >= 400 or url else statuses(answer)[0]
        assert last in {201, 400}, answer.body
        assert "ratelimit-remaining" in answer.headers
        assert last in {each.status for each in reader().newest(AccessQuery(app=made.clients["app"].app))}

    play(story)


class Odd:
    """A FHIR server that writes times that are none."""

    def __init__(self) -> None:
        self.other = OtherServer()
        self.other.load(patient("p1"), observation("o1"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.lower() != b"last-modified"]
                message["headers"] = [*kept, (b"last-modified", b"Mon, 32 Jan 2026 10:00:00 GMT")]
            await send(message)

        await self.other(scope, receive, sent)


def test_a_fault_in_one_entry_loses_no_other_answer(
    sqlite_uow: UnitOfWork,
    clock: FakeClock,
    ids: SeededIds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ADR 30: what was written is said to be written, whatever a FHIR server answers or fails in another entry."""

    async def story(made: Ground) -> None:
        found = Executor.execute

        async def failing(self: Executor, task: UpstreamTask) -> Any:
            if task.permit.request.id == "o1":
                raise RuntimeError("a fault")
            return await found(self, task)

        monkeypatch.setattr(Executor, "execute", failing)
        asked = batch(entry("POST", "Observation", fresh()), entry("GET", "Observation/o1"))
        answer = await made.send("POST", "", made.token(*SCOPES), body=asked)

        assert statuses(answer) == [201, 500]
        assert b"RuntimeError" not in answer.body
        assert "lastModified" not in answer.json["entry"][0]["response"]

    player(sqlite_uow, clock, ids, tmp_path)(story, embedded=lambda _: Odd())


def test_a_token_that_is_refused_opens_no_batch(play: Play, reader: Callable[[], Any]) -> None:
    """Security decision 26: judged before the body is read, and refused once."""

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        made.run(lambda ctx: tokens.revoke_authorization(ctx, given.id))
        asked = batch(*[entry("GET", "Patient/p1")] * 10)

        for token in (bearer, "hil_at_" + "x" * 43, None):
            answer = await made.send("POST", "", token, body=asked)
            assert (answer.status, answer.json["resourceType"]) == (401, "OperationOutcome")

        assert len(reader().newest(AccessQuery(app=made.clients["app"].app))) == 1

    play(story)


def test_an_answer_that_waits_for_other_entries_is_kept_back_if_it_is_lost_meanwhile(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path, reader: Callable[[], Any]
) -> None:
    """C198: the first entry was answered before the grant was withdrawn, the last one is held by the hospital's server."""
    gate = Gate()
    gate.other.load(patient("p1"), *(observation(f"o{n}", code={"text": "Familyp1"}) for n in range(1, 9)))

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        asked = batch(
            entry("GET", "Observation/o1"),
            entry("POST", "Observation", fresh()),
            entry("GET", "Observation/o2"),
        )
        task = await held(made, gate, made.send("POST", "", bearer, body=asked), at=3)
        made.run(lambda ctx: tokens.revoke_authorization(ctx, given.id))
        gate.go.set()
        answer = await task

        read, written, last = answer.json["entry"]
        assert [each["response"]["status"][:3] for each in (read, last)] == ["401", "401"]
        assert b"Familyp1" not in answer.body
        # The write was done before: it is not said to be undone.
        assert written["response"]["status"][:3] == "403"
        code = written["response"]["outcome"]["issue"][0]["details"]["coding"][0]["code"]
        assert code == "write_done_answer_withheld"
        found = reader().newest(AccessQuery(app=made.clients["app"].app))
        kept_back = sorted((each.interaction, each.reason) for each in found if each.rule == UNDELIVERED)
        assert kept_back == [
            ("create", "write_done_answer_withheld"),
            ("read", "token_revoked"),
            ("read", "token_revoked"),
        ]

    player(sqlite_uow, clock, ids, tmp_path)(story, embedded=lambda _: gate)


def test_what_ends_by_its_time_while_a_batch_waits_is_kept_back(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """Security decision 23: no fact has changed, but the token has expired since the first entry was answered."""
    gate = Gate()
    gate.other.load(patient("p1"), *(observation(f"o{n}", code={"text": "Familyp1"}) for n in range(1, 3)))

    async def story(made: Ground) -> None:
        asked = batch(entry("GET", "Observation/o1"), entry("GET", "Observation/o2"))
        task = await held(made, gate, made.send("POST", "", made.token(*SCOPES), body=asked), at=2)
        made.clock.advance(timedelta(hours=1))
        made.keeper.step(0)
        gate.go.set()
        answer = await task

        assert statuses(answer) == [401, 401]
        assert b"Familyp1" not in answer.body

    player(sqlite_uow, clock, ids, tmp_path)(story, embedded=lambda _: gate)


def test_what_is_lost_while_others_are_looked_at_again_is_kept_back_too(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C198: keeping an answer back waits for the journal, in which time more may be lost; here after the first was found permitted."""
    real, later = Enforcer.withhold_if_lost_since, [stop(TargetKind.TENANT, GENERAL)]

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)

        async def and_then_a_stop(self: Enforcer, task: Any, answer: Any) -> Any:
            kept_back = await real(self, task, answer)
            if later:
                assert not kept_back
                later.pop()(made, None)
            return kept_back

        monkeypatch.setattr(Enforcer, "withhold_if_lost_since", and_then_a_stop)
        reads = [entry("GET", each) for each in ("Patient/p1", "Observation/o1")]
        answer = await made.send("POST", "", bearer, body=batch(*reads))

        assert statuses(answer) == [403, 403]
        assert not any("resource" in each for each in answer.json["entry"])

    play(story)


def test_an_identical_create_of_the_next_batch_is_a_new_one(play: Play) -> None:
    """C196: once its answer was sent, the claim of each write of a batch has ended."""

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)
        twice = batch(entry("POST", "Observation", fresh()), entry("POST", "Observation", fresh()))

        assert statuses(await made.send("POST", "", bearer, body=twice)) == [201, 409]
        made.clock.advance(timedelta(seconds=1))
        assert statuses(await made.send("POST", "", bearer, body=twice)) == [201, 409]

    play(story)
