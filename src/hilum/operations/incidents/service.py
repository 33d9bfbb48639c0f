"""Open, contain, investigate and close incidents."""

from dataclasses import replace
from hashlib import sha256
from typing import Annotated, Any

from pydantic import Field

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Switch, TargetKind
from hilum.controls.switches.policy import rules_the_platform
from hilum.foundation.actions.models import ID, LINE, PROSE, Arg, Denied, Effect
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM, ActorKind, require_platform
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId, VendorId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.operations.incidents import policy, store
from hilum.operations.incidents.models import (
    BEFORE_OPENED,
    RELATED_BOUND,
    STOPS_BOUND,
    TIMELINE_BOUND,
    CertificateDecision,
    Closing,
    Containment,
    Incident,
    IncidentId,
    IncidentSeverity,
    IncidentState,
    NewIncident,
    RelatedApp,
    Settlement,
    Severity,
    StepOutcome,
    Why,
)
from hilum.operations.incidents.notices import acknowledge, list_notices, progress, view_notice
from hilum.operations.incidents.noun import (
    INCIDENT,
    are_certified,
    is_open,
    may_advance,
    may_close,
    may_hold,
    may_notify,
    open_one,
    record,
    require_nothing_missing,
    saved,
    switches_of,
    visible,
    with_steps,
)
from hilum.operations.monitoring import service as monitoring
from hilum.operations.switch_administration import service as switches
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, RecordedEvent
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind

__all__ = [
    "acknowledge",
    "advance",
    "assign",
    "close",
    "contain",
    "hold",
    "list_incidents",
    "list_notices",
    "measure",
    "note",
    "notify",
    "open_incident",
    "progress",
    "rate",
    "related",
    "settle",
    "switches_of",
    "timeline",
    "view",
    "view_notice",
]
RESPONDERS = ("platform_admin", "security")
READERS = ("staff",)
Owner = Annotated[PersonId, ID, Arg("Who leads it: one of the staff.", "admin.ferro", names="person")]
Statement = Annotated[
    str,
    LINE,
    Arg(
        "What the hospitals and the vendor are told, in a line: facts, and what they should do.",
        '"Keys leaked; the app is stopped."',
        area=True,
    ),
]
Line = Annotated[
    str, PROSE, Field(min_length=1), Arg("What happened.", '"the vendor answered the phone"', area=True)
]
OnlyOpen = Annotated[bool, Arg("Only those that are not closed.", label="Only open ones")]
# --- open and lead ----------------------------------------------------------------------------------------------------------------


@action(INCIDENT, "open", who=RESPONDERS, creates=True, past="opened an incident", button="Open an incident")
def open_incident(ctx: Context, order: NewIncident) -> Incident:
    """Open an incident about an app or a vendor; its clocks begin now.

    Raises NotPermitted, NotFound (app, vendor, alert, switch, hospital), Invalid.
    """
    if not rules_the_platform(ctx.actor):
        raise Denied(order)
    order, linked = _with_signals(ctx, order)
    apps, vendor = _subject_of(ctx, order)
    for tenant in order.tenants:
        identity.get_tenant(ctx, tenant)
    began_at = order.began_at or ctx.now - BEFORE_OPENED
    if began_at > ctx.now:
        raise Invalid(
            "incident_invalid", "It cannot begin later than now.", fields={"began_at": "in_the_future"}
        )
    opened = Incident(
        id=ctx.ids.new("inc"),
        kind=order.kind,
        severity=order.severity,
        summary=order.summary.strip(),
        apps=apps,
        vendor=vendor,
        tenants=tuple(dict.fromkeys(order.tenants)),
        began_at=began_at,
        opened_at=ctx.now,
        opened_by=str(ctx.actor),
        owner=PersonId(ctx.actor.id) if ctx.actor.kind is ActorKind.STAFF else None,
        alert=order.alert,
        switches=(linked.id,) if linked else (),
        state=IncidentState.CONTAINED if linked else IncidentState.DETECTED,
        contained_at=ctx.now if linked else None,
    )
    store.INCIDENTS.add(ctx.tx, opened)
    _mail_staff(ctx, opened)
    return with_steps(ctx, opened)


