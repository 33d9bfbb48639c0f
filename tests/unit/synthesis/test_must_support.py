"""Every must-support element of every US Core profile, 6.1.0 and 7.0.0, stands in the planned charts of each hospital.

Source: US Core 6.1.0 and 7.0.0, the profiles' must-support elements as the (g)(10) suite reads them (conformance 5.2, 5.4, 5.5, 6).
"""

from functools import cache

import pytest

from hilum.gateway.enforcement.models import EVIDENCE_BOUND
from hilum.server.embedded_servers import PROFILES
from hilum_ehr.synthesis.models import Resource
from tests.unit.synthesis.hospital import TENANTS, made, of, patient_of, plan_of, values

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
SOCIAL = ("status", "category.coding[code=social-history]", "code.coding", "subject.reference")
VITAL = ("status", "category.coding[code=vital-signs]", "code.coding", "subject.reference", "effectiveDateTime", "valueQuantity.value",
         "valueQuantity.unit", "valueQuantity[system=http://unitsofmeasure.org].code")  # fmt: skip
RESULT = (
    "status",
    "category.coding",
    "code.coding",
    "subject.reference",
    "effectiveDateTime",
    "valueQuantity.value",
    "valueCodeableConcept.coding",
    "valueString",
)
PREFERENCE = ("status", "subject.reference", "effectiveDateTime", "valueString", "valueCodeableConcept.text")
EITHER = "|"
"""Between two paths of which one is enough."""

