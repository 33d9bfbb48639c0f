"""What an EHR may ask for, and the address that opens an app."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.authorization.launches import policy
from hilum.authorization.launches.models import LaunchOrder
from hilum.foundation.kernel.ids import ClientId, PersonId, TenantId
from hilum.identity.people.models import Person


def person(role: str, *patients: str) -> Person:
    return Person(PersonId("per_1"), TenantId("mercy"), "ann", "Ann", role, patients=patients)


@given(st.text(max_size=100))
def test_an_id_is_a_fhir_id_or_refused(text: str) -> None:
    """FHIR R4 datatypes.html#id."""
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.")

    assert (policy.id_fault(text) == "") == (len(text) <= 64 and set(text) <= allowed)


ORDER = LaunchOrder(ClientId("cli_1"), "ann", "p1", "e1", "review", "sidebar")


@given(
    st.sampled_from(["client", "person", "patient", "encounter", "intent", "placement"]),
    st.text(max_size=120),
)
def test_no_order_breaks_the_judge_and_nothing_unprintable_passes(name: str, text: str) -> None:
    assert policy.order_faults(ORDER) == {}

    changed: dict[str, Any] = {name: text}
    faults = policy.order_faults(replace(ORDER, **changed))

    assert all(faults.values())
    assert text.isprintable() or faults


@pytest.mark.parametrize(
    ("who", "patient", "may"),
    [
        (person("physician"), "p1", True),
        (person("nurse"), "p9", True),
        (person("patient", "p1", "p2"), "p2", True),
        (person("patient", "p1"), "p2", False),
        (person("patient"), "p1", False),
        (person("patient", "p1"), "", True),
        (person("unheard-of"), "p1", False),
    ],
)
def test_a_chart_is_opened_by_those_who_may(who: Person, patient: str, may: bool) -> None:
    """C34."""
    assert (policy.chart_fault(who, patient) == "") is may


@pytest.mark.parametrize(
    "uri", ["https://app.example/launch", "https://app.example/launch?a=1&b=2", "http://localhost:9/"]
)
def test_the_apps_address_keeps_its_own_query(uri: str) -> None:
    """SMART App Launch 2.2, app-launch#step-2-launch."""
    address = policy.app_address(uri, "https://hilum.example/t/mercy/fhir", "h-_1")

    query = parse_qs(urlsplit(address).query)
    assert query["iss"] == ["https://hilum.example/t/mercy/fhir"]
    assert query["launch"] == ["h-_1"]
    assert {name: query[name] for name in parse_qs(urlsplit(uri).query)} == parse_qs(urlsplit(uri).query)
    assert address.startswith(uri)


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 42, "A" * 44, "A" * 42 + "+", "A" * 42 + "é", "A" * 43 + "\n"]
)
def test_what_cannot_be_a_secret_never_reaches_the_store(text: str) -> None:
    assert not policy.looks_like_secret(text)


@pytest.mark.parametrize(
    ("who", "patient", "encounter", "faults"),
    [
        (person("physician"), "p1", "e1", {}),
        (person("physician"), "", "", {}),
        (None, "p1", "", {}),
        (person("patient", "p1"), "p1", "", {}),
        (person("patient", "p1"), "p2", "", {"patient": "chart_not_openable"}),
        (person("patient"), "p1", "", {"patient": "chart_not_openable"}),
        (person("administrator"), "p1", "", {"patient": "chart_not_openable"}),
        (person("physician"), "a/b", "", {"patient": "id_malformed"}),
        (person("physician"), "p1", "a b", {"encounter": "id_malformed"}),
        (person("physician"), "", "e1", {"encounter": "patient_needed"}),
    ],
)
def test_a_launch_moves_only_to_a_chart_that_its_person_may_open(
    who: Person | None, patient: str, encounter: str, faults: dict[str, str]
) -> None:
    """C34, C35."""
    assert policy.move_faults(who, patient, encounter) == faults