def _with_signals(ctx: Context, order: NewIncident) -> tuple[NewIncident, Switch | None]:
    """Return an order with what its alert and its switch say of app, vendor and hospital, and the switch that contains it."""
    if order.alert:
        alert = monitoring.view_alert(ctx, order.alert)
        order = replace(order, app=order.app or alert.app, tenants=order.tenants or (alert.tenant,))
    if not order.switch:
        return order, None
    switch = controls.get_switch(ctx, order.switch)
    if not switch.in_force(ctx.now) or switch.mode is Mode.OBSERVE:
        detail = "Name a kill switch that is in force."
        raise Invalid("incident_invalid", detail, fields={"switch": "switch_not_in_force"})
    first, _, second = switch.target.key.partition("/")
    match switch.target.kind:
        case TargetKind.VENDOR:
            order = order if order.app else replace(order, vendor=order.vendor or VendorId(first))
        case TargetKind.VERSION:
            order = replace(order, app=order.app or registry.get_version(ctx, VersionId(first)).app)
        case TargetKind.APP | TargetKind.APP_PERSON:
            order = replace(order, app=order.app or AppId(first))
        case TargetKind.APP_TENANT:
            tenants = order.tenants or (TenantId(second),)
            order = replace(order, app=order.app or AppId(first), tenants=tenants)
    return order, switch


def _subject_of(ctx: Context, order: NewIncident) -> tuple[tuple[AppId, ...], VendorId]:
    """Return the apps that an incident is about, and their vendor."""
    if order.app:
        app = registry.get_app(ctx, order.app)
        if order.vendor not in {None, app.vendor}:
            raise Invalid(
                "incident_invalid", "It is not this vendor's app.", fields={"vendor": "not_expected"}
            )
        return (app.id,), app.vendor
    if not order.vendor:
        detail = "Say which app it is about, or which vendor."
        raise Invalid("incident_invalid", detail, fields={"app": "missing"})
    vendor = registry.get_vendor(ctx, order.vendor)
    return tuple(each.id for each in registry.list_of_vendor(ctx, vendor.id, STOPS_BOUND)), vendor.id


def _mail_staff(ctx: Context, incident: Incident) -> None:
    """Mail those who may contain an incident about it, unless it is of the lowest severity."""
    if incident.severity is IncidentSeverity.SEV4:
        return
    facts = {
        "summary": incident.summary,
        "severity": incident.severity.value,
        "incident": incident.id,
        "due": policy.contain_by(incident, ctx.now).isoformat(),
    }
    for person, address in identity.list_recipients(ctx, None, set(RESPONDERS)):
        if person != ctx.actor.id:
            notices.put_mail(ctx, Mail(MailKind.INCIDENT_OPENED, address, f"incidents/{incident.id}", facts))


@action(
    INCIDENT,
    "assign",
    who=RESPONDERS,
    past="gave an incident to somebody",
    button="Hand it over",
    asks="Who leads it?",
    when=is_open,
)
def assign(ctx: Context, incident_id: IncidentId, owner: Owner) -> Incident:
    """Hand an incident to another member of the staff, who leads it from now on.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed).
    """
    incident = open_one(ctx, incident_id)
    person = identity.get_person(ctx, owner)
    if person.tenant is not None or not person.active:
        raise Invalid(
            "incident_invalid", "One of the staff leads an incident.", fields={"owner": "owner_not_staff"}
        )
    return saved(ctx, replace(incident, owner=person.id))


@action(
    INCIDENT,
    "rate",
    who=RESPONDERS,
    past="changed the severity of an incident",
    button="Change it",
    asks="How bad is it?",
    when=is_open,
    records=False,
)
def rate(ctx: Context, incident_id: IncidentId, severity: Severity, reason: Why) -> Incident:
    """Change how bad an incident is, and so by when it is contained and notified, from when it was opened.

    Raises NotFound, NotPermitted, Conflict (closed).
    """
    return record(ctx, "rate", saved(ctx, replace(open_one(ctx, incident_id), severity=severity)), reason)


@action(
    INCIDENT,
    "note",
    who=RESPONDERS,
    past="added to the timeline of an incident",
    button="Add it",
    asks="Add to the timeline",
    when=is_open,
    records=False,
)
def note(ctx: Context, incident_id: IncidentId, text: Line) -> Incident:
    """Add a line to the timeline of an incident. It cannot be changed or taken back; write nothing about a patient.

    Raises NotFound, NotPermitted, Conflict (closed).
    """
    return record(ctx, "note", open_one(ctx, incident_id), text)


# --- contain and investigate ------------------------------------------------------------------------------------------------------


@action(
    INCIDENT,
    "contain",
    who=RESPONDERS,
    effect=Effect.NARROWS,
    past="contained an incident",
    button="Stop it now",
    asks="Stop what does harm?",
    consequence="The kill switches take effect within a second, and stay until somebody releases each of them.",
    when=is_open,
    records=False,
)
def contain(ctx: Context, incident_id: IncidentId, order: Containment) -> Incident:
    """Engage the kill switches that stop the apps of an incident, at once.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed).
    """
    incident = open_one(ctx, incident_id)
    if faults := policy.contain_faults(incident, order):
        raise Invalid("containment_invalid", "It cannot be contained like this; see fields.", fields=faults)
    in_force = {(each.target, each.mode) for each in switches_of(ctx, incident) if each.in_force(ctx.now)}
    engaged = [
        switches.engage(ctx, EngageOrder(target, order.mode, order.reason)).id
        for target in policy.targets_of(incident, order.where)
        if (target, order.mode) not in in_force
    ]
    # What was thought removed and is stopped again begins again.
    state = IncidentState.CONTAINED
    contained = replace(
        incident,
        switches=(*incident.switches, *engaged),
        state=state,
        contained_at=incident.contained_at or ctx.now,
    )
    return record(ctx, "contain", saved(ctx, contained), order.reason, switches=len(engaged))


