"""The tables of tenants, facilities, people and lost charts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Row,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    or_,
    select,
    text,
)

from hilum.foundation.infra.db import Instant, in_batches, insert_or_ignore, metadata
from hilum.foundation.infra.rows import Parts, Rows, Stored, given
from hilum.foundation.kernel.ids import FacilityId, PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PAGE_BOUND, PageQuery
from hilum.foundation.kernel.times import EPOCH, from_micros, to_micros
from hilum.identity.people.models import (
    PEOPLE_SORTS,
    TENANTS_BOUND,
    Chart,
    Facility,
    Person,
    Tenant,
    UpstreamRef,
)

OWNERS_BOUND = 5

tenants = Table(
    "identity_tenant",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("upstream_kind", String(20), nullable=False),
    Column("upstream_url", String(500), nullable=False),
    # Sealed for the FHIR server's host; with another host in the row they cannot be opened.
    Column("credentials_sealed", Text, nullable=False),
    Column("upstream_public_url", String(500), nullable=False, server_default=""),
    Column("attachment_hosts", JSON, nullable=False, server_default="[]"),
    Column("token_auth", String(24)),
    Column("token_url", String(500), nullable=False, server_default=""),
    Column("client_id", String(200), nullable=False, server_default=""),
    Column("token_scope", String(1_000), nullable=False, server_default=""),
    Column("authorities", Text, nullable=False, server_default=""),
    Column("certificate", Text, nullable=False, server_default=""),
    Column("quirks", JSON, nullable=False, server_default="[]"),
    Column("base_url", String(500), nullable=False),
    Column("ehr_origins", JSON, nullable=False),
    Column("moved_reads", String(20), nullable=False),
    Column("sandbox", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("colour", String(7), nullable=False, server_default=""),
    Column("logo", String(64), nullable=False, server_default=""),
    Column("left_at", Instant),
    Column("language", String(8), nullable=False, server_default=""),
    Column("time_zone", String(64), nullable=False, server_default=""),
    Index("ix_identity_tenant_by_name", text("lower(name)"), "id"),
    Column("vendor", String(64)),
)

_IN_USE, _REMOVED = text("removed_at IS NULL"), text("removed_at IS NOT NULL")

facilities = Table(
    "identity_facility",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("legal_entity", String(200), nullable=False),
    Column("reference", String(100), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("removed_at", Instant),
    Column("removed_by", String(120), nullable=False),
    # Partial and unique: one facility in use has a name or a reference, any number of removed ones may have it.
    Index(
        "uq_identity_facility_name",
        "tenant",
        "name",
        unique=True,
        sqlite_where=_IN_USE,
        postgresql_where=_IN_USE,
    ),
    Index(
        "uq_identity_facility_reference",
        "tenant",
        "reference",
        unique=True,
        sqlite_where=_IN_USE,
        postgresql_where=_IN_USE,
    ),
    Index("ix_identity_facility_removed", "removed_at", sqlite_where=_REMOVED, postgresql_where=_REMOVED),
    Index("ix_identity_facility_reference", "tenant", "reference"),
    Index("ix_identity_facility_listed", "tenant", "id", sqlite_where=_IN_USE, postgresql_where=_IN_USE),
)

people = Table(
    "identity_person",
    metadata,
    Column("id", String(64), primary_key=True),
    # Empty for staff: a unique constraint does not compare NULLs.
    Column("tenant", String(32), nullable=False),
    Column("username", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("fhir_user", String(100), nullable=False),
    Column("patients", JSON, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("deactivated_at", Instant),
    Column("age_counts_from", Instant, nullable=False),
    Column("fhir_user_claim", String(100)),  # fhir_user of the one account that claims it, else NULL
    Column("chart_ends", JSON, nullable=False),
    Column("mail", String(254), nullable=False, server_default=""),
    UniqueConstraint("tenant", "username"),
    UniqueConstraint("tenant", "fhir_user_claim"),
    Index(None, "deactivated_at"),
    Index(None, "tenant", "fhir_user"),
    Index("ix_identity_person_by_name", "tenant", text("lower(name)"), "username"),
    Index("ix_identity_person_by_role", "tenant", "role", "username"),
    Index("ix_identity_person_by_added", "tenant", "created_at", "username"),
)

chart_losses = Table(
    "identity_chart_loss",
    metadata,
    Column("person", String(64), primary_key=True),
    Column("patient", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
    Index(None, "at"),
)
"""Charts that people lost, stored for as long as an access token may contain them."""


UPSTREAM = {
    "kind": "upstream_kind",
    "url": "upstream_url",
    "public_url": "upstream_public_url",
    "scope": "token_scope",
}
TENANTS = Rows(tenants, Tenant, "hospital", code="tenant_not_found", upstream=Parts(UpstreamRef, UPSTREAM))
FACILITIES = Rows(facilities, Facility)
PEOPLE = Rows(
    people,
    Person,
    "person",
    chart_ends=Stored(
        lambda ends: [[patient, to_micros(at)] for patient, at in ends],
        lambda ends: tuple((patient, from_micros(at)) for patient, at in ends),
    ),
)


def list_tenants(tx: Connection) -> list[Tenant]:
    return TENANTS.read(tx, TENANTS.select().order_by(tenants.c.id).limit(TENANTS_BOUND))


def read_tenants(tx: Connection, of: Collection[TenantId] | None = None) -> list[Tenant]:
    """Read some tenants (None: all), without a bound."""
    # No limit, since a tenant that is left out would not exist for the gateway.
    return [TENANTS.of(row) for row in _read_of(tx, select(tenants), tenants.c.id, of)]


def find_tenants_named(tx: Connection, named: str, limit: int) -> list[Tenant]:
    """Find tenants by id or exact name, without an index, since hospitals are few."""
    query = TENANTS.select(or_(tenants.c.id == named, tenants.c.name == named))
    return TENANTS.read(tx, query.order_by(tenants.c.id).limit(limit))


def add_person(tx: Connection, person: Person, at: datetime) -> bool:
    """Add a person; return False if the username is taken at the tenant, or another account claims the ``fhirUser``."""
    new = replace(person, created_at=at, age_counts_from=person.age_counts_from or at)
    # NULL if there is none: a unique constraint does not compare NULLs.
    return PEOPLE.add_new(tx, new, fhir_user_claim=person.fhir_user or None)


def list_people(
    tx: Connection, tenant: TenantId | None, page: PageQuery = FIRST_PAGE, *, named: str = ""
) -> list[Person]:
    """List people of a tenant (None: staff) by username or in the page's order; ``named``: whose name or username contains it."""
    columns = (people.c.name, people.c.username)
    fits = [or_(*(column.icontains(named, autoescape=True) for column in columns))] if named else []
    return PEOPLE.sorted(tx, PEOPLE_SORTS, page, *fits, tenant=tenant)


