"""The console of a vendor's members: who opens which page, and that a form does what the API does and no more (ADR 13)."""

import asyncio
import re
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

from hilum.apps.installations import service as installations
from hilum.apps.registry import store
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.records.audit import live
from hilum.records.audit.models import Access, Outcome, PermitCount
from hilum.surfaces.console import policy
from hilum.surfaces.console.models import Console
from tests.flows import developer_ground
from tests.flows.console_ground import HOSTILE
from tests.flows.control_site import ORIGIN, TRACE, problem, send
from tests.flows.developer_ground import Desk
from tests.flows.journal_ground import access
from tests.flows.vendor_ground import ROLES, made
from tests.sim.browser import form_with, one_of_each
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.sim.world import SeededIds

desk = developer_ground.desk

PAGES = tuple(page for page in policy.PAGES.values() if page.console is Console.DEVELOPER)
MISSING = {
    "developer.agreement",
    "developer.deletion_request",
    "developer.change",
    "developer.change_logo",
    "developer.approval",
    "developer.member",
    "developer.submission",
    "developer.run",
    "developer.snapshot",
    "developer.defect",
    "developer.incident",
    "developer.offer",
}
"""Pages of things that are not there: who may open them learns so."""


def test_every_page_opens_for_the_members_of_its_roles_and_for_nobody_else(desk: Desk) -> None:
    """Role by page, each by who has the role; another vendor's app answers as if it did not exist."""
    assert len(PAGES) >= 7
    for role in ROLES:
        own, other = desk.browser(f"acme.{role}"), desk.browser(f"bolt.{role}")
        for page in PAGES:
            answer, elsewhere = own.get(desk.address(page.key)), other.get(desk.address(page.key))
            if f"vendor_{role}" not in page.roles:
                assert (answer.status_code, elsewhere.status_code) == (403, 403), (role, page.key)
                continue
            expected = 404 if page.key in MISSING else 200
            assert answer.status_code == expected, (role, page.key, answer.text[:2000])
            if "{id}" in page.path:
                assert elsewhere.status_code == 404, (role, page.key)
                assert "Ward Notes" not in elsewhere.text
        assert "Ward Notes" in own.get("/developer").text
        assert "Ward Notes" not in other.get("/developer").text


def test_nobody_else_enters_and_a_vendor_signs_in_at_its_own_page(desk: Desk) -> None:
    for browser in (desk.staff("root"), desk.staff("gina", "/t/general/signin")):
        for page in PAGES:
            answer = browser.get(desk.address(page.key))
            assert answer.status_code == 403, page.key
            assert "Ward Notes" not in answer.text
        assert browser.get("/developer/live").status_code == 403
    stranger = desk.site.browser()
    assert stranger.get("/developer").status_code == 401
    assert "not a vendor&#39;s id" in stranger.get("/developer?vendor=acme").text
    at_home = stranger.get("/developer/register", params={"vendor": desk.vendors["acme"]})
    assert at_home.headers["location"] == (
        f"{ORIGIN}/t/{desk.vendors['acme']}/signin?then=%2Fdeveloper%2Fregister"
    )
    assert desk.browser("acme.owner").get("/operations").status_code == 403


def test_a_page_does_not_link_where_its_reader_may_not_go(desk: Desk) -> None:
    for role in ROLES:
        browser = desk.browser(f"acme.{role}")
        # Each link once: the navigation is the same on every page.
        links: dict[str, str] = {}
        for page in PAGES:
            if f"vendor_{role}" not in page.roles:
                continue
            text = browser.get(desk.address(page.key)).text
            links |= dict.fromkeys(re.findall(r'href="(/developer[^"]*)"', text), page.key)
        assert links, role
        for href in one_of_each(links):
            assert browser.get(href).status_code == 200, (role, links, href)


def test_names_by_others_are_text_on_every_page(desk: Desk) -> None:
    """Markup is refused in names today; what an older release stored is still only text."""
    texts = {"name": HOSTILE, "description": HOSTILE, "purpose": HOSTILE}
    change = store.apps.update().where(store.apps.c.id == desk.app).values(texts)
    desk.site.uow.write_now(lambda ctx: ctx.tx.execute(change), trace=TRACE)
    browser = desk.browser("acme.owner")
    for page in PAGES:
        text = browser.get(desk.address(page.key)).text
        assert "<script>alert" not in text, page.key
        assert "<img src=x" not in text, page.key


