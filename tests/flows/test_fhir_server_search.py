"""Searches of every kind, through the ASGI callable. Source: FHIR R4 search.html; US Core 6.1.0 searches."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.foundation.kernel.times import to_micros
from hilum.foundation.standards.fhir.dates import element_range, parse_range
from hilum.foundation.standards.fhir.values import escape, fold
from hilum_ehr.fhirserver.models import MAX_INCLUDED
from tests.effort import effort
from tests.sim.one_world import in_one_world
from tests.sim.world import START, FakeClock
from tests.unit.fhirserver.driver import BASE, Fhir
from tests.unit.fhirserver.prefixes import matches

LOINC, UCUM, CATEGORY = (
    "http://loinc.org",
    "http://unitsofmeasure.org",
    "http://terminology.hl7.org/CodeSystem/observation-category",
)
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


def concept(system: str, code: str, **more: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}], **more}


def observation(name: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}, **more}


def quantity(value: float, code: str = "mg") -> dict[str, Any]:
    return {"value": value, "unit": code, "system": UCUM, "code": code}


CORPUS: tuple[dict[str, Any], ...] = (
    {"resourceType": "Patient", "id": "ana", "active": True, "gender": "female", "birthDate": "1990-02-03",
     "name": [{"family": "Łódź", "given": ["Ana Maria"]}, {"use": "old", "family": "van der Berg"}],
     "identifier": [{"system": "urn:mrn", "value": "AB-1"}], "telecom": [{"system": "phone", "value": "555"}],
     "address": [{"line": ["1 Main St, Apt 4"], "city": "Boston", "state": "MA", "postalCode": "02139", "country": "US"}],
     "generalPractitioner": [{"reference": "Practitioner/doc"}], "managingOrganization": {"reference": f"{BASE}/Organization/org"},
     "meta": {"tag": [{"system": "urn:tag", "code": "vip"}], "profile": ["http://p/one"], "security": [{"system": "urn:sec", "code": "R"}], "source": "urn:src"}},
    {"resourceType": "Patient", "id": "bob", "gender": "male", "birthDate": "1985", "deceasedDateTime": "2020-05-01",
     "name": [{"family": "Berg", "given": ["Bob"]}], "identifier": [{"value": "AB-1"}, {"system": "urn:other", "value": "9"}]},
    {"resourceType": "Patient", "id": "cy", "name": [{"text": "Cy"}]},
    {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "House"}], "active": True},
    {"resourceType": "Organization", "id": "org", "name": "Lakeside", "partOf": {"reference": "Organization/top"}},
    {"resourceType": "Organization", "id": "top", "name": "Valley Group"},
    observation("bp", code=concept(LOINC, "85354-9"), subject={"reference": "Patient/ana"}, category=[concept(CATEGORY, "vital-signs")],
                effectiveDateTime="2026-03-01T10:00:00+01:00", component=[
                    {"code": concept(LOINC, "8480-6"), "valueQuantity": quantity(120, "mm[Hg]")},
                    {"code": concept(LOINC, "8462-4"), "valueQuantity": quantity(80, "mm[Hg]")}]),
    observation("hb", code=concept(LOINC, "718-7", text="Hb"), subject={"reference": "Patient/ana/_history/1"}, category=[concept(CATEGORY, "laboratory")],
                effectiveDateTime="2026-03-02", valueQuantity=quantity(13.5, "g/dL"), encounter={"reference": "Encounter/e1"}),
    observation("note", subject={"reference": f"{BASE}/Patient/bob"}, effectivePeriod={"start": "2026-01-01", "end": "2026-01-31"}, valueString="All, fine"),
    observation("away", subject={"reference": "http://elsewhere/fhir/Patient/ana"}, effectivePeriod={"start": "2026-03-02"}, status="amended"),
    observation("known", subject={"identifier": {"system": "urn:mrn", "value": "AB-1"}}, valueCodeableConcept=concept("urn:v", "Y")),
    {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"system": "v3", "code": "AMB"}, "subject": {"reference": "Patient/ana"},
     "serviceProvider": {"reference": "Organization/org"}},
    {"resourceType": "Medication", "id": "med", "code": concept("rx", "7")},
    {"resourceType": "MedicationRequest", "id": "mr", "status": "active", "intent": "order", "subject": {"reference": "Patient/ana"},
     "medicationReference": {"reference": "Medication/med"}},
    {"resourceType": "Provenance", "id": "pv", "recorded": "2026-03-02T09:00:00Z", "agent": [{"who": {"reference": "Organization/org"}}],
     "target": [{"reference": "Observation/hb"}, {"reference": "Patient/ana"}]},
    {"resourceType": "RiskAssessment", "id": "r1", "status": "final", "subject": {"reference": "Patient/ana"}, "prediction": [{"probabilityDecimal": 0.25}]},
    {"resourceType": "RiskAssessment", "id": "r2", "status": "final", "subject": {"reference": "Patient/bob"},
     "prediction": [{"probabilityRange": {"low": {"value": 0.5}, "high": {"value": 0.9}}}]},
    {"resourceType": "ValueSet", "id": "v1", "status": "active", "url": "http://acme.org/fhir/ValueSet/one"},
    {"resourceType": "ValueSet", "id": "v2", "status": "draft", "url": "http://acme.org/other"},
    {"resourceType": "QuestionnaireResponse", "id": "q1", "status": "completed", "questionnaire": "http://q/1|2.0"},
)  # fmt: skip


@pytest.fixture(scope="module")
def fhir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fhir]:
    driver = Fhir(tmp_path_factory.mktemp("search") / "fhir.db")
    driver.load(*CORPUS)
    yield driver
    driver.close()


@in_one_world(
    ("resource_type", "query", "expected"),
    [
        # Strings, search.html#string, whatever case and accents
        ("Patient", "name=lodz", "ana"), ("Patient", "name=LÓ", "ana"), ("Patient", "name=ana", "ana"), ("Patient", "name=maria", ""),
        ("Patient", "name:contains=MARIA", "ana"), ("Patient", "name=berg", "bob"), ("Patient", "family=van", "ana"), ("Patient", "family:contains=berg", "ana bob"),
        ("Patient", "family:exact=Berg", "bob"), ("Patient", "family:exact=berg", ""), ("Patient", "family:exact=Łódź", "ana"), ("Patient", "family:exact=Lodz", ""),
        ("Patient", "name=cy", "cy"), ("Patient", "name=cy,bob", "bob cy"), ("Patient", "given=bob&family=berg", "bob"), ("Patient", "given=ana&family=berg", ""),
        ("Patient", "address=boston", "ana"), ("Patient", r"address=1 main st\, apt", "ana"), ("Patient", "address=apt", ""), ("Patient", "address-postalcode=021", "ana"),
        ("Patient", "family:missing=true", "cy"), ("Patient", "family:missing=false", "ana bob"),
        ("Observation", r"value-string=all\, fine", "note"), ("Observation", "value-string=all", "note"), ("Observation", "value-string=fine", ""),
        # Tokens, search.html#token, without case
        ("Patient", "gender=female", "ana"), ("Patient", "gender=FEMALE", "ana"), ("Patient", "gender=http://hl7.org/fhir/administrative-gender|female", "ana"),
        ("Patient", "gender=male,female", "ana bob"), ("Patient", "gender=urn:x|female", ""), ("Patient", "gender:not=male", "ana cy"), ("Patient", "gender:not=male,female", "cy"),
        ("Patient", "gender:missing=true", "cy"), ("Patient", "active=true", "ana"), ("Patient", "active=false", ""),
        ("Patient", "identifier=ab-1", "ana bob"), ("Patient", "identifier=urn:mrn|AB-1", "ana"), ("Patient", "identifier=|AB-1", "bob"), ("Patient", "identifier=urn:mrn|", "ana"),
        ("Patient", "identifier=urn:MRN|AB-1", ""), ("Patient", "identifier=AB", ""), ("Patient", "deceased=true", "bob"), ("Patient", "deceased=false", "ana cy"),
        ("Patient", "telecom=555", "ana"), ("Patient", "phone=555", "ana"), ("Patient", "email=555", ""),
        ("Observation", "code=718-7", "hb"), ("Observation", f"code={LOINC}|718-7", "hb"), ("Observation", f"code={LOINC}|", "bp hb"), ("Observation", "code=urn:x|718-7", ""),
        ("Observation", "code=718-7,85354-9", "bp hb"), ("Observation", "status=final&code=718-7", "hb"), ("Observation", "status=nonsense", ""),
        ("Observation", "status:not=final", "away"), ("Observation", "combo-code=8480-6", "bp"), ("Observation", "value-concept=y", "known"),
        ("Observation", "code:missing=true", ""), ("Observation", "category:missing=true", "away known note"),
        # reference, search.html#reference
        ("Observation", "patient=ana", "bp hb"), ("Observation", "patient=Patient/ana", "bp hb"), ("Observation", f"patient={BASE}/Patient/ana", "bp hb"),
        ("Observation", "subject=ana", "bp hb"), ("Observation", "subject:Patient=ana", "bp hb"), ("Observation", "subject:Group=ana", ""), ("Observation", "subject=Group/ana", ""),
        ("Observation", "patient=bob", "note"), ("Observation", "patient=ana,bob", "bp hb note"), ("Observation", "subject=http://elsewhere/fhir/Patient/ana", "away"),
        ("Observation", "subject=http://other/fhir/Patient/ana", ""), ("Observation", "subject:identifier=urn:mrn|AB-1", "known"), ("Observation", "subject:identifier=AB-2", ""),
        ("Observation", "patient=Practitioner/ana", ""), ("Observation", "subject:missing=true", ""), ("Observation", "encounter=e1", "hb"),
        ("Patient", "organization=org", "ana"), ("Patient", "general-practitioner=doc", "ana"), ("Patient", "general-practitioner=Organization/doc", ""),
        ("QuestionnaireResponse", "questionnaire=http://q/1|2.0", "q1"), ("QuestionnaireResponse", "questionnaire=http://q/1", "q1"), ("QuestionnaireResponse", "questionnaire=http://q/1|1.0", ""), ("QuestionnaireResponse", "questionnaire=http://q/2", ""),
        # date, search.html#date
        ("Patient", "birthdate=1990-02-03", "ana"), ("Patient", "birthdate=1990", "ana"), ("Patient", "birthdate=1985-01", ""), ("Patient", "birthdate=1985", "bob"),
        ("Patient", "birthdate=lt1990-02-03", "bob"), ("Patient", "birthdate=ge1985&birthdate=le1985", "bob"), ("Patient", "birthdate=1985,1990", "ana bob"),
        ("Observation", "date=2026-03-01T09:00:00Z", "bp"), ("Observation", "date=2026-03-01T10:00:00%2B01:00", "bp"), ("Observation", "date=2026-03-01", "bp"),
        ("Observation", "date=2026-01", "note"), ("Observation", "date=gt2026-03-01", "away hb"), ("Observation", "date=ge2026-03-01", "away bp hb"), ("Observation", "date=lt2026-03-01", "note"),
        ("Observation", "date=sa2026-01-31", "away bp hb"), ("Observation", "date=eb2026-02-01", "note"), ("Observation", "date=ne2026-03-01", "away hb note"),
        ("Observation", "date=le2026-01-15", "note"), ("Observation", "date=ap2026-03-02", "away hb"), ("Observation", "date:missing=true", "known"),
        # number and quantity, search.html#number, #quantity
        ("RiskAssessment", "probability=0.25", "r1"), ("RiskAssessment", "probability=0.3", "r1"), ("RiskAssessment", "probability=0.30", ""), ("RiskAssessment", "probability=gt0.25", "r2"),
        ("RiskAssessment", "probability=ge0.25", "r1 r2"), ("RiskAssessment", "probability=lt0.6", "r1 r2"), ("RiskAssessment", "probability=sa0.4", "r2"), ("RiskAssessment", "probability=eb0.5", "r1"),
        ("RiskAssessment", "probability=ne0.25", "r2"), ("RiskAssessment", "probability=ap0.26", "r1"), ("RiskAssessment", "probability=2.5e-1", "r1"),
        ("Observation", "value-quantity=13.5", "hb"), ("Observation", f"value-quantity=13.5|{UCUM}|g/dL", "hb"), ("Observation", "value-quantity=13.5||g/dL", "hb"),
        ("Observation", "value-quantity=13.5||mg", ""), ("Observation", "value-quantity=13.5|urn:x|g/dL", ""), ("Observation", "value-quantity=gt13", "hb"), ("Observation", "value-quantity=lt13", ""),
        ("Observation", "combo-value-quantity=gt100", "bp"), ("Observation", "component-value-quantity=le80", "bp"),
        # uri, search.html#uri
        ("ValueSet", "url=http://acme.org/fhir/ValueSet/one", "v1"), ("ValueSet", "url=http://acme.org/fhir/ValueSet/ONE", ""), ("ValueSet", "url:below=http://acme.org/", "v1 v2"),
        ("ValueSet", "url:below=http://acme.org/fhir", "v1"), ("ValueSet", "url:missing=true", ""),
        # composite, search.html#composite
        ("Observation", "component-code-value-quantity=8480-6$120", "bp"), ("Observation", "component-code-value-quantity=8480-6$80", ""),
        ("Observation", f"component-code-value-quantity={LOINC}|8462-4$lt90||mm[Hg]", "bp"), ("Observation", "combo-code-value-quantity=718-7$13.5", "hb"),
        ("Observation", "combo-code-value-quantity=8480-6$gt100", "bp"), ("Observation", "code-value-quantity=718-7$13.5,85354-9$1", "hb"), ("Observation", "code-value-quantity=718-7$12", ""),
        # all types, search.html#all
        ("Patient", "_id=ana", "ana"), ("Patient", "_id=ana,bob,none", "ana bob"), ("Patient", "_id=ana&_id=bob", ""), ("Patient", "_id=ana&gender=male", ""), ("Patient", "_tag=urn:tag|vip", "ana"),
        ("Patient", "_profile=http://p/one", "ana"), ("Patient", "_security=r", "ana"), ("Patient", "_source=urn:src", "ana"), ("Patient", "_tag:not=vip", "bob cy"),
        ("Patient", "_lastUpdated=2026-03-02", "ana bob cy"), ("Patient", "_lastUpdated=gt2026-03-02", ""), ("Patient", "_lastUpdated=ge2026-03-02T09:00:00Z&gender=male", "bob"), ("Patient", "_lastUpdated=ne2026", ""),
        # chains, search.html#chaining
        ("Observation", "patient.name=lodz", "bp hb"), ("Observation", "subject:Patient.gender=male", "note"), ("Observation", "subject:Patient.general-practitioner:Practitioner.name=house", "bp hb"),
        ("Observation", "patient.organization.partof.name=valley", "bp hb"), ("Observation", "patient.organization.partof.name=lakeside", ""), ("Observation", "subject.name=lodz", "bp hb"),
        ("Observation", "patient.gender:not=male", "bp hb"), ("Observation", "patient._id=bob", "note"), ("Observation", "patient.birthdate=lt1990&code=718-7", ""), ("Observation", "encounter.patient.family=łódź", "hb"),
        ("Encounter", "service-provider.name=lake", "e1"), ("Observation", "patient.name:exact=Łódź&status=final", "bp hb"),
        # reverse chains, search.html#has
        ("Patient", "_has:Observation:patient:code=718-7", "ana"), ("Patient", "_has:Observation:patient:code=none", ""), ("Patient", "_has:Observation:patient:status=final&gender=male", "bob"),
        ("Patient", "_has:Observation:patient:_has:Provenance:target:agent=Organization/org", "ana"), ("Organization", "_has:Patient:organization:name=ana", "org"),
        ("Patient", "_has:Observation:subject:date=ge2026-03-01", "ana"), ("Patient", "gender=female&_has:Observation:patient:value-string=all", ""),
        # what is silent when nothing fits
        ("Basic", "", ""), ("Observation", "patient=none", ""), ("Observation", "patient=%00", None), ("Patient", "name=%00", ""), ("Patient", "name=%27%20OR%201%3D1%20--", ""),
    ],
)  # fmt: skip
def test_a_search_finds_exactly_what_it_asks_for(
    fhir: Fhir, resource_type: str, query: str, expected: str | None
) -> None:
    raw = query.encode("utf-8")
    raw = b"".join(b"%%%02X" % byte if byte > 127 or byte == 32 else bytes([byte]) for byte in raw)

    by_get = fhir.get(f"/{resource_type}", raw)
    by_post = fhir.post_search(resource_type, raw)

    assert by_post.body == by_get.body
    assert by_get.status == (400 if expected is None else 200)
    if expected is not None:
        assert sorted(by_get.ids) == expected.split()
        assert by_get.json["total"] == len(by_get.ids)


@in_one_world(
    ("resource_type", "query", "named"),
    [
        ("Patient", "foo=1", "foo"), ("Patient", "Name=x", "Name"), ("Patient", "code=1", "code"), ("Patient", "phonetic=x", "phonetic"), ("Location", "near=1", "near"),
        ("Patient", "_text=x", "_text"), ("Patient", "_content=x", "_content"), ("Patient", "_filter=x", "_filter"), ("Patient", "_query=x", "_query"), ("Patient", "_list=x", "_list"),
        ("Patient", "_type=x", "_type"), ("Patient", "_contained=true", "_contained"), ("Patient", "name:text=x", "name:text"), ("Patient", "gender:text=x", "gender:text"),
        ("Patient", "gender:in=x", "gender:in"), ("Patient", "gender:above=x", "gender:above"), ("Patient", "gender:exact=x", "gender:exact"), ("Patient", "name:not=x", "name:not"),
        ("Patient", "birthdate:exact=1990", "birthdate:exact"), ("ValueSet", "url:above=http://a", "url:above"), ("Observation", "subject:Encounter=1", "subject:Encounter"),
        ("Patient", "_id:not=1", "_id:not"), ("Patient", "_lastUpdated:missing=true", "_lastUpdated:missing"), ("Patient", "_count:x=1", "_count:x"),
        ("Patient", "name=", "name"), ("Patient", "name", "name"), ("Patient", "name=a,,b", "name"), ("Patient", "name=%20", "name"), ("Patient", "gender:missing=yes", "gender:missing"),
        ("Patient", "gender=%7C", "gender"), ("Patient", "gender=a%7Cb%7Cc", "gender"), ("Patient", "birthdate=1990-13", "birthdate"), ("Patient", "birthdate=xx1990", "birthdate"),
        ("Patient", "birthdate=gt", "birthdate"), ("Patient", "birthdate=1990-02-30", "birthdate"), ("Observation", "date=2026-03-01T10:00:00+01:00", "date"),
        ("Observation", "value-quantity=x", "value-quantity"), ("Observation", "value-quantity=1|2", "value-quantity"), ("Observation", "value-quantity=1e999", "value-quantity"),
        ("Observation", "value-quantity=NaN", "value-quantity"), ("RiskAssessment", "probability=1||mg", "probability"), ("Observation", "patient=a%20b", "patient"), ("Observation", "patient=", "patient"),
        ("Observation", "patient=/Patient/1", "patient"), ("Observation", "patient=../Patient/1", "patient"), ("Patient", "_id=a_b", "_id"), ("Patient", "_id=%27", "_id"),
        ("Observation", "code-value-quantity=1", "code-value-quantity"), ("Observation", "code-value-quantity=$1", "code-value-quantity"), ("Observation", "code-value-quantity=1$2$3", "code-value-quantity"),
        ("Observation", "subject.foo=1", "subject.foo"), ("Observation", "patient:Encounter.name=1", "Encounter"), ("Observation", "status.name=1", "status.name"), ("Provenance", "target._id=1", "target._id"), ("Provenance", "target.identifier=1", "target.identifier"),
        ("Observation", "patient.name:text=1", "name:text"), ("Observation", "patient.=1", "patient."), ("Observation", "patient.organization.partof.partof.name=x", "hops"),
        ("Patient", "_has:x=1", "_has"), ("Patient", "_has:Observation:patient=1", "_has"), ("Patient", "_has:Nonsense:patient:code=1", "_has"), ("Patient", "_has:Observation:code:code=1", "code"),
        ("Patient", "_has:Observation:encounter:code=1", "encounter"), ("Patient", "_has:Observation:patient:foo=1", "foo"),
        ("Patient", "_sort=foo", "foo"), ("Patient", "_sort=", "_sort"), ("Observation", "_sort=code-value-quantity", "code-value-quantity"), ("Patient", "_sort=name,name,name,name,name,name", "_sort"),
        ("Patient", "_sort=name&_sort=birthdate", "_sort"), ("Patient", "_count=x", "_count"), ("Patient", "_count=-1", "_count"), ("Patient", "_count=1&_count=2", "_count"), ("Patient", "_total=x", "_total"),
        ("Patient", "_page=x", "_page"), ("Patient", "_page=", "_page"), ("Patient", "_page=cDE&_page=cDE", "_page"), ("Patient", "_sort=name&_page=cDk5OTk5OTk5OTk", "_page"),
        ("Patient", "_include=*", "_include"), ("Patient", "_include=Patient:*", "_include"), ("Patient", "_include=Patient:name", "_include"), ("Patient", "_include=Patient", "_include"),
        ("Patient", "_include=Observation:patient", "_include"), ("Patient", "_include=Patient:organization:Practitioner", "organization"), ("Patient", "_include:iterate=Patient:link", "iterate"),
        ("Patient", "_include=Nonsense:x", "_include"), ("Patient", "_revinclude=Patient:organization", "_revinclude"), ("Patient", "_revinclude=*", "_revinclude"), ("Patient", "_revinclude:recurse=Provenance:target", "recurse"),
        ("Patient", "_elements=", "_elements"), ("Patient", "_summary=x", "_summary"), ("Patient", "name=%zz", "percent"), ("Patient", "name=%f", "percent"), ("Patient", "name=%ff", "UTF-8"),
        ("Patient", "gender=" + ",".join(["x"] * 201), "gender"), ("Patient", "&".join(["name=x"] * 65), "parameters"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(
    fhir: Fhir, resource_type: str, query: str, named: str
) -> None:
    """contract.md: 400, unknown parameter named."""
    answer = fhir.get(f"/{resource_type}", query)

    assert answer.status == 400
    assert named in answer.issue["details"]["text"]


def test_a_query_past_its_bound_is_refused(fhir: Fhir) -> None:
    assert fhir.get("/Patient", "name=" + "x" * 20_000).status == 413


def test_includes_bring_what_is_referred_to_and_what_refers(fhir: Fhir) -> None:
    """FHIR R4 search.html#include; US Core: MedicationRequest:medication, Provenance:target."""
    forward = fhir.get(
        "/MedicationRequest",
        "patient=ana&_include=MedicationRequest:medication&_include=MedicationRequest:patient",
    )
    backward = fhir.get("/Observation", "patient=ana&_revinclude=Provenance:target")
    typed = fhir.get("/Observation", "_include=Observation:subject:Group")
    both = fhir.get(
        "/Patient",
        "_id=ana&_revinclude=Observation:patient&_revinclude=Provenance:target&_include=Patient:general-practitioner",
    )

    assert (forward.ids, forward.included) == (["mr"], {"Medication/med", "Patient/ana"})
    assert (backward.ids, backward.included) == (["bp", "hb"], {"Provenance/pv"})
    assert typed.included == set()
    assert both.included == {"Observation/bp", "Observation/hb", "Provenance/pv", "Practitioner/doc"}
    assert both.json["total"] == 1


