"""P9 and P16: from the commit of a switch to the last of four workers, on each database, empty and with a large platform's facts.

While switches are engaged an app reads all the time, so that an answer of 503 is noticed, and quotas and launches go on changing.
"""

import os
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from hilum.authorization.launches.models import LAUNCHES
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.system import SystemClock
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.bench.figures import Figure
from tests.bench.rig import KEY, LOAD_CORE, SERVER_CORE, Rig, ehr_token, postgres, rig, sqlite
from tests.bench.setup import TRACE, lift_quotas, uow_of
from tests.sim.nodes import KEY as NODES_KEY
from tests.sim.nodes import two_nodes
from tests.sim.postgres import Cluster

WORKERS = 4
SWITCHES = int(os.environ.get("BENCH_SWITCHES", "40"))
INSTALLATIONS = int(os.environ.get("BENCH_INSTALLATIONS", "1000000"))
OVERRIDES = int(os.environ.get("BENCH_OVERRIDES", "100000"))
ENDED = int(os.environ.get("BENCH_ENDED", "200000"))
BATCH = 20_000
OBEYED = "gateway.switch.enforced"
Rows = Iterator[tuple[Any, ...]]


@dataclass
class Measured:
    """A running platform: where its API answers, with which headers, what to read meanwhile, and how many workers obey a switch."""

    api: str
    headers: dict[str, str]
    security_token: str
    read: str
    bearer: str
    uow: UnitOfWork
    workers: int


def figures() -> list[Figure]:
    """Measure on SQLite and on PostgreSQL, each empty and full, then on two nodes."""
    found = []
    for name, database in (("SQLite", sqlite), ("PostgreSQL", postgres)):
        for id_, fill in (("P9", _nothing), ("P16", fill_up)):
            with (
                database() as url,
                rig(workers=WORKERS, core=f"{SERVER_CORE},{LOAD_CORE}", database_url=url, fill=fill) as made,
            ):
                found.append(_one_node(id_, name, made))
    return [*found, _two_nodes("P9", _nothing), _two_nodes("P16", partial(fill_up, key=NODES_KEY))]


def _nothing(_url: str) -> None:
    """Leave the database as it was seeded."""


def _one_node(id_: str, name: str, made: Rig) -> Figure:
    ready = _ready(made)
    lift_quotas(made, "general")
    answer = ehr_token(made, "launch openid fhirUser patient/*.rs")
    read = f"{made.card['tenants'][0]['fhir']}/Patient/{answer['patient']}"
    staff = next(each for each in made.card["staff"] if each["role"] == "security")
    measured = Measured(
        made.base, {}, staff["api_token"], read, answer["access_token"], uow_of(made), WORKERS
    )
    return _figure(id_, name, measured, 100, made.processes[0].pid, ready)


def _two_nodes(id_: str, fill: Callable[[str], None]) -> Figure:
    """Measure on two nodes with one PostgreSQL; the switch is engaged at one node and a worker of the other reads."""
    cluster, home = Cluster(), Path(tempfile.mkdtemp(prefix="hilum-bench-"))
    try:
        with two_nodes(cluster, home, workers=WORKERS) as nodes:
            for node in nodes.both:
                node.stop()
            fill(nodes.url)
            began = time.monotonic()
            nodes.heal()
            ready = time.monotonic() - began
            grant = nodes.tell(lambda _a, _b, either: either.grant())
            read = (
                grant.client.fhir.replace(nodes.base, f"http://{nodes.b.listen}")
                + f"/Patient/{grant.patient}"
            )
            staff = next(each for each in nodes.card["staff"] if each["role"] == "security")
            host = {"host": nodes.base.partition("//")[2]}
            measured = Measured(
                f"http://{nodes.a.listen}", host, staff["api_token"], read, grant.token["access_token"], nodes.uow(), 2 * WORKERS,
            )  # fmt: skip
            assert nodes.b.process is not None
            return _figure(id_, "two nodes on PostgreSQL", measured, 250, nodes.b.process.pid, ready)
    finally:
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)


