"""OperationOutcome: what a FHIR server says when it has something to say about a request.

Source: FHIR R4 operationoutcome.html, valueset-issue-type.html.
"""

from enum import StrEnum
from typing import Any

import orjson

_ISSUES_TOLD = 20
_PLACES_TOLD = 5
_PLACE_TOLD = 200
_TEXT_TOLD = 500


class IssueCode(StrEnum):
    """The issue types used here."""

    INVALID = "invalid"
    NOT_SUPPORTED = "not-supported"
    LOGIN = "login"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    TOO_COSTLY = "too-costly"
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
    """Make an OperationOutcome with one issue: a sentence for people, ``details`` (system, code) for programs.

    ``decision`` is the id under which the answer can be explained.
    """
    coded: dict[str, Any] = {"text": sentence}
    if details is not None:
        coded["coding"] = [{"system": details[0], "code": details[1]}]
    issue: dict[str, Any] = {"severity": severity, "code": str(code), "details": coded}
    if decision:
        issue["diagnostics"] = f"Decision {decision}"
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def issues_told(body: bytes) -> list[dict[str, Any]]:
    """Take over the issues of another server's OperationOutcome: bounded, and nothing but texts and places."""
    try:
        found = orjson.loads(body)
    except ValueError:
        return []
    issues = found.get("issue") if isinstance(found, dict) else None
    taken: list[dict[str, Any]] = []
    for issue in issues[:_ISSUES_TOLD] if isinstance(issues, list) else ():
        if not isinstance(issue, dict):
            continue
        details = issue.get("details")
        text = (details.get("text") if isinstance(details, dict) else None) or issue.get("diagnostics")
        places = issue.get("expression")
        told: dict[str, Any] = {"severity": "error", "code": "invalid"}
        if isinstance(text, str) and text:
            told["details"] = {"text": text[:_TEXT_TOLD]}
        if isinstance(places, list):
            told["expression"] = [str(place)[:_PLACE_TOLD] for place in places[:_PLACES_TOLD]]
        taken.append(told)
    return taken


def first_told(body: bytes) -> str:
    """Take over the first text of another server's OperationOutcome; empty where there is none."""
    texts = [issue["details"]["text"] for issue in issues_told(body) if "details" in issue]
    return texts[0] if texts else ""
