"""The state of a stored authorization request: the client, the person at the browser, and what may be granted.

The flow, in order (RFC 6749 section 4.1; SMART App Launch 2.2, app-launch):

1. ``service.begin``: client and redirect URI, whose errors are shown; then the other parameters, whose errors are redirected; then the
   app's standing. The request is stored and the browser sent to it by GET, which brings the session's cookie.
2. ``advance``, for every page: the request, the client, the session, the person's standing, the launch, the scopes; then the next step.
3. Sign-in, the picker (``service.choose_context``), the consent page or the first-use notice (``service.decide``): each ends at 2.
4. ``service._issue``: the request is finished, the agreement recorded, and the browser sent to the app with a code.
5. The app redeems the code at the token endpoint (``backchannel``), by ``service.redeem_code``.

Everything is checked again on every page, so that a switch, an uninstallation or another session takes effect at once.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.clients import service as clients
from hilum.clients.models import Client, ClientFacts
from hilum.clients.policy import admission, workflows_allowed
from hilum.consent import service as consent
from hilum.consent.models import Authorization
from hilum.controls import policy as controls_policy
from hilum.controls import service as controls
from hilum.controls.models import Subject, Switch
from hilum.frontchannel import policy, store
from hilum.frontchannel.models import AuthorizationRequest, Step
from hilum.frontchannel.policy import DisplayedError, Redirect, RefusedLaunch, ValidRequest
from hilum.identity import policy as identity_policy
from hilum.identity import service as identity
from hilum.identity.models import Person, Tenant
from hilum.infra.context import Context
from hilum.installations import policy as installations_policy
from hilum.installations import service as installations
from hilum.installations.models import InstallationFacts
from hilum.kernel.actor import Actor
from hilum.kernel.decision import Reason
from hilum.kernel.errors import DECIDED, NotPermitted, Refused
from hilum.keys.live import vault
from hilum.launches import service as launches
from hilum.launches.models import Launch
from hilum.policies import service as policies
from hilum.policies.models import Book, Lifetimes
from hilum.policies.policy import launch_workflow, workflow_limit
from hilum.registry import service as registry
from hilum.registry.models import App
from hilum.signin import policy as signin_policy
from hilum.signin import service as signin
from hilum.signin.models import Session
from hilum.standards import oauth
from hilum.standards.oauth import AuthorizeError
from hilum.standards.smart import launch as smart_launch
from hilum.standards.smart import scopes as smart
from hilum.standards.smart.scopes import Scope
from hilum.standing import service as standing
from hilum.standing.models import Standing
from hilum.standing.policy import (
    LAUNCH_FAULTS,
    NOT_ASKED,
    NOTHING_LEFT,
    PATIENT_MISSING,
    in_words,
    refusal_of,
    standing_fault,
    without_rights,
)
from hilum.web.urls import Site

LAUNCH_PURPOSE = "authserver.launch"


@dataclass(frozen=True, slots=True)
class ClientContext:
    """The tenant, and the client with its facts, app, vendor and installation."""

    tenant: Tenant
    client: Client
    facts: ClientFacts
    app: App
    vendor_name: str
    installation: InstallationFacts | None

    @property
    def installed_until(self) -> datetime | None:
        """The end date of the hospital's installation, if it has one."""
        return None if self.installation is None else self.installation.expires_at


@dataclass(frozen=True, slots=True)
class FlowState:
    """A request with a signed-in person who may continue it. ``offered`` are the scopes that may be granted, before consent.

    ``agreed`` is the person's newest agreement with the app, of any of its clients, where a page asks for another one.
    """

    request: AuthorizationRequest
    client_context: ClientContext
    session: Session
    person: Person
    launch: Launch | None
    offered: tuple[Scope, ...]
    standing: Authorization | None
    step: Step
    agreed: Authorization | None = None
    lifetimes: Lifetimes | None = None
    """How long what the app gets will live; None before the step is known."""
    workflow: str = ""
    """What the launch is for; empty if it states nothing (C190)."""
    read_in: str = ""
    """The language of the page that was answered; empty where none was shown."""

    @property
    def actor(self) -> Actor:
        """Return the person as an actor."""
        return signin_policy.actor_of(self.person)


