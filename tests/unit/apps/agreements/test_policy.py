"""Who signs an agreement for whom, when it is in force, and what an app needs of it (C189)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.agreements import policy
from hilum.apps.agreements.models import Agreement, AgreementState, Side
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.identity.people.models import VendorRole
from tests.sim.world import START

DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
GENERAL, VENDOR = TenantId("general"), VendorId("ven_1")
AGREED = Agreement(
    "agr_1",
    VENDOR,
    GENERAL,
    "General Hospital",
    "business_associate",
    ("General Hospital", "Acme"),
    "a" * 64,
    START,
    START + DAY,
    recorded_by="person:per_1",
    recorded_for=Side.HOSPITAL,
    recorded_at=START,
    confirmed_by="member:per_2",
    confirmed_at=START,
)
WAITING = replace(AGREED, confirmed_by="", confirmed_at=None)


@pytest.mark.parametrize(
    ("agreement", "after", "state"),
    [
        (AGREED, -MOMENT, AgreementState.AGREED),
        (AGREED, timedelta(0), AgreementState.IN_FORCE),
        (AGREED, DAY - MOMENT, AgreementState.IN_FORCE),
        (AGREED, DAY, AgreementState.LAPSED),
        (replace(AGREED, ended_by="person:per_1"), DAY, AgreementState.ENDED),
        (replace(AGREED, ends_at=None), 10_000 * DAY, AgreementState.IN_FORCE),
        (WAITING, timedelta(0), AgreementState.WAITING),
        (WAITING, DAY, AgreementState.ENDED),
    ],
)
def test_an_agreement_counts_from_its_day_to_its_end_once_both_have_signed(
    agreement: Agreement, after: timedelta, state: AgreementState
) -> None:
    assert policy.state_of(agreement, START + after) is state
    assert policy.is_in_force(agreement, START + after) == (state is AgreementState.IN_FORCE)


def member(*roles: VendorRole, vendor: str = "ven_1") -> Actor:
    return Actor(ActorKind.MEMBER, "per_2", None, frozenset(roles), VendorId(vendor))


@pytest.mark.parametrize(
    ("actor", "side"),
    [
        (Actor(ActorKind.PERSON, "per_1", GENERAL, frozenset({"administrator"})), Side.HOSPITAL),
        (Actor(ActorKind.PERSON, "per_1", TenantId("children"), frozenset({"administrator"})), None),
        (Actor(ActorKind.PERSON, "per_1", GENERAL, frozenset({"physician"})), None),
        (member(VendorRole.OWNER), Side.VENDOR),
        (member(VendorRole.OWNER, vendor="ven_2"), None),
        (member(VendorRole.BILLING), None),
        (member(), None),
        (Actor(ActorKind.STAFF, "per_3", roles=frozenset({"platform_admin"})), None),
        (SYSTEM, None),
    ],
)
def test_each_organisation_signs_for_itself_and_nobody_for_both(actor: Actor, side: Side | None) -> None:
    assert policy.side_of(actor, VENDOR, GENERAL) is side


@pytest.mark.parametrize(
    ("change", "covered"),
    [
        ({}, True),
        ({"id": "agr_1"}, False),
        ({"vendor": VendorId("ven_2")}, False),
        ({"tenant": TenantId("children")}, False),
        ({"entity": "Another"}, False),
        ({"kind": "data_sharing"}, False),
        ({"confirmed_at": None}, False),
        ({"effective_at": START + 2 * DAY}, False),
        ({"ends_at": START + DAY}, False),
    ],
)
def test_only_another_one_of_the_same_kind_between_the_same_two_stands_in(
    change: dict[str, Any], *, covered: bool
) -> None:
    other = replace(AGREED, id="agr_2", ends_at=None)

    assert policy.is_covered(AGREED, [replace(other, **change)], START + DAY) is covered
