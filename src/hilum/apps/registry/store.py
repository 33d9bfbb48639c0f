"""Tables of vendors, apps, versions and certifications. Scopes are stored as one space-separated text."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
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

from hilum.apps.registry.models import (
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
    Vendor,
)
from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.infra.prepared_statements import prepare_rows, prepare_rows_by_values
from hilum.foundation.infra.rows import Rows, Stored, member_or
from hilum.foundation.infra.stored_enums import member_of
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix.models import ANY, UNCLASSIFIED, Autonomy, ClientAuthentication, Population, Tier

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
    # The constraint, not a look beforehand, decides between two versions of one label.
    UniqueConstraint("app", "label"),
    Index(None, "app", "id"),
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
def _tiers(joined: str) -> Mapping[ClientAuthentication, Tier]:
    """Parse tiers by how clients authenticate. One that this release does not know counts for no client."""
    pairs = (pair.partition("=") for pair in joined.split())
    found = (
        (member_of(ClientAuthentication, way, f"{TIERS} (way)"), member_of(Tier, tier, TIERS))
        for way, _, tier in pairs
    )
    return {way: tier for way, tier in found if way is not None and tier is not None}


def _write_tiers(tiers: Mapping[ClientAuthentication, Tier]) -> str:
    return " ".join(f"{way.value}={tier.value}" for way, tier in tiers.items())


def _read_ai_use(stored: Mapping[str, Any] | None) -> AiUse | None:
    if stored is None:
        return None
    # An autonomy that this release does not know counts as the one that may do least alone.
    autonomy = member_of(Autonomy, stored["autonomy"], "registry_version.ai_use") or Autonomy.ACTS_ALONE
    return AiUse(**{**stored, "autonomy": autonomy})


class _Certifications(Rows[Certification]):
    def of(self, row: Sequence[Any], **more: Any) -> Certification:
        certification = super().of(row, **more)
        word = row[_ENVIRONMENT_AT]
        if word in _ENVIRONMENTS:
            return certification
        # For an environment that this release does not know it allows nothing, as if it had never been in force.
        return replace(certification, withdrawn_at=certification.certified_at)


_ENVIRONMENT_AT = certifications.c.keys().index("environment")
_ENVIRONMENTS = frozenset(each.value for each in Environment)
VENDORS = Rows(vendors, Vendor, "vendor")
# A state that this release does not know stops this app, and no other; a tier counts as the one that allows least.
APPS = Rows(apps, App, "app", state=member_or(AppState, AppState.SUSPENDED, "registry_app.state"))
VERSIONS = Rows(
    versions,
    AppVersion,
    "version",
    ai_use=Stored(lambda use: use and asdict(use), _read_ai_use),
    population=member_or(Population, None, "registry_version.population"),
)
CERTIFICATIONS = _Certifications(
    certifications,
    Certification,
    "certification",
    environment=member_or(Environment, Environment.SANDBOX, "registry_certification.environment"),
    tiers=Stored(_write_tiers, _tiers),
)
DELTA_REVIEWS = Rows(
    delta_reviews,
    DeltaReview,
    certified=member_or(Tier, Tier.HIGH, "registry_delta_review.certified"),
    computed=member_or(Tier, Tier.HIGH, "registry_delta_review.computed"),
    source=member_or(ReviewSource, ReviewSource.BOOK, "registry_delta_review.source"),
)


def find_vendors_named(tx: Connection, named: str, limit: int) -> list[Vendor]:
    """Find vendors by id or exact name."""
    query = VENDORS.select(or_(vendors.c.id == named, vendors.c.name == named))
    return VENDORS.read(tx, query.order_by(vendors.c.id).limit(limit))


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
        return APPS.sorted(tx, APP_SORTS, page, *fits)
    query = select(apps).where(apps.c.id > page.after)
    query = query if of is None else query.where(apps.c.vendor == of)
    visible: Select[Any] | CompoundSelect[Any] = query.order_by(apps.c.id)
    if seen_from is not None:
        # Merges two ranges of the index on (tenant, id): "tenant IS NULL OR tenant = ?" could not be read in the order of ids.
        everywhere, here = query.where(apps.c.tenant.is_(None)), query.where(apps.c.tenant == seen_from)
        visible = everywhere.union_all(here).order_by("id")
    return APPS.read(tx, visible.limit(page.limit))


def save_app_state(tx: Connection, app: App) -> bool:
    """Set an app's state; return False if it already has it."""
    # Conditional, so that suspending twice neither moves `active_since` nor writes a second event.
    columns = ("state", "active_since")
    return APPS.save(tx, app, apps.c.state != app.state.value, only=columns)


