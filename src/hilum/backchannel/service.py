"""The back channel's verbs: authenticate a client, and the token endpoint's five fixed phases.

Parse once, authenticate the client, narrow the scopes, check the grant's own proof, mint. What needs the network is done before, by the
edge: a verb is handed assertions whose signature holds. Every refusal here commits, with what it revoked and its record.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.backchannel import cached_facts, client_auth, policy
from hilum.backchannel.client_auth import Assertion, Method, Presented
from hilum.backchannel.policy import GrantState, GrantType, TokenRequest, refuse_grant
from hilum.clients import policy as clients_policy
from hilum.clients.models import PLATFORM_PEERS, Client, ClientType
from hilum.consent import service as consent
from hilum.frontchannel import service as frontchannel
from hilum.frontchannel.models import Code
from hilum.frontchannel.policy import offline_of
from hilum.identity.models import Tenant
from hilum.infra.context import Context
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.kernel.ids import ClientId, TenantId
from hilum.keys import service as keys
from hilum.launches import service as launches
from hilum.launches.models import Launch
from hilum.signin import service as signin
from hilum.standards.oauth import TokenError
from hilum.standards.refusals import meaning_of
from hilum.standards.smart import scopes as smart
from hilum.standing.models import Party, Standing
from hilum.standing.policy import standing_fault
from hilum.tokens import policy as tokens_policy
from hilum.tokens import service as tokens
from hilum.tokens.models import AccessToken, Grant, Minted
from hilum.web.urls import Site


@dataclass(frozen=True, slots=True)
class Caller:
    """A client at the back channel, as far as the edge could tell before the transaction.

    ``assertion``: its signature and claims hold, by the keys that ``key_source`` names. ``replaced``: keys of its set that came back
    with other material. ``loud``: this source has not been refused so often lately that one more record says nothing.
    """

    presented: Presented
    assertion: Assertion | None = None
    key_source: str = ""
    replaced: tuple[str, ...] = ()
    loud: bool = True


def key_source(client: Client) -> str:
    """Name where a client's keys come from, so that a change between edge and transaction is seen."""
    inline = orjson.dumps(client.jwks, option=orjson.OPT_SORT_KEYS) if client.jwks else b""
    return hashlib.sha256(client.jwks_uri.encode() + b"\n" + inline).hexdigest()


def find_client(ctx: Context, site: Site, caller: Presented) -> Client | None:
    """Find the client that somebody claims to be, for the edge to fetch its keys; not yet authenticated. Raises NotFound (tenant)."""
    _tenant(ctx, site)
    return cached_facts.find_client(ctx, caller.client)


def public_holder(ctx: Context, site: Site, refresh_token: str) -> ClientId | None:
    """Name the public client of a refresh token; a client that has credentials must show them. Raises NotFound (tenant)."""
    _tenant(ctx, site)
    held = tokens.find_refresh(ctx, refresh_token)
    if held is None or held.grant.tenant != site.tenant:
        return None
    client = cached_facts.find_client(ctx, held.grant.client)
    return client.id if client is not None and client.type is ClientType.PUBLIC else None


def authenticate(ctx: Context, site: Site, caller: Caller) -> Client:
    """Say who calls, or refuse with ``invalid_client`` and a record. Raises NotFound (no such tenant), NotPermitted."""
    _tenant(ctx, site)
    if caller.replaced:
        facts = {"kids": list(caller.replaced)}
        event = Event(
            "authserver.jwks.replace_key", tenant=site.tenant, client=caller.presented.client, facts=facts
        )
        audit.record(ctx, event)
    try:
        return _authenticate(ctx, site, caller)
    except NotPermitted as refusal:
        record_refusal(ctx, site, caller, refusal)
        raise


def _authenticate(ctx: Context, site: Site, caller: Caller) -> Client:
    presented = caller.presented
    client = cached_facts.find_client(ctx, presented.client)
    if client is None or (client.expires_at is not None and ctx.now >= client.expires_at):
        client_auth.refuse_client("The client is not known here.")
    client_auth.judge_method(client, presented)
    if presented.method is Method.BASIC and not clients_policy.secret_matches(
        client, presented.digest, ctx.now
    ):
        client_auth.refuse_client("The secret is not the client's.")
    if presented.method is Method.ASSERTION:
        _use_assertion(ctx, client, caller)
    facts = cached_facts.client_facts(ctx, client.id)
    if facts is None or facts.tenant not in {None, site.tenant}:
        client_auth.refuse_client("The client is not known here.")
    return client


