"""The consoles by whom, not by luck: which role opens which page, and what a form from elsewhere does (C183; S3 of the consoles)."""

import re
from functools import partial
from html import unescape

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry import store
from hilum.apps.registry.models import App, NewApp, NewVendor
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.standards.strangers import RECORDED_BOUND
from hilum.identity.signin import service as signin
from hilum.operations.switch_administration import service as switch_administration
from hilum.surfaces.console import policy
from hilum.surfaces.console.models import Console
from hilum.surfaces.console.shared import guide
from tests.flows.console_ground import HOSTILE, LONG, Desk
from tests.flows.control_site import ORIGIN, TRACE, build, send
from tests.sim.browser import form_with, one_of_each
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

MISSING = {
    f"operations.{name}"
    for name in (
        "request",
        "approval",
        "dry_run",
        "product",
        "offboarding",
        "exception",
        "defect",
        "entry",
        "entry_change",
        "incident",
        "fhir_server",
    )
}
"""Pages of things that are not there: who may open them learns so."""
STAFF = {"root": "platform_admin", "sam": "security", "rita": "reviewer", "otto": "auditor"}


@pytest.fixture
def desk(sqlite_uow: UnitOfWork, clock: FakeClock) -> Desk:
    site = build(sqlite_uow, clock)
    vendor = site.system(registry.add_vendor, order=NewVendor(LONG[:200], "help@v.example", "sec@v.example"))
    app = site.system(registry.add_app, order=NewApp(vendor.id, "Plain", "Shows", "Review", "unclassified"))
    # Markup in names is refused today; what an older release or another way stored is still only text.
    texts = {"name": HOSTILE, "description": "Shows <b>things</b>"}
    change = store.apps.update().where(store.apps.c.id == app.id).values(texts)
    site.uow.write_now(lambda ctx: ctx.tx.execute(change), trace=TRACE)
    made = Desk(site, app)
    order = EngageOrder(Target(TargetKind.APP, app.id), Mode.FULL_STOP, "leaked <i>keys</i>")
    made.switch = site.system(switch_administration.engage, order=order).id
    return made


def test_every_page_opens_for_its_roles_and_for_nobody_else(desk: Desk) -> None:
    """C183: role by page, each by who has the role; 403 says for whom it is, and shows nothing of the page."""
    pages = [page for page in policy.PAGES.values() if page.console is Console.OPERATIONS]
    assert len(pages) >= 9
    for username, role in STAFF.items():
        browser = desk.browser(username)
        for page in pages:
            answer = browser.get(desk.address(page))
            if role not in page.roles:
                assert answer.status_code == 403, (username, page.key)
                assert "What to do next" in answer.text
                assert HOSTILE[:20] not in unescape(answer.text)
            elif page.key in MISSING:
                assert answer.status_code == 404, (username, page.key)
            else:
                assert answer.status_code == 200, (username, page.key, answer.text[:2000])


@pytest.mark.parametrize("username", ["gina", "ann"])
def test_people_of_a_hospital_do_not_enter_the_staffs_console(desk: Desk, username: str) -> None:
    browser = desk.browser(username)
    for page in policy.PAGES.values():
        if page.console is Console.OPERATIONS:
            answer = browser.get(desk.address(page))
            assert answer.status_code == 403, page.key
            assert "This console is not for your role" in answer.text
    assert browser.get("/operations/live").status_code == 403


def test_who_has_not_signed_in_is_sent_to_sign_in_and_comes_back(desk: Desk) -> None:
    answer = desk.site.browser().get("/operations/switches?state=in_force")

    assert answer.status_code == 303
    assert answer.headers["location"] == f"{ORIGIN}/signin?then=%2Foperations%2Fswitches%3Fstate%3Din_force"
    assert desk.site.browser().get("/operations/live").status_code == 403


def test_a_page_does_not_link_where_its_reader_may_not_go(desk: Desk) -> None:
    """Nobody is led to a refusal."""
    for username, role in STAFF.items():
        browser = desk.browser(username)
        # Each link once: the navigation is the same on every page.
        links: dict[str, str] = {}
        for page in policy.PAGES.values():
            if page.console is not Console.OPERATIONS or role not in page.roles or page.key in MISSING:
                continue
            query = "?q=e" if page.key == "operations.search" else ""
            text = browser.get(desk.address(page) + query).text
            links |= dict.fromkeys(re.findall(r'href="(/operations[^"]*)"', text), page.key)
        assert links, username
        for href in one_of_each(links):
            status = browser.get(href).status_code
            assert status in {200, 303}, (username, links, href)


def test_every_page_in_a_navigation_has_its_entry_in_the_guide_and_links_to_it(desk: Desk) -> None:
    """S3: each page links to its guide."""
    assert {each.key for each in policy.PAGES.values() if each.menu} == set(guide.TEXTS)
    browser = desk.browser("root")
    text = browser.get("/operations/switches/new").text
    assert 'href="/operations/guide#switches"' in text
    assert 'id="switches"' in browser.get("/operations/guide").text


