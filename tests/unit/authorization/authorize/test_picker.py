"""What the picker takes from a FHIR server that ignores what it was asked for (C34, security decision 21)."""

import asyncio
from typing import Any, cast

import pytest

from hilum.authorization.authorize import picker
from hilum.authorization.authorize.picker import RecordReader
from hilum.foundation.infra.context import Trace
from hilum.foundation.kernel.decision import ReadPurpose
from tests.sim.world import START


def encounter(id_: str, subject: str) -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": id_, "subject": {"reference": subject}}


EVERYTHING = [
    {"resourceType": "Patient", "id": "p1"},
    {"resourceType": "Patient", "id": "p2"},
    encounter("e1", "Patient/p1"),
    encounter("e2", "Patient/p2"),
    encounter("e3", "Patient/xp1"),
    encounter("e4", "Group/p1"),
    encounter("e5", "https://ehr.example/fhir/Patient/p1"),
    {"resourceType": "Encounter", "id": "e6"},
]


class Careless:
    """A FHIR server that returns all it has, whatever was asked for."""

    async def search(self, *_: object, **__: object) -> dict[str, Any]:
        return {"resourceType": "Bundle", "entry": [{"resource": each} for each in EVERYTHING]}


READER = RecordReader(
    cast("Any", Careless()), cast("Any", None), ReadPurpose.PICKER, START, "azr_1", Trace("req_test")
)


def test_nobody_is_shown_a_patient_who_was_not_asked_for() -> None:
    """C34: the charts of a proxy are asked for by id."""
    found = asyncio.run(picker.find_patients(READER, ("p1", "p3")))

    assert [each.id for each in found] == ["p1"]
    assert asyncio.run(picker.find_patient(READER, "p3")) is None


def test_nobody_is_offered_the_encounter_of_another_patient() -> None:
    found = asyncio.run(picker.encounters(READER, "p1"))

    assert [each.id for each in found] == ["e1", "e5"]


@pytest.mark.parametrize(
    ("patient", "encounter_id", "there"), [("p1", "e1", True), ("p1", "e2", False), ("p2", "e1", False)]
)
def test_an_encounter_is_chosen_with_its_own_patient(patient: str, encounter_id: str, *, there: bool) -> None:
    assert asyncio.run(picker.has_encounter(READER, patient, encounter_id)) is there
