"""``DocumentReference/$docref``, answered as a search: nothing is generated, so the documents that are there are all there can be.

Source: US Core 6.1.0, OperationDefinition-docref
"""

from typing import Any

from hilum.foundation.standards.fhir.dates import parse_range
from hilum.foundation.standards.fhir.parameters import ALWAYS_ACCEPTED, Params
from hilum.foundation.standards.fhir.values import is_id

DEFINITION = "http://hl7.org/fhir/us/core/OperationDefinition/docref"
_ONCE = ("patient", "start", "end", "on-demand")
_VALUES = ("valueId", "valueString", "valueDateTime", "valueBoolean", "valueCoding")


def as_search(asked: Params) -> Params | str:
    """Return the parameters of the search for DocumentReference that answers the operation, or what is wrong with it."""
    values: dict[str, list[str]] = {}
    search = [pair for pair in asked if pair[0] in ALWAYS_ACCEPTED]
    for name, value in asked:
        if name in {*_ONCE, "type"}:
            values.setdefault(name, []).append(value)
        elif name not in ALWAYS_ACCEPTED:
            return f"The operation $docref does not support the parameter {name}."
    once = {name: values.get(name, [""])[0] for name in _ONCE}
    if any(len(values.get(name, ())) > 1 for name in _ONCE) or not is_id(once["patient"]):
        return "The operation $docref takes the id of one patient, and each of start, end and on-demand at most once."
    if once["on-demand"] not in {"", "false"}:
        return "No documents are made on demand; send on-demand=false."
    search.append(("patient", once["patient"]))
    for name, prefix in (("start", "ge"), ("end", "le")):
        if name in values and parse_range(once[name]) is None:
            return f"The parameter {name} of $docref must be a date or time."
        # About the time of care, not of the document.
        search += [("period", prefix + once[name])] if name in values else []
    if "type" in values:
        search.append(("type", ",".join(values["type"])))
    return tuple(search)


def parameters_in(body: dict[str, Any]) -> Params | None:
    """Read the parameters of a POST from its Parameters resource; None if it is none, or holds what the operation does not take."""
    listed = body.get("parameter", [])
    if body["resourceType"] != "Parameters" or not isinstance(listed, list):
        return None
    pairs = []
    for each in listed:
        name, value = (each.get("name"), _text(each)) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or value is None:
            return None
        pairs.append((name, value))
    return tuple(pairs)


def _text(parameter: dict[str, Any]) -> str | None:
    value = next((parameter[key] for key in _VALUES if key in parameter), None)
    if isinstance(value, dict):
        system, code = value.get("system", ""), value.get("code")
        texts = isinstance(system, str) and isinstance(code, str)
        return f"{system}|{code}" if texts and system else code if texts else None
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else None
