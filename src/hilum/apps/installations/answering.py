"""Backend services at a hospital for which no person of it answers (C17).

They get no tokens, except clients from before service owners, which continue until their end for the person whom their vendor named.
"""

from dataclasses import dataclass
from datetime import datetime

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientType
from hilum.apps.installations import policy, store
from hilum.apps.registry.models import Environment
from hilum.apps.service_owners import service as service_owners
from hilum.apps.service_owners.policy import states_a_text
from hilum.foundation.actions.models import Effect, OwnTenant
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, NotFound
from hilum.foundation.kernel.ids import AppId, ClientId
from hilum.foundation.web.api import STAFF
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant

APPS_READ = 500
"""Apps of one hospital whose services are listed."""


@dataclass(frozen=True, slots=True)
class UnansweredService:
    """A backend service for which nobody of a hospital answers.

    ``text``: the approver whom its vendor once entered, with which it keeps working until ``ends_at``; empty: it gets no tokens.
    """

    client: ClientId
    name: str
    app: AppId
    text: str
    ends_at: datetime | None


@action(
    service_owners.SERVICE_OWNER,
    "unanswered",
    who=("administrator", STAFF),
    effect=Effect.READS,
    more="Those with a text keep working until their end, since their vendor entered a name before there were service owners; the others get no tokens. At a synthetic hospital a service needs nobody, and none is listed.",
)
def list_unanswered(ctx: Context, tenant: OwnTenant) -> list[UnansweredService]:
    """List the backend services at a hospital for which nobody of it answers.

    At most those of ``APPS_READ`` apps, by id. Raises NotFound, also for whom it does not concern.
    """
    if not policy.may_see_installations(ctx.actor, tenant):
        raise NotFound("tenant_not_found", "There is no such hospital.")
    hospital = identity.get_tenant(ctx, tenant)
    apps = store.list_apps_at(ctx.tx, hospital.id)[:APPS_READ]
    return [
        UnansweredService(each.id, each.name, each.app, _text(each), each.expires_at)
        for each in _unanswered(ctx, hospital, apps)
    ]


def require_named(ctx: Context, tenant: Tenant, app: AppId) -> None:
    """Check that no service of an app rests on a text when its hospital approves the app again: somebody of it must answer by then. Raises Conflict."""
    resting = [each.name for each in _unanswered(ctx, tenant, [app]) if _text(each)]
    if resting:
        detail = f"Nobody at the hospital answers for {resting[0]}: its vendor once entered a name, and nobody has agreed since. First name a colleague, who must agree (`hilum service-owner ask`, or Backend services in /tenant)."
        raise Conflict("approver_missing", detail)


def _unanswered(ctx: Context, tenant: Tenant, apps: list[AppId]) -> list[Client]:
    # Synthetic records need nobody.
    if tenant.sandbox or not apps:
        return []
    facts = clients.facts_of_apps(ctx, apps)
    found = [
        each.id
        for of in facts.values()
        for each in of
        if each.type is ClientType.BACKEND
        and each.environment is Environment.PRODUCTION
        and (each.expires_at is None or each.expires_at > ctx.now)
    ]
    services = clients.read_named(ctx, sorted(found)) if found else []
    return [each for each in services if not service_owners.is_answered_for(ctx, tenant.id, each)]


def _text(client: Client) -> str:
    return client.backend_use.approver.strip() if client.backend_use and states_a_text(client) else ""
