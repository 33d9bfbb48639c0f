"""Drills: stop and release a canary, and sign the result."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients import service as clients
from hilum.controls import service as controls
from hilum.controls.models import EngageOrder, Mode, Target, TargetKind
from hilum.controls.policy import rules_the_platform
from hilum.drills import policy, store
from hilum.drills.models import DRILL_LIFE, Drill, DrillState, Figures
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.kernel.actor import require_platform
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.kernel.ids import ClientId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.switchboard import service as switchboard

_NO_CANARY = "This client is not a canary: a drill stops only an app that acts for no person, reads no patient's record and is installed at one hospital."


def begin(ctx: Context, client_id: ClientId, tenant: TenantId) -> Drill:
    """Begin a drill, after cleaning up after dead ones. Raises NotPermitted, NotFound, Invalid (no canary), Conflict (one runs)."""
    _require_runner(ctx, "drills.drill.begin")
    identity.get_tenant(ctx, tenant)
    client = clients.client_facts(ctx, client_id)
    if client is None:
        raise NotFound("client_not_found", "There is no such client.")
    of_the_app = len(clients.facts_of_apps(ctx, [client.app]).get(client.app, ()))
    installed_at = [each for each, _, _ in installations.installations_of(ctx, [client.app])]
    if fault := policy.canary_fault(client, of_the_app, installed_at, tenant):
        raise Invalid("canary_invalid", _NO_CANARY, fields={"client": fault})
    for each in store.list_running(ctx.tx):
        if ctx.now < each.began_at + DRILL_LIFE:
            raise Conflict(
                "drill_running", "Another drill is running. Wait until it ends, at most three minutes."
            )
        _release(ctx, each)
        _end(ctx, replace(each, state=DrillState.ABANDONED))
    drill = Drill(ctx.ids.new("drl"), client_id, client.app, tenant, str(ctx.actor), ctx.now)
    store.DRILLS.add(ctx.tx, drill)
    audit.record(ctx, Event("drills.drill.begin", tenant=tenant, app=client.app, facts={"drill": drill.id}))
    return drill


def engage(ctx: Context, drill_id: str) -> Drill:
    """Stop the canary, by a switch that ends by itself. Raises NotPermitted, NotFound, Conflict."""
    drill = _running(ctx, drill_id)
    if drill.switch:
        raise Conflict("drill_engaged", "The canary of this drill was stopped already.")
    target = Target(TargetKind.APP_TENANT, f"{drill.app}/{drill.tenant}")
    order = EngageOrder(target, Mode.FULL_STOP, f"drill {drill.id}", ctx.now + DRILL_LIFE)
    stopped = replace(drill, switch=switchboard.engage(ctx, order).id)
    store.DRILLS.save(ctx.tx, stopped)
    return stopped


def release(ctx: Context, drill_id: str, report: dict[str, Any]) -> Drill:
    """Release the canary, and store the result of its containment report. Raises NotPermitted, NotFound, Conflict."""
    drill = _running(ctx, drill_id)
    if not drill.switch or drill.containment:
        raise Conflict("drill_not_engaged", "The canary of this drill is not stopped.")
    document = report["report"]
    kept = {
        "verdict": document["verdict"],
        "longest_ms": document["longest_ms"],
        "workers": len(document["confirmations"]),
        "digest": sha256(str(report["signature"]).encode()).hexdigest(),
    }
    _release(ctx, drill)
    released = replace(drill, containment=kept)
    store.DRILLS.save(ctx.tx, released)
    return released


def finish(ctx: Context, drill_id: str, figures: Figures) -> Drill:
    """End a drill, and sign what was seen. If its switch is still engaged, release it. Raises NotPermitted, NotFound, Conflict."""
    drill = _running(ctx, drill_id)
    _release(ctx, drill)
    found = policy.faults(figures, drill.containment)
    record = policy.record(drill, figures, found, ctx.now.isoformat())
    kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, policy.signed_bytes(record))
    state = DrillState.FAILED if found else DrillState.PASSED
    return _end(ctx, replace(drill, state=state, record=record, kid=kid, signature=signature))


def _release(ctx: Context, drill: Drill) -> None:
    """Release a drill's switch, if it is still in force. One person may, since the switch is narrow."""
    if drill.switch and controls.get_switch(ctx, drill.switch).in_force(ctx.now):
        switchboard.release(ctx, drill.switch)


def _end(ctx: Context, drill: Drill) -> Drill:
    ended = replace(drill, ended_at=ctx.now)
    store.DRILLS.save(ctx.tx, ended)
    facts = {"drill": drill.id, "state": drill.state.value, "faults": list(drill.record.get("faults", ()))}
    audit.record(ctx, Event("drills.drill.end", tenant=drill.tenant, app=drill.app, facts=facts))
    return ended


def _running(ctx: Context, drill_id: str) -> Drill:
    _require_runner(ctx, "drills.drill.change")
    drill = store.DRILLS.get(ctx.tx, drill_id, lock=True)
    if drill.state is not DrillState.RUNNING:
        raise Conflict("drill_over", "This drill is over.")
    if str(ctx.actor) != drill.began_by:
        raise NotPermitted("not_permitted", "A colleague runs this drill.")
    return drill


def _require_runner(ctx: Context, action: str) -> None:
    if not rules_the_platform(ctx.actor):
        detail = "Only platform administrators and security officers run drills."
        raise audit.refusal(ctx, Event(action, reason="not_permitted"), detail)


def view(ctx: Context, drill_id: str) -> Drill:
    """Get a drill. Raises NotPermitted, NotFound."""
    _require_reader(ctx)
    return store.DRILLS.get(ctx.tx, drill_id)


def list_drills(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Drill]:
    """List drills, newest first. Raises NotPermitted."""
    _require_reader(ctx)
    return store.DRILLS.newest(ctx.tx, page)


def _require_reader(ctx: Context) -> None:
    require_platform(ctx.actor)
