"""Validation of what an EHR sends: launches, moves and activity counts. Pure."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from hilum.apps.clients.models import Client, ClientFacts
from hilum.apps.clients.policy import admission
from hilum.authorization.launches.models import (
    ACTIVITY_COUNT_BOUND,
    ACTIVITY_ROWS_BOUND,
    AVAILABILITY_BOUND,
    CLIENT_BOUND,
    EHR_ROLE,
    FACILITY_BOUND,
    FACILITY_NAMED_BOUND,
    FHIR_CONTEXT_BOUND,
    INTENT_BOUND,
    LAUNCH_URI_BOUND,
    RUN_BOUND,
    USERNAME_BOUND,
    Activity,
    LaunchOrder,
)
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.limits import too_long, too_many
from hilum.foundation.standards.fhir.values import ID, is_id
from hilum.foundation.standards.smart.launch import fhir_context_fault
from hilum.identity.people.models import Person
from hilum.identity.people.policy import patients_openable
from hilum.policy.matrix.models import ANY, Book

_FACILITY = re.compile(rf"fac_[A-Za-z0-9]+|(Location|Organization)/{ID.pattern}")
_WORD = re.compile(r"[A-Za-z0-9._-]+")
# 32 random bytes in base64url without padding, as ``Ids.secret`` returns them.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def is_ehr(actor: Actor) -> bool:
    """Check whether an actor is an EHR client at its own tenant."""
    return actor.kind is ActorKind.CLIENT and actor.tenant is not None and EHR_ROLE in actor.roles


def looks_like_secret(text: str) -> bool:
    """Check whether a text has the form of a handle or open token."""
    return _SECRET.fullmatch(text) is not None


def order_faults(order: LaunchOrder) -> dict[str, str]:
    """Return what is wrong with an order, as a code per field."""
    faults = {
        name: fault
        for name, fault in (
            ("client_id", _word_fault(order.client, CLIENT_BOUND) if order.client else "missing"),
            ("person", _username_fault(order.person)),
            ("patient", id_fault(order.patient)),
            ("encounter", id_fault(order.encounter)),
            ("intent", _text_fault(order.intent, INTENT_BOUND)),
            ("placement", _word_fault(order.placement, INTENT_BOUND)),
            ("run", _word_fault(order.run, RUN_BOUND)),
            ("facility", _facility_fault(order.facility)),
            ("launch_uri", _text_fault(order.launch_uri, LAUNCH_URI_BOUND)),
        )
        if fault
    }
    if order.encounter and not order.patient:
        faults["encounter"] = "patient_needed"
    # Before the entries are read, so that the bound limits that work too.
    if len(order.fhir_context) > FHIR_CONTEXT_BOUND:
        faults["fhirContext"] = too_many(FHIR_CONTEXT_BOUND)
        return faults
    for n, entry in enumerate(order.fhir_context):
        if fault := fhir_context_fault(entry):
            faults[f"fhirContext.{n}"] = fault
    return faults


def availability_faults(clients: Sequence[str], person: Person | None, facility: str) -> dict[str, str]:
    """Return what is wrong with an EHR's query about its apps, as a code per field."""
    faults = {} if person is not None and person.active else {"person": "person_not_active"}
    if len(clients) > AVAILABILITY_BOUND:
        faults["client_id"] = too_many(AVAILABILITY_BOUND)
    elif any(not client or _word_fault(client, CLIENT_BOUND) for client in clients):
        faults["client_id"] = "word_malformed"
    if fault := _facility_fault(facility):
        faults["facility"] = fault
    return faults


def chart_fault(person: Person, patient: str) -> str:
    """Return why a person may not open this chart; empty if they may."""
    openable = patients_openable(person)
    # None: clinicians may open any chart of their hospital. Patients and proxies may open only those listed.
    if not patient or openable is None or patient in openable:
        return ""
    return "chart_not_openable"


def move_faults(person: Person | None, patient: str, encounter: str) -> dict[str, str]:
    """Return why a launch cannot move to this chart, as a code per field."""
    faults = {
        name: fault
        for name, fault in (("patient", id_fault(patient)), ("encounter", id_fault(encounter)))
        if fault
    }
    if encounter and not patient:
        faults["encounter"] = "patient_needed"
    if person is not None and (fault := chart_fault(person, patient)):
        faults["patient"] = fault
    return faults


def id_fault(text: str) -> str:
    """Return why a text is not a FHIR id; empty if it is one, or is empty."""
    return "" if not text or is_id(text) else "id_malformed"


