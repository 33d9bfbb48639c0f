"""The console of a hospital's administrators: what is approved, narrowed, asked for and stopped by pages (C183; S3 of the consoles)."""

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import BackendUse, ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import Installation, NarrowOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Environment, NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.web.pages import PageDefaults
from hilum.hospitals.requests import service as requests
from hilum.hospitals.requests.models import AskOrder
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin.policy import actor_of
from hilum.records.audit import live as journals
from hilum.surfaces.console import policy
from hilum.surfaces.console.models import Console
from hilum.surfaces.console.tenant import consents
from tests.flows.consent_ground import add_agreements
from tests.flows.console_ground import Desk
from tests.flows.control_site import TRACE, send
from tests.flows.journal_ground import JournalGround, access
from tests.flows.token_flow import JWKS
from tests.flows.ward_ground import GENERAL, SCOPES, ask, furnished, ward
from tests.sim.browser import form_with
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.sim.pictures import png
from tests.sim.world import FakeClock

__all__ = ["ward"]


def installed(ward: Desk, app: App | None = None) -> Installation | None:
    read = partial(installations.current, tenant=GENERAL, app=app or ward.app)
    found: Installation | None = ward.site.system(read)
    return found


def approve(browser: TestClient, app: AppId, *, untick: tuple[str, ...] = (), **values: Any) -> Any:
    page = f"/tenant/apps/{app}/approve"
    form = form_with(browser.get(page).text, "scope")
    ticked = [value for name, value in form.fields if name == "scope" and not value.startswith(untick or "-")]
    rest = {name: value for name, value in form.fields if name not in {"scope", "role", "work"}}
    return browser.post(page, data=rest | {"scope": ticked, "role": ["physician"], "ends": "90d"} | values)


def test_an_app_is_approved_and_narrowed_in_one_form(ward: Desk) -> None:
    """C183: the same verb as the API's; what is unticked is not given, what launches it is."""
    browser = ward.browser("gina")
    assert "may be installed" in browser.get("/tenant").text
    # What is not published is approved too, by somebody who saw that.
    assert "Not published" in browser.get(f"/tenant/apps/{ward.app.id}/approve").text

    answer = approve(browser, ward.app.id, untick=("patient/Condition.rs",), role=["physician", "nurse"])

    assert (answer.status_code, answer.headers["location"]) == (303, f"/tenant/apps/{ward.app.id}")
    found = installed(ward)
    assert found is not None
    assert set(found.scopes) == set(SCOPES) - {"patient/Condition.rs"}
    assert found.roles == {"physician", "nurse"}
    assert found.expires_at == ward.site.clock.now() + timedelta(days=90)
    assert found.approved_by == f"person:{ward.site.people['gina'].id}"
    text = browser.get(answer.headers["location"]).text
    assert "Gina" in text
    assert "See health problems" not in unescape(text)
    assert "It may be opened everywhere in your hospital." in text
    assert re.findall(r"<th scope=\"col\">(Physician|Nurse)</th>", text) == ["Physician", "Nurse"]


def test_an_approval_without_a_role_keeps_the_ticks_and_says_what_is_missing(ward: Desk) -> None:
    browser = ward.browser("gina")

    answer = approve(browser, ward.app.id, untick=("patient/Condition.rs",), role=[])

    assert answer.status_code == 422
    assert "At least one role is required." in answer.text
    assert installed(ward) is None
    ticked = dict.fromkeys(value for name, value in form_with(answer.text, "scope").fields if name == "scope")
    assert not any(each.startswith("patient/Condition.rs") for each in ticked)
    assert any(each.startswith("patient/Observation.rs") for each in ticked)


