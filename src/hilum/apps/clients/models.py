"""Clients, the metadata to register one, and the facts that enforcement needs."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.policy.matrix.models import NOT_DECLARED, Autonomy, Population, Tier

# Registration is open to strangers in a plain sandbox: a number and an age bound what they leave behind.
DYNAMIC_CLIENTS_BOUND = 100
DYNAMIC_CLIENT_LIFE = timedelta(hours=24)
ENDED_BATCH = 200
"""How many expired dynamic clients are deleted in one transaction."""
SECRET_PREFIX = "hil_cs_"
# Long enough to install the new secret everywhere; an old
# one that works for ever would make rotation pointless.
SECRET_OVERLAP = timedelta(hours=24)
SECRET_OVERLAP_MAX = timedelta(days=30)
REDIRECT_URIS_BOUND = 20
CLIENTS_BOUND = 100
"""How many clients of an app its vendor's members may add."""
ORIGINS_BOUND = 20
BACKEND_LIFE_MAX = timedelta(days=3 * 366)
UNUSED_AFTER = timedelta(days=90)
"""A secret or key set unused for so long is proposed for removal (C219)."""
USE_NOTED_EVERY = timedelta(hours=6)
"""A use so soon after the last recorded one is not recorded."""
KEYS = "keys"
KIDS_BOUND = 20
"""For how many of a client's keys the use is stored: those used last."""
"""The name of a client's keys, where a secret has its digest."""


class ClientType(StrEnum):
    """What a client is and how it authenticates at the token endpoint."""

    PUBLIC = "public"
    SYMMETRIC = "confidential-symmetric"
    ASYMMETRIC = "confidential-asymmetric"
    BACKEND = "backend"
    EHR = "ehr"
    """A tenant's EHR: opens launches. Symmetric."""
    RESOURCE_SERVER = "resource-server"
    """May introspect any token of its tenant. Symmetric."""


class Deployment(StrEnum):
    BROWSER = "browser"
    NATIVE = "native"
    SERVER = "server"


# They are part of the hospital and no third-party apps: no
# certification, no installation, but two people (ADR 29).
SYSTEM_CLIENTS = frozenset({ClientType.EHR, ClientType.RESOURCE_SERVER})


EDITABLE = ("redirect_uris", "launch_uri", "origins", "scopes", "jwks", "jwks_uri", "grant_types")
"""The fields that decide where codes are sent, who can authenticate as the client, and what it may request."""


HOURS_SLACK = timedelta(minutes=15)
"""How long before and after its hours a service may call: clocks differ, and a run ends a little late."""
A_DAY_BOUND = 1_000_000_000
"""The most calls, writes or patients a day that a backend service may declare."""


@dataclass(frozen=True, slots=True)
class BackendUse:
    """Why a backend service may run: its purpose, population and schedule (C17).

    ``approver``: a text, for a sandbox client or one from before service owners, for which it counts until the client's end.
    ``calls_a_day``, ``writes_a_day``, ``patients_a_day``: the most that it does in a day at one hospital, and whom it reads then; None: it
    declares none (C21). ``hours``: when it calls, in UTC, such as ``mon-fri 22:00-05:00``; None: it declares none (C17).
    """

    purpose: str
    population: str
    schedule: str
    approver: str = ""
    calls_a_day: int | None = None
    writes_a_day: int | None = None
    patients_a_day: int | None = None
    hours: str | None = None

    @property
    def schedule_and_volume(self) -> str:
        """Return when it runs and how much it does then, as an approver is shown it."""
        volumes = (
            (self.calls_a_day, "calls"),
            (self.writes_a_day, "writes"),
            (self.patients_a_day, "patients"),
        )
        named = [f"{most:,} {what}" for most, what in volumes if most is not None]
        at_most = [f"at most {' and '.join(named)} a day at one hospital"] if named else []
        return "; ".join((self.schedule, *([f"only {self.hours} UTC"] if self.hours else []), *at_most))


