"""What actions on an incident share: how it is read, shown, locked, saved and recorded."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from hilum.apps.registry import service as registry
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Switch
from hilum.controls.switches.policy import rules_the_platform
from hilum.foundation.actions.models import Denied, Noun, Shows
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict
from hilum.operations.incidents import policy, store
from hilum.operations.incidents.models import Incident, IncidentState, NewIncident, StepCheck
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

_TONES = {
    IncidentState.DETECTED: "bad",
    IncidentState.CONTAINED: "warn",
    IncidentState.ERADICATED: "warn",
    IncidentState.RECOVERED: "warn",
    IncidentState.CLOSED: "plain",
}


def visible(ctx: Context, incident_id: str, *, lock: bool = False) -> Incident:
    incident = store.INCIDENTS.get(ctx.tx, incident_id, lock=lock)
    if not ctx.actor.is_platform:
        raise store.INCIDENTS.missing()
    return with_steps(ctx, incident)


def with_steps(ctx: Context, incident: Incident) -> Incident:
    checked = set(policy.stated(incident))
    if not incident.closed_at and all(are_certified(ctx, incident)):
        checked.add(StepCheck.CERTIFIED)
    if not any(each.in_force(ctx.now) for each in switches_of(ctx, incident)):
        checked.add(StepCheck.RELEASED)
    return replace(incident, steps=policy.steps_of(incident, checked))


def _event(code: str, subject: Incident | NewIncident | None) -> Event:
    if not isinstance(subject, Incident):
        return Event(code, app=(subject.app or "") if subject else "")
    app = subject.apps[0] if len(subject.apps) == 1 else ""
    facts = {"incident": subject.id, "severity": subject.severity.value, "state": subject.state.value}
    return Event(code, app=app, facts=facts)


def _notices(incident: Incident, now: datetime) -> Sequence[tuple[str, str]]:
    found = [
        (f"Late: {word}", "Its time was over on {" + field + "}, and it is not done.")
        for word, field in (("containment", "contain_by"), ("notice", "notify_by"))
        if word in policy.late_for(incident, now)
    ]
    if policy.is_due_to_be_counted(incident):
        found.append(("Counting whom it reached", "Open this page again in a few seconds."))
    return found


def is_open(actor: Actor, incident: Incident, _now: datetime) -> bool:
    return rules_the_platform(actor) and incident.closed_at is None


def may_advance(actor: Actor, incident: Incident, now: datetime) -> bool:
    return is_open(actor, incident, now) and incident.state in policy.NEXT


def may_close(actor: Actor, incident: Incident, now: datetime) -> bool:
    return is_open(actor, incident, now) and incident.state is IncidentState.RECOVERED


def may_hold(actor: Actor, incident: Incident, now: datetime) -> bool:
    return is_open(actor, incident, now) and not incident.hold


def may_notify(actor: Actor, incident: Incident, now: datetime) -> bool:
    return is_open(actor, incident, now) and not policy.notify_fault(incident)


INCIDENT = Noun(
    "incident",
    "incidents",
    Incident,
    load=visible,
    about=_event,
    title="{summary}",
    help="Respond to harm by apps: contain it, find out whom it reached, notify them, recover, and learn from it.",
    columns=(
        Shows("summary", "Incident"),
        Shows("severity", "Severity"),
        Shows("state", "State"),
        Shows("kind", "Kind"),
        Shows("vendor", "Vendor"),
        Shows("owner", "Led by"),
        Shows("opened_at", "Opened"),
    ),
    facts=(
        Shows("kind", "Kind"),
        Shows("severity", "Severity"),
        Shows("vendor", "Vendor"),
        Shows("owner", "Led by"),
        Shows("began_at", "Began"),
        Shows("opened_at", "Opened"),
        Shows("opened_by", "Opened by", kind="actor"),
        Shows("contained_at", "Contained"),
        Shows("notified_at", "Hospitals notified"),
        Shows("eradicated_at", "Cause removed"),
        Shows("recovered_at", "Recovered"),
        Shows("closed_at", "Closed"),
        Shows("alert", "Alert"),
        Shows("hold", "Evidence hold"),
        Shows("statement", "Last statement", wide=True),
        Shows("cause", "Cause", wide=True),
        Shows("corrective", "Corrective actions", wide=True),
        Shows("scenario", "The sandbox shows it in"),
        Shows("no_scenario", "Why the sandbox cannot show it", wide=True),
        Shows("certificate", "Certification"),
    ),
    derived={"contain_by": policy.contain_by, "notify_by": policy.notify_by, "late_for": policy.late_for},
    badge=lambda _actor, incident, _now: (incident.state.value, _TONES[incident.state]),
    notices=_notices,
)


def open_one(ctx: Context, incident_id: str) -> Incident:
    """Return an incident that the actor may change, locked, so that of two who close it one is told. Raises NotFound, NotPermitted, Conflict."""
    incident = visible(ctx, incident_id, lock=True)
    if not rules_the_platform(ctx.actor):
        raise Denied(incident)
    if incident.closed_at is not None:
        raise Conflict("incident_closed", "This incident is closed, and its record does not change any more.")
    return incident


def saved(ctx: Context, incident: Incident) -> Incident:
    store.INCIDENTS.save(ctx.tx, incident)
    return with_steps(ctx, incident)


def record(ctx: Context, verb: str, incident: Incident, reason: str, **facts: Any) -> Incident:
    event = _event(f"incidents.incident.{verb}", incident)
    audit.record(ctx, replace(event, facts=event.facts | facts | {"reason": reason.strip()}))
    return incident


def require_nothing_missing(incident: Incident) -> None:
    if waits := policy.missing(incident):
        detail = (
            f"Not done yet: {' '.join(waits)} Do it, or say why it is left out (`hilum incident settle`)."
        )
        raise Conflict("steps_open", detail)


def switches_of(ctx: Context, incident: Incident) -> list[Switch]:
    return [controls.get_switch(ctx, each) for each in incident.switches]


def are_certified(ctx: Context, incident: Incident) -> list[bool]:
    """Return of each app of an incident whether it is certified."""
    by_app = registry.read_certified(ctx, incident.apps).certifications
    return [policy.is_certified(by_app.get(each, ()), ctx.now) for each in incident.apps]
