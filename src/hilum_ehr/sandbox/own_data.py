"""FHIR data of one's own for a synthetic hospital: Bundles, NDJSON files and single resources, made ready to be stored.

References between entries are followed as the files mean them: by ``fullUrl`` (``urn:uuid:…``) and by the search for an identifier that
transaction Bundles use (FHIR R4 bundle.html#references, http.html#trules). What is not in any of the files becomes a logical reference.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from hilum.kernel.errors import HilumError, Invalid
from hilum.standards.fhir.shaping import load
from hilum.standards.fhir.values import is_id
from hilum_ehr.synthesis.models import NOTABLE_ENCOUNTERS_BOUND

FILE_BOUND = 128 * 1024 * 1024
"""Bytes of a file that is parsed whole; NDJSON has no bound but that of its lines."""
LINE_BOUND = 16 * 1024 * 1024
PATIENTS_BOUND = 2_000
"""Patients of one load: the simulator lists them all."""
NDJSON = ".ndjson"
_URN = "urn:uuid:"
_BY_IDENTIFIER = "?identifier="


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource as it stands in a file. ``where`` names it for a person; numbers keep their digits."""

    where: str
    full_url: str
    resource: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.resource.get("resourceType", ""))

    @property
    def target(self) -> str:
        return f"{self.type}/{self.resource['id']}"


def read(path: Path) -> Iterator[Entry]:
    """List the resources of a file, in its order. Raises Invalid with the file and line, or entry, that cannot be read."""
    try:
        if path.suffix == NDJSON:
            yield from _lines(path)
            return
        if path.stat().st_size > FILE_BOUND:
            raise _unreadable(
                str(path), f"it is larger than {FILE_BOUND} bytes. Split it, or write it as NDJSON."
            )
        yield from _expand(str(path), "", _parse(str(path), path.read_bytes()))
    except OSError as error:
        raise _unreadable(str(path), f"{error.strerror}.") from error


