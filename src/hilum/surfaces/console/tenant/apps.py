"""Apps at a hospital: what may be installed, what is, and everything about one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import SORTS, Installation, NarrowOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import (
    COUNTED_BOUND,
    App,
    AppOrder,
    AppsQuery,
    AppState,
    Environment,
    environment_of,
)
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Mode, Switch, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web import faults
from hilum.foundation.web.forms import Form
from hilum.hospitals.requests import service as requests
from hilum.hospitals.requests.models import AcceptOrder
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.operations.dry_runs.models import NarrowingTrial, Tried
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import SYSTEM_CLIENT
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.review.listings import service as listings
from hilum.review.recertification import service as revalidation
from hilum.review.submissions import service as review
from hilum.review.submissions.models import CertifiedDocument
from hilum.review.submissions.service import reasons_of
from hilum.surfaces.console import fields, service, words
from hilum.surfaces.console.action_words import ROUTINE
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import (
    KINDS,
    ROWS,
    Asked,
    Cell,
    Column,
    Empty,
    Filter,
    Listed,
    Option,
    State,
)
from hilum.surfaces.console.parts import alerts, stops
from hilum.surfaces.console.policy import ending
from hilum.surfaces.console.tenant import exceptions
from hilum.surfaces.console.tenant import forms as choices
from hilum.surfaces.console.tenant.matrix import matrix

TIMELINE_BOUND = 20
"""The newest events of an app that its page shows."""
REASON_SHOWN = 120
"""Letters of a switch's reason that a list shows."""
USED_DAYS = 30
CHANGED = 409
"""The status of a form that would save over what a colleague saved meanwhile."""
LIST = List(
    columns=(Column("App", "name"), Column("State"), Column("For"), Column("Until"), Column("Vendor")),
    one="app",
    many="apps",
    empty=Empty(
        "No app yet", "Nothing is certified for your hospital. The platform's reviewers certify apps."
    ),
    filters=(
        Filter("show", "Show", (Option("installed", "Installed here"), Option("available", "Not installed"))),
    ),
    searched="Name of the app or its vendor",
)


INSTALLED = replace(
    LIST,
    columns=(
        Column("App", "name"),
        Column("State"),
        Column("For"),
        Column("Until", "until"),
        Column("Approved", "approved"),
        Column("Vendor"),
    ),
)
"""The list of what is installed, which alone has an end and an approval to be sorted by."""


def own(ctx: Context) -> Tenant:
    """Return the hospital of the administrator."""
    assert ctx.actor.tenant is not None, "the page is for people of a hospital"
    return identity.get_tenant(ctx, ctx.actor.tenant)


async def show_list(visit: Visit) -> Response:
    """List the apps that the hospital may use, with what it installed."""
    given = visit.query()
    if given.one("show") == "installed" and not given.one("q").strip():
        listed, rows = INSTALLED, _eligibility
    elif given.one("sort").removeprefix("-") in SORTS.columns:
        # A filter or a search that widened the list keeps the rest of its address.
        return to(visit.path, q=given.one("q"), show=given.one("show"))
    else:
        listed, rows = LIST, _listed
    waiting = await visit.read(lambda ctx: requests.count_waiting(ctx, own(ctx).id))
    return await visit.show_list(listed, rows, "console/tenant/apps.html", waiting=waiting)


def _eligibility(ctx: Context, asked: Asked) -> Listed:
    """List what is installed, by the apps' names or in an order of installations."""
    if asked.order.removeprefix("-") not in SORTS.columns:
        return _listed(ctx, asked, approved=True)
    tenant, page = own(ctx), PageQuery(asked.after, ROWS, asked.order)
    found = installations.list_installations(ctx, tenant.id, page)
    named = registry.read_apps(ctx, [each.app for each in found]) if found else {}
    vendors = registry.vendor_names(ctx, [each.vendor for each in named.values()]) if found else {}
    # In the order of the installations; an app of which the row is gone is not shown.
    apps = [named[each.app] for each in found if each.app in named]
    rows = _rows(ctx, tenant, apps, vendors, approved=True)
    return Listed(rows, next=SORTS.next(found, page))


