"""Names that people would take for one another (C212)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.standards.names import NEAR_FROM, forms, resembles, skeleton, uses

ALIKE = [
    ("Acme Health", "ACME  health"),
    ("Acme Health", "Acme Health, Inc."),
    ("Acme Health", "Аcme Неalth"),  # Cyrillic А, Н
    ("Acme Health", "Acrne Health"),
    ("Acme Health", "Acme-Health"),
    ("Acme Health", "Acmé Health"),
    ("Acme Health", "Acme Heatlh"),
    ("Acme Health", "Acme Helth"),
    ("Acme Health", "Acmee Health"),
    ("Acme Health", "Acme Wealth"),
    ("MediScope", "Med1Sc0pe"),
    ("MediScope", "ＭｅｄｉＳｃｏｐｅ"),
    ("MediScope", "Medi\u200bScope"),
    ("Vital", "Vitai"),
]
DIFFERENT = [
    ("Acme Health", "Zenith Care"),
    ("Acme Health", "Acme Labs"),
    ("Notes", "Votes and more"),
    ("EKG", "EEG"),
    ("Pain", "Rain"),
    ("Chart", "Charting"),
]


@pytest.mark.parametrize(("name", "other"), ALIKE)
def test_look_alikes_and_near_spellings_resemble_each_other(name: str, other: str) -> None:
    assert resembles(name, other)
    assert resembles(other, name)
    assert forms(name) & forms(other)


@pytest.mark.parametrize(("name", "other"), DIFFERENT)
def test_other_names_do_not(name: str, other: str) -> None:
    assert not resembles(name, other)
    assert not uses(name, other)


def test_a_long_name_inside_another_is_used_and_a_short_one_is_not() -> None:
    assert uses("Mercy General Hospital Portal", "Mercy General Hospital")
    assert not uses("General Notes", "General")


@given(st.text(max_size=80))
def test_a_name_resembles_itself_and_its_skeleton_is_bounded(name: str) -> None:
    assert resembles(name, name)
    assert len(skeleton(name)) <= 64
    assert len(forms(name)) <= 65


@given(
    st.text(alphabet="abcdegh", min_size=NEAR_FROM, max_size=12), st.integers(0, 11), st.sampled_from("abk")
)
def test_whatever_resembles_shares_a_form(name: str, at: int, letter: str) -> None:
    for other in (
        name[:at] + name[at + 1 :],
        name[:at] + letter + name[at:],
        name[:at] + letter + name[at + 1 :],
    ):
        if resembles(name, other):
            assert forms(name) & forms(other)
