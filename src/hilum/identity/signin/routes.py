"""Pages of sign-in and sign-out, and the API of tokens, passwords and sessions."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

from cachetools import TTLCache
from fastapi import APIRouter, Query, status
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.foundation.infra import lanes
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.api import (
    ANYONE,
    ONESELF,
    Page,
    Paging,
    admits,
    api_router,
    audience,
    caller,
    page_of,
)
from hilum.foundation.web.branding import brand_of
from hilum.foundation.web.kit import NOWHERE, Authenticate, FindSignInTarget, Kit, find_nothing, trace_of
from hilum.foundation.web.pages import Brand
from hilum.foundation.web.refusals import Refusals
from hilum.foundation.web.urls import path_of
from hilum.identity.factors.models import CODE_BOUND
from hilum.identity.people import service as identity
from hilum.identity.people.policy import is_vendor
from hilum.identity.signin import live, policy, service
from hilum.identity.signin.forbidden import Forbidden
from hilum.identity.signin.models import (
    API_TOKEN_LIFE,
    API_TOKEN_LIFE_MAX,
    API_TOKEN_NAME_BOUND,
    PASSWORD_MAX,
    STAFF,
    TOKEN_USE_NOTED_EVERY,
    TOKENS_NOTED,
    VENDOR,
    ApiToken,
    Barred,
    Dormant,
    Method,
    Moved,
    NotAuthenticated,
    Offer,
    PasswordsOff,
    Pending,
    Place,
    Session,
    SlowDown,
    Stopped,
    TokenInvalid,
)

TEMPLATES = Path(__file__).parent / "templates"
LOGIN = "login"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
MINUTE_S = 60
_LEADS: dict[str, Sentence] = {
    STAFF: Sentence("With your staff account."),
    VENDOR: Sentence("With your account at your company."),
}


class Federated(Protocol):
    """What the pages call in the module above that has hospitals' identity providers (``federation.pages.Federated``)."""

    async def offers(
        self, request: Request, tenant: TenantId, then: str, *, fresh: bool
    ) -> tuple[tuple[Offer, ...], bool]:
        """Return the buttons of a hospital's sign-in page, and whether it shows the form for a password."""
        ...

    async def leaving_origins(self, request: Request, session: SessionId) -> tuple[str, ...]:
        """Return the origins that signing out of a session may redirect to, for ``form-action``."""
        ...

    async def sign_out(self, request: Request, tenant: TenantId, session: SessionId) -> str:
        """Return the URL at which the browser signs out at the provider that began a session; empty if there is none."""
        ...


_Refusal = NotAuthenticated | SlowDown | Stopped | PasswordsOff | Dormant
AtStop = Callable[[Callable[[], None]], None]
"""Registers a callback for when the process stops."""


