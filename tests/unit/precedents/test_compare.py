"""What differs between what a hospital gave and what another one would give (C221)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.kernel.ids import AppId, TenantId
from hilum.precedents.models import REASONS_BOUND, Kind, SharingOrder, Terms
from hilum.precedents.policy import compare, order_faults, same
from tests.sim.world import START

GIVEN = Terms(
    ("launch", "user/Patient.rs", "user/Condition.r"),
    ("launch", "user/Patient.rs", "user/Condition.rs"),
    frozenset({"physician", "nurse"}),
    frozenset({"business_associate"}),
)
MINE = replace(GIVEN, roles=None)


def test_the_same_terms_leave_nothing_to_decide() -> None:
    """C221."""
    assert compare(GIVEN, MINE, "General") == ()
    assert same(()) == tuple(Kind)


@pytest.mark.parametrize(
    "mine",
    [
        {"scopes": ("user/Patient.r",)},
        {"scopes": ()},
        {"roles": frozenset({"nurse"})},
        {"agreements": frozenset({"business_associate", "data_sharing"})},
        {"everywhere": False},
        {"expires_at": START, "pinned": True, "workflow": "intake"},
        {"scopes": ("launch", "openid", "offline_access")},
        {"asked": ("user/Patient.r",)},
    ],
)
def test_less_than_the_other_gave_leaves_nothing_to_decide(mine: dict[str, Any]) -> None:
    """C221: the other looked at more. Launch and identity reach no records."""
    assert compare(GIVEN, replace(MINE, **mine), "General") == ()


@pytest.mark.parametrize(
    ("given", "mine", "kind", "what"),
    [
        ({}, {"scopes": ("user/Condition.rs", "user/Patient.r")}, Kind.SCOPES, ("user/Condition.rs",)),
        ({}, {"scopes": ("patient/Patient.r",)}, Kind.SCOPES, ("patient/Patient.r",)),
        ({"scopes": ("user/Patient.rs?category=a",)}, {"scopes": ("user/Patient.rs",)}, Kind.SCOPES, ("user/Patient.rs",)),
        ({}, {"roles": frozenset({"physician", "front_desk"})}, Kind.ROLES, ("front_desk",)),
        ({"roles": frozenset()}, {"roles": frozenset({"nurse"})}, Kind.ROLES, ("nurse",)),
        ({}, {"agreements": frozenset()}, Kind.AGREEMENTS, ("business_associate",)),
        ({"everywhere": False}, {}, Kind.FACILITIES, ()),
        ({"workflow": "intake"}, {}, Kind.WORKFLOW, ("intake",)),
        ({"workflow": "intake"}, {"workflow": "referral"}, Kind.WORKFLOW, ("intake",)),
        ({"pinned": True}, {}, Kind.NETWORKS, ()),
        ({"expires_at": START}, {}, Kind.END, ()),
        ({"expires_at": START}, {"expires_at": START + timedelta(days=1)}, Kind.END, ()),
        ({}, {"asked": ("user/Goal.r",)}, Kind.CERTIFIED, ("user/Goal.r",)),
        # Of an approval of before such records it is not known what was looked at.
        ({"asked": ()}, {"asked": ("user/Patient.rs",)}, Kind.CERTIFIED, ("user/Patient.rs",)),
    ],
)  # fmt: skip
def test_what_differs_is_left_to_decide_and_nothing_else(
    given: dict[str, Any], mine: dict[str, Any], kind: Kind, what: tuple[str, ...]
) -> None:
    """C221: each with a sentence that names the other hospital."""
    (found,) = compare(replace(GIVEN, **given), replace(MINE, **mine), "General")

    assert (found.kind, found.what) == (kind, what)
    assert "General" in found.sentence
    assert kind not in same((found,))


@pytest.mark.parametrize(
    ("app", "shares", "reasons", "faults"),
    [
        ("app_1", True, "Tried it.", {}),
        ("app_1", None, "", {}),
        (None, False, "", {}),
        (None, None, "", {"shares": "missing"}),
        (None, True, "All are fine.", {"reasons": "field_unknown"}),
        ("app_1", False, "No.", {"reasons": "field_unknown"}),
        ("app_1", True, "x" * (REASONS_BOUND + 1), {"reasons": "too_long"}),
    ],
)
def test_reasons_are_of_an_approval_that_is_shared(
    app: str | None, shares: bool | None, reasons: str, faults: dict[str, str]
) -> None:
    order = SharingOrder(TenantId("general"), None if app is None else AppId(app), shares, reasons)

    assert order_faults(order) == faults
