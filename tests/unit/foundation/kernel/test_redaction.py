"""No secret of ours stays in a record, however it was encoded (C153)."""

import base64
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.kernel.redaction import TOO_DEEP, redact
from tests.effort import effort

SECRETS = [
    "hil_at_" + "Ab3_-" * 8 + "xyz_12345678",
    "hil_rt_" + "Q" * 43 + "_12345678",
    "hil_pat_" + "z" * 43,
    "hil_ac_" + "0" * 43,
    "hil_cs_" + "-" * 43,
    "hil_ss_" + "_" * 43,
]


def every(text: str) -> str:
    return "".join(f"%{ord(each):02X}" for each in text)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "every character": every,
    "lower case": lambda text: every(text).lower(),
    "twice": lambda text: every(every(text)),
    "three times": lambda text: every(every(every(text))),
    "only the first": lambda text: "%68" + text[1:],
    "only the underscore": lambda text: text.replace("_", "%5f"),
    "the percent sign alone": lambda text: text.replace("_", "%255F"),
    "a digit of the code": lambda text: "%%36%38" + text[1:],
    "escaped as JSON does": lambda text: "\\u0068" + text[1:],
    "escaped as scripts did": lambda text: "%u0068" + text[1:],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, quoted": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "base64 behind one": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64 behind two": lambda text: base64.b64encode(b"ab" + text.encode()).decode(),
    "as a password in base64": lambda text: base64.urlsafe_b64encode(b"user:" + text.encode()).decode(),
}


def holds(kept: bytes, secret: str) -> bool:
    """Return whether the secret's random part stands at every depth of decoding, and in base64."""
    random = secret.encode().partition(b"_")[2].partition(b"_")[2]
    for _ in range(12):
        if random in kept:
            return True
        kept = unquote_to_bytes(kept)
    return False


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("around", ["{}", "code={}&x=1", "/t/general/fhir/Patient/{}", "a=%7B{}%7D&b=%25"])
def test_a_secret_is_cut_in_every_encoding(secret: str, encoding: str, around: str) -> None:
    """C153."""
    text = around.format(ENCODINGS[encoding](secret))

    kept = redact(text.encode())

    assert not holds(kept, secret)
    assert base64.b64encode(secret.encode())[:20] not in kept
    assert "x=1" not in text or b"x=1" in kept


@given(st.sampled_from(SECRETS), st.lists(st.integers(0, 2), min_size=60, max_size=60), st.integers(0, 6))
@settings(max_examples=effort(50, 5_000), deadline=None)
def test_a_secret_is_cut_with_any_of_its_characters_encoded_to_any_depth(
    secret: str, how: list[int], wraps: int
) -> None:
    text = (
        "".join(
            each if kind == 0 else every(each) if kind == 1 else every(every(each))
            for each, kind in zip(secret, how, strict=False)
        )
        + secret[len(how) :]
    )
    for _ in range(wraps):
        text = text.replace("%", "%25")

    assert not holds(redact(b"q=" + text.encode()), secret)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
@settings(max_examples=effort(50, 5_000), deadline=None)
def test_a_text_without_secrets_is_kept_as_it_is_or_not_at_all(text: str) -> None:
    raw = text.encode("latin-1")

    assert redact(raw) in {raw, TOO_DEEP} or b"..." in redact(raw)


@pytest.mark.parametrize(
    "text",
    [
        b"code=http://loinc.org%7C4548-4&date=ge2020",
        b"name=hil",
        b"name=hil_",
        b"family=%C3%84rzte&_count=50",
        b"",
    ],
)
def test_an_honest_query_is_recorded_word_for_word(text: bytes) -> None:
    assert redact(text) == text


def test_what_is_encoded_deeper_than_anyone_does_is_not_kept() -> None:
    text = "hil_at_" + "A" * 43
    for _ in range(20):
        text = text.replace("%", "%25") if "%" in text else every(text)

    assert redact(text.encode()) == TOO_DEEP
