"""Parses searches by type into filters, includes, order and page, or into what is unsupported.

What could reach beyond the type that is searched (chains, ``_has``, ``_filter``, ``_list``, named queries) is refused by name, and
so is every parameter and modifier that is not in R4's tables: dropping one would widen the answer.
Source: FHIR R4 search.html
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache

from hilum.standards.fhir.requests import PAGE_SIZE_BOUND, FhirRequest, Summary, Unsupported
from hilum.standards.fhir.searchparams import Kind, SearchParameter, parameters_of
from hilum.standards.fhir.values import is_id, split
from hilum.standards.fhir.visibility import Belonging, parse_reference, rule_of

_REACHING_OUT = frozenset(
    {"_has", "_filter", "_list", "_query", "_text", "_content", "_type", "_contained", "_containedType"}
)
_MODIFIERS: Mapping[Kind, frozenset[str]] = {
    Kind.STRING: frozenset({"exact", "contains", "missing"}),
    Kind.TOKEN: frozenset({"text", "not", "above", "below", "in", "not-in", "of-type", "missing"}),
    Kind.REFERENCE: frozenset({"identifier", "missing"}),
    Kind.URI: frozenset({"above", "below", "missing"}),
    Kind.DATE: frozenset({"missing"}),
    Kind.NUMBER: frozenset({"missing"}),
    Kind.QUANTITY: frozenset({"missing"}),
    Kind.COMPOSITE: frozenset({"missing"}),
    Kind.SPECIAL: frozenset(),
}
"""Source: FHIR R4 search.html#modifiers. For a reference the name of a type is a modifier too."""
_SORTABLE = frozenset(
    {Kind.STRING, Kind.TOKEN, Kind.DATE, Kind.NUMBER, Kind.QUANTITY, Kind.URI, Kind.REFERENCE}
)

_COUNT = re.compile(r"(?<=[?&])_count=([0-9]{1,9})(?=&|$)")
_SUMMARY = re.compile(r"(?<=[?&])_summary=true(?:&|$)")


