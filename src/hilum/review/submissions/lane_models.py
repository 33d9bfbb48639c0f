"""Requests for access that regulation protects."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.foundation.kernel.pages import Sorts

VERIFY, ENABLE = "verify", "enable"
"""The steps of the lane in the policy."""
LANE_SORTS = Sorts({"due": "due_at", "asked": "id"})
LANE_BATCH = 50
"""Requests that one transaction looks at."""


class LaneState(StrEnum):
    ASKED = "asked"
    VERIFIED = "verified"
    """The requester is verified; access is enabled once none of the policy's conditions is lacking."""
    REFUSED = "refused"
    """The requester is not who they claim to be."""
    ENABLED = "enabled"


@dataclass(frozen=True, slots=True)
class LaneRequest:
    """A version's request for protected access. ``due_at``: the deadline of its present step; None once it is over."""

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
    missed: bool = False
