"""Queries of the catalogue of apps: filtered, ordered and paged."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select, tuple_

from hilum.apps.registry.models import (
    COUNTED_BOUND,
    VENDOR_SORTS,
    App,
    AppOrder,
    AppsQuery,
    AppState,
    Profile,
    Vendor,
)
from hilum.apps.registry.store import APPS, VENDORS, apps, profile_of, profiles, vendors
from hilum.foundation.infra.db import in_batches
from hilum.foundation.infra.sorting import paged
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery


def browse(
    tx: Connection, query: AppsQuery, after: tuple[str, str] | None, *, seen_from: TenantId | None
) -> list[App]:
    """List matching apps after the key of the previous page; ``seen_from`` a tenant omits apps that exist only at another."""
    key = apps.c.id if query.order in {AppOrder.NEWEST, AppOrder.OLDEST} else func.lower(apps.c.name)
    down = query.order in {AppOrder.NAME_DOWN, AppOrder.NEWEST}
    # Also by id: without an order of equal names a page could repeat or omit an app.
    order = tuple_(key, apps.c.id)
    # Sort ids only, then read the rows of the page: sorting whole rows would move ten thousand descriptions for each page.
    chosen = _fitting(query, seen_from, apps.c.id)
    if after is not None:
        # Lowered by the database, like the column it is compared with.
        last = tuple_(after[0] if key is apps.c.id else func.lower(after[0]), after[1])
        chosen = chosen.where(order < last if down else order > last)
    sorted_by = (key.desc(), apps.c.id.desc()) if down else (key, apps.c.id)
    ids = list(tx.execute(chosen.order_by(*sorted_by).limit(query.limit)).scalars())
    found = {app.id: app for app in APPS.read(tx, APPS.select(apps.c.id.in_(ids)))}
    return [found[each] for each in ids if each in found]


def count(tx: Connection, query: AppsQuery, *, seen_from: TenantId | None) -> int:
    """Count matching apps, up to COUNTED_BOUND + 1."""
    some = _fitting(query, seen_from, apps.c.id).limit(COUNTED_BOUND + 1).subquery()
    return int(tx.execute(select(func.count()).select_from(some)).scalar_one())


def _fitting(query: AppsQuery, seen_from: TenantId | None, *columns: Any) -> Select[Any]:
    chosen = select(*columns)
    if seen_from is not None:
        chosen = chosen.where(or_(apps.c.tenant.is_(None), apps.c.tenant == seen_from))
    if query.vendor:
        chosen = chosen.where(apps.c.vendor == query.vendor)
    if query.category:
        chosen = chosen.where(apps.c.category == query.category)
    if query.suspended is not None:
        chosen = chosen.where((apps.c.state == AppState.SUSPENDED.value) == query.suspended)
    if query.only is not None:
        chosen = chosen.where(apps.c.id.in_(sorted(query.only)))
    if query.without:
        chosen = chosen.where(apps.c.id.not_in(sorted(query.without)))
    if query.text:
        by = select(vendors.c.id).where(vendors.c.name.icontains(query.text, autoescape=True))
        named = apps.c.name.icontains(query.text, autoescape=True)
        chosen = chosen.where(or_(named, apps.c.vendor.in_(by), apps.c.id == query.text))
    return chosen


def list_vendors(
    tx: Connection, *, seen_from: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Vendor]:
    """List vendors by id or in the page's order; ``seen_from`` a tenant leaves out vendors of apps that exist only at another."""
    query = select(vendors)
    # Vendors of apps at several tenants stay: their apps' tenant is NULL, for which != is never true.
    if seen_from is not None:
        elsewhere = select(apps.c.vendor).where(apps.c.tenant != seen_from)
        query = query.where(vendors.c.id.not_in(elsewhere))
    return VENDORS.read(tx, paged(query, vendors, VENDOR_SORTS, page))


def vendor_names(tx: Connection, of: Collection[VendorId]) -> Mapping[VendorId, str]:
    """Return vendors' names by their ids."""
    found: dict[VendorId, str] = {}
    for some in in_batches(sorted(of)):
        rows = tx.execute(select(vendors.c.id, vendors.c.name).where(vendors.c.id.in_(some)))
        found |= {VendorId(row.id): row.name for row in rows}
    return found


def app_names(tx: Connection, of: Collection[AppId]) -> Mapping[AppId, tuple[str, TenantId | None]]:
    """Return apps' names by their ids, each with the tenant at which alone it exists."""
    found: dict[AppId, tuple[str, TenantId | None]] = {}
    for some in in_batches(sorted(of)):
        rows = tx.execute(select(apps.c.id, apps.c.name, apps.c.tenant).where(apps.c.id.in_(some)))
        found |= {AppId(row.id): (row.name, TenantId(row.tenant) if row.tenant else None) for row in rows}
    return found


def find_vendors(tx: Connection, text: str, limit: int) -> list[tuple[VendorId, str]]:
    """List vendors whose name contains a text, by name."""
    named = select(vendors.c.id, vendors.c.name).where(vendors.c.name.icontains(text, autoescape=True))
    rows = tx.execute(named.order_by(func.lower(vendors.c.name), vendors.c.id).limit(limit))
    return [(VendorId(row.id), row.name) for row in rows]


def apps_of_vendors(tx: Connection, vendors: Collection[VendorId]) -> list[AppId]:
    """List the apps of some vendors."""
    query = select(apps.c.id).where(apps.c.vendor.in_(vendors)).order_by(apps.c.id)
    return [AppId(each) for each in tx.execute(query).scalars()]


def read_profiles(tx: Connection, of: Collection[AppId]) -> dict[AppId, Profile]:
    """Read the profiles of those apps that have one."""
    rows = [
        row
        for batch in in_batches(of)
        for row in tx.execute(select(profiles).where(profiles.c.app.in_(batch)))
    ]
    return {AppId(row.app): profile_of(row) for row in rows}
