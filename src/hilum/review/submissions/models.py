"""Submissions of versions to review, and their states."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, PersonId, VendorId, VersionId
from hilum.foundation.kernel.pages import PAGE_BOUND, Sorts
from hilum.policy.matrix.models import Discipline, Tier
from hilum.review.submissions.clock_models import Clock, Figure, MeasureKind, Stage
from hilum.review.submissions.document_models import (
    DOCUMENT_LIFE,
    CertifiedDocument,
    Document,
    Visibility,
)
from hilum.review.submissions.lane_models import LANE_SORTS, LaneRequest, LaneState
from hilum.review.submissions.rule_models import AppRules, CellRules, ScopesOf

__all__ = [
    "DOCUMENT_LIFE",
    "LANE_SORTS",
    "AppRules",
    "CellRules",
    "CertifiedDocument",
    "Clock",
    "Document",
    "Figure",
    "LaneRequest",
    "LaneState",
    "MeasureKind",
    "ScopesOf",
    "Stage",
    "Visibility",
]
CLIENTS_BOUND = 100
"""The most clients that a submission describes."""
EVIDENCE_BOUND = 20
"""The most documents of a submission."""
SHARED_SANDBOX = "shared_sandbox"
"""The kind of evidence: a run at a sandbox hospital that is not the vendor's own."""
MADE_HERE = frozenset({"automated_checks", "sandbox_run", SHARED_SANDBOX})
"""Kinds of evidence that the platform makes itself; a vendor cannot attach them (C105)."""
DRAFT_KEPT = timedelta(days=400)
"""How long an untouched draft is kept."""
KEPT = timedelta(days=3 * 366)
"""How long a withdrawn or rejected submission is kept; a certified one is kept with its certification."""
PURGE_BATCH = 200
TARGETS_BOUND = 200
"""The most addresses of a run. Further ones are not fetched, and so do not pass."""
LOOKS_AT_ONCE = 16
LOOK_WITHIN = timedelta(seconds=10)
LOOK_BYTES = 4 * 1024 * 1024
"""The largest document that is read."""
RUNS_A_DAY = 20
"""Runs of checks of a submission in a day: Hilum must not be used to flood other people's addresses."""
RUN_LIFE = timedelta(days=7)
"""How old the checks behind a certification may be."""
RUNS_BOUND = 200
"""Runs of checks of one submission."""
CHECK_EVERY = timedelta(seconds=5)
SUBMISSION_SORTS = Sorts({"submitted": "id", "due": "due_at"})
"""The orders of submissions: by creation, which is the order of ids, and by the deadline of the decision."""
"""The orders of declared conflicts of interest."""
ROWS_COUNTED = 100
"""How many submissions a figure lists."""
COUNTED_BOUND = 1_000
"""The highest count of a list of submissions."""
VERDICT_KEPT = timedelta(days=90)
"""How old a kept verdict on the same inputs may be."""
FINDINGS_BOUND = 50
"""Findings of one verdict."""
FINDINGS_OF_ONE = 500
"""Findings of one submission."""
CLOCKS_EVERY = timedelta(seconds=30)
CLOCKS_BATCH = 100
"""Clocks in one transaction."""
FIGURES_EVERY = timedelta(hours=1)
FIGURES_OVER = timedelta(days=365)
"""The period of published figures."""
MEASURES_BOUND = 50_000
"""How many of the newest measurements the figures count."""
APPEAL_WITHIN = timedelta(days=30)
"""How long after a rejection its vendor may appeal."""


class State(StrEnum):
    """Of a submission."""

    DRAFT = "draft"
    """Being written by the vendor."""
    SUBMITTED = "submitted"
    """Complete; the submission no longer changes."""
    CHECKING = "checking"
    """The automated checks run."""
    IN_REVIEW = "in_review"
    """Checked; people judge it."""
    CERTIFIED = "certified"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    """By its vendor."""


class Act(StrEnum):
    """What changes the state of a submission."""

    APPEAL = "appeal"
    """Its vendor appealed: other reviewers judge it again."""
    SUBMIT = "submit"
    CHECK = "check"
    """Begin with the automated checks."""
    PASS_ON = "pass_on"
    """The checks are done, whatever they found."""
    RERUN = "rerun"
    CERTIFY = "certify"
    REJECT = "reject"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class AskedScope:
    """A scope to certify, with its justification. ``defence``: why it is still needed although nobody used it."""

    scope: str
    justification: str
    defence: str = ""


