"""Check attached documents and runs, and until when they count (C104, C232). Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hilum.review.certification_runs.models import RESULT_LIFE, RunSummary
from hilum.review.submissions.models import (
    DOCUMENT_LIFE,
    MADE_HERE,
    Check,
    Document,
    Judgement,
    Result,
    Visibility,
)

Content = Mapping[str, Any]
_AT = {
    None: "",
    True: " at a snapshot of the vendor's own, whose EHR it is",
    False: " at a sandbox hospital that all vendors share",
}
"""Where a run was made, in a sentence, by whether it is the vendor's own."""


def dated(check: Check, document: Document, at: datetime) -> Check:
    """Judge whether a document is still valid."""
    of = f"The document is of {document.dated}"
    if document.dated < (at - DOCUMENT_LIFE).date():
        return check.but(Result.FAILED, f"{of}, older than a year.")
    if document.expires is None:
        return check.but(Result.PASSED, f"{of}.")
    if document.last_day < at.date():
        return check.but(Result.FAILED, f"{of}, and held until {document.expires}.")
    return check.but(Result.PASSED, f"{of}, and holds until {document.expires}.")


def document_of(described: Mapping[str, Any]) -> Document:
    """Return a document from its description."""
    ends = described.get("expires")
    return Document(
        described["kind"],
        described["url"],
        described["sha256"],
        date.fromisoformat(described["dated"]),
        date.fromisoformat(ends) if ends else None,
        Visibility(described.get("visibility", Visibility.REVIEWERS)),
    )


def evidence_ends(content: Content, judgement: Judgement, run: RunSummary | None) -> datetime | None:
    """Return when the first evidence behind passed checks expires; None if none does (C104, C232)."""
    passed = {
        each.about
        for each in judgement.checks
        if each.rule == "evidence.attached" and each.result is Result.PASSED
    }
    ends = [
        # The whole of its last day, wherever its vendor is: the checks judge by days of UTC.
        datetime.combine(each.last_day + timedelta(days=1), time(), UTC)
        for each in map(document_of, content["documents"])
        if each.kind in passed
    ]
    if run is not None and passed & MADE_HERE:
        ends.append(run.at + RESULT_LIFE)
    return min(ends, default=None)


def sandbox_run(
    check: Check, run: RunSummary | None, needed: set[str], *, at: datetime, people: bool
) -> Check:
    """Judge the last certification run of a version by the present requirements of the policy (C126, C232).

    ``people``: some client serves people.
    """
    check = replace(
        check,
        reproduction="hilum evidence show RUN --json"
        if run is None
        else f"hilum evidence show {run.run} --json",
        fix="Open a run in the sandbox, and take every scenario that the policy requires: `hilum evidence open`.",
    )
    if run is None:
        return check.but(Result.FAILED, "No certification run of this version was judged.")
    missing = sorted(needed - set(run.scenarios))
    said = f"Run {run.run} of {run.at:%Y-%m-%d}{_AT[run.own]}, under policy {run.policy_version}, with the digest {run.digest}"
    if run.state != "passed":
        return check.but(Result.FAILED, f"{said}, was not passed.")
    if at >= run.at + RESULT_LIFE:
        return check.but(Result.FAILED, f"{said}, is older than {RESULT_LIFE.days} days.")
    if run.backend and people:
        return check.but(
            Result.FAILED, f"{said}, was made while the app had backend services alone; people use it now."
        )
    if missing:
        return check.but(Result.FAILED, f"{said}, does not show: {', '.join(missing)}.")
    return check.but(Result.PASSED, f"{said}, was passed.")


def shared_run(check: Check, run: RunSummary | None) -> Check:
    """Judge whether the last certification run of a version was made at a hospital where its vendor neither runs the EHR nor changes charts."""
    check = replace(
        check,
        reproduction="hilum evidence list" if run is None else f"hilum evidence show {run.run}",
        fix="Make the run at a sandbox hospital that all vendors share: `hilum evidence open`.",
    )
    if run is None:
        return check.but(Result.FAILED, "No certification run of this version was judged.")
    if run.own is None:
        return check.but(
            Result.UNKNOWN, f"Whose the hospital was at which run {run.run} was made is not known."
        )
    said = f"Run {run.run} was made{_AT[run.own]}."
    return check.but(Result.FAILED if run.own else Result.PASSED, said)
