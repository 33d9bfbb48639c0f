"""Writes orders, procedures, implants, goals, care plans and appointments."""

from datetime import date, timedelta
from typing import Any

from hilum_ehr.synthesis.chart import Chart, Labels, Visit
from hilum_ehr.synthesis.codes import US_CORE_SYSTEM, coding, concept, loinc, quantity, snomed
from hilum_ehr.synthesis.models import Story
from hilum_ehr.synthesis.places import Reference
from hilum_ehr.synthesis.visits import labels_of

IMAGING, SURGERY, LABORATORY = (
    ("363679005", "Imaging"),
    ("387713003", "Surgical procedure"),
    ("108252007", "Laboratory procedure"),
)
EVALUATION, COUNSELING, EDUCATION = (
    ("386053000", "Evaluation procedure"),
    ("409063005", "Counseling"),
    ("409073007", "Education"),
)
PROCEDURES: dict[Story, tuple[tuple[tuple[str, str], tuple[str, str]], ...]] = {
    Story.COPD: ((("127783003", "Spirometry"), EVALUATION),),
    Story.ASTHMA: ((("127783003", "Spirometry"), EVALUATION),),
    Story.CYSTIC_FIBROSIS: ((("91251008", "Physical therapy procedure"), EVALUATION),),
    Story.HEART_FAILURE: ((("40701008", "Echocardiography"), IMAGING),),
    Story.CORONARY: ((("415070008", "Percutaneous coronary intervention"), SURGERY),),
    Story.ATRIAL_FIBRILLATION: ((("307280005", "Implantation of cardiac pacemaker"), SURGERY),),
    Story.ARTHRITIS: ((("52734007", "Total replacement of hip"), SURGERY),),
    Story.BREAST_CANCER: (
        (("71651007", "Mammography"), IMAGING),
        (("392021009", "Lumpectomy of breast"), SURGERY),
    ),
    Story.HYPERTENSION: ((("443402002", "Lifestyle education regarding hypertension"), EDUCATION),),
    Story.DIABETES: ((("11816003", "Diet education"), EDUCATION),),
    Story.DEPRESSION: ((("171207006", "Depression screening"), EVALUATION),),
}
IMPLANTS: dict[str, tuple[str, str]] = {
    "307280005": ("14106009", "Cardiac pacemaker, device"),
    "52734007": ("304120007", "Total hip replacement prosthesis"),
    "415070008": ("411191007", "Drug-eluting coronary artery stent"),
}
GOALS: dict[Story, tuple[str, tuple[str, str], tuple[float, str, str]]] = {
    Story.DIABETES: ("Hemoglobin A1c below 7 percent", ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), (7, "%", "%")),
    Story.TYPE1_DIABETES: ("Hemoglobin A1c below 7.5 percent", ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), (7.5, "%", "%")),
    Story.HYPERTENSION: ("Systolic blood pressure below 130", ("8480-6", "Systolic blood pressure"), (130, "mmHg", "mm[Hg]")),
    Story.LIPIDS: ("LDL cholesterol below 100", ("13457-7", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation"), (100, "mg/dL", "mg/dL")),
    Story.OBESITY: ("Body mass index below 30", ("39156-5", "Body mass index (BMI) [Ratio]"), (30, "kg/m2", "kg/m2")),
    Story.HYPOTHYROID: ("Thyrotropin below 4", ("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), (4, "m[IU]/L", "m[IU]/L")),
}  # fmt: skip
GTIN_PREFIX = "0086001234"


def write_care_plans(chart: Chart) -> None:
    """Write the procedures of illnesses and births, the goals with their care plan, and the appointments."""
    if not chart.visits:
        return
    for course in chart.person.courses:
        visits = [
            visit
            for visit in chart.visits
            if visit.day >= course.onset and visit.kind not in {"video", "sick"} and not visit.labels
        ]
        for (code, words), category in PROCEDURES.get(course.story, ()):
            # A planned chart has every procedure, and draws no random number here.
            if visits and (chart.person.is_planned or chart.rng.random() < 0.5):
                about, labels = chart.problems[course.story], labels_of(chart.person, course.story)
                write_procedure(
                    chart,
                    visits[min(1, len(visits) - 1)],
                    (code, words),
                    category,
                    about=about,
                    labels=labels,
                )
    pregnancy = chart.person.course(Story.PREGNANCY)
    stay = next((visit for visit in chart.visits if visit.inpatient), None)
    if pregnancy and pregnancy.ended and stay:
        write_procedure(
            chart, stay, ("11466000", "Cesarean section"), SURGERY, about=chart.problems[Story.PREGNANCY]
        )
    _goals(chart)
    _appointments(chart)


def write_order(
    chart: Chart, visit: Visit, code: dict[str, Any], category: dict[str, Any], reason: dict[str, Any], *, labels: Labels = ()
) -> Reference:  # fmt: skip
    when = visit.start + timedelta(minutes=10)
    return chart.write("ServiceRequest", {
        "status": "completed",
        "intent": "order",
        "category": [category],
        "code": code,
        "subject": chart.patient,
        "encounter": visit.ref,
        "occurrencePeriod": {"start": when.isoformat(), "end": (when + timedelta(days=30)).isoformat()},
        "authoredOn": when.isoformat(),
        "requester": visit.by.ref,
        **reason,
    }, profile="us-core-servicerequest", labels=labels)  # fmt: skip


def write_procedure(
    chart: Chart, visit: Visit, code: tuple[str, str], category: tuple[str, str], *, about: Reference, labels: Labels = ()
) -> Reference:  # fmt: skip
    """Write an order, its procedure at the visit, and the device that the procedure implants, if any. Return the procedure."""
    order = write_order(
        chart, visit, snomed(*code), snomed(*category), {"reasonReference": [about]}, labels=labels
    )
    procedure = chart.write("Procedure", {
        "basedOn": [order],
        "status": "completed",
        "category": snomed(*category),
        "code": snomed(*code),
        "subject": chart.patient,
        "encounter": visit.ref,
        "performedDateTime": (visit.start + timedelta(minutes=16)).isoformat(),
        "performer": [{"actor": visit.by.ref}],
        "reasonReference": [about],
    }, profile="us-core-procedure", labels=labels)  # fmt: skip
    if code[0] in IMPLANTS:
        write_implant(chart, IMPLANTS[code[0]], visit.day)
    return procedure


def write_implant(chart: Chart, kind: tuple[str, str], day: date) -> None:
    """Write an implanted device with a well-formed unique device identifier.

    Source: GS1 application identifiers 01, 11, 17, 10, 21 as FDA's UDI rule uses them
    """
    rng = chart.rng
    digits = f"{GTIN_PREFIX}{rng.randint(0, 999):03d}"
    # The check digit of a GTIN-14: weights 3 and 1 alternate from the left.
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(digits))
    gtin = f"{digits}{-total % 10}"
    manufactured, expires = day - timedelta(days=120), day + timedelta(days=1_500)
    lot, serial = f"L{rng.randint(0, 99_999):05d}", f"SN{rng.randint(0, 999_999):06d}"
    chart.write("Device", {
        "udiCarrier": [{
            "deviceIdentifier": gtin,
            "issuer": "http://hl7.org/fhir/NamingSystem/gs1-di",
            "carrierHRF": f"(01){gtin}(11){manufactured:%y%m%d}(17){expires:%y%m%d}(10){lot}(21){serial}",
        }],
        "status": "active",
        "distinctIdentifier": f"D{serial}",
        "manufacturer": "Synthetic Devices",
        "manufactureDate": manufactured.isoformat(),
        "expirationDate": expires.isoformat(),
        "lotNumber": lot,
        "serialNumber": serial,
        "type": snomed(*kind),
        "patient": chart.patient,
    }, profile="us-core-implantable-device")  # fmt: skip


def _goals(chart: Chart) -> None:
    person = chart.person
    goals = []
    for course in person.courses:
        if course.story in GOALS:
            words, measure, (value, unit, code) = GOALS[course.story]
            goals.append(chart.write("Goal", {
                "lifecycleStatus": "active" if person.died is None else "cancelled",
                "description": {"text": words},
                "subject": chart.patient,
                "startDate": course.onset.isoformat(),
                "target": [{
                    "measure": loinc(*measure),
                    "detailQuantity": {**quantity(value, unit, code), "comparator": "<"},
                    "dueDate": (person.until + timedelta(days=180)).isoformat(),
                }],
                "addresses": [chart.problems[course.story]],
            }, profile="us-core-goal"))  # fmt: skip
    # A care plan names its problems and has no label, so restricted problems are left out.
    shown = [course for course in person.courses if not labels_of(person, course.story)]
    if goals or shown:
        write_care_plan(
            chart,
            [course.illness.name for course in shown],
            [chart.problems[course.story] for course in shown],
            goals,
        )


def write_care_plan(
    chart: Chart, problems: list[str], addressed: list[Reference], goals: list[Reference]
) -> None:
    person = chart.person
    text = f"Plan for {', '.join(problems) or 'staying well'}: measurements at each visit, medicines as listed, next review in three months."
    content: dict[str, Any] = {
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'},
        "status": "active" if person.died is None else "completed",
        "intent": "plan",
        "category": [{"coding": [coding(US_CORE_SYSTEM + "careplan-category", "assess-plan", "Assessment and Plan of Treatment")]}],
        "title": "Assessment and plan",
        "subject": chart.patient,
        "period": {"start": chart.visits[0].day.isoformat()},
        "careTeam": [{"reference": f"CareTeam/{chart.id('team-1')}"}],
    }  # fmt: skip
    if addressed:
        content["addresses"] = addressed
    if goals:
        content["goal"] = goals
    chart.write("CarePlan", content, profile="us-core-careplan")


def _appointments(chart: Chart) -> None:
    """Write the last missed and the next booked appointment. Inpatients and the deceased have no next one."""
    person, rng, site = chart.person, chart.rng, chart.site
    if rng.random() < 0.4 and len(chart.visits) > 2:
        _appointment(
            chart,
            chart.visits[1].day + timedelta(days=rng.randint(6, 12)),
            rng.choice(("noshow", "cancelled")),
        )
    # A visit without an end is a stay that continues.
    if person.died is None and chart.visits[-1].end is not None:
        _appointment(chart, site.today + timedelta(days=rng.randint(2, 75)), "booked")


def _appointment(chart: Chart, day: date, status: str) -> None:
    start = chart.site.at(day, 540 + 15 * chart.rng.randint(0, 24))
    accepted = {"booked": "accepted", "noshow": "accepted", "cancelled": "declined"}[status]
    clinic = chart.site.ref("Location", "loc-outpatient")
    chart.write("Appointment", {
        "status": status,
        "serviceType": [snomed("390906007", "Follow-up encounter")],
        "appointmentType": concept("http://terminology.hl7.org/CodeSystem/v2-0276", "FOLLOWUP", "A follow up visit from a previous appointment"),
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=30)).isoformat(),
        "minutesDuration": 30,
        "participant": [
            {"actor": chart.patient, "status": accepted},
            {"actor": chart.site.primary.ref, "status": "accepted"},
            {"actor": clinic, "status": "accepted"},
        ],
    })  # fmt: skip