def search_people(tx: Connection, text: str, limit: int, *, tenant: TenantId | None) -> list[Person]:
    """List active people whose name or username contains a text, by username; of one tenant if given."""
    named = or_(
        people.c.name.icontains(text, autoescape=True), people.c.username.icontains(text, autoescape=True)
    )
    query = PEOPLE.select(named, people.c.active, **given(tenant=tenant))
    return PEOPLE.read(tx, query.order_by(people.c.username, people.c.id).limit(limit))


def search_tenants(tx: Connection, text: str, limit: int) -> list[Tenant]:
    """List tenants whose name or id contains a text, by id."""
    named = or_(
        tenants.c.name.icontains(text, autoescape=True), tenants.c.id.icontains(text, autoescape=True)
    )
    return TENANTS.read(tx, TENANTS.select(named).order_by(tenants.c.id).limit(limit))


def list_recipients(
    tx: Connection, place: TenantId | None, roles: Collection[str], limit: int
) -> list[tuple[PersonId, str]]:
    """List active people of a tenant or vendor (None: staff) with one of some roles and a mail address, and the address, by username."""
    reached = PEOPLE.where(people.c.role.in_(roles), people.c.mail != "", tenant=place, active=True)
    query = select(people.c.id, people.c.mail).where(*reached).order_by(people.c.username).limit(limit)
    return [(PersonId(row.id), row.mail) for row in tx.execute(query)]


