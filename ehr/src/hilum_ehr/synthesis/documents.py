"""Writes notes of eight kinds, and the reports of imaging, cardiology and pathology."""

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hilum_ehr.synthesis.chart import Chart, Visit
from hilum_ehr.synthesis.codes import (
    ACUTE,
    LOINC,
    NOTES,
    US_CORE_SYSTEM,
    coding,
    hl7,
    loinc,
    quantity,
    snomed,
)
from hilum_ehr.synthesis.models import Story
from hilum_ehr.synthesis.people import full_name
from hilum_ehr.synthesis.places import Reference
from hilum_ehr.synthesis.visits import labels_of

MIME_IS_ENOUGH = coding(
    "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode", "urn:ihe:iti:xds:2017:mimeTypeSufficient", "mimeType Sufficient"
)  # fmt: skip
CLINICAL_RESULT = "us-core-observation-clinical-result"
PLAIN = "text/plain; charset=utf-8"
GRAY_POINT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="


@dataclass(frozen=True, slots=True)
class Study:
    """A study: the codes of its report, and the document that repeats it."""

    category: tuple[str, str]
    code: tuple[str, str]
    note: str
    by: str
    says: str


CHEST = Study(("LP29684-5", "Radiology"), ("36643-5", "XR Chest 2 Views"), "imaging", "radiology",
              "Two views of the chest. Patchy opacity in the right lower lobe, heart not enlarged, no effusion. Impression: right lower lobe pneumonia.")  # fmt: skip
CLEAR_CHEST = Study(("LP29684-5", "Radiology"), ("36643-5", "XR Chest 2 Views"), "imaging", "radiology",
                    "Two views of the chest. Lungs clear, heart not enlarged. Impression: no acute finding.")  # fmt: skip
MAMMOGRAM = Study(("LP29684-5", "Radiology"), ("24606-6", "MG Breast Screening"), "imaging", "radiology",
                  "Two-view mammogram of both breasts. Spiculated mass of 14 mm in the upper outer quadrant on the left. Impression: suspicious, biopsy advised.")  # fmt: skip
ELECTROCARDIOGRAM = Study(("LP29708-2", "Cardiology"), ("11524-6", "EKG study"), "procedure", "cardiology",
                          "Twelve-lead tracing at 25 mm/s. Axis normal, no ST deviation.")  # fmt: skip
TISSUE = Study(("LP7839-6", "Pathology"), ("11529-5", "Surgical pathology study"), "pathology", "pathology",
               "Tissue received in formalin and examined at several levels. Margins free of tumor.")  # fmt: skip


def write_documents(chart: Chart) -> None:
    """Write the notes of each visit, and the studies that an illness or a stay involves."""
    for number, visit in enumerate(chart.visits):
        _notes(chart, visit, number)
    stories = chart.person.stories
    stays = [visit for visit in chart.visits if visit.acute == "pneumonia"]
    for visit in stays:
        write_study(chart, visit, CHEST, [_impression(chart, visit, "Right lower lobe pneumonia")])
    visits = [visit for visit in chart.visits if visit.kind in {"checkup", "followup"} and not visit.labels]
    if visits and stories & {Story.HEART_FAILURE, Story.ATRIAL_FIBRILLATION, Story.CORONARY}:
        write_study(chart, visits[-1], ELECTROCARDIOGRAM, electrocardiogram(chart, visits[-1]))
    if visits and Story.BREAST_CANCER in stories:
        first = next(
            (visit for visit in visits if chart.person.course(Story.BREAST_CANCER, visit.day)), visits[-1]
        )
        write_study(chart, first, MAMMOGRAM, [_impression(chart, first, "Suspicious mass, left breast")])
        write_study(chart, visits[-1], TISSUE, tissue(chart, visits[-1]))


def _notes(chart: Chart, visit: Visit, number: int) -> None:
    if visit.inpatient:
        write_note(chart, visit, "history", visit.start + timedelta(minutes=90))
        if visit.end:
            write_note(chart, visit, "discharge", visit.end - timedelta(minutes=30))
        else:
            write_note(chart, visit, "progress", visit.start + timedelta(hours=14))
    elif visit.kind == "emergency" or (visit.kind == "prenatal" and number % 3 == 0):
        write_note(chart, visit, "consult", visit.start + timedelta(minutes=15))
    elif visit.kind in {"checkup", "sick", "wellchild"} or visit.labels or number % 3 == 0:
        write_note(chart, visit, "progress", visit.start + timedelta(minutes=15))


def _words(chart: Chart, visit: Visit, key: str) -> str:
    """Return the text of a note, from the patient's state on that day. All of it is invented."""
    person = chart.person
    problems = [
        course.illness.name for course in person.courses
        # Illnesses with labels are named only in notes of visits that have the same labels: free text has no label of its own.
        if course.onset <= visit.day and all(label in visit.labels for label in labels_of(person, course.story))
    ]  # fmt: skip
    lines = [
        f"{NOTES[key][1].upper()} (synthetic; this person does not exist)",
        f"{full_name(person.given, person.family)}, {person.years(visit.day):.1f} years, seen by {visit.by.name} on {visit.day.isoformat()}.",
        f"Eligibility problems: {', '.join(problems) or 'none'}.",
    ]
    if visit.acute:
        lines.append(
            f"Reason: {ACUTE[visit.acute][0].name} for two days. Treated as ordered; advised to return if worse."
        )
    if key == "discharge":
        lines.append(
            "Course: improved on the ward, eating and walking. Medicines reviewed with the patient; follow-up in two weeks."
        )
    else:
        lines.append(
            f"Weight {person.weight_kg(visit.day)} kg. Plan: continue present treatment, repeat measurements at the next visit."
        )
    return "\n".join(lines)


