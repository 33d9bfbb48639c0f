"""A vendor edits what it says of an app: a description at once, name and purpose of a certified app when a reviewer agrees (C12)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.foundation.kernel.ids import AppId, ClientId
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.app_edit_ground import WRITTEN, app, certify, edit, shown
from tests.flows.control_site import ControlSite, codes, problem
from tests.flows.vendor_ground import ROLES, client_body, furnish_vendor, made
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

__all__ = ["app"]


@pytest.mark.parametrize("environment", ["", "sandbox"])
def test_before_it_is_certified_for_production_every_text_changes_at_once(
    site: ControlSite, app: str, environment: str
) -> None:
    if environment:
        certify(site, app, environment)

    after = made(edit(site, app, name="Bed Notes", description="Writes notes.", purpose="Planning"), 200)

    assert (after["name"], after["description"], after["purpose"]) == (
        "Bed Notes",
        "Writes notes.",
        "Planning",
    )
    assert made(site.api("rita").get("/app-edits"), 200)["items"] == []


def test_a_typo_in_a_description_changes_at_once_and_a_purpose_waits(site: ControlSite, app: str) -> None:
    """C12: one edit with both is parted."""
    certify(site, app)
    before = shown(site, app)

    asked = made(edit(site, app, description="Writes notes.", name="Bed Notes", purpose="Research"), 202)

    now = shown(site, app)
    assert now | {"description": "", "revision": ""} == before | {"description": "", "revision": ""}
    assert now["description"] == "Writes notes."
    assert asked["order"] == {"name": "Bed Notes", "purpose": "Research"}
    assert asked["before"] == {"name": "Ward Notes", "purpose": "Documentation"}

    agreed = made(site.api("rita").post(f"/app-edits/{asked['id']}/approve"), 200)

    now = shown(site, app)
    assert (agreed["state"], now["name"], now["purpose"]) == ("applied", "Bed Notes", "Research")
    assert now["purpose_since"] is not None
    again = site.api("rita").post(f"/app-edits/{asked['id']}/approve")
    problem(again, 409, "edit_decided")


def test_an_edit_is_judged_again_when_it_is_approved(site: ControlSite, app: str) -> None:
    """C212: the name that it asks for was free then, and is another vendor's now."""
    certify(site, app)
    asked = made(edit(site, app, name="Bed Notes"), 202)
    furnish_vendor(site, "Bed Notes", "bed")

    answer = site.api("rita").post(f"/app-edits/{asked['id']}/approve")

    assert codes(problem(answer, 422, "app_invalid")) == {"name": "name_imitates_another"}
    assert shown(site, app)["name"] == "Ward Notes"


def test_an_approved_name_is_reserved_and_its_approval_is_on_record(site: ControlSite, app: str) -> None:
    """C212."""
    certify(site, app)
    asked = made(edit(site, app, name="Bed Notes"), 202)
    made(site.api("rita").post(f"/app-edits/{asked['id']}/approve"), 200)
    zen = furnish_vendor(site, "Zenith Care", "zen")

    answer = site.api("zen.owner").post("/apps", json=WRITTEN | {"vendor": zen, "name": "Bed Notes"})

    assert codes(problem(answer, 422, "app_invalid")) == {"name": "name_imitates_another"}
    (event,) = site.system(audit.list_events, query=EventQuery(action="registry.edit.approve")).events
    assert (event.event.app, event.event.facts["edit"]) == (app, asked["id"])


def test_a_description_that_changed_meanwhile_is_no_obstacle_and_another_name_is(
    site: ControlSite, app: str
) -> None:
    certify(site, app)
    asked = made(edit(site, app, name="Bed Notes"), 202)
    made(edit(site, app, description="Writes notes, well."), 200)
    stale = site.api("acme.owner").patch(f"/apps/{app}", json={"revision": "0" * 32, "purpose": "Research"})
    problem(edit(site, app, purpose="Research"), 409, "edit_waits")

    sides = problem(stale, 409, "changed_since_read")["detail"]

    assert "The purpose is 'Documentation', and your edit says 'Research'." in sides
    made(site.api("rita").post(f"/app-edits/{asked['id']}/approve"), 200)
    assert shown(site, app)["name"] == "Bed Notes"


def test_of_two_edits_of_one_revision_the_second_is_refused_with_both_sides(
    site: ControlSite, app: str
) -> None:
    revision = shown(site, app)["revision"]
    path, developer = f"/apps/{app}", site.api("acme.developer")
    made(developer.patch(path, json={"revision": revision, "description": "First."}), 200)

    second = developer.patch(path, json={"revision": revision, "description": "Second " + "x" * 500})

    sides = problem(second, 409, "changed_since_read")["detail"]
    assert "The description is 'First.', and your edit says 'Second xxx" in sides
    assert len(sides) < 400
    assert shown(site, app)["description"] == "First."


