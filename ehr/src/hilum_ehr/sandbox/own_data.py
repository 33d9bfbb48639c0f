"""Reads a developer's FHIR data for a synthetic hospital: Bundles, NDJSON files and single resources.

References between entries are resolved by ``fullUrl`` (``urn:uuid:…``) and by the identifier that a conditional reference of a transaction
searches for. A conditional reference to a resource that is in none of the files becomes a logical reference.

Source: FHIR R4, bundle.html#references, http.html#trules, references.html#logical.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hilum.foundation.kernel.errors import HilumError, Invalid
from hilum.foundation.standards.fhir.shaping import load
from hilum.foundation.standards.fhir.values import is_id
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
    """One resource of a file. ``where`` is its place in words, for error messages; numbers keep their digits."""

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
    """Yield the resources of a file, in its order. Raises Invalid with the file and the line or entry that cannot be read."""
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


def _expand(where: str, full_url: str, resource: Any) -> Iterator[Entry]:
    """Yield a resource or, for a Bundle, the resources in it."""
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise _unreadable(where, "it is not a FHIR resource: an object with a resourceType is expected.")
    if resource["resourceType"] != "Bundle":
        yield _with_id(Entry(where, full_url, resource))
        return
    entries = resource.get("entry", [])
    for n, entry in enumerate(entries if isinstance(entries, list) else [None], 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("resource"), dict):
            raise _unreadable(f"{where}, entry {n}", "it has no resource.")
        yield from _expand(f"{where}, entry {n}", str(entry.get("fullUrl", "")), entry["resource"])


def _with_id(entry: Entry) -> Entry:
    if "id" in entry.resource:
        return entry
    # Not a random id: a file that is loaded twice would then be stored twice.
    resource_id = entry.full_url.removeprefix(_URN)
    if not is_id(resource_id):
        raise _unreadable(
            entry.where, "its resource has no id. Give it one, so that loading again replaces it."
        )
    return Entry(entry.where, entry.full_url, entry.resource | {"id": resource_id})


def _unreadable(where: str, why: str) -> HilumError:
    return Invalid("own_data_unreadable", f"{where} cannot be read: {why}")


@dataclass(slots=True)
class Targets:
    """The resources that references in the files may lead to, by fullUrl and by type and identifier."""

    by_url: dict[str, str] = field(default_factory=dict)
    by_identifier: dict[tuple[str, str], str] = field(default_factory=dict)
    patients: set[str] = field(default_factory=set)
    count: int = 0

    def add(self, entry: Entry) -> None:
        """Add one entry. Raises Invalid beyond PATIENTS_BOUND."""
        self.count += 1
        if entry.full_url:
            self.by_url[entry.full_url] = entry.target
        identifiers = entry.resource.get("identifier")
        # Nothing is validated yet; the store refuses a malformed identifier later.
        for identifier in identifiers if isinstance(identifiers, list) else ():
            if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
                token = f"{identifier.get('system', '')}|{identifier['value']}"
                self.by_identifier[entry.type, token] = entry.target
        if entry.type == "Patient":
            self.patients.add(entry.target)
            if len(self.patients) > PATIENTS_BOUND:
                raise Invalid(
                    "too_many_patients", f"At most {PATIENTS_BOUND} patients can be loaded at once."
                )


def with_resolved_references(entry: Entry, targets: Targets) -> dict[str, Any]:
    """Return an entry's resource with its references as this hospital's server knows them. Raises Invalid for one that leads nowhere."""
    try:
        resource: dict[str, Any] = _resolved(entry.resource, entry, targets)
    except RecursionError:
        raise _unreadable(entry.where, "it is nested too deep.") from None
    return resource


def _resolved(value: Any, entry: Entry, targets: Targets) -> Any:
    if isinstance(value, list):
        return [_resolved(item, entry, targets) for item in value]
    if isinstance(value, dict):
        members = {name: _resolved(member, entry, targets) for name, member in value.items()}
        text = members.get("reference")
        return _resolved_reference(members, text, entry, targets) if isinstance(text, str) else members
    # The address of an attachment may be a fullUrl as well.
    return targets.by_url.get(value, value) if isinstance(value, str) and value.startswith(_URN) else value


def _resolved_reference(
    reference: dict[str, Any], text: str, entry: Entry, targets: Targets
) -> dict[str, Any]:
    if text in targets.by_url:
        return reference | {"reference": targets.by_url[text]}
    if text.startswith(_URN):
        raise _unreadable(entry.where, f"it refers to {text[:80]}, which is in none of the files.")
    kind, is_search, token = text.partition(_BY_IDENTIFIER)
    if not is_search:
        return reference
    token = unquote(token)
    if target := targets.by_identifier.get((kind, token)):
        return reference | {"reference": target}
    system, _, value = token.rpartition("|")
    identifier = {"system": system, "value": value} if system else {"value": value}
    rest = {name: member for name, member in reference.items() if name != "reference"}
    return rest | {"type": kind, "identifier": identifier}


@dataclass(slots=True)
class Charts:
    """Collects the lines of loaded patients in the simulator's list: name, and visits with the newest first."""

    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    visits: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, resource: dict[str, Any], source: str) -> None:
        """Add a Patient or an Encounter; resources of other types are ignored."""
        if resource["resourceType"] == "Patient":
            self.names[resource["id"]] = (_name(resource), f"loaded from {source}")
        elif resource["resourceType"] == "Encounter":
            patient = str((resource.get("subject") or {}).get("reference", "")).removeprefix("Patient/")
            begun = str((resource.get("period") or {}).get("start", ""))
            self.visits.setdefault(patient, []).append((begun, resource["id"]))

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines in the form of the credentials file."""
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
    for name in patient.get("name") or ():
        given = " ".join(str(word) for word in name.get("given") or ())
        if text := (name.get("text") or f"{given} {name.get('family', '')}".strip()):
            return str(text)
    return f"Patient {patient['id']}"


def merged(before: list[dict[str, Any]], loaded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a hospital's lines: the loaded ones first, in place of earlier ones of the same patients."""
    loaded_ids = {line["id"] for line in loaded}
    return [*loaded, *(line for line in before if line["id"] not in loaded_ids)]