def _ignored(_: Callable[[], None]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class _Place(Place):
    """Where a person signs in, with the branding of its pages."""

    brand: Brand | None = None

    @property
    def purpose(self) -> str:
        return f"signin:{self.key}"


def pages(
    kit: Kit,
    find_sign_in_target: FindSignInTarget = find_nothing,
    *,
    federated: Federated | None = None,
    at_stop: AtStop = _ignored,
) -> list[Route]:
    """Build the routes of the pages. ``find_sign_in_target`` finds the app that continues after sign-in.

    ``at_stop`` registers a callback that records the counted refusals.
    """
    handlers = _Handlers(kit, find_sign_in_target, federated)
    at_stop(handlers.refusals.record_soon)
    return [
        Route("/t/{tenant}/signin", handlers.show_signin, methods=["GET"]),
        Route("/t/{tenant}/signin", handlers.sign_in, methods=["POST"]),
        Route("/t/{tenant}/signout", handlers.show_signout, methods=["GET"]),
        Route("/t/{tenant}/signout", handlers.sign_out, methods=["POST"]),
        Route("/signin", handlers.show_signin, methods=["GET"]),
        Route("/signin", handlers.sign_in, methods=["POST"]),
        Route("/signout", handlers.show_signout, methods=["GET"]),
        Route("/signout", handlers.sign_out, methods=["POST"]),
    ]


class _Handlers:
    def __init__(self, kit: Kit, find_sign_in_target: FindSignInTarget, federated: Federated | None) -> None:
        self._kit, self._find_sign_in_target, self._federated = kit, find_sign_in_target, federated
        self.refusals = Refusals(kit.uow, service.record_counts)

    async def show_signin(self, request: Request) -> Response:
        place = await self._place(request)
        query = forms.read_query(request)
        enrolled = query.one("enrolled") == "1"
        over = "step" if query.one("over") == "1" else await self._ended(request, place)
        fresh = query.one("fresh") == "1"
        return await self._signin_page(
            request, place, then=query.one("then"), enrolled=enrolled, over=over, fresh=fresh
        )

    async def _ended(self, request: Request, place: _Place) -> str:
        """End the browser's session if its network or browser differs from those of its sign-in; return which, empty if neither."""
        cookie = cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure(place.key))
        trace = trace_of(request)
        if not cookie or not await self._kit.uow.read(partial(service.has_moved, cookie=cookie), trace=trace):
            return ""
        why: Moved | None = await self._kit.uow.write(partial(service.end_moved, cookie=cookie), trace=trace)
        return why.value if why else ""

    async def sign_in(self, request: Request) -> Response:
        place = await self._place(request)
        form = await forms.read_form(request)
        secure = self._kit.urls.is_secure(place.key)
        secret = cookies.read(request, cookies.FORM, secure=secure)
        origin = self._kit.urls.origin(place.key)
        # Also before sign-in: a form of another site could sign the browser in as the attacker (login CSRF).
        forms.check_post(request, form, secret, origin=origin, purpose=place.purpose)
        trace = trace_of(request)
        username, then = form.one("username"), form.one("then")
        begin = partial(service.begin_attempt, tenant=place.tenant, username=username)
        recorded = self.refusals.is_recorded(trace.source)
        try:
            async with self._kit.guesses.slowing(trace.source):
                # The password is compared between two transactions: argon2 takes tens of milliseconds, for
                # which SQLite's one writer must not wait (security decision 4).
                attempt = replace(await self._kit.uow.write(begin, trace=trace), recorded=recorded)
                matched = await live.verify_password(attempt.digest, form.one("password"), trace.source)
                replaces = cookies.read(request, cookies.SESSION, secure=secure)
                complete = partial(
                    service.complete_attempt,
                    attempt=attempt,
                    matched=matched,
                    production=not self._kit.is_sandbox,
                    replaces=replaces,
                )
                begun, cookie = await self._kit.uow.write(complete, trace=trace)
        except (NotAuthenticated, SlowDown, Stopped, PasswordsOff, Dormant) as refusal:
            if isinstance(refusal, NotAuthenticated):
                self.refusals.refused(place.tenant or "", trace.source, recorded=recorded)
            return await self._signin_page(request, place, then=then, username=username, refusal=refusal)
        if isinstance(begun, Pending):
            onward = self._kit.urls.signin_step(place.key, begun.step, then=policy.safe_return(then, ""))
            response = RedirectResponse(path_of(onward), 303)
            cookies.put(response, cookies.STEP, cookie, secure=secure)
        else:
            response = RedirectResponse(policy.safe_return(then, self._home(place, begun.role)), 303)
            cookies.put(response, cookies.SESSION, cookie, secure=secure)
        cookies.clear(response, cookies.FORM, secure=secure)
        return response

    async def show_signout(self, request: Request) -> Response:
        place = await self._place(request)
        session = await self._session(request, place)
        secret = session.csrf if session else ""
        return self._kit.pages.render(
            request,
            "signin/signout.html",
            place=place.name,
            brand=place.brand,
            action=path_of(self._kit.urls.signout(place.key)),
            signin=path_of(self._kit.urls.signin(place.key)),
            # Signing out takes a POST, because any site can make a browser send a GET.
            csrf=forms.csrf_token(secret, "signout") if secret else "",
            form_action=await self._leaving_origins(request, session),
        )

    async def _leaving_origins(self, request: Request, session: Session | None) -> tuple[str, ...]:
        if self._federated is None or session is None or session.method is not Method.FEDERATED:
            return ()
        return await self._federated.leaving_origins(request, session.id)

    async def sign_out(self, request: Request) -> Response:
        place = await self._place(request)
        form = await forms.read_form(request)
        session = await self._session(request, place)
        secure = self._kit.urls.is_secure(place.key)
        onward = path_of(self._kit.urls.signout(place.key))
        if session is not None:
            origin = self._kit.urls.origin(place.key)
            forms.check_post(request, form, session.csrf, origin=origin, purpose="signout")
            end = partial(service.end_session, session_id=session.id)
            await self._kit.uow.write(end, actor=policy.actor_of_session(session), trace=trace_of(request))
            # Ended here first, whatever the provider does then.
            if self._federated is not None and session.tenant and session.method is Method.FEDERATED:
                onward = await self._federated.sign_out(request, session.tenant, session.id) or onward
        response = RedirectResponse(onward, 303)
        cookies.clear(response, cookies.SESSION, secure=secure)
        return response

    async def _place(self, request: Request) -> _Place:
        tenant = request.path_params.get("tenant")
        if tenant is None:
            return _Place(None, STAFF)
        if is_vendor(tenant):
            # Not looked up, so that the page does not reveal which vendors exist.
            return _Place(TenantId(tenant), VENDOR)
        find = partial(identity.find_tenant, tenant=TenantId(tenant))
        found = await self._kit.uow.read(find, trace=trace_of(request))
        # A closed hospital is answered as one that does not exist.
        if found is None or not found.active:
            raise NotFound("tenant_not_found", "This address does not belong to a hospital on this platform.")
        brand = brand_of(self._kit.urls, found.id, name=found.name, colour=found.colour, logo=found.logo)
        return _Place(found.id, found.name, brand)

    async def _session(self, request: Request, place: _Place) -> Session | None:
        cookie = cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure(place.key))
        return await self._kit.uow.read(partial(service.session, cookie=cookie), trace=trace_of(request))

    def _home(self, place: _Place, role: str) -> str:
        if console := policy.console_of(role):
            return path_of(self._kit.urls.console(console))
        if place.at_hospital:
            return path_of(self._kit.urls.manage(place.key))
        return path_of(self._kit.urls.account(place.key) if place.tenant else self._kit.urls.home())

    async def _signin_page(
        self,
        request: Request,
        place: _Place,
        *,
        then: str,
        username: str = "",
        refusal: _Refusal | None = None,
        enrolled: bool = False,
        over: str = "",
        fresh: bool = False,
    ) -> Response:
        secure = self._kit.urls.is_secure(place.key)
        secret = cookies.read(request, cookies.FORM, secure=secure) or self._kit.ids.secret()
        then = policy.safe_return(then, "")
        slow = refusal if isinstance(refusal, SlowDown) else None
        target = await self._find_sign_in_target(request, place.key, then) if then else NOWHERE
        offers: tuple[Offer, ...] = ()
        passwords = True
        if self._federated is not None and place.tenant is not None and place.at_hospital:
            offers, passwords = await self._federated.offers(request, place.tenant, then, fresh=fresh)
        response = self._kit.pages.render(
            request,
            "signin/signin.html",
            status=429 if slow else 403 if refusal else 200,
            form_action=target.origins,
            app=target.app,
            logo=target.logo,
            brand=place.brand,
            place=place.name,
            lead=_LEADS.get(place.name, Sentence("With the account you use at this hospital.")),
            manage=path_of(self._kit.urls.manage(place.key)) if place.at_hospital else "",
            helper=place.name if place.at_hospital else Sentence("this platform"),
            action=path_of(self._kit.urls.signin(place.key)),
            csrf=forms.csrf_token(secret, place.purpose),
            then=then,
            username=username[:64],
            enrolled=enrolled,
            over=over,
            offers=offers,
            passwords=passwords,
            fault=_sentence(refusal) if refusal else "",
        )
        if slow:
            response.headers["retry-after"] = str(slow.retry_after_s)
        cookies.put(response, cookies.FORM, secret, secure=secure)
        return response