def _listed(ctx: Context, asked: Asked, *, approved: bool = False) -> Listed:
    tenant = own(ctx)
    query = AppsQuery(text=asked.text, order=AppOrder(asked.order), after=asked.after, limit=ROWS)
    if asked["show"]:
        held = frozenset(installations.apps_at(ctx, tenant.id))
        here = {"only": held} if asked["show"] == "installed" else {"without": held}
        query = AppsQuery(asked.text, order=query.order, after=asked.after, limit=ROWS, **here)  # type: ignore[arg-type]
    page = registry.browse_apps(ctx, query)
    rows = _rows(ctx, tenant, page.apps, page.vendors, approved=approved)
    return Listed(rows, page.total, COUNTED_BOUND, page.next)


def _rows(
    ctx: Context, tenant: Tenant, apps: Sequence[App], vendors: Mapping[VendorId, str], *, approved: bool
) -> list[tuple[Cell, ...]]:
    """Return the rows of some apps; with ``approved`` when each was."""
    ids = [each.id for each in apps]
    found = installations.installed_at(ctx, tenant.id, ids)
    certified = registry.read_certified(ctx, ids).certifications if ids else {}
    stopping = stops_here(ctx, tenant.id, apps)
    rows = []
    for each in apps:
        installed = found.get(each.id)
        valid = any(
            one.withdrawn_at is None and one.expires_at > ctx.now and fits(one.environment, tenant)
            for one in certified.get(each.id, ())
        )
        state, why = state_of(each, installed, stopping.get(each.id, ()), certified=valid, now=ctx.now)
        rows.append(
            (
                Cell(each.name, address("tenant.app", each.id)),
                Cell(state.value, kind="badge", tone=KINDS[state], note=why),
                Cell(", ".join(sorted(map(words.role, installed.roles))) if installed else ""),
                Cell(until(installed)),
                *((Cell("", at=installed.approved_at if installed else None),) if approved else ()),
                Cell(vendors.get(each.vendor, "")),
            )
        )
    return rows


def fits(environment: Environment, tenant: Tenant) -> bool:
    """Check whether what is certified for an environment counts at a hospital."""
    return environment is Environment.PRODUCTION or tenant.sandbox


def until(installed: Installation | None) -> str:
    """Return until when an app is installed, in words."""
    if installed is None:
        return ""
    return f"{installed.expires_at:%-d %b %Y}" if installed.expires_at else "no end"


def stops_here(ctx: Context, tenant: TenantId, apps: Sequence[App]) -> dict[AppId, tuple[Switch, ...]]:
    """Return the switches in force that stop each app at a hospital."""
    targets: dict[Target, list[AppId]] = {}
    for each in apps:
        for target in stops.targets_of(each, [tenant]):
            targets.setdefault(target, []).append(each.id)
    index = controls.stops_on(ctx, tuple(targets))
    found: dict[AppId, tuple[Switch, ...]] = {}
    for target, of in targets.items():
        engaged = tuple(
            each
            for each in index.engaged.get(target, ())
            if each.in_force(ctx.now) and each.mode is not Mode.OBSERVE
        )
        for app in of:
            found[app] = found.get(app, ()) + engaged
    return found


def state_of(
    app: App, installed: Installation | None, stops: Sequence[Switch], *, certified: bool, now: datetime
) -> tuple[State, str]:
    """Return the state of an app at a hospital, and why."""
    if app.category == SYSTEM_CLIENT:
        return (
            (State.STOPPED, stops[0].reason[:REASON_SHOWN]) if stops else (State.APPROVED, "your own system")
        )
    if installed is not None and stops:
        return State.STOPPED, stops[0].reason[:REASON_SHOWN]
    if app.state is AppState.SUSPENDED:
        return State.STOPPED, "suspended by the platform"
    if installed is not None:
        state = ending(installed.expires_at, now)
        return (
            (State.STOPPED, "its installation has ended")
            if state is State.STOPPED
            else (state, "installed here")
        )
    return (
        (State.WAITING, "may be installed")
        if certified
        else (State.IN_REVIEW, "not certified for your hospital")
    )


