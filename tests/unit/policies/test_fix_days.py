"""What a cell says of findings about its apps: days to mend them, and how far the platform goes by itself (C115)."""

from dataclasses import replace

import pytest

from hilum.policies.comparison import widenings
from hilum.policies.models import TIERS, Automation
from hilum.policies.strictness import stricter
from hilum.revalidation.models import DAYS, Limits, Rung, Severity
from hilum.revalidation.policy import limits_in
from tests.unit.policies.books import book
from tests.unit.policies.test_comparison import HIGH

CELL = book().categories["scheduling"].cells[TIERS[0]]


def test_a_book_that_says_nothing_has_the_limits_of_the_shipped_one() -> None:
    """And keeps its digest, since what is the default is not rendered."""
    assert limits_in(CELL) == Limits(DAYS, Rung.STOP)


@pytest.mark.parametrize(
    ("field", "stricter_than_before"),
    [("fix_days_critical", 3), ("fix_days_low", 30), ("automation", "suspend")],
)
def test_longer_days_and_a_gentler_limit_are_widenings(field: str, stricter_than_before: object) -> None:
    """C210: they take two people; the other way does not."""
    path = f"{HIGH}.{field}"
    tight = book({path: stricter_than_before})

    assert path not in [each.path for each in widenings(book(), tight)]
    assert path in [each.path for each in widenings(tight, book())]
    assert tight.digest != book().digest


def test_of_two_cells_the_sooner_day_and_the_harder_limit_count() -> None:
    hard = replace(CELL, fix_days_high=3, automation=Automation.SUSPEND)

    for both in (stricter(CELL, hard), stricter(hard, CELL)):
        limits = limits_in(both)
        assert (limits.days[Severity.HIGH], limits.automatic) == (3, Rung.SUSPEND)