def save_deactivated(tx: Connection, person: PersonId, at: datetime) -> bool:
    """Deactivate a person; return False if they were inactive already."""
    # One statement, so that only one of two concurrent deactivations is recorded.
    return PEOPLE.change(tx, {"active": False, "deactivated_at": at}, id=person, active=True) == 1


def release_claim(tx: Connection, tenant: TenantId | None, fhir_user: str) -> None:
    """Release an inactive account's claim to its ``fhirUser``, so that one other account may claim it."""
    # The condition is part of the statement, so that an active account never loses its claim.
    PEOPLE.change(tx, {"fhir_user_claim": None}, tenant=tenant, fhir_user_claim=fhir_user, active=False)


def list_owners(
    tx: Connection, tenant: TenantId | None, fhir_users: Collection[str], *, but: str = ""
) -> list[str]:
    """List the usernames of at most ``OWNERS_BOUND`` other accounts, active or not, that have one of these ``fhirUser`` values."""
    query = select(people.c.username).where(
        people.c.tenant == (tenant or ""), people.c.fhir_user.in_(fhir_users), people.c.id != but
    )
    return list(tx.execute(query.order_by(people.c.username).limit(OWNERS_BOUND)).scalars())


def find_active_by_fhir_user(tx: Connection, tenant: TenantId | None, fhir_user: str) -> PersonId | None:
    """Find an active person of a tenant with this ``fhirUser``."""
    query = select(people.c.id).where(*PEOPLE.where(tenant=tenant, fhir_user=fhir_user, active=True))
    person = tx.execute(query.order_by(people.c.id).limit(1)).scalar_one_or_none()
    return None if person is None else PersonId(person)


def list_shared_fhir_users(tx: Connection, *, limit: int) -> list[tuple[TenantId, str]]:
    """List, by tenant, each ``fhirUser`` that several active people have."""
    query = (
        select(people.c.tenant, people.c.fhir_user)
        .where(people.c.active.is_(True), people.c.fhir_user != "")
        .group_by(people.c.tenant, people.c.fhir_user)
        .having(func.count() > 1)
        .order_by(people.c.tenant, people.c.fhir_user)
    )
    return [(TenantId(row.tenant), row.fhir_user) for row in tx.execute(query.limit(limit))]


def save_charts(tx: Connection, person: PersonId, charts: Sequence[Chart]) -> None:
    ends = [(each.patient, each.until) for each in charts if each.until is not None]
    PEOPLE.change(tx, {"patients": [each.patient for each in charts], "chart_ends": ends}, id=person)


def save_chart_losses(
    tx: Connection, person: PersonId, lost: Mapping[str, datetime], *, since: datetime
) -> None:
    """Store when charts are lost, and delete losses before ``since``."""
    tx.execute(chart_losses.delete().where(chart_losses.c.at < since))
    for patient, at in lost.items():
        key = {"person": person, "patient": patient}
        # A chart may be lost, restored and lost again within the window: the latest loss counts.
        if tx.execute(insert_or_ignore(tx, chart_losses).values(**key, at=at)).rowcount == 0:
            same = (chart_losses.c.person == person, chart_losses.c.patient == patient)
            tx.execute(chart_losses.update().where(*same).values(at=at))


def read_chart_losses(
    tx: Connection, of: Collection[PersonId] | None = None, *, since: datetime
) -> dict[PersonId, dict[str, datetime]]:
    """Read the charts that some people (None: all) lost since a moment or will lose, without a bound."""
    query = select(chart_losses).where(chart_losses.c.at > since)
    losses: dict[PersonId, dict[str, datetime]] = {}
    for row in _read_of(tx, query, chart_losses.c.person, of):
        losses.setdefault(PersonId(row.person), {})[row.patient] = row.at
    return losses


