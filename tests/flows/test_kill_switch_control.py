"""A kill switch by the API, from engaging to releasing (C138, C142, C143, C144; security decision 8)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.controls.switches import policy
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import SWITCHES, Quota, Subject
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from tests.flows.control_site import ControlSite, problem
from tests.sim.facts import control_facts, counted
from tests.sim.one_world import in_one_world


@pytest.fixture
def app(site: ControlSite) -> str:
    body = {"redirect_uris": ["http://localhost:8001/cb"], "token_endpoint_auth_method": "none"}

    def build() -> str:
        client, _ = site.system(installations.register_dynamically, tenant_id=TenantId("general"), body=body)
        return str(client.app)

    return site.furnished("a registered client", build)


def order(kind: str, key: str = "", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "key": key, "reason": "Suspicious reads"} | more


def stopped(site: ControlSite, subject: Subject, issued: Any = None) -> bool:
    facts = site.system(control_facts)
    stop = policy.stopped_by(facts.switches, subject, now=site.clock.now(), issued_at=issued)
    assert bool(site.system(controls.judge, subject=subject, issued_at=issued)) is bool(stop)
    return stop is not None


def controls_epoch(site: ControlSite) -> int:
    return counted(site.uow, SWITCHES)


def test_security_stops_an_app_alone_and_two_people_let_it_go(site: ControlSite, app: str) -> None:
    """Security decision 8: engaging is single-handed, releasing a wide one is not."""
    sam, sue = site.api("sam"), site.api("sue")
    subject, before = Subject(tenant="general", app=app), site.clock.now()

    engaged = sam.post("/switches", json=order("app", app))

    assert engaged.status_code == 201, engaged.text
    switch = engaged.json()
    assert (switch["in_force"], switch["mode"], switch["reason"]) == (True, "full_stop", "Suspicious reads")
    assert switch["engaged_by"] == f"staff:{site.people['sam'].id}"
    assert stopped(site, subject)
    assert not stopped(site, Subject(tenant="general", app="app_other"))
    assert controls_epoch(site) == 1
    first = sam.post(f"/switches/{switch['id']}/release").json()
    assert (first["in_force"], first["release_asked_by"]) == (True, switch["engaged_by"])
    problem(sam.post(f"/switches/{switch['id']}/release"), 409, "asked_by_you")
    assert stopped(site, subject)
    for name in ("rita", "otto", "root"):
        allowed = name == "root"
        answer = site.api(name).post(f"/switches/{switch['id']}/release") if not allowed else None
        if answer is not None:
            problem(answer, 403, "not_permitted")
    problem(site.api("gina").post(f"/switches/{switch['id']}/release"), 404, "switch_not_found")
    released = sue.post(f"/switches/{switch['id']}/release").json()
    assert (released["in_force"], released["released_by"]) == (False, f"staff:{site.people['sue'].id}")
    problem(sue.post(f"/switches/{switch['id']}/release"), 409, "switch_over")
    site.clock.advance(timedelta(minutes=1))
    assert not stopped(site, subject)
    assert not stopped(site, subject, issued=site.clock.now())
    assert stopped(site, subject, issued=before)
    assert controls_epoch(site) == 2


def test_an_expired_full_stop_revives_nothing(site: ControlSite, app: str) -> None:
    """C143."""
    before = site.clock.now()
    end = (before + timedelta(hours=1)).isoformat()
    switch = site.api("sam").post("/switches", json=order("app", app, expires_at=end)).json()
    subject = Subject(tenant="general", app=app)
    site.clock.advance(timedelta(hours=1, seconds=1))

    assert not stopped(site, subject, issued=site.clock.now())
    assert stopped(site, subject, issued=before)
    assert site.api("sam").get(f"/switches/{switch['id']}").json()["in_force"] is False


def test_an_administrator_stops_an_app_at_the_own_hospital_and_nowhere_else(
    site: ControlSite, app: str
) -> None:
    """C144."""
    gina, ann = site.api("gina"), site.people["ann"]

    own = gina.post("/switches", json=order("app_tenant", f"{app}/general"))
    person = gina.post("/switches", json=order("app_person", f"{app}/{ann.id}"))

    assert (own.status_code, person.status_code) == (201, 201)
    assert stopped(site, Subject(tenant="general", app=app))
    assert not stopped(site, Subject(tenant="children", app=app))
    carls = site.people["carl"].id
    for kind, key in (("app_tenant", f"{app}/children"), ("person", carls), ("app_person", f"{app}/{carls}"), ("app", app),
                      ("tenant", "general"), ("platform", ""), ("scope", "openid"), ("resource_type", "Patient")):  # fmt: skip
        problem(gina.post("/switches", json=order(kind, key)), 403, "not_permitted")
    listed = gina.get("/switches").json()["items"]
    assert [each["id"] for each in listed] == [person.json()["id"], own.json()["id"]]
    assert site.api("carl").get("/switches").json()["items"] == []
    problem(site.api("carl").get("/switches?tenant=general"), 403, "not_permitted")
    problem(site.api("carl").post(f"/switches/{own.json()['id']}/release"), 404, "switch_not_found")
    problem(site.api("carl").get(f"/switches/{own.json()['id']}"), 404, "switch_not_found")
    assert gina.post(f"/switches/{own.json()['id']}/release").json()["in_force"] is False


@in_one_world("name", ["ann", "rita", "otto"])
def test_others_engage_nothing(site: ControlSite, app: str, name: str) -> None:
    for kind, key in (("app", app), ("app_tenant", f"{app}/general"), ("platform", "")):
        problem(site.api(name).post("/switches", json=order(kind, key)), 403, "not_permitted")

    assert controls_epoch(site) == 0


@in_one_world(
    ("change", "status", "code"),
    [
        ({"key": "app_none"}, 404, "app_not_found"),
        ({"kind": "tenant", "key": "nowhere"}, 404, "tenant_not_found"),
        ({"kind": "person", "key": "per_none"}, 404, "person_not_found"),
        ({"kind": "planet"}, 422, "fields_invalid"),
        ({"kind": "platform", "key": "x"}, 422, "switch_invalid"),
        ({"kind": "app_tenant", "key": "x"}, 422, "switch_invalid"),
        ({"kind": "scope", "key": "patient/x"}, 422, "switch_invalid"),
        ({"kind": "resource_type", "key": "patient"}, 422, "switch_invalid"),
        ({"reason": ""}, 422, "switch_invalid"),
        ({"reason": "x" * 501}, 422, "fields_invalid"),
        ({"mode": "gentle"}, 422, "fields_invalid"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "switch_invalid"),
        ({"expires_at": "2027-01-01T00:00:00"}, 422, "fields_invalid"),
        ({"expires_at": "soon"}, 422, "fields_invalid"),
        ({"unknown": True}, 422, "fields_invalid"),
    ],
)
def test_an_order_that_would_stop_nothing_is_refused(
    site: ControlSite, app: str, change: dict[str, Any], status: int, code: str
) -> None:
    problem(site.api("sam").post("/switches", json=order("app", app) | change), status, code)

    assert controls_epoch(site) == 0


def test_quotas_are_set_by_the_platform_and_narrowed_by_the_tenant(site: ControlSite, app: str) -> None:
    """C147."""
    path = f"/quotas/{app}/general"
    root, gina = site.api("root"), site.api("gina")

    assert root.put(path, json={"rate_per_s": 100, "burst": 300}).status_code == 204
    assert gina.put(path, json={"rate_per_s": 5, "burst": 1_000}).status_code == 204

    levels = site.system(control_facts).quotas.overrides[app, "general"]
    assert policy.effective_quota(levels, Quota(50, 200)) == Quota(5, 300)
    assert [each["level"] for each in gina.get("/quotas").json()["items"]] == ["platform", "tenant"]
    problem(site.api("carl").put(path, json={"rate_per_s": 1, "burst": 1}), 403, "not_permitted")
    assert site.api("carl").get("/quotas").json()["items"] == []
    assert [each.delete(path).status_code for each in (root, gina)] == [204, 204]
    assert site.system(control_facts).quotas.overrides == {}


def test_a_deactivated_person_loses_browser_and_api_at_once(site: ControlSite) -> None:
    gina = site.api("gina")
    assert gina.get("/tenants").status_code == 200

    site.system(identity.deactivate_person, person_id=site.people["gina"].id)

    problem(gina.get("/tenants"), 401, "token_invalid")


def test_a_switch_until_a_moment_that_cannot_be_read_again_is_refused_and_stops_nobody_elses_work(
    site: ControlSite, app: str
) -> None:
    """C144; contract, Errors: one hospital's order must never keep every hospital's facts from being read."""
    gina = site.api("gina")
    wish = order("app_tenant", f"{app}/general", mode="observe", expires_at="9999-12-31T23:59:59-01:00")

    refused = problem(gina.post("/switches", json=wish), 422, "fields_invalid")

    assert set(refused["fields"]) == {"expires_at"}
    assert site.system(control_facts).switches.engaged == {}
    lasting = gina.post("/switches", json=wish | {"expires_at": "9999-12-31T23:59:59+01:00"})
    assert lasting.json()["expires_at"] == "9999-12-31T22:59:59Z"


def test_a_quota_is_set_for_an_app_that_may_be_at_the_tenant_only(site: ControlSite, app: str) -> None:
    """C145: a mistyped one would slow nothing and comfort everybody, and rows would gather that nobody needs."""
    gina, root, few = site.api("gina"), site.api("root"), {"rate_per_s": 1, "burst": 1}

    problem(gina.put("/quotas/app_none/general", json=few), 404, "app_not_found")
    problem(gina.put(f"/quotas/{'a' * 100}/general", json=few), 404, "app_not_found")
    problem(root.put(f"/quotas/{app}/nowhere", json=few), 404, "tenant_not_found")
    problem(site.api("carl").put(f"/quotas/{app}/children", json=few), 404, "app_not_found")
    problem(site.api("ann").put("/quotas/app_none/general", json=few), 403, "not_permitted")
    problem(gina.put(f"/quotas/{app}/general", json=few | {"rate_per_s": 1e-320}), 422, "fields_invalid")

    assert root.get("/quotas").json()["items"] == []
    assert gina.put(f"/quotas/{app}/general", json=few).status_code == 204
    assert gina.delete("/quotas/app_none/general").status_code == 204