def test_what_already_matches_is_not_included_again(fhir: Fhir) -> None:
    answer = fhir.get("/Organization", "_include=Organization:partof")

    assert (sorted(answer.ids), answer.included) == (["org", "top"], set())


def test_too_many_includes_are_refused_not_cut(tmp_path: Path) -> None:
    fhir = Fhir(tmp_path / "fhir.db")
    fhir.load(
        CORPUS[0],
        *(observation(f"o{i}", subject={"reference": "Patient/ana"}) for i in range(MAX_INCLUDED + 1)),
    )

    answer = fhir.get("/Patient", "_id=ana&_revinclude=Observation:patient")

    assert (answer.status, answer.issue["code"]) == (400, "too-costly")
    fhir.close()


@in_one_world(
    ("query", "expected"),
    [
        ("_sort=date", "note bp hb away known"), ("_sort=-date", "hb away bp note known"), ("_sort=_id", "away bp hb known note"), ("_sort=-_id", "note known hb bp away"),
        ("_sort=status,-date", "away hb bp note known"), ("_sort=-status,_id", "bp hb known note away"), ("_sort=-_lastUpdated,_id", "away bp hb known note"),
        ("_sort=subject,_id", "bp hb note away known"), ("_sort=value-quantity,_id", "hb away bp known note"), ("_sort=value-string,-_id", "note known hb bp away"),
    ],
)  # fmt: skip
def test_matches_come_in_the_order_asked_for(fhir: Fhir, query: str, expected: str) -> None:
    """FHIR R4 search.html#sort; what has no value comes last."""
    found = fhir.search("Observation", query)

    if query.startswith("_sort=subject"):
        expected = " ".join(
            ["known", *expected.split()[:2], "note", "away"]
        )  # a reference without an address sorts as ''
    if query in {"_sort=date", "_sort=-date"}:  # away and hb begin at the same moment
        assert set(found[-1:]) == {"known"}
        ranks = {"note": 0, "bp": 1, "hb": 2, "away": 2}
        order = [ranks[name] for name in found[:-1]]
        assert order == sorted(order, reverse="-" in query)
    else:
        assert found == expected.split()


