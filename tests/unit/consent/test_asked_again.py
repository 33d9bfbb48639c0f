"""Whether an agreement still covers a request, or its person is asked again (C90)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hilum.consent.models import Authorization, Basis
from hilum.consent.policy import may_go_on
from hilum.kernel.ids import AppId, AuthorizationId, ClientId, PersonId, TenantId, VersionId
from hilum.policies.models import Tier
from hilum.policies.shipped import shipped_book

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
CELL = next(
    cell for each in shipped_book().categories.values() for tier, cell in each.cells.items() if tier in Tier
)
LONG = timedelta(days=CELL.dormant_days)
AGREED = Authorization(
    id=AuthorizationId("aut_1"),
    tenant=TenantId("mercy"),
    person=PersonId("per_1"),
    app=AppId("app_1"),
    version=VersionId("ver_1"),
    client=ClientId("cli_1"),
    basis=Basis.TENANT,
    scopes=("patient/Goal.rs",),
    created_at=NOW - LONG - timedelta(days=1),
    expires_at=NOW + timedelta(days=30),
    last_validated_at=NOW - timedelta(days=1),
    workflow="intake",
)


@pytest.mark.parametrize(
    ("change", "asked", "goes_on"),
    [
        ({}, {}, True),
        ({}, {"workflow": ""}, False),
        ({}, {"workflow": "outreach"}, False),
        ({"workflow": ""}, {}, True),
        ({"workflow": ""}, {"workflow": ""}, True),
        ({}, {"version": "ver_2"}, False),
        ({}, {"cell": None}, False),
        ({"last_validated_at": NOW - LONG}, {}, False),
        ({"last_validated_at": NOW - LONG + timedelta(seconds=1)}, {}, True),
        ({"last_validated_at": None}, {}, False),
        ({"last_validated_at": None, "created_at": NOW}, {}, True),
        ({"last_validated_at": None, "last_used_at": NOW - timedelta(days=1)}, {}, True),
        ({"last_validated_at": NOW - LONG, "last_used_at": NOW - LONG}, {}, False),
        ({}, {"cell": replace(CELL, dormant_days=1)}, False),
    ],
)
def test_people_are_asked_for_another_purpose_or_version_and_after_long_disuse(
    change: dict[str, Any], asked: dict[str, Any], goes_on: bool
) -> None:
    """C90."""
    order: dict[str, Any] = {"version": "ver_1", "workflow": "intake", "cell": CELL, "now": NOW} | asked

    assert may_go_on(replace(AGREED, **change), **order) is goes_on
