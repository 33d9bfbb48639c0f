"""The HTTP side of the token endpoint: parse and verify the client's assertion, run one verb in a transaction, render the response.

A token request, in order:

1. ``_read_form``, ``policy.parse``: the form, bounded, and its grant type.
2. ``_caller``: the client that it identifies, or 429 after too many failures of this client from this address.
3. ``_prove``: an assertion's header, key set, claims and signature. This may need the network, so it comes before the transaction.
4. ``service.exchange`` in one transaction, which is repeated after a conflict: the client, the grant type, the grant, the tokens.
5. ``_answer``: the response, never cached, with CORS headers.

A refusal is recorded, or counted, in the transaction that decided it.

Source: RFC 6749 sections 3.2, 5.1 and 5.2; RFC 7009 section 2; RFC 7662 section 2; Fetch standard (CORS).
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import orjson
from cachetools import TTLCache
from starlette.requests import Request
from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import KEYS, USE_NOTED_EVERY, Client
from hilum.authorization.token import (
    cached_facts,
    client_auth,
    introspection,
    policy,
    registration,
    revocation,
    service,
)
from hilum.authorization.token.client_auth import Method, Presented
from hilum.authorization.token.failure_limiter import Failures
from hilum.authorization.token.keysets import KeySets
from hilum.authorization.token.policy import TokenRequest
from hilum.authorization.token.service import Caller
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid, NotFound, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.standards import oauth
from hilum.foundation.standards.oauth import Parameters, TokenError
from hilum.foundation.web import cors, forms
from hilum.foundation.web.faults import explained
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.refusals import Refusals
from hilum.foundation.web.urls import Site
from hilum.identity.people.policy import fits_tenant_id

T = TypeVar("T")
TRIES = 3
"""How often a verb is attempted if it conflicts with another transaction. A failed attempt has changed nothing."""
CLIENTS_KEPT_S = 2.0
"""How long the client that verifies an assertion is cached."""
CLIENTS_BOUND = 10_000
RETRY_AFTER_S = 2
STOPPED_RETRY_AFTER_S = 60
"""When a client may try again during a stop, which lasts longer than a conflict."""
# RFC 6749 section 5.1.
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
NOBODY = Presented(Method.NONE, ClientId(""))
_ERROR_CODES = frozenset(each.value for each in TokenError) | {
    registration.INVALID_METADATA,
    registration.INVALID_REDIRECT,
}
Reply = tuple[int, dict[str, Any], dict[str, str]]
"""Status, body and headers of an answer."""


class TooManyFailures(HilumError):
    """A client failed too often at one address; its requests are refused for ``wait_s`` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            "temporarily_unavailable", "Too many failed attempts; wait for as long as Retry-After says."
        )
        self.wait_s = wait_s


