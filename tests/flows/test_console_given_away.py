"""Vendors by pages: defects of their apps, an app that goes to another vendor, a client's keys and renewal (C14, C127, C12)."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, ClientId, VersionId
from hilum.review.defects import service as defects
from tests.flows import developer_ground
from tests.flows.control_site import send
from tests.flows.developer_ground import Desk
from tests.flows.token_flow import JWKS
from tests.flows.vendor_ground import certified

desk = developer_ground.desk

SCOPES = ("launch", "openid", "fhirUser", "patient/Observation.rs")


def found(desk: Desk) -> list[Any]:
    return list(desk.site.system(defects.list_defects))


def test_a_vendor_reports_a_defect_and_reads_what_became_of_it(desk: Desk) -> None:
    """C127: with its version by name, where and when it was first seen; the staff alone judge it."""
    developer, new = desk.browser("acme.developer"), "/developer/defects/new"
    assert "No defect is recorded" in developer.get("/developer/defects").text
    assert "Ward Notes, version" in developer.get(new).text
    now = desk.site.clock.now()
    report = {
        "version": desk.version,
        "summary": "Wrong <b>day</b>",
        "seen_in": "sandbox",
        "severity": "high",
    }
    for wrong in (
        {"summary": " "},
        {"summary": "x" * 2_001},
        {"seen_in": "production"},
        {"seen_in": "home"},
        {"severity": "none"},
        {"first_seen_at": "yesterday"},
        {"first_seen_at": f"{now + timedelta(days=1):%Y-%m-%d}"},
    ):
        answer = send(developer, new, "first_seen_at", None, **(report | wrong))
        assert (answer.status_code, "Nothing was done yet" in answer.text) == (422, True), wrong
    assert found(desk) == []

    reported = send(developer, new, "first_seen_at", None, **report)

    assert reported.status_code == 303
    page = reported.headers["location"]
    shown = developer.get(page).text
    assert ("Wrong &lt;b&gt;day" in shown, 'name="gap"' in shown) == (True, False)
    assert "Wrong &lt;b&gt;day" in developer.get("/developer/defects").text
    desk.site.system(defects.close, defect_id=found(desk)[0].id, outcome="Fixed in 2.")
    assert "Fixed in 2." in desk.browser("acme.billing").get(page).text


def test_who_may_not_report_or_see_a_defect_does_not(desk: Desk) -> None:
    order = {"version": desk.version, "summary": "x", "seen_in": "sandbox", "severity": "low"}
    for username in ("acme.billing", "acme.security"):
        browser = desk.browser(username)
        assert browser.get("/developer/defects/new").status_code == 403
        assert "/developer/defects/new" not in browser.get("/developer/defects").text
    rival = desk.browser("bolt.developer")
    assert "Ward Notes" not in rival.get("/developer/defects/new").text
    report = {"first_seen_at": f"{desk.site.clock.now():%Y-%m-%dT%H:%M}", "csrf": "none"}
    assert rival.post("/developer/defects/new", data=order | report).status_code == 403
    send(desk.browser("acme.developer"), "/developer/defects/new", "first_seen_at", None, **order)
    assert rival.get(f"/developer/defects/{found(desk)[0].id}").status_code == 404
    assert "No defect is recorded" in rival.get("/developer/defects").text


def test_an_app_is_offered_by_one_owner_and_taken_over_by_the_other(desk: Desk) -> None:
    """C14: what ends is said before; nothing changes before the other owner agrees."""
    owner, other = desk.browser("acme.owner"), desk.browser("bolt.owner")
    page, offer = f"/developer/apps/{desk.app}/transfer", f"/developer/offers/{desk.app}"
    assert f'href="{page}"' in owner.get(f"/developer/apps/{desk.app}").text
    for wrong in ({"to": "Nobody"}, {"to": "Acme Health"}, {"confirm": ""}):
        order = {"act": "offer", "to": "Bolt", "confirm": "yes"} | wrong
        answer = send(owner, page, "to", None, **order)
        assert (answer.status_code, "Nothing was done" in answer.text) == (422, True), wrong
    assert other.get(offer).status_code == 404
    developer = desk.browser("acme.developer")
    assert 'name="to"' not in developer.get(page).text

    assert send(owner, page, "to", None, act="offer", to="Bolt", confirm="yes").status_code == 303

    assert "Offered to Bolt" in owner.get(page).text
    assert f'href="{offer}"' in other.get("/developer").text
    assert "Acme Health offers it to you" in other.get(offer).text
    assert owner.get(offer).status_code == 404
    assert 'name="confirm"' not in desk.browser("bolt.developer").get(offer).text
    assert send(other, offer, "confirm", None, act="accept").status_code == 422
    cross = {"sec-fetch-site": "cross-site"}
    assert send(other, offer, "confirm", cross, act="accept", confirm="yes").status_code == 403
    taken = send(other, offer, "confirm", None, act="accept", confirm="yes")
    assert taken.headers.get("location") == f"/developer/apps/{desk.app}"
    assert other.get(taken.headers["location"]).status_code == 200
    assert owner.get(f"/developer/apps/{desk.app}").status_code == 404
    assert desk.site.system(registry.get_app, app_id=AppId(desk.app)).vendor == desk.vendors["bolt"]
    assert other.get(offer).status_code == 404


@pytest.mark.parametrize("who", ["acme.owner", "bolt.owner"])
def test_an_offer_is_withdrawn_or_declined_by_page(desk: Desk, who: str) -> None:
    owner = desk.browser("acme.owner")
    page, offer = f"/developer/apps/{desk.app}/transfer", f"/developer/offers/{desk.app}"
    send(owner, page, "to", None, act="offer", to="Bolt", confirm="yes")
    again = {"csrf": _csrf(owner, page), "act": "offer", "to": "Bolt", "confirm": "yes"}
    assert owner.post(page, data=again).status_code == 409

    if who == "acme.owner":
        assert owner.post(page, data={"csrf": again["csrf"], "act": "withdraw"}).status_code == 303
    else:
        assert send(desk.browser(who), offer, "confirm", None, act="decline").status_code == 303

    assert desk.browser("bolt.owner").get(offer).status_code == 404
    assert 'name="to"' in owner.get(page).text
    assert desk.site.system(registry.get_app, app_id=AppId(desk.app)).vendor == desk.vendors["acme"]


def _csrf(browser: Any, page: str) -> str:
    return str(browser.get(page).text.partition('name="csrf" value="')[2].partition('"')[0])


def keyed(desk: Desk) -> ClientId:
    """Register a client with keys, for production and certified."""
    certified(desk.site, desk.version, SCOPES)
    metadata = ClientMetadata(
        name="Ward Notes, server",
        type=ClientType.ASYMMETRIC,
        deployment=Deployment.SERVER,
        environment=Environment.SANDBOX,
        redirect_uris=("https://app.example/cb",),
        scopes=SCOPES,
        jwks=JWKS,
    )
    order = NewClient(AppId(desk.app), VersionId(desk.version), metadata)
    return ClientId(desk.site.system(clients.add_client, order=order)[0].id)


def test_a_clients_keys_and_its_renewal_change_after_the_difference_was_seen(desk: Desk) -> None:
    """C12: other keys instead of those at an address and the other way round, never both; a private key is refused."""
    id_ = keyed(desk)
    developer, page = desk.browser("acme.developer"), f"/developer/clients/{id_}/edit"
    shown = developer.get(page).text
    assert str(JWKS["keys"][0]["kid"]) in shown
    texts = {"redirect_uris": "https://app.example/cb", "scopes": " ".join(SCOPES), "origins": ""}
    other = {"keys": [JWKS["keys"][0] | {"kid": "next"}]}

    def post(**values: str) -> Any:
        given = {"csrf": _csrf(developer, page), "revision": stored().revision, "launch_uri": ""} | texts
        return developer.post(page, data=given | {"jwks": json.dumps(JWKS), "offline": "yes"} | values)

    def stored() -> Any:
        return desk.site.system(clients.get_client, client_id=id_)

    before = stored()
    assert "Nothing changes" in post().text
    for wrong in (
        {"jwks": "["},
        {"jwks": ""},
        {"jwks": '{"keys": []}'},
        {"jwks": json.dumps({"keys": [JWKS["keys"][0] | {"d": "AQAB"}]})},
        {"jwks": json.dumps(other), "jwks_uri": "https://app.example/jwks"},
    ):
        assert post(**wrong).status_code == 422, wrong
    asked = post(jwks=json.dumps(other), offline="")
    assert ("keys next" in asked.text, stored() == before) == (True, True)
    alike = {"keys": [JWKS["keys"][1] | {"kid": JWKS["keys"][0]["kid"]}]}
    named = re.findall(r"keys (\S+) \((\w+)\)", post(jwks=json.dumps(alike)).text)
    assert [kid for kid, _ in named] == [JWKS["keys"][0]["kid"]] * 2
    assert len(set(named)) == 2, "another key of the same name is seen to be another"
    done = post(jwks=json.dumps(other), offline="", sure="yes")
    assert done.status_code == 303
    changed = stored()
    assert changed == replace(before, jwks=other, grant_types=("authorization_code",))
    assert post(jwks="", jwks_uri="https://app.example/jwks", sure="yes").status_code == 303
    assert (stored().jwks, stored().jwks_uri) == (None, "https://app.example/jwks")
    back = post(jwks=json.dumps(other), jwks_uri="https://app.example/jwks", sure="yes")
    assert (back.status_code, stored().jwks, stored().jwks_uri) == (303, other, "")
    stale = post(jwks=json.dumps(JWKS), revision=before.revision, sure="yes")
    assert (stale.status_code, stored().jwks) == (409, other)
    assert desk.browser("bolt.developer").get(page).status_code == 404
