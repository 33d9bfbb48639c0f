"""Tables of vendors, apps, versions and certifications. Scopes are stored as one space-separated text."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    CompoundSelect,
    Connection,
    Index,
    Integer,
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

from hilum.infra.db import Instant, get_row, insert_or_ignore, metadata
from hilum.infra.prepared_statements import prepare_rows, prepare_rows_by_values
from hilum.infra.sorting import newest_first, paged
from hilum.infra.stored_enums import member_of
from hilum.kernel.ids import AppId, TenantId, VendorId, VersionId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policies.models import ANY, UNCLASSIFIED, Autonomy, ClientAuthentication, Population, Tier
from hilum.registry.app_edit_models import EDITED
from hilum.registry.models import (
    APP_SORTS,
    AiUse,
    App,
    AppState,
    AppVersion,
    Certification,
    DeltaReview,
    Environment,
    Profile,
    ReviewSource,
    Subcontractor,
    TierRaise,
    Vendor,
)

TIERS = "registry_certification.tiers"
# A million installations share few texts of scopes; parsed once, each is one tuple in memory.
PARSED_BOUND = 50_000
NAMES_READ = 50
"""Candidates that are compared with a new name: whether there is one is enough, and a form is shared by few."""

vendors = Table(
    "registry_vendor",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False, index=True),
    Column("support_contact", String(200), nullable=False),
    Column("security_contact", String(200), nullable=False),
    Column("website", String(200), nullable=False),
    Index("ix_registry_vendor_by_name", text("lower(name)"), "id"),
)

apps = Table(
    "registry_app",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("tenant", String(32)),
    Column("category", String(64), nullable=False, server_default=UNCLASSIFIED),
    Column("created_at", Instant, nullable=False),
    Column("active_since", Instant, nullable=False),
    Column("owner_since", Instant),
    Column("purpose_since", Instant),
    Column("ask_again_since", Instant),
    Column("logo", String(64), nullable=False, server_default=""),
    Index(None, "vendor"),
    Index(None, "name"),
    Index(None, "tenant", "id"),
    Index("ix_registry_app_by_name", text("lower(name)"), "id"),
)

versions = Table(
    "registry_version",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("label", String(100), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("workflows", Text, nullable=False, server_default=ANY),
    Column("placements", Text, nullable=False, server_default=ANY),
    Column("ai_use", JSON),
    # NULL: it does not say which.
    Column("optional_scopes", Text),
    Column("population", String(20)),
    Column("raised_tier", String(20)),
    Column("raised_because", Text),
    Column("raised_by", String(120)),
    Column("raised_at", Instant),
    # The constraint, not a look beforehand, decides between two versions of one label.
    UniqueConstraint("app", "label"),
    Index(None, "app", "id"),
    Index(None, "raised_at", "id"),
)

certifications = Table(
    "registry_certification",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("environment", String(20), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("certified_by", String(120), nullable=False),
    Column("certified_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("withdrawn_at", Instant),
    Column("tiers", String(200), nullable=False),
    Column("category", String(64), nullable=False),
    Column("submission", String(64), nullable=False),
    Index(None, "app", "id"),
    Index(None, "expires_at"),
)

delta_reviews = Table(
    "registry_delta_review",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("certification", String(64), nullable=False),
    Column("certified", String(20), nullable=False),
    Column("computed", String(20), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("source", String(20), nullable=False),
    Index(None, "app", "closed_at"),
    Index(None, "closed_at", "id"),
)

profiles = Table(
    "registry_profile",
    metadata,
    Column("app", String(64), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("stated", JSON, nullable=False),
)

names = Table(
    "registry_name",
    metadata,
    # One row for each text under which a name is found by names like it (`standards.names.forms`).
    Column("form", String(64), primary_key=True),
    Column("vendor", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
)
# What every judgement of an app reads.
_APPS, _APPS_OF = prepare_rows(apps), prepare_rows_by_values(apps, "id")
_VERSIONS, _VERSIONS_OF = prepare_rows(versions), prepare_rows_by_values(versions, "app")
_CERTIFICATIONS = prepare_rows(certifications)
_CERTIFICATIONS_OF = prepare_rows_by_values(certifications, "app")


@lru_cache(maxsize=PARSED_BOUND)
def _words(joined: str) -> tuple[str, ...]:
    return tuple(joined.split())


@lru_cache(maxsize=PARSED_BOUND)
def _tiers(joined: str) -> Mapping[ClientAuthentication, Tier]:
    """Parse tiers by how clients authenticate. One that this release does not know counts for no client."""
    pairs = (pair.partition("=") for pair in joined.split())
    found = (
        (member_of(ClientAuthentication, way, f"{TIERS} (way)"), member_of(Tier, tier, TIERS))
        for way, _, tier in pairs
    )
    return {way: tier for way, tier in found if way is not None and tier is not None}


def add_vendor(tx: Connection, vendor: Vendor) -> None:
    tx.execute(vendors.insert().values(asdict(vendor)))


def vendor_of(row: Row[Any]) -> Vendor:
    return Vendor(VendorId(row.id), row.name, row.support_contact, row.security_contact, row.website)


def get_vendor(tx: Connection, vendor: VendorId) -> Vendor:
    return vendor_of(get_row(tx, vendors, vendor, "vendor"))


def find_vendors_named(tx: Connection, named: str, limit: int) -> list[Vendor]:
    """Find vendors by id or exact name."""
    query = select(vendors).where(or_(vendors.c.id == named, vendors.c.name == named))
    return [vendor_of(row) for row in tx.execute(query.order_by(vendors.c.id).limit(limit))]


def add_name(tx: Connection, vendor: VendorId, name: str, forms: Collection[str]) -> None:
    """Record a name in use by a vendor, by its forms."""
    rows = [{"form": form, "vendor": vendor, "name": name} for form in sorted(forms)]
    tx.execute(insert_or_ignore(tx, names), rows)


def list_names(tx: Connection, forms: Collection[str], *, but: VendorId | None) -> list[str]:
    """List the names of other vendors that share one of these forms, at most ``NAMES_READ``."""
    query = select(names.c.name).where(names.c.form.in_(forms)).distinct().limit(NAMES_READ)
    return list(tx.execute(query if but is None else query.where(names.c.vendor != but)).scalars())


def get_profile(tx: Connection, app: AppId) -> Profile:
    """Return what is stated about an app; nothing of it, with revision 0, if nothing was."""
    row = tx.execute(select(profiles).where(profiles.c.app == app)).first()
    return Profile() if row is None else profile_of(row)


def profile_of(row: Row[Any]) -> Profile:
    stated = dict(row.stated)
    others = stated["subcontractors"]
    stated["subcontractors"] = None if others is None else tuple(Subcontractor(**each) for each in others)
    stated["hosting_regions"] = tuple(stated["hosting_regions"])
    return Profile(**stated | {"revision": row.revision})


def save_profile(tx: Connection, app: AppId, profile: Profile) -> bool:
    """Save what is stated, if its revision follows the stored one; return False if another change came first."""
    stated = asdict(profile)
    revision = stated.pop("revision")
    row = {"app": app, "revision": revision, "stated": stated}
    # The statement decides between two editors of one revision, not a look beforehand.
    if revision == 1:
        return tx.execute(insert_or_ignore(tx, profiles).values(row)).rowcount == 1
    same = (profiles.c.app == app, profiles.c.revision == revision - 1)
    return tx.execute(profiles.update().where(*same).values(row)).rowcount == 1


def count_apps(tx: Connection, vendor: VendorId) -> int:
    return int(tx.execute(select(func.count()).select_from(apps).where(apps.c.vendor == vendor)).scalar_one())


def add_app(tx: Connection, app: App, at: datetime) -> None:
    tx.execute(
        apps.insert().values(
            id=app.id,
            vendor=app.vendor,
            name=app.name,
            description=app.description,
            purpose=app.purpose,
            state=app.state.value,
            tenant=app.tenant,
            category=app.category,
            created_at=at,
            active_since=at,
        )
    )


def app_of(row: Row[Any]) -> App:
    return App(
        id=AppId(row.id),
        vendor=VendorId(row.vendor),
        name=row.name,
        description=row.description,
        purpose=row.purpose,
        # A state that this release does not know stops this app, and no other.
        state=member_of(AppState, row.state, "registry_app.state") or AppState.SUSPENDED,
        tenant=TenantId(row.tenant) if row.tenant else None,
        created_at=row.created_at,
        active_since=row.active_since,
        owner_since=row.owner_since,
        purpose_since=row.purpose_since,
        ask_again_since=row.ask_again_since,
        logo=row.logo,
        category=row.category,
    )


def get_app(tx: Connection, app: AppId, *, lock: bool = False) -> App:
    return app_of(get_row(tx, apps, app, "app", lock=lock))


def save_texts(tx: Connection, app: App) -> None:
    values = {name: getattr(app, name) for name in (*EDITED, "purpose_since")}
    tx.execute(apps.update().where(apps.c.id == app.id).values(values))


def list_owned_since(tx: Connection, vendor: VendorId, since: datetime) -> list[AppId]:
    """List the ids of a vendor's apps and of all that changed owners since."""
    here = or_(apps.c.vendor == vendor, apps.c.owner_since >= since)
    return [AppId(each) for each in tx.execute(select(apps.c.id).where(here).order_by(apps.c.id)).scalars()]


