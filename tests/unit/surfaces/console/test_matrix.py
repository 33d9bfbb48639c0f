"""Who may do what with an app, in words that can be read aloud (C183)."""

import pytest

from hilum.surfaces.console.tenant.matrix import how_much, where


@pytest.mark.parametrize(
    ("scopes", "role", "expected"),
    [
        (("launch", "patient/Observation.rs"), "physician", "yes"),
        (("patient/Observation.rs", "patient/MedicationRequest.cruds"), "front_desk", "no"),
        (("patient/Appointment.rs", "patient/Observation.rs"), "front_desk", "in part"),
        (("launch", "openid"), "physician", "no"),
        (("patient/Observation.rs",), "janitor", "no"),
        ((), "physician", "no"),
    ],
)
def test_a_role_has_of_an_app_what_its_own_rights_leave(
    scopes: tuple[str, ...], role: str, expected: str
) -> None:
    """C68: nobody is given through an app what their role may not do."""
    assert how_much(scopes, role) == expected


@pytest.mark.parametrize(
    ("only", "denied", "expected"),
    [
        (None, [], "everywhere in your hospital"),
        (None, ["East"], "everywhere in your hospital, but not at East"),
        (["East", "West"], [], "at East, West only"),
        ([], [], "at no facility only"),
        (["East"], ["West"], "at East only, but not at West"),
    ],
)
def test_where_an_app_may_be_opened_is_a_sentence(
    only: list[str] | None, denied: list[str], expected: str
) -> None:
    assert where(only, denied) == expected
