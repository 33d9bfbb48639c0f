"""Password hashing: slow on purpose, off the loop, the same for nobody (C57)."""

import asyncio

import pytest

from hilum.kernel.errors import Unavailable
from hilum.signin import live
from hilum.signin.models import HASHING_QUEUE_BOUND
from tests.sim.cheap_passwords import COSTLY
from tests.sim.world import SeededIds


@pytest.fixture(autouse=True)
def costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash as the platform does, not as cheaply as the other tests do."""
    monkeypatch.setattr(live, "_HASHER", COSTLY)


def test_a_hash_costs_what_owasp_asks_for() -> None:
    """OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane."""
    assert live.hash_password_now("correct horse", SeededIds()).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_password_is_known_by_its_argon2id_hash_only() -> None:
    digest = live.hash_password_now("correct horse", SeededIds())

    assert digest.startswith("$argon2id$")
    assert "correct" not in digest
    assert live.verify_password_now(digest, "correct horse")


@pytest.mark.parametrize("wrong", ["", "correct horse ", "Correct horse", "correct hors\x00", "x" * 10_000])
def test_another_password_does_not_match(wrong: str) -> None:
    digest = live.hash_password_now("correct horse", SeededIds())

    assert not live.verify_password_now(digest, wrong)


@pytest.mark.parametrize("digest", [None, "", "nonsense", "$argon2id$v=19$broken"])
def test_without_a_hash_nothing_matches_not_even_nobodys_password(digest: str | None) -> None:
    assert not live.verify_password_now(digest, "nobody has this password")
    assert not live.verify_password_now(digest, "")


def test_two_people_of_one_password_have_two_hashes() -> None:
    ids = SeededIds()

    assert live.hash_password_now("same word", ids) != live.hash_password_now("same word", ids)


def test_a_flood_is_refused_before_it_costs_anything() -> None:
    async def flood() -> list[object]:
        tries = [live.verify_password(None, "x" * 300) for _ in range(HASHING_QUEUE_BOUND + 5)]
        return list(await asyncio.gather(*tries, return_exceptions=True))

    answers = asyncio.run(flood())

    assert [each for each in answers if isinstance(each, Unavailable)] != []
    assert all(each is False or isinstance(each, Unavailable) for each in answers)
    assert asyncio.run(live.verify_password(None, "y")) is False