@dataclass(frozen=True, slots=True)
class Hours:
    """When a service calls, in UTC: from ``begins`` to ``ends`` after the midnight of some days of the week (Monday is 0); ``ends`` may be on the next day."""

    days: frozenset[int]
    begins: timedelta
    ends: timedelta


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """The metadata of a client to register; validated by ``policy.validate_client_metadata``.

    Empty ``grant_types`` default to those of the type; empty ``origins`` of a browser app to those of its redirect and launch URIs.
    """

    name: str
    type: ClientType
    deployment: Deployment
    environment: Environment
    redirect_uris: tuple[str, ...] = ()
    launch_uri: str = ""
    origins: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    grant_types: tuple[str, ...] = ()
    expires_at: datetime | None = None
    backend_use: BackendUse | None = None


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """``created_at`` is None for older clients."""

    digest: str
    expires_at: datetime | None = None
    created_at: datetime | None = None


class CredentialKind(StrEnum):
    SECRET = "secret"
    KEYS = "keys"
    """The keys of a client together, inline or behind its ``jwks_uri``."""
    KEY = "key"
    """One key of them, by its ``kid``."""


@dataclass(frozen=True, slots=True)
class Credential:
    """When a client's secret or keys were last used, and when they end. ``unused``: proposed for removal."""

    kind: CredentialKind
    created_at: datetime | None
    last_used_at: datetime | None
    ends_at: datetime | None
    unused: bool
    kid: str = ""


@dataclass(frozen=True, slots=True)
class UnusedClient:
    """A client with the credentials of it that nobody used for UNUSED_AFTER."""

    client: ClientId
    app: AppId
    vendor: VendorId
    name: str
    credentials: tuple[Credential, ...]


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client, with the names of RFC 7591. ``version`` is the app version whose certification counts for it.

    ``adopted_at``: when it adopted that version. ``certified_before``: since when it had been certified without interruption then.
    """

    id: ClientId
    app: AppId
    version: VersionId
    environment: Environment
    type: ClientType
    deployment: Deployment
    name: str
    redirect_uris: tuple[str, ...] = ()
    launch_uri: str = ""
    # Origins are registered and not derived from each request: CORS answers only these.
    origins: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    """The scopes that it may request; others are dropped at authorize."""
    secrets: tuple[ClientSecret, ...] = ()
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    grant_types: tuple[str, ...] = ("authorization_code",)
    expires_at: datetime | None = None
    """When a dynamic client expires, or a backend client's purpose ends (C17)."""
    backend_use: BackendUse | None = None
    dynamic: bool = False
    created_at: datetime | None = None
    adopted_at: datetime | None = None
    # Kept with the client, because only certifications of its present version are read for its eligibility.
    certified_before: datetime | None = None

    @property
    def revision(self) -> str:
        """A digest of what an edit can change: an edit of another revision is stale."""
        held = [getattr(self, name) for name in EDITABLE]
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Ended:
    """A dynamic client that expired and was deleted with its app, which existed at one hospital."""

    client: ClientId
    app: AppId
    tenant: TenantId


@dataclass(frozen=True, slots=True)
class ClientEdit:
    """An edit of the security-relevant metadata of a client; None leaves a field. ``revision`` is the one that was read.

    ``jwks`` replaces ``jwks_uri``, and the other way round.
    """

    revision: str
    redirect_uris: tuple[str, ...] | None = None
    launch_uri: str | None = None
    origins: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    grant_types: tuple[str, ...] | None = None