def _ended(
    ctx: Context, tenant: TenantId, of: Sequence[ClientFacts]
) -> tuple[datetime, datetime | None] | None:
    """Return when the certification of an app that is installed at a hospital ended, and until when its people may keep using it; None: it was withdrawn."""
    book = policies.current(ctx).book_at(tenant, ctx.now, of[0].app) if of else None
    ends = [
        (end, served)
        for each in of
        if book is not None
        and (end := clients_policy.certified_until(book, each)) is not None
        and end <= ctx.now
        and (served := clients_policy.served_until(book, each)) is not None
    ]
    last = max(ends, key=lambda each: each[1], default=None)
    return None if last is None else (last[0], last[1] if ctx.now < last[1] else None)


async def show(visit: Visit) -> Response:
    """Show one app at the hospital: what it may do here, for whom, what it did, and how it is stopped."""
    facts = await visit.read(lambda ctx: shown(ctx, visit))
    # Counted decisions of a month, from the journals' counts.
    app = facts["app"].id
    facts["criteria"] = await visit.read_records(lambda ctx: visit.ports.criteria(ctx, app))
    if facts["installed"]:
        facts["use"] = await visit.read_records(lambda ctx: visit.ports.compare_scopes(ctx, app, USED_DAYS))
    return visit.render("console/tenant/app.html", **facts)


def shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    """Return everything about one app at the hospital."""
    tenant, app = own(ctx), registry.view_app(ctx, AppId(visit.param()))
    installed = installations.current(ctx, tenant.id, app)
    environment = environment_of(tenant)
    certified = installations.certified_scopes(ctx, app.id, environment)
    stopping = stops_here(ctx, tenant.id, (app,))[app.id]
    state, why = state_of(app, installed, stopping, certified=bool(certified), now=ctx.now)
    query = EventQuery(app=app.id, tenant=tenant.id, without=ROUTINE["apps"], limit=TIMELINE_BOUND)
    events = audit.list_events(ctx, query).events
    switches = controls.newest_on(ctx, stops.targets_of(app, [tenant.id]), stops.NEWEST)
    ids = [
        app.vendor,
        *(each.actor for each in events),
        *(by for switch in switches for by in (switch.engaged_by, switch.released_by)),
        *((installed.approved_by, installed.validated_by) if installed else ()),
    ]
    names = service.names(ctx, ids, targets=[switch.target for switch in switches])
    scopes = installed.scopes if installed else certified
    of_app = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    wider = requests.compare(ctx, installed.id) if installed else None
    return {
        "app": app,
        "tenant": tenant,
        "vendor": names.vendor(app.vendor),
        "state": state.value,
        "tone": KINDS[state],
        "why": why,
        "installed": installed,
        "services": any(each.type is ClientType.BACKEND for each in of_app),
        "ended": _ended(ctx, tenant.id, of_app) if installed and not certified else None,
        "roles": sorted(map(words.role, installed.roles)) if installed else [],
        "matrix": matrix(ctx, installed, choices.works(ctx, tenant.id, app, installed.scopes))
        if installed and installed.roles
        else None,
        "until": until(installed),
        "approved_by": names.actor(installed.approved_by) if installed else "",
        "certified": bool(certified),
        "permissions": choices.in_words(scopes),
        "without": choices.in_words(installed.without) if installed else [],
        "suspended": registry.suspension_of(ctx, app),
        "wider": wider if wider is not None and wider.version else None,
        "stops": [
            (each.reason, address("tenant.switch", each.id), each.target.kind is TargetKind.APP_TENANT)
            for each in stopping
        ],
        "timeline": stops.newest_first(
            (words.timeline_entry(each, names) for each in events), stops.entries(ctx, switches, names)
        ),
        "use": None,
        "documents": _documents(ctx, app),
        "criterion_words": words.CRITERIA,
        "exceptions": exceptions.live_at(ctx, tenant.id, app.id),
        "alone": address("tenant.alone", app.id) if installed and exceptions.alone_of(ctx, app.id) else "",
        "published": listings.is_published(ctx, app.id),
        "drifts": [each for each in revalidation.list_seen_at(ctx, tenant.id) if each.app == app.id],
        "alerts": alerts.of_app(ctx, app.id, tenant.id),
        "stop": address("tenant.stop", kind="app_tenant", key=f"{app.id}/{tenant.id}"),
        "activity": address("tenant.activity", app=app.id),
    }


