"""Certification runs by pages: a vendor's developers take one from open to result, and nobody else does or learns anything (ADR 85, C120, C126, C183)."""

import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import RunId
from hilum.foundation.standards.browsers import browser_family
from hilum.foundation.web.cookies import SESSION
from hilum.foundation.web.forms import csrf_token
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.review.certification_runs import service, store
from hilum.review.certification_runs.models import Records, Row, State
from hilum.surfaces.console import service as consoles
from tests.flows.console_review_ground import enter_vendor, list_of, open_run
from tests.flows.control_site import build, send
from tests.flows.review_ground import Ground, furnish
from tests.flows.review_world import sandbox_client
from tests.flows.vendor_ground import client_body, furnish_vendor, made
from tests.sim.browser import form_with, forms_of
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return furnish(build(sqlite_uow, clock))


def read(browser: TestClient, page: str, status: int = 200) -> str:
    answer = browser.get(page)
    assert answer.status_code == status, answer.text
    return unescape(answer.text)


def events(ground: Ground, action: str) -> list[Any]:
    found = ground.site.system(audit.list_events, query=EventQuery(action=action, limit=50)).events
    return [each.event for each in found]


def test_a_run_goes_from_open_to_its_signed_result_by_pages_alone(ground: Ground) -> None:
    """C120, C126: what the forms do is what the API does, under the developer's name; what was not shown has what to do about it."""
    browser = enter_vendor(ground, "acme.developer")
    assert "Register a client" in read(browser, list_of(ground)), "an app without a client of the sandbox"
    sandbox_client(ground)
    assert "No run yet" in read(browser, list_of(ground))
    page = open_run(ground, browser)
    assert send(browser, page, "scenario", act="begin", scenario="launch").status_code == 303
    assert 'value="end"' in read(browser, page)
    assert send(browser, page, "scenario", act="begin", scenario="token_expired").status_code == 303
    assert send(browser, page, "scenario", act="end").status_code == 303
    assert 'value="end"' not in read(browser, page)
    assert "Nothing yet" in read(browser, page + "?watch=1")
    watched = send(browser, page + "?watch=1", "scenario", act="begin", scenario="launch")
    assert watched.headers["location"] == page + "?watch=1"

    assert send(browser, page, "act", act="finish").status_code == 303

    shown = read(browser, page)
    assert "incomplete" in shown
    assert "The scenario was never begun." in shown
    assert shown.count("What to do.") == 4
    assert "Signed with the key" in shown
    assert "evidence.scenario.begin" in shown, "the records by which it was judged"
    assert "This sandbox hospital is shared by all vendors." in shown
    assert all(dict(each.submits).get("act") is None for each in forms_of(shown)), "nothing is left to do"
    assert "4 of 4 scenarios not met" in read(browser, list_of(ground))
    done = [events(ground, f"evidence.{each}") for each in ("run.open", "scenario.begin", "scenario.end", "run.finish")]  # fmt: skip
    assert [len(each) for each in done] == [1, 3, 3, 1]


def test_a_person_without_the_right_is_refused_and_another_vendor_learns_nothing(ground: Ground) -> None:
    """C183: members see, owners and developers act, everybody else is nowhere."""
    client = sandbox_client(ground)
    bolt = furnish_vendor(ground.site, "Bolt", "bolt")
    owner = enter_vendor(ground, "acme.owner")
    page = open_run(ground, owner)
    token = dict(form_with(owner.get(page).text, "scenario").fields)["csrf"]
    for role in ("billing", "security"):
        member = enter_vendor(ground, f"acme.{role}")
        for shown in (read(member, list_of(ground)), read(member, page)):
            assert "Version 1" in shown or "version 1" in shown
            assert all(each.method != "post" or "signout" in each.action for each in forms_of(shown)), role
    other = enter_vendor(ground, "bolt.owner", bolt)
    for path in (list_of(ground), page, page + "?watch=1", "/developer/runs/run_nowhere"):
        assert "Acme" not in read(other, path, 404)
        assert other.post(path, data={"csrf": token, "act": "finish"}).status_code in {403, 404}
    assert ground.site.browser().get(page).status_code == 401
    assert owner.post(page, data={"csrf": "x", "act": "abandon"}).status_code == 403
    assert owner.post(page, data={"csrf": token, "act": "sign"}).status_code == 422
    body = {"csrf": token, "act": "begin", "scenario": "kill_switch"}
    assert owner.post(page, data=body).status_code == 404, "the policy does not ask for it"
    assert (
        made(ground.site.api("acme.owner").get(f"/evidence-runs/{page.rpartition('/')[2]}"), 200)["state"]
        == "open"
    )

    theirs = furnish(ground.site, "cord")
    body = client_body(theirs.app, theirs.version, scope="launch user/Slot.rs")
    made(ground.site.api("cord.owner").post("/clients", json=body))
    third = enter_vendor(theirs, "cord.owner")
    for foreign in (client, "cli_nowhere", ""):
        refused = send(third, list_of(theirs), "client", client=foreign, tenant="general")
        assert (refused.status_code, "Choose a client of this app." in refused.text) == (422, True)
        assert "Acme" not in refused.text


