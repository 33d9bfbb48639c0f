"""Service owners of backend services, their states and bounds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from hilum.foundation.actions.models import ID, Arg, Moment, OwnTenant
from hilum.foundation.kernel.ids import AppId, ClientId, Part, PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import Sorts
from hilum.identity.people.models import Role

SERVICE_OWNERS = Part("service_owners")
"""The part of the facts with agreed service owners. Only cached values depend on it; its keys are ``service_owner/<id>``."""
APPROVER_ROLES = frozenset(
    {Role.PHYSICIAN.value, Role.NURSE.value, Role.ANALYST.value, Role.ADMINISTRATOR.value}
)
"""Roles that may answer for a backend service: those who know what the hospital needs it for, so neither patients nor the front desk."""
WAITING_LIFE = timedelta(days=30)
"""How long an approver may take to agree."""
GRACE = timedelta(days=30)
"""How long a backend service keeps working after its approver was lost, so that another can take over."""
WAITING_BOUND = 100
"""How many service owners of a hospital may wait for their approvers."""
FOLLOW_BATCH = 200
REMIND_BEFORE = (timedelta(days=30), timedelta(days=7))
"""How long before a service owner's end the hospital's administrators get mail; only the latest due reminder is sent."""


class ServiceOwnerState(StrEnum):
    WAITING = "waiting"
    """Its approver has not agreed yet."""
    IN_FORCE = "in_force"
    APPROVER_LOST = "approver_lost"
    """Its approver is no longer active: it counts within the grace, and not after it."""
    OVER = "over"
    """It ended, was ended or replaced, or nobody agreed to it in time."""


ServiceOwnerId = Annotated[str, ID, Arg("The service owner.", "svo_01h...", target=True)]


@dataclass(frozen=True, slots=True)
class NewServiceOwner:
    """A service owner to ask for. ``ends_at`` None: until the client's end date."""

    tenant: OwnTenant
    client: Annotated[
        ClientId,
        ID,
        Arg(
            "The backend service for which somebody is to answer.",
            '"Risk Reports"',
            label="Service",
            names="client",
            listed_by="hilum service-owner unanswered",
            placed=True,
        ),
    ]
    approver: Annotated[
        PersonId,
        ID,
        Arg(
            "The physician, nurse, analyst or administrator at the hospital who will answer for it. Not you.",
            "m.berg",
            label="Username of your colleague",
            names="person",
        ),
    ]
    ends_at: Annotated[
        Moment | None, Arg("When it ends; by default, when the service does.", "2027-06-30", label="Until")
    ] = None


@dataclass(frozen=True, slots=True)
class ServiceOwner:
    """A service owner. ``purpose``, ``population`` and ``schedule`` are those that the approver was shown."""

    id: str
    tenant: TenantId
    client: ClientId
    app: AppId
    vendor: VendorId
    purpose: str
    population: str
    schedule: str
    approver: PersonId
    asked_by: PersonId
    asked_at: datetime
    ends_at: datetime
    agreed_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str = ""
    end_reason: str = ""
    lost_at: datetime | None = None
    """When its approver's loss began, once recorded: a finding until the service owner is over."""


SORTS = Sorts({"until": "ends_at", "asked": "id"})


@dataclass(frozen=True, slots=True)
class ServiceOwnerQuery:
    """Which service owners to list; empty fields do not filter. ``findings``: only those without their approver that are not over."""

    tenant: Annotated[str, ID, Arg("Only those of one hospital.", names="tenant")] = ""
    vendor: str = ""
    approver: str = ""
    findings: Annotated[
        bool, Arg("Only those that have lost their approver.", label="Nobody answers for it")
    ] = False
