"""Three apps from registration to their certification, in Chromium, each act by whose it is (S5 of the review)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import orjson
from joserfc.jwk import ECKey
from playwright.sync_api import Page as Playwright
from playwright.sync_api import expect

from hilum.infra.system import SystemClock
from tests.browser.stage import Stage, overflow
from tests.browser.test_consoles import enter, staff
from tests.browser.test_developer_console import enter as enter_vendor
from tests.browser.test_review_console import STATED, begin
from tests.sim.jwks_host import Page
from tests.sim.jwks_host import running as serving
from tests.sim.outsiders import VENDORS_HOST
from tests.sim.tls_host import Authority

IDENTITY = "launch openid fhirUser"
APPS = {
    "Slot Finder": (
        "scheduling",
        "Runs in the browser",
        f"{IDENTITY} user/Appointment.rs user/Practitioner.rs",
    ),
    "Visit Scribe": (
        "documentation_assistance",
        "Runs on a server, with a secret",
        f"{IDENTITY} patient/Condition.rs patient/DocumentReference.crs",
    ),
    "Care Gauge": ("population_health", "A backend service", "system/Patient.rs system/Condition.rs"),
}
WORK = {"Slot Finder": "appointments", "Visit Scribe": "documentation", "Care Gauge": "quality_reporting"}


def register(page: Playwright, name: str, host: str) -> str:
    """Register an app with a version and a client for the sandbox, as its developer; return its id."""
    category, kind, scopes = APPS[name]
    page.goto(page.url.partition("/developer")[0] + "/developer/register")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("What it does").fill("Does its work.")
    page.get_by_label("What the data is for").fill("Care")
    page.get_by_label("Category").select_option(category)
    page.get_by_role("button", name="Register the app").click()
    page.get_by_role("link", name="Add a version").click()
    app = page.url.rpartition("/apps/")[2].partition("/")[0]
    page.get_by_label("Label").fill("1.0")
    page.get_by_label("Only what is ticked below").check()
    page.get_by_text("Workflows (").click()
    page.locator(f"input[name=workflows][value={WORK[name]}]").check()
    page.get_by_role("button", name="Add the version").click()
    page.goto(page.url.replace("/versions", "/clients/new"))
    page.get_by_label(kind, exact=False).first.check()
    page.get_by_role("textbox", name="Scopes").fill(scopes)
    if name == "Care Gauge":
        page.get_by_text("Keys, for a server").click()
        page.get_by_label("Or the public keys").fill(public_keys())
        page.get_by_text("For a backend service", exact=True).click()
        for label in ("What it is for", "Whose records", "When it runs"):
            page.get_by_label(label).fill("Quality, nightly")
        page.get_by_label("Its last day").fill(f"{SystemClock().now() + timedelta(days=90):%Y-%m-%d}")
    else:
        page.get_by_label("Redirect addresses").fill(f"https://{host}/callback")
        page.get_by_label("Launch address").fill(f"https://{host}/launch")
    page.get_by_role("button", name="Register the client").click()
    expect(page.get_by_role("link", name=f"To the clients of {name}")).to_be_visible()
    return app


def public_keys() -> str:
    key = ECKey.generate_key("P-384", parameters={"kid": "story", "alg": "ES384", "use": "sig"})
    return orjson.dumps({"keys": [key.as_dict(private=False)]}).decode()


@contextmanager
def host_of_vendor(authority: Authority) -> Iterator[str]:
    """Serve what a vendor publishes over TLS, and its apps; yield the host with its port."""
    with serving(authority.server(VENDORS_HOST)) as host:
        for path in ("/privacy", "/terms", "/callback", "/launch"):
            host.pages[path] = Page(body=b"Of the vendor.")
        yield f"{VENDORS_HOST}:{host.port}"


def submit(page: Playwright, app: str, host: str) -> str:
    """State what hospitals must know, submit the app's version for the sandbox, and return the submission, as its owner."""
    page.goto(page.url.partition("/developer")[0] + f"/developer/apps/{app}/statements")
    for label, text in STATED.items():
        page.get_by_label(label).fill(text.replace("lumen.example", host) if "https" in text else text)
    page.get_by_label("No", exact=True).check()
    page.get_by_role("button", name="Save what is stated").click()
    begin(page, "The sandbox, to try it")
    for each in page.get_by_label("What the app does with it").all():
        each.fill("Needed for its work.")
    page.get_by_role("button", name="Submit to review").click()
    expect(page.get_by_text("Nothing of it changes any more")).to_be_visible()
    return page.url.rpartition("/")[2]


def judge_lens(page: Playwright, submission: str, lens: str) -> None:
    """Take a lens and let it pass, as the reviewer who signs for it, unless it passed without a person."""
    page.goto(page.url.partition("/review")[0] + f"/review/submissions/{submission}/{lens}")
    take = page.get_by_role("button", name="Take it")
    if not take.count():
        expect(page.locator("h1")).to_contain_text("passed")
        return
    take.click()
    for each in page.locator("input[value=met]").all():
        each.check()
    page.get_by_label("It passes").check()
    page.get_by_label("In your words").fill("In order.")
    page.get_by_role("button", name="Give the verdict").click()
    expect(page.locator("h1")).to_contain_text("passed")


def certify(stage: Stage, submissions: list[str]) -> None:
    """Judge each lens as the reviewer who signs for it, and certify, as one of them."""
    reviewers = {}
    for number, lens in enumerate(("technical", "legal", "clinical")):
        page = enter(stage, staff(stage, "reviewer", number))
        reviewers[lens] = page
        for each in submissions:
            page.goto(f"{stage.running.base}/review/submissions/{each}")
            expect(page.get_by_text("Nothing in the checks keeps it")).to_be_visible(timeout=30_000)
            if page.locator(f'a[href$="{each}/{lens}"]').count():
                judge_lens(page, each, lens)
    page = reviewers["technical"]
    for each in submissions:
        page.goto(f"{stage.running.base}/review/submissions/{each}")
        if "approved" in page.locator("h1").inner_text():
            continue  # of the low tier, with clean checks: certified without a person
        page.get_by_label("Why").fill("In order.")
        page.get_by_role("button", name="Certify").click()
        expect(page.locator("h1")).to_contain_text("approved")


def test_three_apps_are_certified_by_pages(stage: Stage, authority: Authority) -> None:
    """C98, C100: registered and submitted by their vendor, judged in their lenses by one reviewer each, and certified."""
    developer = enter_vendor(stage, "owner.varga")
    with host_of_vendor(authority) as host:
        apps = {name: register(developer, name, host) for name in APPS}
        certify(stage, [submit(developer, app, host) for app in apps.values()])
    developer.goto(f"{stage.running.base}/developer/apps/{apps['Slot Finder']}")
    expect(developer.locator("h1")).to_contain_text("approved")
    assert overflow(developer) <= 0
