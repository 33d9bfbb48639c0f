"""What an app does: its scopes against their use, its calls with the reason of each refusal, and where to try it."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import ABSENT, App, Call, CallsPage, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.standards.refusals import CATALOGUE
from hilum.foundation.web.urls import with_query
from hilum.identity.people import service as identity
from hilum.records.audit.models import SLOT, Traffic
from hilum.surfaces.console import policy, service, words
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.models import Asked, Filter, Option
from hilum.surfaces.console.parts import charts

DAYS = Filter("days", "Used in the last", (Option("30", "30 days"), Option("90", "90 days")))
DAY = timedelta(days=1)
NOT_THERE = (
    "The record does not exist, or the app may not see it. The answer is the same in both cases, here too."
)
HOSPITALS = 20
REFUSED = 400
LAUNCHED = frozenset({ClientType.PUBLIC, ClientType.SYMMETRIC, ClientType.ASYMMETRIC})


def _asked(visit: Visit, *filters: Filter) -> Asked:
    flat = {name: values[0] for name, values in visit.query().values.items()}
    return policy.asked(flat, filters, ())


async def show_scopes(visit: Visit) -> Response:
    """Show what an app asks for, what was approved, where it is granted, and what of it was used."""
    days = int(_asked(visit, DAYS)["days"] or 30)
    app, app_status, compared, coming = await visit.read_records(lambda ctx: _compared(ctx, visit, days))
    chips = [
        (each.text, with_query(visit.path, days=each.value), each.value == str(days)) for each in DAYS.options
    ]
    return frame.show(
        visit,
        "console/developer/scopes.html",
        app,
        app_status,
        compared=compared,
        coming=coming,
        unused=sorted({each for row in compared.rows for each in row.unused}),
        chips=chips,
        days=days,
        proposal=address("developer.proposal", app.id),
        narrow=address("developer.narrow", app.id, days=str(days))
        if visit.may_open("developer.narrow")
        else "",
    )


def _compared(ctx: Context, visit: Visit, days: int) -> Any:
    app = frame.own_app(ctx, visit.param())
    found = visit.ports.compare_scopes(ctx, app.id, days)
    return app, frame.app_status_of(ctx, app), found, _coming(ctx, visit, app)


def _coming(ctx: Context, visit: Visit, app: App) -> list[dict[str, Any]]:
    """Return what the policy will refuse to an app from a day on, at the first hospitals: the mail about it leads here."""
    found = visit.ports.observed(ctx, app.id, PageQuery(limit=HOSPITALS))
    rows = [(each, each.row.fields) for each in found]
    names = service.names(ctx, tenants={each.row.tenant for each in found})
    return [
        {
            "hospital": names.tenant(each.row.tenant),
            "until": each.until,
            "counted_at": each.counted_at,
            "lost": body["lost"],
            "limits": body["limits"],
            "refused": [
                f"{one['number']:,} {one['of'].replace('_', ' ')}: {one['reason'].replace('_', ' ')}"
                for one in body["refused"]
            ],
        }
        for each, body in rows
    ]


async def show_traffic(visit: Visit) -> Response:
    """Show how an app's calls were answered: counts of the last day, and each call with the reason. The read is recorded."""
    after = _asked(visit).after
    app, app_status, traffic = await visit.read_records(lambda ctx: _traffic(ctx, visit))
    page: CallsPage = await visit.audited(
        registry.reading_of_calls(app.id, after),
        partial(
            registry.read_calls,
            app_id=app.id,
            accesses=visit.ports.accesses,
            after=after,
            left_out=installations.left_out_at,
        ),
    )
    names = await visit.read(lambda ctx: service.names(ctx, tenants={each.tenant for each in page.calls}))
    refused = Counter(each.reason or "not found" for each in page.calls if each.status >= 400)
    return frame.show(
        visit,
        "console/developer/traffic.html",
        app,
        app_status,
        traffic=traffic,
        rows=[_row(each, names) for each in page.calls],
        chart=_latencies(page.calls),
        took=_took(page.calls),
        refused=[(reason.replace("_", " "), number) for reason, number in refused.most_common()],
        first=visit.path if after else "",
        next=with_query(visit.path, after=page.next) if page.next else "",
    )


