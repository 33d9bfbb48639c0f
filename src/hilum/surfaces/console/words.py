"""The words of the consoles, in one place: names of roles, states and acts, and what to do when something does not work. Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from hilum.controls.switches.models import Mode, Switch, TargetKind
from hilum.foundation.kernel.actor import ActorKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid, NotFound, NotPermitted
from hilum.foundation.standards.refusals import CATALOGUE, meaning_of
from hilum.foundation.web.errors import Trouble
from hilum.policy.matrix.service import PackEligibility
from hilum.records.audit.models import Outcome, RecordedEvent
from hilum.surfaces.console.action_words import ACTION_WORDS
from hilum.surfaces.console.models import Console, Page, TimelineEntry
from hilum.surfaces.console.service import Names

CONSOLES: Mapping[Console, str] = MappingProxyType(
    {
        Console.OPERATIONS: "Operations",
        Console.TENANT: "Hospital",
        Console.DEVELOPER: "Developer",
        Console.REVIEW: "Review",
    }
)
KEYS = (
    ("/", "Search"),
    ("j, k", "Next and previous row"),
    ("Enter", "Open the row"),
    ("Ctrl+Enter", "Send what you typed, where the form has one button"),
    ("?", "Show these keys"),
)
_HOSPITAL, _VENDOR, _SECURITY, _OWNER = "/tenant-administrator", "/vendor", "/operations", "/platform-owner"
HOW_TO: Mapping[str, str] = MappingProxyType(
    {
        # Of a console, for its pages that are not below.
        "operations": _SECURITY,
        "tenant": _HOSPITAL,
        "developer": _VENDOR,
        "review": "/reviewer",
        "operations.policy": f"{_OWNER}#change-it",
        "operations.scopes": f"{_OWNER}#end-a-scope",
        "operations.staff": "/staff",
        "operations.audit": f"{_SECURITY}#retention",
        "operations.incidents": f"{_SECURITY}#respond-to-an-incident",
        "tenant.requests": f"{_HOSPITAL}#what-people-ask-you-for",
        "tenant.agreements": f"{_HOSPITAL}#agreements-with-vendors",
        "tenant.service_owners": f"{_HOSPITAL}#backend-services-who-answers-for-them",
        "tenant.incidents": f"{_HOSPITAL}#when-an-app-did-harm",
        "tenant.emergencies": f"{_HOSPITAL}#emergency-access-to-restricted-records",
        "tenant.settings": f"{_HOSPITAL}#let-your-people-sign-in-with-your-own-accounts",
        "developer.apps": f"{_VENDOR}#register-an-app",
        "developer.incidents": f"{_VENDOR}#when-your-app-did-harm",
        "developer.changes": f"{_VENDOR}#change-a-client",
        "developer.contacts": f"{_VENDOR}#say-how-you-are-reached",
        "developer.team": f"{_VENDOR}#invite-colleagues",
        "developer.agreements": f"{_VENDOR}#agreements-with-hospitals",
        "developer.deletion_requests": f"{_VENDOR}#delete-what-your-app-has-when-somebody-withdraws",
    }
)
"""The guide of a page of the navigation, below the index of the guides."""
_ROLES = {
    "platform_admin": "platform administrator",
    "security": "security",
    "reviewer": "reviewer",
    "auditor": "auditor",
    "administrator": "hospital administrator",
    "front_desk": "front desk",
    "vendor_owner": "owner",
    "vendor_developer": "developer",
    "vendor_billing": "billing",
    "vendor_security": "security",
}
_REASONS = frozenset(each.value for each in Reason)
_OWN = {
    ActorKind.STAFF: "/operations",
    ActorKind.PERSON: "/tenant",
    ActorKind.MEMBER: "/developer",
}
KIND_WORDS: Mapping[TargetKind, str] = MappingProxyType(
    {
        TargetKind.PLATFORM: "The whole platform",
        TargetKind.TENANT: "Hospital",
        TargetKind.VENDOR: "Vendor",
        TargetKind.APP: "App everywhere",
        TargetKind.VERSION: "Version of an app",
        TargetKind.PERSON: "Person",
        TargetKind.SCOPE: "Scope",
        TargetKind.RESOURCE_TYPE: "Type of record",
        TargetKind.APP_TENANT: "App at one hospital",
        TargetKind.APP_PERSON: "App for one person",
    }
)
MODES: Mapping[Mode, tuple[str, str]] = MappingProxyType(
    {
        Mode.FULL_STOP: (
            "Stop everything",
            "Every request is refused, and what was issued before stays invalid after it.",
        ),
        Mode.READ_ONLY: ("Stop writing", "Reading still works; nothing can be changed."),
        Mode.NO_NEW_LAUNCHES: ("Stop new launches", "Apps that are open keep working; none can be opened."),
        Mode.OBSERVE: ("Only watch", "Nothing is stopped. It is marked, for an investigation."),
    }
)
_FIELDS = {
    "key": "What to stop",
    "expires_at": "Ends",
    "ends_at": "Ends",
    "q": "Search",
    "after": "The place in the list",
    "redirect_uris": "Redirect addresses",
    "launch_uri": "Launch address",
    "fhir_user": "Identity in the FHIR server",
}


def role(name: str) -> str:
    """Return a role in words."""
    return _ROLES.get(name, name.replace("_", " "))


def asker(name: str) -> str:
    """Return a role that asks for an app, in words: a vendor's is said to be one."""
    return f"{role(name)} of the vendor" if name.startswith("vendor_") else role(name)