def _documents(ctx: Context, app: App) -> list[tuple[str, CertifiedDocument]]:
    """Return the documents by which an app is certified and that hospitals may read, each with the title of its kind."""
    titles = policies.current(ctx).everywhere.evidence
    found = review.list_certified_documents(ctx, app.id)
    return [(titles.get(each.document.kind, each.document.kind), each) for each in found]


async def show_narrow(visit: Visit) -> Response:
    """Show what an app has, to be taken away."""
    return await _narrowing(visit)


async def _narrowing(
    visit: Visit,
    given: Form = fields.NO_FORM,
    error: Invalid | None = None,
    *,
    status: int = 200,
    trial: NarrowingTrial | None = None,
) -> Response:
    facts = await visit.read(lambda ctx: _narrowable(ctx, visit, given))
    answered = fields.answered(given, error)
    if error is None:
        answered |= {"status": status}
    return visit.render(
        "console/tenant/narrow.html",
        first=not given.values,
        trial=trial,
        needed=choices.needed(given, error),
        **answered,
        **facts,
    )


async def _tried(visit: Visit, form: Form) -> Response:
    """Show what the app was permitted here, and would not be with what is chosen. Nothing changes."""

    def verb(ctx: Context) -> NarrowingTrial | None:
        installed = _installed(ctx, visit)
        if form.one("revision") != installed.revision:
            return None
        kept, roles = choices.chosen(installed.scopes, form, ()), frozenset(form.many("role"))
        return visit.ports.try_narrowing(ctx, installed.id, Tried(NarrowOrder(scopes=kept, roles=roles)))

    try:
        found = await visit.read_records(verb)
    except Invalid as error:
        return await _narrowing(visit, form, error)
    return await _narrowing(visit, form, status=200 if found else CHANGED, trial=found)


def _installed(ctx: Context, visit: Visit) -> Installation:
    """Return the installation of the app of a page. Raises NotFound."""
    app = registry.view_app(ctx, AppId(visit.param()))
    return _require_installed(installations.current(ctx, own(ctx).id, app))


def _require_installed(installed: Installation | None) -> Installation:
    if installed is None:
        raise NotFound("installation_not_found", "This app is not installed at your hospital.")
    return installed


def _narrowable(ctx: Context, visit: Visit, given: Form) -> dict[str, Any]:
    tenant, app = own(ctx), registry.view_app(ctx, AppId(visit.param()))
    installed = _require_installed(installations.current(ctx, tenant.id, app))
    needs = installations.needs_at(ctx, tenant, app.id, reasons_of)
    stale = bool(given.one("revision")) and given.one("revision") != installed.revision
    wanted = choices.chosen(installed.scopes, given, ()) if stale else ()
    return {
        "app": app,
        "vendor": service.names(ctx, [app.vendor]).vendor(app.vendor),
        "installed": installed,
        "groups": choices.groups(installed.scopes, needs),
        "silent": needs.optional is None,
        "asked": choices.what_for(installed.scopes, needs),
        "works": (),
        "roles": choices.roles(installed.roles),
        "ends": (("keep", f"As it is: {until(installed)}"), *choices.ENDS[1:]),
        "revision": installed.revision,
        "stale": stale,
        "wanted": choices.in_words(wanted) if stale else (),
        "wanted_roles": sorted(map(words.role, given.many("role"))),
        "now": choices.in_words(installed.scopes) if stale else (),
        "now_roles": sorted(map(words.role, installed.roles)),
    }


