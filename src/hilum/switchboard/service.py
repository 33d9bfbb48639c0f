"""Engage and release switches and set quotas, after checking that their targets exist."""

from datetime import datetime

from hilum.controls import service as controls
from hilum.controls.models import EngageOrder, Quota, Switch, TargetKind
from hilum.controls.policy import quota_level, target_fault
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.actor import ActorKind
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import AppId, PersonId, TenantId, VendorId, VersionId
from hilum.registry import service as registry


def engage(ctx: Context, order: EngageOrder) -> Switch:
    """Engage a kill switch on a target that exists. Raises NotFound, NotPermitted, Invalid."""
    kind, (first, _, second) = order.target.kind, order.target.key.partition("/")
    person_tenant: str | None = None
    # A malformed key is reported by `controls.engage` with its field, so nothing is looked up for it.
    if not target_fault(order.target):
        match kind:
            case TargetKind.TENANT:
                identity.get_tenant(ctx, TenantId(first))
            case TargetKind.VENDOR:
                registry.get_vendor(ctx, VendorId(first))
            case TargetKind.VERSION:
                registry.get_version(ctx, VersionId(first))
            # A switch on an id that does not exist would be in force and stop nothing; in an emergency nobody
            # would notice.
            case TargetKind.APP | TargetKind.APP_TENANT | TargetKind.APP_PERSON:
                registry.get_app(ctx, AppId(first))
        if kind is TargetKind.APP_TENANT:
            identity.get_tenant(ctx, TenantId(second))
        if kind in {TargetKind.PERSON, TargetKind.APP_PERSON}:
            # Whether an administrator may stop this person depends on the person's tenant, which only the
            # identity room knows.
            person_tenant = identity.get_person(ctx, PersonId(second or first)).tenant
    return controls.engage(ctx, order, person_tenant=person_tenant)


def release(ctx: Context, switch_id: str) -> Switch:
    """Release a kill switch; a wide one needs two members of the staff, each eligible as one of two. Raises NotFound, NotPermitted, Conflict."""

    def counts(who: str, since: datetime) -> bool:
        # Only staff count: neither the host nor the system is a person who could agree.
        kind, _, person = who.partition(":")
        return kind == ActorKind.STAFF and identity.counts_as_one_of_two(ctx, PersonId(person), since=since)

    return controls.release(ctx, switch_id, counts=counts)


def set_quota(ctx: Context, app: str, tenant: str, quota: Quota | None) -> None:
    """Set the quota of an app at a tenant, or remove it with None. Raises NotFound, NotPermitted, Invalid."""
    # Existence is checked only for those who may set a quota: others are refused without learning which ids
    # exist. Removing needs no check, so that overrides of removed apps can be deleted.
    if quota is not None and quota_level(ctx.actor, tenant) is not None:
        identity.get_tenant(ctx, TenantId(tenant))
        # An app that exists only at another tenant is answered like one that does not exist.
        if registry.get_app(ctx, AppId(app)).tenant not in {None, tenant}:
            raise NotFound("app_not_found", "There is no such app.")
    controls.set_quota(ctx, app, tenant, quota)
