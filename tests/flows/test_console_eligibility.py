"""What the staff do about one app by page: tiers, rules set aside, suspension, asking again; and an AI that a hospital lets write (C19, C23, C90, C207)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppState
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from tests.flows.console_ground import agree, enter_hospital
from tests.flows.control_site import ControlSite, everybodys_digest, send
from tests.flows.exception_ground import ALONE, declare, exceptions, site, versions_of
from tests.flows.policy_ground import put_in_force
from tests.flows.vendor_ground import made

__all__ = ["site"]
CONTROL = "A nurse looks at each list."


@pytest.fixture
def aged(site: ControlSite) -> ControlSite:
    """Everybody's account is old enough for one of two."""
    gary = NewPerson(TenantId("general"), "gary", "Gary", "administrator")
    person = site.people["gary"] = site.system(identity.add_person, order=gary)
    site.system(signin.set_password, person_id=person.id, digest=everybodys_digest())
    site.clock.advance(timedelta(days=8))
    return site


def day(site: ControlSite, days: int) -> str:
    return f"{site.clock.now() + timedelta(days=days):%Y-%m-%d}"


def test_a_reviewer_raises_a_tier_by_page_and_another_ends_it(aged: ControlSite) -> None:
    """C19: at once; whoever raised it does not end it, and nobody else may."""
    app, version = versions_of(aged)
    rita, page = aged.signed_in("rita"), f"/operations/apps/{app}/eligibility"
    assert f'href="{page}"' in rita.get(f"/operations/apps/{app}").text
    order = {"act": "raised_tier", "version": version, "tier": "high", "reason": "It suggests doses."}
    for wrong, status in (
        ({"reason": " "}, 422),
        ({"tier": "low"}, 422),
        ({"tier": "none"}, 422),
        ({"version": "ver_none"}, 404),
        ({"act": "certify"}, 422),
    ):
        assert send(rita, page, "tier", **(order | wrong)).status_code == status, wrong
    csrf = send_csrf(rita, page)
    for act in ("suspend", "lowered_tier", "waived_requirement"):
        refused = {
            "act": act,
            "requirement": "low.evidence.x",
            "control": CONTROL,
            "ends_at": day(aged, 5),
            "csrf": csrf,
        }
        assert rita.post(page, data=order | refused).status_code == 403, act

    assert send(rita, page, "tier", **order).status_code == 303

    [raised] = exceptions(aged)
    assert (raised["kind"], raised["version"]) == ("raised_tier", version)
    assert "It suggests doses." in rita.get(page).text
    ends = f"/operations/policy/exceptions/{raised['id']}"
    assert f'href="{ends}"' in rita.get(page).text
    csrf = send_csrf(rita, ends)
    own = rita.post(ends, data={"csrf": csrf, "reason": "They are gone."})
    assert (own.status_code, "a colleague must end it" in own.text) == (403, True)
    vendor = aged.system(registry.get_app, app_id=AppId(app)).vendor
    made(
        aged.api("rita").post("/conflicts-of-interest", json={"vendor": vendor, "reason": "I worked there."})
    )
    tied = rita.post(ends, data={"csrf": csrf, "reason": "They are gone."})
    assert (tied.status_code, "a conflict of interest with this vendor" in tied.text) == (403, True)
    assert 'name="reason"' not in aged.signed_in("root").get(ends).text
    assert aged.signed_in("otto").get(page).status_code == 403
    assert "eligibility" not in aged.signed_in("otto").get(f"/operations/apps/{app}").text


def send_csrf(browser: Any, page: str) -> str:
    return str(browser.get(page).text.partition('name="csrf" value="')[2].partition('"')[0])


