"""Whether an app keeps to what its entry asks of its service, of what it causes itself (C228)."""

from dataclasses import astuple, replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.policy.matrix.comparison import privilege_increases
from hilum.policy.matrix.document import read_stored, render
from hilum.policy.matrix.models import Criteria, Tier
from hilum.policy.matrix.strictness import stricter
from hilum.records.audit.models import SERVED_EDGES_MS, Served
from hilum.review.recertification import serving
from hilum.review.recertification.models import Criterion, Finding, Severity, State
from hilum.review.recertification.policy import limits_in, limits_under
from tests.sim.world import START
from tests.unit.policy.matrix.books import HIGH_ENTRY, book, faults_of
from tests.unit.policy.matrix.observed_books import low

ASKED = Criteria(
    unavailable_percent=5, errors_percent=10, latency_ms_p95=2_000, least_calls=1_000, grace_days=60
)
NOTHING = Criteria()
DUE = START + timedelta(days=60)
BOOK = book()


def calls(quick: int = 0, slow: int = 0, **ended: int) -> Served:
    """Answers within 50 ms, ``slow`` ones between 2 and 3 seconds, and what ended otherwise."""
    buckets = [0] * (len(SERVED_EDGES_MS) + 1)
    buckets[0], buckets[SERVED_EDGES_MS.index(3_000)] = quick, slow
    return Served(answered=tuple(buckets), **ended)


def verdicts(own: Served, others: Served, criteria: Criteria = ASKED) -> dict[str, bool | None]:
    found = serving.measure({"general": own}, {"general": own + others}, criteria)
    return {each.criterion.value: each.exceeded for each in found}


QUICK, ALL_KEPT = calls(1_000), {"availability": False, "errors": False, "latency": False}


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (calls(1_000), QUICK, {}),
        (calls(950, throttled=50), QUICK, {"latency": None}),
        (calls(949, throttled=51), QUICK, {"availability": True, "errors": None, "latency": None}),
        (calls(900, mistaken=100), QUICK, {"latency": None}),
        (calls(899, mistaken=101), QUICK, {"errors": True, "latency": None}),
        # A quota that was used up is not counted twice.
        (calls(9_000, mistaken=1_000, throttled=10), QUICK, {}),
        (calls(950, slow=50), QUICK, {}),
        (calls(949, slow=51), QUICK, {"latency": True}),
        (calls(998), QUICK, {"availability": None, "errors": None, "latency": None}),
        # What the hospital's server and the policy cause counts against no app.
        (calls(1_000, failed=9_000, refused=9_000), QUICK, {}),
        (calls(0, slow=2_000), calls(949, slow=51), {"latency": None}),
        (calls(0, slow=2_000), calls(950, slow=50), {"latency": True}),
        (calls(0, slow=2_000), calls(99), {"latency": None}),
        (calls(0, slow=2_000), calls(100), {"latency": True}),
        (calls(0, slow=2_000), calls(), {"latency": None}),
    ],
)
def test_only_what_an_app_causes_counts_against_it_once_there_are_enough_calls(
    own: Served, others: Served, expected: dict[str, bool | None]
) -> None:
    """C228."""
    if own.calls - own.throttled < 1_000 and "errors" not in expected:
        expected = {"errors": None, **expected}
    assert verdicts(own, others) == ALL_KEPT | expected


def test_calls_of_several_hospitals_count_together_but_slow_answers_only_where_the_server_is_quick() -> None:
    own = {"general": calls(600, slow=200), "mercy": calls(0, slow=5_000), "children": calls(600)}
    totals = {
        "general": own["general"] + QUICK,
        "mercy": own["mercy"] + calls(0, slow=500),
        "children": own["children"] + QUICK,
    }

    availability, errors, latency = serving.measure(own, totals, ASKED)

    assert (availability.of, errors.of) == (6_400, 6_400)
    assert (latency.hits, latency.of, latency.exceeded, latency.percent) == (200, 1_400, True, 14.3)


@pytest.mark.parametrize(
    ("criteria", "measured"),
    [
        (NOTHING, []),
        (replace(NOTHING, errors_percent=99), ["errors"]),
        (replace(NOTHING, unavailable_percent=99), ["availability"]),
        (replace(NOTHING, latency_ms_p95=1), ["latency"]),
        (replace(NOTHING, least_calls=100, grace_days=1), []),
    ],
)
def test_what_a_entry_does_not_ask_is_not_measured(criteria: Criteria, measured: list[str]) -> None:
    own = calls(2_000)

    found = serving.measure({"general": own}, {}, criteria)

    assert [each.criterion.value for each in found] == measured
    assert serving.asks(criteria) is bool(measured)


