"""The facts of a request for whoever explains it: what it was about, why it was refused, and who can change that (C69, C216).

From what was recorded at the decision, and the names of today as far as the reader may see them.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import SYSTEM_CLIENTS
from hilum.authorization.eligibility.policy import in_words
from hilum.authorization.eligibility.refusals import FULL_STOP, SECURITY, TABLE
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Switch
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.kernel.sentences import moment
from hilum.foundation.standards.refusals import CATALOGUE
from hilum.foundation.web.faults import explained
from hilum.records.audit.explanation import happened, in_force_at
from hilum.records.audit.models import Access, Event, Fact, Outcome, RecordedEvent
from hilum.surfaces.console import service as consoles

_REASONS = frozenset(Reason)
_OF_REGISTRATION = frozenset({"redirect_uri_unknown", "redirect_uri_missing", "invalid_client"})
"""Reasons that whoever registered the client can change."""
_SENT = {
    "object": "Object",
    "client_id": "Client that was sent",
    "redirect_uri": "Address that was sent",
    "username": "User name that was sent",
    "facility": "Facility",
    "placement": "Placement",
}


def decided(
    request_id: str, accesses: Sequence[Access], events: Sequence[RecordedEvent]
) -> Access | RecordedEvent | None:
    """Return the record that says most of a request: its last refusal, else its last record; an intent only if there is no other."""
    if accesses:
        return max(
            accesses, key=lambda each: (bool(each.reason), each.outcome is not Outcome.INTENDED, each.at)
        )
    own = [each for each in events if each.request_id == request_id]
    return max(own, key=lambda each: (each.event.outcome is Outcome.REFUSED, each.at), default=None)


def about(ctx: Context, found: Access | RecordedEvent) -> list[Fact]:
    """Return what a request was about."""
    of = found if isinstance(found, Access) else found.event
    client = clients.find_client(ctx, ClientId(of.client)) if of.client else None
    app = of.app or (client.app if client else "")
    names = consoles.names(ctx, [app, of.person], tenants=[of.tenant])
    if isinstance(found, Access):
        role, asked, more = found.role, f"{found.interaction} {found.resource_type}", [("Path", found.path)]
        more += [("Took", f"{found.latency_us / 1000:.1f} ms")] if found.latency_us else []
    else:
        facts, (kind, _, sender) = found.event.facts, found.actor.partition(":")
        role, asked = str(facts.get("role", "")), str(facts.get("call", "")) or happened(found.event.action)
        more = [("When", moment(found.at, seconds=True))]
        more += [(label, str(facts.get(name, ""))) for name, label in _SENT.items()]
        more += [("Sent by", sender)] if kind == "client" and sender != of.client else []
    pairs = [
        ("Asked for", asked.strip(), ""),
        ("App", names.app(app), app),
        ("Client", of.client, ""),
        ("Person", names.person(of.person), of.person),
        ("Role", role.replace("_", " "), ""),
        ("Hospital", names.tenant(of.tenant), of.tenant),
        ("Patient", of.patient, ""),
        ("Launch", of.launch, ""),
        *((name, text, "") for name, text in more),
        ("From", found.source, ""),
    ]
    return [Fact(*each) for each in pairs if each[1]]


def why(ctx: Context, found: Access | RecordedEvent, events: Sequence[RecordedEvent]) -> Iterator[Fact]:
    """Yield why a request was refused, what stops it and who can change that; nothing if it was not refused."""
    of = found if isinstance(found, Access) else found.event
    if not of.reason or (isinstance(of, Event) and of.outcome is not Outcome.REFUSED):
        return
    known = CATALOGUE[Reason(of.reason)] if of.reason in _REASONS else None
    owner, told, ids = "", "", tuple[str, ...]()
    if isinstance(found, Access):
        ids = in_force_at(events, found.at) if of.reason == Reason.SWITCH_ENGAGED else ()
    else:
        facts = found.event.facts
        ids, owner = tuple(facts.get("switches", ())), str(facts.get("owner", ""))
        told = str(facts.get("rule", "") or facts.get("detail", ""))
        faults = explained(facts.get("fields", {}))
        told = told or " ".join(f"{name}: {each['detail']}" for name, each in faults.items())
    switches = _visible(ctx, ids)
    owner = owner or _owner(ctx, of, ids, switches)
    yield Fact("Refused because", told or (known.meaning if known else of.reason.replace("_", " ")))
    yield Fact("Code", of.reason)
    names = consoles.names(ctx, targets=[each.target for each in switches])
    yield from (
        Fact("Kill switch", f"{names.target(each.target)}: {each.reason}", each.id) for each in switches
    )
    if len(switches) < len(ids):
        yield Fact("Kill switch", "One of the platform's")
    if owner:
        yield Fact("Who can change it", owner)
    # A switch that is listed says what to do: its owner releases it.
    if known and not ids:
        yield Fact("What to do next", known.next_step)


def _visible(ctx: Context, ids: Sequence[str]) -> list[Switch]:
    found: list[Switch] = []
    for each in ids:
        with suppress(NotFound):
            found.append(controls.get_switch(ctx, each))
    return found


def _owner(ctx: Context, of: Access | Event, ids: Sequence[str], switches: Sequence[Switch]) -> str:
    """Return who can change the reason of a refusal whose record does not say it; empty if nobody in particular."""
    # A switch that a hospital may not see is the platform's.
    if len(switches) < len(ids):
        return SECURITY
    if of.reason in _OF_REGISTRATION and of.client:
        client = clients.find_client(ctx, ClientId(of.client))
        if client is not None:
            return "The hospital" if client.type in SYSTEM_CLIENTS else "The vendor of the app"
    if ids or (of.reason != Reason.SWITCH_ENGAGED and (of.reason, "") in TABLE):
        name = consoles.names(ctx, tenants=[of.tenant]).tenant(of.tenant)
        return in_words(of.reason, FULL_STOP if ids else "", tenant=name, stops=tuple(switches)).owner
    return ""