@pytest.mark.parametrize(
    "query", ["", "_sort=-_id", "_sort=name", "gender:missing=true", "name=f&_sort=birthdate"]
)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_pages_hold_every_match_once(tmp_path: Path, query: str, count: int) -> None:
    """FHIR R4 http.html#paging."""
    fhir = Fhir(tmp_path / "fhir.db")
    fhir.load(
        *({"resourceType": "Patient", "id": f"p{i}", "name": [{"family": f"F{i % 3}"}]} for i in range(9))
    )
    whole = fhir.search("Patient", query)

    seen: list[str] = []
    url: str | None = f"{BASE}/Patient?{query}&_count={count}"
    while url:
        page = fhir.get("/Patient", url.partition("?")[2])
        seen += page.ids
        assert len(page.ids) <= count
        assert (page.link("self") or "").startswith(f"{BASE}/Patient?")
        url = page.link("next")

    assert seen == whole
    assert len(seen) == 9
    fhir.close()


def test_a_page_shows_nothing_twice_although_rows_come_meanwhile(tmp_path: Path) -> None:
    fhir = Fhir(tmp_path / "fhir.db")
    fhir.load(*({"resourceType": "Patient", "id": f"p{i}"} for i in range(4)))
    first = fhir.get("/Patient", "_count=2")
    fhir.load({"resourceType": "Patient", "id": "new"})
    fhir.request("DELETE", "/Patient/p0")

    second = fhir.get("/Patient", (first.link("next") or "").partition("?")[2])

    assert (first.ids, second.ids) == (["p0", "p1"], ["p2", "p3"])
    fhir.close()