@action(
    INCIDENT,
    "settle",
    who=RESPONDERS,
    past="settled a step of an incident",
    button="Record it",
    asks="What became of a step?",
    when=is_open,
    records=False,
)
def settle(ctx: Context, incident_id: IncidentId, order: Settlement) -> Incident:
    """Record that a step of the playbook is done, or why it is left out.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed).
    """
    incident = open_one(ctx, incident_id)
    if faults := policy.settle_fault(incident, order):
        raise Invalid("step_invalid", "The step cannot be settled like this; see fields.", fields=faults)
    done = tuple(each for each in incident.done if each != order.step)
    skipped = {step: why for step, why in incident.skipped.items() if step != order.step}
    if order.outcome is StepOutcome.DONE:
        done = (*done, order.step)
    else:
        skipped[order.step] = order.reason.strip()
    settled = saved(ctx, replace(incident, done=done, skipped=skipped))
    return record(ctx, "settle", settled, order.reason, step=order.step, outcome=order.outcome.value)


@action(
    INCIDENT,
    "hold",
    who=RESPONDERS,
    past="put the evidence of an incident on hold",
    button="Hold the evidence",
    consequence="From the day on which it began, the contents of no record are purged, until two people release the hold. Its apps, versions, certifications and clients are kept as they are now, signed.",
    when=may_hold,
    records=False,
)
def hold(ctx: Context, incident_id: IncidentId) -> Incident:
    """Put the audit of an incident on hold from when it began, so that no retention period removes it, and keep its apps as they are now.

    Raises NotFound, NotPermitted, Conflict (closed; on hold already), Unavailable (too many holds).
    """
    incident = open_one(ctx, incident_id)
    if incident.hold:
        raise Conflict("incident_on_hold", "Its evidence is on hold already.")
    about = {"app": incident.apps[0]} if len(incident.apps) == 1 else {}
    placed = audit.place_hold(ctx, f"Incident {incident.id}", since=incident.began_at, about=about)
    by_app, certified = clients.certified_facts(ctx, incident.apps)
    document = policy.evidence(incident, certified, by_app, ctx.now)
    signed = policy.signed_bytes("evidence", document)
    kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, signed)
    evidence = {"document": document, "kid": kid, "signature": signature}
    held = saved(ctx, replace(incident, hold=placed.id, evidence=evidence))
    return record(ctx, "hold", held, "", digest=sha256(signed).hexdigest())


@action(
    INCIDENT,
    "measure",
    who=RESPONDERS,
    past="asked whom an incident reached",
    button="Count it",
    asks="Count whom it reached",
    consequence="Patients, people, hospitals, calls, kinds of records and scopes since it began, from the audit; signed.",
    when=is_open,
)
def measure(ctx: Context, incident_id: IncidentId) -> Incident:
    """Count whom an incident reached since it began: the result is signed, and stands in the incident within a minute.

    Raises NotFound, NotPermitted, Conflict (closed).
    """
    return saved(ctx, replace(open_one(ctx, incident_id), reach_asked_at=ctx.now))


@action(
    INCIDENT,
    "notify",
    who=RESPONDERS,
    past="notified the hospitals of an incident",
    button="Send it",
    asks="Notify the hospitals and the vendor",
    consequence="Every hospital that it reached gets its own counts, and the vendor those of all. What was sent cannot be taken back.",
    when=may_notify,
)
def notify(ctx: Context, incident_id: IncidentId, statement: Statement) -> Incident:
    """Notify each hospital that an incident reached or that it names, and the vendor; they acknowledge it.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed; not counted yet; the last notice is still being sent).
    """
    incident = open_one(ctx, incident_id)
    if not statement.strip():
        raise Invalid("statement_missing", "Say what they should know.", fields={"statement": "missing"})
    if fault := policy.notify_fault(incident):
        raise Conflict(*fault)
    told = replace(
        incident, statement=statement.strip(), notice_number=incident.notice_number + 1, notice_cursor=""
    )
    return saved(ctx, told)


