"""A conformance suite whose own page posts the authorization request, from another site, in a real Chromium (authorize-post)."""

import html
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from playwright.sync_api import expect

from tests.browser.stage import Stage
from tests.conformance.inferno import challenge_of
from tests.sim.pages_host import hosting

VERIFIER = "v" * 64
PATIENT = "gen-pat-okafor-rosalind"
HELD = '<!doctype html><html lang="en"><title>suite</title><a href="/post_auth">authorize</a>'
POSTING = '<!doctype html><html lang="en"><title>suite</title><form method="post" action="{action}">{fields}</form><script>document.forms[0].submit()</script>'
DONE = '<!doctype html><html lang="en"><title>suite</title><p id="done">{query}</p>'


@contextmanager
def suite() -> Iterator[tuple[str, dict[str, str]]]:
    """Serve a suite on an origin of its own; the pages are filled in by the test."""
    pages = {"/launch": HELD}

    def answer(address: str) -> tuple[str, bytes]:
        parts = urlsplit(address)
        page = pages.get(parts.path, DONE).replace("{query}", html.escape(parts.query))
        return "text/html", page.encode()

    with hosting(answer) as origin:
        yield origin, pages


def register(stage: Stage, origin: str) -> dict[str, str]:
    metadata = {
        "client_name": "Suite",
        "redirect_uris": [f"{origin}/redirect"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    answer = httpx2.post(f"{stage.running.tenant()['issuer']}/oauth/register", json=metadata)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def posting(stage: Stage, client: dict[str, str], origin: str, scope: str, launch: str = "") -> str:
    """Write the page that sends the browser off."""
    given = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": f"{origin}/redirect",
        "scope": scope,
        "state": "a-state",
        "aud": stage.running.tenant()["fhir"],
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    } | ({"launch": launch} if launch else {})
    fields = "".join(f'<input type="hidden" name="{n}" value="{html.escape(v)}">' for n, v in given.items())
    return POSTING.format(action=f"{stage.running.tenant()['issuer']}/oauth/authorize", fields=fields)


def redeem(stage: Stage, client: dict[str, str], origin: str, returned: str) -> dict[str, str]:
    query = parse_qs(returned)
    form = {"grant_type": "authorization_code", "code": query["code"][0], "code_verifier": VERIFIER}
    answer = httpx2.post(
        f"{stage.running.tenant()['issuer']}/oauth/token",
        data=form | {"redirect_uri": f"{origin}/redirect"},
        auth=(client["client_id"], client["client_secret"]),
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_request_posted_from_the_suites_page_keeps_the_session_of_the_ehr(stage: Stage) -> None:
    """(g)(10) 3.3: EHR launch with POST authorize; nobody is asked for a password, though the form came from another site."""
    page = stage.person()
    with suite() as (origin, pages):
        client = register(stage, origin)
        asked = {"tenant": "general", "client": client["client_id"], "patient": PATIENT}
        query = urlencode(asked | {"launch_uri": f"{origin}/launch"})

        page.goto(f"{stage.running.sandbox}/sandbox/launch?{query}")
        launch = parse_qs(urlsplit(page.url).query)["launch"][0]
        scope = "launch openid fhirUser user/Patient.rs"
        pages["/post_auth"] = posting(stage, client, origin, scope, launch)
        page.get_by_role("link", name="authorize").click()
        page.locator("button[value=allow]").click()

        told = redeem(stage, client, origin, page.locator("#done").inner_text())
        assert (told["patient"], told["scope"]) == (PATIENT, scope)
        assert told["encounter"]


def test_a_request_posted_by_a_stranger_to_the_hospital_leads_to_sign_in_and_back(stage: Stage) -> None:
    """SMART 1.2 smart_app_redirect_stu2 with POST; SMART App Launch 2.2, authorize-post."""
    page = stage.person()
    with suite() as (origin, pages):
        client = register(stage, origin)
        pages["/post_auth"] = posting(stage, client, origin, "launch/patient openid patient/Patient.rs")

        page.goto(f"{origin}/post_auth")
        stage.sign_in(page, "rosalind.okafor")
        page.locator("button[value=allow]").click()

        expect(page.locator("#done")).to_contain_text("state=a-state")
        told = redeem(stage, client, origin, page.locator("#done").inner_text())
        assert told["patient"] == PATIENT


def test_a_request_posted_for_another_hospital_is_sent_back_as_an_error(stage: Stage) -> None:
    """(g)(10) 9.4; C37."""
    page = stage.person()
    with suite() as (origin, pages):
        client = register(stage, origin)
        right = posting(stage, client, origin, "launch/patient openid patient/Patient.rs")
        pages["/post_auth"] = right.replace(
            stage.running.tenant()["fhir"], stage.running.tenant("children")["fhir"]
        )

        page.goto(f"{origin}/post_auth")

        expect(page.locator("#done")).to_contain_text("error=invalid_request")
        assert "code=" not in page.locator("#done").inner_text()