def _figure(id_: str, name: str, measured: Measured, bound_ms: int, pid: int, ready: float) -> Figure:
    stop = threading.Event()
    statuses: Counter[int] = Counter()
    beside = [
        threading.Thread(target=_read_on, args=(measured, statuses, stop)),
        threading.Thread(target=_change_on, args=(measured.uow, stop)),
    ]
    for each in beside:
        each.start()
    try:
        times = _engage(measured)
    finally:
        stop.set()
        for each in beside:
            each.join()
        measured.uow.close()
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    refused = statuses[503]
    what = "" if id_ == "P9" else f", {OVERRIDES:,} quotas, {INSTALLATIONS:,} installations, {ENDED:,} ended"
    target = f"<= {bound_ms} ms" if id_ == "P9" else f"<= {bound_ms} ms, no 503"
    return Figure(
        id_, f"switch to last of {measured.workers} workers, {name}{what}, p99", p99, f"{p99:.0f} ms", target,
        p99 <= bound_ms and not refused,
        [(f"{len(times)} switches, median {statistics.median(times):.0f} ms; {sum(statuses.values())} reads beside, {refused} answered 503; "
         f"ready after {ready:.1f} s, {_memory_mb(pid):.0f} MB a worker")],
    )  # fmt: skip


def _ready(made: Rig) -> float:
    """Wait until every worker serves; return how long the slowest took since it was started."""
    in_a_row = 0
    while in_a_row < 5 * WORKERS:
        try:
            with httpx2.Client() as http:  # a connection each, so that every worker is asked
                in_a_row = (
                    in_a_row + 1 if http.get(f"{made.base}/t/general/fhir/metadata").status_code == 200 else 0
                )
        except httpx2.TransportError:
            in_a_row = 0
        time.sleep(0.01)
    return time.monotonic() - made.started_at


def _read_on(measured: Measured, statuses: Counter[int], stop: threading.Event) -> None:
    headers = measured.headers | {"authorization": f"Bearer {measured.bearer}"}
    with httpx2.Client(headers=headers, timeout=30) as http:
        while not stop.is_set():
            statuses[http.get(measured.read).status_code] += 1
            time.sleep(0.005)


def _change_on(uow: UnitOfWork, stop: threading.Event) -> None:
    """Set a quota and end a launch ten times a second."""
    n = 0
    while not stop.wait(0.1):
        n += 1

        def verb(ctx: Context, n: int = n) -> None:
            controls.set_quota(ctx, f"app_b{n % 100}", f"ten-{n % 1_000}", Quota(1.0 + n % 7, 10))
            ctx.advance_epoch(LAUNCHES, f"ended/lch_now{n}")

        uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def _engage(measured: Measured) -> list[float]:
    """Engage switches one after another; return for each how long the last worker took, in order of size."""
    headers = measured.headers | {"authorization": f"Bearer {measured.security_token}"}
    slowest: dict[str, float] = {}
    with httpx2.Client(base_url=measured.api, headers=headers, timeout=30) as http:
        for n in range(SWITCHES):
            body = {"kind": "resource_type", "key": "Slot", "mode": "full_stop", "reason": f"bench {n}"}
            engaged = http.post("/api/v1/switches", json=body)
            assert engaged.status_code == 201, engaged.text
            slowest[engaged.json()["id"]] = max(_obeyed(measured, engaged.json()["id"]))
    return sorted(slowest.values())


def _obeyed(measured: Measured, switch: str) -> list[float]:
    """Wait until every worker noted when it obeyed the switch; return the times."""
    deadline = time.monotonic() + 20
    while True:
        found = measured.uow.read_now(
            lambda ctx: audit.list_events(ctx, EventQuery(action=OBEYED, limit=50)), actor=SYSTEM, trace=TRACE
        )
        times = [e.event.facts["ms"] for e in found.events if e.event.facts["switch"] == switch]
        if len(times) == measured.workers:
            return times
        assert time.monotonic() < deadline, f"{len(times)} workers noted the switch"
        time.sleep(0.02)


