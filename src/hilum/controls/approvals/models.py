"""Approvals: acts that wait for a second person, and their limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hilum.foundation.kernel.ids import PersonId, TenantId

APPROVAL_LIFE = timedelta(days=7)
APPROVALS_KEPT = timedelta(days=90)
"""How long an approval can be looked up after its expiry. Its audit events stay as long as others."""
SEALED_KEPT = timedelta(hours=1)
"""How long what was sealed with an approval outlives its expiry, so that one approved at its last moment still finds it."""
PURGE_BATCH = 1_000
APPROVALS_PENDING_BOUND = 200
"""Pending approvals of one tenant, or of the staff. At the limit no more can be asked for until some are decided."""


class ApprovalKind(StrEnum):
    """The kinds of acts that take two people."""

    CREATE = "create"
    """Adding an account with power, or one that takes over the identity or charts of another account."""
    RESET = "reset"
    """A new link into an account in use."""
    FACTORS = "factors"
    """Removing the second factors of a person who lost them."""
    CHARTS = "charts"
    """Opening a chart that is another account's own to a proxy."""
    TENANT = "tenant"
    """Changing where a tenant's data is, or where its people's browsers are sent."""
    SYSTEM_CLIENT = "system_client"
    """A client that acts for a whole tenant: its EHR, a resource server."""
    SECRET = "secret"
    """A new secret of such a client."""
    POLICY = "policy"
    """A policy that allows something new."""
    EXCEPTION = "exception"
    """What the policy says otherwise of one app for a time, such as a lower tier."""
    PROVIDER = "provider"
    """A hospital's identity provider, or a change of one that lets in more."""
    PROVIDER_HOST = "provider_host"
    """A host that may serve identity providers."""
    PROVIDER_LINK = "provider_link"
    """Who of an identity provider enters an account."""
    BREAK_GLASS = "break_glass"
    """What clinicians of a hospital may open in an emergency."""
    DISCIPLINES = "disciplines"
    """The disciplines for which a reviewer signs."""
    OFFBOARDING = "offboarding"
    """That a hospital leaves the platform, for good."""


OF_THE_HOSPITAL = frozenset({ApprovalKind.BREAK_GLASS})
"""The kinds that two administrators of the hospital decide: the platform's staff count for neither (ADR 77)."""


ABOUT_A_PERSON = frozenset(
    {
        ApprovalKind.CREATE,
        ApprovalKind.RESET,
        ApprovalKind.FACTORS,
        ApprovalKind.CHARTS,
        ApprovalKind.PROVIDER_LINK,
        ApprovalKind.DISCIPLINES,
    }
)
ABOUT_A_CLIENT = frozenset({ApprovalKind.SYSTEM_CLIENT, ApprovalKind.SECRET})


class ApprovalState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Act:
    """An act that takes two people. ``target`` is the id of the person, tenant or client it is about; empty if that does not exist yet.

    ``order`` is what is to be done and ``before`` what it replaces; the second person sees both, and the module that owns the act parses
    them again. ``sealed`` belongs to the order and is never shown: a digest, or a value sealed by the vault.
    """

    kind: ApprovalKind
    tenant: TenantId | None
    target: str
    order: Mapping[str, Any]
    before: Mapping[str, Any] = field(default_factory=dict)
    sealed: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """An act that waits for a second person, or was decided."""

    id: str
    act: Act
    asked_by: PersonId
    asked_at: datetime
    expires_at: datetime
    state: ApprovalState = ApprovalState.PENDING
    decided_by: PersonId | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An act that waits, with what is shown once, to the asker only: a setup code, or the first half of a secret."""

    approval: Approval
    setup_code: str = ""
    secret_start: str = ""


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """The result of an act: the id that it created or changed, with what is shown once, to the second person only.

    ``link`` is the secret of a one-time link. If the link was mailed to its owner, ``link`` is empty, ``link_expires_at`` is set, and
    ``setup_code`` is what the owner enters beside it. ``secret_end`` is the second half of a client's secret.
    """

    target: str
    link: str = ""
    link_expires_at: datetime | None = None
    secret_end: str = ""
    setup_code: str = ""


@dataclass(frozen=True, slots=True)
class Agreed:
    """An approval that was just given, and the result of its act."""

    approval: Approval
    done: CarriedOut
