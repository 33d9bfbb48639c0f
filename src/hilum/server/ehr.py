"""What the platform has of the EHR of the sandbox, which is a distribution of its own (``hilum_ehr``): without it, nothing.

Beside the commands and the seed of a sandbox, only what this module loads imports the EHR (ADR 35), and only once it is needed. So a
platform for patients runs where the EHR is not installed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from typing import Protocol

from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.web.urls import Urls
from hilum.gateway.upstream.live import Embedded
from hilum.hospitals.vendor_hospitals.live import no_furnisher
from hilum.hospitals.vendor_hospitals.models import Furnisher
from hilum.review.certification_runs.by_hand import ByHand
from hilum.review.certification_runs.models import Upstream

MISSING = "The EHR of the sandbox is not installed here. Install the distribution hilum-ehr beside hilum."


class FhirServers(Protocol):
    """The FHIR servers of synthetic hospitals in this process."""

    def find(self, tenant: TenantId) -> Embedded | None:
        """Return a tenant's server; None if it cannot answer here and now."""

    def list_superseded(
        self, tenant: TenantId, resource_type: str, text: str, since: datetime
    ) -> list[bytes]:
        """List the versions of a tenant's server that are no longer current and contain ``text``. Raises Unavailable."""

    async def close(self) -> None:
        """Close every server."""


class _NoServers:
    def find(self, *_: object) -> None:
        return None

    def list_superseded(self, *_: object) -> list[bytes]:
        raise Unavailable("upstream_unavailable", MISSING)

    async def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class InjectedFaults:
    """How faults are injected into the FHIR servers of synthetic hospitals. Without such servers nothing is injected."""

    set: Callable[[Upstream], None] = lambda _: None
    clear: Callable[[str], None] = lambda _: None
    by_hand: ByHand = field(default_factory=lambda: ByHand(lambda _: None, lambda *_: None, lambda _: []))


def require_installed() -> None:
    """Check that the EHR can be imported, for what only a sandbox has. Raises NotPermitted."""
    if not is_installed():
        raise NotPermitted("ehr_missing", MISSING)


def is_installed() -> bool:
    """Check whether the EHR can be imported."""
    return find_spec("hilum_ehr") is not None


def fhir_servers(
    settings: Settings, urls: Urls, clock: Clock, ids: Ids, *, alone: Callable[[], bool] = lambda: True
) -> FhirServers:
    """Open the FHIR servers of synthetic hospitals, each on its first use. ``alone``: whether no other node serves."""
    if not is_installed():
        return _NoServers()
    from hilum.server.embedded_servers import EmbeddedServers

    return EmbeddedServers(settings, urls, clock, ids, alone=alone)


def furnisher(settings: Settings) -> Furnisher:
    """Build the furnisher of snapshots in this data directory; in production, one that furnishes nothing."""
    if not settings.is_sandbox or not is_installed():
        return no_furnisher()
    from hilum.server import furnishing

    return furnishing.furnisher(settings)


def injected_faults(settings: Settings, clock: Clock) -> InjectedFaults:
    """Open the policy of injected faults in this data directory."""
    if not settings.is_sandbox or not is_installed():
        return InjectedFaults()
    from hilum.server import fault_injection

    return fault_injection.of(settings, clock)
