"""The base of the pages of one's own account: the signed-in person, forms, and redirects to sign-in and confirmation."""

from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hilum.foundation.infra.context import Context
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.urls import path_of, with_query
from hilum.identity.account import service
from hilum.identity.account.models import Own
from hilum.identity.account.places import place_of
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Place, Session
from hilum.identity.signin.policy import wants_touch

PURPOSE, CONFIRM = "account", "confirm"


class OwnPages:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    async def own(self, request: Request, place: Place) -> Own | None:
        """Return the account that is signed in at this browser and place; None if nobody is."""
        cookie = cookies.read(request, cookies.SESSION, secure=self.kit.urls.is_secure(place.key))
        production = not self.kit.is_sandbox

        def verb(ctx: Context) -> Own | None:
            return service.view(ctx, cookie, place.tenant, production=production)

        own = await self.kit.uow.read(verb, trace=trace_of(request))
        # At most once a minute, so that reading a page rarely writes.
        if own is not None and wants_touch(own.session, self.kit.clock.now()):
            await self.kit.uow.write(partial(service.touch, own=own), trace=trace_of(request))
        return own

    async def elsewhere(self, request: Request, place: Place) -> Response | None:
        """Return the redirect from ``/account`` to the account of the hospital or vendor at which this browser is signed in; None elsewhere."""
        if place.key:
            return None
        cookie = cookies.read(request, cookies.SESSION, secure=self.kit.urls.is_secure(place.key)) or ""
        production = not self.kit.is_sandbox

        def verb(ctx: Context) -> Session | None:
            return signin.session(ctx, cookie, production=production) if cookie else None

        session = await self.kit.uow.read(verb, trace=trace_of(request))
        if session is None or session.tenant is None:
            return None
        return RedirectResponse(path_of(self.kit.urls.account(session.tenant)), 303)

    async def posted(self, request: Request) -> tuple[Place, forms.Form, Own] | Response:
        """Return a posted form with its place and account, or the redirect to sign-in. Raises NotPermitted for a form of another site."""
        place = await place_of(self.kit, request)
        form = await forms.read_form(request)
        own = await self.own(request, place)
        if own is None:
            return self.to_signin(place, self.url(place))
        origin = self.kit.urls.origin(place.key)
        forms.check_post(request, form, own.session.csrf, origin=origin, purpose=PURPOSE)
        return place, form, own

    def url(self, place: Place, page: str = "") -> str:
        return path_of(self.kit.urls.account(place.key, page))

    def csrf(self, own: Own) -> str:
        return forms.csrf_token(own.session.csrf, PURPOSE)

    def to_signin(self, place: Place, then: str, *, fresh: bool = False) -> Response:
        """Redirect to sign-in. ``fresh``: an identity provider must authenticate the person again instead of using its own session."""
        return RedirectResponse(path_of(self.kit.urls.signin(place.key, then=then, fresh=fresh)), 303)

    def to_confirm(self, place: Place, own: Own, then: str) -> Response:
        """Redirect to the page on which the person confirms that it is them, then to ``then``."""
        # Without a factor there is nothing to enter: the person confirms by signing in again.
        if not own.held.any:
            return self.to_signin(place, then, fresh=True)
        return RedirectResponse(with_query(self.url(place, CONFIRM), then=then), 303)
