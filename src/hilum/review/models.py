"""Submissions of versions to review, and their states."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from hilum.kernel.ids import AppId, VendorId, VersionId
from hilum.registry.models import Environment

CLIENTS_BOUND = 100
"""Clients of the environment that one submission describes."""
EVIDENCE_BOUND = 20
"""Documents of one submission."""
DOCUMENT_LIFE = timedelta(days=365)
"""How old a document may be when it is submitted."""
MADE_HERE = frozenset({"automated_checks", "sandbox_run"})
"""Kinds of evidence of the rule book that the platform makes itself, so that a vendor cannot attach them (C105)."""
DRAFT_KEPT = timedelta(days=400)
"""How long a draft is kept that nobody touches."""
KEPT = timedelta(days=3 * 366)
"""How long a submission is kept after it was withdrawn."""
PURGE_BATCH = 200


class State(StrEnum):
    """Of a submission."""

    DRAFT = "draft"
    """Being written by the vendor."""
    SUBMITTED = "submitted"
    """Complete; what was submitted does not change any more."""
    WITHDRAWN = "withdrawn"
    """By its vendor."""


class Act(StrEnum):
    """What changes the state of a submission."""

    SUBMIT = "submit"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class AskedScope:
    """A scope that a version is to be certified for, and why it needs it."""

    scope: str
    justification: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a vendor attaches as evidence: its kind in the rule book, its address, and the SHA-256 of its content."""

    kind: str
    url: str
    sha256: str
    dated: date


@dataclass(frozen=True, slots=True)
class SubmissionOrder:
    """What a vendor writes in a submission. Everything else is taken from the records of the app when it is submitted."""

    scopes: tuple[AskedScope, ...] = ()
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """A version submitted for an environment. ``revision`` counts its changes.

    ``content``: the description of everything that was submitted, as canonical JSON, with its ``digest``; empty in a draft.
    ``rule_book``: the version of the rule book by which it was complete.
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
    rule_book: int = 0
    submitted_at: datetime | None = None
    closed_at: datetime | None = None


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
