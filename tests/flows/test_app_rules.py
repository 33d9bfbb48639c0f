"""A vendor reads by which entry of the policy its versions are judged, whole, out of the policy that judges them (C181)."""

import json
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.signin.policy import actor_of
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ApplyOrder, Tier
from hilum.policy.matrix.policy import flat
from hilum.policy.matrix.shipped import shipped_book
from hilum.review.submissions import service as review
from hilum.review.submissions.models import MADE_HERE
from hilum.surfaces.console.parts.entry_words import _WORDS as WORDS
from tests.flows.console_review_ground import check, enter_vendor
from tests.flows.control_site import TRACE, build, problem
from tests.flows.policy_ground import add, put_in_force
from tests.flows.review_ground import Ground, furnish
from tests.flows.review_world import checks_of
from tests.flows.vendor_ground import certified, furnish_vendor, made
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import document

LOW = "categories.scheduling.entries.low"


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    site = build(sqlite_uow, clock)
    site.system(policies.adopt_shipped)
    return furnish(site)


def rules(ground: Ground, who: str = "acme.developer") -> Any:
    return made(ground.site.api(who).get(f"/apps/{ground.app}/rules"), 200)


def entry(found: Any, tier: str = "low") -> Any:
    return next(each for each in found["entries"] if each["tier"] == tier)


def used(found: Any) -> list[tuple[str, str]]:
    (version,) = found["versions"]
    return [(each["authentication"], each["tier"]) for each in version["ways"] if each["used"]]


def test_a_vendor_reads_the_entry_that_judges_its_version_and_what_its_workflow_expands_into(
    ground: Ground,
) -> None:
    """C181."""
    agreements = {
        f"categories.scheduling.entries.{tier}.agreements": ["data_sharing"] for tier in ("low", "moderate")
    }
    put_in_force(ground.site, agreements | {f"{LOW}.quota": {"rate_per_s": 3, "burst": 17}})

    found = rules(ground)

    assert (found["category"], used(found)) == ("scheduling", [("client_secret_basic", "low")])
    assert found["versions"][0]["scopes_of"] == "clients"
    low = entry(found)
    assert low["versions"] == [ground.version]
    assert (low["rules"]["agreements"], low["rules"]["quota"]["burst"]) == (["data_sharing"], 17)
    (flow,) = [each for each in found["workflows"] if each["name"] == "appointments"]
    assert flow["scopes"] == document()["workflows"]["appointments"]["scopes"]
    assert (flow["versions"], "low" in flow["tiers"]) == ([ground.version], True)


def test_what_a_submission_is_refused_for_is_what_the_entry_was_said_to_ask_for(ground: Ground) -> None:
    """C181: one policy says it and judges by it: the documents and proofs that are missing are those of the entry."""
    everything = ["automated_checks", *sorted(set(document()["evidence"]) - {"automated_checks"})]
    put_in_force(
        ground.site,
        {f"categories.scheduling.entries.{tier}.evidence": everything for tier in ("low", "moderate")},
    )
    asked = set(entry(rules(ground))["rules"]["evidence"]) - MADE_HERE

    refused = problem(ground.submit(), 422, "submission_incomplete")

    missing = {name for name in refused["fields"] if name.startswith("documents.")}
    assert asked
    assert missing == {f"documents.{each}" for each in asked}


def test_what_is_submitted_judges_a_version_and_after_it_what_was_certified(ground: Ground) -> None:
    wider = [{"scope": "user/Appointment.cruds", "justification": "Books."}]
    draft = made(ground.submit(scopes=wider, draft=True))
    found = rules(ground)
    assert (found["versions"][0]["scopes_of"], used(found)) == (
        "open_submission",
        [("client_secret_basic", "moderate")],
    )
    assert (entry(found)["versions"], entry(found, "moderate")["versions"]) == ([], [ground.version])

    body = {"revision": draft["revision"], "reason": "Not now."}
    made(ground.site.api("acme.developer").post(f"/submissions/{draft['id']}/withdraw", json=body), 200)
    assert rules(ground)["clients"][0]["tier"] is None
    certified(ground.site, ground.version, ["launch", "user/Slot.rs"])

    found = rules(ground)
    assert (found["versions"][0]["scopes_of"], used(found)) == (
        "certification",
        [("client_secret_basic", "low")],
    )
    assert (found["clients"][0]["tier"], entry(found)["clients"]) == ("low", [ground.client])


def test_what_is_only_observed_is_shown_with_what_holds_until_its_day(ground: Ground) -> None:
    until = (ground.site.clock.now() + timedelta(days=10)).date().isoformat()
    put_in_force(ground.site, {f"{LOW}.quota.burst": 3, f"{LOW}.observe": {"until": until}})

    low = entry(rules(ground))

    before = shipped_book().categories["scheduling"].entries[Tier.LOW].quota.burst
    assert (low["rules"]["quota"]["burst"], low["until"]) == (3, until)
    assert low["still"] == [{"path": "quota.burst", "value": str(before)}]
    ground.site.clock.advance(timedelta(days=10))
    low = entry(rules(ground))
    assert (low["until"], low["still"]) == (None, [])


def test_where_another_book_is_tried_is_not_disclosed(ground: Ground) -> None:
    """C181: the rules of an app are those that are in force everywhere."""
    before = rules(ground)
    site = ground.site
    number, last = add(site, {f"{LOW}.quota.burst": 5}), site.system(policies.in_force).last
    order = ApplyOrder(number, (TenantId("general"),), last, "A drill.")
    site.system(policies._applied, order=order, agreed_by="staff:sam")

    assert site.system(policies.in_force).at
    assert rules(ground) == before
    assert "general" not in json.dumps(before)


def test_nobody_but_its_members_and_the_staff_read_an_apps_rules(ground: Ground) -> None:
    site, path = ground.site, f"/apps/{ground.app}/rules"
    furnish_vendor(site, "Bolt Health", "bolt")

    for who in ("acme.owner", "acme.billing", "acme.security", "rita", "root"):
        assert rules(ground, who) == rules(ground), who
    problem(site.api("bolt.owner").get(path), 404, "app_not_found")
    problem(site.api("acme.owner").get("/apps/app_0/rules"), 404, "app_not_found")
    assert site.api("gina").get(path).status_code == 403
    # A hospital's administrator may read the app itself, so the route must not be all that keeps its rules.
    with pytest.raises(NotFound):
        site.uow.read_now(
            partial(review.view_rules, app_id=AppId(ground.app)),
            actor=actor_of(site.people["gina"]),
            trace=TRACE,
        )
    assert site.browser().get(f"/api/v1{path}").status_code == 401


def test_the_page_says_every_rule_of_the_entry_in_words(ground: Ground) -> None:
    """C181, C183."""
    browser = enter_vendor(ground, "acme.developer", ground.vendor)

    text = unescape(browser.get(f"/developer/apps/{ground.app}/rules").text)

    for path, _ in flat(entry(rules(ground))["rules"]):
        assert WORDS[path] in text, path
    for scope in document()["workflows"]["appointments"]["scopes"]:
        assert scope in text
    assert "judges version 1" in text


def test_no_check_of_a_submission_names_a_command_that_refuses_its_vendor(ground: Ground) -> None:
    sent = made(ground.submit())["id"]
    check(ground, sent)

    commands = {each["reproduction"] for each in checks_of(ground, sent, "acme.developer")["checks"]}

    assert "hilum app rules APP" in commands
    assert not [each for each in commands if each.startswith("hilum policy")]
