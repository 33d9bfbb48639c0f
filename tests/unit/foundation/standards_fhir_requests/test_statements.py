"""Reading what another server says it can do, whatever it says."""

from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hilum.foundation.standards.fhir.bundles import rebased, references_in, resources_of, without_duplicates
from hilum.foundation.standards.fhir.etags import etag_of, matches_condition, tag_of
from hilum.foundation.standards.fhir.outcomes import disclosable_issue
from hilum.foundation.standards.fhir.requests import PLAIN, Shape, Summary
from hilum.foundation.standards.fhir.shaping import dump, shape_params
from hilum.foundation.standards.fhir.statements import cut_type, read_statement, resources_in, unknown_filter
from tests.effort import effort

STATEMENT: dict[str, Any] = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "rest": [
        {
            "mode": "server",
            "searchParam": [{"name": "_tag"}],
            "resource": [
                {
                    "type": "Observation",
                    "interaction": [{"code": "read"}, {"code": "search-type"}, {"code": "patch"}],
                    "searchParam": [{"name": "code", "type": "token"}, {"name": "own-invention"}, 5],
                    "searchInclude": ["Observation:subject", "Basic:author", "Nonsense"],
                    "updateCreate": True,
                    "extension": [{"url": "x"}],
                }
            ],
        },
        {"mode": "client", "resource": [{"type": "Patient"}]},
    ],
}


def test_what_a_server_acts_on_is_what_it_lists_for_the_type_and_for_all() -> None:
    """C77."""
    capabilities = read_statement(STATEMENT, 1.0)

    assert capabilities is not None
    assert unknown_filter(capabilities, "Observation", (("code:not", "x"), ("_tag", "y"), ("_id", "z"))) == ""
    assert unknown_filter(capabilities, "Observation", (("_include", "x"), ("_sort", "x"))) == ""
    assert unknown_filter(capabilities, "Observation", (("code", "x"), ("status", "y"))) == "status"
    assert unknown_filter(capabilities, "Patient", (("_id", "x"),)) == "_id"


def test_what_a_server_ignores_it_does_not_act_on_whatever_it_lists() -> None:
    """C77."""
    capabilities = read_statement(STATEMENT, 1.0, frozenset({"code", "_id"}))

    assert capabilities is not None
    for name in ("code", "_id"):
        assert unknown_filter(capabilities, "Observation", ((name, "x"),)) == name
    each, passing = next(resources_in(STATEMENT)), frozenset({"search-type"})
    assert "searchParam" not in cut_type(each, passing, capabilities.filters["Observation"])


def test_a_type_is_cut_to_what_passes() -> None:
    every = frozenset({"code", "_id"})
    told = cut_type(next(resources_in(STATEMENT)), frozenset({"read", "search-type"}), every)
    unread = cut_type(next(resources_in(STATEMENT)), frozenset({"read"}), every)

    assert told["interaction"] == [{"code": "read"}, {"code": "search-type"}]
    assert told["searchParam"] == [{"name": "code", "type": "token"}]
    assert told["searchInclude"] == ["Observation:subject"]
    assert told["updateCreate"] is False
    assert "extension" not in told
    assert "searchParam" not in unread


