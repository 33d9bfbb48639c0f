"""FHIR data of one's own, as files bring it (C203)."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from hilum.foundation.kernel.errors import Invalid, Unavailable
from hilum_ehr.sandbox import credentials, own_data
from hilum_ehr.sandbox.credentials import CredentialsFile
from hilum_ehr.sandbox.own_data import Charts, Entry, Targets, merged, with_resolved_references
from tests.effort import FULL

URN = "urn:uuid:0b1e4f0c-5a55-4a4e-9d3f-0a5a6a7a8a9a"
PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Doe", "given": ["Ann", "B."]}]}


def written(folder: Path, name: str, *lines: Any) -> Path:
    path = folder / name
    path.write_bytes(b"\n".join(each if isinstance(each, bytes) else orjson.dumps(each) for each in lines))
    return path


def bundle(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def settled(path: Path) -> list[dict[str, Any]]:
    targets = Targets()
    for entry in own_data.read(path):
        targets.add(entry)
    entries = own_data.read(path)
    return [orjson.loads(orjson.dumps(with_resolved_references(entry, targets))) for entry in entries]


def test_entries_of_a_bundle_refer_to_each_other_by_full_url(tmp_path: Path) -> None:
    """FHIR R4 bundle.html#references."""
    seen = {"resourceType": "Observation", "id": "o1", "subject": {"reference": URN, "display": "Ann"}}
    nameless = {key: value for key, value in PATIENT.items() if key != "id"}
    path = written(tmp_path, "a.json", bundle({"fullUrl": URN, "resource": nameless}, {"resource": seen}))

    patient, observation = settled(path)

    assert patient["id"] == URN.removeprefix("urn:uuid:"), "its id is the one that its address has"
    assert observation["subject"] == {"reference": f"Patient/{patient['id']}", "display": "Ann"}


def test_a_reference_by_identifier_finds_its_entry_or_becomes_a_logical_one(tmp_path: Path) -> None:
    """FHIR R4 http.html#trules, references.html#logical."""
    doctor = {"resourceType": "Practitioner", "id": "d1", "identifier": [{"system": "urn:npi", "value": "1"}]}
    visit = {
        "resourceType": "Encounter",
        "id": "e1",
        "participant": [
            {"individual": {"reference": "Practitioner?identifier=urn:npi|1"}},
            {"individual": {"reference": "Practitioner?identifier=urn:npi%7C2", "display": "Dr. Two"}},
        ],
    }
    path = written(tmp_path, "a.ndjson", visit, doctor)

    first, second = (each["individual"] for each in settled(path)[0]["participant"])

    assert first == {"reference": "Practitioner/d1"}
    assert second == {
        "type": "Practitioner",
        "identifier": {"system": "urn:npi", "value": "2"},
        "display": "Dr. Two",
    }


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    """FHIR R4 datatypes.html#decimal."""
    line = b'{"resourceType":"Observation","id":"o1","valueQuantity":{"value":5.40}}'
    entry = next(own_data.read(written(tmp_path, "a.ndjson", b"", line)))

    assert b"5.40" in orjson.dumps(with_resolved_references(entry, Targets()))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"{", "a.json cannot be read: it is not JSON"),
        ("a.json", b"", "it is not JSON"),
        ("a.json", b"[1]", "it is not a FHIR resource"),
        ("a.json", b'{"resourceType":7}', "it is not a FHIR resource"),
        ("a.json", b'\xff{"resourceType":"Patient"}', "it is not JSON"),
        ("a.json", b"[" * 100_000, "it is not JSON"),
        ("a.json", b'{"resourceType":"Bundle","entry":[{"fullUrl":"x"}]}', "a.json, entry 1"),
        ("a.json", b'{"resourceType":"Bundle","entry":7}', "entry 1"),
        ("a.ndjson", b'{"resourceType":"Patient","id":"p"}\n{oops}', "a.ndjson, line 2"),
        ("a.ndjson", b'{"resourceType":"Patient"}', "has no id"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(Invalid) as refused:
        list(own_data.read(written(tmp_path, name, content)))

    assert words in refused.value.detail


def test_a_line_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_data, "LINE_BOUND", 50)

    with pytest.raises(Invalid, match="longer"):
        list(own_data.read(written(tmp_path, "a.ndjson", PATIENT)))


def test_a_reference_into_no_file_is_refused() -> None:
    lost = Entry(
        "a.json, entry 3", "", {"resourceType": "Observation", "id": "o", "subject": {"reference": URN}}
    )

    with pytest.raises(Invalid, match="entry 3"):
        with_resolved_references(lost, Targets())


def test_odd_shapes_are_left_to_validation() -> None:
    odd = {"resourceType": "Patient", "id": 7, "identifier": {"value": 1}, "name": "x"}
    targets = Targets()
    targets.add(Entry("a", "", odd))

    assert with_resolved_references(Entry("a", "", odd), targets) == odd
    deep: dict[str, Any] = {}
    for _ in range(2_000 if not FULL else 20_000):
        deep = {"extension": deep}
    with pytest.raises(Invalid, match="too deep"):
        with_resolved_references(Entry("a", "", deep), targets)


def test_patients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_data, "PATIENTS_BOUND", 1)
    targets = Targets()
    targets.add(Entry("a", "", PATIENT))
    targets.add(Entry("a", "", PATIENT))

    with pytest.raises(Invalid):
        targets.add(Entry("a", "", PATIENT | {"id": "p2"}))


def test_a_line_has_a_name_and_the_newest_visit_first() -> None:
    charts = Charts()
    charts.add(PATIENT, "a.json")
    charts.add({"resourceType": "Patient", "id": "p2"}, "a.json")
    for n, begun in (("old", "2020-01-01"), ("new", "2026-01-01")):
        visit = {"resourceType": "Encounter", "id": n, "subject": {"reference": "Patient/p1"}}
        charts.add(visit | {"period": {"start": begun}}, "a.json")

    first, second = charts.lines()

    assert first == {
        "id": "p1",
        "name": "Ann B. Doe",
        "notable": "loaded from a.json",
        "encounters": ["new", "old"],
    }
    assert (second["name"], second["encounters"]) == ("Patient p2", [])
    assert [each["id"] for each in merged([second, first], [first])] == ["p1", "p2"]


def test_a_list_that_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loads add up: otherwise the sandbox would answer no request, and start no more."""
    path = tmp_path / "credentials_file.json"
    CredentialsFile(charts={"general": [{"id": "p1"}]}).save(path)
    monkeypatch.setattr(credentials, "FILE_BOUND", path.stat().st_size)

    with pytest.raises(Invalid, match="Load fewer patients"):
        CredentialsFile(charts={"general": [{"id": "p1"}, {"id": "p2"}]}).save(path)

    assert CredentialsFile.load(path).charts == {"general": [{"id": "p1"}]}
    monkeypatch.setattr(credentials, "FILE_BOUND", 1)
    with pytest.raises(Unavailable):
        CredentialsFile.load(path)