def _memory_mb(pid: int) -> float:
    """Return the resident memory of the largest process below a platform's."""
    parents: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        parents[status.parent.name] = fields.get("PPid", "").strip()
        sizes[status.parent.name] = int(fields.get("VmRSS", "0 kB").split()[0])
    below = {str(pid)}
    for _ in range(4):
        below |= {each for each, parent in parents.items() if parent in below}
    return max(sizes.get(each, 0) for each in below) / 1024


# --- a large platform's facts ------------------------------------------------------------------------------------------------------


def fill_up(url: str, key: str = KEY) -> None:
    """Put in quota overrides, installations, and launches and token families that ended within the window."""
    now = int(SystemClock().now().timestamp() * 1_000_000)
    tables: list[tuple[str, tuple[str, ...], Rows]] = [
        ("control_quota", ("app", "tenant", "level", "rate_per_s", "burst", "set_by", "set_at"), _quotas(now)),
        (
            "registry_installation",
            ("id", "tenant", "app", "scopes", "roles", "approved_by", "approved_at", "removed_by", "environment"),
            _installations(now),
        ),
        (
            "token_family",
            ("id", "tenant", "client", "app", "person", '"authorization"', "launch", "offline", "started_at", "minted_at", "revoked_at", "revoked_because"),
            _families(now, sqlite=url.startswith("sqlite")),
        ),
        (
            "launch",
            ("id", "handle_hash", "open_hash", "tenant", "client", "person", "created_at", "expires_at", "open_expires_at", "patient", "encounter",
             "intent", "placement", "fhir_context", "need_patient_banner", "run", "launch_uri", "opened_by", "ended_at", "session"),
            _launches(now, sqlite=url.startswith("sqlite")),
        ),
    ]  # fmt: skip
    put = _into_sqlite if url.startswith("sqlite") else _into_postgres
    for table, columns, rows in tables:
        put(url, table, columns, rows)


def _into_sqlite(url: str, table: str, columns: tuple[str, ...], rows: Rows) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
        places = ", ".join("?" * len(columns))
        while batch := list(islice(rows, BATCH)):
            db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", batch)  # noqa: S608 - names from above
        db.commit()


def _into_postgres(url: str, table: str, columns: tuple[str, ...], rows: Rows) -> None:
    with psycopg.connect(url) as db, db.cursor() as cursor:
        with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        db.commit()
        cursor.execute("ANALYZE")


def _quotas(now: int) -> Rows:
    return (
        (f"app_b{n // 1_000}", f"ten-{n % 1_000}", "platform", 10.0 + n % 7, 100, "host:bench", now)
        for n in range(OVERRIDES)
    )


def _installations(now: int) -> Rows:
    return (
        (f"ins_b{n}", f"ten-{n % 1_000}", f"app_b{n // 1_000}", "launch openid patient/*.rs", "nurse physician", "host:bench",
         now - n, "", "production")
        for n in range(INSTALLATIONS)
    )  # fmt: skip


def _families(now: int, *, sqlite: bool) -> Rows:
    no: Any = 0 if sqlite else False
    return (
        (f"fam_b{n}", "general", "cli_b", "app_b", f"per_b{n % 5_000}", f"aut_b{n}", f"lch_b{n}", no, now, now, now - _ago(n), "launch_ended")
        for n in range(ENDED)
    )  # fmt: skip


def _launches(now: int, *, sqlite: bool) -> Rows:
    yes: Any = 1 if sqlite else True
    return (
        (f"lch_b{n}", f"h{n}".encode().ljust(32), f"o{n}".encode().ljust(32), "general", "cli_b", f"per_b{n % 5_000}", now, now, now,
         "p", "", "", "", "[]", yes, "", "https://a.example", "cli_e", now - _ago(n), "")
        for n in range(ENDED)
    )  # fmt: skip


def _ago(n: int) -> int:
    return n % 3_000 * 1_000_000
