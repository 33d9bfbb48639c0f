"""What a cell says of findings about its apps: days, and how far the platform goes by itself."""

from enum import StrEnum


class Automation(StrEnum):
    """How far the platform goes by itself about an app whose findings are not fixed, from the gentlest to the hardest.

    No word stands for a withdrawal: that is a person's decision.
    """

    NOTIFY = "notify"
    WARN = "warn"
    NO_NEW_LAUNCHES = "no_new_launches"
    SUSPEND = "suspend"

    @property
    def rank(self) -> int:
        """How much it limits, beside the others."""
        return list(Automation).index(self)


AUTOMATION = Automation.NO_NEW_LAUNCHES
"""How far it goes where the rule book says nothing."""
FIX_DAYS = {"fix_days_critical": 7, "fix_days_high": 14, "fix_days_medium": 30, "fix_days_low": 90}
"""Days to fix a finding by its severity, where the rule book says nothing."""
LADDER_DAYS = {"suspend_days": 30, "withdraw_days": 60}
"""Days after the deadline of a finding until its app is to be suspended, and its certification withdrawn, where the rule book says nothing."""
GRACE_DAYS_BOUND = 90
"""No book may let an app go on for longer after its certification has ended."""
