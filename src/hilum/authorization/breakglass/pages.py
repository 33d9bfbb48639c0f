"""The page on which a clinician breaks the glass for the patient of an EHR launch. It works without script.

``service`` describes the steps of an emergency access.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.authorization.authorize import service as authorize
from hilum.authorization.breakglass import policy, service
from hilum.authorization.breakglass.models import NewUse, Opened, Use, UseQuery
from hilum.authorization.launches.models import Launch
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import LaunchId, TenantId
from hilum.foundation.kernel.sentences import Sentence, enumerated, moment
from hilum.foundation.web import cookies, faults, forms
from hilum.foundation.web.forms import Form
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.urls import path_of, with_query
from hilum.identity.people.policy import fits_tenant_id
from hilum.identity.signin.policy import actor_of, csrf_secret
from hilum.records.audit.models import AccessPage, AccessQuery

TEMPLATES = Path(__file__).parent / "templates"
PURPOSE = "break-glass"
Reader = Callable[[AccessQuery], AccessPage]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def pages(kit: Kit, directory: authorize.PatientDirectory, reader: Reader) -> list[Route]:
    """Build the routes of the page. ``directory`` reads who patients are, ``reader`` what apps were answered."""
    page = _Page(kit, directory, reader)
    path = "/t/{tenant}/oauth/manage/break-glass"
    return [Route(path, page.show, methods=["GET"]), Route(path, page.act, methods=["POST"])]


class _Page:
    def __init__(self, kit: Kit, directory: authorize.PatientDirectory, reader: Reader) -> None:
        self._kit, self._directory, self._reader = kit, directory, reader

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
        signed_in = authorize.signed_in(ctx, self._kit.urls.site(tenant), cookie)
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

        def verb(ctx: Context) -> tuple[authorize.SignedIn, dict[str, Any]] | None:
            signed_in = authorize.signed_in(ctx, self._kit.urls.site(tenant), cookie)
            return None if signed_in is None else (signed_in, _page_facts(ctx, signed_in))

        found = await self._kit.uow.write(verb, trace=trace_of(request))
        launch = form.one("launch") or forms.read_query(request).one("launch")
        if found is None:
            return self._to_signin(tenant, launch)
        signed_in, facts = found
        ids = {each.patient for name in ("launches", "open", "waiting") for each in facts[name]}
        now, trace = self._kit.clock.now(), trace_of(request)
        patients = await authorize.read_patients(self._directory, signed_in, ids, now, trace)
        # By id if the record cannot be read: an emergency does not wait for it.
        called: dict[str, str] = {each: Sentence("patient %(id)s", id=each) for each in ids}
        called |= {each: authorize.label(choice) for each, choice in patients.items()}
        options = [_option(each, facts["names"], called) for each in facts["launches"]]
        if launch and launch not in dict(options):
            # It is over, or another person's: the browser must not offer another patient's in its place.
            options.insert(0, ("", Sentence("Choose the app and patient that it is for.")))
        fields = error.fields if isinstance(error, Invalid) else {}
        explained = {name: each["detail"] for name, each in faults.explained(fields).items()}
        status = 200 if error is None else 422 if isinstance(error, Invalid) else 403
        return self._kit.pages.render(
            request,
            "breakglass/ask.html",
            status=status,
            csrf=forms.csrf_token(csrf_secret(cookie), PURPOSE),
            given=form,
            options=options,
            chosen=launch,
            faults=explained,
            refused="" if error is None or explained else error.detail,
            manage=path_of(self._kit.urls.manage(tenant)),
            signout=self._kit.urls.signout(tenant),
            called=called,
            opened={use.id: await self._opened(request, signed_in, use) for use in facts["open"]},
            kinds=lambda use: _listed(use.categories),
            stays_closed=lambda use: policy.stays_closed(use.categories),
            **facts,
        )

    async def _opened(self, request: Request, signed_in: authorize.SignedIn, use: Use) -> Opened | None:
        """Return what an open use has shown so far; None if that cannot be read now, which must not keep the page shut."""
        verb = partial(service.read_opened, use=use, page=self._reader)
        try:
            with lanes.using(Lane.AUDIT):
                return await self._kit.uow.read(
                    verb, actor=actor_of(signed_in.person), trace=trace_of(request)
                )
        except Unavailable:
            return None

    def _tenant_and_cookie(self, request: Request) -> tuple[TenantId, str]:
        tenant = str(request.path_params["tenant"])
        if not fits_tenant_id(tenant):
            raise NotFound("tenant_not_found", "This address does not belong to a hospital on this platform.")
        cookie = cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure(tenant))
        return TenantId(tenant), cookie

    def _to_signin(self, tenant: TenantId, launch: str = "") -> Response:
        then = path_of(self._kit.urls.break_glass(tenant))
        then = with_query(then, launch=launch) if _ID.fullmatch(launch) else then
        return RedirectResponse(self._kit.urls.signin(tenant, then=then), 303)


def _page_facts(ctx: Context, signed_in: authorize.SignedIn) -> dict[str, Any]:
    tenant, person = signed_in
    as_person = ctx.as_actor(actor_of(person))
    facts: dict[str, Any] = {"person": person.name, "tenant": tenant.name}
    facts |= {"open": [], "waiting": [], "launches": [], "names": {}}
    if not policy.may_ask(as_person.actor):
        return facts | {"closed": policy.DETAILS["break_glass_role"]}
    settings = service.view_settings(as_person, tenant.id)
    own = service.list_uses(as_person, UseQuery(person=person.id, waiting=True))
    openable = service.list_openable(as_person)
    return facts | {
        "closed": "" if settings.enabled else policy.DETAILS["break_glass_off"],
        "minutes": settings.minutes,
        "per_day": settings.per_day,
        "opens": _listed(settings.categories),
        "never": policy.stays_closed(settings.categories),
        "launches": openable,
        "names": service.app_names(as_person, (*openable, *own)),
        "open": [use for use in own if policy.is_running(use, ctx.now)],
        "waiting": [use for use in own if not policy.is_running(use, ctx.now)],
    }


def _listed(categories: Iterable[str]) -> Sentence:
    """Return the kinds that these categories open, as a list in a sentence."""
    return enumerated(map(policy.kind, sorted(policy.opened(categories, categories))))


def _option(launch: Launch, names: dict[str, str], called: dict[str, str]) -> tuple[str, str]:
    began = moment(launch.created_at, seconds=True)  # by which two of one app on one patient differ
    whose = {"app": names[launch.client], "patient": called[launch.patient]}
    return launch.id, Sentence("%(app)s: %(patient)s; opened %(moment)s", moment=began, **whose)
