"""The authorization endpoint's verbs: begin and resume a request, choose its context, decide on consent; codes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client
from hilum.apps.registry import service as registry
from hilum.authorization.authorize import flow, picker, policy, store
from hilum.authorization.authorize.connected import (
    SignedIn,
    connected_apps,
    disconnect,
    narrow_app,
    signed_in,
)
from hilum.authorization.authorize.flow import LAUNCH_PURPOSE, ClientContext, FlowResult, FlowState
from hilum.authorization.authorize.models import (
    CODE_KEPT,
    CODE_LIFE,
    CODE_PREFIX,
    REQUEST_LIFE,
    AuthorizationRequest,
    Code,
    Step,
    WaitingRequest,
)
from hilum.authorization.authorize.picker import PatientChoice, PatientDirectory, label
from hilum.authorization.authorize.policy import (
    DisplayedError,
    Redirect,
    RedirectedError,
    RefusedLaunch,
    ValidRequest,
)
from hilum.authorization.consent import policy as consent_policy
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Authorization, Basis
from hilum.authorization.eligibility.policy import eligibility_fault, refusal_of
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Exchange, Grant
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.kernel.decision import ReadPurpose, Reason
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    FamilyId,
    TenantId,
    VendorId,
    VersionId,
)
from hilum.foundation.standards.oauth import AuthorizeError, Parameters, TokenError
from hilum.foundation.standards.smart import launch as smart_launch
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.scopes import Scope, SpecialScope
from hilum.foundation.web.urls import Site
from hilum.identity.people import policy as identity_policy
from hilum.identity.people.models import Person, Role, Tenant
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.policy import first_ended
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.audit.policy import as_sent
from hilum.records.keys.live import vault
from hilum.review.certification_runs import service as evidence

NAMES_PURPOSE = "names"
__all__ = [
    "PatientChoice",
    "PatientDirectory",
    "SignedIn",
    "connected_apps",
    "disconnect",
    "label",
    "narrow_app",
    "signed_in",
]


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A valid authorization request, stored for its pages."""

    request: AuthorizationRequest