def list_apps(
    tx: Connection,
    *,
    seen_from: TenantId | None = None,
    of: VendorId | None = None,
    page: PageQuery = FIRST_PAGE,
) -> list[App]:
    """List apps by id or in the page's order; ``seen_from`` a tenant leaves out apps that exist only at another, ``of`` a vendor all but its own."""
    if page.sort:
        # Not as two conditions, for which an index over tenants would be read, and everything sorted.
        fits = [] if seen_from is None else [func.coalesce(apps.c.tenant, seen_from) == seen_from]
        fits += [] if of is None else [apps.c.vendor == of]
        return [app_of(row) for row in tx.execute(paged(select(apps).where(*fits), apps, APP_SORTS, page))]
    query = select(apps).where(apps.c.id > page.after)
    query = query if of is None else query.where(apps.c.vendor == of)
    visible: Select[Any] | CompoundSelect[Any] = query.order_by(apps.c.id)
    if seen_from is not None:
        # Merges two ranges of the index on (tenant, id): "tenant IS NULL OR tenant = ?" could not be read in the order of ids.
        everywhere, here = query.where(apps.c.tenant.is_(None)), query.where(apps.c.tenant == seen_from)
        visible = everywhere.union_all(here).order_by("id")
    return [app_of(row) for row in tx.execute(visible.limit(page.limit))]


