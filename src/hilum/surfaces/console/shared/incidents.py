"""Incidents as the staff work through them, and the notices as hospitals and vendors read them: the pages of the declared actions."""

from typing import Any

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Mode, Switch
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.identity.people import service as identity
from hilum.operations.incidents import policy
from hilum.operations.incidents import service as incidents
from hilum.operations.incidents.models import Incident, IncidentSeverity, StopWhere
from hilum.operations.monitoring import service as monitoring
from hilum.policy.matrix import service as policies
from hilum.surfaces.console import service, words
from hilum.surfaces.console.actions import Offered, Pages
from hilum.surfaces.console.desk import address
from hilum.surfaces.console.parts import alerts

HOSPITALS_SHOWN = 100
UNREAD_SHOWN = 20
_SEVERITIES = {
    IncidentSeverity.SEV1: "SEV1: records were reached, or data left",
    IncidentSeverity.SEV2: "SEV2: patients may be harmed",
    IncidentSeverity.SEV3: "SEV3: people cannot work with it",
    IncidentSeverity.SEV4: "SEV4: it annoys",
}
_WHERES = {
    StopWhere.EVERYWHERE: "The app, at every hospital",
    StopWhere.HOSPITALS: "The app, at the hospitals named here",
    StopWhere.VENDOR: "Every app of its vendor",
}
SIGNALS_SHOWN = 50
_NONE = ("", "None")


def _more(ctx: Context, incident: Incident) -> dict[str, Any]:
    """Read what the page of an incident shows besides its facts."""
    report = dict(incident.reach.get("report", {}))
    hospitals = sorted(report.get("hospitals", {}).items(), key=lambda each: -each[1]["patients"])
    switches = incidents.switches_of(ctx, incident)
    progress = incidents.progress(ctx, incident, UNREAD_SHOWN)
    events = incidents.timeline(ctx, incident)
    related = incidents.related(ctx, incident.id)
    ids = [
        *incident.apps,
        incident.vendor,
        *(each.actor for each in events),
        *(each.vendor for each in related),
    ]
    places = {*incident.tenants, *(each for each, _ in hospitals[:HOSPITALS_SHOWN])}
    places |= {each.tenant for each in progress.unread} - {""}
    names = service.names(ctx, ids, tenants=places, targets=[each.target for each in switches])
    return {
        "incident": incident,
        "about": [(names.app(each), address("operations.app", each)) for each in incident.apps],
        "places": [names.tenant(each) for each in incident.tenants],
        "severity": _SEVERITIES[incident.severity],
        "contain_by": policy.contain_by(incident, ctx.now),
        "notify_by": policy.notify_by(incident, ctx.now),
        "late": policy.late_for(incident, ctx.now),
        "now_steps": [each for each in incident.steps if each.phase is incident.state],
        "other_steps": [each for each in incident.steps if each.phase is not incident.state],
        "counting": policy.is_due_to_be_counted(incident),
        "sending": incident.notice_number > incident.sent_number,
        "report": report,
        "hospitals": [(names.tenant(id_), each) for id_, each in hospitals[:HOSPITALS_SHOWN]],
        "hospitals_more": max(len(hospitals) - HOSPITALS_SHOWN, 0),
        "switches": [_switch(each, names, ctx) for each in switches],
        "progress": progress,
        "unread": [
            names.tenant(each.tenant) if each.tenant else names.vendor(each.vendor)
            for each in progress.unread
        ],
        "related": [
            (each.name, names.vendor(each.vendor), each.why, address("operations.app", each.app))
            for each in related
        ],
        "timeline": [words.timeline_entry(each, names) for each in events],
        "versioned": {"advance", "close", "notify"},
    }


def _switch(switch: Switch, names: service.Names, ctx: Context) -> tuple[str, str, str, str]:
    """Return a kill switch of an incident: what it stops, its page, its state and the colour of it."""
    state, tone = words.switch_state(switch, in_force=switch.in_force(ctx.now))
    return names.target(switch.target), address("operations.switch", switch.id), state, tone


def _severities(_ctx: Context) -> Offered:
    return Offered([(each.value, text) for each, text in _SEVERITIES.items()])


def _alerts(ctx: Context) -> Offered:
    found = alerts.rows(ctx, monitoring.newest_open(ctx, SIGNALS_SHOWN))
    texts = [(each["id"], f"{each['app']} at {each['hospital']}: {each['kind']}") for each in found]
    return Offered([_NONE, *texts])


def _switches(ctx: Context) -> Offered:
    found = controls.browse_switches(ctx, in_force=True, page=PageQuery(limit=SIGNALS_SHOWN))
    names = service.names(ctx, targets=[each.target for each in found])
    return Offered([_NONE, *((each.id, names.target(each.target)) for each in found)])


def _responders(ctx: Context) -> Offered:
    """Offer the colleagues who may lead an incident."""
    ids = [person for person, _ in identity.list_recipients(ctx, None, set(incidents.RESPONDERS))]
    people = identity.find_people(ctx, ids).values() if ids else ()
    return Offered([(each.username, each.name) for each in people], free=True)


def _scenarios(ctx: Context) -> Offered:
    known = sorted(policies.current(ctx).everywhere.scenarios.items())
    return Offered([_NONE, *known])


def _modes(_ctx: Context) -> Offered:
    # The first is what a hurried reader gets, and observing stops nothing.
    every = (Mode.FULL_STOP, *(each for each in words.MODES if each not in {Mode.FULL_STOP, Mode.OBSERVE}))
    return Offered([(each.value, words.MODES[each][0]) for each in every])


def _wheres(_ctx: Context) -> Offered:
    return Offered([(each.value, text) for each, text in _WHERES.items()])


OPERATIONS = Pages(
    "operations.incident",
    listed=incidents.list_incidents,
    show=incidents.view,
    new=incidents.open_incident,
    acts=(
        incidents.contain,
        incidents.measure,
        incidents.hold,
        incidents.notify,
        incidents.advance,
        incidents.close,
        incidents.note,
        incidents.settle,
        incidents.rate,
        incidents.assign,
    ),
    offers={
        "severity": _severities,
        "alert": _alerts,
        "switch": _switches,
        "owner": _responders,
        "scenario": _scenarios,
        "where": _wheres,
        "mode": _modes,
    },
    lead="Harm by an app: who leads, what is contained, whom it reached, who was told, and how it ended.",
    new_lead="Its clocks begin now. You lead it until you hand it over; colleagues who may stop apps get mail.",
    empty=lambda _may: ("No incident", "Open one from an alert, from a kill switch, or here."),
    template="console/incidents/incident.html",
    more=_more,
)
TENANT = Pages(
    "tenant.incident",
    listed=incidents.list_notices,
    show=incidents.view_notice,
    acts=(incidents.acknowledge,),
    links={"app": "tenant.app"},
    lead="Harm by apps that concerned your hospital: what happened, how many of your patients, and what to do.",
    empty=lambda _may: ("No incident concerned your hospital", "You get mail when one does."),
)
DEVELOPER = Pages(
    "developer.incident",
    listed=incidents.list_notices,
    show=incidents.view_notice,
    acts=(incidents.acknowledge,),
    links={"app": "developer.app"},
    lead="Harm by your apps: what happened, and what is expected of you.",
    empty=lambda _may: ("No incident concerned your apps", "Your security contact gets mail when one does."),
)
