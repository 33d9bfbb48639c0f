"""Request a hospital's offboarding, carry it out once two people agreed, and show its progress. Steps afterwards are in ``erasing``."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM, Actor, require_platform
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, not_shown
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.pictures import service as pictures
from hilum.foundation.pictures.models import Owners
from hilum.hospitals.offboarding import policy, store
from hilum.hospitals.offboarding.erasing import due, next_step, waits_for
from hilum.hospitals.offboarding.models import (
    ERASE_AFTER_DEFAULT,
    ERASE_AFTER_MIN,
    ErasureAction,
    Offboarding,
    Retention,
    State,
    Waits,
)
from hilum.hospitals.offboarding.retentions import ELSEWHERE, RETENTIONS
from hilum.identity.people import service as identity
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

__all__ = ["due", "next_step"]
ASK = "offboardings.offboarding.ask"
_COUNTED: Mapping[str, tuple[str, tuple[tuple[str, Any], ...]]] = {
    "people": ("identity_person", (("active", True),)),
    "facilities": ("identity_facility", (("removed_at", None),)),
    "apps": ("registry_installation", (("removed_at", None),)),
    "launches": ("launch", (("ended_at", None),)),
    "tokens": ("token_family", (("revoked_at", None),)),
    "sessions": ("signin_session", (("ended_at", None),)),
    "consents": ("authorization", (("revoked_at", None),)),
    "backend_services": ("service_owners_service_owner", (("ended_at", None),)),
    "identity_providers": ("federation_provider", ()),
    "own_clients": ("registry_client", ()),
    "requests": ("requests_request", (("decided_at", None),)),
    "deletion_requests": ("deletion_requests_request", (("answered_at", None),)),
    "emergency_accesses": ("breakglass_use", (("reviewed_at", None),)),
    "agreements": ("agreements_agreement", (("ended_by", ""),)),
}
"""The tables and column values of what is open or in force at a hospital, for a preview."""
_RETENTION_OF = {retention.table: retention for retention in RETENTIONS}


def preview(ctx: Context, tenant: TenantId) -> dict[str, int]:
    """Count what a hospital would lose by leaving, for those who may request it. Raises NotPermitted, NotFound."""
    if not policy.may_ask(ctx.actor, tenant):
        raise not_shown(
            "what a hospital would lose by leaving", "administrators of the hospital and of the platform"
        )
    return _counts(ctx, identity.get_tenant(ctx, tenant).id)


def _counts(ctx: Context, tenant: TenantId) -> dict[str, int]:
    return {
        name: store.count(ctx.tx, _RETENTION_OF[table], tenant, *where)
        for name, (table, where) in _COUNTED.items()
    }


def ask(ctx: Context, tenant_id: TenantId, reason: str, days: int = ERASE_AFTER_DEFAULT) -> Asked:
    """Ask a second person to let a hospital leave, for good. Its own data is erased ``days`` later.

    Raises NotPermitted, NotFound, Invalid, Unavailable (too many wait).
    """
    if not policy.may_ask(ctx.actor, tenant_id):
        detail = "Only an administrator of the hospital or the platform requests this, and another one of them approves it."
        raise audit.refusal(ctx, Event(ASK, tenant=tenant_id), detail)
    tenant = identity.get_tenant(ctx, tenant_id)
    if faults := policy.ask_faults(reason, days):
        raise Invalid("offboarding_invalid", "The hospital cannot leave as asked; see fields.", fields=faults)
    # The second person sees the counts, but they are not compared: patients' launches come and go.
    order = {
        "name": tenant.name,
        "reason": reason.strip(),
        "erase_after_days": days,
        "has": _counts(ctx, tenant.id),
    }
    return Asked(identity.ask(ctx, Act(ApprovalKind.OFFBOARDING, tenant.id, tenant.id, order)))


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act = approval.act
    tenant_id, order = TenantId(act.target), act.order
    if not policy.may_ask(asker, tenant_id):
        raise NotPermitted("not_permitted", "The person who requested this may no longer do so.")
    tenant = identity.get_tenant(ctx, tenant_id, lock=True)
    if tenant.name != order["name"]:
        raise Conflict(
            "target_changed", "The hospital has been renamed since. Refuse this, and request it again."
        )
    # The counts that the second person saw, not new ones: counting reads whole tables, and an offboarding must not time out because of that.
    had = dict(order["has"])
    offboarding_id = ctx.ids.new("off")
    # A full stop too, which every worker confirms, so that what it stopped can be measured. If somebody releases it, the hospital stays
    # closed because it has left. Its administrators have no right to engage it, so the platform does.
    target = Target(TargetKind.TENANT, tenant.id)
    stop = EngageOrder(target, Mode.FULL_STOP, f"The hospital leaves the platform ({offboarding_id}).")
    switch = controls.engage(ctx.as_actor(SYSTEM), stop)
    identity.end_tenant(ctx, tenant.id)
    # The public address of its logo ends, too.
    pictures.show(ctx, Owners.HOSPITAL, tenant.id, "")
    offboarding = Offboarding(
        id=offboarding_id,
        tenant=tenant.id,
        name=tenant.name,
        reason=str(order["reason"]),
        asked_by=str(asker),
        agreed_by=str(ctx.actor),
        left_at=ctx.now,
        erase_at=ctx.now + timedelta(days=int(order["erase_after_days"])),
        switch=switch.id,
        preview=had,
    )
    store.add(ctx.tx, offboarding)
    erase_at = offboarding.erase_at.isoformat()
    audit.record(ctx, _event("offboardings.offboarding.begin", offboarding, had=had, erase_at=erase_at))
    return CarriedOut(offboarding.id)


CARRY_OUT = {ApprovalKind.OFFBOARDING: _carry_out}
"""How this room's act is carried out once a second person has agreed."""


