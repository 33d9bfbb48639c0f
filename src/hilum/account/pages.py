"""The pages of one's own account. They work without script."""

from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.account import service, step_pages
from hilum.account.models import NotConfirmed, Own
from hilum.account.places import Place, issuer_of, place_of
from hilum.account.qr import qr_code
from hilum.account.step_pages import CODE_REFUSALS, CodeRefusal, refused, sentence, status_of
from hilum.factors.models import CodeWrong
from hilum.identity.models import Role
from hilum.infra.context import Context
from hilum.kernel.errors import Invalid
from hilum.signin.policy import safe_return
from hilum.web import cookies, forms
from hilum.web.kit import FindOnward, Kit, find_nothing, trace_of
from hilum.web.urls import path_of, with_query

TEMPLATES = Path(__file__).parent / "templates"
PURPOSE = "account"
CONFIRM, AUTHENTICATOR, RECOVERY = "confirm", "authenticator", "recovery-codes"


def pages(kit: Kit, find_onward: FindOnward = find_nothing) -> list[Route]:
    """Return the routes of the account's pages, and of those between password and session. ``find_onward`` as for ``signin.routes.pages``."""
    page = _AccountPages(kit)
    own = [
        Route(f"{root}/account{below}", endpoint, methods=[method])
        for root in ("/t/{tenant}", "")
        for below, endpoint, method in (
            ("", page.show, "GET"),
            (f"/{CONFIRM}", page.show_confirm, "GET"),
            (f"/{CONFIRM}", page.confirm, "POST"),
            (f"/{AUTHENTICATOR}", page.show_authenticator, "GET"),
            (f"/{AUTHENTICATOR}", page.set_authenticator, "POST"),
            (f"/{RECOVERY}", page.renew_codes, "POST"),
        )
    ]
    return [*step_pages.routes(kit, find_onward), *own]


