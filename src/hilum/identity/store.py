"""The tables of tenants, facilities, people and lost charts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
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
    UniqueConstraint,
    bindparam,
    func,
    or_,
    select,
    text,
)

from hilum.identity.models import (
    PEOPLE_SORTS,
    TENANT_SORTS,
    TENANTS_BOUND,
    Chart,
    Facility,
    MovedReads,
    Person,
    Tenant,
    UpstreamKind,
    UpstreamRef,
)
from hilum.infra.db import Instant, get_row, in_batches, insert_or_ignore, metadata, row_of
from hilum.infra.prepared_statements import PreparedStatement
from hilum.infra.sorting import by_key, paged
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import FacilityId, PersonId, TenantId, VendorId
from hilum.kernel.pages import FIRST_PAGE, PAGE_BOUND, PageQuery
from hilum.kernel.times import EPOCH, from_micros, to_micros

OWNERS_BOUND = 5

tenants = Table(
    "identity_tenant",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("upstream_kind", String(20), nullable=False),
    Column("upstream_url", String(500), nullable=False),
    # Sealed for the FHIR server's host; with another host in the row they cannot be opened.
    Column("credentials_sealed", String(8_000), nullable=False),
    Column("upstream_public_url", String(500), nullable=False, server_default=""),
    Column("attachment_hosts", JSON, nullable=False, server_default="[]"),
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


def _tenant(row: Any) -> Tenant:
    return Tenant(
        id=TenantId(row.id),
        name=row.name,
        upstream=_upstream(row),
        base_url=row.base_url,
        ehr_origins=tuple(row.ehr_origins),
        moved_reads=MovedReads(row.moved_reads),
        sandbox=row.sandbox,
        active=row.active,
        colour=row.colour,
        language=row.language,
        time_zone=row.time_zone,
        logo=row.logo,
        left_at=row.left_at,
        vendor=None if row.vendor is None else VendorId(row.vendor),
    )


def _upstream(row: Any) -> UpstreamRef:
    return UpstreamRef(
        UpstreamKind(row.upstream_kind),
        row.upstream_url,
        row.credentials_sealed,
        row.upstream_public_url,
        tuple(row.attachment_hosts),
    )


def _values(tenant: Tenant) -> dict[str, Any]:
    return {
        "name": tenant.name,
        "upstream_kind": tenant.upstream.kind.value,
        "upstream_url": tenant.upstream.url,
        "credentials_sealed": tenant.upstream.credentials_sealed,
        "upstream_public_url": tenant.upstream.public_url,
        "attachment_hosts": list(tenant.upstream.attachment_hosts),
        "base_url": tenant.base_url,
        "ehr_origins": list(tenant.ehr_origins),
        "moved_reads": tenant.moved_reads.value,
        "active": tenant.active,
        "left_at": tenant.left_at,
        "language": tenant.language,
        "time_zone": tenant.time_zone,
    }


def add_tenant(tx: Connection, tenant: Tenant) -> bool:
    """Add a tenant; return False if the id is taken."""
    once = {"id": tenant.id, "sandbox": tenant.sandbox, "vendor": tenant.vendor}
    return tx.execute(insert_or_ignore(tx, tenants).values(_values(tenant) | once)).rowcount == 1


def save_tenant(tx: Connection, tenant: Tenant) -> None:
    tx.execute(tenants.update().where(tenants.c.id == tenant.id).values(_values(tenant)))


def save_branding(tx: Connection, tenant: Tenant) -> None:
    mine = tenants.update().where(tenants.c.id == tenant.id)
    tx.execute(mine.values(colour=tenant.colour, logo=tenant.logo))


_BY_ID = select(tenants).where(tenants.c.id == bindparam("tenant"))
_FIND_TENANT = PreparedStatement(_BY_ID, *tenants.c)
_LOCK_TENANT = PreparedStatement(_BY_ID.with_for_update(), *tenants.c)


def find_tenant(tx: Connection, tenant: TenantId, *, lock: bool = False) -> Tenant | None:
    found = (_LOCK_TENANT if lock else _FIND_TENANT).records(tx, {"tenant": tenant})
    return next(map(_tenant, found), None)


def get_tenant(tx: Connection, tenant: TenantId, *, lock: bool = False) -> Tenant:
    """Get a tenant; with ``lock`` its row is locked until the transaction ends. Raises NotFound."""
    if (found := find_tenant(tx, tenant, lock=lock)) is not None:
        return found
    raise NotFound("tenant_not_found", "There is no such hospital.")


def list_tenants(tx: Connection) -> list[Tenant]:
    return [_tenant(row) for row in tx.execute(select(tenants).order_by(tenants.c.id).limit(TENANTS_BOUND))]


def page_of_tenants(tx: Connection, page: PageQuery) -> list[Tenant]:
    return [_tenant(row) for row in tx.execute(paged(select(tenants), tenants, TENANT_SORTS, page))]


def read_tenants(tx: Connection, of: Collection[TenantId] | None = None) -> list[Tenant]:
    """Read some tenants (None: all), without a bound."""
    # No limit, since a tenant that is left out would not exist for the gateway.
    return [_tenant(row) for row in _read_of(tx, select(tenants), tenants.c.id, of)]


def find_tenants_named(tx: Connection, named: str, limit: int) -> list[Tenant]:
    """Find tenants by id or exact name, without an index, since hospitals are few."""
    query = select(tenants).where(or_(tenants.c.id == named, tenants.c.name == named))
    return [_tenant(row) for row in tx.execute(query.order_by(tenants.c.id).limit(limit))]


def count_tenants(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(tenants)).scalar_one())


def _person(row: Any) -> Person:
    return Person(
        id=PersonId(row.id),
        tenant=TenantId(row.tenant) if row.tenant else None,
        username=row.username,
        name=row.name,
        role=row.role,
        fhir_user=row.fhir_user,
        patients=tuple(row.patients),
        active=row.active,
        created_at=row.created_at,
        deactivated_at=row.deactivated_at,
        age_counts_from=row.age_counts_from,
        chart_ends=tuple((patient, from_micros(at)) for patient, at in row.chart_ends),
        mail=row.mail,
    )


def add_person(tx: Connection, person: Person, at: datetime) -> bool:
    """Add a person; return False if the username is taken at the tenant, or another account claims the ``fhirUser``."""
    row = {
        "id": person.id,
        "tenant": person.tenant or "",
        "username": person.username,
        "name": person.name,
        "role": person.role,
        "fhir_user": person.fhir_user,
        "patients": list(person.patients),
        "active": True,
        "created_at": at,
        "deactivated_at": None,
        "age_counts_from": person.age_counts_from or at,
        # NULL if there is none: a unique constraint does not compare NULLs.
        "fhir_user_claim": person.fhir_user or None,
        "chart_ends": [],
        "mail": person.mail,
    }
    return tx.execute(insert_or_ignore(tx, people).values(row)).rowcount == 1


_FIND_PERSON = PreparedStatement(select(people).where(people.c.id == bindparam("person")), *people.c)


def find_person(tx: Connection, person: PersonId) -> Person | None:
    return next(map(_person, _FIND_PERSON.records(tx, {"person": person})), None)


def get_person(tx: Connection, person: PersonId) -> Person:
    stored = find_person(tx, person)
    if stored is None:
        raise NotFound("person_not_found", "There is no such person.")
    return stored


def find_people(tx: Connection, ids: Collection[PersonId]) -> list[Person]:
    """Find people by their ids, active or not; unknown ids are left out."""
    queries = (select(people).where(people.c.id.in_(batch)) for batch in in_batches(ids))
    return [_person(row) for query in queries for row in tx.execute(query)]


def find_person_by_username(tx: Connection, tenant: TenantId | None, username: str) -> Person | None:
    query = select(people).where(people.c.tenant == (tenant or ""), people.c.username == username)
    row = tx.execute(query).first()
    return None if row is None else _person(row)


def list_people(
    tx: Connection, tenant: TenantId | None, page: PageQuery = FIRST_PAGE, *, named: str = ""
) -> list[Person]:
    """List people of a tenant (None: staff) by username or in the page's order; ``named``: whose name or username contains it."""
    query = select(people).where(people.c.tenant == (tenant or ""))
    if named:
        fits = (each.icontains(named, autoescape=True) for each in (people.c.name, people.c.username))
        query = query.where(or_(*fits))
    return [_person(row) for row in tx.execute(paged(query, people, PEOPLE_SORTS, page))]


