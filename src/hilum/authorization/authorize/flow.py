"""The state of a stored authorization request: the client, the person at the browser, and what may be granted.

An authorization request, in order (RFC 6749 section 4.1; SMART App Launch 2.2, app-launch):

1. ``service.begin``: client and redirect URI, whose errors are displayed; then the other parameters, whose errors are redirected; then
   the app's eligibility and scopes that have ended. The request is stored, and the browser is redirected to it by GET, which sends the
   session's cookie.
2. ``advance``, for every page: the request, the client, the session, the person's eligibility, the launch, the scopes; then the next step.
3. Sign-in, the picker (``service.choose_context``), the consent page or the first-use notice (``service.decide``): each goes through 2 again.
4. ``service._issue``: the request is finished, the agreement recorded, and the browser redirected to the app with a code.
5. The app redeems the code at the token endpoint (``token``), by ``service.redeem_code``.

Everything is checked again on every page, so that a switch, an uninstallation or another session takes effect at once.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientFacts
from hilum.apps.clients.policy import admission, workflows_allowed
from hilum.apps.installations import policy as installations_policy
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.authorization.authorize import policy, store
from hilum.authorization.authorize.models import AuthorizationRequest, Step
from hilum.authorization.authorize.policy import DisplayedError, Redirect, RefusedLaunch, ValidRequest
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Authorization
from hilum.authorization.eligibility import service as eligibility
from hilum.authorization.eligibility.models import EligibilityInputs
from hilum.authorization.eligibility.policy import (
    LAUNCH_FAULTS,
    NOT_ASKED,
    NOTHING_LEFT,
    PATIENT_MISSING,
    eligibility_fault,
    in_words,
    refusal_of,
    without_rights,
)
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import Launch
from hilum.controls.switches import policy as controls_policy
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Subject, Switch
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import DECIDED, NotPermitted, Refused
from hilum.foundation.standards import oauth
from hilum.foundation.standards.oauth import AuthorizeError
from hilum.foundation.standards.smart import launch as smart_launch
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.scopes import Scope
from hilum.foundation.web.urls import Site
from hilum.identity.people import policy as identity_policy
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person, Tenant
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Session
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book, Lifetimes
from hilum.policy.matrix.policy import launch_workflow, workflow_limit
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.keys.live import vault

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

    ``covering`` is an agreement in force with this client and version. ``agreed`` is the person's newest agreement with the app, through any
    of its clients; it is set where a page asks for another one.
    """

    request: AuthorizationRequest
    client_context: ClientContext
    session: Session
    person: Person
    launch: Launch | None = None
    offered: tuple[Scope, ...] = ()
    covering: Authorization | None = None
    # Until the step is decided, the one that issues nothing.
    step: Step = Step.CONSENT
    agreed: Authorization | None = None
    lifetimes: Lifetimes | None = None
    """The lifetimes of what the app gets; None until the step is decided."""
    workflow: str = ""
    """The workflow of the launch; empty if it names none (C190)."""
    read_in: str = ""
    """The language of the page that was answered; empty where none was shown."""

    @property
    def actor(self) -> Actor:
        """Return the person as an actor."""
        return signin_policy.actor_of(self.person)

    @property
    def shown(self) -> str:
        """Return what a page says here: a digest of who asks, why and for whose record, then the offered scopes. Its form sends it back."""
        facts, purpose = self.client_context.facts, self.client_context.app.purpose
        why = (purpose, facts.consented_since)
        about = (self.step.value, facts.version, facts.vendor, why, self.request.patient)
        return " ".join((hashlib.sha256(orjson.dumps(about)).hexdigest(), *map(smart.render, self.offered)))

    def as_shown(self, shown: str) -> "FlowState | None":
        """Return this state without the scopes that the answered page did not show; None if that page said anything else otherwise.

        ``shown`` comes from the browser: it only ever narrows what is offered (ADR 17).
        """
        if shown == self.shown:
            return self
        about, *scopes = shown.split(" ")
        if about != self.shown.partition(" ")[0]:
            return None
        return replace(self, offered=smart.intersect(self.offered, smart.parse_stored(scopes)))


@dataclass(frozen=True, slots=True)
class NeedsLogin:
    """No signed-in person may continue the request, which resumes after sign-in."""

    request: AuthorizationRequest
    tenant: Tenant


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a signed-in person's request is refused although the app is eligible: the error for the app, and the sentences for the person."""

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


