"""A lost second factor is removed by two people, who are not its owner (security decision 25)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.people import service as identity
from hilum.identity.people.models import SECOND_PERSON_AGE, NewPerson
from hilum.identity.signin import service as signin
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.notices.store import notices
from tests.flows.control_site import ControlSite, build, everybodys_digest, problem
from tests.flows.second_factor_ground import Owner, password, seed_on, send
from tests.sim.world import FakeClock

REASON = "telephone lost, came to the desk with a badge"


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(sqlite_uow, clock, mode=Mode.PRODUCTION)


def add(site: ControlSite, username: str, role: str, *, tenant: Any = None, mail: str = "") -> Any:
    order = NewPerson(tenant, username, username.title(), role, mail=mail)
    person = site.system(identity.add_person, order=order)
    site.people[username] = person
    site.system(signin.set_password, person_id=person.id, digest=everybodys_digest())
    return person


@pytest.fixture
def owner(site: ControlSite) -> Owner:
    add(site, "lena", "reviewer", mail="lena@example.test")
    found = Owner(site, "lena")
    found.enrol()
    return found


def ask(site: ControlSite, who: str = "lena", by: str = "root", reason: str = REASON) -> Any:
    path = f"/people/{site.people[who].id}/reset-factors"
    return site.api(by, confirmed=True).post(path, json={"reason": reason})


def approve(site: ControlSite, asked: Any, by: str = "sam") -> Any:
    return site.api(by, confirmed=True).post(f"/approvals/{asked.json()['approval']['id']}/approve")


def mails(site: ControlSite) -> list[str]:
    with site.uow.db.engine.connect() as tx:
        return [row.kind for row in tx.execute(notices.select().order_by(notices.c.id))]


def test_two_colleagues_remove_it_and_everything_of_the_account_ends(site: ControlSite, owner: Owner) -> None:
    """Security decision 25."""
    browser, api = site.browser(), site.api("lena")
    send(browser, owner.step(browser), owner.code())
    waiting = site.browser()
    page = owner.step(waiting)
    asked = ask(site)
    assert (asked.status_code, asked.json()["approval"]["order"]["reason"]) == (202, REASON)
    assert api.get("/tokens").status_code == 200

    done = approve(site, asked)

    assert done.status_code == 200, done.text
    assert browser.get("/account").headers["location"].startswith("/signin")
    problem(api.get("/tokens"), 401, "token_invalid")
    site.clock.advance(timedelta(seconds=30))
    assert send(waiting, page, owner.code()).headers["location"] == "/signin?over=1"
    assert password(site.browser(), "lena").headers["location"] == "/signin/enrol"
    events = site.system(audit.list_events, query=EventQuery(action="factors.factor.remove")).events
    assert [each.event.facts["why"] for each in events] == [REASON]


def test_the_owner_gets_a_mail_at_the_request_and_when_it_happens(site: ControlSite, owner: Owner) -> None:
    asked = ask(site)
    assert mails(site) == ["factors_reset_asked"]

    approve(site, asked)

    assert mails(site) == ["factors_reset_asked", "factors_reset"]


def test_nobody_alone_removes_it(site: ControlSite, owner: Owner) -> None:
    """One person as two: neither the asker, nor the owner, nor a new account, nor a role without the power agrees."""
    asked = ask(site)
    add(site, "tom", "platform_admin")
    rows = site.uow.db.engine
    with rows.begin() as tx:
        tx.exec_driver_sql(
            "UPDATE identity_person SET age_counts_from = ? WHERE username = 'tom'",
            (int(site.clock.now().timestamp() * 1_000_000),),
        )

    problem(approve(site, asked, by="root"), 403, "asked_by_you")
    problem(approve(site, asked, by="tom"), 403, "account_too_new")
    assert approve(site, asked, by="rita").status_code in {403, 404}
    assert approve(site, asked, by="gina").status_code in {403, 404}
    browser = site.browser()
    assert send(browser, owner.step(browser), owner.code()).status_code == 303


def test_the_owner_does_not_ask_for_it_themselves(site: ControlSite) -> None:
    """A stolen API token would be the way around the factor."""
    Owner(site, "root").enrol()

    problem(ask(site, "root"), 403, "about_you")


@pytest.mark.parametrize("by", ["otto", "gina", "mary", "ann"])
def test_who_does_not_administer_the_account_does_not_ask(site: ControlSite, owner: Owner, by: str) -> None:
    assert ask(site, by=by).status_code in {403, 404}


def test_a_factor_set_up_since_stays(site: ControlSite, owner: Owner) -> None:
    """The owner found the telephone and set up another: what was agreed to is about the lost one."""
    asked = ask(site)
    browser = site.browser()
    send(browser, owner.step(browser), owner.recovery[0])
    site.clock.advance(timedelta(seconds=30))
    page = browser.get("/account/authenticator")
    owner.seed = seed_on(page)
    assert send(browser, page, owner.code()).status_code == 200

    problem(approve(site, asked), 409, "target_changed")


def test_without_a_factor_there_is_nothing_to_ask_for(site: ControlSite) -> None:
    problem(ask(site, "rita"), 409, "factor_none")


@pytest.mark.parametrize("reason", ["", " ", "x" * 400, "a\nb"])
def test_a_reset_has_a_reason(site: ControlSite, owner: Owner, reason: str) -> None:
    assert ask(site, reason=reason).status_code == 422


def test_the_account_counts_as_a_second_person_only_after_a_week(site: ControlSite) -> None:
    """Whoever has the password now sets up a factor of theirs."""
    Owner(site, "sue").enrol()
    approve(site, ask(site, "sue"))
    owner = Owner(site, "lena")
    add(site, "lena", "reviewer")
    owner.enrol()
    asked = ask(site)

    problem(approve(site, asked, by="sue"), 403, "account_too_new")
    site.clock.advance(SECOND_PERSON_AGE - timedelta(minutes=2))
    problem(approve(site, asked, by="sue"), 403, "account_too_new")


def test_an_administrator_of_a_hospital_is_helped_by_two_of_its_own(site: ControlSite) -> None:
    add(site, "gus", "administrator", tenant="general")
    add(site, "gil", "administrator", tenant="general")
    owner = Owner(site, "gil", "/t/general/signin")
    owner.enrol()

    done = approve(site, ask(site, "gil", by="gina"), by="gus")

    assert done.status_code == 200, done.text