MUST_SUPPORT: dict[str, tuple[str, ...]] = {
    "us-core-patient": (
        "identifier.system", "identifier.value", "name.family", "name.given", "name.suffix", "name[use=old]|name.period.end", "telecom.system",
        "telecom.value", "telecom.use", "gender", "birthDate", "deceasedDateTime", "address.line", "address.city", "address.state",
        "address.postalCode", "address[use=old]|address.period.end", "communication.language.coding.code",
        f"extension[url={US_CORE}us-core-race]", f"extension[url={US_CORE}us-core-ethnicity]",
        f"extension[url={US_CORE}us-core-tribal-affiliation]", f"extension[url={US_CORE}us-core-sex].valueCode",
    ),
    "us-core-allergyintolerance": ("clinicalStatus.coding", "verificationStatus.coding", "code.coding", "patient.reference", "reaction.manifestation.coding"),
    "us-core-careplan": ("text.status", "text.div", "status", "intent", "category.coding[code=assess-plan]", "subject.reference"),
    "us-core-careteam": (
        "status", "subject.reference", "participant.role.coding", "participant.member[reference^=Practitioner/]",
        "participant.member[reference^=RelatedPerson/]",
    ),
    "us-core-condition-encounter-diagnosis": (
        "category.coding[code=encounter-diagnosis]", "code.coding", "subject.reference", "encounter.reference", "abatementDateTime", "recordedDate",
        "extension[url=http://hl7.org/fhir/StructureDefinition/condition-assertedDate]",
    ),
    "us-core-condition-problems-health-concerns": (
        "clinicalStatus.coding", "verificationStatus.coding", "category.coding[code=problem-list-item]", "category.coding[code=health-concern]",
        f"category.coding[system={CATEGORY}]", "code.coding", "subject.reference", "onsetDateTime", "abatementDateTime", "recordedDate",
        "extension[url=http://hl7.org/fhir/StructureDefinition/condition-assertedDate]",
    ),
    "us-core-coverage": (
        "identifier[type.coding.code=MB].value", "status", "type.coding", "subscriberId", "beneficiary.reference", "relationship.coding",
        "period.start", "payor[reference^=Organization/]", "class[type.coding.code=group].value", "class[type.coding.code=plan].value",
        "class[type.coding.code=plan].name",
    ),
    "us-core-implantable-device": (
        "udiCarrier.deviceIdentifier", "udiCarrier.carrierHRF", "distinctIdentifier", "manufactureDate", "expirationDate", "lotNumber",
        "serialNumber", "type.coding", "patient.reference",
    ),
    "us-core-diagnosticreport-note": (
        "status", "category.coding[code=LP29684-5]", "category.coding[code=LP29708-2]", "category.coding[code=LP7839-6]", "code.coding",
        "subject.reference", "encounter.reference", "effectiveDateTime", "issued", "performer[reference^=Practitioner/]",
        "performer[reference^=Organization/]", "result.reference", "presentedForm.url", "media.link[reference^=Media/]",
    ),
    "us-core-diagnosticreport-lab": (
        "status", "category.coding[code=LAB]", "code.coding", "subject.reference", "effectiveDateTime", "issued",
        "performer[reference^=Practitioner/]", "result.reference", "media.link[reference^=Media/]",
    ),
    "us-core-documentreference": (
        "identifier.value", "status", "type.coding", "category.coding[code=clinical-note]", "subject.reference", "date",
        "author[reference^=Practitioner/]", "content.attachment.contentType", "content.attachment.data", "content.attachment.url",
        "content.format.code", "context.encounter.reference", "context.period.start", "custodian.reference",
    ),
    "us-core-encounter": (
        "identifier.system", "identifier.value", "status", "class.code", "type.coding", "subject.reference", "participant.type.coding",
        "participant.period.start", "participant.individual[reference^=Practitioner/]", "period.start", "reasonReference.reference",
        "hospitalization.dischargeDisposition.coding", "location.location.reference", "serviceProvider[reference^=Organization/]",
    ),
    "us-core-goal": ("lifecycleStatus", "description.text", "subject.reference", "startDate", "target.dueDate"),
    "us-core-immunization": ("status", "[status=not-done]", "statusReason.coding", "vaccineCode.coding", "patient.reference", "occurrenceDateTime", "primarySource",
        "encounter.reference", "location[reference^=Location/]"),
    "us-core-location": (
        "identifier.value", "status", "name", "type.coding", "telecom.value", "address.line", "address.city", "address.state", "address.postalCode",
        "managingOrganization.reference",
    ),
    "us-core-medicationdispense": (
        "status", "medicationCodeableConcept.coding", "medicationReference.reference", "subject.reference", "context[reference^=Encounter/]", "performer.actor[reference^=Organization/]",
        "authorizingPrescription[reference^=MedicationRequest/]", "type.coding", "quantity.value", "whenHandedOver", "dosageInstruction.text",
        "dosageInstruction.timing.repeat", "dosageInstruction.doseAndRate.doseQuantity.value",
    ),
    "us-core-medicationrequest": (
        "status", "intent", "category.coding", "reportedBoolean", "medicationCodeableConcept.coding", "medicationReference.reference",
        "subject.reference", "encounter.reference", "authoredOn", "requester[reference^=Practitioner/]", "reasonReference.reference",
        "dosageInstruction.text", "dosageInstruction.timing.repeat", "dosageInstruction.doseAndRate.doseQuantity.value",
        "dispenseRequest.numberOfRepeatsAllowed", "dispenseRequest.quantity.value",
        *(f"extension[url={US_CORE}us-core-medication-adherence].extension[url={part}]" for part in ("medicationAdherence", "dateAsserted", "informationSource")),
    ),
    "us-core-medication": ("code.coding",),
    "us-core-observation-lab": (*RESULT, "specimen.reference"),
    "us-core-observation-clinical-result": RESULT,
    "us-core-observation-screening-assessment": (
        *RESULT, "performer.reference", "hasMember.reference", "derivedFrom[reference^=Observation/]", "derivedFrom[reference^=QuestionnaireResponse/]",
        *(f"category.coding[code={kind}]" for kind in ("survey", "sdoh", "functional-status", "disability-status", "cognitive-status", "activity", "social-history")),
    ),
    "us-core-observation-pregnancystatus": (*SOCIAL, "effectiveDateTime", "valueCodeableConcept.coding"),
    "us-core-observation-pregnancyintent": (*SOCIAL, "effectiveDateTime", "valueCodeableConcept.coding"),
    "us-core-observation-occupation": (
        *SOCIAL, "effectivePeriod.start", "valueCodeableConcept.coding", "component[code.coding.code=86188-0].valueCodeableConcept.coding",
    ),
    "us-core-observation-sexual-orientation": ("status", "code.coding[code=76690-7]", "effectiveDateTime", "valueCodeableConcept.coding"),
    "us-core-smokingstatus": (*SOCIAL, "effectiveDateTime", "valueCodeableConcept.coding", "valueQuantity.value"),
    "us-core-care-experience-preference": ("category.coding[code=care-experience-preference]", "code.coding[code=95541-9]", *PREFERENCE),
    "us-core-treatment-intervention-preference": ("category.coding[code=treatment-intervention-preference]", "code.coding[code=75773-2]", *PREFERENCE),
    "us-core-average-blood-pressure": (
        "status", "category.coding[code=vital-signs]", "code.coding[code=96607-7]", "subject.reference", "effectivePeriod.start",
        "component[code.coding.code=96608-5].valueQuantity.value", "component[code.coding.code=96609-3].valueQuantity.value", "component.dataAbsentReason",
    ),
    "us-core-respiratory-rate": VITAL,
    "us-core-heart-rate": VITAL,
    "us-core-body-temperature": VITAL,
    "us-core-body-height": VITAL,
    "us-core-head-circumference": VITAL,
    "us-core-body-weight": VITAL,
    "us-core-bmi": VITAL,
    "pediatric-weight-for-height": VITAL,
    "pediatric-bmi-for-age": VITAL,
    "head-occipital-frontal-circumference-percentile": VITAL,
    "us-core-pulse-oximetry": (
        *VITAL, "code.coding[code=59408-5]", "code.coding[code=2708-6]", "component[code.coding.code=3151-8].valueQuantity[code=L/min].value",
        "component[code.coding.code=3150-0].valueQuantity[code=%].value",
    ),
    "us-core-blood-pressure": (
        "status", "category.coding[code=vital-signs]", "code.coding[code=85354-9]", "subject.reference", "effectiveDateTime",
        *(f"component[code.coding.code={code}].{part}" for code in ("8480-6", "8462-4") for part in ("valueQuantity[unit=mmHg].value", "dataAbsentReason.coding")),
    ),
    "us-core-procedure": ("basedOn.reference", "status", "code.coding", "subject.reference", "performedDateTime"),
    "us-core-servicerequest": (
        "status", "intent", "category.coding", "code.coding", "subject.reference", "occurrencePeriod.start", "authoredOn",
        "requester[reference^=Practitioner/]", "reasonCode.coding", "reasonReference.reference",
    ),
    "us-core-provenance": (
        "target.reference", "recorded", "agent[type.coding.code=author].who.reference", "agent[type.coding.code=transmitter].who[reference^=Organization/]",
        "agent[type.coding.code=author].onBehalfOf[reference^=Organization/]", "agent[type.coding.code=transmitter].onBehalfOf[reference^=Organization/]",
    ),
    "us-core-relatedperson": ("active", "patient.reference", "relationship.coding", "name.family", "telecom.value", "address.line"),
    "us-core-specimen": (
        "type.coding", "subject.reference", "identifier.value", "accessionIdentifier.value", "collection.bodySite.coding", "condition.coding",
    ),
    "us-core-questionnaireresponse": ("questionnaire", "_questionnaire.extension.valueUri", "status", "subject.reference", "authored", "author.reference", "item.linkId", "item.answer.valueCoding"),
    "us-core-organization": (
        "identifier[system=http://hl7.org/fhir/sid/us-npi].value", "active", "name", "telecom.system", "telecom.value", "address.line",
        "address.city", "address.state", "address.postalCode", "address.country",
    ),
    "us-core-practitioner": (
        "identifier[system=http://hl7.org/fhir/sid/us-npi].value", "name.family", "telecom.system", "telecom.value", "address.line",
        "address.city", "address.state", "address.postalCode", "address.country",
    ),
    "us-core-practitionerrole": ("practitioner.reference", "organization.reference", "code.coding", "specialty.coding", "location.reference", "telecom.value"),
}  # fmt: skip
SHARED = {
    "us-core-location",
    "us-core-organization",
    "us-core-practitioner",
    "us-core-practitionerrole",
    "us-core-medication",
    "us-core-provenance",
}
WITH_REVINCLUDE = (
    "Patient", "AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "Coverage", "Device", "DiagnosticReport", "DocumentReference", "Encounter",
    "Goal", "Immunization", "MedicationDispense", "MedicationRequest", "Observation", "Procedure", "RelatedPerson", "ServiceRequest",
)  # fmt: skip


