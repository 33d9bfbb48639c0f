"""Ask for a check of a hospital's FHIR server, and show what the last one found."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from hilum.foundation.actions.models import Effect, Noun, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Readers, not_shown
from hilum.foundation.kernel.events import Event
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.identity.people.models import UpstreamKind
from hilum.operations.fhir_servers import policy, store
from hilum.operations.fhir_servers.models import FhirServer, FhirServerId, ServerQuery, ServerState

READERS = ("staff", "administrator")
ASKERS = ("platform_admin", "security", "administrator")
_TONES = {
    ServerState.WAITING: "plain",
    ServerState.WORKS: "good",
    ServerState.LIMITED: "warn",
    ServerState.FAILS: "bad",
}


def _visible(ctx: Context, tenant: str, *, lock: bool = False) -> FhirServer:
    """Return a hospital's server; one that was never checked if it has none on record. Raises NotFound."""
    if not policy.may_see(ctx.actor, TenantId(tenant)):
        raise store.SERVERS.missing()
    found = identity.find_tenant(ctx, TenantId(tenant))
    if found is None:
        raise store.SERVERS.missing()
    server = store.SERVERS.find(ctx.tx, lock=lock, id=tenant)
    if server is None:
        return FhirServer(found.id, ServerState.WAITING, ctx.now, "")
    is_old = server.checked_at is not None and server.settings != policy.settings_of(found.upstream)
    return replace(server, is_old=is_old)


def _event(code: str, server: FhirServer | None) -> Event:
    return Event(code, tenant=server.id) if server else Event(code)


def _notices(server: FhirServer, _now: datetime) -> Sequence[tuple[str, str]]:
    if server.asked_by and policy.is_waiting(server):
        return [("Being checked", "Open this page again in a few seconds.")]
    if server.is_old:
        return [
            ("Its settings changed since", "It is checked again within minutes, or now if you ask for it.")
        ]
    return []


def _may_ask(actor: Actor, server: FhirServer, _now: datetime) -> bool:
    return policy.may_see(actor, server.id) and not (server.asked_by and policy.is_waiting(server))


FHIR_SERVER = Noun(
    "fhir_server",
    "fhir_servers",
    FhirServer,
    load=_visible,
    about=_event,
    title="FHIR server of {id}",
    help="Check whether a hospital's FHIR server works as apps need it. `hilum tenant check` waits for the result.",
    columns=(
        Shows("id", "Hospital"),
        Shows("state", "State"),
        Shows("summary", "What was found"),
        Shows("checked_at", "Checked"),
        Shows("failing_since", "Fails since"),
    ),
    facts=(Shows("checked_at", "Checked"), Shows("failing_since", "Fails since")),
    derived={"summary": policy.summary},
    hidden=frozenset({"settings", "is_old"}),
    badge=lambda _actor, server, _now: (server.state.value, _TONES[server.state]),
    notices=_notices,
)


@action(
    FHIR_SERVER,
    "check",
    who=ASKERS,
    past="asked for a check of a FHIR server",
    button="Check it now",
    consequence="It takes some seconds, writes nothing, and asks for no patient's records.",
    when=_may_ask,
)
def check(ctx: Context, server_id: FhirServerId) -> FhirServer:
    """Ask for a check of a hospital's FHIR server; it begins within seconds, and is made every night besides.

    Raises NotFound, Conflict (the embedded server, a hospital that is not active).
    """
    before = _visible(ctx, server_id, lock=True)
    tenant = identity.get_tenant(ctx, before.id)
    if tenant.upstream.kind is UpstreamKind.EMBEDDED:
        raise Conflict(
            "fhir_server_embedded", "Its FHIR server is part of this platform: there is none to check."
        )
    if not tenant.active:
        raise Conflict("tenant_inactive", "The hospital is not active. Activate it first.")
    if before.asked_by and policy.is_waiting(before):
        return before
    return ask(ctx, before)


def ask(ctx: Context, server: FhirServer) -> FhirServer:
    """Store that a check is asked for now."""
    asked = replace(server, asked_at=ctx.now, asked_by=str(ctx.actor))
    store.SERVERS.put(ctx.tx, asked)
    return asked


@action(FHIR_SERVER, "show", who=READERS, effect=Effect.READS)
def view(ctx: Context, server_id: FhirServerId) -> FhirServer:
    """Show what the last check of a hospital's FHIR server found, and what to change.

    Raises NotFound.
    """
    return _visible(ctx, server_id)


@action(FHIR_SERVER, "list", who=READERS, effect=Effect.READS)
def list_servers(ctx: Context, query: ServerQuery, page: PageQuery = FIRST_PAGE) -> list[FhirServer]:
    """List the FHIR servers that were checked, by hospital: staff get all, an administrator their own.

    Raises NotPermitted.
    """
    own = ctx.actor.tenant
    if not ctx.actor.is_platform and (own is None or not policy.may_see(ctx.actor, own)):
        raise not_shown("FHIR servers", Readers.HOSPITAL)
    return store.list_servers(ctx.tx, page, tenant=None if ctx.actor.is_platform else own, state=query.state)
