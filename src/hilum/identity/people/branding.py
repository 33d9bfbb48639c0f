"""Set the colour and the logo of a hospital, which the pages of its people show."""

from dataclasses import replace

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.pictures import service as pictures
from hilum.foundation.pictures.models import Owners
from hilum.foundation.standards.colours import colour_fault
from hilum.identity.people import policy, store
from hilum.identity.people.models import Branding, Tenant
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

ACTION = "identity.tenant.brand"


def set_branding(ctx: Context, tenant_id: TenantId, asked: Branding) -> Tenant:
    """Set a hospital's colour and logo, as its administrator or the platform's. Raises NotFound, NotPermitted, Invalid."""
    if not policy.may_administer(ctx.actor, tenant_id):
        raise audit.refusal(ctx, Event(ACTION, tenant=tenant_id))
    before = store.TENANTS.get(ctx.tx, tenant_id, lock=True)
    if before.left_at is not None:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    if asked.colour and (fault := colour_fault(asked.colour)):
        raise Invalid("tenant_invalid", "The colour cannot be used; see fields.", fields={"colour": fault})
    after = replace(
        before,
        colour=before.colour if asked.colour is None else asked.colour,
        logo=before.logo if asked.logo is None else asked.logo.digest,
    )
    if after == before:
        return before
    if asked.logo is not None:
        pictures.keep(ctx, Owners.HOSPITAL, tenant_id, asked.logo)
        pictures.show(ctx, Owners.HOSPITAL, tenant_id, after.logo)
    store.TENANTS.save(ctx.tx, after)
    changed = sorted(name for name in ("colour", "logo") if getattr(before, name) != getattr(after, name))
    audit.record(ctx, Event(ACTION, tenant=tenant_id, facts={"changed": changed}))
    return after
