"""What a client may be, and what somebody who asks to register one says of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.registry.models import Environment

DYNAMIC_CLIENTS_BOUND = 100
DYNAMIC_CLIENT_LIFE = timedelta(hours=24)
ENDED_BATCH = 200
"""Dynamic clients whose life is over that are ended in one transaction."""
SECRET_PREFIX = "hil_cs_"
SECRET_OVERLAP = timedelta(hours=24)
SECRET_OVERLAP_MAX = timedelta(days=30)
REDIRECT_URIS_BOUND = 20
ORIGINS_BOUND = 20
BACKEND_LIFE_MAX = timedelta(days=3 * 366)


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


PLATFORM_PEERS = frozenset({ClientType.EHR, ClientType.RESOURCE_SERVER})


@dataclass(frozen=True, slots=True)
class BackendUse:
    """Why a backend service may run: for what, over whom, when, and who of the tenant answers for it (C17)."""

    purpose: str
    population: str
    schedule: str
    approver: str


@dataclass(frozen=True, slots=True)
class ClientMetadata:
    """What somebody asks to register, by whichever door; judged by ``policy.validate_client_metadata``.

    ``grant_types`` empty: those of the type. ``origins`` empty: for a browser app, those of its redirect and launch URIs.
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
