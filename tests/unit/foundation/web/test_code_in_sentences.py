"""Sentences that programs and pages share: what stands between backquotes is code on a page, and nothing else becomes markup."""

from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.web.pages import _code


def test_what_stands_between_backquotes_is_code_on_a_page() -> None:
    assert _code("Run `hilum app list`, then ask.") == "Run <code>hilum app list</code>, then ask."
    assert _code("one ` alone") == "one ` alone"
    assert _code("`<img src=x>`") == "<code>&lt;img src=x&gt;</code>"


@given(st.text())
def test_no_text_becomes_markup_of_its_own(text: str) -> None:
    shown = _code(text).replace("<code>", "").replace("</code>", "")

    assert "<" not in shown
    assert '"' not in shown
