"""A list that is cut says how much it leaves out."""

import pytest

from hilum.kernel.lists import listed


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
