"""May this grant see (or have written) this one resource? Pure; asked of every resource that passes, in either direction."""

from collections.abc import Mapping
from typing import Any

from hilum.gateway.access_scope import grant_rules
from hilum.gateway.models import EffectiveAccess, GrantRule
from hilum.kernel.decision import Reason
from hilum.standards.fhir.labels import categories_of, is_restricted
from hilum.standards.fhir.visibility import Belonging, rule_of, subjects_of, targets_of
from hilum.standards.smart.scopes import READ, SEARCH

Evidence = Mapping[str, dict[str, Any] | None]
"""Resources by ``Type/id`` that others are judged by; None for one that is not there."""
NO_EVIDENCE: Evidence = {}


def judge_resource(
    access: EffectiveAccess,
    resource: dict[str, Any],
    grants: tuple[GrantRule, ...],
    *,
    bases: tuple[str, ...] = (),
    evidence: Evidence = NO_EVIDENCE,
) -> Reason | None:
    """Return why the grant does not reach a resource by any of ``grants``; None if it does.

    Out of reach and withheld differ in the audit record only: outside they look the same. A restricted label withholds under
    every scope: neither tier nor consent can permit it yet. The person whose own record it is may read it, and who broke the glass
    for its patient, as far as that reaches (ADR 77).
    """
    type_ = resource.get("resourceType")
    visibility = rule_of(type_) if isinstance(type_, str) else None
    if visibility is None:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if visibility.belonging is Belonging.TARGETS:
        return _judge_targets(access, resource, grants, bases, evidence)
    if visibility.belonging is Belonging.REFERRER:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if not _is_reached(resource, grants, bases):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    # After reach: a label on a record out of reach is nothing that the audit should call withheld.
    if is_restricted(resource) and not may_pass(access, resource, resource, bases):
        return Reason.LABEL_WITHHELD
    if "contained" in resource:
        return _judge_contained(access, resource["contained"], bases, about=resource)
    return None


def _is_reached(resource: dict[str, Any], grants: tuple[GrantRule, ...], bases: tuple[str, ...]) -> bool:
    subjects: frozenset[str] | None = None
    is_computed = False
    for grant in grants:
        if grant.patients is not None:
            # Once for all rules, and only if one needs it.
            if not is_computed:
                subjects, is_computed = subjects_of(resource, bases), True
            # Without a subject it is nobody's. With several, each must be within reach: it is part
            # of every one of their charts.
            if not subjects or not subjects <= grant.patients:
                continue
        if not grant.matchers or all(matches(resource) for matches in grant.matchers):
            return True
    return False


def is_own(access: EffectiveAccess, resource: dict[str, Any], bases: tuple[str, ...]) -> bool:
    """Return whether a record is that of the person behind the grant, and of nobody else."""
    return bool(access.own) and subjects_of(resource, bases) == frozenset((access.own,))


def may_pass(
    access: EffectiveAccess, labelled: dict[str, Any], about: dict[str, Any], bases: tuple[str, ...]
) -> bool:
    """Check whether a restricted resource may be seen nevertheless: it is the person's own record, or the glass was broken for its patient.

    ``about``: the resource that says whose it is, where the labelled one is contained in it or attached to it.
    """
    return is_own(access, about, bases) or is_opened(access, labelled, about, bases)


def is_opened(
    access: EffectiveAccess, labelled: dict[str, Any], about: dict[str, Any], bases: tuple[str, ...]
) -> bool:
    """Check whether the glass was broken for the patient of a resource, and nobody else's, and opens every category of its labels."""
    glass = access.glass
    if glass is None or subjects_of(about, bases) != frozenset((glass.patient,)):
        return False
    categories = categories_of(labelled)
    # A label that cannot be read could be any label.
    return categories is not None and categories <= glass.categories


def _judge_targets(
    access: EffectiveAccess,
    resource: dict[str, Any],
    grants: tuple[GrantRule, ...],
    bases: tuple[str, ...],
    evidence: Evidence,
) -> Reason | None:
    """Judge a Provenance: visible when everything it is about is here and visible.

    Source: security decision 10
    """
    if not any(all(matches(resource) for matches in grant.matchers) for grant in grants):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    targets = targets_of(resource, bases)
    if targets is None:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if is_restricted(resource):
        return Reason.LABEL_WITHHELD
    for target in targets:
        found = evidence.get(str(target))
        # A Provenance about a Provenance is refused, so that judging one never needs a chain of
        # others.
        if found is None or found.get("resourceType") != target.type or target.type == "Provenance":
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        reason = judge_resource(access, found, grant_rules(access, target.type, READ | SEARCH), bases=bases)
        if reason is not None:
            return reason
    if "contained" in resource:
        return _judge_contained(access, resource["contained"], bases, about=resource)
    return None


def _judge_contained(
    access: EffectiveAccess, contained: object, bases: tuple[str, ...], *, about: dict[str, Any]
) -> Reason | None:
    """Judge contained resources. One that may not be seen withholds the whole record: removing it would change what the record says.

    A contained resource of a directory goes with its container; one of a person's record needs a scope for its own type, and
    belongs to the container's patient unless it names another.
    """
    if not isinstance(contained, list):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    for part in contained:
        type_ = part.get("resourceType") if isinstance(part, dict) else None
        visibility = rule_of(type_) if isinstance(type_, str) else None
        if visibility is None or "contained" in part:
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        if is_restricted(part) and not is_opened(access, part, about, bases):
            return Reason.LABEL_WITHHELD
        if visibility.belonging is Belonging.SHARED:
            continue
        if visibility.belonging not in {Belonging.SUBJECT, Belonging.SELF}:
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        if not any(
            _contains(grant, part, visibility.belonging, bases)
            for grant in grant_rules(access, str(type_), READ | SEARCH)
        ):
            return Reason.OUTSIDE_LAUNCH_CONTEXT
    return None


def _contains(grant: GrantRule, part: dict[str, Any], belonging: Belonging, bases: tuple[str, ...]) -> bool:
    if grant.patients is not None:
        if belonging is Belonging.SELF:
            return False
        subjects = subjects_of(part, bases)
        if subjects is None or not subjects <= grant.patients:
            return False
    return all(matches(part) for matches in grant.matchers)
