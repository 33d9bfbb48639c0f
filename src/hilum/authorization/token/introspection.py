"""Introspection: whether a token is active now, and for what. Source: RFC 7662; SMART App Launch 2.2, token-introspection."""

from typing import Any

from hilum.apps.clients.models import Client, ClientType
from hilum.authorization.authorize.policy import offline_of
from hilum.authorization.token import policy, service
from hilum.authorization.token.client_auth import Method
from hilum.authorization.token.service import Caller
from hilum.authorization.tokens import policy as tokens_policy
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import AccessToken, RefreshToken
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.standards.oauth import TokenError
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.web.urls import Site

INACTIVE: dict[str, Any] = {"active": False}
"""The whole response for a token that is not active or that the caller may not see (RFC 7662 section 2.2)."""


def introspect(ctx: Context, site: Site, caller: Caller, token: str) -> dict[str, Any]:
    """Return the state of a token to its own client, or to a resource server of the tenant (C53).

    Raises NotPermitted(invalid_client), also for a public client, which cannot authenticate; NotFound (no such tenant).
    """
    client = service.authenticate(ctx, site, caller)
    if caller.presented.method is Method.NONE:
        refusal = NotPermitted(
            TokenError.INVALID_CLIENT,
            "Introspection requires client authentication; a public client has none.",
        )
        service.record_refusal(ctx, site, caller, refusal)
        raise refusal
    access = tokens.find_access(ctx, token)
    if access is not None:
        return _of_access(ctx, site, client, access)
    refresh = tokens.find_refresh(ctx, token)
    return INACTIVE if refresh is None else _of_refresh(ctx, site, client, refresh)


def _may_see(ctx: Context, site: Site, client: Client, owner: ClientId) -> bool:
    """Check whether a client may see a token: its own, or any if it is a resource server of the tenant that is eligible."""
    if client.type is not ClientType.RESOURCE_SERVER:
        return owner == client.id
    return service.caller_fault(ctx, site, client) is None


def _of_access(ctx: Context, site: Site, client: Client, token: AccessToken) -> dict[str, Any]:
    # Inactive for any other client or tenant (RFC 7662 section 4): whoever finds a token must not learn
    # whether it is valid.
    if token.tenant != site.tenant or not _may_see(ctx, site, client, token.client):
        return INACTIVE
    if tokens_policy.require_proof(token, "") is not None:
        return INACTIVE
    # As at the gateway: without offline_access a token ends with its session.
    online = "offline_access" not in token.scopes
    state = service.load_state(ctx, site, token, issued_at=token.issued_at, online=online)
    if policy.grant_fault(state, token, now=ctx.now) is not None:
        return INACTIVE
    scopes = service.without_stopped(ctx, token.scopes, token.issued_at)
    if not scopes:
        return INACTIVE
    launch = service.find_launch(ctx, token) if "launch" in scopes else None
    return policy.active_answer(
        token,
        issuer=site.issuer,
        fhir_base=site.fhir_base,
        intent=launch.intent if launch else "",
        scopes=scopes,
    )


def _of_refresh(ctx: Context, site: Site, client: Client, token: RefreshToken) -> dict[str, Any]:
    grant = token.grant
    if grant.tenant != site.tenant or not _may_see(ctx, site, client, grant.client):
        return INACTIVE
    if tokens_policy.refresh_fault(token, ctx.now):
        return INACTIVE
    scopes = service.without_stopped(ctx, grant.scopes, token.issued_at)
    offline = offline_of(smart.parse_stored(scopes))
    state = service.load_state(ctx, site, grant, issued_at=token.issued_at, online=not offline)
    if offline is None or policy.grant_fault(state, grant, now=ctx.now) is not None:
        return INACTIVE
    return {
        "active": True,
        "scope": " ".join(scopes),
        "client_id": grant.client,
        "exp": int(token.expires_at.timestamp()),
        "iat": int(token.issued_at.timestamp()),
        "iss": site.issuer,
        "sub": grant.person,
    }
