"""Edits of clients: at once in the sandbox, held until a reviewer decides for a certified production client (C12)."""

from typing import Any

import pytest

from tests.flows.client_ground import EVIL, Certified
from tests.flows.control_site import ControlSite, codes, problem
from tests.flows.vendor_ground import client_body, furnish_vendor, made

EDITS: list[tuple[dict[str, Any], str]] = [
    (EVIL, "redirect_uris"),
    ({"launch_url": "https://notes.example/other"}, "launch_uri"),
    ({"origins": ["https://other.example"]}, "origins"),
    ({"scope": "launch openid fhirUser patient/*.rs user/*.rs"}, "scopes"),
    ({"grant_types": ["authorization_code"]}, "grant_types"),
]


@pytest.mark.parametrize(("change", "field"), EDITS)
def test_a_security_edit_of_a_certified_production_client_waits_for_a_reviewer(
    site: ControlSite, change: dict[str, Any], field: str
) -> None:
    """C12."""
    it = Certified(site)
    before = it.shown()

    held = made(it.edit(change), 202)
    waiting = it.shown()
    why = {"reason": "The address is the vendor's own."}
    decided = made(it.rita.post(f"/client-changes/{held['id']}/approve", json=why), 200)

    assert waiting == before
    assert (list(held["order"]), held["state"], decided["state"]) == ([field], "pending", "applied")
    assert decided["reason"] == why["reason"], "its vendor reads it"
    after = it.shown()
    assert after[field] == held["order"][field] != before[field]
    assert after["revision"] != before["revision"]
    assert {name for name in before if before[name] != after[name]} == {field, "revision"}


@pytest.mark.parametrize(("change", "field"), EDITS)
def test_the_same_edit_of_a_sandbox_client_takes_effect_at_once(
    site: ControlSite, change: dict[str, Any], field: str
) -> None:
    it = Certified(site)

    after = made(it.edit(change, it.sandbox), 200)

    assert after == it.shown(it.sandbox)
    assert after[field] != it.shown()[field]


def test_a_reviewer_who_is_tied_to_the_vendor_agrees_to_no_edit_of_its_clients(site: ControlSite) -> None:
    """C101: where an app's codes go is no smaller matter than a certification by hand."""
    it = Certified(site)
    before, held = it.shown(), made(it.edit(EVIL), 202)
    made(it.rita.post("/conflicts-of-interest", json={"vendor": it.vendor, "reason": "I worked there."}))

    problem(it.rita.post(f"/client-changes/{held['id']}/approve"), 403, "conflict_of_interest")

    assert it.shown() == before


def test_a_refused_or_withdrawn_edit_changes_nothing_and_is_decided_once(site: ControlSite) -> None:
    it = Certified(site)
    before = it.shown()
    first = made(it.edit(EVIL), 202)["id"]
    problem(it.edit({"launch_url": "https://notes.example/x"}), 409, "change_waits")
    problem(it.rita.post(f"/client-changes/{first}/refuse", json={"reason": " "}), 422, "reason_invalid")
    made(it.rita.post(f"/client-changes/{first}/refuse", json={"reason": "not yours"}), 200)
    problem(it.rita.post(f"/client-changes/{first}/refuse", json={"reason": "again"}), 409, "change_decided")
    problem(it.rita.post(f"/client-changes/{first}/approve"), 409, "change_decided")
    second = made(it.edit(EVIL), 202)["id"]
    made(it.developer.post(f"/client-changes/{second}/refuse", json={"reason": "a mistake"}), 200)
    problem(it.rita.post(f"/client-changes/{second}/approve"), 409, "change_decided")

    assert it.shown() == before
    listed = made(it.developer.get("/client-changes"), 200)["items"]
    assert [(each["id"], each["state"], each["reason"]) for each in listed] == [
        (first, "refused", "not yours"),
        (second, "refused", "a mistake"),
    ]
    assert made(it.rita.get("/client-changes"), 200)["items"] == []