def _sentence(refusal: _Refusal) -> str:
    """Return the sentence of a refusal for the page, with a long wait in minutes."""
    if not isinstance(refusal, SlowDown) or refusal.retry_after_s < 2 * MINUTE_S:
        return refusal.detail
    minutes = math.ceil(refusal.retry_after_s / MINUTE_S)
    return Sentence(
        "Too many attempts. Wait %(minutes)s minutes, then try again. Nothing else was changed.",
        minutes=minutes,
    )


def authenticator(uow: UnitOfWork, forbidden: Forbidden, *, production: bool = True) -> Authenticate:
    """Build the kit's authentication of API requests by bearer token.

    ``production``: whether roles with power must have a second factor. Refusals of stopped people, and of roles outside the audience, are
    recorded by ``forbidden``.
    """
    noted: TTLCache[str, bool] = TTLCache(
        TOKENS_NOTED, TOKEN_USE_NOTED_EVERY.total_seconds(), uow.clock.monotonic
    )

    async def note(token: str, request: Request) -> None:
        """Record the use of a token now and then; a failure to do so does not fail the call."""
        digest = policy.digest(token)
        if digest in noted:
            return
        noted[digest] = True
        with suppress(HilumError), lanes.using(Lane.CALLERS):
            await uow.write(partial(service.note_token_use, bearer=token), trace=trace_of(request))

    async def authenticate(request: Request, audience: Sequence[str] | None = None, /) -> Actor:
        token = _bearer_of(request)
        if not service.is_api_token(token):  # before it costs a thread and a query
            raise TokenInvalid
        writing = request.method not in READING
        verb = partial(service.authenticate_api_token, bearer=token, production=production, writing=writing)
        # Anybody can send a well-formed token, so the lookup must not take a thread of the route's lane, which
        # may be that of kill switches (ADR 32).
        with lanes.using(Lane.CALLERS):
            found = await uow.read(verb, trace=trace_of(request))
        if isinstance(found, Actor) and audience is not None and not admits(audience, found):
            found = policy.not_admitted(found, audience)
        if isinstance(found, Barred):
            call = f"{request.method} {getattr(request.scope.get('route'), 'path', '')}".strip()
            await forbidden.record(request, found.actor, found.refusal, call, found.reason)
            raise found.refusal
        await note(token, request)
        return found

    return authenticate