def view(ctx: Context, offboarding_id: str) -> tuple[Offboarding, Waits]:
    """Get an offboarding, and what its erasure waits for. Raises NotPermitted, NotFound."""
    _require_reader(ctx)
    return _with_waits(ctx, store.get(ctx.tx, offboarding_id))


def list_offboardings(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[tuple[Offboarding, Waits]]:
    """List offboardings, newest first. Raises NotPermitted."""
    _require_reader(ctx)
    return [_with_waits(ctx, each) for each in store.list_offboardings(ctx.tx, page)]


def _with_waits(ctx: Context, found: Offboarding) -> tuple[Offboarding, Waits]:
    return found, waits_for(ctx, found)


def _require_reader(ctx: Context) -> None:
    # Nobody of a hospital that has left can sign in; requests that wait are among its approvals.
    require_platform(ctx.actor)


def defer(ctx: Context) -> int:
    """Postpone every erasure by a week, also one that has begun; return how many. For a restore, which loses later holds."""
    return store.defer(ctx.tx, ctx.now + timedelta(days=ERASE_AFTER_MIN))


# --- the export, on the host ---------------------------------------------------------------------------------------------------


def exported_tables() -> tuple[Retention, ...]:
    """Return the tables of an export, in its order."""
    return tuple(each for each in RETENTIONS if each.exported)


def erased_tables() -> dict[str, str]:
    """Return the descriptions of the erased tables."""
    return {
        retention.table: retention.why for retention in RETENTIONS if retention.deed is not ErasureAction.KEEP
    }


def kept_tables() -> tuple[tuple[str, str], ...]:
    """Return what stays of a hospital, and why."""
    return (
        *(
            (retention.table, retention.why)
            for retention in RETENTIONS
            if retention.deed is ErasureAction.KEEP
        ),
        *ELSEWHERE,
    )


def begin_export(ctx: Context, offboarding_id: str) -> Offboarding:
    """Record that an export, which reads the hospital's audit, begins; return its offboarding. Raises NotFound, Conflict."""
    found = store.get(ctx.tx, offboarding_id)
    _require_exporter(ctx, found)
    audit.record(ctx, _event("offboardings.offboarding.begin_export", found))
    return found


def read_export(ctx: Context, found: Offboarding, retention: Retention) -> Iterator[bytes]:
    """Yield a hospital's rows of one table as lines of JSON, without secrets. For the host."""
    _require_exporter(ctx, found)
    return map(store.line, store.read_rows(ctx.tx, retention, found.tenant))


def _require_exporter(ctx: Context, found: Offboarding) -> None:
    assert ctx.actor.acts_alone, "the host exports"
    if found.state is not State.LEFT:
        raise Conflict(
            "offboarding_erasing",
            "The hospital's data is being erased, or was: it can no longer be exported.",
        )


def record_export(ctx: Context, offboarding_id: str, manifest: str) -> Offboarding:
    """Record that an export was written, by the digest of its manifest; the erasure waits for that. Raises NotFound, Conflict."""
    found = store.get(ctx.tx, offboarding_id, lock=True)
    _require_exporter(ctx, found)
    after = replace(found, manifest=manifest, exported_at=ctx.now)
    store.save(ctx.tx, after)
    audit.record(ctx, _event("offboardings.offboarding.export", after, manifest=manifest))
    return after


def _event(action: str, found: Offboarding, **facts: object) -> Event:
    return Event(action, tenant=found.tenant, facts={"offboarding": found.id, **facts})
