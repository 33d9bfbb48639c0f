"""Reading the record is itself on record, and only for those whose business it is (C155)."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web import problems
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from hilum.records.audit import live, routes, service
from hilum.records.audit.models import EventQuery, Outcome, RecordedEvent
from tests.flows import control_site
from tests.flows.control_site import TRACE, ControlSite, problem
from tests.flows.journal_ground import JournalGround, access
from tests.sim.one_world import in_one_world
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock

LISTS = ("/accesses", "/audit/events")
STRANGERS_TO_IT = ("physician", "nurse", "analyst", "front_desk", "patient")


class Room:
    """Two hospitals with something on record, and the API of the record alone."""

    def __init__(self, site: ControlSite, place: JournalGround) -> None:
        self.site, self.place = site, place
        api = FastAPI()
        problems.install(api)
        api.include_router(routes.api(site.kit, lambda: place.reader))
        site.app = api
        for role in STRANGERS_TO_IT:
            order = NewPerson(TenantId("general"), f"some-{role}", "Some Body", role)
            site.people[f"some-{role}"] = site.system(identity.add_person, order=order)
        place.write(
            access(1, patient="pat-secret", path="Patient/pat-secret"),
            access(2, tenant="mercy", patient="pat-secret"),
        )

    def by(self, username: str) -> TestClient:
        return self.site.api(username)

    def readings(self, action: str = "audit") -> list[RecordedEvent]:
        """What the record tells of readings, newest first; this look goes by the room's back door and is not on record."""
        read = partial(service.list_events, query=EventQuery(action=action))
        return list(self.site.uow.read_now(read, trace=TRACE).events)

    def header_words(self, told: RecordedEvent) -> str:
        event = told.event
        return f"{told.actor} {event.action} {event.tenant} {event.reason} {event.person} {event.app} {event.launch}"


