"""What people do by pages, whoever tells their story: sign in at their console, register and submit an app, judge it, approve, narrow and stop it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import orjson
from joserfc.jwk import ECKey
from playwright.sync_api import Page, expect

from hilum.foundation.infra.system import SystemClock
from tests.browser.stage import Stage, whole
from tests.sim import jwks_host
from tests.sim.outsiders import VENDORS_HOST
from tests.sim.tls_host import Authority

IN_BROWSER, ON_SERVER, BACKEND = "Runs in the browser", "Runs on a server, with a secret", "A backend service"

"""A folder for pictures of the pages, if somebody wants to see them."""
STATED = {
    "Who answers for it": "Ilona Varga",
    "Support address": "help@lumen.example",
    "Security address": "security@lumen.example",
    "Whom to reach if security does not answer": "On call, +1 555 0100",
    "Privacy policy": "https://lumen.example/privacy",
    "Terms of use": "https://lumen.example/terms",
    "Kept for days": "0",
    "What is kept, and how it is deleted": "Nothing is kept.",
    "Hosting regions": "US",
    "Subcontractors": "none",
}


@dataclass(frozen=True)
class Planned:
    """An app that somebody is about to register. ``workflow``: the one that its version declares; ``population``: how many patients it reaches."""

    name: str
    category: str
    kind: str
    scopes: str
    workflow: str
    population: str = ""


@dataclass(frozen=True)
class Registered:
    """What its developer knows of it then."""

    app: str
    client: str
    secret: str


def enter(
    stage: Stage, username: str, page: Page | None = None, *, place: str = "", script: bool = True
) -> Page:
    """Sign somebody in at a console."""
    page = page or stage.person(script=script)
    site, console = stage.running.base, "/tenant" if place else "/operations"
    page.goto(f"{site}{f'/t/{place}' if place else ''}/signin?then={console}")
    stage.sign_in(page, username)
    # Whole, since the address of the sign-in page ends with the console's too.
    page.wait_for_url(f"{site}{console}")
    return page


def enter_vendor(stage: Stage, username: str, *, script: bool = True) -> Page:
    """Sign a member of a vendor in, by the door that asks for the vendor."""
    member = next(each for each in stage.running.card["members"] if each["username"] == username)
    page = stage.person(script=script)
    page.goto(f"{stage.running.base}/developer")
    page.get_by_label("Your vendor's id").fill(member["vendor"])
    page.get_by_role("button", name="Go on").click()
    stage.sign_in(page, username)
    page.wait_for_url(f"{stage.running.base}/developer")
    return page


def staff(stage: Stage, role: str, number: int = 0) -> str:
    """Return one of the staff with a role."""
    return [str(each["username"]) for each in stage.running.card["staff"] if each["role"] == role][number]


def fill_app(page: Page, name: str, category: str = "documentation_assistance") -> None:
    """Register an app on the page for that, and go on to its first version."""
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("What it does").fill("Does its work.")
    page.get_by_label("What the data is for").fill("Care")
    page.get_by_label("Category").select_option(category)
    page.get_by_role("button", name="Register the app").click()
    expect(page.locator("h1")).to_contain_text(name)
    page.get_by_role("link", name="Add a version").click()


def add_version(page: Page, workflow: str = "", population: str = "") -> None:
    """Add the first version of the app whose versions are open."""
    page.get_by_label("Label").fill("1.0")
    if population:
        page.locator("select[name=population]").select_option(population)
    if workflow:
        page.get_by_label("Only what is ticked below").check()
        page.get_by_text("Workflows (").click()
        page.locator(f"input[name=workflows][value={workflow}]").check()
        page.get_by_text("Placements (").click()
        page.locator("input[name=placements][value=sidebar]").check()
    else:
        page.get_by_label("Not declared").check()
    page.get_by_role("button", name="Add the version").click()
    expect(page.get_by_role("heading", name="Version 1.0")).to_be_visible()


def register(page: Page, planned: Planned, origin: str) -> Registered:
    """Register an app with a version and a client for the sandbox, as its developer."""
    page.goto(page.url.partition("/developer")[0] + "/developer/register")
    fill_app(page, planned.name, planned.category)
    app = page.url.rpartition("/apps/")[2].partition("/")[0]
    add_version(page, planned.workflow, planned.population)
    page.goto(page.url.replace("/versions", "/clients/new"))
    page.get_by_label(planned.kind, exact=False).first.check()
    page.get_by_role("textbox", name="Scopes").fill(planned.scopes)
    if planned.kind == BACKEND:
        _fill_service(page)
    else:
        page.get_by_label("Redirect addresses").fill(f"{origin}/app")
        page.get_by_label("Launch address").fill(f"{origin}/launch")
    page.get_by_role("button", name="Register the client").click()
    clients = page.get_by_role("link", name=f"To the clients of {planned.name}")
    expect(clients).to_be_visible()
    whole(page)
    secret = page.locator("#the-secret").inner_text() if page.locator("#the-secret").count() else ""
    clients.click()
    whole(page)
    client = re.search(r"cli_[0-9a-z]{26}", page.locator("main").inner_text())
    assert client is not None
    return Registered(app, client[0], "".join(re.findall(r"hil_cs_[A-Za-z0-9_-]+", secret)[:1]))


def _fill_service(page: Page) -> None:
    key = ECKey.generate_key("P-384", parameters={"kid": "story", "alg": "ES384", "use": "sig"})
    page.get_by_text("Keys, for a server").click()
    page.get_by_label("Or the public keys").fill(
        orjson.dumps({"keys": [key.as_dict(private=False)]}).decode()
    )
    page.get_by_text("For a backend service", exact=True).click()
    for label in ("What it is for", "Whose records", "When it runs"):
        page.get_by_label(label).fill("Quality, nightly")
    page.get_by_label("Its last day").fill(f"{SystemClock().now() + timedelta(days=90):%Y-%m-%d}")


@contextmanager
def documents_of_vendor(authority: Authority) -> Iterator[str]:
    """Serve what a vendor publishes over TLS; yield the host with its port."""
    with jwks_host.running(authority.server(VENDORS_HOST)) as host:
        for path in ("/privacy", "/terms"):
            host.pages[path] = jwks_host.Page(body=b"Of the vendor.")
        yield f"{VENDORS_HOST}:{host.port}"


def begin(page: Page, environment: str) -> None:
    """Begin a submission of the newest version of the app whose page is open."""
    page.get_by_role("link", name="Review", exact=True).click()
    page.get_by_label(environment).check()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("button", name="Submit to review")).to_be_visible()
    whole(page)


def submit(page: Page, app: str, host: str) -> str:
    """State what hospitals must know, submit the app's version for the sandbox, and return the submission, as its owner."""
    page.goto(page.url.partition("/developer")[0] + f"/developer/apps/{app}/statements")
    for label, text in STATED.items():
        page.get_by_label(label).fill(text.replace("lumen.example", host) if "https" in text else text)
    page.get_by_label("No", exact=True).check()
    with page.expect_navigation():
        page.get_by_role("button", name="Save what is stated").click()
    begin(page, "The sandbox, to try it")
    for each in page.get_by_label("What the app does with it").all():
        each.fill("Needed for its work.")
    page.get_by_role("button", name="Submit to review").click()
    expect(page.get_by_text("It can no longer be changed")).to_be_visible()
    return page.url.rpartition("/")[2]


