"""The token endpoint's verbs: authenticate a client, and exchange a grant for tokens.

The route parses the request and does everything that needs the network (``token_endpoint``, which has the map of a token request). Then, in
one transaction:

1. ``authenticate``: the client's secret, or the ``jti`` of an assertion whose signature the route has verified.
2. ``policy.judge_grant_type``: what this client may exchange.
3. The grant: ``_by_code`` uses the code up first, ``_by_refresh`` the refresh token last, ``_by_credentials`` has none.
4. ``load_state`` and ``policy.grant_fault``: eligibility, person, agreement and session as they are now; ``policy.scopes_now``: the scopes.
5. ``tokens.mint``: no longer, and no wider, than all of these allow.

Every refusal commits, with its record and the revocations that it caused.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from hilum.apps.agreements import service as agreements
from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients.models import SYSTEM_CLIENTS, Client, ClientType
from hilum.apps.service_owners import service as service_owners
from hilum.authorization.authorize import service as authorize
from hilum.authorization.authorize.models import Code
from hilum.authorization.authorize.policy import offline_of
from hilum.authorization.consent import service as consent
from hilum.authorization.eligibility.models import EligibilityInputs, Party
from hilum.authorization.eligibility.policy import eligibility_fault
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import Launch
from hilum.authorization.token import cached_facts, client_auth, policy
from hilum.authorization.token.client_auth import Assertion, Method, Presented
from hilum.authorization.token.policy import GrantState, GrantType, TokenRequest, refuse_grant
from hilum.authorization.tokens import policy as tokens_policy
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import AccessToken, Exchange, Grant, IssuedTokens
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.standards.oauth import TokenError
from hilum.foundation.standards.refusals import meaning_of
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.web.urls import Site
from hilum.identity.people.models import Tenant
from hilum.identity.signin import service as signin
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Lifetimes
from hilum.policy.matrix.policy import notice_headers, notice_of
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.audit.policy import as_sent
from hilum.records.keys import service as keys
from hilum.review.certification_runs import service as evidence


@dataclass(frozen=True, slots=True)
class Caller:
    """A client at the token endpoint, as far as the route can verify it before the transaction.

    ``assertion``: its signature and claims were verified with the keys of ``proved_with``. ``replaced``: each ``kid`` of its key set whose
    material changed. ``recorded``: whether a refusal gets an audit record of its own, because its address has had few lately.
    """

    presented: Presented
    assertion: Assertion | None = None
    proved_with: Client | None = None
    replaced: tuple[str, ...] = ()
    recorded: bool = True


def key_source(client: Client) -> str:
    """Return a digest of a client's registered keys or of their URL, to detect a change between route and transaction."""
    inline = orjson.dumps(client.jwks, option=orjson.OPT_SORT_KEYS) if client.jwks else b""
    return hashlib.sha256(client.jwks_uri.encode() + b"\n" + inline).hexdigest()


def find_client(ctx: Context, site: Site, caller: Presented) -> Client | None:
    """Find the client that a caller claims to be, before authentication, so that the route can fetch its keys. Raises NotFound (tenant)."""
    _require_tenant(ctx, site)
    return cached_facts.find_client(ctx, caller.client)


def public_holder(ctx: Context, site: Site, refresh_token: str) -> ClientId | None:
    """Return the client of a refresh token if it is public; any other must present its credentials. Raises NotFound (tenant)."""
    _require_tenant(ctx, site)
    held = tokens.find_refresh(ctx, refresh_token)
    if held is None or held.grant.tenant != site.tenant:
        return None
    client = cached_facts.find_client(ctx, held.grant.client)
    return client.id if client is not None and client.type is ClientType.PUBLIC else None


def authenticate(ctx: Context, site: Site, caller: Caller) -> Client:
    """Authenticate a client and return it. Raises NotPermitted(invalid_client), which is recorded; NotFound (no such tenant)."""
    _require_tenant(ctx, site)
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
        client_auth.refuse_client("There is no such client here, or its registration has expired.")
    client_auth.judge_method(client, presented)
    if presented.method is Method.BASIC and not clients_policy.secret_matches(
        client, presented.digest, ctx.now
    ):
        client_auth.refuse_client("The client secret is wrong or has expired.")
    if presented.method is Method.ASSERTION:
        _use_assertion(ctx, client, caller)
    facts = cached_facts.client_facts(ctx, client.id)
    # A hospital's own EHR or resource server is unknown at any other hospital.
    if facts is None or facts.tenant not in {None, site.tenant}:
        client_auth.refuse_client("There is no such client here, or its registration has expired.")
    return client