def read_versions(tx: Connection, of: Collection[AppId] | None) -> dict[VersionId, AppVersion]:
    """Read the versions of some apps (None: of all) by id."""
    rows = _VERSIONS.records(tx, {}) if of is None else _VERSIONS_OF.records(tx, of)
    return {each.id: each for each in map(VERSIONS.of, rows)}


def read_certifications(tx: Connection, of: Collection[AppId] | None) -> Iterator[Certification]:
    """Read the certifications of some apps (None: of all), including withdrawn ones."""
    rows = _CERTIFICATIONS.records(tx, {}) if of is None else _CERTIFICATIONS_OF.records(tx, of)
    return map(CERTIFICATIONS.of, rows)


def list_expired(
    tx: Connection, since: datetime, until: datetime, after: str, limit: int
) -> list[Certification]:
    """List certifications that expired between two moments and were not withdrawn before, by id."""
    ended = (certifications.c.expires_at > since, certifications.c.expires_at <= until)
    query = CERTIFICATIONS.select(*ended, certifications.c.id > after, withdrawn_at=None)
    return CERTIFICATIONS.read(tx, query.order_by(certifications.c.id).limit(limit))


def save_owner(tx: Connection, app: App, before: VendorId) -> bool:
    """Save an app's new vendor; return False if another transfer came first."""
    return APPS.save(tx, app, only=("vendor", "owner_since", "active_since"), vendor=before)


def move_name(tx: Connection, app: App, before: VendorId, forms: Collection[str]) -> None:
    """Record that an app's name is now another vendor's."""
    tx.execute(names.delete().where(names.c.vendor == before, names.c.name == app.name))
    add_name(tx, app.vendor, app.name, forms)


def save_all_withdrawn(tx: Connection, app: AppId, at: datetime) -> int:
    """Withdraw every certification of an app; return how many were not withdrawn before."""
    return CERTIFICATIONS.change(tx, {"withdrawn_at": at}, app=app, withdrawn_at=None)


def save_withdrawn(tx: Connection, certification: str, at: datetime) -> bool:
    return CERTIFICATIONS.change(tx, {"withdrawn_at": at}, id=certification, withdrawn_at=None) == 1


def find_apps_named(tx: Connection, named: str, limit: int) -> list[App]:
    """Find apps by id or exact name."""
    query = APPS.select(or_(apps.c.id == named, apps.c.name == named))
    return APPS.read(tx, query.order_by(apps.c.id).limit(limit))


def read_apps(tx: Connection, of: Collection[AppId] | None) -> dict[AppId, App]:
    """Read some apps (None: all) by id."""
    rows = _APPS.records(tx, {}) if of is None else _APPS_OF.records(tx, of)
    return {each.id: each for each in map(APPS.of, rows)}


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
    same = {name: getattr(review, name) for name in ("certification", "computed", "source")}
    # The app's row is locked, so that two nodes that find the same add it once.
    APPS.get(tx, review.app, lock=True)
    if DELTA_REVIEWS.any(tx, **same, closed_at=None):
        return False
    DELTA_REVIEWS.add(tx, review)
    return True


def read_open_reviews(tx: Connection, of: Collection[AppId]) -> list[DeltaReview]:
    """Read the delta reviews of some apps that are needed."""
    return DELTA_REVIEWS.read(tx, DELTA_REVIEWS.select(delta_reviews.c.app.in_(of), closed_at=None))
