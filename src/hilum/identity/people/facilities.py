"""Add, remove and list the facilities of a hospital, and find the one that a launch names."""

import re
from collections.abc import Collection
from dataclasses import replace

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.rows import given
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from hilum.foundation.kernel.ids import FacilityId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.standards.fhir.values import ID
from hilum.identity.people import policy, store
from hilum.identity.people.models import (
    FACILITIES_BOUND,
    IDENTITY,
    NAME_BOUND,
    Facility,
    NewFacility,
)
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

_REFERENCE = re.compile(rf"(Location|Organization)/{ID.pattern}")


def facility_faults(order: NewFacility) -> dict[str, str]:
    """Return the error code of each invalid field of a facility."""
    faults: dict[str, str] = {}
    for name, text in (("name", order.name), ("legal_entity", order.legal_entity)):
        if not text or len(text) > NAME_BOUND or not text.isprintable():
            faults[name] = "name_malformed" if text else "missing"
    if not _REFERENCE.fullmatch(order.reference):
        faults["reference"] = "reference_malformed"
    return faults


def add_facility(ctx: Context, order: NewFacility) -> Facility:
    """Add a facility to a hospital. Raises NotPermitted, NotFound, Invalid, Conflict (name or reference taken), Unavailable (too many)."""
    if not policy.may_administer(ctx.actor, order.tenant):
        raise audit.refusal(ctx, Event("identity.facility.add", tenant=order.tenant))
    order = replace(order, name=order.name.strip(), legal_entity=order.legal_entity.strip())
    # Locked, so that concurrent requests do not exceed the bound.
    fits = policy.fits_tenant_id(order.tenant)
    tenant = store.TENANTS.find(ctx.tx, lock=True, id=order.tenant) if fits else None
    if tenant is None or tenant.left_at is not None:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    if faults := facility_faults(order):
        raise Invalid("facility_invalid", "The facility cannot be added as described.", fields=faults)
    if store.FACILITIES.count(ctx.tx, tenant=order.tenant, removed_at=None) >= FACILITIES_BOUND:
        raise Unavailable("too_many_facilities", f"A hospital has at most {FACILITIES_BOUND} facilities.")
    facility = Facility(
        FacilityId(ctx.ids.new("fac")),
        order.tenant,
        order.name,
        order.legal_entity,
        order.reference,
        ctx.now,
    )
    if not store.FACILITIES.add_new(ctx.tx, facility, created_by=str(ctx.actor), removed_by=""):
        raise Conflict("facility_taken", "This hospital has a facility of this name or reference already.")
    facts = {"facility": facility.id, "legal_entity": facility.legal_entity, "reference": facility.reference}
    # So that caches which know the reference as unknown read it again.
    ctx.advance_epoch(IDENTITY, f"facility/{facility.id}")
    audit.record(ctx, Event("identity.facility.add", tenant=order.tenant, facts=facts))
    return facility


def remove_facility(ctx: Context, facility_id: FacilityId) -> Facility:
    """Remove a facility, for good: launches and tokens there stop. Raises NotFound, NotPermitted, Conflict (removed already)."""
    facility = store.FACILITIES.find(ctx.tx, id=facility_id)
    if facility is None or not policy.may_see_tenant(ctx.actor, facility.tenant):
        raise NotFound("facility_not_found", "There is no such facility.")
    if not policy.may_administer(ctx.actor, facility.tenant):
        raise audit.refusal(ctx, Event("identity.facility.remove", tenant=facility.tenant))
    if not store.remove_facility(ctx.tx, facility.id, by=str(ctx.actor), at=ctx.now):
        raise Conflict("facility_removed", "This facility has already been removed.")
    ctx.advance_epoch(IDENTITY, f"facility/{facility.id}")
    audit.record(
        ctx, Event("identity.facility.remove", tenant=facility.tenant, facts={"facility": facility.id})
    )
    return replace(facility, removed_at=ctx.now)


def list_facilities(
    ctx: Context, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Facility]:
    """List the facilities in use of a hospital; None: of all for the staff, else of the actor's. Raises NotFound."""
    of = tenant if ctx.actor.is_platform else tenant or ctx.actor.tenant
    if (of is None and not ctx.actor.is_platform) or (of and not policy.may_see_tenant(ctx.actor, of)):
        raise NotFound("tenant_not_found", "There is no such hospital.")
    return store.FACILITIES.page(ctx.tx, page, removed_at=None, **given(tenant=of))


def find_former_facilities(ctx: Context, facility: Facility) -> frozenset[FacilityId]:
    """Return the removed facilities of the same hospital that had this one's name or reference."""
    return frozenset(store.find_former_facilities(ctx.tx, facility))


def find_facility(ctx: Context, facility: FacilityId) -> Facility | None:
    """Find a facility by id, removed or not."""
    return store.FACILITIES.find(ctx.tx, id=facility)


def find_facility_named(ctx: Context, tenant: TenantId, named: str) -> Facility | None:
    """Find a hospital's facility by the id or reference that its EHR states, removed or not."""
    return store.find_facility_named(ctx.tx, tenant, named) if named else None


def find_facilities_named(ctx: Context, tenant: TenantId, named: str) -> list[Facility]:
    """Find a hospital's facilities in use by id, name or reference, without a permission check."""
    return store.find_facilities_named(ctx.tx, tenant, named)


def unknown_facilities(ctx: Context, tenant: TenantId, of: Collection[FacilityId]) -> frozenset[FacilityId]:
    """Return which of some facilities are not in use at a hospital."""
    return frozenset(of) - store.open_facilities(ctx.tx, tenant, of) if of else frozenset()