@dataclass(frozen=True, slots=True)
class SubmissionOrder:
    """The vendor's part of a submission. Everything else comes from the app's records at that time."""

    scopes: tuple[AskedScope, ...] = ()
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class DecideOrder:
    """A reviewer's decision on a submission at a revision.

    ``expires_at``: the end of the certification. ``reasons``: the codes of a rejection; by default those of the disciplines that did not
    pass. ``despite``: the suspension or stop of the app (``app_suspended``, ``app_stopped``) that the reviewer knows of; empty for none.
    """

    submission: str
    revision: int
    certify: bool
    reason: str
    expires_at: datetime | None = None
    reasons: tuple[str, ...] = ()
    despite: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """A version submitted for an environment. ``revision`` counts its changes.

    ``content``: the description of everything that was submitted, as canonical JSON, with its ``digest``; empty in a draft.
    ``policy_version``: the version of the policy by which it was complete.
    """

    id: str
    app: AppId
    vendor: VendorId
    version: VersionId
    label: str
    environment: Environment
    order: SubmissionOrder
    created_by: str
    created_at: datetime
    changed_at: datetime
    state: State = State.DRAFT
    revision: int = 1
    content: str = ""
    digest: str = ""
    policy_version: int = 0
    certification: str = ""
    submitted_at: datetime | None = None
    closed_at: datetime | None = None
    reasons: tuple[str, ...] = ()
    """The codes of its rejection."""
    beyond: int | None = None
    """How many of its scopes no declared workflow needed when it was first checked, and of which tier it was then (K5); None: not checked yet."""
    checked_tier: str = ""
    evidence_ends: datetime | None = None
    """When the first evidence behind its checks expires; None if none does, or if that was handled."""


@dataclass(frozen=True, slots=True)
class AskedBeyond:
    """How many submissions of a tier and period asked for a scope beyond their declared workflows. ``rows``: the newest of those."""

    tier: str
    submissions: int
    beyond: int
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a submission's state: by whom, when and why. The first has no state before it."""

    submission: str
    number: int
    before: State | None
    after: State
    actor: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SubmissionView:
    """A submission with its history. ``missing``: of a draft, the error code of each field without which it cannot be submitted."""

    submission: Submission
    steps: tuple[Step, ...]
    missing: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BrowseQuery:
    """A list of submissions: those in some states or in any, of an app or of all. ``after`` is the last id before it.

    ``newest``: the newest first, and else the oldest; ``sort``: another of SUBMISSION_SORTS. ``discipline``: those whose discipline is not judged yet. ``mine``: those with a discipline that the actor has, or that is open and for which they sign.
    """

    states: tuple[State, ...] = ()
    app: str = ""
    environment: Environment | None = None
    discipline: Discipline | None = None
    tier: Tier | None = None
    mine: bool = False
    newest: bool = False
    sort: str = ""
    after: str = ""
    limit: int = PAGE_BOUND


@dataclass(frozen=True, slots=True)
class BrowsedPage:
    """Submissions without their content. ``next``: where the list continues; ``total`` counts up to COUNTED_BOUND + 1."""

    submissions: tuple[Submission, ...]
    next: str
    total: int


# --- automated checks ---------------------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """The kinds of addresses of a submission."""

    REDIRECT = "redirect"
    LAUNCH = "launch"
    KEYS = "keys"
    PRIVACY = "privacy_policy"
    TERMS = "terms"
    DOCUMENT = "document"
    MODEL_CARD = "model_card"


@dataclass(frozen=True, slots=True)
class Target:
    """An address that checks fetch."""

    kind: Kind
    url: str


@dataclass(frozen=True, slots=True)
class Look:
    """The result of fetching an address.

    ``fault``: why it failed, with a sentence; ``tls_fault``: what is wrong with its certificate. ``location``: where it redirects.
    ``keys``: id and digest of each key of a key set; ``keys_fault``: why it is not one.
    """

    kind: Kind
    url: str
    status: int = 0
    location: str = ""
    sha256: str = ""
    size: int = 0
    fault: str = ""
    detail: str = ""
    tls_fault: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    keys_fault: str = ""


class Result(StrEnum):
    """The result of a check. Only passed and not-required checks let a submission continue."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be seen."""
    NOT_REQUIRED = "not_required"


@dataclass(frozen=True, slots=True)
class Check:
    """A conclusion: rule, subject, evidence, reproduction and fix."""

    rule: str
    about: str
    result: Result
    evidence: str
    reproduction: str
    fix: str

    @property
    def blocks(self) -> bool:
        """Return whether it blocks certification: every check that neither passed nor is not required."""
        return self.result not in {Result.PASSED, Result.NOT_REQUIRED}

    def but(self, result: Result, evidence: str) -> "Check":
        """Return the same check with another result."""
        return replace(self, result=result, evidence=evidence)


@dataclass(frozen=True, slots=True)
class Route:
    """The route of a submission: tier and track, disciplines and business days.

    No tier: no route. ``automatic``: without a person if every check passes.
    """

    tier: Tier | None = None
    track: str = ""
    disciplines: tuple[Discipline, ...] = ()
    first_answer_days: int = 0
    decision_days: int = 0
    automatic: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    checks: tuple[Check, ...]
    route: Route


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a submission's checks: the inputs as canonical JSON with their digest, the policy, and the judgement."""

    submission: str
    number: int
    at: datetime
    inputs: str
    digest: str
    policy_version: int
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Replay:
    """A run judged again from its stored inputs. ``same``: results, tier and route are the same, and the stored sentences are those that were shown."""

    run: Run
    again: Judgement
    same: bool