def _bearer_of(request: Request) -> str:
    """Return the bearer token of a call; empty if it sent none."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewToken(_Strict):
    """Credentials and terms of a new token. Members of a vendor send ``vendor``, people of a hospital ``tenant``, staff neither.

    ``code`` is of the authenticator app, or a recovery code, if the account has a second factor.
    """

    username: Annotated[str, Field(min_length=1, max_length=128)]
    password: Annotated[str, Field(min_length=1, max_length=PASSWORD_MAX)]
    tenant: Annotated[str | None, Field(max_length=32)] = None
    vendor: Annotated[str | None, Field(max_length=32, pattern=r"^ven_[0-9a-z]+$")] = None
    name: Annotated[str, Field(max_length=API_TOKEN_NAME_BOUND)] = ""
    code: Annotated[str, Field(max_length=CODE_BOUND)] = ""
    expires_in_s: Annotated[int, Field(gt=0, le=int(API_TOKEN_LIFE_MAX.total_seconds()))] = int(
        API_TOKEN_LIFE.total_seconds()
    )


class Confirmation(_Strict):
    """A code of the authenticator app, or a recovery code."""

    code: Annotated[str, Field(min_length=1, max_length=CODE_BOUND)]


class TokenShown(BaseModel):
    """``second_factor``: whether its person entered one for it. ``last_used_at`` is exact to six hours; null if no use was recorded."""

    id: str
    name: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    second_factor: bool
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: ApiToken) -> "TokenShown":
        return cls(
            id=token.id,
            name=token.name,
            roles=token.roles,
            created_at=token.created_at,
            expires_at=token.expires_at,
            second_factor=token.factor_at is not None,
            last_used_at=token.last_used_at,
        )


class TokenCreated(TokenShown):
    token: str
    """The secret, shown here only."""


class SessionShown(BaseModel):
    """A session of yours at a browser. ``ends_at``: when it ends if it is not used again. ``network`` and ``browser``: where it began."""

    id: str
    method: str
    tenant: str | None
    created_at: datetime
    last_seen_at: datetime
    ends_at: datetime
    network: str
    browser: str

    @classmethod
    def of(cls, session: Session) -> "SessionShown":
        shown = {name: getattr(session, name) for name in cls.model_fields if name != "ends_at"}
        return cls(**shown, ends_at=policy.ends_at(session))


class NewPassword(_Strict):
    """The new password, and the ``current`` one."""

    password: Annotated[str, Field(max_length=PASSWORD_MAX)]
    current: Annotated[str, Field(max_length=PASSWORD_MAX)] = ""


Id = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def api(kit: Kit, *, at_stop: AtStop = _ignored) -> APIRouter:
    """Return the API routes of tokens, passwords and sessions. ``at_stop`` as for ``pages``."""
    refusals = Refusals(kit.uow, service.record_counts)
    at_stop(refusals.record_soon)
    router = api_router(kit, "signin")
    _tokens(router, kit, refusals)
    _accounts(router, kit)
    _sessions(router, kit)
    return router


def _tokens(router: APIRouter, kit: Kit, refusals: Refusals) -> None:
    @router.post("/tokens", status_code=status.HTTP_201_CREATED, openapi_extra=audience(ANYONE))
    async def create_token(request: Request, body: NewToken) -> TokenCreated:
        """Create an API token with your password, and a code of your second factor if you have or must have one."""
        trace = trace_of(request)
        if body.tenant is not None and body.vendor is not None:
            fields = {"vendor": "tenant_and_vendor"}
            raise Invalid("fields_invalid", "An account belongs to a hospital or to a vendor.", fields=fields)
        place = body.vendor or body.tenant
        tenant = None if place is None else TenantId(place)
        begin = partial(service.begin_attempt, tenant=tenant, username=body.username)
        recorded = refusals.is_recorded(trace.source)
        async with kit.guesses.slowing(trace.source):
            # The same counters as at the sign-in page, so that guesses at both count together.
            attempt = replace(await kit.uow.write(begin, trace=trace), recorded=recorded)
            matched = await live.verify_password(attempt.digest, body.password, trace.source)
            complete = partial(
                service.complete_attempt_with_token,
                attempt=attempt,
                matched=matched,
                production=not kit.is_sandbox,
                code=body.code,
                life=timedelta(seconds=body.expires_in_s),
                name=body.name,
            )
            try:
                token, secret = await kit.uow.write(complete, trace=trace)
            except NotAuthenticated:
                refusals.refused(tenant or "", trace.source, recorded=recorded)
                raise
        return TokenCreated(**TokenShown.of(token).model_dump(), token=secret)

    @router.get("/tokens", response_model=Page[TokenShown], openapi_extra=audience(ONESELF))
    async def list_tokens(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List your own valid tokens."""
        actor = await caller(kit, request)
        verb = partial(service.list_api_tokens, person_id=PersonId(actor.id), page=query.page)
        tokens = await kit.uow.read(verb, actor=actor, trace=trace_of(request))
        return page_of(tokens, TokenShown.of, query)

    @router.post("/tokens/confirm", status_code=204, openapi_extra=audience(ONESELF))
    async def confirm_token(request: Request, body: Confirmation) -> None:
        """Enter a code of your second factor for the API token of this call. For 15 minutes it may then do what widens (``factor_stale``)."""
        actor = await caller(kit, request)
        verb = partial(service.confirm_with_code, bearer=_bearer_of(request), code=body.code)
        await kit.uow.write(verb, actor=actor, trace=trace_of(request))

    @router.delete(
        "/tokens/{token}", status_code=204, openapi_extra=audience(ONESELF, "administrator", "platform_admin")
    )
    async def revoke_token(request: Request, token: Id) -> None:
        """Revoke a token of your own, or of a person you administer."""
        actor = await caller(kit, request)
        verb = partial(service.revoke_api_token, token_id=token)
        await kit.uow.write(verb, actor=actor, trace=trace_of(request))


