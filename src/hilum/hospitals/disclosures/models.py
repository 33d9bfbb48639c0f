"""One access of an app to a record, as its patient sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.authorization.consent.models import Authorization

PAGE_SIZE = 50
EXPORT_BOUND = 5_000
"""Accesses in one download; the newest of the range."""
TRIES = 8
"""Pages of the index that one page of a history reads, if what they hold is not an app's."""
APPS_BOUND = 200
"""Apps that the filter of the page lists."""
EXPORT_FIELDS = (
    "at", "app", "vendor", "kind", "resource_type", "count", "records", "among_others", "outcome", "reason", "ground", "why", "used_by", "workflow", "scope", "request_id",
)  # fmt: skip


class Kind(StrEnum):
    READ = "read"
    SEARCH = "search"
    WRITE = "write"
    OTHER = "other"
    """Nothing that the platform supports; always refused."""


class PermittedBy(StrEnum):
    """Who permitted an access."""

    OWN = "own"
    """The reader of the history agreed."""
    FAMILY = "family"
    """The patient, or another person who acts for them, agreed."""
    HOSPITAL = "hospital"
    """The hospital approved the app, and one of its staff opened it."""
    SERVICE = "service"
    """The hospital approved the app, which acts without a person."""
    UNKNOWN = "unknown"
    """The agreement of the time is no longer on record."""
    NONE = "none"
    """Nothing: it was refused."""


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Whose record, and which accesses: of one app, from ``since`` on, before ``before``; ``after`` is ``next`` of the previous page."""

    patient: str
    app: str = ""
    since: datetime | None = None
    before: datetime | None = None
    after: str = ""
    limit: int = PAGE_SIZE


@dataclass(frozen=True, slots=True)
class AppNames:
    app: str
    vendor: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One access, also as the API answers it. ``count``: how many equal requests it represents; ``removed``: records that were kept back from the answer.

    ``records``: how many of this record's entries the answer of a search had; ``among_others``: beside those of other patients.

    ``why`` says in a sentence who permitted it, or why it was refused; ``used_by`` who used the app, by role.
    """

    at: datetime
    request_id: str
    app_id: str
    app: str
    vendor: str
    kind: Kind
    resource_type: str
    count: int
    outcome: str
    reason: str
    ground: PermittedBy
    why: str
    used_by: str
    workflow: str
    scope: str
    removed: int
    records: int
    among_others: bool
    authorization: str


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Newest first. ``next`` is empty on the last page."""

    entries: tuple[Entry, ...]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """What the ids of some accesses stand for; whoever is gone is absent."""

    apps: Mapping[str, AppNames]
    agreements: Mapping[str, Authorization]
