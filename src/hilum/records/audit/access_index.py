"""The index of accesses: finds them by app, tenant, person, patient and other fields without reading whole journals.

The journals are the record; the index holds positions in them. A job fills it shortly after the records are durable, so that no
request waits for it; a search reads newer records from the ends of the journals. Values are stored as 64-bit digests, which may
collide, so each match is read and compared again. Patients are stored as keyed digests, which reveal nothing without the platform's
key, and are purged with the payloads. The patients of an answer that showed several have rows of their own.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial
from hashlib import sha256
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Select,
    String,
    Subquery,
    Table,
    case,
    delete,
    desc,
    distinct,
    func,
    inspect,
    literal,
    or_,
    select,
    text,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement
from sqlalchemy.sql.elements import ColumnElement

from hilum.foundation.infra.db import Database, Instant, metadata
from hilum.foundation.kernel.decision import Reason
from hilum.records.audit import policy
from hilum.records.audit.journal_records import NewRecords, Positions, RecordPosition
from hilum.records.audit.models import (
    INDEX_FOUND_BATCH,
    PURGE_BATCH,
    UNDER_WAY_BEFORE,
    WINDOW_BEFORE,
    Access,
    AccessQuery,
    Outcome,
    ReachedDay,
    RecordedCalls,
    WindowQuery,
)
from hilum.records.keys.live import vault

T = TypeVar("T")
# Filters become equality of 64-bit numbers: indexes stay small, and no name or id is stored a second time.
WORDS = ("tenant", "app", "client", "person", "launch", "authorization", "run", "reason")
PURPOSE = "audit.index.patient"
FILE = "index.db"

access_index = Table(
    "access_index",
    metadata,
    Column("journal", String(10), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    # 0 stands for empty, so the columns need no NULL and each index serves "equals" alone.
    *(Column(word, BigInteger, nullable=False) for word in WORDS),
    Column("outcome", String(16), nullable=False),
    Column("patient", BigInteger),
    Column("cost", Integer, nullable=False),
    PrimaryKeyConstraint("journal", "number"),
    Index("ix_access_index_at", "at"),
    # Pairs end in `at`, so that a page by that filter is read in the order of the index, without sorting.
    Index("ix_access_index_tenant", "tenant", "at"),
    Index("ix_access_index_tenant_app", "tenant", "app", "at"),
    Index("ix_access_index_app", "app", "at"),
    Index("ix_access_index_client", "client", "at"),
    Index("ix_access_index_person", "person", "at"),
    Index("ix_access_index_patient", "patient", "at"),
    # Few records share one of these values, so sorting them is cheaper than a wider index.
    Index("ix_access_index_launch", "launch"),
    Index("ix_access_index_authorization", "authorization"),
    Index("ix_access_index_run", "run"),
    Index("ix_access_index_reason", "reason", "at"),
    Index(
        "ix_access_index_purge",
        "at",
        sqlite_where=text("patient IS NOT NULL"),
        postgresql_where=text("patient IS NOT NULL"),
    ),
)

access_found = Table(
    "access_found",
    metadata,
    Column("patient", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("journal", String(10), nullable=False),
    Column("number", BigInteger, nullable=False),
    # In the order in which a history is read. Its other filters are those of the record's own row.
    PrimaryKeyConstraint("patient", "at", "journal", "number"),
    Index("ix_access_found_at", "at"),
)
"""Each patient of an answer that showed the records of several (C94)."""

access_indexed = Table(
    "access_indexed",
    metadata,
    Column("journal", String(10), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""The last indexed record of each journal."""
TABLES = (access_index, access_found, access_indexed)
_SELECTIVE = ("launch", "authorization", "run", "patient")
"""Fields with very many values: a query by one of them finds few rows, which are then sorted."""


def digest(word: str, value: str) -> int:
    """Return the signed 64-bit digest of a field's value; 0 for an empty one."""
    if not value:
        return 0
    if word == "patient":
        # Patient ids are few and could be guessed from a plain digest; with the key they cannot, and purging
        # the column forgets them.
        value = vault().mac(PURPOSE, value.encode(), 16)
    return int.from_bytes(sha256(f"{word}\n{value}".encode()).digest()[:8], "big", signed=True) or 1