@dataclass(frozen=True, slots=True)
class Include:
    """An ``_include`` or ``_revinclude`` as asked: from which type, by which parameter, to which type ("" for any)."""

    reverse: bool
    source: str
    parameter: str
    target: str
    targets: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A parsed search: its filters as sent, the rest by meaning."""

    type: str
    filters: tuple[tuple[str, str], ...] = ()
    named: frozenset[str] | None = None
    """The patients in the filters, if any."""
    subject_filters: frozenset[int] = frozenset()
    """Which of the filters those are."""
    includes: tuple[Include, ...] = ()
    sort: str = ""
    count: int | None = None
    counting: bool = False
    """Only the number of matches is requested."""
    total: str = ""
    alternatives: int = 0


def _unsupported(sentence: str) -> Unsupported:
    return Unsupported("search_unsupported", sentence)


def _unknown(name: str, type_: str) -> Unsupported:
    return _unsupported(f"The search parameter {name} is not known for {type_}.")


@cache
def subject_parameters(type_: str) -> frozenset[str]:
    """Return the search parameters over exactly the elements that decide which patient a resource belongs to."""
    rule = rule_of(type_)
    if rule is None or not rule.narrow:
        return frozenset()
    if rule.belonging is Belonging.SELF:
        return frozenset({rule.narrow})
    deciding = {f"{type_}.{'.'.join(path)}" for path in rule.paths}
    return frozenset(
        code
        for code, parameter in parameters_of(type_).items()
        if parameter.kind is Kind.REFERENCE
        and parameter.expression.removesuffix(".where(resolve() is Patient)") in deciding
    )


def read_search(request: FhirRequest, bases: tuple[str, ...]) -> SearchQuery | Unsupported:
    """Parse a search by type; return it, or what in it is unsupported."""
    type_ = request.type
    table = parameters_of(type_)
    subject = subject_parameters(type_)
    filters: list[tuple[str, str]] = []
    includes: list[Include] = []
    marked: set[int] = set()
    named: frozenset[str] | None = None
    alternatives = 0
    found: dict[str, str] = {}
    for name, value in request.params:
        code, _, modifier = name.partition(":")
        if code in {"_include", "_revinclude"}:
            include = _read_include(type_, code, modifier, value)
            if isinstance(include, Unsupported):
                return include
            includes.append(include)
        elif name in {"_count", "_sort", "_total"}:
            found[name] = value
        else:
            parameter = table.get(code)
            if fault := _filter_fault(type_, name, value, parameter):
                return fault
            assert parameter is not None, "the fault above is for what is not known"
            parts = split(value, ",")
            alternatives = max(alternatives, len(parts))
            if parameter.kind is Kind.REFERENCE:
                value = ",".join(_relative(part, bases) for part in parts)
            if code in subject and modifier in {"", "Patient"}:
                marked.add(len(filters))
                patients = _patients(split(value, ","))
                named = patients if named is None else named & patients
            filters.append((name, value))
    if fault := _result_fault(type_, table, found):
        return fault
    count = int(found["_count"]) if "_count" in found else None
    return SearchQuery(
        type_,
        tuple(filters),
        named=named,
        subject_filters=frozenset(marked),
        includes=tuple(includes),
        sort=found.get("_sort", ""),
        count=None if count is None else min(count, PAGE_SIZE_BOUND),
        counting=request.shape.summary is Summary.COUNT or count == 0,
        total=found.get("_total", ""),
        alternatives=alternatives,
    )


def _filter_fault(type_: str, name: str, value: str, parameter: SearchParameter | None) -> Unsupported | None:
    code, _, modifier = name.partition(":")
    if "." in name:
        return _unsupported(f"Chained parameters such as {name} are not taken.")
    if code in _REACHING_OUT:
        return _unsupported(f"The parameter {code} is not taken.")
    if parameter is None:
        return _unknown(code, type_)
    if (":" in name) != bool(modifier) or ":" in modifier:
        return _unsupported(f"The modifier in {name} is not known.")
    typed = parameter.kind is Kind.REFERENCE and modifier in parameter.targets
    if modifier and not typed and modifier not in _MODIFIERS[parameter.kind]:
        return _unsupported(f"The modifier {modifier} is not known for the search parameter {code}.")
    if not value:
        return _unsupported(f"The search parameter {code} has no value.")
    return None


def _result_fault(
    type_: str, table: Mapping[str, SearchParameter], found: Mapping[str, str]
) -> Unsupported | None:
    count = found.get("_count")
    if count is not None and not (count.isascii() and count.isdigit() and len(count) <= 9):
        return _unsupported("The parameter _count is a whole number.")
    if found.get("_total", "none") not in {"none", "estimate", "accurate"}:
        return _unsupported("The parameter _total is none, estimate or accurate.")
    for key in found["_sort"].split(",") if "_sort" in found else ():
        parameter = table.get(key.removeprefix("-"))
        if parameter is None or parameter.kind not in _SORTABLE:
            return _unsupported(f"The parameter _sort cannot order {type_} by one of its keys.")
    return None


def _read_include(type_: str, code: str, modifier: str, value: str) -> Include | Unsupported:
    """Parse an include.

    Source: FHIR R4 search.html#include
    """
    if modifier:
        return _unsupported(f"The modifier {modifier} is not taken on {code}.")
    parts = value.split(":")
    reverse = code == "_revinclude"
    if len(parts) not in {2, 3} or not all(parts):
        return _unsupported(f"The parameter {code} is Type:parameter or Type:parameter:Type.")
    source, name = parts[:2]
    target = parts[2] if len(parts) == 3 else ""
    parameter = parameters_of(source).get(name) if rule_of(source) is not None else None
    if parameter is None or parameter.kind is not Kind.REFERENCE:
        return _unsupported(f"The parameter {code} names no reference that is known.")
    if target and target not in parameter.targets:
        return _unsupported(f"The parameter {code} names a type that its reference does not lead to.")
    joins = type_ in parameter.targets and target in {"", type_} if reverse else source == type_
    if not joins:
        return _unsupported(f"The parameter {code} does not lead to or from {type_}.")
    return Include(reverse, source, name, target, parameter.targets, f"{code}={value}")


def targets_named(params: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """List, as ``Type/id``, the targets in the filters of a search for Provenance."""
    parts = (_target(name, part) for name, value in params if is_about(name) for part in split(value, ","))
    return tuple(dict.fromkeys(part for part in parts if part))


def only_targets(
    params: tuple[tuple[str, str], ...], kept: Container[str]
) -> tuple[tuple[str, str], ...] | None:
    """Reduce filters over targets to the kept ones; None when nothing could match any more."""
    left: list[tuple[str, str]] = []
    for name, value in params:
        if is_about(name):
            value = ",".join(part for part in split(value, ",") if _target(name, part) in kept)
            if not value:
                return None
        left.append((name, value))
    return tuple(left)


def is_about(name: str) -> bool:
    """Check whether a filter lists targets by reference, and does not only describe them."""
    code, _, modifier = name.partition(":")
    return code in {"target", "patient"} and modifier not in _MODIFIERS[Kind.REFERENCE]


def _target(name: str, part: str) -> str:
    code, _, modifier = name.partition(":")
    type_ = modifier or ("Patient" if code == "patient" else "")
    reference = parse_reference(part if "/" in part else f"{type_}/{part}")
    return "" if reference is None else str(reference)


def _relative(part: str, bases: tuple[str, ...]) -> str:
    for base in bases:
        if part.startswith(base):
            return part[len(base) :]
    return part


def _patients(parts: list[str]) -> frozenset[str]:
    """Return the patients in a filter over the subject, by reference or bare id; other subjects are ignored."""
    found: set[str] = set()
    for part in parts:
        reference = parse_reference(part)
        if reference is not None:
            if reference.type == "Patient":
                found.add(reference.id)
        elif is_id(part):
            found.add(part)
    return frozenset(found)


def with_count(target: str, count: int) -> str | None:
    """Return a search with another page size; None if it has no ``_count``."""
    changed, found = _COUNT.subn(f"_count={count}", target)
    return changed if found == 1 else None


def with_half_the_count(target: str) -> str | None:
    """Return a search with half its page size; None if that cannot be smaller."""
    found = _COUNT.search(target)
    count = int(found[1]) // 2 if found else 0
    return with_count(target, count) if count else None


def without_summary(target: str) -> str | None:
    """Return a search without ``_summary=true``; None if it has no such parameter."""
    changed, found = _SUMMARY.subn("", target)
    return changed.rstrip("?&") if found == 1 else None