def test_a_member_without_the_right_who_sends_the_form_anyway_is_refused_and_recorded(ground: Ground) -> None:
    """The verb judges, not the page: a form that is sent all the same changes nothing."""
    client = sandbox_client(ground)
    page = open_run(ground, enter_vendor(ground, "acme.developer"))
    browser = enter_vendor(ground, "acme.billing")
    tokens = {path: csrf_of(ground, browser, path) for path in (page, list_of(ground))}
    for act in (
        {"act": "begin", "scenario": "launch"},
        {"act": "end"},
        {"act": "finish"},
        {"act": "abandon"},
    ):
        refused = browser.post(page, data={"csrf": tokens[page]} | act)
        assert (refused.status_code, "Nothing was done" in refused.text) == (403, True), act
    refused = browser.post(list_of(ground), data={"csrf": tokens[list_of(ground)], "client": client, "tenant": "children"})  # fmt: skip
    assert (refused.status_code, "Nothing was opened" in refused.text) == (403, True)
    for action in ("run.open", "scenario.begin", "scenario.end", "run.abandon"):
        assert "refused" in {each.outcome.value for each in events(ground, f"evidence.{action}")}, action


def csrf_of(ground: Ground, browser: TestClient, path: str) -> str:
    """Return the token of a page's form for somebody to whom the page shows none."""
    look = partial(consoles.enter, cookie=browser.cookies[SESSION.base], production=False)
    trace = Trace("req_setup", "198.51.100.7", browser=browser_family(browser.headers["user-agent"]))
    visitor = ground.site.uow.read_now(look, trace=trace)
    assert visitor is not None
    key = "developer.runs" if path.endswith("/runs") else "developer.run"
    return csrf_token(visitor.session.csrf, f"console:{key}")


def test_a_run_is_opened_at_a_sandbox_with_a_client_of_it_and_once(ground: Ground) -> None:
    """C120: nothing is made to fail where people are treated; each refusal says why, and keeps what was chosen."""
    client = sandbox_client(ground)
    browser = enter_vendor(ground, "acme.developer")
    form = form_with(browser.get(list_of(ground)).text, "tenant")
    assert sorted(form.choices["tenant"]) == ["children", "general"]
    assert form.choices["client"] == [client]

    for asked, status, said in (
        ({"client": client, "tenant": "mercy"}, 422, "Name a sandbox hospital"),
        ({"client": client, "tenant": "nowhere"}, 422, "Name a sandbox hospital"),
        ({"client": ground.client, "tenant": "general"}, 422, "Name a client of the sandbox"),
    ):
        refused = browser.post(list_of(ground), data=dict(form.fields) | asked)
        assert (refused.status_code, said in refused.text) == (status, True), asked
    assert not events(ground, "evidence.run.open")
    open_run(ground, browser, "children")
    again = send(browser, list_of(ground), "client", client=client, tenant="children")
    assert (again.status_code, "This client has an open run at this hospital" in again.text) == (409, True)
    assert '<option value="children" selected>' in again.text


def test_a_run_past_its_end_is_only_judged_or_given_up(ground: Ground) -> None:
    sandbox_client(ground)
    page = open_run(ground, enter_vendor(ground, "acme.developer"))
    ground.site.clock.advance(timedelta(hours=5))
    browser = enter_vendor(ground, "acme.developer")
    shown = read(browser, page)
    assert "past its end" in shown
    assert 'value="begin"' not in shown
    late = send(browser, page, "act", act="begin", scenario="launch")
    assert (late.status_code, "This run is over" in late.text) == (409, True)
    assert send(browser, page, "act", act="abandon").status_code == 303
    assert "given up" in read(browser, page)
    assert "Have it judged" not in read(browser, page)


def test_long_lists_come_page_by_page_and_nothing_that_an_app_sent_is_markup(ground: Ground) -> None:
    sandbox_client(ground)
    browser = enter_vendor(ground, "acme.developer")
    page = open_run(ground, browser)
    run_id = page.rpartition("/")[2]
    now = ground.site.clock.now()
    rows = tuple(
        Row(now + timedelta(seconds=n), "read", True, "done", status=200, asked=f"Slot/<b>{n:03}</b>")
        for n in range(150)
    )
    ended = ground.site.system(service.finish, run_id=run_id, records=Records(rows))

    first, second = browser.get(page).text, browser.get(page + "?from=100").text
    assert ("Slot/&lt;b&gt;099" in first, "Slot/&lt;b&gt;100" in first) == (True, False)
    assert ("Slot/&lt;b&gt;099" in second, "Slot/&lt;b&gt;149" in second) == (False, True)
    assert "<b>0" not in first
    assert f'href="{page}?from=100#recorded"' in first
    assert browser.get(page + "?from=-1").status_code == 422
    assert "There are no more records." in read(browser, page + "?from=999999")
    for number in range(60):
        other = replace(ended, id=RunId(f"run_0{number:02}"), state=State.ABANDONED)
        ground.site.system(_keep, run=other)
    listed = read(browser, list_of(ground))
    assert listed.count("<tr data-row>") == 50
    following = re.search(rf'href="({list_of(ground)}\?after=[^"]+)"', listed)
    assert following is not None
    assert read(browser, following[1]).count("<tr data-row>") == 11


def _keep(ctx: Any, run: Any) -> None:
    assert store.add(ctx.tx, run)


def test_reviewers_see_the_runs_beside_what_was_submitted_and_a_forged_result_says_so(ground: Ground) -> None:
    """C126: what it did not show, in a sentence; a result that was changed counts for nothing, and its page tells."""
    sandbox_client(ground)
    browser = enter_vendor(ground, "acme.developer")
    page = open_run(ground, browser)
    send(browser, page, "act", act="finish")
    sent = str(made(ground.submit())["id"])
    rita = ground.site.signed_in("rita")

    card = re.search(r'id="sandbox-runs".*?</section>', read(rita, f"/review/submissions/{sent}"), re.DOTALL)

    assert card is not None
    assert "The scenario was never begun." in card[0]
    assert "the one that is submitted" in card[0]
    assert "shared by all vendors" in card[0]
