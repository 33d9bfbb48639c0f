"""Requests for access that regulation protects."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.kernel.ids import AppId, VendorId, VersionId
from hilum.kernel.pages import Sorts

VERIFY, ENABLE = "verify", "enable"
"""The steps of the lane in the rule book."""
LANE_SORTS = Sorts({"due": "due_at", "asked": "id"})
LANE_BATCH = 50
"""Requests that one transaction looks at."""


class LaneState(StrEnum):
    ASKED = "asked"
    VERIFIED = "verified"
    """Who asks is who they say; it is enabled once nothing that the rule book names is lacking."""
    REFUSED = "refused"
    """Who asks is not who they say."""
    ENABLED = "enabled"


@dataclass(frozen=True, slots=True)
class LaneRequest:
    """A request for protected access of a version. ``due_at``: until when its present step is to be done; None once it is over."""

    id: str
    app: AppId
    vendor: VendorId
    version: VersionId
    scopes: tuple[str, ...]
    asked_by: str
    asked_at: datetime
    due_at: datetime | None
    state: LaneState = LaneState.ASKED
    decided_by: str = ""
    decided_at: datetime | None = None
    reason: str = ""
    enabled_at: datetime | None = None
    certification: str = ""
    breach: str = ""
