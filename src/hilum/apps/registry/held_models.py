"""Edits that are held until a reviewer decides: of an app's texts, and of a certified client (C12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from hilum.foundation.kernel.ids import AppId, ClientId, VendorId


class EditState(StrEnum):
    PENDING = "pending"
    APPLIED = "applied"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class HeldEdit:
    """An edit that waits for a reviewer, or was decided. ``order`` replaces ``before``, field by field.

    ``client`` and ``revision`` are of an edit of a client: which one, and as it was read.
    """

    id: str
    app: AppId
    vendor: VendorId
    order: Mapping[str, Any]
    before: Mapping[str, Any]
    asked_by: str
    asked_at: datetime
    client: ClientId | None = None
    revision: str = ""
    state: EditState = EditState.PENDING
    decided_by: str = ""
    decided_at: datetime | None = None
    reason: str = ""
