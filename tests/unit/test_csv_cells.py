"""No cell of a download is run as a formula (OWASP, CSV injection)."""

import pytest

from hilum.foundation.standards.csv_cells import csv_cell

FORMULA = "1+1+cmd|' /C calc'!A0"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫"])
@pytest.mark.parametrize("lead", ["", " ", "\n", "\r\n", "\t", "\u00a0", "\u3000"])
def test_a_formula_is_a_text_whatever_its_sign_and_what_comes_before(sign: str, lead: str) -> None:
    assert csv_cell(f"{lead}{sign}{FORMULA}") == f"'{lead}{sign}{FORMULA}"


@pytest.mark.parametrize("text", ["\tx", "\rx", "\nx"])
def test_a_cell_begins_with_no_control_character(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", " ", "1+1", "a=b", "ann@x.example", "Ward – 3", "’tis", "x\n=1"])
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert csv_cell(text) == text