def _use_assertion(ctx: Context, client: Client, caller: Caller) -> None:
    proved = caller.assertion
    if proved is None or proved.client != client.id or caller.key_source != key_source(client):
        client_auth.refuse_client("The client assertion is not signed by a registered key of the client.")
    if not tokens.remember_jti(ctx, client.id, proved.jti, proved.expires_at):
        client_auth.refuse_client("The client assertion was used before (jti).")


def exchange(ctx: Context, site: Site, caller: Caller, request: TokenRequest) -> dict[str, Any]:
    """Issue tokens, and return the body of the token response.

    Raises NotPermitted and Invalid with a code of RFC 6749 section 5.2, NotFound (no such tenant), Unavailable.
    """
    client = authenticate(ctx, site, caller)
    ctx = ctx.as_actor(Actor(ActorKind.CLIENT, client.id, site.tenant))
    try:
        policy.judge_grant_type(client, request.grant_type)
        body = _GRANTS[request.grant_type](ctx, site, client, request)
    except (NotPermitted, Invalid) as refusal:
        record_refusal(ctx, site, caller, refusal)
        raise
    if request.ignored:
        event = Event(
            "authserver.context.ignore",
            Outcome.REFUSED,
            tenant=site.tenant,
            app=client.app,
            client=client.id,
            reason="context_sent_by_app",
            facts={"parameters": list(request.ignored)},
        )
        audit.record(ctx, event)
    return body


# --- grants --------------------------------------------------------------------------------------------------------------------


def _by_code(ctx: Context, site: Site, client: Client, request: TokenRequest) -> dict[str, Any]:
    code = frontchannel.redeem_code(
        ctx,
        request.code,
        client=client,
        tenant=site.tenant,
        redirect_uri=request.redirect_uri,
        verifier=request.verifier,
    )
    offline = code.offline is True
    state = load_state(ctx, site, code.grant, issued_at=code.issued_at, online=not offline, issuing=True)
    _judge(state, code.grant, ctx.now)
    kept = unstopped(ctx, code.grant.scopes, code.issued_at)
    scopes = policy.scopes_now(kept, state, code.grant.role)
    charts = _charts_now(code.grant, state)
    grant = replace(
        code.grant, scopes=scopes, person_patients=charts, launch_moved=_has_moved(ctx, code.grant)
    )
    minted = tokens.mint(
        ctx,
        grant,
        offline=offline_of(smart.known(scopes)),
        code_family=code.family,
        life=_life(ctx, client, grant, state),
    )
    body = _body(minted) | policy.context_members(grant, scopes)
    if "openid" in scopes:
        body["id_token"] = _id_token(ctx, site, grant, scopes, code)
    return body


def _by_refresh(ctx: Context, site: Site, client: Client, request: TokenRequest) -> dict[str, Any]:
    presented = request.refresh_token
    held = tokens.find_refresh(ctx, presented)
    own = held is not None and held.grant.client == client.id and held.grant.tenant == site.tenant
    if held is None or not own or tokens_policy.refresh_fault(held, ctx.now):
        tokens.redeem_refresh(ctx, presented, client=client.id, tenant=site.tenant)
        raise refuse_grant("The refresh token is not valid.")
    online = not held.offline
    state = load_state(ctx, site, held.grant, issued_at=held.issued_at, online=online, issuing=True)
    if state.session_over:
        tokens.redeem_refresh(ctx, presented, client=client.id, tenant=site.tenant, online_ended=True)
    _judge(state, held.grant, ctx.now)
    kept = unstopped(ctx, held.grant.scopes, held.issued_at)
    offline = offline_of(smart.known(policy.scopes_now(kept, state, held.grant.role)))
    if offline is None or (held.offline and not offline and _is_session_over(ctx, held.grant)):
        raise refuse_grant("The access that refreshing rests on was taken back.")
    asked = policy.fewer_scopes(request.scope, held.grant.scopes)
    scopes = policy.scopes_now(smart.narrow(asked, kept), state, held.grant.role)
    charts = _charts_now(held.grant, state)
    used = tokens.redeem_refresh(ctx, presented, client=client.id, tenant=site.tenant)
    if used.grant != held.grant:
        raise Conflict("grant_changed", "The agreement was narrowed at this moment.")
    grant = replace(used.grant, scopes=kept, person_patients=charts, launch_moved=_has_moved(ctx, used.grant))
    minted = tokens.mint(
        ctx,
        grant,
        offline=offline,
        code_family=used.family,
        life=_life(ctx, client, grant, state),
        access_scopes=scopes,
    )
    return _body(minted) | policy.context_members(grant, scopes)


