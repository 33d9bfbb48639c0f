"""Emergency access by the API, on the clinician's page and in the hospital's console (C82, ADR 77)."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import NewClient
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.authorization.breakglass import pages, service
from hilum.authorization.breakglass.models import SettingsChange
from hilum.authorization.launches import store as launches_store
from hilum.authorization.launches.models import Launch
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, LaunchId, TenantId
from hilum.foundation.web import errors
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Method
from hilum.records.audit import live as journals
from tests.flows.console_ground import Desk
from tests.flows.control_site import ORIGIN, ControlSite, build, codes, in_a_browser, problem
from tests.sim.browser import form_with
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock

GENERAL = TenantId("general")
SCOPES = ("launch", "patient/Observation.rs")
REASON = "unconscious after a fall, medication unknown"
PAGE = "/t/general/oauth/manage/break-glass"


def furnish(site: ControlSite) -> None:
    """An app that Ann, a physician, has open on patient p1; a second administrator; emergency access switched on."""
    vendor = site.system(registry.add_vendor, order=NewVendor("Lumen", "help@v.example", "sec@v.example"))
    app = site.system(
        registry.add_app, order=NewApp(vendor.id, "Lumen Chart", "Shows", "Review", "unclassified")
    )
    version = site.system(registry.add_version, app_id=app.id, order=NewVersion("first"))
    metadata = in_a_browser("Lumen", SCOPES)
    client, _ = site.system(clients.add_client, order=NewClient(app.id, version.id, metadata))
    ends = site.clock.now() + timedelta(days=200)
    site.system(registry.certify, order=CertifyOrder(version.id, Environment.SANDBOX, SCOPES, ends))
    site.system(installations.install, order=InstallOrder(GENERAL, app.id, frozenset({"physician"})))
    for name, role in (("gus", "administrator"), ("nils", "nurse")):
        order = NewPerson(GENERAL, name, name.title(), role)
        site.people[name] = site.system(identity.add_person, order=order)

    def launched(ctx: Context) -> None:
        launch = Launch(
            LaunchId("lch_1"),
            GENERAL,
            client.id,
            site.people["ann"].id,
            ctx.now,
            ctx.now + timedelta(minutes=5),
            patient="p1",
            used_at=ctx.now,
        )
        launches_store.LAUNCHES.add(ctx.tx, launch, handle_hash=b"h", open_hash=b"o", open_expires_at=ctx.now)

    site.system(launched)
    site.system(service.change_settings, tenant_id=GENERAL, change=SettingsChange(enabled=True))


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(sqlite_uow, clock, then=furnish)


def opened(site: ControlSite) -> Any:
    answer = site.api("ann").post("/break-glass", json={"launch": "lch_1", "reason": REASON})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_clinician_opens_lists_and_ends_it_and_an_administrator_reviews(
    site: ControlSite, clock: FakeClock
) -> None:
    """C82: the whole of it by the API."""
    ann, gina = site.api("ann"), site.api("gina")
    (launch,) = ann.get("/break-glass/launches").json()
    assert (launch["id"], launch["app"]) == ("lch_1", "Lumen")
    assert (launch["patient_name"], launch["birth_date"]) == ("Jordan Reyes", "1980-03-05")
    assert (launch["record_number"], site.patients.asked) == ("MRN-77", ["record_name"])
    use = opened(site)
    assert (use["state"], use["patient"], use["person"]) == ("open", "p1", site.people["ann"].id)
    verdict = {"verdict": "justified", "note": "confirmed by the ward"}
    problem(gina.post(f"/break-glass/{use['id']}/review", json=verdict), 409, "break_glass_running")
    assert ann.post(f"/break-glass/{use['id']}/end").json()["state"] == "waiting"
    problem(ann.post(f"/break-glass/{use['id']}/end"), 409, "break_glass_over")
    assert gina.get("/break-glass?findings=true").json()["items"] == []
    clock.advance(timedelta(hours=73))
    gina = site.api("gina")
    assert [each["state"] for each in gina.get("/break-glass?findings=true").json()["items"]] == ["overdue"]
    assert gina.post(f"/break-glass/{use['id']}/review", json=verdict).json()["state"] == "reviewed"


@in_one_world(
    ("who", "status", "code"),
    [
        ("nils", 403, "launch_not_open"),
        ("gina", 403, "not_permitted"),
        ("root", 403, "not_permitted"),
        ("otto", 403, "not_permitted"),
        ("carl", 403, "not_permitted"),
    ],
)
def test_nobody_else_opens_it(site: ControlSite, who: str, status: int, code: str) -> None:
    """C82: a launch of somebody else is no launch; the platform's staff have no part in it."""
    problem(site.api(who).post("/break-glass", json={"launch": "lch_1", "reason": REASON}), status, code)


