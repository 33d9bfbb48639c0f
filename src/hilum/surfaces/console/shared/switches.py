"""Kill switches: which are in force, what one would stop, engaging one, whether it did, and its release."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppsQuery
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import SWITCH_SORTS, WIDE, EngageOrder, Mode, Switch, Target, TargetKind
from hilum.controls.switches.policy import WITHIN_A_TENANT, may_release
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.web.forms import Form
from hilum.identity.people import service as identity
from hilum.operations.switch_administration import policy as switch_policy
from hilum.operations.switch_administration import service as switch_administration
from hilum.operations.switch_administration.models import Confirmations, Preview
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.audit.policy import may_read
from hilum.surfaces.console import fields, service, words
from hilum.surfaces.console.desk import Visit, address, at, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import (
    FOUND_BOUND,
    ROWS,
    Asked,
    Cell,
    Column,
    Console,
    Empty,
    Filter,
    Listed,
    Option,
)

ENDS: dict[str, tuple[str, timedelta | None]] = {
    "released": ("When somebody releases it", None),
    "1h": ("In one hour, by itself", timedelta(hours=1)),
    "8h": ("In eight hours, by itself", timedelta(hours=8)),
    "1d": ("Tomorrow at this time, by itself", timedelta(days=1)),
    "7d": ("In seven days, by itself", timedelta(days=7)),
}
_STATES = Filter("state", "State", (Option("in_force", "In force"), Option("over", "Over")))


def _list(visit: Visit) -> List:
    here = [
        kind
        for kind in words.KIND_WORDS
        if visit.page.console is Console.OPERATIONS or kind in WITHIN_A_TENANT
    ]
    kinds = Filter("kind", "On", tuple(Option(kind.value, words.KIND_WORDS[kind]) for kind in here))
    may = visit.may_open(at(visit, "stop"))
    return List(
        columns=(
            Column("State"),
            Column("What"),
            Column("Kind"),
            Column("Mode"),
            Column("Since", "-since", number=True),
            Column("By"),
            Column("Reason"),
        ),
        one="switch",
        many="switches",
        empty=Empty(
            "Nothing was ever stopped",
            "A switch stops an app, a person or more within two seconds.",
            address(at(visit, "stop")) if may else "",
            "Stop something",
        ),
        filters=(_STATES, kinds),
    )


async def show_list(visit: Visit) -> Response:
    """List switches, newest first."""
    action = (
        ("Stop something", address(at(visit, "stop")), "danger")
        if visit.may_open(at(visit, "stop"))
        else None
    )
    return await visit.show_list(
        _list(visit),
        lambda ctx, asked: _listed(ctx, visit, asked),
        lead="A switch takes effect on every worker within two seconds, and stays in force until it is released.",
        action=action,
    )


def _listed(ctx: Context, visit: Visit, asked: Asked) -> Listed:
    in_force = {"in_force": True, "over": False}.get(asked["state"])
    page = PageQuery(asked.after, ROWS, asked.order)
    found = controls.browse_switches(ctx, in_force=in_force, kind=asked["kind"], page=page)
    names = service.names(ctx, [each.engaged_by for each in found], targets=[each.target for each in found])
    rows = [_row(visit, each, names, ctx.now) for each in found]
    total = controls.count_in_force(ctx) if asked["state"] == "in_force" and not asked["kind"] else None
    return Listed(rows, total, counted=10_000, next=SWITCH_SORTS.next(found, page))


def _row(visit: Visit, switch: Switch, names: service.Names, now: datetime) -> tuple[Cell, ...]:
    state, tone = words.switch_state(switch, in_force=switch.in_force(now))
    return (
        Cell(state, kind="badge", tone=tone),
        Cell(names.target(switch.target), address(at(visit, "switch"), switch.id)),
        Cell(words.KIND_WORDS[switch.target.kind]),
        Cell(words.MODES[switch.mode][0]),
        Cell("", at=switch.engaged_at),
        Cell(names.actor(switch.engaged_by)),
        Cell(switch.reason),
    )


async def show_new(visit: Visit) -> Response:
    """Choose what to stop; then show what that would end, and ask why."""
    query = visit.query()
    if query.one("kind"):
        return await _confirm(visit, query)
    text = " ".join(query.one("q").split())[:200]
    found = await visit.read(lambda ctx: _found(ctx, visit, text)) if text else []
    return visit.render(
        "console/switches/stop_choose.html",
        text=text,
        found=found,
        wide=visit.page.console is Console.OPERATIONS,
        types=sorted(resource_types()),
        path=visit.path,
    )


def _found(ctx: Context, visit: Visit, text: str) -> list[dict[str, str]]:
    """Find what can be stopped, by its name."""
    page, tenant = registry.browse_apps(ctx, AppsQuery(text=text, limit=FOUND_BOUND)), ctx.actor.tenant
    rows: list[tuple[str, str, str, TargetKind, str]] = []
    for each in page.apps:
        kind, key = (
            (TargetKind.APP_TENANT, f"{each.id}/{tenant}") if tenant else (TargetKind.APP, str(each.id))
        )
        rows.append(("App", each.name, page.vendors.get(each.vendor, ""), kind, key))
    if ctx.actor.is_platform:
        vendors = registry.find_vendors(ctx, text, FOUND_BOUND)
        rows += [("Vendor", name, "", TargetKind.VENDOR, id_) for id_, name in vendors]
        hospitals = identity.search_tenants(ctx, text, FOUND_BOUND)
        rows += [("Hospital", each.name, each.id, TargetKind.TENANT, each.id) for each in hospitals]
    people = identity.search_people(ctx, text, FOUND_BOUND)
    rows += [("Person", each.name, words.role(each.role), TargetKind.PERSON, each.id) for each in people]
    stop = at(visit, "stop")
    return [
        {"what": what, "name": name, "note": note, "href": address(stop, kind=kind.value, key=key)}
        for what, name, note, kind, key in rows
    ]


async def _confirm(visit: Visit, given: Form, error: Invalid | None = None) -> Response:
    """Show the consequences of a stop, and the form that engages it."""
    target = _target(given)
    preview, names = await visit.read(lambda ctx: _preview(ctx, visit, target))
    return visit.render(
        "console/switches/stop.html",
        **fields.answered(given, error),
        what=names.target(target),
        kind=words.KIND_WORDS[target.kind],
        target=target,
        wide=target.kind in WIDE,
        preview=_consequences(preview, names),
        modes=[(mode.value, *words.MODES[mode]) for mode in words.MODES],
        ends=[(key, text) for key, (text, _) in ENDS.items()],
        path=visit.path,
    )


def _target(given: Form) -> Target:
    try:
        return Target(TargetKind(given.one("kind")), given.one("key").strip())
    except ValueError as error:
        raise Invalid(
            "target_unknown", "There is no such kind of target.", fields={"kind": "not_an_option"}
        ) from error


def _preview(ctx: Context, visit: Visit, target: Target) -> tuple[Preview, service.Names]:
    found = visit.ports.preview(ctx, target)
    at = [each.tenant for each in found.hospitals]
    return found, service.names(ctx, targets=[target], tenants=at)


def _consequences(preview: Preview, names: service.Names) -> dict[str, Any]:
    return {
        "counted": preview.counted,
        "launches": sum(each.launches for each in preview.hospitals),
        "tokens": sum(each.tokens for each in preview.hospitals),
        "people": sum(each.people for each in preview.hospitals),
        "hospitals": [
            {
                "name": names.tenant(each.tenant),
                "launches": each.launches,
                "tokens": each.tokens,
                "people": each.people,
                "stand_ins": ", ".join(one.name for one in each.stand_ins),
            }
            for each in preview.hospitals
        ],
        "without": [names.tenant(each) for each in preview.without_stand_in],
    }


async def engage(visit: Visit, form: Form) -> Response:
    """Engage a switch; one person is enough."""
    try:
        mode, end = Mode(form.one("mode")), ENDS[form.one("ends")][1]
    except (ValueError, KeyError) as error:
        raise Invalid(
            "form_invalid", "Choose how to stop it, and until when.", fields={"mode": "not_an_option"}
        ) from error
    ends_at = None if end is None else visit.kit.clock.now() + end
    order = EngageOrder(_target(form), mode, form.one("reason"), ends_at)
    try:
        engaged = await visit.write(partial(switch_administration.engage, order=order))
    except Invalid as error:
        return await _confirm(visit, form, error)
    return to(address(at(visit, "switch"), engaged.id))


async def show(visit: Visit) -> Response:
    """Show one switch: whether it acts, how fast it did, and what happened to it."""
    return visit.render("console/switches/switch.html", **await visit.read(lambda ctx: _shown(ctx, visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    switch, confirmed = switch_administration.confirmations(ctx, visit.param())
    reads = may_read(ctx.actor, switch.tenant)
    events = _history(ctx, switch) if reads else []
    ids = [switch.engaged_by, switch.released_by, switch.release_asked_by, *(each.actor for each in events)]
    names = service.names(ctx, ids, targets=[switch.target])
    in_force = switch.in_force(ctx.now)
    state, tone = words.switch_state(switch, in_force=in_force)
    return {
        "switch": switch,
        "what": names.target(switch.target),
        "kind": words.KIND_WORDS[switch.target.kind],
        "mode": words.MODES[switch.mode],
        "state": state,
        "tone": tone,
        "in_force": in_force,
        "by": names.actor(switch.engaged_by),
        "released_by": names.actor(switch.released_by) if switch.released_by else "",
        "asked_by": names.actor(switch.release_asked_by) if switch.release_asked_by and in_force else "",
        "yours": switch.release_asked_by == str(ctx.actor)
        and any(each.id == switch.id for each, _ in switch_administration.list_asked(ctx)),
        "times": _times(confirmed),
        "wide": switch.target.kind in WIDE,
        "releasable": in_force and visit.may_open(at(visit, "release")) and may_release(ctx.actor, switch),
        "release": address(at(visit, "release"), switch.id),
        "incident": address("operations.incident_new", switch=switch.id)
        if in_force and visit.page.console is Console.OPERATIONS and visit.may_open("operations.incident_new")
        else "",
        "timeline": [words.timeline_entry(each, names) for each in events],
        "reads": reads,
    }


def _times(confirmed: Confirmations) -> dict[str, Any]:
    rows = sorted(confirmed.found, key=lambda each: each.ms)
    return {
        "rows": rows,
        "last_ms": max((each.ms for each in rows), default=None),
        "silent": sum(switch_policy.silent_nodes(confirmed).values()),
        "expected": sum((confirmed.expected or {}).values()),
    }


def _history(ctx: Context, switch: Switch) -> list[Any]:
    query = EventQuery(action="controls.switch", tenant=switch.tenant, limit=PAGE_BOUND)
    return [
        each for each in audit.list_events(ctx, query).events if each.event.facts.get("switch") == switch.id
    ]


async def show_release(visit: Visit) -> Response:
    """Show what a release means, and who else must agree."""
    return await _confirm_release(visit)


async def _confirm_release(
    visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None
) -> Response:
    facts = await visit.read(lambda ctx: _shown(ctx, visit))
    return visit.render("console/switches/release.html", **fields.answered(given, error), **facts)


async def release(visit: Visit, form: Form) -> Response:
    """Release a switch, or ask for it as the first of two people."""
    if form.one("engaged_by"):
        try:
            fields.require_tick(form, "Tick the box to confirm that you looked into the reason.")
        except Invalid as error:
            return await _confirm_release(visit, form, error)
    await visit.write(partial(switch_administration.release, switch_id=visit.param()))
    return to(address(at(visit, "switch"), visit.param()))