def test_a_tier_is_lowered_by_two_and_an_app_is_suspended_by_one(aged: ControlSite) -> None:
    """C19, C90: with a day and what is done instead; a suspension says what it stops."""
    app, version = versions_of(aged)
    root, page = aged.signed_in("root"), f"/operations/apps/{app}/eligibility"
    order = {
        "act": "lowered_tier",
        "version": version,
        "tier": "low",
        "reason": "Certified again by then.",
        "control": CONTROL,
        "ends_at": day(aged, 5),
    }
    for wrong in (
        {"ends_at": ""},
        {"ends_at": "soon"},
        {"ends_at": day(aged, -1)},
        {"control": "x"},
        {"tier": "high"},
    ):
        answer = send(root, page, "control", **(order | wrong))
        assert (answer.status_code, "Nothing was done" in answer.text) == (422, True), wrong
    assert CONTROL in send(root, page, "control", **(order | {"ends_at": ""})).text

    assert agree(aged, send(root, page, "control", **order)).status_code == 303

    assert [each["kind"] for each in exceptions(aged)] == ["lowered_tier"]
    sam = aged.signed_in("sam")
    stop = {"csrf": send_csrf(sam, page), "act": "suspend", "reason": "leaked"}
    assert sam.post(page, data=stop | {"csrf": "none"}).status_code == 403
    assert sam.post(page, data=stop, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert sam.post(page, data=stop | {"act": "ask_again"}).status_code == 303
    assert sam.post(page, data=stop).status_code == 303
    assert state(aged, app) is AppState.SUSPENDED
    assert sam.post(page, data=stop).status_code == 409
    assert "Resume it" in sam.get(page).text
    assert sam.post(page, data=stop | {"act": "resume"}).status_code == 303
    assert state(aged, app) is AppState.ACTIVE


def state(site: ControlSite, app: str) -> AppState:
    found: AppState = site.system(registry.get_app, app_id=AppId(app)).state
    return found


def test_two_administrators_let_an_ai_write_alone_by_page(aged: ControlSite) -> None:
    """C23: only a version that acts alone, with what is done instead, and never by one."""
    app, silent = versions_of(aged)
    gina, page = enter_hospital(aged, "gina"), f"/tenant/apps/{app}/write-alone"
    assert "No AI of it acts alone" in gina.get(page).text
    version = made(declare(aged, app, **ALONE))["id"]
    order = {
        "version": version,
        "reason": "Nights have no second pharmacist.",
        "control": CONTROL,
        "ends_at": day(aged, 5),
    }
    csrf = {"csrf": send_csrf(gina, page)}
    for wrong in (
        {"version": silent},
        {"ends_at": ""},
        {"ends_at": day(aged, 900)},
        {"reason": "x"},
        {"control": ""},
    ):
        answer = gina.post(page, data=csrf | order | wrong)
        assert (answer.status_code, "Nothing was asked for" in answer.text) == (422, True), wrong

    asked = gina.post(page, data=csrf | order)

    waits = asked.headers["location"]
    assert waits.startswith("/tenant/waiting/apr_")
    assert exceptions(aged, "gina") == []
    own = {"csrf": send_csrf(gina, waits), "decision": "approve"}
    assert gina.post(waits, data=own).status_code == 403
    gary = enter_hospital(aged, "gary")
    assert "Notes 4" in gary.get(waits).text
    assert gary.post(waits, data={"csrf": send_csrf(gary, waits), "decision": "approve"}).status_code == 303
    assert [each["kind"] for each in exceptions(aged, "gina")] == ["autonomous_writes"]
    assert enter_hospital(aged, "ann").get(page).status_code == 403


def test_a_requirement_is_waived_by_two(aged: ControlSite) -> None:
    """C207: only what the entries of the app's category ask for is offered."""
    app, _ = versions_of(aged)
    root, page = aged.signed_in("root"), f"/operations/apps/{app}/eligibility"
    assert "sandbox_run" not in root.get(page).text
    put_in_force(aged, {"exceptions.waivable": ["evidence.sandbox_run"]})
    offered = root.get(page).text
    assert ("moderate.evidence.sandbox_run" in offered, "automated_checks" in offered) == (True, False)
    order = {
        "act": "waived_requirement",
        "requirement": "moderate.evidence.sandbox_run",
        "reason": "Certified again by then.",
        "control": CONTROL,
        "ends_at": day(aged, 5),
    }
    for wrong in (
        {"requirement": "moderate.evidence.automated_checks"},
        {"requirement": "x"},
        {"ends_at": ""},
    ):
        assert send(root, page, "requirement", **(order | wrong)).status_code == 422, wrong

    assert agree(aged, send(root, page, "requirement", **order)).status_code == 303

    listed = exceptions(aged)
    assert [(each["requirement"], each["tier"], each["app"]) for each in listed] == [
        ("evidence.sandbox_run", "moderate", app)
    ]


def test_a_certification_is_withdrawn_by_a_reviewer_and_an_app_moved_to_another_category(
    aged: ControlSite,
) -> None:
    """C21: who registers apps withdraws none; a move says what it means, and takes a reason."""
    app, version = versions_of(aged)
    page = f"/operations/apps/{app}/eligibility"
    (certification,) = aged.system(registry.certifications_of, app=AppId(app))
    rita, root = aged.signed_in("rita"), aged.signed_in("root")
    order = {"csrf": send_csrf(rita, page), "act": "withdraw", "certification": certification.id}
    of_root = {"csrf": send_csrf(root, page), "confirm": "yes"}
    assert "Withdraw it" not in root.get(page).text
    assert root.post(page, data=order | of_root).status_code == 403
    assert rita.post(page, data=order).status_code == 422
    assert rita.post(page, data=order | {"confirm": "yes", "certification": "cer_none"}).status_code == 404
    move = {"csrf": of_root["csrf"], "act": "category", "category": "scheduling", "reason": "It books."}
    for wrong in ({"category": "none"}, {"reason": " "}, {"category": "system_client"}):
        assert root.post(page, data=move | wrong).status_code == 422, wrong
    assert category(aged, app) != "scheduling"

    assert rita.post(page, data=order | {"confirm": "yes"}).status_code == 303
    assert root.post(page, data=move).status_code == 303

    (after,) = aged.system(registry.certifications_of, app=AppId(app))
    assert after.withdrawn_at is not None
    assert category(aged, app) == "scheduling"
    assert rita.post(page, data=order | {"confirm": "yes"}).status_code == 409
    assert version in rita.get(page).text


def category(site: ControlSite, app: str) -> str:
    return str(site.system(registry.get_app, app_id=AppId(app)).category)
