"""The apps that people of a hospital may ask for: what the hospital could install, in words, without anything else of the vendor (C214)."""

from hilum.clients import service as clients
from hilum.identity import service as identity
from hilum.identity.policy import is_open_to
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import not_shown
from hilum.kernel.ids import PersonId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policies import service as policies
from hilum.registry import service as registry
from hilum.registry.models import AppState
from hilum.requests import policy, store
from hilum.requests.facts import admitted_at
from hilum.requests.models import Requestable, Task


def list_requestable(ctx: Context, page: PageQuery = FIRST_PAGE) -> tuple[list[Requestable], str]:
    """List apps by id that the actor may ask their hospital for; also return where the next page begins.

    A page may have fewer than ``page.limit`` although more follow. Raises NotPermitted (also for vendors, who know their own).
    """
    if ctx.actor.tenant is None or not policy.asks_at(ctx.actor, ctx.actor.tenant):
        raise not_shown("what can be asked for", "the staff of a hospital")
    tenant = identity.get_tenant(ctx, ctx.actor.tenant)
    # As the system: who asks sees of the catalogue what is returned here, and nothing else.
    found = registry.list_apps(ctx.as_actor(SYSTEM), page)
    offered = [
        each
        for each in found
        if each.tenant is None and each.state is AppState.ACTIVE and is_open_to(tenant, each.vendor)
    ]
    ids = [each.id for each in offered]
    of = clients.facts_of_apps(ctx, ids)
    here = installations.installed_at(ctx, tenant.id, ids) if ids else {}
    asked = store.open_apps_of(ctx.tx, PersonId(ctx.actor.id))
    vendors = registry.vendor_names(ctx.as_actor(SYSTEM), {each.vendor for each in offered})
    shown = []
    for app in offered:
        book = policies.current(ctx).book_at(tenant.id, ctx.now, app.id)
        admitted = admitted_at(ctx, tenant, book, of.get(app.id, ()))
        if admitted.scopes:
            tasks = tuple(
                Task(name, book.workflows[name].title, book.workflows[name].purpose)
                for name in sorted(admitted.workflows)
            )
            held = here.get(app.id)
            installed = held is not None and not installations.has_ended(ctx, held, app)
            shown.append(
                Requestable(
                    app.id,
                    app.name,
                    vendors.get(app.vendor, ""),
                    app.purpose,
                    tasks,
                    installed,
                    app.id in asked,
                )
            )
    return shown, found[-1].id if len(found) == page.limit else ""
