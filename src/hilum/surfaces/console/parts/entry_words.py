"""The words for what an entry of the policy says, by the path of each rule. Pure.

A rule that has no words here, of a later release, is shown by its path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hilum.apps.agreements.models import KINDS
from hilum.policy.matrix.models import ANY, Book, PolicyEntry
from hilum.policy.matrix.policy import differences, flat, rules_of

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "What it may do": (
            "scopes",
            "session_scopes",
            "client_authentication",
            "workflows",
            "placements",
            "agreements",
        ),
        "What is asked for before it is certified": (
            "evidence",
            "scenarios",
            "proofs",
            "disciplines",
            "review",
            "certificate_life",
            "grace_days",
        ),
        "While it is in use": (
            "quota",
            "traffic_class",
            "lifetimes",
            "dormant_days",
            "dormant_ends",
        ),
    }
)
REST = "Findings, alerts and service"
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "scopes": "Scopes on records",
        "session_scopes": "Scopes of launch, identity and session",
        "client_authentication": "How clients authenticate",
        "workflows": "Workflows",
        "placements": "Places from which it is opened",
        "agreements": "Agreements with each hospital",
        "evidence": "Evidence",
        "scenarios": "Scenarios of a certification run",
        "proofs": "Proved by the vendor",
        "disciplines": "Disciplines of review",
        "review.first_answer_business_days": "First answer, business days",
        "review.decision_business_days": "Decision, business days",
        "review.automatic": "Certified without a person if every check passes",
        "certificate_life": "A certificate holds",
        "grace_days": "Days that it keeps working after that where it is installed",
        "quota.rate_per_s": "Requests a second at each hospital",
        "quota.burst": "Requests at once",
        "traffic_class": "Traffic class",
        "lifetimes.access_token": "Access token of a person",
        "lifetimes.backend_token": "Access token of a backend service",
        "lifetimes.refresh_token": "Refresh token, from each refresh on",
        "lifetimes.session_refresh_token": "Refresh token of online_access",
        "lifetimes.authorization": "An agreement of a person ends after",
        "lifetimes.idle": "An agreement without use ends after",
        "lifetimes.absolute": "Refreshing ends, after one agreement",
        "lifetimes.expiry": "How agreements end",
        "dormant_days": "Days without use until people are asked again",
        "dormant_ends": "Agreements without use end, instead of being asked again",
        "fix_days_critical": "Days to fix a critical finding",
        "fix_days_high": "Days to fix a high finding",
        "fix_days_medium": "Days to fix a medium finding",
        "fix_days_low": "Days to fix a low finding",
        "suspend_days": "Days after that until it is to be suspended",
        "withdraw_days": "Days after that until it is to be withdrawn",
        "automation": "How far the platform goes by itself",
        "alerts.refused_percent": "Alert above this share refused, %",
        "alerts.failed_percent": "Alert above this share failed, %",
        "alerts.latency_ms_p95": "Alert above this latency, ms of 95 %",
        "service_unavailable_percent": "Service: unavailable at most, %",
        "service_errors_percent": "Service: errors at most, %",
        "service_latency_ms_p95": "Service: latency at most, ms of 95 %",
        "service_least_calls": "Service: judged from this many calls on",
        "service_grace_days": "Service: days to fix it",
    }
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A rule in words. ``values``: in a list if there are several. ``still``: what is enforced instead before the day of the entry."""

    path: str
    label: str
    values: tuple[str, ...]
    still: str | None


def label(path: str) -> str:
    """Return the words for a rule of an entry."""
    return _WORDS.get(path, path)


def group_of(path: str) -> str:
    """Return what a rule is about."""
    name = path.partition(".")[0]
    return next((group for group, names in GROUPS.items() if name in names), REST)


def grouped(entry: PolicyEntry, today: PolicyEntry, book: Book) -> list[tuple[str, list[Fact]]]:
    """Return every rule of an entry in words, by what it is about; ``today``: the entry as it is enforced now."""
    still = {each.path: each.first for each in differences(today, entry)}
    groups: dict[str, list[Fact]] = {group: [] for group in (*GROUPS, REST)}
    rules = rules_of(entry)
    for path, text in flat(rules):
        name = path.partition(".")[0]
        values = (
            _listed(entry, book, name)
            if isinstance(rules[name], list)
            else (text.replace("_", " ") or "no limit of its own",)
        )
        fact = Fact(path, label(path), values, still.get(path))
        groups[group_of(path)].append(fact)
    return [(group, facts) for group, facts in groups.items() if facts]


def _listed(entry: PolicyEntry, book: Book, kind: str) -> tuple[str, ...]:
    """Return what an entry lists of a kind by titles, with what is waived for the app (C207)."""
    titles = _titles(book).get(kind, {})
    notes = dict.fromkeys(sorted(getattr(entry, kind)), "")
    named = (each.partition(".") for each in sorted(entry.waived))
    notes |= {name: " (waived for this app)" for of, _, name in named if of == kind}
    return tuple(f"{titles.get(name, name)}{note}" for name, note in notes.items()) or ("none",)


def _titles(book: Book) -> dict[str, Mapping[str, str]]:
    workflows = {name: each.title for name, each in book.workflows.items()}
    return {
        "agreements": KINDS,
        "evidence": book.evidence,
        "scenarios": book.scenarios,
        "placements": {ANY: "every place"} | dict(book.placements),
        "workflows": {ANY: "every workflow"} | workflows,
    }