def held(*criteria: str) -> list[Finding]:
    app, vendor = AppId("app_1"), VendorId("ven_1")
    graded = Severity.MEDIUM, State.OPEN
    return [
        Finding("fnd_1", app, vendor, "cert_1", serving.RULE, each, *graded, "", "", "", START, START)
        for each in criteria
    ]


def concerns(own: Served, *open_: str, public: bool = False) -> list[Any]:
    found = serving.measure({"general": own}, {"general": own + QUICK}, ASKED)
    return list(serving.concerns_of(found, held(*open_), public=public, due_at=DUE))


def test_what_is_exceeded_is_a_finding_with_the_grace_as_its_deadline() -> None:
    """C228: sixty days, unless the entry says otherwise."""
    (found,) = concerns(calls(2_000, mistaken=1_000))

    assert (found.rule, found.about, found.severity, found.certain, found.due_at) == (
        serving.RULE,
        "errors",
        Severity.MEDIUM,
        True,
        DUE,
    )
    assert "33.3 % of its calls" in found.evidence
    assert "allows 10 %" in found.evidence


def test_what_is_no_longer_known_keeps_a_finding_open_and_opens_none() -> None:
    assert concerns(calls(10, mistaken=10)) == []
    (kept,) = concerns(calls(10, mistaken=10), "errors")
    assert (kept.about, kept.certain) == ("errors", False)
    assert concerns(calls(2_000), "errors") == [], "fixed"


def test_of_an_app_with_a_public_client_it_weighs_least() -> None:
    """Whoever uses it holds its tokens."""
    (found,) = concerns(calls(2_000, mistaken=1_000), public=True)

    assert found.severity is Severity.LOW
    assert "public client" in found.evidence


# --- the entry ------------------------------------------------------------------------------------------------------------------

FIELDS = ("unavailable_percent", "errors_percent", "latency_ms_p95", "least_calls", "grace_days")


def test_a_entry_that_says_nothing_asks_nothing_and_the_shipped_book_asks_more_of_higher_tiers() -> None:
    asked = {
        tier: astuple(limits_in(BOOK.categories["scheduling"].entries[tier]).service)
        for tier in (Tier.LOW, Tier.MODERATE)
    }

    assert limits_in(low(BOOK)).service == NOTHING
    assert asked == {Tier.LOW: astuple(NOTHING), Tier.MODERATE: (5, 10, 3_000, 1_000, 60)}
    assert astuple(limits_in(BOOK.categories["order_entry"].entries[Tier.HIGH]).service) == (
        2,
        5,
        2_000,
        1_000,
        60,
    )


def test_what_a_entry_asks_is_read_again_as_it_was_written_and_narrows() -> None:
    """C210: asking more takes one person, asking less two."""
    asked = dict(zip((f"{HIGH_ENTRY}.service_{name}" for name in FIELDS), (1, 1, 500, 100, 0), strict=True))
    made = book(asked)

    again, faults = read_stored(render(made), made.digest)

    assert faults == ()
    assert again is not None
    entry = again.categories["care_recommendations"].entries[Tier.HIGH]
    assert astuple(limits_in(entry).service) == (1, 1, 500, 100, 0)
    assert privilege_increases(BOOK, made) == ()
    assert {each.path for each in privilege_increases(made, BOOK)} == {*asked}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("unavailable_percent", 0, "out_of_range"),
        ("errors_percent", 101, "out_of_range"),
        ("latency_ms_p95", "fast", "out_of_range"),
        ("least_calls", 99, "out_of_range"),
        ("grace_days", -1, "out_of_range"),
        ("errors_percent", None, "missing"),
        ("errors", 5, "unknown"),
        ("errors_percent", 11, "looser_than_lower_tier"),
        ("grace_days", 61, "looser_than_lower_tier"),
    ],
)
def test_what_a_entry_cannot_ask_is_refused(field: str, value: Any, code: str) -> None:
    assert (f"{HIGH_ENTRY}.service_{field}", code) in faults_of({f"{HIGH_ENTRY}.service_{field}": value})


def test_of_several_entries_the_strictest_counts_and_a_entry_that_is_gone_asks_nothing() -> None:
    """C19."""
    one, other = (
        replace(low(BOOK), service_errors_percent=7),
        replace(low(BOOK), service_errors_percent=9, service_grace_days=30),
    )

    assert limits_in(stricter(one, other)).service == replace(NOTHING, errors_percent=7, grace_days=30)
    assert limits_under(BOOK, ["gone"], [Tier.HIGH]).service == NOTHING
    both = limits_under(BOOK, ["care_recommendations", "gone"], [Tier.HIGH])
    assert both.service.errors_percent == 5
    assert Criterion.ERRORS.value == "errors"
