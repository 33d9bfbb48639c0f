"""Each page of the consoles, the doors and the account once, with something on it, as a phone shows it without script (house rule 13; C87, C183).

Pages are found by following links, as people do, and held against the table of the consoles' pages: a new page that no link leads to, or
that nothing here fills, fails until it is linked, filled, or listed below with why not.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from hilum.surfaces.console import policy
from tests.browser.by_pages import enter, enter_vendor, staff
from tests.browser.furnished import Furnished, caller, furnished, owner, sent
from tests.browser.keys import faults_of_keys, skip_to_content, walk_by_tab
from tests.browser.phone import kind, seen_on_a_phone, without_script
from tests.browser.stage import PHONE, SHOTS, Stage, shoot
from tests.sim.processes import until

HERE = Path(__file__).parent
PAGES_BOUND = 60
LOWERED = "/operations/policy/exceptions?kind=lowered_tier"
_LEFT_OUT = re.compile(r"/(?:live|guide|signout)\b|[?&](?:format|after|sort|show)=|#")
_HELD = "changes wait only for apps certified for production; read in test_console_changes of the flows"
UNFILLED = {
    "/developer/changes/{id}": _HELD,
    "/developer/changes/{id}/logo": "a picture",
    "/review/changes/{id}": _HELD,
    "/review/changes/{id}/logo": "a picture",
    "/developer/offers/{id}": "the sandbox has one vendor with members; read in test_console_given_away of the flows",
}
"""Pages of the table that are judged nowhere in a browser, and why."""
ELSEWHERE = {
    "developer.run": "test_certification_runs",
    "developer.submission": "test_review_console",
    "review.discipline": "test_review_console",
    "review.run": "test_certification_runs",
    "review.submission": "test_review_console",
    "tenant.emergency": "test_break_glass",
    "tenant.link": "test_federation",
    "tenant.provider": "test_federation",
    "tenant.provider_edit": "test_federation",
}
"""Pages that take a story of their own: the tests that judge them, on a phone and without script too (``on_a_phone_too``)."""


def walk(page: Page, root: str, start: str, *first: str) -> set[str]:
    """Follow the links below a console from some pages of it; judge one page of each kind. Return the kinds."""
    seen: set[str] = set()
    left = [*first, start]
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    while left:
        path = left.pop(0)
        if kind(path) in seen:
            continue
        assert len(seen) < PAGES_BOUND, left
        seen_on_a_phone(page, root + path)
        seen.add(kind(path))
        if SHOTS:
            shoot(page, kind(path).strip("/").replace("/", "-"))
            page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        links = "[...document.querySelectorAll('main a[href], nav a[href]')].map((each) => each.getAttribute('href'))"
        left += [
            each for each in page.evaluate(links) if each.startswith(start) and not _LEFT_OUT.search(each)
        ]
    return seen


def furnish(stage: Stage) -> str:
    """Put at the general hospital what a seeded sandbox has none of: an agreement, a request, what waits for a second person, a stop.

    Return the id of an app that is installed there.
    """
    with (
        caller(stage, "admin.hall", tenant="general") as hospital,
        caller(stage, "nurse.okeke", tenant="general") as nurse,
    ):
        apps = {each["name"]: each for each in sent(hospital.get("/apps"))["items"]}
        document = hashlib.sha256(b"signed").hexdigest()
        agreement = {
            "vendor": apps["Lumen Chart"]["vendor"],
            "tenant": "general",
            "kind": "data_sharing",
            "parties": ["Lumen Clinical, Inc.", "Meridian General Hospital"],
            "document": document,
            "effective_at": "2026-01-01T00:00:00Z",
        }
        sent(hospital.post("/agreements", json=agreement))
        asked = {
            "tenant": "general",
            "app": apps["Wellspring"]["id"],
            "reason": "for the ward round",
            "roles": ["nurse"],
        }
        sent(nurse.post("/requests", json=asked))
        colleague = {
            "tenant": "general",
            "username": "second.admin",
            "name": "Second Admin",
            "role": "administrator",
        }
        sent(hospital.post("/people", json=colleague))
        stop = {"kind": "resource_type", "key": "Goal", "mode": "observe", "reason": "looking"}
        with caller(stage, staff(stage, "security")) as security:
            sent(security.post("/switches", json=stop))
            fill_review(stage, security, apps["Lumen Chart"])
            let_leave(stage, security)
            connect(stage)
            lower(stage, security, apps["Lumen Chart"])
            find_defect(security, apps["Lumen Chart"])
            notify_of_an_incident(security, apps["Lumen Chart"])
        return str(apps["Lumen Chart"]["id"])


def fill_review(stage: Stage, security: httpx2.Client, app: dict[str, Any]) -> None:
    """Declare a conflict of interest, which ends again, and ask for regulated access."""
    with caller(stage, staff(stage, "reviewer")) as reviewer:
        conflict = {
            "vendor": app["vendor"],
            "reason": "I worked there until March, and a cousin still does.",
        }
        declared = sent(reviewer.post("/conflicts-of-interest", json=conflict))
        version = sent(reviewer.get(f"/apps/{app['id']}/versions"))["items"][0]["id"]
    sent(
        security.post(
            f"/conflicts-of-interest/{declared['id']}/end",
            json={"reason": "The cousin left."},
            headers={"If-Match": f'"{declared["etag"]}"'},
        )
    )
    with caller(stage, staff(stage, "platform_admin")) as admin:
        scopes = ["launch/patient", "patient/Observation.rs"]
        sent(admin.post("/regulated-access", json={"version": version, "scopes": scopes}))


def lower(stage: Stage, second: httpx2.Client, app: dict[str, Any]) -> None:
    """Lower the tier of a version for a time."""
    with caller(stage, staff(stage, "platform_admin")) as admin:
        version = sent(admin.get(f"/apps/{app['id']}/versions"))["items"][0]["id"]
        ends = (datetime.now(UTC) + timedelta(days=9)).isoformat()
        body = {
            "reason": "Certified again by then.",
            "control": "A nurse looks at each list.",
            "ends_at": ends,
        }
        order = {"kind": "lowered_tier", "version": version, "tier": "low"}
        asked = sent(admin.post("/policies/exceptions", json=order | body))
    sent(second.post(f"/approvals/{asked['approval']['id']}/approve"))


def find_defect(security: httpx2.Client, app: dict[str, Any]) -> None:
    """Record a defect of an app that was seen in the sandbox."""
    version = sent(security.get(f"/apps/{app['id']}/versions"))["items"][0]["id"]
    seen = {"seen_in": "sandbox", "severity": "low", "first_seen_at": datetime.now(UTC).isoformat()}
    sent(security.post("/defects", json=seen | {"version": version, "summary": "Shows the wrong day."}))


def notify_of_an_incident(security: httpx2.Client, app: dict[str, Any]) -> None:
    """Open an incident about an app, count whom it reached, and send its notices."""
    order = {"kind": "wrong_display", "severity": "sev3", "summary": "It shows the wrong day."}
    opened = sent(security.post("/incidents", json=order | {"app": app["id"], "tenants": ["general"]}))
    path = f"/incidents/{opened['id']}"

    def following(act: str, **body: str) -> None:
        current = sent(security.get(path))
        sent(security.post(f"{path}/{act}", json=body, headers={"If-Match": f'"{current["etag"]}"'}))

    following("measure")
    until(lambda: sent(security.get(path))["reach_at"])
    following("notify", statement="Dates are a day late. Look at the chart itself.")
    until(lambda: sent(security.get(path))["notified_at"])


@contextmanager
def snapshot(stage: Stage) -> Iterator[None]:
    """Keep a hospital of its own for a vendor for a while, as its owner: other tests expect one hospital of that name."""
    with owner(stage)[1] as developer:
        made = sent(developer.post("/sandbox-snapshots", json={"name": "mine", "template": "general"}))
        yield
        developer.delete(f"/sandbox-snapshots/{made['id']}").raise_for_status()


def let_leave(stage: Stage, second: httpx2.Client) -> None:
    """Let a hospital leave that nobody else uses."""
    with caller(stage, staff(stage, "platform_admin")) as admin:
        sent(admin.post("/tenants", json={"id": "closing", "name": "Closing Clinic", "sandbox": True}))
        asked = sent(admin.post("/tenants/closing/offboarding", json={"reason": "It closes."}))
    sent(second.post(f"/approvals/{asked['approval']['id']}/approve"))


def connect(stage: Stage) -> None:
    """Connect a hospital to a FHIR server that does not answer, and check it."""
    with caller(stage, staff(stage, "platform_admin")) as admin:
        server = {"upstream": {"kind": "http", "url": "http://127.0.0.1:9/fhir"}}
        tenant = {"id": "connected", "name": "Connected Clinic", "sandbox": True}
        sent(admin.post("/tenants", json=tenant | server))
        sent(admin.post("/fhir-servers/connected/check"))
        until(lambda: sent(admin.get("/fhir-servers/connected"))["state"] == "fails")


@pytest.fixture
def filled(stage: Stage) -> Iterator[tuple[Stage, str, Furnished]]:
    with snapshot(stage), furnished(stage) as made:
        yield stage, furnish(stage), made


def test_every_page_of_the_consoles_works_on_a_phone_without_script(
    filled: tuple[Stage, str, Furnished],
) -> None:
    """C87, C183: nothing wider than 360 px, no button that does nothing, all within reach of keys, and axe finds no fault by day and by night."""
    stage, installed, made = filled
    root = stage.running.base
    reviewer, admin = staff(stage, "reviewer"), staff(stage, "platform_admin")
    people = {
        "/operations": enter(stage, admin),
        "/tenant": enter(stage, "admin.hall", place="general"),
        "/developer": enter_vendor(stage, "owner.varga"),
        "/review": enter(stage, reviewer),
    }
    first = {
        "/operations": [
            LOWERED,
            f"/operations/requests/{made.request}",
            f"/operations/policy/dry-runs/{made.dry_run}",
            "/operations/guide",
        ],
        "/tenant": [
            f"/tenant/apps/{installed}",
            f"/tenant/apps/{installed}/networks",
            f"/tenant/apps/{installed}/write-alone",
            "/tenant/search?q=lumen",
            "/tenant/settings/fhir-server",
            "/tenant/settings/fhir-server/general",
            "/tenant/sign-in/links",
            "/tenant/sign-in/links/new",
            f"/tenant/apps/{made.app}/newer",
            f"/tenant/apps/{made.removed}/approve",
            f"/tenant/activity/{made.request}",
            "/tenant/guide",
        ],
        "/developer": [
            "/developer/team/waiting",
            "/developer/changes?kind=apps",
            f"/developer/clients/{made.client}/secret",
            "/developer/guide",
        ],
        "/review": ["/review/guide"],
    }

    seen: set[str] = set()
    for console, page in people.items():
        seen |= walk(without_script(page), root, console, *first.get(console, ()))

    every = {page.path for key, page in policy.PAGES.items() if key not in ELSEWHERE}
    assert every - seen == set(UNFILLED), "no link leads there, or nothing fills it, or it is filled now"


def test_each_page_that_is_judged_elsewhere_is() -> None:
    """C87."""
    for key, file in ELSEWHERE.items():
        text = (HERE / f"{file}.py").read_text(encoding="utf-8")
        assert f'"{key}"' in text, key
        assert "on_a_phone_too(" in text, key


def test_the_doors_and_the_account_work_on_a_phone_without_script(stage: Stage) -> None:
    """C87."""
    root = stage.running.base
    page = without_script(stage.person(size=PHONE))
    for path in ("/signin", "/t/general/signin", "/t/general/signin?language=es"):
        seen_on_a_phone(page, root + path)
    seen_on_a_phone(page, f"{root}/developer", status=401)
    staffed = without_script(enter(stage, staff(stage, "security")))
    staffed.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    for path in ("/account", "/signout"):
        seen_on_a_phone(staffed, root + path)
    patient = without_script(stage.person(size=PHONE))
    patient.goto(f"{root}/t/general/signin?then=/t/general/oauth/manage")
    stage.sign_in(patient, "amara.osei")
    for path in ("oauth/manage", "oauth/manage/history", "account", "signout"):
        seen_on_a_phone(patient, f"{root}/t/general/{path}")


@pytest.mark.parametrize("scripted", [True, False], ids=["script", "no-script"])
def test_pages_are_used_by_keys_alone(stage: Stage, scripted: bool) -> None:
    """C87: Tab reaches all of a list, a form, the menu of a phone, the sign-in and a consent, in their order, and shows where it is."""
    root = stage.running.base
    page = stage.person(size=PHONE)
    if not scripted:
        without_script(page)
    page.goto(f"{root}/t/general/signin?then=/tenant")
    walk_by_tab(page)
    page.get_by_label("Username").focus()
    page.keyboard.type("admin.hall")
    page.keyboard.press("Tab")
    page.keyboard.type("sandbox-admin.hall")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{root}/tenant")

    skip_to_content(page)
    page.locator(".side-phone > summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="menu")).to_be_visible()
    for path in ("/tenant/people", "/tenant/people/new"):
        walk_by_tab(page)
        page.goto(root + path)
    walk_by_tab(page)


def test_a_consent_is_refused_by_keys_alone(stage: Stage) -> None:
    """C87."""
    page = without_script(stage.person(size=PHONE))
    stage.ask(page, "rosalind.okafor", scope="patient/Patient.rs patient/Condition.rs")
    if page.locator("select[name=patient]").count():
        assert faults_of_keys(page) == []
        page.get_by_role("button", name="Continue").press("Enter")
    page.wait_for_selector("button[value=allow]")
    assert faults_of_keys(page) == []
    walk_by_tab(page)
    skip_to_content(page)
    page.locator("button[value=deny]").focus()
    with page.expect_request(lambda request: "error=access_denied" in request.url):
        page.keyboard.press("Space")


MAIN = "<main id=main tabindex=-1>text</main>"
WITHHELD = {
    "<button tabindex=2>a</button>": "tabindex 2",
    "<a href=/a tabindex=-1>a</a>": "tabindex -1",
    "<style>:focus-visible {outline: none}</style><a href=/a>a</a>": "looks the same",
    "<a href=/a style='position: absolute; left: -999px'>a</a>": "out of sight",
    "<details><summary>more</summary><a href=/a tabindex=1>a</a></details>": "tabindex 1",
    "<div onclick='null'>a</div>": "only for a mouse",
    "<div style='cursor: pointer'>a</div>": "only for a mouse",
    f"<a href=/a>a</a><a class=skip href='#main'>skip</a>{MAIN}": "is not first",
    f"<a class=skip href='#other'>skip</a>{MAIN}": "leads nowhere",
}
"""Pages that withhold something from keys, and what is said of them."""


def test_what_a_page_withholds_from_keys_is_found(stage: Stage) -> None:
    """C87: each fault by itself, a stop that keeps the focus, and nothing where all is well."""
    page = stage.person(size=PHONE)
    for content, said in WITHHELD.items():
        page.set_content(content)
        assert [said in each for each in faults_of_keys(page)] == [True], content
    page.set_content(f"<a class=skip href='#main'>skip</a>{MAIN}<label><input type=radio name=a></label>")
    assert faults_of_keys(page) == []
    page.set_content("<button onkeydown='event.preventDefault()'>a</button><button>b</button>")
    with pytest.raises(AssertionError):
        walk_by_tab(page)
