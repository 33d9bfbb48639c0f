"""P19: a dry run of a policy over 10,000 apps x 1,000 tenants, with a million installations and two million counted decisions."""

import gc
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Table

from hilum.apps.clients.store import clients
from hilum.apps.installations.store import installations
from hilum.apps.registry.store import apps, certifications, versions
from hilum.authorization.consent.store import authorization
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.times import EPOCH
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import DryRun, Tier
from hilum.policy.matrix.shipped import shipped_book, shipped_document
from hilum.records.audit import decision_counts
from hilum.records.keys import live as keys
from hilum.server.platform import COLLECT_EVERY
from tests.bench.figures import Figure
from tests.bench.setup import TRACE
from tests.sim.dry_runs import Jobs
from tests.sim.postgres import Cluster
from tests.unit.policy.matrix.books import document

APPS, TENANTS = 10_000, 1_000
EACH_AT = int(os.environ.get("BENCH_INSTALLED_AT", "100"))
"""At how many tenants each app is installed."""
KINDS = int(os.environ.get("BENCH_KINDS", "500"))
"""Distinct sets of scopes among the apps."""
SECRET = "bench-key-encryption-key-0123456789abcdef"
CHUNK = 20_000
NOW = SystemClock().now()
CATEGORIES = (
    "scheduling", "patient_communication", "documentation_assistance", "analytics", "clinical_decision_support", "order_entry",
    "care_recommendations", "record_modification", "population_health", "prior_authorization",
)  # fmt: skip
LOST = "patient/Appointment.rs"


def figures() -> list[Figure]:
    keys.install(keys.Vault(SECRET))
    took, used, run = _on_sqlite()
    cluster = Cluster()
    try:
        over, own, _ = _measured(cluster.url, Path(tempfile.mkdtemp()), partial(_vacuum, cluster.url))
    finally:
        cluster.stop()
    counts = run.counts
    what = (
        f"{APPS * EACH_AT:,} installations, {run.decisions:,} decisions; one scope less in one category alters {counts['apps']:,} apps:"
        f" {counts['decision_changes']:,} decision changes, {counts['agreements']:,} agreements"
    )
    return [
        Figure("P19", f"dry run over {APPS:,} apps x {TENANTS:,} tenants, SQLite / PostgreSQL", max(took, over),
               f"{took:.1f} / {over:.1f} s", "<= 5 s", max(took, over) <= 5,
               [what, f"CPU of the process: {used:.1f} / {own:.1f} s"]),
    ]  # fmt: skip


def _on_sqlite() -> tuple[float, float, DryRun]:
    with tempfile.TemporaryDirectory() as folder:
        return _measured(f"sqlite:///{folder}/hilum.db", Path(folder))


