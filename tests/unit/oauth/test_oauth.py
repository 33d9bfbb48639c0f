"""OAuth's words: parameters, PKCE, redirect addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.standards import oauth

RFC_VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
RFC_CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_example_of_rfc_7636_appendix_b_matches() -> None:
    assert oauth.s256(RFC_VERIFIER) == RFC_CHALLENGE
    assert oauth.verifier_matches(RFC_VERIFIER, RFC_CHALLENGE)


@pytest.mark.parametrize(
    "verifier", ["", "short", RFC_CHALLENGE, RFC_VERIFIER + "x", "ü" * 43, RFC_VERIFIER + "\n", "a" * 129]
)
def test_a_wrong_verifier_never_matches(verifier: str) -> None:
    """C42; conformance [9.18]: missing, random, or equal to the challenge."""
    assert not oauth.verifier_matches(verifier, RFC_CHALLENGE)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        RFC_CHALLENGE[:-1],
        RFC_CHALLENGE + "A",
        RFC_CHALLENGE + "=",
        RFC_CHALLENGE[:-1] + "+",
        RFC_CHALLENGE[:-1] + "N",
        "ä" * 43,
    ],
)
def test_a_challenge_is_32_bytes_in_base64url_or_nothing(challenge: str) -> None:
    """RFC 7636 section 4.2. The last character has two bits to spare; they must be zero."""
    assert not oauth.challenge_well_formed(challenge)


@given(st.binary(min_size=32, max_size=32))
def test_every_challenge_that_a_client_can_make_is_well_formed(raw: bytes) -> None:
    assert oauth.challenge_well_formed(oauth.s256(raw.hex()))


def test_a_repeated_parameter_has_no_value_and_an_empty_one_is_absent() -> None:
    """RFC 6749 section 3.1."""
    found = oauth.read_parameters([("a", "1"), ("b", "1"), ("b", "2"), ("c", "")])

    assert found.get("a") == "1"
    assert found.get("b") == found.get("c") == found.get("d") == ""
    assert found.repeated == {"b"}


@pytest.mark.parametrize("text", ["a=%ff", "&".join(f"a{n}=b" for n in range(101))])
def test_a_form_that_cannot_be_read_is_nothing(text: str) -> None:
    assert oauth.decode_form(text) is None


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5))
def test_an_answer_keeps_the_address_and_reads_back(pairs: list[tuple[str, str]]) -> None:
    """RFC 6749 section 4.1.2."""
    for uri in ("https://app.example/cb", "https://app.example/cb?x=1", "com.example.app:/cb"):
        made = oauth.with_parameters(uri, pairs)

        assert made.startswith(uri)
        assert oauth.decode_form(made[len(uri) + 1 :]) == pairs


@pytest.mark.parametrize(
    ("uri", "source", "proves"),
    [
        ("https://app.example/cb", "https://app.example", True),
        ("https://app.example:8443/cb?x=1", "https://app.example:8443", True),
        ("http://127.0.0.1:5000/cb", "http://127.0.0.1:5000", False),
        ("http://localhost:8001/cb", "http://localhost:8001", False),
        ("https://localhost/cb", "https://localhost", False),
        ("http://app.example/cb", "http://app.example", False),
        ("com.example.app:/cb", "com.example.app:", False),
        ("com.example.app://bank.example/cb", "com.example.app:", False),
        ("com.example.app://x;frame-ancestors/cb", "com.example.app:", False),
        ("com.example.app://x,y/cb", "com.example.app:", False),
        ("com.example.app://[::1/cb", "com.example.app:", False),
        ("com.example.app://[x]/cb", "com.example.app:", False),
    ],
)
def test_a_redirect_uri_has_a_form_action_source_and_says_whether_it_proves_the_client(
    uri: str, source: str, proves: bool
) -> None:
    """Security decisions 13 and 14."""
    assert oauth.form_action_source(uri) == source
    assert oauth.proves_client(uri) is proves


@given(st.text(max_size=50))
def test_a_description_keeps_to_the_characters_of_the_rfc(text: str) -> None:
    """RFC 6749 section 4.1.2.1."""
    assert all(" " <= c <= "~" and c not in '"\\' for c in oauth.description(text))