@dataclass(frozen=True, slots=True)
class NeedsLogin:
    """No signed-in person may continue the request, which resumes after sign-in."""

    request: AuthorizationRequest
    tenant: Tenant


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a request with a person is refused although the app may act: the error for the app, and which sentences the person reads."""

    error: AuthorizeError
    code: str
    detail: str
    variant: str = ""
    stops: tuple[Switch, ...] = ()


FlowResult = FlowState | NeedsLogin | Redirect | RefusedLaunch | DisplayedError


def digest(secret: str) -> bytes:
    """Return the digest under which a code is stored."""
    return hashlib.sha256(secret.encode()).digest()


def load_client_context(ctx: Context, site: Site, client: Client) -> ClientContext | None:
    """Load a client's context at a tenant; None if the tenant or the client no longer exists, or the tenant is not active."""
    tenant = identity.find_tenant(ctx, site.tenant)
    facts = clients.client_facts(ctx, client.id)
    if tenant is None or facts is None or not tenant.active:
        return None
    app = registry.get_app(ctx, client.app)
    vendor = registry.get_vendor(ctx, facts.vendor)
    installation = installations.installation(ctx, tenant.id, client.app)
    return ClientContext(tenant, client, facts, app, vendor.name, installation)


def standing_of(
    ctx: Context,
    client_context: ClientContext,
    person: Person | None,
    *,
    facility: str | None,
    issued_at: datetime | None = None,
) -> Standing:
    """Read the standing of this app here, for this person; ``person`` is None before sign-in, ``facility`` before a launch is taken."""
    return standing.of_launch(
        ctx,
        client_context.tenant,
        client_context.facts,
        client_context.installation,
        person,
        issued_at=issued_at,
        facility=facility,
    )


def refuse(
    ctx: Context,
    site: Site,
    request: AuthorizationRequest,
    error: AuthorizeError,
    *,
    code: str,
    detail: str,
    language: str = "",
) -> Redirect:
    """End a request, record the refusal, and return the redirect with the error for its client.

    ``language``: that of the page which a person answered.
    """
    store.finish_request(ctx.tx, request.id, ctx.now)
    event = Event(
        "authserver.request.refuse",
        Outcome.REFUSED,
        tenant=site.tenant,
        client=request.client,
        person=request.person,
        launch=request.launch,
        reason=code,
        facts={"error": error.value, "request": request.id} | ({"language": language} if language else {}),
    )
    audit.record(ctx, event)
    return error_redirect(site, request.redirect_uri, request.state, error, detail)


def error_redirect(site: Site, redirect_uri: str, state: str, error: AuthorizeError, detail: str) -> Redirect:
    """Build the redirect with an error for the client. Source: RFC 6749 section 4.1.2.1; RFC 9207 section 2."""
    parameters = [("error", error.value), ("error_description", oauth.description(detail))]
    parameters += [("state", state)] if state else []
    # iss: an app that uses several servers can check which one answered, and does not send this
    # one's code to another (mix-up attack).
    return Redirect(oauth.with_parameters(redirect_uri, [*parameters, ("iss", site.issuer)]))


def code_redirect(site: Site, request: AuthorizationRequest, code: str) -> Redirect:
    """Build the redirect with the code for the client. Source: RFC 6749 section 4.1.2; RFC 9207 section 2."""
    parameters = [("code", code), ("state", request.state), ("iss", site.issuer)]
    return Redirect(oauth.with_parameters(request.redirect_uri, parameters))


