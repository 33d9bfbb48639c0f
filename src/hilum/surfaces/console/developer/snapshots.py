"""Synthetic hospitals of the vendor's own: make one, see what opens it, reset it, remove it."""

from functools import partial

from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.hospitals.vendor_hospitals import service as snapshots
from hilum.hospitals.vendor_hospitals.models import PLACES, NewSnapshot, Opened, Snapshot, State
from hilum.hospitals.vendor_hospitals.policy import may_open
from hilum.identity.people.models import VendorRight
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame

_STATES = {State.READY: ("ready", "good"), State.RESETTING: ("closed: reset it", "bad")}


async def show_list(visit: Visit) -> Response:
    """Show the vendor's snapshots, and the form that makes one."""
    return await _list(visit)


async def _list(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    def verb(ctx: Context) -> list[tuple[Snapshot, str, str, str]]:
        found = snapshots.list_snapshots(ctx, PageQuery(limit=PLACES))
        return [(each, *_STATES[each.state], address("developer.snapshot", each.id)) for each in found]

    templates = visit.ports.snapshots.furnisher.templates()
    return visit.render(
        "console/developer/snapshots.html",
        **fields.answered(given, error),
        rows=await visit.read(verb),
        templates=[(name, each.name) for name, each in templates.items()],
        here=visit.kit.is_sandbox,
        makes=frame.may(visit, VendorRight.APPS),
        places=PLACES,
    )


async def create(visit: Visit, form: Form) -> Response:
    """Make a snapshot."""
    order = NewSnapshot(form.one("name"), form.one("template")[:32])
    try:
        # The session is judged here; records are copied with no transaction open.
        await visit.write(frame.own_vendor)
        made = await visit.ports.snapshots.create(order, actor=visit.visitor.actor, trace=visit.trace)
    except (Conflict, Invalid, NotPermitted, Unavailable) as error:
        return await _list(visit, form, error)
    return to(address("developer.snapshot", made.id))


async def show(visit: Visit) -> Response:
    """Show what opens a snapshot."""
    return await _one(visit)


async def _one(visit: Visit, error: fields.Refused | None = None) -> Response:
    tenant, furnisher = TenantId(visit.param()), visit.ports.snapshots.furnisher
    found = await visit.read(partial(snapshots.view, snapshot_id=tenant))
    opened: Opened | None = None
    opens = may_open(visit.visitor.actor, found.vendor)
    if found.state is State.READY and opens:
        try:
            opened = await visit.write(partial(snapshots.open_card, snapshot_id=tenant, furnisher=furnisher))
        except Unavailable as unavailable:
            error = error or unavailable
    urls = visit.kit.urls
    return visit.render(
        "console/developer/snapshot.html",
        **fields.answered(error=error),
        snapshot=found,
        state=_STATES[found.state],
        opened=opened,
        opens=opens,
        fhir=urls.fhir_base(tenant),
        launches=urls.launches(tenant),
        makes=frame.may(visit, VendorRight.APPS),
    )


async def act(visit: Visit, form: Form) -> Response:
    """Reset or remove a snapshot, or install what has been certified since."""
    live, tenant = visit.ports.snapshots, TenantId(visit.param())
    verbs = {"reset": live.reset, "apps": live.put_apps, "remove": live.remove}
    try:
        if form.one("act") not in verbs:
            raise fields.no_such_act()
        await visit.write(frame.own_vendor)
        await verbs[form.one("act")](tenant, actor=visit.visitor.actor, trace=visit.trace)
    except (Conflict, Invalid, NotPermitted, Unavailable) as error:
        return await _one(visit, error)
    return to(address("developer.snapshots") if form.one("act") == "remove" else visit.path)
