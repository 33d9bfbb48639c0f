"""Everything that an entry says is shown of it, made from the entry itself (C181)."""

from dataclasses import fields, replace
from datetime import timedelta

from hilum.policy.matrix.models import PolicyEntry, Tier
from hilum.policy.matrix.observed_entries import ENTRY_LIMITS
from hilum.policy.matrix.policy import differences, entry_of, flat, rules_of
from tests.unit.policy.matrix.books import book, document

LOW = "categories.scheduling.entries.low"


def low(**changes: object) -> PolicyEntry:
    found = entry_of(
        book({f"{LOW}.{name}": value for name, value in changes.items()}), "scheduling", Tier.LOW
    )
    assert found is not None
    return found


def test_no_rule_of_a_entry_is_left_out() -> None:
    """C181: made from the entry, so that no second list can fall behind."""
    rules = rules_of(low())

    about_rules = {"waived", "observe"}
    assert {*rules} == {each.name for each in fields(PolicyEntry)} - about_rules
    assert {*ENTRY_LIMITS} <= {path for path, _ in flat(rules)}


def test_what_a_document_states_is_shown_as_it_states_it() -> None:
    stated = document()["categories"]["scheduling"]["entries"]["low"]
    rules = rules_of(low())

    for name, value in stated.items():
        shown, written = rules[name], value
        if isinstance(value, dict):
            shown, written = {each: shown[each] for each in value}, value
        if isinstance(value, list):
            shown, written = sorted(shown), sorted(value)
        assert shown == written, name


def test_what_a_document_leaves_out_is_shown_too() -> None:
    assert dict(flat(rules_of(low())))["suspend_days"] == "30"


def test_only_what_differs_between_two_entries_is_a_difference() -> None:
    entry = low()
    changed = replace(entry, quota=replace(entry.quota, burst=3), certificate_life=timedelta(days=5))

    assert differences(entry, entry) == ()
    assert {(each.path, each.second) for each in differences(entry, changed)} == {
        ("quota.burst", "3"),
        ("certificate_life", "5 d"),
    }
