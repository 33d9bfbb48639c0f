"""The sign-in pages after a correct password: a second factor is entered or set up. They work without script."""

import math
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.kit import NOWHERE, FindSignInTarget, Kit, trace_of
from hilum.foundation.web.urls import path_of, with_query
from hilum.identity.account import steps
from hilum.identity.account.places import home_of, passkeys_of, place_of
from hilum.identity.account.qr import qr_code
from hilum.identity.factors import service as factors
from hilum.identity.factors.models import AppLocked, CodeWrong, Held, Offer, PasskeyRefused, Step
from hilum.identity.people.models import Person
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Pending, Place, Session, SlowDown, StepOver
from hilum.identity.signin.policy import safe_return

MINUTE_S = 60
CodeRefusal = CodeWrong | AppLocked | SlowDown | PasskeyRefused
CODE_REFUSALS = (CodeWrong, AppLocked, SlowDown, PasskeyRefused)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A sign-in that waits for a second factor: its step, its person and their factors."""

    pending: Pending
    person: Person
    held: Held


def sentence(refusal: NotPermitted) -> str:
    """Return the sentence about a refused code; a long wait is stated in minutes."""
    if not isinstance(refusal, SlowDown) or refusal.retry_after_s < 2 * MINUTE_S:
        return refusal.detail
    wait = math.ceil(refusal.retry_after_s / MINUTE_S)
    return Sentence(
        "Too many wrong codes for this account. Wait %(minutes)s minutes, or use a recovery code. If you did not enter them, somebody knows your password: change it once you are signed in.",
        minutes=wait,
    )


def refused(response: Response, refusal: NotPermitted | None) -> Response:
    """Add ``Retry-After`` to the page about a refused code."""
    if isinstance(refusal, SlowDown):
        response.headers["retry-after"] = str(refusal.retry_after_s)
    return response


def status_of(refusal: NotPermitted | None) -> int:
    """Return the status of a page about a refused code, or of a page without one."""
    if refusal is None:
        return 200
    return 429 if isinstance(refusal, SlowDown) else 403


def routes(kit: Kit, find_sign_in_target: FindSignInTarget) -> list[Route]:
    """Return the routes. ``find_sign_in_target`` as for ``signin.routes.pages``."""
    page = _StepPages(kit, find_sign_in_target)
    return [
        Route(f"{root}/signin/{step}", endpoint, methods=[method])
        for root in ("/t/{tenant}", "")
        for step, endpoint, method in (
            ("factor", page.show_factor, "GET"),
            ("factor", page.enter, "POST"),
            ("enrol", page.show_enrol, "GET"),
            ("enrol", page.enrol, "POST"),
        )
    ]


class _StepPages:
    def __init__(self, kit: Kit, find_sign_in_target: FindSignInTarget) -> None:
        self._kit, self._find_sign_in_target = kit, find_sign_in_target

    async def show_factor(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        then = forms.read_query(request).one("then")
        waiting = await self._waiting(request, place, Step.FACTOR)
        if waiting is None:
            return self._again(place, then)
        return await self._factor_page(request, place, waiting, then)

    async def enter(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        form = await forms.read_form(request)
        then = form.one("then")
        waiting = await self._waiting(request, place, Step.FACTOR)
        if waiting is None:
            return self._again(place, then)
        self._check(request, form, place, waiting.pending)
        cookie, replaced = self._cookie(request, place), self._session_cookie(request, place)
        passkey, site = form.one("passkey"), passkeys_of(self._kit, place)

        def finish(ctx: Context) -> tuple[Session, str]:
            if passkey:
                return steps.finish_with_passkey(ctx, cookie, site, passkey, replaces=replaced)
            return steps.finish(ctx, cookie, form.one("code"), replaces=replaced)

        try:
            _, cookie = await self._kit.uow.write(finish, trace=trace_of(request))
        except StepOver:
            return self._again(place, then)
        except CODE_REFUSALS as refusal:
            waiting = await self._waiting(request, place, Step.FACTOR) or waiting
            return await self._factor_page(request, place, waiting, then, refusal)
        response = RedirectResponse(safe_return(then, home_of(self._kit, place, waiting.person.role)), 303)
        return self._signed_in(response, place, cookie)

    async def show_enrol(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        then = forms.read_query(request).one("then")
        waiting = await self._waiting(request, place, Step.ENROL)
        if waiting is None:
            return self._again(place, then)
        return await self._enrol_page(request, place, waiting.pending, then)

    async def enrol(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        form = await forms.read_form(request)
        then, sealed = form.one("then"), form.one("offer")
        waiting = await self._waiting(request, place, Step.ENROL)
        if waiting is None:
            return self._again(place, then)
        self._check(request, form, place, waiting.pending)
        step_cookie, replaced = self._cookie(request, place), self._session_cookie(request, place)
        passkey, site, code = form.one("passkey"), passkeys_of(self._kit, place), form.one("code")

        def finish(ctx: Context) -> tuple[Session, str, tuple[str, ...]]:
            if passkey:
                name = form.one("name")
                return steps.finish_with_new_passkey(
                    ctx, step_cookie, site, passkey, name=name, replaces=replaced
                )
            return steps.finish_with_new(ctx, step_cookie, sealed=sealed, code=code, replaces=replaced)

        try:
            _, cookie, codes = await self._kit.uow.write(finish, trace=trace_of(request))
        except StepOver:
            return self._again(place, then)
        except (CodeWrong, PasskeyRefused) as refusal:
            return await self._enrol_page(
                request, place, waiting.pending, then, sealed=sealed, refusal=refusal
            )
        except Invalid:  # the page was open too long, or is of somebody else: a new QR code
            return await self._enrol_page(request, place, waiting.pending, then)
        response = self._kit.pages.render(
            request,
            "account/codes.html",
            title=Sentence("Your second factor is set up"),
            lead=Sentence("You are signed in. Save these codes first."),
            place=place.name,
            codes=codes,
            onward=safe_return(then, home_of(self._kit, place, waiting.person.role)),
            onward_text=Sentence("Continue"),
        )
        return self._signed_in(response, place, cookie)

    async def _waiting(self, request: Request, place: Place, step: Step) -> _Waiting | None:
        """Return the sign-in that waits at this browser for ``step``; None if there is none at this place."""

        def read(ctx: Context) -> _Waiting | None:
            found = signin.pending(ctx, self._cookie(request, place))
            if found is None:
                return None
            pending, person = found
            # Only under the address of the account's own place: the page shows that place's name.
            if pending.step is not step or pending.tenant != place.tenant:
                return None
            return _Waiting(pending, person, factors.held(ctx, person.id))

        return await self._kit.uow.read(read, trace=trace_of(request))

    def _cookie(self, request: Request, place: Place) -> str:
        return cookies.read(request, cookies.STEP, secure=self._kit.urls.is_secure(place.key))

    def _session_cookie(self, request: Request, place: Place) -> str:
        return cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure(place.key))

    def _check(self, request: Request, form: forms.Form, place: Place, pending: Pending) -> None:
        origin = self._kit.urls.origin(place.key)
        forms.check_post(request, form, pending.csrf, origin=origin, purpose=pending.step.value)

    def _again(self, place: Place, then: str) -> Response:
        """Redirect to the start of sign-in, since the step is over."""
        signin = path_of(self._kit.urls.signin(place.key, then=safe_return(then, "")))
        joined = f"{signin}&over=1" if "?" in signin else with_query(signin, over="1")
        response = RedirectResponse(joined, 303)
        cookies.clear(response, cookies.STEP, secure=self._kit.urls.is_secure(place.key))
        return response

    def _signed_in(self, response: Response, place: Place, cookie: str) -> Response:
        secure = self._kit.urls.is_secure(place.key)
        cookies.put(response, cookies.SESSION, cookie, secure=secure)
        cookies.clear(response, cookies.STEP, secure=secure)
        return response

    async def _factor_page(
        self,
        request: Request,
        place: Place,
        waiting: _Waiting,
        then: str,
        refusal: CodeRefusal | None = None,
    ) -> Response:
        pending, held = waiting.pending, waiting.held
        then = safe_return(then, "")
        ask = partial(
            steps.authentication_options,
            cookie=self._cookie(request, place),
            site=passkeys_of(self._kit, place),
        )
        try:
            # A write, since the challenge is stored so that it can be used only once.
            options = await self._kit.uow.write(ask, trace=trace_of(request)) if held.passkeys else ""
        except StepOver:
            return self._again(place, then)
        response = self._kit.pages.render(
            request,
            "account/factor.html",
            status=status_of(refusal),
            form_action=(
                await self._find_sign_in_target(request, place.key, then) if then else NOWHERE
            ).origins,
            place=place.name,
            name=waiting.person.name,
            held=held,
            options=options,
            action=path_of(self._kit.urls.signin_step(place.key, Step.FACTOR)),
            signin=path_of(self._kit.urls.signin(place.key, then=then)),
            csrf=forms.csrf_token(pending.csrf, pending.step.value),
            then=then,
            helper=place.name if place.at_hospital else Sentence("this platform"),
            fault=sentence(refusal) if refusal else "",
        )
        return refused(response, refusal)

    async def _enrol_page(
        self,
        request: Request,
        place: Place,
        pending: Pending,
        then: str,
        *,
        sealed: str = "",
        refusal: CodeWrong | PasskeyRefused | None = None,
    ) -> Response:
        cookie = self._cookie(request, place)
        site = passkeys_of(self._kit, place)

        def ask(ctx: Context) -> tuple[Offer, str]:
            totp = steps.offer(ctx, cookie, site=site.name, sealed=sealed)
            return totp, steps.registration_options(ctx, cookie, site)

        try:
            offer, options = await self._kit.uow.write(ask, trace=trace_of(request))
        except StepOver:
            return self._again(place, then)
        return self._kit.pages.render(
            request,
            "account/authenticator.html",
            status=status_of(refusal),
            title=Sentence("Set up a second factor"),
            lead=Sentence(
                "Your role can change what others may do, so a password alone is not enough to sign in. Setting this up takes a minute, once."
            ),
            place=place.name,
            qr=qr_code(offer.uri),
            secret=offer.secret,
            uri=offer.uri,
            offer=offer.sealed,
            options=options,
            action=path_of(self._kit.urls.signin_step(place.key, Step.ENROL)),
            csrf=forms.csrf_token(pending.csrf, pending.step.value),
            then=safe_return(then, ""),
            back="",
            fault=refusal.detail if refusal else "",
        )
