"""Tables of the policy's versions, their applications and dry runs. Versions and applications are only ever added."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    exists,
    func,
    select,
)

from hilum.foundation.infra.db import Instant, get_row, insert_or_ignore, metadata
from hilum.foundation.infra.prepared_statements import PreparedStatement, prepare_rows
from hilum.foundation.infra.sorting import newest_first
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix.models import NUMBER_BOUND, Application, DryRun, DryRunState, Version

versions = Table(
    "policies_version",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("base", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Column("added_by", String(120), nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
)

applications = Table(
    "policies_application",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("tenants", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("applied_by", String(120), nullable=False),
    Column("applied_at", Instant, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("agreed_by", String(120), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
    Index("ix_policies_application_version", "version", "number"),
)
"""``tenants``: ids separated by spaces; empty for everywhere."""

dry_runs = Table(
    "policies_dry_run",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("version_digest", String(64), nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("state", String(16), nullable=False),
    Column("after", Integer, nullable=False),
    Column("since", Instant),
    Column("finished_at", Instant),
    Column("progress", Integer, nullable=False),
    Column("decisions", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("counts", JSON, nullable=False),
    Column("fault", String(64), nullable=False),
    Index("ix_policies_dry_run_version", "version", "id"),
    Index("ix_policies_dry_run_state", "state", "id"),
)
"""The results are rows of the module ``dryruns``."""
_VERSION = prepare_rows(versions, "number")


def _in_force() -> PreparedStatement:
    last = select(func.max(applications.c.number)).where(applications.c.tenants == "").scalar_subquery()
    query = select(applications).where(applications.c.number >= func.coalesce(last, 0))
    return PreparedStatement(query.order_by(applications.c.number), *applications.c)


_IN_FORCE = _in_force()


def next_version(tx: Connection) -> int:
    """Return the number of the next version: also that of a version that was applied and is gone is never used again."""
    taken = select(func.max(versions.c.number)), select(func.max(applications.c.version))
    return max(tx.execute(query).scalar_one() or 0 for query in taken) + 1


def add_version(tx: Connection, version: Version) -> bool:
    """Add a version; return False if its number is taken."""
    row = {column.name: getattr(version, column.name) for column in versions.c}
    return tx.execute(insert_or_ignore(tx, versions).values(row)).rowcount == 1


def get_version(tx: Connection, number: int) -> Version:
    """Get a version. Raises NotFound."""
    row = _VERSION.first(tx, {"number": number})
    if row is None:
        raise NotFound("policy_not_found", "There is no such version of the policy.")
    return Version(**row)


def list_versions(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[Version]:
    """List versions, newest first; ``page.after`` is a number."""
    before = int(page.after) if page.after else NUMBER_BOUND
    query = (
        select(versions)
        .where(versions.c.number < before)
        .order_by(versions.c.number.desc())
        .limit(page.limit)
    )
    return [_version(row) for row in tx.execute(query)]


def add_application(tx: Connection, application: Application) -> bool:
    """Add an application; return False if its number is taken: another one was faster."""
    row = {column.name: getattr(application, column.name) for column in applications.c}
    row["tenants"] = " ".join(application.tenants)
    return tx.execute(insert_or_ignore(tx, applications).values(row)).rowcount == 1


def list_applications_in_force(tx: Connection) -> list[Application]:
    """List the last application everywhere and all after it, oldest first; all of them if none was everywhere."""
    return [_application(row) for row in _IN_FORCE.mappings(tx, {})]


def read_applications(tx: Connection) -> Iterator[Application]:
    """Read all applications, oldest first."""
    return map(_application, tx.execute(select(applications).order_by(applications.c.number)).mappings())


def read_versions(tx: Connection) -> Iterator[Version]:
    """Read all versions, oldest first."""
    return map(_version, tx.execute(select(versions).order_by(versions.c.number)))


def has_versions(tx: Connection) -> bool:
    """Check whether there is any version."""
    return bool(tx.execute(select(exists(select(versions.c.number)))).scalar_one())


def numbered_applications(tx: Connection, numbers: Collection[int]) -> list[Application]:
    """Read the applications with these numbers, as far as they exist."""
    return [
        _application(row)
        for row in tx.execute(select(applications).where(applications.c.number.in_(numbers))).mappings()
    ]


def applications_until(tx: Connection, at: datetime) -> Iterator[Application]:
    """Read the applications that were made until a time, newest first."""
    query = select(applications).where(applications.c.applied_at <= at).order_by(applications.c.number.desc())
    return map(_application, tx.execute(query).mappings())


def list_applications(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[Application]:
    """List applications, newest first; ``page.after`` is a number."""
    before = int(page.after) if page.after else NUMBER_BOUND
    query = (
        select(applications)
        .where(applications.c.number < before)
        .order_by(applications.c.number.desc())
        .limit(page.limit)
    )
    return [_application(row) for row in tx.execute(query).mappings()]


def was_everywhere(tx: Connection, version: int) -> bool:
    """Check whether a version was ever in force everywhere."""
    query = select(applications.c.number).where(
        applications.c.version == version, applications.c.tenants == ""
    )
    return tx.execute(query.limit(1)).first() is not None


def _version(row: Row[Any]) -> Version:
    return Version(**row._mapping)


def _application(row: Mapping[Any, Any]) -> Application:
    tenants = tuple(TenantId(tenant) for tenant in row["tenants"].split())
    return Application(**{**row, "tenants": tenants})


_UNFINISHED = (DryRunState.WAITING.value, DryRunState.RUNNING.value)


def add_dry_run(tx: Connection, run: DryRun) -> None:
    tx.execute(dry_runs.insert().values({column.name: getattr(run, column.name) for column in dry_runs.c}))


def save_dry_run(tx: Connection, run: DryRun) -> None:
    values = {column.name: getattr(run, column.name) for column in dry_runs.c}
    tx.execute(dry_runs.update().where(dry_runs.c.id == run.id).values(values))


def get_dry_run(tx: Connection, run_id: str) -> DryRun:
    """Get a dry run. Raises NotFound."""
    return _dry_run(get_row(tx, dry_runs, run_id, "dry run", code="dry_run"))


def list_dry_runs(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[DryRun]:
    """List dry runs by id, newest first."""
    return [_dry_run(row) for row in tx.execute(newest_first(select(dry_runs), dry_runs, page))]


def list_unfinished_dry_runs(tx: Connection, bound: int) -> list[DryRun]:
    """List the dry runs that wait or run, oldest first."""
    query = select(dry_runs).where(dry_runs.c.state.in_(_UNFINISHED)).order_by(dry_runs.c.id).limit(bound)
    return [_dry_run(row) for row in tx.execute(query)]


def find_finished_dry_run(tx: Connection, version: int) -> DryRun | None:
    """Find the newest dry run of a version that is done."""
    done = select(dry_runs).where(dry_runs.c.version == version, dry_runs.c.state == DryRunState.DONE.value)
    row = tx.execute(done.order_by(dry_runs.c.id.desc()).limit(1)).first()
    return None if row is None else _dry_run(row)


def _dry_run(row: Row[Any]) -> DryRun:
    return DryRun(**{**row._mapping, "state": DryRunState(row.state)})
