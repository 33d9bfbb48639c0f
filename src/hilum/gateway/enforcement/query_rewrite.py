"""Searches narrowed to the grant before they leave. Pure.

Source: SMART App Launch 2.2, scopes-and-launch-context; security decision 12
"""

from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.queries import Include, SearchQuery, is_about, subject_parameters
from hilum.foundation.standards.fhir.visibility import Belonging, is_judged_by_targets, rule_of
from hilum.foundation.standards.smart.scopes import READ, SEARCH
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import (
    ALTERNATIVES_BOUND,
    ALTERNATIVES_PRICED,
    INCLUDES_BOUND,
    PAGE_PRICED,
    PRICE_OF_ALL_PATIENTS,
    PRICE_OF_ALTERNATIVES,
    PRICE_OF_COUNT,
    PRICE_OF_INCLUDE,
    PRICE_OF_PAGE,
    SORT_KEYS_BOUND,
    EffectiveAccess,
    GrantRule,
    SearchPlan,
)
from hilum.identity.people.models import Quirks

_MANY_SUBJECTS = frozenset({"Account", "Appointment", "Provenance"})
"""Types whose resources may belong to several patients: a search matches any of them, visibility requires all."""


def cost_fault(query: SearchQuery, grants: tuple[GrantRule, ...]) -> Deny | None:
    """Return the refusal of a search that costs too much, with a cheaper form."""
    unnamed = not any(name == "_id" or is_about(name) for name, _ in query.filters)
    # Every match would have to be judged by fetching what it is about, and most would be withheld.
    if is_judged_by_targets(query.type) and unnamed and patients_within(grants) is not None:
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


def quirk_fault(plan: SearchPlan, quirks: Quirks) -> Deny | None:
    """Return the refusal of a search that its FHIR server would refuse or answer wrongly, with a form that works."""
    subjects = subject_parameters(plan.type) - {"_id"}
    if quirks.one_patient and any(
        "," in value for name, value in plan.params if name.partition(":")[0] in subjects
    ):
        sentence = "This FHIR server searches for one patient at a time; name one, as in patient=ID."
        return Deny(Reason.REQUEST_UNSUPPORTED, sentence)
    by_id = any(name == "_id" for name, _ in plan.params)
    # Left out, what was asked for besides would widen the search.
    if quirks.id_alone and by_id and any(name != "_id" for name, _ in plan.asked):
        sentence = "This FHIR server takes _id without any other parameter only; leave out the others."
        return Deny(Reason.REQUEST_UNSUPPORTED, sentence)
    return None