def test_an_edit_of_what_was_read_earlier_is_refused(site: ControlSite) -> None:
    """Optimistic locking: neither a stale edit nor a stale approval overwrites what came in between."""
    it = Certified(site)
    stale = it.shown(it.sandbox)["revision"]
    made(it.edit({"launch_url": "https://notes.example/x"}, it.sandbox), 200)
    problem(it.edit(EVIL, it.sandbox, revision=stale), 409, "changed_since_read")
    problem(it.edit(EVIL, it.sandbox, revision="0" * 32), 409, "changed_since_read")
    held = made(it.edit(EVIL), 202)["id"]
    made(
        it.rita.delete(
            f"/certifications/{made(it.rita.get(f'/apps/{it.app}/certifications'), 200)['items'][0]['id']}"
        ),
        200,
    )
    made(it.edit({"launch_url": "https://notes.example/y"}), 200)

    problem(it.rita.post(f"/client-changes/{held}/approve"), 409, "target_changed")

    assert it.shown()["redirect_uris"] == ["https://notes.example/cb"]


def test_an_invalid_edit_is_refused_with_the_codes_of_registration_and_none_waits(site: ControlSite) -> None:
    """C1."""
    it = Certified(site)

    refused = problem(
        it.edit({"redirect_uris": ["http://evil.example/#x"], "scope": "system/*.rs"}), 422, "client_invalid"
    )

    assert codes(refused) == {"redirect_uris": "redirect_fragment", "scope": "scope_system_in_delegated"}
    assert made(it.edit({}), 200) == it.shown(), "an edit that changes nothing waits for nobody"
    assert made(it.rita.get("/client-changes"), 200)["items"] == []


def test_only_a_reviewer_agrees_and_another_vendors_change_is_absent(site: ControlSite) -> None:
    it = Certified(site)
    held = f"/client-changes/{made(it.edit(EVIL), 202)['id']}"
    furnish_vendor(site, "Zenith Care", "zen")

    for who in ("acme.owner", "acme.developer", "root", "sam", "otto", "gina", "zen.owner"):
        problem(site.api(who).post(f"{held}/approve"), 403, "not_permitted")
    other = site.api("zen.owner")
    problem(other.get(held), 404, "change_not_found")
    problem(other.post(f"{held}/refuse", json={"reason": "x"}), 404, "change_not_found")
    problem(other.patch(f"/clients/{it.client}", json={"revision": "x"} | EVIL), 404, "client_not_found")
    assert made(other.get("/client-changes"), 200)["items"] == []
    for who in ("acme.billing", "acme.security"):
        problem(
            site.api(who).patch(f"/clients/{it.client}", json={"revision": "x"} | EVIL), 403, "not_permitted"
        )
        assert made(site.api(who).get(held), 200)["state"] == "pending"


def test_no_client_gets_around_the_review_by_being_new(site: ControlSite) -> None:
    """C12: a certified version is certified with the clients that it had."""
    it = Certified(site)
    body = client_body(it.app, it.version, environment="production", **EVIL)
    refused = problem(it.developer.post("/clients", json=body), 422, "version_certified")
    second = made(it.developer.post(f"/apps/{it.app}/versions", json={"label": "2"}))["id"]
    beside = made(it.developer.post("/clients", json=body | {"version": second}))["id"]

    moved = it.developer.put(f"/clients/{beside}/version", json={"version": it.version})

    assert codes(refused) == {"version": "version_certified"}
    problem(moved, 422, "version_certified")
    assert it.shown(beside)["version"] == second
    it.certify(second)
    assert (
        made(it.developer.put(f"/clients/{it.client}/version", json={"version": second}), 200)["version"]
        == second
    )


def test_keys_are_replaced_by_an_address_only_after_review(site: ControlSite) -> None:
    """C10, C12: one of the two at a time."""
    it = Certified(site)
    second = made(it.developer.post(f"/apps/{it.app}/versions", json={"label": "2"}))["id"]
    body = client_body(it.app, second, client_type="confidential-asymmetric", environment="production")
    client = made(it.developer.post("/clients", json=body | {"jwks_uri": "https://notes.example/keys"}))["id"]
    it.certify(second)

    held = made(it.edit({"jwks_uri": "https://evil.example/keys"}, client), 202)
    hostile = problem(it.edit({"jwks_uri": "https://169.254.169.254/keys"}, client), 422, "client_invalid")

    assert held["order"] == {"jwks_uri": "https://evil.example/keys"}
    assert codes(hostile) == {"jwks_uri": "redirect_ip_host"}
    assert it.shown(client)["jwks_uri"] == "https://notes.example/keys"
