"""The pages of one's own account and its second factors. They work without script."""

from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.web import forms
from hilum.foundation.web.kit import FindSignInTarget, Kit, find_nothing, trace_of
from hilum.foundation.web.urls import path_of, with_query
from hilum.identity.account import credential_pages, policy, service, step_pages
from hilum.identity.account.credential_pages import LIVES
from hilum.identity.account.models import Credentials, NotConfirmed, Own
from hilum.identity.account.own_pages import CONFIRM, OwnPages
from hilum.identity.account.places import passkeys_of, place_of
from hilum.identity.account.qr import qr_code
from hilum.identity.account.step_pages import CODE_REFUSALS, CodeRefusal, refused, sentence, status_of
from hilum.identity.factors.models import CodeWrong, PasskeyRefused
from hilum.identity.factors.policy import passkey_id
from hilum.identity.people.models import Role
from hilum.identity.people.policy import login_command
from hilum.identity.signin.models import Place
from hilum.identity.signin.policy import safe_return

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
AUTHENTICATOR, PASSKEY = "authenticator", "passkey"
RECOVERY, REMOVE = "recovery-codes", "remove"


def pages(kit: Kit, find_sign_in_target: FindSignInTarget = find_nothing) -> list[Route]:
    """Return the routes of the account's pages and of the sign-in steps after the password. ``find_sign_in_target`` as for ``signin.routes.pages``."""
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
            (f"/{PASSKEY}", page.show_passkey, "GET"),
            (f"/{PASSKEY}", page.add_passkey, "POST"),
            (f"/{RECOVERY}", page.renew_codes, "POST"),
            (f"/{REMOVE}", page.remove, "POST"),
        )
    ]
    return [*step_pages.routes(kit, find_sign_in_target), *own, *credential_pages.routes(page)]


