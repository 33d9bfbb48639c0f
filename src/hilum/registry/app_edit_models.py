"""Edits of what a vendor says of an app: its name, description and purpose."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.kernel.ids import AppId, VendorId

TEXTS = ("name", "description", "purpose")
"""What an edit can change."""
HELD = frozenset({"name", "purpose"})
"""What people, hospitals and review agreed to: of an app that is certified for production it waits for a reviewer."""
SIDE_BOUND = 120
"""How many letters of each side the refusal of a stale edit shows."""


class AppEditState(StrEnum):
    PENDING = "pending"
    APPLIED = "applied"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AppEditOrder:
    """An edit of an app; None leaves a text. ``revision`` is the one that was read."""

    revision: str
    name: str | None = None
    description: str | None = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class AppEdit:
    """An edit that waits for a reviewer, or was decided. ``order`` replaces ``before``, field by field."""

    id: str
    app: AppId
    vendor: VendorId
    order: Mapping[str, str]
    before: Mapping[str, str]
    asked_by: str
    asked_at: datetime
    state: AppEditState = AppEditState.PENDING
    decided_by: str = ""
    decided_at: datetime | None = None
    reason: str = ""