@pytest.mark.parametrize(
    "values",
    [{"role": ["platform_admin"]}, {"ends": "never-ever"}, {"scope": ["patient/*.cruds"]}],
    ids=["a role of the staff", "an end that is none", "a scope that is not certified"],
)
def test_nothing_is_approved_beyond_what_the_page_offers(ward: Desk, values: dict[str, Any]) -> None:
    answer = approve(ward.browser("gina"), ward.app.id, **values)

    found = installed(ward)
    assert answer.status_code == 422 or (found is not None and set(found.scopes) <= set(SCOPES))
    assert found is None or "patient/*.cruds" not in found.scopes


def test_a_narrowing_made_of_an_older_state_changes_nothing_and_shows_both_sides(ward: Desk) -> None:
    """Optimistic: the later of two colleagues sees what the first did."""
    browser = ward.browser("gina")
    approve(browser, ward.app.id, role=["physician", "nurse"])
    page = f"/tenant/apps/{ward.app.id}/narrow"
    form = form_with(browser.get(page).text, "scope")
    before = installed(ward)
    assert before is not None
    order = NarrowOrder(roles=frozenset({"nurse"}))
    ward.site.system(installations.narrow_installation, installation_id=before.id, order=order)
    rest = {name: value for name, value in form.fields if name not in {"scope", "role"}}

    answer = browser.post(page, data=rest | {"scope": ["patient/Observation.rs"], "role": ["physician"]})

    assert answer.status_code == 409
    assert "A colleague was faster" in answer.text
    assert "It has now" in answer.text
    assert "You wanted" in answer.text
    after = installed(ward)
    assert after is not None
    assert (set(after.roles), after.scopes) == ({"nurse"}, before.scopes)


def test_an_app_is_narrowed_and_removed(ward: Desk) -> None:
    browser = ward.browser("gina")
    approve(browser, ward.app.id, role=["physician", "nurse"])
    page = f"/tenant/apps/{ward.app.id}/narrow"
    form = form_with(browser.get(page).text, "scope")
    rest = {name: value for name, value in form.fields if name not in {"scope", "role"}}

    answer = browser.post(page, data=rest | {"scope": ["patient/Immunization.rs"], "role": ["nurse"]})

    assert answer.status_code == 303
    found = installed(ward)
    assert found is not None
    assert {each for each in found.scopes if each.startswith("patient/")} == {"patient/Immunization.rs"}
    assert found.roles == {"nurse"}
    assert send(browser, f"/tenant/apps/{ward.app.id}/remove", "confirm").status_code == 422
    assert send(browser, f"/tenant/apps/{ward.app.id}/remove", "confirm", confirm="yes").status_code == 303
    assert installed(ward) is None


def test_the_page_of_an_app_that_the_platform_suspended_says_so_since_when_and_why(ward: Desk) -> None:
    """C146: and offers no approval that would be refused."""
    browser = ward.browser("gina")
    page = f"/tenant/apps/{ward.app.id}"
    assert f"{page}/approve" in browser.get(page).text
    ward.site.system(registry.suspend_app, app_id=ward.app.id, reason="A test.")

    said = f"since {ward.site.clock.now():%Y-%m-%d %H:%M} UTC: A test."
    assert "It is suspended by the platform" in browser.get(page).text
    assert said in browser.get(page).text
    assert f"{page}/approve" not in browser.get(page).text
    assert said in browser.get(f"{page}/approve").text
    assert approve(browser, ward.app.id, role=["nurse"]).status_code == 422
    assert installed(ward) is None


def narrow(browser: TestClient, app: AppId, *kept: str, **values: Any) -> Any:
    """Send the page of a narrowing with the ticks that begin so."""
    page = f"/tenant/apps/{app}/narrow"
    form = form_with(browser.get(page).text, "scope")
    rest = {name: value for name, value in form.fields if name not in {"scope", "role"}}
    ticked = [value for name, value in form.fields if name == "scope" and value.startswith(kept)]
    return browser.post(page, data=rest | {"scope": ticked, "role": ["physician"]} | values)


