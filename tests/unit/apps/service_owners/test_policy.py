"""Who answers for a backend service, until when, and when the end is announced (C17)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.registry.models import Environment
from hilum.apps.service_owners import policy
from hilum.apps.service_owners.models import GRACE, WAITING_LIFE, ServiceOwner, ServiceOwnerState
from hilum.apps.service_owners.policy import reminder_due
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId, VersionId
from hilum.identity.people.models import Person, Role
from hilum.policy.matrix.models import UNCLASSIFIED
from tests.sim.world import START

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
NORTH = TenantId("north")
SERVICE_OWNER = ServiceOwner(
    "svo_1",
    NORTH,
    ClientId("cli_1"),
    AppId("app_1"),
    VendorId("ven_1"),
    purpose="Reports",
    population="All",
    schedule="Nightly",
    approver=PersonId("per_1"),
    asked_by=PersonId("per_2"),
    asked_at=START,
    agreed_at=START,
    ends_at=START + 100 * DAY,
)
WAITING = replace(SERVICE_OWNER, agreed_at=None)
NURSE = Person(PersonId("per_1"), NORTH, "ann", "Ann", Role.NURSE)
FACTS = ClientFacts(
    SERVICE_OWNER.client,
    SERVICE_OWNER.app,
    VersionId("ver_1"),
    SERVICE_OWNER.vendor,
    ClientType.BACKEND,
    Environment.PRODUCTION,
    active=True,
    expires_at=None,
    certified_scopes=(),
    certified_until=None,
    origins=(),
    category=UNCLASSIFIED,
    certified_tier=None,
)


@pytest.mark.parametrize(
    ("service_owner", "after", "state"),
    [
        (SERVICE_OWNER, timedelta(0), ServiceOwnerState.IN_FORCE),
        (SERVICE_OWNER, 100 * DAY - MOMENT, ServiceOwnerState.IN_FORCE),
        (SERVICE_OWNER, 100 * DAY, ServiceOwnerState.OVER),
        (replace(SERVICE_OWNER, ended_at=START), DAY, ServiceOwnerState.OVER),
        (replace(SERVICE_OWNER, lost_at=START), DAY, ServiceOwnerState.APPROVER_LOST),
        (WAITING, WAITING_LIFE - MOMENT, ServiceOwnerState.WAITING),
        (WAITING, WAITING_LIFE, ServiceOwnerState.OVER),
    ],
)
def test_a_service_owner_waits_only_so_long_and_counts_until_its_end(
    service_owner: ServiceOwner, after: timedelta, state: ServiceOwnerState
) -> None:
    """C17."""
    assert policy.state_of(service_owner, START + after) is state


@pytest.mark.parametrize(
    ("person", "may"),
    [
        (NURSE, True),
        (None, False),
        (replace(NURSE, active=False), False),
        (replace(NURSE, tenant=TenantId("south")), False),
        (replace(NURSE, tenant=None), False),
        (replace(NURSE, role=Role.PATIENT), False),
    ],
)
def test_who_may_answer_for_a_backend_service(person: Person | None, may: bool) -> None:
    """C17: nobody of elsewhere, and nobody who has left."""
    assert policy.may_approve(person, NORTH) is may


@pytest.mark.parametrize(
    ("actor", "is_one"),
    [
        (Actor(ActorKind.PERSON, "per_1", NORTH), True),
        (Actor(ActorKind.PERSON, "per_2", NORTH), False),
        (Actor(ActorKind.PERSON, "per_1", TenantId("south")), False),
        (Actor(ActorKind.STAFF, "per_1"), False),
        (Actor(ActorKind.CLIENT, "per_1", NORTH), False),
    ],
)
def test_only_the_person_named_is_the_approver_and_only_at_the_hospital(actor: Actor, is_one: bool) -> None:
    assert policy.is_approver(actor, SERVICE_OWNER) is is_one


@pytest.mark.parametrize(
    ("change", "of_it"),
    [
        ({}, True),
        ({"owner_since": START}, True),
        ({"owner_since": START + MOMENT}, False),
        ({"vendor": VendorId("ven_2")}, False),
    ],
)
def test_a_service_owner_ends_with_the_vendor_for_whom_it_was_agreed_to(
    change: dict[str, Any], of_it: bool
) -> None:
    """C14, C17."""
    assert policy.is_of_vendor(SERVICE_OWNER, replace(FACTS, **change)) is of_it
    assert not policy.is_of_vendor(WAITING, replace(FACTS, **change))


@pytest.mark.parametrize(
    ("service_owner", "person", "until"),
    [
        (SERVICE_OWNER, NURSE, SERVICE_OWNER.ends_at),
        (WAITING, NURSE, None),
        (replace(SERVICE_OWNER, ended_at=START), NURSE, None),
        (SERVICE_OWNER, replace(NURSE, active=False, deactivated_at=START), START + GRACE),
        (replace(SERVICE_OWNER, lost_at=START), None, START + GRACE),
        (replace(SERVICE_OWNER, lost_at=START, ends_at=START + DAY), None, START + min(GRACE, DAY)),
    ],
)
def test_tokens_rest_on_a_service_owner_until_its_end_or_a_grace_after_the_loss(
    service_owner: ServiceOwner, person: Person | None, until: datetime | None
) -> None:
    """C17."""
    assert policy.until(service_owner, person, START + DAY) == until


@pytest.mark.parametrize(
    ("days", "left", "due"),
    [
        (100, 31, None),
        (100, 30, 30),
        (100, 8, 30),
        (100, 7, 7),
        (100, 0, None),
        (100, -1, None),
        (20, 19, None),
        (20, 7, 7),
        (7, 6, None),
    ],
)
def test_a_reminder_is_due_once_its_time_has_come_and_not_from_the_beginning(
    days: int, left: int, due: int | None
) -> None:
    service_owner = replace(SERVICE_OWNER, ends_at=START + days * DAY)

    found = reminder_due(service_owner, START + (days - left) * DAY)

    assert found == (None if due is None else due * DAY)