def test_a_reason_and_a_verdict_are_needed(site: ControlSite) -> None:
    found = problem(
        site.api("ann").post("/break-glass", json={"launch": "lch_1", "reason": "now"}), 422, "reason_invalid"
    )
    assert codes(found) == {"reason": "reason_too_short"}
    use = opened(site)
    site.api("ann").post(f"/break-glass/{use['id']}/end")
    bad = {"verdict": "justified", "note": "ok"}
    found = problem(site.api("gus").post(f"/break-glass/{use['id']}/review", json=bad), 422, "review_invalid")
    assert codes(found) == {"note": "reason_too_short"}
    for who in ("carl", "nils"):
        assert site.api(who).get(f"/break-glass/{use['id']}").status_code == 404


def test_settings_are_narrowed_by_one_and_widened_by_two(site: ControlSite) -> None:
    """Security decision 25."""
    gina, path = site.api("gina"), "/tenants/general/break-glass"
    assert gina.patch(path, json={"minutes": 5}).json()["minutes"] == 5
    asked = gina.patch(path, json={"minutes": 30})
    assert asked.status_code == 202
    approval = asked.json()["approval"]
    assert (approval["order"]["minutes"], approval["before"]["minutes"]) == (30, 5)
    problem(gina.post(f"/approvals/{approval['id']}/approve"), 403, "asked_by_you")
    assert site.api("gus").post(f"/approvals/{approval['id']}/approve").status_code == 200
    assert site.api("ann").get(path).json()["minutes"] == 30
    assert site.api("sam").get(path).json()["minutes"] == 30
    problem(site.api("carl").get(path), 403, "not_permitted")
    problem(site.api("carl").patch(path, json={"minutes": 1}), 403, "not_permitted")
    found = problem(gina.patch(path, json={"categories": ["psychotherapy_notes"]}), 422, "settings_invalid")
    assert codes(found) == {"categories": "category_not_openable"}


def text_of(answer: Any) -> str:
    return " ".join(unescape(re.sub("<[^>]+>", " ", answer.text)).split())


def test_who_agrees_to_switching_it_on_sees_what_was_changed_while_it_was_off(site: ControlSite) -> None:
    """One person may change settings that are off, so the second one must see all that would be in force (C82, ADR 29)."""
    gina, path = site.api("gina"), "/tenants/general/break-glass"
    gina.patch(path, json={"enabled": False})
    assert gina.patch(path, json={"categories": ["hiv", "mental_health"], "minutes": 60}).status_code == 200

    approval = gina.patch(path, json={"enabled": True}).json()["approval"]

    shown = text_of(site.signed_in("sam").get(f"/operations/staff/{approval['id']}"))
    for part in ("HIV", "mental health", "60"):
        assert part in shown, shown
    assert site.api("gus").post(f"/approvals/{approval['id']}/approve").status_code == 200
    assert gina.get(path).json()["categories"] == ["hiv", "mental_health"]


def routes_of(site: ControlSite) -> list[Route]:
    reader = journals.open_reader(journal_of(site.uow), site.uow.db.url)
    return pages.pages(site.kit, site.patients, reader.page)


def page_of(site: ControlSite, who: str) -> TestClient:
    """Return a browser on the clinician's page in which somebody is signed in."""
    app = Starlette(routes=routes_of(site))
    errors.install(app, site.kit.pages)
    begin = lambda ctx: signin.begin_session(ctx, site.people[who], Method.PASSWORD)
    _, cookie = site.system(begin)
    browser = SiteClient(app, base_url=ORIGIN, follow_redirects=False)
    browser.cookies.set("hilum_session", cookie)
    return browser


def test_a_clinician_breaks_the_glass_on_the_page_and_sees_that_it_is_broken(site: ControlSite) -> None:
    """C82: the page says until when, what follows, and ends it."""
    browser = page_of(site, "ann")
    shown = browser.get(PAGE)
    assert shown.status_code == 200, shown.headers
    assert "labelled confidential, disability, taboo and VIP, if there are any" in text_of(shown)
    assert "labelled genetics, HIV, mental health," in text_of(shown)
    assert "Lumen: Jordan Reyes, born 5 March 1980, record number MRN-77; opened" in text_of(shown)
    form = form_with(shown.text, "reason")
    assert (
        browser.post(PAGE, data=dict(form.fields) | {"launch": "lch_1", "reason": "now"}).status_code == 422
    )
    foreign = browser.post(PAGE, data={"csrf": "x", "launch": "lch_1", "reason": REASON})
    assert foreign.status_code == 403
    assert "The glass is broken" not in browser.get(PAGE).text

    assert (
        browser.post(PAGE, data=dict(form.fields) | {"launch": "lch_1", "reason": REASON}).status_code == 303
    )

    answer = browser.get(PAGE)
    broken = answer.text
    assert "The glass is broken" in broken
    assert "It has read nothing since." in text_of(answer)
    assert "are not shown, whoever the patient is" in text_of(answer)
    use = site.api("ann").get("/break-glass").json()["items"][0]["id"]
    end = form_with(broken, "end")
    assert browser.post(PAGE, data=dict(end.fields) | {"end": use}).status_code == 303
    assert "Waiting for a review" in browser.get(PAGE).text


