"""A version's declared use of AI, and exceptions, which two people allow one version for a time."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId, TenantId, VersionId

EXCEPTIONS_BOUND = 1_000
"""The most exceptions that have not ended: every process keeps them in memory."""
NOT_STATED = "none stated"
"""The compensating control of an exception from before one was required."""


class Autonomy(StrEnum):
    """How far an AI acts by itself (C23), the least first."""

    INFORMS = "informs"
    """It shows something to a person."""
    DRAFTS = "drafts"
    """A person edits and saves what it wrote."""
    ACTS_AFTER_HUMAN_STEP = "acts_after_human_step"
    """It writes after a person has confirmed that."""
    ACTS_ALONE = "acts_alone"
    """It writes without a person. Refused without an exception of the hospital."""


class Population(StrEnum):
    """How many patients of a hospital an app reaches, the least first (C18)."""

    ONE = "one"
    """One at a time: the patient whose chart is open, or who is signed in."""
    UP_TO_1000 = "up_to_1000"
    UP_TO_100000 = "up_to_100000"
    ALL = "all"


class ExceptionKind(StrEnum):
    LOWERED_TIER = "lowered_tier"
    """A version is treated as of a lower tier than the computed one (C19)."""
    AUTONOMOUS_WRITES = "autonomous_writes"
    """At one hospital a version whose AI acts alone may write (C23)."""


@dataclass(frozen=True, slots=True)
class PolicyException:
    """What two people allow a version until a moment. Signed when they agreed; only its early end is added later.

    ``book_digest``, ``category`` and ``rules`` are what the tier was computed from, as they saw it: the rules that raise the version
    above ``tier``. Under another book, in another category, or for another rule nothing is lowered. Exceptions of autonomous writes are
    of one ``tenant``, and have no tier and no rules. ``control``: the compensating control; empty for older exceptions (C109).
    """

    id: str
    kind: ExceptionKind
    app: AppId
    version: VersionId
    tenant: TenantId | None
    reason: str
    ends_at: datetime
    asked_by: str
    agreed_by: str
    agreed_at: datetime
    tier: str = ""
    computed: str = ""
    category: str = ""
    rules: tuple[str, ...] = ()
    book_digest: str = ""
    ended_at: datetime | None = None
    ended_by: str = ""
    control: str = ""


@dataclass(frozen=True, slots=True)
class ExceptionOrder:
    """An order to allow a version something until ``ends_at``; ``tier`` is empty for autonomous writes. ``control``: what is done instead."""

    kind: ExceptionKind
    app: AppId
    version: VersionId
    tenant: TenantId | None
    reason: str
    ends_at: datetime
    tier: str = ""
    control: str = ""