def test_an_app_comes_from_nothing_to_a_client_by_forms_alone(desk: Desk) -> None:
    """Register, add a version, register a client; its secret is shown once, and the checklist follows."""
    browser = desk.browser("bolt.developer")
    assert "No app yet" in browser.get("/developer").text

    made = send(
        browser,
        "/developer/register",
        "purpose",
        name="Bolt  Notes",
        description="Writes notes.",
        purpose="Documentation",
        category="documentation_assistance",
    )
    assert made.status_code == 303, made.text
    app = made.headers["location"]
    assert "<strong>Next:</strong> Add a version." in browser.get("/developer").text
    assert send(browser, f"{app}/versions", "label", label="1.0", declares="all").status_code == 303
    assert (
        "every workflow" in unescape(browser.get(f"{app}/versions").text)
        or "every one" in browser.get(f"{app}/versions").text
    )
    new = f"{app}/clients/new"
    version = re.search(r'<option value="(ver_[^"]*)"', browser.get(new).text)
    assert version is not None
    client = send(
        browser,
        new,
        "client_name",
        client_name="Bolt Notes",
        environment="sandbox",
        version=version[1],
        kind="secret",
        redirect_uris="https://notes.example/cb\r\nhttps://notes.example/cb2\r\n",
        launch_url="https://notes.example/launch",
        scope="launch openid fhirUser patient/Observation.rs",
    )

    assert client.status_code == 200, client.text
    secret = re.search(r"hil_cs_[\w-]+", client.text)
    assert secret is not None
    assert client.headers["cache-control"] == "no-store"
    for page in ("", "/versions", "/clients"):
        assert secret[0] not in browser.get(app + page).text
    overview = browser.get(app).text
    assert "2 of 9 done" in overview
    assert "Risk tier" in overview
    assert "notes.example/cb2" in browser.get(f"{app}/clients").text
    newest = desk.events("registry.app.add")[0]
    assert newest.actor == f"member:{desk.site.people['bolt.developer'].id}"


def test_what_happened_to_an_app_is_newest_first_and_of_one_moment_in_the_order_of_cause(desk: Desk) -> None:
    """C183: nothing is certified before the version that is, and nothing has a version before it was registered."""
    desk.certified()
    desk.site.clock.advance(timedelta(days=1))
    made(desk.site.api("acme.developer").post(f"/apps/{desk.app}/versions", json={"label": "9"}))

    text = unescape(desk.browser("acme.developer").get(f"/developer/apps/{desk.app}").text)

    happened = re.search(r'id="happened".*?</ol>', text, re.DOTALL)
    assert happened is not None
    lines = re.findall(r"</strong> (.*?)</p>", happened[0])
    kinds = [re.match(r"was \w+|got the \w+", what) for what in lines]
    assert [kind[0] for kind in kinds if kind] == [
        "got the version",
        "was certified",
        "got the client",
        "got the client",
        "got the version",
        "was registered",
    ]


def test_a_form_with_faults_keeps_what_was_typed_and_says_what_to_do(desk: Desk) -> None:
    browser = desk.browser("bolt.owner")
    before = len(desk.events("registry.app.add"))

    answer = send(
        browser,
        "/developer/register",
        "purpose",
        name="Acme Health",
        description="",
        purpose="x",
        category="no",
    )

    assert answer.status_code == 422
    for sentence in (
        "People would take this name for that of another vendor",
        "A description of the app is required.",
        "The policy has no such category.",
    ):
        assert sentence in answer.text
    assert 'value="Acme Health"' in answer.text
    assert len(desk.events("registry.app.add")) == before
    own = desk.browser("acme.developer")
    wrong = send(
        own,
        desk.address("developer.client_new"),
        "client_name",
        kind="browser",
        version=desk.version,
        scope="patient/Nothing.rs system/*.rs",
        redirect_uris="http://evil.example/",
        jwks="[",
    )
    assert wrong.status_code == 422
    assert "This is not a JSON Web Key Set." in wrong.text
    assert "http://evil.example/" in wrong.text
    nul = send(own, desk.address("developer.versions"), "label", label="1\x00")
    assert nul.status_code in {400, 422}
    assert own.get("/developer/apps/%00").status_code == 404


