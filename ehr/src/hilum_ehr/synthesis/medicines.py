"""Writes prescriptions, dispenses, immunizations and allergies."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from hilum_ehr.synthesis.chart import Chart, Labels, Visit
from hilum_ehr.synthesis.codes import (
    ACUTE,
    CHILD_SCHEDULE,
    CVX,
    DATA_ABSENT,
    DRUGS,
    HL7,
    RXNORM,
    UCUM,
    VACCINES,
    Drug,
    coding,
    concept,
    hl7,
    snomed,
)
from hilum_ehr.synthesis.models import Story
from hilum_ehr.synthesis.patients import Course
from hilum_ehr.synthesis.places import Reference
from hilum_ehr.synthesis.visits import labels_of

RENEWED_DAYS = 330
DISPENSES_BOUND = 4
"""Dispenses written for one prescription."""
ALLERGIES = (
    ("91936005", "Allergy to penicillin", "medication", "271807003", "Eruption of skin"),
    ("91935009", "Allergy to peanut", "food", "39579001", "Anaphylaxis"),
    ("1003755004", "Allergy to Hevea brasiliensis latex protein", "environment", "247472004", "Wheal"),
    ("300913006", "Allergy to shellfish", "food", "247472004", "Wheal"),
    ("418689008", "Allergy to grass pollen", "environment", "247472004", "Wheal"),
)


def write_medicines(chart: Chart) -> None:
    """Write prescriptions and their dispenses, allergies and immunizations."""
    if Story.NO_DATA in chart.person.stories:
        return
    for course in chart.person.courses:
        for number, key in enumerate(course.illness.drugs):
            _treat(chart, course, key, number)
    for visit in chart.visits:
        if visit.acute:
            _short_course(chart, visit)
    _allergies(chart)
    _immunizations(chart)


def _treat(chart: Chart, course: Course, key: str, number: int) -> None:
    """Write the prescriptions of one drug of an illness, from its treatment on, renewed about yearly."""
    person, labels = chart.person, labels_of(chart.person, course.story)
    # A second drug is added when the first has had four months to work.
    begin = course.treated + timedelta(days=120 * number)
    end = min(course.ended or person.until, person.until)
    if begin > end:
        return
    visits = [visit for visit in chart.visits if begin <= visit.day <= end and not visit.acute]
    prescribed: list[tuple[date, Visit | None]] = []
    # Without a visit soon after the start of treatment, the drug is prescribed between visits.
    if not visits or (visits[0].day - begin).days > 60:
        prescribed.append((begin, None))
    for visit in visits:
        if not prescribed or (visit.day - prescribed[-1][0]).days >= RENEWED_DAYS:
            prescribed.append((visit.day, visit))
    for i, (day, visit_of_order) in enumerate(prescribed):
        # Only the newest prescription can be active; earlier ones were replaced by it.
        last = i == len(prescribed) - 1
        status = "active" if last and person.died is None and course.ended is None else "completed"
        _prescribe(
            chart,
            Order(key, day, visit_of_order, status, {"reasonReference": chart.reason(course)}, labels),
            last=last,
        )


@dataclass(frozen=True, slots=True)
class Order:
    """A prescription to write. ``key`` is that of the drug in ``codes.DRUGS``."""

    key: str
    day: date
    visit: Visit | None
    """None for a renewal that needed no visit."""
    status: str
    reason: dict[str, Any]
    labels: Labels = ()


def _short_course(chart: Chart, visit: Visit) -> None:
    illness, _lasts = ACUTE[visit.acute]
    problem = chart.problems[f"{visit.acute}@{visit.ref['reference']}"]
    for key in illness.drugs:
        status = "active" if visit.end is None else "completed"
        _prescribe(chart, Order(key, visit.day, visit, status, {"reasonReference": [problem]}), last=True)


def _prescribe(chart: Chart, order: Order, *, last: bool) -> None:
    drug, site = DRUGS[order.key], chart.site
    when = order.visit.start + timedelta(minutes=18) if order.visit else site.at(order.day, 660)
    stay = order.visit is not None and order.visit.inpatient
    place = ("inpatient", "Inpatient") if stay else ("community", "Community")
    content: dict[str, Any] = {
        "status": order.status,
        "intent": "order",
        "category": [hl7("medicationrequest-category", *place)],
        "reportedBoolean": False,
        "medicationCodeableConcept": concept(RXNORM, drug.rxcui, drug.display),
        "subject": chart.patient,
        **({"encounter": order.visit.ref} if order.visit else {}),
        "authoredOn": when.isoformat(),
        "requester": (order.visit.by if order.visit else site.primary).ref,
        **order.reason,
        "dosageInstruction": [dosage(drug)],
        "dispenseRequest": {
            "numberOfRepeatsAllowed": 0 if drug.days <= 10 else 3,
            "quantity": _amount(drug),
            "expectedSupplyDuration": {"value": drug.days, "unit": "day", "system": UCUM, "code": "d"},
        },
    }
    request = chart.write(
        "MedicationRequest", content, profile="us-core-medicationrequest", labels=order.labels
    )
    # A ward dispenses nothing: it gives the medicine itself.
    if last and not stay:
        for number in range(DISPENSES_BOUND):
            dispensed = when + timedelta(days=drug.days * number, hours=3)
            if dispensed.date() <= chart.person.until and (number == 0 or drug.days > 10):
                visit = order.visit if number == 0 else None
                write_dispense(
                    chart, drug, dispensed, request, first=number == 0, labels=order.labels, visit=visit
                )


def dosage(drug: Drug) -> dict[str, Any]:
    """Return a drug's directions as a Dosage."""
    value, unit, code = drug.dose
    return {
        "text": drug.directions,
        "timing": {"repeat": {"frequency": drug.times_a_day, "period": 1, "periodUnit": "d"}},
        "asNeededBoolean": drug.as_needed,
        "doseAndRate": [{
            "type": {"coding": [coding(HL7 + "dose-rate-type", "ordered", "Ordered")]},
            "doseQuantity": {"value": value, "unit": unit, "system": UCUM, "code": code},
        }],
    }  # fmt: skip