def test_totals_are_given_when_asked_for_or_known_anyway(fhir: Fhir) -> None:
    """FHIR R4 search.html#total."""
    totals = {
        query: fhir.get("/Patient", query).json.get("total")
        for query in (
            "",
            "_total=none",
            "_count=1",
            "_count=1&_total=accurate",
            "_count=1&_total=estimate",
            "_summary=count",
            "_count=0",
        )
    }

    assert totals == {
        "": 3, "_total=none": None, "_count=1": None, "_count=1&_total=accurate": 3, "_count=1&_total=estimate": 3, "_summary=count": 3, "_count=0": 3,
    }  # fmt: skip
    assert "entry" not in fhir.get("/Patient", "_summary=count").json


def test_a_count_past_its_bound_is_the_bound(fhir: Fhir) -> None:
    assert fhir.get("/Patient", "_count=999999").status == 200


def test_elements_cut_each_match(fhir: Fhir) -> None:
    entry = fhir.get("/Patient", "_id=ana&_elements=gender").json["entry"][0]

    assert set(entry["resource"]) == {"resourceType", "id", "meta", "gender"}
    assert entry["fullUrl"] == f"{BASE}/Patient/ana"


def test_an_update_moves_a_resource_in_the_index(tmp_path: Path) -> None:
    fhir = Fhir(tmp_path / "fhir.db")
    fhir.load(
        observation(
            "o", subject={"reference": "Patient/a"}, effectiveDateTime="2026-01-01", valueQuantity=quantity(1)
        )
    )
    fhir.clock.advance(timedelta(days=1))

    fhir.write(
        "PUT",
        "/Observation/o",
        observation(
            "o", subject={"reference": "Patient/b"}, effectiveDateTime="2026-02-01", valueQuantity=quantity(2)
        ),
    )

    for query, found in (("patient=a", []), ("patient=b", ["o"]), ("date=2026-01", []), ("date=2026-02", ["o"]), ("value-quantity=1", []), ("value-quantity=2", ["o"]), ("_lastUpdated=2026-03-02", []), ("_lastUpdated=2026-03-03", ["o"])):  # fmt: skip
        assert fhir.search("Observation", query) == found
    fhir.close()


