"""Values of the windows around a stop: what was decided then, as the journals hold it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """What was decided about a target around a stop: on requests that arrived from ``moment`` until ``until``, or were in progress at ``moment``.

    The filters are equalities, all of which must match; empty ones match everything.
    """

    since: datetime
    """When the stop began: requests whose answers were prepared later are looked at one by one."""
    moment: datetime
    until: datetime
    tenant: str = ""
    app: str = ""
    person: str = ""
    vendor: str = ""
    apps: tuple[str, ...] = ()
    """With ``vendor``, which no record is indexed by: every app that was the vendor's at some time of the window."""
    writes_only: bool = False
    """Of the permitted requests, only writes."""


class WindowFault(StrEnum):
    """Why a window was not read whole."""

    JOURNAL_MISSING = "journal_missing"
    """A journal ends before a record that was indexed, or is not there."""
    INDEX_BEHIND = "index_behind"
    """The index has not reached the ends of the journals."""
    TOO_MANY_RECORDS = "too_many_records"
    """There are more records than one report reads."""


@dataclass(frozen=True, slots=True)
class PermittedRequest:
    """A request that was permitted. ``ended``: when its answer was prepared. ``kept_back``: why its answer was not delivered; empty if it was."""

    request_id: str
    tenant: str
    app: str
    interaction: str
    at: datetime
    ended: datetime
    kept_back: str = ""


@dataclass(frozen=True, slots=True)
class TenantWindow:
    """One tenant's share of a window. ``last``: the last request that arrived before its ``moment`` and was permitted, within WINDOW_BEFORE."""

    tenant: str
    refused: int
    last: PermittedRequest | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """What the journals hold about a window. ``journals``: the last record of each when it was read.

    ``launches``, ``authorizations`` and ``people``: how many different ones were refused.
    """

    permitted: tuple[PermittedRequest, ...] = ()
    """Those whose answers were prepared after ``since``, oldest first."""
    tenants: tuple[TenantWindow, ...] = ()
    journals: dict[str, int] = field(default_factory=dict)
    launches: int = 0
    authorizations: int = 0
    people: int = 0
    faults: tuple[WindowFault, ...] = ()
