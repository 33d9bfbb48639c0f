"""Certification runs of an app in the sandbox: open one, take its scenarios, watch what is recorded, and have it judged."""

import asyncio
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.installations import service as installations
from hilum.apps.registry.models import App, Environment
from hilum.authorization.tokens import service as tokens
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, VendorRight
from hilum.review.certification_runs import service as evidence
from hilum.review.certification_runs.models import EVERY, Run, RunOrder, State
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.models import ROWS
from hilum.surfaces.console.parts import run_words

HOSPITALS = 100
"""Sandbox hospitals that are offered; those at which the app is installed come first."""


async def show_list(visit: Visit) -> Response:
    """Show the runs of an app, newest first, and the form that opens one."""
    return await _list(visit, fields.NO_FORM, None)


async def _list(visit: Visit, given: Form, trouble: Invalid | Conflict | NotPermitted | None) -> Response:
    after = visit.query().one("after")[:100]
    app, app_status, facts = await visit.read(partial(_runs, visit=visit, after=after))
    return frame.show(
        visit,
        "console/developer/runs.html",
        app,
        app_status,
        **fields.answered(given, trouble),
        opens=frame.may(visit, VendorRight.APPS),
        first=visit.path if after else "",
        **facts,
    )


def _runs(ctx: Context, visit: Visit, after: str) -> tuple[App, Any, dict[str, Any]]:
    app = frame.own_app(ctx, visit.param())
    found = evidence.list_runs(ctx, PageQuery(after, ROWS + 1), app=app.id)
    shown = found[:ROWS]
    rows = [
        each | {"href": address("developer.run", each["run"].id)} for each in run_words.briefly(ctx, shown)
    ]
    facts = {
        "runs": rows,
        "next": address("developer.runs", app.id, after=shown[-1].id) if len(found) > ROWS else "",
        "clients": _clients(ctx, app),
        "hospitals": _hospitals(ctx, app),
        "register": address("developer.client_new", app.id),
    }
    return app, frame.app_status_of(ctx, app), facts


def _clients(ctx: Context, app: App) -> list[tuple[str, str]]:
    found = clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND))
    return [
        (each.id, each.name) for each in found if each.environment is Environment.SANDBOX and not each.dynamic
    ]


def _hospitals(ctx: Context, app: App) -> list[tuple[str, str]]:
    installed = {tenant for tenant, _, _ in installations.installations_of(ctx, [app.id])}

    def key(tenant: Tenant) -> tuple[bool, str]:
        return tenant.id not in installed, tenant.name

    found = sorted(identity.list_sandboxes(ctx, app.vendor), key=key)
    return [
        (each.id, each.name if each.id in installed else f"{each.name} (not installed there yet)")
        for each in found[:HOSPITALS]
    ]


async def open_run(visit: Visit, form: Form) -> Response:
    """Open a run of one of the app's clients at a sandbox hospital."""
    further = (EVERY,) if form.one("every") else ()
    order = RunOrder(ClientId(form.one("client")[:64]), TenantId(form.one("tenant")[:64]), further)

    def verb(ctx: Context) -> Run:
        app = frame.own_app(ctx, visit.param())
        client = clients.find_client(ctx, order.client)
        if client is None or client.app != app.id:
            # Whether another vendor has a client of this name is disclosed to nobody.
            raise Invalid("form_invalid", "Choose a client of this app.", fields={"client": "not_an_option"})
        return evidence.open_run(ctx, order, visit.ports.runs.ground)

    try:
        run = await visit.write(verb)
    except (Invalid, Conflict, NotPermitted) as error:
        return await _list(visit, form, error)
    return to(address("developer.run", run.id))


async def show(visit: Visit) -> Response:
    """Show a run: its scenarios with what to do in each, what is recorded, and once it was judged, what was concluded."""
    return await _page(visit)


async def _page(visit: Visit, trouble: Conflict | NotPermitted | Unavailable | None = None) -> Response:
    query = visit.query()
    watched, start = query.one("watch") == "1", run_words.start(query)
    app, app_status, facts = await visit.read(partial(_one, visit=visit, start=start))
    if watched and not facts["kept"]:
        run_id = facts["run"].id
        verb = partial(evidence.watch, run_id=run_id, accesses=visit.ports.accesses)
        facts |= {"rows": await visit.audited(evidence.watching(run_id), verb)}
    return frame.show(
        visit,
        "console/developer/run.html",
        app,
        app_status,
        watched=watched,
        **fields.answered(error=trouble) | facts,
    )


def _one(ctx: Context, visit: Visit, start: int) -> tuple[App, Any, dict[str, Any]]:
    run = evidence.view(ctx, visit.param())
    app = frame.own_app(ctx, run.app)
    (brief,) = run_words.briefly(ctx, [run])
    goes_on = run.state is State.OPEN
    acts = frame.may(visit, VendorRight.APPS) and goes_on
    facts = {
        **brief,
        "scenarios": run_words.scenarios(run),
        "goes_on": goes_on,
        # Past its end a run is still judged or given up, and nothing more is made to fail for it.
        "acts": acts,
        "begins": acts and ctx.now < run.expires_at,
        "faults": run.result.get("faults", ()),
        **run_words.records(run, start, address("developer.run", run.id)),
        "sandbox": address("developer.sandbox", app.id),
        "proposal": address("developer.proposal", app.id, run=run.id) if run.rows else "",
    }
    return app, frame.app_status_of(ctx, app), facts


async def act(visit: Visit, form: Form) -> Response:
    """Begin or end a scenario, have the run judged, or give it up."""
    try:
        await _do(visit, form)
    except (Conflict, NotPermitted, Unavailable) as error:
        return await _page(visit, error)
    watched = visit.query().one("watch") == "1"
    return to(visit.path, **({"watch": "1"} if watched else {}))


async def _do(visit: Visit, form: Form) -> None:
    run_id, ports = visit.param(), visit.ports.runs
    match form.one("act"):
        case "begin":
            begin = partial(
                evidence.begin,
                run_id=run_id,
                scenario=form.one("scenario")[:100],
                end_access=tokens.end_access_at,
            )
            _, upstream = await visit.write(begin)
            # After the commit: a fault that did not reach the FHIR server shows in no record, so nothing counts as met by it.
            await asyncio.to_thread(ports.clear_faults, run_id)
            if upstream is not None:
                await asyncio.to_thread(ports.set_fault, upstream)
        case "end":
            await visit.write(partial(evidence.end, run_id=run_id))
            await asyncio.to_thread(ports.clear_faults, run_id)
        case "finish":
            await visit.write(partial(evidence.end, run_id=run_id, late=True))
            await asyncio.to_thread(ports.clear_faults, run_id)
            collect = partial(evidence.collect, run_id=run_id, read=ports.read)
            records = await visit.read_records(collect)
            finish = partial(evidence.finish, run_id=run_id, records=records, ground=ports.ground)
            await visit.write(finish)
        case "abandon":
            await visit.write(partial(evidence.abandon, run_id=run_id))
            await asyncio.to_thread(ports.clear_faults, run_id)
        case _:
            raise fields.no_such_act()