class TokenEndpoint:
    """The endpoints that clients call without a browser."""

    def __init__(self, kit: Kit, keysets: KeySets, *, registers: bool) -> None:
        self._kit, self._keysets, self._registers = kit, keysets, registers
        self._noted: TTLCache[tuple[ClientId, str], bool] = TTLCache(
            CLIENTS_BOUND, USE_NOTED_EVERY.total_seconds(), kit.clock.monotonic
        )
        self._failures, self._refusals = Failures(kit.clock), Refusals(kit.uow, service.record_counts)
        self._clients: TTLCache[tuple[TenantId, ClientId], Client] = TTLCache(
            CLIENTS_BOUND, CLIENTS_KEPT_S, kit.clock.monotonic
        )

    async def token(self, request: Request) -> Response:
        """POST /t/{tenant}/oauth/token."""
        return await self._answer(request, self._token)

    async def introspect(self, request: Request) -> Response:
        """POST /t/{tenant}/oauth/introspect."""
        return await self._answer(request, self._introspect)

    async def revoke(self, request: Request) -> Response:
        """POST /t/{tenant}/oauth/revoke."""
        return await self._answer(request, self._revoke)

    async def register(self, request: Request) -> Response:
        """POST /t/{tenant}/oauth/register; 404 unless registration is open."""
        return await self._answer(request, self._register)

    async def _token(self, request: Request, site: Site, form: Parameters) -> Reply:
        token_request = policy.parse(form)
        urls = self._kit.urls
        form = await self._with_public_client(request, site, form, token_request)
        caller = await self._caller(request, site, form, {urls.token(site.tenant)})

        def exchange(ctx: Context) -> Reply:
            body = service.exchange(ctx, site, caller, token_request)
            return 200, body, service.sunset_notice(ctx, site, body)

        reply = await self._run(request, caller, exchange)
        await self._note_use(caller.presented, trace_of(request))
        return reply

    async def _note_use(self, presented: Presented, trace: Trace) -> None:
        """Record the use of a secret or key after a success, at most once in USE_NOTED_EVERY."""
        client, notes = presented.client, list[Callable[[Context], None]]()
        kid = presented.decoded[0].get("kid")
        is_key = presented.method is Method.ASSERTION
        if is_key and isinstance(kid, str) and self._is_due(client, f"kid {kid}"):
            notes.append(partial(clients.note_key_use, client=client, kid=kid))
        credential = {Method.BASIC: presented.digest, Method.ASSERTION: KEYS}.get(presented.method)
        if credential is not None and self._is_due(client, credential):
            notes.append(partial(clients.note_use, client=client, credential=credential))
        for note in notes:
            # The tokens are issued already, so a failure to record their use must not fail the request.
            with suppress(HilumError):
                await self._kit.uow.write(note, trace=trace)

    def _is_due(self, client: ClientId, credential: str) -> bool:
        """Check whether a use must be recorded, and mark it as recorded."""
        if (client, credential) in self._noted:
            return False
        self._noted[client, credential] = True
        return True

    async def _with_public_client(
        self, request: Request, site: Site, form: Parameters, token_request: TokenRequest
    ) -> Parameters:
        """Add ``client_id`` to a refresh request without one, if its token belongs to a public client.

        Source: RFC 6749 sections 3.2.1 and 6; SMART App Launch 2.2, app-launch#refresh-access-token.
        """
        identified = client_auth.IDENTIFYING & (set(form.values) | form.repeated)
        if not token_request.refresh_token or identified or "authorization" in request.headers:
            return form
        find = partial(service.public_holder, site=site, refresh_token=token_request.refresh_token)
        client = await self._kit.uow.read(find, trace=trace_of(request))
        return replace(form, values=form.values | {"client_id": client}) if client else form

    async def _introspect(self, request: Request, site: Site, form: Parameters) -> Reply:
        token = _required_token(form)
        urls = self._kit.urls
        audiences = {urls.token(site.tenant), urls.introspect(site.tenant)}
        caller = await self._caller(request, site, form, audiences)
        verb = partial(introspection.introspect, site=site, caller=caller, token=token)
        return 200, await self._run(request, caller, verb), {}

    async def _revoke(self, request: Request, site: Site, form: Parameters) -> Reply:
        token = _required_token(form)
        urls = self._kit.urls
        audiences = {urls.token(site.tenant), urls.revoke(site.tenant)}
        caller = await self._caller(request, site, form, audiences)
        await self._run(request, caller, lambda ctx: revocation.revoke(ctx, site, caller, token))
        return 200, {}, {}

    async def _register(self, request: Request, site: Site, _: Parameters) -> Reply:
        if not self._registers:
            raise NotFound("not_found", "Dynamic registration is not open on this server.")
        # Another site's page cannot send JSON without a preflight, which only registered origins pass.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Invalid(registration.INVALID_METADATA, "The body must be application/json.")
        body = registration.read_metadata(await forms.read_body(request, oauth.BODY_BOUND))
        verb = partial(registration.register, site=site, body=body)
        return 201, await self._write(verb, trace_of(request)), {}

    # --- authentication --------------------------------------------------------------------------------------------------------

    async def _caller(self, request: Request, site: Site, form: Parameters, audiences: set[str]) -> Caller:
        trace = trace_of(request)
        recorded = self._failures.is_recorded(trace.source)
        caller = Caller(NOBODY, recorded=recorded)
        try:
            presented = client_auth.read(request.headers.get("authorization", ""), form)
            # Before any signature is verified, since verifying is what a flood would make expensive.
            if wait_s := self._failures.wait_s(presented.client, trace.source):
                await self._count(Caller(presented, recorded=False), site.tenant, trace.source)
                raise TooManyFailures(wait_s)
            caller = Caller(presented, recorded=recorded)
            if presented.method is Method.ASSERTION:
                caller = replace(caller, **await self._prove(site, presented, frozenset(audiences), trace))
        except NotPermitted as refusal:
            await self._refused(site, caller, refusal, trace)
            raise
        return caller

    async def _prove(
        self, site: Site, presented: Presented, audiences: frozenset[str], trace: Trace
    ) -> dict[str, Any]:
        client = await self._client(site, presented, trace)
        if client is None:
            client_auth.refuse_client("There is no such client here, or its registration has expired.")
        client_auth.judge_method(client, presented)
        # Before the fetch, so that an assertion that would be
        # refused anyway causes no request to the client's host.
        kid = client_auth.judge_header(presented.decoded[0], client)
        jwks, replaced = await self._keys(client, kid)
        now = self._kit.clock.now()
        verified = client_auth.prove(
            presented, client, jwks, audiences=audiences, issuer=site.issuer, now=now
        )
        return {"assertion": verified, "proved_with": client, "replaced": replaced}

    async def _client(self, site: Site, presented: Presented, trace: Trace) -> Client | None:
        """Find the client whose keys verify the assertion, cached for CLIENTS_KEPT_S seconds; the verb checks the registration again."""
        client = self._clients.get((site.tenant, ClientId(presented.client)))
        if client is not None:
            return client
        find = partial(service.find_client, site=site, caller=presented)
        client = await self._kit.uow.read(find, trace=trace)
        if client is not None:
            self._clients[site.tenant, client.id] = client
        return client

    async def _keys(self, client: Client, kid: str) -> tuple[dict[str, Any], tuple[str, ...]]:
        if client.jwks is not None or not client.jwks_uri:
            return client.jwks or {}, ()
        try:
            keyset = await self._keysets.get(client.jwks_uri, kid)
        except Unavailable as error:
            client_auth.refuse_client(f"The client's jwks_uri could not be read: {error.code}.")
        return keyset.jwks, keyset.replaced

    async def _refused(self, site: Site, caller: Caller, refusal: NotPermitted, trace: Trace) -> None:
        # The cached registration may be outdated, so the next attempt reads it again.
        self._clients.pop((site.tenant, caller.presented.client), None)
        await self._count(caller, site.tenant, trace.source)
        if caller.recorded:
            await self._write(lambda ctx: service.record_early_refusal(ctx, site, caller, refusal), trace)
        self._failures.failed(caller.presented.client, trace.source)

    async def _count(self, caller: Caller, tenant: TenantId, source: str) -> None:
        """Count a refusal that gets no record of its own; counts are recorded a minute after the first."""
        self._refusals.count(tenant, source, recorded=caller.recorded)

    def record_counts_soon(self) -> None:
        """Start recording the refusals counted so far; also called before the process stops."""
        self._refusals.record_soon()

    # --- the verb --------------------------------------------------------------------------------------------------------------

    async def _run(self, request: Request, caller: Caller, verb: Callable[[Context], T]) -> T:
        trace = trace_of(request)
        pair = caller.presented.client, trace.source
        try:
            result = await self._write(verb, trace)
        except (NotPermitted, Invalid) as refusal:
            await self._count(caller, TenantId(request.path_params["tenant"]), trace.source)
            # Only what could be a guess counts towards the limit, not an invalid scope.
            if refusal.code in {TokenError.INVALID_CLIENT, TokenError.INVALID_GRANT}:
                self._failures.failed(*pair)
            if refusal.code == TokenError.INVALID_CLIENT:
                self._clients.pop((TenantId(request.path_params["tenant"]), pair[0]), None)
            raise
        self._failures.succeeded(*pair)
        return result

    async def _write(self, verb: Callable[[Context], T], trace: Trace) -> T:
        for _ in range(TRIES - 1):
            try:
                return await self._kit.uow.write(verb, trace=trace)
            except Conflict:
                continue
        return await self._kit.uow.write(verb, trace=trace)

    # --- the response ----------------------------------------------------------------------------------------------------------

    async def _answer(
        self,
        request: Request,
        handle: Callable[[Request, Site, Parameters], Awaitable[Reply]],
    ) -> Response:
        tenant = TenantId(request.path_params["tenant"])
        form = Parameters({}, frozenset())
        try:
            if not fits_tenant_id(tenant):
                raise NotFound("tenant_not_found", "There is no such hospital.")
            if handle != self._register:
                form = await _read_form(request)
            status, body, headers = await handle(request, self._kit.urls.site(tenant), form)
        except HilumError as error:
            status, body, headers = _render(error, basic="authorization" in request.headers)
        headers = headers | NO_STORE | await self._cors(request, tenant, form)
        return Response(orjson.dumps(body), status, headers, "application/json")

    # --- CORS (C26) ------------------------------------------------------------------------------------------------------------

    async def preflight(self, request: Request) -> Response:
        """OPTIONS of every endpoint. A preflight does not identify the client, so every origin of an app installed here is allowed."""
        origin = request.headers.get("origin", "")
        tenant = TenantId(request.path_params["tenant"])
        headers = {"Vary": "Origin"}
        if origin and origin in await self._origins_at(tenant):
            headers |= {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Headers": "Authorization, Content-Type",
                "Access-Control-Max-Age": str(cors.PREFLIGHT_AGE_S),
            }
        return Response(None, 204, headers)

    async def _cors(self, request: Request, tenant: TenantId, form: Parameters) -> dict[str, str]:
        origin = request.headers.get("origin", "")
        headers = {"Vary": "Origin"}
        if not origin or not fits_tenant_id(tenant):
            return headers
        try:
            presented = client_auth.read(request.headers.get("authorization", ""), form)
            find = partial(service.find_client, site=self._kit.urls.site(tenant), caller=presented)
            client: Client | None = await self._kit.uow.read(find, trace=trace_of(request))
        except HilumError:
            client = None
        # Scripts may also read the refusal of an unknown client, so that an app can show its reason.
        allowed = await self._origins_at(tenant) if client is None else frozenset(client.origins)
        if origin in allowed:
            headers |= {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Expose-Headers": cors.EXPOSED.decode(),
            }
        return headers

    async def _origins_at(self, tenant: TenantId) -> frozenset[str]:
        """Return the origins of clients that may be installed at a tenant; empty if they cannot be read."""
        try:
            return await self._kit.uow.reads(partial(cached_facts.origins, tenant=tenant))
        except Unavailable:
            return frozenset()