def advance(ctx: Context, site: Site, request_id: str, cookie: str) -> FlowResult:
    """Return the state of a request for the session of ``cookie``. Takes its launch as soon as it can be taken."""
    request = store.find_request(ctx.tx, site.tenant, request_id)
    if request is None:
        return DisplayedError("request_unknown", "There is no such authorization request.")
    if request.finished_at is not None:
        return DisplayedError("request_finished", "This authorization request has been answered already.")
    if ctx.now >= request.expires_at:
        return DisplayedError("request_expired", "This took too long.")
    # Read again on every page: the client or the hospital may have gone since the request was
    # stored.
    client = clients.find_client(ctx, request.client)
    client_context = load_client_context(ctx, site, client) if client is not None else None
    if client_context is None:
        return DisplayedError("client_unknown", "The app that sent you here is not registered with us.")
    found = _who(ctx, request, cookie)
    if found is None:
        return _without_session(ctx, site, request, client_context, cookie)
    session, person = found
    # The first person to continue the request keeps it. Otherwise an attacker could begin a request
    # and have another person finish it, or the other way round.
    if not store.bind_request(ctx.tx, request.id, session.id, person.id):
        return DisplayedError("request_of_another", "Another person started this authorization request.")
    # Read again: if the page was loaded twice, the other load may have taken the launch before this one locked the row.
    request = store.find_request(ctx.tx, site.tenant, request_id) or request
    ctx = ctx.as_actor(signin_policy.actor_of(person))
    signin.touch(ctx, session)
    facility = _facility_of(ctx, request)
    judged = standing_of(ctx, client_context, person, issued_at=request.created_at, facility=facility)
    if reason := standing_fault(judged, ctx.now):
        return _refuse_launch(ctx, site, request, client_context, judged, reason=reason)
    launched = _with_launch(ctx, site, request, client_context.tenant, judged=judged)
    if not isinstance(launched, tuple):
        return launched
    return _with_step(
        ctx, site, FlowState(launched[0], client_context, session, person, launched[1], (), None, Step.ISSUE)
    )


def _without_session(
    ctx: Context, site: Site, request: AuthorizationRequest, client_context: ClientContext, cookie: str
) -> FlowResult:
    """Refuse if the app may not act here for anyone, or a switch stops the person of the cookie; otherwise require sign-in."""
    # Before anybody types a password for an app that would be refused afterwards.
    facility = _facility_of(ctx, request)
    judged = standing_of(ctx, client_context, None, issued_at=request.created_at, facility=facility)
    reason = standing_fault(judged, ctx.now)
    if reason is None and (stopped := signin.person_stopped(ctx, cookie, request.tenant)) is not None:
        # Judged with that person, whose switch it is.
        judged = standing_of(ctx, client_context, stopped, issued_at=request.created_at, facility=facility)
        reason = Reason.SWITCH_ENGAGED
    if reason is not None:
        return _refuse_launch(ctx, site, request, client_context, judged, reason=reason)
    return _page_or_error(ctx, site, request, Step.LOGIN) or NeedsLogin(request, client_context.tenant)


def _facility_of(ctx: Context, request: AuthorizationRequest) -> str | None:
    """Return the facility of a request's launch; empty for a request without a launch, None until its launch was taken."""
    if request.launch:
        return launches.get_launch(ctx, request.launch).facility
    return None if request.launch_sealed else ""


def _who(ctx: Context, request: AuthorizationRequest, cookie: str) -> tuple[Session, Person] | None:
    session = signin.session(ctx, cookie) if cookie else None
    if session is None or session.tenant != request.tenant:
        return None
    if policy.login_is_stale(
        session.signed_in_at,
        requested_at=request.created_at,
        now=ctx.now,
        prompt=request.prompt,
        max_age_s=request.max_age_s,
    ):
        return None
    person = identity.find_person(ctx, session.person)
    if person is None or not person.active or person.tenant != request.tenant:
        return None
    return session, person


