"""Vendors, apps, their clients and versions; certifications and installations."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.clients.models import (
    PLATFORM_PEERS,
    BackendUse,
    ClientMetadata,
    ClientType,
    Deployment,
    Environment,
)
from hilum.kernel.ids import AppId, ClientId, Part, TenantId, VendorId, VersionId

__all__ = ["PLATFORM_PEERS", "BackendUse", "ClientMetadata", "ClientType", "Deployment", "Environment"]

REGISTRY = Part("registry")
"""The part of the facts that holds clients and installations; its keys are ``app/<id>`` and ``at/<tenant>/<app>``."""
DYNAMIC_CLIENTS_BOUND = 100
DYNAMIC_CLIENT_LIFE = timedelta(hours=24)
ENDED_BATCH = 200
"""Dynamic clients whose life is over that are ended in one transaction."""
NAME_BOUND = 200
LABEL_BOUND = 100
LISTED_BOUND = 40
"""How many scopes a refusal lists."""
SECRET_PREFIX = "hil_cs_"
SECRET_OVERLAP = timedelta(hours=24)
SECRET_OVERLAP_MAX = timedelta(days=30)
CERTIFICATION_LIFE_MAX = timedelta(days=3 * 366)


class AppState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Vendor:
    id: VendorId
    name: str
    support_contact: str
    security_contact: str
    website: str = ""


@dataclass(frozen=True, slots=True)
class App:
    """A third-party app. ``tenant`` is set for a platform peer (EHR, resource server, dynamic client) that exists at one tenant only."""

    id: AppId
    vendor: VendorId
    name: str
    description: str
    purpose: str
    state: AppState = AppState.ACTIVE
    tenant: TenantId | None = None
    created_at: datetime | None = None
    active_since: datetime | None = None
    """When it was added, or last resumed."""


@dataclass(frozen=True, slots=True)
class AppVersion:
    """A version of an app; what review certifies."""

    id: VersionId
    app: AppId
    label: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClientSecret:
    digest: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Client metadata (RFC 7591 words). ``version`` is the app version whose certification counts for it.

    ``adopted_at``: when it took over that version, ``certified_before`` since when it was certified without a break by then.
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
    origins: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    """What it may ever ask for; anything else asked is dropped at authorize."""
    secrets: tuple[ClientSecret, ...] = ()
    jwks: dict[str, Any] | None = None
    jwks_uri: str = ""
    grant_types: tuple[str, ...] = ("authorization_code",)
    expires_at: datetime | None = None
    """End of a dynamic client's life, or of a backend client's purpose (C17)."""
    backend_use: BackendUse | None = None
    dynamic: bool = False
    created_at: datetime | None = None
    adopted_at: datetime | None = None
    certified_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewVendor:
    name: str
    support_contact: str
    security_contact: str
    website: str = ""


@dataclass(frozen=True, slots=True)
class NewApp:
    vendor: VendorId
    name: str
    description: str
    purpose: str


@dataclass(frozen=True, slots=True)
class NewClient:
    """``client_id`` may be chosen by the platform itself only (a start-up plan); empty otherwise."""

    app: AppId
    version: VersionId
    metadata: ClientMetadata
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class NewPeer:
    """An EHR or a resource server of one tenant."""

    tenant: TenantId
    type: ClientType
    name: str
    client_id: str = ""


@dataclass(frozen=True, slots=True)
class CertifyOrder:
    version: VersionId
    environment: Environment
    scopes: tuple[str, ...]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Certification:
    """What review allowed a version. Missing, expired or withdrawn means no."""

    id: str
    app: AppId
    version: VersionId
    scopes: tuple[str, ...]
    certified_by: str
    certified_at: datetime
    expires_at: datetime
    environment: Environment
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What gateway and authorization server must know of a client, joined with its app, version and certification."""

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
    """None: not certified."""
    origins: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    """What the client registered for."""
    tenant: TenantId | None = None
    """The one tenant of a peer or a dynamic client."""
    since: datetime | None = None
    """Since when it is in good standing without a break; what was issued before belongs to a standing that was taken away."""