def use(ward: Desk, **reads: int) -> None:
    """Record how often the app read each type, and count it."""
    uow = ward.site.uow
    folder = journal_of(uow)
    (client,) = ward.site.system(clients.facts_of_apps, of=(ward.app.id,))[ward.app.id]
    facts = {"app": ward.app.id, "client": client.id, "tenant": "general", "at": ward.site.clock.now()}
    JournalGround(uow, uow.db.url, folder).write(
        *(
            access(n, **facts, resource_type=type_, rule=f"patient/{type_}.rs")
            for type_, number in reads.items()
            for n in range(number)
        )
    )
    journals.count_decisions(folder, uow.db.url, ward.site.clock.now())


def test_a_narrowing_is_tried_on_what_the_app_did_and_changes_nothing(ward: Desk) -> None:
    """C208: the numbers and the rows of the trial, with the choices kept for the second button."""
    browser = ward.browser("gina")
    approve(browser, ward.app.id)
    before = installed(ward)
    use(ward, Observation=4, Condition=2)

    tried = narrow(browser, ward.app.id, "patient/Observation", do="try")

    assert tried.status_code == 200
    text = re.sub(r"<[^>]+>|\s+", " ", unescape(tried.text))
    assert "2 would be refused" in re.sub(r" +", " ", text)
    assert "Condition" in tried.text
    assert installed(ward) == before
    ticked = {
        value.partition(".")[0] for name, value in form_with(tried.text, "scope").fields if name == "scope"
    }
    assert ticked == {"patient/Observation"}
    kept = narrow(browser, ward.app.id, "patient/", do="try")
    assert "would be answered as before" in kept.text


