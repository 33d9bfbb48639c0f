"""Setting a second factor up, and signing in with it (C8, C57; security decisions 3 and 25; RFC 6238)."""

import html
from datetime import timedelta
from pathlib import Path

import pytest

from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.factors import policy
from hilum.identity.factors.models import LOCKED_AFTER, OFFER_LIFE
from hilum.identity.factors.store import totps
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import store as signin_store
from hilum.identity.signin.models import ATTEMPTS_FREE, STEP_LIFE
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.control_site import PASSWORD, TRACE, ControlSite, build, problem
from tests.flows.second_factor_ground import (
    NEXT_STEP,
    STAFF,
    Owner,
    codes_on,
    password,
    seed_on,
    send,
    session_of,
)
from tests.sim.browser import form_with
from tests.sim.world import FakeClock


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    """A site in production, where staff must have a second factor."""
    return build(sqlite_uow, clock, mode=Mode.PRODUCTION)


@pytest.fixture
def sandbox(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(sqlite_uow, clock)


@pytest.fixture
def owner(site: ControlSite) -> Owner:
    found = Owner(site)
    found.enrol()
    return found


def test_staff_set_a_second_factor_up_at_their_first_sign_in(site: ControlSite) -> None:
    """C8: the password alone signs nobody of the staff in."""
    browser = site.browser()
    answer = password(browser, "root", f"{STAFF}?then=/operations")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin/enrol?then=%2Foperations")
    assert session_of(browser) == ""
    page = browser.get(answer.headers["location"])
    seed = seed_on(page)
    assert "<svg" in page.text
    assert "<script" not in page.text

    done = send(browser, page, policy.code_at(seed, policy.step_of(site.clock.now())))

    assert done.status_code == 200
    assert len(set(codes_on(done))) == 10
    assert 'href="/operations"' in done.text
    assert len(session_of(browser)) == 50
    assert browser.get("/account").status_code == 200


def test_with_it_the_password_and_a_code_sign_in(owner: Owner) -> None:
    browser = owner.site.browser()
    page = owner.step(browser)
    assert session_of(browser) == ""
    assert browser.get("/account").headers["location"].startswith("/signin")

    answer = send(browser, page, owner.code())

    assert (answer.status_code, answer.headers["location"]) == (303, "/operations")
    assert browser.get("/account").status_code == 200


def test_a_sign_in_with_a_code_ends_the_browsers_session_of_before(owner: Owner) -> None:
    """Security decision 13: the session rotates, also where a second factor comes between."""
    browser = owner.site.browser()
    send(browser, owner.step(browser), owner.code())
    before = session_of(browser)
    owner.site.clock.advance(NEXT_STEP)

    send(browser, owner.step(browser), owner.code())

    assert session_of(browser) not in {"", before}
    digest = signin_policy.digest(before)
    ended = owner.site.system(lambda ctx: signin_store.SESSIONS.find(ctx.tx, digest=digest))
    assert ended.ended_at == owner.site.clock.now()


@pytest.mark.parametrize("username", ["root", "sam", "rita", "otto"])
def test_no_role_of_the_staff_is_left_out(site: ControlSite, username: str) -> None:
    browser = site.browser()

    assert password(browser, username).headers["location"] == "/signin/enrol"
    assert session_of(browser) == ""


def test_an_administrator_of_a_hospital_must_and_a_physician_may(site: ControlSite) -> None:
    browser = site.browser()

    must = password(browser, "gina", "/t/general/signin").headers["location"]
    may = password(site.browser(), "ann", "/t/general/signin").headers["location"]

    assert (must, may) == ("/t/general/signin/enrol", "/t/general/oauth/manage")


def test_in_a_sandbox_staff_may_set_one_up_and_then_it_counts_there_too(sandbox: ControlSite) -> None:
    browser, owner = sandbox.browser(), Owner(sandbox)
    assert password(browser, "root").headers["location"] == "/operations"
    page = browser.get("/account/authenticator")
    owner.seed = seed_on(page)
    assert send(browser, page, owner.code()).status_code == 200
    sandbox.clock.advance(NEXT_STEP)

    again = sandbox.browser()

    assert send(again, owner.step(again), owner.code()).status_code == 303


def test_a_first_factor_ends_the_sessions_that_the_password_alone_began(sandbox: ControlSite) -> None:
    """ADR 65: whoever else has the password is out once its owner sets up a factor."""
    other, browser = sandbox.browser(), sandbox.browser()
    for each in (other, browser):
        assert password(each, "root").status_code == 303

    page = browser.get("/account/authenticator")
    assert (
        send(browser, page, policy.code_at(seed_on(page), policy.step_of(sandbox.clock.now()))).status_code
        == 200
    )

    assert browser.get("/account").status_code == 200
    assert other.get("/account").status_code == 303


def test_a_code_counts_once_even_in_two_browsers(owner: Owner) -> None:
    """RFC 6238 section 5.2."""
    first, second = owner.site.browser(), owner.site.browser()
    pages = owner.step(first), owner.step(second)
    code = owner.code()

    answers = send(first, pages[0], code), send(second, pages[1], code)

    assert [each.status_code for each in answers] == [303, 403]
    assert "used already" in html.unescape(answers[1].text)
    assert session_of(second) == ""


def test_the_code_that_set_the_app_up_signs_nobody_in(site: ControlSite) -> None:
    owner = Owner(site)
    owner.enrol()
    site.clock.advance(-NEXT_STEP)
    browser = site.browser()

    assert send(browser, owner.step(browser), owner.code()).status_code == 403


@pytest.mark.parametrize(
    "code", ["", "000000", "12345", "ABCD-EFGH-JKMN", "x" * 4_000, "<script>", "\x00" * 6]
)
def test_a_wrong_code_shows_the_form_again_and_signs_nobody_in(owner: Owner, code: str) -> None:
    browser = owner.site.browser()

    answer = send(browser, owner.step(browser), code)

    assert answer.status_code == 403
    assert "That did not work" in answer.text
    assert "<script" not in answer.text
    assert session_of(browser) == ""


def test_guesses_are_slowed_down_from_every_address_together(owner: Owner) -> None:
    """C57: of this account only."""
    for n in range(ATTEMPTS_FREE):
        browser = owner.site.browser(source=f"203.0.113.{n}")
        assert send(browser, owner.step(browser), "000000").status_code == 403

    browser = owner.site.browser(source="203.0.113.200")
    slow = send(browser, owner.step(browser), owner.code())
    other = Owner(owner.site, "sam")
    other.enrol()

    assert (slow.status_code, slow.headers["retry-after"]) == (429, "1")
    owner.site.clock.advance(NEXT_STEP)
    assert send(browser, slow, owner.code()).status_code == 303


def test_the_owner_gets_in_by_a_recovery_code_while_somebody_guesses(owner: Owner) -> None:
    guesser, browser = owner.site.browser(source="203.0.113.9"), owner.site.browser()
    page = owner.step(guesser)
    for _ in range(ATTEMPTS_FREE + 1):
        send(guesser, page, "000000")

    assert send(browser, owner.step(browser), owner.recovery[0]).status_code == 303


def test_guesses_at_recovery_codes_are_slowed_down_where_they_come_from(owner: Owner) -> None:
    """C57: nobody else is kept out."""
    guesser = owner.site.browser(source="203.0.113.9")
    assert send(guesser, owner.step(guesser), owner.recovery[0]).status_code == 303
    page = owner.step(guesser)
    for _ in range(ATTEMPTS_FREE):
        assert send(guesser, page, owner.recovery[0]).status_code == 403

    assert send(guesser, page, owner.recovery[1]).status_code == 429
    elsewhere = owner.site.browser()
    assert send(elsewhere, owner.step(elsewhere), owner.recovery[1]).status_code == 303


def test_many_wrong_codes_lock_the_app_and_not_the_account(owner: Owner) -> None:
    browser = owner.site.browser()
    page = owner.step(browser)
    for _ in range(LOCKED_AFTER):
        owner.site.clock.advance(timedelta(minutes=16))
        page = owner.step(browser)
        send(browser, page, "000000")
    owner.site.clock.advance(timedelta(minutes=16))
    page = owner.step(browser)

    locked = send(browser, page, owner.code())

    assert locked.status_code == 403
    assert "somebody knows your password" in locked.text
    assert send(browser, locked, owner.recovery[3]).status_code == 303


def test_a_recovery_code_counts_once(owner: Owner) -> None:
    first, second = owner.site.browser(), owner.site.browser()

    answers = [send(each, owner.step(each), owner.recovery[0].lower()) for each in (first, second)]

    assert [each.status_code for each in answers] == [303, 403]
    assert "9 unused recovery codes left" in first.get("/account").text


def test_a_password_alone_never_sets_up_a_factor_in_place_of_another(site: ControlSite) -> None:
    """Whoever has the password opens the page first, and the owner is faster."""
    thief = site.browser(source="203.0.113.9")
    page = thief.get(password(thief, "root").headers["location"])
    seed = seed_on(page)
    owner = Owner(site)
    owner.enrol()

    answer = send(thief, page, policy.code_at(seed, policy.step_of(site.clock.now())))

    assert answer.status_code == 409
    assert session_of(thief) == ""
    browser = site.browser()
    assert send(browser, owner.step(browser), owner.code()).status_code == 303


def test_what_waits_for_a_code_opens_nothing_else_and_ends(owner: Owner) -> None:
    browser = owner.site.browser()
    page = owner.step(browser)
    assert browser.get("/signin/enrol").headers["location"] == "/signin?over=1"
    browser = owner.site.browser()
    page = owner.step(browser)
    owner.site.clock.advance(STEP_LIFE)

    late = send(browser, page, owner.code())

    assert (late.status_code, late.headers["location"]) == (303, "/signin?over=1")
    assert "longer than ten minutes" in browser.get("/signin?over=1").text
    assert session_of(browser) == ""


def test_a_new_password_ends_what_waits(owner: Owner) -> None:
    from hilum.identity.signin import service as signin
    from tests.flows.control_site import everybodys_digest

    browser = owner.site.browser()
    page = owner.step(browser)
    owner.site.system(signin.set_password, person_id=owner.site.people["root"].id, digest=everybodys_digest())

    assert send(browser, page, owner.code()).headers["location"] == "/signin?over=1"


def test_the_step_of_one_place_is_not_finished_at_another(owner: Owner) -> None:
    browser = owner.site.browser()
    form = form_with(owner.step(browser).text, "code")

    answer = browser.post("/t/general/signin/factor", data=dict(form.fields) | {"code": owner.code()})

    assert answer.headers["location"] == "/t/general/signin?over=1"
    assert session_of(browser) == ""


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://localhost:8001"}])
def test_another_site_cannot_send_the_code(owner: Owner, headers: dict[str, str]) -> None:
    browser = owner.site.browser()
    form = form_with(owner.step(browser).text, "code")
    data = dict(form.fields) | {"code": owner.code()}

    assert browser.post(form.action, data=data, headers=headers).status_code == 403
    assert browser.post(form.action, data=data | {"csrf": "x"}).status_code == 403
    assert session_of(browser) == ""


def test_a_page_that_was_open_too_long_shows_a_new_code_to_scan(site: ControlSite) -> None:
    browser = site.browser()
    page = browser.get(password(browser, "root").headers["location"])
    seed = seed_on(page)
    site.clock.advance(min(OFFER_LIFE, STEP_LIFE) - timedelta(seconds=1))

    answer = send(browser, page, "000000")

    assert answer.status_code == 403
    assert seed_on(answer) == seed


def test_an_offer_of_somebody_else_is_not_taken(site: ControlSite) -> None:
    mine, theirs = site.browser(), site.browser()
    page = mine.get(password(mine, "root").headers["location"])
    other = theirs.get(password(theirs, "sam").headers["location"])
    offer = dict(form_with(other.text, "code").fields)["offer"]

    answer = send(mine, page, policy.code_at(seed_on(other), policy.step_of(site.clock.now())), offer=offer)

    assert answer.status_code == 200
    assert codes_on(answer) == []
    assert session_of(mine) == ""


def test_changing_the_app_takes_a_fresh_code(owner: Owner) -> None:
    """A session that somebody found open changes nothing that signs in."""
    browser = owner.site.browser()
    send(browser, owner.step(browser), owner.code())
    assert browser.get("/account/authenticator").status_code == 200
    page = browser.get("/account/authenticator")
    owner.site.clock.advance(timedelta(minutes=8))
    browser.get("/account")
    owner.site.clock.advance(timedelta(minutes=7))
    stale = browser.get("/account/authenticator")
    sent = send(browser, page, policy.code_at(seed_on(page), policy.step_of(owner.site.clock.now())))
    codes = form_with(browser.get("/account").text, "csrf")
    renewed = browser.post(codes.action, data=dict(codes.fields))
    assert (
        stale.headers["location"]
        == sent.headers["location"]
        == "/account/confirm?then=%2Faccount%2Fauthenticator"
    )
    assert renewed.headers["location"] == "/account/confirm?then=%2Faccount"

    confirmed = send(browser, browser.get(stale.headers["location"]), owner.code())

    assert (confirmed.status_code, confirmed.headers["location"]) == (303, "/account/authenticator")
    page = browser.get("/account/authenticator")
    before, owner.seed = owner.seed, seed_on(page)
    assert owner.seed != before
    assert send(browser, page, owner.code()).status_code == 200


def test_new_recovery_codes_replace_the_earlier_ones(owner: Owner) -> None:
    browser = owner.site.browser()
    send(browser, owner.step(browser), owner.code())
    form = form_with(browser.get("/account").text, "csrf")

    fresh = codes_on(browser.post(form.action, data=dict(form.fields)))

    again = owner.site.browser()
    page = owner.step(again)
    assert send(again, page, owner.recovery[5]).status_code == 403
    assert send(again, page, fresh[5]).status_code == 303


def test_the_api_asks_for_the_code_after_the_password_and_says_so_in_the_token(owner: Owner) -> None:
    api = owner.site.api()
    body = {"username": "root", "password": PASSWORD}

    problem(
        api.post("/tokens", json=body | {"password": "wrong", "code": owner.code()}), 401, "wrong_credentials"
    )
    problem(api.post("/tokens", json=body), 403, "factor_required")
    problem(api.post("/tokens", json=body | {"code": "000000"}), 403, "code_wrong")
    made = api.post("/tokens", json=body | {"code": owner.code()})

    assert (made.status_code, made.json()["second_factor"]) == (201, True)
    problem(api.post("/tokens", json=body | {"code": owner.code()}), 403, "code_wrong")


def test_without_a_second_factor_staff_get_no_token_in_production(site: ControlSite) -> None:
    body = {"username": "root", "password": PASSWORD}

    problem(site.api().post("/tokens", json=body), 403, "factor_missing")
    problem(site.api().post("/tokens", json=body | {"code": "123456"}), 403, "factor_missing")


def test_a_token_without_a_second_factor_says_so(sandbox: ControlSite) -> None:
    made = sandbox.api().post("/tokens", json={"username": "root", "password": PASSWORD})

    assert (made.status_code, made.json()["second_factor"]) == (201, False)


def test_the_database_holds_neither_seed_nor_recovery_code(owner: Owner) -> None:
    """C9: a copy of the database signs nobody in."""
    path = owner.site.uow.db.url.removeprefix("sqlite:///")
    with owner.site.uow.db.engine.connect() as tx:
        tx.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        sealed = tx.execute(totps.select()).one().sealed
    data = Path(path).read_bytes()

    assert sealed.encode() in data
    for secret in (owner.seed, policy.base32(owner.seed).encode(), owner.recovery[0].encode()):
        assert secret not in data
        assert secret.replace(b"-", b"") not in data


def test_what_happens_to_a_factor_is_recorded_with_who_and_why(owner: Owner) -> None:
    browser = owner.site.browser()
    page = owner.step(browser)
    send(browser, page, "000000")
    send(browser, page, owner.code())
    me = owner.site.people["root"].id

    events = owner.site.system(audit.list_events, query=EventQuery(person=me)).events
    found = [(each.event.action, each.event.outcome.value, each.event.reason) for each in events]

    assert ("factors.totp.add", "done", "") in found
    assert ("factors.code.use", "refused", "code_wrong") in found
    assert ("factors.code.use", "done", "") in found


def test_a_token_older_than_second_factors_is_refused_in_production(site: ControlSite) -> None:
    """C8: else whoever holds an old token has what the role may do without a factor."""
    from hilum.identity.signin import service as signin

    for username, status in (("root", 401), ("gina", 401), ("ann", 200)):
        person = site.people[username].id
        _, secret = site.system(signin.create_api_token, person_id=person)
        api = site.api()
        api.headers["authorization"] = f"Bearer {secret}"
        assert api.get("/tokens").status_code == status, username
        if status == 401:
            assert "second factor" in problem(api.get("/tokens"), 401, "token_invalid")["detail"]


def test_a_person_who_loses_access_loses_a_pending_sign_in_too(owner: Owner) -> None:
    """Otherwise a code that is entered a minute later opens the account again."""
    from hilum.identity.signin import service as signin

    browser = owner.site.browser()
    page = owner.step(browser)
    owner.site.uow.write_now(
        lambda ctx: signin.end_credentials(ctx, owner.site.people["root"].id), trace=TRACE
    )

    assert send(browser, page, owner.code()).headers["location"] == "/signin?over=1"