def test_an_emergency_does_not_wait_for_the_hospitals_records(site: ControlSite) -> None:
    """C82: without them a patient is named by id."""
    site.patients.is_away = True
    browser = page_of(site, "ann")

    assert "Lumen: patient p1; opened" in text_of(browser.get(PAGE))
    form = form_with(browser.get(PAGE).text, "reason")
    given = dict(form.fields) | {"launch": "lch_1", "reason": REASON}
    assert browser.post(PAGE, data=given).status_code == 303
    assert site.api("ann").get("/break-glass/launches").json()[0]["patient_name"] == ""


def test_who_comes_from_a_launch_that_is_not_theirs_is_offered_no_other_patient_instead(
    site: ControlSite,
) -> None:
    """C82: the button beside an app leads here by its launch; the browser may be signed in as somebody else."""
    browser = page_of(site, "ann")

    own, others = (browser.get(f"{PAGE}?launch={launch}").text for launch in ("lch_1", "lch_2"))

    assert '<option value="lch_1" selected>' in own
    assert '<option value="">Choose the app and patient' in others
    assert others.index('<option value="">') < others.index('<option value="lch_1">')
    assert '<option value="">' not in own


@in_one_world(("who", "text"), [("nils", "No app is open"), ("gina", "Only physicians and nurses")])
def test_the_page_says_why_it_offers_nothing(site: ControlSite, who: str, text: str) -> None:
    assert text in page_of(site, who).get(PAGE).text


def test_who_is_not_signed_in_is_sent_to_sign_in(site: ControlSite) -> None:
    app = Starlette(routes=routes_of(site))
    browser = SiteClient(app, base_url=ORIGIN, follow_redirects=False)

    assert (
        browser.get(PAGE).headers["location"].endswith("then=%2Ft%2Fgeneral%2Foauth%2Fmanage%2Fbreak-glass")
    )
    assert browser.get(f"{PAGE}?launch=lch_1").headers["location"].endswith("break-glass%3Flaunch%3Dlch_1")
    assert browser.post(PAGE, data={"launch": "lch_1"}).status_code == 303


def test_only_its_hospital_reads_whose_emergency_it_was_and_why(site: ControlSite) -> None:
    """ADR 77: the audit, explanations and the app's page give the platform's staff no more than the page of emergencies does."""
    use = opened(site)
    site.api("ann").post(f"/break-glass/{use['id']}/end")
    note = "confirmed by the ward"
    given = {"verdict": "justified", "note": note}
    assert site.api("gina").post(f"/break-glass/{use['id']}/review", json=given).status_code == 200
    path = "/audit/events?tenant=general&action=breakglass.break_glass"

    own, staffs = (site.api(who).get(path).json()["items"] for who in ("gina", "sam"))

    assert [each["facts"].get("reason", "") for each in own] == ["", "", REASON]
    assert own[0]["facts"]["note"] == note
    assert {each["patient"] for each in own} == {"p1"}
    assert [each["action"] for each in staffs] == [each["action"] for each in own]
    explained = site.api("sam").get(f"/explain/{staffs[2]['request_id']}").text
    desk = Desk(site, site.system(registry.get_app, app_id=AppId(use["app"])))
    page = desk.browser("sam").get(f"/operations/apps/{use['app']}").text
    assert "emergency" in page
    for shown in (str(staffs), explained, page):
        assert REASON not in shown
        assert note not in shown
        assert "'p1'" not in shown
        assert '"p1"' not in shown


def test_the_console_lists_shows_and_closes_what_waits(site: ControlSite) -> None:
    """C82, C183: by a colleague; the settings on a page of their own."""
    use = opened(site)
    desk = Desk(site, site.system(registry.get_app, app_id=AppId(use["app"])))
    browser = desk.browser("gina")
    assert "Ann" in browser.get("/tenant/emergencies").text
    path = f"/tenant/emergencies/{use['id']}"
    assert REASON in browser.get(path).text
    ended = browser.post(path, data=dict(form_with(browser.get(path).text, "act").fields) | {"act": "end"})
    assert ended.status_code == 303
    form = form_with(browser.get(path).text, "verdict")
    given = dict(form.fields) | {"verdict": "justified", "note": "confirmed by the ward"}
    assert browser.post(path, data=given).status_code == 303
    assert "Justified" in browser.get(path).text
    settings = "/tenant/emergencies/settings"
    form = form_with(browser.get(settings).text, "minutes")
    wider = [*(pair for pair in form.fields if pair[0] != "minutes"), ("minutes", "45")]
    fields: dict[str, list[str]] = {}
    for name, value in wider:
        fields.setdefault(name, []).append(value)
    answer = browser.post(settings, data=fields)
    assert answer.headers["location"].startswith("/tenant/waiting/")
    assert "Change what clinicians of General may open" in browser.get(answer.headers["location"]).text
