"""Writes the elements that a conformance suite requires and ordinary charts rarely have, into charts planned with every profile.

Source: US Core 6.1.0, the must-support elements of each profile.
"""

from datetime import datetime, timedelta
from typing import Any

from hilum_ehr.synthesis import documents
from hilum_ehr.synthesis.care_plans import (
    COUNSELING,
    EVALUATION,
    write_care_plan,
    write_implant,
    write_order,
    write_procedure,
)
from hilum_ehr.synthesis.chart import Chart, Visit
from hilum_ehr.synthesis.codes import (
    DRUGS,
    ICD10,
    RXNORM,
    SNOMED,
    US_CORE,
    coding,
    concept,
    hl7,
    loinc,
    quantity,
    snomed,
)
from hilum_ehr.synthesis.measures import SATURATION, blood, blood_pressure
from hilum_ehr.synthesis.medicines import dosage, vaccinate, write_dispense
from hilum_ehr.synthesis.models import Story
from hilum_ehr.synthesis.places import Reference
from hilum_ehr.synthesis.social import us_core_category
from hilum_ehr.synthesis.visits import write_food_insecurity

LAB = "us-core-observation-lab"


def write_extras(chart: Chart) -> None:
    """Write food insecurity where it is planned, and every must-support element where every profile is."""
    person = chart.person
    if Story.FOOD_INSECURITY in person.stories or Story.EVERY_PROFILE in person.stories:
        write_food_insecurity(chart)
    if Story.EVERY_PROFILE not in person.stories:
        return
    visit = next(
        visit
        for visit in reversed(chart.visits)
        if visit.kind in {"checkup", "followup", "wellchild", "prenatal"}
    )
    problem = _resolved_problem(chart, visit)
    _partial_blood_pressures(chart, visit)
    _oxygen(chart, visit)
    _preferences(chart, visit)
    results = _results(chart, visit)
    _medicines(chart, visit, problem)
    _studies_and_notes(chart, visit, results)
    vaccinate(chart, "flu", visit.day, refused=True)
    vaccinate(chart, "mmr", visit.day, undated=True)
    write_procedure(chart, visit, ("398171003", "Hearing examination"), EVALUATION, about=problem)
    write_order(
        chart,
        visit,
        snomed("409063005", "Counseling"),
        snomed(*COUNSELING),
        {"reasonCode": [snomed("733423003", "Food insecurity")]},
    )
    if person.child(person.until):
        write_implant(chart, ("43252007", "Cochlear prosthesis, device"), visit.day)
    else:
        write_implant(chart, ("304120007", "Total hip replacement prosthesis"), visit.day)
    if not person.courses:
        write_care_plan(chart, [], [problem], [])


def _resolved_problem(chart: Chart, visit: Visit) -> Reference:
    began = max(chart.person.born, visit.day - timedelta(days=200))
    return chart.write("Condition", {
        "clinicalStatus": hl7("condition-clinical", "resolved"),
        "verificationStatus": hl7("condition-ver-status", "confirmed"),
        "category": [hl7("condition-category", "problem-list-item", "Problem List Item")],
        "code": {"coding": [coding(SNOMED, "87522002", "Iron deficiency anemia"), coding(ICD10, "D50.9", "Iron deficiency anemia, unspecified")], "text": "Iron deficiency anemia"},
        "subject": chart.patient,
        "onsetDateTime": began.isoformat(),
        "abatementDateTime": (visit.day - timedelta(days=20)).isoformat(),
        "recordedDate": began.isoformat(),
    }, profile="us-core-condition-problems-health-concerns")  # fmt: skip


def _partial_blood_pressures(chart: Chart, visit: Visit) -> None:
    """Write blood pressures and means of them, some without the diastolic or the systolic value."""
    top, bottom = chart.person.pressure(visit.day)
    blood_pressure(chart, visit.start + timedelta(minutes=9), top, None, visit)
    blood_pressure(chart, visit.start + timedelta(minutes=11), None, bottom, visit)
    blood_pressure(chart, visit.start + timedelta(minutes=11), top, bottom, visit, days=7)
    blood_pressure(chart, visit.start + timedelta(minutes=11), top, None, visit, days=3)


def _preferences(chart: Chart, visit: Visit) -> None:
    """Write what the patient prefers, in words and as a concept.

    Source: US Core 7.0.0, us-core-care-experience-preference, us-core-treatment-intervention-preference
    """
    for kind, code, *preferences in (
        ("care-experience-preference", ("95541-9", "Care experience preference"), "A morning appointment, with a written summary", "Prefers morning appointments"),
        ("treatment-intervention-preference", ("75773-2", "Goals, preferences, and priorities for medical treatment [Reported]"),
         "To be treated at home as long as possible", "Prefers treatment at home"),
    ):  # fmt: skip
        for value in ({"valueString": preferences[0]}, {"valueCodeableConcept": {"text": preferences[1]}}):
            chart.observe(loinc(*code), visit.start + timedelta(minutes=16), value, category="survey", profile=f"us-core-{kind}",
                          visit=visit, more={"category": [us_core_category(kind)]})  # fmt: skip


