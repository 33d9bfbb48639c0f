"""How binding rules are, and overrides, which set one aside for one app."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId, TenantId

OVERRIDES_BOUND = 1_000
"""The most overrides that have not ended: every process keeps them in memory."""
TEXT_LEAST, TEXT_MOST = 10, 2_000


class Level(StrEnum):
    """How binding a tier rule is (C207)."""

    ADVISORY = "advisory"
    """Reported only; withholds nothing."""
    OVERRIDABLE = "overridable"
    """Two people may set it aside for one app, for a time."""
    ABSOLUTE = "absolute"


@dataclass(frozen=True, slots=True)
class Override:
    """A rule that is set aside for an app until a moment. Signed when two people agreed; only its early end is added later.

    ``rule_digest`` is that of the rule as they saw it: of a rule that was changed since nothing is set aside.
    """

    id: str
    rule: str
    rule_digest: str
    app: AppId
    tenant: TenantId | None
    reason: str
    control: str
    ends_at: datetime
    asked_by: str
    agreed_by: str
    agreed_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class OverrideOrder:
    """An order to set a rule aside for an app: at one tenant, or everywhere. ``control``: what is done instead of the rule."""

    rule: str
    app: AppId
    tenant: TenantId | None
    reason: str
    control: str
    ends_at: datetime
