"""What a narrowing takes away that an app says it cannot do without (C211)."""

from dataclasses import replace

import pytest

from hilum.consent.models import Choice, PlainPermission
from hilum.consent.policy import with_needs
from hilum.installations.policy import needed_lost
from tests.unit.standing.test_standing import CLIENT

HAD = ("launch/patient", "openid", "patient/Patient.rs", "patient/Goal.cruds", "patient/Observation.rs")


@pytest.mark.parametrize(
    ("optional", "after", "lost"),
    [
        (None, ("openid",), ()),
        ((), HAD, ()),
        ((), ("patient/Patient.rs", "patient/Goal.cruds"), ("patient/Observation.rs",)),
        ((), ("patient/Patient.r", "patient/Goal.cruds", "patient/Observation.rs"), ("patient/Patient.s",)),
        (("patient/Observation.rs",), ("patient/Patient.rs", "patient/Goal.cruds"), ()),
        (("patient/*.cud", "patient/Observation.rs"), ("patient/Patient.rs", "patient/Goal.rs"), ()),
        (("patient/*.rs",), ("patient/Goal.rs",), ("patient/Goal.cud",)),
        (("patient/*.cruds",), (), ()),
    ],
)
def test_what_is_needed_is_what_the_version_does_not_call_optional(
    optional: tuple[str, ...] | None, after: tuple[str, ...], lost: tuple[str, ...]
) -> None:
    """By type and letter; a version that does not say has nothing that it needs. Identity is never lost by a narrowing."""
    client = replace(CLIENT, scopes=HAD, optional_scopes=optional)

    assert needed_lost(HAD, after, [client]) == lost


def test_an_optional_part_of_a_wildcard_may_go_and_what_was_not_had_is_not_lost() -> None:
    client = replace(CLIENT, scopes=("patient/*.rs",), optional_scopes=("patient/Goal.rs",))
    before = ("patient/Patient.rs", "patient/Goal.rs")

    assert needed_lost(before, ("patient/Patient.rs",), [client]) == ()
    assert needed_lost(before, ("patient/Goal.rs",), [client]) == ("patient/Patient.rs",)


def test_a_permission_is_marked_only_by_what_covers_it_whole() -> None:
    offered = [
        Choice(value, (value,), PlainPermission(value, "", "", ()))
        for value in ("patient/Goal.rs", "patient/Goal.cud", "offline_access")
    ]

    assert with_needs(offered, None) == tuple(offered)
    marked = with_needs(offered, ("patient/Goal.r", "patient/Goal.s", "offline_access"))
    assert [each.optional for each in marked] == [True, False, True]
