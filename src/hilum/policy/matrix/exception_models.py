"""A version's declared use of AI, and exceptions: what a policy says otherwise for one app, until a moment."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId, TenantId, VersionId

EXCEPTIONS_BOUND = 1_000
"""The most exceptions that loosen something and have not ended: every process keeps them in memory."""
TEXT_LEAST, TEXT_MOST = 10, 2_000


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
    """What an exception changes for an app."""

    RAISED_TIER = "raised_tier"
    """A version counts as of a higher tier than the computed one (C19). It only removes access: a reviewer makes it alone."""
    LOWERED_TIER = "lowered_tier"
    """A version counts as of a lower tier than the computed one (C19)."""
    AUTONOMOUS_WRITES = "autonomous_writes"
    """At one hospital a version whose AI acts alone may write (C23)."""
    WAIVED_REQUIREMENT = "waived_requirement"
    """Evidence, a proof or a scenario that review asks for, by the entry of a tier, is not asked of an app (C207)."""

    @property
    def loosens(self) -> bool:
        """Return whether it gives an app more: then two people make it, and it ends by itself."""
        return self is not ExceptionKind.RAISED_TIER


@dataclass(frozen=True, slots=True)
class ExceptionOrder:
    """An order for an exception.

    ``version``: whose tier or writes it is about; None for a requirement, which is of the whole app. ``tenant``: the one hospital; None for all.
    ``tier``: the one that counts, or that of the entry which has the ``requirement``. ``control``: what is done instead.
    """

    kind: ExceptionKind
    app: AppId
    reason: str
    version: VersionId | None = None
    tenant: TenantId | None = None
    tier: str = ""
    requirement: str = ""
    control: str = ""
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyException(ExceptionOrder):
    """An exception. ``owner``: who asked for it and answers for it. ``agreed_by``: the second person; empty for a raised tier.

    ``ends_at``: None only for a raised tier, which another reviewer ends. ``category``, ``computed``, ``rules`` and ``book_digest`` are what a
    lowered tier was computed from, as both people saw it: under another policy, in another category, or for another rule nothing is lowered.
    ``title`` is what a waived requirement meant: with another title it applies again.
    """

    id: str
    owner: str
    agreed_by: str
    starts_at: datetime
    computed: str = ""
    category: str = ""
    rules: tuple[str, ...] = ()
    title: str = ""
    book_digest: str = ""
    ended_at: datetime | None = None
    ended_by: str = ""

    @property
    def path(self) -> str:
        """Return the requirement that it waives, with its entry."""
        return f"{self.category}.{self.tier}.{self.requirement}"