class RacingClock(FakeClock):
    """A clock that moves at each look."""

    pace = 0.0

    def monotonic(self) -> float:
        self.advance(timedelta(seconds=self.pace))
        return super().monotonic()


def test_a_search_that_takes_too_long_is_stopped_and_refused(tmp_path: Path) -> None:
    """Bounds: every search ends. The clock here runs a second at each look."""
    clock = RacingClock()
    fhir = Fhir(tmp_path / "fhir.db", clock, search_bound_s=0.5)
    fhir.load(*({"resourceType": "Patient", "id": f"p{i}", "name": [{"family": "F"}]} for i in range(400)))
    clock.pace = 1.0
    heavy = "&".join(["family:contains=" + ",".join(f"x{i}" for i in range(200))] * 8)

    answer = fhir.get("/Patient", heavy + "&gender:missing=true")

    assert (answer.status, answer.issue["code"]) == (400, "too-costly")
    assert fhir.search("Patient", "_id=p1") == ["p1"]
    fhir.close()


DATES = st.sampled_from(["2026", "2026-02", "2026-02-28", "2026-03-01", "2026-03-01T12:00:00Z", "2026-03-01T23:30:00-05:00", "2025-12-31", "2026-03-01T12:00:00.500Z", "2027-01"])  # fmt: skip
PERIODS = st.one_of(
    DATES.map(lambda d: {"effectiveDateTime": d}),
    st.tuples(DATES, DATES).map(lambda t: {"effectivePeriod": {"start": t[0], "end": t[1]}}),
    DATES.map(lambda d: {"effectivePeriod": {"start": d}}),
    DATES.map(lambda d: {"effectivePeriod": {"end": d}}),
)


