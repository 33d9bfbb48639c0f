"""The judgement on what comes back: every resource of a Bundle, and what must be fetched to judge it. Pure.

INVARIANT: filtering only removes, and filtering twice changes nothing.
"""

from collections.abc import Iterable
from typing import Any

from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.bundles import references_in
from hilum.foundation.standards.fhir.traits import RecordTraits, traits_of
from hilum.foundation.standards.fhir.visibility import rule_of
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import Permit, SearchPlan
from hilum.gateway.enforcement.resource_access import NO_EVIDENCE, Evidence, judge_resource

UNJUDGEABLE = Deny(
    Reason.RESPONSE_UNJUDGEABLE, "The FHIR server's answer could not be checked against the grant."
)
# What else a server writes on a Bundle, extensions for example, was not judged.
_KEPT = ("resourceType", "id", "meta", "type", "timestamp")


def judge_read(permit: Permit, record: RecordTraits, evidence: Evidence = NO_EVIDENCE) -> Deny | None:
    """Judge the one record that was asked for. An answer with another type or id cannot be judged."""
    request, resource = permit.request, record.resource
    # A server that answers with another record than was asked for: what was judged must be what was asked.
    if resource.get("resourceType") != request.type or (request.id and resource.get("id") != request.id):
        return UNJUDGEABLE
    if permit.only == f"{request.type}/{request.id}":
        return None
    reason = judge_resource(permit.access, record, permit.grants, evidence)
    return None if reason is None else Deny(reason, "The record is out of reach of this grant.")


def judge_change(permit: Permit, current: RecordTraits, evidence: Evidence = NO_EVIDENCE) -> Deny | None:
    """Judge the stored record before a write: it must be within reach, and an update may not move it to another patient.

    Source: FHIR R4 http.html#update; security decision 12
    """
    fault = judge_read(permit, current, evidence)
    if fault is not None:
        return fault
    # Otherwise an app could write the record again without its label, and so open it to every other app.
    if current.is_restricted:
        return Deny(Reason.LABEL_WITHHELD, "Apps may not write a record with this label.")
    if permit.request.body is None:
        return None
    written = traits_of(permit.request.body, permit.bases)
    if current.patients != written.patients:
        return Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "A write may not move a record to another patient.")
    if current.targets != written.targets:
        return Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "A write may not move a record to other targets.")
    return None


def wanted_evidence(records: Iterable[RecordTraits]) -> tuple[str, ...]:
    """Return the records, as ``Type/id``, that must be fetched to judge these."""
    named = (target for record in records for target in record.targets or ())
    return tuple(dict.fromkeys(str(target) for target in named if rule_of(target.type) is not None))


def evidence_within(records: Iterable[RecordTraits]) -> dict[str, RecordTraits | None]:
    """Return the records of a page by name, as evidence for judging its others."""
    return {_name(record.resource): record for record in records}


def filter_response(
    permit: Permit, bundle: object, evidence: Evidence = NO_EVIDENCE
) -> tuple[dict[str, Any], int] | Deny:
    """Drop from a searchset what the grant does not reach or the search did not ask for; return the rest, and how many were dropped.

    An answer that is no searchset, or holds as a match something without a type or of another type, cannot be judged.
    Links are dropped: the gateway makes its own. ``total`` is kept only if it discloses nothing beyond the grant.
    """
    plan = permit.plan
    if plan is None or not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return UNJUDGEABLE
    if bundle.get("type") != "searchset" or not isinstance(bundle.get("entry", []), list):
        return UNJUDGEABLE
    kept: list[dict[str, Any]] = []
    removed = unseen = 0
    # A server that ignores _id would show others' records as those that were asked for.
    ids = [_ids_in(value) for name, value in plan.asked if name == "_id"]
    for entry in bundle.get("entry", []):
        mode = _mode_of(entry, plan)
        if mode is None:
            return UNJUDGEABLE
        resource = entry["resource"]
        is_asked = mode != "match" or all(resource.get("id") in named for named in ids)
        if is_asked and _is_visible(permit, plan, resource, mode, evidence):
            # In our own words: what else the server wrote beside the resource was not judged.
            kept.append({"resource": resource, "search": {"mode": mode}})
        else:
            removed += 1
            unseen += mode == "match"
    kept, orphans = without_orphans(kept, plan, permit.bases)
    removed += orphans
    filtered = {key: bundle[key] for key in _KEPT if key in bundle}
    # A total beside withheld matches would count them.
    if plan.exact and not unseen and type(bundle.get("total")) is int:
        filtered["total"] = bundle["total"]
    if kept:
        filtered["entry"] = kept
    return filtered, removed


def _mode_of(entry: object, plan: SearchPlan) -> str | None:
    """Return why an entry is there: ``match``, ``include`` or another word; None if it makes the whole answer one that cannot be judged."""
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(resource, dict):
        return None
    type_ = resource.get("resourceType")
    if not isinstance(type_, str) or not isinstance(resource.get("id"), str | None):
        return None
    search = entry.get("search")
    mode = search.get("mode") if isinstance(search, dict) else None
    # FHIR R4 makes search.mode optional; without it the type tells the two apart.
    if not isinstance(mode, str):
        return "match" if type_ == plan.type else "include"
    return None if mode == "match" and type_ != plan.type else mode


def _is_visible(
    permit: Permit, plan: SearchPlan, resource: dict[str, Any], mode: str, evidence: Evidence
) -> bool:
    if mode == "match":
        grants = permit.grants
    elif mode == "include" and resource["resourceType"] in plan.included:
        type_ = resource["resourceType"]
        grants = grant_rules(permit.access, type_, plan.included[type_])
    else:
        return False
    record = traits_of(resource, permit.bases)
    return judge_resource(permit.access, record, grants, evidence) is None


def _ids_in(value: str) -> frozenset[str]:
    return frozenset(each.rpartition("/")[2] for each in value.split(","))


def without_orphans(
    kept: list[dict[str, Any]], plan: SearchPlan, bases: tuple[str, ...]
) -> tuple[list[dict[str, Any]], int]:
    """Drop included resources whose match was withheld: a Medication would disclose the prescription that refers to it."""
    if not plan.included:
        return kept, 0
    matches = [entry for entry in kept if is_match(entry)]
    present = {_name(entry["resource"]) for entry in matches}
    referenced = {name for entry in matches for name in references_in(entry["resource"], bases)}
    left = [
        entry
        for entry in kept
        if is_match(entry)
        or _name(entry["resource"]) in referenced
        or not present.isdisjoint(references_in(entry["resource"], bases))
    ]
    return left, len(kept) - len(left)


def is_match(entry: dict[str, Any]) -> bool:
    """Check whether an entry that was kept is there because it matches."""
    return bool(entry["search"]["mode"] == "match")


def _name(resource: dict[str, Any]) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}"
