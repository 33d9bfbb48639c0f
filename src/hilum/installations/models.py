"""Installations: a tenant's approval of an app; and the facts that join them with clients."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hilum.clients.models import ClientFacts
from hilum.kernel.ids import AppId, ClientId, TenantId
from hilum.registry.models import Environment


@dataclass(frozen=True, slots=True)
class InstallOrder:
    """``scopes`` None: all that is certified."""

    tenant: TenantId
    app: AppId
    roles: frozenset[str]
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NarrowOrder:
    """What to take away from an installation; None leaves it."""

    scopes: tuple[str, ...] | None = None
    roles: frozenset[str] | None = None
    expires_at: datetime | None = None


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
    removed_by: str = ""
    environment: Environment = Environment.PRODUCTION
    """Of the tenant; a sandbox client works at sandbox tenants only (C4)."""


@dataclass(frozen=True, slots=True)
class InstallationFacts:
    """``since``: what was issued before it belongs to an installation that was removed."""

    scopes: tuple[str, ...]
    roles: frozenset[str]
    expires_at: datetime | None
    since: datetime | None = None
    environment: Environment = Environment.PRODUCTION


Page = Mapping[AppId, InstallationFacts]
"""What is installed at one tenant."""


class Installations(Mapping[tuple[TenantId, AppId], InstallationFacts]):
    """Installations by tenant and app, kept a page a tenant: a change copies one page, and a tenant's requests stay on theirs."""

    __slots__ = ("pages",)

    def __init__(self, pages: Mapping[TenantId, Page]) -> None:
        self.pages = pages

    def get(self, key: tuple[TenantId, AppId], default: Any = None, /) -> Any:
        """Find the installation of (tenant, app)."""
        page = self.pages.get(key[0])
        return default if page is None else page.get(key[1], default)

    def __getitem__(self, key: tuple[TenantId, AppId]) -> InstallationFacts:
        return self.pages[key[0]][key[1]]

    def __iter__(self) -> Iterator[tuple[TenantId, AppId]]:
        return ((tenant, app) for tenant, page in self.pages.items() for app in page)

    def __len__(self) -> int:
        return sum(map(len, self.pages.values()))


@dataclass(frozen=True, slots=True)
class RegistryFacts:
    """What enforcement must know of clients and installations."""

    clients: Mapping[ClientId, ClientFacts] = field(default_factory=dict)
    installations: Mapping[tuple[TenantId, AppId], InstallationFacts] = field(default_factory=dict)
    """However given, kept as ``Installations``. One whose day has come stays until it is removed: each decision looks at the day."""
    origins: Mapping[TenantId, frozenset[str]] = field(default_factory=dict)
    """Per tenant, the union of origins of clients installed there (CORS preflight)."""
    apps: Mapping[AppId, tuple[ClientFacts, ...]] = field(default_factory=dict)
    """The clients of each app, by id."""

    def __post_init__(self) -> None:
        if isinstance(self.installations, Installations):
            return
        pages: dict[TenantId, dict[AppId, InstallationFacts]] = {}
        for (tenant, app), facts in self.installations.items():
            pages.setdefault(tenant, {})[app] = facts
        object.__setattr__(self, "installations", Installations(pages))

    @property
    def pages(self) -> Mapping[TenantId, Page]:
        """What is installed, tenant by tenant."""
        assert isinstance(self.installations, Installations), "made so above"
        return self.installations.pages
