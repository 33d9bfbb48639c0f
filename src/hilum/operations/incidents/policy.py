"""Playbooks, phases, clocks, what is missing, and who may see what. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

import orjson

from hilum.apps.clients.models import ClientFacts
from hilum.apps.registry.models import Certification, Certified, Environment
from hilum.controls.switches.models import Mode, Target, TargetKind
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people.policy import is_member
from hilum.operations.incidents.models import (
    CLOCKS,
    STOPS_BOUND,
    Closing,
    Containment,
    Incident,
    IncidentKind,
    IncidentNotice,
    IncidentState,
    Settlement,
    Step,
    StepCheck,
    StepOutcome,
    StepView,
    StopWhere,
)
from hilum.records.audit.models import PermitCount, Reach, TenantReach

NEXT: Mapping[IncidentState, IncidentState] = {
    IncidentState.DETECTED: IncidentState.CONTAINED,
    IncidentState.CONTAINED: IncidentState.ERADICATED,
    IncidentState.ERADICATED: IncidentState.RECOVERED,
}
"""The phase after each one. The last, from recovered to closed, is by ``close``."""
_D, _C, _E, _R = (
    IncidentState.DETECTED,
    IncidentState.CONTAINED,
    IncidentState.ERADICATED,
    IncidentState.RECOVERED,
)
_FIRST = (
    Step("stop", "Stop what does harm.", _D, StepCheck.STOPPED),
    Step("reach", "Count whom it reached.", _C, StepCheck.MEASURED),
    Step("evidence", "Put the evidence on hold.", _C, StepCheck.HELD),
    Step("extent", "Find out whether it is one vendor, or others too.", _C),
    Step("notice", "Notify the hospitals and the vendor.", _C, StepCheck.NOTIFIED),
)
_LAST = (
    Step("certified", "The app is active and certified.", _E, StepCheck.CERTIFIED),
    Step("released", "Its kill switches are released.", _E, StepCheck.RELEASED),
    Step("outcome", "The hospitals know how it ended.", _R),
)
_OWN: Mapping[IncidentKind, tuple[Step, ...]] = {
    IncidentKind.COMPROMISED_APP: (
        Step("credentials", "The vendor replaced every secret and key.", _C),
        Step("grants", "What was issued before stays invalid, or was revoked.", _C),
        Step("cause", "The vendor explained how it was compromised.", _C),
    ),
    IncidentKind.SCOPE_ESCALATION: (
        Step("origin", "It is known by which rule or version more was allowed.", _C),
        Step("narrowed", "What the app may do is what its job needs.", _C),
    ),
    IncidentKind.UNAUTHORIZED_ACCESS: (
        Step("patients", "The patients who were seen are listed for each hospital.", _C),
        Step("account", "The accounts that were used are stopped or cleared.", _C),
        Step("law", "Each hospital knows which duties to report it has.", _C),
    ),
    IncidentKind.LEAKING_VENDOR: (
        Step("copies", "The vendor stated where the data went, and asked for its deletion.", _C),
        Step("agreement", "The agreements with the vendor were looked at.", _C),
        Step("credentials", "The vendor replaced every secret and key.", _C),
    ),
    IncidentKind.WRONG_DISPLAY: (
        Step("shown", "It is known which values were shown wrongly, and since which version.", _C),
        Step("care", "Hospitals were told which decisions to look at again.", _C),
        Step("fixed", "The fix passed in the sandbox.", _C),
    ),
    IncidentKind.OUTAGE: (
        Step("load", "It is known what made the app fail, or others slow.", _C),
        Step("limits", "The limits that should have held were looked at.", _C),
    ),
}


def playbook(kind: IncidentKind) -> tuple[Step, ...]:
    """Return the steps for a kind of incident, in their order."""
    return (*_FIRST, *_OWN[kind], *_LAST)


def steps_of(incident: Incident, checked: Collection[StepCheck]) -> tuple[StepView, ...]:
    """Return the steps of an incident as they stand. ``checked``: what the platform found to be true of it."""
    views = []
    for step in playbook(incident.kind):
        is_done = step.check in checked if step.check else step.id in incident.done
        outcome = StepOutcome.DONE if is_done else None
        if step.id in incident.skipped:
            outcome = StepOutcome.SKIPPED
        reason = incident.skipped.get(step.id, "")
        views.append(StepView(step.id, step.text, step.phase, step.check is not None, outcome, reason))
    return tuple(views)


def missing(incident: Incident) -> list[str]:
    """Return what an incident waits for before it can leave its phase, in words."""
    return [each.text for each in incident.steps if each.phase is incident.state and each.outcome is None]


def stated(incident: Incident) -> frozenset[StepCheck]:
    """Return what an incident's own record shows to be done."""
    found = {
        StepCheck.STOPPED: bool(incident.switches),
        StepCheck.MEASURED: incident.reach_at is not None,
        StepCheck.HELD: bool(incident.hold),
        StepCheck.NOTIFIED: incident.notified_at is not None,
    }
    return frozenset(check for check, is_true in found.items() if is_true)


