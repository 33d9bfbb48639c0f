"""The patient picker reads records as an app does: decided, labelled, stopped, counted and recorded, as the person at the browser."""

from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Quota, Target, TargetKind
from hilum.foundation.kernel.errors import Unavailable
from hilum.identity.people import service as identity
from hilum.records.audit.policy import found_in
from tests.flows.authorize_flow import Browser, Front, answer, front
from tests.flows.authorize_flow import encounter as an_encounter
from tests.flows.authorize_flow import patient as a_patient
from tests.flows.token_flow import MERCY
from tests.sim.browser import form_with

__all__ = ["front"]

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
VISITS = "launch/patient launch/encounter openid patient/*.rs"


def labelled(resource: dict[str, Any], system: str, code: str) -> dict[str, Any]:
    return resource | {"meta": {"security": [{"system": system, "code": code}]}}


def engage(front: Front, kind: TargetKind, key: str, mode: Mode = Mode.FULL_STOP) -> Any:
    order = EngageOrder(Target(kind, key), mode, "A test")
    return front.run(lambda ctx: controls.engage(ctx, order))


def search(browser: Browser, text: str) -> Any:
    form = browser.form("q")
    fields = [(name, value) for name, value in form.fields if name != "q"]
    return browser.follow(browser.http.get(f"{form.action}?{urlencode([*fields, ('q', text)])}"))


def test_a_search_and_everybody_on_its_list_are_on_record_with_who_looked(front: Front) -> None:
    """C197, security decision 21."""
    browser = front.browser("dora")
    browser.authorize()

    search(browser, "Tran")

    dora, web = front.people["dora"], front.clients["web"]
    rows = front.accesses()
    assert {row.interaction for row in rows} == {row.rule for row in rows} == {"picker"}
    assert {(row.person, row.role, row.app) for row in rows} == {(dora.id, "physician", web.app)}
    # One record for the whole list, which names everybody on it.
    assert [sorted(found_in(row)) for row in rows if not row.patient] == [["p1", "p2", "p3"]]
    assert [row.query for row in rows if "name=Tran" in row.query and row.patient == "p2"]
    assert len({row.decision for row in rows}) == len(rows)
    assert [row.person for row in front.accesses(patient="p3")] == [dora.id]
    assert len(rows) == 2


def test_looking_at_the_visits_of_a_patient_is_on_record(front: Front) -> None:
    """C197."""
    browser = front.browser("dora")
    browser.authorize(scope=VISITS)

    browser.pick("p2")

    visits = [row for row in front.accesses(patient="p2") if row.resource_type == "Encounter"]
    assert [(row.interaction, row.outcome) for row in visits] == [("picker", "done")]


@pytest.mark.parametrize(
    ("system", "code"),
    [(CONFIDENTIALITY, "V"), (CONFIDENTIALITY, "R"), (ACT_CODE, "42CFRPart2"), (ACT_CODE, "VIP")],
)
def test_a_patient_whose_record_is_restricted_is_not_listed_found_or_chosen(
    front: Front, system: str, code: str
) -> None:
    """C197: labels count as for an app; out of reach looks like absent."""
    front.records.load([labelled(a_patient(7, "Hidden", "Ida"), system, code)])
    browser = front.browser("dora")
    browser.authorize()
    assert browser.form("patient").choices["patient"] == ["p1", "p2", "p3"]

    found = search(browser, "Hidden")
    assert "Ida" not in found.text
    assert "No patient of this name" in found.text
    browser.authorize()
    chosen = browser.pick("p7")
    browser.authorize()
    absent = browser.pick("p99")

    assert "That choice does not fit" in chosen.text
    assert "Ida" not in chosen.text
    assert ("Hidden" in chosen.text) == ("Hidden" in absent.text)
    assert front.events("authserver.context.choose") == []


def test_a_restricted_visit_is_not_offered(front: Front) -> None:
    hidden = labelled(an_encounter("e9", "p1", "2026-03-01T09:00:00Z"), CONFIDENTIALITY, "R")
    front.records.load([hidden])
    browser = front.browser("dora")
    browser.authorize(scope=VISITS)

    browser.pick("p1")
    assert browser.form("encounter").choices["encounter"] == ["e1b", "e1", ""]

    wrong = browser.press(browser.form("encounter"), ("encounter", "e9"))
    assert "That choice does not fit" in wrong.text


