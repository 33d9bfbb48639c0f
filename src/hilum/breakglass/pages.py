"""The page on which a clinician breaks the glass for the patient of an EHR launch. It works without script.

``service`` describes the steps of an emergency access.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.breakglass import policy, service
from hilum.breakglass.models import NewUse, UseQuery
from hilum.clients import service as clients
from hilum.frontchannel import service as frontchannel
from hilum.identity.policy import fits_tenant_id
from hilum.infra.context import Context
from hilum.kernel.errors import HilumError, Invalid, NotFound, NotPermitted
from hilum.kernel.ids import LaunchId, TenantId
from hilum.kernel.sentences import Sentence, joined
from hilum.launches.models import Launch
from hilum.signin.policy import actor_of, csrf_secret
from hilum.web import cookies, faults, forms
from hilum.web.forms import Form
from hilum.web.kit import Kit, trace_of
from hilum.web.urls import path_of

TEMPLATES = Path(__file__).parent / "templates"
PURPOSE = "break-glass"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def pages(kit: Kit) -> list[Route]:
    """Build the routes of the page."""
    page = _Page(kit)
    path = "/t/{tenant}/oauth/manage/break-glass"
    return [Route(path, page.show, methods=["GET"]), Route(path, page.act, methods=["POST"])]


class _Page:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def show(self, request: Request) -> Response:
        """Show the launches in which the person may break the glass, and their open uses."""
        return await self._shown(request, Form())

    async def act(self, request: Request) -> Response:
        """Open a use, or end it."""
        tenant, cookie = self._tenant_and_cookie(request)
        form = await forms.read_form(request)
        if not cookie:
            return self._to_signin(tenant)
        origin = self._kit.urls.origin(tenant)
        forms.check_post(request, form, csrf_secret(cookie), origin=origin, purpose=PURPOSE)
        try:
            done = await self._kit.uow.write(
                partial(self._carry_out, tenant=tenant, cookie=cookie, form=form), trace=trace_of(request)
            )
        except (Invalid, NotPermitted) as error:
            return await self._shown(request, form, error)
        if not done:
            return self._to_signin(tenant)
        return RedirectResponse(path_of(self._kit.urls.break_glass(tenant)), 303)

    def _carry_out(self, ctx: Context, tenant: TenantId, cookie: str, form: Form) -> bool:
        """Open or end a use; return False if nobody is signed in."""
        signed_in = frontchannel.signed_in(ctx, self._kit.urls.site(tenant), cookie)
        if signed_in is None:
            return False
        as_person = ctx.as_actor(actor_of(signed_in.person))
        if use := form.one("end"):
            if not _ID.fullmatch(use):
                raise NotFound("break_glass_not_found", "There is no such emergency access.")
            service.end_use(as_person, use)
            return True
        launch = form.one("launch")
        if not _ID.fullmatch(launch):
            raise Invalid(
                "launch_missing", "Choose the app and patient that it is for.", fields={"launch": "missing"}
            )
        service.open_use(as_person, NewUse(LaunchId(launch), form.one("reason")))
        return True

    async def _shown(self, request: Request, form: Form, error: HilumError | None = None) -> Response:
        tenant, cookie = self._tenant_and_cookie(request)

        def verb(ctx: Context) -> dict[str, Any] | None:
            signed_in = frontchannel.signed_in(ctx, self._kit.urls.site(tenant), cookie)
            return None if signed_in is None else _page_facts(ctx, signed_in)

        facts = await self._kit.uow.write(verb, trace=trace_of(request))
        if facts is None:
            return self._to_signin(tenant)
        fields = error.fields if isinstance(error, Invalid) else {}
        explained = {name: each["detail"] for name, each in faults.explained(fields).items()}
        status = 200 if error is None else 422 if isinstance(error, Invalid) else 403
        return self._kit.pages.render(
            request,
            "breakglass/ask.html",
            status=status,
            csrf=forms.csrf_token(csrf_secret(cookie), PURPOSE),
            given=form,
            faults=explained,
            refused="" if error is None or explained else error.detail,
            manage=path_of(self._kit.urls.manage(tenant)),
            signout=self._kit.urls.signout(tenant),
            **facts,
        )

    def _tenant_and_cookie(self, request: Request) -> tuple[TenantId, str]:
        tenant = str(request.path_params["tenant"])
        if not fits_tenant_id(tenant):
            raise NotFound("tenant_not_found", "This address does not belong to a hospital on this platform.")
        cookie = cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure(tenant))
        return TenantId(tenant), cookie

    def _to_signin(self, tenant: TenantId) -> Response:
        then = path_of(self._kit.urls.break_glass(tenant))
        return RedirectResponse(self._kit.urls.signin(tenant, then=then), 303)


def _page_facts(ctx: Context, signed_in: frontchannel.SignedIn) -> dict[str, Any]:
    tenant, person = signed_in
    as_person = ctx.as_actor(actor_of(person))
    facts: dict[str, Any] = {"person": person.name, "tenant": tenant.name, "open": [], "waiting": []}
    if not policy.may_ask(as_person.actor):
        return facts | {"closed": policy.DETAILS["break_glass_role"]}
    settings = service.view_settings(as_person, tenant.id)
    own = service.list_uses(as_person, UseQuery(person=person.id, waiting=True))
    openable = service.list_openable(as_person)
    named = {each.client for each in openable} | {each.client for each in own}
    # The page does without the name of a client that was changed in the database since it was attested: an emergency must not fail for it.
    names: dict[str, str] = {each: each for each in named} | {
        each.id: each.name for each in clients.read_named(ctx, named)
    }
    return facts | {
        "closed": "" if settings.enabled else policy.DETAILS["break_glass_off"],
        "minutes": settings.minutes,
        "per_day": settings.per_day,
        "categories": joined((Sentence(each.replace("_", " ")) for each in settings.categories), ", "),
        "launches": [(each.id, _launch_label(each, names[each.client])) for each in openable],
        "open": [(each, names[each.client]) for each in own if policy.is_running(each, ctx.now)],
        "waiting": [(each, names[each.client]) for each in own if not policy.is_running(each, ctx.now)],
    }


def _launch_label(launch: Launch, app: str) -> str:
    return Sentence(
        "%(app)s on patient %(patient)s, opened at %(time)s UTC",
        app=app,
        patient=launch.patient,
        time=f"{launch.created_at:%H:%M}",
    )
