"""What an access history says of an answer, and what it keeps to itself (C94)."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hilum.foundation.kernel.ids import PersonId
from hilum.hospitals.disclosures.models import Entry, Names
from hilum.hospitals.disclosures.policy import entry_of
from hilum.records.audit.models import Access, Outcome

AT = datetime(2026, 3, 2, tzinfo=UTC)


SEARCH = Access(
    "req_1", "req_1", AT, "general", "search-type", "Observation", 200, Outcome.DONE, removed=7, returned=3
)
OVER_TWO = replace(SEARCH, found="p1:2 p2:1")


def entry(made: Access, patient: str = "p1") -> Entry:
    return entry_of(made, Names({}, {}), PersonId("pat"), patient)


@pytest.mark.parametrize(("patient", "records"), [("p1", 2), ("p2", 1), ("p10", 0), ("1", 0)])
def test_an_answer_over_several_people_says_of_each_their_own_and_nothing_of_the_others(
    patient: str, records: int
) -> None:
    """What was kept back from it may have been anybody's, so that nobody is shown how much."""
    found = entry(OVER_TWO, patient)

    assert (found.records, found.among_others, found.removed) == (records, True, 0)


def test_an_answer_about_one_person_says_how_much_it_had_and_how_much_was_kept_back() -> None:
    found = entry(replace(SEARCH, patient="p1"))

    assert (found.records, found.among_others, found.removed) == (3, False, 7)


def test_what_was_refused_showed_nothing() -> None:
    assert entry(replace(OVER_TWO, outcome=Outcome.REFUSED)).records == 0
