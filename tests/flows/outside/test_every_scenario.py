"""Every scenario of the shipped policy, made by a sandbox that runs and judged of two apps: one is well made, one makes each mistake (C122, C126)."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fhirclient.client import FHIRClient

from hilum.policy.matrix.shipped import shipped_book
from hilum.review.certification_runs import judging, policy
from hilum.review.certification_runs.models import Finding, Outcome, Row
from tests.flows.outside.ground import LAUNCH, REDIRECT, Outside, tell
from tests.flows.outside.run_app import SCENARIOS, RunApp, register
from tests.sim.running import Running

UNSHOWN = {
    "launch": "The app read nothing after it was launched.",
    "key_rotation": "The app read nothing after the keys had changed.",
    "many_patients": "The app asked for one page only.",
}
"""Where an app that is not well made does too little, rather than something wrong."""


@pytest.fixture(scope="module")
def runs(running: Running) -> dict[bool, dict[str, Any]]:
    """The two runs as they were judged, by whether the app behaves; taken at the same time at two hospitals."""
    return dict(tell(running, both))


async def both(outside: Outside) -> dict[bool, dict[str, Any]]:
    card = await register(outside, ("general", "clinic"))
    hidden = withheld(outside.started.home, "clinic")
    good = RunApp(outside, card, "general")
    bad = RunApp(outside, card, "clinic", behaves=False, hidden=hidden)
    ended = await asyncio.gather(taken(good), taken(bad))
    return dict(zip((True, False), ended, strict=True))


async def taken(app: RunApp) -> dict[str, Any]:
    await app.open_run()
    for scenario in SCENARIOS:
        await app.take(scenario)
    return await app.finish()


def withheld(home: Path, tenant: str) -> tuple[str, ...]:
    """List addresses of records that the hospital withholds from apps."""
    (store,) = home.rglob(f"fhir/{tenant}*.db")
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as tx:
        found = tx.execute("SELECT id FROM resource WHERE type = 'Condition' AND CAST(body AS TEXT) LIKE '%\"security\"%'")  # fmt: skip
        return tuple(f"Condition/{each}" for (each,) in found.fetchmany(5))


def concluded(run: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["outcome"] for each in run["scenarios"]}


def test_a_well_made_app_passes_every_scenario_of_the_shipped_book(runs: dict[bool, dict[str, Any]]) -> None:
    """C120, C122, C126: those that its tier requires and all others, in one run."""
    run = runs[True]

    assert set(SCENARIOS) == set(shipped_book().scenarios)
    assert concluded(run) == dict.fromkeys(SCENARIOS, "met"), [
        (each["name"], each["sentence"]) for each in run["scenarios"] if each["outcome"] != "met"
    ]
    assert (run["state"], run["tier"]) == ("passed", "high")
    assert not run["result"]["faults"]
    assert not any(each["fix"] for each in run["scenarios"])


def test_an_app_that_makes_each_mistake_passes_none_and_reads_what_to_do(
    runs: dict[bool, dict[str, Any]],
) -> None:
    """C122, C126: the same platform, the same faults; each reason says what happened, and what a well-made app does."""
    run = runs[False]
    expected = {name: "incomplete" if name in UNSHOWN else "not_met" for name in SCENARIOS}

    assert concluded(run) == expected, [(each["name"], each["sentence"]) for each in run["scenarios"]]
    assert run["state"] == "failed"
    for each in run["scenarios"]:
        advised = each["how"] if each["name"] in UNSHOWN else each["good"]
        assert each["fix"] == advised != "", each
        assert each["sentence"] == UNSHOWN.get(each["name"], each["sentence"])


def test_one_mistake_fails_exactly_its_own_scenario(
    runs: dict[bool, dict[str, Any]], running: Running
) -> None:
    """C126: the records of the good run, with those of one scenario out of the bad one."""
    good, bad = (rows_of(running, runs[each]["id"]) for each in (True, False))

    for mistaken in SCENARIOS:
        mixed = [*without(good, mistaken), *later(within(bad, mistaken))]
        failed = {name for name in SCENARIOS if _finding(name, mixed).outcome is not Outcome.MET}
        assert failed == {mistaken}


def _finding(name: str, rows: list[Row]) -> Finding:
    return judging.judge_run(name, rows)


def rows_of(running: Running, run: str) -> list[Row]:
    with sqlite3.connect(f"file:{running.home}/hilum.db?mode=ro", uri=True) as tx:
        ((text,),) = tx.execute("SELECT rows FROM evidence_run WHERE id = ?", (run,)).fetchall()
    return list(policy.read_rows(text))


def within(rows: list[Row], scenario: str) -> list[Row]:
    window = judging.window_of(scenario, rows)
    assert window is not None
    return list(window.rows)


def without(rows: list[Row], scenario: str) -> list[Row]:
    gone = within(rows, scenario)
    return [each for each in rows if each not in gone]


def later(rows: list[Row]) -> list[Row]:
    """Move records behind everything else, so that both runs' times do not mix."""
    return [Row(**{each: getattr(row, each) for each in Row.__slots__} | {"at": row.at + timedelta(days=1)}) for row in rows]  # fmt: skip


