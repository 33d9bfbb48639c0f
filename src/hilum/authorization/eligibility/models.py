"""The inputs of the decision whether an app is eligible at a tenant."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations.models import InstallationFacts
from hilum.controls.switches.models import SwitchIndex
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId, VersionId
from hilum.identity.people.models import Tenant, TenantFacts
from hilum.policy.matrix.models import Book

# The order is the order of `Reason`: a suspension, which the release of a switch does not end; what concerns everybody; what concerns one person.
ELIGIBILITY_REASONS = (
    Reason.APP_SUSPENDED,
    Reason.SWITCH_ENGAGED,
    Reason.TENANT_MISMATCH,
    Reason.APP_NOT_CERTIFIED,
    Reason.APP_NOT_INSTALLED,
    Reason.AGREEMENT_MISSING,
    Reason.APPROVER_MISSING,
    Reason.NETWORK_NOT_ALLOWED,
    Reason.FACILITY_NOT_ALLOWED,
    Reason.PERSON_INACTIVE,
    Reason.ROLE_NOT_ALLOWED,
    Reason.WORKFLOW_NOT_APPROVED,
)
"""All reasons that the decision may return, in its order."""


# A protocol, because access tokens, grants and parties have these fields already and a decision for each
# request should copy nothing.
class Acting(Protocol):
    """The client and person that want to act, and where: an access token, a grant, or before either exists a ``Party``."""

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
    @property
    def workflow(self) -> str: ...
    @property
    def facility(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Party:
    """The client and person that want to act before a token exists. ``person`` is empty for a client without one.

    ``role`` is None until a person has signed in, and then the role is not checked. ``workflow``: what it is for; empty if unknown.
    ``facility``: where it was opened, by id; empty if the launch names none that is known, None while that is not known yet and not checked.
    """

    tenant: TenantId
    client: ClientId
    app: AppId
    version: VersionId
    vendor: VendorId
    person: PersonId = PersonId("")
    role: str | None = ""
    workflow: str = ""
    facility: str | None = ""


class Stopped(StrEnum):
    """The part of an app's request that a switch stops."""

    EVERYTHING = "everything"
    WRITES = "writes"
    SCOPES = "scopes"
    """Every scope that would permit the request."""


# Not frozen, since one is built for each request and a frozen dataclass costs five times as much to build.
@dataclass(slots=True)
class EligibilityInputs:
    """Everything that decides whether an app may act at a tenant; None means that a fact was not found. ``book``: the policy there.

    ``person_active``: the person of ``acting``, if there is one, is active at the tenant. ``facility_open``: its facility is in use there. ``issued_at``: when the token, code or launch
    was issued; None if it is being issued now. ``launching``: switches against new launches apply.
    ``for_records``: the app asks for records, which a tenant's own EHR or resource server has no access to; of ``resource_type``, by those
    of ``scopes`` that permit ``letter``. Switches on these and on writing count too.
    """

    acting: Acting
    tenant: Tenant | TenantFacts | None
    client: ClientFacts | None
    installation: InstallationFacts | None
    switches: SwitchIndex
    book: Book
    person_active: bool = True
    facility_open: bool = True
    # Judged against the end of stops and interruptions: what was issued before one stays invalid (ADR 6).
    issued_at: datetime | None = None
    launching: bool = False
    begins: bool = False
    """A launch or a backend service's token begins, which needs agreements. What began earlier continues without them."""
    agreements: frozenset[str] = frozenset()
    """The kinds of agreements in force between the vendor and the hospital; read only if something begins."""
    answered_until: datetime | None = None
    """Until when a person of the hospital answers for a backend service; read only if something begins."""
    for_records: bool = False
    resource_type: str = ""
    letter: int = 0
    scopes: tuple[str, ...] = ()
    source: str | None = None
    """The address that a request came from; None where nobody comes with it, as when a resource server asks about a token."""
