"""A SMART client that others wrote, unmodified, launching in a real Chromium (S1): npm fhirclient."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import httpx2
from playwright.sync_api import Frame, Page, expect

from tests.browser.axe import MODULES
from tests.browser.stage import Stage
from tests.sim.pages_host import hosting

LIBRARY = MODULES / "fhirclient" / "build" / "fhir-client.pure.min.js"
PAGE = '<!doctype html><html lang="en"><title>app</title><script src="/fhir-client.js"></script><script type="module">{script}</script><p id="out">…</p>'
LAUNCH = "FHIR.oauth2.authorize({client_id: '%s', scope: '%s', redirect_uri: '/app'});"
FRAMED = (
    "FHIR.oauth2.authorize({client_id: '%s', scope: '%s', redirect_uri: '/app', completeInTarget: true});"
)
"""The library asks whoever opens an app in a frame to say where it goes on."""
READY = """
const out = document.getElementById("out");
try {
  const client = await FHIR.oauth2.ready();
  const patient = await client.patient.read();
  const bundle = await client.request(`Observation?patient=${client.patient.id}&category=vital-signs`, {pageLimit: 0, flat: true});
  const user = await client.user.read();
  out.textContent = [patient.id, bundle.length > 0, user.resourceType, client.state.tokenResponse.scope].join(" | ");
} catch (error) {
  out.textContent = `failed: ${error.message}`;
}
"""


def frame_of(page: Page, until: str) -> Frame:
    """Allow the app that is in the chart; return its frame."""
    handle = page.locator("iframe").element_handle()
    frame = handle.content_frame() if handle else None
    assert frame is not None
    frame.click("button[value=allow]")
    frame.wait_for_url(lambda url: until in url)
    return frame


@contextmanager
def app(pages: dict[str, str]) -> Iterator[str]:
    """Serve an app of two pages on an origin of its own."""
    assert LIBRARY.exists(), "fhirclient is missing: run `npm ci` in tests/browser (make test does)"
    files = {"/fhir-client.js": ("text/javascript", LIBRARY.read_bytes())}

    def answer(address: str) -> tuple[str, bytes]:
        path = urlsplit(address).path
        return files.get(path) or ("text/html", pages.get(path, "").encode())

    with hosting(answer) as origin:
        yield origin


def register(stage: Stage, origin: str, scope: str) -> str:
    """Register by RFC 7591, as a foreign developer does."""
    metadata = {
        "client_name": "fhirclient",
        "redirect_uris": [f"{origin}/app"],
        "launch_url": f"{origin}/launch",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": scope,
    }
    tenant = stage.running.tenant()
    answer = httpx2.post(f"{tenant['issuer']}/oauth/register", json=metadata)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["client_id"])


def test_npm_fhirclient_does_an_ehr_launch_and_reads_its_patient(stage: Stage) -> None:
    """S1; SMART App Launch 2.2, app-launch: EHR launch."""
    scope = "launch openid fhirUser patient/Patient.rs patient/Observation.rs"
    pages: dict[str, str] = {"/app": PAGE.format(script=READY)}
    page = stage.person()
    with app(pages) as origin:
        client = register(stage, origin, scope)
        pages["/launch"] = PAGE.format(script=LAUNCH % (client, scope))
        patient = next(
            each for each in stage.running.card["patients"] if each["id"].endswith("okafor-rosalind")
        )
        asked = {
            "tenant": "general",
            "client": client,
            "person": "dr.adeyemi",
            "patient": patient["id"],
            "encounter": patient["encounters"][0],
        }

        page.goto(f"{stage.running.sandbox}/sandbox/launch?{urlencode(asked)}")
        page.locator("button[value=allow]").click()

        expect(page.locator("#out")).to_contain_text(f"{patient['id']} | true | Practitioner | ")
        granted = page.locator("#out").inner_text().split(" | ")[3].split()
        assert set(granted) == set(scope.split())


def test_npm_fhirclient_does_a_standalone_launch(stage: Stage) -> None:
    """SMART App Launch 2.2, app-launch: standalone launch."""
    scope = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs"
    pages: dict[str, str] = {"/app": PAGE.format(script=READY)}
    page = stage.person()
    with app(pages) as origin:
        client = register(stage, origin, scope)
        pages["/launch"] = PAGE.format(script=LAUNCH % (client, scope))

        page.goto(f"{origin}/launch?{urlencode({'iss': stage.running.tenant()['fhir']})}")
        stage.sign_in(page, "rosalind.okafor")
        page.wait_for_selector("select[name=patient], button[value=allow]")
        if page.locator("select[name=patient]").count():
            page.get_by_role("button", name="Continue").click()
        page.locator("button[value=allow]").click()

        expect(page.locator("#out")).to_contain_text("gen-pat-okafor-rosalind | true | Patient | ")