def eligibility_of(
    ctx: Context,
    client_context: ClientContext,
    person: Person | None,
    *,
    facility: str | None,
    issued_at: datetime | None = None,
) -> EligibilityInputs:
    """Read the eligibility inputs of this app here for a person. ``person`` is None before sign-in, ``facility`` until the launch is taken."""
    return eligibility.of_launch(
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
    told: Refused | None = None,
) -> Redirect:
    """End a request, record the refusal, and return the redirect with the error for its client.

    ``language``: the language of the page that the person answered; empty if there was none. ``told``: what the page says.
    """
    store.finish_request(ctx.tx, request.id, ctx.now)
    client = clients.find_client(ctx, request.client)
    person = identity.find_person(ctx, request.person) if request.person else None
    facts: dict[str, object] = {"error": error.value, "request": request.id, "language": language}
    facts |= {"role": person.role if person else "", **(told.facts if told else {"detail": detail})}
    shared = {name: getattr(request, name) for name in ("tenant", "client", "person", "launch", "patient")}
    event = Event("authserver.request.refuse", Outcome.REFUSED, reason=code, **shared)
    kept = {name: value for name, value in facts.items() if value}
    audit.record(ctx, replace(event, app=client.app if client else "", facts=kept))
    return error_redirect(site, request.redirect_uri, request.state, error, detail)


def error_redirect(site: Site, redirect_uri: str, state: str, error: AuthorizeError, detail: str) -> Redirect:
    """Build the redirect with an error for the client. Source: RFC 6749 section 4.1.2.1; RFC 9207 section 2."""
    parameters = [("error", error.value), ("error_description", oauth.description(detail))]
    parameters += [("state", state)] if state else []
    # iss lets an app that uses several servers check which one answered, so that it never sends one
    # server's code to another (mix-up attack).
    return Redirect(oauth.with_parameters(redirect_uri, [*parameters, ("iss", site.issuer)]))


def code_redirect(site: Site, request: AuthorizationRequest, code: str) -> Redirect:
    """Build the redirect with the code for the client. Source: RFC 6749 section 4.1.2; RFC 9207 section 2."""
    parameters = [("code", code), ("state", request.state), ("iss", site.issuer)]
    return Redirect(oauth.with_parameters(request.redirect_uri, parameters))


def advance(ctx: Context, site: Site, request_id: str, cookie: str) -> FlowResult:
    """Return the state of a request for the session of ``cookie``. Take its launch once a person is signed in."""
    request = store.find_request(ctx.tx, site.tenant, request_id)
    if request is None:
        return DisplayedError("request_unknown", "There is no such authorization request.")
    if request.finished_at is not None:
        return DisplayedError("request_finished", "This authorization request has been answered already.")
    if ctx.now >= request.expires_at:
        return DisplayedError("request_expired", "This took too long.")
    # Read again on every page: the client or the hospital may have gone since the request was stored.
    client = clients.find_client(ctx, request.client)
    client_context = load_client_context(ctx, site, client) if client is not None else None
    if client_context is None:
        return DisplayedError("client_unknown", "The app that sent you here is not registered with us.")
    signed_in = _signed_in(ctx, request, cookie)
    if signed_in is None:
        return _without_session(ctx, site, request, client_context, cookie)
    session, person = signed_in
    # Bound to the first person who continues it. Otherwise an attacker could begin a request and have
    # another person finish it, or finish what another person began.
    if not store.bind_request(ctx.tx, request.id, session.id, person.id):
        return DisplayedError("request_of_another", "Another person started this authorization request.")
    # Read again: if the page was loaded twice, the other load
    # may have taken the launch before this one locked the row.
    request = store.find_request(ctx.tx, site.tenant, request_id) or request
    ctx = ctx.as_actor(signin_policy.actor_of(person))
    signin.touch(ctx, session)
    facility = _facility_of(ctx, request)
    judged = eligibility_of(ctx, client_context, person, issued_at=request.created_at, facility=facility)
    if reason := eligibility_fault(judged, ctx.now):
        return _refuse_launch(ctx, site, request, client_context, judged, reason=reason)
    flow_state = _with_launch(ctx, site, FlowState(request, client_context, session, person), judged=judged)
    return _with_step(ctx, site, flow_state) if isinstance(flow_state, FlowState) else flow_state