def field(name: str) -> str:
    """Return the label of a form's field."""
    return _FIELDS.get(name, name.replace("_", " ").capitalize())


def own_console(kind: ActorKind) -> str:
    """Return where somebody's own console is; empty if they have none."""
    return _OWN.get(kind, "")


def not_for_you(own: str, page: Page) -> str:
    """Return why a person may not open a page."""
    others = sorted(role(each) for each in page.roles)
    return f"“{page.title}” is for {_listed(others)}. Your role is {role(own)}."


def _listed(texts: Iterable[str]) -> str:
    found = list(texts)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def trouble(error: HilumError, status: int) -> Trouble:
    """Return what an error page of a console says: what happened, and the next step."""
    match error:
        case NotFound():
            title, then = (
                "There is nothing here",
                "It may be gone, or belong to others. Search for it by its name.",
            )
        case Conflict():
            title, then = (
                "Somebody was faster",
                "Nothing was done. Open the page again: it shows the current state beside what you entered.",
            )
        case Invalid():
            title, then = (
                "Something is not right yet",
                "Nothing was done. Go back, correct it, and send it again.",
            )
        case NotPermitted():
            title, then = (
                "You may not do this",
                "Nothing was done. Ask a colleague who has the right to do this.",
            )
        case _:
            title, then = "Not available right now", "Nothing was done. Try again in a moment."
    if status == 429:
        title, then = "Too many at once", "Wait a moment, then try again."
    if error.code in {"form_expired", "cross_site_form"}:
        title, then = (
            "This form is out of date",
            "Nothing was done. Open the page again and send it from there.",
        )
    return Trouble(title, error.detail or "It was refused.", then)


def action(name: str) -> str:
    """Return what an event says that somebody did."""
    # Of a release that recorded other events only the name is known.
    return ACTION_WORDS.get(name, name.replace(".", " ").replace("_", " "))


def timeline_entry(recorded: RecordedEvent, names: Names) -> TimelineEntry:
    """Return an event as a line of a timeline."""
    event = recorded.event
    what = action(event.action)
    if event.outcome is Outcome.REFUSED:
        what = f"was refused: {what}"
    said = ("reason", "rule", "detail", "call")
    why = "; ".join(dict.fromkeys(str(event.facts[each]) for each in said if event.facts.get(each)))
    if event.outcome is Outcome.REFUSED and event.reason:
        why = "; ".join(filter(None, (event.reason.replace("_", " "), why)))
    tone = "bad" if event.outcome is Outcome.REFUSED else "plain"
    return TimelineEntry(recorded.at, what, _who(recorded, names), names.sentence(why), tone, event.facts)


def _who(recorded: RecordedEvent, names: Names) -> str:
    """Return who did something. Whoever proved who they are by signing in is that person, although nobody was signed in before."""
    event = recorded.event
    if not event.person or not recorded.actor.startswith(f"{ActorKind.ANONYMOUS}:"):
        return names.actor(recorded.actor)
    person = names.person(event.person)
    proved = event.action.startswith(("signin.", "factors.", "federation.session."))
    return person if proved and event.outcome is Outcome.DONE else f"somebody, for the account of {person}"


def reason(code: str) -> str:
    """Return what a reason of a refusal means; empty for one that is not known."""
    return meaning_of(Reason(code)) if code in _REASONS else ""


_PACK_STATES = {
    "to_come": ("binds later", "info"),
    "in_force": ("binds now", "accent"),
    "over": ("over", "plain"),
}


def pack_shown(found: PackEligibility) -> dict[str, Any]:
    """Return how a policy meets the rules of one jurisdiction, as pages show it (C181)."""
    pack, (state, tone) = found.pack, _PACK_STATES[found.state.value]
    return {
        "name": pack.name,
        "jurisdiction": pack.jurisdiction,
        "source": pack.source,
        "since": f"{pack.valid_from:%-d %B %Y}",
        "until": f"{pack.valid_until:%-d %B %Y}" if pack.valid_until else "",
        "state": state,
        "tone": tone,
        "kept": found.kept,
        "rules": found.rules,
    }


def switch_state(switch: Switch, *, in_force: bool) -> tuple[str, str]:
    """Return the state of a switch as a word and its colour."""
    if not in_force:
        return ("released" if switch.released_at else "ended", "plain")
    if switch.release_asked_by:
        return "release asked for", "warn"
    return ("watched", "info") if switch.mode is Mode.OBSERVE else ("stopped", "bad")


def next_step(code: str) -> str:
    """Return what to do about a refusal; empty for a reason that is not known."""
    return CATALOGUE[Reason(code)].next_step if code in _REASONS else ""


CRITERIA = {
    "availability": "Refused because its quota was used up",
    "errors": "Malformed, too large or too costly",
    "latency": "Answered late where other apps are answered in time",
}
"""The kinds of calls that an entry limits."""
