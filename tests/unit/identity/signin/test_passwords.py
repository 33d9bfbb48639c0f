"""Password hashing: slow on purpose, off the loop, the same for nobody (C57)."""

import asyncio

import pytest

from hilum.identity.signin import live
from hilum.identity.signin.models import HASHING_QUEUE_BOUND, HASHING_QUEUE_SHARE, HASHING_THREADS
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


def outcomes(*sources: str) -> dict[str, list[object]]:
    """Return the outcomes of passwords that all came at once, by source."""

    async def flood() -> list[object]:
        tries = [live.verify_password(None, "x" * 300, source) for source in sources]
        return list(await asyncio.gather(*tries, return_exceptions=True))

    answers = asyncio.run(flood())
    found: dict[str, list[object]] = {source: [] for source in sources}
    for source, answer in zip(sources, answers, strict=True):
        found[source].append(answer if isinstance(answer, bool) else str(getattr(answer, "code", answer)))
    return found


def test_a_flood_is_refused_before_it_costs_anything() -> None:
    found = outcomes(*(f"192.0.2.{n}" for n in range(HASHING_THREADS + HASHING_QUEUE_BOUND + 5)))

    refused = [each for answers in found.values() for each in answers if each is not False]
    assert refused == ["signin_busy"] * 5
    assert asyncio.run(live.verify_password(None, "y", "192.0.2.1")) is False


@pytest.mark.parametrize(
    "attackers", [["192.0.2.1"] * 200, [f"2001:db8::{n:x}" for n in range(200)]], ids=["IPv4", "IPv6 /64"]
)
def test_one_network_takes_its_share_of_the_queue_and_no_more(attackers: list[str]) -> None:
    """C57, security decision 26: while one network floods the queue, people of others are let in."""
    people = [f"198.51.100.{n}" for n in range(40)]

    found = outcomes(*attackers, *people)

    assert all(found[person] == [False] for person in people)
    served = [each for attacker in set(attackers) for each in found[attacker] if each is False]
    assert len(served) == HASHING_THREADS + HASHING_QUEUE_SHARE
