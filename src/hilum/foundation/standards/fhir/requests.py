"""Parses an HTTP request below a FHIR base into one interaction, or into what is wrong with it.

Only one spelling of each request is accepted. Whatever another server might read differently (an encoded slash, a dot segment,
a parameter in two places, a key twice in a body) is refused with a code of its own, so that what was judged is what is sent.
Source: FHIR R4 http.html, search.html.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from hilum.foundation.standards.fhir import strict_json
from hilum.foundation.standards.fhir.binaries import binary_fault
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.docref import as_search, parameters_in
from hilum.foundation.standards.fhir.parameters import ALWAYS_ACCEPTED, SHAPE_PARAMETERS, without_ignored
from hilum.foundation.standards.fhir.values import ID

# Bounds are judged before anything is parsed, so that a request costs the same small time whatever it holds.
# The longest legal path, Type/id/_history/version, stays under 256 characters.
PATH_BOUND = 256
QUERY_BOUND = 8 * 1024
PARAMS_BOUND = 64
NAME_BOUND = 100
VALUE_BOUND = 2_000
BODY_BOUND = 2 * 1024 * 1024
BINARY_BODY_BOUND = 8 * 1024 * 1024
"""Bytes of a Binary that is stored: a scan of 6 MiB in base64."""
# Deeper nesting could exhaust a recursive parser further on, here or in the FHIR server.
DEPTH_BOUND = 64
PAGE_SIZE_BOUND = 200

# Spelled exactly: a server that ignores case would serve patient/1, for which no rule was judged (C81).
RESOURCE_TYPES = resource_types()


class Interaction(StrEnum):
    """The interactions of FHIR. Source: FHIR R4 http.html#3.1.0."""

    READ = "read"
    VREAD = "vread"
    HISTORY_INSTANCE = "history-instance"
    HISTORY_TYPE = "history-type"
    HISTORY_SYSTEM = "history-system"
    SEARCH_TYPE = "search-type"
    SEARCH_SYSTEM = "search-system"
    SEARCH_COMPARTMENT = "search-compartment"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    CONDITIONAL_CREATE = "conditional-create"
    CONDITIONAL_UPDATE = "conditional-update"
    CONDITIONAL_PATCH = "conditional-patch"
    CONDITIONAL_DELETE = "conditional-delete"
    BATCH = "batch"
    TRANSACTION = "transaction"
    OPERATION = "operation"
    CAPABILITIES = "capabilities"


WRITES = frozenset(
    {
        Interaction.CREATE,
        Interaction.UPDATE,
        Interaction.PATCH,
        Interaction.DELETE,
        Interaction.CONDITIONAL_CREATE,
        Interaction.CONDITIONAL_UPDATE,
        Interaction.CONDITIONAL_PATCH,
        Interaction.CONDITIONAL_DELETE,
        Interaction.BATCH,
        Interaction.TRANSACTION,
    }
)


class Summary(StrEnum):
    """Source: FHIR R4 search.html#summary."""

    TRUE = "true"
    TEXT = "text"
    DATA = "data"
    COUNT = "count"
    FALSE = "false"


@dataclass(frozen=True, slots=True)
class Shape:
    """The requested form of the response; it never changes which resources are in it."""

    pretty: bool = False
    summary: Summary = Summary.FALSE
    elements: tuple[str, ...] = ()


PLAIN = Shape()