@action(INCIDENT, "related", who=READERS, effect=Effect.READS)
def related(ctx: Context, incident_id: IncidentId) -> list[RelatedApp]:
    """List other apps that may be affected too: of the same vendor, or with keys or redirects at the same host.

    Raises NotFound.
    """
    incident = visible(ctx, incident_id)
    hosts = clients.hosts_of(ctx, incident.apps)
    shared = clients.apps_at(ctx, hosts, RELATED_BOUND)
    own = {each.id for each in registry.list_of_vendor(ctx, incident.vendor, RELATED_BOUND)}
    ids = sorted((own | shared.keys()) - set(incident.apps))[:RELATED_BOUND]
    apps = registry.read_apps(ctx, ids) if ids else {}
    return [
        RelatedApp(
            each.id,
            each.name,
            each.vendor,
            (
                *(("same vendor",) if each.id in own else ()),
                *(f"same host: {host}" for host in shared.get(each.id, ())),
            ),
        )
        for each in apps.values()
    ]


# --- recover and close ------------------------------------------------------------------------------------------------------------


@action(
    INCIDENT,
    "advance",
    who=RESPONDERS,
    past="moved an incident to its next phase",
    button="Go on",
    asks="Go on to the next phase",
    consequence=lambda incident, _now: policy.next_in_words(incident),
    when=may_advance,
)
def advance(ctx: Context, incident_id: IncidentId) -> Incident:
    """Move an incident to its next phase, once every step of this one is done or left out with a reason.

    Raises NotFound, NotPermitted, Conflict (steps are open; it is closed, or only closing is left).
    """
    incident = open_one(ctx, incident_id)
    following = policy.NEXT.get(incident.state)
    if following is None:
        raise Conflict("incident_recovered", "It has recovered: close it (`hilum incident close`).")
    require_nothing_missing(incident)
    moment: dict[str, Any] = {f"{following.value}_at": ctx.now}
    return saved(ctx, replace(incident, state=following, **moment))


@action(
    INCIDENT,
    "close",
    who=RESPONDERS,
    past="closed an incident",
    button="Close it",
    consequence="Its record cannot be changed afterwards.",
    when=may_close,
)
def close(ctx: Context, incident_id: IncidentId, order: Closing) -> Incident:
    """Close an incident that has recovered, with its cause, what was changed, a scenario that shows it, and what becomes of the certification.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed; steps are open; the certification is in force although it is said to be withdrawn).
    """
    incident = open_one(ctx, incident_id)
    if incident.state is not IncidentState.RECOVERED:
        detail = "It has not recovered yet. Finish its steps, and move it on (`hilum incident advance`)."
        raise Conflict("incident_not_recovered", detail)
    require_nothing_missing(incident)
    book = policies.current(ctx.as_actor(SYSTEM)).everywhere
    if faults := policy.closing_faults(order, book.scenarios):
        raise Invalid("closing_invalid", "It cannot be closed like this; see fields.", fields=faults)
    certified = any(are_certified(ctx, incident))
    if certified is (order.certificate is CertificateDecision.WITHDRAWN):
        state = "is still in force" if certified else "is not in force"
        detail = f"The certification {state}. Withdraw or renew it first, or state what is true."
        raise Conflict("certification_differs", detail)
    closed = replace(
        incident,
        state=IncidentState.CLOSED,
        closed_at=ctx.now,
        closed_by=str(ctx.actor),
        cause=order.cause.strip(),
        corrective=order.corrective.strip(),
        scenario=order.scenario,
        no_scenario=order.no_scenario.strip(),
        certificate=order.certificate,
    )
    return saved(ctx, closed)


# --- read -------------------------------------------------------------------------------------------------------------------------


@action(INCIDENT, "show", who=READERS, effect=Effect.READS)
def view(ctx: Context, incident_id: IncidentId) -> Incident:
    """Show an incident: its phase, its clocks, the steps of its playbook, and whom it reached.

    Raises NotFound.
    """
    return visible(ctx, incident_id)


@action(INCIDENT, "list", who=READERS, effect=Effect.READS)
def list_incidents(
    ctx: Context, page: PageQuery = FIRST_PAGE, *, open_only: OnlyOpen = False
) -> list[Incident]:
    """List incidents, newest first.

    Raises NotPermitted.
    """
    require_platform(ctx.actor)
    found = store.list_incidents(ctx.tx, page, is_open=open_only)
    return [replace(each, reach={}, evidence={}) for each in found]


def timeline(ctx: Context, incident: Incident) -> list[RecordedEvent]:
    """Return what was recorded of an incident and of its switches, newest first; at most TIMELINE_BOUND events. For the platform's staff."""
    require_platform(ctx.actor)
    found = [
        each
        for name in ("incidents.", "controls.switch.")
        for each in audit.list_events(ctx, EventQuery(action=name, since=incident.opened_at)).events
        if each.event.facts.get("incident") == incident.id
        or each.event.facts.get("switch") in incident.switches
    ]
    return sorted(found, key=lambda each: (each.at, each.seq), reverse=True)[:TIMELINE_BOUND]