def _username_fault(text: str) -> str:
    if not text:
        return "missing"
    return "" if len(text) <= USERNAME_BOUND and text.isprintable() else "username_malformed"


def _text_fault(text: str, bound: int) -> str:
    if len(text) > bound:
        return too_long(bound)
    return "" if text.isprintable() else "characters"


def _facility_fault(text: str) -> str:
    if len(text) > FACILITY_NAMED_BOUND:
        return too_long(FACILITY_NAMED_BOUND)
    return "" if not text or _FACILITY.fullmatch(text) else "facility_malformed"


def _word_fault(text: str, bound: int) -> str:
    if not text:
        return ""
    return _text_fault(text, bound) or ("" if _WORD.fullmatch(text) else "word_malformed")


def launch_uri_fault(asked: str, client: Client) -> str:
    """Return why a client cannot be opened at a URL; empty if it can.

    The URL must be on an origin that the client registered, since it receives the launch handle.
    """
    if not asked:
        return "" if client.launch_uri else "launch_url_needed"
    if asked == client.launch_uri:
        return ""
    # By origin, because dynamically registered clients have no launch URL, and an EHR may open one page of an app.
    registered = {_origin(uri) for uri in (*client.redirect_uris, client.launch_uri)}
    origin = _origin(asked)
    # A fragment would swallow the appended parameters; userinfo can make one host look like another.
    if not origin or "#" in asked or "@" in asked or origin not in registered:
        return "launch_url_foreign"
    return ""


def placements_allowed(book: Book, facts: ClientFacts, now: datetime) -> tuple[str, ...]:
    """Return the placements at which an app may be opened: those that its version declares and its entry lists.

    A version that declares none was certified for all, so only its entry limits it. An app that no entry admits has none. Source: C191
    """
    policy_entry = admission(book, facts, now).entry
    if policy_entry is None:
        return ()
    limits = [set(names) for names in (policy_entry.placements, facts.placements) if ANY not in names]
    return tuple(name for name in book.placements if all(name in names for names in limits))


def placement_refusal(placement: str, book: Book, facts: ClientFacts, now: datetime) -> str:
    """Return the sentence for a launch from a placement where the app may not be opened; empty if it may, or without a placement."""
    allowed = placements_allowed(book, facts, now) if placement else ()
    if not placement or placement in allowed:
        return ""
    places = " or ".join(_in_sentence(book.placements[name]) for name in allowed)
    here = _in_sentence(book.placements.get(placement, "At this place of the chart"))
    there = f"Open it {places}, or ask" if places else "Ask"
    return f"This app may not be opened {here}. {there} your hospital's administrator."


def _in_sentence(title: str) -> str:
    return title[:1].lower() + title[1:]


def _origin(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    is_web = parts.scheme in {"http", "https"} and bool(parts.netloc)
    return f"{parts.scheme}://{parts.netloc.lower()}" if is_web else ""


def app_address(launch_uri: str, iss: str, handle: str) -> str:
    """Return the URL that opens the app: its launch URL with ``iss`` and ``launch``.

    Source: SMART App Launch 2.2, app-launch#step-2-launch.
    """
    # A registered launch URL may have a query already.
    separator = "&" if "?" in launch_uri else "?"
    return launch_uri + separator + urlencode({"iss": iss, "launch": handle})


def activity_faults(rows: Iterable[Activity], *, today: date) -> dict[str, str]:
    """Return what is wrong with reported counts, as a code per field. A day may be reported again; the last report counts."""
    faults: dict[str, str] = {}
    listed = list(rows)
    if not listed:
        return {"counts": "empty"}
    if len(listed) > ACTIVITY_ROWS_BOUND:
        return {"counts": too_many(ACTIVITY_ROWS_BOUND)}
    # These three are the table's key, so the later of two equal rows would silently replace the earlier.
    if len({(row.day, row.role, row.facility) for row in listed}) != len(listed):
        faults["counts"] = "named_twice"
    for n, row in enumerate(listed):
        if not _WORD.fullmatch(row.role) or len(row.role) > FACILITY_BOUND:
            faults[f"counts.{n}.role"] = "word_malformed"
        if row.facility and (not row.facility.isprintable() or len(row.facility) > FACILITY_BOUND):
            faults[f"counts.{n}.facility"] = too_long(FACILITY_BOUND)
        if not 0 <= row.count <= ACTIVITY_COUNT_BOUND:
            faults[f"counts.{n}.count"] = "count_malformed"
        if row.day > today + timedelta(days=1):  # a hospital's local day may be ahead of UTC
            faults["date"] = "in_the_future"
    return faults
