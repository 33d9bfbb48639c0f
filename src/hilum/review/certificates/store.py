"""Tables of certificates and status lists, and how far changes of the registry were followed."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    and_,
    false,
    func,
    not_,
    or_,
    select,
    true,
)

from hilum.apps.registry.models import REGISTRY, Environment
from hilum.foundation.infra import epoch
from hilum.foundation.infra.db import Instant, get_row, insert_or_ignore, metadata, row_of
from hilum.foundation.infra.epoch import Change, Stamp
from hilum.foundation.infra.sorting import paged
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix.models import Tier
from hilum.review.certificates.models import (
    LIST_SIZE,
    SORTS,
    Cause,
    Certificate,
    Status,
    StatusList,
    Stops,
    Walk,
)

ONLY = "walk"

certificates = Table(
    "certificate",
    metadata,
    # The id of the certification.
    Column("id", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("app", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("environment", String(20), nullable=False),
    Column("app_name", String(200), nullable=False),
    Column("vendor_name", String(200), nullable=False),
    Column("label", String(100), nullable=False),
    Column("tier", String(20), nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("status", Integer, nullable=False),
    Column("cause", String(20), nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("remind_at", Instant),
    Column("grace_until", Instant),
    Column("text", Text, nullable=False),
    Index("uq_certificate_number", "number", unique=True),
    Index("ix_certificate_app", "app", "id"),
    Index("ix_certificate_vendor", "vendor", "id"),
    Index("ix_certificate_by_end", "expires_at", "id"),
    Index("ix_certificate_vendor_end", "vendor", "expires_at", "id"),
    Index("ix_certificate_change", "change"),
    Index("ix_certificate_remind", "remind_at"),
    Index("ix_certificate_status", "status", "expires_at"),
    Index("ix_certificate_grace", "grace_until"),
)
status_lists = Table(
    "certificate_list",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
)
walks = Table(
    "certificate_walk",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Column("whole", Boolean, nullable=False),
    Column("after", String(64), nullable=False),
    Column("looked", String(64), nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("at", Instant),
)
_CERTIFIED = (
    certificates.c.environment == Environment.PRODUCTION.value,
    or_(certificates.c.status != int(Status.INVALID), certificates.c.grace_until.is_not(None)),
)
# Releases before there was a grace read the column: for them what is in its grace has expired.
_GRACED = certificates.c.status == int(Status.INVALID), certificates.c.grace_until.is_not(None)
_OVER = certificates.c.status == int(Status.INVALID), certificates.c.grace_until.is_(None)
_SHOWN = [each for each in certificates.c if each.name != "text"]


def registry_stamp(tx: Connection) -> Stamp:
    """Return the stamp of the registry's facts."""
    return epoch.read_stamps(tx)[REGISTRY]


def changes_since(tx: Connection, since: Stamp, until: Stamp) -> tuple[Change, ...] | None:
    """Return what changed in the registry; None if that is not known one by one."""
    return epoch.changes(tx, REGISTRY, since, until)


def lock_walk(tx: Connection) -> Walk:
    """Get the walk, locked until the transaction ends."""
    first = {"n": 0, "mark": 0, "whole": True, "after": "", "looked": "", "last": -1, "change": 0, "at": None}
    tx.execute(insert_or_ignore(tx, walks).values(id=ONLY, **first))
    return _walk(tx.execute(select(walks).where(walks.c.id == ONLY).with_for_update()).one())


def get_walk(tx: Connection) -> Walk:
    """Return how far changes were followed."""
    row = row_of(tx, walks, ONLY)
    return Walk() if row is None else _walk(row)


def _walk(row: Row[Any]) -> Walk:
    return Walk(row.n, row.mark, row.after if row.whole else None, row.looked, row.last, row.change, row.at)


def save_walk(tx: Connection, walk: Walk) -> None:
    values = {
        "n": walk.n,
        "mark": walk.mark,
        "whole": walk.after is not None,
        "after": walk.after or "",
        "looked": walk.looked,
        "last": walk.last,
        "change": walk.change,
        "at": walk.at,
    }
    tx.execute(walks.update().where(walks.c.id == ONLY).values(values))


