"""Installations, orders to change them, and the facts of clients and installations."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.apps.clients.models import ClientFacts
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppAtTenant, AppId, ClientId, FacilityId, TenantId
from hilum.foundation.kernel.pages import Sorts

APPS_ASKED = 200
"""Apps of one hospital whose workflows its discovery documents list; RFC 8414 section 2 lets a server leave scopes out."""
SORTS = Sorts({"until": "expires_at", "approved": "approved_at"})
COMPARED_BOUND = 500
"""Scopes that one comparison lists."""
NETWORKS_BOUND = 20
"""The most networks that an installation is pinned to."""
DISTINCT_BOUND = 2_000
"""Distinct sets of installed scopes that one comparison reads, those of most hospitals first."""
UNUSED_AFTER = timedelta(days=90)
"""How long a scope must have been certified and granted, and have permitted nothing, to be certified again only with a defence (C66)."""


@dataclass(frozen=True, slots=True)
class InstallOrder:
    """An order to install an app. ``scopes`` None: all certified ones. ``facilities`` None: all, also those added later.

    ``denied``: facilities where it may not be opened, whatever else lists them.
    """

    tenant: TenantId
    app: AppId
    roles: frozenset[str]
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    facilities: frozenset[FacilityId] | None = None
    denied: frozenset[FacilityId] = frozenset()
    default_workflow: str = ""
    """The workflow of each launch that names none; empty: such a launch is limited by none."""
    networks: tuple[str, ...] = ()
    """The networks that its backend clients come from; empty: any (C213)."""
    anyway: bool = False
    """Also without what the app says that it needs."""


@dataclass(frozen=True, slots=True)
class NarrowOrder:
    """An order to narrow an installation. None leaves a value unchanged. ``denied``: facilities to deny beside those denied already."""

    scopes: tuple[str, ...] | None = None
    roles: frozenset[str] | None = None
    expires_at: datetime | None = None
    facilities: frozenset[FacilityId] | None = None
    denied: frozenset[FacilityId] = frozenset()
    default_workflow: str | None = None
    anyway: bool = False
    """Also if the app says that it does not work without what is taken away."""
    revision: str = ""
    """The ``Installation.revision`` that it is about; empty: whatever the installation is by now."""


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """What was asked and given when an installation was approved, and widened since; later narrowings do not change that (C97).

    ``asked``: the scopes that were certified then, which is what the app asks of a hospital. ``facilities`` None: all of them. ``without``:
    what the app says that it needs, and the hospital knowingly left out or took away since.
    """

    asked: tuple[str, ...]
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    facilities: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()
    expires_at: datetime | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A scope that an app could have at a hospital and does not get. ``needed``: its version says that it does not work without; else it does not say.

    ``reason``: what the vendor wrote that it is for; ``work``: titles of the declared workflows that need it. Both may be empty.
    """

    scope: str
    needed: bool
    reason: str = ""
    work: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What an app says that it can do without at a hospital (None: it does not say), and why its vendor asks for each scope that was submitted."""

    optional: tuple[str, ...] | None
    reasons: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WidenOrder:
    """An order to add scopes and roles to an installation."""

    scopes: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Installation:
    """A tenant's approval of an app: its roles, scopes and end. This is the tenant's authorization."""

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
    """The environment of the tenant; a sandbox client works only at sandbox tenants (C4)."""
    facilities: frozenset[FacilityId] | None = None
    denied: frozenset[FacilityId] = frozenset()
    record: ApprovalRecord | None = None
    """None for older installations."""
    validated_at: datetime | None = None
    validated_by: str = ""
    default_workflow: str = ""
    networks: tuple[str, ...] = ()

    @property
    def revision(self) -> str:
        """Return a digest of what a narrowing can change: an order of another revision is stale."""
        places = [sorted(each or ()) for each in (self.facilities, self.denied)]
        held = [
            sorted(self.scopes),
            sorted(self.roles),
            str(self.expires_at),
            self.facilities is None,
            places,
        ]
        return hashlib.sha256(repr([*held, self.default_workflow]).encode()).hexdigest()[:24]

    @property
    def without(self) -> tuple[str, ...]:
        """What the app says that it needs, and the hospital knowingly left out."""
        return () if self.record is None else self.record.without


@dataclass(frozen=True, slots=True)
class InstallationFacts:
    """The facts of an installation. ``since``: anything issued before belongs to an earlier installation and is no longer valid.

    ``networks``: where its backend clients come from; empty for anywhere. ``facilities``: those where it may be opened; None for all. A facility that is ``denied`` is not one of them in any case.
    """

    scopes: tuple[str, ...]
    roles: frozenset[str]
    expires_at: datetime | None
    since: datetime | None = None
    environment: Environment = Environment.PRODUCTION
    facilities: frozenset[FacilityId] | None = None
    denied: frozenset[FacilityId] = frozenset()
    default_workflow: str = ""
    networks: tuple[str, ...] = ()


Page = Mapping[AppId, InstallationFacts]
"""The installations at one tenant."""


# A flat map of a million keys would be copied in part at each change; a page is one hospital's.
class Installations(Mapping[AppAtTenant, InstallationFacts]):
    """Installations by tenant and app, stored as one page per tenant, so that a change copies only one page."""

    __slots__ = ("pages",)

    def __init__(self, pages: Mapping[TenantId, Page]) -> None:
        self.pages = pages

    def get(self, key: AppAtTenant, default: Any = None, /) -> Any:
        """Find the installation of (tenant, app)."""
        # Overridden: Mapping.get would raise and catch KeyError, on every request of an app that is not installed.
        page = self.pages.get(key[0])
        return default if page is None else page.get(key[1], default)

    def __getitem__(self, key: AppAtTenant) -> InstallationFacts:
        return self.pages[key[0]][key[1]]

    def __iter__(self) -> Iterator[AppAtTenant]:
        return ((tenant, app) for tenant, page in self.pages.items() for app in page)

    def __len__(self) -> int:
        return sum(map(len, self.pages.values()))


@dataclass(frozen=True, slots=True)
class RegistryFacts:
    """The facts about clients and installations that enforcement needs."""

    clients: Mapping[ClientId, ClientFacts] = field(default_factory=dict)
    installations: Mapping[AppAtTenant, InstallationFacts] = field(default_factory=dict)
    """Converted to ``Installations``. An expired one stays until it is removed, since each decision checks the end itself."""
    origins: Mapping[TenantId, frozenset[str]] = field(default_factory=dict)
    """Per tenant, the union of origins of clients installed there (CORS preflight)."""
    apps: Mapping[AppId, tuple[ClientFacts, ...]] = field(default_factory=dict)
    """The clients of each app, by id."""

    def __post_init__(self) -> None:
        # Tests and small callers pass a plain dict.
        if isinstance(self.installations, Installations):
            return
        pages: dict[TenantId, dict[AppId, InstallationFacts]] = {}
        for (tenant, app), facts in self.installations.items():
            pages.setdefault(tenant, {})[app] = facts
        object.__setattr__(self, "installations", Installations(pages))

    @property
    def pages(self) -> Mapping[TenantId, Page]:
        """Return the installations at each tenant."""
        assert isinstance(self.installations, Installations), "__post_init__ converts them"
        return self.installations.pages


class Proposal(StrEnum):
    """What a comparison of scopes proposes for an installation."""

    NONE = "none"
    """The app is not installed there, or all hospitals are compared together."""
    TOO_EARLY = "too_early"
    """It was installed within the time compared."""
    KEEP = "keep"
    NARROW = "narrow"
    UNINSTALL = "uninstall"
    """None of its scopes of records was used."""


@dataclass(frozen=True, slots=True)
class ScopeUse:
    """A scope of an app: registered by a client, certified, installed at ``granted`` hospitals, and how often it permitted a request.

    ``kept`` is the part that was used, ``unused`` the rest; in a wildcard's rest, the wildcard stands for all that ``kept`` does not name.
    """

    scope: str
    asked: bool
    approved: bool
    granted: int
    used: int = 0
    last: datetime | None = None
    kept: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScopeComparison:
    """The scopes of an app compared over some days. ``installation`` and ``narrow_to`` are of the one hospital compared.

    ``whole``: nothing was left out at a bound.
    """

    app: AppId
    tenant: str
    days: int
    since: datetime
    rows: tuple[ScopeUse, ...]
    whole: bool
    installation: str = ""
    installed_at: datetime | None = None
    proposal: Proposal = Proposal.NONE
    narrow_to: tuple[str, ...] = ()