def _lines(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BOUND + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(line) > LINE_BOUND:
                raise _unreadable(where, f"it is longer than {LINE_BOUND} bytes.")
            if line.strip():
                yield from _expand(where, "", _parse(where, line))


def _parse(where: str, text: bytes) -> Any:
    try:
        return load(text.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, UnicodeDecodeError) as error:
        raise _unreadable(where, f"it is not JSON: {error}.") from error


def _expand(where: str, full_url: str, found: Any) -> Iterator[Entry]:
    if not isinstance(found, dict) or not isinstance(found.get("resourceType"), str):
        raise _unreadable(where, "it is not a FHIR resource: an object with a resourceType is expected.")
    if found["resourceType"] != "Bundle":
        yield _with_id(Entry(where, full_url, found))
        return
    entries = found.get("entry", [])
    for n, entry in enumerate(entries if isinstance(entries, list) else [None], 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("resource"), dict):
            raise _unreadable(f"{where}, entry {n}", "it has no resource.")
        yield from _expand(f"{where}, entry {n}", str(entry.get("fullUrl", "")), entry["resource"])


def _with_id(entry: Entry) -> Entry:
    if "id" in entry.resource:
        return entry
    # A new id each time would double the data of a file that is loaded twice.
    found = entry.full_url.removeprefix(_URN)
    if not is_id(found):
        raise _unreadable(
            entry.where, "its resource has no id. Give it one, so that loading again replaces it."
        )
    return Entry(entry.where, entry.full_url, entry.resource | {"id": found})


def _unreadable(where: str, why: str) -> HilumError:
    return Invalid("own_data_unreadable", f"{where} cannot be read: {why}")


@dataclass(slots=True)
class Targets:
    """What references of the files can mean, by fullUrl and by type and identifier."""

    by_url: dict[str, str] = field(default_factory=dict)
    by_identifier: dict[tuple[str, str], str] = field(default_factory=dict)
    patients: set[str] = field(default_factory=set)
    count: int = 0

    def add(self, entry: Entry) -> None:
        """Add one entry. Raises Invalid beyond the number of patients that the simulator lists."""
        self.count += 1
        if entry.full_url:
            self.by_url[entry.full_url] = entry.target
        identifiers = entry.resource.get("identifier")
        # Not validated yet: what is no list is refused later, with its place.
        for each in identifiers if isinstance(identifiers, list) else ():
            if isinstance(each, dict) and isinstance(each.get("value"), str):
                self.by_identifier[entry.type, f"{each.get('system', '')}|{each['value']}"] = entry.target
        if entry.type == "Patient":
            self.patients.add(entry.target)
            if len(self.patients) > PATIENTS_BOUND:
                raise Invalid(
                    "too_many_patients", f"At most {PATIENTS_BOUND} patients can be loaded at once."
                )


def settle(entry: Entry, targets: Targets) -> dict[str, Any]:
    """Return the resource with its references as this hospital's server knows them. Raises Invalid for one that leads nowhere."""
    try:
        settled: dict[str, Any] = _settled(entry.resource, entry, targets)
    except RecursionError:
        raise _unreadable(entry.where, "it is nested too deep.") from None
    return settled


def _settled(value: Any, entry: Entry, targets: Targets) -> Any:
    if isinstance(value, list):
        return [_settled(each, entry, targets) for each in value]
    if isinstance(value, dict):
        changed = {name: _settled(each, entry, targets) for name, each in value.items()}
        reference = changed.get("reference")
        return _reference(changed, reference, entry, targets) if isinstance(reference, str) else changed
    # The address of an attachment may be a fullUrl as well.
    return targets.by_url.get(value, value) if isinstance(value, str) and value.startswith(_URN) else value


def _reference(found: dict[str, Any], text: str, entry: Entry, targets: Targets) -> dict[str, Any]:
    if text in targets.by_url:
        return found | {"reference": targets.by_url[text]}
    if text.startswith(_URN):
        raise _unreadable(entry.where, f"it refers to {text[:80]}, which is in none of the files.")
    kind, is_search, token = text.partition(_BY_IDENTIFIER)
    if not is_search:
        return found
    token = unquote(token)
    if target := targets.by_identifier.get((kind, token)):
        return found | {"reference": target}
    system, _, value = token.rpartition("|")
    identifier = {"system": system, "value": value} if system else {"value": value}
    rest = {name: each for name, each in found.items() if name != "reference"}
    return rest | {"type": kind, "identifier": identifier}


@dataclass(slots=True)
class Charts:
    """The lines of loaded patients in the simulator's list: name, and visits with the newest first."""

    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    visits: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, resource: dict[str, Any], source: str) -> None:
        """Add what a resource says about a patient's line; most say nothing."""
        if resource["resourceType"] == "Patient":
            self.names[resource["id"]] = (_name(resource), f"loaded from {source}")
        elif resource["resourceType"] == "Encounter":
            patient = str((resource.get("subject") or {}).get("reference", "")).removeprefix("Patient/")
            begun = str((resource.get("period") or {}).get("start", ""))
            self.visits.setdefault(patient, []).append((begun, resource["id"]))

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines in the form of the wallet."""
        return [
            {
                "id": patient,
                "name": name,
                "notable": notable,
                "encounters": [visit for _, visit in sorted(self.visits.get(patient, ()), reverse=True)][
                    :NOTABLE_ENCOUNTERS_BOUND
                ],
            }
            for patient, (name, notable) in self.names.items()
        ]


def _name(patient: dict[str, Any]) -> str:
    for each in patient.get("name") or ():
        given = " ".join(str(word) for word in each.get("given") or ())
        if found := (each.get("text") or f"{given} {each.get('family', '')}".strip()):
            return str(found)
    return f"Patient {patient['id']}"


def merged(before: list[dict[str, Any]], loaded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a hospital's lines with those that were loaded in front; a patient who was there is replaced."""
    fresh = {each["id"] for each in loaded}
    return [*loaded, *(each for each in before if each["id"] not in fresh)]


def every(paths: Iterable[Path], visit: Callable[[Entry, Path], None]) -> None:
    """Call ``visit`` with every entry of every file. Raises what it raises."""
    for path in paths:
        for entry in read(path):
            visit(entry, path)


def dumped(resource: dict[str, Any]) -> bytes:
    """Serialize a resource; its numbers keep their digits."""
    return orjson.dumps(resource)