def settle_fault(incident: Incident, order: Settlement) -> dict[str, str]:
    """Return what is wrong with the settlement of a step, by field."""
    step = next((each for each in playbook(incident.kind) if each.id == order.step), None)
    if step is None:
        return {"step": "step_unknown"}
    if order.outcome is StepOutcome.SKIPPED:
        return {} if order.reason.strip() else {"reason": "reason_missing"}
    return {"step": "step_is_checked"} if step.check is not None else {}


def closing_faults(order: Closing, scenarios: Collection[str]) -> dict[str, str]:
    """Return what is wrong with the end of an incident, by field: it needs a scenario of the sandbox, or the reason why there is none."""
    faults = {name: "missing" for name in ("cause", "corrective") if not getattr(order, name).strip()}
    if order.scenario and order.scenario not in scenarios:
        faults["scenario"] = "scenario_unknown"
    if not order.scenario and not order.no_scenario.strip():
        faults["no_scenario"] = "missing"
    return faults


def contain_by(incident: Incident, _now: datetime) -> datetime:
    """Return by when an incident of its severity is contained."""
    return incident.opened_at + CLOCKS[incident.severity].contain


def notify_by(incident: Incident, _now: datetime) -> datetime | None:
    """Return by when hospitals are notified of an incident of its severity; None if there is no clock."""
    within = CLOCKS[incident.severity].notify
    return None if within is None else incident.opened_at + within


def late_for(incident: Incident, now: datetime) -> tuple[str, ...]:
    """Return which clocks of an incident ran out before what they wait for was done: ``containment``, ``notice``."""
    due = notify_by(incident, now)
    waits = {
        "containment": (contain_by(incident, now), incident.contained_at),
        "notice": (due, incident.notified_at),
    }
    return tuple(word for word, (by, at) in waits.items() if by is not None and (at or now) > by)


def targets_of(incident: Incident, where: StopWhere) -> list[Target]:
    """Return what kill switches contain an incident there."""
    match where:
        case StopWhere.VENDOR:
            return [Target(TargetKind.VENDOR, incident.vendor)]
        case StopWhere.HOSPITALS:
            pairs = ((app, tenant) for app in incident.apps for tenant in incident.tenants)
            return [Target(TargetKind.APP_TENANT, f"{app}/{tenant}") for app, tenant in pairs]
        case StopWhere.EVERYWHERE:
            return [Target(TargetKind.APP, app) for app in incident.apps]


def may_see_notice(actor: Actor, notice: IncidentNotice) -> bool:
    """Check whether an actor may see a notice: the staff, administrators of its hospital, or members of the vendor that it was sent to."""
    if actor.is_platform:
        return True
    return administers(actor, notice.tenant) if notice.tenant else is_member(actor, notice.vendor)


def is_certified(certifications: Iterable[Certification], now: datetime) -> bool:
    """Check whether an app is certified: for production if it ever was, else for the sandbox."""
    found = list(certifications)
    live = [each for each in found if each.environment is Environment.PRODUCTION] or found
    return any(each.withdrawn_at is None and now < each.expires_at for each in live)


def contain_faults(incident: Incident, order: Containment) -> dict[str, str]:
    """Return what is wrong with a containment."""
    if order.mode is Mode.OBSERVE:
        return {"mode": "observe_stops_nothing"}
    if order.where is StopWhere.HOSPITALS and not incident.tenants:
        return {"where": "hospitals_not_named"}
    return {"where": "too_many_stops"} if len(targets_of(incident, order.where)) > STOPS_BOUND else {}


def notify_fault(incident: Incident) -> tuple[str, str] | None:
    """Return why nobody can be notified of an incident now: a code and a sentence; None if they can."""
    if incident.reach_at is None or is_due_to_be_counted(incident):
        return "reach_unknown", "Count first whom it reached (`hilum incident measure`): they are notified."
    if incident.notice_number > incident.sent_number:
        return "notice_in_progress", "The last notice is still being sent. Try again in a minute."
    return None