def positions(tx: Connection) -> Positions:
    """Return the last indexed record of each journal."""
    return {row.journal: int(row.number) for row in tx.execute(select(access_indexed))}


def add(tx: Connection, found: NewRecords) -> int:
    """Index new records of each journal; return how many. Idempotent: records already indexed are skipped."""
    reached = positions(tx)
    found = within(found, INDEX_FOUND_BATCH)
    fresh = [
        (journal, number, access)
        for journal, records in found.items()
        for number, access in records
        # Intents are not indexed: their outcome has a record of its own. `reached` is read in this
        # transaction, so a second indexer adds nothing twice.
        if number > reached.get(journal, 0) and access.outcome is not Outcome.INTENDED
    ]
    rows = [_row(*each) for each in fresh]
    if patients := [row for each in fresh for row in _found_rows(*each)]:
        tx.execute(access_found.insert(), patients)
    if rows:
        tx.execute(access_index.insert(), rows)
    for journal, records in found.items():
        number = max(records[-1][0], reached.get(journal, 0))
        moved = update(access_indexed).where(access_indexed.c.journal == journal).values(number=number)
        # Update first: the row exists in all but the first batch of a journal.
        if tx.execute(moved).rowcount == 0:
            tx.execute(access_indexed.insert().values(journal=journal, number=number))
    return len(rows)


def within(found: NewRecords, most: int) -> NewRecords:
    """Return the records of each journal up to the one whose patients reach ``most``: one answer may show hundreds."""
    kept: NewRecords = {}
    for journal, records in found.items():
        patients = accumulate(access.found.count(":") for _, access in records)
        kept[journal] = records[: 1 + sum(1 for _ in takewhile(lambda count: count < most, patients))]
    return kept


def _found_rows(journal: str, number: int, access: Access) -> list[dict[str, Any]]:
    if not access.found:
        return []
    # A set, since digests may collide.
    patients = {digest("patient", patient) for patient in policy.found_in(access)}
    return [
        {"patient": each, "at": access.at, "journal": journal, "number": number} for each in sorted(patients)
    ]


def _row(journal: str, number: int, access: Access) -> dict[str, Any]:
    row = {word: digest(word, getattr(access, word)) for word in WORDS}
    patient = digest("patient", access.patient) or None
    outcome = access.outcome.value
    return row | {
        "journal": journal,
        "number": number,
        "at": access.at,
        "outcome": outcome,
        "patient": patient,
        "cost": access.cost,
    }


def places(tx: Connection, query: AccessQuery, most: int) -> list[RecordPosition]:
    """Return the positions of records that may match, newest first."""
    found = {RecordPosition(row.at, row.journal, int(row.number)) for row in tx.execute(_search(query, most))}
    if query.patient:
        found |= {
            RecordPosition(row.at, row.journal, int(row.number))
            for row in tx.execute(_search_found(query, most))
        }
    return sorted(found, reverse=True)[:most]


def _search(query: AccessQuery, most: int) -> Select[Any]:
    table = access_index
    wanted = _with_words(query)
    if query.patient:
        wanted.append(table.c.patient == digest("patient", query.patient))
    return _page(query, most, table, wanted)


def _search_found(query: AccessQuery, most: int) -> Select[Any]:
    """Search the patients of answers that showed several; each record's own row has what else is asked for."""
    table, own = access_found, access_index
    here = (own.c.journal == table.c.journal) & (own.c.number == table.c.number)
    wanted = [table.c.patient == digest("patient", query.patient), here, *_with_words(query)]
    return _page(query, most, table, wanted)


def _with_words(query: AccessQuery) -> list[ColumnElement[bool]]:
    wanted = [
        _column(query, word) == digest(word, value) for word in WORDS if (value := getattr(query, word))
    ]
    if query.outcome:
        wanted.append(access_index.c.outcome == query.outcome)
    return wanted