@dataclass(slots=True)  # not frozen, which would cost five times as much for each request
class FhirRequest:
    """One well-formed interaction. ``params`` are decoded, in order, without those that ``shape`` holds.

    ``body`` is the parsed JSON of a write and ``raw`` its bytes, which every parser reads in the same way.
    """

    interaction: Interaction
    type: str = ""
    id: str = ""
    version: str = ""
    params: tuple[tuple[str, str], ...] = ()
    shape: Shape = PLAIN
    body: dict[str, Any] | None = None
    raw: bytes = b""
    if_match: str = ""
    if_none_match: str = ""
    prefer: str = ""
    accept: str = ""

    @property
    def is_write(self) -> bool:
        return self.interaction in WRITES


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An unsupported or malformed request. ``code`` is stable; ``detail`` is a sentence without values from the request.

    ``allowed``: the methods that this URL has, where the method is what is wrong.
    """

    code: str
    detail: str
    allowed: tuple[str, ...] = ()


# Conditional headers are on the list although they are not supported: one that was dropped silently would
# turn a conditional write into an unconditional one.
HEADERS = frozenset(
    {
        "accept",
        "content-type",
        "content-encoding",
        "if-match",
        "if-none-match",
        "if-none-exist",
        "if-modified-since",
        "prefer",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    }
)
"""Every header that can change the meaning of a request; the edge passes exactly these, each at most once."""
OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")

_MALFORMED = "The body must be well-formed JSON: no name twice in an object, no half of a character, no number beyond a double."
_BASE64 = "The body is base64, not JSON. Send the resource itself as JSON; base64 belongs into its element for data."
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
JSON_TYPES = frozenset({"application/fhir+json", "application/json"})
_FORMATS = JSON_TYPES | {"json", "application/fhir json"}
_ANY_ACCEPT = frozenset({"", "*/*", "application/fhir+json", "application/json", "application/*"})
# No percent sign: no FHIR path needs one, and servers differ in whether they decode %2F and %2e before they route.
_PATH = re.compile(rb"[A-Za-z0-9._$/-]*")
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_ELEMENTS = re.compile(r"(?:[A-Z][A-Za-z]*\.)?[a-z][A-Za-z0-9]*")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# CR and LF would end a header line further on; U+FEFF and non-characters vanish in some decoders, so that two
# parsers would see two different names.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
# One tag only. A server that cannot parse If-Match may ignore it, and the update would overwrite a newer version.
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,100}"')
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.~:-]*").fullmatch
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.~,:/-]*").fullmatch
"""Texts that need no percent-encoding, as most do: quoting costs ten times as much."""
_OPERATION = re.compile(r"\$[A-Za-z][A-Za-z0-9-]{0,63}")


def parse(
    method: str, path: bytes, query: bytes, headers: Mapping[str, str], body: bytes = b""
) -> FhirRequest | Unsupported:
    """Parse a request below a FHIR base: ``path`` is raw and relative to it, ``headers`` are those of ``HEADERS``, lower case.

    Total: never raises, whatever the input. HEAD is parsed as GET.
    """
    # HEAD passes every check that GET passes, and is answered without the body (RFC 9110 section 9.3.2); the
    # gateway leaves it out.
    if method == "HEAD":
        method = "GET"
    segments = _segments(path)
    if isinstance(segments, Unsupported):
        return segments
    # A server that follows these headers would execute a DELETE where a GET was judged.
    for name in OVERRIDES:
        if name in headers:
            return Unsupported(
                "method_override", "Method override headers are not supported; send the method itself."
            )
    if segments == ["DocumentReference", "$docref"] and method in {"GET", "POST"}:
        return _docref(method, query, headers, body)
    located = _locate(method, segments, headers)
    if isinstance(located, Unsupported):
        return located
    # The common read by id: nothing but the path can change its meaning, so the slower checks of query,
    # Accept and body are skipped. A Binary is not plain, since it is served in its own media type.
    plain = not query and method == "GET" and headers.get("accept", "") in _ANY_ACCEPT
    if plain and located.type != "Binary":
        return _bare(located, headers)
    return _full(method, located, query, headers, body)


def _docref(method: str, query: bytes, headers: Mapping[str, str], body: bytes) -> FhirRequest | Unsupported:
    """Parse the one operation that there is into the search that answers it."""
    asked = parse_query(query)
    if method == "POST" and not isinstance(asked, Unsupported):
        parsed = parse_body(headers, body)
        sent = parsed if isinstance(parsed, Unsupported) else parameters_in(parsed)
        if sent is None:
            sent = Unsupported(
                "body_malformed", "The body must be a Parameters resource with what $docref takes."
            )
        asked = sent if isinstance(sent, Unsupported) else asked + sent
    if isinstance(asked, Unsupported):
        return asked
    search = as_search(asked)
    if isinstance(search, str):
        return Unsupported("operation_unsupported", search)
    # Read again as a search, by whose bounds it is judged.
    located = FhirRequest(Interaction.SEARCH_TYPE, "DocumentReference")
    return _full("GET", located, render_query(search).encode(), headers, b"")


def _bare(located: FhirRequest, headers: Mapping[str, str]) -> FhirRequest:
    condition = headers.get("if-none-match", "")
    if not condition:
        return located
    return FhirRequest(
        located.interaction, located.type, located.id, located.version, if_none_match=condition[:VALUE_BOUND]
    )


def _segments(path: bytes) -> list[str] | Unsupported:
    if len(path) > PATH_BOUND:
        return Unsupported("path_too_long", "The path is too long.")
    # Judged on the raw bytes: after decoding, an encoded slash could not be distinguished from a real one.
    if not _PATH.fullmatch(path):
        if b"%" in path:
            return Unsupported("path_encoded", "A path below a FHIR base needs no percent-encoding.")
        return Unsupported("path_characters", "The path has characters that do not occur in FHIR paths.")
    text = path.decode("ascii").removeprefix("/")
    if not text:
        return []
    segments = text.split("/")
    for segment in segments:
        if not segment:
            return Unsupported("path_empty_segment", "The path has an empty segment.")
        # A dot segment is resolved by clients, proxies and servers at different moments (RFC 3986 section
        # 5.2.4), so Patient/../Observation/1 would be judged as one resource and served as another.
        if segment.strip(".") == "":
            return Unsupported("path_dot_segment", "The path has a dot segment.")
    return segments


def _locate(method: str, segments: list[str], headers: Mapping[str, str]) -> FhirRequest | Unsupported:
    """Return the interaction. Source: FHIR R4 http.html#summary."""
    if method not in METHODS:
        detail = "The method must be GET, HEAD, POST, PUT, PATCH or DELETE."
        return Unsupported("method_unknown", detail, METHODS)
    if not segments:
        return _locate_system(method)
    first = segments[0]
    if len(segments) == 1 and not first[0].isalpha():
        return _locate_system_word(method, first)
    if segments == ["metadata"]:
        return FhirRequest(Interaction.CAPABILITIES) if method == "GET" else _wrong_method("GET")
    if first not in RESOURCE_TYPES:
        return Unsupported(
            "type_unknown", "The path does not begin with a FHIR R4 resource type; types are case-sensitive."
        )
    if len(segments) == 1:
        return _locate_type(method, first, headers)
    if len(segments) == 2:
        return _locate_second(method, first, segments[1])
    return _locate_deep(method, segments)


