"""Writes encounters and conditions: when a patient was seen, why, and with which diagnoses."""

from datetime import date, datetime, timedelta
from typing import Any

from hilum_ehr.synthesis.chart import Chart, Labels, Visit
from hilum_ehr.synthesis.codes import (
    ABOUT_PSYCHIATRY,
    ACUTE,
    HL7,
    ICD10,
    LABELS,
    RESTRICTED,
    SNOMED,
    US_CORE_SYSTEM,
    Illness,
    coding,
    hl7,
    snomed,
)
from hilum_ehr.synthesis.models import Kind, Story
from hilum_ehr.synthesis.patients import Person

WELL_CHILD_MONTHS = (
    0.5, 1, 2, 4, 6, 9, 12, 15, 18, 24, 30, 36, 48, 60, 72, 84, 96, 108, 120, 132, 144, 156, 168, 180, 192, 204,
)  # fmt: skip
KINDS: dict[str, tuple[str, str, tuple[str, str], str]] = {
    "checkup": ("AMB", "ambulatory", ("185349003", "Encounter for check up"), "loc-outpatient"),
    "wellchild": ("AMB", "ambulatory", ("410620009", "Well child visit"), "loc-outpatient"),
    "followup": ("AMB", "ambulatory", ("390906007", "Follow-up encounter"), "loc-outpatient"),
    "prenatal": ("AMB", "ambulatory", ("424619006", "Prenatal visit"), "loc-outpatient"),
    "sick": ("AMB", "ambulatory", ("185345009", "Encounter for symptom"), "loc-outpatient"),
    "video": ("VR", "virtual", ("448337001", "Telemedicine consultation with patient"), "loc-outpatient"),
    "emergency": ("EMER", "emergency", ("50849002", "Emergency room admission"), "loc-emergency"),
    "inpatient": ("IMP", "inpatient encounter", ("32485007", "Hospital admission"), "loc-ward"),
}  # fmt: skip


def labels_of(person: Person, story: str) -> Labels:
    """Return the security labels of what is written about an illness."""
    if story in LABELS:
        return LABELS[Story(story)]
    # A depression beside a substance use disorder has a psychiatry label.
    if story == Story.DEPRESSION and Story.OPIOID_USE in person.stories:
        return (RESTRICTED, ABOUT_PSYCHIATRY)
    return ()


def write_visits(chart: Chart) -> None:
    """Plan every visit of a person, then write the problems, the diagnoses and the encounters."""
    if Story.NO_DATA in chart.person.stories:
        return
    chart.visits = _planned(chart)
    for number, visit in enumerate(chart.visits, start=1):
        # The ids first, because conditions refer to encounters and encounters to conditions.
        visit.ref = {"reference": f"Encounter/{chart.id(f'enc-{number}')}"}
    _problems(chart)
    for visit in chart.visits:
        _encounter(chart, visit, _diagnosis(chart, visit))


def _planned(chart: Chart) -> list[Visit]:
    person = chart.person
    by_day: dict[date, Visit] = {}
    days = [] if Story.UNNAMED in person.stories else _routine_days(chart)
    for day, kind in days:
        # One visit a day, of the kind that was planned first.
        by_day.setdefault(day, _visit(chart, day, kind))
    if Story.UNNAMED in person.stories and Story.INPATIENT not in person.stories:
        by_day[person.until] = _visit(chart, person.until, "sick")
    if person.is_planned or chart.rng.random() < 0.5:
        by_day |= _short_illnesses(chart, by_day)
    stay = _stay(chart)
    if stay is not None:
        # There are no visits during a stay, nor after a death.
        last = stay.end.date() if stay.end else chart.site.today
        by_day = {day: visit for day, visit in by_day.items() if not stay.day <= day <= last}
        by_day[stay.day] = stay
    return [by_day[day] for day in sorted(by_day)]


