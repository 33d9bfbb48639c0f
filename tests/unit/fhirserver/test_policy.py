"""Preconditions of writes. Source: RFC 9110 section 13.1, FHIR R4 http.html#concurrency."""

import pytest

from hilum_ehr.fhirserver.models import Precondition, Problem, Refused, Version
from hilum_ehr.fhirserver.policy import check, is_unchanged, parse_precondition, present

LIVE = Version("Patient", "p", 3, 0, b"{}")
GONE = Version("Patient", "p", 4, 0, b"", deleted=True)


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "expected"),
    [
        (None, None, Precondition()),
        ('W/"3"', None, Precondition(version=3, present=True)),
        ('"3"', None, Precondition(version=3, present=True)),
        (' W/"3" ', None, Precondition(version=3, present=True)),
        ("*", None, Precondition(present=True)),
        (None, "*", Precondition(absent=True)),
        ('W/"abc"', None, Precondition(version=0, present=True)),
        ('W/"03"', None, Precondition(version=0, present=True)),
    ],
)
def test_conditions_are_read(if_match: str | None, if_none_match: str | None, expected: Precondition) -> None:
    assert parse_precondition(if_match, if_none_match) == expected


@pytest.mark.parametrize(
    ("if_match", "if_none_match"),
    [("", None), ("3", None), ("W/3", None), ('w/"3"', None), ('W/"3', None), ('"3", "4"', None), ('""3""', None), (None, ""), (None, 'W/"3"'), ('"\x01"', None)],
)  # fmt: skip
def test_conditions_that_cannot_be_read_are_refused(if_match: str | None, if_none_match: str | None) -> None:
    with pytest.raises(Refused) as refused:
        parse_precondition(if_match, if_none_match)

    assert refused.value.problem is Problem.MALFORMED


@pytest.mark.parametrize(
    ("precondition", "current"),
    [
        (Precondition(), None), (Precondition(), LIVE), (Precondition(), GONE), (Precondition(version=3, present=True), LIVE),
        (Precondition(present=True), LIVE), (Precondition(absent=True), None), (Precondition(absent=True), GONE),
    ],
)  # fmt: skip
def test_a_write_continues_where_its_condition_holds(
    precondition: Precondition, current: Version | None
) -> None:
    check(precondition, current)


@pytest.mark.parametrize(
    ("precondition", "current"),
    [
        (Precondition(version=2, present=True), LIVE), (Precondition(version=0, present=True), LIVE), (Precondition(version=3, present=True), None),
        (Precondition(version=0, present=True), None), (Precondition(version=4, present=True), GONE), (Precondition(present=True), None),
        (Precondition(present=True), GONE), (Precondition(absent=True), LIVE), (Precondition(present=True, absent=True), LIVE),
    ],
)  # fmt: skip
def test_a_write_stops_where_its_condition_fails(precondition: Precondition, current: Version | None) -> None:
    with pytest.raises(Refused) as refused:
        check(precondition, current)

    assert refused.value.problem is Problem.VERSION_CONFLICT


@pytest.mark.parametrize(("version", "problem"), [(None, Problem.NOT_FOUND), (GONE, Problem.DELETED)])
def test_only_what_is_there_is_shown(version: Version | None, problem: Problem) -> None:
    with pytest.raises(Refused) as refused:
        present(version)

    assert refused.value.problem is problem


@pytest.mark.parametrize(
    ("tags", "held"),
    [('W/"3"', True), ('"1", W/"3"', True), ("*", True), ('W/"33"', False), ("3", False), ("", False)],
)
def test_a_held_version_is_recognised(tags: str, held: bool) -> None:
    assert is_unchanged(tags, LIVE) is held
