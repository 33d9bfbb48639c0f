"""Which version is in force where, and what putting another one in force takes. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.limits import too_many
from hilum.identity.people.models import StaffRole, Tenant
from hilum.policy.matrix.comparison import most_severe_first, privilege_increases
from hilum.policy.matrix.models import (
    TAKE_BACK_WITHIN,
    Application,
    ApplyOrder,
    Book,
    CurrentVersions,
    PrivilegeIncrease,
    TakeBack,
)


def may_change(actor: Actor) -> bool:
    """Check whether an actor may add versions and put them in force: a platform administrator, or the platform itself at set-up."""
    return actor.acts_alone or (actor.kind is ActorKind.STAFF and StaffRole.PLATFORM_ADMIN in actor.roles)


def may_read(actor: Actor) -> bool:
    """Check whether an actor may read policies: the platform's staff, and the administrators of tenants."""
    return actor.is_platform or administers(actor, actor.tenant or "")


def in_force(applications: Iterable[Application]) -> CurrentVersions:
    """Return what is in force after these applications, oldest first."""
    found = CurrentVersions()
    for each in applications:
        if each.tenants:
            at = {**found.at, **dict.fromkeys(each.tenants, each.version)}
            found = CurrentVersions(found.everywhere, at, each.number)
        else:
            found = CurrentVersions(each.version, {}, each.number)
    return found


def take_back(applications: Sequence[Application], actor: Actor, now: datetime) -> TakeBack | None:
    """Return how an actor may undo the newest application alone; None if they may not (ADR 43).

    It must be their own, of at most an hour ago, put in force by one person, and so a narrowing; and one version must have been in force
    everywhere that it was applied. ``applications``: the newest ones, oldest first.
    """
    *earlier, newest = applications or (None,)
    if newest is None or actor.kind is not ActorKind.STAFF or newest.applied_by != str(actor):
        return None
    until = newest.applied_at + TAKE_BACK_WITHIN
    if newest.agreed_by or not newest.applied_at <= now < until or all(each.tenants for each in earlier):
        return None
    before = in_force(earlier)
    versions = {before.version_at(each) for each in newest.tenants or before.at}
    if not newest.tenants:
        versions.add(before.everywhere)
    if len(versions) != 1:
        return None
    return TakeBack(versions.pop(), frozenset(newest.tenants), newest.number, until)


def replaced_by(order: ApplyOrder, now_in_force: CurrentVersions) -> frozenset[int]:
    """Return the versions that an order takes out of force at some place."""
    if order.tenants:
        before = {now_in_force.version_at(tenant) for tenant in order.tenants}
    else:
        before = {now_in_force.everywhere, *now_in_force.at.values()}
    return frozenset(before - {order.version})


def in_force_after(order: ApplyOrder, now_in_force: CurrentVersions) -> frozenset[int]:
    """Return the versions that are in force anywhere once an order is carried out."""
    if not order.tenants:
        return frozenset({order.version})
    at = {**now_in_force.at, **dict.fromkeys(order.tenants, order.version)}
    return frozenset({now_in_force.everywhere, *at.values()})


def new_access(
    books: Mapping[int, Book], order: ApplyOrder, now_in_force: CurrentVersions
) -> tuple[PrivilegeIncrease, ...]:
    """Return what an order allows anywhere that is not allowed there now. Empty: one person may do it (C210)."""
    after = books[order.version]
    replaced = sorted(replaced_by(order, now_in_force))
    return most_severe_first(
        each for number in replaced for each in privilege_increases(books[number], after)
    )


def first_at(
    version: int, applications: Iterable[Application], tenants: Collection[Tenant]
) -> dict[TenantId, datetime]:
    """Return the hospitals that have a version before it is everywhere, each with since when (C218).

    A closed hospital does not count, nor a synthetic one unless all are. ``applications``: since the last one that was everywhere, oldest first.
    """
    since: dict[TenantId, datetime] = {}
    for each in applications:
        for tenant in each.tenants:
            if each.version == version:
                since.setdefault(tenant, each.applied_at)
            else:
                since.pop(tenant, None)
    all_synthetic = all(each.sandbox for each in tenants)
    working = {each.id for each in tenants if each.active and (all_synthetic or not each.sandbox)}
    return {tenant: at for tenant, at in since.items() if tenant in working}


def tenants_fault(tenants: tuple[TenantId, ...], bound: int) -> str:
    """Return the error code of a list of tenants; empty if it is valid."""
    if len(tenants) > bound:
        return too_many(bound)
    return "tenant_repeated" if len(set(tenants)) != len(tenants) else ""