@given(
    values=st.lists(PERIODS, min_size=1, max_size=8),
    prefix=st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]),
    asked=DATES,
)
@settings(max_examples=effort(40, 600), deadline=None, suppress_health_check=SLOW_FIXTURE)
def test_date_searches_agree_with_the_table_of_prefixes(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]], prefix: str, asked: str
) -> None:
    """FHIR R4 search.html#prefix, with and without another condition that drives the search."""
    fhir = Fhir(tmp_path_factory.mktemp("dates") / "fhir.db")
    fhir.load(*(observation(f"o{i}", subject={"reference": "Patient/a"}, **v) for i, v in enumerate(values)))
    wanted = parse_range(asked)
    assert wanted is not None

    def fits(value: dict[str, Any]) -> bool:
        ((key, inner),) = value.items()
        found = element_range(key.removeprefix("effective").replace("DateTime", "dateTime"), inner)
        return found is not None and matches(prefix or "eq", wanted, found, now=to_micros(START))

    expected = [f"o{i}" for i, v in enumerate(values) if fits(v)]
    assert fhir.search("Observation", {"date": prefix + asked}) == expected
    assert fhir.search("Observation", {"date": prefix + asked, "patient": "a"}) == expected
    fhir.close()


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12
).filter(lambda t: t.strip() == t and bool(fold(t)))


