"""When a certified app is to be reviewed before its certificate ends (C225)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

MANY_FINDINGS = 5
MANY_WITHIN = timedelta(days=90)


class Trigger(StrEnum):
    """Why a certified app is to be reviewed early. One is enough."""

    TIER = "tier_risen"
    USE = "use_beyond_declaration"
    OVERDUE = "grave_finding_overdue"
    MANY = "many_findings"


@dataclass(frozen=True, slots=True)
class EarlyInputs:
    """Everything that decides whether an app is to be reviewed early, and nothing else does.

    ``tier_risen``: the rule book in force puts what was certified in a higher tier. ``use_beyond``: it is used beyond what its version
    declares. ``grave_overdue``: open findings of critical or high severity whose deadline is over. ``recent``: findings that were opened
    within MANY_WITHIN, also those that were fixed since.
    """

    tier_risen: bool
    use_beyond: bool
    grave_overdue: int
    recent: int


@dataclass(frozen=True, slots=True)
class EarlyReview:
    """Whether an app is to be reviewed early, and on what that rests. A review costs nothing."""

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
"""The formula in words, as it is published."""