def _with_launch(
    ctx: Context, site: Site, request: AuthorizationRequest, tenant: Tenant, *, judged: Standing
) -> tuple[AuthorizationRequest, Launch | None] | Redirect | RefusedLaunch:
    if request.launch:
        launch = launches.get_launch(ctx, request.launch)
        # The EHR may end its session while the person reads the consent page.
        if launch.ended_at is not None:
            detail = "the EHR session of this launch has ended"
            fault = _Fault(AuthorizeError.ACCESS_DENIED, Reason.LAUNCH_ENDED, detail)
            return _refuse_opened(ctx, site, request, tenant, fault)
        return request, launch
    if not request.launch_sealed:
        return request, None
    # Only now, with a person: the handle alone is worth nothing, since it passes through the app's
    # browser code (ADR 9). It was sealed for this request.
    handle = vault().open(LAUNCH_PURPOSE, request.launch_sealed, request.id).decode()
    try:
        launch = launches.take(ctx, handle, judged)
    except DECIDED as refused:
        # NotPermitted: the launch is another's, or a rule stops it. Otherwise the handle is not one that can be taken.
        is_denied = isinstance(refused, NotPermitted)
        error = AuthorizeError.ACCESS_DENIED if is_denied else AuthorizeError.INVALID_REQUEST
        detail = f"{refused.code}: {refused.detail}"
        if not isinstance(refused, Refused):
            return _refuse_opened(ctx, site, request, tenant, _Fault(error, refused.code, detail))
        back = refuse(ctx, site, request, error, code=refused.code, detail=detail)
        return shown_first(refused, back, tenant, prompt=request.prompt)
    taken = replace(
        request,
        launch=launch.id,
        launch_sealed="",
        patient=launch.patient,
        encounter=launch.encounter,
        context_chosen_at=ctx.now,
    )
    store.save_launch(ctx.tx, taken)
    return taken, launch


def _with_step(ctx: Context, site: Site, flow_state: FlowState) -> FlowResult:
    request, client_context, person = flow_state.request, flow_state.client_context, flow_state.person
    assert client_context.installation is not None, "standing refuses what is not installed"
    book = policies.current(ctx).book_at(client_context.tenant.id, ctx.now, client_context.facts.app)
    allowed = installations_policy.allowed_scopes(
        client_context.facts, client_context.installation, book, ctx.now
    )
    workflow = _workflow_of(ctx, flow_state, book)
    if workflow and workflow not in workflows_allowed(book, client_context.facts, ctx.now):
        judged = standing_of(ctx, client_context, person, facility=_facility_of(ctx, request))
        return _refuse_launch(ctx, site, request, client_context, judged, reason=Reason.WORKFLOW_NOT_APPROVED)
    limit = workflow_limit(book, workflow)
    offered = _offered(ctx, flow_state, allowed, limit)
    if isinstance(offered, _Fault):
        return _refuse_opened(ctx, site, request, client_context.tenant, offered)
    request = _own_chart(ctx, request, person, offered)
    openable = identity_policy.patients_openable(person)
    # A proxy's chart can end between its choice and the consent; a code for it would earn nothing.
    if request.patient and openable is not None and request.patient not in openable:
        code = Reason.OUTSIDE_LAUNCH_CONTEXT
        detail = f"{code}: the person may no longer open the chart of this request"
        fault = _Fault(AuthorizeError.ACCESS_DENIED, code, detail)
        return _refuse_opened(ctx, site, request, client_context.tenant, fault)
    # Another version is another product to agree to: the notice is shown once per version (ADR 17).
    standing = consent.find_covering(
        ctx, client_context.tenant.id, person.id, client_context.facts, workflow=workflow
    )
    facts = policy.StepFacts(
        prompt=request.prompt,
        ehr_launch=bool(request.launch),
        scopes=offered,
        chosen_at=request.context_chosen_at,
        role=person.role,
        standing=None if standing is None else smart.parse_stored(standing.scopes),
        client_proved=oauth.proves_client(request.redirect_uri),
        synthetic=client_context.tenant.sandbox,
    )
    step = policy.next_step(facts)
    if step is not Step.CHOOSE_CONTEXT:
        patient, _ = policy.disclosed_context(offered, request.patient, request.encounter)
        launched = bool(request.launch and request.patient)
        if detail := policy.context_refusal(offered, patient=patient, launched=launched):
            why = NOT_ASKED if launched else ""
            fault = _Fault(AuthorizeError.INVALID_SCOPE, PATIENT_MISSING, detail, why)
            return _refuse_opened(ctx, site, request, client_context.tenant, fault)
    cell = admission(book, client_context.facts, ctx.now).cell
    assert cell is not None, "what is offered was admitted"
    current = replace(
        flow_state,
        request=request,
        offered=offered,
        standing=standing,
        step=step,
        lifetimes=cell.lifetimes,
        workflow=workflow,
    )
    if step in {Step.CONSENT, Step.NOTICE}:
        app = flow_state.client_context.app.id
        current = replace(current, agreed=consent.find_agreed(ctx, request.tenant, person.id, app))
    return _page_or_error(ctx, site, request, step) or current