def certify(stage: Stage, submissions: list[str]) -> None:
    """Judge each discipline as the reviewer who signs for it, and certify, as one of them."""
    reviewers = {}
    for number, discipline in enumerate(("technical", "legal", "clinical")):
        page = enter(stage, staff(stage, "reviewer", number))
        reviewers[discipline] = page
        for each in submissions:
            page.goto(f"{stage.running.base}/review/submissions/{each}")
            expect(page.get_by_text("Nothing in the checks keeps it")).to_be_visible(timeout=30_000)
            whole(page)
            if page.locator(f'a[href$="{each}/{discipline}"]').count():
                _judge_discipline(page, each, discipline)
    page = reviewers["technical"]
    for each in submissions:
        page.goto(f"{stage.running.base}/review/submissions/{each}")
        if "approved" in page.locator("h1").inner_text():
            continue  # of the low tier, with clean checks: certified without a person
        page.get_by_label("Why").fill("In order.")
        page.get_by_role("button", name="Certify").click()
        expect(page.locator("h1")).to_contain_text("approved")


def _judge_discipline(page: Page, submission: str, discipline: str) -> None:
    """Take a discipline and let it pass, as the reviewer who signs for it, unless it passed without a person."""
    page.goto(page.url.partition("/review")[0] + f"/review/submissions/{submission}/{discipline}")
    take = page.get_by_role("button", name="Take it")
    if not take.count():
        expect(page.locator("h1")).to_contain_text("passed")
        return
    take.click()
    whole(page)
    for each in page.locator("input[value=met]").all():
        each.check()
    page.get_by_label("It passes").check()
    page.get_by_label("In your words").fill("In order.")
    page.get_by_role("button", name="Give the verdict").click()
    expect(page.locator("h1")).to_contain_text("passed")


def approve(page: Page, app: str, role: str) -> None:
    """Approve an app at a hospital, for one role."""
    page.goto(page.url.partition("/tenant")[0] + f"/tenant/apps/{app}/approve")
    page.get_by_label(role, exact=True).check()
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("h1")).to_contain_text("approved")


def find_refusal(page: Page, app: str, what: str) -> None:
    """Open the refused call of an app from what happened at the hospital."""
    page.goto(page.url.partition("/tenant")[0] + f"/tenant/activity?app={app}")
    page.locator("[data-row]").filter(has_text=what).get_by_role("link").first.click()
    expect(page.locator("h1")).to_contain_text("refused")


def narrow(page: Page, app: str, what: str) -> None:
    """Take a type of record away from an app at a hospital."""
    page.goto(page.url.partition("/tenant")[0] + f"/tenant/apps/{app}")
    page.get_by_role("link", name="Narrow it").first.click()
    whole(page)
    for box in page.locator(f"input[name=scope][value*={what}]").all():
        box.uncheck()
    page.get_by_role("button", name="Narrow").click()
    expect(page.locator("#here")).to_be_visible()


def stop(page: Page, app: str, why: str) -> None:
    """Stop an app at a hospital."""
    page.goto(page.url.partition("/tenant")[0] + f"/tenant/apps/{app}")
    page.get_by_role("link", name="Stop").first.click()
    page.get_by_label("Why").fill(why)
    page.locator("form button.button-danger").click()
    page.wait_for_url("**/tenant/switches/sw_*")
    expect(page.locator("h1")).to_contain_text("stopped")
