"""A proxy's charts can be changed and end, at once and everywhere (C34, security decision 7; the age of majority)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.persistent import BUCKET_S
from hilum.identity.people import service as identity
from hilum.identity.people.models import NEGATIVE_WINDOW, Chart
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows import authorize_flow, token_flow
from tests.flows.authorize_flow import Front, answer, error
from tests.flows.control_site import ControlSite, problem
from tests.flows.gateway_ground import Ground, Play
from tests.flows.token_flow import LAUNCH_SCOPES, Platform, refused
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

platform = token_flow.platform
front = authorize_flow.front
JUST = timedelta(seconds=1)


def charts(*patients: str, **until: datetime) -> tuple[Chart, ...]:
    return tuple(Chart(each) for each in patients) + tuple(Chart(name, end) for name, end in until.items())


# --- at the gateway ------------------------------------------------------------------------------------------------------------


def give(made: Ground, name: str, *patients: str, **until: datetime) -> None:
    made.run(lambda ctx: identity.set_charts(ctx, made.people[name].id, charts(*patients, **until)))


def load(made: Ground) -> None:
    made.load(*({"resourceType": "Patient", "id": each} for each in ("p1", "p2", "p3")))


def test_a_chart_taken_from_a_proxy_is_refused_at_the_next_request(play: Play) -> None:
    async def story(made: Ground) -> None:
        load(made)
        p1, p3 = (made.token("patient/Patient.r", person="parent", patient=each) for each in ("p1", "p3"))
        other = made.token("patient/Patient.r", person="patient")
        assert (await made.get("Patient/p3", p3)).status == 200

        give(made, "parent", "p1")

        for bearer in (p1, p3):
            answered = await made.get("Patient/p3", bearer)
            assert answered.status == 401, "whatever was issued with the chart in it"
        assert (await made.get("Patient/p1", other)).status == 200, "nobody else's token"
        made.people["parent"] = made.run(lambda ctx: identity.get_person(ctx, made.people["parent"].id))
        made.clock.advance(timedelta(minutes=2))
        fresh = made.token("patient/Patient.r", person="parent", patient="p1")
        assert (await made.get("Patient/p1", fresh)).status == 200
        assert (await made.get("Patient/p3", fresh)).status in {403, 404}

    play(story)


def test_a_chart_given_back_revives_nothing(play: Play) -> None:
    async def story(made: Ground) -> None:
        load(made)
        before = made.token("patient/Patient.r", person="parent", patient="p3")
        give(made, "parent", "p1")
        give(made, "parent", "p1", "p3")
        made.clock.advance(timedelta(minutes=2))
        made.keeper.step(0)

        assert (await made.get("Patient/p3", before)).status == 401
        after = made.token("patient/Patient.r", person="parent", patient="p3")
        assert (await made.get("Patient/p3", after)).status == 200

    play(story)


def test_an_end_that_is_set_within_a_tokens_life_is_heeded_to_the_second(play: Play) -> None:
    async def story(made: Ground) -> None:
        load(made)
        bearer = made.token("patient/Patient.r", person="parent", patient="p3")
        ends = made.clock.now() + timedelta(minutes=10)
        give(made, "parent", "p1", p3=ends)

        made.clock.advance(timedelta(minutes=10) - JUST)
        made.keeper.step(0)
        assert (await made.get("Patient/p3", bearer)).status == 200
        made.clock.advance(JUST)
        made.keeper.step(0)
        assert (await made.get("Patient/p3", bearer)).status == 401

    play(story)


def test_what_was_lost_is_kept_as_long_as_a_token_may_hold_it(play: Play) -> None:
    """Security decision 7: the negative list is bounded."""

    async def story(made: Ground) -> None:
        give(made, "parent", "p1")
        snapshot = made.keeper.current()
        assert snapshot is not None
        assert snapshot.identity.lost_charts[made.people["parent"].id] == {"p3": made.clock.now()}
        made.clock.advance(NEGATIVE_WINDOW + timedelta(seconds=BUCKET_S))
        give(made, "patient", "p1", "p2")

        assert dict(made.keeper.current().identity.lost_charts) == {}  # type: ignore[union-attr]

    play(story)


# --- at the token endpoint -----------------------------------------------------------------------------------------------------


@pytest.fixture
def gus(platform: Platform) -> Platform:
    platform.add_person("gus", "patient", "RelatedPerson/r1", "p1", "p2")
    return platform


def set_charts(made: Platform, *patients: str, **until: datetime) -> None:
    person = made.people["gus"].id
    made.run(lambda ctx: identity.set_charts(ctx, person, charts(*patients, **until)))


def test_a_refresh_after_the_chart_is_gone_earns_nothing(gus: Platform) -> None:
    earned = gus.earn(person="gus")
    code = gus.code(person="gus")

    set_charts(gus, "p2")

    assert not gus.is_alive(earned["access_token"])
    refused(gus.refresh(earned["refresh_token"]), "invalid_grant")
    refused(gus.redeem(code), "invalid_grant")


def test_a_refresh_continues_with_the_charts_that_are_left(gus: Platform) -> None:
    earned = gus.earn(person="gus")

    set_charts(gus, "p1")

    assert not gus.is_alive(earned["access_token"])
    again = gus.refresh(earned["refresh_token"]).json()
    assert again["patient"] == "p1"
    assert gus.is_alive(again["access_token"])


def test_a_token_lives_no_longer_than_the_chart_it_reaches(gus: Platform, clock: FakeClock) -> None:
    """C47: never past what it rests on; the day itself needs nobody to notice it."""
    set_charts(gus, "p1", p2=clock.now() + timedelta(minutes=10))

    earned = gus.earn(person="gus")

    assert earned["expires_in"] == 600
    clock.advance(timedelta(minutes=10))
    assert not gus.is_alive(earned["access_token"])
    again = gus.refresh(earned["refresh_token"]).json()
    assert again["expires_in"] == 3600
    clock.advance(timedelta(minutes=10))
    assert gus.is_alive(again["access_token"])


def test_on_the_day_the_ward_comes_of_age_the_grant_ends(gus: Platform, clock: FakeClock) -> None:
    set_charts(gus, "p2", p1=clock.now() + timedelta(days=2))
    earned = gus.earn(person="gus", scopes=(*LAUNCH_SCOPES, "offline_access"))
    clock.advance(timedelta(days=1))
    earned = gus.refresh(earned["refresh_token"]).json()

    clock.advance(timedelta(days=1))

    refused(gus.refresh(earned["refresh_token"]), "invalid_grant")


# --- at the pages and the EHR --------------------------------------------------------------------------------------------------


def test_the_picker_offers_only_what_is_still_theirs(front: Front, clock: FakeClock) -> None:
    set_charts(front, "p2", p1=clock.now() + timedelta(minutes=5))
    front.give_password("gus")
    browser = front.browser("gus")
    browser.authorize()
    assert set(browser.form("patient").choices["patient"]) == {"p1", "p2"}

    clock.advance(timedelta(minutes=5))

    page = front.browser("gus")
    page.authorize()
    assert front.redeem(answer(page.allow())["code"], "web").json()["patient"] == "p2", (
        "one chart is no choice"
    )


def test_a_request_that_was_begun_for_the_chart_ends(front: Front) -> None:
    browser = front.browser("gus")
    browser.authorize()
    browser.pick("p1")

    set_charts(front, "p2")

    assert error(browser.allow(), "access_denied").startswith("outside_launch_context: ")


def test_the_ehr_opens_no_app_on_a_chart_that_is_gone(front: Front) -> None:
    opened = front.open_launch("gus", patient="p1", encounter="")

    set_charts(front, "p2")

    with pytest.raises(Exception, match="launch_invalid"):
        front.open_launch("gus", patient="p1", encounter="")
    told = error(front.browser("gus").authorize(launch=opened.handle), "access_denied")
    assert told.startswith("outside_launch_context: ")


# --- who may, and what is refused ----------------------------------------------------------------------------------------------


@pytest.fixture
def mother(site: ControlSite) -> str:
    body = {
        "tenant": "general",
        "username": "mia",
        "name": "Mia",
        "role": "patient",
        "fhir_user": "Patient/mia",
        "patients": ["mia", "kid"],
    }
    return str(site.api("gina").post("/people", json=body).json()["id"])


def test_staff_who_list_a_hospitals_patients_leave_an_event(site: ControlSite, mother: str) -> None:
    """Security decision 21: an account says who is a patient there, which the hospital's own administrators know anyway."""

    def listed() -> list[tuple[str, object]]:
        events = site.system(audit.list_events, query=EventQuery(action="identity.person.list")).events
        return [(each.event.tenant, each.event.facts["given"]) for each in events]

    found = site.api("root").get("/people?tenant=general").json()["items"]
    assert listed() == [("general", len(found))]
    assert mother in {each["id"] for each in found}
    site.api("gina").get("/people?tenant=general")
    site.api("root").get("/people")
    site.api("root").get("/people?tenant=children")
    assert len(listed()) == 1


