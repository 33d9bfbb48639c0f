"""The bodies of the API of lenses, findings and reviewers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from hilum.apps.registry.models import Environment
from hilum.foundation.web.api import Id, Line, Paging, Prose, Shown, Sorted, Strict, one_of
from hilum.policy.matrix.models import Lens
from hilum.review.submissions.bodies import RevisionAsked
from hilum.review.submissions.models import (
    FINDINGS_BOUND,
    TIE_SORTS,
    Answer,
    Finding,
    FindingState,
    JudgeOrder,
    LensesView,
    LensQuery,
    LensReview,
    LensState,
    NewFinding,
    Severity,
    Tie,
    Verdict,
)
from hilum.review.submissions.policy import score_of
from hilum.review.submissions.scorecards import Scorecards

CODES_BOUND = 50
Codes = Annotated[tuple[Line, ...], Field(max_length=CODES_BOUND)]


class FindingAsked(Strict):
    """``rule``: a reason code of the lens. ``reproduction``: how to see it oneself."""

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

    def order(self, submission: str, lens: Lens) -> JudgeOrder:
        """Return what is asked for."""
        return JudgeOrder(
            submission,
            lens,
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


class LensesQuery(Paging):
    """``reviewer``: who took it, as ``staff:<id>``."""

    lens: Lens | None = None
    state: LensState | None = None
    reviewer: Line = ""

    @property
    def query(self) -> LensQuery:
        return LensQuery(self.lens, self.state, self.reviewer)


class LensListed(Shown):
    id: str
    submission: str
    app: str
    environment: Environment
    lens: Lens
    state: LensState
    revision: int
    reviewer: str
    opened_at: datetime
    taken_at: datetime | None
    judged_at: datetime | None


class LensStepShown(Shown):
    lens: Lens
    before: LensState | None
    after: LensState
    actor: str
    at: datetime
    reason: str


class LensShown(LensListed):
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
    lens: Lens
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


class LensesShown(Shown):
    lenses: tuple[LensShown, ...]
    findings: tuple[FindingShown, ...]
    history: tuple[LensStepShown, ...]


def lens_shown(found: LensReview) -> LensShown:
    """Return a lens with its verdict."""
    return LensShown(**lens_listed(found), **_verdict(found))


def _verdict(found: LensReview) -> dict[str, Any]:
    names = ("flags", "reasons", "text", "kept_from", "inputs")
    score = score_of(found.answers)
    return {name: getattr(found, name) for name in names} | {"answers": dict(found.answers), "score": score}


def lens_listed(found: LensReview) -> dict[str, Any]:
    """Return a lens as a list shows it."""
    return LensListed.model_validate(found).model_dump()


def lenses_shown(view: LensesView) -> LensesShown:
    """Return the lenses of a submission with what they found."""
    return LensesShown(
        lenses=tuple(map(lens_shown, view.lenses)),
        findings=tuple(map(finding_shown, view.findings)),
        history=tuple(map(LensStepShown.model_validate, view.steps)),
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
    """``pass_at``: from which percent a lens passes."""

    version: int
    digest: str
    pass_at: int
    lenses: dict[Lens, ScorecardShown]


def scorecards_shown(cards: Scorecards) -> ScorecardsShown:
    """Return the scorecards by which lenses are judged, with every reason code."""
    of: Mapping[Lens, ScorecardShown] = {
        lens: ScorecardShown(
            title=card.title,
            inputs=card.inputs,
            points=tuple(map(PointShown.model_validate, card.points)),
            flags=tuple(map(FlagShown.model_validate, card.flags)),
            reasons=dict(cards.reasons_of(lens)),
        )
        for lens, card in cards.of.items()
    }
    return ScorecardsShown(version=cards.version, digest=cards.digest, pass_at=cards.pass_at, lenses=dict(of))


# --- reviewers -----------------------------------------------------------------------------------------------------------------


class RightsAsked(Strict):
    """The lenses for which the reviewer signs from now on; an empty list removes the right."""

    lenses: Annotated[tuple[Lens, ...], Field(max_length=len(Lens))]


class RightsShown(Shown):
    person: str
    lenses: tuple[Lens, ...]
    changed_at: datetime
    changed_by: str


class TieAsked(Strict):
    vendor: Id
    reason: Prose


class TieEnd(Strict):
    reason: Prose


class TiesQuery(Sorted):
    vendor: Id | None = None
    sort: Annotated[str, one_of(TIE_SORTS)] = ""


class TieShown(Shown):
    id: str
    person: str
    vendor: str
    reason: str
    declared_at: datetime
    ended_at: datetime | None
    ended_by: str
    ended_because: str


def tie_shown(found: Tie) -> TieShown:
    """Return a tie."""
    return TieShown.model_validate(found)
