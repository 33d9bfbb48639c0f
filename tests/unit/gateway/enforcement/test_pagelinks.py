"""A page link is worth nothing to any other grant, and nothing after an hour (C76)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.gateway.enforcement.models import PAGE_LINK_BOUND, PAGE_LINK_LIFE, Page
from hilum.gateway.enforcement.pagelinks import PageLinks
from hilum.records.keys.live import Vault
from tests.sim.world import SeededIds
from tests.unit.gateway.enforcement.facts import NOW, TOKEN

LINKS = PageLinks(Vault("test-key-encryption-key-0123456789abcdef"), SeededIds())
PAGE = Page("Observation", (("code", "x"),), "Observation?code=x&_page=2", 3)


def sealed() -> str:
    made = LINKS.seal(PAGE, TOKEN, NOW)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("after", "works"),
    [(timedelta(0), True), (PAGE_LINK_LIFE - timedelta(seconds=1), True), (PAGE_LINK_LIFE, False)],
)
def test_a_link_continues_where_the_search_was_until_its_time_is_over(
    after: timedelta, *, works: bool
) -> None:
    assert LINKS.unseal(sealed(), TOKEN, NOW + after) == (PAGE if works else None)


def test_the_next_token_of_the_same_grant_continues_it() -> None:
    later = replace(TOKEN, hash=b"n" * 32, issued_at=NOW, scopes=("patient/Observation.rs",))

    assert LINKS.unseal(sealed(), later, NOW) == PAGE


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "children"},
        {"client": "cli_2"},
        {"person": "per_2"},
        {"patient": "p2"},
        {"authorization": "aut_2"},
        {"family": "fam_2"},
        {"launch": "lau_2"},
    ],
)
def test_no_other_grant_does(change: dict[str, Any]) -> None:
    assert LINKS.unseal(sealed(), replace(TOKEN, **change), NOW) is None


@pytest.mark.parametrize(
    "change", [lambda text: text[:-2], lambda text: "A" + text[1:], lambda _: "", lambda _: "x" * 9_000]
)
def test_what_is_no_link_of_ours_is_none(change: Any) -> None:
    made = sealed()

    assert change(made) != made
    assert LINKS.unseal(change(made), TOKEN, NOW) is None


def test_a_search_that_is_too_long_for_a_link_gets_none() -> None:
    assert LINKS.seal(replace(PAGE, target="x" * PAGE_LINK_BOUND), TOKEN, NOW) is None
