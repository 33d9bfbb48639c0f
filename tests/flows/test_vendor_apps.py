"""Vendors register and change their own apps, versions and clients, and nobody else's (C4, C5, C6, C9, C212)."""

from typing import Any

import pytest

from tests.flows.control_site import ControlSite, codes, problem
from tests.flows.vendor_ground import (
    PROFILE,
    ROLES,
    app_body,
    client_body,
    furnish_app,
    furnish_vendor,
    join,
    made,
)
from tests.sim.one_world import in_one_world


def test_one_app_has_a_sandbox_and_a_production_client_of_its_own(site: ControlSite) -> None:
    """C4, C5: registered by its developer, the one for production only after its owner has stated everything."""
    vendor = furnish_vendor(site, "Acme Health", "acme")
    developer, owner = site.api("acme.developer"), site.api("acme.owner")
    app, version, sandbox = furnish_app(site, vendor, "acme")
    wanted = client_body(app, version, environment="production")

    early = problem(developer.post("/clients", json=wanted), 422, "profile_incomplete")
    saved = made(owner.put(f"/apps/{app}/profile", json=PROFILE), 200)
    production = made(developer.post("/clients", json=wanted))

    assert set(codes(early)) == set(PROFILE) - {"revision"}
    assert (saved["missing"], saved["revision"]) == ([], 1)
    assert production["id"] != sandbox
    listed = made(developer.get(f"/apps/{app}/clients"), 200)["items"]
    assert {each["id"]: each["environment"] for each in listed} == {
        sandbox: "sandbox",
        production["id"]: "production",
    }
    assert made(site.api("acme.billing").get(f"/apps/{app}"), 200)["vendor"] == vendor


def test_two_who_change_one_profile_do_not_overwrite_each_other(site: ControlSite) -> None:
    """A stale edit is refused, also for an app of which nothing was stated."""
    vendor = furnish_vendor(site, "Acme Health", "acme")
    owner, root = site.api("acme.owner"), site.api("root")
    path = f"/apps/{furnish_app(site, vendor, 'acme')[0]}/profile"

    made(owner.put(path, json=PROFILE), 200)
    problem(root.put(path, json=PROFILE | {"owner": "Root"}), 409, "changed_since_read")
    made(root.put(path, json=PROFILE | {"owner": "Root", "revision": 1}), 200)
    problem(owner.put(path, json=PROFILE | {"revision": 1}), 409, "changed_since_read")
    problem(owner.put(path, json=PROFILE | {"revision": 7}), 409, "changed_since_read")

    assert made(owner.get(path), 200)["owner"] == "Root"


def test_an_invalid_profile_changes_nothing(site: ControlSite) -> None:
    vendor = furnish_vendor(site, "Acme Health", "acme")
    owner = site.api("acme.owner")
    path = f"/apps/{furnish_app(site, vendor, 'acme')[0]}/profile"
    hostile = {"privacy_policy": "https://127.0.0.1.nip.io@evil.example/", "owner": "<img src=x>"}

    refused = problem(owner.put(path, json=PROFILE | hostile), 422, "profile_invalid")

    assert codes(refused) == {"privacy_policy": "redirect_userinfo", "owner": "html_in_text"}
    assert made(owner.get(path), 200)["revision"] == 0


ROUTES: list[tuple[str, str, Any, set[str]]] = [
    ("GET", "/vendors", None, set(ROLES)),
    ("GET", "/apps", None, set(ROLES)),
    ("GET", "/apps/{app}", None, set(ROLES)),
    ("GET", "/apps/{app}/versions", None, set(ROLES)),
    ("GET", "/apps/{app}/certifications", None, set(ROLES)),
    ("GET", "/apps/{app}/clients", None, set(ROLES)),
    ("GET", "/apps/{app}/profile", None, set(ROLES)),
    ("GET", "/clients/{client}", None, set(ROLES)),
    ("POST", "/apps", app_body("{vendor}", name="Discharge Letters"), {"owner", "developer"}),
    ("POST", "/apps/{app}/versions", {"label": "2"}, {"owner", "developer"}),
    ("POST", "/clients", client_body("{app}", "{version}"), {"owner", "developer"}),
    ("POST", "/clients/{client}/secret", {"overlap_s": 60}, {"owner", "developer", "security"}),
    ("PUT", "/apps/{app}/profile", PROFILE, {"owner"}),
    ("POST", "/vendors", {"name": "Mine", "support_contact": "a", "security_contact": "b"}, set()),
    ("POST", "/certifications", {}, set()),
    ("POST", "/apps/{app}/suspend", {"reason": "x"}, set()),
    ("POST", "/apps/{app}/resume", {"reason": "x"}, set()),
    ("POST", "/installations", {}, set()),
    ("POST", "/tenants/general/system-clients", {"client_type": "ehr", "client_name": "EHR"}, set()),
]
"""Each route of the registry, a body that is accepted, and the roles of a vendor that may use it."""


