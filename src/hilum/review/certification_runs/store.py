"""The table of certification runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from hilum.foundation.infra.db import Instant, get_row, insert_or_ignore, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.infra.sorting import newest_first
from hilum.foundation.kernel.ids import AppId, ClientId, RunId, TenantId, VendorId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.review.certification_runs.models import PURGE_BATCH, Run, State

runs = Table(
    "evidence_run",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("label", String(100), nullable=False),
    Column("client", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("tier", String(16), nullable=False),
    Column("scenarios", JSON, nullable=False),
    Column("opened_by", String(120), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("state", String(16), nullable=False),
    Column("doing", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    Column("rows", Text, nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
    Column("ended_at", Instant),
    # Empty in runs that a release before opened while this one ran elsewhere.
    Column("ground", JSON, nullable=False, server_default="{}"),
    # Of an open run only, so that a client has one at a hospital; the two databases let any number be NULL.
    Column("holding", String(100), unique=True),
    Index("ix_evidence_run_app", "app", "id"),
    Index("ix_evidence_run_version", "version", "ended_at"),
    Index("ix_evidence_run_state", "state", "expires_at"),
)
_BRIEF = tuple(column for column in runs.c if column.name not in {"rows", "holding"})
"""Without the records, which a list does not show and which may be long."""
_OPEN = PreparedStatement(
    select(runs.c.id, runs.c.expires_at).where(runs.c.holding == bindparam("of")),
    runs.c.id,
    runs.c.expires_at,
)


def add(tx: Connection, run: Run) -> bool:
    """Add a run; return False if another one of the client is open at the hospital."""
    return tx.execute(insert_or_ignore(tx, runs).values(_values(run))).rowcount == 1


def save(tx: Connection, run: Run) -> None:
    tx.execute(runs.update().where(runs.c.id == run.id).values(_values(run)))


def get(tx: Connection, run: str, *, lock: bool = False) -> Run:
    """Get a run; with ``lock`` no other transaction changes it meanwhile. Raises NotFound."""
    return _run(get_row(tx, runs, run, "run", code="evidence_run", lock=lock))


def find(tx: Connection, run: str, *, records: bool = False) -> Run | None:
    """Find a run, with its records or without."""
    row = tx.execute(select(*(runs.c if records else _BRIEF)).where(runs.c.id == run)).first()
    return None if row is None else _run(row)


def find_open(tx: Connection, client: ClientId, tenant: TenantId) -> Run | None:
    """Find the open run of a client at a hospital, without its records."""
    row = tx.execute(select(*_BRIEF).where(runs.c.holding == _holding(client, tenant))).first()
    return None if row is None else _run(row)


def find_open_id(tx: Connection, client: ClientId, tenant: TenantId) -> tuple[RunId, datetime] | None:
    """Find the id and the end of the open run of a client at a hospital: for each token that is issued in a sandbox."""
    row = _OPEN.first(tx, {"of": _holding(client, tenant)})
    return None if row is None else (RunId(row["id"]), row["expires_at"])


def find_judged(tx: Connection, version: VersionId) -> Run | None:
    """Find the last run of a version that passed or failed."""
    judged = runs.c.state.in_([State.PASSED.value, State.FAILED.value])
    query = select(runs).where(runs.c.version == version, judged).order_by(runs.c.ended_at.desc()).limit(1)
    row = tx.execute(query).first()
    return None if row is None else _run(row)


def list_runs(tx: Connection, page: PageQuery = FIRST_PAGE, *, vendor: str = "", app: str = "") -> list[Run]:
    """List runs without their records, newest first; of one vendor or app if given."""
    query = newest_first(select(*_BRIEF), runs, page)
    for column, wanted in ((runs.c.vendor, vendor), (runs.c.app, app)):
        query = query.where(column == wanted) if wanted else query
    return [_run(row) for row in tx.execute(query)]


def count_since(tx: Connection, app: AppId, since: datetime) -> int:
    """Count the runs that were opened of an app since a moment."""
    wanted = and_(runs.c.app == app, runs.c.opened_at >= since)
    return int(tx.execute(select(func.count()).where(wanted)).scalar_one())


def is_under_way_elsewhere(tx: Connection, run: Run, fault: str) -> bool:
    """Check whether another open run of the app at the hospital has made a fault that it has not undone."""
    wanted = and_(
        runs.c.app == run.app,
        runs.c.tenant == run.tenant,
        runs.c.state == State.OPEN.value,
        runs.c.id != run.id,
        runs.c.doing["fault"].as_string() == fault,
    )
    return tx.execute(select(runs.c.id).where(wanted).limit(1)).first() is not None


def list_expired(tx: Connection, now: datetime) -> list[Run]:
    """List open runs that are past their end."""
    query = select(runs).where(runs.c.state == State.OPEN.value, runs.c.expires_at <= now).limit(PURGE_BATCH)
    return [_run(row) for row in tx.execute(query.with_for_update())]


def purge(tx: Connection, *, passed_before: datetime, others_before: datetime) -> int:
    """Delete old runs that ended, at most a batch; return how many."""
    passed = and_(runs.c.state == State.PASSED.value, runs.c.ended_at < passed_before)
    others = and_(runs.c.state != State.PASSED.value, runs.c.ended_at < others_before)
    old = select(runs.c.id).where(or_(passed, others)).limit(PURGE_BATCH)
    ids = list(tx.execute(old).scalars())
    return tx.execute(runs.delete().where(runs.c.id.in_(ids))).rowcount if ids else 0


def _holding(client: str, tenant: str) -> str:
    return f"{client}@{tenant}"


def _values(run: Run) -> dict[str, Any]:
    found = {column.name: getattr(run, column.name) for column in runs.c if column.name != "holding"}
    more = {name: dict(found[name]) for name in ("scenarios", "doing", "result", "ground")}
    holding = _holding(run.client, run.tenant) if run.state is State.OPEN else None
    return found | more | {"state": run.state.value, "holding": holding}


def _run(row: Row[Any]) -> Run:
    kept = {name: value for name, value in row._mapping.items() if name != "holding"}
    ids = {
        "id": RunId(row.id),
        "app": AppId(row.app),
        "vendor": VendorId(row.vendor),
        "version": VersionId(row.version),
        "client": ClientId(row.client),
        "tenant": TenantId(row.tenant),
    }
    return Run(**kept | ids | {"state": State(row.state)})
