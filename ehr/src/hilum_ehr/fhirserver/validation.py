"""Validates resources before they are stored: R4 structure by fhirkit, everything else by our own tables."""

from typing import Any

import fhirkit
import orjson

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.rules import rule_issues
from hilum.foundation.standards.fhir.shaping import load
from hilum.foundation.standards.fhir.values import is_id
from hilum_ehr.fhirserver.models import MAX_ISSUES, Issue, Problem, Refused


def structure_issues(body: bytes) -> list[Issue]:
    """List what is wrong with the structure of a resource. The only function that uses fhirkit.

    Raises Refused if the body is not JSON.
    """
    try:
        issues = fhirkit.validate(body)
    except ValueError as error:
        raise Refused(Problem.MALFORMED, f"The body is not JSON: {error}") from None
    return [Issue(i.message, i.path, warning=i.severity != "error") for i in issues]


def parse_resource(body: bytes) -> dict[str, Any]:
    """Parse and validate a resource. Raises Refused with located issues. The result is safe to index.

    Source: FHIR R4 validation.html (structure, cardinality, required bindings, reference targets)
    """
    try:
        resource = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(Problem.MALFORMED, f"The body is not JSON: {error}") from None
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise Refused(Problem.STRUCTURE, "A resource must be a JSON object with a resourceType.")
    if resource["resourceType"] not in resource_types():
        raise Refused(Problem.STRUCTURE, Issue("This is not an R4 resource type.", "resourceType"))
    # Before the rules: they rely on the structure and would fail on a value of another type.
    errors = [issue for issue in structure_issues(body) if not issue.warning]
    if errors:
        raise Refused(Problem.STRUCTURE, *errors[:MAX_ISSUES])
    if "id" in resource and not is_id(resource["id"]):
        where = f"{resource['resourceType']}.id"
        raise Refused(Problem.STRUCTURE, Issue("An id is 1 to 64 letters, digits, '-' and '.'.", where))
    try:
        broken = [Issue(detail, where) for detail, where in rule_issues(resource)]
    # The depth is the client's; it is refused like any other fault and never a 500.
    except RecursionError:
        raise Refused(Problem.STRUCTURE, "The resource is nested too deep.") from None
    if broken:
        raise Refused(Problem.RULE, *broken[:MAX_ISSUES])
    return resource


def stamp(body: bytes, *, resource_id: str, version: int, last_updated: str) -> bytes:
    """Serialize a validated resource with the server's id and meta. Decimals keep their digits."""
    try:
        resource = load(body)
        meta = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": last_updated}
        rest = {k: v for k, v in resource.items() if k not in {"resourceType", "id", "meta"}}
        # The server's id and version replace whatever the client sent (FHIR R4 http.html#create).
        head = {"resourceType": resource["resourceType"], "id": resource_id, "meta": meta}
        return orjson.dumps({**head, **rest})
    except (ValueError, orjson.JSONEncodeError):
        raise Refused(Problem.STRUCTURE, "The resource is nested too deep.") from None