def search_people(tx: Connection, text: str, limit: int, *, tenant: TenantId | None) -> list[Person]:
    """List active people whose name or username contains a text, by username; of one tenant if given."""
    named = or_(
        people.c.name.icontains(text, autoescape=True), people.c.username.icontains(text, autoescape=True)
    )
    query = select(people).where(named, people.c.active).order_by(people.c.username, people.c.id).limit(limit)
    return [
        _person(row)
        for row in tx.execute(query if tenant is None else query.where(people.c.tenant == tenant))
    ]


def search_tenants(tx: Connection, text: str, limit: int) -> list[Tenant]:
    """List tenants whose name or id contains a text, by id."""
    named = or_(
        tenants.c.name.icontains(text, autoescape=True), tenants.c.id.icontains(text, autoescape=True)
    )
    return [
        _tenant(row) for row in tx.execute(select(tenants).where(named).order_by(tenants.c.id).limit(limit))
    ]


def list_recipients(
    tx: Connection, place: TenantId | None, roles: Collection[str], limit: int
) -> list[tuple[PersonId, str]]:
    """List active people of a tenant or vendor (None: staff) with one of some roles and a mail address, and the address, by username."""
    reached = (
        people.c.tenant == (place or ""),
        people.c.role.in_(roles),
        people.c.active.is_(True),
        people.c.mail != "",
    )
    query = select(people.c.id, people.c.mail).where(*reached).order_by(people.c.username).limit(limit)
    return [(PersonId(row.id), row.mail) for row in tx.execute(query)]