def test_a_secret_is_replaced_with_an_overlap_and_not_twice_by_one_form(desk: Desk) -> None:
    """Shown once, the previous one ends as chosen; a reloaded page makes no second one."""
    page = desk.address("developer.secret")
    browser = desk.browser("acme.security")
    form = form_with(browser.get(page).text, "overlap")
    values = dict(form.fields) | {"overlap": "1h"}
    desk.site.clock.advance(timedelta(seconds=60))

    made = browser.post(page, data=values)
    again = browser.post(page, data=values)

    assert made.status_code == 200, made.text
    assert re.search(r"hil_cs_[\w-]+", made.text)
    assert "The previous secret works until" in made.text
    assert again.status_code == 409
    assert "hil_cs_" not in again.text
    assert len(desk.events("registry.secret.rotate")) == 1
    assert browser.get(desk.address("developer.clients")).text.count('<th scope="row">Secret') == 2


FORGED = ("no token", "another page's token", "a colleague's token", "another site")


@in_one_world("how", FORGED)
def test_a_form_that_did_not_come_from_its_page_does_nothing(desk: Desk, how: str) -> None:
    """House rule 13; Fetch Metadata section 2.2."""
    page, browser = desk.address("developer.secret"), desk.browser("acme.owner")
    values, headers = {"overlap": "0"}, {}
    if how == "no token":
        values["csrf"] = ""
    if how == "another page's token":
        values["csrf"] = dict(form_with(browser.get("/developer/register").text, "purpose").fields)["csrf"]
    if how == "a colleague's token":
        colleague = desk.browser("acme.developer")
        values["csrf"] = dict(form_with(colleague.get(page).text, "overlap").fields)["csrf"]
    if how == "another site":
        headers = {"sec-fetch-site": "cross-site"}

    answer = send(browser, page, "overlap", headers, **values)

    assert answer.status_code == 403
    assert desk.events("registry.secret.rotate") == []


def test_who_may_not_act_is_refused_though_the_form_is_real(desk: Desk) -> None:
    """The verb judges again: a form of another vendor's page, and one of a role without the right."""
    own, billing, stranger = (
        desk.browser("acme.owner"),
        desk.browser("acme.billing"),
        desk.browser("bolt.owner"),
    )
    assert "Replace the secret" not in billing.get(desk.address("developer.clients")).text
    assert "Add the version" not in billing.get(desk.address("developer.versions")).text
    page = desk.address("developer.versions")
    token = dict(form_with(own.get(page).text, "label").fields)["csrf"]
    for browser, status in ((billing, 403), (stranger, 403)):
        answer = browser.post(page, data={"csrf": token, "label": "9", "declares": "all"})
        assert answer.status_code == status
    # With a token of their own, the verb refuses.
    strange = dict(form_with(stranger.get("/developer/register").text, "purpose").fields)
    assert strange["csrf"]
    assert len(desk.events("registry.version.add")) == 1


def record(desk: Desk, *calls: Access) -> None:
    """Write calls to the journal that the site reads."""
    url = desk.site.uow.db.url
    folder = journal_of(desk.site.uow)
    journal = live.open_journal(url, folder, "node-calls", SeededIds("calls"))

    async def work() -> None:
        for each in calls:
            await journal.record(each)

    asyncio.run(work())
    journal.close()


def call(desk: Desk, n: int, tenant: str, **more: Any) -> Access:
    at = desk.site.clock.now() - timedelta(seconds=60 - n)
    facts = {
        "app": desk.app,
        "client": desk.client,
        "vendor": desk.vendors["acme"],
        "at": at,
        "tenant": tenant,
    }
    return access(n, **facts, **more)


REFUSED = {"outcome": Outcome.REFUSED, "detail": "It lacks patient/Condition.r", "rule": "no scope"}
PRIVATE = ("per_1", "lch_1", "pat-", "Observation/", "code=x")


