"""Questions of other modules about a policy: tiers to certify, the end of scopes, workflows. Pure.

The risk tier is judged in ``tiers``, and what a policy admits in ``admission``.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from functools import lru_cache

from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.scopes import (
    SPECIAL,
    ClinicalScope,
    Prefix,
    Scope,
    all_covered,
    compile_scopes,
    parse_stored,
    render,
)
from hilum.policy.matrix.admission import admit, raising_rules
from hilum.policy.matrix.entry_rules import differences, flat, rules_of
from hilum.policy.matrix.exceptions import (
    WAIVABLE_KINDS,
    binds,
    exception_end,
    exception_fault,
    may_waive,
    title_of,
    waived,
)
from hilum.policy.matrix.in_force import (
    PolicyFacts,
    Succession,
    as_enforced,
    as_of,
    coming_days,
    enforced_from,
    still_observed,
)
from hilum.policy.matrix.limits import criteria_of, longest_grace, strictest_criteria
from hilum.policy.matrix.models import (
    ANY,
    Applicant,
    Assessment,
    Book,
    ClientAuthentication,
    PolicyEntry,
    Tier,
    TrafficClass,
)
from hilum.policy.matrix.product_models import WORKFLOW_SCOPE, Expansion, ScopeProduct
from hilum.policy.matrix.products import Coverage, ended_by, part_in_force
from hilum.policy.matrix.strictness import writes
from hilum.policy.matrix.tiers import POPULATIONS, assess, highest, tier_judge

__all__ = [
    "POPULATIONS",
    "WAIVABLE_KINDS",
    "Coverage",
    "PolicyFacts",
    "Succession",
    "admit",
    "as_enforced",
    "as_of",
    "assess",
    "binds",
    "coming_days",
    "criteria_of",
    "differences",
    "enforced_from",
    "exception_end",
    "exception_fault",
    "flat",
    "highest",
    "longest_grace",
    "may_waive",
    "raising_rules",
    "rules_of",
    "still_observed",
    "strictest_criteria",
    "tier_judge",
    "title_of",
    "waived",
    "writes",
]

WORKFLOWS_BOUND = 500
"""How many workflows' limits are cached: those of a few books."""
NOTICES_BOUND = 10_000
"""How many sets of scopes have their notice cached: those of the tokens in use."""
SHOWN = 3
"""How many scopes of a successor a sentence names."""


# --- questions of the modules above ----------------------------------------------------------------------------------------------


def tiers_to_certify(book: Book, version: Applicant) -> dict[ClientAuthentication, Assessment]:
    """Return the tier at which a version is certified for each way to authenticate, except those whose tier its category does not allow.

    One for each, because the clients of a version may authenticate differently: a rule about one way must neither refuse the others nor
    count in their favour when their tier rises later (C21). Empty: the version cannot be certified.
    """
    found = {way: assess(book, replace(version, authentication=way)) for way in ClientAuthentication}
    return {
        way: assessment
        for way, assessment in found.items()
        if entry_of(book, version.category, assessment.tier) is not None
    }


def entry_of(book: Book, category: str, tier: Tier) -> PolicyEntry | None:
    """Return an entry; None if the policy does not allow the category or the tier in it."""
    found = book.categories.get(category)
    return None if found is None else found.entries.get(tier)


# --- the end of a scope --------------------------------------------------------------------------------------------------------


def ended_sentence(book: Book, scope: Scope) -> str:
    """Return the sentence that a scope is no longer granted, with its successor; empty if any part still is."""
    if part_in_force(book, scope) or (product := ended_by(book, scope)) is None:
        return ""
    return f"{render(scope)} ended on {product.sunset}. {_instead(book, product)}"


def retirement(book: Book, scopes: tuple[str, ...], type_: str, letter: int) -> str:
    """Return the sentence of the first of some scopes that would permit a letter on a type, had the policy not retired it; empty if there is none."""
    return first_ended(
        book,
        (
            ClinicalScope(scope.prefix, type_, letter, scope.constraints)
            for scope in compile_scopes(scopes).grants(type_)
            if scope.mask & letter
        ),
    )


def first_ended(book: Book, scopes: Iterable[Scope]) -> str:
    """Return the sentence of the first of some scopes that is no longer granted; empty if there is none."""
    return next(filter(None, (ended_sentence(book, scope) for scope in scopes)), "")