@cache
def _with_profile(tenant: str, profile: str) -> tuple[Resource, ...]:
    """Find the resources that claim a profile: in the planned charts only, where a chart is what they are in."""
    plan = plan_of(tenant)
    planned = {plan.patient_id(written.slug) for written in plan.notable}
    return tuple(
        each
        for each in made(tenant)
        if US_CORE + profile in each["meta"].get("profile", [])
        and (profile in SHARED or patient_of(each) in planned)
    )


def _populated(resources: tuple[Resource, ...], path: str) -> bool:
    if path == "[status=not-done]":
        return any(each["status"] == "not-done" for each in resources)
    return any(
        value not in (None, "")
        for each in resources
        for one in path.split(EITHER)
        for value in values(each, one)
    )


@pytest.mark.parametrize("profile", MUST_SUPPORT)
@pytest.mark.parametrize("tenant", TENANTS)
def test_every_must_support_element_is_populated(tenant: str, profile: str) -> None:
    """Conformance 5.4: per profile, must-support elements and slices."""
    resources = _with_profile(tenant, profile)

    assert resources, "no resource claims the profile"
    assert [path for path in MUST_SUPPORT[profile] if not _populated(resources, path)] == []


def test_every_profile_of_the_certification_suite_is_in_the_table() -> None:
    """Conformance 5.2: the 42 profiles (g)(10) requires."""
    required = [
        "us-core-allergyintolerance",
        "us-core-careplan",
        "us-core-careteam",
        "us-core-condition-encounter-diagnosis",
        "us-core-condition-problems-health-concerns",
        "us-core-coverage",
        "us-core-implantable-device",
        "us-core-diagnosticreport-lab",
        "us-core-diagnosticreport-note",
        "us-core-documentreference",
        "us-core-encounter",
        "us-core-goal",
        "us-core-immunization",
        "us-core-medicationdispense",
        "us-core-medicationrequest",
        "us-core-observation-lab",
        "us-core-blood-pressure",
        "us-core-bmi",
        "us-core-head-circumference",
        "us-core-body-height",
        "us-core-body-weight",
        "us-core-body-temperature",
        "us-core-heart-rate",
        "pediatric-bmi-for-age",
        "head-occipital-frontal-circumference-percentile",
        "pediatric-weight-for-height",
        "us-core-pulse-oximetry",
        "us-core-respiratory-rate",
        "us-core-smokingstatus",
        "us-core-observation-clinical-result",
        "us-core-observation-occupation",
        "us-core-observation-pregnancyintent",
        "us-core-observation-pregnancystatus",
        "us-core-observation-screening-assessment",
        "us-core-organization",
        "us-core-patient",
        "us-core-practitioner",
        "us-core-procedure",
        "us-core-provenance",
        "us-core-relatedperson",
        "us-core-servicerequest",
        "us-core-specimen",
    ]

    assert set(required) - set(MUST_SUPPORT) == set()


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_claimed_profile_is_in_the_table(tenant: str) -> None:
    claimed = {url.removeprefix(US_CORE) for each in made(tenant) for url in each["meta"].get("profile", [])}

    assert claimed <= set(MUST_SUPPORT)


