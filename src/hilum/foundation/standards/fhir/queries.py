"""Parses searches by type into filters, includes, order and page, or into what is unsupported.

What could reach beyond the searched type (chains, ``_has``, ``_filter``, ``_list``, named queries) is refused, and
so is every parameter and modifier that is not in R4's tables: a server that ignored one would return more than was asked for. (What
the client lets be ignored is left out before: ``parameters``.)
Source: FHIR R4 search.html
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache

from hilum.foundation.standards.fhir.elements import URIS
from hilum.foundation.standards.fhir.parameters import INCLUDE_PARAMETERS, REACHING_OUT, RESULT_PARAMETERS
from hilum.foundation.standards.fhir.paths import UnsupportedExpression, compile_expression
from hilum.foundation.standards.fhir.requests import PAGE_SIZE_BOUND, FhirRequest, Summary, Unsupported
from hilum.foundation.standards.fhir.searchparams import Kind, SearchParameter, parameters_of
from hilum.foundation.standards.fhir.values import is_id, split
from hilum.foundation.standards.fhir.visibility import Belonging, parse_reference, rule_of

# A server that does not support a modifier must refuse it (FHIR R4 search.html#modifiers), but some ignore it:
# :not without its modifier would be the opposite search.
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

# These two patterns work on a rendered target, whose values are percent-encoded: a value cannot contain "&_count=".
_COUNT = re.compile(r"(?<=[?&])_count=([0-9]{1,9})(?=&|$)")
_SUMMARY = re.compile(r"(?<=[?&])_summary=true(?:&|$)")


@dataclass(frozen=True, slots=True)
class Include:
    """A requested ``_include`` or ``_revinclude``: from which type, by which parameter, to which type ("" for any)."""

    reverse: bool
    source: str
    parameter: str
    target: str
    targets: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A parsed search: its filters as the client sent them, everything else as values."""

    type: str
    filters: tuple[tuple[str, str], ...] = ()
    named: frozenset[str] | None = None
    """The patients in the filters, if any."""
    subject_filters: frozenset[int] = frozenset()
    """The positions of the filters over the patient in ``filters``."""
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
    return _unsupported(f"{type_} has no search parameter {name} that is supported.")


@cache
def subject_parameters(type_: str) -> frozenset[str]:
    """Return the search parameters over exactly the elements that decide which patient a resource belongs to."""
    rule = rule_of(type_)
    if rule is None or not rule.narrow:
        return frozenset()
    # The chart itself is found by its id; Patient has no reference to itself to search by.
    if rule.belonging is Belonging.SELF:
        return frozenset({rule.narrow})
    # Exactly the deciding elements. A parameter over more (an author, a recipient) would match records that
    # merely mention the patient.
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
    subject_filters: set[int] = set()
    named: frozenset[str] | None = None
    alternatives = 0
    result_params: dict[str, str] = {}
    for name, value in request.params:
        code, _, modifier = name.partition(":")
        # Included resources are of other types, which need a scope of their own.
        if code in INCLUDE_PARAMETERS:
            include = _read_include(type_, code, modifier, value)
            if isinstance(include, Unsupported):
                return include
            includes.append(include)
        elif name in RESULT_PARAMETERS:
            result_params[name] = value
        else:
            parameter = table.get(code)
            if fault := _filter_fault(type_, name, value, parameter):
                return fault
            assert parameter is not None, "an unknown parameter was refused above"
            parts = split(value, ",")
            alternatives = max(alternatives, len(parts))
            if parameter.kind is Kind.REFERENCE:
                # The gateway's own base is not the server's: an absolute reference below it would match nothing there.
                value = ",".join(_relative(part, bases) for part in parts)
            if code in subject and modifier in {"", "Patient"}:
                subject_filters.add(len(filters))
                # Values in one parameter are alternatives, repeated parameters must all match
                # (FHIR R4 search.html#combining), hence the intersection.
                patients = _patients(split(value, ","))
                named = patients if named is None else named & patients
            filters.append((name, value))
    if fault := _result_fault(type_, table, result_params):
        return fault
    count = int(result_params["_count"]) if "_count" in result_params else None
    return SearchQuery(
        type_,
        tuple(filters),
        named=named,
        subject_filters=frozenset(subject_filters),
        includes=tuple(includes),
        sort=result_params.get("_sort", ""),
        count=None if count is None else min(count, PAGE_SIZE_BOUND),
        # _count=0 is to be treated like _summary=count (FHIR R4 search.html#count).
        counting=request.shape.summary is Summary.COUNT or count == 0,
        total=result_params.get("_total", ""),
        alternatives=alternatives,
    )


def _filter_fault(type_: str, name: str, value: str, parameter: SearchParameter | None) -> Unsupported | None:
    code, _, modifier = name.partition(":")
    # subject.name=x would test names of patients that the app may not read.
    if "." in name:
        return _unsupported(f"Chained parameters such as {name} are not supported; search in two steps.")
    if code in REACHING_OUT:
        return _unsupported(f"The parameter {code} is not supported.")
    # Servers ignore unknown parameters unless asked to be strict (FHIR R4 search.html#errors): an ignored
    # filter widens the answer.
    if parameter is None:
        return _unknown(code, type_)
    # "code:" and "code:not:in" are read as code by some servers, which drops the modifier.
    if (":" in name) != bool(modifier) or ":" in modifier:
        return _unsupported(f"The modifier in {name} is malformed.")
    typed = parameter.kind is Kind.REFERENCE and modifier in parameter.targets
    if modifier and not typed and modifier not in _MODIFIERS[parameter.kind]:
        return _unsupported(f"The search parameter {code} does not support the modifier {modifier}.")
    # An empty filter is dropped by most servers, which widens the search.
    if not value:
        return _unsupported(f"The search parameter {code} has no value.")
    return None


