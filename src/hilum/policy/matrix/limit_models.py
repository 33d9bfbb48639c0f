"""What an entry says of lifetimes, of findings about its apps, and of their service."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from hilum.policy.matrix.fields import Duration, NoLimit, at_longest

ACCESS_TOKEN_BOUND = timedelta(hours=1)
"""No policy may let a person's access token live longer: revocations are kept in memory for that long (C47)."""
BACKEND_TOKEN_BOUND = timedelta(minutes=5)
LIFE_BOUND = timedelta(days=3 * 366)
DORMANT_DAYS = 180  # of an entry that states none


class Expiry(StrEnum):
    """When agreements with an app end, the shortest first (C89)."""

    ONE_TIME = "one_time"
    """Ends with the life of an access token; each launch asks again."""
    STUDY = "study"
    """As ``fixed``, and at the end of the study, which is the required end date of the hospital's installation."""
    FIXED = "fixed"
    """Ends ``authorization`` after its person agreed, however often the app is opened."""
    ROLLING = "rolling"
    """Ends ``authorization`` after the app was last opened."""

    @property
    def rank(self) -> int:
        """Return its place in the order."""
        return _RANKS[self.value]


_RANKS = {"one_time": 0, "study": 1, "fixed": 2, "rolling": 3}


Life = Annotated[Duration, at_longest(LIFE_BOUND)]


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Lifetimes of what is issued. ``refresh_token`` restarts with each refresh; ``session_refresh_token`` is that of ``online_access``.

    ``idle``: how long an agreement and what was issued under it last without a token; None: as long as its other limits. ``absolute``: how
    long tokens are refreshed after one authorization; None: as long as the agreement.
    """

    access_token: Annotated[Duration, at_longest(ACCESS_TOKEN_BOUND)]
    backend_token: Annotated[Duration, at_longest(BACKEND_TOKEN_BOUND)]
    refresh_token: Life
    session_refresh_token: Life
    authorization: Life
    idle: Annotated[Life | None, NoLimit] = None
    absolute: Annotated[Life | None, NoLimit] = None
    expiry: Expiry = Expiry.ROLLING


def within(one: timedelta | None, other: timedelta | None) -> timedelta | None:
    """Return the shorter of two limits; None means no limit."""
    return min((each for each in (one, other) if each is not None), default=None)


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
"""How far it goes where the policy says nothing."""
FIX_DAYS = {"fix_days_critical": 7, "fix_days_high": 14, "fix_days_medium": 30, "fix_days_low": 90}
"""Days to fix a finding by its severity, where the policy says nothing."""
ESCALATION_DAYS = {"suspend_days": 30, "withdraw_days": 60}
"""Days after the deadline of a finding until its app is to be suspended, and its certification withdrawn, where the policy says nothing."""
GRACE_DAYS_BOUND = 90
"""No policy may let an app go on for longer after its certification has ended."""


LATENCY_BOUND_MS = 60_000
"""The largest latency limit. Longer latencies are not distinguished, so this one limits nothing."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """The limits of an entry for an app's service; by default none (C228).

    With fewer than ``least_calls`` an app is not judged. ``grace_days``: days to fix a criterion that it does not meet.
    """

    unavailable_percent: int = 100
    errors_percent: int = 100
    latency_ms_p95: int = LATENCY_BOUND_MS
    least_calls: int = 1_000
    grace_days: int = 60


NO_CRITERIA = Criteria()
SERVICE: Mapping[str, int] = MappingProxyType(
    {f"service_{name}": value for name, value in asdict(NO_CRITERIA).items()}
)
"""The fields of an entry that hold these limits, with what each is where an entry does not state it."""