def _use_assertion(ctx: Context, client: Client, caller: Caller) -> None:
    verified, proved_with = caller.assertion, caller.proved_with
    # The route verified it with a cached registration; if the keys changed since, that proves nothing.
    if (
        verified is None
        or proved_with is None
        or verified.client != client.id
        or (proved_with is not client and key_source(proved_with) != key_source(client))
    ):
        client_auth.refuse_client("The client assertion is not signed by a registered key of the client.")
    # Last, so that only a verified assertion uses up a jti.
    if not tokens.record_jti(ctx, client.id, verified.jti, verified.expires_at):
        client_auth.refuse_client("The client assertion was used before; send a new jti with each request.")


def exchange(ctx: Context, site: Site, caller: Caller, request: TokenRequest) -> dict[str, Any]:
    """Issue tokens and return the body of the token response.

    Raises NotPermitted and Invalid with a code of RFC 6749 section 5.2, NotFound (no such tenant), Unavailable.
    """
    client = authenticate(ctx, site, caller)
    ctx = ctx.as_actor(Actor(ActorKind.CLIENT, client.id, site.tenant))
    try:
        # After authentication, so that only the client itself learns what it may do.
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


def sunset_notice(ctx: Context, site: Site, body: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a token response whose scopes include one that will end (C62). Source: RFC 9745; RFC 8594."""
    book = policies.current(ctx).book_at(site.tenant, ctx.now)
    ending = notice_of(book, tuple(body["scope"].split())) if book.notices else None
    return {} if ending is None else notice_headers(ending)


# --- grants --------------------------------------------------------------------------------------------------------------------


def _by_code(ctx: Context, site: Site, client: Client, request: TokenRequest) -> dict[str, Any]:
    # The code is used up before anything else is judged, so that after a wrong verifier or a stop it cannot be
    # tried again (ADR 163).
    cause = tokens_policy.cause_of(request.code, request.redirect_uri, request.verifier)
    code = authorize.redeem_code(
        ctx,
        request.code,
        _exchange(site, client, cause),
        client=client,
        redirect_uri=request.redirect_uri,
        verifier=request.verifier,
    )
    offline = code.offline is True
    state = load_state(ctx, site, code.grant, issued_at=code.issued_at, online=not offline, issuing=True)
    _judge(state, code.grant, ctx.now)
    remaining = without_stopped(ctx, code.grant.scopes, code.issued_at)
    # Narrowed again: the installation may have changed in the minute that a code lives.
    scopes = evidence.scopes_within(
        ctx, code.grant.run, policy.scopes_now(remaining, state, code.grant.role, ctx.now)
    )
    charts = _charts_now(code.grant, state)
    grant = replace(
        code.grant, scopes=scopes, person_patients=charts, launch_moved=_has_moved(ctx, code.grant)
    )
    issued = code.answer or tokens.mint(
        ctx,
        grant,
        offline=offline_of(smart.parse_stored(scopes)),
        code_family=code.family,
        lifetimes=_lifetimes(state, ctx.now),
        life=_life(ctx, client, grant, state),
        cause=cause,
    )
    body = _body(issued) | policy.context_members(grant, issued.scopes)
    if "openid" in issued.scopes:
        body["id_token"] = _id_token(ctx, site, grant, issued.scopes, code)
    return body


def _by_refresh(ctx: Context, site: Site, client: Client, request: TokenRequest) -> dict[str, Any]:
    presented, cause = request.refresh_token, tokens_policy.cause_of(request.refresh_token, request.scope)
    exchange = _exchange(site, client, cause)
    held = tokens.find_refresh(ctx, presented)
    own = held is not None and held.grant.client == client.id and held.grant.tenant == site.tenant
    if held is None or not own or tokens_policy.refresh_fault(held, ctx.now):
        # Redeeming records why the token is not valid, and revokes its family if it was used before, unless
        # this request only repeats that use.
        held = tokens.redeem_refresh(ctx, presented, exchange)
        if held.answer is None:
            raise refuse_grant("The refresh token is not valid for this client.")
    online = not held.offline
    # Unlike a code, the token is used up last: a client that requested too much can try again with it.
    state = load_state(ctx, site, held.grant, issued_at=held.issued_at, online=online, issuing=True)
    if state.session_over:
        tokens.redeem_refresh(ctx, presented, exchange, online_ended=True)
    _judge(state, held.grant, ctx.now)
    ends = policy.refresh_end(held, state, ctx.now)
    if ends is not None and ctx.now >= ends.at:
        raise refuse_grant(f"The refresh token has ended: {ends.why}. {meaning_of(ends.why)}")
    remaining = without_stopped(ctx, held.grant.scopes, held.issued_at)
    offline = offline_of(smart.parse_stored(policy.scopes_now(remaining, state, held.grant.role, ctx.now)))
    if offline is None or (held.offline and not offline and _is_session_over(ctx, held.grant)):
        raise refuse_grant("The scope that allowed refreshing was revoked.")
    requested = policy.scopes_of_refresh(request.scope, held.grant.scopes)
    scopes = policy.scopes_now(smart.narrow(requested, remaining), state, held.grant.role, ctx.now)
    scopes = evidence.scopes_within(ctx, held.grant.run, scopes)
    charts = _charts_now(held.grant, state)
    used = held if held.answer else tokens.redeem_refresh(ctx, presented, exchange)
    if used.answer is not None:
        return _body(used.answer) | policy.context_members(used.grant, used.answer.scopes)
    # If the authorization was narrowed between the read and the lock, the scopes above are too wide.
    if used.grant != held.grant:
        raise Conflict("grant_changed", "The authorization was narrowed at the same time; try again.")
    # The refresh token keeps all that may still be granted, the access token only what was requested
    # (RFC 6749 section 6).
    grant = replace(
        used.grant, scopes=remaining, person_patients=charts, launch_moved=_has_moved(ctx, used.grant)
    )
    issued = tokens.mint(
        ctx,
        grant,
        offline=offline,
        code_family=used.family,
        lifetimes=_lifetimes(state, ctx.now),
        life=_life(ctx, client, grant, state),
        access_scopes=scopes,
        cause=cause,
    )
    return _body(issued) | policy.context_members(grant, scopes)


def _exchange(site: Site, client: Client, cause: bytes) -> Exchange:
    return Exchange(client.id, site.tenant, cause, authenticated=client.type is not ClientType.PUBLIC)


def caller_fault(
    ctx: Context, site: Site, client: Client, *, begins: bool = False, answered_until: datetime | None = None
) -> Reason | None:
    """Return why an authenticated client may not act for itself at a tenant now; None if it may. ``begins``: it requests a token."""
    facts = cached_facts.client_facts(ctx, client.id)
    assert facts is not None, "the client was just authenticated"
    acting = Party(site.tenant, client.id, facts.app, facts.version, facts.vendor)
    installation = cached_facts.installation(ctx, site.tenant, client.app)
    book = policies.current(ctx).book_at(site.tenant, ctx.now, client.app)
    eligibility = EligibilityInputs(
        acting, _require_tenant(ctx, site), facts, installation, cached_facts.switches(ctx), book
    )
    eligibility.source = ctx.trace.source
    # A backend service has no launches, so each new token is treated as a launch.
    if begins:
        held = agreements.kinds_in_force(ctx, facts.vendor, site.tenant)
        eligibility = replace(eligibility, begins=True, agreements=held, answered_until=answered_until)
    return eligibility_fault(eligibility, ctx.now)


def _by_credentials(ctx: Context, site: Site, client: Client, request: TokenRequest) -> dict[str, Any]:
    facts = cached_facts.client_facts(ctx, client.id)
    assert facts is not None, "the client was just authenticated"
    installation = cached_facts.installation(ctx, site.tenant, client.app)
    backend = client.type is ClientType.BACKEND
    answered_until = (
        service_owners.answered_until(ctx, site.tenant, client, facts, installation.environment)
        if backend and installation
        else None
    )
    if reason := caller_fault(ctx, site, client, begins=backend, answered_until=answered_until):
        detail = f"The client may not get a token here now: {reason}. {meaning_of(reason)}"
        raise NotPermitted(TokenError.UNAUTHORIZED_CLIENT, detail)
    book = policies.current(ctx).book_at(site.tenant, ctx.now, client.app)
    requested = policy.with_workflows_expanded(book, request.scope)
    policy.require_not_ended(book, policy.requested_scopes(requested))
    allowed = policy.grantable_at_most(facts, installation, book, ctx.now) if installation else ()
    scopes = without_stopped(ctx, policy.backend_scopes(requested, client, allowed), None)
    if not scopes:
        raise Invalid(
            TokenError.INVALID_SCOPE,
            "A kill switch stops every requested scope. Try again after it is released.",
        )
    grant = Grant(
        tenant=site.tenant,
        client=client.id,
        app=facts.app,
        version=facts.version,
        vendor=facts.vendor,
        scopes=scopes,
        # Only a sandbox has certification runs.
        run=evidence.run_of(ctx, client.id, site.tenant) if _require_tenant(ctx, site).sandbox else "",
    )
    ends = installation.expires_at if installation and client.type not in SYSTEM_CLIENTS else None
    lifetimes = policy.lifetimes_of(facts, book, ctx.now)
    life = policy.token_life(client, lifetimes, ends, answered_until, now=ctx.now)
    life = evidence.life_within(ctx, grant.run, life)
    grant = replace(grant, scopes=evidence.scopes_within(ctx, grant.run, grant.scopes))
    issued = tokens.mint(ctx, grant, offline=None, code_family=None, lifetimes=lifetimes, life=life)
    return _body(issued)


_GRANTS: Mapping[GrantType, Callable[[Context, Site, Client, TokenRequest], dict[str, Any]]] = {
    GrantType.CODE: _by_code,
    GrantType.REFRESH: _by_refresh,
    GrantType.CLIENT_CREDENTIALS: _by_credentials,
}


# --- current state of a grant --------------------------------------------------------------------------------------------------


def load_state(
    ctx: Context,
    site: Site,
    grant: Grant | AccessToken,
    *,
    issued_at: datetime,
    online: bool,
    issuing: bool = False,
) -> GrantState:
    """Read the current state of everything that a grant depends on. ``online``: it ends with its person's session.

    ``issued_at``: when the code or token was issued. ``issuing``: tokens will be stored in this transaction, so the authorization is
    locked against changes until it commits.
    """
    # On PostgreSQL a concurrent narrowing would not see the token that is about to be stored, nor would this
    # transaction see the narrowing. The lock makes one wait for the other.
    find = consent.hold_authorization if issuing else consent.find_authorization
    person = cached_facts.find_person(ctx, grant.person) if grant.person else None
    active = person is not None and person.active and person.tenant == grant.tenant
    book = policies.current(ctx).book_at(grant.tenant, ctx.now, grant.app)
    eligibility = EligibilityInputs(
        grant,
        _require_tenant(ctx, site),
        cached_facts.client_facts(ctx, grant.client),
        cached_facts.installation(ctx, grant.tenant, grant.app),
        cached_facts.switches(ctx),
        book,
        person_active=active or not grant.person,
        facility_open=cached_facts.is_facility_open(ctx, grant.tenant, grant.facility),
        issued_at=issued_at,
    )
    authorization = find(ctx, grant.authorization) if grant.authorization else None
    # The agreement was used at least when this code or token was issued.
    if authorization is not None:
        authorization = replace(authorization, last_used_at=issued_at)
    return GrantState(
        eligibility,
        person,
        authorization,
        session_over=online and _is_session_over(ctx, grant),
    )


def find_launch(ctx: Context, grant: Grant | AccessToken) -> Launch | None:
    """Find the launch of a grant, in its present state; None without one."""
    return launches.find_launch(ctx, grant.launch) if grant.launch else None


def _is_session_over(ctx: Context, grant: Grant | AccessToken) -> bool:
    """Check whether the EHR's session, or without a launch the browser's, has ended (C36)."""
    if not grant.person:
        return False
    # Tokens of a launch end with the EHR's session rather than the browser's (C36).
    if grant.launch:
        launch = find_launch(ctx, grant)
        return launch is None or launch.ended_at is not None
    return not signin.session_alive(ctx, grant.session)


def _has_moved(ctx: Context, grant: Grant) -> bool:
    launch = find_launch(ctx, grant)
    return grant.launch_moved or (launch is not None and launch.moved_at is not None)


def without_stopped(ctx: Context, scopes: tuple[str, ...], issued_at: datetime | None) -> tuple[str, ...]:
    """Remove scopes that a switch on a scope or type stops now, or that were granted before such a full stop was released."""
    return policy.without_stopped(scopes, cached_facts.scope_switches(ctx), now=ctx.now, issued_at=issued_at)


def _charts_now(grant: Grant, state: GrantState) -> tuple[str, ...] | None:
    """Return the charts of a grant that the person may still open. Raises NotPermitted if the chart of the launch is not among them."""
    charts = policy.charts_kept(grant, state.person)
    if grant.patient and charts is not None and grant.patient not in charts:
        raise refuse_grant("The person may no longer open the chart of this launch.")
    return charts


def _life(ctx: Context, client: Client, grant: Grant, state: GrantState) -> timedelta:
    charts_end = policy.charts_end(grant.person_patients, state.person)
    # Issuing a token is a use, so idle time counts from now.
    if state.authorization is not None:
        state = replace(state, authorization=replace(state.authorization, last_used_at=ctx.now))
    agreement_end = policy.agreement_ends(state, grant, ctx.now)
    limits = (None if agreement_end is None else agreement_end.at, charts_end)
    life = policy.token_life(client, _lifetimes(state, ctx.now), *limits, now=ctx.now)
    return evidence.life_within(ctx, grant.run, life)


def _lifetimes(state: GrantState, now: datetime) -> Lifetimes:
    assert state.eligibility.client is not None, "grant_fault was checked before"
    return policy.lifetimes_of(state.eligibility.client, state.eligibility.book, now)


def _judge(state: GrantState, grant: Grant, now: datetime) -> None:
    if reason := policy.grant_fault(state, grant, now=now):
        raise refuse_grant(f"The grant is no longer valid: {reason}. {meaning_of(reason)}")


# --- responses -----------------------------------------------------------------------------------------------------------------


def _body(issued: IssuedTokens) -> dict[str, Any]:
    body: dict[str, Any] = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in_s,
        "scope": " ".join(issued.scopes),
    }
    if issued.refresh_token:
        body["refresh_token"] = issued.refresh_token
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


def _require_tenant(ctx: Context, site: Site) -> Tenant:
    """Return the active tenant of a site. Raises NotFound."""
    tenant = cached_facts.find_tenant(ctx, site.tenant)
    if tenant is None or not tenant.active:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    return tenant


def record_early_refusal(ctx: Context, site: Site, caller: Caller, refusal: NotPermitted) -> None:
    """Record a refusal that the route decided before any verb ran. Raises NotFound (no such tenant)."""
    _require_tenant(ctx, site)
    record_refusal(ctx, site, caller, refusal)


def record_refusal(ctx: Context, site: Site, caller: Caller, refusal: NotPermitted | Invalid) -> None:
    """Record a refusal of the token endpoint, unless it is only counted. Its ``detail`` must contain no secret."""
    if not caller.recorded:
        return
    client = cached_facts.find_client(ctx, caller.presented.client)
    event = Event(
        "authserver.token.refuse",
        Outcome.REFUSED,
        tenant=site.tenant,
        client=client.id if client else "",
        app=client.app if client else "",
        reason=refusal.code,
        facts={"detail": refusal.detail, "method": caller.presented.method.value}
        | ({} if client else {"client_id": as_sent(caller.presented.client)}),
    )
    audit.record(ctx, event)


def record_counts(ctx: Context, counts: Iterable[tuple[str, str, int]]) -> None:
    """Record counts of refusals that got no record of their own, each with its tenant and address. Unknown tenants are dropped."""
    exists: dict[str, bool] = {"": True}
    for tenant, source, count in counts:
        if tenant not in exists:
            exists[tenant] = cached_facts.find_tenant(ctx, TenantId(tenant)) is not None
        if exists[tenant]:
            audit.record_count(ctx, "authserver.token.refuse", tenant=tenant, source=source, count=count)
