"""A SMART client that others wrote, unmodified, launching in a real Chromium (S1): npm fhirclient."""

from urllib.parse import urlencode

from playwright.sync_api import expect

from tests.browser.fhirclient_app import LAUNCH, PAGE, app, register
from tests.browser.stage import Stage

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
