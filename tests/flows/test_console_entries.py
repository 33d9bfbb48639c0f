"""The policy is read on a page and changed by a form, entry by entry of category and tier (C179, C208)."""

from functools import partial
from typing import Any

from starlette.testclient import TestClient

from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Tier
from hilum.policy.matrix.shipped import shipped_book
from tests.flows.console_ground import site
from tests.flows.control_site import ControlSite
from tests.sim.browser import form_with

__all__ = ["site"]

ENTRY = "/operations/policy/entries/scheduling.low"
CHANGE = f"{ENTRY}/change"


def change(browser: TestClient, **typed: str) -> Any:
    """Send the form of an entry as it is, but for what was typed."""
    sent: dict[str, list[str]] = {}
    for name, value in form_with(browser.get(CHANGE).text, "note").fields:
        sent.setdefault(name, []).append(value)
    # A text of several lines is none of the fields that are read from a page.
    scopes = "\n".join(shipped_book().categories["scheduling"].entries[Tier.LOW].scopes)
    return browser.post(CHANGE, data={**sent, "scopes": scopes, **typed})


def test_the_policy_is_read_by_category_and_tier_and_an_entry_in_words(site: ControlSite) -> None:
    """By every colleague; only who may add a version is offered the form."""
    sam, root = site.signed_in("sam"), site.signed_in("root")

    table = sam.get("/operations/policy").text
    assert f'href="{ENTRY}"' in table
    assert "reviewed: technical, unless every check passes" in table
    shown = sam.get(ENTRY).text
    assert "Requests a second at each hospital" in shown
    assert CHANGE not in shown
    assert sam.get(CHANGE).status_code == 403
    assert CHANGE in root.get(ENTRY).text
    for unknown in ("scheduling.extreme", "nothing.low", "scheduling"):
        assert root.get(f"/operations/policy/entries/{unknown}").status_code == 404


def test_an_entry_changed_by_its_form_becomes_a_version_that_is_in_force_nowhere(site: ControlSite) -> None:
    root = site.signed_in("root")

    added = change(root, **{"quota.burst": "7", "note": "Fewer at once"})

    assert (added.status_code, added.headers["location"]) == (303, "/operations/policy/versions/2")
    changes, privilege_increases = site.system(partial(policies.compare, before=1, after=2))
    assert [(each.path, each.after) for each in changes] == [
        ("categories.scheduling.entries.low.quota.burst", 7)
    ]
    assert privilege_increases == ()
    fewer = change(root, scopes="user/Slot.rs", note="Only slots")
    assert fewer.headers["location"] == "/operations/policy/versions/3"
    _, privilege_increases = site.system(partial(policies.compare, before=1, after=3))
    assert privilege_increases == (), "what a tier loses, the tiers above lose too"
    assert site.system(policies.in_force).everywhere == 1


def test_what_is_wrong_stands_at_its_field_and_nothing_is_added(site: ControlSite) -> None:
    """What was typed stays; a form from before another version was put in force is refused."""
    root = site.signed_in("root")
    wrong = {
        "quota.burst": "many",
        "lifetimes.access_token": "2 h",
        "scopes": "user/Chart.rs",
        "note": "a try",
    }

    refused = change(root, **wrong)

    assert refused.status_code == 422
    for said in ("whole number", "at most 1 h", 'value="many"'):
        assert said in refused.text
    resource = change(root, scopes="user/Chart.rs", note="a try")
    assert (resource.status_code, "names no resource type" in resource.text) == (422, True)
    assert "Nothing differs" in change(root, note="nothing").text
    assert "what it changes" in change(root, **{"quota.burst": "7", "note": " "}).text
    stale = change(root, **{"after": "0", "quota.burst": "7", "note": "late"})
    assert (stale.status_code, "put in force since" in stale.text) == (409, True)
    assert len(site.system(policies.list_versions)) == 1
    assert ("after", "1") in form_with(root.get(CHANGE).text, "note").fields
