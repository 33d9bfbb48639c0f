"""What an entry says of findings about its apps: days to fix them, and how far the platform goes by itself (C115, C226)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.policy.matrix.comparison import privilege_increases
from hilum.policy.matrix.document import read_stored, render
from hilum.policy.matrix.in_force import as_of
from hilum.policy.matrix.models import Automation, Criteria, Tier
from hilum.policy.matrix.strictness import stricter
from hilum.review.recertification.models import DAYS, Level, Limits, Severity
from hilum.review.recertification.policy import level_taken, limits_in, limits_under
from tests.unit.policy.matrix.books import HIGH_ENTRY, MODERATE_ENTRY, book, faults_of
from tests.unit.policy.matrix.observed_books import DAY, LOW, at, low, observed

BOOK = book()
ENTRY = low(BOOK)
CARE, OTHER = "care_recommendations", "population_health"


def test_a_book_that_says_nothing_keeps_its_limits_and_its_digest() -> None:
    """What is the default is not written out, also where an entry states it."""
    stated = {
        f"{MODERATE_ENTRY}.{name}": days for name, days in (("fix_days_critical", 7), ("fix_days_low", 90))
    }

    assert limits_in(ENTRY) == Limits(DAYS, Level.STOP)
    for category in BOOK.categories.values():
        assert all(
            replace(limits_in(each), service=Criteria()) == Limits() for each in category.entries.values()
        )
    assert book(stated | {f"{MODERATE_ENTRY}.automation": "no_new_launches"}).digest == BOOK.digest


def test_what_a_entry_says_is_read_again_as_it_was_written() -> None:
    says = {
        f"{HIGH_ENTRY}.fix_days_critical": 1,
        f"{HIGH_ENTRY}.fix_days_medium": 20,
        f"{HIGH_ENTRY}.suspend_days": 10,
        f"{HIGH_ENTRY}.withdraw_days": 10,
        f"{HIGH_ENTRY}.automation": "suspend",
    }
    made = book(says)

    again, faults = read_stored(render(made), made.digest)

    assert faults == ()
    assert again is not None
    assert again.categories[CARE] == made.categories[CARE]
    limits = limits_in(made.categories[CARE].entries[Tier.HIGH])
    assert (*limits.days.values(), limits.automatic) == (1, 14, 20, 90, Level.SUSPEND)
    assert (limits.suspend_days, limits.withdraw_days) == (10, 10)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("fix_days_critical", 0, "out_of_range"),
        ("fix_days_high", 366, "out_of_range"),
        ("fix_days_medium", True, "out_of_range"),
        ("fix_days_low", "90 d", "out_of_range"),
        ("fix_days_low", None, "missing"),
        ("fix_days_lowest", 90, "unknown"),
        ("suspend_days", -1, "out_of_range"),
        ("suspend_days", 31, "looser_than_lower_tier"),
        ("withdraw_days", 29, "contradictory"),
        ("withdraw_days", 366, "out_of_range"),
        ("automation", "withdraw", "word_unknown"),
        ("automation", "none", "word_unknown"),
        ("automation", 4, "word_unknown"),
        ("automation", None, "missing"),
    ],
)
def test_what_a_entry_cannot_mean_is_refused(field: str, value: Any, code: str) -> None:
    """C115: a null is no limit of its own, and no policy has a program withdraw anything."""
    assert (f"{HIGH_ENTRY}.{field}", code) in faults_of({f"{HIGH_ENTRY}.{field}": value})


def test_a_stored_book_with_a_word_of_another_release_is_not_read() -> None:
    """And decides nothing, instead of going further or less far than was signed."""
    written = render(book({f"{HIGH_ENTRY}.automation": "suspend"}))
    written["categories"][CARE]["entries"]["high"]["automation"] = "withdraw"

    assert read_stored(written, "")[0] is None


@pytest.mark.parametrize(
    ("field", "stricter_than_before"),
    [
        ("fix_days_critical", 3),
        ("fix_days_high", 13),
        ("fix_days_medium", 1),
        ("fix_days_low", 30),
        ("suspend_days", 0),
        ("withdraw_days", 59),
        ("automation", "suspend"),
    ],
)
def test_longer_days_and_a_gentler_limit_are_privilege_increases(
    field: str, stricter_than_before: object
) -> None:
    """C210: they take two people; the other way does not."""
    path = f"{HIGH_ENTRY}.{field}"
    tight = book({path: stricter_than_before})

    assert privilege_increases(BOOK, tight) == ()
    assert [each.path for each in privilege_increases(tight, BOOK)] == [path]
    assert tight.digest != BOOK.digest


def test_of_two_entries_the_sooner_day_and_the_harder_limit_count() -> None:
    """C19."""
    hard = replace(ENTRY, fix_days_high=3, suspend_days=50, automation=Automation.SUSPEND)
    soft = replace(ENTRY, fix_days_low=100, withdraw_days=40, automation=Automation.NOTIFY)

    for both in (stricter(soft, hard), stricter(hard, soft)):
        limits = limits_in(both)
        assert (*limits.days.values(), limits.automatic) == (7, 3, 30, 90, Level.SUSPEND)
        assert (limits.suspend_days, limits.withdraw_days) == (30, 40)


def test_what_a_entry_tightens_is_observed_until_its_day() -> None:
    """C209: of findings too."""
    tighter = {f"{LOW}.fix_days_critical": 3, f"{LOW}.automation": "suspend"}
    above = {path.replace(".low.", ".moderate."): value for path, value in tighter.items()}
    made = observed(tighter | above)

    before, after = (
        limits_under(as_of(made, at(day)), ["scheduling"], [Tier.LOW])
        for day in (DAY - timedelta(days=1), DAY)
    )

    assert before == Limits()
    assert (after.days[Severity.CRITICAL], after.automatic) == (3, Level.SUSPEND)


SAYS = book(
    {
        f"{MODERATE_ENTRY}.fix_days_critical": 20,
        f"{MODERATE_ENTRY}.automation": "notify",
        f"{HIGH_ENTRY}.automation": "suspend",
        f"categories.{OTHER}.entries.moderate.fix_days_critical": 10,
        f"categories.{OTHER}.entries.moderate.automation": "warn",
    }
)


@pytest.mark.parametrize(
    ("categories", "tiers", "critical", "automatic"),
    [
        ([CARE], [Tier.MODERATE], 20, Level.NOTIFY),
        ([CARE], [Tier.MODERATE, Tier.HIGH], 7, Level.SUSPEND),
        ([CARE, OTHER], [Tier.MODERATE], 10, Level.WARN),
        ([CARE, "gone"], [Tier.MODERATE], 7, Level.STOP),
        ([CARE], [Tier.LOW], 7, Level.STOP),
        (["gone"], [Tier.HIGH], 7, Level.STOP),
        ([CARE], [], 7, Level.STOP),
    ],
)
def test_the_strictest_of_an_apps_entries_counts_and_a_entry_that_is_gone_loosens_nothing(
    categories: list[str], tiers: list[Tier], critical: int, automatic: Level
) -> None:
    """C19, C115: a moved app has two categories, one whose tier was raised two tiers; one that no entry admits has the defaults."""
    limits = limits_under(SAYS, categories, tiers)

    assert (limits.days[Severity.CRITICAL], limits.automatic) == (critical, automatic)
    assert level_taken(Level.WITHDRAW, limits) is automatic


def test_only_a_entry_that_says_so_suspends_by_itself() -> None:
    """C226."""
    suspending = [
        each
        for each in Automation
        if level_taken(Level.WITHDRAW, limits_in(replace(ENTRY, automation=each))) > Level.STOP
    ]

    assert suspending == [Automation.SUSPEND]
