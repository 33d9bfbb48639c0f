"""The bodies of the API of disciplines, findings and reviewers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from hilum.apps.registry.models import Environment
from hilum.foundation.web.api import Line, Paging, Prose, Shown, Strict
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions.bodies import RevisionAsked
from hilum.review.submissions.models import (
    FINDINGS_BOUND,
    Answer,
    DisciplineQuery,
    DisciplineReview,
    DisciplineState,
    DisciplinesView,
    Finding,
    FindingState,
    JudgeOrder,
    NewFinding,
    Severity,
    Verdict,
)
from hilum.review.submissions.policy import score_of
from hilum.review.submissions.scorecards import Scorecards

CODES_BOUND = 50
Codes = Annotated[tuple[Line, ...], Field(max_length=CODES_BOUND)]


class FindingAsked(Strict):
    """``rule``: a reason code of the discipline. ``reproduction``: how to see it oneself."""

    rule: Line
    severity: Severity
    evidence: Prose
    reproduction: Prose
    fix: Prose


class VerdictAsked(RevisionAsked):
    """``answers``: by point of the scorecard. ``flags``: the raised red flags. ``text``: shown to the vendor."""

    verdict: Verdict
    text: Prose
    answers: Annotated[dict[str, Answer], Field(max_length=CODES_BOUND)] = Field(default_factory=dict)
    flags: Codes = ()
    reasons: Codes = ()
    findings: Annotated[tuple[FindingAsked, ...], Field(max_length=FINDINGS_BOUND)] = ()

    def order(self, submission: str, discipline: Discipline) -> JudgeOrder:
        """Return what is asked for."""
        return JudgeOrder(
            submission,
            discipline,
            self.revision,
            self.verdict,
            self.text,
            self.answers,
            self.flags,
            self.reasons,
            tuple(NewFinding(**each.model_dump()) for each in self.findings),
        )


class ReleaseAsked(RevisionAsked):
    reason: Prose


class AnswerAsked(RevisionAsked):
    text: Prose


class ResolveAsked(Strict):
    note: Prose


class DisciplinesQuery(Paging):
    """``reviewer``: who took it, as ``staff:<id>``."""

    discipline: Discipline | None = None
    state: DisciplineState | None = None
    reviewer: Line = ""

    @property
    def query(self) -> DisciplineQuery:
        return DisciplineQuery(self.discipline, self.state, self.reviewer)


class DisciplineListed(Shown):
    id: str
    submission: str
    app: str
    environment: Environment
    discipline: Discipline
    state: DisciplineState
    revision: int
    reviewer: str
    opened_at: datetime
    taken_at: datetime | None
    judged_at: datetime | None


class DisciplineStepShown(Shown):
    discipline: Discipline
    before: DisciplineState | None
    after: DisciplineState
    actor: str
    at: datetime
    reason: str


class DisciplineShown(DisciplineListed):
    """``score``: percent of the points that apply; null if none does. ``kept_from``: the submission whose verdict was kept."""

    answers: dict[str, Answer]
    score: int | None
    flags: tuple[str, ...]
    reasons: tuple[str, ...]
    text: str
    kept_from: str
    inputs: str


class FindingShown(Shown):
    """``blocks``: it blocks certification while it is open. ``due_at``: the deadline to fix it."""

    id: str
    submission: str
    discipline: Discipline
    rule: str
    severity: Severity
    evidence: str
    reproduction: str
    fix: str
    found_by: str
    found_at: datetime
    due_at: datetime
    state: FindingState
    blocks: bool
    note: str
    resolved_by: str
    resolved_at: datetime | None


class DisciplinesShown(Shown):
    disciplines: tuple[DisciplineShown, ...]
    findings: tuple[FindingShown, ...]
    history: tuple[DisciplineStepShown, ...]


def discipline_shown(found: DisciplineReview) -> DisciplineShown:
    """Return a discipline with its verdict."""
    return DisciplineShown(**discipline_listed(found), **_verdict(found))


def _verdict(found: DisciplineReview) -> dict[str, Any]:
    names = ("flags", "reasons", "text", "kept_from", "inputs")
    score = score_of(found.answers)
    return {name: getattr(found, name) for name in names} | {"answers": dict(found.answers), "score": score}


def discipline_listed(found: DisciplineReview) -> dict[str, Any]:
    """Return a discipline as a list shows it."""
    return DisciplineListed.model_validate(found).model_dump()


def disciplines_shown(view: DisciplinesView) -> DisciplinesShown:
    """Return the disciplines of a submission with what they found."""
    return DisciplinesShown(
        disciplines=tuple(map(discipline_shown, view.disciplines)),
        findings=tuple(map(finding_shown, view.findings)),
        history=tuple(map(DisciplineStepShown.model_validate, view.steps)),
    )


def finding_shown(found: Finding) -> FindingShown:
    """Return a finding."""
    return FindingShown.model_validate(found)


class PointShown(Shown):
    name: str
    question: str
    look_at: str
    fix: str


class FlagShown(Shown):
    name: str
    says: str


class ScorecardShown(Shown):
    title: str
    inputs: tuple[str, ...]
    points: tuple[PointShown, ...]
    flags: tuple[FlagShown, ...]
    reasons: dict[str, str]


class ScorecardsShown(Shown):
    """``pass_at``: from which percent a discipline passes."""

    version: int
    digest: str
    pass_at: int
    disciplines: dict[Discipline, ScorecardShown]


def scorecards_shown(cards: Scorecards) -> ScorecardsShown:
    """Return the scorecards by which disciplines are judged, with every reason code."""
    of: Mapping[Discipline, ScorecardShown] = {
        discipline: ScorecardShown(
            title=card.title,
            inputs=card.inputs,
            points=tuple(map(PointShown.model_validate, card.points)),
            flags=tuple(map(FlagShown.model_validate, card.flags)),
            reasons=dict(cards.reasons_of(discipline)),
        )
        for discipline, card in cards.of.items()
    }
    return ScorecardsShown(
        version=cards.version, digest=cards.digest, pass_at=cards.pass_at, disciplines=dict(of)
    )


# --- reviewers -----------------------------------------------------------------------------------------------------------------


class RightsAsked(Strict):
    """The disciplines for which the reviewer signs from now on; an empty list removes the right."""

    disciplines: Annotated[tuple[Discipline, ...], Field(max_length=len(Discipline))]


class RightsShown(Shown):
    person: str
    disciplines: tuple[Discipline, ...]
    changed_at: datetime
    changed_by: str
