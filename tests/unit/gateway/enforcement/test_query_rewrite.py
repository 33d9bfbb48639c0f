"""Searches: what in them is not taken, and how they are narrowed before they leave."""

from typing import Any

import pytest

from hilum.authorization.tokens.models import AccessToken
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.queries import only_targets, targets_named
from hilum.foundation.standards.smart.scopes import READ, SEARCH
from hilum.gateway.enforcement.models import SearchPlan
from hilum.gateway.enforcement.query_rewrite import sent_query
from hilum.identity.people.models import Quirks
from tests.unit.gateway.enforcement.facts import (
    BACKEND,
    BACKEND_SNAPSHOT,
    PATIENT_USER,
    SNAPSHOT,
    TOKEN,
    ask,
    decide,
    permit,
    reason,
    token,
)

LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
VITAL = "http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"
PARENT: dict[str, Any] = {**PATIENT_USER, "fhir_user": "RelatedPerson/r", "person_patients": ("p1", "p3")}


def plan(query: str, held: AccessToken = TOKEN, snapshot: Any = SNAPSHOT) -> SearchPlan:
    found = permit(ask(query), held, snapshot).plan
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("query", "price"),
    [
        ("Observation", 1),
        ("Observation?patient=p1&code=a", 1),
        ("Observation?_count=50", 1),
        ("Observation?_count=51", 2),
        ("Observation?_count=200", 4),
        ("Observation?_include=Observation:subject", 2),
        ("Observation?_include=Observation:subject&_revinclude=Provenance:target", 3),
        ("Observation?code=" + ",".join("abcdefghi"), 1),
        ("Observation?code=" + ",".join("abcdefghij"), 2),
    ],
)
def test_a_search_costs_what_it_makes_its_server_do(query: str, price: int) -> None:
    """C131: within the chart of a patient."""
    assert permit(ask(query), TOKEN).price == price


@pytest.mark.parametrize(
    ("query", "price"),
    [
        ("Observation?code=a", 4),
        ("Observation?code=a&_count=200", 7),
        ("Observation?patient=p1", 1),
        ("Observation?subject=Patient/p1", 1),
        ("Observation?_id=o1", 1),
        ("Patient?_id=p1", 1),
        ("Patient?name=x", 4),
    ],
)
def test_a_search_through_everybodys_records_costs_more(query: str, price: int) -> None:
    """C131: by a service, whose scopes reach all patients."""
    assert permit(ask(query), token("system/*.rs", **BACKEND), BACKEND_SNAPSHOT).price == price


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("Observation?nonsense=1", "nonsense"),
        ("Observation?given=1", "given"),
        ("Observation?Patient=p1", "Patient"),
        ("Observation?patient.name=x", "patient.name"),
        ("Observation?subject:Patient.name=x", "subject:Patient.name"),
        ("Patient?_has:Observation:patient:code=x", "_has"),
        ("Observation?_filter=x", "_filter"),
        ("Observation?_list=1", "_list"),
        ("Observation?_query=x", "_query"),
        ("Observation?_text=x", "_text"),
        ("Observation?_content=x", "_content"),
        ("Observation?_contained=true", "_contained"),
        ("Observation?_type=Patient", "_type"),
        ("Observation?_in=List/1", "_in"),
        ("Observation?_language=es", "_language"),
        ("Observation?_totalMethod:not=count", "_totalMethod"),
        ("Observation?_totalMethod.x=count", "_totalMethod.x"),
        ("Observation?_page=x&code=a", "_page"),
        ("Observation?_include:x=Observation:subject", "x"),
        ("Observation?code:nonsense=x", "nonsense"),
        ("Observation?code:exact=x", "exact"),
        ("Observation?date:not=2020", "not"),
        ("Observation?subject:Organization=1", "Organization"),
        ("Observation?code:=x", "code:"),
        ("Observation?code:not:not=x", "code:not:not"),
        ("Observation?code=", "code"),
        ("Patient?phonetic=x", "phonetic"),
        ("Location?near=1|2", "near"),
        ("Observation?_count=-1", "_count"),
        ("Observation?_count=a", "_count"),
        ("Observation?_count=1e3", "_count"),
        ("Observation?_count=٣", "_count"),
        ("Observation?_total=all", "_total"),
        ("Observation?_sort=nonsense", "_sort"),
        ("Observation?_sort=patient.name", "_sort"),
        ("Observation?_sort=code-value-quantity", "_sort"),
        ("Observation?_sort=", "_sort"),
        ("Observation?_include=*", "_include"),
        ("Observation?_include=Observation", "_include"),
        ("Observation?_include=Observation:*", "_include"),
        ("Observation?_include=Observation:code", "_include"),
        (
            "QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire",
            "Search Questionnaire with url=",
        ),
        ("Questionnaire?_revinclude=QuestionnaireResponse:questionnaire", "canonical URL"),
        ("CarePlan?_include=CarePlan:instantiates-canonical", "Search the other resource with url="),
        ("Observation?_include=Patient:organization", "_include"),
        ("Observation?_include=Observation:subject:Organization", "_include"),
        ("Observation?_include:iterate=Observation:subject", "iterate"),
        ("Observation?_include=Observation:subject:Patient:x", "_include"),
        ("Patient?_revinclude=Patient:link", None),
        ("Observation?_revinclude=Patient:organization", "_revinclude"),
        ("Observation?_revinclude=AuditEvent:entity", "_revinclude"),
        ("Observation?_revinclude=Nonsense:target", "_revinclude"),
    ],
)
def test_what_a_search_may_not_ask_is_refused_by_name(query: str, named: str | None) -> None:
    """C73, C77: chains, _has, _filter, _list, unknown parameters and modifiers."""
    path, _, rest = query.partition("?")
    encoded = rest.encode().decode("latin-1") if rest.isascii() else "_count=%D9%A3"

    found = decide(ask(f"{path}?{encoded}"), token("user/*.rs"))

    if named is None:
        assert not isinstance(found, Deny)
        return
    assert isinstance(found, Deny)
    assert found.reason is Reason.REQUEST_UNSUPPORTED
    assert named in found.detail