def write_note(chart: Chart, visit: Visit, key: str, when: datetime, *, url: str = "") -> Reference:
    """Write a document that refers to the text at ``url`` or, without it, has an invented text embedded."""
    code, words = NOTES[key]
    attachment: dict[str, Any] = {"contentType": PLAIN, "language": "en"}
    if url:
        attachment["url"] = url
    else:
        attachment["data"] = b64encode(_words(chart, visit, key).encode()).decode()
    attachment |= {"title": words, "creation": when.isoformat()}
    number = chart.numbers.get("DocumentReference", 0) + 1
    return chart.write("DocumentReference", {
        "identifier": [{"system": f"https://{chart.site.plan.tenant}.example/documents", "value": f"{chart.person.slug}-{number}"}],
        "status": "current",
        "docStatus": "final",
        "type": loinc(code, words),
        "category": [{"coding": [coding(US_CORE_SYSTEM + "us-core-documentreference-category", "clinical-note", "Clinical Note")]}],
        "subject": chart.patient,
        "date": when.isoformat(),
        "author": [visit.by.ref],
        "custodian": chart.site.organization,
        "content": [{"attachment": attachment, "format": MIME_IS_ENOUGH}],
        "context": {
            "encounter": [visit.ref],
            "period": {"start": visit.start.isoformat(), "end": (visit.end or when).isoformat()},
        },
    }, profile="us-core-documentreference", labels=visit.labels)  # fmt: skip


def write_study(chart: Chart, visit: Visit, study: Study, results: list[Reference]) -> Reference:
    """Write a report whose text is a Binary, and a document that refers to the same Binary. Return the report."""
    text = f"{study.code[1]} (synthetic)\n{full_name(chart.person.given, chart.person.family)}\n{study.says}"
    # Report and document refer to one Binary: at the gateway it opens through either of them (ADR 27).
    binary = chart.write("Binary", {
        "contentType": PLAIN, "securityContext": chart.patient, "data": b64encode(text.encode()).decode(),
    })["reference"]  # fmt: skip
    when = visit.start + timedelta(minutes=14)
    reader = chart.site.clinician(study.by)
    report = chart.write("DiagnosticReport", {
        "status": "final",
        "category": [{"coding": [coding(LOINC, *study.category)]}],
        "code": loinc(*study.code),
        "subject": chart.patient,
        "encounter": visit.ref,
        "effectiveDateTime": when.isoformat(),
        "issued": (when + timedelta(minutes=50)).isoformat(),
        "performer": [reader.ref, chart.site.organization],
        "result": results,
        "conclusion": study.says,
        **({"media": [{"link": write_picture(chart, visit)}]} if study.note == "imaging" else {}),
        "presentedForm": [{"contentType": PLAIN, "url": binary, "title": study.code[1]}],
    }, profile="us-core-diagnosticreport-note", labels=visit.labels)  # fmt: skip
    write_note(chart, visit, study.note, when, url=binary)
    return report


def write_picture(chart: Chart, visit: Visit) -> Reference:
    """Write a picture of a study: one gray point, since nothing is to be recognized in it."""
    return chart.write("Media", {
        "status": "completed",
        "type": hl7("media-type", "image", "Image"),
        "subject": chart.patient,
        "encounter": visit.ref,
        "createdDateTime": (visit.start + timedelta(minutes=14)).isoformat(),
        "content": {"contentType": "image/png", "data": GRAY_POINT, "title": "Picture (synthetic)"},
    }, labels=visit.labels)  # fmt: skip


def _impression(chart: Chart, visit: Visit, words: str) -> Reference:
    return chart.observe(
        loinc("19005-8", "Radiology Imaging study [Impression] (narrative)"), visit.start + timedelta(minutes=14),
        {"valueString": words}, category="imaging", profile=CLINICAL_RESULT, visit=visit,
    )  # fmt: skip


def electrocardiogram(chart: Chart, visit: Visit) -> list[Reference]:
    when, person = visit.start + timedelta(minutes=14), chart.person
    fibrillates = person.course(Story.ATRIAL_FIBRILLATION, visit.day) is not None
    rhythm = (
        ("49436004", "Atrial fibrillation")
        if fibrillates
        else ("426783006", "Electrocardiographic sinus rhythm")
    )
    ejection_fraction = 36 if person.course(Story.HEART_FAILURE, visit.day) else 62
    return [
        chart.observe(loinc("8884-9", "Heart rate rhythm"), when, {"valueCodeableConcept": snomed(*rhythm)},
                      category="procedure", profile=CLINICAL_RESULT, visit=visit),
        chart.observe(loinc("10230-1", "Left ventricular Ejection fraction"), when, {"valueQuantity": quantity(ejection_fraction, "%", "%")},
                      category="imaging", profile=CLINICAL_RESULT, visit=visit),
    ]  # fmt: skip


def tissue(chart: Chart, visit: Visit) -> list[Reference]:
    when = visit.start + timedelta(minutes=14)
    return [
        chart.observe(loinc("33728-7", "Size.maximum dimension in Tumor"), when, {"valueQuantity": quantity(14, "mm", "mm")},
                      category="laboratory", profile="us-core-observation-lab", visit=visit),
        chart.observe(loinc("85337-4", "Estrogen receptor Ag [Presence] in Breast cancer specimen by Immune stain"), when,
                      {"valueCodeableConcept": snomed("10828004", "Positive")}, category="laboratory", profile="us-core-observation-lab", visit=visit),
    ]  # fmt: skip