def test_a_full_stop_on_patient_empties_the_picker_and_says_so(front: Front) -> None:
    """C197: a switch on a type stops the platform's own reads of it."""
    browser = front.browser("dora")
    browser.authorize()
    form = browser.form("patient")
    engage(front, TargetKind.RESOURCE_TYPE, "Patient")

    chosen = browser.press(form, ("patient", "p1"))
    assert "stopped here at the moment" in chosen.text
    assert front.events("authserver.context.choose") == []
    again = browser.authorize(scope="launch/patient openid")

    for page in (chosen, again):
        assert page.status_code == 403
        assert "Shaw" not in page.text
        assert "stopped here at the moment, on purpose" in page.text
    refused = [row for row in front.accesses() if row.reason]
    assert {row.reason for row in refused} == {"switch_engaged"}
    back = browser.press(form_with(again.text, "decision"), ("decision", "deny"))
    assert answer(back)["error"] == "access_denied"


def test_a_full_stop_on_encounter_stops_the_choice_of_a_visit(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize(scope=VISITS)
    form = browser.form("patient")
    engage(front, TargetKind.RESOURCE_TYPE, "Encounter")

    page = browser.press(form, ("patient", "p1"))

    assert page.status_code == 403
    assert "Check-up" not in page.text


@pytest.mark.parametrize(
    "kind",
    [
        TargetKind.PLATFORM,
        TargetKind.TENANT,
        TargetKind.VENDOR,
        TargetKind.APP,
        TargetKind.VERSION,
        TargetKind.PERSON,
        TargetKind.APP_TENANT,
        TargetKind.APP_PERSON,
    ],
)
def test_a_full_stop_on_whoever_looks_or_has_the_picker_shown_stops_it(
    front: Front, kind: TargetKind
) -> None:
    """C197: the app's, tenant's and person's switches are the picker's, too; what was begun before stays dead after."""
    browser = front.browser("dora")
    browser.authorize()
    before = len(front.accesses())
    form = browser.form("q")
    engage(front, kind, front.target(kind).key)

    fields = urlencode([pair for pair in form.fields if pair[0] != "q"])
    page = browser.follow(browser.http.get(f"{form.action}?{fields}&q=Shaw"))

    assert "Amy" not in page.text
    assert len(front.accesses()) == before, "nothing was asked for at all"


def test_one_person_looks_up_so_many_patients_and_no_more(front: Front) -> None:
    """C197: person and tenant bound the rate, whatever app asks and however many browsers are open."""
    browsers = [front.browser("dora"), front.browser("dora")]
    for browser in browsers:
        browser.authorize()

    statuses = [search(browsers[n % 2], "Shaw").status_code for n in range(58)]
    over = browsers[0].follow(browsers[0].http.get(str(browsers[0].last.url)))

    assert set(statuses) == {200}
    assert over.status_code == 429
    assert int(over.headers["retry-after"]) > 0
    assert "Wait" in over.text
    assert "Amy" not in over.text
    other = front.browser("nora")
    assert other.authorize().status_code == 200
    assert next(row.reason for row in front.accesses(person=front.people["dora"].id)) == "quota_exceeded"
    front.clock.advance(timedelta(seconds=30))
    assert browsers[0].follow(browsers[0].http.get(str(over.url))).status_code == 200


def test_the_picker_spends_the_quota_of_the_app_that_asked(front: Front) -> None:
    web = front.clients["web"]
    front.run(lambda ctx: controls.set_quota(ctx, web.app, MERCY, Quota(rate_per_s=0.01, burst=2)))
    browser = front.browser("dora")
    browser.authorize()

    pages = [browser.authorize().status_code for _ in range(2)]

    assert pages == [200, 429]


def test_nobody_is_preselected_and_two_people_with_one_name_can_be_distinguished(front: Front) -> None:
    """The first of a list must not be the answer of somebody who only pressed Continue."""
    twin = a_patient(8, "Shaw", "Amy") | {
        "identifier": [
            {
                "type": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]
                },
                "value": "MRN-00042",
            }
        ],
        "managingOrganization": {"display": "Mercy North"},
    }
    front.records.load([twin])
    browser = front.browser("dora")

    page = browser.authorize()

    assert [pair for pair in browser.form("patient").fields if pair[0] == "patient"] == []
    assert 'size="4"' in page.text
    assert "record number MRN-00042, Mercy North" in page.text
    assert "That choice does not fit" in browser.press(browser.form("patient")).text