@dataclass(frozen=True, slots=True)
class Choice:
    """The context that a person chose. ``patient`` is empty if there is no such patient. ``encounter``: None if not chosen yet, empty for none."""

    patient: str
    encounter: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer on the consent page or the notice. ``remove``: also withdraw the person's earlier agreements with the app.

    ``ticked``: values of the ticked checkboxes. ``topics``: the ticked headings, on a page that has headings.
    """

    allow: bool
    ticked: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    remove: bool = False
    shown: str = ""
    """What the answered page showed (``FlowState.shown``). A person agrees to nothing else."""
    language: str = ""
    """The language of the answered page; empty if its form had no supported one."""


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """The redirect that sends an issued code to its client, and the authorization of the code."""

    redirect: Redirect
    authorization: Authorization


def find_waiting(ctx: Context, site: Site, request_id: str) -> WaitingRequest | None:
    """Find the request that continues after sign-in; None if it is finished, expired or unknown."""
    request = store.find_request(ctx.tx, site.tenant, request_id)
    if request is None or request.finished_at is not None or ctx.now >= request.expires_at:
        return None
    client = clients.find_client(ctx, request.client)
    if client is None:
        return WaitingRequest(request.redirect_uri, "")
    app = registry.get_app(ctx, client.app)
    return WaitingRequest(request.redirect_uri, app.name, app.id, app.logo)


def begin(
    ctx: Context, site: Site, parameters: Parameters, *, recorded: bool = True
) -> StoredRequest | Redirect | RefusedLaunch | DisplayedError:
    """Validate an authorization request and store it. Errors are redirected to the client only if its redirect URI is registered (C28).

    ``recorded``: whether a refusal gets an audit record of its own; False if its address had so many lately that they are only counted.
    """
    # Each new request deletes up to a hundred expired ones, so unauthenticated callers cannot make the
    # table grow for long.
    purge(ctx)
    client_id = parameters.get("client_id")
    client = clients.find_client(ctx, ClientId(client_id)) if client_id else None
    client_context = flow.load_client_context(ctx, site, client) if client is not None else None
    book = policies.current(ctx).book_at(site.tenant, ctx.now)
    judged = policy.validate_request(
        parameters,
        # At a hospital that is closed or does not exist, every client is unknown.
        client if client_context is not None else None,
        fhir_base=site.fhir_base,
        now=ctx.now,
        book=book,
    )
    match judged:
        case DisplayedError():
            known = client if client_context is not None else None
            sent = {"redirect_uri": as_sent(parameters.get("redirect_uri"))}
            sent |= {} if known else {"client_id": as_sent(client_id)}
            _record_refusal(
                ctx, site, known, judged.code, sent | {"detail": judged.detail}, recorded=recorded
            )
            return judged
        case RedirectedError():
            assert client is not None, "an unknown client is a displayed error"
            _record_refusal(ctx, site, client, judged.error, {"detail": judged.detail}, recorded=recorded)
            return flow.error_redirect(site, judged.redirect_uri, judged.state, judged.error, judged.detail)
    assert client_context is not None, "an unknown client is a displayed error"
    # A standalone launch has no facility; that of an EHR launch is read when the launch is taken.
    eligibility = flow.eligibility_of(ctx, client_context, None, facility=None if judged.launch else "")
    if reason := eligibility_fault(eligibility, ctx.now):
        refusal = refusal_of(eligibility, reason, ctx.now, tenant=client_context.tenant.name)
        _record_refusal(ctx, site, client, reason, refusal.facts, recorded=recorded)
        denied, detail = AuthorizeError.ACCESS_DENIED, flow.error_description(refusal)
        back = flow.error_redirect(site, judged.redirect_uri, judged.state, denied, detail)
        return flow.page_or_redirect(refusal, back, client_context.tenant, prompt=judged.prompt)
    if detail := first_ended(book, judged.scopes):
        _record_refusal(ctx, site, client, Reason.SCOPE_RETIRED, {"detail": detail}, recorded=recorded)
        return flow.refuse_retired_scope(site, client_context, judged, detail)
    return _store_request(ctx, site, client_context, judged)


def _store_request(
    ctx: Context, site: Site, client_context: ClientContext, valid: ValidRequest
) -> StoredRequest:
    request_id = ctx.ids.new("azr")
    sealed = ""
    if valid.launch:
        # Sealed, because the handle is a credential until it is taken; launches stores only its digest.
        sealed = vault().seal(LAUNCH_PURPOSE, valid.launch.encode(), nonce=ctx.ids, bound_to=request_id)
    request = AuthorizationRequest(
        id=request_id,
        tenant=site.tenant,
        client=client_context.client.id,
        redirect_uri=valid.redirect_uri,
        state=valid.state,
        scopes=tuple(smart.render(scope) for scope in valid.scopes),
        code_challenge=valid.code_challenge,
        created_at=ctx.now,
        expires_at=ctx.now + REQUEST_LIFE,
        nonce=valid.nonce,
        launch_sealed=sealed,
        prompt=valid.prompt,
        login_hint=valid.login_hint,
        max_age_s=valid.max_age_s,
    )
    store.REQUESTS.add(ctx.tx, request)
    # C31: launch context that the app itself sends has no effect. It is recorded, because a well-behaved
    # app does not send any.
    if valid.ignored:
        facts = {"request": request_id, "parameters": list(valid.ignored)}
        event = Event(
            "authserver.context.ignore",
            Outcome.REFUSED,
            tenant=site.tenant,
            app=client_context.app.id,
            client=request.client,
            reason="context_sent_by_app",
            facts=facts,
        )
        audit.record(ctx, event)
    return StoredRequest(request)


def _record_refusal(
    ctx: Context,
    site: Site,
    client: Client | None,
    reason: str,
    facts: Mapping[str, object],
    *,
    recorded: bool,
) -> None:
    if not recorded:
        return
    of = {"app": client.app, "client": client.id} if client else {}
    kept = {name: value for name, value in facts.items() if value}
    action = "authserver.request.refuse"
    audit.record(ctx, Event(action, Outcome.REFUSED, tenant=site.tenant, reason=reason, facts=kept, **of))


def record_counts(ctx: Context, counts: Iterable[tuple[str, str, int]]) -> None:
    """Record counts of refusals that got no record of their own, each with its tenant and address."""
    for tenant, source, count in counts:
        audit.record_count(ctx, "authserver.request.refuse", tenant=tenant, source=source, count=count)


def resume(ctx: Context, site: Site, request_id: str, cookie: str) -> FlowResult:
    """Continue a request, and issue its code if no page is needed. A FlowState needs a page; any other result ends or interrupts the request."""
    result = flow.advance(ctx, site, request_id, cookie)
    if isinstance(result, FlowState) and result.step is Step.ISSUE:
        assert result.covering is not None, "without a covering agreement there is a page"
        acting = ctx.as_actor(result.actor)
        issued = _issue(acting, site, result, result.offered, result.covering.id)
        return issued.redirect if isinstance(issued, IssuedCode) else issued
    return result


def choose_context(ctx: Context, site: Site, request_id: str, cookie: str, choice: Choice) -> FlowResult:
    """Set the patient and the encounter of a standalone launch. The route has checked that both exist.

    A patient whom the person may not open is recorded as a refusal, and answered as if there were no such patient.
    """
    result = flow.advance(ctx, site, request_id, cookie)
    if not isinstance(result, FlowState) or result.step is not Step.CHOOSE_CONTEXT:
        return result
    ctx = ctx.as_actor(result.actor)
    if choice.patient and not may_open(result.person, choice.patient):
        event = Event(
            "authserver.context.choose",
            Outcome.REFUSED,
            tenant=site.tenant,
            client=result.request.client,
            person=result.person.id,
            patient=choice.patient,
            reason="patient_out_of_reach",
        )
        audit.record(ctx, event)
        return result
    needs_encounter = smart_launch.requested_context(result.offered)[1]
    if not choice.patient or (needs_encounter and choice.encounter is None):
        return result
    encounter = (choice.encounter or "") if needs_encounter else ""
    flow.set_context(ctx, result.request, result.person, patient=choice.patient, encounter=encounter)
    return resume(ctx, site, request_id, cookie)


def may_open(person: Person, patient: str) -> bool:
    """Check whether a person may open a patient's chart (C34)."""
    openable = identity_policy.patients_openable(person)
    return bool(patient) and (openable is None or patient in openable)


