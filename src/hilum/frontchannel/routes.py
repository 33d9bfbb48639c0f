"""Routes of the authorization endpoint, its pages, and the connected apps: parse, call one verb, render.

Source: RFC 6749 section 3.1; RFC 9700 section 4.12 (303 after a form post); SMART App Launch 2.2, app-launch.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.frontchannel import pages, picker, service
from hilum.frontchannel.flow import FlowResult, FlowState, NeedsLogin
from hilum.frontchannel.models import Step
from hilum.frontchannel.picker import Look, LookRefused, PatientChoice, PatientDirectory
from hilum.frontchannel.policy import DisplayedError, Redirect, RefusedLaunch
from hilum.frontchannel.service import Stored
from hilum.identity import policy as identity_policy
from hilum.infra.context import Trace
from hilum.kernel.decision import Deny, ReadPurpose
from hilum.kernel.errors import Invalid, NotFound
from hilum.kernel.ids import TenantId
from hilum.kernel.sentences import Sentence
from hilum.keys.live import vault
from hilum.signin import policy as signin_policy
from hilum.standards import oauth
from hilum.standards.languages import language_of
from hilum.standards.oauth import read_parameters
from hilum.standards.smart import launch as smart_launch
from hilum.web import cookies, forms, languages
from hilum.web.branding import app_logo
from hilum.web.kit import NOWHERE, Kit, Onward, trace_of
from hilum.web.refusals import Refusals
from hilum.web.urls import Site, path_of

REQUEST_PURPOSE = "authserver.request"
MANAGE_PURPOSE = "authserver.manage"
_TENANT = re.compile(r"[a-z0-9-]{1,32}")
_FRAMES = frozenset({"iframe", "frame", "embed", "object"})


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser's request: its site and session cookie. ``framed``: inside a frame, which has the EHR's partitioned session."""

    site: Site
    cookie: str
    framed: bool
    trace: Trace


