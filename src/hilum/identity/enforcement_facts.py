"""What enforcement must know of tenants and people: all of it, or what changed."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from hilum.identity import policy, store
from hilum.identity.models import NEGATIVE_WINDOW, IdentityFacts, Tenant, TenantFacts
from hilum.infra.context import Context
from hilum.infra.facts import Delta, Since, keyed
from hilum.kernel.ids import FacilityId, PersonId, TenantId
from hilum.kernel.persistent import PersistentMap, RecentSet


@keyed(r"(tenant|person|facility)/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[IdentityFacts]:
    """Return the facts of tenants, and of people deactivated or deprived of charts recently; or the delta for the keys that changed."""
    forget_before = ctx.now - NEGATIVE_WINDOW
    if since.changes is None:
        tenants = _facts_of(store.read_tenants(ctx.tx))
        inactive = RecentSet(store.read_deactivated(ctx.tx, since=forget_before))
        lost = store.read_chart_losses(ctx.tx, since=forget_before)
        losses = RecentSet(_latest(lost))
        removed = RecentSet(store.read_removed_facilities(ctx.tx, since=forget_before))
        return Delta(IdentityFacts(PersistentMap(tenants), inactive, PersistentMap(lost), losses, removed))
    named: dict[str, list[str]] = {"tenant": [], "person": [], "facility": []}
    for kind, _, id_ in (key.partition("/") for key in since.named()):
        named[kind].append(id_)
    tenant_ids = [TenantId(each) for each in named["tenant"]]
    found = _facts_of(store.read_tenants(ctx.tx, tenant_ids))
    person_ids = [PersonId(each) for each in named["person"]]
    people = store.read_deactivated(ctx.tx, person_ids)
    lost = store.read_chart_losses(ctx.tx, person_ids, since=forget_before)
    gone = store.read_removed_facilities(ctx.tx, [FacilityId(each) for each in named["facility"]])

    def change(before: IdentityFacts) -> IdentityFacts:
        losses = RecentSet.of(before.recent_losses)
        return IdentityFacts(
            PersistentMap.of(before.tenants).changed(
                found, [each for each in tenant_ids if each not in found]
            ),
            RecentSet.of(before.inactive_people).changed(people, forget_before=forget_before),
            PersistentMap.of(before.lost_charts).changed(lost, losses.expired(forget_before)),
            losses.changed(_latest(lost), forget_before=forget_before),
            RecentSet.of(before.removed_facilities).changed(gone, forget_before=forget_before),
        )

    return Delta(change=change)


def _facts_of(tenants: Iterable[Tenant]) -> dict[TenantId, TenantFacts]:
    return {each.id: policy.facts_of(each) for each in tenants if each.left_at is None}


def _latest(lost: Mapping[PersonId, Mapping[str, datetime]]) -> list[tuple[PersonId, datetime]]:
    return [(person, max(charts.values())) for person, charts in lost.items()]
