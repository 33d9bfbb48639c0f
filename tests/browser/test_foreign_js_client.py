"""More of npm fhirclient, unmodified, in a real Chromium: what it does after a launch, and when a person says no."""

from urllib.parse import urlencode

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.browser.fhirclient_app import LAUNCH, PAGE, app, register
from tests.browser.stage import Stage

SCOPE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs patient/Immunization.rs"
BEGIN = """
const out = document.getElementById("out");
try {
  window.smart = await FHIR.oauth2.ready();
  out.textContent = "ready";
} catch (error) {
  out.textContent = `failed: ${error.message}`;
}
"""


def begin(stage: Stage, page: Page, origin: str, pages: dict[str, str], scope: str = SCOPE) -> None:
    """Register, launch standalone and sign in; the consent page is next."""
    client = register(stage, origin, scope)
    pages["/launch"] = PAGE.format(script=LAUNCH % (client, scope))
    page.goto(f"{origin}/launch?{urlencode({'iss': stage.running.tenant()['fhir']})}")
    stage.sign_in(page, "amara.osei")
    page.wait_for_selector("button[value=allow]")


def test_it_refreshes_by_itself_and_continues_to_read(stage: Stage) -> None:
    """SMART App Launch 2.2, #refresh-access-token; C26: from a script of another origin."""
    pages, page = {"/app": PAGE.format(script=BEGIN)}, stage.person()
    with app(pages) as origin:
        begin(stage, page, origin, pages)
        page.locator("button[value=allow]").click()
        expect(page.locator("#out")).to_have_text("ready")

        told = page.evaluate(
            """async () => {
                const before = window.smart.state.tokenResponse.access_token;
                await window.smart.refresh();
                const after = window.smart.state.tokenResponse.access_token;
                const patient = await window.smart.patient.read();
                return [before !== after, patient.id, window.smart.state.tokenResponse.patient];
            }"""
        )

        assert told == [True, "gen-pat-osei-amara", "gen-pat-osei-amara"]


def test_it_follows_pages_and_references(stage: Stage) -> None:
    """FHIR R4, search: next links are absolute, below the base it was launched with."""
    pages, page = {"/app": PAGE.format(script=BEGIN)}, stage.person()
    with app(pages) as origin:
        begin(stage, page, origin, pages)
        page.locator("button[value=allow]").click()
        expect(page.locator("#out")).to_have_text("ready")

        told = page.evaluate(
            """async () => {
                const search = `Observation?patient=${window.smart.patient.id}&_count=20`;
                const paged = await window.smart.request(search, {pageLimit: 0, flat: true});
                const whole = await window.smart.request(search.replace("20", "1000"), {pageLimit: 0, flat: true});
                const one = await window.smart.request(`Observation/${paged[0].id}`, {resolveReferences: "subject"});
                return [paged.length, new Set(paged.map(each => each.id)).size, whole.length, one.subject.resourceType];
            }"""
        )

        assert told[0] == told[1] == told[2] > 20
        assert told[3] == "Patient"


def test_the_app_gets_an_error_when_the_person_denies(stage: Stage) -> None:
    """RFC 6749 section 4.1.2.1: access_denied at the redirect."""
    pages, page = {"/app": PAGE.format(script=BEGIN)}, stage.person()
    with app(pages) as origin:
        begin(stage, page, origin, pages)
        page.locator("button[value=deny]").click()

        expect(page.locator("#out")).to_contain_text("failed: ")
        expect(page.locator("#out")).to_contain_text("declined")


def test_it_is_refused_what_the_person_unticked(stage: Stage) -> None:
    """(g)(10) 3.2, in a browser: a type left out is 403 and not an empty bundle."""
    pages, page = {"/app": PAGE.format(script=BEGIN)}, stage.person()
    with app(pages) as origin:
        begin(stage, page, origin, pages)
        page.locator('input[name=scope][value="patient/Immunization.rs"]').uncheck()
        page.locator("button[value=allow]").click()
        expect(page.locator("#out")).to_have_text("ready")

        told = page.evaluate(
            """async () => {
                const id = window.smart.patient.id;
                const observations = await window.smart.request(`Observation?patient=${id}`);
                const refused = await window.smart.request(`Immunization?patient=${id}`).catch(error => error.status || error.statusCode);
                return [observations.resourceType, refused, window.smart.state.tokenResponse.scope];
            }"""
        )

        assert told[:2] == ["Bundle", 403]
        assert "patient/Immunization.rs" not in told[2].split(" ")


@pytest.mark.parametrize("wrong", ["no redirect of its own", "another origin's script"])
def test_a_foreign_origin_gets_nothing(stage: Stage, wrong: str) -> None:
    """C26; RFC 9700 section 2.1: neither a code at an unregistered address nor an answer that a stranger's script can read."""
    pages, page = {"/app": PAGE.format(script=BEGIN)}, stage.person()
    with app(pages) as origin:
        client = register(stage, origin, SCOPE)
        fhir, issuer = stage.running.tenant()["fhir"], stage.running.tenant()["issuer"]
        if wrong == "no redirect of its own":
            script = f"FHIR.oauth2.authorize({{client_id: '{client}', scope: '{SCOPE}', redirect_uri: '/launch'}});"
            pages["/launch"] = PAGE.format(script=script)
            page.goto(f"{origin}/launch?{urlencode({'iss': fhir})}")
            expect(page.locator("h1")).to_be_visible()
            assert page.url.startswith(stage.running.base)
        else:
            form = {"grant_type": "refresh_token", "refresh_token": "made-up", "client_id": client}
            headers = {"origin": "http://localhost:1"}
            answer = httpx2.post(f"{issuer}/oauth/token", data=form, headers=headers)
            assert "access-control-allow-origin" not in answer.headers
