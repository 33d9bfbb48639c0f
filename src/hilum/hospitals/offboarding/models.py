"""Offboardings of hospitals, and the retentions of their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.foundation.kernel.ids import TenantId

ERASE_AFTER_MIN, ERASE_AFTER_DEFAULT, ERASE_AFTER_MAX = 7, 30, 365
"""Days between a hospital's offboarding and the erasure of its data."""
REASON_BOUND = 500
PREVIEW_BOUND = 100_000
"""The highest count in a preview."""
NEWEST = 200_000
"""In a table without an index by hospital a preview counts among so many newest rows, since somebody waits for it."""
APPS_AT_ONCE = 20
"""Installations that are ended in one transaction."""
ROWS_AT_ONCE = 200
"""Rows that are erased in one transaction."""
WALKED_AT_ONCE = 5_000
"""Rows of all hospitals scanned in one transaction: a kill switch must not wait for a whole table."""
OFFBOARDINGS_EVERY = timedelta(seconds=10)
SHOWN_ROWS = 1_000
"""Rows that the export reads at once."""


class State(StrEnum):
    LEFT = "left"
    """No entry point accepts the hospital; its data still exists, for the export."""
    ERASING = "erasing"
    ERASED = "erased"


class Waits(StrEnum):
    """What an erasure waits for."""

    DATE = "date"
    EXPORT = "export"
    HOLD = "hold"
    NOTHING = "nothing"


class ErasureAction(StrEnum):
    ERASE = "erase"
    BLANK = "blank"
    """The row stays without data about a person or the hospital, since others refer to its id."""
    KEEP = "keep"


class By(StrEnum):
    """How the rows of a hospital are found in a table."""

    TENANT = "tenant"
    ID = "id"
    PERSON = "person"
    """By the people of the hospital."""
    AUTHORIZATION = "authorization"
    """By the agreements of its people."""
    APP = "app"
    """By the apps that are the hospital's own: its EHR, its resource servers."""
    CLIENT = "client"
    """By the clients of those."""
    RING = "ring"
    """By the ring of its signing keys."""
    OWNER = "owner"
    """By the owner of a picture."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What happens to a hospital's rows in one table.

    ``why``: what the rows are, or why they stay. ``hidden``: secret columns, in no export. ``blank``: the values that columns are set
    to; ``=`` with a column's name copies that column.
    """

    table: str
    by: By
    deed: ErasureAction
    why: str
    exported: bool = False
    hidden: tuple[str, ...] = ()
    blank: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offboarding:
    """A hospital that left. ``preview``: what it had when that was asked for. ``progress``: how far the erasure is, and what it counted.

    ``manifest``: the digest of the newest export's manifest; empty without one.
    """

    id: str
    tenant: TenantId
    name: str
    reason: str
    asked_by: str
    agreed_by: str
    left_at: datetime
    erase_at: datetime
    switch: str
    preview: Mapping[str, Any]
    state: State = State.LEFT
    apps_ended_at: datetime | None = None
    manifest: str = ""
    exported_at: datetime | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    erased_at: datetime | None = None