def _wrong_method(*allowed: str) -> Unsupported:
    return Unsupported("method_not_allowed", "This URL does not support this method.", allowed)


def _locate_system(method: str) -> FhirRequest | Unsupported:
    if method == "GET":
        return FhirRequest(Interaction.SEARCH_SYSTEM)
    return FhirRequest(Interaction.BATCH) if method == "POST" else _wrong_method("GET", "POST")


def _locate_system_word(method: str, word: str) -> FhirRequest | Unsupported:
    if word == "_history":
        return FhirRequest(Interaction.HISTORY_SYSTEM) if method == "GET" else _wrong_method("GET")
    if word == "_search":
        return FhirRequest(Interaction.SEARCH_SYSTEM) if method == "POST" else _wrong_method("POST")
    if _OPERATION.fullmatch(word):
        return _locate_operation(method)
    return Unsupported("path_unknown", "The path does not match any FHIR interaction.")


def _locate_operation(method: str, type_: str = "", id_: str = "") -> FhirRequest | Unsupported:
    if method not in {"GET", "POST"}:
        return _wrong_method("GET", "POST")
    return FhirRequest(Interaction.OPERATION, type_, id_)


def _locate_type(method: str, type_: str, headers: Mapping[str, str]) -> FhirRequest | Unsupported:
    if method == "GET":
        return FhirRequest(Interaction.SEARCH_TYPE, type_)
    if method == "POST":
        # A conditional interaction answers whether a record matching a search exists, outside any narrowing.
        # It is located here and refused by the decision, which names it.
        conditional = "if-none-exist" in headers
        return FhirRequest(Interaction.CONDITIONAL_CREATE if conditional else Interaction.CREATE, type_)
    of_method = {
        "PUT": Interaction.CONDITIONAL_UPDATE,
        "PATCH": Interaction.CONDITIONAL_PATCH,
        "DELETE": Interaction.CONDITIONAL_DELETE,
    }
    return FhirRequest(of_method[method], type_)


