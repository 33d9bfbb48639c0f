"""Routes of the authorization endpoint, its pages, and the connected apps: parse, call one verb, render.

Source: RFC 6749 section 3.1; RFC 9700 section 4.12 (303 after a form post); SMART App Launch 2.2, app-launch.
"""

from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.authorization.authorize import pages, picker, service
from hilum.authorization.authorize.connected import ConnectedApps
from hilum.authorization.authorize.flow import FlowResult, FlowState, NeedsLogin
from hilum.authorization.authorize.models import Step
from hilum.authorization.authorize.picker import PatientChoice, PatientDirectory, ReadRefused, RecordReader
from hilum.authorization.authorize.policy import DisplayedError, Redirect, RefusedLaunch
from hilum.authorization.authorize.service import StoredRequest
from hilum.foundation.infra.context import Trace
from hilum.foundation.kernel.decision import Deny, ReadPurpose
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.standards import oauth
from hilum.foundation.standards.languages import language_of
from hilum.foundation.standards.oauth import read_parameters
from hilum.foundation.standards.smart import launch as smart_launch
from hilum.foundation.web import cookies, forms, languages
from hilum.foundation.web.branding import app_logo
from hilum.foundation.web.kit import NOWHERE, Kit, SignInTarget, trace_of
from hilum.foundation.web.refusals import Refusals
from hilum.foundation.web.urls import Site, path_of
from hilum.identity.people import policy as identity_policy
from hilum.identity.signin import policy as signin_policy
from hilum.records.keys.live import vault

REQUEST_PURPOSE = "authserver.request"
MANAGE_PURPOSE = "authserver.manage"
_FRAMES = frozenset({"iframe", "frame", "embed", "object"})


@dataclass(frozen=True, slots=True)
class BrowserRequest:
    """What every endpoint reads from a request. ``framed``: inside a frame, which has the EHR's partitioned session cookie."""

    site: Site
    cookie: str
    framed: bool
    trace: Trace