class FrontChannel:
    """The endpoints for people's browsers."""

    def __init__(self, kit: Kit, directory: PatientDirectory) -> None:
        self._kit, self._directory = kit, directory
        self._refusals = Refusals(kit.uow, service.record_counts)

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        root = "/t/{tenant}/oauth"
        return [
            Route(f"{root}/authorize", self.authorize, methods=["GET", "POST"]),
            Route(f"{root}/authorize/context", self.context, methods=["POST"]),
            Route(f"{root}/authorize/consent", self.consent, methods=["POST"]),
            Route(f"{root}/manage", self.manage, methods=["GET"]),
            Route(f"{root}/manage", self.manage_post, methods=["POST"]),
        ]

    def record_counts_soon(self) -> None:
        """Record counted refusals; also called when the process stops."""
        self._refusals.record_soon()

    async def authorize(self, request: Request) -> Response:
        """Start an authorization request, by GET or POST (C29), or show the next page of the one in ``request``."""
        visit = self._visit(request)
        pairs = oauth.decode_form(request.scope.get("query_string", b"").decode("latin-1"))
        if request.method == "POST":
            body = await self._body_pairs(request)
            # Together, so that a parameter that stands in both counts as repeated.
            pairs = None if pairs is None or body is None else [*pairs, *body]
        if pairs is None:
            return pages.trouble(
                self._kit, request, DisplayedError("request_malformed", "The app sent something unreadable.")
            )
        parameters = read_parameters(pairs)
        sealed = parameters.get("request")
        if request.method == "GET" and sealed and not parameters.get("client_id"):
            return await self._page(request, visit, sealed)
        source = visit.trace.source
        recorded = self._refusals.is_recorded(source)
        begin = partial(service.begin, site=visit.site, parameters=parameters, recorded=recorded)
        begun = await self._kit.uow.write(begin, trace=visit.trace)
        if isinstance(begun, Stored):
            # To a GET of our own: a cross-site POST brings no Lax cookie, so the session is not
            # known here (ADR 14).
            onward = _see_other(self._step_url(visit, begun.request.id))
            ui_locales, secure = parameters.get("ui_locales"), self._kit.pages.shell.secure
            languages.remember_asked(request, onward, ui_locales, secure=secure)
            return onward
        self._refusals.refused(visit.site.tenant, source, recorded=recorded)
        return self._ended(request, begun)

    async def _posted(
        self, request: Request, multi: tuple[str, ...] = ()
    ) -> tuple[Visit, forms.Form, str] | Response:
        """Return the form of a step and the authorization request that it is of; without a cookie the way back to the step. Raises Invalid, NotPermitted."""
        visit = self._visit(request)
        form = await forms.read_form(request, multi=multi)
        request_id = self._opened(visit, form.one("request"))
        if not visit.cookie:
            return _see_other(self._step_url(visit, request_id))
        self._check(request, visit, form, request_id)
        return visit, form, request_id

    async def context(self, request: Request) -> Response:
        """Process the chosen patient and encounter."""
        posted = await self._posted(request)
        if isinstance(posted, Response):
            return posted
        visit, form, request_id = posted
        patient = form.one("patient")
        encounter = form.one("encounter") if "encounter" in form else None
        resumed = await self._kit.uow.write(
            partial(service.resume, site=visit.site, request_id=request_id, cookie=visit.cookie),
            trace=visit.trace,
        )
        if not isinstance(resumed, FlowState) or resumed.step is not Step.CHOOSE_CONTEXT:
            return await self._shown(request, visit, resumed)
        # The FHIR server is asked between two transactions, so the verb below judges the choice
        # again.
        within = service.may_open(resumed.person, patient)
        try:
            exists = within and await self._exists(visit, resumed, patient, encounter)
        except LookRefused as refused:
            return self._refused_picker(request, visit, resumed, refused.deny)
        # A patient out of reach is not read from the FHIR server; the verb refuses the choice and records it.
        choice = service.Choice(patient if exists or not within else "", encounter)
        chosen = await self._kit.uow.write(
            partial(
                service.choose_context,
                site=visit.site,
                request_id=request_id,
                cookie=visit.cookie,
                choice=choice,
            ),
            trace=visit.trace,
        )
        if isinstance(chosen, FlowState) and chosen.step is Step.CHOOSE_CONTEXT:
            return await self._picker(
                request, visit, chosen, patient=patient if exists else "", wrong=not exists
            )
        return await self._shown(request, visit, chosen)

    async def consent(self, request: Request) -> Response:
        """Process the consent form: allow what is ticked, deny, or deny and remove the app."""
        posted = await self._posted(request, multi=("scope", "topic"))
        if isinstance(posted, Response):
            return posted
        visit, form, request_id = posted
        decision = form.one("decision")
        if decision not in {"allow", "deny", "remove"}:
            raise Invalid("decision_missing", "Press allow or deny.")
        allow, remove = decision == "allow", decision == "remove"
        language = language_of(form.one("language"))
        answer = service.Answer(
            allow, form.many("scope"), form.many("topic"), remove, language.value if language else ""
        )
        decided = await self._kit.uow.write(
            partial(
                service.decide,
                site=visit.site,
                request_id=request_id,
                cookie=visit.cookie,
                answer=answer,
            ),
            trace=visit.trace,
        )
        return await self._shown(request, visit, decided)

    async def manage(self, request: Request) -> Response:
        """Show the connected apps of the signed-in person."""
        visit = self._visit(request)
        listed = await self._kit.uow.write(
            partial(service.connected_apps, site=visit.site, cookie=visit.cookie), trace=visit.trace
        )
        if listed is None:
            return self._to_signin(visit, self._kit.urls.manage(visit.site.tenant))
        query = forms.read_query(request)
        csrf = forms.csrf_token(signin_policy.csrf_secret(visit.cookie), MANAGE_PURPOSE)
        names = await self._names_of_others(visit, listed)
        return pages.manage(self._kit, request, listed, csrf=csrf, done=query.one("done"), names=names)

    async def manage_post(self, request: Request) -> Response:
        """Remove an app, or some of its permissions."""
        visit = self._visit(request)
        form = await forms.read_form(request, multi=("scope",))
        manage_url = self._kit.urls.manage(visit.site.tenant)
        if not visit.cookie:
            return self._to_signin(visit, manage_url)
        self._check(request, visit, form, MANAGE_PURPOSE)
        action, authorization = form.one("action"), form.one("authorization")
        if action not in {"remove", "narrow"}:
            raise Invalid("action_unknown", "The form does not say what to do.")
        verb = (
            partial(service.disconnect, site=visit.site, cookie=visit.cookie, authorization=authorization)
            if action == "remove"
            else partial(
                service.narrow_app,
                site=visit.site,
                cookie=visit.cookie,
                authorization=authorization,
                ticked=form.many("scope"),
            )
        )
        is_signed_in = await self._kit.uow.write(verb, trace=visit.trace)
        if not is_signed_in:
            return self._to_signin(visit, manage_url)
        return _see_other(f"{path_of(manage_url)}?done={action}")

    async def find_onward(self, request: Request, tenant: str, then: str) -> Onward:
        """Return what waits after sign-in: the app of the authorization request, and the origin of its redirect URI."""
        path, _, query = then.partition("?")
        pairs = oauth.decode_form(query)
        # form-action is opened for a waiting request only, not for any address in a link to the
        # sign-in page.
        if path != path_of(self._kit.urls.authorize(tenant)) or pairs is None:
            return NOWHERE
        site = self._kit.urls.site(TenantId(tenant))
        try:
            sealed = read_parameters(pairs).get("request")
            request_id = vault().open(REQUEST_PURPOSE, sealed, site.tenant).decode()
        except Invalid:
            return NOWHERE
        verb = partial(service.waiting, site=site, request_id=request_id)
        found = await self._kit.uow.read(verb, trace=trace_of(request))
        if found is None:
            return NOWHERE
        logo = app_logo(self._kit.urls, found.app_id, found.logo)
        return Onward(found.app, (oauth.form_action_source(found.redirect_uri),), logo)

    # --- pages -----------------------------------------------------------------------------------------------------------------

    async def _page(self, request: Request, visit: Visit, sealed: str) -> Response:
        request_id = self._opened(visit, sealed)
        result = await self._kit.uow.write(
            partial(service.resume, site=visit.site, request_id=request_id, cookie=visit.cookie),
            trace=visit.trace,
        )
        return await self._shown(request, visit, result)

    async def _shown(self, request: Request, visit: Visit, result: FlowResult) -> Response:
        if isinstance(result, NeedsLogin):
            step_url = self._step_url(visit, result.request.id)
            # Sign-in is never framed (clickjacking), so the person continues in a window of their
            # own.
            if visit.framed:
                return pages.window(self._kit, request, result.tenant, step_url)
            asked = result.request
            fresh = "login" in asked.prompt or asked.max_age_s is not None
            return self._to_signin(visit, step_url, fresh=fresh)
        if not isinstance(result, FlowState):
            return self._ended(request, result)
        # Redirected, so that a reload does not send the form again.
        if request.method == "POST" and result.step is not Step.CHOOSE_CONTEXT:
            return _see_other(self._step_url(visit, result.request.id))
        if result.step is Step.CHOOSE_CONTEXT:
            return await self._picker(request, visit, result)
        fields = self._fields(visit, result)
        whose = await self._record_of_another(visit, result)
        return pages.consent(self._kit, request, result, fields, whose=whose)

    async def _names_of_others(self, visit: Visit, listed: service.ConnectedApps) -> dict[str, str]:
        """Read the names of patients whose records a proxy has shared; empty if the hospital's records cannot be read."""
        seen = {each.authorization.patient for each in listed.apps}
        others = sorted(
            patient
            for patient in seen
            if patient in listed.person.patients and not pages.is_own(listed.person, patient)
        )
        reader, now = service.reader_of_person(listed.person, listed.tenant), self._kit.clock.now()
        look = Look(self._directory, reader, ReadPurpose.RECORD_NAME, now, MANAGE_PURPOSE, visit.trace)
        try:
            found = await picker.own_charts(look, others)
        except LookRefused:
            # The page serves without names: removing an app must not depend on the hospital's FHIR
            # server.
            return {}
        return {choice.id: choice.name for choice in found}

    async def _record_of_another(self, visit: Visit, flow_state: FlowState) -> str:
        """Return whose record a proxy is about to share, by its id if the name cannot be read; empty for their own."""
        patient = flow_state.request.patient
        if flow_state.step is not Step.CONSENT or pages.is_own(flow_state.person, patient):
            return ""
        try:
            found = await picker.find_patient(self._look(visit, flow_state, ReadPurpose.RECORD_NAME), patient)
        except LookRefused:
            found = None
        return pages.label(found or PatientChoice(patient, Sentence("Patient %(id)s", id=patient)))

    def _look(self, visit: Visit, flow_state: FlowState, purpose: ReadPurpose = ReadPurpose.PICKER) -> Look:
        request = flow_state.request
        reader = service.reader_of(flow_state)
        return Look(self._directory, reader, purpose, request.created_at, request.id, visit.trace)

    async def _picker(
        self, request: Request, visit: Visit, flow_state: FlowState, *, patient: str = "", wrong: bool = False
    ) -> Response:
        try:
            return await self._looked(request, visit, flow_state, patient=patient, wrong=wrong)
        except LookRefused as refused:
            return self._refused_picker(request, visit, flow_state, refused.deny)

    async def _looked(
        self, request: Request, visit: Visit, flow_state: FlowState, *, patient: str, wrong: bool
    ) -> Response:
        query, look = forms.read_query(request), self._look(visit, flow_state)
        fields = self._fields(visit, flow_state)
        if patient and smart_launch.requested_context(flow_state.offered)[1]:
            chosen = await picker.find_patient(look, patient)
            visits = await picker.encounters(look, patient)
            if chosen is not None:
                return pages.pick_encounter(
                    self._kit, request, flow_state, fields, chosen=chosen, visits=visits
                )
        text, after = query.one("q"), query.one("after")
        openable = identity_policy.patients_openable(flow_state.person)
        if openable is not None:
            page = picker.PatientPage(await picker.own_charts(look, openable))
        else:
            page = await picker.search(look, text=text, after=after)
        view = pages.PickerView(page, text, searchable=openable is None, wrong=wrong)
        return pages.pick_patient(self._kit, request, flow_state, fields, view)

    def _refused_picker(self, request: Request, visit: Visit, flow_state: FlowState, deny: Deny) -> Response:
        return pages.picker_refused(self._kit, request, flow_state, self._fields(visit, flow_state), deny)

    async def _exists(self, visit: Visit, flow_state: FlowState, patient: str, encounter: str | None) -> bool:
        """Check that the chosen patient exists, and that the encounter is the patient's. Raises LookRefused."""
        look = self._look(visit, flow_state)
        if await picker.find_patient(look, patient) is None:
            return False
        return not encounter or await picker.has_encounter(look, patient, encounter)

    def _ended(self, request: Request, ended: Redirect | RefusedLaunch | DisplayedError) -> Response:
        if isinstance(ended, Redirect):
            return _see_other(ended.uri)
        if isinstance(ended, RefusedLaunch):
            return pages.refused(self._kit, request, ended)
        return pages.trouble(self._kit, request, ended)

    # --- small parts -----------------------------------------------------------------------------------------------------------

    def _visit(self, request: Request) -> Visit:
        tenant = str(request.path_params["tenant"])
        if not _TENANT.fullmatch(tenant):
            raise NotFound("tenant_not_found", "There is no such hospital here.")
        # Set by the browser and not by scripts. A frame of another site has a session of its own,
        # in that site's partition.
        framed = request.headers.get("sec-fetch-dest", "") in _FRAMES
        kind = cookies.FRAME_SESSION if framed else cookies.SESSION
        cookie = cookies.read(request, kind, secure=self._kit.urls.is_secure(tenant))
        return Visit(self._kit.urls.site(TenantId(tenant)), cookie, framed, trace_of(request))

    async def _body_pairs(self, request: Request) -> list[tuple[str, str]] | None:
        if not forms.is_form(request):
            return None
        body = await forms.read_body(request, oauth.BODY_BOUND)
        return oauth.decode_form(body.decode("latin-1")) if body.isascii() else None

    def _check(self, request: Request, visit: Visit, form: forms.Form, purpose: str) -> None:
        secret = signin_policy.csrf_secret(visit.cookie)
        origin = self._kit.urls.origin(visit.site.tenant)
        forms.check_post(request, form, secret, origin=origin, purpose=purpose)

    def _fields(self, visit: Visit, flow_state: FlowState) -> pages.Fields:
        request_id = flow_state.request.id
        return pages.Fields(
            sealed=self._sealed(visit, request_id),
            csrf=forms.csrf_token(signin_policy.csrf_secret(visit.cookie), request_id),
            action=path_of(self._kit.urls.authorize(visit.site.tenant)),
        )

    def _sealed(self, visit: Visit, request_id: str) -> str:
        return vault().seal(
            # Sealed for this tenant: an id that was seen elsewhere, or guessed, opens no page.
            REQUEST_PURPOSE,
            request_id.encode(),
            nonce=self._kit.ids,
            bound_to=visit.site.tenant,
        )

    def _opened(self, visit: Visit, sealed: str) -> str:
        try:
            return vault().open(REQUEST_PURPOSE, sealed, visit.site.tenant).decode()
        except Invalid:
            _unknown_request()

    def _step_url(self, visit: Visit, request_id: str) -> str:
        return self._kit.urls.authorize_step(visit.site.tenant, self._sealed(visit, request_id))

    def _to_signin(self, visit: Visit, back: str, *, fresh: bool = False) -> Response:
        return _see_other(self._kit.urls.signin(visit.site.tenant, then=path_of(back), fresh=fresh))


def _unknown_request() -> NoReturn:
    raise NotFound("request_unknown", "There is no such authorization request. Start again from the app.")


def _see_other(url: str) -> Response:
    # 303, never 307 or 308: those would send the form, with a password or a consent, on to the app
    # (RFC 9700 section 4.12).
    return RedirectResponse(url, 303, headers={"cache-control": "no-store", "referrer-policy": "no-referrer"})
