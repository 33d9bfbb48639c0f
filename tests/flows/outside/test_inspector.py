"""The simulator's inspector over a platform that really runs: it hears of every call, and is itself on record once (C155)."""

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import httpx2
import pytest

from hilum.foundation.infra.system import SystemClock
from hilum.foundation.web.urls import Urls
from hilum_ehr.sandbox.ehr.feed import Feed, Pace
from hilum_ehr.sandbox.ehr.platform import Platform
from tests.flows.outside.conftest import Starter
from tests.flows.outside.ground import PATIENCE_S, SCOPE, Grant, Outside, tell
from tests.flows.outside.listeners import launch_of, listening, token_of
from tests.sim.launcher import Process, launch
from tests.sim.running import Running

APP = "bench-symmetric"
MISSING = "Some calls may be missing"
STOPPED_WITHIN_S = 8
"""Below the ten seconds after which what still runs is killed."""
OPENED = {"audit.stream.open": 1}
READ_ONCE = {"audit.access.list": 1}


@pytest.fixture(scope="module")
def quiet(from_seed: Starter) -> Running:
    """A sandbox in which nobody else looks."""
    return from_seed()


@dataclass
class Chart:
    """A chart open in the simulator, in a browser without script."""

    outside: Outside
    http: httpx2.AsyncClient
    address: str

    async def launch(self) -> Grant:
        """Launch an app from the chart and let it obtain a token; no page with an inspector was open before."""
        outside, client = self.outside, await self.outside.client(APP)
        session = self.address.rpartition("/")[2]
        opened = await self.http.get(
            f"{outside.started.sandbox}/sandbox/launch", params={"session": session, "client": APP}
        )
        assert opened.status_code == 303, opened.text
        browser = outside.browser()
        arrived = await browser.go(opened.headers["location"], (client.card["launch_url"],))
        assert isinstance(arrived, httpx2.URL), arrived.text
        url = client.authorize_url(SCOPE, launch=arrived.params["launch"])
        redirected = await browser.go(url, (client.redirect_uri,))
        assert isinstance(redirected, httpx2.URL), redirected.text
        token = (await client.redeem(redirected)).json()
        return Grant(client, browser, token, outside.running.patient()["id"])

    async def page(self, end: str = "/calls") -> str:
        answer = await self.http.get(f"{self.address}/apps/{APP}{end}")
        assert answer.status_code == 200, answer.text
        return answer.text

    async def until(self, wanted: Callable[[str], bool]) -> str:
        """Reload the inspector's page until it is as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(page := await self.page()):
                await asyncio.sleep(0.05)
        return page


async def open_chart(outside: Outside) -> Chart:
    http, site = outside.fresh(), outside.started.sandbox
    page = await http.get(f"{site}/sandbox/h/general")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf is not None
    form = {"csrf": csrf[1], "tenant": "general", "person": outside.running.person("physician")["username"]}
    form["patient"] = outside.running.patient()["id"]
    headers = {"sec-fetch-site": "same-origin"}
    opened = await http.post(f"{site}/sandbox/sessions", data=form, headers=headers)
    assert opened.status_code == 303, opened.text
    return Chart(outside, http, f"{site}{opened.headers['location']}")


async def calls_made(outside: Outside, grant: Grant, count: int) -> list[str]:
    answers = [await outside.read(grant) for _ in range(count)]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.headers["x-request-id"] for answer in answers]


def shown(page: str) -> list[str]:
    return re.findall(r"<dt>Request</dt><dd><code>([^<]+)</code>", page)


async def looks(outside: Outside) -> Counter[tuple[str, str]]:
    """Count the looks at accesses that are on record, by what they were and by request."""
    found: Counter[tuple[str, str]] = Counter()
    for action in ("audit.stream", "audit.access"):
        page = (await outside.api("GET", f"/audit/events?action={action}", by="auditor.quispe")).json()
        found.update((each["action"], each["request_id"]) for each in page["items"])
    return found


async def begun(outside: Outside, before: Counter[tuple[str, str]]) -> Counter[str]:
    """Count the looks begun since ``before``, and their ends: a stream that an earlier test opened may end only now."""
    found = await looks(outside) - before
    opened = {request for action, request in found if action == "audit.stream.open"}
    ends = "audit.stream.close"
    return Counter(action for action, request in found.elements() if action != ends or request in opened)


def test_the_calls_of_an_app_appear_with_their_decisions_and_looking_puts_nothing_on_record(
    quiet: Running,
) -> None:
    """C155: that the stream was opened is on record once, however often somebody looks; none of the first calls is missed."""

    async def story(outside: Outside) -> None:
        before = await looks(outside)
        chart = await open_chart(outside)
        grant = await chart.launch()
        made = await calls_made(outside, grant, 3)
        refused = await outside.read(grant, f"Condition?patient={grant.patient}")
        assert refused.status_code == 403
        made.append(refused.headers["x-request-id"])

        page = await chart.until(lambda page: len(shown(page)) == len(made))

        assert shown(page) == made[::-1]
        assert "<strong>3</strong> permitted · <strong>1</strong> refused" in page
        assert "patient/Patient.rs" in page
        assert "scope_insufficient" in page
        for end in ("", "/calls", "/calls/list") * 10:
            assert shown(await chart.page(end)) == made[::-1]
        assert await begun(outside, before) == OPENED

    tell(quiet, story)


def test_the_simulator_names_a_placement_and_shows_the_clinician_where_an_app_may_be_opened(
    quiet: Running,
) -> None:
    """C191."""

    async def story(outside: Outside) -> None:
        chart = await open_chart(outside)
        asked = {"session": chart.address.rpartition("/")[2], "client": "lumen-chart"}
        launch = f"{outside.started.sandbox}/sandbox/launch"

        beside = await chart.http.get(launch, params=asked)
        among_orders = await chart.http.get(launch, params=asked | {"placement": "orders"})

        assert beside.status_code == 303, beside.text
        assert among_orders.status_code == 403
        assert "This app may not be opened where orders are written." in among_orders.text
        assert "Open it above the chart or beside the chart" in among_orders.text
        number = re.findall(r"<code>(req_\w+)</code>", among_orders.text)[-1]
        explained = await outside.api("GET", f"/explain/{number}", by="auditor.quispe")
        assert "placement_not_allowed" in explained.text, "the number that the page quotes is the platform's"

    tell(quiet, story)


def test_one_charts_inspector_discloses_nothing_of_anothers_app(quiet: Running) -> None:
    async def story(outside: Outside) -> None:
        one, two = await open_chart(outside), await open_chart(outside)
        first, second = await one.launch(), await two.launch()
        made = [*await calls_made(outside, first, 1), *await calls_made(outside, second, 1)]

        pages = [await each.until(lambda page: bool(shown(page))) for each in (one, two)]

        assert [shown(page) for page in pages] == [made[:1], made[1:]]

    tell(quiet, story)


def test_calls_at_any_of_four_workers_appear_each_once(hospital: Running) -> None:
    async def story(outside: Outside) -> None:
        chart = await open_chart(outside)
        grant = await chart.launch()
        made = await calls_made(outside, grant, 20)

        page = await chart.until(lambda page: len(shown(page)) >= len(made))

        assert sorted(shown(page)) == sorted(made)
        assert MISSING not in page

    tell(hospital, story)


# --- the feed by itself --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def feeding(running: Running, pace: Pace, *, token: str = "") -> AsyncIterator[Feed]:
    bearer = token or str(running.staff("auditor")["api_token"])
    platform = Platform(Urls(running.base, running.sandbox), SystemClock(), {}, bearer)
    feed = Feed(platform, pace)
    try:
        yield feed
    finally:
        await feed.close()
        await platform.close()


async def on_record(outside: Outside, before: Counter[tuple[str, str]], wanted: dict[str, int]) -> None:
    """Wait until these looks, and no others, are on record."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := await begun(outside, before)) != wanted:
            assert found <= Counter(wanted)
            await asyncio.sleep(0.05)


