"""Reading FHIR requests: one spelling each, everything else refused by name."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.standards.fhir.requests import (
    BODY_BOUND,
    DEPTH_BOUND,
    PARAMS_BOUND,
    PATH_BOUND,
    QUERY_BOUND,
    VALUE_BOUND,
    FhirRequest,
    Interaction,
    Summary,
    Unsupported,
    parse,
    parse_query,
    render_query,
)
from tests.effort import effort

JSON = {"content-type": "application/fhir+json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
RESOURCE = b'{"resourceType":"Observation"}'


def read(method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
    path, _, query = target.partition("?")
    return parse(method, path.encode(), query.encode(), headers or {}, body)


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "expected"),
    [
        ("GET", "Patient/1", {}, b"", (Interaction.READ, "Patient", "1", "")),
        ("HEAD", "/Patient/1", {}, b"", (Interaction.READ, "Patient", "1", "")),
        ("GET", "Patient/1/_history/2", {}, b"", (Interaction.VREAD, "Patient", "1", "2")),
        ("GET", "Patient/1/_history", {}, b"", (Interaction.HISTORY_INSTANCE, "Patient", "1", "")),
        ("GET", "Patient/_history", {}, b"", (Interaction.HISTORY_TYPE, "Patient", "", "")),
        ("GET", "_history", {}, b"", (Interaction.HISTORY_SYSTEM, "", "", "")),
        ("GET", "Patient?name=x", {}, b"", (Interaction.SEARCH_TYPE, "Patient", "", "")),
        ("POST", "Patient/_search", FORM, b"name=x", (Interaction.SEARCH_TYPE, "Patient", "", "")),
        ("GET", "", {}, b"", (Interaction.SEARCH_SYSTEM, "", "", "")),
        ("POST", "_search", FORM, b"", (Interaction.SEARCH_SYSTEM, "", "", "")),
        ("GET", "Patient/1/Observation", {}, b"", (Interaction.SEARCH_COMPARTMENT, "Patient", "1", "")),
        ("POST", "Observation", JSON, RESOURCE, (Interaction.CREATE, "Observation", "", "")),
        (
            "POST",
            "Observation",
            JSON | {"if-none-exist": "a=b"},
            RESOURCE,
            (Interaction.CONDITIONAL_CREATE, "Observation", "", ""),
        ),
        ("PUT", "Observation/1", JSON, RESOURCE, (Interaction.UPDATE, "Observation", "1", "")),
        (
            "PUT",
            "Observation/1",
            JSON | {"if-none-match": "*"},
            RESOURCE,
            (Interaction.CONDITIONAL_UPDATE, "Observation", "1", ""),
        ),
        (
            "PUT",
            "Observation?code=x",
            JSON,
            RESOURCE,
            (Interaction.CONDITIONAL_UPDATE, "Observation", "", ""),
        ),
        ("PATCH", "Observation/1", {}, b"[]", (Interaction.PATCH, "Observation", "1", "")),
        ("PATCH", "Observation?a=b", {}, b"[]", (Interaction.CONDITIONAL_PATCH, "Observation", "", "")),
        ("DELETE", "Observation/1", {}, b"", (Interaction.DELETE, "Observation", "1", "")),
        ("DELETE", "Observation?a=b", {}, b"", (Interaction.CONDITIONAL_DELETE, "Observation", "", "")),
        ("POST", "", JSON, b'{"resourceType":"Bundle","type":"batch"}', (Interaction.BATCH, "", "", "")),
        (
            "POST",
            "/",
            JSON,
            b'{"resourceType":"Bundle","type":"transaction"}',
            (Interaction.TRANSACTION, "", "", ""),
        ),
        ("GET", "Patient/1/$everything", {}, b"", (Interaction.OPERATION, "Patient", "1", "")),
        ("POST", "Patient/$match", {}, b"", (Interaction.OPERATION, "Patient", "", "")),
        ("GET", "$export", {}, b"", (Interaction.OPERATION, "", "", "")),
        ("GET", "metadata", {}, b"", (Interaction.CAPABILITIES, "", "", "")),
    ],
)
def test_each_interaction_is_named(
    method: str, target: str, headers: dict[str, str], body: bytes, expected: tuple[Any, ...]
) -> None:
    """C72; FHIR R4 http.html#summary."""
    found = read(method, target, headers, body)

    assert isinstance(found, FhirRequest), found
    assert (found.interaction, found.type, found.id, found.version) == expected


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", "Patient%2F1", "path_encoded"),
        ("GET", "Patient/..%2FObservation", "path_encoded"),
        ("GET", "Patient/%2e%2e/x", "path_encoded"),
        ("GET", "%50atient/1", "path_encoded"),
        ("GET", "Patient/..", "path_dot_segment"),
        ("GET", "Patient/../Observation/1", "path_dot_segment"),
        ("GET", "./Patient/1", "path_dot_segment"),
        ("GET", "Patient/...", "path_dot_segment"),
        ("GET", "Patient//1", "path_empty_segment"),
        ("GET", "//Patient/1", "path_empty_segment"),
        ("GET", "Patient/1/", "path_empty_segment"),
        ("GET", "Patient/", "path_empty_segment"),
        ("GET", "http://evil.example/Patient/1", "path_characters"),
        ("GET", "Patient\\1", "path_characters"),
        ("GET", "Patient;a=b/1", "path_characters"),
        ("GET", "Patient/1\x00", "path_characters"),
        ("GET", "Patient/ä", "path_characters"),
        ("GET", "Patient/" + "a" * PATH_BOUND, "path_too_long"),
        ("GET", "Patient/" + "a" * 65, "id_malformed"),
        ("GET", "Patient/a_b", "id_malformed"),
        ("GET", "Patient/1/_history/a_b", "id_malformed"),
        ("GET", "patient/1", "type_unknown"),
        ("GET", "PATIENT/1", "type_unknown"),
        ("GET", "observations", "type_unknown"),
        ("GET", "Parameters/1", "type_unknown"),
        ("GET", "Metadata", "type_unknown"),
        ("GET", "Patient/1/observation", "path_unknown"),
        ("GET", "Patient/1/_history/1/x", "path_unknown"),
        ("GET", "_nothing", "path_unknown"),
        ("GET", "$", "path_unknown"),
        ("TRACE", "Patient/1", "method_unknown"),
        ("get", "Patient/1", "method_unknown"),
        ("CONNECT", "Patient/1", "method_unknown"),
        ("POST", "Patient/1", "method_not_allowed"),
        ("PUT", "metadata", "method_not_allowed"),
        ("DELETE", "", "method_not_allowed"),
        ("GET", "Patient/_search", "method_not_allowed"),
        ("DELETE", "Patient/1/_history/2", "method_not_allowed"),
    ],
)
def test_a_path_in_any_other_spelling_is_refused(method: str, target: str, code: str) -> None:
    """C81: encoded slashes, dot segments, doubled slashes, absolute addresses, wrong-case types."""
    found = read(method, target)

    assert isinstance(found, Unsupported)
    assert found.code == code


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("a", "parameter_name_malformed"),
        ("=1", "parameter_name_malformed"),
        ("a[]=1", "parameter_name_malformed"),
        ("a[0]=1", "parameter_name_malformed"),
        ("%2570atient=1", "parameter_name_malformed"),
        ("a%00=1", "encoding_malformed"),
        ("a=%0d%0aX: y", "encoding_malformed"),
        ("a=%zz", "encoding_malformed"),
        ("a=%", "encoding_malformed"),
        ("a=%ff", "encoding_malformed"),
        ("a=%c0%af", "encoding_malformed"),
        ("a=%ed%a0%80", "encoding_malformed"),
        ("a=1&&b=2", "parameter_name_malformed"),
        ("_method=DELETE", "method_override"),
        ("a=" + "x" * (VALUE_BOUND + 1), "value_too_long"),
        ("a=" + "x" * QUERY_BOUND, "query_too_long"),
        ("&".join(["a=1"] * (PARAMS_BOUND + 1)), "too_many_parameters"),
        ("_format=xml", "format_unsupported"),
        ("_format=application/fhir%2Bxml", "format_unsupported"),
        ("_format=json&_format=xml", "parameter_doubled"),
        ("_summary=true&_summary=count", "parameter_doubled"),
        ("_count=1&_count=2", "parameter_doubled"),
        ("_sort=a&_sort=b", "parameter_doubled"),
        ("_summary=yes", "parameter_value"),
        ("_pretty=1", "parameter_value"),
        ("_elements=a b", "parameter_value"),
        ("_elements=", "parameter_value"),
    ],
)
def test_a_query_that_two_parsers_could_read_differently_is_refused(query: str, code: str) -> None:
    """C81: parameter pollution, arrays, bad encodings."""
    found = read("GET", f"Observation?{query}")

    assert isinstance(found, Unsupported)
    assert found.code == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-http-method-override": "DELETE"}, "method_override"),
        ({"x-http-method": "DELETE"}, "method_override"),
        ({"x-method-override": "DELETE"}, "method_override"),
        ({"accept": "application/fhir+xml"}, "format_unsupported"),
        ({"accept": "text/html"}, "format_unsupported"),
        ({"if-match": "2"}, "if_match_malformed"),
        ({"if-match": '"1", "2"'}, "if_match_malformed"),
        ({"if-match": "*"}, "if_match_malformed"),
        ({"if-match": ""}, "if_match_malformed"),
        ({"if-match": " "}, "if_match_malformed"),
    ],
)
def test_a_header_that_changes_the_meaning_is_refused(headers: dict[str, str], code: str) -> None:
    """C81."""
    found = read("GET", "Patient/1?_pretty=true", headers)

    assert isinstance(found, Unsupported)
    assert found.code == code


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        (JSON, b"", "body_malformed"),
        (JSON, b"{", "body_malformed"),
        (JSON, b"[]", "body_malformed"),
        (JSON, b"null", "body_malformed"),
        (JSON, b"{}", "body_malformed"),
        (JSON, b'{"resourceType":5}', "body_malformed"),
        (JSON, b'\xef\xbb\xbf{"resourceType":"Observation"}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","id":"\xff"}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","subject":{},"subject":{}}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","a":[{"b":1,"b":2}]}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","Subject":{}}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","a-b":{}}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","a":NaN}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","a":1e400}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","a":' + b"1" * 400 + b"}", "body_malformed"),
        (JSON, b'{"resourceType":"Observation","a":"\\ud800"}', "body_malformed"),
        (JSON, b'{"resourceType":"Observation","a":' + b"[" * 100_000, "body_malformed"),
        (
            JSON,
            b'{"resourceType":"Observation","a":' + b'{"a":' * DEPTH_BOUND + b"1" + b"}" * DEPTH_BOUND + b"}",
            "body_too_deep",
        ),
        (JSON, b" " * (BODY_BOUND + 1), "body_too_large"),
        ({}, RESOURCE, "content_type_unsupported"),
        ({"content-type": "application/xml"}, RESOURCE, "content_type_unsupported"),
        ({"content-type": "text/plain"}, RESOURCE, "content_type_unsupported"),
        (JSON | {"content-encoding": "gzip"}, RESOURCE, "content_type_unsupported"),
    ],
)
def test_a_body_with_more_than_one_meaning_is_refused(
    headers: dict[str, str], body: bytes, code: str
) -> None:
    """C81: oversize, deeply nested, doubled keys, other letters' case."""
    found = read("POST", "Observation", headers, body)

    assert isinstance(found, Unsupported)
    assert found.code == code


