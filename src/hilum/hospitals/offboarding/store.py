"""The table of offboardings, and the rows of a hospital in every table of the list."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Index,
    Row,
    String,
    Table,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from hilum.foundation.infra.db import Instant, get_row, metadata
from hilum.foundation.infra.sorting import by_key, newest_first
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.hospitals.offboarding.models import (
    NEWEST,
    PREVIEW_BOUND,
    ROWS_AT_ONCE,
    SHOWN_ROWS,
    WALKED_AT_ONCE,
    By,
    Offboarding,
    Retention,
    State,
)

offboardings = Table(
    "offboardings_offboarding",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("asked_by", String(120), nullable=False),
    Column("agreed_by", String(120), nullable=False),
    Column("left_at", Instant, nullable=False),
    Column("erase_at", Instant, nullable=False),
    Column("switch", String(64), nullable=False),
    Column("preview", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("apps_ended_at", Instant),
    Column("manifest", String(64), nullable=False),
    Column("exported_at", Instant),
    Column("progress", JSON, nullable=False),
    Column("erased_at", Instant),
    Index("ix_offboardings_offboarding_state", "state", "id"),
)


def add(tx: Connection, found: Offboarding) -> None:
    tx.execute(offboardings.insert().values(_values(found)))


def save(tx: Connection, found: Offboarding) -> None:
    tx.execute(offboardings.update().where(offboardings.c.id == found.id).values(_values(found)))


def get(tx: Connection, offboarding: str, *, lock: bool = False) -> Offboarding:
    """Get an offboarding; with ``lock`` no other transaction changes it meanwhile. Raises NotFound."""
    return _offboarding(get_row(tx, offboardings, offboarding, "offboarding", lock=lock))


def list_offboardings(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[Offboarding]:
    """List offboardings, newest first."""
    return [_offboarding(row) for row in tx.execute(newest_first(select(offboardings), offboardings, page))]


def list_due(tx: Connection, now: datetime, page: PageQuery) -> list[str]:
    """List by id the offboardings that may have a step due: whose apps are not removed, or whose day of erasure has come."""
    due = _open(), or_(offboardings.c.apps_ended_at.is_(None), offboardings.c.erase_at <= now)
    query = select(offboardings.c.id).where(*due)
    return list(tx.execute(by_key(query, offboardings.c.id, page)).scalars())


def _open() -> ColumnElement[bool]:
    return offboardings.c.state.in_((State.LEFT.value, State.ERASING.value))


def defer(tx: Connection, until: datetime) -> int:
    """Postpone pending erasures that are due earlier; return how many."""
    sooner = _open(), offboardings.c.erase_at < until
    return tx.execute(offboardings.update().where(*sooner).values(erase_at=until)).rowcount


def _values(found: Offboarding) -> dict[str, Any]:
    values = {column.name: getattr(found, column.name) for column in offboardings.c}
    documents = {name: dict(values[name]) for name in ("preview", "progress")}
    return values | documents | {"state": found.state.value}


def _offboarding(row: Row[Any]) -> Offboarding:
    kept = dict(row._mapping)
    return Offboarding(**kept | {"tenant": TenantId(row.tenant), "state": State(row.state)})


# --- the rows of a hospital ----------------------------------------------------------------------------------------------------


def count(tx: Connection, retention: Retention, tenant: TenantId, *where: tuple[str, Any]) -> int:
    """Count a hospital's rows of a table whose columns have these values, up to ``PREVIEW_BOUND``."""
    table = metadata.tables[retention.table]
    wanted = [table.c[name].is_(None) if value is None else table.c[name] == value for name, value in where]
    some = select(literal(1)).select_from(table).where(_of(table, retention.by, tenant), *wanted)
    key = next(iter(table.primary_key.columns))
    if retention.by is By.TENANT and key.name == "id" and not _is_indexed(table):
        # Ids are in the order of time, and what is open is among the newest.
        edge = select(key).order_by(key.desc()).offset(NEWEST).limit(1).scalar_subquery()
        some = some.where(key > func.coalesce(edge, ""))
    return int(
        tx.execute(select(func.count()).select_from(some.limit(PREVIEW_BOUND).subquery())).scalar_one()
    )


def read_rows(tx: Connection, retention: Retention, tenant: TenantId) -> Iterator[dict[str, Any]]:
    """Yield a hospital's rows of a table for the export, by key, without secrets."""
    table = metadata.tables[retention.table]
    keys = list(table.primary_key.columns)
    shown = [column for column in table.c if column.name not in retention.hidden]
    query = select(*shown).where(_of(table, retention.by, tenant)).order_by(*keys)
    with tx.execute(query.execution_options(yield_per=SHOWN_ROWS)) as rows:
        for row in rows.mappings():
            yield dict(row)


