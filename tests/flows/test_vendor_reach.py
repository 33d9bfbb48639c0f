"""A vendor's members manage how it is reached: contacts and webhooks, each role its own share, never another vendor's (C7, C8)."""

from typing import Any

import pytest

from hilum.records.notices.models import BUDGET_WINDOW, PINGS_BOUND
from tests.flows.control_site import ControlSite, problem
from tests.flows.vendor_ground import ROLES, furnish_vendor, made
from tests.sim.world import FakeClock

HOOK = "https://hooks.acme.example/hilum"
OWNER, DEVELOPER, BILLING, SECURITY = ROLES


@pytest.fixture
def ours(site: ControlSite) -> str:
    return furnish_vendor(site, "Acme Health", "acme")


def contact(vendor: str, kind: str = "security", address: str = "a@acme.example") -> dict[str, Any]:
    return {"vendor": vendor, "kind": kind, "address": address}


def add_contact(site: ControlSite, vendor: str, **change: Any) -> str:
    return str(made(site.api("root").post("/contacts", json=contact(vendor, **change)))["id"])


def add_webhook(site: ControlSite, vendor: str, url: str = HOOK) -> str:
    return str(made(site.api("root").post("/webhooks", json={"vendor": vendor, "url": url}))["id"])


@pytest.mark.parametrize("role", ROLES)
def test_each_role_manages_the_contacts_that_are_its_own_business(
    site: ControlSite, ours: str, role: str
) -> None:
    """C8: owners manage every kind of contact, security members the security contacts; every member reads them."""
    api = site.api(f"acme.{role}")
    support = add_contact(site, ours, kind="support", address="s@acme.example")
    security = add_contact(site, ours, kind="security", address="t@acme.example")

    def allowed(kind: str, id_: str) -> set[bool]:
        answers = [
            api.post("/contacts", json=contact(ours, kind, "u@acme.example")),
            api.post(f"/contacts/{id_}/link"),
            api.delete(f"/contacts/{id_}"),
        ]
        for each in answers:
            if each.status_code not in {200, 201}:
                problem(each, 403, "not_permitted")
        return {each.status_code in {200, 201} for each in answers}

    listed = made(api.get("/contacts"), 200)["items"]

    assert {each["id"] for each in listed} == {support, security}
    assert allowed("support", support) == {role == OWNER}
    assert allowed("security", security) == {role in {OWNER, SECURITY}}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_manages_the_webhooks_that_are_its_own_business(
    site: ControlSite, ours: str, role: str
) -> None:
    """C8: owners and developers manage webhooks, security members replace a secret that leaked; every member reads them."""
    api, hook = site.api(f"acme.{role}"), add_webhook(site, ours)
    manages, replaces = role in {OWNER, DEVELOPER}, role in {OWNER, DEVELOPER, SECURITY}
    steps = [
        (api.get("/webhooks"), True),
        (api.post("/webhooks", json={"vendor": ours, "url": HOOK}), manages),
        (api.post(f"/webhooks/{hook}/ping"), manages),
        (api.post(f"/webhooks/{hook}/rotate", json={}), replaces),
        (api.post(f"/webhooks/{hook}/resume"), manages),
        (api.delete(f"/webhooks/{hook}"), manages),
    ]

    for answer, may in steps:
        if may:
            assert answer.status_code in {200, 201, 204}, answer.text
        else:
            problem(answer, 403, "not_permitted")
    assert "secret" not in made(api.get("/webhooks"), 200)


def test_another_vendors_contacts_and_webhooks_answer_as_absent(site: ControlSite, ours: str) -> None:
    theirs = furnish_vendor(site, "Zenith Care", "zen")
    person, hook = add_contact(site, theirs), add_webhook(site, theirs)
    mine = add_webhook(site, ours)
    app = {"vendor": theirs, "name": "Ward", "category": "scheduling", "description": "d", "purpose": "p"}
    their_app = made(site.api("root").post("/apps", json=app))["id"]
    api = site.api("acme.owner")

    for vendor in (theirs, "ven_none"):
        problem(api.get(f"/contacts?vendor={vendor}"), 404, "vendor_not_found")
        problem(api.get(f"/webhooks?vendor={vendor}"), 404, "vendor_not_found")
        problem(api.post("/contacts", json=contact(vendor)), 404, "vendor_not_found")
        problem(api.post("/webhooks", json={"vendor": vendor, "url": HOOK}), 404, "vendor_not_found")
    for id_ in (person, "con_none"):
        problem(api.post(f"/contacts/{id_}/link"), 404, "contact_not_found")
        problem(api.delete(f"/contacts/{id_}"), 404, "contact_not_found")
    for id_ in (hook, "whk_none"):
        problem(api.post(f"/webhooks/{id_}/ping"), 404, "webhook_not_found")
        problem(api.post(f"/webhooks/{id_}/rotate", json={}), 404, "webhook_not_found")
        problem(api.delete(f"/webhooks/{id_}"), 404, "webhook_not_found")
    of_theirs = {"vendor": ours, "url": HOOK, "app": their_app}
    problem(api.post("/webhooks", json=of_theirs), 404, "app_not_found")
    assert [each["id"] for each in made(api.get("/webhooks"), 200)["items"]] == [mine]
    assert made(api.get("/contacts"), 200)["items"] == []


@pytest.mark.parametrize("username", ["gina", "ann"])
def test_a_hospitals_people_see_no_vendors_contacts_or_webhooks(
    site: ControlSite, ours: str, username: str
) -> None:
    api = site.api(username)
    for path in (f"/contacts?vendor={ours}", "/contacts", f"/webhooks?vendor={ours}", "/webhooks"):
        problem(api.get(path), 403, "not_permitted")


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.8/hook",
        "https://169.254.169.254/latest",
        "https://hooks.acme.example@10.0.0.8/",
        "http://hooks.acme.example/",
        "javascript:alert(1)",
        "https://hooks.acme.example/#x",
        "https://hooks.acme.example\\@evil.example/",
        "file:///etc/passwd",
    ],
)
def test_a_hostile_url_of_a_webhook_is_refused_and_nothing_is_registered(
    site: ControlSite, ours: str, url: str
) -> None:
    api = site.api("acme.owner")
    # Plain http is for loopback in a sandbox, and judged when the name is resolved.
    answer = api.post("/webhooks", json={"vendor": ours, "url": url})
    if url.startswith("http://"):
        assert answer.status_code == 201
        return
    problem(answer, 422, "webhook_invalid" if url.isprintable() else "fields_invalid")
    assert made(api.get("/webhooks"), 200)["items"] == []


def test_test_events_are_bounded_by_vendor_and_not_by_endpoint(
    site: ControlSite, ours: str, clock: FakeClock
) -> None:
    """A member cannot make Hilum flood a URL that is not theirs, by removing and adding endpoints either."""
    api = site.api("acme.developer")
    answers = []
    for number in range(PINGS_BOUND + 1):
        if number % 25 == 0:
            hook = add_webhook(site, ours)
        answers.append(api.post(f"/webhooks/{hook}/ping").status_code)

    assert answers == [200] * PINGS_BOUND + [403]
    problem(api.post(f"/webhooks/{hook}/ping"), 403, "ping_bound")
    clock.advance(BUDGET_WINDOW)
    assert site.api("acme.developer").post(f"/webhooks/{hook}/ping").status_code == 200
