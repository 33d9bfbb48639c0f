"""A tier rule that is observed until a day: advisory before it, enforced from it on, and never such as allows anything (C209)."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.ids import TenantId
from hilum.policy.matrix.comparison import observe_faults, widenings
from hilum.policy.matrix.document import read_stored, render
from hilum.policy.matrix.in_force import PolicyFacts, as_enforced, as_of
from hilum.policy.matrix.models import Applicant, Book, ClientAuthentication, Tier
from hilum.policy.matrix.observed_cells import OBSERVE_BOUND
from hilum.policy.matrix.override_models import Level
from hilum.policy.matrix.policy import admit, assess
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.policy.matrix.books import book, document, faults_of

TODAY = date(2026, 3, 2)
DAY = TODAY + timedelta(days=30)
RULE = {
    "name": "reads-slots",
    "tier": "high",
    "because": "it reads {type}",
    "categories": ["scheduling"],
    "types": ["Slot"],
}
APP = Applicant("scheduling", ("user/Slot.rs",), ClientAuthentication.KEY, (), (), certified_tier=Tier.LOW)
LAST = len(document()["tier_rules"])


def rules(**change: Any) -> dict[str, Any]:
    stated = {name: value for name, value in (RULE | change).items() if value is not None}
    return {"tier_rules": [*document()["tier_rules"], stated]}


def observed(until: date | None = DAY, **change: Any) -> Book:
    return book(rules(observe_until=None if until is None else until.isoformat(), **change))


def at(day: date, hour: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def test_before_its_day_a_rule_refuses_nothing_and_is_reported() -> None:
    now = as_of(observed(), at(DAY - timedelta(days=1), 23))

    assert assess(now, APP).tier is assess(shipped_book(), APP).tier
    assert [each.rule for each in assess(now, APP).advice] == ["reads-slots"]
    assert admit(now, APP).scopes == admit(shipped_book(), APP).scopes == APP.scopes


def test_from_its_day_on_it_is_enforced_without_a_job() -> None:
    """The day begins in UTC, wherever the hospital is."""
    facts = PolicyFacts(observed())
    before = facts.book_at(TenantId("general"), at(DAY) - timedelta(microseconds=1))
    after = facts.book_at(TenantId("general"), at(DAY))

    assert assess(before, APP).tier is Tier.LOW
    assert assess(after, APP).tier is Tier.HIGH
    assert admit(after, APP).scopes == ()


def test_a_book_at_one_moment_is_one_object_and_the_same_when_asked_twice() -> None:
    """What a book admits is cached by it."""
    one = observed()

    assert as_of(one, at(TODAY)) is as_of(one, at(TODAY, 5))
    assert assess(as_of(as_of(one, at(TODAY)), at(TODAY)), APP) == assess(as_of(one, at(TODAY)), APP)
    assert as_of(one, at(DAY)) is one
    assert as_enforced(one, at(TODAY)) is one


def test_the_day_survives_being_stored_and_changes_the_digest() -> None:
    one = observed()
    again, faults = read_stored(render(one), one.digest)

    assert faults == ()
    assert again is not None
    assert [each.observe_until for each in again.observed] == [DAY]
    assert len({one.digest, observed(None).digest, observed(DAY + timedelta(days=1)).digest}) == 3


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"observe_until": "soon"}, "not_a_date"),
        ({"observe_until": 30}, "not_a_date"),
        ({"observe_until": DAY.isoformat(), "level": "advisory"}, "contradictory"),
    ],
)
def test_an_observed_rule_that_says_nothing_clear_does_not_validate(
    change: dict[str, Any], fault: str
) -> None:
    assert (f"tier_rules[{LAST}].observe_until", fault) in faults_of(rules(**change))


def test_what_keeps_a_security_floor_is_not_observed() -> None:
    """C22: writes to orders, medications and notes are of the high tier on every day."""
    floors = [rule | {"observe_until": DAY.isoformat()} for rule in document()["tier_rules"]]

    assert ("tier_rules", "floor_lowered") in faults_of({"tier_rules": floors})


@pytest.mark.parametrize(
    ("days", "codes"),
    [(-1, []), (0, []), (OBSERVE_BOUND.days, []), (OBSERVE_BOUND.days + 1, ["observed_too_long"])],
)
def test_a_rule_is_observed_for_a_bounded_time(days: int, codes: list[str]) -> None:
    found = observe_faults(observed(TODAY + timedelta(days=days)), TODAY)
    assert [each.code for each in found] == codes


def test_what_allows_something_once_it_is_enforced_is_not_observed() -> None:
    """Of a rule for every category the higher cells have a better traffic class: that takes two people, and begins on no day by itself."""
    found = observe_faults(observed(categories=None), TODAY)

    assert [each.code for each in found] == ["observed_widens"]
    assert all(each.sentence.endswith(".") for each in found)


# Built when they are tested: every worker of a run imports this.
Pair = Callable[[], tuple[Book, Book]]
NARROWS: list[tuple[str, Pair]] = [
    ("a new rule that is observed", lambda: (shipped_book(), observed())),
    ("one that is enforced sooner", lambda: (observed(), observed(DAY - timedelta(days=1)))),
    ("one that is enforced at once", lambda: (observed(), observed(None))),
    ("the same", lambda: (observed(), observed())),
]
WIDENS: list[tuple[str, Pair]] = [
    ("one that was enforced", lambda: (observed(None), observed())),
    ("one that is observed for longer", lambda: (observed(), observed(DAY + timedelta(days=1)))),
    ("one that is dropped", lambda: (observed(), shipped_book())),
    ("one of a lower tier", lambda: (observed(None), observed(tier="moderate"))),
    ("one that says less and is observed", lambda: (observed(), observed(types=["Schedule"]))),
    ("one in another's place", lambda: (observed(None), observed(name="other"))),
]


@pytest.mark.parametrize("books", [each[1] for each in NARROWS], ids=[each[0] for each in NARROWS])
def test_observing_a_new_rule_takes_one_person(books: Pair) -> None:
    before, after = books()
    assert widenings(before, after) == ()


@pytest.mark.parametrize("books", [each[1] for each in WIDENS], ids=[each[0] for each in WIDENS])
def test_a_rule_that_is_no_longer_or_later_enforced_takes_two_people(books: Pair) -> None:
    """C210: nobody puts an end off by publishing it again, alone."""
    before, after = books()
    assert widenings(before, after)


def test_an_override_of_an_observed_rule_sets_nothing_aside_before_its_day() -> None:
    one = book(rules(observe_until=DAY.isoformat(), level="overridable") | {"overrides": {"longest": "30 d"}})

    (rule,) = (each for each in as_of(one, at(TODAY)).tier_rules if each.name == "reads-slots")
    assert rule.level is Level.ADVISORY
    (rule,) = (each for each in as_of(one, at(DAY)).tier_rules if each.name == "reads-slots")
    assert rule.level is Level.OVERRIDABLE