def sent_query(plan: SearchPlan, quirks: Quirks, size: int) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a search as its FHIR server takes them. ``size``: the records of a page."""
    if quirks.id_alone and (ids := tuple(pair for pair in plan.params if pair[0] == "_id")):
        # Not narrowed: every record of the answer is judged nevertheless.
        return ids
    return (*plan.params, ("_count", str(min(size, quirks.page or size))))


def price_of(plan: SearchPlan, query: SearchQuery) -> int:
    """Return how much of its app's quota a search takes: one, and more for what makes its FHIR server work more (C131).

    A flood of expensive searches so ends sooner than one of cheap ones, before it is sent.
    """
    price = 1 + PRICE_OF_INCLUDE * len(query.includes)
    price += PRICE_OF_PAGE * (max(0, (plan.count or 0) - 1) // PAGE_PRICED)
    price += PRICE_OF_ALTERNATIVES * (query.alternatives // ALTERNATIVES_PRICED)
    if plan.counting and not plan.exact:
        price += PRICE_OF_COUNT
    # As it is sent: what is narrowed to a patient looks through that patient's records only.
    rule = rule_of(query.type)
    if rule is not None and rule.narrow:
        names = {name.partition(":")[0] for name, _ in plan.params}
        if names.isdisjoint({"_id", rule.narrow, *subject_parameters(query.type)}):
            price += PRICE_OF_ALL_PATIENTS
    return price


def includes_fault(query: SearchQuery, access: EffectiveAccess) -> Deny | None:
    """Return the refusal of an include that leads to types that the grant does not cover."""
    for include in query.includes:
        if not _included(include, access):
            return Deny(
                Reason.SCOPE_INSUFFICIENT,
                f"No scope covers what {'_revinclude' if include.reverse else '_include'} would add.",
            )
    return None


def _included(include: Include, access: EffectiveAccess) -> dict[str, int]:
    """Return the types that an include may bring, with the letter that must cover each: to be searched, or only read."""
    if include.reverse:
        return {include.source: SEARCH} if grant_rules(access, include.source, SEARCH) else {}
    wanted = (include.target,) if include.target else include.targets
    return {type_: READ for type_ in wanted if grant_rules(access, type_, READ)}


def context_fault(query: SearchQuery, grants: tuple[GrantRule, ...]) -> Deny | None:
    """Return the refusal of a search that can match no patient: the grant reaches none, or none of those that the search names."""
    within = patients_within(grants)
    if within is None or (within if query.named is None else within & query.named):
        return None
    return Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "The search names no patient within reach of this grant.")


def plan_search(
    query: SearchQuery, access: EffectiveAccess, grants: tuple[GrantRule, ...], *, labels: bool
) -> SearchPlan:
    """Build the search that is sent: the requested one, narrowed to what the grant reaches.

    ``labels``: restricted resources may be among the matches, so that their number may not be shown.
    """
    within = patients_within(grants)
    filters = list(query.filters)
    exact = not labels
    if within is not None:
        patients = within if query.named is None else within & query.named
        # The intersection replaces the app's own filters on the patient: side by side, a server
        # could treat them as alternatives.
        filters = [pair for n, pair in enumerate(query.filters) if n not in query.subject_filters]
        visibility = rule_of(query.type)
        if visibility is not None and visibility.narrow:
            form = "{}" if visibility.belonging is Belonging.SELF else "Patient/{}"
            filters.append(
                (visibility.narrow, ",".join(form.format(patient) for patient in sorted(patients)))
            )
        else:
            exact = False
        # A total may be shown only if the server counts exactly what the grant reaches; otherwise
        # it discloses how much is withheld.
        exact = (
            exact and all(grant.patients == within for grant in grants) and query.type not in _MANY_SUBJECTS
        )
    added = _constraint_filters(grants)
    if added is None:
        exact = False
    else:
        filters.extend(pair for pair in added if pair not in filters)
    included: dict[str, int] = {}
    for include in query.includes:
        for type_, letter in _included(include, access).items():
            included[type_] = included.get(type_, 0) | letter
    params = filters + [_pair(include.text) for include in query.includes]
    if query.sort:
        params.append(("_sort", query.sort))
    asked = query.filters + tuple(_pair(include.text) for include in query.includes)
    if query.sort:
        asked += (("_sort", query.sort),)
    return SearchPlan(query.type, tuple(params), asked, exact, query.counting, query.count, included)


def patients_within(grants: tuple[GrantRule, ...]) -> frozenset[str] | None:
    """Return all patients whom any of the grants reaches; None for all of the tenant."""
    found: set[str] = set()
    for grant in grants:
        if grant.patients is None:
            return None
        found |= grant.patients
    return frozenset(found)


def _constraint_filters(grants: tuple[GrantRule, ...]) -> tuple[tuple[str, str], ...] | None:
    """Return the scopes' constraints as search filters: none if none is needed, else all of them; None if a search cannot express them."""
    if any(not grant.constraints for grant in grants):
        return () if all(not grant.constraints for grant in grants) or _one_open(grants) else None
    if len(grants) == 1:
        return grants[0].constraints
    # Values of one parameter can be alternatives. Constraints on different parameters cannot: a
    # search joins parameters by and.
    names = {name for grant in grants for name, _ in grant.constraints}
    if len(names) != 1 or any(len(grant.constraints) != 1 for grant in grants):
        return None
    values = dict.fromkeys(grant.constraints[0][1] for grant in grants)
    return ((next(iter(names)), ",".join(values)),)


def _one_open(grants: tuple[GrantRule, ...]) -> bool:
    """Check whether an unconstrained grant reaches at least as far as every other, so that the constraints add nothing."""
    within = patients_within(grants)
    return any(not grant.constraints and grant.patients == within for grant in grants)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
