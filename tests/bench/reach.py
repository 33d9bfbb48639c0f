"""C160: whom an app reached, counted over ten million records of it at 1,000 hospitals, two million patients and 20,000 people.

Every tenth answer showed two patients.
"""

import os
import tempfile
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.schema import CreateIndex, CreateTable

from hilum.foundation.infra.db import Database
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.times import from_micros
from hilum.records.audit.access_index import access_found, access_index, digest
from hilum.records.audit.models import ReachQuery
from hilum.records.audit.reach_store import count
from hilum.records.keys import live as keys
from tests.bench.figures import Figure
from tests.sim.postgres import Cluster

RECORDS = int(os.environ.get("BENCH_RECORDS", "10000000"))
TENANTS, PATIENTS, PEOPLE = 1_000, 2_000_000, 20_000
BEGAN_US = 1_780_000_000_000_000
APP = AppId("app_1")
SQLITE = f"WITH RECURSIVE r(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r WHERE n + 1 < {RECORDS})"  # noqa: S608
POSTGRESQL = f"WITH r AS (SELECT generate_series(0::bigint, {RECORDS - 1}) AS n)"
NAMES = tuple(TenantId(f"t{n}") for n in range(TENANTS))


def figures() -> list[Figure]:
    keys.install(keys.Vault("bench-key-encryption-key-0123456789abcdef"))
    with tempfile.TemporaryDirectory() as folder:
        lite = _measured(Database(f"sqlite:///{Path(folder) / 'index.db'}"), SQLITE)
    cluster = Cluster()
    try:
        big = _measured(Database(cluster.url), POSTGRESQL)
    finally:
        cluster.stop()
    return [
        Figure("C160", f"whom an app reached over {RECORDS:,} of its records, SQLite / PostgreSQL", max(lite, big),
               f"{lite:.1f} / {big:.1f} s", "<= 60 s", max(lite, big) <= 60),
    ]  # fmt: skip


def _measured(database: Database, rows: str) -> float:
    """Return the seconds of a count over what is written first."""
    _write(database, rows)
    query = ReachQuery((APP,), NAMES, from_micros(BEGAN_US), from_micros(BEGAN_US) + timedelta(days=30))
    started = time.perf_counter()
    found = database.read(partial(count, query=query))
    took = time.perf_counter() - started
    assert (found.total.calls, len(found.by_tenant)) == (RECORDS, TENANTS), found.total
    assert found.total.patients > min(PATIENTS, RECORDS) * 0.9
    database.dispose()
    return took


def _write(database: Database, rows: str) -> None:
    """Write the index as it is after a month, with the one of its indexes that the count reads by."""
    every_us = 30 * 86_400_000_000 // RECORDS
    at, digests = (
        f"{BEGAN_US} + r.n * {every_us}",
        ", ".join(f"({n}, {digest('tenant', name)})" for n, name in enumerate(NAMES)),
    )
    values = {
        "journal": "'0'",
        "number": "r.n",
        "at": at,
        "tenant": "t.digest",
        "app": str(digest("app", APP)),
        "client": "1",
        "person": f"1 + r.n % {PEOPLE}",
        "launch": "0",
        "authorization": f"1 + r.n % {PEOPLE * 5}",
        "run": "0",
        "reason": "0",
        "outcome": "'done'",
        "cost": "1",
        "patient": f"CASE WHEN r.n % 10 = 0 THEN NULL ELSE 1 + (r.n * 7919) % {PATIENTS} END",
    }
    into, chosen = ", ".join(f'"{name}"' for name in values), ", ".join(values.values())
    index = next(each for each in access_index.indexes if each.name == "ix_access_index_app")
    several = f"SELECT 1 + (r.n * 7919 + k.n) % {PATIENTS}, {at}, '0', r.n FROM r JOIN t AS k ON k.n < 2 WHERE r.n % 10 = 0"  # noqa: S608

    def work(tx: Connection) -> None:
        for table in (access_index, access_found):
            tx.execute(CreateTable(table))
        tx.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY, digest BIGINT)"))
        tx.execute(text(f"INSERT INTO t VALUES {digests}"))  # noqa: S608
        tx.execute(
            text(
                f"INSERT INTO access_index ({into}) {rows} SELECT {chosen} FROM r JOIN t ON t.n = r.n % {TENANTS}"  # noqa: S608
            )
        )
        tx.execute(text(f"INSERT INTO access_found (patient, at, journal, number) {rows} {several}"))
        tx.execute(CreateIndex(index))
        tx.execute(text("ANALYZE"))

    database.write(work)