def test_every_claimed_profile_is_declared_and_no_other() -> None:
    """FHIR R4 capabilitystatement.html: supportedProfile."""
    claimed = {
        (each["resourceType"], url)
        for tenant in TENANTS
        for each in made(tenant)
        for url in each["meta"].get("profile", [])
    }

    assert claimed == {(kind, url) for kind, urls in PROFILES.items() for url in urls}


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_type_with_a_reverse_include_has_its_provenance(tenant: str) -> None:
    """Conformance 5.3 (4): first search + _revinclude=Provenance:target."""
    targets = {
        reference.partition("/")[0]
        for each in of(tenant, "Provenance")
        for reference in values(each, "target.reference")
    }

    assert set(WITH_REVINCLUDE) - targets == set()


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_gateway_can_look_at_everything_that_a_provenance_is_about(tenant: str) -> None:
    """Conformance 3.4: a Provenance that was seen is read by its id, and is given only when all its targets were judged."""
    about = [len(values(each, "target.reference")) for each in of(tenant, "Provenance")]

    assert max(about) <= EVIDENCE_BOUND


@pytest.mark.parametrize("tenant", TENANTS)
def test_the_eight_note_types_and_three_report_categories_exist(tenant: str) -> None:
    """Conformance 5.5: clinical notes."""
    notes = {code for each in of(tenant, "DocumentReference") for code in values(each, "type.coding.code")}

    assert notes == {"11488-4", "18842-5", "34117-2", "28570-0", "11506-3", "18748-4", "11502-2", "11526-1"}


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_presented_form_is_also_a_document_of_the_same_patient(tenant: str) -> None:
    """Conformance 5.5: presentedForm.url equals a content.attachment.url of the same patient."""
    documents = {
        (patient_of(each), url)
        for each in of(tenant, "DocumentReference")
        for url in values(each, "content.attachment.url")
    }
    binaries = {f"Binary/{each['id']}" for each in of(tenant, "Binary")}
    forms = [
        (patient_of(each), url)
        for each in of(tenant, "DiagnosticReport")
        for url in values(each, "presentedForm.url")
    ]

    assert forms
    assert set(forms) <= documents
    assert {url for _, url in forms} <= binaries