def test_a_parameter_in_the_address_and_in_the_form_is_refused() -> None:
    """C81: split parameters."""
    split = read("POST", "Observation/_search?patient=1", FORM, b"patient=2")
    modified = read("POST", "Observation/_search?code=1", FORM, b"code%3Anot=2")
    apart = read("POST", "Observation/_search?_count=5", FORM, b"patient=2")

    assert isinstance(split, Unsupported)
    assert split.code == "parameter_split"
    assert isinstance(modified, Unsupported)
    assert apart.params == (("_count", "5"), ("patient", "2"))


def test_a_search_by_post_takes_nothing_but_a_form() -> None:
    found = read("POST", "Observation/_search", JSON, b'{"patient":"1"}')

    assert isinstance(found, Unsupported)
    assert found.code == "content_type_unsupported"


def test_a_form_on_a_get_is_not_read() -> None:
    assert read("GET", "Observation?a=b", FORM, b"patient=2").params == (("a", "b"),)


def test_the_whole_statement_may_be_asked_for_by_its_mode() -> None:
    """FHIR R4 http.html#capabilities."""
    assert read("GET", "metadata?mode=full").interaction is Interaction.CAPABILITIES


@pytest.mark.parametrize(
    "target",
    [
        "Patient/1?name=x",
        "Patient/1/_history/1?_since=x",
        "metadata?mode=terminology",
        "metadata?x=full",
        "Patient/1?mode=full",
    ],
)
def test_a_parameter_where_none_belongs_is_refused_by_name(target: str) -> None:
    """C77."""
    found = read("GET", target)

    assert isinstance(found, Unsupported)
    assert found.code == "parameter_unknown"