def reader_of(flow_state: FlowState) -> Grant:
    """Return the grant with which the picker reads: the person at the browser, in their role, for the requesting app."""
    facts = flow_state.client_context.facts
    reader = reader_of_person(flow_state.person, flow_state.client_context.tenant)
    reader = replace(reader, client=facts.id, app=facts.app, version=facts.version, vendor=facts.vendor)
    return replace(reader, session=flow_state.session.id, facility=facility_of(flow_state))


def facility_of(flow_state: FlowState) -> str:
    """Return the facility at which the launch of a request was opened; empty without a launch or a facility."""
    return flow_state.launch.facility if flow_state.launch else ""


def reader_of_person(person: Person, tenant: Tenant) -> Grant:
    """Return the grant with which a page reads for a person, without an app."""
    return Grant(
        tenant=tenant.id,
        client=ClientId(""),
        app=AppId(""),
        version=VersionId(""),
        vendor=VendorId(""),
        scopes=picker.SCOPES,
        person=person.id,
        role=person.role,
        fhir_user=person.fhir_user,
        person_patients=identity_policy.patients_openable(person),
    )


async def read_patients(
    directory: PatientDirectory, reader: SignedIn, patients: Iterable[str], now: datetime, trace: Trace
) -> dict[str, PatientChoice]:
    """Read who some patients are, for a page or list that names them, by id; empty if the hospital's records cannot be read."""
    grant = reader_of_person(reader.person, reader.tenant)
    records = picker.RecordReader(directory, grant, ReadPurpose.RECORD_NAME, now, NAMES_PURPOSE, trace)
    try:
        found = await picker.find_patients(records, sorted(set(patients)))
    except picker.ReadRefused:
        # What the page is for must not depend on the FHIR server, so it then shows ids.
        return {}
    return {each.id: each for each in found}


def decide(ctx: Context, site: Site, request_id: str, cookie: str, answer: Answer) -> FlowResult:
    """Process the person's answer on the consent page or first-use notice, record it, and redirect to the client.

    A person may deny on the picker too, so that one who finds no patient can return to the app.
    """
    result = flow.advance(ctx, site, request_id, cookie)
    if not isinstance(result, FlowState):
        return result
    answerable = {Step.CONSENT, Step.NOTICE} | (set() if answer.allow else {Step.CHOOSE_CONTEXT})
    if result.step not in answerable:
        return result
    ctx = ctx.as_actor(result.actor)
    if not answer.allow:
        if answer.remove and result.agreed is not None:
            consent.withdraw(ctx, result.agreed.id)
        return flow.refuse(
            ctx,
            site,
            result.request,
            AuthorizeError.ACCESS_DENIED,
            code="person_declined",
            detail="the person declined",
            language=answer.language,
        )
    seen = result.as_shown(answer.shown)
    # The app or its purpose changed while the person read: the page is shown again.
    if seen is None:
        return result
    result = seen
    granted, ticked = result.offered, answer.ticked
    if result.step is Step.CONSENT:
        ticked = _ticked_within(result, answer)
        granted = consented(result.offered, ticked, result.person)
    patient, _ = policy.disclosed_context(granted, result.request.patient, result.request.encounter)
    fault = "" if policy.is_useful(granted) else "nothing was granted"
    if fault := fault or policy.context_refusal(granted, patient=patient):
        if result.step is Step.CONSENT:
            # A person who unticks everything and presses Allow has declined: earlier tokens must lose
            # those scopes too (ADR 17).
            _withhold(ctx, site, result, ticked)
        return flow.refuse(
            ctx, site, result.request, AuthorizeError.ACCESS_DENIED, code="nothing_granted", detail=fault
        )
    issued = _issue(ctx, site, replace(result, read_in=answer.language), granted, None)
    if not isinstance(issued, IssuedCode):
        return issued
    if result.step is Step.CONSENT:
        _withhold(ctx, site, result, ticked, recorded=issued.authorization)
    return issued.redirect