def make(uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Room:
    return Room(control_site.build(uow, clock), JournalGround(uow, uow.db.url, tmp_path / "journal"))


@pytest.fixture
def anywhere(uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Room:
    return make(uow, clock, tmp_path)


@pytest.fixture
def room(sqlite_uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Room:
    return make(sqlite_uow, clock, tmp_path)


def test_reading_a_list_of_accesses_is_recorded_with_its_reader_and_filters(anywhere: Room) -> None:
    """C155: who, when, at which tenant, by which filters, and how many were given."""
    answer = anywhere.by("otto").get("/accesses?tenant=general&app=app_1")

    assert len(answer.json()["items"]) == 1
    (told,) = anywhere.readings()
    assert told.event.action == "audit.access.list"
    assert told.event.outcome is Outcome.DONE
    assert told.actor == f"staff:{anywhere.site.people['otto'].id}"
    assert told.source == "198.51.100.8"
    assert told.event.tenant == "general"
    assert told.event.reason == "by app, tenant"
    assert told.event.facts == {"filters": {"app": "app_1", "tenant": "general"}, "given": 1}


def test_whose_chart_was_looked_for_lies_in_the_payload_and_goes_with_it(anywhere: Room) -> None:
    """Security decision 5: the patient is PHI; its filter's name stands in the header, its value can be purged."""
    anywhere.by("otto").get("/accesses?patient=pat-secret")

    (told,) = anywhere.readings()
    assert told.event.patient == "pat-secret"
    assert "patient" in told.event.reason
    assert "pat-secret" not in anywhere.header_words(told)
    later = anywhere.site.clock.now() + timedelta(days=31)
    anywhere.site.clock.advance(timedelta(days=62))
    anywhere.site.uow.write_now(partial(service.purge_payloads, kind="audit", before=later), trace=TRACE)
    kept = anywhere.readings("audit.access.list")[0].event
    assert (kept.patient, kept.facts, kept.reason) == ("", {}, "by patient")
    assert anywhere.place.verify().intact


@pytest.mark.parametrize("name", ["tenant", "app", "client", "person", "launch", "authorization"])
def test_what_somebody_typed_into_a_filter_never_stands_in_a_header(room: Room, name: str) -> None:
    """A name or a number of a patient, typed into the wrong field, must be purgeable."""
    room.by("otto").get("/accesses", params={name: "Doe,John;MRN=4711"})

    (told,) = room.readings()
    assert "Doe" not in room.header_words(told)
    assert told.event.facts["filters"] == {name: "Doe,John;MRN=4711"}


def test_reading_events_is_recorded_and_does_not_loop(anywhere: Room) -> None:
    """C155: one look is one event, also the look at looks; a page never shows the look that asked for it."""
    auditor = anywhere.by("otto")
    for before in range(3):
        page = auditor.get("/audit/events?action=audit").json()["items"]
        assert len(page) == before
    assert [each.event.action for each in anywhere.readings()] == ["audit.event.list"] * 3


@pytest.mark.parametrize("path", ["/accesses", "/audit/events"])
def test_a_list_of_the_past_is_cut_at_moments_with_their_zone(room: Room, path: str) -> None:
    auditor, now = room.by("otto"), room.site.clock.now()
    auditor.get("/audit/events")

    everything = auditor.get(path, params={"since": (now - timedelta(days=1)).isoformat()}).json()["items"]
    nothing = auditor.get(path, params={"since": (now + timedelta(days=1)).isoformat()}).json()["items"]
    zoneless = auditor.get(path, params={"since": "2026-11-01T00:00:00"})

    assert everything
    assert all(each["at"].endswith("Z") for each in everything), "as in the rest of the API"
    assert nothing == []
    assert zoneless.status_code == 422


def test_every_page_of_a_walk_is_recorded_with_its_cursor(room: Room) -> None:
    auditor = room.by("otto")
    first = auditor.get("/audit/events?limit=2").json()
    auditor.get("/audit/events", params={"limit": 2, "after": first["next"]})

    newest, oldest = room.readings()
    assert newest.event.facts == {"filters": {"after": first["next"]}, "given": 2}
    assert oldest.event.facts == {"filters": {}, "given": 2}
    assert oldest.event.reason == ""


def test_an_explanation_is_recorded_with_who_asked_and_about_whose_chart(anywhere: Room) -> None:
    request_id = access(1).request_id

    assert anywhere.by("gina").get(f"/explain/{request_id}").status_code == 200

    (told,) = anywhere.readings()
    assert told.event.action == "audit.request.explain"
    assert (told.event.tenant, told.event.patient) == ("general", "pat-secret")
    assert told.event.facts == {"filters": {"request_id": request_id}, "given": 1}
    assert "pat-secret" not in anywhere.header_words(told)


def test_a_tenants_administrator_sees_who_read_the_tenants_record(room: Room) -> None:
    """C155: the hospital sees that the platform's staff looked."""
    room.by("sam").get("/accesses?tenant=general")
    room.by("sam").get("/accesses?tenant=mercy")

    items = room.by("gina").get("/audit/events?tenant=general&action=audit").json()["items"]

    assert [each["action"] for each in items] == ["audit.access.list"]
    assert items[0]["actor"] == f"staff:{room.site.people['sam'].id}"


def test_without_its_record_nothing_is_given(room: Room) -> None:
    """C154, C155: the database takes no more writes, so what was read is kept back."""
    api = room.by("otto")
    with room.site.uow.db.engine.connect() as db:
        db.exec_driver_sql("DROP TABLE audit_payload")
        db.commit()

    answer = SiteClient(room.site.app, raise_server_exceptions=False).get(
        "/api/v1/accesses", headers=dict(api.headers)
    )

    assert answer.status_code == 500
    assert "pat-secret" not in answer.text


MAY_READ_ALL = ("root", "sam", "otto")
MAY_NOT: list[tuple[str, str, str]] = [
    *((who, path, "") for who in ("rita", *(f"some-{role}" for role in STRANGERS_TO_IT)) for path in LISTS),
    *(
        (who, path, "general")
        for who in ("rita", "carl", "mary", *(f"some-{role}" for role in STRANGERS_TO_IT))
        for path in LISTS
    ),
    *(
        ("gina", path, tenant)
        for tenant in ("", "mercy", "children", "nowhere", "GENERAL", "general%20")
        for path in LISTS
    ),
    *(("mary", path, tenant) for tenant in ("", "children") for path in LISTS),
]


@pytest.mark.parametrize("who", MAY_READ_ALL)
@pytest.mark.parametrize("path", LISTS)
def test_staff_whose_work_it_is_read_every_tenants_record(room: Room, who: str, path: str) -> None:
    """C155, C182: platform administrator, security, auditor."""
    for tenant in ("", "general", "mercy"):
        assert room.by(who).get(path, params={"tenant": tenant} if tenant else {}).status_code == 200
    assert len(room.readings()) == 3


@pytest.mark.parametrize("path", LISTS)
def test_a_tenants_administrator_reads_the_own_record(room: Room, path: str) -> None:
    assert room.by("gina").get(f"{path}?tenant=general").status_code == 200


@pytest.mark.parametrize(("who", "path", "tenant"), MAY_NOT)
def test_nobody_else_reads_and_that_they_tried_is_recorded(
    room: Room, who: str, path: str, tenant: str
) -> None:
    """C155: reviewer, clinician, analyst, desk, patient: not; an administrator elsewhere: not."""
    answer = room.by(who).get(path + (f"?tenant={tenant}" if tenant else ""))

    if tenant == "general%20":
        problem(answer, 422, "fields_invalid")
        return
    administers = who in {"gina", "carl", "mary"}
    reason = "audit_not_yours" if administers else "not_permitted"
    problem(answer, 403, reason)
    assert "pat-secret" not in answer.text
    (told,) = room.readings("audit" if administers else "signin.token.use")
    assert (told.event.outcome, told.event.reason) == (Outcome.REFUSED, reason)
    assert told.actor.endswith(f":{room.site.people[who].id}")


@pytest.mark.parametrize("who", ["rita", *(f"some-{role}" for role in STRANGERS_TO_IT)])
def test_an_explanation_is_for_readers_of_the_record_only(room: Room, who: str) -> None:
    """No oracle: whether the id is that of a request or of nothing, the role is refused first."""
    here = room.by(who).get(f"/explain/{access(1).request_id}")
    nothing = room.by(who).get("/explain/req_nothing")

    assert problem(here, 403, "not_permitted") == problem(nothing, 403, "not_permitted")
    assert len(room.readings("signin.token.use")) == 2
    assert room.readings() == []


@pytest.mark.parametrize("who", ["carl", "mary"])
def test_an_explanation_for_somebody_else_is_as_if_nothing_were_there(room: Room, who: str) -> None:
    """No oracle: the id of another's request and an id of nothing answer alike; that somebody tried is recorded."""
    here = room.by(who).get(f"/explain/{access(1).request_id}")
    nothing = room.by(who).get("/explain/req_nothing")

    assert problem(here, 404, "request_unknown") == problem(nothing, 404, "request_unknown")
    assert [each.event.outcome for each in room.readings()] == [Outcome.REFUSED] * 2
    assert all((each.event.tenant, each.event.patient) == ("", "") for each in room.readings())


@in_one_world("path", [*LISTS, "/events", "/explain/req_x"])
@in_one_world("bearer", ["", "Bearer ", "Bearer hil_pat_" + "x" * 43, "Basic b3R0bzpvdHRv"])
def test_no_one_reads_anything(room: Room, path: str, bearer: str) -> None:
    """C155: without a token that counts."""
    client = room.site.api()

    answer = client.get(path, headers={"authorization": bearer} if bearer else {})

    assert answer.status_code == 401
    assert room.readings() == []


def test_a_token_that_was_revoked_reads_no_more(room: Room) -> None:
    auditor = room.by("otto")
    person = room.site.people["otto"]
    room.site.system(signin.end_sessions_of, person_id=person.id)
    for each in room.site.system(signin.list_api_tokens, person_id=person.id):
        room.site.system(signin.revoke_api_token, token_id=each.id)

    problem(auditor.get("/accesses"), 401, "token_invalid")


def test_somebody_who_was_deactivated_reads_no_more(room: Room) -> None:
    auditor = room.by("otto")
    room.site.system(identity.deactivate_person, person_id=room.site.people["otto"].id)

    problem(auditor.get("/audit/events"), 401, "token_invalid")


@in_one_world(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "tenant=a%00b",
        "patient=a b",
        "sort=at",
        "before=yesterday",
        "before=2026-01-01T00:00:00",
        "before=9999-12-31T23:59:59-23:00",
        "app=" + "x" * 1001,
    ],
)
def test_what_cannot_be_asked_is_refused_by_name_and_reads_nothing(room: Room, query: str) -> None:
    answer = room.by("otto").get(f"/accesses?{query}")

    fields = problem(answer, 422, "fields_invalid")["fields"]
    assert list(fields) == [query.partition("=")[0]]
    assert room.readings() == []


def test_what_a_reading_is_on_record_as_is_no_reading_of_its_own(room: Room) -> None:
    """The journal of accesses tells nothing of readings: the two streams do not feed each other."""
    room.by("otto").get("/accesses")

    reader = live.open_reader(room.place.directory, room.place.url)
    assert sum(len(list(chain.rows)) for chain in reader.chains()) == 2
