"""Certificates, their status, and status lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from hilum.kernel.ids import AppId, VendorId, VersionId
from hilum.kernel.pages import Sorts
from hilum.policies.models import Tier
from hilum.registry.models import Environment

CERTIFICATE_TYPE = "hilum-certificate+jwt"
LIST_TYPE = "statuslist+jwt"
"""Source: draft-ietf-oauth-status-list-12 section 5.1."""
ALGORITHM = "EdDSA"
BITS = 2
LIST_SIZE = 2**16
"""Certificates of one status list."""
LIST_BOUND = LIST_SIZE * BITS // 8
LIST_LIFE = timedelta(hours=1)
"""After this time a status list says nothing any more, so that an old one cannot be shown in place of a newer one for long."""
LIST_REMADE = timedelta(minutes=10)
STEP_EVERY = timedelta(seconds=10)
"""How often the jobs process follows changes. With REFRESH_EVERY and MAX_AGE: everybody sees a change within a minute."""
REFRESH_EVERY = timedelta(seconds=5)
MAX_AGE = timedelta(seconds=30)
KEYS_MAX_AGE = timedelta(minutes=5)
KNOWN_FOR = timedelta(seconds=60)
"""How long after the last time that the jobs process followed changes a status counts as known."""
STEP_BOUND = 500
"""Apps, and certificates of each kind of change, that one transaction takes."""
LOOKED_AGAIN = 50
"""Apps of which each step judges the status again although nothing changed, in turns."""
TEXTS_KEPT = 2_000
"""Certificates that a worker keeps in memory."""
REMIND_BEFORE = tuple(timedelta(days=each) for each in (90, 60, 30, 7))
"""How long before its end the vendor is reminded (C114, C225)."""
HOSPITALS_BEFORE = timedelta(days=30)
"""From the reminder of this time on the hospitals that use the app get notice too."""
REMIND_BATCH = 50
FILE_BOUND = 4 * 1024 * 1024
"""The largest certificate, key set or status list that is read to verify."""


class Status(IntEnum):
    """Of a certificate, as it stands in a status list. Source: draft-ietf-oauth-status-list-12 section 7.1."""

    VALID = 0
    INVALID = 1
    """For good."""
    SUSPENDED = 2
    """For now."""
    GRACE = 3
    """Expired, and in use where the app is installed for some days more. Of the application's own kind in the draft."""


class Cause(StrEnum):
    """Why a certificate is not valid."""

    NONE = ""
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    APP_SUSPENDED = "app_suspended"
    STOPPED = "stopped"
    """By a kill switch on the platform, its vendor, the app or the version."""
    NOT_AS_SIGNED = "not_as_signed"
    """The certification is not in the registry as it was signed, or not at all any more."""


SORTS = Sorts({"until": "expires_at", "made": "id"})
"""The orders of certificates."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a certification, whose id it has. ``number``: its place over all status lists. ``change``: of the last change of its status.

    ``text``: the signed document; empty where it was not read.
    """

    id: str
    number: int
    app: AppId
    vendor: VendorId
    version: VersionId
    environment: Environment
    app_name: str
    vendor_name: str
    label: str
    tier: Tier | None
    issued_at: datetime
    expires_at: datetime
    status: Status
    cause: Cause
    changed_at: datetime
    change: int
    remind_at: datetime | None = None
    """When the next mail about its end is due; None if none is."""
    grace_until: datetime | None = None
    """Until when hospitals that have the app go on with it after its end; None before its end, and where there is no grace, or none any more."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was reviewed: digests of the submission and of the inputs of its checks, and each document's. ``rule_book``: by which it was checked."""

    submission: str = ""
    submission_digest: str = ""
    run: int = 0
    run_digest: str = ""
    documents: tuple[tuple[str, str, str], ...] = ()
    """Kind, digest, and the address of those that everybody may read, else empty."""
    rule_book: int = 0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where certificates are published. ``status``: the address of a status list, without its number."""

    issuer: str
    status: str


@dataclass(frozen=True, slots=True)
class StatusList:
    number: int
    text: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Walk:
    """How far changes were followed: stamp of the registry, and the app after which a walk over all of them goes on (None: none does).

    ``looked``: the last app that was judged again in turn. ``last``: the last number used. ``change`` counts the steps that changed a status.
    ``at``: when changes were last followed to their end.
    """

    n: int = 0
    mark: int = 0
    after: str | None = None
    looked: str = ""
    last: int = -1
    change: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stops:
    """What kill switches in force stop, of what certificates name."""

    everything: bool = False
    vendors: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class News:
    """What was published since a change: the certificates that changed, all status lists and keys. ``at``: as of when.

    ``whole``: these are all certificates, since the database counts from an earlier change than was held.
    """

    change: int
    at: datetime | None
    certificates: tuple[Certificate, ...]
    lists: Mapping[int, str]
    keys: Mapping[str, Any]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a certificate came to. ``code`` is empty if it is valid; ``checked``: its status was looked up in a status list."""

    code: str
    detail: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    checked: bool = False
