"""Create the situation of a scenario at a sandbox hospital, with the platform's ordinary verbs, and undo it."""

from typing import Any, Protocol

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Quota, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, NotPermitted
from hilum.foundation.kernel.ids import ClientId, TenantId, VendorId
from hilum.identity.people import service as identity
from hilum.identity.people.policy import is_open_to
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.review.certification_runs import policy, store
from hilum.review.certification_runs.judging import NOTHING
from hilum.review.certification_runs.models import (
    QUOTA_BURST,
    QUOTA_RATE_PER_S,
    SCENARIO_LIFE,
    UPSTREAM,
    Fault,
    Run,
    Upstream,
)

_BECAUSE = "certification_run"
_LOW = Quota(QUOTA_RATE_PER_S, QUOTA_BURST)


def require_sandbox(ctx: Context, tenant_id: TenantId, vendor: VendorId) -> None:
    """Check that a hospital is a sandbox that the vendor may see, before a fault is made there. Raises NotPermitted."""
    tenant = identity.find_tenant(ctx, tenant_id)
    if tenant is None or not tenant.sandbox or not tenant.active or not is_open_to(tenant, vendor):
        detail = "Faults can be made at sandbox hospitals only. Choose one."
        raise NotPermitted("tenant_not_sandbox", detail)


class EndAccess(Protocol):
    """Ends the access tokens of a client at a hospital, with ``families`` what they can be refreshed by too."""

    def __call__(
        self, ctx: Context, client: ClientId, tenant: TenantId, *, families: bool = False, because: str
    ) -> int: ...


def make(
    ctx: Context, run: Run, fault: Fault, end_access: EndAccess
) -> tuple[dict[str, Any], Upstream | None]:
    """Make a fault for the app of a run; return how to undo it, and the fault that the FHIR server must show. Raises NotPermitted, Conflict."""
    require_sandbox(ctx, run.tenant, run.vendor)
    system = ctx.as_actor(SYSTEM)
    match fault:
        case Fault.ENDED_TOKENS:
            end_access(system, run.client, run.tenant, because=_BECAUSE)
        case Fault.ENDED_FAMILIES:
            end_access(system, run.client, run.tenant, families=True, because=_BECAUSE)
        case Fault.SWITCH:
            target = Target(TargetKind.APP_TENANT, f"{run.app}/{run.tenant}")
            order = EngageOrder(
                target, Mode.FULL_STOP, f"certification run {run.id}", ctx.now + SCENARIO_LIFE
            )
            return {"switch": controls.engage(system, order).id}, None
        case Fault.QUOTA:
            if store.is_under_way_elsewhere(ctx.tx, run, fault.value):
                # Each run would restore the quota that it found: the other's low one.
                detail = "Another run of this app is in the same scenario at this hospital. End the scenario there, or wait until it has ended."
                raise Conflict("scenario_elsewhere", detail)
            earlier = controls.quotas_of(ctx, run.app, run.tenant).platform
            controls.set_quota(system, run.app, run.tenant, _LOW)
            return {"quota": None if earlier is None else [earlier.rate_per_s, earlier.burst]}, None
        case Fault.KEYS:
            try:
                keys.rotate(system, Purpose.ID_TOKEN, run.tenant)
            except NotPermitted as refusal:
                # The person's rights are no reason here: launch the app once, or wait.
                raise Conflict(refusal.code, refusal.detail) from refusal
        case Fault.OPTIONAL:
            optional = registry.get_version(ctx, run.version).optional_scopes or ()
            client = clients.find_client(ctx, run.client)
            held = () if client is None else client.scopes
            return {"optional": policy.declinable(held, optional) or NOTHING}, None
        case _ if fault in UPSTREAM:
            return {}, Upstream(run.id, run.tenant, fault, ctx.now + SCENARIO_LIFE)
    return {}, None


def undo(ctx: Context, run: Run) -> None:
    """Undo the fault of the scenario in progress. It may have ended by itself."""
    system = ctx.as_actor(SYSTEM)
    kept = run.doing.get("undo", {})
    if "switch" in kept and controls.get_switch(system, kept["switch"]).in_force(ctx.now):
        # A narrow switch, which one person may release.
        controls.release(system, kept["switch"], counts=lambda *_: False)
    # Keep what the platform set meanwhile.
    if "quota" in kept and controls.quotas_of(ctx, run.app, run.tenant).platform == _LOW:
        earlier = kept["quota"]
        controls.set_quota(
            system, run.app, run.tenant, None if earlier is None else Quota(earlier[0], earlier[1])
        )