@pytest.mark.parametrize("tenant", TENANTS)
def test_missing_data_is_said_in_both_ways(tenant: str) -> None:
    """Conformance 5.5: the data-absent-reason extension, and a coded ``unknown``."""
    text = str(made(tenant))

    assert "http://hl7.org/fhir/StructureDefinition/data-absent-reason" in text
    assert any(
        values(each, "code.coding[system=http://terminology.hl7.org/CodeSystem/data-absent-reason]")
        for each in of(tenant, "AllergyIntolerance")
    )


@pytest.mark.parametrize("tenant", TENANTS)
def test_encounters_are_about_both_kinds_of_condition(tenant: str) -> None:
    """Conformance 5.3 (8): one reference per target profile resolves."""
    profiles = {f"Condition/{each['id']}": each["meta"]["profile"][0] for each in of(tenant, "Condition")}

    used = {
        profiles[reference]
        for each in of(tenant, "Encounter")
        for reference in values(each, "reasonReference.reference")
    }

    assert len(used) == 2


@pytest.mark.parametrize("tenant", TENANTS)
def test_reports_hold_results_of_both_profiles(tenant: str) -> None:
    """Conformance 5.4, DiagnosticReport note: result -> observation-lab and observation-clinical-result."""
    profiles = {f"Observation/{each['id']}": each["meta"]["profile"][0] for each in of(tenant, "Observation")}
    notes = [each for each in of(tenant, "DiagnosticReport") if each["meta"]["profile"][0].endswith("-note")]

    used = {
        profiles[reference].removeprefix(US_CORE)
        for each in notes
        for reference in values(each, "result.reference")
    }

    assert used == {"us-core-observation-lab", "us-core-observation-clinical-result"}


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_vital_sign_uses_the_unit_its_profile_fixes(tenant: str) -> None:
    """Conformance 5.4: fixed UCUM units of the vital sign profiles."""
    units = {
        "9279-1": {"/min"}, "8867-4": {"/min"}, "8310-5": {"Cel"}, "8302-2": {"cm"}, "9843-4": {"cm"}, "29463-7": {"kg"}, "39156-5": {"kg/m2"},
        "77606-2": {"%"}, "59576-9": {"%"}, "8289-1": {"%"}, "59408-5": {"%"},
    }  # fmt: skip
    found: dict[str, set[str]] = {}
    for each in of(tenant, "Observation"):
        for code in set(values(each, "code.coding.code")) & units.keys():
            found.setdefault(code, set()).update(values(each, "valueQuantity.code"))

    assert found == units
    assert {
        code
        for each in of(tenant, "Observation")
        for code in values(each, "component[code.coding.code=8480-6].valueQuantity.code")
    } == {"mm[Hg]"}


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_bulk_group_holds_everybody(tenant: str) -> None:
    """Conformance 6: patients in one Group."""
    everybody = next(each for each in of(tenant, "Group") if each["id"].endswith("group-all"))

    assert values(everybody, "member.entity.reference") == [
        f"Patient/{each['id']}" for each in of(tenant, "Patient")
    ]


@pytest.mark.parametrize("tenant", TENANTS)
def test_medication_requests_differ_in_intent_and_status(tenant: str) -> None:
    """Conformance 5.4: multiple-or over intent and intent+status."""
    pairs = {(each["intent"], each["status"]) for each in of(tenant, "MedicationRequest")}

    assert {"order", "plan", "proposal"} <= {intent for intent, _ in pairs}
    assert {"active", "completed", "draft"} <= {status for _, status in pairs}