def add_certificate(tx: Connection, made: Certificate) -> None:
    values = {each.name: getattr(made, each.name) for each in certificates.c}
    values["tier"] = "" if made.tier is None else made.tier.value
    values |= {
        "environment": made.environment.value,
        "status": _stored(made.status),
        "cause": made.cause.value,
    }
    tx.execute(certificates.insert().values(values))


def save_status(tx: Connection, after: Certificate) -> None:
    values = {
        "status": _stored(after.status),
        "cause": after.cause.value,
        "changed_at": after.changed_at,
        "change": after.change,
        "grace_until": after.grace_until,
        "remind_at": after.remind_at,
    }
    tx.execute(certificates.update().where(certificates.c.id == after.id).values(values))


def of_apps(tx: Connection, of: Collection[AppId]) -> list[Certificate]:
    return _read(tx, certificates.c.app.in_(of))


def due(tx: Connection, now: datetime, limit: int) -> list[Certificate]:
    """List certificates that expired, or whose grace is over, and that are not listed so yet."""
    ended = certificates.c.status != int(Status.INVALID), certificates.c.expires_at <= now
    found = _read(tx, *ended, certificates.c.grace_until.is_(None), limit=limit)
    return found or _read(tx, certificates.c.grace_until <= now, limit=limit)


def newly_stopped(tx: Connection, stops: Stops, limit: int) -> list[Certificate]:
    """List certificates that are valid, or in their grace, and that kill switches stop now."""
    used = or_(certificates.c.status == int(Status.VALID), and_(*_GRACED))
    return _read(tx, used, _touched(stops), limit=limit)


def no_longer_stopped(tx: Connection, stops: Stops, limit: int) -> list[Certificate]:
    """List certificates suspended by kill switches that no longer stop them."""
    stopped = certificates.c.status == int(Status.SUSPENDED), certificates.c.cause == Cause.STOPPED.value
    return _read(tx, *stopped, ~_touched(stops), limit=limit)


def _touched(stops: Stops) -> ColumnElement[bool]:
    if stops.everything:
        return true()
    named = (
        (certificates.c.vendor, stops.vendors),
        (certificates.c.app, stops.apps),
        (certificates.c.version, stops.versions),
    )
    return or_(false(), *(column.in_(of) for column, of in named if of))


def apps_after(tx: Connection, after: str, limit: int) -> list[AppId]:
    """List apps that have certificates, by id."""
    query = select(certificates.c.app).where(certificates.c.app > after).distinct()
    return [AppId(row.app) for row in tx.execute(query.order_by(certificates.c.app).limit(limit))]


def list_certified(tx: Connection, after: str, limit: int) -> list[AppId]:
    """List apps with a certificate for production that has not ended, by id."""
    query = select(certificates.c.app).where(*_CERTIFIED, certificates.c.app > after).distinct()
    return [AppId(row.app) for row in tx.execute(query.order_by(certificates.c.app).limit(limit))]


def count_certified(tx: Connection) -> int:
    query = select(func.count(certificates.c.app.distinct())).where(*_CERTIFIED)
    return int(tx.execute(query).scalar_one())


def validly_certified(tx: Connection) -> set[AppId]:
    """Return every app with a valid certificate for production."""
    query = select(certificates.c.app).where(
        certificates.c.environment == Environment.PRODUCTION.value,
        certificates.c.status == int(Status.VALID),
    )
    return {AppId(row.app) for row in tx.execute(query.distinct())}


def to_remind(tx: Connection, now: datetime, limit: int) -> list[Certificate]:
    """List certificates about whose end a mail is due, locked until the transaction ends."""
    # One that has just ended waits until it is known whether it has a grace.
    unsettled = certificates.c.status == int(Status.VALID), certificates.c.expires_at <= now
    query = select(*_SHOWN).where(certificates.c.remind_at <= now, not_(and_(*unsettled)))
    query = query.order_by(certificates.c.remind_at)
    return [_certificate(row) for row in tx.execute(query.limit(limit).with_for_update())]


def save_reminder(tx: Connection, certificate_id: str, at: datetime | None) -> None:
    tx.execute(certificates.update().where(certificates.c.id == certificate_id).values(remind_at=at))


