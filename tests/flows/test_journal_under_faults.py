"""A database that stands still, and processes that are killed: what is on record, and what is answered meanwhile."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.infra import settings
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.fhir.tags import request_of
from hilum.records.audit import live, policy
from hilum.records.audit import service as audit
from hilum.records.audit.models import JOURNAL_DEADLINE, Outcome, Verdict
from hilum.server.schedule import JobLease
from hilum.server.settling import settle
from tests.conftest import SECRET_KEY
from tests.effort import effort
from tests.flows.gateway_ground import GENERAL, PLATFORM, ground
from tests.flows.journal_ground import access
from tests.sim.launcher import launch_read
from tests.sim.tcp_proxy import TcpProxy
from tests.sim.world import FakeClock, SeededIds

TRACE = Trace("req_audit")
BOUND_S = JOURNAL_DEADLINE.total_seconds() + 10.0
"""The deadline, and what a busy machine adds. What hangs does so for as long as the path stands still."""


class Reached:
    """A journal in PostgreSQL behind a path that can be frozen."""

    def __init__(self, proxy: TcpProxy, url: str, uow: UnitOfWork, folder: Path) -> None:
        self.proxy, self.url, self.uow, self.folder = proxy, url, uow, folder

    def journal(self, name: str = "node-1") -> live.Journal:
        return live.open_journal(self.proxy.url(self.url), self.folder, name, SeededIds(name))

    @property
    def reader(self) -> Any:
        return live.open_reader(self.folder, self.url)

    def verdict(self) -> Any:
        return self.uow.read_now(lambda ctx: audit.verify(ctx, self.reader), trace=TRACE)


@pytest.fixture
def path(postgres_url: str, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Iterator[Reached]:
    uow = UnitOfWork.create(Database(postgres_url), clock, ids, "test-writer")
    port = int(psycopg.conninfo.conninfo_to_dict(postgres_url)["port"] or 0)
    with TcpProxy(port) as proxy:
        yield Reached(proxy, postgres_url, uow, tmp_path)
    uow.close()


def test_a_frozen_database_costs_a_refusal_in_time_and_never_hangs_the_end(path: Reached) -> None:
    """C154: reads held in the journal, and shutting down, went on for as long as the path stood still."""

    async def work() -> None:
        journal = path.journal()
        await journal.record(access(1))
        path.proxy.freeze()
        begun = time.monotonic()
        waiting = [asyncio.create_task(journal.record(access(n))) for n in range(2, 40)]
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in told)
        assert time.monotonic() - begun < BOUND_S
        await asyncio.get_running_loop().run_in_executor(None, journal.close)
        assert time.monotonic() - begun < 2 * BOUND_S

    asyncio.run(work())


def test_a_batch_that_arrives_late_forks_nothing_and_its_requests_are_corrected(path: Reached) -> None:
    """C152, C154: the path lets the batch through after its callers were refused, and the chain goes on behind it."""

    async def work() -> None:
        journal = path.journal()
        await journal.record(access(1))
        path.proxy.freeze()
        with pytest.raises(Unavailable):
            await journal.record(access(2))
        journal.note(access(2, status=503, reason="audit_unavailable", outcome=Outcome.REFUSED))
        path.proxy.thaw()
        async with asyncio.timeout(60):
            while True:
                try:
                    await journal.record(access(3))
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
            while len(path.reader.find(access(2).request_id)) < 1:
                await asyncio.sleep(0.05)
        await asyncio.get_running_loop().run_in_executor(None, journal.close)

    asyncio.run(work())

    verdict = path.verdict()
    assert verdict.intact, verdict.faults
    assert [each.status for each in path.reader.find(access(2).request_id)][-1] == 503
    with psycopg.connect(path.url) as db:
        seqs = [seq for (seq,) in db.execute("SELECT seq FROM access_record ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_batch_whose_answer_was_lost_is_not_written_twice(path: Reached) -> None:
    """C152: only the answers are lost, so the batch is there; the next one follows it."""

    async def work() -> None:
        journal = path.journal()
        await journal.record(access(1))
        path.proxy.freeze(requests=False)
        lost = asyncio.create_task(journal.record(access(2)))
        with psycopg.connect(path.url, autocommit=True) as db:
            async with asyncio.timeout(15):
                while db.execute("SELECT count(*) FROM access_record").fetchone() != (2,):
                    await asyncio.sleep(0.01)
        path.proxy.cut()
        path.proxy.thaw()
        with pytest.raises(Unavailable):
            await lost
        await journal.record(access(3))
        await asyncio.get_running_loop().run_in_executor(None, journal.close)

    asyncio.run(work())

    assert (path.verdict().intact, path.verdict().records) == (True, 3)


class Killed:
    """A gateway in a process of its own, on files that outlive it."""

    def __init__(self, uow: UnitOfWork, folder: Path, token: str) -> None:
        self.uow, self.folder, self.token = uow, folder, token
        self.unanswered: list[str] = []
        self.boots = 0

    def boot_and_kill(self, after: int) -> None:
        """Write until so many answers came, then kill it; note what was sent and not answered."""
        self.boots += 1
        (self.folder / "unanswered").write_text("\n".join(self.unanswered))
        first, unanswered = self.boots * 10_000, self.folder / "unanswered"
        words = [SECRET_KEY, self.uow.db.url, self.folder, self.token, first, unanswered]
        sent: dict[str, int] = {}
        with launch_read("tests.sim.busy_gateway:main", [str(each) for each in words]) as (process, printed):
            for line in printed:
                if not line.endswith("\n"):
                    break
                word, text, *status = line.split()
                sent[text] = int(status[0]) if word == "got" else 0
                if sum(map(bool, sent.values())) == after:
                    process.kill()
        # A busy machine also answers 503: what was not confirmed or recorded in time was refused, or is settled below.
        assert {status for status in sent.values() if status} <= {201, 409, 503}
        assert sum(map(bool, sent.values())) >= after
        self.unanswered = [text for text, status in sent.items() if not status]

    @property
    def reader(self) -> Any:
        return live.open_reader(self.folder / "journal", self.uow.db.url)

    def stored(self) -> list[dict[str, Any]]:
        """List every Observation that a killed process wrote, as the FHIR server keeps it."""
        with closing(sqlite3.connect(self.folder / f"{GENERAL}.db")) as db:
            bodies = [body for (body,) in db.execute("SELECT body FROM resource WHERE type = 'Observation'")]
        return [each for each in map(orjson.loads, bodies) if "/" in each.get("code", {}).get("text", "")]

    def verdict(self) -> Verdict:
        return self.uow.read_now(lambda ctx: audit.verify(ctx, self.reader), trace=TRACE)

    def settle(self) -> int:
        """Run the job as the next start does: find out what became of every write without an outcome."""
        given = {
            "HILUM_SECRET_KEY": SECRET_KEY,
            "HILUM_DATABASE_URL": self.uow.db.url,
            "HILUM_DATA_DIR": str(self.folder),
            "HILUM_BASE_URL": PLATFORM,
        }
        journal = live.open_journal(
            self.uow.db.url, self.folder / "journal", SystemIds().new("w"), SystemIds()
        )
        journal.start()
        journal.close()
        return settle(JobLease(self.uow, "settle", "test/1", threading.Event()), settings.read(given))


@pytest.fixture
def killed(sqlite_url: str, tmp_path: Path) -> Killed:
    uow = UnitOfWork.create(Database(sqlite_url), SystemClock(), SystemIds(), "furnisher")
    token = ""

    async def furnish() -> None:
        nonlocal token
        clock: Any = SystemClock()
        ids: Any = SystemIds()
        async with ground(uow, clock, ids, tmp_path) as made:
            made.load({"resourceType": "Patient", "id": "p1"})
            app = made.clients["app"].app
            made.run(lambda ctx: controls.set_quota(ctx, app, GENERAL, Quota(rate_per_s=5_000, burst=10_000)))
            token = made.token("patient/Observation.cruds")

    asyncio.run(furnish())
    (tmp_path / "fhir").mkdir()
    (tmp_path / "fhir" / f"{GENERAL}.db").symlink_to(tmp_path / f"{GENERAL}.db")
    return Killed(uow, tmp_path, token)


def test_kill_9_at_any_moment_leaves_no_stored_write_unknown_and_doubles_none(killed: Killed) -> None:
    """C196; the case of the review: in 7 of 7 rounds a stored write that no record knew, while verify said intact."""
    for round_ in range(effort(2, 40)):
        killed.boot_and_kill(after=3 + 17 * round_ % 90)

        known = {each["code"]["text"]: killed.reader.find(request_of(each)) for each in killed.stored()}
        assert known
        assert all(records and records[0].outcome is Outcome.INTENDED for records in known.values())
        before = killed.verdict()
        assert before.intact, before.faults
        unfinished = {r[0].request_id for r in known.values() if not any(map(policy.closes, r))}
        assert unfinished <= {each.request_id for each in before.unsettled}

        killed.settle()
        assert killed.settle() == 0

        after = killed.verdict()
        assert (after.intact, after.unsettled) == (True, ())
        for stored in killed.stored():
            assert killed.reader.find(request_of(stored))[-1].outcome is Outcome.DONE
        for opened in before.unsettled:
            done = killed.reader.find(opened.request_id)[-1].outcome is Outcome.DONE
            assert done == (opened.request_id in map(request_of, killed.stored()))

    killed.boot_and_kill(after=len(killed.unanswered) + 1)
    texts = [each["code"]["text"] for each in killed.stored()]
    assert len(texts) == len(set(texts)), "an order that was sent again is there twice"
