"""Accounts that are made by two people, and the links that open them."""

from typing import Any

from starlette.testclient import TestClient

from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from tests.flows.control_site import ORIGIN, PASSWORD, ControlSite
from tests.sim.browser import form_with

OWN = "my own long words"
NURSE = {
    "tenant": "general",
    "username": "nia",
    "name": "Nia Nurse",
    "role": "nurse",
    "fhir_user": "Practitioner/n1",
}


def approve(site: ControlSite, asked: dict[str, Any], by: str = "sam") -> Any:
    return site.api(by).post(f"/approvals/{asked['approval']['id']}/approve")


def path_of(opened: dict[str, Any]) -> str:
    url: str = opened["enrolment"]["url"]
    assert url.startswith(ORIGIN)
    return url.removeprefix(ORIGIN)


def press(site: ControlSite, path: str, browser: TestClient | None = None, **values: str) -> Any:
    """Open a link's page in a browser and press its button."""
    browser = browser or site.browser()
    page = browser.get(path)
    assert page.status_code == 200, page.text
    form = form_with(page.text, "password")
    assert ("action", "enrol") in form.submits
    fields = {"password": OWN, "again": OWN} | values
    return browser.post(form.action, data=dict(form.fields) | fields | {"action": "enrol"})


def signs_in(site: ControlSite, username: str, password: str, tenant: str | None = None) -> bool:
    body = {"username": username, "password": password, "tenant": tenant}
    answer = site.api().post("/tokens", json=body)
    assert answer.status_code in {201, 401}, answer.text
    return answer.status_code == 201


def events(site: ControlSite, action: str) -> list[tuple[Outcome, str, str]]:
    found = site.system(audit.list_events, query=EventQuery(action=action)).events
    return [(each.event.outcome, each.actor, each.event.reason) for each in reversed(found)]


def open_link(site: ControlSite, url: str, code: str = "") -> Any:
    """Set PASSWORD through a one-time link, as its owner's browser does."""
    browser = site.browser()
    path = url.removeprefix(ORIGIN)
    shown = browser.get(path)
    if shown.status_code != 200:
        return shown
    token = shown.text.partition('name="csrf" value="')[2].partition('"')[0]
    form = {"csrf": token, "code": code, "password": PASSWORD, "again": PASSWORD}
    return browser.post(path, data=form, headers={"origin": ORIGIN})


def sign_in(site: ControlSite, vendor: str, username: str) -> Any:
    body = {"username": username, "password": PASSWORD, "vendor": vendor}
    return site.api().post("/tokens", json=body)