def count_active(tx: Connection, place: TenantId | None) -> int:
    here = (people.c.tenant == (place or ""), people.c.active.is_(True))
    return int(tx.execute(select(func.count()).select_from(people).where(*here)).scalar_one())


def save_deactivated(tx: Connection, person: PersonId, at: datetime) -> bool:
    """Deactivate a person; return False if they were inactive already."""
    # One statement, so that only one of two concurrent deactivations is recorded.
    query = people.update().where(people.c.id == person, people.c.active.is_(True))
    values = {"active": False, "deactivated_at": at}
    return tx.execute(query.values(values)).rowcount == 1


def release_claim(tx: Connection, tenant: TenantId | None, fhir_user: str) -> None:
    """Release an inactive account's claim to its ``fhirUser``, so that one other account may claim it."""
    # The condition is part of the statement, so that an active account never loses its claim.
    claims = (people.c.tenant == (tenant or ""), people.c.fhir_user_claim == fhir_user)
    tx.execute(people.update().where(*claims, people.c.active.is_(False)).values(fhir_user_claim=None))


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
    query = select(people.c.id).where(
        people.c.tenant == (tenant or ""), people.c.fhir_user == fhir_user, people.c.active.is_(True)
    )
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


def save_age(tx: Connection, person: PersonId, since: datetime) -> None:
    tx.execute(people.update().where(people.c.id == person).values(age_counts_from=since))


def lock_person(tx: Connection, person: PersonId) -> Person:
    """Get a person and lock the row until the transaction ends. Raises NotFound."""
    # SQLite ignores the lock and needs none: it has one write transaction at a time.
    return _person(get_row(tx, people, person, "person", lock=True))


def save_charts(tx: Connection, person: PersonId, charts: Sequence[Chart]) -> None:
    ends = [[each.patient, to_micros(each.until)] for each in charts if each.until is not None]
    values = {"patients": [each.patient for each in charts], "chart_ends": ends}
    tx.execute(people.update().where(people.c.id == person).values(values))


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
    query = select(people.c.id, people.c.role).where(
        people.c.tenant == (place or ""), people.c.role.in_(roles), people.c.active.is_(True)
    )
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