async def _read_form(request: Request) -> Parameters:
    """Read a form body. Raises Invalid; a parameter without a value is treated as omitted (RFC 6749 section 3.2)."""
    if not forms.is_form(request):
        raise Invalid(TokenError.INVALID_REQUEST, "The body must be application/x-www-form-urlencoded.")
    raw = await forms.read_body(request, oauth.BODY_BOUND)
    pairs = oauth.decode_form(raw.decode()) if raw.isascii() else None
    if pairs is None:
        raise Invalid(TokenError.INVALID_REQUEST, "The form is not valid percent-encoded text.")
    form = oauth.read_parameters(pairs)
    policy.check_form(form)
    return form


def _required_token(form: Parameters) -> str:
    token = form.get("token")
    if not token:
        raise Invalid(TokenError.INVALID_REQUEST, "token is missing.")
    return token


def _render(error: HilumError, *, basic: bool) -> Reply:
    """Return status, body and headers for an error; the only place where the token endpoint maps errors to HTTP."""
    code, headers = error.code, {}
    if isinstance(error, TooManyFailures):
        status, headers = 429, {"Retry-After": str(math.ceil(error.wait_s))}
    elif isinstance(error, Unavailable | Conflict):
        status, code, headers = 503, "temporarily_unavailable", {"Retry-After": str(RETRY_AFTER_S)}
    elif isinstance(error, NotFound):
        status, code = 404, TokenError.INVALID_REQUEST
    # Registration during a stop of the tenant or the platform: no client may be prepared for its end.
    elif error.code == Reason.SWITCH_ENGAGED:
        status, code, headers = 503, "temporarily_unavailable", {"Retry-After": str(STOPPED_RETRY_AFTER_S)}
    elif error.code == "too_many_clients":
        status, code = 429, "temporarily_unavailable"
    elif error.code == TokenError.INVALID_CLIENT:
        status = 401
        # Challenge only in response to an Authorization header, or browsers would ask people for a password.
        headers = {"WWW-Authenticate": 'Basic realm="hilum"'} if basic else {}
    else:
        status = {"body_too_large": 413, "body_too_slow": 408}.get(error.code, 400)
        code = error.code if error.code in _ERROR_CODES else TokenError.INVALID_REQUEST
    body: dict[str, Any] = {"error": code, "error_description": oauth.description(error.detail or error.code)}
    if isinstance(error, Invalid) and error.fields:
        body["fields"] = explained(error.fields)
    return status, body, headers
