"""Backend services at a hospital and the people who answer for them. The pages are those of the declared actions; the list also warns of services without anybody."""

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientType
from hilum.apps.installations import service as installations
from hilum.apps.service_owners import service
from hilum.apps.service_owners.models import APPROVER_ROLES
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.identity.people import service as identity
from hilum.surfaces.console import fields, words
from hilum.surfaces.console.actions import Offered, Pages
from hilum.surfaces.console.desk import Visit
from hilum.surfaces.console.tenant.apps import fits, own

UNANSWERED_SHOWN = 20
"""Services without anybody that the page names."""
APPS_READ = 500
"""Apps of the hospital among whose clients a form looks for backend services."""


def _services(ctx: Context) -> Offered:
    """Offer the backend services of the apps that are installed at the hospital."""
    tenant = own(ctx)
    apps = installations.apps_at(ctx, tenant.id)[:APPS_READ]
    facts = clients.facts_of_apps(ctx, apps) if apps else {}
    ids = [
        each.id
        for of in facts.values()
        for each in of
        if each.type is ClientType.BACKEND
        and each.expires_at is not None
        and each.expires_at > ctx.now
        and fits(each.environment, tenant)
    ]
    known = fields.names(ctx, list(facts))
    found = [each for each in clients.read_named(ctx, ids) if each.backend_use is not None]
    pairs = sorted(((str(each.id), _called(each, known)) for each in found), key=lambda each: each[1])
    nothing = "No backend service is installed here", "Approve an app that has one first."
    return Offered(pairs, nothing=(*nothing, "/tenant?show=available", "Apps"))


def _called(client: Client, known: dict[str, str]) -> str:
    app = known.get(client.app, "")
    return client.name if client.name == app or not app else f"{client.name} ({app})"


def _colleagues(ctx: Context) -> Offered:
    people = identity.list_people(ctx, own(ctx).id, PageQuery(limit=PAGE_BOUND))
    fit = [each for each in people if each.active and each.role in APPROVER_ROLES and each.id != ctx.actor.id]
    return Offered([(each.username, f"{each.name}, {words.role(each.role)}") for each in fit], free=True)


def _empty(may_ask: bool) -> tuple[str, str]:  # noqa: FBT001 - passed by the list
    if may_ask:
        step = "Name a colleague for each service: it gets no token here before they agree."
        return "Nobody answers for a backend service yet", step
    step = "When an administrator names you for a backend service, you agree or decline here."
    return "Nobody named you", step


PAGES = Pages(
    "tenant.service_owner",
    listed=service.list_service_owners,
    show=service.get_service_owner,
    new=service.ask,
    acts=(service.agree, service.end),
    offers={"client": _services, "approver": _colleagues},
    lead="Programs that read records by themselves. For each, a person here answers for what it does.",
    new_lead="They are shown its purpose, whose records it reads and when it runs, and agree with their own account.",
    empty=_empty,
)


async def show_list(visit: Visit) -> Response:
    """Show the list below the services for which nobody answers."""
    asks = visit.may_open("tenant.service_owner_new")
    nobody = await visit.read(lambda ctx: installations.list_unanswered(ctx, own(ctx).id)) if asks else []
    shown, more = nobody[:UNANSWERED_SHOWN], len(nobody) - UNANSWERED_SHOWN
    return await PAGES.show_list(visit, "console/service_owners/list.html", nobody=shown, more=more)