def _ticked_within(flow_state: FlowState, answer: Answer) -> tuple[str, ...]:
    """Return the ticks under ticked headings."""
    texts = tuple(smart.render(scope) for scope in flow_state.offered)
    offered = consent_policy.choices(texts, by=policy.consenter_of(flow_state.person))
    return consent_policy.within_topics(offered, answer.ticked, answer.topics)


def _withhold(
    ctx: Context,
    site: Site,
    flow_state: FlowState,
    ticked: tuple[str, ...],
    *,
    recorded: Authorization | None = None,
) -> None:
    """Remove what the person did not tick from earlier agreements too, except from the one just ``recorded``."""
    request, by = flow_state.request, policy.consenter_of(flow_state.person)
    patient, _ = policy.disclosed_context(flow_state.offered, request.patient, request.encounter)
    app = flow_state.client_context.facts.app
    texts = tuple(smart.render(scope) for scope in flow_state.offered)
    declined = consent_policy.declined(texts, ticked, by=by)
    but = recorded.id if recorded else None
    consent.withhold(ctx, site.tenant, flow_state.person.id, app, declined, patient=patient, by=by, but=but)


def consented(offered: tuple[Scope, ...], ticked: Iterable[str], person: Person) -> tuple[Scope, ...]:
    """Return the scopes that the ticks of a consent page grant, never more than was offered (C68)."""
    texts = tuple(smart.render(scope) for scope in offered)
    granted = consent_policy.apply_ticks(texts, tuple(ticked), by=policy.consenter_of(person))
    # Ticks come from the browser: a changed form must not grant more than the page offered.
    return smart.intersect(smart.parse_stored(granted), offered)


def _issue(
    ctx: Context,
    site: Site,
    flow_state: FlowState,
    granted: tuple[Scope, ...],
    covering: AuthorizationId | None,
) -> IssuedCode | DisplayedError:
    """Finish a request: record or renew the agreement, and issue a code for the granted scopes."""
    request, person, facts = flow_state.request, flow_state.person, flow_state.client_context.facts
    # First, and in one statement: of two windows that answer at the same moment, one gets a code.
    if not store.finish_request(ctx.tx, request.id, ctx.now):
        return DisplayedError("request_finished", "This authorization request has been answered already.")
    patient, _ = policy.disclosed_context(granted, request.patient, request.encounter)
    texts = tuple(smart.render(scope) for scope in granted)
    offline = policy.offline_of(granted)
    authorization = consent.record_authorization(
        ctx,
        tenant=site.tenant,
        person=person.id,
        facts=facts,
        basis=Basis.PERSON if person.role == Role.PATIENT else Basis.TENANT,
        scopes=texts,
        patient=patient,
        launch=request.launch,
        offline=bool(offline),
        covering_id=covering,
        workflow=flow_state.workflow,
        study_ends=flow_state.client_context.installed_until,
        language=flow_state.read_in,
    )
    secret = CODE_PREFIX + ctx.ids.secret()
    code = Code(
        hash=flow.digest(secret),
        redirect_uri=request.redirect_uri,
        code_challenge=request.code_challenge,
        # The family gets its id with the code rather than with its first token, so that a replay can
        # revoke it even before there is one.
        family=FamilyId(ctx.ids.new("fam")),
        grant=_grant(ctx, site, flow_state, granted, authorization),
        auth_time=flow_state.session.signed_in_at,
        issued_at=ctx.now,
        expires_at=ctx.now + CODE_LIFE,
        offline=offline,
    )
    store.add_code(ctx.tx, code)
    _record_issue(ctx, flow_state, code)
    return IssuedCode(flow.code_redirect(site, request, secret), authorization)