def lock_active(tx: Connection, place: TenantId | None, roles: Collection[str]) -> list[tuple[PersonId, str]]:
    """List active people of a tenant or vendor with one of some roles, and that role, and lock the rows until the transaction ends."""
    active = PEOPLE.where(people.c.role.in_(roles), tenant=place, active=True)
    query = select(people.c.id, people.c.role).where(*active)
    # Always in the same order, so that two concurrent deactivations do not deadlock.
    rows = tx.execute(query.order_by(people.c.id).limit(PAGE_BOUND).with_for_update())
    return [(PersonId(row.id), row.role) for row in rows]


def read_deactivated(
    tx: Connection, of: Collection[PersonId] | None = None, *, since: datetime | None = None
) -> list[tuple[PersonId, datetime]]:
    """Read which of some people (None: all) were deactivated, and when; with ``since`` only later ones. Without a bound (security decision 27)."""
    query = select(people.c.id, people.c.deactivated_at).where(people.c.deactivated_at.is_not(None))
    if since is not None:
        query = query.where(people.c.deactivated_at > since)
    return [(PersonId(row.id), row.deactivated_at) for row in _read_of(tx, query, people.c.id, of)]


def find_facility_named(tx: Connection, tenant: TenantId, named: str) -> Facility | None:
    """Find a tenant's facility by its id or reference: the one in use, otherwise the last that was removed."""
    query = FACILITIES.select(or_(facilities.c.id == named, facilities.c.reference == named), tenant=tenant)
    order = (facilities.c.removed_at.is_not(None), facilities.c.removed_at.desc())
    return FACILITIES.first(tx, query.order_by(*order).limit(1))


def find_facilities_named(tx: Connection, tenant: TenantId, named: str) -> list[Facility]:
    """Find the facilities in use of a tenant by id, name or reference."""
    columns = (facilities.c.id, facilities.c.name, facilities.c.reference)
    is_named = or_(*(column == named for column in columns))
    return FACILITIES.read(tx, FACILITIES.select(is_named, tenant=tenant, removed_at=None))


def find_former_facilities(tx: Connection, facility: Facility) -> set[FacilityId]:
    """Find the facilities of a tenant that were removed and had this one's name or reference."""
    query = select(facilities.c.id).where(
        facilities.c.tenant == facility.tenant,
        facilities.c.removed_at.is_not(None),
        or_(facilities.c.name == facility.name, facilities.c.reference == facility.reference),
    )
    return {FacilityId(each) for each in tx.execute(query).scalars()}


def open_facilities(tx: Connection, tenant: TenantId, of: Collection[FacilityId]) -> set[FacilityId]:
    """Return which of some facilities are in use at a tenant."""
    in_use = FACILITIES.where(facilities.c.id.in_(of), tenant=tenant, removed_at=None)
    return {FacilityId(each) for each in tx.execute(select(facilities.c.id).where(*in_use)).scalars()}


def remove_facility(tx: Connection, facility: FacilityId, *, by: str, at: datetime) -> bool:
    """Remove a facility; return False if it was removed before."""
    return FACILITIES.change(tx, {"removed_at": at, "removed_by": by}, id=facility, removed_at=None) == 1


def read_removed_facilities(
    tx: Connection, of: Collection[FacilityId] | None = None, *, since: datetime = EPOCH
) -> list[tuple[FacilityId, datetime]]:
    """Read the facilities removed since a moment, of some or of all, without a bound."""
    query = select(facilities.c.id, facilities.c.removed_at).where(facilities.c.removed_at > since)
    return [(FacilityId(row.id), row.removed_at) for row in _read_of(tx, query, facilities.c.id, of)]


def _read_of(
    tx: Connection, query: Select[Any], key: ColumnElement[Any], of: Collection[str] | None
) -> Iterator[Row[Any]]:
    """Yield the rows of a query; with ``of`` only those with one of some keys."""
    if of is None:
        yield from tx.execute(query)
        return
    for some in in_batches(of):
        yield from tx.execute(query.where(key.in_(some)))