def save_ask_again(tx: Connection, app: AppId, since: datetime) -> None:
    tx.execute(apps.update().where(apps.c.id == app).values(ask_again_since=since))


def save_app_state(tx: Connection, app: App) -> bool:
    """Set an app's state; return False if it already has it."""
    # Conditional, so that suspending twice neither moves `active_since` nor writes a second event.
    query = apps.update().where(apps.c.id == app.id, apps.c.state != app.state.value)
    return tx.execute(query.values(state=app.state.value, active_since=app.active_since)).rowcount == 1


def save_category(tx: Connection, app: App, category: str) -> bool:
    """Set an app's category; return False if the app's category has changed since ``app`` was read."""
    query = apps.update().where(apps.c.id == app.id, apps.c.category == app.category)
    return tx.execute(query.values(category=category)).rowcount == 1


def add_version(tx: Connection, version: AppVersion) -> bool:
    """Add a version; return False if the app has one with this label."""
    assert version.raised is None, "a tier is raised by itself"
    row = asdict(version) | {
        "workflows": " ".join(version.workflows),
        "placements": " ".join(version.placements),
        "population": version.population and version.population.value,
        "optional_scopes": None if version.optional_scopes is None else " ".join(version.optional_scopes),
    }
    del row["raised"]
    return tx.execute(insert_or_ignore(tx, versions).values(row)).rowcount == 1


def _version(row: Row[Any]) -> AppVersion:
    return AppVersion(
        VersionId(row.id),
        AppId(row.app),
        row.label,
        row.created_at,
        _words(row.workflows),
        _words(row.placements),
        None if row.ai_use is None else _ai_use(row.ai_use),
        None if row.raised_tier is None else _raise(row),
        None if row.optional_scopes is None else _words(row.optional_scopes),
        None
        if row.population is None
        else member_of(Population, row.population, "registry_version.population"),
    )


def _ai_use(stored: Mapping[str, Any]) -> AiUse:
    # An autonomy that this release does not know counts as the one that may do least alone.
    autonomy = member_of(Autonomy, stored["autonomy"], "registry_version.ai_use") or Autonomy.ACTS_ALONE
    return AiUse(**{**stored, "autonomy": autonomy})


def _raise(row: Row[Any]) -> TierRaise:
    # A tier that this release does not know counts as the one that allows least.
    tier = member_of(Tier, row.raised_tier, "registry_version.raised_tier") or Tier.HIGH
    return TierRaise(tier, row.raised_because, row.raised_by, row.raised_at)


def save_raise(tx: Connection, version: AppVersion, raised: TierRaise | None) -> bool:
    """Save that a version's tier is raised, or (None) is no more; return False if the raise is not the one that ``version`` has."""
    before = None if version.raised is None else version.raised.raised_at
    same = versions.c.raised_at.is_(None) if before is None else versions.c.raised_at == before
    values = {
        "raised_tier": None if raised is None else raised.tier.value,
        "raised_because": None if raised is None else raised.reason,
        "raised_by": None if raised is None else raised.raised_by,
        "raised_at": None if raised is None else raised.raised_at,
    }
    query = versions.update().where(versions.c.id == version.id, same)
    return tx.execute(query.values(values)).rowcount == 1