async def until(wanted: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await wanted():
            await asyncio.sleep(0.05)


def test_when_nobody_looks_the_stream_is_closed_and_what_happened_meanwhile_is_not_lost(
    quiet: Running,
) -> None:
    async def story(outside: Outside) -> None:
        grant = await outside.grant(APP)
        launch, before = await launch_of(outside, grant), await looks(outside)
        async with feeding(quiet, Pace(idle_s=0.5)) as feed:
            await feed.follow()
            feed.expect(launch)
            await on_record(outside, before, OPENED | {"audit.stream.close": 1})
            made = await calls_made(outside, grant, 2)

            async def all_there() -> bool:
                found = await feed.calls("general", launch)
                assert not found.trouble
                return [call.request_id for call in found.calls[: len(made)]] == made[::-1]

            await until(all_there)
        await on_record(outside, before, {"audit.stream.open": 2, "audit.stream.close": 2})

    tell(quiet, story)


def test_missed_changes_are_read_once_and_then_followed(quiet: Running) -> None:
    """A launch whose calls began before anybody listened."""

    async def story(outside: Outside) -> None:
        grant = await outside.grant(APP)
        made = await calls_made(outside, grant, 2)
        launch, before = await launch_of(outside, grant), await looks(outside)
        async with feeding(quiet, Pace()) as feed:
            first = await feed.calls("general", launch)
            assert {call.request_id for call in first.calls} > set(made)
            assert first.trouble == ""

            made += await calls_made(outside, grant, 1)

            async def heard() -> bool:
                found = await feed.calls("general", launch)
                return found.calls[0].request_id == made[-1]

            await until(heard)
            assert await begun(outside, before) == OPENED | READ_ONCE

    tell(quiet, story)


def test_a_place_that_the_platform_does_not_know_is_given_up_and_the_gap_read(quiet: Running) -> None:
    """The stream refuses a ``Last-Event-ID`` that is not its own."""

    async def story(outside: Outside) -> None:
        grant = await outside.grant(APP)
        launch = await launch_of(outside, grant)
        async with feeding(quiet, Pace(again_s=0.05)) as feed:
            feed._last_id = "made up"
            feed.expect(launch)
            made = await calls_made(outside, grant, 1)

            async def fixed() -> bool:
                found = await feed.calls("general", launch)
                return not found.trouble and found.calls[0].request_id == made[0]

            await until(fixed)

    tell(quiet, story)


def test_a_refused_stream_is_said_and_not_asked_for_again_and_again(quiet: Running) -> None:
    """A token that the platform does not take; each try is on record, so there are few."""

    async def tries(outside: Outside) -> int:
        page = await outside.api("GET", "/audit/events?action=signin.token.use", by="auditor.quispe")
        return len(page.json()["items"])

    async def story(outside: Outside) -> None:
        before = await tries(outside)
        async with feeding(quiet, Pace(again_s=0.0), token=str(quiet.staff("reviewer")["api_token"])) as feed:
            for _ in range(20):
                found = await feed.calls("general", "lch_1")
                assert re.match(r"Since \d\d:\d\d:\d\d: ", found.trouble)
                assert found.calls == ()
        assert await tries(outside) == before + 1

    tell(quiet, story)


def test_a_platform_that_is_away_delays_no_look_and_closing_is_at_once() -> None:
    """Nobody listens on the discard port."""

    async def story() -> None:
        platform = Platform(Urls("http://127.0.0.1:9", "http://localhost:9"), SystemClock(), {}, "token")
        feed = Feed(platform)
        begun = time.monotonic()
        for _ in range(20):
            found = await feed.calls("general", "lch_1")
            assert "The platform does not answer" in found.trouble
        await feed.close()
        await feed.follow()
        await platform.close()
        # Looks that waited took a second each.
        assert time.monotonic() - begun < 10 * Pace().ready_s
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())


