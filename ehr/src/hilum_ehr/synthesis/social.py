"""Writes social history and screening: tobacco, work, orientation, pregnancy, food, functioning."""

from datetime import datetime, timedelta
from typing import Any

from hilum_ehr.synthesis import names
from hilum_ehr.synthesis.chart import Chart, Visit
from hilum_ehr.synthesis.codes import (
    HL7,
    LOINC,
    US_CORE,
    US_CORE_SYSTEM,
    coding,
    concept,
    hl7,
    loinc,
    quantity,
    snomed,
)
from hilum_ehr.synthesis.models import Story
from hilum_ehr.synthesis.patients import ADULT_YEARS
from hilum_ehr.synthesis.places import Reference

SCREENING = "us-core-observation-screening-assessment"
QUESTIONNAIRE = "https://questionnaires.hilum.example/food-at-home"
SMOKING = (
    ("266919005", "Never smoked tobacco"),
    ("266919005", "Never smoked tobacco"),
    ("8517006", "Ex-smoker"),
    ("449868002", "Smokes tobacco daily"),
)
ORIENTATIONS = (
    ("20430005", "Heterosexual"),
    ("20430005", "Heterosexual"),
    ("20430005", "Heterosexual"),
    ("38628009", "Homosexual"),
    ("42035005", "Bisexual"),
)
OFTEN, SOMETIMES, NEVER = (
    ("LA28397-0", "Often true"),
    ("LA6729-3", "Sometimes true"),
    ("LA28398-8", "Never true"),
)
FOOD_QUESTIONS = (
    ("88122-7", "Within the past 12 months we worried whether our food would run out before we got money to buy more"),
    ("88123-5", "Within the past 12 months the food we bought just didn't last and we didn't have money to get more"),
)  # fmt: skip
CONCENTRATING = (
    "69858-9", "Because of a physical, mental, or emotional condition, do you have serious difficulty concentrating, remembering, or making decisions",
)  # fmt: skip

ACTIVITY = (
    "89555-7", "How many days per week did you engage in moderate to strenuous physical activity in the last 30 days",
)  # fmt: skip
DRINKING = ("68517-2", "How many times in the past year have you have 5 or more drinks in a day")


def write_social(chart: Chart) -> None:
    """Write the answers given at the first and the last check-up."""
    visits = [
        visit
        for visit in chart.visits
        if visit.kind in {"checkup", "wellchild"} and chart.person.years(visit.day) >= 12
    ]
    visits = visits or [visit for visit in chart.visits[-1:] if Story.EVERY_PROFILE in chart.person.stories]
    # Drawn once, so that the answers at two visits agree.
    habit, orientation = chart.rng.choice(SMOKING), chart.rng.choice(ORIENTATIONS)
    work = chart.rng.choice(names.OCCUPATIONS)
    # The first and the last, or the only one.
    for visit in visits[:1] + visits[1:][-1:]:
        when = visit.start + timedelta(minutes=8)
        if chart.person.years(visit.day) >= 12:
            _fact(
                chart, visit, ("72166-2", "Tobacco smoking status"), snomed(*habit), "us-core-smokingstatus"
            )
            _mood(chart, visit, when)
            _pack_years(chart, visit, never=habit == SMOKING[0])
        if chart.person.female and 15 <= chart.person.years(visit.day) < 50:
            _childbearing(chart, visit)
        if chart.person.years(visit.day) >= 16 and visit is visits[-1]:
            _fact(
                chart,
                visit,
                ("76690-7", "Sexual orientation"),
                snomed(*orientation),
                "us-core-observation-sexual-orientation",
            )
            _work(chart, visit, work)
        if visit is visits[-1]:
            write_food_screen(chart, visit, when)
            if chart.person.years(visit.day) >= 65 or Story.EVERY_PROFILE in chart.person.stories:
                write_functions(chart, visit, when)


def _fact(
    chart: Chart,
    visit: Visit,
    code: tuple[str, str],
    value: dict[str, Any],
    profile: str,
    *,
    more: dict[str, Any] | None = None,
) -> None:
    chart.observe(loinc(*code), visit.start + timedelta(minutes=8), {"valueCodeableConcept": value},
                  category="social-history", profile=profile, visit=visit, more=more)  # fmt: skip


