"""A clinician signs in through a hospital's identity provider: npm oidc-provider, a process of its own, in Chromium."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import MODULES
from tests.browser.by_pages import enter
from tests.browser.phone import on_a_phone_too
from tests.browser.stage import Stage, authorize_address, judge
from tests.flows.outside.shells import Shell, by
from tests.sim.postgres import free_port
from tests.sim.running import Running

SECRET = "a secret of the hospital's client"
SERVER = Path(__file__).parent / "identity_server.mjs"


def started(port: int, shown: dict[str, Any], people: dict[str, Any]) -> subprocess.Popen[str]:
    """Start the provider with the addresses that Hilum says are to be registered."""
    node = which("node")
    assert node is not None, "node is missing: run `tools/ensure node`"
    assert (MODULES / "oidc-provider").exists(), "run `npm ci` in tests/browser (make test does)"
    client = {
        "client_id": shown["client_id"],
        "client_secret": SECRET,
        "redirect_uris": [shown["redirect_uri"]],
        "post_logout_redirect_uris": [shown["post_logout_redirect_uri"]],
        "backchannel_logout_uri": shown["backchannel_logout_uri"],
        "backchannel_logout_session_required": True,
    }
    settings = json.dumps({"port": port, "client": client, "people": people})
    process = subprocess.Popen([node, str(SERVER), settings], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def provider(running: Running, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A provider of the hospital, set up by commands alone: allowed, asked, agreed to, tried."""
    admin, second = by(running, "admin.ferro", tmp_path), by(running, "security.ito", tmp_path)
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    person = running.person("physician")
    people = {
        "1001": {"preferred_username": person["username"], "name": person["name"], "roles": ["doctors"]},
        "1002": {"preferred_username": "somebody", "name": "Somebody Else", "roles": ["visitors"]},
    }
    file = tmp_path / "provider.json"
    file.write_text(
        json.dumps(
            {
                "name": "Meridian",
                "issuer": issuer,
                "client_id": "hilum",
                "role_table": [{"value": "doctors", "role": "physician"}],
                "roles": ["physician"],
                "link_by": "username",
            }
        )
    )

    def agree(asked: Any) -> str:
        return str(second.json("approval", "approve", asked["approval"]["id"])["target"])

    agree(admin.json("idp", "allow", issuer))
    typing = Shell(admin.variables, typed=f"{SECRET}\n")
    asked = typing.hilum("idp", "add", str(file), "--tenant", "general", "--secret", "--json")
    waiting = json.loads(asked.stdout[asked.stdout.index("{") :])
    assert SECRET not in asked.stdout.replace("Client secret", "")
    shown = admin.json("idp", "show", agree(waiting))
    down = admin.hilum("idp", "try", shown["id"])
    assert down.returncode == 1
    assert "FAIL  discovery" in down.stdout
    process = started(port, shown, people)
    try:
        found = admin.json("idp", "try", shown["id"])
        assert [each for each in found["findings"] if not each["ok"]] == []
        yield shown
    finally:
        admin.json("idp", "off", shown["id"])
        process.terminate()
        process.communicate(timeout=10)


def at_the_hospital(page: Page, number: str) -> None:
    page.get_by_role("link", name="Sign in with Meridian").click()
    page.get_by_label("Staff number").fill(number)
    page.get_by_role("button", name="Continue").click()


def test_a_clinician_opens_an_app_through_the_hospitals_own_sign_in(
    stage: Stage, provider: dict[str, Any], tmp_path: Path
) -> None:
    """OpenID Connect Core 1.0; RP-Initiated Logout 1.0; Back-Channel Logout 1.0, against another's provider."""
    running = stage.running
    client = running.client("bench-public")
    fhir = running.tenant("general")["fhir"]
    start = authorize_address(client["client_id"], client["redirect_uris"][0], fhir)
    site = f"{running.base}/t/general"
    app = client["redirect_uris"][0]
    page = stage.person()

    page.goto(start)
    expect(page.get_by_label("Username")).to_be_visible()
    judge(page)
    page.screenshot(path=tmp_path / "sign-in.png", full_page=True)
    at_the_hospital(page, "1001")
    page.wait_for_selector("select[name=patient], button[value=allow]")
    if page.locator("select[name=patient]").count():
        page.locator("select[name=patient]").select_option(index=1)
        page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("button[value=allow]")
    page.screenshot(path=tmp_path / "consent.png", full_page=True)
    with page.expect_request(lambda request: request.url.startswith(app)) as sent:
        page.locator("button[value=allow]").click()
    assert "code=" in sent.value.url
    # Another tab: nobody listens at the app's address, and a browser may still be showing that.
    page = page.context.new_page()

    page.goto(f"{site}/signout")
    page.locator("button[value=logout]").click()
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_text("Nobody is signed in")).to_be_visible()

    other = stage.person()
    other.goto(f"{site}/signin")
    at_the_hospital(other, "1001")
    other.wait_for_url(f"{site}/oauth/manage")
    other.goto(f"{provider['issuer']}/session/end")
    other.get_by_role("button", name="Sign out everywhere").click()
    expect(other.get_by_role("heading", name="You are signed out of the hospital")).to_be_visible()
    other.goto(f"{site}/oauth/manage")
    assert "/signin" in other.url

    # The hospital's administrator reads what was set up, and may change it.
    hospital = enter(stage, "admin.hall", place="general")
    for key, edited in (("tenant.provider", ""), ("tenant.provider_edit", "/edit")):
        hospital.goto(f"{running.base}/tenant/sign-in/{provider['id']}{edited}")
        on_a_phone_too(hospital, key)
    hospital.goto(f"{running.base}/tenant/sign-in/links")
    hospital.locator("[data-row] a").first.click()
    on_a_phone_too(hospital, "tenant.link")

    stranger = stage.person()
    stranger.goto(f"{site}/signin")
    at_the_hospital(stranger, "1002")
    expect(stranger.get_by_role("heading", level=1)).to_contain_text("You are not signed in")
    judge(stranger)
    stranger.screenshot(path=tmp_path / "refused.png", full_page=True)
    stranger.get_by_role("link", name="Back to the sign-in page").click()
    expect(stranger.get_by_role("link", name="Sign in with Meridian")).to_be_visible()