def _by_credentials(ctx: Context, site: Site, client: Client, request: TokenRequest) -> dict[str, Any]:
    tenant = _tenant(ctx, site)
    facts = cached_facts.client_facts(ctx, client.id)
    assert facts is not None, "the client was just authenticated"
    installation = cached_facts.installation(ctx, site.tenant, client.app)
    acting = Party(site.tenant, client.id, facts.app, facts.version, facts.vendor)
    standing = Standing(acting, tenant, facts, installation, cached_facts.switches(ctx))
    if reason := standing_fault(standing, ctx.now):
        detail = f"The client may not work here now: {reason}. {meaning_of(reason)}"
        raise NotPermitted(TokenError.UNAUTHORIZED_CLIENT, detail)
    allowed = policy.most(facts, installation) if installation else ()
    scopes = unstopped(ctx, policy.backend_scopes(request.scope, client, allowed), None)
    if not scopes:
        raise Invalid(TokenError.INVALID_SCOPE, "Every scope that was asked is stopped now.")
    grant = Grant(
        tenant=site.tenant,
        client=client.id,
        app=facts.app,
        version=facts.version,
        vendor=facts.vendor,
        scopes=scopes,
    )
    ends = installation.expires_at if installation and client.type not in PLATFORM_PEERS else None
    life = policy.token_life(client, ends, now=ctx.now)
    return _body(tokens.mint(ctx, grant, offline=None, code_family=None, life=life))


_GRANTS: Mapping[GrantType, Callable[[Context, Site, Client, TokenRequest], dict[str, Any]]] = {
    GrantType.CODE: _by_code,
    GrantType.REFRESH: _by_refresh,
    GrantType.CLIENT_CREDENTIALS: _by_credentials,
}


# --- what has changed since ----------------------------------------------------------------------------------------------------


def load_state(
    ctx: Context,
    site: Site,
    grant: Grant | AccessToken,
    *,
    issued_at: datetime,
    online: bool,
    issuing: bool = False,
) -> GrantState:
    """Read everything that a grant rests on. ``online``: it ends with the session of its person.

    ``issued_at``: of the code or token. ``issuing``: tokens follow in this transaction, so the agreement is held as it is until they
    are stored.
    """
    read = consent.hold_authorization if issuing else consent.find_authorization
    person = cached_facts.find_person(ctx, grant.person) if grant.person else None
    active = person is not None and person.active and person.tenant == grant.tenant
    standing = Standing(
        grant,
        _tenant(ctx, site),
        cached_facts.client_facts(ctx, grant.client),
        cached_facts.installation(ctx, grant.tenant, grant.app),
        cached_facts.switches(ctx),
        person_active=active or not grant.person,
        issued_at=issued_at,
    )
    authorization = read(ctx, grant.authorization) if grant.authorization else None
    return GrantState(standing, person, authorization, session_over=online and _is_session_over(ctx, grant))


def find_launch(ctx: Context, grant: Grant | AccessToken) -> Launch | None:
    """Find the launch of a grant as it is now."""
    return launches.find_launch(ctx, grant.launch) if grant.launch else None


def _is_session_over(ctx: Context, grant: Grant | AccessToken) -> bool:
    """Tell whether the EHR's session, or without a launch the browser's, has ended (C36)."""
    if not grant.person:
        return False
    if grant.launch:
        launch = find_launch(ctx, grant)
        return launch is None or launch.ended_at is not None
    return not signin.session_alive(ctx, grant.session)


