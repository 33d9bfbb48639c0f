"""P17: tokens and journal records of one worker on PostgreSQL behind a slow path, beside SQLite. P15: the audit at its size."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.records.audit import access_index
from hilum.records.audit import live as journals
from hilum.records.audit.models import Access, AccessQuery, Outcome
from hilum.records.audit.postgres import _short
from hilum.records.keys import live as keys
from tests.bench.figures import Figure
from tests.sim.postgres import Cluster
from tests.unit.policy.matrix.books import LIFETIMES

TOKENS, RECORDS = 4_000, 20_000
TOGETHER = 32
ONE_WAY_S = 0.000_25
ACCESSES = int(os.environ.get("BENCH_ACCESSES", "1000000"))
"""P15 is about 10,000,000; generating them takes minutes, so that fewer are the default."""
TRACE = Trace("req_bench")
PROXY = """
import time
from tests.sim.tcp_proxy import TcpProxy
from tests.unit.policy.matrix.books import LIFETIMES
print(TcpProxy({port}, delay_s={delay}).port, flush=True)
time.sleep(3_600)
"""


@contextmanager
def slow_path(cluster: Cluster) -> Iterator[str]:
    """A path to the cluster that adds half a millisecond a round trip, in a process of its own."""
    code = PROXY.format(port=cluster.port, delay=ONE_WAY_S)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        port = int(proxy.stdout.readline())
        try:
            yield cluster.url.replace(f":{cluster.port}/", f":{port}/")
        finally:
            proxy.kill()


def figures() -> list[Figure]:
    """Measure both, each in a fresh database; SQLite and PostgreSQL side by side in one run."""
    keys.install(keys.Vault("bench-key-encryption-key-0123456789abcdef"))
    folder = Path(tempfile.mkdtemp(prefix="hilum-bench-"))
    cluster = Cluster()
    try:
        migrate(cluster.url)
        migrate(f"sqlite:///{folder}/hilum.db")
        with slow_path(cluster) as far:
            found = {
                "SQLite": _rates(f"sqlite:///{folder}/hilum.db", folder),
                "PostgreSQL beside it": _rates(cluster.url, folder),
                "PostgreSQL at +0.5 ms": _rates(far, folder),
            }
        minted, recorded = found["PostgreSQL at +0.5 ms"]
        parts = [f"{name}: {a:,.0f} tokens, {b:,.0f} records /s" for name, (a, b) in found.items()]
        speed = Figure(
            "P17",
            "tokens / journal records a second of a worker, PostgreSQL at +0.5 ms",
            minted,
            f"{minted:,.0f} / {recorded:,.0f} /s",
            ">= 1000/5000",
            minted >= 1_000 and recorded >= 5_000,
            parts,
        )
        return [speed, _search(cluster)]
    finally:
        cluster.stop()


def _rates(url: str, folder: Path) -> tuple[float, float]:
    with lanes.using(Lane.TOKENS):
        return asyncio.run(_minted(url)), asyncio.run(_recorded(url, folder))


async def _minted(url: str) -> float:
    uow = UnitOfWork.create(Database(url), SystemClock(), SystemIds(), SystemIds().new("bench"))
    grant = Grant(
        TenantId("general"),
        ClientId("bench"),
        AppId("app_1"),
        VersionId("ver_1"),
        VendorId("ven_1"),
        ("system/Patient.rs",),
    )

    def verb(ctx: Context) -> None:
        tokens.mint(
            ctx, grant, offline=None, code_family=None, lifetimes=LIFETIMES, life=timedelta(minutes=5)
        )

    async def some(count: int) -> None:
        for _ in range(count):
            await uow.write(verb, trace=TRACE)

    await some(20)
    begun = time.perf_counter()
    await asyncio.gather(*(some(TOKENS // TOGETHER) for _ in range(TOGETHER)))
    took = time.perf_counter() - begun
    uow.close()
    return TOKENS / took


async def _recorded(url: str, folder: Path) -> float:
    clock, ids = SystemClock(), SystemIds()
    journal = journals.open_journal(url, folder / "journal", ids.new("bench"), ids)
    journal.start()
    made = Access(
        "", "", clock.now(), "general", "read", "Patient", 200, Outcome.DONE, app="app_1", patient="p1"
    )

    async def some(count: int) -> None:
        for _ in range(count):
            await journal.record(replace(made, request_id=ids.new("req")))

    await some(5)
    begun = time.perf_counter()
    await asyncio.gather(*(some(RECORDS // 64) for _ in range(64)))
    took = time.perf_counter() - begun
    journal.close()
    return RECORDS / took


WRITER = "bench-writer"
AT = datetime(2026, 1, 1, tzinfo=UTC)
_HEADER = (
    """[1,"' || to_char(timestamp '2026-01-01' + g * interval '10 ms', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00","","t' || g % 20 || '","""
    """"read","Patient",200,"done","","","","app_' || g % 10 || '","","","","per_' || g % 5000 || '","","","","","",0,"","",1,0,0,0,"GET"]"""
)
_FILL = (
    "INSERT INTO access_chain (writer) VALUES (%(writer)s)",
    """INSERT INTO access_record (writer, seq, request_id, header, digest, hash)
    SELECT %(writer)s, g, 'req_' || lpad(g::text, 26, '0'), convert_to('{header}', 'UTF8'), '\\x00'::bytea, '\\x00'::bytea
    FROM generate_series(1, %(count)s) AS g""".replace("{header}", _HEADER),
    """INSERT INTO access_payload (writer, seq, salt, body)
    SELECT %(writer)s, g, '\\x00'::bytea, convert_to('["Patient/p","","pat-' || g %% 20000 || '"]', 'UTF8')
    FROM generate_series(1, %(count)s) AS g""",
    """INSERT INTO access_index (journal, number, at, tenant, app, client, person, launch, "authorization", run, reason, outcome, patient)
    SELECT %(journal)s, g, %(start)s + g * 10000::bigint, (%(tenants)s::bigint[])[g %% 20 + 1], (%(apps)s::bigint[])[g %% 10 + 1], 0,
      (%(people)s::bigint[])[g %% 5000 + 1], 0, 0, 0, 0, 'done', (%(patients)s::bigint[])[g %% 20000 + 1]
    FROM generate_series(1, %(count)s) AS g""",
    "INSERT INTO access_indexed (journal, number) VALUES (%(journal)s, %(count)s)",
)


def _search(cluster: Cluster) -> Figure:
    """Ask for one app and one patient, for what there is not, and for a page of everything, over ACCESSES records."""
    values = {
        "writer": WRITER,
        "journal": _short(WRITER),
        "count": ACCESSES,
        "start": int(AT.timestamp() * 1_000_000),
        "tenants": [access_index.digest("tenant", f"t{n}") for n in range(20)],
        "apps": [access_index.digest("app", f"app_{n}") for n in range(10)],
        "people": [access_index.digest("person", f"per_{n}") for n in range(5_000)],
        "patients": [access_index.digest("patient", f"pat-{n}") for n in range(20_000)],
    }
    with psycopg.connect(cluster.url, autocommit=True) as db:
        for table in ("access_record", "access_payload", "access_chain", "access_indexed"):
            db.execute(f"TRUNCATE {table}")
        for statement in _FILL:
            db.execute(statement.replace("g % ", "g %% "), values)
        db.execute("ANALYZE")
    reader = journals.open_reader(Path(), cluster.url)
    asked = {
        "this app to this patient": AccessQuery(app="app_4", patient="pat-1234"),
        "an app that never saw the patient": AccessQuery(app="app_5", patient="pat-1234"),
        "an app at a tenant where it is not": AccessQuery(app="app_5", tenant="t2"),
        "a person": AccessQuery(person="per_77"),
        "an unknown reason": AccessQuery(reason="switch_engaged"),
        "the newest": AccessQuery(),
    }
    took: dict[str, float] = {}
    for name, query in asked.items():
        reader.newest(query)
        begun = time.perf_counter()
        count = len(reader.newest(query))
        took[f"{name} ({count})"] = time.perf_counter() - begun
    slowest = max(took.values())
    parts = [f"{name}: {seconds * 1000:,.0f} ms" for name, seconds in took.items()]
    shown = f"{slowest * 1000:,.0f} ms over {ACCESSES:,}"
    return Figure(
        "P15", "the slowest of six searches of the audit", slowest, shown, "<= 1000 ms", slowest <= 1, parts
    )