def next_in_words(incident: Incident) -> str:
    """Return what the next phase waits for, in a sentence."""
    waits = missing(incident)
    return f"Not possible yet: {' '.join(waits)}" if waits else "Every step of this phase is done."


def may_acknowledge(actor: Actor, notice: IncidentNotice) -> bool:
    """Check whether an actor may acknowledge a notice: whoever it was sent to, and nobody for them."""
    return not actor.is_platform and may_see_notice(actor, notice)


def recipient_of(actor: Actor) -> dict[str, str | None] | None:
    """Return to whom the notices are that an actor may list, as the columns tenant and vendor; None if they may list none."""
    if actor.is_platform:
        return {"tenant": None, "vendor": None}
    if actor.tenant is not None and administers(actor, actor.tenant):
        return {"tenant": actor.tenant, "vendor": None}
    if actor.vendor is not None and is_member(actor, actor.vendor):
        return {"tenant": "", "vendor": actor.vendor}
    return None


def is_due_to_be_counted(incident: Incident) -> bool:
    """Check whether somebody asked whom an incident reached since it was counted last."""
    asked, counted = incident.reach_asked_at, incident.reach_at
    return asked is not None and (counted is None or counted < asked)


def document(
    incident: Incident, reach: Reach, permits: Iterable[PermitCount], until: datetime
) -> dict[str, Any]:
    """Return the report of whom an incident reached, which is signed."""
    found = list(permits)
    types: dict[str, int] = {}
    for each in found:
        types[each.resource_type] = types.get(each.resource_type, 0) + each.number
    return {
        "incident": incident.id,
        "apps": list(incident.apps),
        "limited_to": list(incident.tenants),
        "since": incident.began_at.isoformat(),
        "until": until.isoformat(),
        **_written(reach.total),
        "refused": reach.refused,
        "hospitals": {tenant: _written(each) for tenant, each in reach.by_tenant.items()},
        "resource_types": dict(sorted(types.items())),
        "scopes": sorted({each.rule for each in found}),
    }


def evidence(
    incident: Incident, certified: Certified, clients: Mapping[AppId, Sequence[ClientFacts]], now: datetime
) -> dict[str, Any]:
    """Return the apps of an incident as they are now, with their versions, certifications and clients, as plain JSON."""
    versions = sorted((each for each in certified.versions.values()), key=lambda each: each.id)
    document = {
        "incident": incident.id,
        "at": now,
        "apps": [certified.apps[each] for each in incident.apps if each in certified.apps],
        "versions": [each for each in versions if each.app in incident.apps],
        "certifications": [each for app in incident.apps for each in certified.certifications.get(app, ())],
        "clients": [each for app in incident.apps for each in clients.get(app, ())],
    }
    found: dict[str, Any] = orjson.loads(
        orjson.dumps(document, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    )
    return found


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else sorted(value)


def signed_bytes(kind: Literal["reach", "evidence"], document: Mapping[str, Any]) -> bytes:
    """Return what is signed of a document of an incident."""
    # The key signs checkpoints and other reports too: the first line keeps one from being presented as another.
    return f"hilum incident {kind} v1\n".encode() + orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _written(reach: TenantReach) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(reach).items()
    }


def notice_to(incident: Incident, id_: str, tenant: str, now: datetime) -> IncidentNotice:
    """Return the notice of an incident to a hospital, with its own counts; or, without one, to the vendor, with those of all."""
    report = incident.reach["report"]
    counts = report["hospitals"].get(tenant, {}) if tenant else report
    return IncidentNotice(
        id=id_,
        incident=incident.id,
        number=incident.notice_number,
        tenant=TenantId(tenant),
        vendor=incident.vendor,
        app=incident.apps[0] if len(incident.apps) == 1 else AppId(""),
        kind=incident.kind,
        severity=incident.severity,
        statement=incident.statement,
        calls=counts.get("calls", 0),
        patients=counts.get("patients", 0),
        people=counts.get("people", 0),
        began_at=incident.began_at,
        sent_at=now,
        due_at=notify_by(incident, now),
    )


def recipients_of(incident: Incident) -> list[TenantId]:
    """Return the hospitals that a notice goes to, in order: those that the incident reached, and those that it names."""
    reached = incident.reach["report"]["hospitals"]
    return sorted({*map(TenantId, reached), *incident.tenants})