def take_rows(
    tx: Connection, retention: Retention, tenant: TenantId, after: Sequence[Any]
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return a batch of a hospital's rows ``after`` a key, and the key to continue from; none at the end of the table."""
    table = metadata.tables[retention.table]
    keys = list(table.primary_key.columns)
    # From key to key, so that a table of any size is read once in all, whatever index it has; and so far only
    # at once: SQLite has one writer, and PostgreSQL ends what takes long.
    beyond = [_compared(keys, after, operator.gt)] if after else []
    walk = select(*keys).where(*beyond).order_by(*keys).offset(WALKED_AT_ONCE - 1).limit(1)
    edge = [_write_key(each) for each in tx.execute(walk).first() or ()]
    within = [*beyond, _compared(keys, edge, operator.le)] if edge else beyond
    query = select(table).where(_of(table, retention.by, tenant), *within).order_by(*keys).limit(ROWS_AT_ONCE)
    rows = [dict(row) for row in tx.execute(query.with_for_update()).mappings()]
    if len(rows) == ROWS_AT_ONCE:
        return rows, [_write_key(rows[-1][key.name]) for key in keys]
    return rows, edge


def _compared(
    keys: Sequence[Column[Any]],
    written: Sequence[Any],
    compare: Callable[[Any, Any], ColumnElement[bool]],
) -> ColumnElement[bool]:
    last = [_read_key(each) for each in written]
    return compare(keys[0], last[0]) if len(keys) == 1 else compare(tuple_(*keys), tuple_(*last))


def erase(tx: Connection, retention: Retention, rows: Sequence[Mapping[str, Any]]) -> None:
    """Delete some rows of a table, or blank them."""
    table = metadata.tables[retention.table]
    keys = list(table.primary_key.columns)
    ids = [tuple(row[key.name] for key in keys) for row in rows]
    mine = keys[0].in_([each[0] for each in ids]) if len(keys) == 1 else tuple_(*keys).in_(ids)
    if not retention.blank:
        tx.execute(delete(table).where(mine))
        return
    values = {
        # ``=name`` copies another column of the row.
        name: table.c[value[1:]] if isinstance(value, str) and value.startswith("=") else value
        for name, value in retention.blank.items()
    }
    tx.execute(update(table).where(mine).values(values))


def line(row: Mapping[str, Any]) -> bytes:
    """Return a row as one line of JSON."""
    # A name that is a word of SQL is a quoted_name, which is no str to orjson.
    plain = {str(name): value for name, value in row.items()}
    return orjson.dumps(plain, default=_plain, option=orjson.OPT_SORT_KEYS)


def _of(table: Table, by: By, tenant: TenantId) -> ColumnElement[bool]:
    """Return the condition for a hospital's rows of a table."""
    of = metadata.tables
    people = select(of["identity_person"].c.id).where(of["identity_person"].c.tenant == tenant)
    apps = select(of["registry_app"].c.id).where(of["registry_app"].c.tenant == tenant)
    match by:
        case By.TENANT:
            return table.c.tenant == tenant
        case By.ID:
            return table.c.id == tenant
        case By.PERSON:
            return table.c.person.in_(people)
        case By.AUTHORIZATION:
            agreed = of["authorization"]
            return table.c.authorization.in_(select(agreed.c.id).where(agreed.c.tenant == tenant))
        case By.APP:
            return table.c.app.in_(apps)
        case By.CLIENT:
            clients = of["registry_client"]
            return table.c.client.in_(select(clients.c.id).where(clients.c.app.in_(apps)))
        case By.OWNER:
            return table.c.owner == f"hospital/{tenant}"
        case By.RING:
            return and_(table.c.ring == tenant, table.c.purpose == "id_token")


def _is_indexed(table: Table) -> bool:
    """Check whether an index finds a hospital's rows."""
    return any(next(iter(each.columns)).name == "tenant" for each in table.indexes)


def _write_key(value: Any) -> Any:
    return f"hex:{value.hex()}" if isinstance(value, bytes) else value


def _read_key(value: Any) -> Any:
    # An id is letters, digits, underscores and hyphens; none begins like this.
    return bytes.fromhex(value[4:]) if isinstance(value, str) and value.startswith("hex:") else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
