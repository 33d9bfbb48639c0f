"""Sign-in through a hospital's identity provider: the browser's way there and back, and the provider's logout tokens.

A sign-in, in order:

1. The sign-in page (``signin``) shows a button for each provider (``offers``).
2. ``leave``: the provider's metadata, and a redirect to it. All that the return needs is sealed into ``state``, for this browser only.
3. ``finish_sign_in``: the state is opened and judged (``sign_in.judge_return``); nothing is written yet.
4. ``live.Providers.redeem``, outside of transactions: the code is exchanged, and the id_token checked in full (``id_token``).
5. ``sign_in.complete_return``: the state is used up; the account of the subject, linked, recognised or added; whether it may enter; the session.
6. Sign-out at the browser continues at the provider (``sign_out``); the provider ends sessions by a logout token (``logout``).
"""

from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ids import SessionId, TenantId
from hilum.foundation.kernel.sentences import Sentence, joined
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.errors import Trouble, in_language
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.refusals import Refusals
from hilum.foundation.web.urls import path_of
from hilum.identity.federation import live, policy, sign_in
from hilum.identity.federation.live import Providers
from hilum.identity.federation.models import (
    SIGN_IN_LIFE,
    THEN_BOUND,
    BegunSignIn,
    Fault,
    Provider,
    Refusal,
    Unreached,
)
from hilum.identity.federation.service import EndGrants
from hilum.identity.people import service as identity
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin.models import Offer, Stopped
from hilum.records.keys.live import vault

TEMPLATES = Path(__file__).parent / "templates"
NOT_SIGNED_IN = Sentence("You are not signed in")
NO_STORE = {"cache-control": "no-store"}
IDENTIFIED = frozenset({Fault.PERSON_UNKNOWN, Fault.USERNAME_TAKEN, Fault.NEEDS_ADMINISTRATOR})
"""Faults whose page shows the person their identifier at the provider, which an administrator needs."""