def _instead(book: Book, product: ScopeProduct) -> str:
    successor = book.products.get(product.successor)
    if successor is None:
        return product.no_successor
    more = ", ..." if len(successor.covers) > SHOWN else ""
    return f"Its successor is {successor.name}: ask for {', '.join(successor.covers[:SHOWN])}{more}"


@lru_cache(maxsize=NOTICES_BOUND)
def notice_of(book: Book, scopes: tuple[str, ...]) -> ScopeProduct | None:
    """Return the deprecated product with the earliest sunset that covers any of these scopes; None if none does (C62)."""
    parsed = parse_stored(scopes)
    found = [each for each in book.notices if any(map(Coverage(each.covers).meets, parsed))]
    return min(found, key=lambda each: each.sunset or date.max, default=None)


def notice_headers(product: ScopeProduct) -> dict[str, str]:
    """Return the headers that announce a sunset. Source: RFC 9745 section 2; RFC 8594 section 3."""
    assert product.deprecated_from, "a product without this date is not deprecated"
    assert product.sunset, "a product without a sunset is not deprecated"
    since = datetime.combine(product.deprecated_from, time(), UTC)
    return {
        "Deprecation": f"@{int(since.timestamp())}",
        "Sunset": product.sunset.strftime("%a, %d %b %Y 00:00:00 GMT"),
    }


# --- workflows -----------------------------------------------------------------------------------------------------------------


def expand(book: Book, text: str, prefixes: Collection[Prefix]) -> Expansion:
    """Replace each workflow's scope in a scope parameter by the scopes of these prefixes that it expands into (C63)."""
    if WORKFLOW_SCOPE not in text:
        return Expansion(text)
    found: dict[str, None] = {}
    for word in smart.words_of(text):
        if not word.startswith(WORKFLOW_SCOPE):
            found[word] = None
            continue
        name = word.removeprefix(WORKFLOW_SCOPE)
        workflow = book.workflows.get(name)
        if workflow is None:
            return Expansion("", name)
        scopes = (each for each in parse_stored(workflow.scopes) if isinstance(each, ClinicalScope))
        found |= dict.fromkeys(render(each) for each in scopes if each.prefix in prefixes)
    return Expansion(" ".join(found))


def launch_workflow(book: Book, applicant_may: Collection[str], *, intent: str, placement: str) -> str:
    """Return the workflow that a launch is for; empty if it states none (C190).

    Its intent decides: the name of a workflow, or one of its intents. Without one that is known, the place from which it was opened does,
    if it belongs to one workflow only of those that the app may do.
    """
    for each in book.workflows.values():
        if intent and each.scopes is not None and intent in {each.name, *each.intents}:
            return each.name
    here = [
        each.name
        for each in book.workflows.values()
        if placement and placement in each.placements and each.name in applicant_may
    ]
    return here[0] if len(here) == 1 else ""


def workflow_limit(book: Book, name: str) -> tuple[str, ...] | None:
    """Return the most that may be granted for a workflow: its scopes, and those of identity, launch and session; None if it limits nothing.

    A workflow that the policy does not have permits nothing.
    """
    if not name:
        return None
    workflow = book.workflows.get(name)
    if workflow is None:
        return ()
    return _limit(workflow.scopes)


def excess_scopes(book: Book, workflows: tuple[str, ...], scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes on records that none of the declared workflows needs, as far as they are not needed whole (C64).

    What names no workflow has none to exceed; its tier counts it as for every one, or it is launched for none.
    """
    declared = [book.workflows[name] for name in workflows if name in book.workflows]
    if ANY in workflows or not declared:
        return ()
    needed = tuple(scope for each in declared for scope in each.scopes)
    clinical = (text for text in scopes if text not in SPECIAL)
    return tuple(text for text in dict.fromkeys(clinical) if not all_covered((text,), needed))


@lru_cache(maxsize=WORKFLOWS_BOUND)
def _limit(scopes: tuple[str, ...]) -> tuple[str, ...]:
    return (*scopes, *sorted(SPECIAL))


def traffic_of(entry: PolicyEntry | None, *, with_person: bool) -> TrafficClass:
    """Return the traffic class of a request: that of the app's entry. Where no person waits for the answer it is that of backends at most.

    Without an entry only the platform itself reads, for a person at a page: an app without one was refused.
    Source: C133
    """
    traffic = TrafficClass.USER_APPS if entry is None else entry.traffic_class
    if with_person or traffic.rank >= TrafficClass.BACKEND.rank:
        return traffic
    return TrafficClass.BACKEND