def _without_session(
    ctx: Context, site: Site, request: AuthorizationRequest, client_context: ClientContext, cookie: str
) -> FlowResult:
    """Refuse if the app may not act here for anyone, or a switch stops the person of the cookie; otherwise require sign-in."""
    # Checked first, so that nobody types a password for an app that is then refused.
    facility = _facility_of(ctx, request)
    judged = eligibility_of(ctx, client_context, None, issued_at=request.created_at, facility=facility)
    reason = eligibility_fault(judged, ctx.now)
    if reason is None and (stopped := signin.person_stopped(ctx, cookie, request.tenant)) is not None:
        # Judged again with the person, so that the refusal names the switch on them.
        judged = eligibility_of(ctx, client_context, stopped, issued_at=request.created_at, facility=facility)
        reason = Reason.SWITCH_ENGAGED
    if reason is not None:
        return _refuse_launch(ctx, site, request, client_context, judged, reason=reason)
    return _prompt_none_redirect(ctx, site, request, Step.LOGIN) or NeedsLogin(request, client_context.tenant)


def _facility_of(ctx: Context, request: AuthorizationRequest) -> str | None:
    """Return the facility of a request's launch; empty for a request without a launch, None until its launch was taken."""
    if request.launch:
        return launches.get_launch(ctx, request.launch).facility
    return None if request.launch_sealed else ""


def _signed_in(ctx: Context, request: AuthorizationRequest, cookie: str) -> tuple[Session, Person] | None:
    """Return the session of ``cookie`` and its person, if they are signed in at this tenant as recently as the request requires."""
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
    ctx: Context, site: Site, flow_state: FlowState, *, judged: EligibilityInputs
) -> FlowState | Redirect | RefusedLaunch:
    """Add the launch of a request, which is taken the first time; refuse a launch that has ended or cannot be taken."""
    request, tenant = flow_state.request, flow_state.client_context.tenant
    if request.launch:
        launch = launches.get_launch(ctx, request.launch)
        # The EHR may end its session while the person reads the consent page.
        if launch.ended_at is not None:
            detail = "the EHR session of this launch has ended"
            fault = _Fault(AuthorizeError.ACCESS_DENIED, Reason.LAUNCH_ENDED, detail)
            return _refuse_request(ctx, site, request, tenant, fault)
        return replace(flow_state, launch=launch)
    if not request.launch_sealed:
        return flow_state
    # Only with a signed-in person: the handle passes through the app's browser code, so it proves nothing
    # by itself (ADR 9). It was sealed for this request.
    handle = vault().open(LAUNCH_PURPOSE, request.launch_sealed, request.id).decode()
    try:
        launch = launches.take(ctx, handle, judged)
    except DECIDED as refused:
        # NotPermitted: the launch was opened for another person or app, or a rule stops it. Any other
        # refusal: the handle is unknown, used or expired.
        is_denied = isinstance(refused, NotPermitted)
        error = AuthorizeError.ACCESS_DENIED if is_denied else AuthorizeError.INVALID_REQUEST
        detail = f"{refused.code}: {refused.detail}"
        if not isinstance(refused, Refused):
            return _refuse_request(ctx, site, request, tenant, _Fault(error, refused.code, detail))
        back = refuse(ctx, site, request, error, code=refused.code, detail=detail, told=refused)
        return page_or_redirect(refused, back, tenant, prompt=request.prompt)
    taken = replace(
        request,
        launch=launch.id,
        launch_sealed="",
        patient=launch.patient,
        encounter=launch.encounter,
        context_chosen_at=ctx.now,
    )
    store.save_launch(ctx.tx, taken)
    return replace(flow_state, request=taken, launch=launch)