def changed_since(tx: Connection, change: int) -> list[Certificate]:
    """List certificates whose status changed, or that were made, since a change."""
    return _read(tx, certificates.c.change > change)


def list_certificates(
    tx: Connection, page: PageQuery, *, vendor: str | None, app: str, status: Status | None
) -> list[Certificate]:
    """List certificates by id, or in the page's order."""
    wanted: list[ColumnElement[bool]] = []
    if vendor is not None:
        wanted.append(certificates.c.vendor == vendor)
    if app:
        wanted.append(certificates.c.app == app)
    if status is not None:
        of = {Status.GRACE: _GRACED, Status.INVALID: _OVER}
        wanted.extend(of.get(status, (certificates.c.status == int(status),)))
    rows = tx.execute(paged(select(*_SHOWN).where(*wanted), certificates, SORTS, page))
    return [_certificate(row) for row in rows]


def get_certificate(tx: Connection, certificate_id: str) -> Certificate:
    """Get a certificate with its text. Raises NotFound."""
    row = get_row(tx, certificates, certificate_id, "certificate")
    return replace(_certificate(row), text=row.text)


def texts_of(tx: Connection, of: Collection[AppId]) -> dict[str, str]:
    """Return the signed texts of the certificates of some apps, by id."""
    query = select(certificates.c.id, certificates.c.text).where(certificates.c.app.in_(of))
    return {row.id: row.text for row in tx.execute(query)}


def statuses(tx: Connection, number: int, last: int) -> dict[int, Status]:
    """Return the statuses of one list by place, of the certificates that are not valid. ``last``: the last number that was ever given.

    A used place without a row is not valid: somebody may still have its certificate.
    """
    first = number * LIST_SIZE
    given = max(0, min(LIST_SIZE, last + 1 - first))
    of_it = certificates.c.number >= first, certificates.c.number < first + given
    gone: set[int] = set()
    if tx.execute(select(func.count()).where(*of_it)).scalar_one() != given:
        there = {row.number - first for row in tx.execute(select(certificates.c.number).where(*of_it))}
        gone = set(range(given)) - there
    query = select(certificates.c.number, certificates.c.status, certificates.c.grace_until).where(
        certificates.c.number >= first,
        certificates.c.number < first + LIST_SIZE,
        certificates.c.status != int(Status.VALID),
    )
    found = {row.number - first: _status(row) for row in tx.execute(query)}
    return dict.fromkeys(gone, Status.INVALID) | found


def list_lists(tx: Connection) -> list[StatusList]:
    return [StatusList(row.number, row.text, row.made_at) for row in tx.execute(select(status_lists))]


def save_list(tx: Connection, made: StatusList) -> None:
    values = {"text": made.text, "made_at": made.made_at}
    changed = tx.execute(status_lists.update().where(status_lists.c.number == made.number).values(values))
    if not changed.rowcount:
        tx.execute(status_lists.insert().values(number=made.number, **values))


def _read(tx: Connection, *wanted: ColumnElement[bool], limit: int | None = None) -> list[Certificate]:
    query = select(*_SHOWN).where(*wanted).order_by(certificates.c.id)
    rows: Iterable[Row[Any]] = tx.execute(query if limit is None else query.limit(limit))
    return [_certificate(row) for row in rows]


def _certificate(row: Row[Any]) -> Certificate:
    return Certificate(
        id=row.id,
        number=row.number,
        app=AppId(row.app),
        vendor=VendorId(row.vendor),
        version=VersionId(row.version),
        environment=Environment(row.environment),
        app_name=row.app_name,
        vendor_name=row.vendor_name,
        label=row.label,
        tier=Tier(row.tier) if row.tier else None,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        status=_status(row),
        cause=Cause(row.cause),
        changed_at=row.changed_at,
        change=row.change,
        remind_at=row.remind_at,
        grace_until=row.grace_until,
    )


def _stored(status: Status) -> int:
    return int(Status.INVALID if status is Status.GRACE else status)


def _status(row: Any) -> Status:
    graced = row.status == Status.INVALID and row.grace_until is not None
    return Status.GRACE if graced else Status(row.status)