def _locate_second(method: str, type_: str, word: str) -> FhirRequest | Unsupported:
    if word == "_search":
        return FhirRequest(Interaction.SEARCH_TYPE, type_) if method == "POST" else _wrong_method("POST")
    if word == "_history":
        return FhirRequest(Interaction.HISTORY_TYPE, type_) if method == "GET" else _wrong_method("GET")
    if _OPERATION.fullmatch(word):
        return _locate_operation(method, type_)
    if not ID.fullmatch(word):
        return Unsupported("id_malformed", "An id is 1 to 64 letters, digits, dots and hyphens.")
    of_method = {
        "GET": Interaction.READ,
        "PUT": Interaction.UPDATE,
        "PATCH": Interaction.PATCH,
        "DELETE": Interaction.DELETE,
    }
    return FhirRequest(of_method[method], type_, word) if method in of_method else _wrong_method(*of_method)


def _locate_deep(method: str, segments: list[str]) -> FhirRequest | Unsupported:
    type_, id_, word = segments[:3]
    if not ID.fullmatch(id_):
        return Unsupported("id_malformed", "An id is 1 to 64 letters, digits, dots and hyphens.")
    if len(segments) == 3 and _OPERATION.fullmatch(word):
        return _locate_operation(method, type_, id_)
    # Located for every method: it is refused whole, since the compartment is not an access rule (ADR 12).
    if len(segments) == 3 and word in RESOURCE_TYPES:
        return FhirRequest(Interaction.SEARCH_COMPARTMENT, type_, id_)
    if word != "_history" or len(segments) > 4:
        return Unsupported("path_unknown", "The path does not match any FHIR interaction.")
    if method != "GET":
        return _wrong_method("GET")
    if len(segments) == 3:
        return FhirRequest(Interaction.HISTORY_INSTANCE, type_, id_)
    if not ID.fullmatch(segments[3]):
        return Unsupported("id_malformed", "A version is 1 to 64 letters, digits, dots and hyphens.")
    return FhirRequest(Interaction.VREAD, type_, id_, segments[3])


def _full(
    method: str, located: FhirRequest, query: bytes, headers: Mapping[str, str], body: bytes
) -> FhirRequest | Unsupported:
    # _format is judged before Accept and overrides it, for clients that cannot set the header
    # (FHIR R4 http.html#parameters).
    accept = headers.get("accept", "")
    params = parse_query(query)
    if isinstance(params, Unsupported):
        return params
    searching = located.interaction in {Interaction.SEARCH_TYPE, Interaction.SEARCH_SYSTEM}
    if searching and method == "POST":
        params = _with_form(params, headers, body)
        if isinstance(params, Unsupported):
            return params
    shaped = _shape(params)
    if isinstance(shaped, Unsupported):
        return shaped
    shape, rest = shaped
    has_format = any(name == "_format" for name, _ in params)
    if not (has_format or located.type == "Binary" or accepts_json(accept)):
        return Unsupported(
            "format_unsupported", "Only JSON is supported: send Accept: application/fhir+json."
        )
    if searching:
        rest = without_ignored(located.type, rest, headers.get("prefer", ""))
    elif fault := _unexpected_parameter(located, rest):
        return fault
    parsed: dict[str, Any] | None = None
    interaction = located.interaction
    if interaction in {Interaction.CREATE, Interaction.UPDATE, Interaction.BATCH}:
        stores = located.type == "Binary" and interaction is Interaction.CREATE
        resource = parse_body(headers, body, BINARY_BODY_BOUND if stores else BODY_BOUND)
        if isinstance(resource, Unsupported):
            return resource
        if stores and (sentence := binary_fault(resource)):
            return Unsupported("body_malformed", sentence)
        parsed = resource
        if interaction is Interaction.BATCH:
            interaction = _bundle_kind(parsed)
        # PUT with If-None-Match: * creates only where nothing is, and so answers whether an id exists
        # (security decision 12).
        elif interaction is Interaction.UPDATE and "if-none-match" in headers:
            interaction = Interaction.CONDITIONAL_UPDATE
    # If-None-Match may be cut to its bound below: a cut condition matches nothing, and the client receives
    # the whole resource. If-Match guards a write, so a malformed one is refused, and an empty one too.
    condition = headers.get("if-match", "")
    if "if-match" in headers and not _ETAG.fullmatch(condition):
        return Unsupported("if_match_malformed", 'If-Match must be one entity tag: W/"version".')
    return FhirRequest(
        interaction,
        located.type,
        located.id,
        located.version,
        params=rest,
        shape=shape,
        body=parsed,
        raw=body if parsed is not None else b"",
        if_match=condition,
        if_none_match=headers.get("if-none-match", "")[:VALUE_BOUND],
        prefer=headers.get("prefer", "")[:VALUE_BOUND],
        accept=accept[:VALUE_BOUND],
    )