def filled(of: Any, ids: dict[str, str]) -> Any:
    if isinstance(of, str):
        return of.format(**ids) if "{" in of else of
    return {name: filled(value, ids) for name, value in of.items()} if isinstance(of, dict) else of


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_exactly_its_routes_and_another_vendors_ids_are_absent(
    site: ControlSite, role: str
) -> None:
    """C8: role by endpoint, at the own vendor and at another's."""
    ours, theirs = furnish_vendor(site, "Acme Health", "acme"), furnish_vendor(site, "Zenith Care", "zen")
    names = ("app", "version", "client")
    own = dict(zip(names, furnish_app(site, ours, "acme"), strict=True)) | {"vendor": ours}
    other = dict(zip(names, furnish_app(site, theirs, "zen", name="Bed Board"), strict=True)) | {
        "vendor": theirs
    }
    member = site.api(f"acme.{role}")
    for method, path, body, roles in ROUTES:
        for ids in (other, own):
            answer = member.request(method, filled(path, ids), json=filled(body, ids))
            if role not in roles:
                problem(answer, 403, "not_permitted")
            elif ids is own:
                assert answer.status_code in {200, 201}, (method, path, answer.text)
            elif path in {"/vendors", "/apps"} and method == "GET":
                assert theirs not in answer.text
            else:
                assert answer.status_code == 404, (method, path, answer.text)
                nowhere = {name: f"{id_[:4]}none" for name, id_ in other.items()}
                absent = member.request(method, filled(path, nowhere), json=filled(body, nowhere))
                assert (absent.status_code, absent.json()) == (404, answer.json())


@in_one_world(
    ("name", "code"),
    [
        ("Acme Health", "name_imitates_another"),
        ("Аcme Неalth", "name_imitates_another"),
        ("Acrne Health", "name_imitates_another"),
        ("Acme Heatlh Inc.", "name_imitates_another"),
        ("Ward Note", "name_imitates_another"),
        ("Chi1dren", "name_imitates_a_hospital"),
        ("General", "name_imitates_a_hospital"),
    ],
)
def test_a_name_that_imitates_is_refused_for_vendors_apps_and_clients(
    site: ControlSite, name: str, code: str
) -> None:
    """C212: confusable letters, near spellings, a hospital's own name."""
    acme, zen = furnish_vendor(site, "Acme Health", "acme"), furnish_vendor(site, "Zenith Care", "zen")
    furnish_app(site, acme, "acme")
    app, version, _ = furnish_app(site, zen, "zen", name="Bed Board")
    developer = site.api("zen.developer")
    contacts = {"support_contact": "help@v.example", "security_contact": "sec@v.example"}

    vendor = site.api("root").post("/vendors", json={"name": name, **contacts})
    named = developer.post("/apps", json=app_body(zen, name=name))
    client = developer.post("/clients", json=client_body(app, version, client_name=name))

    assert codes(problem(vendor, 422, "vendor_invalid")) == {"name": code}
    assert codes(problem(named, 422, "app_invalid")) == {"name": code}
    assert codes(problem(client, 422, "client_invalid")) == {"client_name": code}
    own = site.api("acme.developer")
    if name.startswith("Ward"):
        assert own.post("/apps", json=app_body(acme, name=name)).status_code == 201, "its own is no imitation"


def test_markup_in_a_vendors_text_is_refused_by_field(site: ControlSite) -> None:
    vendor = furnish_vendor(site, "Acme Health", "acme")
    hostile = {"name": "<b>x</b>", "description": "a <script>", "purpose": "&#106;s"}

    refused = site.api("acme.developer").post("/apps", json=app_body(vendor, **hostile))

    assert codes(problem(refused, 422, "app_invalid")) == dict.fromkeys(hostile, "html_in_text")


def test_a_member_of_a_system_clients_vendor_does_not_speak_for_the_hospital(site: ControlSite) -> None:
    """Security decision 25: the vendor of an EHR is a record, and joining it opens nothing."""
    gina, root = site.api("gina"), site.api("root")
    asked = made(
        gina.post("/tenants/general/system-clients", json={"client_type": "ehr", "client_name": "EHR"}), 202
    )
    ehr = made(site.api("sam").post(f"/approvals/{asked['approval']['id']}/approve"), 200)["target"]
    app = made(root.get(f"/clients/{ehr}"), 200)["app"]
    vendor = made(root.get(f"/apps/{app}"), 200)["vendor"]
    version = made(root.get(f"/apps/{app}/versions"), 200)["items"][0]["id"]
    join(site, vendor, "eve", "owner")
    eve = site.api("eve")

    problem(eve.post(f"/clients/{ehr}/secret", json={}), 403, "not_permitted")
    problem(eve.get(f"/clients/{ehr}"), 404, "client_not_found")
    problem(eve.post(f"/apps/{app}/versions", json={"label": "9"}), 404, "app_not_found")
    problem(eve.post("/clients", json=client_body(app, version)), 404, "app_not_found")
