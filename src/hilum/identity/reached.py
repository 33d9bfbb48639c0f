"""Whom mail reaches at a place, and in which zone its times are."""

from collections.abc import Collection

from hilum.identity import store
from hilum.identity.models import REACHED_BOUND
from hilum.infra.context import Context
from hilum.kernel.ids import PersonId, TenantId


def list_reached(ctx: Context, place: TenantId | None, roles: Collection[str]) -> list[tuple[PersonId, str]]:
    """List active people of a place with one of some roles who have a mail address, with it; at most REACHED_BOUND."""
    return store.list_reached(ctx.tx, place, roles, REACHED_BOUND)


def zone_of(ctx: Context, place: TenantId | None) -> str:
    """Return the time zone that a hospital states; empty for UTC, and for the platform."""
    found = store.find_tenant(ctx.tx, place) if place else None
    return found.time_zone if found is not None else ""