def test_what_the_app_needs_is_taken_away_only_by_saying_so_again(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C211: the first answer names it and offers the tick; nothing else on the page takes it away."""
    ward = furnished(sqlite_uow, clock, NewVersion("first", optional_scopes=("patient/Immunization.rs",)))
    browser = ward.browser("gina")
    approve(browser, ward.app.id)
    assert 'name="anyway"' not in browser.get(f"/tenant/apps/{ward.app.id}/narrow").text

    refused = narrow(browser, ward.app.id, "patient/Observation")

    assert refused.status_code == 422
    assert "does not work without" in unescape(refused.text)
    assert 'name="anyway"' in refused.text
    assert set(installed(ward).scopes) == set(SCOPES)  # type: ignore[union-attr]
    assert narrow(browser, ward.app.id, "patient/Observation", anyway="yes").status_code == 303
    assert "patient/Condition.rs" not in installed(ward).scopes  # type: ignore[union-attr]


def test_the_networks_of_a_service_are_shown_and_changed_and_people_have_none(ward: Desk) -> None:
    """C213: as the API does it. What is no network changes nothing, and keeps what was written."""
    browser = ward.browser("gina")
    page = f"/tenant/apps/{ward.app.id}"
    approve(browser, ward.app.id)
    assert "Connects from" not in browser.get(page).text
    refused = send(browser, f"{page}/networks", "networks", networks="192.0.2.0/24")
    assert refused.status_code == 422, "people use it"
    (client,) = ward.site.system(clients.facts_of_apps, of=(ward.app.id,))[ward.app.id]
    metadata = ClientMetadata(
        name="Nightly",
        type=ClientType.BACKEND,
        deployment=Deployment.SERVER,
        environment=Environment.SANDBOX,
        scopes=("system/Patient.rs",),
        jwks=JWKS,
        expires_at=ward.site.clock.now() + timedelta(days=300),
        backend_use=BackendUse("Quality reports", "All patients", "Nightly", "Ada Admin"),
    )
    ward.site.system(clients.add_client, order=NewClient(ward.app.id, client.version, metadata))

    assert (
        send(browser, f"{page}/networks", "networks", networks="192.0.2.0/24, 2001:db8::/48").status_code
        == 303
    )

    assert "192.0.2.0/24, 2001:db8::/48" in browser.get(page).text
    for wrong in ("192.0.2.1/24", "here", "0.0.0.0/0"):
        answer = send(browser, f"{page}/networks", "networks", networks=wrong)
        assert (answer.status_code, wrong in answer.text) == (422, True)
    found = installed(ward)
    assert found is not None
    assert found.networks == ("192.0.2.0/24", "2001:db8::/48")
    old = dict(form_with(browser.get(f"{page}/networks").text, "networks").fields)
    assert send(browser, f"{page}/networks", "networks", networks="").status_code == 303
    assert "anywhere" in browser.get(page).text
    # Of two who had the page open the second does not undo what the first saved, before they saw it.
    stale = browser.post(f"{page}/networks", data=old | {"networks": "198.51.100.0/24"})
    assert (stale.status_code, "A colleague changed them meanwhile" in stale.text) == (409, True)
    assert "198.51.100.0/24" in stale.text
    assert installed(ward).networks == ()  # type: ignore[union-attr]
    seen = dict(form_with(stale.text, "networks").fields) | {"networks": "198.51.100.0/24"}
    assert browser.post(f"{page}/networks", data=seen).status_code == 303
    assert installed(ward).networks == ("198.51.100.0/24",)  # type: ignore[union-attr]


def test_only_administrators_open_a_hospitals_console_and_only_their_own(ward: Desk) -> None:
    """C183, by whom: other roles of the hospital, other hospitals and the staff get nothing of it."""
    approve(ward.browser("gina"), ward.app.id)
    pages = [page for page in policy.PAGES.values() if page.console is Console.TENANT]
    ids = {"tenant.person": str(ward.site.people["ann"].id)}
    missing = {
        f"tenant.{name}"
        for name in (
            "switch",
            "release",
            "ask",
            "request",
            "newer",
            "agreement",
            "service_owner",
            "emergency",
            "approval",
            "provider",
            "provider_edit",
            "link",
            "exception",
            "incident",
            "fhir_server",
        )
    }
    everybodys = {"tenant.service_owners": 200, "tenant.service_owner": 404, "tenant.guide": 200}
    for username, expected in {"gina": 200, "ann": 403, "root": 403, "sam": 403, "carl": 200}.items():
        browser = ward.browser(username)
        for page in pages:
            path = page.path.replace("{id}", ids.get(page.key, str(ward.app.id)))
            status = browser.get(path).status_code
            if expected == 403:
                # Whoever works here may be named for a backend service, and sees nothing else.
                own = everybodys.get(page.key, 403) if username == "ann" else 403
                assert status == own, (username, page.key)
            # Carl's hospital has not installed the app, and does not have Ann.
            elif page.key in missing | (
                {"tenant.narrow", "tenant.networks", "tenant.person"} if username == "carl" else set()
            ):
                assert status == 404, (username, page.key)
            else:
                assert status == 200, (username, page.key)


def test_a_colleague_of_another_hospital_changes_nothing_here(ward: Desk) -> None:
    approve(ward.browser("gina"), ward.app.id)

    answer = send(ward.browser("carl"), f"/tenant/apps/{ward.app.id}/remove", "confirm", confirm="yes")

    assert answer.status_code == 404
    assert installed(ward) is not None


def test_who_has_not_signed_in_chooses_a_hospital(ward: Desk) -> None:
    answer = ward.site.browser().get("/tenant/people")

    assert answer.status_code == 401
    assert "/t/general/signin?then=%2Ftenant%2Fpeople" in answer.text


def test_a_request_is_approved_or_declined(ward: Desk) -> None:
    browser = ward.browser("gina")
    ask(ward, ward.site.people["ann"])
    shown = browser.get("/tenant/requests").text
    page = re.search(r'href="(/tenant/requests/arq_[^"]*)"', shown)
    assert page is not None
    assert "for the ward round" in browser.get(page[1]).text
    assert "Ann" in browser.get(page[1]).text

    assert "1 request waits for you, since" in browser.get("/tenant").text
    assert send(browser, page[1], "decision", decision="decline").status_code == 422
    assert installed(ward) is None
    answer = send(browser, page[1], "decision", decision="approve")

    assert answer.status_code == 303
    found = installed(ward)
    assert found is not None
    assert {each for each in found.scopes if each.startswith("patient/")} == {"patient/Observation.rs"}


def test_a_request_for_less_than_the_app_needs_is_approved_by_who_knows_it(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C211: the page says what the app would go without before it is decided."""
    ward = furnished(sqlite_uow, clock, NewVersion("first", optional_scopes=("patient/Immunization.rs",)))
    browser = ward.browser("gina")
    ask(ward, ward.site.people["ann"])
    page = re.search(r'href="(/tenant/requests/arq_[^"]*)"', browser.get("/tenant/requests").text)
    assert page is not None
    shown = browser.get(page[1]).text
    without = shown[shown.index("What it would lack") : shown.index('id="decide"')]
    assert "patient/Condition.rs" in without
    assert "patient/Immunization.rs" not in without

    refused = send(browser, page[1], "decision", decision="approve")

    assert refused.status_code == 422
    assert "does not work without" in unescape(refused.text)
    assert installed(ward) is None
    assert send(browser, page[1], "decision", decision="approve", anyway="yes").status_code == 303
    made_anyway = installed(ward)
    assert made_anyway is not None
    assert "patient/Condition.rs" in made_anyway.without
    shown = browser.get(f"/tenant/apps/{ward.app.id}").text
    assert "knowingly left this out, although the app states that it needs it" in shown


def test_a_request_that_names_nothing_shows_all_that_it_comes_to(ward: Desk) -> None:
    browser = ward.browser("gina")
    order = AskOrder(None, ward.app.id, frozenset({"physician"}), "for the ward round")
    verb = partial(requests.ask, order=order)
    ward.site.uow.write_now(verb, actor=actor_of(ward.site.people["ann"]), trace=TRACE)
    page = re.search(r'href="(/tenant/requests/arq_[^"]*)"', browser.get("/tenant/requests").text)
    assert page is not None

    shown = browser.get(page[1]).text

    asked = shown[shown.index("What it asks for") : shown.index('id="decide"')]
    assert asked.count("of this patient") >= 2


def test_a_person_is_added_with_a_link_that_is_shown_once(ward: Desk) -> None:
    """C200: nobody knows another's password."""
    browser = ward.browser("gina")
    values = {"name": "Nia New", "username": "nia.new", "role": "nurse", "fhir_user": "Practitioner/77"}

    answer = send(browser, "/tenant/people/new", "username", **values)

    assert answer.status_code == 200
    link = re.search(r"(http://[^<\s]*/t/general/enrol/hil_ln_[^<\s]*)", answer.text)
    assert link is not None
    assert answer.headers["cache-control"] == "no-store"
    assert "nia.new" in browser.get("/tenant/people").text
    assert link[1] not in browser.get("/tenant/people").text


def test_a_person_that_cannot_be_added_keeps_the_form(ward: Desk) -> None:
    browser = ward.browser("gina")
    values = {"name": "<b>Nia</b>", "username": "UPPER CASE", "role": "nurse"}

    answer = send(browser, "/tenant/people/new", "username", **values)

    assert answer.status_code == 422
    assert "A username has up to 64" in answer.text
    assert 'value="UPPER CASE"' in answer.text
    assert "<b>Nia" not in answer.text


def test_an_account_is_ended_only_when_confirmed_and_never_ones_own(ward: Desk) -> None:
    browser, ann = ward.browser("gina"), ward.site.people["ann"]
    page = f"/tenant/people/{ann.id}"

    assert send(browser, page, "confirm", act="deactivate").status_code == 422
    assert send(browser, page, "confirm", act="deactivate", confirm="yes").status_code == 303

    assert "ended" in browser.get(page).text
    assert "Danger zone" not in browser.get(f"/tenant/people/{ward.site.people['gina'].id}").text


def test_an_app_is_stopped_here_and_released_by_one(ward: Desk) -> None:
    browser = ward.browser("gina")
    approve(browser, ward.app.id)
    page = f"/tenant/switches/new?kind=app_tenant&key={ward.app.id}/general"

    answer = send(browser, page, "reason", reason="wrong patient shown", mode="full_stop", ends="released")

    assert answer.status_code == 303
    assert "wrong patient shown" in browser.get(f"/tenant/apps/{ward.app.id}").text
    assert "wrong patient shown" not in ward.browser("carl").get("/tenant/switches").text
    assert ward.browser("carl").get(answer.headers["location"]).status_code == 404
    unsure = send(browser, answer.headers["location"] + "/release", "csrf")
    assert unsure.status_code == 422
    assert "Tick the box to confirm" in unsure.text
    assert 'name="confirm"' in unsure.text, "the page itself says what is missing"
    assert send(browser, answer.headers["location"] + "/release", "confirm", confirm="yes").status_code == 303
    assert "released" in browser.get(answer.headers["location"]).text


def test_stops_are_in_an_apps_state_and_timeline_for_the_hospital_and_the_staff(ward: Desk) -> None:
    """C139: whoever opens the page of an app sees that it is stopped, since when and why, and later that it was."""
    gina, root = ward.browser("gina"), ward.browser("root")
    approve(gina, ward.app.id)
    before = root.get(f"/operations/apps/{ward.app.id}").text
    ward.site.clock.advance(timedelta(minutes=1))
    here, everywhere = f"app_tenant&key={ward.app.id}/general", f"app&key={ward.app.id}"
    values = {"mode": "full_stop", "ends": "1h"}

    send(gina, f"/tenant/switches/new?kind={here}", "reason", reason="wrong patient shown", **values)

    page, listed = (unescape(root.get(f"/operations/apps{each}").text) for each in (f"/{ward.app.id}", ""))
    assert "stopped at" not in before
    assert "stopped at 1 of 1" in page
    assert "stopped at 1 of 1" in listed
    assert re.search(r"<strong>Gina</strong> stopped it \([^)]+ at [^)]+\)", page)
    assert 'href="/operations/switches/sw_' in page
    ward.site.clock.advance(timedelta(minutes=1))

    send(
        ward.browser("sam"),
        f"/operations/switches/new?kind={everywhere}",
        "reason",
        reason="keys leaked",
        **values,
    )
    ward.site.clock.advance(timedelta(hours=2))

    lines = re.search(
        r'<ol class="timeline">(.*?)</ol>',
        ward.browser("gina").get(f"/tenant/apps/{ward.app.id}").text,
        re.DOTALL,
    )
    assert lines is not None
    told = [
        unescape(re.sub(r"<[^>]+>", "", line)) for line in re.findall(r"<li.*?</li>", lines[1], re.DOTALL)
    ][:4]
    assert ["ended the switch" in line for line in told] == [True, True, False, False]
    assert ("keys leaked" in told[2], "wrong patient shown" in told[3]) == (True, True)
    assert "stopped at" not in ward.browser("root").get(f"/operations/apps/{ward.app.id}").text


@in_one_world(
    "target",
    ["kind=app&key={app}", "kind=platform", "kind=tenant&key=general", "kind=app_tenant&key={app}/children"],
)
def test_an_administrator_sees_no_preview_of_what_they_may_not_stop(ward: Desk, target: str) -> None:
    answer = ward.browser("gina").get("/tenant/switches/new?" + target.format(app=ward.app.id))

    assert answer.status_code == 403


def test_an_administrators_record_is_the_hospitals_whatever_the_address_says(ward: Desk) -> None:
    """C149: reading is recorded; another hospital's is not shown."""
    browser = ward.browser("gina")

    assert browser.get("/tenant/activity?tenant=children").status_code == 200
    assert browser.get("/tenant/activity/changes?tenant=children").status_code == 200

    newest = ward.events("audit.event.list")[0]
    assert (newest.event.tenant, newest.actor) == ("general", f"person:{ward.site.people['gina'].id}")


def test_a_hospital_reads_what_its_people_agreed_to_and_the_read_is_recorded(
    ward: Desk, sqlite_uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C183, C149: page by page, of one person too, never another hospital's; what an address is about stays in each link."""
    add_agreements(sqlite_uow)
    monkeypatch.setattr(consents, "ROWS", 5)
    browser, where = ward.browser("gina"), "/tenant/activity/consents"

    first = browser.get(where).text
    following = re.search(r'href="(/tenant/activity/consents\?after=[^"]*)"', first)

    assert following is not None
    assert first.count("data-row") + browser.get(unescape(following[1])).text.count("data-row") == 9
    of_one = browser.get(f"{where}?person=per_1").text
    assert re.findall(r"patient p\d+", of_one) == ["patient p1", "patient p5", "patient p9"]
    assert "No agreements fit" in browser.get(f"{where}?person=per_0").text
    assert browser.get(f"{where}?after=nothing").status_code in {200, 422}
    newest = ward.events("consent.authorization.list")[0]
    assert (newest.event.tenant, newest.actor) == ("general", f"person:{ward.site.people['gina'].id}")
    assert "app=app_1&amp;outcome=refused" in browser.get("/tenant/activity?app=app_1").text


def test_a_hospitals_colour_is_set_where_it_is_seen_and_a_wrong_one_changes_nothing(ward: Desk) -> None:
    """ADR 14."""
    browser = ward.browser("gina")
    assert send(browser, "/tenant/settings", "colour", act="brand", colour="#0B6B74").status_code == 303

    assert 'href="/brand/0b6b74.css"' in browser.get("/tenant/settings").text
    assert 'href="/brand/0b6b74.css"' in ward.site.browser().get("/t/general/signin").text
    refused = send(browser, "/tenant/settings", "colour", act="brand", colour="red")
    assert refused.status_code == 422
    assert "A colour is # and six hexadecimal digits" in refused.text
    assert send(browser, "/tenant/settings", "colour", act="brand", colour="").status_code == 303
    assert "hospital-band" not in browser.get("/tenant/settings").text


def test_a_hospitals_logo_is_given_with_its_colour_and_a_wrong_one_changes_nothing(ward: Desk) -> None:
    """ADR 14."""
    browser, page = ward.browser("gina"), "/tenant/settings"

    def give(content: bytes, colour: str) -> Any:
        data = dict(form_with(browser.get(page).text, "logo").fields) | {"act": "brand", "colour": colour}
        return browser.post(page, data=data, files={"logo": ("logo.png", content, "image/png")})

    for content, colour, status in (
        (b"GIF89a", "#0b6b74", 422),
        (png(), "red", 422),
        (b"x" * 300_000, "#0b6b74", 413),
    ):
        assert give(content, colour).status_code == status
        assert "hospital-band" not in browser.get(page).text
    assert give(png(), "#0b6b74").status_code == 303
    assert "/logos/hospital/general/" in browser.get("/t/general/signin").text
    # A browser sends the field also when nothing was chosen: the logo stays then.
    empty = browser.post(
        page,
        data=dict(form_with(browser.get(page).text, "logo").fields) | {"act": "brand", "colour": ""},
        files={"logo": ("", b"", "application/octet-stream")},
    )
    assert empty.status_code == 303
    assert "/logos/hospital/general/" in browser.get("/t/general/signin").text
    assert send(browser, page, "colour", act="no_logo").status_code == 303
    assert "hospital-band" not in browser.get(page).text


def test_settings_change_what_an_administrator_may_and_say_when_they_are_stale(ward: Desk) -> None:
    browser = ward.browser("gina")

    assert send(browser, "/tenant/settings", "moved", act="moved", moved="allow").status_code == 303
    stale = send(
        browser, "/tenant/settings", "moved", act="moved", moved="refuse", revision="refuse:General::"
    )
    assert stale.status_code == 409
    assert "it says allow now" in stale.text
    added = send(
        browser,
        "/tenant/settings",
        "legal_entity",
        act="add",
        name="East",
        legal_entity="East Ltd",
        reference="Location/east",
    )
    assert added.status_code == 303
    assert "East Ltd" in browser.get("/tenant/settings").text


def test_people_are_sorted_by_their_columns_and_an_address_holds_order_text_and_page(ward: Desk) -> None:
    """C183."""
    for n in range(60):
        order = NewPerson(GENERAL, f"clerk{59 - n:02}", f"Clerk {n:02}", "nurse")
        ward.site.system(identity.add_person, order=order)
    browser = ward.browser("gina")

    first = browser.get("/tenant/people?q=clerk&sort=name").text
    following = unescape(re.findall(r'href="([^"]*after=[^"]*)"', first)[0])
    second = browser.get(following).text
    turned = browser.get("/tenant/people?q=clerk&sort=-name").text

    names = [re.findall(r"Clerk \d\d", page) for page in (first, second)]
    assert names[0] + names[1] == [f"Clerk {n:02}" for n in range(60)]
    assert "q=clerk" in following
    assert "sort=name" in following
    assert re.search(r'aria-sort="ascending"><a href="[^"]*q=clerk&amp;sort=-name"', first)
    assert re.search(r'aria-sort="descending"><a href="[^"]*q=clerk&amp;sort=name"', turned)
    assert re.findall(r"Clerk \d\d", turned)[0] == "Clerk 59"
    refused = browser.get(following.replace("sort=name", "sort=-name"))
    assert refused.status_code == 422
    assert "first page" in refused.text


def test_a_hospital_states_its_language_and_zone_and_its_pages_show_times_in_it(
    ward: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C87, C183."""
    browser, page = ward.browser("gina"), "/tenant/settings"
    read = partial(identity.get_tenant, tenant=GENERAL)
    pages = ward.site.kit.pages

    def defaults(tenant: str) -> PageDefaults:
        found = ward.site.system(identity.get_tenant, tenant=TenantId(tenant)) if tenant else None
        return PageDefaults(found.language, found.time_zone) if found else PageDefaults()

    monkeypatch.setattr(pages, "shell", replace(pages.shell, defaults=defaults))
    assert "09:00" in browser.get("/tenant/people").text
    refused = send(browser, page, "time_zone", act="locale", language="es", time_zone="Europe/Nowhere")
    assert refused.status_code == 422
    assert "such as Europe/Madrid" in refused.text
    assert 'value="Europe/Nowhere"' in refused.text
    assert send(browser, page, "time_zone", act="locale", language="fr", time_zone="").status_code == 422

    done = send(browser, page, "time_zone", act="locale", language="es", time_zone="Europe/Madrid")

    assert done.status_code == 303
    assert (ward.site.system(read).language, ward.site.system(read).time_zone) == ("es", "Europe/Madrid")
    people = browser.get("/tenant/people").text
    assert "2 Mar 2026, 10:00" in people
    assert "2 March 2026, 10:00 CET" in people
    assert "Times: Europe/Madrid." in people
    assert '<html lang="es">' in ward.site.browser().get("/t/general/signin").text
    stale = send(browser, page, "time_zone", act="locale", revision="old", language="", time_zone="")
    assert stale.status_code == 409
    asked = {"language": "", "time_zone": "America/Sao_Paulo"}
    assert (
        ward.site.api("gina").patch("/tenants/general", json=asked).json()["time_zone"] == "America/Sao_Paulo"
    )
    assert ward.site.api("ann").patch("/tenants/general", json=asked).status_code == 403
    assert ward.site.api("carl").patch("/tenants/general", json=asked).status_code in {403, 404}