LENIENT = {"prefer": 'return=minimal, Handling="lenient"'}


@pytest.mark.parametrize(
    ("query", "headers", "left"),
    [
        ("Observation?code=a&_totalMethod=count", {}, "Observation?code=a"),
        ("Observation?_x=&_sort=date&_count=5", {}, "Observation?_sort=date&_count=5"),
        ("Observation?nonsense=1&code=a", LENIENT, "Observation?code=a"),
        ("Observation?Patient=p2", LENIENT, "Observation"),
        ("Observation?subject:Patient.name=x&subject.name=y&date=2020", LENIENT, "Observation?date=2020"),
        ("Patient?_has:Observation:patient:code=x&_filter=y&_text=z", LENIENT, "Patient"),
        ("Location?near=1|2&name=x", LENIENT, "Location?name=x"),
    ],
)
def test_an_ignored_parameter_leaves_the_search_as_if_it_had_not_been_sent(
    query: str, headers: dict[str, str], left: str
) -> None:
    """ADR 12, FHIR R4 search.html#errors; C73: it never reaches beyond the grant."""
    held = token("patient/*.rs", "patient/Location.rs")

    assert permit(ask(query, headers=headers), held).plan == plan(left, held)
    assert permit(ask(query, headers=headers), held).request.params == ask(left).request.params  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("Observation?nonsense=1", {"prefer": "handling=strict"}),
        ("Observation?nonsense=1", {"prefer": "xhandling=lenient"}),
        ("Observation?nonsense=1", {"prefer": "handling=lenientx"}),
        ("Observation?code:nonsense=x", LENIENT),
        ("Observation?code=", LENIENT),
        ("Observation?_sort=nonsense", LENIENT),
        ("Observation?_include=nonsense", LENIENT),
        ("Observation?_page=x&code=a", LENIENT),
        ("Observation/o1?nonsense=1", LENIENT),
        ("Observation/o1?_totalMethod=count", {}),
    ],
)
def test_what_is_malformed_is_refused_however_lenient_a_search_may_be(
    query: str, headers: dict[str, str]
) -> None:
    """FHIR R4 search.html#modifiers: a modifier that is not supported is refused."""
    assert reason(ask(query, headers=headers), token("user/*.rs")) is Reason.REQUEST_UNSUPPORTED