# --- disciplines --------------------------------------------------------------------------------------------------------------------


class DisciplineState(StrEnum):
    """The states of a discipline."""

    OPEN = "open"
    """Nobody has taken it."""
    TAKEN = "taken"
    """A reviewer judges it."""
    NEEDS_CHANGES = "needs_changes"
    """The vendor must answer."""
    PASSED = "passed"
    FAILED = "failed"


class Verdict(StrEnum):
    """A reviewer's verdict on a discipline."""

    PASS = "pass"
    FAIL = "fail"
    NEEDS_CHANGES = "needs_changes"


AFTER: Mapping[Verdict, DisciplineState] = MappingProxyType(
    {
        Verdict.PASS: DisciplineState.PASSED,
        Verdict.FAIL: DisciplineState.FAILED,
        Verdict.NEEDS_CHANGES: DisciplineState.NEEDS_CHANGES,
    }
)


class Answer(StrEnum):
    """An answer to one point of a scorecard."""

    MET = "met"
    PARTLY = "partly"
    NOT_MET = "not_met"
    NOT_APPLICABLE = "not_applicable"


class Severity(StrEnum):
    """The severity of a finding, the worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def blocks(self) -> bool:
        """Return whether an open finding of this severity blocks certification."""
        return self in {Severity.CRITICAL, Severity.HIGH}


FIX_WITHIN: Mapping[Severity, timedelta] = MappingProxyType(
    {severity: timedelta(days=days) for severity, days in zip(Severity, (7, 14, 30, 90), strict=True)}
)
"""How long a vendor has to fix a finding."""


class FindingState(StrEnum):
    OPEN = "open"
    ANSWERED = "answered"
    """The vendor answered; the reviewer looks again."""
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class NewFinding:
    """A reviewer's finding: rule, severity, evidence, reproduction and fix."""

    rule: str
    severity: Severity
    evidence: str
    reproduction: str
    fix: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of a discipline. ``note``: why it was resolved."""

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
    state: FindingState = FindingState.OPEN
    note: str = ""
    resolved_by: str = ""
    resolved_at: datetime | None = None

    @property
    def blocks(self) -> bool:
        return self.severity.blocks and self.state is not FindingState.RESOLVED

    @property
    def due_at(self) -> datetime:
        """Return the deadline to fix it."""
        return self.found_at + FIX_WITHIN[self.severity]


@dataclass(frozen=True, slots=True)
class DisciplineReview:
    """One discipline of a submission. ``revision`` counts its changes; ``inputs`` is the digest of what it judges, ``scorecard`` of by what.

    ``reviewer``: who took it, as ``staff:<id>``, or ``system`` if no person did. ``answers`` by point; ``flags``: red flags that were raised.
    ``kept_from``: the submission whose verdict was kept.
    """

    id: str
    submission: str
    app: AppId
    environment: Environment
    discipline: Discipline
    inputs: str
    scorecard: str
    opened_at: datetime
    state: DisciplineState = DisciplineState.OPEN
    revision: int = 1
    reviewer: str = ""
    taken_at: datetime | None = None
    judged_at: datetime | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    text: str = ""
    kept_from: str = ""


@dataclass(frozen=True, slots=True)
class DisciplineStep:
    """A change of a discipline: by whom, when and why. The first has no state before it."""

    submission: str
    discipline: Discipline
    number: int
    before: DisciplineState | None
    after: DisciplineState
    actor: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JudgeOrder:
    """A reviewer's verdict on a discipline at a revision. ``answers`` by the name of a point; ``reasons`` are codes of the scorecard."""

    submission: str
    discipline: Discipline
    revision: int
    verdict: Verdict
    text: str
    answers: Mapping[str, Answer] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    findings: tuple[NewFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class DisciplinesView:
    """The disciplines of a submission with their history and what they found."""

    disciplines: tuple[DisciplineReview, ...]
    steps: tuple[DisciplineStep, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class DisciplineQuery:
    """Which disciplines to list: of a discipline, in a state, taken by an actor; what is empty filters nothing."""

    discipline: Discipline | None = None
    state: DisciplineState | None = None
    reviewer: str = ""


@dataclass(frozen=True, slots=True)
class DisciplineRights:
    """The disciplines for which a reviewer may sign; granted by two people."""

    person: PersonId
    disciplines: tuple[Discipline, ...]
    changed_at: datetime
    changed_by: str


class ConflictOfInterestKind(StrEnum):
    """How a reviewer's conflict of interest with a vendor was found."""

    DECLARED = "declared"
    MEMBER = "member"
    """A member of the vendor has the reviewer's mail address."""
    MAIL_DOMAIN = "mail_domain"
    """The reviewer's mail address is of a domain of the vendor."""


@dataclass(frozen=True, slots=True)
class ConflictOfInterest:
    """A conflict of interest that a reviewer declared to a vendor. It excludes them from its submissions until a colleague ends it."""

    id: str
    person: PersonId
    vendor: VendorId
    reason: str
    declared_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""
    ended_because: str = ""