def test_a_vendor_sees_what_its_app_was_answered_and_nobodys_record(desk: Desk) -> None:
    """Patients, paths and persons of a production hospital stay there; absent and withheld records look the same here too."""
    record(
        desk,
        call(desk, 1, "mercy"),
        call(desk, 2, "mercy", status=403, reason="scope_insufficient", **REFUSED),
        call(desk, 3, "mercy", status=404, reason="label_withheld", **REFUSED),
        call(desk, 4, "mercy", status=404),
        call(desk, 5, "general", status=404, reason="label_withheld", **REFUSED),
        call(desk, 6, "mercy", status=0, outcome=Outcome.INTENDED),
        access(7, app="app_other", at=desk.site.clock.now()),
    )
    developer, page = desk.site.api("acme.developer"), desk.browser("acme.developer")

    items = developer.get(f"/apps/{desk.app}/calls").json()["items"]

    assert [(each["tenant"], each["status"], each["reason"]) for each in items] == [
        ("general", 404, "label_withheld"),
        ("mercy", 404, ""),
        ("mercy", 404, ""),
        ("mercy", 403, "scope_insufficient"),
        ("mercy", 200, ""),
    ]
    assert {tuple(each["without"]) for each in items} == {()}
    absent, withheld = ({**each, "at": "", "request_id": ""} for each in items[1:3])
    assert absent == withheld
    assert items[0]["path"] == "Observation/5?code=x"
    assert not any(text in str(items[1:]) for text in PRIVATE)
    walked, after = [], ""
    for _ in range(9):
        found = developer.get(f"/apps/{desk.app}/calls", params={"limit": 2, "after": after}).json()
        walked += [each["request_id"] for each in found["items"]]
        after = found["next"]
        if not after:
            break
    assert walked == [each["request_id"] for each in items]
    shown = page.get(desk.address("developer.traffic")).text
    assert "Mercy" in shown
    assert "scope insufficient" in shown
    assert not any(text in shown for text in ("per_1", "lch_1", "Observation/2", "Observation/3"))
    assert desk.events("audit.access.list")[0].actor.startswith("member:")


def test_calls_and_scopes_are_for_the_members_of_the_vendor_alone(desk: Desk) -> None:
    problem(desk.site.api("bolt.owner").get(f"/apps/{desk.app}/calls"), 404, "app_not_found")
    for who in ("root", "otto", "gina"):
        problem(desk.site.api(who).get(f"/apps/{desk.app}/calls"), 403, "not_permitted")
    problem(desk.site.api("bolt.owner").get(f"/apps/{desk.app}/scopes?days=30"), 404, "app_not_found")
    own = desk.site.api("acme.billing")
    problem(own.get(f"/apps/{desk.app}/scopes?days=30&tenant=general"), 404, "tenant_not_found")
    rows = own.get(f"/apps/{desk.app}/scopes?days=90").json()["rows"]
    assert {each["scope"]: each["asked"] for each in rows}["patient/*.rs"] is True
    shown = desk.browser("acme.billing").get(desk.address("developer.scopes") + "?days=90").text
    assert "patient/*.rs" in shown
    assert desk.browser("acme.billing").get(desk.address("developer.scopes") + "?days=31").status_code == 422


def test_a_vendor_learns_whether_a_scope_was_used_and_not_how_often(desk: Desk) -> None:
    """ADR 13: after a single request, the number would say whether a record is absent or withheld."""
    reads = partial(
        installations.compare_scopes,
        app_id=AppId(desk.app),
        days=90,
        tenant=None,
        permits=lambda *_: [PermitCount("patient/*.rs", "Observation", "read", 7, desk.site.clock.now())],
    )
    member = Actor(
        ActorKind.MEMBER, "per_1", None, frozenset({"vendor_billing"}), VendorId(desk.vendors["acme"])
    )
    rows = {each.scope: each for each in desk.site.uow.read_now(reads, actor=member, trace=TRACE).rows}

    assert (rows["patient/*.rs"].used, rows["patient/*.rs"].last) == (1, None)
    staff = {each.scope: each for each in desk.site.uow.read_now(reads, actor=SYSTEM, trace=TRACE).rows}
    assert staff["patient/*.rs"].used == 7


def test_calls_from_before_a_transfer_stay_with_the_former_vendor(desk: Desk) -> None:
    record(desk, call(desk, 1, "mercy"))
    moved = store.apps.update().where(store.apps.c.id == desk.app)
    changes = {"vendor": desk.vendors["bolt"], "owner_since": desk.site.clock.now()}
    desk.site.uow.write_now(lambda ctx: ctx.tx.execute(moved.values(changes)), trace=TRACE)

    assert desk.site.api("bolt.owner").get(f"/apps/{desk.app}/calls").json()["items"] == []
    problem(desk.site.api("acme.owner").get(f"/apps/{desk.app}/calls"), 404, "app_not_found")
