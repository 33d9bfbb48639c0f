"""Of each kind a vendor, a hospital or the platform has so many at most: the last is admitted, and the next is refused and says why."""

from typing import Any

import pytest

from tests.flows.control_site import ControlSite, problem
from tests.flows.vendor_ground import app_body, furnish_vendor, made

APPS = "hilum.apps.registry.service.APPS_BOUND"
MEMBERS = "hilum.apps.membership.service.MEMBERS_BOUND"
WEBHOOKS = "hilum.records.notices.service.ENDPOINTS_BOUND"
CONTACTS = "hilum.apps.contacts.service.CONTACTS_BOUND"
FACILITIES = "hilum.identity.people.facilities.FACILITIES_BOUND"
TENANTS = "hilum.identity.people.service.TENANTS_BOUND"


def test_one_more_of_a_kind_than_its_owner_may_have_is_refused(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = furnish_vendor(site, "Acme Health", "acme")
    owner, gina, root = (site.api(each) for each in ("acme.owner", "gina", "root"))
    hospitals = len(made(root.get("/tenants"), 200)["items"])

    def refused(caller: Any, path: str, bound: str, there: int, first: Any, second: Any) -> str:
        monkeypatch.setattr(bound, there + 1)
        made(caller.post(path, json=first))
        answer = caller.post(path, json=second)
        assert answer.status_code in {409, 503}, answer.text
        return str(answer.json()["code"])

    apps = [app_body(vendor, name=name) for name in ("Ward Rounds", "Discharge Letters")]
    members = [
        {"username": name, "name": name.title(), "role": "vendor_developer"} for name in ("dana", "dora")
    ]
    hooks = [{"vendor": vendor, "url": f"https://acme.example/{name}"} for name in ("one", "two")]
    contacts = [
        {"vendor": vendor, "kind": kind, "address": "x@acme.example"} for kind in ("owner", "support")
    ]
    wards = [
        {"tenant": "general", "name": name, "legal_entity": "General", "reference": f"Location/{name}"}
        for name in ("east", "west")
    ]
    tenants = [{"id": name, "name": name.title(), "sandbox": True} for name in ("rivers", "lakes")]

    assert refused(owner, "/apps", APPS, 0, *apps) == "too_many_apps"
    assert refused(owner, f"/vendors/{vendor}/members", MEMBERS, 4, *members) == "too_many_members"
    assert refused(owner, "/webhooks", WEBHOOKS, 0, *hooks) == "webhooks_full"
    assert refused(owner, "/contacts", CONTACTS, 0, *contacts) == "contacts_full"
    assert refused(gina, "/facilities", FACILITIES, 0, *wards) == "too_many_facilities"
    assert refused(root, "/tenants", TENANTS, hospitals, *tenants) == "too_many_tenants"
    # The bound of apps is for vendors; the platform's staff may add one more.
    made(root.post("/apps", json=apps[1]))
    problem(owner.post("/apps", json=app_body(vendor, name="Night Rounds")), 503, "too_many_apps")
