"""OperationOutcome: what a FHIR server says when it has something to say about a request.

Source: FHIR R4 operationoutcome.html, valueset-issue-type.html.
"""

from enum import StrEnum
from typing import Any


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