def test_names_by_others_are_text_on_every_page(desk: Desk) -> None:
    """Names of apps and vendors, descriptions and reasons are hostile."""
    browser = desk.browser("root")
    for page in policy.PAGES.values():
        if page.console is Console.OPERATIONS:
            text = browser.get(desk.address(page)).text
            assert "<script>alert" not in text, page.key
            assert "<img src=x" not in text, page.key
            assert "<i>keys" not in text, page.key
            assert "<b>things" not in text, page.key
    found = browser.get("/operations/search", params={"q": "<script>alert"}).text
    assert "<script>alert" not in found
    assert "&lt;script&gt;alert" in found


def test_a_patient_is_looked_for_where_the_look_is_recorded(desk: Desk) -> None:
    """C145: the search says nothing of whether there is such a record; who may not read the audit is led nowhere."""
    where = "/operations/search"
    for number in ("gen-pat-7", "nobody"):
        link = f'href="/operations/audit?patient={number}"'
        assert link in desk.browser("root").get(where, params={"q": number}).text
    assert "patient=" not in desk.browser("root").get(where, params={"q": "two words"}).text
    assert "patient=" not in desk.browser("rita").get(where, params={"q": "gen-pat-7"}).text


def test_a_stop_is_engaged_by_the_form_with_its_reason_and_recorded_under_the_persons_name(
    desk: Desk,
) -> None:
    """C139, C217: consequences first; one person; the same verb as the API's."""
    browser = desk.browser("sam")
    page = f"/operations/switches/new?kind=app&key={desk.app.id}"
    assert "What this would end" in browser.get(page).text

    answer = send(browser, page, "reason", reason="keys leaked", mode="full_stop", ends="1h")

    assert answer.status_code == 303
    shown = browser.get(answer.headers["location"])
    assert "keys leaked" in shown.text
    newest = desk.events("controls.switch.engage")[0]
    assert (newest.actor, newest.event.facts["reason"]) == (
        f"staff:{desk.site.people['sam'].id}",
        "keys leaked",
    )


def test_a_form_without_a_reason_keeps_what_was_typed_and_says_what_is_missing(desk: Desk) -> None:
    browser = desk.browser("sam")
    page = f"/operations/switches/new?kind=app&key={desk.app.id}"
    before = len(desk.events("controls.switch.engage"))

    answer = send(browser, page, "reason", reason="", mode="read_only", ends="1d")

    assert answer.status_code == 422
    assert "A reason is required." in answer.text
    assert re.search(r'value="read_only" checked', answer.text)
    assert len(desk.events("controls.switch.engage")) == before


FORGED: dict[str, dict[str, str]] = {
    "no token": {"csrf": ""},
    "a token of another page": {},
    "another site": {},
    "another's token": {},
}


@in_one_world("how", FORGED)
def test_a_form_that_did_not_come_from_its_page_does_nothing(desk: Desk, how: str) -> None:
    """House rule 13; Fetch Metadata section 2.2."""
    browser, colleague = desk.browser("sam"), desk.browser("sue")
    page, headers = f"/operations/switches/new?kind=app&key={desk.app.id}", {}
    values = {"reason": "x", "mode": "full_stop", "ends": "released"} | FORGED[how]
    if how == "a token of another page":
        release = form_with(browser.get(f"/operations/switches/{desk.switch}/release").text, "confirm")
        values["csrf"] = dict(release.fields)["csrf"]
    if how == "another's token":
        values["csrf"] = dict(form_with(colleague.get(page).text, "reason").fields)["csrf"]
    if how == "another site":
        headers = {"sec-fetch-site": "cross-site"}
    before = len(desk.events("controls.switch.engage"))

    answer = send(browser, page, "reason", headers, **values)

    assert answer.status_code == 403
    assert "out of date" in answer.text
    assert len(desk.events("controls.switch.engage")) == before


def test_a_form_of_a_session_that_ended_does_nothing_and_says_so(desk: Desk) -> None:
    browser = desk.browser("sam")
    page = f"/operations/switches/new?kind=app&key={desk.app.id}"
    form = form_with(browser.get(page).text, "reason")
    desk.site.system(signin.end_sessions_of, person_id=desk.site.people["sam"].id)

    answer = browser.post(
        page, data=dict(form.fields) | {"reason": "x", "mode": "full_stop", "ends": "released"}
    )

    assert answer.status_code == 401
    assert "Nothing was done" in answer.text


def test_a_wide_switch_is_released_by_two_people_and_not_by_one_twice(desk: Desk) -> None:
    """Security decision 25: the second is another person; each sees who the first was."""
    page = f"/operations/switches/{desk.switch}/release"
    first, second = desk.browser("sam"), desk.browser("sue")

    form = form_with(first.get(page).text, "confirm").fields
    for expected in (303, 409):
        assert first.post(page, data=dict(form) | {"confirm": "yes"}).status_code == expected
        read = partial(controls.get_switch, switch_id=desk.switch)
        assert desk.site.system(read).released_at is None
    assert "You asked for the release" in first.get(page).text
    assert "Sam asked" in second.get(f"/operations/switches/{desk.switch}").text
    assert send(second, page, "confirm", confirm="yes").status_code == 303

    assert desk.site.system(partial(controls.get_switch, switch_id=desk.switch)).released_at is not None
    late = second.get(page)
    assert "no longer in force" in late.text


