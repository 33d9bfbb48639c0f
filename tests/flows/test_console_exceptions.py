"""Exceptions on a hospital's pages (C19, C23)."""

from datetime import timedelta

from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.console_ground import enter_hospital
from tests.flows.control_site import ControlSite, send
from tests.flows.exception_ground import ALONE, autonomy, declare, exceptions, site, versions_of
from tests.flows.vendor_ground import made
from tests.sim.browser import form_with

__all__ = ["site"]


def test_an_ais_writes_are_ended_by_page_by_one_of_the_hospital(site: ControlSite) -> None:
    """C23: with a reason, at once; another hospital sees nothing of it, and what is everywhere is the staff's to end."""
    gary = NewPerson(TenantId("general"), "gary", "Gary", "administrator")
    site.people["gary"] = site.system(identity.add_person, order=gary)
    site.clock.advance(timedelta(days=8))
    app, _ = versions_of(site)
    version = made(declare(site, app, **ALONE))["id"]
    waits = autonomy(site, version, ends_at=(site.clock.now() + timedelta(days=5)).isoformat())
    made(site.api("gary").post(f"/approvals/{waits.json()['approval']['id']}/approve"), 200)
    found = exceptions(site, "gina")[0]["id"]
    page, gina = f"/tenant/exceptions/{found}", enter_hospital(site, "gina")
    assert f'href="{page}"' in gina.get("/tenant/exceptions").text
    listed = gina.get(f"/tenant/apps/{app}").text
    assert (f'href="{page}"' in listed, "writes alone" in listed) == (True, True)
    assert site.people["gary"].name in gina.get(page).text

    for reason in ("", " ", "x" * 501):
        assert send(gina, page, "reason", reason=reason).status_code == 422
    assert gina.post(page, data={"reason": "No token"}).status_code == 403
    assert enter_hospital(site, "mary", "mercy").get(page).status_code == 404
    assert enter_hospital(site, "ann").get(page).status_code == 403
    form = dict(form_with(gina.get(page).text, "reason").fields)
    assert send(gina, page, "reason", reason="Enough of it.").status_code == 303

    after = gina.get(page).text
    assert ("Ended early" in after, 'name="reason"' in after) == (True, False)
    assert gina.post(page, data=form | {"reason": "Again."}).status_code == 409
    events = site.system(audit.list_events, query=EventQuery(action="policies.exception.end", limit=5)).events
    assert [(each.actor, each.event.facts["reason"]) for each in events] == [
        (f"person:{site.people['gina'].id}", "Enough of it.")
    ]