class AuthorizeRoutes:
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
        browser = self._browser(request)
        pairs = oauth.decode_form(request.scope.get("query_string", b"").decode("latin-1"))
        if request.method == "POST":
            body = await self._body_pairs(request)
            # Joined, so that a parameter in both the query and the body counts as repeated.
            pairs = None if pairs is None or body is None else [*pairs, *body]
        if pairs is None:
            return pages.displayed_error(
                self._kit, request, DisplayedError("request_malformed", "The app sent something unreadable.")
            )
        parameters = read_parameters(pairs)
        sealed = parameters.get("request")
        if request.method == "GET" and sealed and not parameters.get("client_id"):
            return await self._resume(request, browser, sealed)
        source = browser.trace.source
        recorded = self._refusals.is_recorded(source)
        begin = partial(service.begin, site=browser.site, parameters=parameters, recorded=recorded)
        begun = await self._kit.uow.write(begin, trace=browser.trace)
        if isinstance(begun, StoredRequest):
            # By a GET of this origin, because a cross-site POST
            # sends no Lax cookie and so no session (ADR 14).
            onward = _see_other(self._step_url(browser, begun.request.id))
            ui_locales, secure = parameters.get("ui_locales"), self._kit.pages.shell.secure
            languages.remember_asked(request, onward, ui_locales, secure=secure)
            return onward
        self._refusals.refused(browser.site.tenant, source, recorded=recorded)
        return self._end(request, begun)

    async def _read_step_form(
        self, request: Request, multi: tuple[str, ...] = ()
    ) -> tuple[BrowserRequest, forms.Form, str] | Response:
        """Read the form of a step, and the id of its authorization request. Without a session cookie, redirect to the step, which asks for sign-in.

        Raises Invalid, NotFound, NotPermitted.
        """
        browser = self._browser(request)
        form = await forms.read_form(request, multi=multi)
        request_id = self._unseal(browser, form.one("request"))
        if not browser.cookie:
            return _see_other(self._step_url(browser, request_id))
        self._check(request, browser, form, request_id)
        return browser, form, request_id

    async def context(self, request: Request) -> Response:
        """Process the choice of a patient and an encounter."""
        posted = await self._read_step_form(request)
        if isinstance(posted, Response):
            return posted
        browser, form, request_id = posted
        patient = form.one("patient")
        encounter = form.one("encounter") if "encounter" in form else None
        resumed = await self._kit.uow.write(
            partial(service.resume, site=browser.site, request_id=request_id, cookie=browser.cookie),
            trace=browser.trace,
        )
        if not isinstance(resumed, FlowState) or resumed.step is not Step.CHOOSE_CONTEXT:
            return await self._respond(request, browser, resumed)
        # The FHIR server is read between two transactions, so the verb below judges the choice again.
        may_open = service.may_open(resumed.person, patient)
        try:
            exists = may_open and await self._choice_exists(browser, resumed, patient, encounter)
        except ReadRefused as refused:
            return self._refused_picker(request, browser, resumed, refused.deny)
        # A patient whom the person may not open is not read; the verb refuses the choice and records it.
        choice = service.Choice(patient if exists or not may_open else "", encounter)
        chosen = await self._kit.uow.write(
            partial(
                service.choose_context,
                site=browser.site,
                request_id=request_id,
                cookie=browser.cookie,
                choice=choice,
            ),
            trace=browser.trace,
        )
        if isinstance(chosen, FlowState) and chosen.step is Step.CHOOSE_CONTEXT:
            return await self._picker(
                request, browser, chosen, patient=patient if exists else "", wrong=not exists
            )
        return await self._respond(request, browser, chosen)

    async def consent(self, request: Request) -> Response:
        """Process the answer on the consent page or the notice: allow what is ticked, deny, or deny and remove the app."""
        posted = await self._read_step_form(request, multi=("scope", "topic"))
        if isinstance(posted, Response):
            return posted
        browser, form, request_id = posted
        decision = form.one("decision")
        if decision not in {"allow", "deny", "remove"}:
            raise Invalid("decision_missing", "Press Allow or Deny.")
        allow, remove = decision == "allow", decision == "remove"
        language = language_of(form.one("language"))
        answer = service.Answer(
            allow,
            form.many("scope"),
            form.many("topic"),
            remove,
            form.one("shown"),
            language.value if language else "",
        )
        decided = await self._kit.uow.write(
            partial(
                service.decide,
                site=browser.site,
                request_id=request_id,
                cookie=browser.cookie,
                answer=answer,
            ),
            trace=browser.trace,
        )
        return await self._respond(request, browser, decided)

    async def manage(self, request: Request) -> Response:
        """Show the connected apps of the signed-in person."""
        browser = self._browser(request)
        listed = await self._kit.uow.write(
            partial(service.connected_apps, site=browser.site, cookie=browser.cookie), trace=browser.trace
        )
        if listed is None:
            return self._to_signin(browser, self._kit.urls.manage(browser.site.tenant))
        query = forms.read_query(request)
        csrf = forms.csrf_token(signin_policy.csrf_secret(browser.cookie), MANAGE_PURPOSE)
        names = await self._names_of_others(browser, listed)
        return pages.manage(self._kit, request, listed, csrf=csrf, done=query.one("done"), names=names)

    async def manage_post(self, request: Request) -> Response:
        """Remove an app, or some of its permissions."""
        browser = self._browser(request)
        form = await forms.read_form(request, multi=("scope",))
        manage_url = self._kit.urls.manage(browser.site.tenant)
        if not browser.cookie:
            return self._to_signin(browser, manage_url)
        self._check(request, browser, form, MANAGE_PURPOSE)
        action, authorization = form.one("action"), form.one("authorization")
        if action not in {"remove", "narrow"}:
            raise Invalid("action_unknown", "The form does not say what to do.")
        verb = (
            partial(service.disconnect, site=browser.site, cookie=browser.cookie, authorization=authorization)
            if action == "remove"
            else partial(
                service.narrow_app,
                site=browser.site,
                cookie=browser.cookie,
                authorization=authorization,
                ticked=form.many("scope"),
            )
        )
        is_signed_in = await self._kit.uow.write(verb, trace=browser.trace)
        if not is_signed_in:
            return self._to_signin(browser, manage_url)
        return _see_other(f"{path_of(manage_url)}?done={action}")

    async def find_sign_in_target(self, request: Request, tenant: str, then: str) -> SignInTarget:
        """Find the authorization request that continues after sign-in at ``then``: its app, and the origin of its redirect URI."""
        path, _, query = then.partition("?")
        pairs = oauth.decode_form(query)
        # Only for a stored request: a link to the sign-in page must not open form-action for any address.
        if path != path_of(self._kit.urls.authorize(tenant)) or pairs is None:
            return NOWHERE
        site = self._kit.urls.site(TenantId(tenant))
        try:
            sealed = read_parameters(pairs).get("request")
            request_id = vault().open(REQUEST_PURPOSE, sealed, site.tenant).decode()
        except Invalid:
            return NOWHERE
        verb = partial(service.find_waiting, site=site, request_id=request_id)
        waiting = await self._kit.uow.read(verb, trace=trace_of(request))
        if waiting is None:
            return NOWHERE
        logo = app_logo(self._kit.urls, waiting.app_id, waiting.logo)
        return SignInTarget(waiting.app, (oauth.form_action_source(waiting.redirect_uri),), logo)

    # --- pages -----------------------------------------------------------------------------------------------------------------

    async def _resume(self, request: Request, browser: BrowserRequest, sealed: str) -> Response:
        request_id = self._unseal(browser, sealed)
        result = await self._kit.uow.write(
            partial(service.resume, site=browser.site, request_id=request_id, cookie=browser.cookie),
            trace=browser.trace,
        )
        return await self._respond(request, browser, result)

    async def _respond(self, request: Request, browser: BrowserRequest, result: FlowResult) -> Response:
        if isinstance(result, NeedsLogin):
            step_url = self._step_url(browser, result.request.id)
            # Sign-in is never framed (clickjacking), so the person continues in another window.
            if browser.framed:
                return pages.continue_in_window(self._kit, request, result.tenant, step_url)
            fresh = "login" in result.request.prompt or result.request.max_age_s is not None
            return self._to_signin(browser, step_url, fresh=fresh)
        if not isinstance(result, FlowState):
            return self._end(request, result)
        # Redirected, so that a reload does not send the form again.
        if request.method == "POST" and result.step is not Step.CHOOSE_CONTEXT:
            return _see_other(self._step_url(browser, result.request.id))
        if result.step is Step.CHOOSE_CONTEXT:
            return await self._picker(request, browser, result)
        fields = self._fields(browser, result)
        whose = await self._record_of_another(browser, result)
        return pages.consent(self._kit, request, result, fields, whose=whose)

    async def _names_of_others(self, browser: BrowserRequest, listed: ConnectedApps) -> dict[str, str]:
        """Read the names of patients whose records a proxy has shared; empty if the hospital's records cannot be read."""
        shared = {each.authorization.patient for each in listed.apps}
        others = (
            patient
            for patient in shared
            if patient in listed.person.patients and not pages.is_own(listed.person, patient)
        )
        reader = service.SignedIn(listed.tenant, listed.person)
        now = self._kit.clock.now()
        patients = await service.read_patients(self._directory, reader, others, now, browser.trace)
        return {each.id: each.name for each in patients.values()}

    async def _record_of_another(self, browser: BrowserRequest, flow_state: FlowState) -> str:
        """Return the label of the record that a proxy is about to share, by its id if the name cannot be read; empty for their own record."""
        patient = flow_state.request.patient
        if flow_state.step is not Step.CONSENT or pages.is_own(flow_state.person, patient):
            return ""
        reader = self._record_reader(browser, flow_state, ReadPurpose.RECORD_NAME)
        try:
            record = await picker.find_patient(reader, patient)
        except ReadRefused:
            record = None
        return picker.label(record or PatientChoice(patient, Sentence("Patient %(id)s", id=patient)))

    def _record_reader(
        self, browser: BrowserRequest, flow_state: FlowState, purpose: ReadPurpose = ReadPurpose.PICKER
    ) -> RecordReader:
        request, grant = flow_state.request, service.reader_of(flow_state)
        return RecordReader(self._directory, grant, purpose, request.created_at, request.id, browser.trace)

    async def _picker(
        self,
        request: Request,
        browser: BrowserRequest,
        flow_state: FlowState,
        *,
        patient: str = "",
        wrong: bool = False,
    ) -> Response:
        try:
            return await self._picker_page(request, browser, flow_state, patient=patient, wrong=wrong)
        except ReadRefused as refused:
            return self._refused_picker(request, browser, flow_state, refused.deny)

    async def _picker_page(
        self, request: Request, browser: BrowserRequest, flow_state: FlowState, *, patient: str, wrong: bool
    ) -> Response:
        query, reader = forms.read_query(request), self._record_reader(browser, flow_state)
        fields = self._fields(browser, flow_state)
        if patient and smart_launch.requested_context(flow_state.offered)[1]:
            chosen = await picker.find_patient(reader, patient)
            visits = await picker.encounters(reader, patient)
            if chosen is not None:
                return pages.pick_encounter(
                    self._kit, request, flow_state, fields, chosen=chosen, visits=visits
                )
        text, after = query.one("q"), query.one("after")
        openable, needs_name = identity_policy.patients_openable(flow_state.person), False
        if openable is not None:
            page = picker.PatientPage(await picker.find_patients(reader, openable))
        elif needs_name := _needs_name(flow_state) and not (text.strip() or after):
            page = picker.PatientPage(())
        else:
            page = await picker.search_patients(reader, text=text, after=after)
        view = pages.PickerView(page, text, searchable=openable is None, wrong=wrong, needs_name=needs_name)
        return pages.pick_patient(self._kit, request, flow_state, fields, view)

    def _refused_picker(
        self, request: Request, browser: BrowserRequest, flow_state: FlowState, deny: Deny
    ) -> Response:
        return pages.picker_refused(self._kit, request, flow_state, self._fields(browser, flow_state), deny)

    async def _choice_exists(
        self, browser: BrowserRequest, flow_state: FlowState, patient: str, encounter: str | None
    ) -> bool:
        """Check that the chosen patient exists, and that the encounter is the patient's. Raises ReadRefused."""
        reader = self._record_reader(browser, flow_state)
        if await picker.find_patient(reader, patient) is None:
            return False
        return not encounter or await picker.has_encounter(reader, patient, encounter)

    def _end(self, request: Request, ended: Redirect | RefusedLaunch | DisplayedError) -> Response:
        if isinstance(ended, Redirect):
            return _see_other(ended.uri)
        if isinstance(ended, RefusedLaunch):
            return pages.refused_launch(self._kit, request, ended)
        return pages.displayed_error(self._kit, request, ended)

    # --- helpers ---------------------------------------------------------------------------------------------------------------

    def _browser(self, request: Request) -> BrowserRequest:
        tenant = str(request.path_params["tenant"])
        if not identity_policy.fits_tenant_id(tenant):
            raise NotFound("tenant_not_found", "This address does not belong to a hospital on this platform.")
        # Sec-Fetch-Dest is set by the browser, never by scripts. A frame of another site has its own
        # session, in that site's cookie partition.
        framed = request.headers.get("sec-fetch-dest", "") in _FRAMES
        kind = cookies.FRAME_SESSION if framed else cookies.SESSION
        cookie = cookies.read(request, kind, secure=self._kit.urls.is_secure(tenant))
        return BrowserRequest(self._kit.urls.site(TenantId(tenant)), cookie, framed, trace_of(request))

    async def _body_pairs(self, request: Request) -> list[tuple[str, str]] | None:
        if not forms.is_form(request):
            return None
        body = await forms.read_body(request, oauth.BODY_BOUND)
        return oauth.decode_form(body.decode("latin-1")) if body.isascii() else None

    def _check(self, request: Request, browser: BrowserRequest, form: forms.Form, purpose: str) -> None:
        secret = signin_policy.csrf_secret(browser.cookie)
        origin = self._kit.urls.origin(browser.site.tenant)
        forms.check_post(request, form, secret, origin=origin, purpose=purpose)

    def _fields(self, browser: BrowserRequest, flow_state: FlowState) -> pages.Fields:
        request_id = flow_state.request.id
        return pages.Fields(
            sealed=self._seal(browser, request_id),
            csrf=forms.csrf_token(signin_policy.csrf_secret(browser.cookie), request_id),
            action=path_of(self._kit.urls.authorize(browser.site.tenant)),
        )

    def _seal(self, browser: BrowserRequest, request_id: str) -> str:
        return vault().seal(
            # Bound to this tenant: an id that was seen elsewhere, or guessed, opens no page.
            REQUEST_PURPOSE,
            request_id.encode(),
            nonce=self._kit.ids,
            bound_to=browser.site.tenant,
        )

    def _unseal(self, browser: BrowserRequest, sealed: str) -> str:
        try:
            return vault().open(REQUEST_PURPOSE, sealed, browser.site.tenant).decode()
        except Invalid:
            _unknown_request()

    def _step_url(self, browser: BrowserRequest, request_id: str) -> str:
        return self._kit.urls.authorize_step(browser.site.tenant, self._seal(browser, request_id))

    def _to_signin(self, browser: BrowserRequest, back: str, *, fresh: bool = False) -> Response:
        return _see_other(self._kit.urls.signin(browser.site.tenant, then=path_of(back), fresh=fresh))


def _unknown_request() -> NoReturn:
    raise NotFound("request_unknown", "There is no such authorization request. Start again from the app.")


def _needs_name(flow_state: FlowState) -> bool:
    """Check whether the hospital's FHIR server lists patients by a criterion only."""
    quirks = identity_policy.quirks_of(flow_state.client_context.tenant.upstream.quirks)
    return quirks is not None and quirks.patient_criteria


def _see_other(url: str) -> Response:
    # 303, never 307 or 308: those would repeat the POST, and
    # so send the form to the app (RFC 9700 section 4.12).
    return RedirectResponse(url, 303, headers={"cache-control": "no-store", "referrer-policy": "no-referrer"})