def test_a_platform_that_takes_the_connection_and_says_nothing_is_waited_for_a_moment_only() -> None:
    async def story() -> None:
        held: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        platform = Platform(
            Urls(f"http://127.0.0.1:{port}", "http://localhost:9"), SystemClock(), {}, "token"
        )
        feed = Feed(platform, Pace(ready_s=0.05, quiet_s=1.0))

        first = await feed.calls("general", "lch_1")

        assert (
            first.trouble
            == "The platform has sent nothing yet. Calls that were missed are read as soon as it does."
        )

        async def given_up() -> bool:
            return "The platform does not answer" in (await feed.calls("general", "lch_1")).trouble

        await until(given_up)
        await feed.close()
        await platform.close()
        server.close()
        for writer in held:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    asyncio.run(story())


# --- a platform that stops; last, because it is the one of the tests above ------------------------------------------------------


@contextmanager
def part(running: Running, name: str) -> Iterator[Process]:
    """Serve one part by itself, so that it can be stopped while the others stand."""
    process = launch(("serve", "--part", name), running.environment, running.home / "run.log")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def answers(outside: Outside, url: str) -> None:
    async with asyncio.timeout(PATIENCE_S * 2):
        while True:
            try:
                if (await outside.http.get(url)).status_code == 200:
                    return
            except httpx2.TransportError:
                await asyncio.sleep(0.1)