@pytest.mark.parametrize("by", ["rita", "acme.owner", "root"])
def test_a_refused_or_withdrawn_edit_changes_nothing(site: ControlSite, app: str, by: str) -> None:
    certify(site, app)
    asked = made(edit(site, app, purpose="Research"), 202)
    path = f"/app-edits/{asked['id']}/refuse"
    assert codes(problem(site.api(by).post(path, json={"reason": " "}), 422, "reason_invalid"))

    refused = made(site.api(by).post(path, json={"reason": "broader than its workflows"}), 200)

    assert refused["state"] == "refused"
    assert shown(site, app)["purpose"] == "Documentation"
    problem(site.api("rita").post(f"/app-edits/{asked['id']}/approve"), 409, "edit_decided")
    assert edit(site, app, purpose="Planning").status_code == 202


def test_an_edit_of_the_vendor_before_is_not_approved_for_the_new_one(site: ControlSite, app: str) -> None:
    """C14"""
    certify(site, app)
    asked = made(edit(site, app, purpose="Research"), 202)
    to = furnish_vendor(site, "Zenith Care", "zen")
    made(site.api("acme.owner").post(f"/apps/{app}/transfer", json={"to": to}), 201)
    assert site.api("zen.owner").post(f"/apps/{app}/transfer/accept").status_code < 300

    answer = site.api("rita").post(f"/app-edits/{asked['id']}/approve")

    problem(answer, 409, "target_changed")
    problem(site.api("zen.owner").get(f"/app-edits/{asked['id']}"), 404, "edit_not_found")
    assert shown(site, app)["purpose"] == "Documentation"


@in_one_world(
    ("texts", "fault"),
    [
        ({"description": "<script>alert(1)</script>"}, {"description": "html_in_text"}),
        ({"purpose": "<img src=x onerror=alert(1)>"}, {"purpose": "html_in_text"}),
        ({"name": "Notes</title>"}, {"name": "html_in_text"}),
        ({"name": "Notes &lt;b&gt;"}, {"name": "html_in_text"}),
        ({"description": "see javascript:alert(1)"}, {"description": "html_in_text"}),
        ({"name": " "}, {"name": "name_missing"}),
        ({"purpose": ""}, {"purpose": "purpose_missing"}),
        ({"description": " \n "}, {"description": "description_missing"}),
        ({"name": "Zen\u200bith"}, {"name": "name_characters"}),
        ({"name": "Zenith Care"}, {"name": "name_imitates_another"}),
    ],
)
def test_markup_and_imitations_are_refused_and_nothing_changes(
    site: ControlSite, app: str, texts: dict[str, str], fault: dict[str, str]
) -> None:
    furnish_vendor(site, "Zenith Care", "zen")
    before = shown(site, app)

    answer = edit(site, app, **texts)

    assert codes(problem(answer, 422, "app_invalid")) == fault
    assert shown(site, app) == before


@pytest.mark.parametrize("role", ROLES)
def test_owners_and_developers_edit_and_another_vendors_app_is_absent(
    site: ControlSite, app: str, role: str
) -> None:
    """C8"""
    furnish_vendor(site, "Zenith Care", "zen")
    certify(site, app)
    asked = made(edit(site, app, purpose="Research"), 202)
    ours = edit(site, app, f"acme.{role}", description=f"By {role}.")
    theirs = edit(site, app, f"zen.{role}", description=f"By {role}.")

    if role in {"owner", "developer"}:
        assert ours.status_code == 200
        problem(theirs, 404, "app_not_found")
    else:
        problem(ours, 403, "not_permitted")
        problem(theirs, 403, "not_permitted")
    assert [each["id"] for each in made(site.api(f"acme.{role}").get("/app-edits"), 200)["items"]] == [
        asked["id"]
    ]
    assert made(site.api(f"zen.{role}").get("/app-edits"), 200)["items"] == []
    problem(site.api(f"zen.{role}").get(f"/app-edits/{asked['id']}"), 404, "edit_not_found")
    problem(site.api(f"acme.{role}").post(f"/app-edits/{asked['id']}/approve"), 403, "not_permitted")
    for username in ("gina", "ann"):
        problem(site.api(username).get("/app-edits"), 403, "not_permitted")
    problem(site.api("root").post(f"/app-edits/{asked['id']}/approve"), 403, "not_permitted")


def test_people_are_asked_again_when_the_purpose_changes_and_not_for_a_typo(
    site: ControlSite, app: str, clock: FakeClock
) -> None:
    """Purpose is an input of consent: agreements of before it was changed count no more."""
    version = made(site.api("acme.owner").post(f"/apps/{app}/versions", json={"label": "1.0"}))["id"]
    client = made(
        site.api("acme.owner").post("/clients", json=client_body(app, version, scope="user/Appointment.rs"))
    )["id"]

    def since() -> Any:
        return site.system(clients.client_facts, client_id=ClientId(client)).consented_since

    made(edit(site, app, description="Writes notes.", name="Bed Notes"), 200)
    typo = since()
    clock.advance(timedelta(hours=1))
    made(edit(site, app, purpose="Planning"), 200)

    assert typo is None
    assert since() == clock.now()
    assert site.system(registry.get_app, app_id=AppId(app)).purpose_since == clock.now()