def _page(query: AccessQuery, most: int, table: Table, wanted: list[ColumnElement[bool]]) -> Select[Any]:
    if query.since is not None:
        wanted.append(table.c.at >= query.since)
    if query.before is not None:
        wanted.append(table.c.at < query.before)
    if query.after:
        place = RecordPosition.read(query.after)
        # Redundant, but an index on `at` can serve it, whatever the planner makes of the row comparison.
        wanted.append(table.c.at <= place.at)
        here = tuple_(table.c.at, table.c.journal, table.c.number)
        wanted.append(here < tuple_(*_bound(place)))
    newest_first: list[ColumnElement[Any]] = [desc(table.c.at), desc(table.c.journal), desc(table.c.number)]
    if any(getattr(query, word) for word in _SELECTIVE):
        # The expression keeps the planner from scanning an index on ``at`` backwards for the few matches; it sorts them instead.
        newest_first[0] = desc(func.coalesce(table.c.at, 0))
    columns = select(table.c.at, table.c.journal, table.c.number)
    return columns.where(*wanted).order_by(*newest_first).limit(most)


def _column(query: AccessQuery, word: str) -> ColumnElement[Any]:
    """Return a column to compare; of a query by patient, all others as expressions, which no index serves."""
    column = access_index.c[word]
    # SQLite takes the index with the most columns that match, and without statistics it does not know that an app's records at a
    # hospital are a million times a patient's.
    return column if not query.patient else func.coalesce(column, 0)


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Counts of a window's records: refused by digest of the tenant, and the different values of other fields among the refused."""

    refused: dict[int, int]
    launches: int
    authorizations: int
    people: int


def _of_target(query: WindowQuery) -> list[ColumnElement[bool]]:
    named = {"tenant": query.tenant, "app": query.app, "person": query.person}
    found = [access_index.c[word] == digest(word, value) for word, value in named.items() if value]
    # An empty list matches nothing, as it must for a vendor without apps.
    if query.vendor:
        found.append(access_index.c.app.in_([digest("app", each) for each in query.apps]))
    return found


def window_counts(tx: Connection, query: WindowQuery, most: int) -> WindowCounts | None:
    """Count the records of a window from its moment on; return None if there are more than ``most``."""
    table = access_index
    here = (*_of_target(query), table.c.at >= query.moment, table.c.at < query.until)
    # Bounded inside: a count over everything would read ten million records of a window that is too wide.
    if tx.execute(select(func.count()).select_from(_bounded(here, most))).scalar_one() > most:
        return None
    refused = _bounded((*here, table.c.outcome == Outcome.REFUSED.value), most)
    by_tenant = select(refused.c.tenant, func.count()).group_by(refused.c.tenant)
    found = {int(tenant): int(number) for tenant, number in tx.execute(by_tenant)}
    # 0 stands for empty, which is no launch and no person.
    different = [
        func.count(distinct(case((refused.c[word] != 0, refused.c[word]))))
        for word in ("launch", "authorization", "person")
    ]
    counted = tx.execute(select(*different)).one()
    return WindowCounts(found, *(int(number) for number in counted))


def _bounded(here: Sequence[ColumnElement[bool]], most: int) -> Subquery:
    table = access_index
    columns = (table.c.tenant, table.c.launch, table.c.authorization, table.c.person)
    return select(*columns).where(*here).limit(most + 1).subquery()


def permitted_places(tx: Connection, query: WindowQuery, most: int) -> list[RecordPosition]:
    """Return the positions of the records that are no refusals, of requests that arrived within UNDER_WAY_BEFORE of the moment or later."""
    table = access_index
    here = (
        *_of_target(query),
        table.c.outcome != Outcome.REFUSED.value,
        table.c.at >= query.moment - UNDER_WAY_BEFORE,
        table.c.at < query.until,
    )
    return _places_of(tx, here, table.c.at, most)


def last_permitted(tx: Connection, query: WindowQuery) -> list[RecordPosition]:
    """Return the position of the last record before the moment that is no refusal, within WINDOW_BEFORE; at most one."""
    table = access_index
    here = (
        *_of_target(query),
        table.c.outcome != Outcome.REFUSED.value,
        table.c.at >= query.moment - WINDOW_BEFORE,
        table.c.at < query.moment,
    )
    return _places_of(tx, here, desc(table.c.at), 1)