def _work(chart: Chart, visit: Visit, work: tuple[str, str, str, str]) -> None:
    """Write the occupation, for a period.

    Source: US Core 6.1.0, us-core-observation-occupation
    """
    code, title, industry, industry_title = work
    began = visit.day - timedelta(days=chart.rng.randint(90, 300))
    _fact(
        chart, visit, ("11341-5", "History of Occupation"), concept(HL7 + "PHOccupationCDCCensus2010", code, title), "us-core-observation-occupation",
        more={
            "effectivePeriod": {"start": began.isoformat()},
            "component": [{
                "code": loinc("86188-0", "History of Occupation industry"),
                "valueCodeableConcept": concept(HL7 + "PHIndustryCDCCensus2010", industry, industry_title),
            }],
        },
    )  # fmt: skip


def _childbearing(chart: Chart, visit: Visit) -> None:
    pregnancy = chart.person.course(Story.PREGNANCY, visit.day)
    pregnant = pregnancy is not None and (pregnancy.ended is None or visit.day < pregnancy.ended)
    status = ("77386006", "Pregnant") if pregnant else ("60001007", "Not pregnant")
    _fact(
        chart, visit, ("82810-3", "Pregnancy status"), snomed(*status), "us-core-observation-pregnancystatus"
    )
    intent = snomed("454381000124105", "Not sure of desire to become pregnant")
    _fact(
        chart,
        visit,
        ("86645-9", "Pregnancy intention in the next year - Reported"),
        intent,
        "us-core-observation-pregnancyintent",
    )


def _pack_years(chart: Chart, visit: Visit, *, never: bool) -> None:
    smoked = 0 if never else max(1, round((chart.person.years(visit.day) - 16) / 2))
    chart.observe(snomed("401201003", "Cigarette pack-years"), visit.start + timedelta(minutes=8),
                  {"valueQuantity": quantity(smoked, "{PackYears}", "{PackYears}")},
                  category="social-history", profile="us-core-smokingstatus", visit=visit)  # fmt: skip


def screen(
    chart: Chart, visit: Visit, when: datetime, code: tuple[str, str], value: dict[str, Any], *, kind: str = "", more: dict[str, Any] | None = None
) -> Reference:  # fmt: skip
    """Write the answer to a screening question; ``kind`` is a category of US Core, or activity or social-history."""
    categories = [hl7("observation-category", "survey", "Survey")]
    if kind:
        is_hl7 = kind in {"activity", "social-history"}
        categories.append(hl7("observation-category", kind) if is_hl7 else us_core_category(kind))
    return chart.observe(loinc(*code), when, value, category="survey", profile=SCREENING, visit=visit,
                         more={"category": categories, **(more or {})})  # fmt: skip


def us_core_category(code: str) -> dict[str, Any]:
    return {"coding": [coding(US_CORE_SYSTEM + "us-core-category", code)]}


def _mood(chart: Chart, visit: Visit, when: datetime) -> None:
    """Write the score of the two-item mood questionnaire (PHQ-2): high while a depression is untreated, low otherwise."""
    person = chart.person
    burden = (
        5 - 4 * person.effect(Story.DEPRESSION, visit.day, 2)
        if person.course(Story.DEPRESSION, visit.day)
        else 0.6
    )
    score = min(6, max(0, round(burden + chart.rng.uniform(-0.6, 0.6))))
    screen(chart, visit, when, ("55758-7", "Patient Health Questionnaire 2 item (PHQ-2) total score [Reported]"),
           {"valueQuantity": quantity(score, "score", "{score}")})  # fmt: skip


