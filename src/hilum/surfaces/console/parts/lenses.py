"""What pages of lenses share, for the vendor and for reviewers: verdicts, findings and their history in words."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hilum.policy.matrix.models import Lens
from hilum.review.submissions import service as review
from hilum.review.submissions.models import (
    Answer,
    Finding,
    FindingState,
    LensesView,
    LensReview,
    LensState,
    LensStep,
    Severity,
    Verdict,
)
from hilum.review.submissions.policy import score_of
from hilum.surfaces.console.models import TimelineEntry

STATES = {
    LensState.OPEN: ("open", "plain"),
    LensState.TAKEN: ("in review", "info"),
    LensState.NEEDS_CHANGES: ("needs changes", "warn"),
    LensState.PASSED: ("passed", "good"),
    LensState.FAILED: ("failed", "bad"),
}
ANSWERS = (
    (Answer.MET.value, "met"),
    (Answer.PARTLY.value, "partly"),
    (Answer.NOT_MET.value, "not met"),
    (Answer.NOT_APPLICABLE.value, "does not apply"),
)
VERDICTS = (
    (
        Verdict.PASS.value,
        "It passes",
        "Every point is answered, no red flag is raised, and no serious finding is open.",
    ),
    (
        Verdict.NEEDS_CHANGES.value,
        "It needs changes",
        "The vendor answers what you found; then it is yours again.",
    ),
    (Verdict.FAIL.value, "It fails", "The submission cannot be certified."),
)
SEVERITIES = tuple((each.value, each.value) for each in Severity)
_SEVERITY = {Severity.CRITICAL: "bad", Severity.HIGH: "bad", Severity.MEDIUM: "warn", Severity.LOW: "plain"}
_FOUND = {
    FindingState.OPEN: ("open", "warn"),
    FindingState.ANSWERED: ("answered", "info"),
    FindingState.RESOLVED: ("resolved", "good"),
}
_STEPS = {
    LensState.OPEN: "opened the {lens} lens",
    LensState.TAKEN: "took the {lens} lens",
    LensState.NEEDS_CHANGES: "asked for changes ({lens} lens)",
    LensState.PASSED: "passed the {lens} lens",
    LensState.FAILED: "failed the {lens} lens",
}


def title_of(lens: Lens) -> str:
    """Return what a lens is called."""
    return review.shipped_scorecards().of[lens].title


def cards(view: LensesView, who: Mapping[str, str], now: datetime) -> list[dict[str, Any]]:
    """Return the lenses of a submission with their verdicts and findings. ``who``: the names of reviewers, as lenses have them."""
    return [
        _card(each, view, who, now)
        for each in sorted(view.lenses, key=lambda one: list(Lens).index(one.lens))
    ]


def _card(lens: LensReview, view: LensesView, who: Mapping[str, str], now: datetime) -> dict[str, Any]:
    known = review.shipped_scorecards().reasons_of(lens.lens)
    state, tone = STATES[lens.state]
    return {
        "lens": lens,
        "title": title_of(lens.lens),
        "state": state,
        "tone": tone,
        "reviewer": who.get(lens.reviewer, "a reviewer") if lens.reviewer else "",
        "score": score_of(lens.answers),
        "flags": [known.get(f"{lens.lens}.{each}", each) for each in lens.flags],
        "reasons": [known.get(each, each) for each in lens.reasons],
        "answer": _answer(lens, view),
        "findings": findings((each for each in view.findings if each.lens is lens.lens), now),
    }


def _answer(lens: LensReview, view: LensesView) -> str:
    """Return what the vendor answered to what was found, as long as the reviewer judges it."""
    answers = [each.reason for each in view.steps if each.lens is lens.lens and _is_answer(each)]
    return answers[-1] if answers and lens.state is LensState.TAKEN else ""


def _is_answer(step: LensStep) -> bool:
    return (step.before, step.after) == (LensState.NEEDS_CHANGES, LensState.TAKEN)


def findings(found: Iterable[Finding], now: datetime) -> list[dict[str, Any]]:
    """Return findings in words, those that are not resolved first."""
    known = review.shipped_scorecards().every_reason
    ordered = sorted(
        found, key=lambda each: (each.state is FindingState.RESOLVED, list(Severity).index(each.severity))
    )
    return [
        {
            "finding": each,
            "rule": known.get(each.rule, each.rule),
            "severity": (each.severity.value, _SEVERITY[each.severity]),
            "state": _FOUND[each.state],
            "open": each.state is not FindingState.RESOLVED,
            "overdue": each.state is not FindingState.RESOLVED and now >= each.due_at,
        }
        for each in ordered
    ]


def history(steps: Iterable[LensStep], who: Mapping[str, str]) -> list[TimelineEntry]:
    """Return what became of lenses."""
    return [
        TimelineEntry(each.at, _said(each), who.get(each.actor, "somebody"), each.reason, _tone(each.after))
        for each in steps
    ]


def _said(step: LensStep) -> str:
    lens = title_of(step.lens).lower()
    if _is_answer(step):
        return f"answered what the {lens} lens found"
    if step.before in {LensState.TAKEN, LensState.NEEDS_CHANGES} and step.after is LensState.OPEN:
        return f"gave the {lens} lens back"
    return _STEPS[step.after].format(lens=lens)


def _tone(state: LensState) -> str:
    return "bad" if state is LensState.FAILED else "plain"
