"""By which published formula an app is reviewed before its certificate ends (C225)."""

from dataclasses import replace

import pytest

from hilum.revalidation import policy
from hilum.revalidation.early_models import MANY_FINDINGS, EarlyInputs, Trigger
from hilum.revalidation.models import Severity, State
from tests.unit.revalidation.facts import DAY, NOW, finding

NOTHING = EarlyInputs(tier_risen=False, use_beyond=False, grave_overdue=0, recent=0)


@pytest.mark.parametrize(
    ("inputs", "triggers"),
    [
        (NOTHING, ()),
        (replace(NOTHING, recent=MANY_FINDINGS - 1), ()),
        (replace(NOTHING, recent=MANY_FINDINGS), (Trigger.MANY,)),
        (replace(NOTHING, grave_overdue=1), (Trigger.OVERDUE,)),
        (replace(NOTHING, tier_risen=True), (Trigger.TIER,)),
        (replace(NOTHING, use_beyond=True), (Trigger.USE,)),
        (EarlyInputs(tier_risen=True, use_beyond=True, grave_overdue=2, recent=9), tuple(Trigger)),
    ],
)
def test_one_of_four_reasons_is_enough_and_each_is_published(
    inputs: EarlyInputs, triggers: tuple[Trigger, ...]
) -> None:
    assert policy.early_triggers(inputs) == triggers
    assert set(policy.FORMULA) == set(Trigger)
    assert str(MANY_FINDINGS) in policy.FORMULA[Trigger.MANY]


@pytest.mark.parametrize(
    ("change", "days", "overdue"),
    [
        ({}, 6.9, 0),
        ({}, 7, 1),
        ({"severity": Severity.HIGH}, 7, 1),
        ({"severity": Severity.MEDIUM}, 700, 0),
        ({"severity": Severity.LOW}, 700, 0),
        ({"state": State.CLOSED}, 700, 0),
        ({"state": State.SUSPECTED, "due_at": None}, 700, 0),
    ],
)
def test_only_what_is_grave_open_and_late_counts(
    change: dict[str, object], days: float, overdue: int
) -> None:
    found = policy.early_inputs(
        [finding(**change)], recent=1, tier_risen=False, use_beyond=False, now=NOW + days * DAY
    )

    assert (found.grave_overdue, found.recent) == (overdue, 1)