def list_raised(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[AppVersion]:
    """List the versions whose tier is raised, by id, newest first."""
    raised = select(versions).where(versions.c.raised_at.is_not(None))
    return [_version(row) for row in tx.execute(newest_first(raised, versions, page))]


def get_version(tx: Connection, version: VersionId) -> AppVersion:
    return _version(get_row(tx, versions, version, "version"))


def list_versions(tx: Connection, app: AppId, page: PageQuery = FIRST_PAGE) -> list[AppVersion]:
    """List an app's versions, newest first."""
    return [
        _version(row)
        for row in tx.execute(newest_first(select(versions).where(versions.c.app == app), versions, page))
    ]


def read_versions(tx: Connection, of: Collection[AppId] | None) -> dict[VersionId, AppVersion]:
    """Read the versions of some apps (None: of all) by id."""
    rows = _VERSIONS.records(tx, {}) if of is None else _VERSIONS_OF.records(tx, of)
    return {each.id: each for each in map(_version, rows)}


def find_versions(tx: Connection, of: Collection[VersionId]) -> list[AppVersion]:
    """Find some versions by their ids."""
    return [_version(row) for row in tx.execute(select(versions).where(versions.c.id.in_(of)))]


def find_versions_named(tx: Connection, of: Collection[AppId], label: str) -> list[AppVersion]:
    """Find the versions of some apps by their label."""
    query = select(versions).where(versions.c.app.in_(of), versions.c.label == label)
    return [_version(row) for row in tx.execute(query)]


def add_certification(tx: Connection, certification: Certification) -> None:
    plain = ("id", "app", "version", "certified_by", "certified_at", "expires_at", "category", "submission")
    values = {name: getattr(certification, name) for name in plain} | {
        "environment": certification.environment.value,
        "scopes": " ".join(certification.scopes),
        "withdrawn_at": None,
        "tiers": " ".join(f"{way.value}={tier.value}" for way, tier in certification.tiers.items()),
    }
    tx.execute(certifications.insert().values(values))


def _certification(row: Row[Any]) -> Certification:
    environment = member_of(Environment, row.environment, "registry_certification.environment")
    # For an environment that this release does not know it allows nothing, as if it had never been in force.
    withdrawn_at = row.withdrawn_at if environment is not None else row.certified_at
    return Certification(
        id=row.id,
        app=AppId(row.app),
        version=VersionId(row.version),
        scopes=_words(row.scopes),
        certified_by=row.certified_by,
        certified_at=row.certified_at,
        expires_at=row.expires_at,
        environment=environment or Environment.SANDBOX,
        withdrawn_at=withdrawn_at,
        tiers=_tiers(row.tiers),
        category=row.category,
        submission=row.submission,
    )


def get_certification(tx: Connection, certification: str) -> Certification:
    return _certification(get_row(tx, certifications, certification, "certification"))


def list_certifications(tx: Connection, app: AppId, page: PageQuery = FIRST_PAGE) -> list[Certification]:
    """List an app's certifications, newest first, including withdrawn ones."""
    of_app = select(certifications).where(certifications.c.app == app)
    return [_certification(row) for row in tx.execute(newest_first(of_app, certifications, page))]


def read_certifications(tx: Connection, of: Collection[AppId] | None) -> Iterator[Certification]:
    """Read the certifications of some apps (None: of all), including withdrawn ones."""
    rows = _CERTIFICATIONS.records(tx, {}) if of is None else _CERTIFICATIONS_OF.records(tx, of)
    return map(_certification, rows)


def list_expired(
    tx: Connection, since: datetime, until: datetime, after: str, limit: int
) -> list[Certification]:
    """List certifications that expired between two moments and were not withdrawn before, by id."""
    ended = (certifications.c.expires_at > since, certifications.c.expires_at <= until)
    mine = (certifications.c.withdrawn_at.is_(None), certifications.c.id > after)
    query = select(certifications).where(*ended, *mine).order_by(certifications.c.id).limit(limit)
    return [_certification(row) for row in tx.execute(query)]


def save_owner(tx: Connection, app: App, before: VendorId) -> bool:
    """Save an app's new vendor; return False if another transfer came first."""
    query = apps.update().where(apps.c.id == app.id, apps.c.vendor == before)
    values = {"vendor": app.vendor, "owner_since": app.owner_since, "active_since": app.active_since}
    return tx.execute(query.values(values)).rowcount == 1


def move_name(tx: Connection, app: App, before: VendorId, forms: Collection[str]) -> None:
    """Record that an app's name is now another vendor's."""
    tx.execute(names.delete().where(names.c.vendor == before, names.c.name == app.name))
    add_name(tx, app.vendor, app.name, forms)


def save_all_withdrawn(tx: Connection, app: AppId, at: datetime) -> int:
    """Withdraw every certification of an app; return how many were not withdrawn before."""
    left = (certifications.c.app == app, certifications.c.withdrawn_at.is_(None))
    return tx.execute(certifications.update().where(*left).values(withdrawn_at=at)).rowcount


def save_withdrawn(tx: Connection, certification: str, at: datetime) -> bool:
    query = certifications.update().where(
        certifications.c.id == certification, certifications.c.withdrawn_at.is_(None)
    )
    return tx.execute(query.values(withdrawn_at=at)).rowcount == 1


def find_apps_named(tx: Connection, named: str, limit: int) -> list[App]:
    """Find apps by id or exact name."""
    query = select(apps).where(or_(apps.c.id == named, apps.c.name == named))
    return [app_of(row) for row in tx.execute(query.order_by(apps.c.id).limit(limit))]


def read_apps(tx: Connection, of: Collection[AppId] | None) -> dict[AppId, App]:
    """Read some apps (None: all) by id."""
    rows = _APPS.records(tx, {}) if of is None else _APPS_OF.records(tx, of)
    return {each.id: each for each in map(app_of, rows)}


def list_apps_of(tx: Connection, tenant: TenantId) -> list[AppId]:
    """List the apps that exist only at this tenant. Not paged."""
    return [AppId(app) for app in tx.execute(select(apps.c.id).where(apps.c.tenant == tenant)).scalars()]


def delete_apps(tx: Connection, of: Collection[AppId]) -> None:
    """Delete apps that exist at only one tenant, with vendor, versions, certifications and delta reviews."""
    # Apps last: the subquery that finds their vendors reads them.
    of_vendors = select(apps.c.vendor).where(apps.c.id.in_(of))
    for table in (versions, certifications, delta_reviews):
        tx.execute(table.delete().where(table.c.app.in_(of)))
    tx.execute(vendors.delete().where(vendors.c.id.in_(of_vendors)))
    tx.execute(apps.delete().where(apps.c.id.in_(of)))


# --- delta reviews -------------------------------------------------------------------------------------------------------------


def add_review(tx: Connection, review: DeltaReview) -> bool:
    """Add a delta review; return False if the same one is open."""
    same = (
        delta_reviews.c.certification == review.certification,
        delta_reviews.c.computed == review.computed.value,
        delta_reviews.c.source == review.source.value,
        delta_reviews.c.closed_at.is_(None),
    )
    # The app's row is locked, so that two nodes that find the same add it once.
    get_row(tx, apps, review.app, "app", lock=True)
    if tx.execute(select(delta_reviews.c.id).where(*same)).first() is not None:
        return False
    words = {name: getattr(review, name).value for name in ("certified", "computed", "source")}
    row = asdict(review) | words
    tx.execute(delta_reviews.insert().values(row))
    return True


def save_closed_review(tx: Connection, closed: DeltaReview) -> bool:
    """Save that a delta review is no longer needed; False if it was saved already."""
    mine = (delta_reviews.c.id == closed.id, delta_reviews.c.closed_at.is_(None))
    return tx.execute(delta_reviews.update().where(*mine).values(closed_at=closed.closed_at)).rowcount == 1


def read_open_reviews(tx: Connection, of: Collection[AppId]) -> list[DeltaReview]:
    """Read the delta reviews of some apps that are needed."""
    mine = (delta_reviews.c.app.in_(of), delta_reviews.c.closed_at.is_(None))
    return [_review(row) for row in tx.execute(select(delta_reviews).where(*mine))]


def list_open_reviews(tx: Connection, page: PageQuery = FIRST_PAGE) -> list[DeltaReview]:
    """List the delta reviews that are needed, newest first."""
    is_open = select(delta_reviews).where(delta_reviews.c.closed_at.is_(None))
    return [_review(row) for row in tx.execute(newest_first(is_open, delta_reviews, page))]


def _review(row: Row[Any]) -> DeltaReview:
    tiers = {
        name: member_of(Tier, getattr(row, name), f"registry_delta_review.{name}") or Tier.HIGH
        for name in ("certified", "computed")
    }
    source = member_of(ReviewSource, row.source, "registry_delta_review.source") or ReviewSource.BOOK
    return DeltaReview(**{**row._mapping, **tiers, "source": source})
