"""By which limits grants end in the shipped policy: the higher the tier, the sooner; apps from before there were categories have none (C194)."""

from datetime import timedelta

import pytest

from hilum.policy.matrix.document import read_stored, render
from hilum.policy.matrix.limit_models import Expiry
from hilum.policy.matrix.limits import refreshed_for
from hilum.policy.matrix.models import SANDBOX_TRIAL, UNCLASSIFIED, Tier
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.policy.matrix.books import book

BOOK = shipped_book()
OPEN = sorted(set(BOOK.categories) - {UNCLASSIFIED, SANDBOX_TRIAL})
ENDS = {
    Tier.LOW: (180, 730, Expiry.ROLLING, 180),
    Tier.MODERATE: (180, 365, Expiry.ROLLING, 180),
    Tier.HIGH: (100, 180, Expiry.FIXED, 100),
}
"""Days without a token, days after one authorization, the class, and days without use."""


@pytest.mark.parametrize("name", OPEN)
def test_grants_of_each_category_end_by_the_tier(name: str) -> None:
    for tier, entry in BOOK.categories[name].entries.items():
        idle, absolute, expiry, dormant = ENDS[tier]
        lives = entry.lifetimes
        assert (lives.idle, lives.absolute) == (timedelta(days=idle), timedelta(days=absolute))
        assert (lives.expiry, entry.dormant_days, entry.dormant_ends) == (expiry, dormant, True)


@pytest.mark.parametrize("name", [UNCLASSIFIED, SANDBOX_TRIAL])
def test_apps_from_before_and_trials_keep_what_they_had(name: str) -> None:
    for entry in BOOK.categories[name].entries.values():
        lives = entry.lifetimes
        assert (lives.idle, lives.absolute, lives.expiry) == (None, None, Expiry.ROLLING)
        assert not entry.dormant_ends


def test_apps_of_patients_that_keep_access_may_be_away_for_three_months() -> None:
    """C49; 45 CFR 170.315(g)(10): whichever limit comes first."""
    found = [
        refreshed_for(entry)
        for category in BOOK.categories.values()
        for entry in category.entries.values()
        if "offline_access" in entry.session_scopes
        and any(each.startswith("patient/") for each in entry.scopes)
    ]

    assert found
    assert min(found) >= timedelta(days=92)


def test_a_entry_says_that_it_has_no_limit_where_its_base_has_one() -> None:
    place = "categories.scheduling.entries.low.lifetimes"
    one = book({f"{place}.idle": "none", f"{place}.absolute": "none"})
    again, faults = read_stored(render(one), one.digest)

    assert faults == ()
    assert again is not None
    for each in (one, again):
        lives = each.categories["scheduling"].entries[Tier.LOW].lifetimes
        assert (lives.idle, lives.absolute) == (None, None)