def write_food_screen(chart: Chart, visit: Visit, when: datetime) -> None:
    """Write a response to the questionnaire about food at home, its answers, and the risk that follows from them.

    Source: Hunger Vital Sign (LOINC 88121-9): positive if either answer is often or sometimes true.
    """
    is_at_risk = bool({Story.FOOD_INSECURITY, Story.EVERY_PROFILE} & chart.person.stories)
    answers = (SOMETIMES, OFTEN) if is_at_risk else (NEVER, NEVER)
    response = chart.write("QuestionnaireResponse", {
        "questionnaire": QUESTIONNAIRE,
        "_questionnaire": {"extension": [{"url": US_CORE + "us-core-extension-questionnaire-uri", "valueUri": QUESTIONNAIRE + ".pdf"}]},
        "status": "completed",
        "subject": chart.patient,
        "encounter": visit.ref,
        "authored": when.isoformat(),
        "author": chart.site.clinician("nurse").ref,
        "item": [
            {"linkId": code, "text": text, "answer": [{"valueCoding": coding(LOINC, *answer)}]}
            for (code, text), answer in zip(FOOD_QUESTIONS, answers, strict=True)
        ],
    }, profile="us-core-questionnaireresponse")  # fmt: skip
    observations = [
        screen(chart, visit, when, question, {"valueCodeableConcept": concept(LOINC, *answer)}, kind="sdoh", more={"derivedFrom": [response]})
        for question, answer in zip(FOOD_QUESTIONS, answers, strict=True)
    ]  # fmt: skip
    risk = ("LA19952-3", "At risk") if is_at_risk else ("LA19983-8", "No risk")
    risk_observation = screen(chart, visit, when, ("88124-3", "Food insecurity risk [HVS]"), {"valueCodeableConcept": concept(LOINC, *risk)},
                       kind="sdoh", more={"derivedFrom": observations})  # fmt: skip
    screen(
        chart,
        visit,
        when,
        ("88121-9", "Hunger Vital Sign [HVS]"),
        {},
        kind="sdoh",
        more={"hasMember": [*observations, risk_observation], "derivedFrom": [response]},
    )


def write_functions(chart: Chart, visit: Visit, when: datetime) -> None:
    """Write functional, cognitive and disability status, and the preferred language.

    The scores are for adults; for a child, questions to the parents are written instead.
    """
    no = {"valueCodeableConcept": concept(LOINC, "LA32-8", "No")}
    if chart.person.years(visit.day) < ADULT_YEARS:
        screen(
            chart,
            visit,
            when,
            ("69859-7", "Do you have serious difficulty walking or climbing stairs"),
            no,
            kind="functional-status",
        )
        screen(chart, visit, when, CONCENTRATING, no, kind="cognitive-status")
    else:
        has_dementia = chart.person.course(Story.DEMENTIA, visit.day) is not None
        barthel, mmse = (70, 19) if has_dementia else (100, 29)
        screen(
            chart,
            visit,
            when,
            ("96761-2", "Total score Barthel Index"),
            {"valueQuantity": quantity(barthel, "score", "{score}")},
            kind="functional-status",
        )
        screen(
            chart,
            visit,
            when,
            ("72106-8", "Total score [MMSE]"),
            {"valueQuantity": quantity(mmse, "score", "{score}")},
            kind="cognitive-status",
        )
    screen(
        chart,
        visit,
        when,
        ("69856-3", "Are you deaf, or do you have serious difficulty hearing"),
        no,
        kind="disability-status",
    )
    screen(chart, visit, when, ("54899-0", "Preferred language"), {"valueString": "English"}, kind="sdoh")
    days = {"valueQuantity": quantity(3, "d/wk", "d/wk")}
    screen(chart, visit, when, ACTIVITY, days, kind="activity")
    if chart.person.years(visit.day) >= 12:
        screen(
            chart, visit, when, DRINKING, {"valueQuantity": quantity(0, "/a", "/a")}, kind="social-history"
        )


def questionnaire() -> dict[str, Any]:
    """Return the questionnaire that the responses answer."""
    return {
        "url": QUESTIONNAIRE,
        "version": "1",
        "name": "FoodAtHome",
        "title": "Food at home",
        "status": "active",
        "subjectType": ["Patient"],
        "item": [
            {"linkId": code, "code": [coding(LOINC, code)], "text": text, "type": "choice",
             "answerOption": [{"valueCoding": coding(LOINC, *answer)} for answer in (OFTEN, SOMETIMES, NEVER)]}
            for code, text in FOOD_QUESTIONS
        ],
    }  # fmt: skip