def test_the_parameters_that_are_always_accepted_are() -> None:
    """Contract, Errors."""
    query = (
        "_format=json&_pretty=true&_summary=text&_elements=a,Observation.b&_count=5&_sort=date&_total=none"
    )

    for target in (f"Observation/1?{query}", f"Observation?{query}"):
        found = read("GET", target)
        assert isinstance(found, FhirRequest)
        assert found.shape.pretty
        assert found.shape.summary is Summary.TEXT
        assert found.shape.elements == ("a", "b")


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/fhir+json",
        "application/fhir+json; charset=utf-8",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "application/json, text/plain",
    ],
)
def test_accepting_json_in_any_usual_form_is_enough(accept: str) -> None:
    """Conformance 0.4."""
    assert isinstance(read("GET", "Patient/1", {"accept": accept}), FhirRequest)


@pytest.mark.parametrize(
    ("query", "taken"),
    [("_format=json", True), ("_format=application/fhir%2Bjson", True), ("_format=xml", False), ("_pretty=true", False)],
)  # fmt: skip
def test_a_format_that_is_named_stands_above_the_header(query: str, taken: bool) -> None:
    """FHIR R4 http.html#parameters: for clients that cannot set the Accept header as they should."""
    for accept in ("application/fhir+xml", "text/html"):
        found = read("GET", f"Observation/1?{query}", {"accept": accept})
        assert isinstance(found, FhirRequest) is taken


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"), max_size=50
)
NAMES = st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True).filter(lambda name: name != "_method")


