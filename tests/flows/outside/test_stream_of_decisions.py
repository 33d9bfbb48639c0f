"""Whoever listens at one of four workers hears of every decision of all four."""

import asyncio
import sqlite3
from contextlib import closing

import httpx2

from tests.flows.outside.ground import PATIENCE_S, WORKERS, Grant, Outside, tell
from tests.flows.outside.listeners import Heard, launch_of, listening, token_of
from tests.sim.running import Running

READS_AT_ONCE = 8


async def read_at_every_worker(outside: Outside, grant: Grant) -> list[str]:
    """Read over fresh connections until every worker has answered; return the request ids."""
    asked: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(slots_of(outside.started, asked)) < WORKERS:
            answers: list[httpx2.Response] = await asyncio.gather(
                *(outside.read(grant) for _ in range(READS_AT_ONCE))
            )
            assert {answer.status_code for answer in answers} == {200}
            asked += [answer.headers["x-request-id"] for answer in answers]
    return asked


def slots_of(running: Running, request_ids: list[str]) -> set[str]:
    """List the journals (one a worker) that hold the records of requests."""
    found = set()
    for path in (running.home / "journal").glob("access-*.db"):
        with closing(sqlite3.connect(path)) as db:
            rows = {row[0] for row in db.execute("SELECT request_id FROM record")}
            if not rows.isdisjoint(request_ids):
                found.add(path.name)
    return found


def test_accesses_at_all_workers_arrive_each_once_wherever_one_listens(hospital: Running) -> None:
    """Contract: ``GET /api/v1/events``; C155: opening and end are on record."""

    async def story(outside: Outside) -> None:
        grant = await outside.grant()
        token, query = token_of(outside, "auditor"), f"?launch={await launch_of(outside, grant)}"
        async with (
            listening(outside, token, query=query) as one,
            listening(outside, token, query=query) as two,
        ):
            asked = await read_at_every_worker(outside, grant)
            for heard in (one, two):
                await heard.until(lambda heard=heard: len(heard.decisions) >= len(asked))
                assert sorted(heard.decisions) == sorted(asked)
            left = one.last_id
        missed = await read_at_every_worker(outside, grant)
        async with listening(outside, token, query=query, last_event_id=left) as again:
            await again.until(lambda: len(again.decisions) >= len(missed))
            assert sorted(again.decisions) == sorted(missed)
        await closed(outside, one, given=len(asked))
        await closed(outside, again, given=len(missed))

    tell(hospital, story)


async def closed(outside: Outside, heard: Heard, *, given: int) -> None:
    """Wait until the end of a stream is on record: the server learns of it when the connection closes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            page = (await outside.api("GET", "/audit/events?action=audit.stream", by="auditor.quispe")).json()
            told = [each for each in page["items"] if each["request_id"] == heard.request_id]
            if len(told) == 2:
                break
    end, begin = told
    assert (begin["action"], begin["outcome"]) == ("audit.stream.open", "done")
    assert (end["action"], end["facts"]["given"]) == ("audit.stream.close", given)


def test_a_listener_whose_token_is_revoked_elsewhere_is_let_go(hospital: Running) -> None:
    """C155: revoked at any worker, ended at this one."""

    async def story(outside: Outside) -> None:
        card = outside.running.staff("auditor")
        login = {"username": card["username"], "password": card["password"], "expires_in_s": 600}
        made = (await outside.http.post(f"{outside.running.base}/api/v1/tokens", json=login)).json()
        async with listening(outside, made["token"]) as heard:
            own = {"authorization": f"Bearer {made['token']}"}
            url = f"{outside.running.base}/api/v1/tokens/{made['id']}"
            assert (await outside.http.delete(url, headers=own)).status_code == 204
            await heard.until(lambda: bool(heard.end))
            assert heard.end == "token_invalid"

    tell(hospital, story)