@pytest.mark.parametrize(
    ("query", "held", "expected"),
    [
        ("Observation", TOKEN, [("patient", "Patient/p1")]),
        ("Observation?code=a", TOKEN, [("code", "a"), ("patient", "Patient/p1")]),
        ("Observation?patient=p1&code=a", TOKEN, [("code", "a"), ("patient", "Patient/p1")]),
        ("Observation?subject=Patient/p1", TOKEN, [("patient", "Patient/p1")]),
        ("Observation?subject=Patient/p1,Patient/p2", TOKEN, [("patient", "Patient/p1")]),
        ("Observation?subject:Patient=p1", TOKEN, [("patient", "Patient/p1")]),
        (
            "Observation?subject:missing=false",
            TOKEN,
            [("subject:missing", "false"), ("patient", "Patient/p1")],
        ),
        ("Patient", TOKEN, [("_id", "p1")]),
        ("Patient?_id=p1,p2&name=x", TOKEN, [("name", "x"), ("_id", "p1")]),
        ("Coverage", TOKEN, [("patient", "Patient/p1")]),
        ("Observation", token("user/Observation.rs"), []),
        ("Observation?patient=p9", token("user/Observation.rs"), [("patient", "p9")]),
        ("Observation", token("user/Observation.rs", **PARENT), [("patient", "Patient/p1,Patient/p3")]),
        ("Observation?patient=p3", token("user/Observation.rs", **PARENT), [("patient", "Patient/p3")]),
        ("Organization?name=x", token("user/Organization.rs"), [("name", "x")]),
        (
            "Observation",
            token(f"patient/Observation.rs?category={LAB}"),
            [("patient", "Patient/p1"), ("category", LAB)],
        ),
        (
            "Observation?category=vital-signs",
            token(f"patient/Observation.rs?category={LAB}", f"patient/Observation.rs?category={VITAL}"),
            [("category", "vital-signs"), ("patient", "Patient/p1"), ("category", f"{LAB},{VITAL}")],
        ),
        (
            "Observation",
            token(f"patient/Observation.rs?category={LAB}&code=x"),
            [("patient", "Patient/p1"), ("category", LAB), ("code", "x")],
        ),
        (
            "Observation",
            token(f"patient/Observation.rs?category={LAB}", "patient/Observation.rs?code=x"),
            [("patient", "Patient/p1")],
        ),
        ("Observation", token(f"patient/Observation.rs?category={LAB}", "user/Observation.rs"), []),
        (
            "Observation",
            token(f"user/Observation.rs?category={LAB}", "patient/Observation.rs"),
            [],
        ),
        ("Observation?_sort=-date", TOKEN, [("patient", "Patient/p1"), ("_sort", "-date")]),
        (
            "Observation?_revinclude=Provenance:target",
            TOKEN,
            [("patient", "Patient/p1"), ("_revinclude", "Provenance:target")],
        ),
    ],
)
def test_a_search_leaves_as_narrow_as_the_grant(
    query: str, held: AccessToken, expected: list[tuple[str, str]]
) -> None:
    """C74: narrowed before it leaves."""
    assert list(plan(query, held).params) == expected


@pytest.mark.parametrize(
    ("query", "held", "exact"),
    [
        ("Observation", token("patient/Observation.rs", **PATIENT_USER), True),
        ("Observation?patient=p1", token("patient/Observation.rs", **PATIENT_USER), True),
        ("Observation", token(f"patient/Observation.rs?category={LAB}", **PATIENT_USER), True),
        (
            "Observation",
            token(f"patient/Observation.rs?category={LAB}", "patient/Observation.rs", **PATIENT_USER),
            True,
        ),
        ("Observation", token("patient/Observation.rs"), False),
        ("Observation", token("user/Observation.rs"), False),
        ("Observation", token("user/Observation.rs", **PARENT), False),
        (
            "Observation",
            token(f"patient/Observation.rs?category={LAB}", "patient/Observation.rs?code=x", **PATIENT_USER),
            False,
        ),
        (
            "Observation",
            token(
                f"patient/Observation.rs?category={LAB}&category={VITAL}",
                f"patient/Observation.rs?category={LAB}",
                **PATIENT_USER,
            ),
            False,
        ),
        ("Appointment", token("patient/Appointment.rs", **PATIENT_USER), False),
        ("Provenance?target=Observation/1", token("patient/Provenance.rs", **PATIENT_USER), False),
    ],
)
def test_a_total_is_returned_only_if_the_search_equals_the_grant(
    query: str, held: AccessToken, exact: bool
) -> None:
    """C74, C76."""
    assert plan(query, held).exact is exact


