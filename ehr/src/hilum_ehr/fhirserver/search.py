"""Parse searches into plans. Pure; whatever is not supported is refused by name, never ignored."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hilum.foundation.kernel import base64url
from hilum.foundation.standards.fhir.dates import Range, parse_range, widen
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.elements import split_reference
from hilum.foundation.standards.fhir.searchparams import Kind, SearchParameter, parameters_of
from hilum.foundation.standards.fhir.values import (
    fold,
    is_id,
    parse_number,
    parse_pairs,
    split,
    split_prefix,
    unescape,
)
from hilum_ehr.fhirserver.indexing import component_key, identifier_key
from hilum_ehr.fhirserver.models import (
    DEFAULT_COUNT,
    MAX_ALTERNATIVES,
    MAX_COUNT,
    MAX_HOPS,
    MAX_INCLUDE_PARAMETERS,
    MAX_OFFSET,
    MAX_PARAMETERS,
    MAX_QUERY_BYTES,
    MAX_SORT_KEYS,
    MAX_WAYS,
    AnyOf,
    ChainedMatch,
    CompositeMatch,
    Condition,
    DateTest,
    IdMatch,
    Include,
    Match,
    Missing,
    Problem,
    QuantityTest,
    ReferenceTest,
    Refused,
    ReverseChainedMatch,
    SearchPlan,
    Shape,
    SortKey,
    Test,
    TextMode,
    TextTest,
    TokenTest,
    UpdatedMatch,
    UriTest,
    index_key,
)

PAGE = "_page"
SHOWN_BOUND = 64
"""Letters of a request's text that an error repeats."""
SUMMARIES = frozenset({"true", "false", "text", "data", "count"})
RESULT_PARAMETERS = frozenset(
    {
        # `_page` is this server's own parameter, in its links only.
        "_count", "_sort", "_include", "_revinclude", "_total", "_summary", "_elements",
        "_format", "_pretty", PAGE,
    }
)  # fmt: skip
JSON_FORMATS = frozenset({"json", "application/json", "application/fhir+json", "text/json"})
# What the index can answer. Terminology modifiers (:in, :above) would need code systems that this server does not have.
_MODIFIERS: dict[Kind, frozenset[str]] = {
    Kind.STRING: frozenset({"exact", "contains", "missing"}),
    Kind.TOKEN: frozenset({"not", "missing"}),
    Kind.REFERENCE: frozenset({"identifier", "missing"}),
    Kind.DATE: frozenset({"missing"}),
    Kind.NUMBER: frozenset({"missing"}),
    Kind.QUANTITY: frozenset({"missing"}),
    Kind.URI: frozenset({"below", "missing"}),
    Kind.COMPOSITE: frozenset(),
}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SearchContext:
    """The context of a search. ``types`` can be searched; ``now`` is in microseconds since 1970.

    ``hops`` and ``ways`` are the remaining bounds of chains: on their length, and on the types to which untyped references branch.
    """

    base_url: str
    types: frozenset[str]
    now: int
    hops: int = MAX_HOPS
    ways: int = MAX_WAYS

    def further(self, ways: int, name: str) -> "SearchContext":
        """Return the context behind one more hop that branches to ``ways`` types. Raises Refused beyond the bounds."""
        # Every hop is a join. The product of branches is bounded too: two untyped references in a row multiply.
        if self.hops == 0:
            raise Refused(Problem.TOO_COSTLY, f"'{_shown(name)}': a chain may have at most {MAX_HOPS} hops.")
        if ways > self.ways:
            raise Refused(
                Problem.TOO_COSTLY,
                f"'{_shown(name)}' may refer to too many types: name the type, as in subject:Patient.",
            )
        return replace(self, hops=self.hops - 1, ways=self.ways // ways)


def parse_query(query: bytes) -> list[tuple[str, str]]:
    """Split a query or a form body into decoded pairs. Raises Refused on broken escapes, or past the bounds."""
    if len(query) > MAX_QUERY_BYTES:
        raise Refused(Problem.TOO_LARGE, f"A query may have at most {MAX_QUERY_BYTES} bytes.")
    try:
        pairs = parse_pairs(query)
    except ValueError as error:
        raise Refused(Problem.MALFORMED, f"The query cannot be read: {error}.") from None
    if len(pairs) > MAX_PARAMETERS:
        raise Refused(Problem.TOO_COSTLY, f"A search may have at most {MAX_PARAMETERS} parameters.")
    return pairs


def plan_search(resource_type: str, pairs: Pairs, context: SearchContext) -> SearchPlan:
    """Parse a search of one type. Raises Refused with the name of the parameter.

    Source: FHIR R4 search.html
    """
    results: dict[str, list[str]] = {}
    conditions: list[Condition] = []
    for name, value in pairs:
        code = name.partition(":")[0]
        if code in RESULT_PARAMETERS:
            if name != code:
                raise _refuse_modifier(name)
            results.setdefault(name, []).append(value)
        else:
            conditions.append(_condition(resource_type, name, value, context))
    sort = _sort(resource_type, _once(results, "_sort"))
    return SearchPlan(
        resource_type,
        tuple(conditions),
        sort,
        _includes(resource_type, results, context),
        _count(_once(results, "_count")),
        _after(_once(results, PAGE), sorted_rows=bool(sort)),
        _total(_once(results, "_total")),
        parse_shape(results),
        parse_presentation(results),
        # The self link states what was understood (FHIR R4 search.html#conformance); a page is named by the
        # link that leads to it.
        tuple((name, value) for name, value in pairs if name != PAGE),
    )


def parse_presentation(results: dict[str, list[str]]) -> bool:
    """Check ``_format``, and return whether ``_pretty`` is requested. Raises Refused."""
    media_type = _once(results, "_format")
    if media_type is not None and media_type.partition(";")[0].strip().replace(" ", "+") not in JSON_FORMATS:
        raise Refused(Problem.NOT_ACCEPTABLE, "Only JSON is supported: send _format=json.")
    pretty = _once(results, "_pretty")
    if pretty not in {None, "true", "false"}:
        raise _bad("_pretty", "true or false")
    return pretty == "true"


def parse_shape(results: dict[str, list[str]]) -> Shape:
    """Parse ``_summary`` and ``_elements``. Source: FHIR R4 search.html#summary."""
    summary = _once(results, "_summary")
    chosen = _once(results, "_elements")
    if summary is not None and summary not in SUMMARIES:
        raise _bad("_summary", "true, false, text, data or count")
    if chosen is not None and summary not in {None, "false"}:
        raise Refused(Problem.BAD_VALUE, "_summary and _elements cannot be combined.")
    names = tuple(name.strip() for name in chosen.split(",")) if chosen is not None else ()
    if any(re.fullmatch(r"[A-Za-z]{1,64}", name) is None for name in names) or len(names) > MAX_PARAMETERS:
        raise _bad("_elements", "names of elements at the top of the resource")
    return Shape(summary or "false", names)


def render_page(after: int) -> str:
    """Encode the start of a page as an opaque word."""
    return base64url.encode(b"p%d" % after)


def _after(word: str | None, *, sorted_rows: bool) -> int:
    if word is None:
        return 0
    try:
        raw = base64url.decode(word)
    except ValueError:
        raw = b""
    match = re.fullmatch(rb"p([0-9]{1,18})", raw)
    # A sorted page counts rows that are skipped, so its bound is a bound of work.
    if match is None or (sorted_rows and int(match.group(1)) > MAX_OFFSET):
        raise Refused(
            Problem.BAD_VALUE, f"{PAGE} is not a value from this server's links; follow the links instead."
        )
    return int(match.group(1))


def _once(results: dict[str, list[str]], name: str) -> str | None:
    values = results.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise Refused(Problem.BAD_VALUE, f"{name} may occur only once.")
    return values[0]


def _count(text: str | None) -> int:
    if text is None:
        return DEFAULT_COUNT
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise _bad("_count", "a whole number")
    # A page may hold fewer entries than requested, never more (FHIR R4 search.html#count).
    return min(int(text), MAX_COUNT)


def _total(text: str | None) -> bool | None:
    match text:
        case None:
            return None
        case "none":
            return False
        case "accurate" | "estimate":
            return True
        case _:
            raise _bad("_total", "none, estimate or accurate")


def _sort(resource_type: str, text: str | None) -> tuple[SortKey, ...]:
    if text is None:
        return ()
    keys = []
    for part in text.split(","):
        code, descending = part.removeprefix("-"), part.startswith("-")
        if code in {"_id", "_lastUpdated"}:
            keys.append(SortKey(code, Kind.TOKEN, descending))
            continue
        parameter = parameters_of(resource_type).get(code)
        # A composite has no single value to sort by.
        if parameter is None or parameter.kind in {Kind.COMPOSITE, Kind.SPECIAL}:
            raise Refused(
                Problem.UNKNOWN_PARAMETER, f"{resource_type} cannot be sorted by '{_shown(code)}' (_sort)."
            )
        keys.append(SortKey(index_key(resource_type, code), parameter.kind, descending))
    if len(keys) > MAX_SORT_KEYS:
        raise Refused(Problem.TOO_COSTLY, f"_sort may have at most {MAX_SORT_KEYS} keys.")
    return tuple(keys)


def _includes(
    resource_type: str, results: dict[str, list[str]], context: SearchContext
) -> tuple[Include, ...]:
    includes = []
    for name in ("_include", "_revinclude"):
        for text in results.get(name, ()):
            source, _, rest = text.partition(":")
            code, _, target = rest.partition(":")
            if "*" in text:
                raise Refused(
                    Problem.NOT_SUPPORTED, f"{name} does not support wildcards; name the parameter."
                )
            parameter = parameters_of(source).get(code) if source in context.types else None
            if parameter is None or parameter.kind is not Kind.REFERENCE:
                raise Refused(
                    Problem.UNKNOWN_PARAMETER,
                    f"{name}={_shown(text)} does not name a reference parameter.",
                )
            _check_include(name, resource_type, parameter, target)
            includes.append(Include(index_key(source, code), source, target, name == "_revinclude"))
    if len(includes) > MAX_INCLUDE_PARAMETERS:
        raise Refused(Problem.TOO_COSTLY, f"A search may have at most {MAX_INCLUDE_PARAMETERS} includes.")
    return tuple(includes)


def _check_include(name: str, resource_type: str, parameter: SearchParameter, target: str) -> None:
    if target and target not in parameter.targets:
        raise Refused(Problem.BAD_VALUE, f"{parameter.code} never refers to '{_shown(target)}' ({name}).")
    if name == "_include" and parameter.resource_type != resource_type:
        raise Refused(
            Problem.BAD_VALUE, f"_include must start at {resource_type}, the type that is searched."
        )
    if name == "_revinclude" and resource_type not in ((target,) if target else parameter.targets):
        raise Refused(
            Problem.BAD_VALUE,
            f"{parameter.resource_type}.{parameter.code} never refers to {resource_type} (_revinclude).",
        )


def _condition(resource_type: str, name: str, value: str, context: SearchContext) -> Condition:
    if name.startswith("_has:"):
        return _reverse_chain(resource_type, name, value, context)
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    parameter = parameters_of(resource_type).get(code)
    if parameter is None:
        raise Refused(
            Problem.UNKNOWN_PARAMETER,
            f"Unknown search parameter '{_shown(code)}' for resource type {resource_type}.",
        )
    if not value:
        raise Refused(Problem.BAD_VALUE, f"The parameter '{_shown(name)}' has no value.")
    # A chain: the part behind the dot is a search of the referenced type.
    if dot:
        return _chain(parameter, modifier, rest, value, context)
    if modifier == "missing" and code != "_id" and "missing" in _MODIFIERS[parameter.kind]:
        return _missing(parameter, value)
    if code == "_id":
        return _id_is(name, value)
    return _matching(parameter, modifier, value, context)


def _id_is(name: str, value: str) -> IdMatch:
    ids = _alternatives("_id", value)
    if name != "_id":
        raise _refuse_modifier(name)
    if not all(map(is_id, ids)):
        raise _bad("_id", "ids")
    return IdMatch(tuple(ids))


def _missing(parameter: SearchParameter, value: str) -> Condition:
    if value not in {"true", "false"}:
        raise _bad(f"{parameter.code}:missing", "true or false")
    if parameter.code == "_lastUpdated":
        raise _refuse_modifier("_lastUpdated:missing")
    return Missing(index_key(parameter.resource_type, parameter.code), parameter.kind, value == "true")


def _chain(
    parameter: SearchParameter, target: str, rest: str, value: str, context: SearchContext
) -> Condition:
    shown = f"{parameter.code}{':' + target if target else ''}.{rest}"
    if parameter.kind is not Kind.REFERENCE:
        raise Refused(Problem.BAD_VALUE, f"'{_shown(shown)}': only reference parameters can be chained.")
    if target and target not in parameter.targets:
        raise Refused(Problem.BAD_VALUE, f"{parameter.code} never refers to '{_shown(target)}'.")
    # An untyped reference branches to the types that have the chained parameter at all.
    code = re.split(r"[.:]", rest, maxsplit=1)[0]
    targets = (target,) if target else tuple(t for t in parameter.targets if code in parameters_of(t))
    targets = tuple(t for t in targets if t in context.types)
    if not targets:
        raise Refused(Problem.UNKNOWN_PARAMETER, f"Unknown chained search parameter '{_shown(shown)}'.")
    context = context.further(len(targets), shown)
    key = index_key(parameter.resource_type, parameter.code)
    ways: tuple[Condition, ...] = tuple(
        ChainedMatch(key, t, _condition(t, rest, value, context)) for t in targets
    )
    return ways[0] if len(ways) == 1 else AnyOf(ways)


def _reverse_chain(resource_type: str, name: str, value: str, context: SearchContext) -> Condition:
    # The last part may contain colons of its own: a modifier, or another _has.
    parts = name.split(":", 3)
    if len(parts) != 4 or parts[1] not in context.types:
        raise Refused(Problem.UNKNOWN_PARAMETER, f"'{_shown(name)}' is not _has:Type:reference:parameter.")
    source, code, rest = parts[1:]
    parameter = parameters_of(source).get(code)
    if parameter is None or parameter.kind is not Kind.REFERENCE or resource_type not in parameter.targets:
        raise Refused(
            Problem.UNKNOWN_PARAMETER,
            f"{source} has no reference '{_shown(code)}' to {resource_type} (_has).",
        )
    inner = _condition(source, rest, value, context.further(1, name))
    return ReverseChainedMatch(index_key(source, code), source, inner)


def _matching(parameter: SearchParameter, modifier: str, value: str, context: SearchContext) -> Condition:
    code, kind = parameter.code, parameter.kind
    key = index_key(parameter.resource_type, code)
    # subject:Patient=1 restricts the type of the target (FHIR R4 search.html#reference).
    typed = kind is Kind.REFERENCE and modifier in parameter.targets
    if modifier and modifier not in _MODIFIERS[kind] and not typed:
        raise _refuse_modifier(f"{code}:{modifier}")
    values = _alternatives(code, value)
    if code == "_lastUpdated":
        return UpdatedMatch(tuple(_date_test(code, v, context) for v in values))
    if kind is Kind.COMPOSITE:
        ways = tuple(_composite(parameter, key, v, context) for v in values)
        return ways[0] if len(ways) == 1 else AnyOf(ways)
    if kind is Kind.REFERENCE and modifier == "identifier":
        return Match(identifier_key(key), Kind.TOKEN, tuple(_token_test(code, v) for v in values))
    if typed:
        parameter = replace(parameter, targets=(modifier,))
    tests = tuple(t for v in values for t in _tests(parameter, modifier, v, context))
    return Match(key, kind, tests, negated=modifier == "not")


def _composite(parameter: SearchParameter, key: str, value: str, context: SearchContext) -> CompositeMatch:
    # Components are separated by an unescaped $ (FHIR R4 search.html#combining).
    parts = split(value, "$")
    if len(parts) != len(parameter.components) or not all(parts):
        raise _bad(parameter.code, "values joined by '$'")
    matches = []
    for index, (part, component) in enumerate(zip(parts, parameter.components, strict=True)):
        part_of = SearchParameter(
            parameter.resource_type, parameter.code, component.kind, "", tuple(sorted(resource_types()))
        )
        tests = tuple(_tests(part_of, "", part, context))
        matches.append(Match(component_key(key, index), component.kind, tests))
    return CompositeMatch(tuple(matches))


def _tests(parameter: SearchParameter, modifier: str, value: str, context: SearchContext) -> list[Test]:
    code = parameter.code
    match parameter.kind:
        case Kind.TOKEN:
            return [_token_test(code, value)]
        case Kind.STRING:
            text = unescape(value)
            if not fold(text):
                raise _bad(code, "a text")
            return [TextTest(fold(text), text, TextMode(modifier or "starts"))]
        case Kind.REFERENCE:
            return _reference_tests(parameter, unescape(value), context)
        case Kind.DATE:
            return [_date_test(code, value, context)]
        case Kind.NUMBER | Kind.QUANTITY:
            return [_quantity_test(parameter, value)]
        case Kind.URI:
            return [UriTest(unescape(value), modifier == "below")]
        case _:
            raise Refused(Problem.NOT_SUPPORTED, f"The parameter '{code}' is not supported.")


def _token_test(code: str, value: str) -> TokenTest:
    parts = [unescape(p) for p in split(value, "|")]
    if len(parts) > 2 or not any(parts):
        raise _bad(code, "code, system|code, |code or system|")
    if len(parts) == 1:
        # One part: any system. Two parts: an empty first one means "no system", an empty second one "any code of it".
        return TokenTest(parts[0].casefold(), None)
    return TokenTest(parts[1].casefold() or None, parts[0])


def _reference_tests(parameter: SearchParameter, value: str, context: SearchContext) -> list[Test]:
    if is_id(value):
        return [ReferenceTest(value, parameter.targets)]
    target_type, target_id = split_reference(value, context.base_url)
    if not target_type and not _URL.fullmatch(target_id):
        raise _bad(parameter.code, "an id, Type/id or an absolute address")
    tests: list[Test] = [ReferenceTest(target_id, (target_type,))]
    # A canonical or a foreign writer may have stored the absolute URL as it is.
    if target_type and value.startswith(context.base_url):
        tests.append(ReferenceTest(value, ("",)))
    # Matches nothing, which is an empty result and no error.
    if target_type and target_type not in parameter.targets:
        return tests[1:] or [ReferenceTest(target_id, ())]
    return tests


def _date_test(code: str, value: str, context: SearchContext) -> DateTest:
    prefix, text = split_prefix(value)
    dates = parse_range(text)
    if dates is None:
        raise _bad(code, "a date or time, such as 2026-03-02 or 2026-03-02T09:00:00Z")
    # R4 recommends ten per cent of the gap between now and the value (FHIR R4 search.html#prefix).
    if prefix == "ap":
        dates = widen(Range(*dates), context.now)
    return DateTest(prefix, dates.low, dates.high)


def _quantity_test(parameter: SearchParameter, value: str) -> QuantityTest:
    parts = [unescape(p) for p in split(value, "|")]
    prefix, text = split_prefix(parts[0])
    number = parse_number(text)
    units = parameter.kind is Kind.QUANTITY
    # number|system|code, where system may be empty; two parts have no meaning.
    if number is None or len(parts) not in ({1, 3} if units else {1}):
        raise _bad(parameter.code, "a number, or number|system|code" if units else "a number")
    low, high = number.low, number.high
    if prefix == "ap":
        slack = abs(number.value) / 10
        low, high = min(low, number.value - slack), max(high, number.value + slack)
    if len(parts) == 1:
        return QuantityTest(prefix, number.value, low, high)
    return QuantityTest(prefix, number.value, low, high, parts[1] or None, parts[2] or None)


def _alternatives(code: str, value: str) -> list[str]:
    values = split(value, ",")
    if len(values) > MAX_ALTERNATIVES:
        raise Refused(Problem.TOO_COSTLY, f"'{code}' has more than {MAX_ALTERNATIVES} alternatives.")
    # "a,,b" would match everything or nothing, depending on the server.
    if not all(values):
        raise Refused(Problem.BAD_VALUE, f"'{code}' has an empty alternative.")
    return values


def _shown(text: str) -> str:
    """Return a text of a request as an error may repeat it: only in part, and without control characters."""
    if len(text) <= SHOWN_BOUND and text.isprintable():
        return text
    return text[:SHOWN_BOUND].encode("ascii", "backslashreplace").decode()


def _refuse_modifier(name: str) -> Refused:
    return Refused(Problem.NOT_SUPPORTED, f"The modifier of '{_shown(name)}' is not supported.")


def _bad(code: str, expected: str) -> Refused:
    return Refused(Problem.BAD_VALUE, f"The value of '{_shown(code)}' is invalid; expected: {expected}.")
