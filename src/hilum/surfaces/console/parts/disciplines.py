"""What pages of disciplines share, for the vendor and for reviewers: verdicts, findings and their history in words."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hilum.policy.matrix.models import Discipline
from hilum.review.submissions import service as review
from hilum.review.submissions.models import (
    Answer,
    DisciplineReview,
    DisciplineState,
    DisciplineStep,
    DisciplinesView,
    Finding,
    FindingState,
    Severity,
    Verdict,
)
from hilum.review.submissions.policy import score_of
from hilum.surfaces.console.models import TimelineEntry

STATES = {
    DisciplineState.OPEN: ("open", "plain"),
    DisciplineState.TAKEN: ("in review", "info"),
    DisciplineState.NEEDS_CHANGES: ("needs changes", "warn"),
    DisciplineState.PASSED: ("passed", "good"),
    DisciplineState.FAILED: ("failed", "bad"),
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
    DisciplineState.OPEN: "opened the {discipline} discipline",
    DisciplineState.TAKEN: "took the {discipline} discipline",
    DisciplineState.NEEDS_CHANGES: "asked for changes ({discipline} discipline)",
    DisciplineState.PASSED: "passed the {discipline} discipline",
    DisciplineState.FAILED: "failed the {discipline} discipline",
}


def title_of(discipline: Discipline) -> str:
    """Return what a discipline is called."""
    return review.shipped_scorecards().of[discipline].title


def cards(view: DisciplinesView, who: Mapping[str, str], now: datetime) -> list[dict[str, Any]]:
    """Return the disciplines of a submission with their verdicts and findings. ``who``: the names of reviewers, as disciplines have them."""
    return [
        _card(each, view, who, now)
        for each in sorted(view.disciplines, key=lambda one: list(Discipline).index(one.discipline))
    ]


def _card(
    discipline: DisciplineReview, view: DisciplinesView, who: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    known = review.shipped_scorecards().reasons_of(discipline.discipline)
    state, tone = STATES[discipline.state]
    return {
        "discipline": discipline,
        "title": title_of(discipline.discipline),
        "state": state,
        "tone": tone,
        "reviewer": who.get(discipline.reviewer, "a reviewer") if discipline.reviewer else "",
        "score": score_of(discipline.answers),
        "flags": [known.get(f"{discipline.discipline}.{each}", each) for each in discipline.flags],
        "reasons": [known.get(each, each) for each in discipline.reasons],
        "answer": _answer(discipline, view),
        "findings": findings(
            (each for each in view.findings if each.discipline is discipline.discipline), now
        ),
    }


def _answer(discipline: DisciplineReview, view: DisciplinesView) -> str:
    """Return what the vendor answered to what was found, as long as the reviewer judges it."""
    answers = [
        each.reason for each in view.steps if each.discipline is discipline.discipline and _is_answer(each)
    ]
    return answers[-1] if answers and discipline.state is DisciplineState.TAKEN else ""


def _is_answer(step: DisciplineStep) -> bool:
    return (step.before, step.after) == (DisciplineState.NEEDS_CHANGES, DisciplineState.TAKEN)


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


def history(steps: Iterable[DisciplineStep], who: Mapping[str, str]) -> list[TimelineEntry]:
    """Return what became of disciplines."""
    return [
        TimelineEntry(each.at, _said(each), who.get(each.actor, "somebody"), each.reason, _tone(each.after))
        for each in steps
    ]


def _said(step: DisciplineStep) -> str:
    discipline = title_of(step.discipline).lower()
    if _is_answer(step):
        return f"answered what the {discipline} discipline found"
    if (
        step.before in {DisciplineState.TAKEN, DisciplineState.NEEDS_CHANGES}
        and step.after is DisciplineState.OPEN
    ):
        return f"gave the {discipline} discipline back"
    return _STEPS[step.after].format(discipline=discipline)


def _tone(state: DisciplineState) -> str:
    return "bad" if state is DisciplineState.FAILED else "plain"