@given(st.lists(st.tuples(NAMES, TEXT), max_size=10))
@settings(max_examples=effort(70, 5_000), deadline=None)
def test_what_is_rendered_reads_back_the_same(params: list[tuple[str, str]]) -> None:
    """Parse and render round-trip (house rule 12)."""
    assert parse_query(render_query(tuple(params)).encode()) == tuple(params)


@given(st.lists(st.tuples(NAMES, TEXT), max_size=10))
@settings(max_examples=effort(70, 5_000), deadline=None)
def test_what_needs_no_quoting_is_written_as_if_it_were_quoted(params: list[tuple[str, str]]) -> None:
    """One spelling, however it is reached."""
    quoted = [f"{quote(name, safe=':')}={quote(value, safe=',:/')}" for name, value in params]

    assert render_query(tuple(params)) == "&".join(quoted)


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", ""]),
    path=st.one_of(
        st.binary(max_size=80),
        st.lists(
            st.sampled_from(
                [b"Patient", b"1", b"_history", b"_search", b"$x", b"..", b"", b"metadata", b"%2F"]
            ),
            max_size=6,
        ).map(b"/".join),
    ),
    query=st.binary(max_size=80),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "accept", "if-match", "prefer", "if-none-exist"]),
        st.text(max_size=30),
    ),
    body=st.one_of(st.binary(max_size=80), st.just(RESOURCE), st.just(b"name=x")),
)
@settings(max_examples=effort(130, 50_000), deadline=None)
def test_any_input_gives_a_value(
    method: str, path: bytes, query: bytes, headers: dict[str, str], body: bytes
) -> None:
    """C81: total; what was taken is re-readable from what it says."""
    found = parse(method, path, query, headers, body)

    if isinstance(found, FhirRequest):
        assert json.loads(found.raw)["resourceType"] if found.body is not None else True
        assert ".." not in {found.id, found.version}
        assert "/" not in found.type + found.id + found.version
    else:
        assert found.code
        assert found.detail


