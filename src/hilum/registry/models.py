"""Vendors, apps, their clients and versions; certifications and installations."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId, VersionId

REDIRECT_URIS_BOUND = 20
ORIGINS_BOUND = 20
SCOPES_BOUND = 200
SECRETS_BOUND = 2
JWKS_KEYS_BOUND = 20
DYNAMIC_CLIENTS_BOUND = 100
DYNAMIC_CLIENT_LIFE = timedelta(hours=24)
PAGE_BOUND = 200
INSTALLATIONS_BOUND = 1_000_000


class Environment(StrEnum):
    SANDBOX = "sandbox"
    PRODUCTION = "production"


class ClientType(StrEnum):
    """How a client authenticates at the token endpoint; the words of the sandbox card."""

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


@dataclass(frozen=True, slots=True)
class ClientSecret:
    digest: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Client metadata (RFC 7591 words). ``version`` is the app version whose certification counts for it."""

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
class Installation:
    """A tenant's approval of an app: for which roles, with which scopes, until when. This is the tenant's authorization."""

    id: str
    tenant: TenantId
    app: AppId
    scopes: tuple[str, ...]
    roles: frozenset[str]
    approved_by: str
    approved_at: datetime
    expires_at: datetime | None = None
    removed_at: datetime | None = None


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


@dataclass(frozen=True, slots=True)
class InstallationFacts:
    scopes: tuple[str, ...]
    roles: frozenset[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class RegistryFacts:
    clients: dict[ClientId, ClientFacts] = field(default_factory=dict)
    installations: dict[tuple[TenantId, AppId], InstallationFacts] = field(default_factory=dict)
    origins: dict[TenantId, frozenset[str]] = field(default_factory=dict)
    """Per tenant, the union of origins of clients installed there (CORS preflight)."""


PLATFORM_PEERS = frozenset({ClientType.EHR, ClientType.RESOURCE_SERVER})
NOBODY = PersonId("")
