"""Searches narrowed to the grant before they leave. Pure.

Source: SMART App Launch 2.2, scopes-and-launch-context; security decision 12
"""

from hilum.gateway.access_scope import clauses
from hilum.gateway.models import (
    ALTERNATIVES_BOUND,
    INCLUDES_BOUND,
    SORT_KEYS_BOUND,
    Clause,
    Reach,
    SearchPlan,
)
from hilum.kernel.decision import Deny, Reason
from hilum.standards.fhir.queries import Include, SearchQuery, is_about
from hilum.standards.fhir.visibility import Belonging, hangs_on_targets, rule_of
from hilum.standards.smart.scopes import READ, SEARCH

_MANY_SUBJECTS = frozenset({"Account", "Appointment", "Provenance"})
"""Types whose resources may belong to several patients: a search finds by any of them, visibility asks for all."""


def cost_fault(query: SearchQuery, ways: tuple[Clause, ...]) -> Deny | None:
    """Say what makes a search too dear, and the cheaper form."""
    unnamed = not any(name == "_id" or is_about(name) for name, _ in query.filters)
    if hangs_on_targets(query.type) and unnamed and patients_within(ways) is not None:
        sentence = f"Search {query.type} with target=, or bring it along with _revinclude."
        return Deny(Reason.TOO_COSTLY, sentence)
    if len(query.includes) > INCLUDES_BOUND:
        return Deny(
            Reason.TOO_COSTLY, f"A search takes at most {INCLUDES_BOUND} includes; read the rest by id."
        )
    if query.alternatives > ALTERNATIVES_BOUND:
        return Deny(
            Reason.TOO_COSTLY,
            f"A parameter takes at most {ALTERNATIVES_BOUND} alternatives; split the search into several.",
        )
    if query.sort.count(",") >= SORT_KEYS_BOUND:
        return Deny(Reason.TOO_COSTLY, f"A search is sorted by at most {SORT_KEYS_BOUND} keys; use fewer.")
    return None


def includes_fault(query: SearchQuery, reach: Reach) -> Deny | None:
    """Say which include leads to types that the grant does not cover."""
    for include in query.includes:
        if not _included(include, reach):
            return Deny(
                Reason.SCOPE_INSUFFICIENT,
                f"No scope covers what {'_revinclude' if include.reverse else '_include'} would bring along.",
            )
    return None


def _included(include: Include, reach: Reach) -> dict[str, int]:
    """Tell which types an include may bring, with the letter that must cover each: to be searched, or only read."""
    if include.reverse:
        return {include.source: SEARCH} if clauses(reach, include.source, SEARCH) else {}
    wanted = (include.target,) if include.target else include.targets
    return {type_: READ for type_ in wanted if clauses(reach, type_, READ)}


def context_fault(query: SearchQuery, ways: tuple[Clause, ...]) -> Deny | None:
    """Say that no patient is left to search: the grant reaches none, or none of those whom the search names."""
    within = patients_within(ways)
    if within is None or (within if query.named is None else within & query.named):
        return None
    return Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "The search is about no patient whom this grant reaches.")


def plan_search(query: SearchQuery, reach: Reach, ways: tuple[Clause, ...], *, labels: bool) -> SearchPlan:
    """Write the search that is sent: the asked one, narrowed to what the grant reaches.

    ``labels``: restricted resources may be among the matches, so that their number may not be told.
    """
    within = patients_within(ways)
    filters = list(query.filters)
    exact = not labels
    if within is not None:
        patients = within if query.named is None else within & query.named
        filters = [pair for n, pair in enumerate(query.filters) if n not in query.subject_filters]
        rule = rule_of(query.type)
        if rule is not None and rule.narrow:
            form = "{}" if rule.belonging is Belonging.SELF else "Patient/{}"
            filters.append((rule.narrow, ",".join(form.format(patient) for patient in sorted(patients))))
        else:
            exact = False
        exact = exact and all(way.patients == within for way in ways) and query.type not in _MANY_SUBJECTS
    added = _constraint_filters(ways)
    if added is None:
        exact = False
    else:
        filters.extend(pair for pair in added if pair not in filters)
    included: dict[str, int] = {}
    for include in query.includes:
        for type_, letter in _included(include, reach).items():
            included[type_] = included.get(type_, 0) | letter
    params = filters + [_pair(include.text) for include in query.includes]
    if query.sort:
        params.append(("_sort", query.sort))
    asked = query.filters + tuple(_pair(include.text) for include in query.includes)
    if query.sort:
        asked += (("_sort", query.sort),)
    return SearchPlan(query.type, tuple(params), asked, exact, query.counting, query.count, included)


def patients_within(ways: tuple[Clause, ...]) -> frozenset[str] | None:
    """Name all patients whom any of the ways reaches; None for everybody."""
    found: set[str] = set()
    for way in ways:
        if way.patients is None:
            return None
        found |= way.patients
    return frozenset(found)


def _constraint_filters(ways: tuple[Clause, ...]) -> tuple[tuple[str, str], ...] | None:
    """Write the scopes' constraints as filters: none needed, or all of them; None where a search cannot say it."""
    if any(not way.constraints for way in ways):
        return () if all(not way.constraints for way in ways) or _one_open(ways) else None
    if len(ways) == 1:
        return ways[0].constraints
    names = {name for way in ways for name, _ in way.constraints}
    if len(names) != 1 or any(len(way.constraints) != 1 for way in ways):
        return None
    values = dict.fromkeys(way.constraints[0][1] for way in ways)
    return ((next(iter(names)), ",".join(values)),)


def _one_open(ways: tuple[Clause, ...]) -> bool:
    """Tell whether an unconstrained way reaches at least as far as every other, so that the constraints add nothing."""
    within = patients_within(ways)
    return any(not way.constraints and way.patients == within for way in ways)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
