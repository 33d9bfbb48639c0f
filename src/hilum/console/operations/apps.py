"""The catalogue as the staff see it: every app, and everything that happened to one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.audit import service as audit
from hilum.audit.models import EventQuery
from hilum.console import alerts, policy, service, words
from hilum.console.desk import Visit, address
from hilum.console.lists import List
from hilum.console.models import KINDS, ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option, State
from hilum.controls import service as controls
from hilum.controls.models import Mode, SwitchIndex, Target, TargetKind
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.kernel.ids import AppId
from hilum.kernel.pages import PageQuery
from hilum.policies.models import PEER
from hilum.registry import service as registry
from hilum.registry.models import COUNTED_BOUND, App, AppOrder, AppsQuery, AppState, Certification

HAPPENINGS = 30
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


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of an app in one word, with since when, and why."""

    state: State
    why: str
    since: datetime | None = None


async def show_list(visit: Visit) -> Response:
    """List the catalogue."""

    async def read(asked: Asked) -> Listed:
        return await visit.read(partial(_listed, asked=asked))

    return await visit.listing(
        LIST, read, lead="Every app that a vendor registered, with what it may do now."
    )


def _listed(ctx: Context, asked: Asked) -> Listed:
    suspended = {"active": False, "suspended": True}.get(asked["state"])
    query = AppsQuery(
        text=asked.text, suspended=suspended, order=AppOrder(asked.order), after=asked.after, limit=ROWS
    )
    page = registry.browse_apps(ctx, query)
    states = standings(ctx, page.apps)
    rows = [
        (
            Cell(each.name, address("operations.app", each.id), at_one(each)),
            pill(states[each.id]),
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


def pill(standing: Standing) -> Cell:
    """Return the state of an app as a cell."""
    return Cell(standing.state.value, kind="pill", tone=KINDS[standing.state], note=standing.why)


def standings(ctx: Context, apps: Sequence[App]) -> dict[str, Standing]:
    """Return the state of each app: stopped, certified and until when, or not yet."""
    ids = [each.id for each in apps]
    certified = registry.read_certified(ctx, ids).certifications if ids else {}
    targets = [Target(TargetKind.PLATFORM)]
    targets += [Target(TargetKind.APP, each) for each in ids]
    targets += [Target(TargetKind.VENDOR, each) for each in sorted({app.vendor for app in apps})]
    index = controls.stops_on(ctx, tuple(targets))
    return {each.id: standing(each, certified.get(each.id, ()), index, ctx.now) for each in apps}


def standing(app: App, certified: Sequence[Certification], index: SwitchIndex, now: datetime) -> Standing:
    """Return the state of one app. A stop comes before what it is certified for."""
    targets = (
        Target(TargetKind.PLATFORM),
        Target(TargetKind.VENDOR, app.vendor),
        Target(TargetKind.APP, app.id),
    )
    for target in targets:
        for switch in index.engaged.get(target, ()):
            if switch.in_force(now) and switch.mode is not Mode.OBSERVE:
                return Standing(
                    State.STOPPED,
                    f"{words.KIND_WORDS[target.kind].lower()}: {switch.reason}"[:200],
                    switch.engaged_at,
                )
    if app.state is AppState.SUSPENDED:
        return Standing(State.STOPPED, "suspended", None)
    if app.category == PEER:
        return Standing(State.APPROVED, "a hospital's own system, which is not certified")
    valid = [each for each in certified if each.withdrawn_at is None and each.expires_at > now]
    if not valid:
        return Standing(State.IN_REVIEW if certified else State.DRAFT, "not certified")
    ends = max(each.expires_at for each in valid)
    return Standing(
        policy.ending(ends, now),
        f"certified until {ends:%-d %b %Y}",
        min(each.certified_at for each in valid),
    )


async def show(visit: Visit) -> Response:
    """Show one app: its state, where it is installed, its versions, and what happened to it."""
    return visit.render("console/operations/app.html", **await visit.read(lambda ctx: _shown(ctx, visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    app = registry.view_app(ctx, AppId(visit.param()))
    now_at = standings(ctx, [app])[app.id]
    versions = registry.list_versions(ctx, app.id, PageQuery(limit=20))
    installed = sorted(installations.installations_of(ctx, [app.id]), key=lambda each: each[0])
    reads = not ctx.actor.roles.isdisjoint(policy.READS_AUDIT)
    events = audit.list_events(ctx, EventQuery(app=app.id, limit=HAPPENINGS)).events if reads else ()
    ids = [app.vendor, *(each.actor for each in events)]
    names = service.names(ctx, ids, tenants=[tenant for tenant, _, _ in installed[:HOSPITALS]])
    return {
        "app": app,
        "vendor": names.vendor(app.vendor),
        "standing": now_at,
        "tone": KINDS[now_at.state],
        "versions": [(each.label, each.created_at, each.raised) for each in versions],
        "installed": [
            (names.tenant(tenant), sorted(words.role(each) for each in facts.roles), facts.expires_at)
            for tenant, _, facts in installed[:HOSPITALS]
        ],
        "installed_count": len(installed),
        "happenings": [words.happening(each, names) for each in events],
        "reads": reads,
        "stop": address("operations.stop", kind="app", key=app.id)
        if visit.may_open("operations.stop")
        else "",
        "standing_page": address("operations.standing", app.id)
        if visit.may_open("operations.standing") and app.category != PEER
        else "",
        "switches": _switches(ctx, app, names),
        "alerts": alerts.of_app(ctx, app.id),
    }


def _switches(ctx: Context, app: App, names: service.Names) -> list[tuple[str, str, str]]:
    """List the switches in force on the app itself, each with its address."""
    index = controls.stops_on(ctx, (Target(TargetKind.APP, app.id), Target(TargetKind.VENDOR, app.vendor)))
    found = [each for engaged in index.engaged.values() for each in engaged if each.in_force(ctx.now)]
    return [(names.target(each.target), each.reason, address("operations.switch", each.id)) for each in found]
