"""Processes die without a word, and still no answer left that is not on record, and no refusal lost what it protected."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest

from hilum.records.audit import live as journals
from tests.effort import effort
from tests.flows.outside.conftest import Starter, widen
from tests.flows.outside.ground import Grant, Outside, refused_grant, tell, until_all
from tests.flows.outside.power_cuts import HEALED_WITHIN_S, cut_power, reads_until_cut
from tests.sim.browser import Client
from tests.sim.processes import name_of
from tests.sim.running import Running, family_of, kill_all, start

ANSWERS = effort(200, 5_000)


def platform_of(running: Running) -> int:
    """The process above the web workers."""
    family = family_of(running.process.pid)
    return next(pid for pid in family if name_of(pid) == "hilum-platform")


def workers_of(parent: int) -> list[int]:
    return [pid for pid in family_of(parent)[1:] if name_of(pid) == "hilum-platform"]


def recorded(running: Running) -> dict[str, set[str]]:
    """Read every journal: the outcomes on record by request id."""
    reader = journals.open_reader(running.home / "journal", running.environment["HILUM_DATABASE_URL"])
    found: dict[str, set[str]] = {}
    for path in sorted((running.home / "journal").glob("access-*.db")):
        with closing(sqlite3.connect(path)) as db:
            for (request_id,) in db.execute("SELECT request_id FROM record"):
                found[request_id] = {access.outcome.value for access in reader.find(request_id)}
    return found


def assert_all_on_record(running: Running, answers: dict[str, int]) -> None:
    """C154: what was given or refused to a known app is on record under the id that its answer bore.

    Strangers are recorded singly up to a number, then counted together, so their ids are not all looked for. A busy machine also
    answers 503 because nothing could be confirmed or recorded in time; that bore no data, and is noted in memory at most.
    """
    known = {request_id for request_id, status in answers.items() if status not in {401, 503}}
    given = {request_id for request_id, status in answers.items() if status == 200}
    on_record = recorded(running)
    assert len(given) >= ANSWERS
    assert known <= set(on_record), f"{len(known - set(on_record))} of {len(known)} are on no record"
    assert all("refused" not in on_record[request_id] for request_id in given)


@pytest.fixture(scope="module")
def fresh(from_seed: Starter) -> Running:
    """Two workers, mistreated more with every test; each leaves it running but the last two."""
    running = from_seed(workers=2)
    tell(running, widen)
    return running


def restarted(running: Running) -> Running:
    """Start again on the same data, at other addresses."""
    again = start(running.home, workers=2)
    running.process, running.card, running.base = again.process, again.card, again.base
    running.sandbox, running.environment = again.sandbox, again.environment
    return running


def test_a_worker_that_is_killed_takes_nothing_with_it_and_is_replaced(fresh: Running) -> None:
    """C154, C184: the other worker goes on answering, a new one comes, and every answer is on record."""
    parent = platform_of(fresh)
    first = workers_of(parent)
    assert len(first) == 2, [name_of(pid) for pid in family_of(parent)]

    async def story(outside: Outside) -> dict[str, int]:
        grant = await outside.grant()
        answers = await reads_until_cut(
            outside, grant, lambda: kill_all(first[:1]), after=ANSWERS, heals=True
        )
        await until_all(lambda: outside.read(grant), lambda answer: answer.status_code == 200)
        return answers

    answers = tell(fresh, story)
    assert_all_on_record(fresh, answers)
    assert max(answers.values()) < 500
    begun = time.monotonic()
    while True:
        now = workers_of(parent)
        if len(now) == 2 and first[0] not in now:
            break
        assert time.monotonic() - begun < HEALED_WITHIN_S, (first, now)
        time.sleep(0.1)
    assert verified(fresh)["intact"]


Process = tuple[int, str]
"""A process id and when it began, so that another that got the same id is not taken for it."""


def process(pid: int) -> Process:
    """Return a process that lives now; its beginning is empty where it has gone, or waits to be collected."""
    if name_of(pid):
        with suppress(OSError):
            return pid, (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    return pid, ""


def living(family: list[Process]) -> list[str]:
    return [name_of(pid) for pid, began in family if process(pid) == (pid, began)]


def listeners(base: str, among: list[int]) -> set[int]:
    """Find which processes hold the socket that a site listens on."""
    port = f"{urlsplit(base).port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    held = {f"socket:[{line[9]}]" for line in lines if line[3] == "0A" and line[1].endswith(f":{port}")}
    found = set()
    for pid in among:
        with suppress(OSError):
            for each in (Path("/proc") / str(pid) / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(each) in held:
                        found.add(pid)
    return found


def whole_family(running: Running) -> list[Process]:
    """List every process of a sandbox, and see that none is missing before one is ended."""
    family = [process(pid) for pid in family_of(running.process.pid)]
    names = [name_of(pid) for pid, _ in family]
    for name, least in (("platform", 3), ("jobs", 1), ("sandbox", 1)):
        assert names.count(f"hilum-{name}") >= least, names
    assert all(began for _, began in family), names
    return family


def answered(running: Running) -> bool:
    with suppress(httpx2.HTTPError):
        return httpx2.get(f"{running.base}/readyz", timeout=2).status_code == 200
    return False


def test_children_of_a_killed_worker_parent_end_and_the_supervisor_restarts_the_part(
    fresh: Running,
) -> None:
    """C201; contract, Commands: the service stands, and nothing of before serves beside what is started in its place.

    One worker serves, and the other has only begun to start, when their parent is killed.
    """
    whole_family(fresh)
    family = family_of(platform_of(fresh))
    parent, workers = family[0], workers_of(family[0])
    begun = time.monotonic()
    while not set(workers) <= listeners(fresh.base, workers):
        assert time.monotonic() - begun < HEALED_WITHIN_S, "not every worker came to serve"
        time.sleep(0.05)
    kill_all(workers[:1])
    begun = time.monotonic()
    while not (starting := set(family_of(parent)) - set(family)):
        assert time.monotonic() - begun < HEALED_WITHIN_S, "no worker came in the place of the killed one"
        time.sleep(0.01)
    before = [process(pid) for pid in (parent, workers[1], *starting)]
    old = {pid for pid, _ in before}
    assert listeners(fresh.base, list(old))

    kill_all([parent])

    begun = time.monotonic()
    while True:
        left = living(before)
        new = [pid for pid in family_of(fresh.process.pid) if name_of(pid) == "hilum-platform"]
        new = [pid for pid in new if process(pid) not in before]
        holders = listeners(fresh.base, [*old, *new])
        assert not (holders & old and holders & set(new)), "two generations listen at the same time"
        if not left and len(new) == 3 and holders and answered(fresh):
            break
        assert time.monotonic() - begun < HEALED_WITHIN_S, (left, new, holders)
        time.sleep(0.1)
    assert fresh.process.poll() is None
    assert fresh.log.count('"event":"app.part.ended"') >= 1
    tell(fresh, _read_once)
    assert not living(before)
    assert verified(fresh)["intact"]


def test_what_a_refusal_protected_is_still_protected_after_a_power_cut(fresh: Running) -> None:
    """C44, C48, security 3: a replayed code's tokens and a replayed refresh token's family stay dead, and the refusals are on record."""

    async def before(outside: Outside) -> tuple[Grant, Grant, str, str]:
        client, browser, redirected = await outside.code("bench-symmetric")
        first = await client.redeem(redirected)
        by_code = Grant(client, browser, first.json(), "")
        by_refresh = await outside.grant()
        old = by_refresh.token["refresh_token"]
        rotated = await by_refresh.client.token(grant_type="refresh_token", refresh_token=old)
        by_refresh.token = rotated.json()
        # Both answers have evidently arrived (ADR 163).
        for grant in (by_code, by_refresh):
            grant.token = (await refreshed(grant.client, grant)).json()
        replays = [
            await client.redeem(redirected),
            await by_refresh.client.token(grant_type="refresh_token", refresh_token=old),
        ]
        cut_power(fresh)
        assert all(refused_grant(each) for each in replays), [each.text for each in replays]
        return by_code, by_refresh, replays[0].headers["x-request-id"], replays[1].headers["x-request-id"]

    by_code, by_refresh, code_request, refresh_request = tell(fresh, before)
    restarted(fresh)

    async def after(outside: Outside) -> None:
        client = await outside.client("bench-symmetric")
        for grant in (by_code, by_refresh):
            moved = Grant(client, grant.browser, grant.token, "")
            assert (await outside.read(moved, "Patient")).status_code == 401
            assert refused_grant(await refreshed(client, grant))
        for request in (code_request, refresh_request):
            told = (await outside.api("GET", f"/explain/{request}")).json()
            assert told["sentences"], told
            assert any(event["outcome"] == "refused" for event in told["events"]), told

    tell(fresh, after)
    assert verified(fresh)["intact"]


async def refreshed(client: Client, grant: Grant) -> httpx2.Response:
    return await client.token(grant_type="refresh_token", refresh_token=grant.token["refresh_token"])


def test_every_answer_that_left_before_a_power_cut_is_on_record(fresh: Running) -> None:
    """C154: every process killed at once under load; the chains are intact after it, and go on."""

    async def story(outside: Outside) -> dict[str, int]:
        return await reads_until_cut(outside, await outside.grant(), lambda: cut_power(fresh), after=ANSWERS)

    answers = tell(fresh, story)
    assert_all_on_record(fresh, answers)
    before = verified(fresh)
    assert before["intact"], before

    restarted(fresh)
    tell(fresh, _read_once)
    after = verified(fresh)
    assert after["intact"], after
    assert after["records"] > before["records"]


def wait_until_covered(running: Running) -> None:
    """Wait for a checkpoint over every record: that the end of a chain was cut off shows by it alone."""
    begun = time.monotonic()
    while uncovered := verified(running)["uncovered"]:
        assert time.monotonic() - begun < HEALED_WITHIN_S, uncovered
        time.sleep(0.5)


async def _read_once(outside: Outside) -> None:
    assert (await outside.read(await outside.grant())).status_code == 200


def verified(running: Running) -> dict[str, Any]:
    done = running.hilum("audit", "verify", "--json")
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    assert found["intact"] == (done.returncode == 0)
    return found


def test_what_a_killed_supervisor_started_ends_too_and_gives_its_place_to_the_next(
    fresh: Running,
) -> None:
    """Contract, Commands: nothing lives on that no supervisor watches, and its address is free."""
    whole = whole_family(fresh)
    refused = fresh.hilum("serve")
    assert (refused.returncode, "address_unavailable" in refused.stderr) == (1, True), refused.stderr

    wait_until_covered(fresh)
    kill_all([fresh.process.pid])

    fresh.process.wait(HEALED_WITHIN_S)
    begun = time.monotonic()
    while left := living(whole):
        assert time.monotonic() - begun < HEALED_WITHIN_S, left
        time.sleep(0.1)
    for site in (fresh.base, fresh.sandbox):
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{site}/healthz", timeout=2)
    assert verified(fresh)["intact"]


EDITS = {
    "a payload is changed": """UPDATE payload SET body = CAST(replace(CAST(body AS TEXT), 'Patient', 'patient') AS BLOB)
        WHERE id = (SELECT min(id) FROM payload WHERE instr(CAST(body AS TEXT), 'Patient') > 0)""",
    "a header is changed": """UPDATE record SET header = CAST(replace(CAST(header AS TEXT), 'general', 'Genera1') AS BLOB)
        WHERE id = (SELECT min(id) FROM record WHERE instr(CAST(header AS TEXT), 'general') > 0)""",
    "a request id is changed": "UPDATE record SET request_id = 'req_other' WHERE id = 5",
    "a record is removed": "DELETE FROM record WHERE id = 5",
    "two records change places": "UPDATE record SET id = CASE id WHEN 5 THEN -5 WHEN 6 THEN 5 END WHERE id IN (5, 6)",
    "the last records are cut off": "DELETE FROM record WHERE id > (SELECT max(id) - 2 FROM record)",
}


def test_an_edit_of_the_record_is_found(fresh: Running) -> None:
    """C152: one changed byte is not overlooked, in a journal or in the control plane's events."""
    fresh.stop()
    journal = max((fresh.home / "journal").glob("access-*.db"), key=lambda path: path.stat().st_size)
    for name, edit in EDITS.items():
        edited(fresh, journal, edit, name)
    control = fresh.home / "hilum.db"
    edited(
        fresh,
        control,
        "UPDATE audit_event SET reason = 'nothing to see' WHERE rowid = (SELECT max(rowid) / 2 FROM audit_event)",
        "an event is changed",
    )
    assert verified(fresh)["intact"], "restored, it is intact again"


def edited(running: Running, database: Path, edit: str, name: str) -> None:
    """Make one edit by hand, see it found, take it back."""
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = database.read_bytes()
    with closing(sqlite3.connect(database)) as db, db:
        changed = db.execute(edit).rowcount
    assert changed, f"{name}: the edit hit nothing"
    found = verified(running)
    for side in ("-wal", "-shm"):
        database.with_name(database.name + side).unlink(missing_ok=True)
    database.write_bytes(kept)
    assert not found["intact"], f"{name}, and nobody noticed"
    assert found["faults"], name
