"""Forms by which people end their own sessions, and create, confirm and revoke their own API tokens."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.web import forms
from hilum.foundation.web.kit import trace_of
from hilum.identity.account import service
from hilum.identity.account.models import NotConfirmed, Own
from hilum.identity.account.own_pages import OwnPages
from hilum.identity.signin.models import API_TOKEN_LIFE_MAX

LIVES = {str(days): Sentence.counted("%(number)s day", "%(number)s days", days) for days in (1, 30, 90)}
Act = Callable[[Context, Own], None]


def routes(own: OwnPages) -> list[Route]:
    """Return the routes of the forms on the account's page."""
    page = _CredentialPages(own)
    return [
        Route(f"{root}/account/{below}", endpoint, methods=["POST"])
        for root in ("/t/{tenant}", "")
        for below, endpoint in (
            ("sessions/end", page.end_session),
            ("sessions/end-others", page.end_others),
            ("tokens", page.create_token),
            ("tokens/revoke", page.revoke_token),
            ("tokens/confirm", page.confirm_token),
        )
    ]


class _CredentialPages:
    def __init__(self, own: OwnPages) -> None:
        self._pages = own

    async def end_session(self, request: Request) -> Response:
        return await self._act(
            request, lambda form: partial(service.end_session, session=form.one("session"))
        )

    async def end_others(self, request: Request) -> Response:
        def act(ctx: Context, own: Own) -> None:
            service.end_others(ctx, own)

        return await self._act(request, lambda _: act)

    async def revoke_token(self, request: Request) -> Response:
        return await self._act(request, lambda form: partial(service.revoke_token, token=form.one("token")))

    async def confirm_token(self, request: Request) -> Response:
        return await self._act(request, lambda form: partial(service.confirm_token, token=form.one("token")))

    async def create_token(self, request: Request) -> Response:
        posted = await self._pages.posted(request)
        if isinstance(posted, Response):
            return posted
        place, form, own = posted
        days = form.one("days")
        if days not in LIVES:
            raise Invalid("token_life_unknown", "Choose one of the offered lifetimes of the token.")
        life = min(timedelta(days=int(days)), API_TOKEN_LIFE_MAX)
        verb = partial(service.create_token, own=own, name=form.one("name"), life=life)
        kit = self._pages.kit
        try:
            token, secret = await kit.uow.write(verb, trace=trace_of(request))
        except NotConfirmed:
            return self._pages.to_confirm(place, own, self._pages.url(place))
        return kit.pages.render(
            request,
            "account/token.html",
            place=place.name,
            token=token,
            secret=secret,
            api=kit.urls.api("").removesuffix("/api/v1"),
            back=self._pages.url(place),
        )

    async def _act(self, request: Request, act_of: Callable[[forms.Form], Act]) -> Response:
        posted = await self._pages.posted(request)
        if isinstance(posted, Response):
            return posted
        place, form, own = posted
        act, here = act_of(form), self._pages.url(place)
        try:
            await self._pages.kit.uow.write(lambda ctx: act(ctx, own), trace=trace_of(request))
        except NotConfirmed:
            return self._pages.to_confirm(place, own, here)
        return RedirectResponse(here, 303)
