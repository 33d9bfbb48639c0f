"""An entry whose tightening is observed until a day: as it was before it, as it says from it on, and never such as loosens anything (C209)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.ids import TenantId
from hilum.policy.matrix.comparison import observe_faults, privilege_increases
from hilum.policy.matrix.document import read_book, read_stored, render
from hilum.policy.matrix.in_force import PolicyFacts, as_enforced, as_of
from hilum.policy.matrix.models import Applicant, Book, ClientAuthentication, Tier
from hilum.policy.matrix.observed_entries import OBSERVE_BOUND
from hilum.policy.matrix.policy import admit, tiers_to_certify
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.policy.matrix.books import book, document
from tests.unit.policy.matrix.observed_books import DAY, ENTRIES, LOW, TODAY, added, at, low, observed

WAS = shipped_book().categories["scheduling"].entries[Tier.LOW]
LOST = "user/Slot.rs"
SCOPES = [each for each in document()["categories"]["scheduling"]["entries"]["low"]["scopes"] if each != LOST]
FEWER = {f"{LOW}.scopes": SCOPES}
SLOWER = {f"{LOW}.quota": {"rate_per_s": 1, "burst": 2}}
FASTER = {f"{LOW}.quota": {"rate_per_s": 1, "burst": WAS.quota.burst + 1}}
APP = Applicant("scheduling", (LOST,), ClientAuthentication.KEY, (), (), certified_tier=Tier.LOW)


# --- before the day and from it on ---------------------------------------------------------------------------------------------


def test_before_its_day_a_entry_is_as_it_was_and_from_it_on_as_it_says_without_a_job() -> None:
    """The day begins in UTC, wherever the hospital is."""
    facts = PolicyFacts(observed(FEWER | SLOWER))
    before = facts.book_at(TenantId("general"), at(DAY) - timedelta(microseconds=1))
    after = facts.book_at(TenantId("general"), at(DAY))

    assert low(before) == WAS
    assert admit(before, APP).scopes == (LOST,)
    assert low(after).quota.burst == 2
    assert admit(after, APP).scopes == ()


def test_only_the_limits_that_are_named_are_observed_and_the_others_count_at_once() -> None:
    now = low(as_of(observed(FEWER | SLOWER, limits=["quota.burst"]), at(TODAY)))

    assert (now.quota.rate_per_s, now.quota.burst) == (1, WAS.quota.burst)
    assert LOST not in now.scopes


def test_a_higher_entry_lists_what_a_lower_one_is_yet_to_lose() -> None:
    """Else an app that a reviewer raised would lose it today."""
    one = observed(FEWER)
    now, then = (as_of(one, at(day)).categories["scheduling"].entries for day in (TODAY, DAY))

    assert all(LOST in entry.scopes for entry in now.values())
    assert not any(LOST in entry.scopes for entry in then.values())


def test_new_certifications_and_dry_runs_judge_by_the_entry_as_it_will_be_enforced() -> None:
    one = observed(FEWER | SLOWER, limits=["scopes"])

    assert low(as_enforced(one, at(TODAY))) == low(one) != WAS
    assert set(tiers_to_certify(one, APP)) == set(tiers_to_certify(shipped_book(), APP))


def test_a_book_at_one_moment_is_one_object_and_stays_itself_when_asked_again() -> None:
    """What a policy admits is cached by it."""
    one = observed(FEWER)
    now = as_of(one, at(TODAY))

    assert as_of(one, at(TODAY, 5)) is now
    assert as_of(now, at(TODAY)) is now
    assert as_of(one, at(DAY)) is one


def test_what_a_entry_was_survives_being_stored_and_changes_the_digest() -> None:
    one = observed(FEWER | SLOWER)
    again, faults = read_stored(render(one), one.digest)
    added_again, _ = read_book(render(one))

    assert faults == ()
    assert again is not None
    assert added_again is not None
    assert low(as_of(again, at(TODAY))) == WAS
    assert added_again.digest == one.digest
    assert len({one.digest, book(FEWER | SLOWER).digest, observed(FEWER | SLOWER, until=TODAY).digest}) == 3


def test_a_document_made_from_one_in_force_keeps_its_observation() -> None:
    """Published again while the first is observed, it takes what the entry was from what is in force today, which is what it was."""
    in_force = as_of(observed(SLOWER), at(TODAY))
    change = {**SLOWER, f"{LOW}.observe": {"until": DAY.isoformat()}}

    made, faults = read_book(document(change), against=lambda: in_force)

    assert faults == ()
    assert made is not None
    assert low(as_of(made, at(TODAY))) == WAS


# --- what is not observed ------------------------------------------------------------------------------------------------------

MORE = {f"{LOW}.certificate_life": "1000 d"}
REFUSED = [
    ("a loosening", {f"{LOW}.quota": {"rate_per_s": 999, "burst": 9_999}}, None, "observed_widens"),
    ("a mixed entry", FASTER, None, "observed_mixed"),
    (
        "a mixed list of scopes",
        {f"{LOW}.scopes": [*SCOPES, "user/Immunization.rs"]},
        ["scopes"],
        "observed_mixed",
    ),
    ("the looser one of two limits", FASTER, ["quota.burst"], "observed_widens"),
    ("nothing", {}, None, "observed_nothing"),
    ("a limit that is the same", SLOWER, ["scopes"], "observed_nothing"),
    ("a limit that is none", SLOWER, ["quota"], "word_unknown"),
    ("review clocks", SLOWER, ["review"], "word_unknown"),
    ("a limit twice", SLOWER, ["scopes", "scopes"], "repeated"),
]


@pytest.mark.parametrize(
    ("change", "limits", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_only_what_tightens_is_observed(change: dict[str, Any], limits: list[str] | None, code: str) -> None:
    assert code in added(change, limits=limits)[1]


def test_of_a_mixed_entry_what_tightens_is_observed_if_it_is_named() -> None:
    """The rest counts at once, and takes two people as everywhere (C210)."""
    one = observed(FASTER, limits=["quota.rate_per_s"])

    assert low(as_of(one, at(TODAY))).quota.rate_per_s == WAS.quota.rate_per_s
    assert [each.path for each in privilege_increases(shipped_book(), one)] == [f"{LOW}.quota.burst"]


@pytest.mark.parametrize(
    ("observe", "code"),
    [
        ({}, "missing"),
        ({"until": "soon"}, "not_a_date"),
        ({"until": DAY.isoformat(), "why": "x"}, "unknown"),
        ({"until": DAY.isoformat(), "limits": ["scopes"], "earlier": render(shipped_book())["categories"]["scheduling"]["entries"]["low"]}, "contradictory"),
        ({"until": DAY.isoformat(), "earlier": {"scopes": ["user/Nonsense.r"], "observe": {"until": DAY.isoformat()}}}, "contradictory"),
        ([], "not_a_table"),
    ],
    ids=["no day", "no date", "a field that there is not", "both", "twice", "no table"],
)  # fmt: skip
def test_what_says_nothing_clear_does_not_validate(observe: Any, code: str) -> None:
    made, faults = read_book(document({**SLOWER, f"{LOW}.observe": observe}), against=shipped_book)

    assert made is None
    assert code in {each.code for each in faults}


def test_a_new_entry_was_nothing_and_is_not_observed() -> None:
    entry = document()["categories"]["scheduling"]["entries"]["low"]
    new = {
        "title": "New",
        "floor": "low",
        "open": False,
        "entries": {"low": entry | {"observe": {"until": DAY.isoformat()}}},
    }

    _, faults = read_book(document({"categories.brand_new": new}), against=shipped_book)

    assert [each.code for each in faults] == ["observed_new"]


@pytest.mark.parametrize(
    ("days", "codes"),
    [(-1, []), (0, []), (OBSERVE_BOUND.days, []), (OBSERVE_BOUND.days + 1, ["observed_too_long"])],
)
def test_a_entry_is_observed_for_a_bounded_time(days: int, codes: list[str]) -> None:
    assert added(SLOWER, until=TODAY + timedelta(days=days))[1] == codes


def test_the_book_is_sound_also_before_the_day() -> None:
    """A higher entry that is observed while the lower one tightens at once would be the looser one meanwhile."""
    short = {"certificate_life": "30 d"}
    change = {
        f"{ENTRIES}.{tier}.{name}": life for tier in ("low", "moderate") for name, life in short.items()
    }

    assert "looser_than_lower_tier" in added(change, place=f"{ENTRIES}.moderate")[1]
    assert added(change)[1] == []


def test_entries_are_observed_until_a_few_different_days() -> None:
    change: dict[str, Any] = {}
    for n, name in enumerate(("scheduling", "analytics", "order_entry", "patient_communication")):
        tier = next(iter(shipped_book().categories[name].entries)).value
        change |= {
            f"categories.{name}.entries.{tier}.quota": {"rate_per_s": 1, "burst": 1},
            f"categories.{name}.entries.{tier}.observe": {"until": (DAY + timedelta(days=n)).isoformat()},
        }
    made, faults = read_book(document(change), against=shipped_book)

    assert made is not None, faults
    assert "too_many_days" in {each.code for each in observe_faults(made, TODAY)}


# --- the new-access check ------------------------------------------------------------------------------------------------------

# Built when they are tested: every worker of a run imports this.
Pair = Callable[[], tuple[Book, Book]]
NARROWS: list[tuple[str, Pair]] = [
    ("a tightening that is observed", lambda: (shipped_book(), observed(FEWER | SLOWER))),
    (
        "one that is enforced sooner",
        lambda: (observed(SLOWER), observed(SLOWER, until=DAY - timedelta(days=1))),
    ),
    ("one that is enforced at once", lambda: (observed(SLOWER), book(SLOWER))),
    ("the same", lambda: (observed(SLOWER), observed(SLOWER))),
    ("less of it", lambda: (observed(FEWER | SLOWER), observed(FEWER | SLOWER, limits=["scopes"]))),
]
WIDENS: list[tuple[str, Pair]] = [
    ("one that was enforced", lambda: (book(SLOWER), observed(SLOWER))),
    (
        "one that is observed for longer",
        lambda: (observed(SLOWER), observed(SLOWER, until=DAY + timedelta(days=1))),
    ),
    ("one that is dropped", lambda: (observed(SLOWER), shipped_book())),
    ("more of it", lambda: (observed(FEWER | SLOWER, limits=["scopes"]), observed(FEWER | SLOWER))),
]


@pytest.mark.parametrize("books", [row[1] for row in NARROWS], ids=[row[0] for row in NARROWS])
def test_observing_a_tightening_takes_one_person(books: Pair) -> None:
    before, after = books()
    assert privilege_increases(before, after) == ()


@pytest.mark.parametrize("books", [row[1] for row in WIDENS], ids=[row[0] for row in WIDENS])
def test_a_tightening_that_is_no_longer_or_later_enforced_takes_two_people(books: Pair) -> None:
    """C210: nobody puts an end off by publishing it again, alone."""
    before, after = books()
    assert privilege_increases(before, after)


def test_a_entry_is_never_looser_before_its_day_than_what_it_was() -> None:
    """What a document states as earlier is compared too: nobody slips a looser entry in for some weeks."""
    earlier = render(shipped_book())["categories"]["scheduling"]["entries"]["low"] | {
        "certificate_life": "1000 d"
    }
    one = book({**SLOWER, f"{LOW}.observe": {"until": DAY.isoformat(), "earlier": earlier}})

    assert f"{LOW}.certificate_life" in {each.path for each in privilege_increases(shipped_book(), one)}