@pytest.mark.parametrize(
    "statement",
    [
        None,
        [],
        {},
        {"resourceType": "CapabilityStatement"},
        STATEMENT | {"fhirVersion": "5.0.0"},
        STATEMENT | {"fhirVersion": 4},
    ],
)
def test_what_is_no_statement_of_r4_is_not_read(statement: Any) -> None:
    assert read_statement(statement, 0.0) is None


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=5),
        st.sampled_from(["server", "read", "Observation"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "mode",
                    "rest",
                    "resource",
                    "type",
                    "interaction",
                    "code",
                    "searchParam",
                    "name",
                    "searchInclude",
                    "entry",
                    "issue",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


TYPES = st.dictionaries(st.sampled_from(["interaction", "searchParam", "searchInclude", "profile"]), JSON)
SERVERS = st.lists(TYPES.map(lambda each: {**each, "type": "Observation"}), min_size=1, max_size=2).map(
    lambda listed: [{"mode": "server", "resource": listed}]
)


@example([{"mode": "server", "resource": [{"type": "Observation"}]}])
@example([{"mode": "server", "resource": [{"type": "Observation", "interaction": [{"code": []}]}]}])
@example(
    [
        {
            "mode": "server",
            "resource": [
                {
                    "type": "Observation",
                    "interaction": [{"code": "search-type"}],
                    "searchParam": [{"name": {}}],
                }
            ],
        }
    ]
)
@given(st.one_of(SERVERS, JSON))
@settings(max_examples=effort(80, 20_000), deadline=None)
def test_nothing_that_a_server_says_breaks_the_reading(said: Any) -> None:
    capabilities = read_statement(
        {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": said}, 0.0
    )

    assert capabilities is not None
    for each in resources_in(capabilities.statement):
        filters = capabilities.filters[str(each.get("type"))]
        assert cut_type(each, frozenset({"read", "search-type"}), filters)["type"] == each["type"]
    if isinstance(said, dict):
        list(resources_of(said))
    references_in(said, ())


@pytest.mark.parametrize(
    ("issue", "code", "places"),
    [
        ({"code": "value", "expression": ["Patient.name"]}, "value", ["Patient.name"]),
        (
            {"code": "structure", "expression": ["Observation.component[2].valueQuantity.unit", "Patient"]},
            "structure",
            ["Observation.component[2].valueQuantity.unit", "Patient"],
        ),
        ({"code": "Mrs Smith", "diagnostics": "Mrs Smith", "details": {"text": "at line 5"}}, "invalid", []),
        ({"code": 5, "expression": "Patient.name"}, "invalid", []),
        (
            {
                "expression": [
                    "Patient.where(name='Smith')",
                    "Patient.smith",
                    "Smith.name",
                    "Patient.name.smith",
                    "Patient.",
                    7,
                ]
            },
            "invalid",
            [],
        ),
        ({"expression": ["Patient." + "name." * 60 + "family"]}, "invalid", []),
        ({"code": "too-long", "expression": ["Patient.name"] * 30}, "too-long", ["Patient.name"]),
    ],
)
def test_of_anothers_complaint_only_its_kind_and_the_elements_pass(
    issue: dict[str, Any], code: str, places: list[str]
) -> None:
    """C70: no word of it that is not R4's own."""
    assert disclosable_issue(orjson.dumps({"issue": [5, {}, issue]})) == (code, places)


def test_an_unknown_element_is_named_only_if_the_client_sent_it_there() -> None:
    """C70: it is the client's own word."""
    sent = {"resourceType": "Observation", "smith": 1, "component": [{"code": {"jones": [{"x": 2}]}}]}
    told = [
        "Observation.smith",
        "Observation.component[0].code.jones[0].x",
        "Patient.smith",
        "Observation.jones",
        "Observation.component.smith",
        "Observation.component[0].code.jones.x.y",
        "Observation.smith and Jones",
    ]

    issue = {"issue": [{"code": "structure", "expression": told}]}
    assert disclosable_issue(orjson.dumps(issue), sent) == ("structure", told[:2])
    assert disclosable_issue(orjson.dumps(issue)) == ("structure", [])


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"issue":{}}', b'{"issue":[[]]}', b"<html>"])
def test_a_complaint_that_is_none_is_an_invalid_request(body: bytes) -> None:
    assert disclosable_issue(body) == ("invalid", [])


@pytest.mark.parametrize(
    ("told", "resource", "expected"),
    [
        ('W/"3"', {}, 'W/"3"'),
        ('"3"', {}, '"3"'),
        ("3", {"meta": {"versionId": "4"}}, 'W/"4"'),
        ("", {"meta": {"versionId": 'a"b'}}, ""),
        ("", {"meta": {"versionId": 5}}, ""),
        ("", {"meta": []}, ""),
        ("", None, ""),
        ('W/"a\r\nb"', {}, ""),
    ],
)
def test_an_etag_is_the_servers_or_the_versions_and_always_well_formed(
    told: str, resource: Any, expected: str
) -> None:
    assert etag_of(told, resource) == expected


def test_a_condition_names_a_version_weakly() -> None:
    assert tag_of('W/"1"') == tag_of('"1"') == "1"
    assert matches_condition('"0", W/"1"', '"1"')
    assert matches_condition("*", 'W/"1"')
    assert not matches_condition('W/"2"', 'W/"1"')
    assert not matches_condition("*", "")
    assert not matches_condition("1", 'W/"1"')


def test_entries_are_rewritten_and_reported_once() -> None:
    entry = {"fullUrl": "http://x", "resource": {"resourceType": "Patient", "id": "1"}, "request": {}}

    assert rebased(entry, "http://here") == {
        "fullUrl": "http://here/Patient/1",
        "resource": {"resourceType": "Patient", "id": "1"},
        "search": {"mode": "match"},
    }
    assert without_duplicates([entry, entry]) == [entry]
    anonymous = {"resource": {"resourceType": "Patient"}}
    assert len(without_duplicates([anonymous, anonymous])) == 2


def test_a_shape_is_cut_from_what_is_shown_and_written_back_as_asked() -> None:
    """FHIR R4 search.html#summary, #elements: mandatory elements stay."""
    resource = {
        "resourceType": "Observation",
        "id": "o",
        "text": {"div": "x"},
        "status": "final",
        "_status": {"id": "s"},
        "code": {},
        "valueString": "v",
        "note": [],
    }

    def keys(shape: Shape) -> set[str]:
        import orjson

        return set(orjson.loads(dump(resource, shape)))

    assert keys(PLAIN) == set(resource)
    assert keys(Shape(summary=Summary.DATA)) == (set(resource) - {"text"}) | {"meta"}
    assert keys(Shape(summary=Summary.TEXT)) == {
        "resourceType",
        "id",
        "meta",
        "text",
        "status",
        "_status",
        "code",
    }
    assert keys(Shape(summary=Summary.TRUE)) == {
        "resourceType",
        "id",
        "meta",
        "status",
        "_status",
        "code",
        "valueString",
    }
    assert keys(Shape(elements=("value",))) == {
        "resourceType",
        "id",
        "meta",
        "status",
        "_status",
        "code",
        "valueString",
    }
    assert shape_params(Shape(pretty=True, summary=Summary.TEXT, elements=("a", "b"))) == (
        ("_summary", "text"),
        ("_elements", "a,b"),
        ("_pretty", "true"),
    )
    assert shape_params(PLAIN) == ()