def accepts_json(accept: str) -> bool:
    """Check whether an Accept header allows JSON."""
    if accept in _ANY_ACCEPT:
        return True
    for part in accept.split(","):
        media = part.partition(";")[0].strip().lower()
        if media in JSON_TYPES or media in {"*/*", "application/*"}:
            return True
    return False


def parse_query(query: bytes) -> tuple[tuple[str, str], ...] | Unsupported:
    """Decode a query string or a form body strictly: UTF-8, bounded, no array names, no control characters."""
    if not query:
        return ()
    if len(query) > QUERY_BOUND:
        return Unsupported("query_too_long", "The query is too long; search with POST and fewer values.")
    pieces = query.split(b"&")
    if len(pieces) > PARAMS_BOUND:
        return Unsupported("too_many_parameters", f"A request may have at most {PARAMS_BOUND} parameters.")
    pairs: list[tuple[str, str]] = []
    for piece in pieces:
        raw_name, equals, raw_value = piece.partition(b"=")
        name, value = _decode(raw_name), _decode(raw_value)
        if name is None or value is None:
            return Unsupported("encoding_malformed", "A parameter is not valid percent-encoded UTF-8.")
        # Some frameworks read a[]=1 and a[0]=1 as values of a, which was not the name that was judged. A name
        # that is still encoded after one decoding (%2570atient) fails here too.
        if not equals or not name or not _NAME.fullmatch(name) or len(name) > NAME_BOUND:
            return Unsupported("parameter_name_malformed", "A parameter's name is missing or malformed.")
        if len(value) > VALUE_BOUND:
            return Unsupported("value_too_long", f"The value of {name} is too long.")
        # Some web frameworks execute the method in this parameter instead of the request's own.
        if name == "_method":
            return Unsupported(
                "method_override", "Method override parameters are not supported; send the method itself."
            )
        pairs.append((name, value))
    return tuple(pairs)


def _decode(raw: bytes) -> str | None:
    if b"%" in raw:
        if _BAD_PERCENT.search(raw):
            return None
        raw = unquote_to_bytes(raw.replace(b"+", b" "))
    elif b"+" in raw:
        raw = raw.replace(b"+", b" ")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def _with_form(
    params: tuple[tuple[str, str], ...], headers: Mapping[str, str], body: bytes
) -> tuple[tuple[str, str], ...] | Unsupported:
    """Join the parameters of a POST search. A name in both URL and body is refused: servers differ in which one they use."""
    if len(body) > BODY_BOUND:
        return Unsupported("body_too_large", "The body is too large.")
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "content-encoding" in headers or (body and media != "application/x-www-form-urlencoded"):
        return Unsupported(
            "content_type_unsupported", "A search by POST must be sent as application/x-www-form-urlencoded."
        )
    form = parse_query(body)
    if isinstance(form, Unsupported):
        return form
    # Compared without modifiers: patient in the URL and patient:Patient in the body are one parameter.
    names = {name.partition(":")[0] for name, _ in params}
    for name, _ in form:
        if name.partition(":")[0] in names:
            return Unsupported(
                "parameter_split",
                f"The parameter {name.partition(':')[0]} is in the URL and in the body; send it in one of them.",
            )
    if len(params) + len(form) > PARAMS_BOUND:
        return Unsupported("too_many_parameters", f"A request may have at most {PARAMS_BOUND} parameters.")
    return params + form


