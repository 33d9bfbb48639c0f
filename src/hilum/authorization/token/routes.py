"""Routes of the token endpoint and of the public documents: token, introspect, revoke, register, keys, style, discovery."""

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.authorization.token import cached_facts, discovery
from hilum.authorization.token.keysets import KeySets
from hilum.authorization.token.token_endpoint import TokenEndpoint
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.kernel.errors import NotFound, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.json_routes import Handler, JsonRoute
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.style import STYLE, STYLE_DIGEST
from hilum.identity.people import service as identity
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

DOCUMENT_MAX_AGE_S = 300
KEYS_MAX_AGE_S = 60
"""Much shorter than the overlap of signing keys, so that every reader has fetched a new key before it signs."""
STYLE_MAX_AGE_S = 31_536_000
ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}


def routes(
    kit: Kit,
    fetcher: SafeFetcher,
    *,
    registers: bool,
    at_stop: Callable[[Callable[[], None]], None] = lambda _: None,
) -> list[Route]:
    """Build the routes.

    ``registers``: dynamic registration is open, which it is only in a plain sandbox. ``at_stop`` registers a callback to run before
    the process stops; it records the refusals counted so far.
    """
    back = TokenEndpoint(kit, KeySets(fetcher, kit.clock), registers=registers)
    at_stop(back.record_counts_soon)
    documents = Documents(kit, registers=registers)
    posts: dict[str, Handler] = {
        "token": back.token,
        "introspect": back.introspect,
        "revoke": back.revoke,
        "register": back.register,
    }
    gets: dict[str, Handler] = {
        "/t/{tenant}/fhir/.well-known/smart-configuration": documents.smart,
        "/t/{tenant}/.well-known/openid-configuration": documents.server,
        # RFC 8414 section 3.1: the well-known part precedes the issuer's path; OpenID
        # Discovery section 4 appends it.
        "/.well-known/oauth-authorization-server/t/{tenant}": documents.server,
        "/t/{tenant}/oauth/jwks.json": documents.jwks,
        "/t/{tenant}/oauth/upstream-jwks.json": documents.upstream_jwks,
        "/t/{tenant}/oauth/style/{digest}.json": documents.style,
    }
    return [
        *(
            JsonRoute(f"/t/{{tenant}}/oauth/{name}", {"POST": handler, "OPTIONS": back.preflight}, _refused)
            for name, handler in posts.items()
        ),
        *(
            JsonRoute(path, {"GET": handler, "OPTIONS": documents.preflight}, _refused)
            for path, handler in gets.items()
        ),
    ]


class Documents:
    """The public documents: JSON for any Accept header, and for any origin (C24, C26)."""

    def __init__(self, kit: Kit, *, registers: bool) -> None:
        self._kit, self._registers = kit, registers

    async def preflight(self, request: Request) -> Response:
        """OPTIONS of every document."""
        del request
        headers = ANY_ORIGIN | {"Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "*"}
        return Response(None, 204, headers)

    async def smart(self, request: Request) -> Response:
        """GET .well-known/smart-configuration."""
        return await self._of_tenant(request, self._smart, DOCUMENT_MAX_AGE_S)

    async def server(self, request: Request) -> Response:
        """GET the OpenID configuration or the RFC 8414 metadata, which are the same document."""
        return await self._of_tenant(request, self._server, DOCUMENT_MAX_AGE_S)

    async def jwks(self, request: Request) -> Response:
        """GET the keys that verify this tenant's id_tokens; creates the first one if there is none yet."""
        return await self._of_tenant(request, partial(_keys, purpose=Purpose.ID_TOKEN), KEYS_MAX_AGE_S)

    async def upstream_jwks(self, request: Request) -> Response:
        """GET the keys that Hilum authenticates with at this tenant's FHIR server; creates the first one if there is none yet."""
        return await self._of_tenant(request, partial(_keys, purpose=Purpose.UPSTREAM), KEYS_MAX_AGE_S)

    async def style(self, request: Request) -> Response:
        """GET the style document by the digest of its content."""
        if request.path_params["digest"] != STYLE_DIGEST:
            return _json(404, {"error": "not_found"}, 0)
        return _json(200, dict(STYLE), STYLE_MAX_AGE_S)

    def _smart(self, ctx: Context, tenant: TenantId) -> dict[str, Any]:
        return discovery.smart_configuration(
            self._kit.urls, tenant, registers=self._registers, workflows=_workflows(ctx, tenant)
        )

    def _server(self, ctx: Context, tenant: TenantId) -> dict[str, Any]:
        return discovery.server_metadata(
            self._kit.urls, tenant, registers=self._registers, workflows=_workflows(ctx, tenant)
        )

    async def _of_tenant(
        self, request: Request, build: Callable[[Context, TenantId], dict[str, Any]], max_age_s: int
    ) -> Response:
        tenant = TenantId(request.path_params["tenant"])

        def verb(ctx: Context) -> dict[str, Any]:
            record = identity.find_tenant(ctx, tenant)
            # A closed hospital publishes nothing, so that clients stop sending people there.
            if record is None or not record.active:
                raise NotFound("tenant_not_found", "There is no such hospital.")
            return build(ctx, tenant)

        try:
            # PostgreSQL refuses a null character in text.
            if "\x00" in tenant:
                raise NotFound("tenant_not_found", "There is no such hospital.")
            body = await self._kit.uow.read(verb, trace=trace_of(request))
            # Only the first request for a tenant's keys needs a write transaction.
            if body == {"keys": []}:
                body = await self._kit.uow.write(verb, trace=trace_of(request))
        except NotFound:
            return _json(404, {"error": "not_found", "error_description": "There is no such hospital."}, 0)
        except Unavailable:
            return _json(503, {"error": "temporarily_unavailable"}, 0)
        return _json(200, body, max_age_s)


def _workflows(ctx: Context, tenant: TenantId) -> tuple[str, ...]:
    # Without a trusted policy no app is granted anything, but the endpoints stay published.
    try:
        return cached_facts.workflows(ctx, tenant)
    except Unavailable:
        return ()


def _keys(ctx: Context, tenant: TenantId, purpose: Purpose) -> dict[str, Any]:
    if ctx.events is not None:  # in a write
        # A unique index permits one active key of a ring, so two concurrent first readers get the same key.
        keys.ensure(ctx, purpose, tenant)
    return dict(keys.public_jwks(ctx, purpose, tenant))


def _refused(_: Request) -> Response:
    body = {"error": "invalid_request", "error_description": "This method is not allowed here."}
    return Response(orjson.dumps(body), 405, {"Cache-Control": "no-store"}, "application/json")


def _json(status: int, body: dict[str, Any], max_age_s: int) -> Response:
    # Failures are never cached, or they would outlive their cause.
    cache = f"public, max-age={max_age_s}" if max_age_s else "no-store"
    headers = ANY_ORIGIN | {"Cache-Control": cache}
    if status == 503:
        headers["Retry-After"] = "2"
    return Response(orjson.dumps(body), status, headers, "application/json")