def _result_fault(
    type_: str, table: Mapping[str, SearchParameter], result_params: Mapping[str, str]
) -> Unsupported | None:
    count = result_params.get("_count")
    if count is not None and not (count.isascii() and count.isdigit() and len(count) <= 9):
        return _unsupported("The parameter _count must be a whole number of at most 9 digits.")
    if result_params.get("_total", "none") not in {"none", "estimate", "accurate"}:
        return _unsupported("The parameter _total must be none, estimate or accurate.")
    for key in result_params["_sort"].split(",") if "_sort" in result_params else ():
        parameter = table.get(key.removeprefix("-"))
        if parameter is None or parameter.kind not in _SORTABLE:
            return _unsupported(f"The parameter _sort has a key by which {type_} cannot be sorted.")
    return None


def _read_include(type_: str, code: str, modifier: str, value: str) -> Include | Unsupported:
    """Parse an include.

    Source: FHIR R4 search.html#include
    """
    # _include:iterate follows includes of includes, whose types are not known before the answer.
    if modifier:
        return _unsupported(f"The parameter {code} does not support the modifier {modifier}.")
    parts = value.split(":")
    reverse = code == "_revinclude"
    if len(parts) not in {2, 3} or not all(parts):
        return _unsupported(f"The parameter {code} must be Type:parameter or Type:parameter:Type.")
    source, name = parts[:2]
    target = parts[2] if len(parts) == 3 else ""
    # A type without a visibility rule has nothing to be judged by, so it is not included.
    parameter = parameters_of(source).get(name) if rule_of(source) is not None else None
    if parameter is None or parameter.kind is not Kind.REFERENCE:
        return _unsupported(f"The parameter {code} must refer to a reference parameter of a supported type.")
    if is_by_url(parameter):
        to = parameter.targets[0] if len(parameter.targets) == 1 else "the other resource"
        return _unsupported(
            f"{source}.{name} refers by canonical URL, which {code} does not follow. Search {to} with url= and the URL from the record."
        )
    if target and target not in parameter.targets:
        return _unsupported(f"The parameter {code} has a target type that its reference cannot point to.")
    # An include that joins two other types would be a search of its own, with neither type narrowed.
    joins = type_ in parameter.targets and target in {"", type_} if reverse else source == type_
    if not joins:
        return _unsupported(f"The parameter {code} does not join to {type_}, the type that is searched.")
    return Include(reverse, source, name, target, parameter.targets, f"{code}={value}")


@cache
def is_by_url(parameter: SearchParameter) -> bool:
    """Check whether a reference parameter is about canonical URLs only, which name no resource of this server.

    Source: FHIR R4 references.html#canonical
    """
    try:
        types = compile_expression(parameter.expression, parameter.resource_type).types
    except UnsupportedExpression:
        return False
    return bool(types) and types <= URIS


def targets_named(params: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """List, as ``Type/id``, the targets in the filters of a search for Provenance."""
    parts = (_target(name, part) for name, value in params if is_about(name) for part in split(value, ","))
    return tuple(dict.fromkeys(part for part in parts if part))


def only_targets(
    params: tuple[tuple[str, str], ...], kept: Container[str]
) -> tuple[tuple[str, str], ...] | None:
    """Remove the targets that are not in ``kept`` from the filters; None if a filter loses its last one and the search matches nothing."""
    narrowed: list[tuple[str, str]] = []
    for name, value in params:
        # A target that may not be seen is removed before the search is sent. Otherwise pages that are empty
        # but link to a next one would distinguish withheld Provenance from absent Provenance.
        if is_about(name):
            value = ",".join(part for part in split(value, ",") if _target(name, part) in kept)
            if not value:
                return None
        narrowed.append((name, value))
    return tuple(narrowed)


def is_about(name: str) -> bool:
    """Check whether a filter lists targets by reference, not by identifier or presence."""
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
    ids: set[str] = set()
    for part in parts:
        reference = parse_reference(part)
        if reference is not None:
            if reference.type == "Patient":
                ids.add(reference.id)
        elif is_id(part):
            ids.add(part)
    return frozenset(ids)


def with_count(target: str, count: int) -> str | None:
    """Return a search with another page size; None if it has no ``_count``."""
    # With two of them the size of the page would not be known.
    changed, matches = _COUNT.subn(f"_count={count}", target)
    return changed if matches == 1 else None


def with_half_the_count(target: str) -> str | None:
    """Return a search with half its page size; None if that cannot be smaller."""
    match = _COUNT.search(target)
    # A page larger than the bound of an answer is fetched again in halves (ADR 27), so that one heavy record
    # does not make the chart unreadable for every other app.
    count = int(match[1]) // 2 if match else 0
    return with_count(target, count) if count else None


def without_summary(target: str) -> str | None:
    """Return a search without ``_summary=true``; None if it has no such parameter."""
    changed, matches = _SUMMARY.subn("", target)
    return changed.rstrip("?&") if matches == 1 else None
