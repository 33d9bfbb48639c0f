"""What vendors changed waits on a page of review: a logo beside the one before, and who decides gives the reason (C12)."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.flows.app_edit_ground import LOGO, OTHER_LOGO, app, certify, edit, shown
from tests.flows.control_site import ControlSite, problem
from tests.flows.vendor_ground import made
from tests.sim.browser import form_with

__all__ = ["app"]


@pytest.fixture
def before(site: ControlSite, app: str) -> str:
    """The logo of a certified app."""
    digest = str(made(edit(site, app, logo=LOGO), 200)["logo"])
    certify(site, app)
    return digest


@pytest.fixture
def waits(site: ControlSite, app: str, before: str) -> str:
    """An edit of that logo."""
    return str(made(edit(site, app, logo=OTHER_LOGO), 202)["id"])


def decide(browser: TestClient, edit_id: str, headers: dict[str, str] | None = None, /, **values: str) -> Any:
    page = f"/review/changes/{edit_id}"
    form = dict(form_with(browser.get(page).text, "reason").fields)
    return browser.post(page, data=form | values, headers=headers or {})


def test_a_logo_is_shown_beside_the_one_before_and_agreed_to(
    site: ControlSite, app: str, before: str, waits: str
) -> None:
    rita = site.signed_in("rita")
    listed = rita.get("/review/changes").text
    assert "Ward Notes" in listed
    assert f'href="/review/changes/{waits}"' in rita.get("/review/changes").text
    page = rita.get(f"/review/changes/{waits}").text
    assert f"/logos/app/{app}/{before}.png" in page
    assert f"/review/changes/{waits}/logo" in page
    picture = rita.get(f"/review/changes/{waits}/logo")
    assert (picture.headers["content-type"], picture.content[:4]) == ("image/png", b"\x89PNG")
    assert site.browser().get(f"/review/changes/{waits}/logo").status_code == 303

    assert decide(rita, waits, act="approve", reason="A ring of its own").status_code == 303

    assert shown(site, app)["logo"] != before
    after = rita.get(f"/review/changes/{waits}").text
    assert ("A ring of its own" in after, 'name="reason"' in after) == (True, False)
    kept = made(site.api("acme.owner").get(f"/app-edits/{waits}"), 200)
    assert (kept["state"], kept["reason"]) == ("applied", "A ring of its own")
    assert "Nothing waits" in rita.get("/review/changes").text


def test_it_is_refused_with_a_reason_only(site: ControlSite, app: str, before: str, waits: str) -> None:
    rita = site.signed_in("rita")

    for values in ({"act": "refuse"}, {"act": "refuse", "reason": " "}, {"reason": "x"}, {"act": "keep"}):
        assert decide(rita, waits, None, **values).status_code == 422, values
    too_long = decide(rita, waits, act="approve", reason="x" * 5_000)
    assert too_long.status_code == 422
    assert shown(site, app)["logo"] == before
    assert decide(rita, waits, act="refuse", reason="People take it for Ward Notes.").status_code == 303

    form = {"csrf": "none", "act": "approve"}
    assert rita.post(f"/review/changes/{waits}", data=form).status_code == 403
    assert shown(site, app)["logo"] == before


def test_what_a_colleague_decided_meanwhile_is_not_decided_again(
    site: ControlSite, app: str, before: str, waits: str
) -> None:
    rita = site.signed_in("rita")
    form = dict(form_with(rita.get(f"/review/changes/{waits}").text, "reason").fields)
    made(site.api("rita").post(f"/app-edits/{waits}/refuse", json={"reason": "Too alike."}), 200)

    late = rita.post(f"/review/changes/{waits}", data=form | {"act": "approve"})

    assert (late.status_code, "decided already" in late.text) == (409, True)
    assert shown(site, app)["logo"] == before


def test_who_may_not_decide_sees_no_form_and_is_refused(
    site: ControlSite, app: str, before: str, waits: str
) -> None:
    """As at the API: reviewers agree, platform administrators only refuse, and a form from elsewhere does nothing."""
    for username in ("sam", "otto"):
        browser = site.signed_in(username)
        page = browser.get(f"/review/changes/{waits}").text
        assert ("A reviewer decides." in page, 'name="act"' in page) == (True, False)
    root = site.signed_in("root")
    assert 'value="approve"' not in root.get(f"/review/changes/{waits}").text
    assert decide(root, waits, act="approve").status_code == 403
    cross = decide(site.signed_in("rita"), waits, {"sec-fetch-site": "cross-site"}, act="approve")
    assert cross.status_code == 403
    assert shown(site, app)["logo"] == before
    assert site.signed_in("rita").get("/review/changes/aed_none").status_code == 404
    assert site.signed_in("rita").get("/review/changes/chg_none").status_code == 404
    assert site.signed_in("rita").get("/review/changes?kind=clients").status_code == 200


def test_who_is_tied_to_the_vendor_agrees_to_no_change_of_it(
    site: ControlSite, app: str, before: str, waits: str
) -> None:
    """C101: neither on the page nor at the API; refusing takes nothing for the vendor."""
    vendor = made(site.api("rita").get(f"/app-edits/{waits}"), 200)["vendor"]
    made(
        site.api("rita").post("/conflicts-of-interest", json={"vendor": vendor, "reason": "I worked there."})
    )
    rita = site.signed_in("rita")

    page = rita.get(f"/review/changes/{waits}").text

    assert ("a colleague must agree" in page, 'value="approve"' in page) == (True, False)
    assert decide(rita, waits, act="approve").status_code == 403
    problem(site.api("rita").post(f"/app-edits/{waits}/approve"), 403, "conflict_of_interest")
    assert shown(site, app)["logo"] == before
    assert decide(rita, waits, act="refuse", reason="Not for me to judge.").status_code == 303
