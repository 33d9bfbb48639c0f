"""Generated pages are in step with the code, and each promise has a test and each cited promise a name."""

import pytest
from tools import reference
from tools.capabilities import PROMISES


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_a_reference_page_is_what_the_code_says_now(name: str) -> None:
    page = reference.REFERENCE / name

    assert page.exists(), "run `make docs`"
    assert page.read_text() == reference.NOTE + reference.PAGES[name](), "stale: run `make docs`"


def test_the_pages_that_are_not_committed_can_be_written() -> None:
    assert "\n## `hilum app list`\n" in reference.commands()
    assert "\n| C28 | " in reference.capabilities()


def test_every_promise_in_force_is_proved_by_a_test_that_cites_it_and_every_cited_one_is_named() -> None:
    cited = reference.citations()

    assert [f"C{number}" for number in PROMISES if not cited.get(number)] == []
    assert [f"C{number}" for number in cited if number not in PROMISES] == [], "say what it promises"