class _AccountPages(OwnPages):
    async def show(self, request: Request) -> Response:
        place = await place_of(self.kit, request)
        own = await self.own(request, place)
        if own is None:
            return await self.elsewhere(request, place) or self.to_signin(place, self.url(place))
        listed: Credentials = await self.kit.uow.read(
            partial(service.credentials, own=own), trace=trace_of(request)
        )
        return self.kit.pages.render(
            request,
            "account/account.html",
            place=place.name,
            own=own,
            login=login_command(own.person),
            listed=listed,
            lives=tuple(LIVES.items()),
            url=self.url(place),
            confirm=with_query(self.url(place, CONFIRM), then=self.url(place)),
            authenticator=self.url(place, AUTHENTICATOR),
            passkey=self.url(place, PASSKEY),
            recovery=self.url(place, RECOVERY),
            remove=self.url(place, REMOVE),
            removable=policy.may_remove_one(own),
            passkeys_work=bool(passkeys_of(self.kit, place).host),
            keys=[
                {
                    "id": passkey_id(each),
                    "name": each.name,
                    "made": each.created_at,
                    "used": each.last_used_at,
                }
                for each in own.held.passkeys
            ],
            signout=path_of(self.kit.urls.signout(place.key)),
            apps=path_of(self.kit.urls.manage(place.key)) if place.at_hospital else "",
            is_patient=own.person.role == Role.PATIENT,
            csrf=self.csrf(own),
        )

    async def show_confirm(self, request: Request) -> Response:
        place = await place_of(self.kit, request)
        then = forms.read_query(request).one("then")
        own = await self.own(request, place)
        # Without a factor there is nothing to enter: the person confirms by signing in again.
        if own is None or not own.held.any:
            return self.to_signin(place, safe_return(then, self.url(place)), fresh=own is not None)
        return await self._confirm_page(request, place, own, then)

    async def confirm(self, request: Request) -> Response:
        posted = await self.posted(request)
        if isinstance(posted, Response):
            return posted
        place, form, own = posted
        then = safe_return(form.one("then"), self.url(place))
        passkey, site = form.one("passkey"), passkeys_of(self.kit, place)

        def verb(ctx: Context) -> None:
            if passkey:
                service.confirm_with_passkey(ctx, own, site, passkey)
            else:
                service.confirm(ctx, own, form.one("code"))

        try:
            await self.kit.uow.write(verb, trace=trace_of(request))
        except CODE_REFUSALS as refusal:
            return await self._confirm_page(request, place, own, then, refusal)
        return RedirectResponse(then, 303)

    async def _confirmed(self, request: Request, path: str) -> tuple[Place, Own] | Response:
        """Return the page's place and account, or the redirect to sign-in or to confirmation."""
        place = await place_of(self.kit, request)
        here, own = self.url(place, path), await self.own(request, place)
        if own is None:
            return self.to_signin(place, here)
        return (place, own) if own.confirmed else self.to_confirm(place, own, here)

    async def show_authenticator(self, request: Request) -> Response:
        confirmed = await self._confirmed(request, AUTHENTICATOR)
        if isinstance(confirmed, Response):
            return confirmed
        return await self._authenticator_page(request, *confirmed)

    async def set_authenticator(self, request: Request) -> Response:
        posted = await self.posted(request)
        if isinstance(posted, Response):
            return posted
        place, form, own = posted
        here, sealed = self.url(place, AUTHENTICATOR), form.one("offer")
        verb = partial(service.change_totp, own=own, sealed=sealed, code=form.one("code"))
        try:
            codes = await self.kit.uow.write(verb, trace=trace_of(request))
        except NotConfirmed:
            return self.to_confirm(place, own, here)
        except CodeWrong as refusal:
            return await self._authenticator_page(request, place, own, sealed=sealed, refusal=refusal)
        except Invalid:  # the page was open too long: a new QR code
            return await self._authenticator_page(request, place, own)
        return self._codes_page(request, place, codes, Sentence("Your authenticator app is set up"))

    async def show_passkey(self, request: Request) -> Response:
        confirmed = await self._confirmed(request, PASSKEY)
        if isinstance(confirmed, Response):
            return confirmed
        return await self._passkey_page(request, *confirmed)

    async def add_passkey(self, request: Request) -> Response:
        posted = await self.posted(request)
        if isinstance(posted, Response):
            return posted
        place, form, own = posted
        here = self.url(place, PASSKEY)
        site, answer = passkeys_of(self.kit, place), form.one("passkey")
        verb = partial(service.add_passkey, own=own, site=site, answer=answer, name=form.one("name"))
        try:
            codes = await self.kit.uow.write(verb, trace=trace_of(request))
        except NotConfirmed:
            return self.to_confirm(place, own, here)
        except PasskeyRefused as refusal:
            return await self._passkey_page(request, place, own, refusal)
        if codes:
            return self._codes_page(request, place, codes, Sentence("Your passkey is set up"))
        return RedirectResponse(self.url(place), 303)

    async def remove(self, request: Request) -> Response:
        posted = await self.posted(request)
        if isinstance(posted, Response):
            return posted
        place, form, own = posted
        verb = partial(service.remove, own=own, factor=form.one("factor"))
        try:
            await self.kit.uow.write(verb, trace=trace_of(request))
        except NotConfirmed:
            return self.to_confirm(place, own, self.url(place))
        return RedirectResponse(self.url(place), 303)

    async def renew_codes(self, request: Request) -> Response:
        posted = await self.posted(request)
        if isinstance(posted, Response):
            return posted
        place, _, own = posted
        if not own.held.any:
            return self.to_signin(place, self.url(place))
        verb = partial(service.renew_recovery_codes, own=own)
        try:
            codes = await self.kit.uow.write(verb, trace=trace_of(request))
        except NotConfirmed:
            return self.to_confirm(place, own, self.url(place))
        return self._codes_page(request, place, codes, Sentence("New recovery codes"))

    async def _confirm_page(
        self, request: Request, place: Place, own: Own, then: str, refusal: CodeRefusal | None = None
    ) -> Response:
        ask = partial(service.authentication_options, own=own, site=passkeys_of(self.kit, place))
        options = await self.kit.uow.write(ask, trace=trace_of(request)) if own.held.passkeys else ""
        response = self.kit.pages.render(
            request,
            "account/confirm.html",
            status=status_of(refusal),
            place=place.name,
            held=own.held,
            options=options,
            action=self.url(place, CONFIRM),
            back=self.url(place),
            csrf=self.csrf(own),
            then=safe_return(then, ""),
            fault=sentence(refusal) if refusal else "",
        )
        return refused(response, refusal)

    async def _authenticator_page(
        self, request: Request, place: Place, own: Own, *, sealed: str = "", refusal: CodeWrong | None = None
    ) -> Response:
        name = passkeys_of(self.kit, place).name
        verb = partial(service.offer_totp, own=own, site=name, sealed=sealed)
        try:
            offer = await self.kit.uow.read(verb, trace=trace_of(request))
        except NotConfirmed:
            return self.to_confirm(place, own, self.url(place, AUTHENTICATOR))
        is_first = not own.held.totp
        return self.kit.pages.render(
            request,
            "account/authenticator.html",
            status=status_of(refusal),
            title=Sentence("Set up an authenticator app")
            if is_first
            else Sentence("Change your authenticator app"),
            lead=Sentence("From then on you enter its code when you sign in.")
            if is_first
            else Sentence(
                "Once the new app is set up, the one you use now stops working and you get new recovery codes."
            ),
            place=place.name,
            qr=qr_code(offer.uri),
            secret=offer.secret,
            uri=offer.uri,
            offer=offer.sealed,
            options="",
            action=self.url(place, AUTHENTICATOR),
            csrf=self.csrf(own),
            then="",
            back=self.url(place),
            fault=refusal.detail if refusal else "",
        )

    async def _passkey_page(
        self, request: Request, place: Place, own: Own, refusal: PasskeyRefused | None = None
    ) -> Response:
        ask = partial(service.registration_options, own=own, site=passkeys_of(self.kit, place))
        try:
            options = await self.kit.uow.write(ask, trace=trace_of(request))
        except NotConfirmed:
            return self.to_confirm(place, own, self.url(place, PASSKEY))
        return self.kit.pages.render(
            request,
            "account/passkey.html",
            status=status_of(refusal),
            place=place.name,
            options=options,
            action=self.url(place, PASSKEY),
            back=self.url(place),
            csrf=self.csrf(own),
            fault=refusal.detail if refusal else "",
        )

    def _codes_page(self, request: Request, place: Place, codes: tuple[str, ...], title: str) -> Response:
        return self.kit.pages.render(
            request,
            "account/codes.html",
            title=title,
            lead=Sentence("Save these codes before you continue."),
            place=place.name,
            codes=codes,
            onward=self.url(place),
            onward_text=Sentence("Done"),
        )
