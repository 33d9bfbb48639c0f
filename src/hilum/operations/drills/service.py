"""Drills: stop a canary, release it, and record what was measured in between."""

from dataclasses import replace

from hilum.apps.clients import service as clients
from hilum.apps.installations import service as installations
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.controls.switches.policy import rules_the_platform
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import require_platform
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.operations.drills import policy, store
from hilum.operations.drills.models import DRILL_LIFE, Drill, Measured
from hilum.operations.switch_administration import service as switch_administration
from hilum.operations.switch_administration.models import Report
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

_NO_CANARY = "This client is not a canary: a drill stops only an app that acts for no person, reads no patient's record and is installed at one hospital."


def begin(ctx: Context, client_id: ClientId, tenant: TenantId) -> Drill:
    """Stop a canary, by a switch that ends by itself. Raises NotPermitted, NotFound, Invalid (no canary)."""
    _require_runner(ctx, "drills.drill.begin")
    identity.get_tenant(ctx, tenant)
    client = clients.client_facts(ctx, client_id)
    if client is None:
        raise NotFound("client_not_found", "There is no such client.")
    of_the_app = len(clients.facts_of_apps(ctx, [client.app]).get(client.app, ()))
    installed_at = [each for each, _, _ in installations.installations_of(ctx, [client.app])]
    if fault := policy.canary_fault(client, of_the_app, installed_at, tenant):
        raise Invalid("canary_invalid", _NO_CANARY, fields={"client": fault})
    id_, target = ctx.ids.new("drl"), Target(TargetKind.APP_TENANT, f"{client.app}/{tenant}")
    switch = switch_administration.engage(
        ctx, EngageOrder(target, Mode.FULL_STOP, f"drill {id_}", ctx.now + DRILL_LIFE)
    )
    drill = Drill(id_, client_id, client.app, tenant, switch.id, str(ctx.actor), ctx.now)
    store.DRILLS.add(ctx.tx, drill)
    audit.record(ctx, Event("drills.drill.begin", tenant=tenant, app=client.app, facts={"drill": drill.id}))
    return drill


def get_running(ctx: Context, drill_id: str, *, lock: bool = False) -> Drill:
    """Get a drill that the actor runs. Raises NotPermitted, NotFound, Conflict (it is over)."""
    _require_runner(ctx, "drills.drill.end")
    drill = store.DRILLS.get(ctx.tx, drill_id, lock=lock)
    if drill.ended_at is not None:
        raise Conflict("drill_over", "This drill is over.")
    if str(ctx.actor) != drill.began_by:
        raise NotPermitted("not_permitted", "A colleague runs this drill.")
    return drill


def end(ctx: Context, drill_id: str, measured: tuple[Measured, ...], report: Report) -> Drill:
    """Release the canary, if its switch has not ended by itself, and record the result. Raises NotPermitted, NotFound, Conflict (it is over)."""
    drill = get_running(ctx, drill_id, lock=True)
    if controls.get_switch(ctx, drill.switch).in_force(ctx.now):
        # One person may, since the switch is narrow.
        switch_administration.release(ctx, drill.switch)
    slowest = max((each.ms for each in report.confirmations.found), default=None)
    drill = replace(
        drill,
        ended_at=ctx.now,
        measured=measured,
        containment=report.judgement.verdict.value,
        slowest_ms=slowest,
    )
    drill = replace(drill, faults=policy.faults(drill))
    store.DRILLS.save(ctx.tx, drill)
    facts = {"drill": drill.id, "passed": drill.passed, "faults": list(drill.faults)}
    audit.record(ctx, Event("drills.drill.end", tenant=drill.tenant, app=drill.app, facts=facts))
    return drill


def _require_runner(ctx: Context, action: str) -> None:
    if not rules_the_platform(ctx.actor):
        detail = "Only platform administrators and security officers run drills."
        raise audit.refusal(ctx, Event(action, reason="not_permitted"), detail)


def list_drills(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Drill]:
    """List drills, newest first. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.DRILLS.newest(ctx.tx, page)
