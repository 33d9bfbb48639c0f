"""The trial of what allows something new: where it counts, and whether it was long enough (C218)."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from hilum.controls import service as controls
from hilum.controls.models import Target, TargetKind
from hilum.controls.policy import ends_of_stops, stop_among
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict
from hilum.kernel.ids import TenantId
from hilum.policies import loading, rollout
from hilum.policies.models import ApplyOrder, Book, Widening
from hilum.policies.tables import duration_text

_BEGINNING = datetime.min.replace(tzinfo=UTC)


Used = Callable[[Context, frozenset[str], TenantId, datetime], bool]
"""Checks whether an app of some categories (empty: of any) was permitted anything at a tenant since a moment. The rooms above know apps."""


def never_used(_ctx: Context, _categories: frozenset[str], _tenant: TenantId, _since: datetime) -> bool:
    """Return False: of what nobody can look up, nothing was used."""
    return False


def in_rings(_ctx: Context, _categories: frozenset[str], _tenant: TenantId, _since: datetime) -> bool:
    """Return True: a rollout has judged the traffic of each ring before its last one."""
    return True


def require_trial(
    ctx: Context,
    order: ApplyOrder,
    found: loading.Applied,
    everywhere: Book,
    *,
    new: Iterable[Widening],
    used: Used,
) -> None:
    """Check that what allows something new was tried at a hospital for long enough, and that an app which it concerns was used there.

    Raises Conflict.
    """
    soak = everywhere.rollout.soak
    tried = rollout.tried_since(order.version, found.applications, _works_since(ctx), soak, ctx.now)
    if not tried:
        detail = f"A version that allows something new must first be in force at some hospitals, and at one of them for {duration_text(soak)} without interruption. Apply version {order.version} at an active one, if it is in force at none, and wait for so long; a synthetic hospital is accepted only where there is no other."
        raise Conflict("too_soon_everywhere", detail)
    categories = rollout.categories_of(new)
    if not any(used(ctx, categories, tenant, since) for tenant, since in sorted(tried.items())):
        apps = f"an app of {' or '.join(sorted(categories))}" if categories else "an app"
        detail = (
            f"Version {order.version} was in force for long enough at {' and '.join(sorted(tried))}, but no app that it concerns was used"
            f" there meanwhile. Use {apps} at one of them, or apply the version where one is used; uses are counted within minutes."
        )
        raise Conflict("trial_unused", detail)


def _works_since(ctx: Context) -> dict[TenantId, datetime]:
    """Return since when each tenant has worked without interruption, of those that work now.

    Where nobody works, nothing is tried: at one that is closed or stopped, or at a synthetic one, unless the platform has no others.
    """
    tenants = identity.list_shared(ctx)
    only_sandboxes = all(each.sandbox for each in tenants)
    candidates = [each for each in tenants if each.active and (only_sandboxes or not each.sandbox)]
    targets = {each.id: Target(TargetKind.TENANT, each.id) for each in candidates}
    platform = Target(TargetKind.PLATFORM, "")
    stops = controls.stops_on(ctx, (platform, *targets.values()))
    found = {}
    for tenant, target in targets.items():
        on = (platform, target)
        if stop_among(stops, on, now=ctx.now, issued_at=None) is None:
            found[tenant] = max((_BEGINNING, *ends_of_stops(stops, on)))
    return found