TRANSFER_LIFE = timedelta(days=14)
"""How long an offered app can be taken over."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """An app that an owner of its vendor offers to another, until an owner of that one agrees, or either of them does not."""

    app: AppId
    vendor: VendorId
    to: VendorId
    asked_by: str
    asked_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewClient:
    """An order to register a client. ``client_id`` may be chosen only by the platform itself (a start-up plan); otherwise empty."""

    app: AppId
    version: VersionId
    metadata: ClientMetadata
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class NewSystemClient:
    """An order to add an EHR or a resource server of one tenant."""

    tenant: TenantId
    type: ClientType
    name: str
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """What one certification gives a client, and until when. It is judged for itself, so none lends another its scopes, its tier or its end.

    ``tier``: up to which its scopes were certified for clients that authenticate as this one does; None: not certified for them. ``at``:
    when review last certified at least as much. ``graceless``: something of the version was withdrawn since, so that its end has no grace.
    """

    scopes: tuple[str, ...]
    until: datetime | None
    at: datetime | None
    tier: Tier | None
    category: str = ""
    graceless: bool = False


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """The facts about a client that enforcement needs, joined with its app, version and certifications.

    What it is certified for is in ``bases``: the fields ``certified_…`` and ``graceless`` are of the certification that ends last alone.
    """

    id: ClientId
    app: AppId
    version: VersionId
    vendor: VendorId
    type: ClientType
    environment: Environment
    active: bool
    """The app is not suspended."""
    expires_at: datetime | None
    certified_scopes: tuple[str, ...]
    certified_until: datetime | None
    """When the last certification ends by itself; None: not certified. ``policy.certified_until`` is when by the policy in force."""
    origins: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    """The scopes that the client registered."""
    tenant: TenantId | None = None
    """The one tenant of a system client or a dynamic client."""
    # Computed from the rows at each read: nothing has to
    # remember to write it when a certification lapses by itself.
    category: str = field(kw_only=True)
    certified_tier: Tier | None = field(kw_only=True)
    """The tier at which its scopes were certified for clients that authenticate as it does. None: not certified for them."""
    certified_category: str = ""
    """The category that the app had then."""
    workflows: tuple[str, ...] = NOT_DECLARED
    placements: tuple[str, ...] = NOT_DECLARED
    optional_scopes: tuple[str, ...] | None = None
    """Those that its version can do without; None: it does not say (C211)."""
    """What its version declares."""
    autonomy: Autonomy | None = None
    """How far the AI of its version acts by itself; None: it declares that it uses none."""
    population: Population | None = None
    """How many patients its version declares to reach; None: it does not say."""
    certified_at: datetime | None = None
    """When review last certified what it is certified for now."""
    owner_since: datetime | None = None
    """When its vendor took the app over. Earlier agreements of people and hospitals do not count."""
    purpose_since: datetime | None = None
    """When the app's purpose last changed. Earlier agreements were about the former purpose."""
    ask_again_since: datetime | None = None
    """When its terms last changed, or people were last to be asked again for another reason."""
    since: datetime | None = None
    """Since when the app has been active and certified without interruption; anything issued earlier is invalid."""
    gaps: tuple[tuple[timedelta, datetime], ...] = ()
    """The same if gaps within a grace do not count: the longest gap, and since when, newest first."""
    graceless: bool = False
    """A certification of its version was withdrawn since, so the end of its certification has no grace."""
    also: tuple[Basis, ...] = ()
    """What other certifications of its version grant beyond the one that ends last."""
    adopted_at: datetime | None = None
    """When it moved to its version; None if it never had another."""

    @property
    def bases(self) -> tuple[Basis, ...]:
        """Return what each certification grants, the one that ends last first. Decisions judge which are in force."""
        last = Basis(
            self.certified_scopes,
            self.certified_until,
            self.certified_at,
            self.certified_tier,
            self.certified_category,
            self.graceless,
        )
        return (last, *self.also)

    def __hash__(self) -> int:
        # By the id alone: what a policy admits of these facts is cached by them and looked up several times
        # a request, and hashing all 25 fields costs more than the rest of the look-up.
        return hash(self.id)

    @property
    def consented_since(self) -> datetime | None:
        """Since when people's agreements count: earlier ones were about another vendor, purpose or terms."""
        moments = (self.owner_since, self.purpose_since, self.ask_again_since)
        return max(filter(None, moments), default=None)