def test_an_administrator_changes_and_ends_charts(site: ControlSite, mother: str) -> None:
    ends = "2044-04-17T00:00:00Z"
    body = {"charts": [{"patient": "mia"}, {"patient": "kid", "until": ends}]}

    shown = site.api("gina").put(f"/people/{mother}/charts", json=body)

    assert shown.status_code == 200, shown.text
    assert shown.json()["charts"] == [{"patient": "mia", "until": None}, {"patient": "kid", "until": ends}]
    assert site.api("root").get(f"/people/{mother}").json()["patients"] == ["mia", "kid"]


@pytest.mark.parametrize(("by", "status", "code"), [("carl", 404, "person_not_found"), ("ann", 403, "not_permitted"),
                                                    ("sam", 403, "not_permitted"), ("otto", 403, "not_permitted")])  # fmt: skip
def test_others_change_nothing(site: ControlSite, mother: str, by: str, status: int, code: str) -> None:
    body = {"charts": [{"patient": "mia"}]}

    problem(site.api(by).put(f"/people/{mother}/charts", json=body), status, code)

    assert site.api("gina").get(f"/people/{mother}").json()["patients"] == ["mia", "kid"]


BAD: list[tuple[list[dict[str, Any]], int, str]] = [
    ([], 422, "charts_invalid"),
    ([{"patient": "kid"}], 422, "charts_invalid"),
    ([{"patient": "mia", "until": "2044-01-01T00:00:00Z"}], 422, "charts_invalid"),
    ([{"patient": "mia"}, {"patient": "mia"}], 422, "charts_invalid"),
    ([{"patient": "mia"}, {"patient": "../x"}], 422, "charts_invalid"),
    ([{"patient": "mia"}, {"patient": ""}], 422, "charts_invalid"),
    ([{"patient": "mia"}, {"patient": "kid", "until": "2020-01-01T00:00:00Z"}], 422, "charts_invalid"),
    ([{"patient": "mia"}, {"patient": "kid", "until": "2044-01-01T00:00:00"}], 422, "fields_invalid"),
    ([{"patient": "mia"}, {"patient": "kid", "until": "soon"}], 422, "fields_invalid"),
    ([{"patient": "mia", "more": 1}], 422, "fields_invalid"),
    ([{"patient": f"p{each}"} for each in range(51)], 422, "fields_invalid"),
]


@in_one_world(("wanted", "status", "code"), BAD)
def test_charts_that_make_no_sense_change_nothing(
    site: ControlSite, mother: str, wanted: list[dict[str, Any]], status: int, code: str
) -> None:
    problem(site.api("gina").put(f"/people/{mother}/charts", json={"charts": wanted}), status, code)

    assert site.api("gina").get(f"/people/{mother}").json()["patients"] == ["mia", "kid"]


def test_who_reaches_every_chart_is_given_none(site: ControlSite) -> None:
    ann = site.people["ann"].id

    problem(
        site.api("gina").put(f"/people/{ann}/charts", json={"charts": [{"patient": "p1"}]}),
        422,
        "charts_invalid",
    )
    problem(site.api("gina").put("/people/per_none/charts", json={"charts": []}), 404, "person_not_found")
