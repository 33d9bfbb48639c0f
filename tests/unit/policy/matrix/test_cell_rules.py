"""Everything that a cell says is shown of it, made from the cell itself (C181)."""

from dataclasses import fields, replace
from datetime import timedelta

from hilum.policy.matrix.models import Cell, Tier
from hilum.policy.matrix.observed_cells import CELL_LIMITS
from hilum.policy.matrix.policy import cell_of, differences, flat, rules_of
from tests.unit.policy.matrix.books import book, document

LOW = "categories.scheduling.cells.low"


def low(**changes: object) -> Cell:
    found = cell_of(book({f"{LOW}.{name}": value for name, value in changes.items()}), "scheduling", Tier.LOW)
    assert found is not None
    return found


def test_no_rule_of_a_cell_is_left_out() -> None:
    """C181: made from the cell, so that no second list can fall behind."""
    rules = rules_of(low())

    about_rules = {"waived", "observe"}
    assert {*rules} == {each.name for each in fields(Cell)} - about_rules
    assert {*CELL_LIMITS} <= {path for path, _ in flat(rules)}


def test_what_a_document_states_is_shown_as_it_states_it() -> None:
    stated = document()["categories"]["scheduling"]["cells"]["low"]
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


def test_only_what_differs_between_two_cells_is_a_difference() -> None:
    cell = low()
    changed = replace(cell, quota=replace(cell.quota, burst=3), certificate_life=timedelta(days=5))

    assert differences(cell, cell) == ()
    assert {(each.path, each.second) for each in differences(cell, changed)} == {
        ("quota.burst", "3"),
        ("certificate_life", "5 d"),
    }