def _offered(
    ctx: Context, flow_state: FlowState, allowed: Iterable[str], limit: Iterable[str] | None
) -> tuple[Scope, ...] | _Fault:
    """Return the scopes that may be granted; a fault if they permit nothing. ``limit``: the most for the workflow, None for no limit."""
    client_context, person = flow_state.client_context, flow_state.person
    allowed = tuple(allowed)
    rights = identity_policy.rights_of(person.role)
    asked = smart.parse_stored(flow_state.request.scopes)
    # Worked out again on every page: scopes may have been taken from the installation while the
    # person read.
    for_task = policy.grantable(asked, allowed if limit is None else smart.narrow(allowed, limit), rights)
    # Before consent, so that nobody is asked for what a switch would take out again.
    offered = without_stopped(ctx, client_context, person, for_task)
    if policy.is_useful(offered):
        return offered
    variant = without_rights(
        admitted=policy.is_useful(smart.intersect(asked, smart.parse_stored(allowed))),
        in_role=policy.is_useful(policy.grantable(asked, allowed, rights)),
        in_task=policy.is_useful(for_task),
    )
    detail = "none of the requested scopes may be granted to this app, at this tenant, for this person"
    stops = stops_on(ctx, client_context, person, for_task)
    return _Fault(AuthorizeError.INVALID_SCOPE, NOTHING_LEFT, detail, variant, stops)


def _workflow_of(ctx: Context, flow_state: FlowState, book: Book) -> str:
    """Return the workflow of a launch; where it names none, that of the installation (C190)."""
    launch, installation = flow_state.launch, flow_state.client_context.installation
    named = ""
    if launch is not None:
        may = workflows_allowed(book, flow_state.client_context.facts, ctx.now)
        named = launch_workflow(book, may, intent=launch.intent, placement=launch.placement)
    return named or ("" if installation is None else installation.default_workflow)


def _own_chart(
    ctx: Context, request: AuthorizationRequest, person: Person, offered: tuple[Scope, ...]
) -> AuthorizationRequest:
    """Set the patient without a picker for a person who has only one chart, if no encounter is requested (C34)."""
    patient_asked, encounter_asked = smart_launch.requested_context(offered)
    openable = identity_policy.patients_openable(person)
    if request.context_chosen_at is not None or not patient_asked or openable is None or len(openable) != 1:
        return request
    # The chart is clear, the visit is not: the person must choose.
    if encounter_asked:
        return request
    return settle(ctx, request, person, patient=openable[0], encounter="")


def settle(
    ctx: Context, request: AuthorizationRequest, person: Person, *, patient: str, encounter: str
) -> AuthorizationRequest:
    """Store the context of a standalone launch, and record who chose it."""
    chosen = replace(request, patient=patient, encounter=encounter, context_chosen_at=ctx.now)
    store.save_context(ctx.tx, chosen)
    event = Event(
        "authserver.context.choose",
        tenant=request.tenant,
        client=request.client,
        person=person.id,
        patient=patient,
        facts={"request": request.id, "encounter": encounter},
    )
    audit.record(ctx, event)
    return chosen


