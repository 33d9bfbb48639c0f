"""The bodies of the API of review."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field

from hilum.apps.registry.models import SCOPES_BOUND, Environment
from hilum.foundation.web.api import Id, Line, Moment, Prose, Shown, Sorted, Strict, Word, one_of
from hilum.foundation.web.faults import explained
from hilum.policy.matrix.models import Discipline, Tier
from hilum.review.submissions.checks import blocking
from hilum.review.submissions.models import (
    EVIDENCE_BOUND,
    SUBMISSION_SORTS,
    AskedScope,
    BrowseQuery,
    CertifiedDocument,
    Document,
    Judgement,
    Replay,
    Result,
    Run,
    State,
    Submission,
    SubmissionOrder,
    SubmissionView,
    Visibility,
)
from hilum.review.submissions.scorecards import shipped_scorecards

Revision = Annotated[int, Field(ge=1, le=2**31 - 1)]


class ScopeAsked(Strict):
    """A scope, and what the app does with it. ``defence``: why it is still needed, if hospitals granted it for 90 days and nobody used it."""

    scope: Word
    justification: Prose = ""
    defence: Prose = ""


class DocumentAsked(Strict):
    """A document of a kind that the policy names: its address, and the SHA-256 of its content in hex."""

    kind: Line
    url: Word
    sha256: Word
    dated: date
    expires: date | None = None
    """The last day on which it is valid; at most a year after its date."""
    visibility: Visibility = Visibility.REVIEWERS
    """Who may read it besides the vendor: reviewers, also hospitals, or everybody."""

    @property
    def document(self) -> Document:
        return Document(self.kind, self.url, self.sha256, self.dated, self.expires, self.visibility)


class Written(Strict):
    scopes: Annotated[tuple[ScopeAsked, ...], Field(max_length=SCOPES_BOUND)] = ()
    documents: Annotated[tuple[DocumentAsked, ...], Field(max_length=EVIDENCE_BOUND)] = ()

    @property
    def order(self) -> SubmissionOrder:
        return SubmissionOrder(
            tuple(
                AskedScope(each.scope, each.justification.strip(), each.defence.strip())
                for each in self.scopes
            ),
            tuple(each.document for each in self.documents),
        )


class SubmissionAsked(Written):
    """``draft``: store it without submitting, even if something is missing."""

    version: Id
    environment: Environment
    draft: bool = False


class ChangeAsked(Written):
    """``revision``: the one that was read. Omitted fields become empty."""

    revision: Revision


class RevisionAsked(Strict):
    """``revision`` is the one that was read."""

    revision: Revision


class WithdrawAsked(RevisionAsked):
    reason: Prose


class DecisionAsked(RevisionAsked):
    """``expires_at``: when the certification ends; not for a rejection. ``reasons``: the codes of a rejection; without any, those of the disciplines.

    ``despite``: certify it although its app is suspended, or stopped by a kill switch, which you know of.
    """

    decision: Literal["certify", "reject"]
    reason: Prose
    expires_at: Moment | None = None
    reasons: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    despite: Literal["app_suspended", "app_stopped", ""] = ""


class SubmissionsQuery(Sorted):
    """``discipline``: with this discipline left to judge. ``mine``: with a discipline that you have, or that is open and for which you sign."""

    app: Id | None = None
    state: State | None = None
    environment: Environment | None = None
    tier: Tier | None = None
    discipline: Discipline | None = None
    mine: bool = False
    sort: Annotated[str, one_of(SUBMISSION_SORTS)] = ""

    @property
    def browsed(self) -> BrowseQuery:
        """Return the query."""
        page = self.page
        return BrowseQuery(
            () if self.state is None else (self.state,),
            app=self.app or "",
            environment=self.environment,
            discipline=self.discipline,
            tier=self.tier,
            mine=self.mine,
            sort=page.sort,
            after=page.after,
            limit=page.limit,
        )


class SubmissionListed(Shown):
    id: str
    app: str
    vendor: str
    version: str
    label: str
    environment: Environment
    state: State
    revision: int
    certification: str
    created_by: str
    created_at: datetime
    submitted_at: datetime | None
    closed_at: datetime | None


class StepShown(Shown):
    before: State | None
    after: State
    actor: str
    at: datetime
    reason: str


class SubmissionShown(SubmissionListed):
    """``missing``: of a draft, the fields without which it cannot be submitted. ``content``: what was submitted, with its ``digest``.

    ``reasons``: the codes for which it was rejected, each with its sentence.
    """

    scopes: tuple[dict[str, str], ...]
    documents: tuple[dict[str, str | None], ...]
    missing: dict[str, dict[str, str]]
    policy_version: int
    digest: str
    reasons: dict[str, str]
    content: Any
    history: tuple[StepShown, ...]


class RunQuery(Strict):
    """Without ``run`` the last one."""

    run: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class CheckShown(Shown):
    """``reproduction``: how to see it yourself. ``fix``: what to do about it."""

    rule: str
    about: str
    result: Result
    evidence: str
    reproduction: str
    fix: str


class RouteShown(Shown):
    """``first_answer_days`` and ``decision_days`` are business days. ``automatic``: without a person if every check passes."""

    tier: Tier | None
    track: str
    disciplines: tuple[Discipline, ...]
    first_answer_days: int
    decision_days: int
    automatic: bool


class RunShown(BaseModel):
    """``digest``: that of the inputs. ``passes``: nothing blocks certification."""

    submission: str
    number: int
    at: datetime
    policy_version: int
    digest: str
    passes: bool
    route: RouteShown
    checks: tuple[CheckShown, ...]


class ReplayShown(RunShown):
    """A run judged again from its stored inputs. ``same``: results, tier and route are the same; sentences may be worded differently."""

    same: bool


def run_shown(run: Run) -> RunShown:
    """Return a run as it was judged."""
    return RunShown(**_run(run, run.judgement))


def replay_shown(found: Replay) -> ReplayShown:
    """Return a run as it is judged again."""
    return ReplayShown(**_run(found.run, found.again), same=found.same)


def _run(run: Run, judgement: Judgement) -> dict[str, Any]:
    return {
        "submission": run.submission,
        "number": run.number,
        "at": run.at,
        "policy_version": run.policy_version,
        "digest": run.digest,
        "passes": not blocking(judgement.checks),
        "route": RouteShown.model_validate(judgement.route),
        "checks": tuple(map(CheckShown.model_validate, judgement.checks)),
    }


def listed(found: Submission) -> dict[str, Any]:
    """Return a submission as a list shows it."""
    return SubmissionListed.model_validate(found).model_dump()


def document_shown(found: Document) -> dict[str, str | None]:
    """Return a document as it is written, so that what was read can be sent again."""
    ends = None if found.expires is None else found.expires.isoformat()
    return asdict(found) | {"dated": found.dated.isoformat(), "expires": ends}


class CertifiedDocumentShown(BaseModel):
    """A document of a certified version that you may read. ``expires``: the last day on which it is valid."""

    certification: str
    version: str
    kind: str
    url: str
    sha256: str
    dated: date
    expires: date
    visibility: Visibility
    expired: bool


class CertifiedDocumentsShown(BaseModel):
    """The documents of an app's certified versions, at most twenty for each of twenty certifications."""

    items: tuple[CertifiedDocumentShown, ...]


def certified_document(found: CertifiedDocument) -> CertifiedDocumentShown:
    """Return a document of what is certified."""
    return CertifiedDocumentShown(
        certification=found.certification,
        version=found.version,
        expired=found.expired,
        **(asdict(found.document) | {"expires": found.document.last_day}),
    )


def shown(view: SubmissionView) -> SubmissionShown:
    """Return a submission with its history and everything that was submitted."""
    found = view.submission
    return SubmissionShown(
        **listed(found),
        scopes=tuple(asdict(each) for each in found.order.scopes),
        documents=tuple(map(document_shown, found.order.documents)),
        missing=explained(view.missing),
        policy_version=found.policy_version,
        digest=found.digest,
        reasons={code: shipped_scorecards().every_reason.get(code, "") for code in found.reasons},
        content=orjson.loads(found.content) if found.content else None,
        history=tuple(map(StepShown.model_validate, view.steps)),
    )