def _vacuum(url: str) -> None:
    """Do what the server's own maintenance has done of tables that grew over months."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("VACUUM (ANALYZE)")


def _measured(
    url: str, folder: Path, filled: Callable[[], None] = lambda: None
) -> tuple[float, float, DryRun]:
    migrate(url)
    uow = UnitOfWork.create(Database(url), SystemClock(), SystemIds(), "bench")
    _fill(uow, folder / "journal")
    filled()
    version = uow.write_now(_publish, actor=SYSTEM, trace=TRACE)
    jobs = Jobs(uow, folder / "journal")
    found: list[tuple[float, float, DryRun]] = []
    # As every process of the platform does once it has started.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 50)
    for _ in range(3):
        jobs.write(partial(policies.ask_dry_run, version=version))
        began, used = time.perf_counter(), time.process_time()
        run = jobs.run_next()
        assert run is not None
        found.append((time.perf_counter() - began, time.process_time() - used, run))
    uow.close()
    return sorted(found, key=lambda each: each[0])[1]


def _publish(ctx: Any) -> int:
    policies.adopt_shipped(ctx)
    entries = shipped_document()["categories"]["scheduling"]["entries"]
    low = [scope for scope in entries["low"]["scopes"] if scope != LOST]
    changed = document({"categories.scheduling.entries.low.scopes": low})
    return policies.add_version(ctx, changed, base=1, note="one scope less").number


def _fill(uow: UnitOfWork, journal: Path) -> None:
    made = list(made_apps())
    fill = partial(insert, uow.db)
    fill(apps, (row for each in made for row in [each["app"]]))
    fill(versions, (each["version"] for each in made))
    fill(certifications, (each["certification"] for each in made))
    fill(clients, (each["client"] for each in made))
    places = [(n, tenant) for n in range(APPS) for tenant in random.Random(n).sample(range(TENANTS), EACH_AT)]
    fill(installations, (_installation(n, tenant, made[n]) for n, tenant in places))
    # An agreement at a tenth of the places.
    fill(authorization, (_authorization(n, tenant, made[n]) for n, tenant in places[::10]))
    counts = decision_counts.open_counts(uow.db.url, journal)
    into = partial(insert, counts._database)
    shapes = [shape for n in range(APPS) for shape in _shapes(n, made[n])]
    into(decision_counts.shapes, shapes)
    into(
        decision_counts.counts,
        (_count(shapes[2 * n + k]["id"], n, tenant) for n, tenant in places for k in (0, 1)),
    )


def insert(database: Database, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    write: Callable[[], Any] = lambda: database.write(lambda tx: tx.execute(table.insert(), batch))
    for row in rows:
        batch.append(row)
        if len(batch) == CHUNK:
            write()
            batch.clear()
    if batch:
        write()


def made_apps() -> Iterator[dict[str, Any]]:
    book = shipped_book()
    for n in range(APPS):
        name = CATEGORIES[n % len(CATEGORIES)]
        entry = book.categories[name].entries[min(book.categories[name].entries, key=lambda tier: tier.rank)]
        some = random.Random(n % KINDS).sample(entry.scopes, min(8, len(entry.scopes)))
        scopes = " ".join(dict.fromkeys((*entry.session_scopes[:2], entry.scopes[0], *some)))
        ids = {"app": f"app_{n}", "version": f"ver_{n}"}
        then = NOW - timedelta(days=10)
        yield {
            "app": {"id": ids["app"], "vendor": "ven_1", "name": name, "description": "", "purpose": "", "state": "active",
                    "tenant": None, "category": name, "created_at": then, "active_since": then},
            "version": {"id": ids["version"], "app": ids["app"], "label": "1", "created_at": then, "workflows": "", "placements": ""},
            "certification": {"id": f"cer_{n}", **ids, "environment": "production", "scopes": scopes, "certified_by": "staff:per_1",
                              "certified_at": then, "expires_at": NOW + timedelta(days=100), "withdrawn_at": None, "submission": "",
                              "tiers": f"private_key_jwt={Tier.HIGH}", "category": name},
            "client": {"id": f"cli_{n}", **ids, "environment": "production", "type": "confidential-asymmetric", "deployment": "server", "name": name,
                       "redirect_uris": [], "launch_uri": "", "origins": [], "scopes": scopes, "jwks": None, "jwks_uri": "",
                       "grant_types": ["authorization_code"], "expires_at": None, "backend_use": None, "dynamic": False,
                       "created_at": then, "adopted_at": None, "certified_before": None},
        }  # fmt: skip


def _installation(n: int, tenant: int, made: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"ins_{n}_{tenant}",
        "tenant": f"t{tenant}",
        "app": f"app_{n}",
        "scopes": made["client"]["scopes"],
        "roles": "physician",
        "approved_by": "staff:per_1",
        "approved_at": NOW,
        "expires_at": None,
        "removed_at": None,
        "removed_by": "",
        "environment": "production",
    }


def _authorization(n: int, tenant: int, made: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"aut_{n}_{tenant}",
        "tenant": f"t{tenant}",
        "person": "per_1",
        "app": f"app_{n}",
        "version": f"ver_{n}",
        "client": f"cli_{n}",
        "basis": "person",
        "scopes": made["client"]["scopes"].split(),
        "created_at": NOW,
        "expires_at": NOW + timedelta(days=30),
        "patient": "",
        "launch": "",
        "offline": False,
        "last_validated_at": None,
        "revoked_at": None,
        "revoked_by": "",
    }


def _shapes(n: int, made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    clinical = [scope for scope in made["client"]["scopes"].split() if "/" in scope]
    for k, scope in enumerate((clinical[0], clinical[-1])):
        type_ = scope.partition("/")[2].partition(".")[0]
        yield {
            "id": f"{n:08}{k:08}".encode(),
            "app": f"app_{n}",
            "client": f"cli_{n}",
            "interaction": "search-type",
            "resource_type": "Observation" if type_ == "*" else type_,
            "reason": "",
            "rule": scope,
        }


def _count(shape: bytes, n: int, tenant: int) -> dict[str, Any]:
    at = NOW - timedelta(days=(n + tenant) % 89)
    day = (at - EPOCH) // timedelta(days=1)
    return {
        "shape": shape,
        "tenant": f"t{tenant}",
        "day": day,
        "number": 5,
        "first": at,
        "last": at,
        "example": f"req_{n}_{tenant}",
    }