def _shape(
    params: tuple[tuple[str, str], ...],
) -> tuple[Shape, tuple[tuple[str, str], ...]] | Unsupported:
    """Separate the parameters that only shape the response from the others. Each may occur once."""
    by_name: dict[str, str] = {}
    rest: list[tuple[str, str]] = []
    for name, value in params:
        # A second _count or _format: one server uses the first, another the last.
        if name in ALWAYS_ACCEPTED:
            if name in by_name:
                return Unsupported("parameter_doubled", f"The parameter {name} may occur only once.")
            by_name[name] = value
        if name not in SHAPE_PARAMETERS:
            rest.append((name, value))
    if not by_name:
        return PLAIN, params
    if by_name.get("_format", "json").partition(";")[0].strip().lower() not in _FORMATS:
        return Unsupported("format_unsupported", "Only JSON is supported: send _format=json.")
    pretty = by_name.get("_pretty", "false")
    if pretty not in {"true", "false"}:
        return Unsupported("parameter_value", "The parameter _pretty must be true or false.")
    summary = by_name.get("_summary", "false")
    if summary not in set(Summary):
        return Unsupported(
            "parameter_value", "The parameter _summary must be true, text, data, count or false."
        )
    names = [name.strip() for name in by_name["_elements"].split(",")] if "_elements" in by_name else []
    if any(not _ELEMENTS.fullmatch(name) for name in names):
        return Unsupported(
            "parameter_value", "The parameter _elements must list names of top-level elements."
        )
    elements = tuple(name.rpartition(".")[2] for name in names)
    return Shape(pretty == "true", Summary(summary), elements), tuple(rest)


def _unexpected_parameter(located: FhirRequest, rest: tuple[tuple[str, str], ...]) -> Unsupported | None:
    """Refuse parameters on an interaction that has none but the shape's, and the ``mode`` of a CapabilityStatement.

    Source: FHIR R4 http.html#capabilities
    """
    if located.interaction.startswith("conditional") or located.interaction is Interaction.OPERATION:
        return None
    for name, value in rest:
        if located.interaction is Interaction.CAPABILITIES and (name, value) == ("mode", "full"):
            continue
        if name not in ALWAYS_ACCEPTED:
            return Unsupported(
                "parameter_unknown", f"The parameter {name} is not supported for this interaction."
            )
    return None


def parse_body(
    headers: Mapping[str, str], body: bytes, bound: int = BODY_BOUND
) -> dict[str, Any] | Unsupported:
    """Parse a resource's JSON strictly: UTF-8, no duplicate names, element names as in FHIR, bounded depth."""
    if len(body) > bound:
        return Unsupported("body_too_large", f"A body may have at most {bound} bytes.")
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "content-encoding" in headers or media not in JSON_TYPES:
        return Unsupported("content_type_unsupported", "A resource must be sent as application/fhir+json.")
    try:
        parsed = strict_json.parse(body)
    except ValueError:
        return Unsupported("body_malformed", _BASE64 if strict_json.is_base64(body) else _MALFORMED)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("resourceType"), str):
        return Unsupported("body_malformed", "The body must be a JSON object with a resourceType.")
    if strict_json.is_deeper(parsed, DEPTH_BOUND):
        return Unsupported("body_too_deep", f"A body may be nested at most {DEPTH_BOUND} levels deep.")
    return parsed


def _bundle_kind(body: dict[str, Any]) -> Interaction:
    return Interaction.TRANSACTION if body.get("type") == "transaction" else Interaction.BATCH


# Rendered from the parsed parameters and never copied from the request, so that what is sent is exactly what was judged.
def render_query(params: tuple[tuple[str, str], ...]) -> str:
    """Encode parameters in the one form that every server reads in the same way."""
    return "&".join(
        [
            f"{name if _PLAIN_NAME(name) else quote(name, safe=':')}={value if _PLAIN_VALUE(value) else quote(value, safe=',:/')}"
            for name, value in params
        ]
    )