async def narrow(visit: Visit, form: Form) -> Response:
    """Take permissions, roles or time away from an app, or try that on what it did. A form of another state shows both sides."""
    if form.one("do") == "try":
        return await _tried(visit, form)

    def verb(ctx: Context) -> Installation | None:
        installed = _installed(ctx, visit)
        if form.one("revision") != installed.revision:
            return None
        order = NarrowOrder(
            scopes=choices.chosen(installed.scopes, form, ()),
            roles=frozenset(form.many("role")),
            expires_at=choices.end(form, visit.kit.clock.now()),
            anyway=form.one("anyway") == "yes",
        )
        return installations.narrow_installation(ctx, installed.id, order, reasons_of)

    try:
        after = await visit.write(verb)
    except Invalid as error:
        return await _narrowing(visit, form, error)
    if after is None:
        return await _narrowing(visit, form, status=CHANGED)
    return to(address("tenant.app", after.app))


async def show_networks(visit: Visit) -> Response:
    """Show the networks from which an app's backend services may connect."""
    return await _networks(visit)


async def _networks(
    visit: Visit, given: str | None = None, fault: str = "", *, status: int = 200
) -> Response:
    facts = await visit.read(lambda ctx: shown(ctx, visit))
    before = " ".join(_require_installed(facts["installed"]).networks)
    written = before if given is None else given
    if status == CHANGED:
        fault = f"A colleague changed them meanwhile, to: {before or 'anywhere'}. Save again to replace that with yours."
    return visit.render(
        "console/tenant/networks.html", status=status, written=written, before=before, fault=fault, **facts
    )


async def pin(visit: Visit, form: Form) -> Response:
    """Set the networks that the backend services of an app come from; none: from anywhere (C213)."""
    asked = form.one("networks").replace(",", " ").split()

    def verb(ctx: Context) -> bool:
        installed = _installed(ctx, visit)
        # Of two people who had the page open the second would undo what the first saved, without seeing it.
        if form.one("before") != " ".join(installed.networks):
            return False
        installations.pin_networks(ctx, installed.id, asked)
        return True

    try:
        saved = await visit.write(verb)
    except Invalid as error:
        explained = faults.explained(error.fields or {}).get("networks", {"detail": error.detail})
        return await _networks(visit, form.one("networks"), explained["detail"], status=422)
    if not saved:
        return await _networks(visit, form.one("networks"), status=CHANGED)
    return to(address("tenant.app", visit.param()))


async def show_remove(visit: Visit) -> Response:
    """Show what the removal of an app means."""
    return visit.render("console/tenant/remove.html", **await visit.read(lambda ctx: shown(ctx, visit)))


async def remove(visit: Visit, form: Form) -> Response:
    """Remove an app from the hospital."""
    fields.require_tick(form, "Tick the box to confirm that you want to remove it.")

    def verb(ctx: Context) -> Installation:
        return installations.uninstall(ctx, _installed(ctx, visit).id)

    await visit.write(verb)
    return to(address("tenant.app", visit.param()))


async def show_newer(visit: Visit) -> Response:
    """Show what the newest version of an app has more, by the work that needs it."""

    def verb(ctx: Context) -> dict[str, Any]:
        found = shown(ctx, visit)
        if found["wider"] is None:
            raise NotFound(
                "version_not_newer", "There is nothing new to accept: the app needs no more than it has here."
            )
        return found

    return visit.render("console/tenant/newer.html", **await visit.read(verb))


async def accept(visit: Visit, form: Form) -> Response:
    """Accept what a newer version has more: all that was shown."""

    def verb(ctx: Context) -> None:
        requests.accept(ctx, AcceptOrder(_installed(ctx, visit).id, form.one("digest")))

    await visit.write(verb)
    return to(address("tenant.app", visit.param()))
