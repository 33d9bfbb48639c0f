"""W1 to W4: what people do by pages in Chromium, in a sandbox that ``make run`` started in a fresh clone, and how long it takes them.

A person's time is the machine's by the clock, and that of their hands by the keystroke-level model (``tests.browser.hand``), since a
test types and points in no time. It says nothing about reading more than a line. What is committed is measured.

``PICTURES=docs/images`` also takes README's pictures again, from the same sandbox.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
from playwright.sync_api import Frame, Page, expect, sync_playwright

from tests.bench.figures import Figure
from tests.browser.by_pages import enter, narrow, staff, stop
from tests.browser.conftest import CHROMIUM
from tests.browser.fhirclient_app import FRAMED, PAGE, app
from tests.browser.hand import BUTTON_S, HOME_S, KEY_S, POINT_S, Hand
from tests.browser.stage import Stage
from tests.sim.postgres import free_port
from tests.sim.running import Running

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 300
PICTURES = os.environ.get("PICTURES", "")
COUNTED_S = 45.0
"""When the staff's first page has counted what an app did."""
SCOPES = "launch openid fhirUser offline_access patient/*.rs"
"""What the form offers."""
READY = """
const client = await FHIR.oauth2.ready();
const found = await client.request(`Condition?patient=${client.patient.id}`, {pageLimit: 0, flat: true});
document.getElementById("out").textContent = `${found.length} conditions`;
"""


@dataclass
class Walk:
    """One job of a person: their hands, the pages that they saw, and when it began."""

    hand: Hand
    pages: int = 0
    begun: float = 0.0

    def figure(self, id_: str, what: str, within_s: int, *, before_s: float = 0.0) -> Figure:
        """Return what it took; ``before_s``: what passed before the first page."""
        machine = time.monotonic() - self.begun + before_s
        took = machine + self.hand.seconds
        did = f"{self.pages} pages, {self.hand.clicks} clicks, {self.hand.keys} keys"
        parts = [f"the machine {machine:.1f} s, hands {self.hand.seconds:.1f} s; {did}"]
        return Figure(id_, what, took, f"{took:.1f} s", f"<= {within_s} s", took <= within_s, parts)


def walk(page: Page) -> Walk:
    """Begin a job at a page that is open."""
    begun = Walk(Hand(page, at_keyboard=False), begun=time.monotonic())

    def seen(frame: Frame) -> None:
        begun.pages += frame == page.main_frame

    page.on("framenavigated", seen)
    return begun


def figures() -> list[Figure]:
    """Clone this repository, start it, and do the four jobs."""
    path = next((each for name in CHROMIUM if (each := shutil.which(name))), None)
    assert path is not None, "Chromium is missing: run `tools/ensure chromium`"
    found = []
    with cloned() as (running, ready_s), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        if PICTURES:
            stage = Stage(browser, running)
            take_pictures(stage, Path(PICTURES))
            stage.close()
        jobs: list[Callable[[Stage], Figure]] = [
            lambda stage: open_own_app(stage, ready_s),
            approve_and_narrow,
            find_why,
            stop_app,
        ]
        for job in jobs:
            stage = Stage(browser, running)
            found.append(job(stage))
            stage.close()
        browser.close()
    return found