class _AccountPages:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def show(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        own = await self._own(request, place)
        if own is None:
            return self._to_signin(place, self._url(place))
        return self._kit.pages.render(
            request,
            "account/account.html",
            place=place.name,
            own=own,
            authenticator=self._url(place, AUTHENTICATOR),
            recovery=self._url(place, RECOVERY),
            signout=path_of(self._kit.urls.signout(place.key)),
            apps=path_of(self._kit.urls.manage(place.key)) if place.at_hospital else "",
            is_patient=own.person.role == Role.PATIENT,
            csrf=self._csrf(own),
        )

    async def show_confirm(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        then = forms.read_query(request).one("then")
        own = await self._own(request, place)
        # Without a factor there is nothing to enter: signing in again is what confirms.
        if own is None or not own.held.any:
            return self._to_signin(place, safe_return(then, self._url(place)))
        return self._confirm_page(request, place, own, then)

    async def confirm(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        form = await forms.read_form(request)
        then = safe_return(form.one("then"), self._url(place))
        own = await self._own(request, place)
        if own is None:
            return self._to_signin(place, then)
        self._check(request, form, place, own)
        verb = partial(service.confirm, own=own, code=form.one("code"))
        try:
            await self._kit.uow.write(verb, trace=trace_of(request))
        except CODE_REFUSALS as refusal:
            return self._confirm_page(request, place, own, then, refusal)
        return RedirectResponse(then, 303)

    async def show_authenticator(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        here = self._url(place, AUTHENTICATOR)
        own = await self._own(request, place)
        if own is None:
            return self._to_signin(place, here)
        if not own.confirmed:
            return self._to_confirm(place, own, here)
        return await self._authenticator_page(request, place, own)

    async def set_authenticator(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        form = await forms.read_form(request)
        here, sealed = self._url(place, AUTHENTICATOR), form.one("offer")
        own = await self._own(request, place)
        if own is None:
            return self._to_signin(place, here)
        self._check(request, form, place, own)
        verb = partial(service.change_totp, own=own, sealed=sealed, code=form.one("code"))
        try:
            codes = await self._kit.uow.write(verb, trace=trace_of(request))
        except NotConfirmed:
            return self._to_confirm(place, own, here)
        except CodeWrong as refusal:
            return await self._authenticator_page(request, place, own, sealed=sealed, refusal=refusal)
        except Invalid:  # the page was open too long: a new QR code
            return await self._authenticator_page(request, place, own)
        return self._codes_page(request, place, codes, "Your authenticator app is set up")

    async def renew_codes(self, request: Request) -> Response:
        place = await place_of(self._kit, request)
        form = await forms.read_form(request)
        own = await self._own(request, place)
        if own is None or not own.held.any:
            return self._to_signin(place, self._url(place))
        self._check(request, form, place, own)
        verb = partial(service.renew_recovery_codes, own=own)
        try:
            codes = await self._kit.uow.write(verb, trace=trace_of(request))
        except NotConfirmed:
            return self._to_confirm(place, own, self._url(place))
        return self._codes_page(request, place, codes, "New recovery codes")

    async def _own(self, request: Request, place: Place) -> Own | None:
        cookie = cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure(place.key))
        production = not self._kit.is_sandbox

        def verb(ctx: Context) -> Own | None:
            return service.view(ctx, cookie, place.tenant, production=production)

        return await self._kit.uow.read(verb, trace=trace_of(request))

    def _url(self, place: Place, page: str = "") -> str:
        return path_of(self._kit.urls.account(place.key, page))

    def _csrf(self, own: Own) -> str:
        return forms.csrf_token(own.session.csrf, PURPOSE)

    def _check(self, request: Request, form: forms.Form, place: Place, own: Own) -> None:
        origin = self._kit.urls.origin(place.key)
        forms.check_post(request, form, own.session.csrf, origin=origin, purpose=PURPOSE)

    def _to_signin(self, place: Place, then: str) -> Response:
        return RedirectResponse(path_of(self._kit.urls.signin(place.key, then=then)), 303)

    def _to_confirm(self, place: Place, own: Own, then: str) -> Response:
        if not own.held.any:
            return self._to_signin(place, then)
        return RedirectResponse(with_query(self._url(place, CONFIRM), then=then), 303)

    def _confirm_page(
        self, request: Request, place: Place, own: Own, then: str, refusal: CodeRefusal | None = None
    ) -> Response:
        response = self._kit.pages.render(
            request,
            "account/confirm.html",
            status=status_of(refusal),
            place=place.name,
            held=own.held,
            action=self._url(place, CONFIRM),
            back=self._url(place),
            csrf=self._csrf(own),
            then=safe_return(then, ""),
            fault=sentence(refusal) if refusal else "",
        )
        return refused(response, refusal)

    async def _authenticator_page(
        self, request: Request, place: Place, own: Own, *, sealed: str = "", refusal: CodeWrong | None = None
    ) -> Response:
        offer = partial(service.offer_totp, own=own, site=issuer_of(self._kit, place), sealed=sealed)
        try:
            found = await self._kit.uow.read(offer, trace=trace_of(request))
        except NotConfirmed:
            return self._to_confirm(place, own, self._url(place, AUTHENTICATOR))
        new = not own.held.totp
        return self._kit.pages.render(
            request,
            "account/authenticator.html",
            status=status_of(refusal),
            title="Set up an authenticator app" if new else "Change your authenticator app",
            lead="From then on its code is asked for when you sign in."
            if new
            else "The app that you use now stops working once the new one is set up, and you get new recovery codes.",
            place=place.name,
            qr=qr_code(found.uri),
            secret=found.secret,
            uri=found.uri,
            offer=found.sealed,
            action=self._url(place, AUTHENTICATOR),
            csrf=self._csrf(own),
            then="",
            back=self._url(place),
            fault=refusal.detail if refusal else "",
        )

    def _codes_page(self, request: Request, place: Place, codes: tuple[str, ...], title: str) -> Response:
        return self._kit.pages.render(
            request,
            "account/codes.html",
            title=title,
            lead="Keep these codes before you go on.",
            place=place.name,
            codes=codes,
            onward=self._url(place),
            onward_text="Done",
        )