@given(text=TEXTS, code=TEXTS, other=TEXTS)
@settings(max_examples=effort(40, 600), deadline=None)
def test_whatever_is_stored_is_found_by_what_it_holds(
    tmp_path_factory: pytest.TempPathFactory, text: str, code: str, other: str
) -> None:
    """FHIR R4 search.html#escaping: any text can be asked for."""
    fhir = Fhir(tmp_path_factory.mktemp("texts") / "fhir.db")
    fhir.load(
        {"resourceType": "Patient", "id": "p", "name": [{"family": text}], "identifier": [{"system": "urn:s", "value": code}]},
        {"resourceType": "Patient", "id": "q", "name": [{"family": other}]},
    )  # fmt: skip

    assert "p" in fhir.search("Patient", {"family": escape(text)})
    assert "p" in fhir.search("Patient", {"family:exact": escape(text)})
    assert "p" in fhir.search("Patient", {"family:contains": escape(text)})
    assert fhir.search("Patient", {"identifier": "urn:s|" + escape(code)}) == ["p"]
    assert ("q" in fhir.search("Patient", {"family:exact": escape(text)})) is (text == other)
    assert ("q" in fhir.search("Patient", {"family": escape(text)})) is fold(other).startswith(fold(text))
    fhir.close()


NAMES = st.text("abcdefghij_-:.", min_size=1, max_size=12)