def add_facility(tx: Connection, facility: Facility, by: str) -> bool:
    """Add a facility; return False if its tenant has one of this name or reference."""
    row = {
        "id": facility.id,
        "tenant": facility.tenant,
        "name": facility.name,
        "legal_entity": facility.legal_entity,
        "reference": facility.reference,
        "created_at": facility.created_at,
        "created_by": by,
        "removed_at": None,
        "removed_by": "",
    }
    return tx.execute(insert_or_ignore(tx, facilities).values(row)).rowcount == 1


def _facility(row: Row[Any]) -> Facility:
    return Facility(
        FacilityId(row.id),
        TenantId(row.tenant),
        row.name,
        row.legal_entity,
        row.reference,
        row.created_at,
        row.removed_at,
    )


def find_facility(tx: Connection, facility: FacilityId) -> Facility | None:
    """Find a facility, removed or not."""
    row = row_of(tx, facilities, facility)
    return None if row is None else _facility(row)


def find_facility_named(tx: Connection, tenant: TenantId, named: str) -> Facility | None:
    """Find a tenant's facility by its id or reference: the one in use, otherwise the last that was removed."""
    query = select(facilities).where(
        facilities.c.tenant == tenant, or_(facilities.c.id == named, facilities.c.reference == named)
    )
    order = (facilities.c.removed_at.is_not(None), facilities.c.removed_at.desc())
    row = tx.execute(query.order_by(*order).limit(1)).first()
    return None if row is None else _facility(row)


def find_facilities_named(tx: Connection, tenant: TenantId, named: str) -> list[Facility]:
    """Find the facilities in use of a tenant by id, name or reference."""
    columns = (facilities.c.id, facilities.c.name, facilities.c.reference)
    query = select(facilities).where(
        facilities.c.tenant == tenant,
        facilities.c.removed_at.is_(None),
        or_(*(column == named for column in columns)),
    )
    return [_facility(row) for row in tx.execute(query)]


def find_former_facilities(tx: Connection, facility: Facility) -> set[FacilityId]:
    """Find the facilities of a tenant that were removed and had this one's name or reference."""
    query = select(facilities.c.id).where(
        facilities.c.tenant == facility.tenant,
        facilities.c.removed_at.is_not(None),
        or_(facilities.c.name == facility.name, facilities.c.reference == facility.reference),
    )
    return {FacilityId(each) for each in tx.execute(query).scalars()}


def list_facilities(tx: Connection, tenant: TenantId | None, page: PageQuery = FIRST_PAGE) -> list[Facility]:
    """List the facilities in use of a tenant (None: of all) by id."""
    query = select(facilities).where(facilities.c.removed_at.is_(None))
    if tenant is not None:
        query = query.where(facilities.c.tenant == tenant)
    return [_facility(row) for row in tx.execute(by_key(query, facilities.c.id, page))]


def count_facilities(tx: Connection, tenant: TenantId) -> int:
    query = select(func.count()).where(facilities.c.tenant == tenant, facilities.c.removed_at.is_(None))
    return int(tx.execute(query).scalar_one())


def open_facilities(tx: Connection, tenant: TenantId, of: Collection[FacilityId]) -> set[FacilityId]:
    """Return which of some facilities are in use at a tenant."""
    query = select(facilities.c.id).where(
        facilities.c.tenant == tenant, facilities.c.removed_at.is_(None), facilities.c.id.in_(of)
    )
    return {FacilityId(each) for each in tx.execute(query).scalars()}


def remove_facility(tx: Connection, facility: FacilityId, *, by: str, at: datetime) -> bool:
    """Remove a facility; return False if it was removed before."""
    query = facilities.update().where(facilities.c.id == facility, facilities.c.removed_at.is_(None))
    return tx.execute(query.values(removed_at=at, removed_by=by)).rowcount == 1


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
