"""What stands on record of a read of the audit: in the header nothing that anybody typed (security decision 5)."""

from dataclasses import replace

import pytest

from hilum.records.audit import policy
from hilum.records.audit.models import Access, Event, Explanation, Outcome
from tests.sim.world import START

READ = Event("audit.accesses.read")
SHOWN = Access("req_1", "req_1", START, "general", "read", "Observation", 200, Outcome.DONE, patient="p1")


@pytest.mark.parametrize(
    ("filters", "tenant", "patient", "reason"),
    [
        ({}, "", "", ""),
        ({"tenant": "general"}, "general", "", "by tenant"),
        ({"tenant": "Mrs. Jones of bed 4"}, "", "", "by tenant"),
        ({"tenant": "x" * 33}, "", "", "by tenant"),
        ({"patient": "p1", "launch": "lau_1"}, "", "p1", "by launch, patient"),
    ],
)
def test_a_read_is_recorded_with_the_names_of_its_filters(
    filters: dict[str, str], tenant: str, patient: str, reason: str
) -> None:
    made = policy.reading(READ, filters, given=3)

    assert (made.tenant, made.patient, made.reason) == (tenant, patient, reason)
    assert "patient" not in made.facts["filters"]
    assert made.facts["given"] == 3


@pytest.mark.parametrize(
    ("accesses", "tenant", "patient"),
    [
        ((SHOWN,), "general", "p1"),
        ((SHOWN, SHOWN), "general", "p1"),
        ((SHOWN, replace(SHOWN, patient="p2")), "general", ""),
        ((SHOWN, replace(SHOWN, tenant="children")), "", "p1"),
        ((), "", ""),
    ],
)
def test_an_explanation_is_of_a_hospital_and_a_patient_only_if_it_is_about_one(
    accesses: tuple[Access, ...], tenant: str, patient: str
) -> None:
    """Of several, whose administrators see the read would be chance."""
    made = policy.explaining(READ, "req_1", Explanation("req_1", accesses, (), ()))

    assert (made.tenant, made.patient) == (tenant, patient)
