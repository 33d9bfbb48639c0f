"""How many patients an app reaches counts for its risk tier, where the policy asks for it (C18, C21)."""

from dataclasses import replace
from typing import Any

import pytest

from hilum.policy.matrix.comparison import privilege_increases
from hilum.policy.matrix.document import read_book, render
from hilum.policy.matrix.exception_models import Population
from hilum.policy.matrix.models import Applicant, ClientAuthentication, Tier
from hilum.policy.matrix.policy import admit, assess
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.policy.matrix.books import book, document, faults_of

RULE = {
    "name": "reaches-many",
    "tier": "high",
    "because": "it reads {type} of {population}",
    "prefixes": ["system"],
    "populations": ["up_to_100000", "all"],
}


def with_rule(**change: Any) -> dict[str, Any]:
    return {"tier_rules": [*document()["tier_rules"], RULE | change]}


BOOK = book(with_rule())


def app(*scopes: str, population: Population | None, certified: Tier = Tier.HIGH) -> Applicant:
    return Applicant(
        "population_health",
        scopes,
        ClientAuthentication.KEY,
        (),
        (),
        certified_tier=certified,
        population=population,
    )


@pytest.mark.parametrize(
    ("population", "scope", "tier", "said"),
    [
        (Population.ONE, "system/Patient.rs", Tier.MODERATE, ""),
        (Population.UP_TO_1000, "system/Patient.rs", Tier.MODERATE, ""),
        (Population.UP_TO_100000, "system/Patient.rs", Tier.HIGH, "it reads Patient of up to 100,000 patients"),
        (Population.ALL, "system/Patient.rs", Tier.HIGH, "it reads Patient of every patient of the hospital"),
        # Who says nothing counts as reaching everybody.
        (None, "system/Patient.rs", Tier.HIGH, "it reads Patient of every patient of the hospital (its patients are not declared)"),
        (None, "user/Patient.rs", Tier.MODERATE, ""),
        (Population.ALL, "patient/Patient.rs", Tier.MODERATE, ""),
    ],
)  # fmt: skip
def test_the_tier_says_how_many_patients_are_reached(
    population: Population | None, scope: str, tier: Tier, said: str
) -> None:
    found = assess(BOOK, app(scope, population=population))

    assert found.tier is tier
    assert [each.sentence for each in found.reasons if each.rule == "reaches-many"] == (
        [said] if said else []
    )


def test_without_such_a_rule_no_population_counts() -> None:
    without = book({"tier_rules": [each for each in document()["tier_rules"] if "populations" not in each]})
    tiers = {
        assess(without, app("system/Condition.rs", population=each)).tier for each in (None, *Population)
    }

    assert tiers == {Tier.MODERATE}


@pytest.mark.parametrize(
    ("scope", "population", "tier"),
    [
        ("system/Condition.rs", Population.ONE, Tier.MODERATE),
        ("system/Condition.rs", Population.UP_TO_100000, Tier.MODERATE),
        ("system/Condition.rs", Population.ALL, Tier.HIGH),
        ("system/*.rs", Population.UP_TO_100000, Tier.MODERATE),
        ("system/*.rs", Population.ALL, Tier.HIGH),
        ("system/*.rs", None, Tier.HIGH),
        # Who they are and when they come is no health data.
        ("system/Patient.rs", Population.ALL, Tier.MODERATE),
        ("system/Appointment.rs", None, Tier.MODERATE),
        # A person reads one chart after the other.
        ("user/*.rs", Population.ALL, Tier.MODERATE),
    ],
)
def test_the_shipped_book_counts_who_reads_health_data_of_more_than_100000_patients_as_high(
    scope: str, population: Population | None, tier: Tier
) -> None:
    """C18."""
    found = assess(shipped_book(), app(scope, population=population))

    assert found.tier is tier
    said = [each.sentence for each in found.reasons if each.rule == "reads-of-many-patients"]
    assert bool(said) is (tier is Tier.HIGH)
    assert all("of more than 100,000 patients" in each for each in said)


def test_the_tier_says_why_in_one_sentence() -> None:
    """C18, C21."""
    wide = assess(shipped_book(), app("system/Condition.rs", population=Population.ALL))
    silent = assess(shipped_book(), app("system/Condition.rs", population=None))

    assert str(wide) == "high, because it reads Condition of more than 100,000 patients"
    assert str(silent).endswith("patients (its patients are not declared)")


@pytest.mark.parametrize("category", ["analytics", "population_health", "prior_authorization"])
def test_each_category_that_lists_health_data_without_a_person_lets_who_reaches_many_apply(
    category: str,
) -> None:
    """What the rule raises has an entry to be raised to: nothing is refused that was to be had with less evidence."""
    made = replace(app("system/*.rs", population=Population.ALL), category=category)
    found = admit(shipped_book(), made)

    assert (found.tier, found.withheld == () or category == "prior_authorization") == (Tier.HIGH, True)
    assert found.entry is not None


def test_a_wider_population_never_lowers_the_tier() -> None:
    tiers = [assess(BOOK, app("system/*.rs", population=each)).tier.rank for each in (*Population, None)]

    assert tiers == sorted(tiers)


def test_a_rise_withholds_only_the_new_part() -> None:
    """C21: what was certified at the lower tier and is of it still stays."""
    asked, rules = ("system/Patient.rs", "system/Condition.rs"), book(with_rule(types=["Condition"]))
    wide = admit(rules, app(*asked, population=Population.ALL, certified=Tier.MODERATE))
    small = admit(rules, app(*asked, population=Population.ONE, certified=Tier.MODERATE))

    assert wide.scopes == ("system/Patient.rs",)
    assert set(small.scopes) == set(asked)


@pytest.mark.parametrize(
    ("before", "after", "listed"),
    [
        (with_rule(), with_rule(populations=["all"]), True),
        (with_rule(), {}, True),
        (with_rule(populations=["all"]), with_rule(), False),
        ({}, with_rule(), False),
        (with_rule(), with_rule(), False),
        # Without the condition it holds for every population.
        ({"tier_rules": [*document()["tier_rules"], {k: v for k, v in RULE.items() if k not in {"populations", "because"}} | {"because": "it reads"}]}, with_rule(because="it reads"), True),
    ],
)  # fmt: skip
def test_what_a_rule_about_populations_lets_go_is_listed(
    before: dict[str, Any], after: dict[str, Any], *, listed: bool
) -> None:
    """C210."""
    found = [each.path for each in privilege_increases(book(before), book(after))]

    assert bool([each for each in found if "population_health" in each or "reaches-many" in each]) is listed


def test_it_is_written_as_it_was_read_and_unknown_words_are_refused() -> None:
    again, faults = read_book(render(BOOK))

    assert faults == ()
    assert again is not None
    assert render(again) == render(BOOK)
    assert again.tier_rules[-1].populations == {"up_to_100000", "all"}
    place = f"tier_rules[{len(document()['tier_rules'])}]"
    assert [path for path, _ in faults_of(with_rule(populations=["some"]))] == [f"{place}.populations"]
    without = {k: v for k, v in RULE.items() if k != "populations"}
    made = {"tier_rules": [*document()["tier_rules"], without]}
    assert faults_of(made) == [(f"{place}.because", "placeholder_unknown")]
