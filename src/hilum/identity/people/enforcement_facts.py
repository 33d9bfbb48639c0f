"""The facts of tenants, people and facilities that enforcement needs."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.ids import FacilityId, PersonId, TenantId
from hilum.foundation.kernel.persistent import PersistentMap, RecentSet
from hilum.identity.people import policy, store
from hilum.identity.people.models import NEGATIVE_WINDOW, IdentityFacts, Tenant, TenantFacts


@keyed(r"(tenant|person|facility)/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[IdentityFacts]:
    """Return the facts of tenants, and recent deactivations, losses of charts and removals of facilities: all, or what changed."""
    forget_before = ctx.now - NEGATIVE_WINDOW
    if since.changes is None:
        tenants = _facts_of(store.read_tenants(ctx.tx))
        lost = store.read_chart_losses(ctx.tx, since=forget_before)
        return Delta(
            IdentityFacts(
                PersistentMap(tenants),
                RecentSet(store.read_deactivated(ctx.tx, since=forget_before)),
                PersistentMap(lost),
                RecentSet(_latest_loss(lost)),
                RecentSet(store.read_removed_facilities(ctx.tx, since=forget_before)),
            )
        )
    named: dict[str, list[str]] = {"tenant": [], "person": [], "facility": []}
    for kind, _, id_ in (key.partition("/") for key in since.named()):
        named[kind].append(id_)
    tenant_ids = [TenantId(id_) for id_ in named["tenant"]]
    present = _facts_of(store.read_tenants(ctx.tx, tenant_ids))
    absent = [id_ for id_ in tenant_ids if id_ not in present]
    person_ids = [PersonId(id_) for id_ in named["person"]]
    inactive = store.read_deactivated(ctx.tx, person_ids)
    lost = store.read_chart_losses(ctx.tx, person_ids, since=forget_before)
    removed = store.read_removed_facilities(ctx.tx, [FacilityId(id_) for id_ in named["facility"]])

    def change(before: IdentityFacts) -> IdentityFacts:
        losses = RecentSet.of(before.recent_losses)
        return IdentityFacts(
            PersistentMap.of(before.tenants).changed(present, absent),
            RecentSet.of(before.inactive_people).changed(inactive, forget_before=forget_before),
            PersistentMap.of(before.lost_charts).changed(lost, losses.expired(forget_before)),
            losses.changed(_latest_loss(lost), forget_before=forget_before),
            RecentSet.of(before.removed_facilities).changed(removed, forget_before=forget_before),
        )

    return Delta(change=change)


def _facts_of(tenants: Iterable[Tenant]) -> dict[TenantId, TenantFacts]:
    return {each.id: policy.facts_of(each) for each in tenants if each.left_at is None}


def _latest_loss(lost: Mapping[PersonId, Mapping[str, datetime]]) -> list[tuple[PersonId, datetime]]:
    return [(person, max(charts.values())) for person, charts in lost.items()]
