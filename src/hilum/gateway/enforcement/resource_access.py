"""May this grant see (or have written) this one resource? Pure; asked of every resource that passes, in either direction."""

from collections.abc import Mapping
from dataclasses import replace

from hilum.foundation.kernel.decision import Reason
from hilum.foundation.standards.fhir.labels import categories_of
from hilum.foundation.standards.fhir.traits import RecordTraits
from hilum.foundation.standards.fhir.visibility import Belonging
from hilum.foundation.standards.smart.scopes import READ, SEARCH
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import EffectiveAccess, GrantRule

Evidence = Mapping[str, RecordTraits | None]
"""Records by ``Type/id`` that others are judged by; None for one that is not there."""
NO_EVIDENCE: Evidence = {}


def judge_resource(
    access: EffectiveAccess,
    record: RecordTraits,
    grants: tuple[GrantRule, ...],
    evidence: Evidence = NO_EVIDENCE,
) -> Reason | None:
    """Return why the grant does not reach a record by any of ``grants``; None if it does.

    Out of reach and withheld differ in the audit record only: outside they look the same. A restricted label withholds under
    every scope: neither tier nor consent can permit it yet. The person whose own record it is may read it, and who broke the glass
    for its patient, as far as that reaches (ADR 77).
    """
    if record.belonging is None:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if record.belonging is Belonging.TARGETS:
        return _judge_targets(access, record, grants, evidence)
    if record.belonging is Belonging.REFERRER:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if not _is_reached(record, grants):
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    # After reach: a label on a record out of reach is nothing that the audit should call withheld.
    if record.is_restricted and not may_pass(access, record, record):
        return Reason.LABEL_WITHHELD
    return _judge_contained(access, record, grants)


def _is_reached(record: RecordTraits, grants: tuple[GrantRule, ...]) -> bool:
    return any(_reaches(grant, record) for grant in grants)


def _reaches(grant: GrantRule, record: RecordTraits) -> bool:
    # What is judged by its targets has no patients of its own.
    within = grant.patients if record.belonging is not Belonging.TARGETS else None
    # Without a subject it is nobody's. With several, each must be within reach: it is part of every
    # one of their charts.
    if within is not None and not (record.patients and record.patients <= within):
        return False
    return not grant.matchers or all(matches(record.resource) for matches in grant.matchers)


def may_pass(access: EffectiveAccess, labelled: RecordTraits, about: RecordTraits) -> bool:
    """Check whether a restricted record may be seen nevertheless: it is the person's own, or the glass was broken for its patient.

    ``about``: the record that says whose it is, where the labelled one is contained in it or attached to it.
    """
    is_own = bool(access.own) and about.patients == frozenset((access.own,))
    return is_own or _is_opened(access, labelled, about.patients)


def _is_opened(access: EffectiveAccess, labelled: RecordTraits, patients: frozenset[str] | None) -> bool:
    """Check whether the glass was broken for the one patient whose a resource is, and opens every category of its labels."""
    glass = access.glass
    if glass is None or patients != frozenset((glass.patient,)):
        return False
    categories = categories_of(labelled.resource)
    # A label that cannot be read could be any label.
    return categories is not None and categories <= glass.categories


def is_opened(access: EffectiveAccess, record: RecordTraits) -> bool:
    """Check whether a record that may be seen would be withheld for its labels if the glass were not broken."""
    closed = replace(access, glass=None)
    grants = grant_rules(closed, str(record.resource.get("resourceType")), READ | SEARCH)
    return judge_resource(closed, record, grants) is Reason.LABEL_WITHHELD


def _judge_targets(
    access: EffectiveAccess, record: RecordTraits, grants: tuple[GrantRule, ...], evidence: Evidence
) -> Reason | None:
    """Judge a Provenance: visible when everything it is about is here and visible.

    Source: security decision 10
    """
    if not _is_reached(record, grants) or record.targets is None:
        return Reason.OUTSIDE_LAUNCH_CONTEXT
    if record.is_restricted:
        return Reason.LABEL_WITHHELD
    for target in record.targets:
        found = evidence.get(str(target))
        # A Provenance about a Provenance is refused, so that judging one never needs a chain of others.
        if (
            found is None
            or found.resource.get("resourceType") != target.type
            or found.belonging is Belonging.TARGETS
        ):
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        reason = judge_resource(access, found, grant_rules(access, target.type, READ | SEARCH))
        if reason is not None:
            return reason
    return _judge_contained(access, record, grants)


def _judge_contained(
    access: EffectiveAccess, record: RecordTraits, grants: tuple[GrantRule, ...]
) -> Reason | None:
    """Judge contained resources. One that may not be seen withholds the whole record: removing it would change what the record says.

    Each is a part of its record, judged by whose it is and by its labels, and needs no scope of its own (ADR 12).
    Source: FHIR R4 references.html#contained
    """
    for part in record.contained:
        if part.belonging in _NEVER_CONTAINED:
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        # A grant reaches a directory for everybody, which says nothing about whose records it reaches.
        if record.belonging is Belonging.SHARED and part.belonging is not Belonging.SHARED:
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        patients = _owners(record, part)
        if not any(_reaches(grant, record) and _covers(grant, patients) for grant in grants):
            return Reason.OUTSIDE_LAUNCH_CONTEXT
        if part.is_restricted and not _is_opened(access, part, patients):
            return Reason.LABEL_WITHHELD
    return None


# Of no listed type, or about others than its record names.
_NEVER_CONTAINED = frozenset({None, Belonging.TARGETS, Belonging.POPULATION})


def _owners(record: RecordTraits, part: RecordTraits) -> frozenset[str] | None:
    """Return whose a contained resource is: those whom it names, or else those of its record; None if that cannot be told."""
    # A contained Patient has no id that says who it is, and a Binary that states a context is not simply its record's.
    if part.belonging is Belonging.SELF or "securityContext" in part.resource:
        return None
    return record.patients if part.patients == frozenset() else part.patients


def _covers(grant: GrantRule, patients: frozenset[str] | None) -> bool:
    return grant.patients is None or (patients is not None and patients <= grant.patients)
