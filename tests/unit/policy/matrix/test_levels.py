"""Levels of tier rules: an advisory one is reported and withholds nothing, and no security floor depends on one that is not absolute (C207)."""

from typing import Any

import pytest

from hilum.policy.matrix.comparison import widenings
from hilum.policy.matrix.document import read_book, read_stored, render
from hilum.policy.matrix.models import Applicant, Tier
from hilum.policy.matrix.override_models import Level
from hilum.policy.matrix.policy import admit, assess
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.policy.matrix.books import RULE, book, document, faults_of, with_rule

APP = Applicant("scheduling", ("user/Slot.rs",), certified_tier=Tier.HIGH)
LAST = len(document()["tier_rules"])


def test_a_rule_without_a_level_is_absolute_and_leaves_the_digest_as_it_was() -> None:
    assert {rule.level for rule in shipped_book().tier_rules} == {Level.ABSOLUTE}
    assert all("level" not in rule for rule in render(shipped_book())["tier_rules"])
    assert book(with_rule(None)).digest == book(with_rule("absolute")).digest


def test_an_advisory_rule_is_reported_and_raises_nothing() -> None:
    found = assess(book(with_rule("advisory")), APP)

    assert found.tier is assess(shipped_book(), APP).tier
    assert [(each.rule, each.sentence) for each in found.advice] == [("reads-slots", "it reads Slot")]
    assert admit(book(with_rule("advisory")), APP).scopes == admit(shipped_book(), APP).scopes


@pytest.mark.parametrize("level", ["overridable", "absolute"])
def test_a_rule_of_another_level_raises_the_tier_and_is_no_advice(level: str) -> None:
    found = assess(book(with_rule(level) | {"overrides.longest": "30 d"}), APP)

    assert (found.tier, found.advice) == (Tier.HIGH, ())


@pytest.mark.parametrize("level", ["advisory", "overridable"])
def test_a_book_in_which_a_security_floor_is_not_absolute_does_not_validate(level: str) -> None:
    rules = [rule | {"level": level} for rule in document()["tier_rules"]]

    assert ("tier_rules", "floor_lowered") in faults_of({"tier_rules": rules, "overrides.longest": "30 d"})


def test_an_overridable_rule_needs_a_bound_on_overrides() -> None:
    path = f"tier_rules[{LAST}].level"
    assert faults_of(with_rule("overridable")) == [(path, "override_unbounded")]


@pytest.mark.parametrize("level", ["ADVISORY", "", "optional", 3, None])
def test_an_unknown_level_does_not_validate(level: Any) -> None:
    rules = [*document()["tier_rules"], RULE | {"level": level}]
    found, faults = read_book(document({"tier_rules": rules}))

    assert found is None
    assert {fault.path for fault in faults} == {f"tier_rules[{LAST}].level"}


def test_a_stored_book_keeps_its_levels_and_its_bound() -> None:
    made = book(with_rule("overridable") | {"overrides.longest": "30 d"})

    read, _ = read_stored(render(made), made.digest)

    assert read is not None
    assert (read.tier_rules, read.longest_override) == (made.tier_rules, made.longest_override)


def test_whatever_makes_a_rule_less_binding_takes_two_people() -> None:
    bound = {"overrides.longest": "30 d"}
    absolute, overridable = book(with_rule("absolute") | bound), book(with_rule("overridable") | bound)
    advisory = book(with_rule("advisory") | bound)
    longer = book(with_rule("overridable") | {"overrides.longest": "31 d"})

    for looser, stricter in ((overridable, absolute), (advisory, absolute), (advisory, overridable)):
        assert widenings(stricter, looser)
    assert not widenings(overridable, absolute)
    assert [each.path for each in widenings(overridable, longer)] == ["overrides.longest"]
    assert not widenings(longer, overridable)