def _traffic(ctx: Context, visit: Visit) -> Any:
    app = frame.own_app(ctx, visit.param())
    # In production, counts of a quiet app would tell whether a single record was absent or withheld (ADR 13).
    if not visit.kit.is_sandbox:
        return app, frame.app_status_of(ctx, app), None
    # The ten minutes that have begun count too: the tiles must not say less than the list of calls below them.
    found = visit.ports.traffic(ctx.now - DAY, ctx.now + SLOT, None).get(app.id, Traffic())
    return app, frame.app_status_of(ctx, app), found


def _took(calls: Sequence[Call]) -> dict[str, float]:
    """Return how long the calls took that are shown: half of them, and all but one in twenty, at most so many milliseconds."""
    ordered = sorted(each.latency_us / 1000 for each in calls)
    return {"half": charts.share(ordered, 0.5), "most": charts.share(ordered, 0.95)}


def _latencies(calls: Sequence[Call]) -> charts.Columns | None:
    """Draw how long each shown call took, the oldest first."""
    values = [
        (
            each.latency_us / 1000,
            f"{each.at:%H:%M:%S}, {each.interaction} {each.resource_type}, {each.status}: {each.latency_us / 1000:.1f} ms",
            each.status >= REFUSED,
        )
        for each in reversed(calls)
    ]
    said = f"How long each of the {len(calls)} calls below took, in milliseconds, the oldest first."
    return charts.columns(values, unit="ms", summary=said)


def _row(call: Call, names: service.Names) -> dict[str, Any]:
    known = call.reason in {each.value for each in CATALOGUE}
    return {
        "call": call,
        "hospital": names.tenant(call.tenant),
        "what": f"{call.interaction} {call.resource_type}".strip(),
        "refused": call.status >= 400,
        "meaning": words.reason(call.reason) if known else NOT_THERE if call.status == ABSENT else "",
        "next_step": words.next_step(call.reason) if known else "",
        "ms": call.latency_us / 1000,
    }


async def show_sandbox(visit: Visit) -> Response:
    """Show where an app can be opened in a sandbox's chart."""
    app, app_status, facts = await visit.read(lambda ctx: _sandbox(ctx, visit))
    return frame.show(visit, "console/developer/sandbox.html", app, app_status, **facts)


def _sandbox(ctx: Context, visit: Visit) -> tuple[App, Any, dict[str, Any]]:
    app = frame.own_app(ctx, visit.param())
    urls = visit.kit.urls
    own = clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND))
    launched = [each for each in own if each.environment is Environment.SANDBOX and each.type in LAUNCHED]
    installed = {tenant for tenant, _, _ in installations.installations_of(ctx, [app.id])}
    facts = clients.facts_of_apps(ctx, [app.id]).get(app.id, ())
    certified = any(each.certified_until is not None and each.certified_until > ctx.now for each in facts)
    hospitals = identity.list_sandboxes(ctx, app.vendor)
    shown = hospitals[:HOSPITALS] if visit.kit.is_sandbox else []
    rows = [
        {
            "name": each.name,
            "installed": each.id in installed,
            "links": [
                (
                    client.name,
                    with_query(
                        urls.sandbox(f"/h/{each.id}/own"), client=client.id, launch_uri=client.launch_uri
                    ),
                )
                for client in launched
            ],
        }
        for each in shown
    ]
    return (
        app,
        frame.app_status_of(ctx, app),
        {
            "rows": rows,
            "launched": launched,
            "certified": certified,
            "here": visit.kit.is_sandbox,
            "clients": address("developer.clients", app.id),
            "charts": urls.sandbox() if visit.kit.is_sandbox else "",
        },
    )