def _accounts(router: APIRouter, kit: Kit) -> None:
    @router.put("/people/{person}/password", status_code=204, openapi_extra=audience(ONESELF))
    async def change_password(request: Request, person: Id, body: NewPassword) -> None:
        """Change your own password with the current one; your sessions and API tokens end. For other accounts see ``/reset``."""
        actor = await caller(kit, request)
        trace = trace_of(request)
        # Before the attempt is counted, since an invalid new password is no guess at the current one.
        policy.require_password(body.password)
        # An API token alone must not set a password: it expires, but the password would give the account for good.
        begin = partial(service.begin_change, person_id=PersonId(person))
        attempt = await kit.uow.write(begin, actor=actor, trace=trace)
        matched = await live.verify_password(attempt.digest, body.current, trace.source)
        digest = await live.hash_password(body.password, kit.ids, trace.source)
        change = partial(service.change_password, attempt=attempt, digest=digest, matched=matched)
        await kit.uow.write(change, actor=actor, trace=trace)

    @router.delete(
        "/people/{person}/sessions", openapi_extra=audience(ONESELF, "administrator", "platform_admin")
    )
    async def end_sessions(request: Request, person: Id) -> dict[str, int]:
        """End every session of a person, and of another person their API tokens too; your own API tokens stay."""
        actor = await caller(kit, request)
        verb = partial(service.end_sessions_of, person_id=PersonId(person))
        return {"ended": await kit.uow.write(verb, actor=actor, trace=trace_of(request))}


def _sessions(router: APIRouter, kit: Kit) -> None:
    @router.get("/sessions", response_model=Page[SessionShown], openapi_extra=audience(ONESELF))
    async def list_sessions(request: Request) -> object:
        """List your own sessions at browsers that can be used now, newest first."""
        sessions = await kit.uow.read(
            service.list_own_sessions, actor=await caller(kit, request), trace=trace_of(request)
        )
        return {"items": [SessionShown.of(each) for each in sessions], "next": ""}

    @router.delete("/sessions/{session}", status_code=204, openapi_extra=audience(ONESELF))
    async def end_session(request: Request, session: Id) -> None:
        """End one of your own sessions, and the apps' access that lasts only as long as it."""
        verb = partial(service.end_own_session, session_id=SessionId(session))
        await kit.uow.write(verb, actor=await caller(kit, request), trace=trace_of(request))

    @router.delete("/sessions", openapi_extra=audience(ONESELF))
    async def end_own_sessions(request: Request) -> dict[str, int]:
        """End every session of your own; your API tokens stay."""
        actor = await caller(kit, request)
        verb = partial(service.end_sessions_of, person_id=PersonId(actor.id))
        return {"ended": await kit.uow.write(verb, actor=actor, trace=trace_of(request))}