def calls(tx: Connection, client: str, tenants: Collection[str], since: datetime, most: int) -> RecordedCalls:
    """Return the calls of a client at some tenants since a moment; of more than ``most`` the newest."""
    table, names = access_index, {digest("tenant", each): each for each in tenants}
    # The intent of a write has the record of its outcome beside it.
    here = [table.c.client == digest("client", client), table.c.at >= since]
    here.append(table.c.outcome != Outcome.INTENDED.value)
    if len(names) == 1:
        here.append(table.c.tenant.in_(names))
    query = select(table.c.at, table.c.tenant, table.c.outcome, table.c.reason, table.c.cost)
    rows = tx.execute(
        query.where(*here).order_by(desc(table.c.at), desc(table.c.number)).limit(most + 1)
    ).all()
    over, found = digest("reason", Reason.QUOTA_EXCEEDED.value), dict[str, list[tuple[datetime, str, int]]]()
    for at, tenant, outcome, reason, cost in reversed(rows[:most]):
        if tenant in names:
            refused = Reason.QUOTA_EXCEEDED.value if reason == over else Outcome.REFUSED.value
            why = refused if outcome == Outcome.REFUSED.value else ""
            found.setdefault(names[tenant], []).append((at, why, cost))
    return RecordedCalls(rows[most - 1].at if len(rows) > most else since, found)


def reached_on(
    tx: Connection, client: str, day: date, hours: Sequence[tuple[datetime, datetime]] | None
) -> list[ReachedDay]:
    """Return for each tenant at which something was permitted to a client on a day of UTC how many patients it reached, and how often it called outside ``hours``.

    ``hours`` None: no call is outside. Exact but for digests that collide; it reads what the client did that day, and nothing else.
    """
    table, found = access_index, access_found
    begins = datetime.combine(day, time(), UTC)
    here = (
        table.c.client == digest("client", client),
        table.c.at >= begins,
        table.c.at < begins + timedelta(days=1),
        table.c.outcome == Outcome.DONE.value,
    )
    same = (
        (found.c.at == table.c.at) & (found.c.journal == table.c.journal) & (found.c.number == table.c.number)
    )
    # A union has each patient once, whether an answer was about them alone or showed several.
    reached = union(
        select(table.c.tenant, table.c.patient).where(*here, table.c.patient.is_not(None)),
        select(table.c.tenant, found.c.patient).join(found, same).where(*here),
    ).subquery()
    patients = dict[int, int]()
    for tenant, number in tx.execute(select(reached.c.tenant, func.count()).group_by(reached.c.tenant)):
        patients[int(tenant)] = int(number)
    outside = dict[int, int]()
    if hours is not None:
        outside_of = [or_(table.c.at < since, table.c.at >= until) for since, until in hours]
        beyond = select(table.c.tenant, func.count()).where(*here, *outside_of)
        outside = {int(tenant): int(number) for tenant, number in tx.execute(beyond.group_by(table.c.tenant))}
    return [ReachedDay(day, patients.get(each, 0), outside.get(each, 0)) for each in {*patients, *outside}]


def example_of(tx: Connection, query: WindowQuery, tenant: int) -> list[RecordPosition]:
    """Return the position of one of the window's records at the tenant with this digest; its record has the tenant's name."""
    table = access_index
    here = (
        *_of_target(query),
        table.c.tenant == tenant,
        table.c.at >= query.moment,
        table.c.at < query.until,
    )
    return _places_of(tx, here, table.c.at, 1)


def _places_of(
    tx: Connection, here: Sequence[ColumnElement[bool]], order: ColumnElement[Any], most: int
) -> list[RecordPosition]:
    table = access_index
    found = select(table.c.at, table.c.journal, table.c.number).where(*here).order_by(order).limit(most)
    return [RecordPosition(row.at, row.journal, int(row.number)) for row in tx.execute(found)]


def _bound(place: RecordPosition) -> Iterator[Any]:
    yield literal(place.at, Instant())
    yield literal(place.journal)
    yield literal(place.number, BigInteger())


