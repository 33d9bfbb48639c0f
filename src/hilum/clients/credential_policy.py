"""When a credential counts as unused. Pure."""

from datetime import datetime

from hilum.clients.models import UNUSED_AFTER


def knows_unused(recorded_since: datetime | None, now: datetime) -> bool:
    """Check whether uses have been recorded for so long that one without a use is known to be unused."""
    return recorded_since is not None and recorded_since <= now - UNUSED_AFTER


def is_unused(made: datetime | None, used: datetime | None, ends: datetime | None, now: datetime) -> bool:
    """Check whether a credential that has not ended was neither made nor used within UNUSED_AFTER. Unknown means no."""
    if made is None or (ends is not None and ends <= now):
        return False
    return max(made, used or made) <= now - UNUSED_AFTER