async def stopped(process: Process) -> None:
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, STOPPED_WITHIN_S)


def test_a_listener_does_not_hold_up_the_servers_end(quiet: Running) -> None:
    """A worker that is asked to stop ends the streams of its listeners, instead of waiting for them until it is killed."""

    async def story(outside: Outside) -> None:
        async with listening(outside, token_of(outside, "auditor")) as heard:
            quiet.process.send_signal(signal.SIGTERM)
            await heard.until(lambda: bool(heard.end))
            assert heard.end == "server_stops"
            await asyncio.to_thread(quiet.process.wait, STOPPED_WITHIN_S)

    tell(quiet, story)


def test_a_stream_that_broke_is_said_on_the_page_and_recovers_with_nothing_missed(
    quiet: Running,
) -> None:
    """The platform stops and comes back under a chart that stays open; then the simulator stops, which a stream must not hold up."""
    quiet.stop()
    written = len(quiet.log)

    async def story(outside: Outside) -> None:
        with part(quiet, "sandbox") as site:
            with part(quiet, "platform") as platform:
                await answers(outside, f"{quiet.base}/readyz")
                await answers(outside, f"{quiet.sandbox}/sandbox/card.json")
                before = await looks(outside)
                chart = await open_chart(outside)
                grant = await chart.launch()
                made = await calls_made(outside, grant, 2)
                await chart.until(lambda page: shown(page) == made[::-1])
                await stopped(platform)

            page = await chart.until(lambda page: MISSING in page)
            assert re.search(r"Since \d\d:\d\d:\d\d: The platform .* The sandbox tries again by itself", page)
            assert shown(page) == made[::-1], "what was heard stays"

            with part(quiet, "platform"):
                await answers(outside, f"{quiet.base}/readyz")
                made += await calls_made(outside, grant, 3)
                page = await chart.until(lambda page: MISSING not in page and len(shown(page)) == len(made))
                assert shown(page) == made[::-1]
                found = await begun(outside, before)
                assert found["audit.access.list"] == 0, "it went on where it was left"

                await stopped(site)
                while (await begun(outside, before))["audit.stream.close"] < found["audit.stream.open"]:
                    await asyncio.sleep(0.05)

    tell(quiet, story)
    log = quiet.log[written:]
    assert quiet.staff("auditor")["api_token"] not in log
    assert "Traceback" not in log
    assert "sandbox.feed.failed" not in log
