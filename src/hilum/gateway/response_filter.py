"""The judgement on what comes back: every resource of a Bundle, and what must be fetched to judge it. Pure.

INVARIANT: filtering only removes, and filtering twice changes nothing.
"""

from collections.abc import Iterable
from typing import Any

from hilum.gateway.access_scope import grant_rules
from hilum.gateway.models import Obligations, SearchPlan
from hilum.gateway.resource_access import NO_EVIDENCE, Evidence, judge_resource
from hilum.kernel.decision import Deny, Reason
from hilum.standards.fhir.bundles import RAW, references_in, resources_of
from hilum.standards.fhir.labels import is_restricted
from hilum.standards.fhir.visibility import is_judged_by_targets, rule_of, subjects_of, targets_of

UNJUDGEABLE = Deny(
    Reason.RESPONSE_UNJUDGEABLE, "The FHIR server's answer could not be checked against the grant."
)
# What else a server writes on a Bundle, extensions for example, was not judged.
_KEPT = ("resourceType", "id", "meta", "type", "timestamp")


def judge_read(obligations: Obligations, resource: object, evidence: Evidence = NO_EVIDENCE) -> Deny | None:
    """Judge the one resource that was asked for. An answer with another type or id cannot be judged."""
    if not isinstance(resource, dict):
        return UNJUDGEABLE
    request = obligations.request
    # A server that answers with another record than was asked for: what was judged must be what was
    # asked.
    if resource.get("resourceType") != request.type or (request.id and resource.get("id") != request.id):
        return UNJUDGEABLE
    if obligations.only == f"{request.type}/{request.id}":
        return None
    reason = judge_resource(
        obligations.access, resource, obligations.grants, bases=obligations.bases, evidence=evidence
    )
    return None if reason is None else Deny(reason, "The record is out of reach of this grant.")


def judge_change(obligations: Obligations, current: object, evidence: Evidence = NO_EVIDENCE) -> Deny | None:
    """Judge the stored record before a write: it must be within reach, and an update may not move it to another patient.

    Source: FHIR R4 http.html#update; security decision 12
    """
    fault = judge_read(obligations, current, evidence)
    if fault is not None:
        return fault
    # Otherwise an app could write the record again without its label, and so open it to every other
    # app.
    if not isinstance(current, dict) or is_restricted(current):
        return Deny(Reason.LABEL_WITHHELD, "Apps may not write a record with this label.")
    body = obligations.request.body
    if body is None:
        return None
    bases = obligations.bases
    if subjects_of(current, bases) != subjects_of(body, bases):
        return Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "A write may not move a record to another patient.")
    if targets_of(current, bases) != targets_of(body, bases):
        return Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "A write may not move a record to other targets.")
    return None


def wanted_evidence(resources: Iterable[dict[str, Any]], bases: tuple[str, ...]) -> tuple[str, ...]:
    """Return the resources, as ``Type/id``, that must be fetched to judge these."""
    wanted: dict[str, None] = {}
    for resource in resources:
        if is_judged_by_targets(str(resource.get("resourceType"))):
            for target in targets_of(resource, bases) or ():
                if rule_of(target.type) is not None:
                    wanted[str(target)] = None
    return tuple(wanted)


def evidence_within(bundle: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Return a Bundle's resources by name, as evidence for judging its other resources."""
    return {_name(resource): resource for resource in resources_of(bundle)}


def filter_response(
    obligations: Obligations, bundle: object, evidence: Evidence = NO_EVIDENCE
) -> tuple[dict[str, Any], int] | Deny:
    """Drop from a searchset what the grant does not reach or the search did not ask for; return the rest, and how many were dropped.

    An answer that is no searchset, or holds as a match something without a type or of another type, cannot be judged.
    Links are dropped: the gateway makes its own. ``total`` is kept only if it discloses nothing beyond the grant.
    """
    plan = obligations.plan
    if plan is None or not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return UNJUDGEABLE
    if bundle.get("type") != "searchset" or not isinstance(bundle.get("entry", []), list):
        return UNJUDGEABLE
    kept: list[dict[str, Any]] = []
    removed = unseen = 0
    for entry in bundle.get("entry", []):
        mode = _mode_of(entry, plan)
        if mode is None:
            return UNJUDGEABLE
        resource = entry["resource"]
        if _is_visible(obligations, plan, resource, mode, evidence):
            # In our own words: what else the server wrote beside the resource was not judged.
            shown = {"resource": resource, "search": {"mode": mode}}
            kept.append(shown | {RAW: entry[RAW]} if RAW in entry else shown)
        else:
            removed += 1
            unseen += mode == "match"
    kept, orphans = without_orphans(kept, plan, obligations.bases)
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
    obligations: Obligations, plan: SearchPlan, resource: dict[str, Any], mode: str, evidence: Evidence
) -> bool:
    if mode == "match":
        # A server that ignores _id would show others' records as those that were asked for.
        if not _has_asked_id(plan, resource):
            return False
        grants = obligations.grants
    elif mode == "include" and resource["resourceType"] in plan.included:
        type_ = resource["resourceType"]
        grants = grant_rules(obligations.access, type_, plan.included[type_])
    else:
        return False
    access, bases = obligations.access, obligations.bases
    return judge_resource(access, resource, grants, bases=bases, evidence=evidence) is None


def _has_asked_id(plan: SearchPlan, resource: dict[str, Any]) -> bool:
    asked = (value.split(",") for name, value in plan.asked if name == "_id")
    return all(resource.get("id") in {each.rpartition("/")[2] for each in ids} for ids in asked)


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