def _with_step(ctx: Context, site: Site, flow_state: FlowState) -> FlowResult:
    """Add the scopes that may be granted and the next step; refuse if nothing may be granted or the chart may not be opened."""
    request, client_context, person = flow_state.request, flow_state.client_context, flow_state.person
    assert client_context.installation is not None, "eligibility refuses what is not installed"
    book = policies.current(ctx).book_at(client_context.tenant.id, ctx.now, client_context.facts.app)
    allowed = installations_policy.allowed_scopes(
        client_context.facts, client_context.installation, book, ctx.now
    )
    workflow = _workflow_name(ctx, flow_state, book)
    if workflow and workflow not in workflows_allowed(book, client_context.facts, ctx.now):
        judged = eligibility_of(ctx, client_context, person, facility=_facility_of(ctx, request))
        return _refuse_launch(ctx, site, request, client_context, judged, reason=Reason.WORKFLOW_NOT_APPROVED)
    limit = workflow_limit(book, workflow)
    offered = _offered(ctx, flow_state, allowed, limit)
    if isinstance(offered, _Fault):
        return _refuse_request(ctx, site, request, client_context.tenant, offered)
    request = _with_only_chart(ctx, request, person, offered)
    openable = identity_policy.patients_openable(person)
    # A proxy's access to a chart can end between its choice and the consent; a code for it would be refused.
    if request.patient and openable is not None and request.patient not in openable:
        code = Reason.OUTSIDE_LAUNCH_CONTEXT
        detail = f"{code}: the person may no longer open the chart of this request"
        fault = _Fault(AuthorizeError.ACCESS_DENIED, code, detail)
        return _refuse_request(ctx, site, request, client_context.tenant, fault)
    # By version, since another version is another product: the notice is shown once for each (ADR 17).
    covering = consent.find_covering(
        ctx, client_context.tenant.id, person.id, client_context.facts, workflow=workflow
    )
    facts = policy.StepFacts(
        prompt=request.prompt,
        ehr_launch=bool(request.launch),
        scopes=offered,
        chosen_at=request.context_chosen_at,
        role=person.role,
        covered=None if covering is None else smart.parse_stored(covering.scopes),
        client_proved=oauth.proves_client(request.redirect_uri),
        synthetic=client_context.tenant.sandbox,
    )
    step = policy.next_step(facts)
    if step is not Step.CHOOSE_CONTEXT:
        patient, _ = policy.disclosed_context(offered, request.patient, request.encounter)
        launched = bool(request.launch and request.patient)
        if detail := policy.context_refusal(offered, patient=patient, launched=launched):
            variant = NOT_ASKED if launched else ""
            fault = _Fault(AuthorizeError.INVALID_SCOPE, PATIENT_MISSING, detail, variant)
            return _refuse_request(ctx, site, request, client_context.tenant, fault)
    entry = admission(book, client_context.facts, ctx.now).entry
    assert entry is not None, "what is offered was admitted"
    current = replace(
        flow_state,
        request=request,
        offered=offered,
        covering=covering,
        step=step,
        lifetimes=entry.lifetimes,
        workflow=workflow,
    )
    if step in {Step.CONSENT, Step.NOTICE}:
        app = flow_state.client_context.app.id
        current = replace(current, agreed=consent.find_agreed(ctx, request.tenant, person.id, app))
    return _prompt_none_redirect(ctx, site, request, step) or current


def _offered(
    ctx: Context, flow_state: FlowState, allowed: Iterable[str], limit: Iterable[str] | None
) -> tuple[Scope, ...] | _Fault:
    """Return the scopes that may be granted; a fault if they permit nothing. ``limit``: the scopes of the workflow; None for no limit."""
    client_context, person = flow_state.client_context, flow_state.person
    allowed = tuple(allowed)
    rights = identity_policy.rights_of(person.role)
    requested = smart.parse_stored(flow_state.request.scopes)
    # Computed again on every page: the installation may have been narrowed while the person read.
    for_task = policy.grantable(requested, allowed if limit is None else smart.narrow(allowed, limit), rights)
    # Before consent, so that nobody is asked for scopes that a switch then removes.
    offered = _without_stopped(ctx, client_context, person, for_task)
    if policy.is_useful(offered):
        return offered
    variant = without_rights(
        admitted=policy.is_useful(smart.intersect(requested, smart.parse_stored(allowed))),
        in_role=policy.is_useful(policy.grantable(requested, allowed, rights)),
        in_task=policy.is_useful(for_task),
    )
    detail = "none of the requested scopes may be granted to this app, at this tenant, for this person"
    stops = _stopping_switches(ctx, client_context, person, for_task)
    return _Fault(AuthorizeError.INVALID_SCOPE, NOTHING_LEFT, detail, variant, stops)


def _workflow_name(ctx: Context, flow_state: FlowState, book: Book) -> str:
    """Return the workflow of a launch; if it names none, the installation's default (C190)."""
    launch, installation = flow_state.launch, flow_state.client_context.installation
    of_launch = ""
    if launch is not None:
        allowed = workflows_allowed(book, flow_state.client_context.facts, ctx.now)
        of_launch = launch_workflow(book, allowed, intent=launch.intent, placement=launch.placement)
    return of_launch or ("" if installation is None else installation.default_workflow)


