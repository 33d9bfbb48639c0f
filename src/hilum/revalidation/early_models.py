"""When a certified app must be reviewed before its certificate ends (C225)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

MANY_FINDINGS = 5
MANY_WITHIN = timedelta(days=90)


class Trigger(StrEnum):
    """Why a certified app must be reviewed early. One reason is enough."""

    TIER = "tier_risen"
    USE = "use_beyond_declaration"
    OVERDUE = "grave_finding_overdue"
    MANY = "many_findings"


@dataclass(frozen=True, slots=True)
class EarlyInputs:
    """All inputs of the decision whether an app must be reviewed early.

    ``tier_risen``: the rule book in force puts what was certified in a higher tier. ``use_beyond``: it is used beyond what its version declares. ``grave_overdue``: open
    findings of critical or high severity past their deadline. ``recent``: findings opened within MANY_WITHIN, fixed or not.
    """

    tier_risen: bool
    use_beyond: bool
    grave_overdue: int
    recent: int


@dataclass(frozen=True, slots=True)
class EarlyReview:
    """Whether an app must be reviewed early, and the inputs of that decision. A review costs nothing."""

    inputs: EarlyInputs
    triggers: tuple[Trigger, ...]


FORMULA: Mapping[Trigger, str] = MappingProxyType(
    {
        Trigger.TIER: "The rule book in force puts what was certified in a higher risk tier than it was certified in.",
        Trigger.USE: "The app is used beyond what its version declares: for another workflow, or by an AI that does more than declared.",
        Trigger.OVERDUE: "A finding of critical or high severity was not fixed before its deadline.",
        Trigger.MANY: f"{MANY_FINDINGS} or more findings were opened about it within {MANY_WITHIN.days} days, fixed or not.",
    }
)
"""The published formula in words."""
