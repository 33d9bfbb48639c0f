"""OperationOutcome: the FHIR resource that describes errors and warnings.

Source: FHIR R4 operationoutcome.html, valueset-issue-type.html.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any

import orjson

from hilum.foundation.standards.fhir.definitions import elements, json_keys, resource_types, value_set
from hilum.foundation.standards.fhir.visibility import at_path

# Bounds what is read of another server's error; a client needs the first few places.
_ISSUES_READ = 20
_PLACES_READ = 5
_PLACE_BOUND = 200
_PLACE = re.compile(r"[A-Z][A-Za-z]+(?:\.[a-z][A-Za-z0-9]*(?:\[[0-9]{1,4}\])?)*")
_INDEX = re.compile(r"\[[0-9]+\]")


class IssueCode(StrEnum):
    """The issue types that Hilum uses."""

    INVALID = "invalid"
    NOT_SUPPORTED = "not-supported"
    LOGIN = "login"
    FORBIDDEN = "forbidden"
    SUPPRESSED = "suppressed"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    DUPLICATE = "duplicate"
    TOO_COSTLY = "too-costly"
    TOO_LONG = "too-long"
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    EXCEPTION = "exception"
    INFORMATIONAL = "informational"


def outcome(
    code: IssueCode,
    sentence: str,
    *,
    severity: str = "error",
    details: tuple[str, str] | None = None,
    decision: str = "",
) -> dict[str, Any]:
    """Build an OperationOutcome with one issue: a sentence for people, ``details`` (system, code) for programs.

    ``decision`` is the id under which the answer can be explained.
    """
    # The sentence is in details.text, which clients display; diagnostics is for those who look into it
    # (FHIR R4 operationoutcome.html).
    coded: dict[str, Any] = {"text": sentence}
    if details is not None:
        coded["coding"] = [{"system": details[0], "code": details[1]}]
    issue: dict[str, Any] = {"severity": severity, "code": str(code), "details": coded}
    if decision:
        issue["diagnostics"] = f"Decision {decision}"
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def disclosable_issue(body: bytes, sent: Mapping[str, Any] | None = None) -> tuple[str, list[str]]:
    """Extract from an upstream OperationOutcome what may be repeated: an R4 code and element paths, never its texts.

    Its sentences may hold what its log holds: addresses of its own, names of people. ``sent``: the resource that it is about, whose own
    element names may be repeated too.
    """
    try:
        parsed = orjson.loads(body)
    except ValueError:
        parsed = None
    issues = parsed.get("issue") if isinstance(parsed, dict) else None
    codes: list[str] = []
    places: dict[str, None] = {}
    for issue in issues[:_ISSUES_READ] if isinstance(issues, list) else ():
        if not isinstance(issue, dict):
            continue
        code, expressions = issue.get("code"), issue.get("expression")
        if isinstance(code, str) and code in _issue_types():
            codes.append(code)
        # An expression may be any text. Only paths of R4 element names pass, and those that the client sent: everything else could
        # hold a value from a record or an address from the server's log (C70).
        for place in expressions if isinstance(expressions, list) else ():
            if isinstance(place, str) and (_is_place(place) or _is_within(sent or {}, place)):
                places[place] = None
    return (codes[0] if codes else IssueCode.INVALID.value), list(places)[:_PLACES_READ]


@cache
def _issue_types() -> frozenset[str]:
    return value_set("issue-type")["http://hl7.org/fhir/issue-type"]


def _is_within(sent: Mapping[str, Any], text: str) -> bool:
    """Check whether a text is the path of an element of this resource, such as one that R4 does not have."""
    if len(text) > _PLACE_BOUND or _PLACE.fullmatch(text) is None:
        return False
    type_, *steps = _INDEX.sub("", text).split(".")
    return sent.get("resourceType") == type_ and any(True for _ in at_path(sent, tuple(steps)))


def _is_place(text: str) -> bool:
    """Check whether a text is a path of R4 element names, and nothing else."""
    if len(text) > _PLACE_BOUND or _PLACE.fullmatch(text) is None:
        return False
    type_, *steps = _INDEX.sub("", text).split(".")
    # The path is followed type by type, because the form alone would let "Smith.john" pass.
    kinds = {type_} & resource_types()
    for step in steps:
        matching = [
            each for kind in kinds for each in (elements(kind).get(step), json_keys(kind).get(step)) if each
        ]
        kinds = {kind.name for each in matching for kind in each.types}
        if not matching:
            return False
    return bool(kinds)