def test_patients_stand_in_the_order_of_the_names_they_have_now(front: Front) -> None:
    """A former name neither stands on the page nor decides where a patient stands. Source: FHIR R4 valueset-name-use.html."""
    names = {
        "Amber": [
            {"use": "maiden", "family": "Aaronson"},
            {"use": "usual", "family": "Zwick", "given": ["Amber"]},
        ],
        "Bruno": [
            {"use": "old", "family": "Zzz"},
            {"use": "official", "family": "Adler", "given": ["Bruno"]},
        ],
        "Cyril": [{"family": "Mann", "given": ["Cyril"]}, {"use": "nickname", "family": "Abc"}],
    }
    front.records.load(
        [a_patient(50 + at, "X", given) | {"name": name} for at, (given, name) in enumerate(names.items())]
    )
    browser = front.browser("dora")

    page = browser.authorize().text

    where = [
        page.index(f"{given} {family}")
        for given, family in (("Bruno", "Adler"), ("Cyril", "Mann"), ("Amber", "Zwick"))
    ]
    assert where == sorted(where)
    assert "Aaronson" not in page
    assert "Zzz" not in page


def test_a_role_without_patients_sees_none_and_the_reason(front: Front) -> None:
    """The person's role decides, not the app's scopes."""
    app = front.clients["web"].app
    for each in front.run(lambda ctx: installations.list_installations(ctx, MERCY)):
        if each.app == app:
            front.run(partial(installations.uninstall, installation_id=each.id))
    front.run(lambda ctx: installations.install(ctx, InstallOrder(MERCY, app, frozenset({"administrator"}))))
    browser = front.browser("adam")

    page = browser.authorize(scope="launch/patient openid")

    assert "There is no record you may open here" in page.text
    assert "Shaw" not in page.text
    assert front.accesses() == []


def test_a_proxy_sees_the_name_of_a_record_only_through_the_decision(front: Front) -> None:
    """Names on the consent and connected-apps pages are reads as well."""
    browser = front.browser("gus")
    browser.authorize()
    page = browser.pick("p2")
    assert "Bea Tran" in page.text
    answer(browser.allow())
    manage = browser.http.get(f"/t/{MERCY}/oauth/manage")
    assert "Bea Tran" in manage.text
    rows = front.accesses(patient="p2")
    assert "record_name" in {row.interaction for row in rows}
    assert {row.person for row in rows} == {front.people["gus"].id}

    engage(front, TargetKind.RESOURCE_TYPE, "Patient")

    manage = browser.http.get(f"/t/{MERCY}/oauth/manage")
    assert manage.status_code == 200
    assert "Bea Tran" not in manage.text
    assert "(p2)" in manage.text


def test_the_page_of_one_search_leads_nowhere_in_another(front: Front) -> None:
    """A link to the next page is worth nothing outside the request that it was made for."""
    front.records.load([a_patient(n, f"Family{n:03}", "X") for n in range(10, 260)])
    browser, other = front.browser("dora"), front.browser("nora")
    browser.authorize()
    link = browser.last.text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    after = link.partition("after=")[2]
    other.authorize()
    first = other.form("patient").choices["patient"]

    form = other.form("q")
    fields = urlencode([pair for pair in form.fields if pair[0] != "q"])
    other.follow(other.http.get(f"{form.action}?{fields}&after={after}"))

    assert other.form("patient").choices["patient"] == first


def test_without_a_record_of_it_nothing_is_shown(front: Front) -> None:
    """Security decision 20's sense: what cannot be recorded does not happen."""
    browser = front.browser("dora")
    assert front.journal is not None
    front.journal.close()

    page = browser.authorize()

    assert page.status_code == 503
    assert "Shaw" not in page.text


def test_records_that_are_away_are_said_to_be_away(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("upstream_unavailable", "No.")

    monkeypatch.setattr(front.upstreams, "send", away)

    page = front.browser("dora").authorize()

    assert page.status_code == 503
    assert "cannot be searched right now" in page.text


def test_somebody_who_is_no_longer_active_looks_at_nothing(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize()
    url = str(browser.last.url)
    front.run(lambda ctx: identity.deactivate_person(ctx, front.people["dora"].id))

    page = browser.follow(browser.http.get(url))

    assert "Shaw" not in page.text


def test_an_app_that_was_taken_down_has_no_picker(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize()
    url = str(browser.last.url)
    front.run(lambda ctx: registry.suspend_app(ctx, front.clients["web"].app, "A test"))

    page = browser.follow(browser.http.get(url))

    assert "Shaw" not in page.text
