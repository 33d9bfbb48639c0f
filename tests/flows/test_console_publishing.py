"""A policy is added and put in force by pages: checked with the place of each fault, compared, first at some hospitals (C208, C218)."""

from functools import partial
from pathlib import Path
from typing import Any

import orjson

from hilum.policy.matrix import service as policies
from hilum.policy.matrix import shipped
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.console_ground import site, wider
from tests.flows.control_site import ControlSite, send
from tests.sim.browser import form_with
from tests.sim.one_world import in_one_world

__all__ = ["site"]

NEW = "/operations/policy/new"
TOML = (Path(shipped.__file__).parent / "data" / "book.toml").read_text()


def versions(site: ControlSite) -> int:
    return len(site.system(policies.list_versions))


def test_a_policy_is_downloaded_changed_compared_and_added(site: ControlSite) -> None:
    """It is in force nowhere by that; the audit names who added it."""
    root = site.signed_in("root")
    assert f'href="{NEW}"' in root.get("/operations/policy").text
    download = root.get("/operations/policy/versions/1?format=json")
    made = download.json()
    assert made["made_from"] == {"version": 1, "after": 1}
    assert "attachment" in download.headers["content-disposition"]
    text = orjson.dumps(wider(site) | {"made_from": made["made_from"]}).decode()

    checked = send(root, NEW, "note", act="check", document=text)

    assert (checked.status_code, "It allows something new" in checked.text) == (200, True)
    assert "categories.scheduling.entries.low.quota.rate_per_s" in checked.text
    assert versions(site) == 1
    without = send(root, NEW, "note", act="add", document=text, note=" ")
    assert (without.status_code, versions(site)) == (422, 1)
    assert "rate_per_s" in without.text, "what was pasted is still there"
    added = send(root, NEW, "note", act="add", document=text, note="More <b>calls</b>")
    assert (added.status_code, added.headers["location"]) == (303, "/operations/policy/versions/2")
    assert site.system(policies.in_force).everywhere == 1
    assert "More &lt;b&gt;calls" in root.get("/operations/policy/versions/2").text
    events = site.system(partial(audit.list_events, query=EventQuery(action="policies.version.add", limit=1)))
    assert events.events[0].actor == f"staff:{site.people['root'].id}"


def test_a_file_counts_before_what_was_pasted(site: ControlSite) -> None:
    root = site.signed_in("root")
    form = dict(form_with(root.get(NEW).text, "note").fields) | {"act": "check", "document": "nonsense"}

    same = root.post(NEW, data=form, files={"book": ("book.toml", TOML.encode())})

    assert (same.status_code, "It is valid" in same.text) == (200, True)
    latin = root.post(NEW, data=form, files={"book": ("book.toml", "title = 'Größe'".encode("latin-1"))})
    assert (latin.status_code, "not UTF-8 text" in latin.text) == (422, True)


@in_one_world(
    ("document", "said"),
    [
        ("", "Choose a file"),
        ('{"format": 2', "neither TOML nor JSON"),
        ("format = 2\n= 3", "line 2"),
        (f"a = {'[' * 20_000}", "too deeply"),
        (f"a = {'9' * 5_000}", "neither TOML nor JSON"),
        (f"{'a.' * 20_000}a = 1", "more than 500 dots"),
        ('{"format": 99}', "<code>format</code>"),
        (TOML.replace("rate_per_s = ", "rate_per_s = -"), "quota.rate_per_s</code>"),
        ('{"made_from": {"version": "x", "after": 1}}', "both are numbers"),
        ('{"made_from": {"version": 9, "after": 1}, "format": 2}', "<code>title</code>"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_nothing_is_added(
    site: ControlSite, document: str, said: str
) -> None:
    answer = send(site.signed_in("root"), NEW, "note", act="add", document=document, note="a try")

    assert (answer.status_code, versions(site)) == (422, 1)
    assert said in answer.text


def test_a_policy_made_before_others_were_put_in_force_waits_until_its_author_looked(
    site: ControlSite,
) -> None:
    """As `hilum policy publish` refuses it, unless --after names what was looked at."""
    root = site.signed_in("root")
    text = orjson.dumps(wider(site) | {"made_from": {"version": 1, "after": 0}}).decode()

    stale = send(root, NEW, "note", act="add", document=text, note="late")

    assert (stale.status_code, versions(site)) == (409, 1)
    assert 'name="seen" value="1"' in stale.text
    assert send(root, NEW, "note", act="add", document=text, note="late", seen="0").status_code == 409
    done = send(root, NEW, "note", act="add", document=text, note="late", seen="1")
    assert (done.status_code, versions(site)) == (303, 2)


def test_only_a_platform_administrator_adds_or_applies_and_only_from_the_page(site: ControlSite) -> None:
    text = orjson.dumps(wider(site)).decode()
    pages = (NEW, "/operations/policy/versions/1/apply")
    for username in ("sam", "rita", "otto"):
        browser = site.signed_in(username)
        for page in pages:
            assert browser.get(page).status_code == 403
            assert browser.post(page, data={"act": "add", "document": text}).status_code == 403
        assert f'href="{NEW}"' not in browser.get("/operations/policy").text
        assert "/apply" not in browser.get("/operations/policy/versions/1").text
    root = site.signed_in("root")
    for page in pages:
        form = dict(form_with(root.get(page).text, "after").fields) | {"act": "add", "document": text}
        elsewhere = root.post(page, data=form, headers={"sec-fetch-site": "cross-site"})
        assert elsewhere.status_code == 403
        assert root.post(page, data=form | {"csrf": "none"}).status_code == 403
    assert root.post(NEW, data={"act": "add"}).status_code == 403
    assert versions(site) == 1


def added(site: ControlSite, document: Any) -> int:
    return int(site.system(policies.add_version, document=document, base=1, note="").number)


def test_only_what_allows_nothing_new_skips_the_dry_run_in_an_emergency(site: ControlSite) -> None:
    root = site.signed_in("root")
    narrower = wider(site)
    narrower["categories"]["scheduling"]["entries"]["low"]["quota"]["rate_per_s"] = 0.5
    order = {"act": "apply", "where": "everywhere", "reason": "an attack", "emergency": "yes"}
    wide, narrow = added(site, wider(site)), added(site, narrower)

    refused = send(root, f"/operations/policy/versions/{wide}/apply", "where", **order)
    silent = send(root, f"/operations/policy/versions/{narrow}/apply", "where", **(order | {"reason": ""}))
    done = send(root, f"/operations/policy/versions/{narrow}/apply", "where", **order)

    assert (refused.status_code, silent.status_code, done.status_code) == (409, 422, 303)
    assert site.system(policies.in_force).everywhere == narrow
    assert "Go back to the version before" in root.get("/operations/policy").text
