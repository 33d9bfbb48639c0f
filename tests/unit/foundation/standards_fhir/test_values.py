"""The grammar of search values. Source: FHIR R4 search.html#escaping, #number, #string."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.standards.fhir.values import (
    escape,
    fold,
    is_id,
    parse_number,
    split,
    split_prefix,
    unescape,
)
from tests.effort import effort


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        (r"a\,b", [r"a\,b"]),
        (r"a\,b,c", [r"a\,b", "c"]),
        (r"a\\,b", [r"a\\", "b"]),
        ("", [""]),
        (",", ["", ""]),
        ("a\\", ["a\\"]),
    ],
)
def test_only_separators_without_escape_separate(text: str, parts: list[str]) -> None:
    assert split(text, ",") == parts


@given(st.lists(st.text(alphabet="ab,|$\\ é", min_size=0, max_size=8), min_size=1, max_size=5))
@settings(max_examples=effort(50, 10_000))
def test_escaped_values_come_back_whole(values: list[str]) -> None:
    for separator in ",|$":
        joined = separator.join(escape(v) for v in values)

        assert [unescape(part) for part in split(joined, separator)] == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ge2026", ("ge", "2026")),
        ("2026", ("eq", "2026")),
        ("xx2026", ("eq", "xx2026")),
        ("ap", ("ap", "")),
        ("", ("eq", "")),
    ],
)
def test_a_prefix_is_taken_off(text: str, expected: tuple[str, str]) -> None:
    assert split_prefix(text) == expected


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("100", 99.5, 100.5),
        ("100.00", 99.995, 100.005),
        ("1e2", 95.0, 105.0),
        ("-5.4", -5.45, -5.35),
        ("0", -0.5, 0.5),
        ("1e-2", 0.005, 0.015),
    ],
)
def test_digits_imply_a_range(text: str, low: float, high: float) -> None:
    """FHIR R4 search.html#number, the table of examples."""
    found = parse_number(text)

    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "Infinity",
        "-inf",
        "1e999",
        "1e9999999999",
        "0x10",
        "1_000",
        "1,5",
        ".5",
        "5.",
        "01",
        "٣",
        "1 ",
        "--1",
        "1e",
        "9" * 30,
        "1." + "0" * 40,
    ],
)
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", "jose"),
        ("MÜLLER", "muller"),
        ("Łódź", "lodz"),
        ("Straße", "STRASSE"),
        ("a  b\tc", "A B C"),
        ("Ångström", "angstrom"),
        ("Søren", "soren"),
    ],
)
def test_case_accents_and_runs_of_space_do_not_tell_texts_apart(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@given(st.text(max_size=40))
@settings(max_examples=effort(50, 10_000))
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize("text", ["a", "A-1.b", "x" * 64])
def test_an_id_is_known(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a_b", "a/b", "a b", "é", "a\n", "..%2f", "a\x00"])
def test_what_is_no_id_is_refused(text: str) -> None:
    assert not is_id(text)
