"""Each kind of page of the consoles once, as it is with something on it: found by following links, as people do (house rule 13; S3)."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page

from tests.browser.by_pages import enter, enter_vendor, staff
from tests.browser.stage import PHONE, Stage, overflow, shoot, violations

PAGES_BOUND = 60
LOWERED = "/operations/policy/exceptions?kind=versions"
_ID = re.compile(
    r"(?<=/)(?:[a-z]{2,5}_[0-9a-z]{26}|[0-9a-f]{64}|req_[0-9a-z]+|[a-z_.]+:[^/]+)(?=/|$)"
    r"|(?<=/scopes/)[a-z_]+$|(?<=/versions/)\d+"
)
_LEFT_OUT = re.compile(r"/(?:live|guide|signout)\b|[?&](?:format|after|sort|show)=|#")


def kind(path: str) -> str:
    """Return which page it is, whatever it is about."""
    return _ID.sub("{id}", path.partition("?")[0])


def walk(page: Page, root: str, start: str, *first: str) -> set[str]:
    """Follow the links below a console from some pages of it; judge one page of each kind on a phone at night. Return the kinds."""
    seen: set[str] = set()
    left = [*first, start]
    while left and len(seen) < PAGES_BOUND:
        path = left.pop(0)
        if kind(path) in seen:
            continue
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        page.emulate_media(color_scheme="dark")
        answer = page.goto(root + path)
        assert answer is not None
        assert answer.status == 200, path
        seen.add(kind(path))
        assert overflow(page) <= 0, f"{path} is wider than a phone"
        assert violations(page) == [], path
        shoot(page, kind(path).strip("/").replace("/", "-"))
        links = "[...document.querySelectorAll('main a[href], nav a[href]')].map((each) => each.getAttribute('href'))"
        left += [
            each for each in page.evaluate(links) if each.startswith(start) and not _LEFT_OUT.search(each)
        ]
    return seen


def caller(stage: Stage, username: str, **place: str) -> httpx2.Client:
    """Return a caller of the API with somebody's token."""
    made = httpx2.post(
        f"{stage.running.base}/api/v1/tokens",
        json={"username": username, "password": f"sandbox-{username}", **place},
    )
    assert made.status_code == 201, made.text
    headers = {"authorization": f"Bearer {made.json()['token']}"}
    return httpx2.Client(base_url=f"{stage.running.base}/api/v1", headers=headers)


def sent(answer: httpx2.Response) -> Any:
    assert answer.status_code in {200, 201, 202}, answer.text
    return answer.json()


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
            lower(stage, security, apps["Lumen Chart"])
        return str(apps["Lumen Chart"]["id"])


def fill_review(stage: Stage, security: httpx2.Client, app: dict[str, Any]) -> None:
    """Declare a tie, which ends again, and ask for regulated access."""
    with caller(stage, staff(stage, "reviewer")) as reviewer:
        tie = {"vendor": app["vendor"], "reason": "I worked there until March, and a cousin still does."}
        declared = sent(reviewer.post("/ties", json=tie))["id"]
        version = sent(reviewer.get(f"/apps/{app['id']}/versions"))["items"][0]["id"]
    sent(security.post(f"/ties/{declared}/end", json={"reason": "The cousin left."}))
    with caller(stage, staff(stage, "platform_admin")) as admin:
        scopes = ["launch/patient", "patient/Observation.rs"]
        sent(admin.post("/regulated-access", json={"version": version, "scopes": scopes}))


def lower(stage: Stage, second: httpx2.Client, app: dict[str, Any]) -> None:
    """Let a version count as of a lower tier for a time."""
    with caller(stage, staff(stage, "platform_admin")) as admin:
        version = sent(admin.get(f"/apps/{app['id']}/versions"))["items"][0]["id"]
        ends = (datetime.now(UTC) + timedelta(days=9)).isoformat()
        body = {"tier": "low", "reason": "Certified again by then.", "control": "A nurse looks at each list."}
        asked = sent(admin.post(f"/app-versions/{version}/lower-tier", json=body | {"ends_at": ends}))
    sent(second.post(f"/approvals/{asked['approval']['id']}/approve"))


def let_leave(stage: Stage, second: httpx2.Client) -> None:
    """Let a hospital leave that nobody else uses."""
    with caller(stage, staff(stage, "platform_admin")) as admin:
        sent(admin.post("/tenants", json={"id": "closing", "name": "Closing Clinic"}))
        asked = sent(admin.post("/tenants/closing/departure", json={"reason": "It closes."}))
    sent(second.post(f"/approvals/{asked['approval']['id']}/approve"))


@pytest.fixture
def filled(stage: Stage) -> tuple[Stage, str]:
    return stage, furnish(stage)


def test_pages_of_every_kind_are_accessible_with_something_on_them(filled: tuple[Stage, str]) -> None:
    stage, installed = filled
    root = stage.running.base

    operations = walk(enter(stage, staff(stage, "platform_admin")), root, "/operations", LOWERED)
    hospital = walk(enter(stage, "admin.hall", place="general"), root, "/tenant", f"/tenant/apps/{installed}")
    vendor = walk(enter_vendor(stage, "owner.varga"), root, "/developer")
    review = walk(enter(stage, staff(stage, "reviewer")), root, "/review")

    assert operations >= {
        "/operations/apps/{id}",
        "/operations/switches/{id}",
        "/operations/policy/versions/{id}",
        "/operations/policy/versions/{id}/apply",
        "/operations/policy/exceptions/{id}",
        "/operations/scopes/{id}",
        "/operations/departures/{id}",
        "/operations/staff/{id}",
    }
    assert hospital >= {
        "/tenant/apps/{id}",
        "/tenant/apps/{id}/narrow",
        "/tenant/requests/{id}",
        "/tenant/people/{id}",
        "/tenant/agreements/{id}",
        "/tenant/waiting/{id}",
    }
    assert vendor >= {
        "/developer/apps/{id}",
        "/developer/apps/{id}/review",
        "/developer/agreements/{id}",
        "/developer/team/{id}",
    }
    assert review >= {"/review/reviewers", "/review/ties/{id}", "/review/regulated-access/{id}"}
