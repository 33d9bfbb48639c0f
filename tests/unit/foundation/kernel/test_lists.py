"""A list that is cut says how much it leaves out, and one thing is counted as one."""

import pytest

from hilum.foundation.kernel.lists import counted, listed


@pytest.mark.parametrize(
    ("entries", "separator", "expected"),
    [
        ([], ", ", ""),
        (["a", "b"], ", ", "a, b"),
        (["a", "b", "c"], ", ", "a, b and 1 more"),
        (["a", "b", *("c" * 1_000)], ", ", "a, b and 1,000 more"),
        (["it reads", "it writes", "it deletes"], "; ", "it reads; it writes; and 1 more"),
    ],
)
def test_the_rest_of_a_list_is_counted(entries: list[str], separator: str, expected: str) -> None:
    assert listed(entries, 2, separator) == expected


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("record",), "0 records"),
        (1, ("record",), "1 record"),
        (2_000, ("record",), "2,000 records"),
        (1, ("launch", "launches"), "1 launch"),
        (3, ("launch", "launches"), "3 launches"),
        (1, ("act waits", "acts wait"), "1 act waits"),
    ],
)
def test_things_are_counted_in_words(number: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(number, *words) == expected