ONE_CHART = ("launch", "openid", "fhirUser", "patient/Patient.rs", "patient/DocumentReference.c")


def test_an_app_of_one_chart_that_only_adds_records_can_meet_what_is_required_of_it(running: Running) -> None:
    """C120, C126: a library asks for the same scopes at each launch, so without a patient it is refused, and stops there."""

    async def story(outside: Outside) -> dict[str, Any]:
        card = await register(outside, ("general",), name="Note Adder", scopes=ONE_CHART)
        body = {"client": card["client_id"], "tenant": "general"}
        run = (await outside.api("POST", "/evidence-runs", body)).json()

        async def command(what: str) -> dict[str, Any]:
            answer = await outside.api("POST", f"/evidence-runs/{run['id']}/{what}")
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        await command("scenarios/patient_missing/begin")
        opened = await outside.open_launch(card["client_id"], "general", patient="", encounter="")
        browser = outside.browser()
        arrived = await browser.go(opened.json()["open_url"], (LAUNCH,))
        assert isinstance(arrived, httpx2.URL), arrived.text
        fhir = outside.running.tenant("general")["fhir"]
        settings = {"app_id": card["client_id"], "api_base": fhir, "redirect_uri": REDIRECT}
        settings |= {"launch_token": arrived.params["launch"], "scope": " ".join(ONE_CHART[1:])}
        smart = FHIRClient(settings=settings)
        await asyncio.to_thread(smart.prepare)
        refused = await browser.go(smart.authorize_url, (REDIRECT,))
        smart.server.session.close()
        assert not isinstance(refused, httpx2.URL)
        assert "none is open" in refused.text
        await command("scenarios/end")
        return await command("finish")

    judged = {each["name"]: (each["outcome"], each["sentence"]) for each in tell(running, story)["scenarios"]}

    assert judged["patient_missing"][0] == "met", judged
    assert "write_unknown" in judged, "it writes"
    assert "write_conflict" not in judged


def test_what_one_developer_makes_fail_by_command_nobody_else_meets(running: Running) -> None:
    """C122: two apps read the same chart of one hospital; ``hilum sandbox fault`` reaches one of them until it is ended."""
    staff = next(each for each in running.card["staff"] if each["username"] == "admin.ferro")
    signed_in = {"HILUM_API_URL": running.base, "HILUM_API_TOKEN": staff["api_token"]}
    aimed = ("unavailable", "--client", "bench-symmetric", "--tenant", "general")

    def fault(*words: str) -> str:
        done = running.hilum("sandbox", "fault", *words, **signed_in)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def story(outside: Outside) -> None:
        mine = await outside.grant()
        theirs = await outside.grant("bench-public")
        await asyncio.to_thread(fault, "make", *aimed)
        assert [(await outside.read(each)).status_code for each in (mine, theirs)] == [503, 200]
        assert "unavailable" in await asyncio.to_thread(fault, "list", *aimed[1:3])
        await asyncio.to_thread(fault, "end", *aimed)
        assert (await outside.read(mine)).status_code == 200
        assert "unavailable" not in await asyncio.to_thread(fault, "list", *aimed[1:3])

    tell(running, story)
