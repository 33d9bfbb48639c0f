"""May this grant see (or have written) this one resource? Pure; asked of every resource that passes, in either direction."""

from collections.abc import Mapping
from typing import Any

from hilum.gateway.access_scope import clauses
from hilum.gateway.models import Clause, Reach
from hilum.kernel.decision import Reason
from hilum.standards.fhir.labels import is_restricted
from hilum.standards.fhir.visibility import Belonging, rule_of, subjects_of, targets_of
from hilum.standards.smart.scopes import READ, SEARCH

Evidence = Mapping[str, dict[str, Any] | None]
"""Resources by ``Type/id`` that others are judged by; None for one that is not there."""
NO_EVIDENCE: Evidence = {}


def judge_resource(
    reach: Reach,
    resource: dict[str, Any],
    ways: tuple[Clause, ...],
    *,
    bases: tuple[str, ...] = (),
    evidence: Evidence = NO_EVIDENCE,
) -> Reason | None:
    """Say why the grant does not reach a resource by any of ``ways``; None if it does.

    Out of reach and withheld are told apart for the record only: outside they look the same. A restricted label withholds under
    every scope: neither tier nor consent can permit it yet. The person whose own record it is may read it.
    """
    type_ = resource.get("resourceType")
    rule = rule_of(type_) if isinstance(type_, str) else None
    if rule is None:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if rule.belonging is Belonging.TARGETS:
        return _judge_targets(reach, resource, ways, bases, evidence)
    if rule.belonging is Belonging.REFERRER:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if not _is_reached(resource, ways, bases):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if is_restricted(resource) and not is_own(reach, resource, bases):
        return Reason.LABEL_WITHHELD
    if "contained" in resource:
        return _judge_contained(reach, resource["contained"], bases)
    return None


def _is_reached(resource: dict[str, Any], ways: tuple[Clause, ...], bases: tuple[str, ...]) -> bool:
    subjects: frozenset[str] | None = None
    known = False
    for way in ways:
        if way.patients is not None:
            if not known:
                subjects, known = subjects_of(resource, bases), True
            if not subjects or not subjects <= way.patients:
                continue
        if all(matches(resource) for matches in way.matchers):
            return True
    return False


def is_own(reach: Reach, resource: dict[str, Any], bases: tuple[str, ...]) -> bool:
    """Tell whether a record is that of the person behind the grant, and of nobody else."""
    return bool(reach.own) and subjects_of(resource, bases) == frozenset((reach.own,))


def _judge_targets(
    reach: Reach,
    resource: dict[str, Any],
    ways: tuple[Clause, ...],
    bases: tuple[str, ...],
    evidence: Evidence,
) -> Reason | None:
    """Judge a Provenance: visible when everything it is about is here and visible.

    Source: security decision 10
    """
    if not any(all(matches(resource) for matches in way.matchers) for way in ways):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    targets = targets_of(resource, bases)
    if targets is None:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if is_restricted(resource):
        return Reason.LABEL_WITHHELD
    for target in targets:
        found = evidence.get(str(target))
        if found is None or found.get("resourceType") != target.type or target.type == "Provenance":
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        reason = judge_resource(reach, found, clauses(reach, target.type, READ | SEARCH), bases=bases)
        if reason is not None:
            return reason
    if "contained" in resource:
        return _judge_contained(reach, resource["contained"], bases)
    return None


def _judge_contained(reach: Reach, contained: object, bases: tuple[str, ...]) -> Reason | None:
    """Judge what a resource carries inside. One part that may not be seen withholds the whole: cutting it out would bend the record.

    A contained resource of a directory goes with its container; one of a person's record needs a scope for its own type, and
    belongs to the container's patient unless it names another.
    """
    if not isinstance(contained, list):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    for part in contained:
        type_ = part.get("resourceType") if isinstance(part, dict) else None
        rule = rule_of(type_) if isinstance(type_, str) else None
        if rule is None or "contained" in part:
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        if is_restricted(part):
            return Reason.LABEL_WITHHELD
        if rule.belonging is Belonging.SHARED:
            continue
        if rule.belonging not in {Belonging.SUBJECT, Belonging.SELF}:
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        if not any(
            _contains(way, part, rule.belonging, bases) for way in clauses(reach, str(type_), READ | SEARCH)
        ):
            return Reason.OUTSIDE_LAUNCH_CONTEXT
    return None


def _contains(way: Clause, part: dict[str, Any], belonging: Belonging, bases: tuple[str, ...]) -> bool:
    if way.patients is not None:
        if belonging is Belonging.SELF:
            return False
        subjects = subjects_of(part, bases)
        if subjects is None or not subjects <= way.patients:
            return False
    return all(matches(part) for matches in way.matchers)
