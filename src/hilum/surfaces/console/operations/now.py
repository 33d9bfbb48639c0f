"""The first page of the staff: what is stopped, what is refused and why, which apps are slow, and whether the nodes are well."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.responses import Response

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Mode, Switch
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.operations.incidents import policy as incident_policy
from hilum.operations.incidents import service as incidents
from hilum.operations.incidents.models import Incident
from hilum.operations.monitoring import service as monitoring
from hilum.records.audit.models import LATENCY_EDGES_MS, SLOT, AccessQuery, Traffic
from hilum.surfaces.console import service, words
from hilum.surfaces.console.catalogue.roles import READS_AUDIT
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.models import REFUSALS_READ
from hilum.surfaces.console.parts import alerts

STOPS_SHOWN = 20
SLOW_SHOWN = 8
ALERTS_SHOWN = 20
INCIDENTS_SHOWN = 10
HOUR = timedelta(hours=1)
SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Refusals:
    """Refusals of the last hour by reason. ``whole`` is false if only the newest were counted. ``example`` is a request of each reason."""

    by_reason: tuple[tuple[str, int, str], ...]
    total: int
    whole: bool


async def show(visit: Visit) -> Response:
    """Show what is going on."""
    facts = await visit.read(lambda ctx: _facts(ctx, visit))
    reads = not visit.visitor.actor.roles.isdisjoint(READS_AUDIT)
    # Counted by reason only, with no person and no patient in it, so it is not a read of the audit (C155).
    refused = await visit.read_records(lambda ctx: _refusals(ctx, visit)) if reads else None
    return visit.render("console/operations/now.html", refused=refused, meaning=words.reason, **facts)


def _facts(ctx: Context, visit: Visit) -> dict[str, Any]:
    stopped = controls.browse_switches(ctx, in_force=True, page=PageQuery(limit=STOPS_SHOWN))
    traffic = visit.ports.traffic(ctx.now - HOUR, ctx.now + SLOT, None)
    slowest = sorted(
        ((app, each, slow_at(each)) for app, each in traffic.items() if each.answered and app),
        key=lambda row: (-row[2], row[0]),
    )[:SLOW_SHOWN]
    ids = [*(each.engaged_by for each in stopped), *(app for app, _, _ in slowest)]
    names = service.names(ctx, ids, targets=[each.target for each in stopped])
    total = sum(traffic.values(), Traffic())
    return {
        "stopped": [_stop(each, names) for each in stopped],
        "acting": any(each.mode is not Mode.OBSERVE for each in stopped),
        "stopped_count": controls.count_in_force(ctx),
        "slowest": [
            (names.app(app), address("operations.app", app), each.decided, each.refused, latency(at))
            for app, each, at in slowest
        ],
        "decided": total.decided,
        "refused_share": f"{100 * total.refused / total.decided:.1f} %" if total.decided else "",
        "alerts": _alerts(ctx, visit),
        "incidents": _incidents(ctx),
        "judged": monitoring.last_run(ctx),
        "nodes": visit.ports.nodes(ctx),
        "health": visit.ports.health(),
        "at": ctx.now,
    }


def _alerts(ctx: Context, visit: Visit) -> list[dict[str, Any]]:
    may_open = visit.may_open("operations.incident_new")
    return [
        each
        | {
            "href": address("operations.app", each["app_id"]),
            "open": address("operations.incident_new", alert=each["id"]) if may_open else "",
        }
        for each in alerts.rows(ctx, monitoring.newest_open(ctx, ALERTS_SHOWN))
    ]


def _incidents(ctx: Context) -> list[tuple[Incident, datetime, bool, str]]:
    """List the open incidents: each with when it is to be contained, whether a clock of it ran out, and its page."""
    found = incidents.list_incidents(ctx, PageQuery(limit=INCIDENTS_SHOWN), open_only=True)
    return [
        (
            each,
            incident_policy.contain_by(each, ctx.now),
            bool(incident_policy.late_for(each, ctx.now)),
            address("operations.incident", each.id),
        )
        for each in found
    ]


def _stop(switch: Switch, names: service.Names) -> dict[str, Any]:
    state, tone = words.switch_state(switch, in_force=True)
    return {
        "what": names.target(switch.target),
        "kind": words.KIND_WORDS[switch.target.kind],
        "href": address("operations.switch", switch.id),
        "state": state,
        "tone": tone,
        "mode": words.MODES[switch.mode][0],
        "by": names.actor(switch.engaged_by),
        "at": switch.engaged_at,
        "until": switch.expires_at,
        "reason": switch.reason,
    }


def _refusals(ctx: Context, visit: Visit) -> Refusals:
    found: Counter[str] = Counter()
    example: dict[str, str] = {}
    query, read = AccessQuery(outcome="refused", since=ctx.now - HOUR, limit=PAGE_BOUND), 0
    while True:
        page = visit.ports.accesses(query)
        for each in page.accesses:
            found[each.reason] += each.count
            example.setdefault(each.reason, each.request_id)
        read += len(page.accesses)
        if not page.next or read >= REFUSALS_READ:
            break
        query = AccessQuery(outcome="refused", since=query.since, limit=PAGE_BOUND, after=page.next)
    rows = tuple((reason, number, example[reason]) for reason, number in found.most_common())
    return Refusals(rows, found.total(), whole=not page.next)


def slow_at(traffic: Traffic) -> int:
    """Return the latency in milliseconds up to which SHARE of the answers took, as far as it was counted; -1 if it was longer than that."""
    wanted, passed = SHARE * traffic.answered, 0
    for bucket, number in enumerate(traffic.permitted):
        passed += number
        if passed >= wanted:
            return LATENCY_EDGES_MS[bucket] if bucket < len(LATENCY_EDGES_MS) else 2 * LATENCY_EDGES_MS[-1]
    return 0


def latency(ms: int) -> str:
    """Return a latency in words."""
    last = LATENCY_EDGES_MS[-1]
    if ms > last:
        return f"over {last // 1000} s"
    return f"under {ms} ms" if ms < 1000 else f"under {ms / 1000:g} s"
