"""One's own sessions and API tokens, and acts that take a fresh second factor (C57; security decisions 8, 24 and 25)."""

import re
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.enrolment import service as enrolment
from hilum.identity.enrolment.models import LinkMail
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.control_site import PASSWORD, ControlSite, build, problem
from tests.flows.second_factor_ground import NEXT_STEP, Owner, password, send, session_of
from tests.sim.browser import form_with
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

NOBODY = {"username": "rob", "name": "Rob Reviewer", "role": "reviewer"}


@pytest.fixture
def production(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(sqlite_uow, clock, mode=Mode.PRODUCTION)


def signed_in(site: ControlSite, username: str = "root", page: str = "/signin", **more: str) -> TestClient:
    browser = site.browser(**more)
    assert password(browser, username, page).status_code == 303
    return browser


def press(browser: TestClient, path: str, here: str = "/account", **values: str) -> Any:
    csrf = dict(form_with(browser.get(here).text, "csrf").fields)["csrf"]
    return browser.post(here + path, data={"csrf": csrf} | values)


def moved(site: ControlSite, browser: TestClient, **more: Any) -> TestClient:
    """Return another browser with the same session."""
    other = site.browser(**more)
    other.cookies.set("hilum_session", session_of(browser))
    return other


def is_in(browser: TestClient, here: str = "/account") -> bool:
    return browser.get(here).status_code == 200


def test_a_session_with_power_stolen_to_another_network_is_of_no_use_and_ends(site: ControlSite) -> None:
    browser = signed_in(site)
    thief = moved(site, browser, source="203.0.113.9")
    assert not is_in(thief)
    assert is_in(browser)

    page = thief.get("/signin")

    assert "another network" in page.text
    assert not is_in(browser)
    events = site.system(audit.list_events, query=EventQuery(action="signin.session.use")).events
    assert [each.event.reason for each in events] == ["other_network"]


def test_the_address_of_ones_account_leads_to_the_place_at_which_one_is_signed_in(site: ControlSite) -> None:
    """C57: an address that people remember; somebody of a hospital is not sent to the staff's sign-in."""
    browser = signed_in(site, "gina", "/t/general/signin")

    assert browser.get("/account").headers["location"] == "/t/general/account"
    assert site.browser().get("/account").headers["location"].startswith("/signin")
    assert 'href="/t/general/account"' in browser.get("/tenant").text


def test_an_address_of_the_same_network_is_the_same_place(site: ControlSite) -> None:
    browser = signed_in(site)

    assert is_in(moved(site, browser, source="198.51.100.200"))


def test_in_another_browser_nobody_s_session_counts(site: ControlSite) -> None:
    browser = signed_in(site, "ann", "/t/general/signin")
    thief = moved(site, browser)
    thief.headers["user-agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

    assert not is_in(thief, "/t/general/account")
    assert "another browser" in thief.get("/t/general/signin").text
    assert is_in(
        moved(site, signed_in(site, "ann", "/t/general/signin"), source="203.0.113.9"), "/t/general/account"
    )


def test_a_session_in_use_continues_and_an_idle_one_ends(site: ControlSite) -> None:
    browser = signed_in(site)
    for _ in range(3):
        site.clock.advance(timedelta(minutes=14))
        assert is_in(browser)

    site.clock.advance(timedelta(minutes=15))

    assert not is_in(browser)


def test_a_session_ends_after_a_working_day_however_much_it_is_used(site: ControlSite) -> None:
    browser = signed_in(site)
    for _ in range(8 * 6 - 1):
        site.clock.advance(timedelta(minutes=10))
        assert is_in(browser)

    site.clock.advance(timedelta(minutes=10))

    assert not is_in(browser)


def test_a_page_writes_at_most_once_a_minute(site: ControlSite) -> None:
    browser = signed_in(site)
    site.clock.advance(timedelta(minutes=2))
    browser.get("/account")
    seen = site.uow.db.engine

    def last() -> int:
        with seen.connect() as tx:
            return int(tx.exec_driver_sql("SELECT max(last_seen_at) FROM signin_session").scalar_one())

    before = last()
    site.clock.advance(timedelta(seconds=59))
    browser.get("/account")
    assert last() == before


def test_a_dormant_account_is_opened_again_by_a_colleague_only(site: ControlSite) -> None:
    signed_in(site)
    site.clock.advance(timedelta(days=90))
    api = site.api()

    page = password(site.browser(), "root")
    wrong = site.browser()
    form = form_with(wrong.get("/signin").text, "password")
    guess = wrong.post("/signin", data=dict(form.fields) | {"username": "root", "password": "wrong"})

    assert page.status_code == 403
    assert "closed" in page.text
    assert "closed" not in guess.text
    problem(api.post("/tokens", json={"username": "root", "password": PASSWORD}), 403, "account_dormant")
    query = EventQuery(action="signin.session.begin", outcome="refused")
    refused = [each.event.reason for each in site.system(audit.list_events, query=query).events]
    assert refused == ["account_dormant", "wrong_credentials", "account_dormant"]
    opened = site.system(
        enrolment.reset,
        person_id=site.people["root"].id,
        by_mail=LinkMail(site.kit.urls.enrol, works=False),
    )
    browser = site.browser()
    link = site.kit.urls.enrol("", opened.link.secret)
    form = form_with(browser.get(link).text, "password")
    new = {"password": "several new words", "again": "several new words"}
    assert browser.post(form.action, data=dict(form.fields) | new).status_code == 303
    form = form_with(browser.get("/signin").text, "password")
    fill = dict(form.fields) | {"username": "root", "password": "several new words"}
    assert browser.post("/signin", data=fill).headers["location"] == "/operations"


def test_one_session_or_all_others_are_ended_from_the_page(site: ControlSite) -> None:
    mine, second, third = signed_in(site), signed_in(site), signed_in(site)
    shown = mine.get("/account").text
    assert "This browser" in shown
    assert "hilum login --username root" in shown
    ids = re.findall(r'name="session" value="(ses_[0-9a-z]+)"', shown)
    assert len(ids) == 2

    assert press(mine, "/sessions/end", session=ids[0]).status_code == 303
    assert [is_in(each) for each in (mine, second, third)].count(True) == 2
    assert press(mine, "/sessions/end-others").status_code == 303

    assert [is_in(each) for each in (mine, second, third)] == [True, False, False]


def test_nobody_ends_somebody_else_s_session_or_token(site: ControlSite) -> None:
    mine, other = signed_in(site), signed_in(site, "sam")
    shown = press(other, "/tokens", name="mine", days="1")
    assert shown.status_code == 200
    theirs = re.findall(r'name="token" value="(pat_[0-9a-z]+)"', other.get("/account").text)[0]
    with site.uow.db.engine.connect() as tx:
        query = "SELECT id FROM signin_session WHERE person = ?"
        session = tx.exec_driver_sql(query, (site.people["sam"].id,)).scalar_one()

    assert press(mine, "/sessions/end", session=session).status_code == 404
    assert press(mine, "/tokens/revoke", token=theirs).status_code in {303, 404}
    assert press(mine, "/tokens/confirm", token=theirs).status_code == 404
    assert is_in(other)


def test_a_token_is_made_on_the_page_and_shown_once(site: ControlSite) -> None:
    browser = signed_in(site)

    shown = press(browser, "/tokens", name="<b>laptop</b>", days="30")

    secret = re.search(r'id="token">(hil_pat_[A-Za-z0-9_-]+)<', shown.text)
    assert secret is not None
    assert "<b>laptop" not in browser.get("/account").text
    assert secret[1] not in browser.get("/account").text
    api = site.api()
    api.headers["authorization"] = f"Bearer {secret[1]}"
    assert api.get("/tokens").json()["items"][0]["second_factor"] is False


@in_one_world("days", ["", "0", "-1", "3650", "x"])
def test_a_token_of_another_length_is_refused(site: ControlSite, days: str) -> None:
    assert press(signed_in(site), "/tokens", name="x", days=days).status_code in {400, 422}


def test_an_old_sign_in_makes_no_token(site: ControlSite) -> None:
    """A session that somebody found open would last for months."""
    browser = signed_in(site)
    site.clock.advance(timedelta(minutes=14))
    browser.get("/account")
    site.clock.advance(timedelta(minutes=2))

    assert press(browser, "/tokens", name="x", days="90").headers["location"].startswith("/signin")


@in_one_world("path", ["/sessions/end", "/sessions/end-others", "/tokens", "/tokens/revoke", "/tokens/confirm", "/remove", "/recovery-codes", "/authenticator", "/passkey", "/confirm"])  # fmt: skip
def test_no_form_of_the_account_is_sent_by_another_site_or_by_nobody(site: ControlSite, path: str) -> None:
    browser = signed_in(site)

    assert browser.post("/account" + path, data={"csrf": "x"}).status_code == 403
    assert press(browser, path).status_code != 500
    cross = browser.post("/account" + path, data={"csrf": "x"}, headers={"sec-fetch-site": "cross-site"})
    assert cross.status_code == 403
    assert (
        site.browser().post("/account" + path, data={"csrf": "x"}).headers["location"].startswith("/signin")
    )


def test_what_takes_two_people_takes_a_fresh_second_factor_of_both(production: ControlSite) -> None:
    """Security decision 25: a token that lay about agrees to nothing."""
    site = production
    owner = Owner(site)
    owner.enrol()
    made = site.api().post("/tokens", json={"username": "root", "password": PASSWORD, "code": owner.code()})
    api = site.api()
    api.headers["authorization"] = f"Bearer {made.json()['token']}"
    assert api.post("/people", json=NOBODY).status_code == 202
    site.clock.advance(timedelta(minutes=15))

    stale = api.post("/people", json=NOBODY | {"username": "ria"})

    assert "hilum confirm" in problem(stale, 403, "factor_stale")["detail"]
    problem(api.post("/tokens/confirm", json={"code": "000000"}), 403, "code_wrong")
    assert api.post("/tokens/confirm", json={"code": owner.code()}).status_code == 204
    asked = api.post("/people", json=NOBODY | {"username": "ria"})
    assert asked.status_code == 202
    # The colleague entered theirs too long ago.
    approve = site.api("sam").post(f"/approvals/{asked.json()['approval']['id']}/approve")
    problem(approve, 403, "factor_stale")
    recorded = site.system(audit.list_events, query=EventQuery(action="approvals.approval.")).events
    assert [each.event.reason for each in recorded].count("factor_stale") == 2


def test_releasing_a_wide_switch_takes_a_fresh_second_factor_and_engaging_one_does_not(
    production: ControlSite,
) -> None:
    """Security decision 8: stopping stays quick."""
    api = production.api("sam")
    order = {"kind": "tenant", "key": "general", "mode": "full_stop", "reason": "drill"}
    engaged = api.post("/switches", json=order)
    assert engaged.status_code == 201, engaged.text

    refused = api.post(f"/switches/{engaged.json()['id']}/release")

    problem(refused, 403, "factor_stale")


def test_in_a_sandbox_people_without_a_factor_are_not_asked(site: ControlSite) -> None:
    assert site.api("root").post("/people", json=NOBODY).status_code == 202


def test_what_narrows_never_asks(production: ControlSite) -> None:
    api = production.api("root")

    assert api.delete(f"/people/{production.people['rita'].id}").status_code in {200, 204}


def test_a_code_confirms_no_token_of_somebody_else(production: ControlSite) -> None:
    owner = Owner(production)
    owner.enrol()
    other = production.api("sam")

    problem(other.post("/tokens/confirm", json={"code": owner.code()}), 403, "code_wrong")
    production.clock.advance(NEXT_STEP)
    browser = production.browser()
    assert send(browser, owner.step(browser), owner.code()).status_code == 303


def test_own_sessions_are_listed_and_ended_by_the_api(site: ControlSite, clock: FakeClock) -> None:
    """C57, C183: what the page does, one by one and all at once; nobody else's, and no API token is among them."""
    mine, second, theirs = signed_in(site), signed_in(site), signed_in(site, "sam")
    root, sam = site.api("root"), site.api("sam")
    listed = root.get("/sessions").json()["items"]
    assert len(listed) == 2
    assert {each["method"] for each in listed} == {"password"}
    assert all(each["created_at"] < each["ends_at"] for each in listed)
    for unknown in (sam.get("/sessions").json()["items"][0]["id"], "ses_unknown"):
        problem(root.delete(f"/sessions/{unknown}"), 404, "session_not_found")
    newest = listed[0]["id"]

    assert root.delete(f"/sessions/{newest}").status_code == 204

    problem(root.delete(f"/sessions/{newest}"), 404, "session_not_found")
    assert sorted([is_in(mine), is_in(second), is_in(theirs)]) == [False, True, True]
    assert root.delete("/sessions").json() == {"ended": 1}
    assert not is_in(mine)
    assert not is_in(second)
    assert root.get("/sessions").json() == {"items": [], "next": ""}
    assert is_in(theirs)
    problem(site.api().get("/sessions"), 401, "token_invalid")


def test_a_session_that_is_no_longer_used_is_not_listed(site: ControlSite, clock: FakeClock) -> None:
    signed_in(site)
    clock.advance(timedelta(minutes=16))

    assert site.api("root").get("/sessions").json()["items"] == []