def _with_only_chart(
    ctx: Context, request: AuthorizationRequest, person: Person, offered: tuple[Scope, ...]
) -> AuthorizationRequest:
    """Set the patient without a picker for a person with only one chart, if no encounter is requested (C34)."""
    patient_asked, encounter_asked = smart_launch.requested_context(offered)
    openable = identity_policy.patients_openable(person)
    if request.context_chosen_at is not None or not patient_asked or openable is None or len(openable) != 1:
        return request
    # Only one chart, but perhaps several encounters: the person must choose.
    if encounter_asked:
        return request
    return set_context(ctx, request, person, patient=openable[0], encounter="")


def set_context(
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


def _without_stopped(
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


def _stopping_switches(
    ctx: Context, client_context: ClientContext, person: Person, scopes: tuple[Scope, ...]
) -> tuple[Switch, ...]:
    """Return the switches that stop any of the scopes."""
    index = controls.switch_index(ctx)
    switches = {
        switch.id: switch
        for scope in scopes
        for switch in controls_policy.launch_stops(index, _subject_of(client_context, person, scope), ctx.now)
    }
    return tuple(switches.values())


def _subject_of(client_context: ClientContext, person: Person, scope: Scope) -> Subject:
    resource_type = getattr(scope, "type", "")
    return Subject(
        tenant=client_context.tenant.id,
        app=client_context.facts.app,
        person=person.id,
        resource_type="" if resource_type == smart.ANY_TYPE else resource_type,
        scopes=(smart.render(scope),),
    )


def _prompt_none_redirect(
    ctx: Context, site: Site, request: AuthorizationRequest, step: Step
) -> Redirect | None:
    """End a request with ``prompt=none`` that needs a page; None for any other. Source: OpenID Connect Core 1.0 section 3.1.2.6."""
    error = policy.PROMPT_NONE.get(step)
    if "none" not in request.prompt or error is None:
        return None
    detail = f"prompt=none was requested, but {step} is needed"
    return refuse(ctx, site, request, error, code=f"prompt_none_{step}", detail=detail)


def _refuse_launch(
    ctx: Context,
    site: Site,
    request: AuthorizationRequest,
    client_context: ClientContext,
    judged: EligibilityInputs,
    *,
    reason: Reason,
) -> Redirect | RefusedLaunch:
    told, denied = (
        refusal_of(judged, reason, ctx.now, tenant=client_context.tenant.name),
        AuthorizeError.ACCESS_DENIED,
    )
    back = refuse(ctx, site, request, denied, code=reason.value, detail=error_description(told), told=told)
    return page_or_redirect(told, back, client_context.tenant, prompt=request.prompt)


def _refuse_request(
    ctx: Context, site: Site, request: AuthorizationRequest, tenant: Tenant, fault: _Fault
) -> Redirect | RefusedLaunch:
    """End a request. In an EHR launch the person reads the reason first; a standalone app gets its error at once (C216)."""
    refusal = None
    if fault.code in LAUNCH_FAULTS:
        refusal = in_words(fault.code, fault.variant, tenant=tenant.name, stops=fault.stops)
    back = refuse(ctx, site, request, fault.error, code=str(fault.code), detail=fault.detail, told=refusal)
    if refusal is None or not (request.launch or request.launch_sealed):
        return back
    return page_or_redirect(refusal, back, tenant, prompt=request.prompt)


def refuse_retired_scope(
    site: Site, client_context: ClientContext, valid: ValidRequest, detail: str
) -> Redirect | RefusedLaunch:
    """Build the refusal of a scope that the policy has retired: a page in an EHR launch, a redirect otherwise (C216)."""
    back = error_redirect(site, valid.redirect_uri, valid.state, AuthorizeError.INVALID_SCOPE, detail)
    if not valid.launch:
        return back
    refusal = in_words(Reason.SCOPE_RETIRED, tenant=client_context.tenant.name)
    return page_or_redirect(refusal, back, client_context.tenant, prompt=valid.prompt)


def error_description(refusal: Refused) -> str:
    """Return the ``error_description`` of a refusal: its code for programs, then its sentences for people."""
    return f"{refusal.code}: {refusal.detail}"


def page_or_redirect(
    refusal: Refused, back: Redirect, tenant: Tenant, *, prompt: Collection[str]
) -> Redirect | RefusedLaunch:
    """Return the page that explains a refusal before the app gets its error; the redirect alone for ``prompt=none``."""
    return back if "none" in prompt else RefusedLaunch(refusal, back, tenant.ehr_origins)
