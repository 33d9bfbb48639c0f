"""Apps as a hospital may ask for them: what the policy admits of each there, and the list for its people (C214)."""

from collections.abc import Sequence
from dataclasses import dataclass

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppState, Environment, environment_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import not_shown
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.hospitals.requests import policy, store
from hilum.hospitals.requests.models import Requestable, Task
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.identity.people.policy import is_open_to
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book


@dataclass(frozen=True, slots=True)
class AppAtHospital:
    """An app at a hospital: its clients that work there, and the scopes and workflows that the policy admits of them now."""

    tenant: Tenant
    app: App
    book: Book
    clients: tuple[ClientFacts, ...]
    admitted: tuple[str, ...]
    workflows: frozenset[str]


def read_app_at(ctx: Context, tenant: Tenant, app: App) -> AppAtHospital:
    """Read what the policy admits of an app at a hospital."""
    return _app_at(ctx, tenant, app, clients.facts_of_apps(ctx, (app.id,)).get(app.id, ()))


def _app_at(ctx: Context, tenant: Tenant, app: App, facts: Sequence[ClientFacts]) -> AppAtHospital:
    book = policies.current(ctx).book_at(tenant.id, ctx.now, app.id)
    # A sandbox client works only in the sandbox, a production client everywhere (C4).
    environments = {environment_of(tenant), Environment.PRODUCTION}
    here = tuple(client for client in facts if client.environment in environments)
    certified = [
        client
        for client in here
        if (until := clients_policy.certified_until(book, client)) is not None and ctx.now < until
    ]
    scopes, workflows = dict[str, None](), set[str]()
    for client in certified:
        scopes |= dict.fromkeys(clients_policy.admission(book, client, ctx.now).scopes)
        workflows |= clients_policy.workflows_allowed(book, client, ctx.now)
    return AppAtHospital(tenant, app, book, here, tuple(scopes), frozenset(workflows))


def list_requestable(ctx: Context, page: PageQuery = FIRST_PAGE) -> tuple[list[Requestable], str]:
    """List apps by id that the actor may ask their hospital for; also return where the next page begins.

    A page may have fewer than ``page.limit`` although more follow. Raises NotPermitted (also for vendors, who know their own).
    """
    if ctx.actor.tenant is None or not policy.asks_at(ctx.actor, ctx.actor.tenant):
        raise not_shown("what can be asked for", "the staff of a hospital")
    tenant = identity.get_tenant(ctx, ctx.actor.tenant)
    # As the system: who asks sees of the catalogue what is returned here, and nothing else.
    apps = registry.list_apps(ctx.as_actor(SYSTEM), page)
    offered = [
        app
        for app in apps
        if app.tenant is None and app.state is AppState.ACTIVE and is_open_to(tenant, app.vendor)
    ]
    ids = [app.id for app in offered]
    facts = clients.facts_of_apps(ctx, ids)
    installed = installations.installed_at(ctx, tenant.id, ids) if ids else {}
    asked = store.open_apps_of(ctx.tx, PersonId(ctx.actor.id))
    vendors = registry.vendor_names(ctx.as_actor(SYSTEM), {app.vendor for app in offered})
    requestable = []
    for app in offered:
        place = _app_at(ctx, tenant, app, facts.get(app.id, ()))
        if place.admitted:
            vendor, held = vendors.get(app.vendor, ""), installed.get(app.id)
            in_use = held is not None and not installations.has_ended(ctx, held, app)
            requestable.append(
                Requestable(app.id, app.name, vendor, app.purpose, _tasks(place), in_use, app.id in asked)
            )
    return requestable, apps[-1].id if len(apps) == page.limit else ""


def _tasks(place: AppAtHospital) -> tuple[Task, ...]:
    workflows = place.book.workflows
    return tuple(
        Task(name, workflows[name].title, workflows[name].purpose) for name in sorted(place.workflows)
    )