def _amount(drug: Drug) -> dict[str, Any]:
    value, code = drug.supply
    return {"value": value, "unit": code.strip("{}"), "system": UCUM, "code": code}


def write_dispense(
    chart: Chart, drug: Drug, when: datetime, request: Reference, *, first: bool, labels: Labels = (), medicine: dict[str, Any] | None = None,
    visit: Visit | None = None,
) -> None:  # fmt: skip
    chart.write("MedicationDispense", {
        "status": "completed",
        **(medicine or {"medicationCodeableConcept": concept(RXNORM, drug.rxcui, drug.display)}),
        "subject": chart.patient,
        **({"context": visit.ref} if visit else {}),
        "performer": [{"actor": chart.site.ref("Organization", "org-pharmacy")}],
        "authorizingPrescription": [request],
        "type": hl7("v3-ActCode", *(("FF", "First Fill") if first else ("RF", "Refill"))),
        "quantity": _amount(drug),
        "daysSupply": {"value": drug.days, "unit": "day", "system": UCUM, "code": "d"},
        "whenHandedOver": when.isoformat(),
        "dosageInstruction": [dosage(drug)],
    }, profile="us-core-medicationdispense", labels=labels)  # fmt: skip


def _allergies(chart: Chart) -> None:
    person, rng = chart.person, chart.rng
    if Story.UNNAMED in person.stories:
        # Nobody could be asked, which the code "unknown" states.
        chart.write("AllergyIntolerance", {
            "clinicalStatus": hl7("allergyintolerance-clinical", "active", "Active"),
            "verificationStatus": hl7("allergyintolerance-verification", "unconfirmed", "Unconfirmed"),
            "code": hl7("data-absent-reason", "unknown", "Unknown"),
            "patient": chart.patient,
        }, profile="us-core-allergyintolerance")  # fmt: skip
        return
    # "No known allergy" is stated by an entry: an empty list would mean that nobody asked.
    has = rng.random() < 0.45 or Story.EVERY_PROFILE in person.stories
    chosen = rng.choice(ALLERGIES) if person.years(person.until) > 1 else None
    if not has or chosen is None:
        chart.write("AllergyIntolerance", {
            "clinicalStatus": hl7("allergyintolerance-clinical", "active", "Active"),
            "verificationStatus": hl7("allergyintolerance-verification", "confirmed", "Confirmed"),
            "code": snomed("716186003", "No known allergy"),
            "patient": chart.patient,
        }, profile="us-core-allergyintolerance")  # fmt: skip
        return
    code, words, category, sign, sign_words = chosen
    noted = person.until - timedelta(days=min(rng.randint(200, 900), round(person.years(person.until) * 300)))
    chart.write("AllergyIntolerance", {
        "clinicalStatus": hl7("allergyintolerance-clinical", "active", "Active"),
        "verificationStatus": hl7("allergyintolerance-verification", "confirmed", "Confirmed"),
        "type": "allergy",
        "category": [category],
        "criticality": "high" if sign == "39579001" else "low",
        "code": snomed(code, words),
        "patient": chart.patient,
        "recordedDate": noted.isoformat(),
        "recorder": chart.site.primary.ref,
        "reaction": [{"manifestation": [snomed(sign, sign_words)], "severity": "severe" if sign == "39579001" else "mild"}],
    }, profile="us-core-allergyintolerance")  # fmt: skip


def _immunizations(chart: Chart) -> None:
    person, due = chart.person, []
    if person.child(person.until):
        due = [
            (person.born + timedelta(days=round(months * 30.44) + 1), key) for months, key in CHILD_SCHEDULE
        ]
    elif person.years(person.until) > 50:
        due = [(person.until - timedelta(days=600), "zoster"), (person.until - timedelta(days=520), "ppsv")]
    for year in range(person.until.year - 2, person.until.year + 1):
        due.append((date(year, 10, 3 + chart.rng.randint(0, 24)), "flu"))
    if Story.UNNAMED in person.stories:
        due = []
    for day, key in sorted(due):
        if person.born < day <= person.until and (key != "flu" or person.months(day) > 6):
            vaccinate(chart, key, day)


def vaccinate(chart: Chart, key: str, day: date, *, refused: bool = False, undated: bool = False) -> None:
    content: dict[str, Any] = {"status": "not-done" if refused else "completed"}
    if refused:
        content["statusReason"] = hl7("v3-ActReason", "PATOBJ", "Patient Objection")
    content |= {"vaccineCode": concept(CVX, *VACCINES[key]), "patient": chart.patient}
    # A reference to a visit with labels would disclose it.
    if visit := next((each for each in chart.visits if each.day == day and not each.labels), None):
        content["encounter"] = visit.ref
    if undated:
        content["_occurrenceDateTime"] = {"extension": [{"url": DATA_ABSENT, "valueCode": "unknown"}]}
    else:
        content["occurrenceDateTime"] = chart.site.at(day, 640).isoformat()
    content |= {"primarySource": not undated, "location": chart.site.ref("Location", "loc-outpatient")}
    chart.write("Immunization", content, profile="us-core-immunization")