def without_stopped(
    ctx: Context, client_context: ClientContext, person: Person, scopes: tuple[Scope, ...]
) -> tuple[Scope, ...]:
    """Return the scopes that no switch on a scope or a resource type stops."""
    index = controls.switch_index(ctx)
    return tuple(
        scope
        for scope in scopes
        if controls_policy.launches_stopped(index, _subject_of(client_context, person, scope), ctx.now)
        is None
    )


def stops_on(
    ctx: Context, client_context: ClientContext, person: Person, scopes: tuple[Scope, ...]
) -> tuple[Switch, ...]:
    """Return the switches that stop any of the scopes."""
    index = controls.switch_index(ctx)
    found = {
        switch.id: switch
        for scope in scopes
        for switch in controls_policy.launch_stops(index, _subject_of(client_context, person, scope), ctx.now)
    }
    return tuple(found.values())


def _subject_of(client_context: ClientContext, person: Person, scope: Scope) -> Subject:
    resource_type = getattr(scope, "type", "")
    return Subject(
        tenant=client_context.tenant.id,
        app=client_context.facts.app,
        person=person.id,
        resource_type="" if resource_type == smart.ANY_TYPE else resource_type,
        scopes=(smart.render(scope),),
    )


def _page_or_error(ctx: Context, site: Site, request: AuthorizationRequest, step: Step) -> Redirect | None:
    error = policy.PROMPT_NONE.get(step)
    if "none" not in request.prompt or error is None:
        return None
    detail = f"prompt=none was asked, and {step} is needed"
    return refuse(ctx, site, request, error, code=f"prompt_none_{step}", detail=detail)


def _refuse_launch(
    ctx: Context,
    site: Site,
    request: AuthorizationRequest,
    client_context: ClientContext,
    judged: Standing,
    *,
    reason: Reason,
) -> Redirect | RefusedLaunch:
    refusal = refusal_of(judged, reason, ctx.now, tenant=client_context.tenant.name)
    back = refuse(
        ctx, site, request, AuthorizeError.ACCESS_DENIED, code=reason.value, detail=in_error(refusal)
    )
    return shown_first(refusal, back, client_context.tenant, prompt=request.prompt)


def _refuse_opened(
    ctx: Context, site: Site, request: AuthorizationRequest, tenant: Tenant, fault: _Fault
) -> Redirect | RefusedLaunch:
    """End a request. Whoever opened the app from a chart reads why first; an app that began by itself gets its error at once (C216)."""
    back = refuse(ctx, site, request, fault.error, code=str(fault.code), detail=fault.detail)
    if not (request.launch or request.launch_sealed) or fault.code not in LAUNCH_FAULTS:
        return back
    refusal = in_words(fault.code, fault.variant, tenant=tenant.name, stops=fault.stops)
    return shown_first(refusal, back, tenant, prompt=request.prompt)


def refused_retired(
    site: Site, client_context: ClientContext, asked: ValidRequest, detail: str
) -> Redirect | RefusedLaunch:
    """Return the answer to a request for a scope that has ended: in an EHR launch the page, from which the app gets its error."""
    back = error_redirect(site, asked.redirect_uri, asked.state, AuthorizeError.INVALID_SCOPE, detail)
    if not asked.launch:
        return back
    refusal = in_words(Reason.SCOPE_RETIRED, tenant=client_context.tenant.name)
    return shown_first(refusal, back, client_context.tenant, prompt=asked.prompt)


def in_error(refusal: Refused) -> str:
    """Return the description of an OAuth error: the reason for the program, and the sentences for people."""
    return f"{refusal.code}: {refusal.detail}"


def shown_first(
    refusal: Refused, back: Redirect, tenant: Tenant, *, prompt: Collection[str]
) -> Redirect | RefusedLaunch:
    """Return the page that tells the person before the app gets its error; the bare redirect if the app asked for no page."""
    return back if "none" in prompt else RefusedLaunch(refusal, back, tenant.ehr_origins)