def test_a_release_that_was_not_confirmed_does_nothing(desk: Desk) -> None:
    answer = send(desk.browser("sam"), f"/operations/switches/{desk.switch}/release", "confirm")

    assert answer.status_code == 422
    assert desk.site.system(partial(controls.get_switch, switch_id=desk.switch)).release_asked_by == ""


def test_an_auditor_sees_switches_and_releases_none(desk: Desk) -> None:
    browser = desk.browser("otto")
    text = browser.get(f"/operations/switches/{desk.switch}").text

    assert "/release" not in text
    assert (
        browser.post(f"/operations/switches/{desk.switch}/release", data={"confirm": "yes"}).status_code
        == 403
    )


def test_a_list_is_filtered_sorted_paged_and_exported_by_its_address(desk: Desk) -> None:
    vendor = desk.app.vendor
    for n in range(120):
        desk.site.system(
            registry.add_app, order=NewApp(vendor, f"=App {n:03}", "Shows", "Review", "unclassified")
        )
    browser = desk.browser("otto")

    names, page, pages = [], "/operations/apps?sort=name", 0
    while page:
        text = browser.get(page).text
        assert "121 apps" in text
        names += re.findall(r'href="/operations/apps/app_[^"]*">([^<]*)</a>', text)
        following = re.search(r'rel="next" href="([^"]*)"', text)
        page, pages = unescape(following[1]) if following else "", pages + 1

    assert pages == 3
    assert len(names) == len(set(names)) == 121
    assert sorted(names, key=lambda name: unescape(name).lower()) == names
    down = browser.get("/operations/apps?sort=-name").text
    assert re.findall(r'href="/operations/apps/app_[^"]*">([^<]*)</a>', down)[0] == names[-1]
    exported = browser.get("/operations/apps?q=app+01&format=csv")
    assert exported.headers["content-disposition"].startswith("attachment")
    assert len(exported.text.splitlines()) == 11
    assert "'=App 010" in exported.text, "no spreadsheet takes a name for a formula"
    assert len(browser.get("/operations/apps?q=app+01&format=json").json()["items"]) == 10


@in_one_world(
    "query",
    [
        "sort=nothing",
        "state=nothing",
        "after=%00",
        "after=%27--",
        "format=exe",
        "sort=name&sort=name",
        "q=%00",
    ],
)
def test_an_address_that_a_list_does_not_have_is_refused_and_says_so(desk: Desk, query: str) -> None:
    answer = desk.browser("otto").get(f"/operations/apps?{query}")

    assert answer.status_code in {400, 422}, answer.status_code
    assert "What to do next" in answer.text


def test_the_empty_list_says_the_next_step(sqlite_uow: UnitOfWork, clock: FakeClock) -> None:
    site = build(sqlite_uow, clock)
    desk = Desk(site, App("app_none", "ven_none", "", "", "", category=""))  # type: ignore[arg-type]
    browser = desk.browser("otto")

    assert "No app yet" in browser.get("/operations/apps").text
    assert "Nothing was ever stopped" in browser.get("/operations/switches").text
    assert "Nothing is stopped" in browser.get("/operations").text


def test_what_is_forbidden_in_a_console_leaves_a_record_and_a_script_fills_no_audit(desk: Desk) -> None:
    """C69, ADR 11: page and form, at the own console and at another's; the first 20 of a person in a minute, then a count."""
    ann, otto = desk.browser("ann"), desk.browser("otto")
    assert ann.get("/tenant/people/per_x").status_code == 403
    assert ann.get("/operations").status_code == 403
    assert otto.post("/operations/policy/new", data={"reason": "x"}).status_code == 403
    assert ann.get("/tenant/nothing").status_code == otto.get("/operations/apps/app_none").status_code == 404

    form, person, staff = (
        desk.events("signin.session.act")[::-1][2],
        *desk.events("signin.session.act")[::-1][:2],
    )
    assert [each.actor for each in (person, form)] == [
        f"person:{desk.site.people['ann'].id}",
        f"staff:{desk.site.people['otto'].id}",
    ]
    assert (person.event.tenant, person.event.reason) == ("general", "not_permitted")
    facts = person.event.facts
    assert (facts["call"], facts["object"]) == ("GET /tenant/people/{id}", "per_x")
    assert "Your role is physician" in facts["detail"]
    assert staff.event.facts["call"] == "GET /operations"
    assert form.event.facts["call"] == "POST /operations/policy/new"
    for _ in range(RECORDED_BOUND + 5):
        assert ann.get("/tenant/people").status_code == 403
    assert len(desk.events("signin.session.act")) == RECORDED_BOUND + 1