def _oxygen(chart: Chart, visit: Visit) -> None:
    parts = [
        {"code": loinc("3151-8", "Inhaled oxygen flow rate"), "valueQuantity": quantity(2, "L/min", "L/min")},
        {"code": loinc("3150-0", "Inhaled oxygen concentration"), "valueQuantity": quantity(28, "%", "%")},
    ]
    chart.observe(SATURATION, visit.start + timedelta(minutes=13), {"valueQuantity": quantity(97, "%", "%")},
                  category="vital-signs", profile="us-core-pulse-oximetry", visit=visit, more={"component": parts})  # fmt: skip


def _results(chart: Chart, visit: Visit) -> list[Reference]:
    """Write laboratory results with each kind of value, and one without a result."""
    specimen, when = blood(chart, visit), visit.start + timedelta(minutes=12)
    more = {"specimen": specimen, "issued": (when + timedelta(hours=4)).isoformat()}
    results = [
        chart.observe(loinc("718-7", "Hemoglobin [Mass/volume] in Blood"), when, {"valueQuantity": quantity(13.1, "g/dL", "g/dL")},
                      category="laboratory", profile=LAB, visit=visit, more=more),
        chart.observe(loinc("5767-9", "Appearance of Urine"), when, {"valueString": "Clear"}, category="laboratory", profile=LAB, visit=visit, more=more),
        chart.observe(loinc("5802-4", "Nitrite [Presence] in Urine by Test strip"), when, {"valueCodeableConcept": snomed("260385009", "Negative")},
                      category="laboratory", profile=LAB, visit=visit, more=more),
    ]  # fmt: skip
    chart.observe(loinc("2823-3", "Potassium [Moles/volume] in Serum or Plasma"), when, {"dataAbsentReason": hl7("data-absent-reason", "unknown", "Unknown")},
                  category="laboratory", profile=LAB, visit=visit, more=more)  # fmt: skip
    chart.write("DiagnosticReport", {
        "status": "final",
        "category": [hl7("v2-0074", "LAB", "Laboratory")],
        "code": loinc("24356-8", "Urinalysis complete panel - Urine"),
        "subject": chart.patient,
        "encounter": visit.ref,
        "effectiveDateTime": when.isoformat(),
        "issued": (when + timedelta(hours=4)).isoformat(),
        "performer": [chart.site.clinician("pathology").ref],
        "specimen": [specimen],
        "result": results,
        "media": [{"link": documents.write_picture(chart, visit)}],
    }, profile="us-core-diagnosticreport-lab")  # fmt: skip
    return results


def _medicines(chart: Chart, visit: Visit, problem: Reference) -> None:
    """Write prescriptions of a Medication resource: ordered, reported by the patient, and proposed."""
    drug = DRUGS["iron"]
    medicine = {"medicationReference": chart.write("Medication", {
        "code": concept(RXNORM, drug.rxcui, drug.display), "status": "active", "form": snomed("385055001", "Tablet"),
    }, profile="us-core-medication")}  # fmt: skip
    when = visit.start + timedelta(minutes=18)
    for intent, status, reported in (
        ("order", "completed", False),
        ("plan", "active", True),
        ("proposal", "draft", False),
    ):
        request = chart.write("MedicationRequest", {
            "status": status,
            "intent": intent,
            "category": [hl7("medicationrequest-category", "community", "Community")],
            "reportedBoolean": reported,
            **medicine,
            "subject": chart.patient,
            "encounter": visit.ref,
            "authoredOn": when.isoformat(),
            "requester": visit.by.ref,
            "reasonReference": [problem],
            "dosageInstruction": [dosage(drug)],
            "dispenseRequest": {"numberOfRepeatsAllowed": 1, "quantity": quantity(90, "tablet", "{tbl}")},
            **({"extension": [_adherence(when)]} if reported else {}),
        }, profile="us-core-medicationrequest")  # fmt: skip
        if intent == "order":
            write_dispense(
                chart, drug, when + timedelta(hours=3), request, first=True, medicine=medicine, visit=visit
            )


def _adherence(when: datetime) -> dict[str, Any]:
    """Return how the patient follows a prescription, as they say. Source: US Core 7.0.0, us-core-medication-adherence."""
    return {
        "url": US_CORE + "us-core-medication-adherence",
        "extension": [
            {"url": "medicationAdherence", "valueCodeableConcept": snomed("183964008", "Treatment compliant")},
            {"url": "dateAsserted", "valueDateTime": when.isoformat()},
            {"url": "informationSource", "valueCodeableConcept": snomed("116154003", "Patient")},
        ],
    }  # fmt: skip


def _studies_and_notes(chart: Chart, visit: Visit, results: list[Reference]) -> None:
    """Write a report of each kind, with results of both kinds, and the kinds of notes that no visit had."""
    picture = chart.observe(loinc("19005-8", "Radiology Imaging study [Impression] (narrative)"), visit.start + timedelta(minutes=14),
                            {"valueString": "No acute finding"}, category="imaging", profile=documents.CLINICAL_RESULT, visit=visit)  # fmt: skip
    documents.write_study(chart, visit, documents.CLEAR_CHEST, [picture, results[0]])
    documents.write_study(
        chart, visit, documents.ELECTROCARDIOGRAM, documents.electrocardiogram(chart, visit)
    )
    documents.write_study(chart, visit, documents.TISSUE, [results[0]])
    for key in ("consult", "history", "discharge", "progress", "procedure", "laboratory"):
        documents.write_note(chart, visit, key, visit.start + timedelta(minutes=15))