def _routine_days(chart: Chart) -> list[tuple[date, str]]:
    person, rng = chart.person, chart.rng
    if person.child(person.until):
        days = [
            (person.born + timedelta(days=round(months * 30.44)), "wellchild") for months in WELL_CHILD_MONTHS
        ]
        step = 110 if person.courses else 0
    else:
        days = []
        step = 91 if person.is_planned else rng.randint(140, 210) if person.courses else rng.randint(300, 360)
    if step:
        first = max(person.begins, person.until - timedelta(days=1_060)) + timedelta(days=rng.randint(2, 20))
        for number in range((person.until - first).days // step + 1):
            kind = "checkup" if number % 4 == 0 else "video" if number % 7 == 5 else "followup"
            days.append((first + timedelta(days=number * step), kind))
    pregnancy = person.course(Story.PREGNANCY)
    if pregnancy:
        days += [(pregnancy.onset + timedelta(days=70 + 28 * number), "prenatal") for number in range(7)]
    last = pregnancy.ended if pregnancy and pregnancy.ended else person.until
    return [
        (day, kind)
        for day, kind in days
        if person.begins < day <= person.until and (kind != "prenatal" or day < last)
    ]


def _visit(chart: Chart, day: date, kind: str) -> Visit:
    start = chart.site.at(day, 480 + 15 * chart.rng.randint(0, 32))
    by = chart.site.clinician("obstetrics") if kind == "prenatal" else chart.site.primary
    visit = Visit(kind, start, start + timedelta(minutes=chart.rng.choice((20, 30, 40))), by)
    for story in (Story.OPIOID_USE, Story.HIV):
        # Some follow-ups have the labels of a restricted illness, so that a chart has visible and withheld encounters.
        if kind == "followup" and chart.person.course(story, day) and day.month % 2 == (story is Story.HIV):
            visit.labels = labels_of(chart.person, story)
    return visit


def _short_illnesses(chart: Chart, others: dict[date, Visit]) -> dict[date, Visit]:
    person, rng, by_day = chart.person, chart.rng, {}
    choices = (
        ["pharyngitis", "otitis"] if person.child(person.until) else ["pharyngitis", "sinusitis", "sprain"]
    )
    if person.female and not person.child(person.until):
        choices.append("cystitis")
    history_days = (person.until - person.begins).days
    for _ in range(rng.randint(1, 3)):
        day = person.until - timedelta(days=rng.randint(30, 700))
        acute = rng.choice(choices)
        if history_days > 760 and day not in others and person.years(day) > 2:
            # The general and the children's hospital also have an emergency department.
            is_emergency = chart.site.plan.kind is not Kind.CLINIC and rng.random() < 0.3
            by_day[day] = _visit(chart, day, "emergency" if is_emergency else "sick")
            by_day[day].acute = acute
            if is_emergency:
                by_day[day].by = chart.site.clinician("emergency")
    return by_day


def _stay(chart: Chart) -> Visit | None:
    """Return a person's hospital stay, if they have one: now, before death, at birth, for giving birth, or for pneumonia."""
    person, site, rng = chart.person, chart.site, chart.rng
    if site.plan.kind is Kind.CLINIC:
        return None
    pregnancy = person.course(Story.PREGNANCY)
    if Story.INPATIENT in person.stories:
        start, end, acute = site.at(site.today - timedelta(days=3), 1_290), None, "pneumonia"
    elif person.died:
        start, end, acute = site.at(person.died - timedelta(days=4), 800), site.at(person.died, 250), ""
    elif pregnancy and pregnancy.ended:
        start, end, acute = (
            site.at(pregnancy.ended - timedelta(days=1), 1_130),
            site.at(pregnancy.ended + timedelta(days=3), 660),
            "",
        )
    elif person.months(person.until) < 3:
        start, end, acute = (
            site.at(person.born, 600),
            site.at(min(person.born + timedelta(days=3), person.until), 660),
            "",
        )
    elif not person.child(person.until) and rng.random() < (
        0.9 if Story.EVERY_PROFILE in person.stories else 0.2
    ):
        day = person.until - timedelta(days=rng.randint(60, 800))
        start, end, acute = (
            site.at(day, 1_100),
            site.at(day + timedelta(days=rng.randint(3, 6)), 690),
            "pneumonia",
        )
    else:
        return None
    by = site.clinician("obstetrics") if pregnancy and pregnancy.ended else site.primary
    return Visit("inpatient", start, end, by, acute=acute)


def _problems(chart: Chart) -> None:
    for course in chart.person.courses:
        later = [visit for visit in chart.visits if visit.day >= course.onset]
        ended = course.ended is not None
        more: dict[str, Any] = {"abatementDateTime": course.ended.isoformat()} if course.ended else {}
        if later and (later[0].day - course.onset).days < 45:
            more["encounter"] = later[0].ref
        chart.problems[course.story] = chart.write("Condition", {
            **condition_head(chart, course.illness, active=not ended),
            "category": [hl7("condition-category", "problem-list-item", "Problem List Item")],
            "onsetDateTime": course.onset.isoformat(),
            "recordedDate": course.onset.isoformat(),
            "recorder": chart.site.primary.ref,
            **more,
        }, profile="us-core-condition-problems-health-concerns", labels=labels_of(chart.person, course.story))  # fmt: skip


def condition_head(chart: Chart, illness: Illness, *, active: bool) -> dict[str, Any]:
    return {
        "clinicalStatus": hl7("condition-clinical", "active" if active else "resolved"),
        "verificationStatus": hl7("condition-ver-status", "confirmed"),
        "code": {
            "coding": [coding(SNOMED, *illness.snomed), coding(ICD10, *illness.icd10)],
            "text": illness.snomed[1],
        },
        "subject": chart.patient,
    }


def asserted(day: date) -> dict[str, str]:
    """Return the extension with the date on which a condition was first asserted."""
    return {
        "url": "http://hl7.org/fhir/StructureDefinition/condition-assertedDate",
        "valueDateTime": day.isoformat(),
    }


def _diagnosis(chart: Chart, visit: Visit) -> dict[str, Any]:
    """Write the diagnosis of a visit, and return the encounter's reason."""
    if visit.acute:
        illness, days = ACUTE[visit.acute]
        resolved_on = visit.day + timedelta(days=days)
        is_resolved = visit.end is not None and resolved_on <= chart.person.until
        diagnosed = chart.write("Condition", {
            **condition_head(chart, illness, active=not is_resolved),
            "category": [hl7("condition-category", "encounter-diagnosis", "Encounter Diagnosis")],
            "extension": [asserted(visit.day)],
            "encounter": visit.ref,
            "onsetDateTime": (visit.day - timedelta(days=2)).isoformat(),
            **({"abatementDateTime": resolved_on.isoformat()} if is_resolved else {}),
            "recordedDate": visit.day.isoformat(),
        }, profile="us-core-condition-encounter-diagnosis")  # fmt: skip
        chart.problems[f"{visit.acute}@{visit.ref['reference']}"] = diagnosed
        return {"reasonReference": [diagnosed]}
    active = [
        course
        for course in chart.person.courses
        if course.onset <= visit.day and (course.ended is None or visit.day <= course.ended)
    ]
    # Only problems with the encounter's labels: a reference would disclose the others.
    shared = [course for course in active if labels_of(chart.person, course.story) == visit.labels]
    if shared and visit.kind not in {"checkup", "wellchild"}:
        return {"reasonReference": [chart.problems[shared[0].story]]}
    if visit.kind in {"checkup", "wellchild"}:
        return {
            "reasonCode": [snomed("86013001", "Periodic reevaluation and management of healthy individual")]
        }
    return {}


def _encounter(chart: Chart, visit: Visit, reason: dict[str, Any]) -> None:
    person, site = chart.person, chart.site
    code, words, kind, place = KINDS[visit.kind]
    period = _period(visit.start, visit.end)
    number = visit.ref["reference"].rpartition("-")[2]
    content: dict[str, Any] = {
        "identifier": [{"system": f"https://{site.plan.tenant}.example/encounters", "value": f"{person.slug}-{number}"}],
        "status": "finished" if visit.end else "in-progress",
        "class": coding(HL7 + "v3-ActCode", code, words),
        "type": [snomed(*kind)],
        "subject": chart.patient,
        "participant": [{
            "type": [hl7("v3-ParticipationType", "ATND" if visit.inpatient else "PPRF", "attender" if visit.inpatient else "primary performer")],
            "period": period,
            "individual": visit.by.ref,
        }],
        "period": period,
        **reason,
    }  # fmt: skip
    if visit.end and (
        visit.inpatient
        or visit.kind == "emergency"
        or (visit.acute and Story.EVERY_PROFILE in person.stories)
    ):
        died = person.died == visit.end.date()
        content["hospitalization"] = {
            **(
                {"admitSource": hl7("admit-source", "emd", "From accident/emergency department")}
                if visit.inpatient
                else {}
            ),
            "dischargeDisposition": hl7(
                "discharge-disposition", "exp" if died else "home", "Expired" if died else "Home"
            ),
        }
    content["location"] = [
        {"location": site.ref("Location", place), "status": "completed" if visit.end else "active"}
    ]
    content["serviceProvider"] = site.organization
    chart.write(
        "Encounter",
        content,
        profile="us-core-encounter",
        labels=visit.labels,
        resource_id=visit.ref["reference"].partition("/")[2],
    )


def _period(start: datetime, end: datetime | None) -> dict[str, str]:
    return {"start": start.isoformat()} | ({"end": end.isoformat()} if end else {})


def write_food_insecurity(chart: Chart) -> None:
    """Write the health concern that results from social screening."""
    visit = chart.visits[-1]
    chart.write("Condition", {
        **condition_head(chart, Illness("food insecurity", ("733423003", "Food insecurity"), ("Z59.41", "Food insecurity")), active=True),
        "category": [
            {"coding": [coding(US_CORE_SYSTEM + "condition-category", "health-concern", "Health Concern")]},
            {"coding": [coding(US_CORE_SYSTEM + "us-core-category", "sdoh", "SDOH")]},
        ],
        "extension": [asserted(visit.day)],
        "onsetDateTime": (visit.day - timedelta(days=20)).isoformat(),
        "recordedDate": visit.day.isoformat(),
        "encounter": visit.ref,
    }, profile="us-core-condition-problems-health-concerns")  # fmt: skip
