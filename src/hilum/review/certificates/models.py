"""Certificates, their status, and status lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.foundation.kernel.pages import Sorts
from hilum.policy.matrix.models import Tier

CERTIFICATE_TYPE = "hilum-certificate+jwt"
LIST_TYPE = "statuslist+jwt"
"""Source: draft-ietf-oauth-status-list-12 section 5.1."""
ALGORITHMS = frozenset({"Ed25519", "EdDSA"})
"""Two names of one algorithm. Source: RFC 9864 sections 2.2 and 4.1."""
BITS = 2
LIST_SIZE = 2**16
"""Certificates of one status list."""
LIST_BOUND = LIST_SIZE * BITS // 8
LIST_LIFE = timedelta(hours=1)
"""When a status list expires, so that an old one cannot be presented for long."""
LIST_REMADE = timedelta(minutes=10)
STEP_EVERY = timedelta(seconds=10)
"""How often the jobs process follows changes. With REFRESH_EVERY and MAX_AGE: everybody sees a change within a minute."""
REFRESH_EVERY = timedelta(seconds=5)
MAX_AGE = timedelta(seconds=30)
KEYS_MAX_AGE = timedelta(minutes=5)
KNOWN_FOR = timedelta(seconds=60)
"""How long after the jobs process last followed changes a status is still known."""
STEP_BOUND = 500
"""How many apps, and certificates of each kind of change, one transaction handles."""
LOOKED_AGAIN = 50
"""How many unchanged apps each step judges again, in turns."""
TEXTS_KEPT = 2_000
"""Certificates that a worker keeps in memory."""
REMIND_BEFORE = tuple(timedelta(days=each) for each in (90, 60, 30, 7))
"""How long before its end the vendor is reminded (C114, C225)."""
HOSPITALS_BEFORE = timedelta(days=30)
"""From this reminder on the hospitals that use the app get notice too."""
REMIND_BATCH = 50
FILE_BOUND = 4 * 1024 * 1024
"""The largest certificate, key set or status list that is read to verify."""


class Status(IntEnum):
    """The status of a certificate, as in a status list. Source: draft-ietf-oauth-status-list-12 section 7.1."""

    VALID = 0
    INVALID = 1
    """For good."""
    SUSPENDED = 2
    """For now."""
    GRACE = 3
    """Expired, but still in use for some days where the app is installed. An application-specific value in the draft."""


class Cause(StrEnum):
    """Why a certificate is not valid."""

    NONE = ""
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    APP_SUSPENDED = "app_suspended"
    STOPPED = "stopped"
    """By a kill switch on the platform, its vendor, the app or the version."""
    NOT_AS_SIGNED = "not_as_signed"
    """The certification is missing or cannot be read, or the certificate's signature does not match."""


SORTS = Sorts({"until": "expires_at", "made": "id"})
"""The orders of certificates."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a certification, with the same id. ``number``: its place over all status lists. ``change``: of the last change of its status.

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
    """When the next mail about its end is due; None without one."""
    grace_until: datetime | None = None
    """Until when hospitals may keep using the app after its end; None before its end, and without or after a grace."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The reviewed evidence: digests of the submission, of its checks' inputs, and of each document. ``policy_version``: by which it was checked."""

    submission: str = ""
    submission_digest: str = ""
    run: int = 0
    run_digest: str = ""
    documents: tuple[tuple[str, str, str], ...] = ()
    """Kind, digest, and the address if everybody may read it, else empty."""
    policy_version: int = 0


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
    """The progress of following changes: the registry's stamp, and the app after which a walk over all apps continues (None: no walk).

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
    """What kill switches in force stop, among the subjects of certificates."""

    everything: bool = False
    vendors: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PublicationChanges:
    """The publication since a change: changed certificates, and all status lists and keys.

    ``at``: as of when. ``whole``: all certificates, because the database is behind the held state.
    """

    change: int
    at: datetime | None
    certificates: tuple[Certificate, ...]
    lists: Mapping[int, str]
    keys: Mapping[str, Any]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of verifying a certificate. ``code`` is empty if it is valid; ``checked``: its status was looked up in a status list."""

    code: str
    detail: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    checked: bool = False
