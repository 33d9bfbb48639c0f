"""The vault: what it makes opens for one purpose and one context, unchanged, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.errors import Invalid
from hilum.records.keys.live import Vault
from tests.conftest import SECRET_KEY
from tests.sim.world import SeededIds

VAULT = Vault(SECRET_KEY)
NONCE = bytes(range(12))


@given(st.binary(max_size=300), st.text(max_size=30))
def test_what_is_sealed_opens_to_the_same_bytes(plaintext: bytes, context: str) -> None:
    sealed = VAULT.seal("step", plaintext, nonce=SeededIds(), bound_to=context)

    assert VAULT.open("step", sealed, context) == plaintext
    assert set(sealed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.binary(min_size=1, max_size=50), st.integers(min_value=0), st.sampled_from("ABab01-_"))
def test_any_changed_character_breaks_the_seal(plaintext: bytes, place: int, other: str) -> None:
    sealed = VAULT.seal("step", plaintext, nonce=NONCE, bound_to="s")
    at = place % len(sealed)
    changed = sealed[:at] + other + sealed[at + 1 :]

    if changed == sealed:
        return
    with pytest.raises(Invalid, match="seal_broken"):
        VAULT.open("step", changed, "s")


@pytest.mark.parametrize(
    ("purpose", "context"),
    [("step", "other"), ("other", "s"), ("step", ""), ("", "s"), ("step ", "s")],
)
def test_another_purpose_or_context_opens_nothing(purpose: str, context: str) -> None:
    sealed = VAULT.seal("step", b"x", nonce=NONCE, bound_to="s")

    with pytest.raises(Invalid, match="seal_broken"):
        VAULT.open(purpose, sealed, context)


@pytest.mark.parametrize("sealed", ["", "A", "AAAA", "!!!!", "é", "A" * 70_000, "AAAA====", "A A A"])
def test_garbage_is_refused_not_a_failure(sealed: str) -> None:
    with pytest.raises(Invalid, match="seal_broken"):
        VAULT.open("step", sealed, "s")


def test_another_root_opens_nothing_and_makes_other_macs() -> None:
    other = Vault(SECRET_KEY[::-1])
    sealed = VAULT.seal("step", b"x", nonce=NONCE, bound_to="s")

    with pytest.raises(Invalid):
        other.open("step", sealed, "s")
    assert other.mac("token", b"x") != VAULT.mac("token", b"x")


def test_a_mac_has_eight_characters_and_depends_on_purpose_and_data() -> None:
    macs = {VAULT.mac(purpose, data) for purpose in ("a", "b") for data in (b"", b"1", b"2")}

    assert len(macs) == 6
    assert {len(mac) for mac in macs} == {8}


@pytest.mark.parametrize("key", ["", "short", "x" * 31])
def test_a_short_root_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="secret_key_short"):
        Vault(key)
