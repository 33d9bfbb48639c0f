"""What a client may be, and what somebody who asks to register one says of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

REDIRECT_URIS_BOUND = 20
ORIGINS_BOUND = 20
SCOPES_BOUND = 200
TEXT_BOUND = 2_000
BACKEND_LIFE_MAX = timedelta(days=3 * 366)


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