@contextmanager
def cloned() -> Iterator[tuple[Running, float]]:
    """Run ``make run`` in a clone of what is committed; yield it with the seconds from the clone to its first page."""
    port, sandbox_port = free_port(), free_port()
    words = ["make", "run", f"PORT={port}", f"SANDBOX_PORT={sandbox_port}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HILUM_", "VIRTUAL_"))}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "run.log").open("wb") as log:
        begun = time.monotonic()
        clone = Path(folder) / "hilum"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        # A session of its own, so that what it starts is stopped with it.
        process = subprocess.Popen(
            words, cwd=clone, env=kept, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            running = Running(
                f"http://127.0.0.1:{port}", clone, f"http://localhost:{sandbox_port}", kept, process
            )
            _wait_for(f"{running.base}/readyz", process, Path(log.name))
            _wait_for(f"{running.sandbox}/sandbox/card.json", process, Path(log.name))
            ready_s = time.monotonic() - begun
            print(f"make run answered {ready_s:.0f} s after the clone began", file=sys.stderr, flush=True)
            running.card = httpx2.get(f"{running.sandbox}/sandbox/card.json").json()
            yield running, ready_s
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer: {log.read_text()[-3000:]}")


def fill(hand: Hand, page: Page, label: str, text: str) -> None:
    """Type into a field."""
    hand.click(page.get_by_label(label, exact=True), anticipated=True)
    hand.type(text)


def sign_in(hand: Hand, page: Page, username: str) -> None:
    """Sign in at the page that asks for it."""
    hand.type(username)
    hand.press("Tab")
    hand.type(f"sandbox-{username}")
    hand.press("Enter")


def open_own_app(stage: Stage, ready_s: float) -> Figure:
    """A small page over npm fhirclient: registered, and opened inside the chart with its data."""
    page = stage.person()
    pages = {"/app": PAGE.format(script=READY)}
    with app(pages) as origin:
        page.goto("about:blank")
        job = walk(page)
        hand = job.hand
        page.goto(f"{stage.running.sandbox}/sandbox")
        hand.type(f"{stage.running.sandbox}/sandbox")
        hand.click(page.get_by_role("link", name="Meridian General Hospital"))
        hand.click(page.get_by_role("link", name="Launch your own app").first)
        fill(hand, page, "Name of your app", "My app")
        hand.click(page.locator("#register").get_by_label("Launch address"), anticipated=True)
        hand.type(f"{origin}/launch")
        fill(hand, page, "Redirect address", f"{origin}/app")
        hand.click(page.get_by_role("button", name="Register"))
        client = page.get_by_label("Client id").input_value()
        # Copied into the app: mark it, the key for that, another window, the place, the key again, and saved.
        hand.think()
        hand.seconds += 3 * (POINT_S + BUTTON_S) + 2 * HOME_S + 6 * KEY_S
        pages["/launch"] = PAGE.format(script=FRAMED % (client, SCOPES))
        hand.click(page.get_by_role("button", name="Open in the chart"))
        frame = page.frame_locator("iframe")
        hand.click(frame.locator("button[value=allow]"))
        expect(frame.locator("#out")).to_contain_text("conditions")
        job.pages += 2  # in the frame: what is asked for, and the app
        what = "own app in the chart with data, from the clone, `make run` included"
        return job.figure("W1", what, 300, before_s=ready_s)


def approve_and_narrow(stage: Stage) -> Figure:
    """At a hospital that removed the app before, from sign-in."""
    page = enter(stage, "admin.ortega", place="children")
    page.get_by_role("link", name="Wellspring").click()
    page.get_by_role("link", name="Remove it").click()
    page.get_by_label("Remove it from").check()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("h1")).to_contain_text("waiting for you")
    page.context.clear_cookies()
    page.goto(f"{stage.running.base}/t/children/signin?then=/tenant")
    job = walk(page)
    hand = job.hand
    sign_in(hand, page, "admin.ortega")
    hand.click(page.get_by_role("link", name="Wellspring"))
    hand.click(page.get_by_role("link", name="Approve", exact=True))
    hand.click(page.get_by_label("Patient", exact=True))
    hand.think()
    hand.click(page.locator("input[name=scope]").last)
    hand.click(page.get_by_role("button", name="Approve"))
    expect(page.locator("h1")).to_contain_text("approved")
    hand.click(page.get_by_role("link", name="Narrow it").first)
    hand.click(page.locator("input[name=scope]").first)
    hand.click(page.get_by_role("button", name="Narrow"))
    expect(page.locator("#here")).to_contain_text("patient")
    return job.figure("W2", "approve an app at a hospital and narrow it, from sign-in", 120)


def find_why(stage: Stage) -> Figure:
    """By the number of the request, typed letter by letter, from the console that is open."""
    answer = httpx2.get(f"{stage.running.tenant()['fhir']}/Observation?patient=x")
    page = enter(stage, staff(stage, "auditor"))
    job = walk(page)
    hand = job.hand
    hand.think()
    hand.press("/")
    hand.type(answer.headers["x-request-id"])
    hand.press("Enter")
    expect(page.get_by_text("What to do next")).to_be_visible()
    hand.think()
    return job.figure("W3", "why a call was refused, by its number typed, from the open console", 30)


def stop_app(stage: Stage) -> Figure:
    """Everywhere, from the console that is open, until the page says that it is stopped; then until it says when the last worker began to refuse."""
    page = enter(stage, staff(stage, "security"))
    job = walk(page)
    hand = job.hand
    hand.think()
    hand.press("/")
    hand.type("lumen")
    hand.press("Enter")
    hand.click(page.get_by_role("link", name="Stop Lumen Chart"))
    expect(page.get_by_text("What this would end")).to_be_visible()
    hand.type("data leak")
    hand.press("Control+Enter")
    page.wait_for_url("**/operations/switches/sw_*")
    expect(page.locator("h1")).to_contain_text("stopped")
    found = job.figure("W4", "stop an app, from the open console", 10)
    shown = time.monotonic()
    confirmed = page.get_by_text("The last worker began to refuse after")
    expect(confirmed).to_be_visible()
    said = " ".join(confirmed.inner_text().split())
    found.parts.append(f"{said[:120]}; the page said so {time.monotonic() - shown:.1f} s later")
    return found


def take_pictures(stage: Stage, folder: Path) -> None:
    """Take README's pictures: an app in the chart with a call that its hospital refuses, and the app stopped there; then release it."""
    hospital = enter(stage, "admin.hall", place="general")
    hospital.get_by_role("link", name="Lumen Chart").click()
    hospital.wait_for_url("**/tenant/apps/app_*")
    app_id = hospital.url.rpartition("/")[2]
    narrow(hospital, app_id, "AllergyIntolerance")
    chart = stage.person(size=(1440, 900))
    stage.open_chart(chart)
    stage.open_app(chart)
    expect(chart.locator(".inspector")).to_contain_text("403")
    chart.wait_for_timeout(2_000)  # its charts are drawn
    chart.screenshot(path=folder / "simulator.png")
    stop(hospital, app_id, "wrong values shown")
    time.sleep(COUNTED_S)
    security = enter(stage, staff(stage, "security"), stage.person(size=(1280, 728)))
    security.wait_for_load_state("load")
    security.screenshot(path=folder / "operations.png")
    hospital.get_by_role("link", name="Release", exact=True).click()
    hospital.get_by_label("I looked into the reason").check()
    hospital.locator("main form[method=post] button[type=submit]").click()
    expect(hospital.locator("h1")).to_contain_text("released")