def test_includes_bring_only_types_that_are_covered_by_the_letter_each_needs() -> None:
    """C60."""
    forward = plan(
        "Observation?_include=Observation:subject", token("patient/Observation.rs", "patient/Patient.r")
    )
    reverse = plan(
        "Patient?_revinclude=Observation:subject", token("patient/Patient.rs", "patient/Observation.s")
    )
    read_only = decide(
        ask("Patient?_revinclude=Observation:subject"), token("patient/Patient.rs", "patient/Observation.r")
    )
    chosen = plan("Observation?_include=Observation:subject:Patient", token("patient/*.rs"))

    assert dict(forward.included) == {"Patient": READ}
    assert dict(reverse.included) == {"Observation": SEARCH}
    assert isinstance(read_only, Deny)
    assert dict(chosen.included) == {"Patient": READ}


def test_a_service_reaches_everything_and_is_not_narrowed() -> None:
    found = plan("Observation?code=a", token("system/Observation.rs", **BACKEND), BACKEND_SNAPSHOT)

    assert list(found.params) == [("code", "a")]
    assert not found.exact


def test_a_page_is_never_larger_than_the_bound_and_nothing_is_counted_unless_asked() -> None:
    """C132."""
    assert plan("Observation?_count=100000").count == 200
    assert plan("Observation?_count=7").count == 7
    assert plan("Observation").count is None
    assert plan("Observation?_count=0").counting
    assert plan("Observation?_summary=count").counting


@pytest.mark.parametrize(
    ("quirks", "query", "sent"),
    [
        (Quirks(), "Patient?_id=p1", {"_id": "p1", "_count": "20"}),
        (Quirks(page=10), "Patient?_id=p1", {"_id": "p1", "_count": "10"}),
        (Quirks(page=100), "Patient?_id=p1", {"_id": "p1", "_count": "20"}),
        (Quirks(id_alone=True), "Patient?_id=p1", {"_id": "p1"}),
    ],
)
def test_a_search_is_sent_as_its_server_takes_it(quirks: Quirks, query: str, sent: dict[str, str]) -> None:
    assert dict(sent_query(plan(query), quirks, 20)) == sent


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("target", "Observation/a,Patient/p", ("Observation/a", "Patient/p")),
        ("target", "Observation/a/_history/1,Observation/a", ("Observation/a",)),
        ("target:Observation", "a", ("Observation/a",)),
        ("patient", "p", ("Patient/p",)),
        ("patient:Patient", "Patient/p", ("Patient/p",)),
        ("target", "a", ()),
        ("target", "http://elsewhere.example/Observation/a", ()),
        ("target:missing", "true", ()),
        ("target:identifier", "Observation/a", ()),
        ("_id", "Observation/a", ()),
        ("agent", "Practitioner/dr", ()),
    ],
)
def test_a_search_for_provenance_says_what_it_is_about(name: str, value: str, named: tuple[str, ...]) -> None:
    """C75: what it names is judged before the server is asked."""
    assert targets_named(((name, value),)) == named


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ((("target", "Observation/a,Observation/b"),), (("target", "Observation/a"),)),
        ((("target", "Observation/b"),), None),
        ((("target", "Observation/a"), ("target", "Observation/b")), None),
        ((("target", "b"),), None),
        ((("target:missing", "false"), ("_id", "v")), (("target:missing", "false"), ("_id", "v"))),
        (
            (("agent", "Observation/b"), ("target", "a,Observation/a")),
            (("agent", "Observation/b"), ("target", "Observation/a")),
        ),
    ],
)
def test_only_what_is_within_reach_is_left_in_it(params: Any, left: Any) -> None:
    """C75: filters over anything else stay as they are."""
    assert only_targets(params, {"Observation/a"}) == left