def purge(tx: Connection, before: datetime) -> int:
    """Remove the patient from up to PURGE_BATCH old records; return from how many. Call again while it is not 0.

    The partial index ``ix_access_index_purge`` holds only rows with a patient, so no row is visited twice.
    """
    table = access_index
    # Selected first and updated by key, because PostgreSQL has no LIMIT in UPDATE.
    due = tx.execute(_to_forget(before)).all()
    if due:
        matching = tuple_(table.c.journal, table.c.number).in_([tuple(row) for row in due])
        tx.execute(update(table).where(matching).values(patient=None))
    return len(due)


def _to_forget(before: datetime) -> Select[Any]:
    table = access_index
    old = select(table.c.journal, table.c.number).where(table.c.at < before, table.c.patient.is_not(None))
    return old.order_by(table.c.at).limit(PURGE_BATCH)


def purge_found(tx: Connection, before: datetime) -> int:
    """Remove some old rows of patients whom answers showed, oldest first; return how many. Call again while it is not 0."""
    at = access_found.c.at
    last = select(at).where(at < before).order_by(at).limit(1).offset(PURGE_BATCH)
    # By time and not by key: up to PURGE_BATCH rows and those of the same moment.
    until = tx.execute(last).scalar()
    due = at < before if until is None else at <= until
    return int(tx.execute(delete(access_found).where(due)).rowcount)


class AccessIndex:
    """The index in its database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def positions(self) -> Positions:
        """Return the last indexed record of each journal."""
        return self._database.read(positions)

    def places(self, query: AccessQuery, most: int) -> list[RecordPosition]:
        """Return the positions of records that may match, newest first."""
        return self._database.read(partial(places, query=query, most=most))

    def read(self, verb: Callable[[Connection], T]) -> T:
        """Run one of this module's functions in a reading transaction."""
        return self._database.read(verb)

    def add(self, found: NewRecords) -> int:
        """Index new records of each journal; return how many."""
        return self._database.write(partial(add, found=found))

    def forget_patients(self, before: datetime) -> None:
        """Remove the patient from every record older than ``before``, and the patients of its answer."""
        while self._database.write(partial(purge, before=before)):
            pass
        while self._database.write(partial(purge_found, before=before)):
            pass


def open_index(database_url: str, directory: Path, *, make: bool = False) -> AccessIndex | None:
    """Open the index: in the control plane's PostgreSQL, else in a file beside the journals; None if there is no file and not ``make``."""
    if not (make or database_url.startswith("postgresql") or (directory / FILE).exists()):
        return None
    database = open_beside(database_url, directory / FILE, TABLES if make else ())
    # A file of an older release, which the job completes within a second: until then the journals are searched.
    if not make and not has_all(database, TABLES):
        return None
    return AccessIndex(database)


def has_all(database: Database, tables: Sequence[Table]) -> bool:
    """Check whether the file of something derived has all its tables: that of an older release lacks some until a job completes it."""
    if not database.is_sqlite:
        return True
    present = set(database.read(lambda tx: inspect(tx).get_table_names()))
    return present.issuperset(each.name for each in tables)


def open_beside(database_url: str, file: Path, tables: Sequence[Table]) -> Database:
    """Open the database of something derived from the journals, with these tables: the control plane's PostgreSQL, else a file beside the journals."""
    if database_url.startswith("postgresql"):
        return _opened(database_url)
    opened = _opened(f"sqlite:///{file}")
    if tables:
        # A file of its own: the control plane's database would make writers of tokens wait for the indexer.
        file.parent.mkdir(parents=True, exist_ok=True)
        opened.write(partial(_create_missing, tables=tables))
    return opened


def _create_missing(tx: Connection, tables: Sequence[Table]) -> None:
    """Create missing tables and, in a file of an older release, missing indexes."""
    for statement in _definitions(tuple(tables)):
        tx.exec_driver_sql(statement)


@cache
def _definitions(tables: tuple[Table, ...]) -> list[str]:
    """Write each table and index as SQLite creates it where it is missing."""
    found: list[DDLElement] = [CreateTable(each, if_not_exists=True) for each in tables]
    found += [CreateIndex(index, if_not_exists=True) for each in tables for index in each.indexes]
    return [str(each.compile(dialect=sqlite.dialect())) for each in found]


@cache
def _opened(url: str) -> Database:
    return Database(url)
