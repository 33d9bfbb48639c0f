"""The catalogue as the staff see it: every app, and everything that happened to one."""

from typing import Any

from starlette.responses import Response

from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import COUNTED_BOUND, App, AppOrder, AppsQuery
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import SYSTEM_CLIENT
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.surfaces.console import service, words
from hilum.surfaces.console.action_words import ROUTINE
from hilum.surfaces.console.catalogue.roles import READS_AUDIT
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.parts import alerts, stops
from hilum.surfaces.console.parts.app_status import badge, statuses_of

HOSPITALS = 50
LIST = List(
    columns=(
        Column("App", "name"),
        Column("State"),
        Column("Vendor"),
        Column("Category"),
        Column("Added", "-added", number=True),
    ),
    one="app",
    many="apps",
    empty=Empty("No app yet", "A vendor registers apps; see the guide for vendors."),
    filters=(Filter("state", "State", (Option("active", "Active"), Option("suspended", "Suspended"))),),
    searched="Name of the app or its vendor",
)


async def show_list(visit: Visit) -> Response:
    """List the catalogue."""
    return await visit.show_list(
        LIST, _listed, lead="Every app that a vendor registered, with what it may do now."
    )


def _listed(ctx: Context, asked: Asked) -> Listed:
    suspended = {"active": False, "suspended": True}.get(asked["state"])
    query = AppsQuery(
        text=asked.text, suspended=suspended, order=AppOrder(asked.order), after=asked.after, limit=ROWS
    )
    page = registry.browse_apps(ctx, query)
    states = statuses_of(ctx, page.apps)
    rows = [
        (
            Cell(each.name, address("operations.app", each.id), at_one(each)),
            badge(states[each.id]),
            Cell(page.vendors.get(each.vendor, "")),
            Cell(each.category.replace("_", " ")),
            Cell("", at=each.created_at),
        )
        for each in page.apps
    ]
    return Listed(rows, page.total, COUNTED_BOUND, page.next)


def at_one(app: App) -> str:
    """Return the note of an app that exists at one hospital only."""
    return f"at {app.tenant} only" if app.tenant else ""


async def show(visit: Visit) -> Response:
    """Show one app: its state, where it is installed, its versions, and what happened to it."""
    return visit.render("console/operations/app.html", **await visit.read(lambda ctx: _shown(ctx, visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    app = registry.view_app(ctx, AppId(visit.param()))
    now_at = statuses_of(ctx, [app])[app.id]
    versions = registry.list_versions(ctx, app.id, PageQuery(limit=20))
    installed = sorted(installations.installations_of(ctx, [app.id]), key=lambda each: each[0])
    reads = not ctx.actor.roles.isdisjoint(READS_AUDIT)
    query = EventQuery(app=app.id, without=ROUTINE["apps"], limit=stops.NEWEST)
    events = audit.list_events(ctx, query).events if reads else ()
    places = [tenant for tenant, _, _ in installed[:HOSPITALS]]
    switches = controls.newest_on(ctx, stops.targets_of(app, places), stops.NEWEST) if reads else []
    stopping = stops.stopped_at(ctx, [app.id]).get(app.id, {})
    ids = [app.id, app.vendor, *(each.actor for each in events)]
    ids += [by for switch in switches for by in (switch.engaged_by, switch.released_by)]
    names = service.names(ctx, ids, tenants=places, targets=[switch.target for switch in switches])
    return {
        "app": app,
        "vendor": names.vendor(app.vendor),
        "app_status": now_at,
        "tone": now_at.tone,
        "versions": [
            (each.label, each.created_at, policies.raise_of(ctx, each.id) is not None) for each in versions
        ],
        "installed": [
            (
                names.tenant(tenant),
                sorted(words.role(each) for each in facts.roles),
                facts.expires_at,
                address("operations.switch", stopping[tenant].id) if tenant in stopping else "",
            )
            for tenant, _, facts in installed[:HOSPITALS]
        ],
        "installed_count": len(installed),
        "timeline": stops.newest_first(
            (words.timeline_entry(each, names) for each in events), stops.entries(ctx, switches, names)
        ),
        "reads": reads,
        "stop": address("operations.stop", kind="app", key=app.id)
        if visit.may_open("operations.stop")
        else "",
        "eligibility_page": address("operations.eligibility", app.id)
        if visit.may_open("operations.eligibility") and app.category != SYSTEM_CLIENT
        else "",
        "switches": _switches(ctx, app, names),
        "alerts": alerts.of_app(ctx, app.id),
    }


def _switches(ctx: Context, app: App, names: service.Names) -> list[tuple[str, str, str]]:
    """List the switches in force on the app itself, each with its address."""
    index = controls.stops_on(ctx, (Target(TargetKind.APP, app.id), Target(TargetKind.VENDOR, app.vendor)))
    found = [each for engaged in index.engaged.values() for each in engaged if each.in_force(ctx.now)]
    return [(names.target(each.target), each.reason, address("operations.switch", each.id)) for each in found]
