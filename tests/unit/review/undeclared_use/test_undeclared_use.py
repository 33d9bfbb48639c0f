"""Which counted use exceeds what a version declares, and of which tier the version is by it (C21)."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.policy.matrix.models import UNCLASSIFIED, Applicant, Autonomy, Tier
from hilum.policy.matrix.shipped import shipped_book
from hilum.records.audit.models import BusyDay, PermitCount, ReachedDay
from hilum.review.undeclared_use.jobs import KnownDays
from hilum.review.undeclared_use.models import SENTENCES_SHOWN, ExcessKind, Use, Volume
from hilum.review.undeclared_use.policy import (
    can_exceed,
    days_over,
    excesses,
    in_words,
    risen_to,
    sentence,
    volume_excesses,
)
from tests.unit.policy.matrix.books import book, document

AT = datetime(2026, 11, 20, tzinfo=UTC)
BOOK = shipped_book()
RULE = {
    "name": "reconciles",
    "tier": "high",
    "because": "it is for {workflow}",
    "workflows": ["medication_reconciliation", "quality_reporting"],
}
RISKY = book({"tier_rules": [*document()["tier_rules"], RULE]})
"""Two workflows are of the high tier in it."""
APPLICANT = Applicant(
    UNCLASSIFIED, ("patient/*.rs",), workflows=("appointments",), placements=(), certified_tier=Tier.MODERATE
)


def use(rule: str, type_: str, interaction: str = "read", number: int = 3, *, backend: bool = False) -> Use:
    return Use(PermitCount(rule, type_, interaction, number, AT), backend)


WRITES = use("patient/Appointment.cu", "Appointment", "create")
BY_A_BACKEND = replace(WRITES, backend=True)
READS = use("patient/Appointment.rs", "Appointment")


@pytest.mark.parametrize(
    "within",
    [
        use("patient/Appointment.rs", "Appointment"),
        use("patient/*.rs", "Appointment", "search-type"),
        use("system/Appointment.rs", "Appointment", backend=True),
        # The workflow lists it of one chart and of many alike: for a person it is the same.
        use("user/AppointmentResponse.rs", "AppointmentResponse"),
        use("user/Appointment.cu", "Appointment", "update"),
        # By one of two scopes it is declared.
        use("patient/Appointment.rs, user/Appointment.rs", "Appointment"),
        # The own record of who is signed in needs no workflow.
        use("fhirUser", "Practitioner"),
        # Nothing that a scope permits: it says nothing about scopes.
        use("", "Observation"),
        use("patient/*.rs", "", "metadata"),
    ],
)
def test_use_that_a_declared_workflow_needs_exceeds_nothing(within: Use) -> None:
    assert excesses(BOOK, APPLICANT, [within]) == ()


@pytest.mark.parametrize(
    ("beyond", "what"),
    [
        (use("patient/*.rs", "Immunization"), "it used patient/Immunization.r, for"),
        (use("patient/Observation.rs", "Observation", "search-type"), "it used patient/Observation.s, for"),
        (
            use("patient/Coverage.cu", "Coverage", "create"),
            "it used patient/Coverage.c, which no workflow needs",
        ),
    ],
)
def test_use_that_no_declared_workflow_needs_is_listed_with_those_that_need_it(
    beyond: Use, what: str
) -> None:
    (found,) = excesses(BOOK, APPLICANT, [beyond, READS])

    assert found.kind is ExcessKind.WORKFLOW
    assert found.what.startswith(what)
    assert (found.number, found.last) == (3, AT)


@pytest.mark.parametrize(
    ("type_", "tier"),
    [("MedicationDispense", Tier.HIGH), ("MedicationStatement", Tier.LOW), ("Task", Tier.LOW)],
)
def test_what_is_used_beyond_has_the_tier_that_the_version_would_have_had_it_declared_it(
    type_: str, tier: Tier
) -> None:
    """C18: the same function, with what was observed in place of what was declared; of several workflows the mildest."""
    applicant = replace(APPLICANT, category="scheduling", scopes=("patient/Appointment.rs",))

    (found,) = excesses(RISKY, applicant, [use(f"patient/{type_}.rs", type_)])

    assert found.assessment.tier is tier


@pytest.mark.parametrize(
    ("autonomy", "seen", "kind", "tier"),
    [
        (Autonomy.INFORMS, READS, None, None),
        (Autonomy.INFORMS, WRITES, ExcessKind.AI_WRITES, Tier.MODERATE),
        (Autonomy.INFORMS, BY_A_BACKEND, ExcessKind.AI_ACTS_ALONE, Tier.HIGH),
        (Autonomy.DRAFTS, WRITES, None, None),
        (Autonomy.DRAFTS, BY_A_BACKEND, ExcessKind.AI_ACTS_ALONE, Tier.HIGH),
        (Autonomy.ACTS_AFTER_HUMAN_STEP, WRITES, None, None),
        (Autonomy.ACTS_AFTER_HUMAN_STEP, BY_A_BACKEND, ExcessKind.AI_ACTS_ALONE, Tier.HIGH),
        (Autonomy.ACTS_ALONE, BY_A_BACKEND, None, None),
        (None, BY_A_BACKEND, None, None),
    ],
)
def test_writes_exceed_an_ai_that_is_declared_to_do_less(
    autonomy: Autonomy | None, seen: Use, kind: ExcessKind | None, tier: Tier | None
) -> None:
    """C23."""
    found = excesses(BOOK, replace(APPLICANT, autonomy=autonomy), [seen])

    assert [each.kind for each in found] == ([kind] if kind else [])
    assert [each.assessment.tier for each in found if tier] == ([tier] if tier else [])


@pytest.mark.parametrize(
    ("workflows", "autonomy", "possible"),
    [
        (("appointments",), None, True),
        (("*",), None, False),
        ((), None, False),
        ((), Autonomy.INFORMS, True),
        (("*",), Autonomy.DRAFTS, True),
        (("*",), Autonomy.ACTS_ALONE, False),
    ],
)
def test_what_declares_everything_or_nothing_in_particular_is_exceeded_by_nothing(
    workflows: tuple[str, ...], autonomy: Autonomy | None, *, possible: bool
) -> None:
    applicant = replace(APPLICANT, workflows=workflows, autonomy=autonomy)
    seen = [use("patient/*.cruds", "Immunization", "create", backend=True), WRITES]

    assert can_exceed(applicant) is possible
    assert bool(excesses(BOOK, applicant, seen)) is possible


def test_a_declared_workflow_that_the_book_no_longer_has_needs_nothing() -> None:
    gone = replace(APPLICANT, workflows=("retired",))

    assert len(excesses(BOOK, gone, [READS])) == 1


def test_equal_uses_are_one_with_the_sum_and_the_last_moment_in_whatever_order_they_come() -> None:
    later = PermitCount("patient/*.rs", "Immunization", "read", 2, AT + timedelta(days=1))
    uses = [use("patient/*.rs", "Immunization"), Use(later), use("patient/*.rs", "Flag", number=1)]

    found = {excesses(BOOK, APPLICANT, order) for order in permutations(uses)}

    (one,) = found
    assert sorted((each.number, each.last) for each in one) == [(1, AT), (5, AT + timedelta(days=1))]
    assert "(5 times, last on 2026-11-21)" in sentence(one)
    assert "(once, last on 2026-11-20)" in sentence(one)


def test_the_sentence_lists_some_and_counts_the_others() -> None:
    types = sorted({each.split("/")[1].split(".")[0] for each in BOOK.workflows["chart_review"].scopes or ()})
    found = excesses(BOOK, APPLICANT, [use(f"patient/{each}.r", each) for each in types])

    assert len(found) > SENTENCES_SHOWN
    assert sentence(found).endswith(f"; and {len(found) - SENTENCES_SHOWN} more")
    assert in_words(found) == "it uses scopes that none of its declared workflows needs"


@given(st.lists(st.sampled_from([READS, WRITES, BY_A_BACKEND, use("patient/*.rs", "Flag")]), max_size=6))
def test_more_use_never_lowers_the_tier_and_no_use_leaves_the_certified_one(uses: list[Use]) -> None:
    applicant = replace(APPLICANT, autonomy=Autonomy.INFORMS)
    tiers = [risen_to(Tier.LOW, excesses(BOOK, applicant, uses[:n])).rank for n in range(len(uses) + 1)]

    assert tiers == sorted(tiers)
    assert tiers[0] == Tier.LOW.rank


def busy(calls: int, writes: int, day: int = 20, tenant: str = "general") -> BusyDay:
    return BusyDay(tenant, date(2026, 11, day), calls, writes)


@pytest.mark.parametrize(
    "volume",
    [
        Volume(100, 10),
        Volume(100, 10, (busy(100, 10),)),
        # Nothing is declared of it.
        Volume(None, 10, (busy(10**6, 10),)),
        Volume(100, None, (busy(100, 100),)),
        # Two hospitals, each within what is declared for one.
        Volume(100, 10, (busy(100, 10), busy(100, 10, tenant="children"))),
    ],
)
def test_a_service_that_does_no_more_in_a_day_than_it_declares_exceeds_nothing(volume: Volume) -> None:
    assert volume_excesses(BOOK, APPLICANT, [volume]) == ()


def test_a_day_with_more_calls_or_writes_than_declared_is_listed_with_the_most_and_the_last() -> None:
    """C21."""
    days = (busy(130, 0, 18), busy(101, 0, 19, "children"), busy(100, 11, 17), busy(90, 0, 21))

    calls, writes = volume_excesses(BOOK, APPLICANT, [Volume(100, 10, days)])

    assert str(calls) == (
        "it made up to 130 calls in a day at one hospital, and declares 100 at most (2 times, last on 2026-11-19)"
    )
    assert str(writes) == (
        "it made up to 11 writes in a day at one hospital, and declares 10 at most (once, last on 2026-11-17)"
    )
    assert in_words([calls]) == "a backend service of it calls more often in a day than it declares"
    assert risen_to(Tier.MODERATE, [calls, writes]) is Tier.MODERATE


def test_a_service_that_declares_no_writes_exceeds_it_with_the_first() -> None:
    assert len(volume_excesses(BOOK, APPLICANT, [Volume(None, 0, (busy(1, 1),))])) == 1


def reached(patients: int, outside: int, day: int = 20) -> ReachedDay:
    return ReachedDay(date(2026, 11, day), patients, outside)


@pytest.mark.parametrize(
    "volume",
    [
        Volume(None, None, patients_a_day=100, reached=(reached(100, 5),)),
        Volume(None, None, hours="22:00-05:00", reached=(reached(10**6, 0),)),
        Volume(None, None, reached=(reached(10**6, 10**6),)),
    ],
)
def test_whom_and_when_a_service_reaches_is_judged_by_what_it_declares_of_that_alone(volume: Volume) -> None:
    assert volume_excesses(BOOK, APPLICANT, [volume]) == ()


def test_a_day_with_more_patients_or_with_calls_at_other_hours_is_listed() -> None:
    """C21, C17."""
    days = (reached(130, 0, 18), reached(101, 3, 19), reached(100, 7, 17))
    volume = Volume(None, None, patients_a_day=100, hours="22:00-05:00", reached=days)

    patients, hours = volume_excesses(BOOK, APPLICANT, [volume])

    assert str(patients) == (
        "it reached up to 130 patients in a day at one hospital, and declares 100 at most (2 times, last on 2026-11-19)"
    )
    assert str(hours) == (
        "it made up to 7 calls in a day at one hospital outside the hours that it declares (22:00-05:00 UTC)"
        " (2 times, last on 2026-11-19)"
    )
    assert "more patients" in in_words([patients])
    assert "outside the hours" in in_words([hours])


def test_a_day_is_judged_once_it_is_over_and_indexed_and_that_of_the_certification_is_not() -> None:
    since, midnight = datetime(2026, 11, 17, 12, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)

    assert days_over(since, midnight + timedelta(hours=1)) == [date(2026, 11, 18)]
    assert days_over(since, midnight + timedelta(hours=2)) == [date(2026, 11, 18), date(2026, 11, 19)]
    assert days_over(since, since) == []


def test_a_day_is_read_once_and_forgotten_with_those_that_are_judged_and_costs_the_same_for_each_service() -> (
    None
):
    """However many services there are: what is known is not gone over for each of their days."""
    compared: list[date] = []
    read: list[tuple[str, date]] = []

    class Day(date):
        def __gt__(self, other: date) -> bool:
            compared.append(other)
            return super().__gt__(other)

    def note(client: str, day: date, _: object) -> tuple[ReachedDay, ...]:
        read.append((client, day))
        return ()

    known = KnownDays(note, lambda: True)
    days = [Day(2026, 10, 1) + timedelta(days=n) for n in range(30)]
    for _ in range(2):
        for client in map(str, range(40)):
            for day in days:
                assert known(client, day, None) == ()
    assert len(read) == len(set(read)) == 40 * 30
    assert len(compared) < 4 * len(read)

    known("0", Day(2027, 1, 1), None)
    known("0", days[0], None)
    assert read[-2:] == [("0", date(2027, 1, 1)), ("0", days[0])]