class Federated:
    """The routes of this room, and what the sign-in and sign-out pages call (``signin.routes.Federated``)."""

    def __init__(self, kit: Kit, providers: Providers, end_grants: EndGrants) -> None:
        self._kit, self._providers, self._end_grants = kit, providers, end_grants
        self._refusals = Refusals(kit.uow, sign_in.record_counts)

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        root = "/t/{tenant}/signin/through/{provider}"
        return [
            Route(root, self.leave, methods=["GET"]),
            Route(f"{root}/return", self.finish_sign_in, methods=["GET"]),
            Route(f"{root}/logout", self.logout, methods=["POST"]),
        ]

    def record_counts_soon(self) -> None:
        """Record counted refusals; also called when the process stops."""
        self._refusals.record_soon()

    # --- for the pages of signin ------------------------------------------------------------------------------------------------

    async def offers(
        self, request: Request, tenant: TenantId, then: str, *, fresh: bool
    ) -> tuple[tuple[Offer, ...], bool]:
        """Return the buttons of a hospital's sign-in page, and whether it shows the form for a password."""

        def read(ctx: Context) -> tuple[list[Provider], bool]:
            return sign_in.offers(ctx, tenant), sign_in.shows_passwords(ctx, tenant)

        providers, passwords = await self._kit.uow.read(read, trace=trace_of(request))
        urls = self._kit.urls
        buttons = tuple(
            Offer(
                each.settings.name,
                path_of(urls.leave(tenant, each.id, then=then, fresh="1" if fresh else "")),
            )
            for each in providers
        )
        return buttons, passwords or not buttons

    async def leaving_origins(self, request: Request, session: SessionId) -> tuple[str, ...]:
        """Return the origins that signing out of a session may redirect to, for ``form-action`` of the sign-out page."""
        leaving = await self._kit.uow.read(
            partial(sign_in.provider_of, session=session), trace=trace_of(request)
        )
        if leaving is None:
            return ()
        provider, allowed = leaving
        # From the cache, so that nobody who signs out waits for a provider that is down.
        metadata = self._providers.cached_metadata(provider.settings, allowed)
        end = provider.settings.issuer if metadata is None else metadata.end_session_endpoint
        return (policy.origin_of(end),) if end else ()

    async def sign_out(self, request: Request, tenant: TenantId, session: SessionId) -> str:
        """Return the URL at which the browser signs out at the provider that began a session; empty if there is none.

        Source: OpenID Connect RP-Initiated Logout 1.0 section 2
        """
        begin = partial(sign_in.begin_logout, session=session)
        ended = await self._kit.uow.write(begin, trace=trace_of(request))
        if ended is None:
            return ""
        provider, hint, allowed = ended
        try:
            metadata = await self._providers.metadata(provider.settings, allowed)
        except Unreached:
            return ""  # the person is signed out here already
        if not metadata.end_session_endpoint:
            return ""
        parameters = {
            "client_id": provider.settings.client_id,
            "post_logout_redirect_uri": self._kit.urls.signout(tenant),
        } | ({"id_token_hint": hint} if hint else {})
        joined = "&" if "?" in metadata.end_session_endpoint else "?"
        return f"{metadata.end_session_endpoint}{joined}{urlencode(parameters)}"

    # --- routes -----------------------------------------------------------------------------------------------------------------

    async def leave(self, request: Request) -> Response:
        """Redirect the browser to the provider. Nothing is stored: ``state`` contains all that the return needs."""
        tenant, provider_id = TenantId(request.path_params["tenant"]), request.path_params["provider"]
        trace = trace_of(request)
        query = forms.read_query(request)
        find = partial(sign_in.require_provider, tenant=tenant, provider_id=provider_id)
        provider, allowed = await self._kit.uow.read(find, trace=trace)
        try:
            metadata = await self._providers.metadata(provider.settings, allowed)
        except Unreached as error:
            return await self._refused(request, provider, error)
        secure = self._kit.urls.is_secure(tenant)
        secret = cookies.read(request, cookies.OFFBOARDING, secure=secure)
        # An existing secret is kept, because another window may have a sign-in in progress.
        if not live.is_secret(secret):
            secret = self._kit.ids.secret()
        then = signin_policy.safe_return(query.one("then"), "")
        begun = BegunSignIn(
            provider.id,
            provider.number,
            self._kit.ids.secret(),
            then if len(then) <= THEN_BOUND else "",
            self._kit.clock.now(),
            fresh=query.one("fresh") == "1",
        )
        address = self._providers.leave_url(
            provider,
            metadata,
            begun,
            secret=secret,
            returns_to=self._returns_to(provider),
            ids=self._kit.ids,
        )
        response = RedirectResponse(address, 303, headers=NO_STORE)
        cookies.put(response, cookies.OFFBOARDING, secret, secure=secure, life=SIGN_IN_LIFE)
        return response

    async def finish_sign_in(self, request: Request) -> Response:
        """Process the authentication response, and sign in the person."""
        tenant, provider_id = TenantId(request.path_params["tenant"]), request.path_params["provider"]
        trace, secure = trace_of(request), self._kit.urls.is_secure(tenant)
        find = partial(sign_in.require_provider, tenant=tenant, provider_id=provider_id)
        provider, _ = await self._kit.uow.read(find, trace=trace)
        try:
            async with self._kit.guesses.slowing(trace.source):
                query = forms.read_query(request)
                secret = cookies.read(request, cookies.OFFBOARDING, secure=secure)
                state = query.one("state")
                begun = live.open_state(vault(), state, secret)
                judge = partial(
                    sign_in.judge_return, tenant=tenant, provider_id=provider_id, state=state, begun=begun
                )
                provider, allowed = await self._kit.uow.read(judge, trace=trace)
                metadata = await self._providers.metadata(provider.settings, allowed)
                code = policy.code_of(query.values, metadata)
                redeemed = await self._providers.redeem(
                    provider,
                    metadata,
                    begun,
                    code=code,
                    secret=secret,
                    returns_to=self._returns_to(provider),
                    source=trace.source,
                )
                complete = partial(
                    sign_in.complete_return,
                    provider=provider,
                    found=redeemed.identity,
                    id_token=redeemed.id_token,
                    state=state,
                    production=not self._kit.is_sandbox,
                    end_grants=self._end_grants,
                    replaces=cookies.read(request, cookies.SESSION, secure=secure),
                )
                session, cookie = await self._kit.uow.write(complete, trace=trace)
        except (Refusal, Unreached, Stopped) as error:
            return await self._refused(request, provider, error)
        console = signin_policy.console_of(session.role)
        home = path_of(self._kit.urls.console(console) if console else self._kit.urls.manage(tenant))
        response = RedirectResponse(signin_policy.safe_return(begun.then, home), 303, headers=NO_STORE)
        cookies.put(response, cookies.SESSION, cookie, secure=secure)
        cookies.clear(response, cookies.FORM, secure=secure)
        return response

    async def logout(self, request: Request) -> Response:
        """End the sessions of a logout token. Source: OpenID Connect Back-Channel Logout 1.0 sections 2.5 to 2.8."""
        tenant, provider_id = TenantId(request.path_params["tenant"]), request.path_params["provider"]
        trace = trace_of(request)
        form = await forms.read_form(request)
        find = partial(sign_in.require_provider, tenant=tenant, provider_id=provider_id, may_be_off=True)
        provider, allowed = await self._kit.uow.read(find, trace=trace)
        try:
            metadata = await self._providers.metadata(provider.settings, allowed)
            logout = await self._providers.read_logout(provider.settings, metadata, form.one("logout_token"))
            end = partial(sign_in.end_by_provider, provider=provider, logout=logout)
            await self._kit.uow.write(end, trace=trace)
        except (Refusal, Unreached) as error:
            await self._record(request, provider, error)
            return Response(
                f'{{"error":"invalid_request","error_description":"{error.code}"}}',
                400,
                media_type="application/json",
                headers=NO_STORE,
            )
        return Response(status_code=200, headers=NO_STORE)

    def _returns_to(self, provider: Provider) -> str:
        return self._kit.urls.returns_to(provider.tenant, provider.id)

    async def _refused(self, request: Request, provider: Provider, error: HilumError) -> Response:
        await self._record(request, provider, error)
        hospital = await self._kit.uow.read(
            partial(identity.get_tenant, tenant=provider.tenant), trace=trace_of(request)
        )
        back = path_of(self._kit.urls.signin(provider.tenant))
        if isinstance(error, Refusal | Unreached):
            sentence = policy.SENTENCES[error.fault]
            shown = error.subject if isinstance(error, Refusal) and error.fault in IDENTIFIED else ""
            title = Sentence("Your hospital's sign-in did not work") if sentence.theirs else NOT_SIGNED_IN
            onward = joined((Sentence(sentence.next), shown))
            trouble = Trouble(title, sentence.happened, onward, back=back)
        else:
            trouble = Trouble(NOT_SIGNED_IN, error.detail, "", back=back)
        status = 503 if isinstance(error, Unreached) else 403
        catalogue = self._kit.pages.catalogue(request)
        response = self._kit.pages.render(
            request,
            "federation/refused.html",
            status=status,
            trouble=in_language(trouble, catalogue, status),
            place=hospital.name,
            request_id=trace_of(request).request_id,
        )
        response.headers.update(NO_STORE)
        return response

    async def _record(self, request: Request, provider: Provider, error: HilumError) -> None:
        """Record a refusal that no verb has recorded; beyond the first ones of a network they are counted (security decision 5)."""
        if getattr(error, "recorded", isinstance(error, Stopped)):
            return
        trace = trace_of(request)
        recorded = self._refusals.is_recorded(trace.source)
        self._refusals.refused(provider.tenant, trace.source, recorded=recorded)
        if recorded:
            verb = partial(sign_in.record_fault, provider=provider, error=error)
            await self._kit.uow.write(verb, trace=trace)
