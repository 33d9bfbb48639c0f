"""After the lapse of an agreement: the vendor is asked to delete what its apps have of the hospital (C95)."""

from hilum.agreements import service as agreements
from hilum.agreements.models import Agreement
from hilum.disposals import service as disposals
from hilum.disposals.models import LAPSE_GRACE, LOOKED_BACK
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.installations import service, store
from hilum.registry import service as registry
from hilum.registry.models import APPS_BOUND


def ask_after_lapses(ctx: Context, after: str) -> str:
    """Record requests for the agreements that lapsed long ago without another in their place, of a batch; return the id to continue ``after``.

    Only about apps that are installed at the hospital and still need the agreement: whoever removed an app has asked for it already.
    """
    until = ctx.now - LAPSE_GRACE
    found, last = agreements.list_lapsed(ctx, until - LOOKED_BACK, until, after)
    for agreement in found:
        _ask(ctx, agreement)
    return last


def _ask(ctx: Context, lapsed: Agreement) -> None:
    tenant = identity.find_tenant(ctx, lapsed.tenant)
    if tenant is None:
        return
    here = set(store.list_apps_at(ctx.tx, tenant.id))
    for app in registry.list_of_vendor(ctx, lapsed.vendor, APPS_BOUND):
        installed = service.current(ctx, tenant.id, app) if app.id in here else None
        if installed is None:
            continue
        if lapsed.kind in agreements.missing_for_app(ctx, tenant, app, installed.roles):
            disposals.ask_of_lapse(ctx, tenant.id, app.id, lapsed.id)