def docref(query: str = "", parameters: Any = None) -> FhirRequest | Unsupported:
    body = (
        b""
        if parameters is None
        else json.dumps({"resourceType": "Parameters", "parameter": parameters}).encode()
    )
    return read("GET" if parameters is None else "POST", f"DocumentReference/$docref?{query}", JSON, body)


@pytest.mark.parametrize(
    ("found", "search"),
    [
        (docref("patient=p1"), "patient=p1"),
        (docref("patient=p1&_count=5&_format=json&on-demand=false"), "_count=5&patient=p1"),
        (docref("patient=p1&start=2020&end=2021-02-03T04:05:06Z"), "patient=p1&period=ge2020&period=le2021-02-03T04:05:06Z"),
        (docref("patient=p1&type=http://loinc.org%7C34133-9&type=x"), "patient=p1&type=http://loinc.org%7C34133-9,x"),
        (docref(parameters=[{"name": "patient", "valueId": "p1"}, {"name": "on-demand", "valueBoolean": False}]), "patient=p1"),
        (docref(parameters=[{"name": "patient", "valueString": "p1"}, {"name": "type", "valueCoding": {"system": "s", "code": "c"}}]), "patient=p1&type=s%7Cc"),
        (docref("patient=p1", [{"name": "type", "valueCoding": {"code": "c"}}, {"name": "start", "valueDateTime": "2020"}]), "patient=p1&period=ge2020&type=c"),
    ],
)  # fmt: skip
def test_docref_is_a_search_for_the_documents_of_a_patient(found: Any, search: str) -> None:
    """US Core 6.1.0, OperationDefinition-docref."""
    assert (found.interaction, found.type, found.is_write) == (
        Interaction.SEARCH_TYPE,
        "DocumentReference",
        False,
    )
    assert render_query(found.params) == search


@pytest.mark.parametrize(
    "found",
    [
        docref(), docref("patient="), docref("patient=Patient/p1"), docref("patient=p1,p2"), docref("patient=p1&patient=p2"), docref("patient=p1&on-demand=true"),
        docref("patient=p1&start=2020,lt2000"), docref("patient=p1&end="), docref("patient=p1&profile=x"), docref("patient=p1&_include=DocumentReference:patient"),
        docref("patient=p1&code:not=x"), docref("patient=p1", [{"name": "patient", "valueId": "p2"}]), docref(parameters={}), docref(parameters=["x"]),
        docref(parameters=[{"name": 5, "valueId": "p1"}]), docref(parameters=[{"name": "patient"}]), docref(parameters=[{"name": "patient", "valueId": 5}]),
        docref("patient=p1", [{"name": "type", "valueCoding": {"code": 5}}]), docref("patient=p1", [{"name": "type", "valueCoding": {"system": []}}]),
        read("POST", "DocumentReference/$docref", JSON, b'{"resourceType":"Bundle"}'), read("POST", "DocumentReference/$docref", FORM, b"patient=p1"),
        read("DELETE", "DocumentReference/$docref"),
    ],
)  # fmt: skip
def test_what_docref_does_not_take_is_refused(found: Any) -> None:
    assert isinstance(found, Unsupported)
    assert found.detail.endswith(".")