def _grant(
    ctx: Context,
    site: Site,
    flow_state: FlowState,
    granted: tuple[Scope, ...],
    authorization: Authorization,
) -> Grant:
    """Build the grant of a code, which its tokens store."""
    request, person, facts = flow_state.request, flow_state.person, flow_state.client_context.facts
    launch = flow_state.launch
    patient, encounter = policy.disclosed_context(granted, request.patient, request.encounter)
    return Grant(
        tenant=site.tenant,
        client=request.client,
        app=facts.app,
        version=facts.version,
        vendor=facts.vendor,
        scopes=tuple(smart.render(scope) for scope in granted),
        person=person.id,
        role=person.role,
        fhir_user=person.fhir_user,
        person_patients=identity_policy.patients_openable(person),
        patient=patient,
        encounter=encounter,
        authorization=authorization.id,
        authorization_expires_at=authorization.expires_at,
        launch=request.launch,
        launch_moved=launch is not None and launch.moved_at is not None,
        session=flow_state.session.id,
        nonce=request.nonce,
        extras=_extras(site, flow_state, granted),
        run=launch.run if launch else evidence.run_of(ctx, request.client, site.tenant),
        workflow=flow_state.workflow,
        facility=facility_of(flow_state),
    )


def _extras(site: Site, flow_state: FlowState, granted: tuple[Scope, ...]) -> dict[str, object]:
    launch = flow_state.launch
    if launch is None or SpecialScope("launch") not in granted:
        return {}
    return smart_launch.response_parameters(
        ehr_launch=True,
        intent=launch.intent,
        need_patient_banner=launch.need_patient_banner,
        style_url=site.style_url,
        fhir_context=launch.fhir_context,
        granted=granted,
    )


def _record_issue(ctx: Context, flow_state: FlowState, code: Code) -> None:
    event = Event(
        "authserver.code.issue",
        tenant=code.grant.tenant,
        app=code.grant.app,
        client=code.grant.client,
        person=code.grant.person,
        launch=code.grant.launch,
        authorization=code.grant.authorization,
        patient=code.grant.patient,
        facts={"scopes": list(code.grant.scopes), "request": flow_state.request.id, "family": code.family},
    )
    audit.record(ctx, event)


def redeem_code(
    ctx: Context, secret: str, exchange: Exchange, *, client: Client, redirect_uri: str, verifier: str
) -> Code:
    """Redeem a code for the client that it was issued to. The only verb of this room that the token endpoint calls.

    Raises NotPermitted(invalid_grant) for every fault. A wrong proof uses up the code; a second use revokes the tokens of the first, unless
    it repeats a request whose answer may have been lost: then the result has that ``answer``, and nothing may be minted.
    """
    fingerprint, tenant = flow.digest(secret), exchange.tenant
    code = store.redeem_code(ctx.tx, fingerprint, tenant=tenant, client=client.id, now=ctx.now)
    if code is None:
        used = store.CODES.find(ctx.tx, hash=fingerprint)
        if used is not None and (answer := tokens.find_answer(ctx, exchange)):
            return replace(used, answer=answer)
        raise NotPermitted(TokenError.INVALID_GRANT, _record_misuse(ctx, used, client, tenant))
    if fault := policy.code_fault(code, redirect_uri=redirect_uri, verifier=verifier, now=ctx.now):
        raise NotPermitted(TokenError.INVALID_GRANT, fault)
    return code


def _record_misuse(ctx: Context, code: Code | None, client: Client, tenant: TenantId) -> str:
    """Record the misuse of a code and return the detail of its refusal. A replay by its own client revokes its tokens.

    Source: RFC 6749 section 4.1.2
    """
    if code is None:
        return "There is no such code."
    own = code.grant.client == client.id and code.grant.tenant == tenant
    # Another client's attempt does not revoke the tokens: whoever finds a leaked code must not be able to
    # end its owner's access (ADR 163).
    if own:
        tokens.revoke_family(ctx, code.family, because="code_replayed")
    event = Event(
        "authserver.code.replay" if own else "authserver.code.misuse",
        Outcome.REFUSED,
        tenant=tenant,
        app=client.app,
        client=client.id,
        reason="code_replayed" if own else "foreign_code",
        facts={"family": code.family, "issued_to": code.grant.client, "issued_at": code.grant.tenant},
    )
    audit.record(ctx, event)
    return "The code was used before." if own else "The code was issued to another client or server."


def purge(ctx: Context) -> int:
    """Delete requests and codes that expired long enough ago; return how many."""
    return store.purge(ctx.tx, requests_before=ctx.now, codes_before=ctx.now - CODE_KEPT)