@given(pairs=st.lists(st.tuples(st.one_of(st.sampled_from(["code", "date", "patient", "_has:Observation:patient:code", "subject:Patient.name", "_include", "_sort", "_count", "value-quantity", "_page", "_elements"]), NAMES), st.text(max_size=20)), max_size=5))  # fmt: skip
@settings(max_examples=effort(50, 5000), deadline=None, suppress_health_check=SLOW_FIXTURE)
def test_no_query_makes_the_server_fail(fhir: Fhir, pairs: list[tuple[str, str]]) -> None:
    pairs = [(n, v.encode("utf-8", "replace").decode()) for n, v in pairs]

    answer = fhir.get("/Observation", pairs)

    assert answer.status in {200, 400, 406}
    assert json.loads(answer.body)["resourceType"] in {"Bundle", "OperationOutcome"}


@given(query=st.binary(max_size=60), path=st.text(max_size=30))
@settings(max_examples=effort(50, 5000), deadline=None, suppress_health_check=SLOW_FIXTURE)
def test_no_bytes_make_the_server_fail(fhir: Fhir, query: bytes, path: str) -> None:
    assert fhir.get("/Patient", query).status in {200, 400, 406}
    assert fhir.get("/" + path.encode("utf-8", "replace").decode(), query).status in {
        200,
        400,
        404,
        405,
        406,
        501,
    }
