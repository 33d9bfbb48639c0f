"""What the standing of an app at a tenant is judged by."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hilum.clients.models import ClientFacts
from hilum.controls.models import SwitchIndex
from hilum.identity.models import Tenant, TenantFacts
from hilum.installations.models import InstallationFacts
from hilum.kernel.decision import Reason
from hilum.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId, VersionId

STANDING_REASONS = (
    Reason.SWITCH_ENGAGED,
    Reason.TENANT_MISMATCH,
    Reason.APP_NOT_CERTIFIED,
    Reason.APP_NOT_INSTALLED,
    Reason.PERSON_INACTIVE,
    Reason.ROLE_NOT_ALLOWED,
)
"""All that the judgement answers, in its order."""


class Acting(Protocol):
    """Who wants to act, and where. Access tokens and grants are this; ``Party`` is, where there is neither yet."""

    @property
    def tenant(self) -> TenantId: ...
    @property
    def client(self) -> ClientId: ...
    @property
    def app(self) -> AppId: ...
    @property
    def version(self) -> VersionId: ...
    @property
    def vendor(self) -> VendorId: ...
    @property
    def person(self) -> PersonId: ...
    @property
    def role(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Party:
    """Who wants to act before a token exists. ``person`` is empty for a client that acts by itself.

    ``role`` is None until somebody has signed in: then no role is judged yet.
    """

    tenant: TenantId
    client: ClientId
    app: AppId
    version: VersionId
    vendor: VendorId
    person: PersonId = PersonId("")
    role: str | None = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything on which it rests whether an app may act at a tenant; None is what was not found.

    ``person_active``: the person of ``acting``, if there is one, is active at the tenant. ``issued_at``: when the token, code or launch
    at hand was issued; None for what begins now. ``launching``: a switch against new launches counts.
    """

    acting: Acting
    tenant: Tenant | TenantFacts | None
    client: ClientFacts | None
    installation: InstallationFacts | None
    switches: SwitchIndex
    person_active: bool = True
    issued_at: datetime | None = None
    launching: bool = False
