"""A hospital sees what another one decided about an app, where that one shares it, and decides only what differs (C221)."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from hilum.audit import service as audit
from hilum.audit.models import EventQuery
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import TenantId
from hilum.precedents import service
from hilum.precedents.models import SharingOrder
from tests.flows.contract_ground import shown_calls
from tests.flows.control_site import ControlSite, codes, problem
from tests.flows.review_ground import signs
from tests.flows.review_world import World, decide, in_order, passed, submitted
from tests.flows.use_ground import Ground
from tests.flows.vendor_ground import client_body, made
from tests.sim.browser import form_with
from tests.sim.world import FakeClock

SHARED = "Tried on two wards for a month."


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return Ground(sqlite_uow, clock)


def share(
    ground: Ground, shares: bool | None = True, who: str = "gina", tenant: str = "general", **body: Any
) -> Any:
    whole = {"app": ground.app, "shares": shares} | body
    return ground.site.api(who).put(f"/tenants/{tenant}/sharing", json=whole)


def look(ground: Ground, who: str = "carl", tenant: str = "children", **query: Any) -> Any:
    params = {"app": ground.app} | query
    return ground.site.api(who).get(f"/tenants/{tenant}/precedents", params=params)


def hospitals(ground: Ground) -> list[str]:
    return [each["tenant"] for each in made(look(ground), 200)["items"]]


def test_nothing_is_seen_of_a_hospital_that_does_not_share(ground: Ground) -> None:
    """C221: nor that it has the app; what was shared is not seen any more once it is not."""
    assert hospitals(ground) == []
    made(share(ground), 200)
    assert hospitals(ground) == ["general"]
    assert made(look(ground, "gina", "general"), 200)["items"] == [], "nobody is a precedent of their own"
    made(share(ground, shares=False), 200)
    assert hospitals(ground) == []
    # In general, and of one app otherwise, and as in general again.
    made(share(ground, app=None), 200)
    assert hospitals(ground) == []
    assert share(ground, shares=None).json() is None
    assert hospitals(ground) == ["general"]
    made(share(ground, shares=False, app=None), 200)
    assert hospitals(ground) == []


def test_what_is_shared_has_terms_and_reasons_and_nobody(ground: Ground) -> None:
    """C221: no name, network, facility or figure; only what differs is left to decide."""
    made(share(ground, reasons=SHARED), 200)
    site = ground.site
    body: dict[str, list[str]] = {"networks": []}
    made(site.api("gina").put(f"/installations/{ground.installed['general']}/networks", json=body), 200)

    found = made(look(ground, scope=["patient/*.rs", "patient/*.cud"], role=["physician", "nurse"]), 200)

    (item,) = found["items"]
    assert (item["hospital"], item["reasons"]) == ("General", SHARED)
    assert {each["kind"]: each["what"] for each in item["open"]} == {
        "scopes": ["patient/*.cud"],
        "roles": ["nurse"],
    }
    assert "agreements" in item["same"]
    text = str(found)
    people = [each.id for each in site.people.values()]
    assert not any(secret in text for secret in (*people, "Gina", ground.installed["general"], "192.0.2"))
    assert set(item["terms"]) == {"scopes", "asked", "roles", "agreements", "everywhere", "workflow", "pinned", "expires_at"}  # fmt: skip
    query = EventQuery(action="precedents.sharing.set", limit=5)
    (event,) = site.system(audit.list_events, query=query).events
    assert (event.actor, event.event.facts["shares"]) == (f"person:{site.people['gina'].id}", "yes")
    assert SHARED not in str(event)


def test_who_may_not_share_or_look_is_refused(ground: Ground) -> None:
    """C221: administrators of their own hospital; the staff looks and shares nothing."""
    made(share(ground), 200)
    for who, tenant in (("carl", "general"), ("rita", "general"), ("ann", "general"), ("root", "general")):
        assert share(ground, who=who, tenant=tenant, shares=False).status_code == 403, who
    assert share(ground, who="root", app=None).status_code == 403, "nor what is shared in general"
    nowhere = SharingOrder(TenantId("nowhere"), None, shares=True)
    with pytest.raises(NotFound):
        ground.site.system(service.set_sharing, order=nowhere)
    for who, tenant in (("gina", "children"), ("carl", "general")):
        problem(look(ground, who, tenant), 403, "not_permitted")
        assert ground.site.api(who).get(f"/tenants/{tenant}/sharing").status_code == 403
    assert made(look(ground, "rita"), 200)["items"]
    for body, fields in (
        ({"reasons": "x", "shares": False}, {"reasons": "field_unknown"}),
        ({"app": None, "shares": None}, {"shares": "missing"}),
        ({"app": None, "reasons": "x"}, {"reasons": "field_unknown"}),
    ):
        refused = problem(share(ground, **body), 422, "sharing_invalid")
        assert codes(refused) == fields
    assert share(ground, app="app_nowhere").status_code == 404
    made(ground.site.api("gina").delete(f"/installations/{ground.installed['general']}"), 200)
    assert hospitals(ground) == [], "an approval that ended is none"
    problem(share(ground), 404, "installation_not_found")
    order = {"tenant": "general", "app": ground.app, "roles": ["nurse"]}
    ground.clock.advance(timedelta(days=1))
    made(ground.site.api("gina").post("/installations", json=order))
    assert hospitals(ground) == [], "the next approval is another one"
    listed = made(ground.site.api("gina").get("/tenants/general/sharing"), 200)["items"]
    assert [(each["app"], each["shares"]) for each in listed] == [(ground.app, True)]


def test_a_hospital_of_synthetic_people_is_no_precedent_for_a_real_one(ground: Ground) -> None:
    """C221, C4."""
    made(share(ground), 200)

    found = look(ground, "rita", "mercy")

    assert found.status_code == 404 or found.json()["items"] == []


def test_an_approval_is_shared_and_inherited_by_pages(ground: Ground) -> None:
    """C221: the page where an app is approved says what another hospital decided, and what is left."""
    site = ground.site
    browser = _enter(site, "gina", "general")
    page = f"/tenant/apps/{ground.app}/share"
    form = form_with(browser.get(page).text, "choice")
    answer = browser.post(page, data=dict(form.fields) | {"choice": "yes", "reasons": SHARED})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/tenant/apps/{ground.app}")
    assert browser.post(page, data=dict(form.fields) | {"choice": "perhaps"}).status_code == 422
    assert SHARED in browser.get(page).text
    made(site.api("carl").delete(f"/installations/{ground.installed['children']}"), 200)

    shown_page = unescape(_enter(site, "carl", "children").get(f"/tenant/apps/{ground.app}/approve").text)

    assert "General approved it" in shown_page
    assert SHARED in shown_page
    assert "gina" not in shown_page.lower()
    settings = browser.get("/tenant/settings")
    general = form_with(settings.text, "sharing")
    sent = browser.post("/tenant/settings", data=dict(general.fields) | {"act": "sharing", "sharing": "yes"})
    assert sent.status_code == 303
    assert made(site.api("gina").get("/tenants/general/sharing"), 200)["items"][0]["app"] == "*"


def _enter(site: ControlSite, username: str, tenant: str) -> Any:
    return site.signed_in(username, f"/t/{tenant}/signin?then=/tenant")


def test_the_signed_evidence_comes_with_what_is_shared(world: World) -> None:
    """C221: the run that was certified, by its digest and signature, and only where somebody shares."""
    reviewed = in_order(world)
    site = reviewed.site
    signs(site, "rita", "technical")
    origin = f"https://acme.example:{world.hosts['acme.example'].port}"
    addresses = {"redirect_uris": [f"{origin}/cb"], "launch_url": f"{origin}/launch"}
    body = client_body(reviewed.app, reviewed.version, scope="launch user/Slot.rs", **addresses)
    client = made(site.api("acme.owner").post("/clients", json=body))["id"]
    run = passed(reviewed, client, *shown_calls(reviewed))
    made(decide(reviewed, submitted(reviewed, world, environment="sandbox")), 200)
    order = {"tenant": "general", "app": reviewed.app, "roles": ["physician"]}
    made(site.api("gina").post("/installations", json=order))
    query = {"app": reviewed.app}
    assert made(site.api("carl").get("/tenants/children/precedents", params=query), 200) == {
        "items": [],
        "evidence": None,
    }
    made(site.api("gina").put("/tenants/general/sharing", json=query | {"shares": True}), 200)

    found = made(site.api("carl").get("/tenants/children/precedents", params=query), 200)

    evidence = found["evidence"]
    assert evidence["run"] == run
    assert {each["outcome"] for each in evidence["scenarios"]} == {"met"}
    assert all((evidence["result"], evidence["kid"], evidence["signature"]))
    assert [each["hospital"] for each in found["items"]] == ["General"]
