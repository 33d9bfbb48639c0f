"""Launch parameters and fhirContext."""

from typing import Any

import pytest

from hilum.foundation.standards.smart import launch
from hilum.foundation.standards.smart.scopes import parse_stored


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"type": "Observation"},
        {"reference": "https://x.example/Observation/1"},
        {"reference": "Observation"},
        {"reference": 3},
        {"reference": "Patient/1"},
        {"reference": "Encounter/1", "role": "launch"},
        {"identifier": {"value": "1"}, "type": "Patient"},
        {"reference": "Observation/1", "role": ""},
        {"reference": "Observation/1", "type": "Condition"},
        {"reference": "Observation/1", "type": "observation"},
        {"canonical": "Questionnaire/1"},
        {"canonical": 1},
        {"identifier": {}},
        {"identifier": "x"},
        {"reference": "Observation/1", "extra": 1},
    ],
)
def test_an_entry_that_breaks_the_rules_is_named_and_left_out(entry: dict[str, Any]) -> None:
    """C33; SMART 2.2 fhirContext."""
    assert launch.fhir_context_fault(entry)
    assert launch.readable_context([entry], parse_stored(["user/*.rs", "patient/*.rs"])) == ()


@pytest.mark.parametrize(
    "entry",
    [
        {"reference": "ImagingStudy/123"},
        {"reference": "Patient/2", "role": "https://example.org/roles/comparison"},
        {"canonical": "https://example.org/Questionnaire/1|2", "type": "Questionnaire"},
        {"identifier": {"system": "s", "value": "v"}, "type": "Task"},
    ],
)
def test_a_good_entry_is_shown_if_its_type_can_be_read(entry: dict[str, Any]) -> None:
    """C33."""
    assert launch.fhir_context_fault(entry) == ""
    assert launch.readable_context([entry], parse_stored(["user/*.r"])) == (entry,)
    assert launch.readable_context([entry], parse_stored(["user/*.s", "user/Device.r", "openid"])) == ()


def _told(**changes: Any) -> dict[str, object]:
    facts: dict[str, Any] = {
        "ehr_launch": True,
        "intent": "reconcile",
        "need_patient_banner": False,
        "style_url": "https://h.example/style.json",
        "fhir_context": [{"reference": "Task/1"}],
        "granted": parse_stored(["patient/Task.r"]),
    }
    return launch.response_parameters(**facts | changes)


def test_a_launch_returns_intent_banner_style_and_context() -> None:
    """C32."""
    assert _told() == {
        "need_patient_banner": False,
        "smart_style_url": "https://h.example/style.json",
        "intent": "reconcile",
        "fhirContext": [{"reference": "Task/1"}],
    }


def test_a_standalone_launch_discloses_nothing_of_an_ehr() -> None:
    """C32."""
    assert _told(ehr_launch=False) == {}


def test_fhir_context_is_left_out_when_the_launch_has_none_or_none_can_be_read() -> None:
    """Conformance [9.16]: not emitted unless there."""
    assert "fhirContext" not in _told(fhir_context=[])
    assert "fhirContext" not in _told(granted=parse_stored(["patient/Observation.r"]))
    assert _told(intent="", style_url="", fhir_context=[]) == {"need_patient_banner": False}


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (["openid"], (False, False)),
        (["launch/patient"], (True, False)),
        (["launch/encounter"], (True, True)),
        (["launch", "patient/*.rs"], (False, False)),
    ],
)
def test_context_is_asked_for_by_scope(asked: list[str], answer: tuple[bool, bool]) -> None:
    assert launch.requested_context(parse_stored(asked)) == answer


def test_only_patient_scopes_need_a_patient() -> None:
    """C34."""
    assert launch.needs_patient(parse_stored(["openid", "patient/Patient.r"]))
    assert not launch.needs_patient(parse_stored(["openid", "launch/patient", "user/*.rs"]))
