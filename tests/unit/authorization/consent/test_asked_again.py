"""Whether an agreement still covers a request, or its person is asked again (C90)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.authorization.consent.policy import may_go_on
from tests.unit.authorization.consent.facts import AGREED, ENTRY, LONG, NOW


@pytest.mark.parametrize(
    ("change", "asked", "goes_on"),
    [
        ({}, {}, True),
        ({}, {"workflow": ""}, False),
        ({}, {"workflow": "outreach"}, False),
        ({"workflow": ""}, {}, True),
        ({"workflow": ""}, {"workflow": ""}, True),
        ({}, {"version": "ver_2"}, False),
        ({}, {"policy_entry": None}, False),
        ({"last_validated_at": NOW - LONG}, {}, False),
        ({"last_validated_at": NOW - LONG + timedelta(seconds=1)}, {}, True),
        ({"last_validated_at": None}, {}, False),
        ({"last_validated_at": None, "created_at": NOW}, {}, True),
        ({"last_validated_at": None, "last_used_at": NOW - timedelta(days=1)}, {}, True),
        ({"last_validated_at": NOW - LONG, "last_used_at": NOW - LONG}, {}, False),
        ({}, {"policy_entry": replace(ENTRY, dormant_days=1)}, False),
    ],
)
def test_people_are_asked_for_another_purpose_or_version_and_after_long_disuse(
    change: dict[str, Any], asked: dict[str, Any], goes_on: bool
) -> None:
    """C90."""
    order: dict[str, Any] = {
        "version": "ver_1",
        "workflow": "intake",
        "policy_entry": ENTRY,
        "now": NOW,
    } | asked

    assert may_go_on(replace(AGREED, **change), **order) is goes_on