def _has_moved(ctx: Context, grant: Grant) -> bool:
    launch = find_launch(ctx, grant)
    return grant.launch_moved or (launch is not None and launch.moved_at is not None)


def unstopped(ctx: Context, scopes: tuple[str, ...], issued_at: datetime | None) -> tuple[str, ...]:
    """Leave out what a switch on a scope or a type stops, or what was granted before the end of such a stop: it never comes back."""
    return policy.unstopped(scopes, cached_facts.part_switches(ctx), now=ctx.now, issued_at=issued_at)


def _charts_now(grant: Grant, state: GrantState) -> tuple[str, ...] | None:
    """Narrow a grant to the charts that are still the person's. Raises NotPermitted when that of its context is not."""
    charts = policy.charts_kept(grant, state.person)
    if grant.patient and charts is not None and grant.patient not in charts:
        raise refuse_grant("The chart of this launch is no longer one that the person may open.")
    return charts


def _life(ctx: Context, client: Client, grant: Grant, state: GrantState) -> timedelta:
    charts_end = policy.charts_end(grant.person_patients, state.person)
    return policy.token_life(client, grant.authorization_expires_at, charts_end, now=ctx.now)


def _judge(state: GrantState, grant: Grant, now: datetime) -> None:
    if reason := policy.grant_fault(state, grant, now=now):
        raise refuse_grant(f"The grant does not stand any more: {reason}. {meaning_of(reason)}")


# --- answers -------------------------------------------------------------------------------------------------------------------


def _body(minted: Minted) -> dict[str, Any]:
    body: dict[str, Any] = {
        "access_token": minted.access_token,
        "token_type": "Bearer",
        "expires_in": minted.expires_in_s,
        "scope": " ".join(minted.scopes),
    }
    if minted.refresh_token:
        body["refresh_token"] = minted.refresh_token
    return body


def _id_token(ctx: Context, site: Site, grant: Grant, scopes: tuple[str, ...], code: Code) -> str:
    claims = policy.id_token_claims(
        grant,
        scopes,
        issuer=site.issuer,
        fhir_base=site.fhir_base,
        auth_time=code.auth_time,
        now=ctx.now,
    )
    return keys.sign_jwt(ctx, site.tenant, claims)


def _tenant(ctx: Context, site: Site) -> Tenant:
    tenant = cached_facts.find_tenant(ctx, site.tenant)
    if tenant is None or not tenant.active:
        raise NotFound("tenant_not_found", "There is no such tenant.")
    return tenant


def refuse_unheard(ctx: Context, site: Site, caller: Caller, refusal: NotPermitted) -> None:
    """Record a refusal that the edge came to before any verb ran. Raises NotFound (no such tenant)."""
    _tenant(ctx, site)
    record_refusal(ctx, site, caller, refusal)


def record_refusal(ctx: Context, site: Site, caller: Caller, refusal: NotPermitted | Invalid) -> None:
    """Record a refusal of the back channel; ``facts`` hold its sentence, which names no secret."""
    if not caller.loud:
        return
    client = cached_facts.find_client(ctx, caller.presented.client)
    event = Event(
        "authserver.token.refuse",
        Outcome.REFUSED,
        tenant=site.tenant,
        client=client.id if client else "",
        app=client.app if client else "",
        reason=refusal.code,
        facts={"detail": refusal.detail, "method": caller.presented.method.value},
    )
    audit.record(ctx, event)


def record_folded(ctx: Context, folded: Iterable[tuple[str, str, int]]) -> None:
    """Record refusals beyond those that were recorded one by one: tenant, address and how many. Of a tenant that is none, nothing."""
    there: dict[str, bool] = {"": True}
    for tenant, source, count in folded:
        if tenant not in there:
            there[tenant] = cached_facts.find_tenant(ctx, TenantId(tenant)) is not None
        if there[tenant]:
            event = Event(
                "authserver.token.refuse",
                Outcome.REFUSED,
                tenant=tenant,
                reason="folded",
                facts={"count": count},
            )
            audit.record(replace(ctx, trace=replace(ctx.trace, source=source)), event)
