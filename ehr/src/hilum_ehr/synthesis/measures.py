"""Writes measurements: vital signs at visits and at home, laboratory panels, growth."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from hilum_ehr.synthesis import body
from hilum_ehr.synthesis.chart import Chart, Visit
from hilum_ehr.synthesis.codes import LOINC, coding, hl7, loinc, quantity, snomed
from hilum_ehr.synthesis.models import Story
from hilum_ehr.synthesis.places import Reference
from hilum_ehr.synthesis.visits import labels_of


@dataclass(frozen=True, slots=True)
class Sign:
    loinc: str
    display: str
    profile: str
    unit: str
    ucum: str


SIGNS = {
    "pulse": Sign("8867-4", "Heart rate", "us-core-heart-rate", "beats/minute", "/min"),
    "breaths": Sign("9279-1", "Respiratory rate", "us-core-respiratory-rate", "breaths/minute", "/min"),
    "temperature": Sign("8310-5", "Body temperature", "us-core-body-temperature", "C", "Cel"),
    "height": Sign("8302-2", "Body height", "us-core-body-height", "cm", "cm"),
    "weight": Sign("29463-7", "Body weight", "us-core-body-weight", "kg", "kg"),
    "bmi": Sign("39156-5", "Body mass index (BMI) [Ratio]", "us-core-bmi", "kg/m2", "kg/m2"),
    "head": Sign("9843-4", "Head Occipital-frontal circumference", "us-core-head-circumference", "cm", "cm"),
    "head%": Sign("8289-1", "Head Occipital-frontal circumference Percentile", "head-occipital-frontal-circumference-percentile", "%", "%"),
    "shape%": Sign("77606-2", "Weight-for-length Per age and sex", "pediatric-weight-for-height", "%", "%"),
    "bmi%": Sign("59576-9", "Body mass index (BMI) [Percentile] Per age and sex", "pediatric-bmi-for-age", "%", "%"),
}  # fmt: skip
BLOOD_PRESSURE = loinc("85354-9", "Blood pressure panel with all children optional")
SYSTOLIC, DIASTOLIC = loinc("8480-6", "Systolic blood pressure"), loinc("8462-4", "Diastolic blood pressure")
MEAN_PRESSURE = loinc("96607-7", "Blood pressure panel mean systolic and mean diastolic")
MEAN_SYSTOLIC, MEAN_DIASTOLIC = (
    loinc("96608-5", "Systolic blood pressure mean"),
    loinc("96609-3", "Diastolic blood pressure mean"),
)
# US Core requires both codes of pulse oximetry.
SATURATION = {
    "coding": [coding(LOINC, "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"), coding(LOINC, "2708-6", "Oxygen saturation in Arterial blood")],
    "text": "Oxygen saturation",
}  # fmt: skip
HOME_DAYS = 180


@dataclass(frozen=True, slots=True)
class Test:
    loinc: str
    display: str
    unit: str
    ucum: str
    low: float | None
    high: float | None


TESTS = {
    "sodium": Test("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 135, 145),
    "potassium": Test("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 3.5, 5.1),
    "chloride": Test("2075-0", "Chloride [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 98, 107),
    "bicarbonate": Test("2028-9", "Carbon dioxide, total [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 22, 29),
    "urea": Test("3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 7, 20),
    "creatinine": Test("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", None, 1.3),
    "glucose": Test("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 70, 99),
    "egfr": Test("98979-8", "Glomerular filtration rate/1.73 sq M.predicted by Creatinine-based formula (CKD-EPI 2021)", "mL/min/{1.73_m2}", "mL/min/{1.73_m2}", 60, None),
    "a1c": Test("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", "%", None, 5.6),
    "average": Test("27353-2", "Glucose mean value [Mass/volume] in Blood Estimated from glycated hemoglobin", "mg/dL", "mg/dL", None, None),
    "cholesterol": Test("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", None, 200),
    "hdl": Test("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 40, None),
    "triglycerides": Test("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", None, 150),
    "ldl": Test("13457-7", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation", "mg/dL", "mg/dL", None, 130),
    "hscrp": Test("30522-7", "C reactive protein [Mass/volume] in Serum or Plasma by High sensitivity method", "mg/L", "mg/L", None, 3.0),
    "hemoglobin": Test("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", "g/dL", 12, 17.5),
    "hematocrit": Test("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", "%", 36, 51),
    "leukocytes": Test("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", "10*3/uL", 4, 11),
    "platelets": Test("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", "10*3/uL", 150, 400),
    "tsh": Test("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma", "m[IU]/L", "m[IU]/L", 0.4, 4.0),
    "inr": Test("6301-6", "INR in Platelet poor plasma by Coagulation assay", "{INR}", "{INR}", None, None),
    "psa": Test("2857-1", "Prostate specific Ag [Mass/volume] in Serum or Plasma", "ng/mL", "ng/mL", None, 4),
    "bnp": Test("33762-6", "Natriuretic peptide.B prohormone N-Terminal [Mass/volume] in Serum or Plasma", "pg/mL", "pg/mL", None, 125),
    "viral": Test("20447-9", "HIV 1 RNA [#/volume] (viral load) in Serum or Plasma by NAA with probe detection", "{copies}/mL", "{copies}/mL", None, 20),
}  # fmt: skip
PANELS: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "metabolic": (("51990-0", "Basic metabolic panel - Blood"), ("sodium", "potassium", "chloride", "bicarbonate", "urea", "creatinine", "glucose", "egfr")),
    "sugar": (("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), ("a1c", "average")),
    "lipids": (("24331-1", "Lipid 1996 panel - Serum or Plasma"), ("cholesterol", "hdl", "triglycerides", "ldl")),
    "inflammation": (("30522-7", "C reactive protein [Mass/volume] in Serum or Plasma by High sensitivity method"), ("hscrp",)),
    "blood": (("58410-2", "CBC panel - Blood by Automated count"), ("hemoglobin", "hematocrit", "leukocytes", "platelets")),
    "thyroid": (("3016-3", "Thyrotropin [Units/volume] in Serum or Plasma"), ("tsh",)),
    "clotting": (("6301-6", "INR in Platelet poor plasma by Coagulation assay"), ("inr",)),
    "prostate": (("2857-1", "Prostate specific Ag [Mass/volume] in Serum or Plasma"), ("psa",)),
    "heart": (("33762-6", "Natriuretic peptide.B prohormone N-Terminal [Mass/volume] in Serum or Plasma"), ("bnp",)),
    "virus": (("20447-9", "HIV 1 RNA [#/volume] (viral load) in Serum or Plasma by NAA with probe detection"), ("viral",)),
}  # fmt: skip
PANELS_BY_STORY: dict[Story, tuple[str, ...]] = {
    Story.DIABETES: ("sugar", "metabolic"), Story.TYPE1_DIABETES: ("sugar", "metabolic"), Story.KIDNEY: ("metabolic",), Story.LIPIDS: ("lipids", "inflammation"),
    Story.HYPERTENSION: ("metabolic",), Story.HEART_FAILURE: ("metabolic", "heart"), Story.ATRIAL_FIBRILLATION: ("clotting",), Story.CORONARY: ("lipids", "inflammation"),
    Story.HYPOTHYROID: ("thyroid",), Story.PREGNANCY: ("blood",), Story.BREAST_CANCER: ("blood",), Story.PROSTATE_CANCER: ("prostate",), Story.HIV: ("virus",),
}  # fmt: skip


def write_measurements(chart: Chart) -> None:
    """Write the measurements of every visit, the blood tests that illnesses require, and measurements sent from home."""
    last_drawn: dict[str, date] = {}
    for visit in chart.visits:
        if visit.kind == "video":
            continue
        write_vitals(chart, visit)
        if panels := _due_panels(chart, visit, last_drawn):
            _write_panels(chart, visit, panels)
            last_drawn |= dict.fromkeys(panels, visit.day)
    if Story.MANY_RESULTS in chart.person.stories:
        _from_home(chart)


def write_vitals(chart: Chart, visit: Visit) -> None:
    person, rng, when, day = chart.person, chart.rng, visit.start + timedelta(minutes=5), visit.day
    years = person.years(day)
    top, bottom = person.pressure(day)
    blood_pressure(chart, when, top, bottom, visit)
    # A resting pulse falls from about 140 at birth to an adult's.
    calm = (
        138 - 20 * min(years, 2) - 2.2 * min(max(years - 2, 0), 12)
        if years < 14
        else 71 + person.constants["pulse"]
    )
    _sign(chart, "pulse", round(calm + rng.gauss(0, 4)), when, visit)
    _sign(
        chart,
        "breaths",
        max(12, round((34 - 2.5 * years) if years < 7 else 15 + rng.gauss(0, 1.2))),
        when,
        visit,
    )
    _sign(
        chart,
        "temperature",
        round(rng.gauss(38.4, 0.4) if visit.acute in {"otitis", "pneumonia"} else rng.gauss(36.8, 0.2), 1),
        when,
        visit,
    )
    # COPD and pneumonia lower the saturation; a healthy chart never shows an alarm.
    ceiling = 93 if person.course(Story.COPD, day) or visit.acute == "pneumonia" else 98
    chart.observe(SATURATION, when, {"valueQuantity": quantity(min(100, round(rng.gauss(ceiling, 0.9))), "%", "%")},
                  category="vital-signs", profile="us-core-pulse-oximetry", visit=visit)  # fmt: skip
    height, weight = person.height_cm(day), person.weight_kg(day)
    _sign(chart, "height", height, when, visit)
    _sign(chart, "weight", weight, when, visit)
    months = person.months(day)
    # The profiles of US Core: BMI from two years, head circumference below three, weight for length beside it.
    if months >= 24:
        _sign(chart, "bmi", body.bmi(height, weight), when, visit)
        if person.child(day):
            _sign(
                chart,
                "bmi%",
                body.percentile(body.bmi_for_age_z(body.bmi(height, weight), months, female=person.female)),
                when,
                visit,
            )
    if months < body.HEAD_UNTIL_MONTHS:
        _sign(chart, "head", person.head_cm(day), when, visit)
        _sign(chart, "head%", body.percentile(person.stature_z), when, visit)
        _sign(
            chart,
            "shape%",
            body.percentile(body.weight_for_length_z(height, weight, female=person.female)),
            when,
            visit,
        )


def _sign(chart: Chart, key: str, value: float, when: datetime, visit: Visit | None) -> None:
    sign = SIGNS[key]
    chart.observe(loinc(sign.loinc, sign.display), when, {"valueQuantity": quantity(value, sign.unit, sign.ucum)},
                  category="vital-signs", profile=sign.profile, visit=visit)  # fmt: skip


def blood_pressure(
    chart: Chart, when: datetime, top: int | None, bottom: int | None, visit: Visit | None, *, days: int = 0
) -> None:
    """Write a blood pressure (mmHg), or the mean of some days. A part that is None has a data-absent-reason."""
    panel, *codes = (
        (MEAN_PRESSURE, MEAN_SYSTOLIC, MEAN_DIASTOLIC) if days else (BLOOD_PRESSURE, SYSTOLIC, DIASTOLIC)
    )
    parts = [
        {"code": code, **({"valueQuantity": quantity(value, "mmHg", "mm[Hg]")} if value is not None
                          else {"dataAbsentReason": hl7("data-absent-reason", "unknown", "Unknown")})}
        for code, value in zip(codes, (top, bottom), strict=True)
    ]  # fmt: skip
    period = {"start": (when - timedelta(days=days)).isoformat(), "end": when.isoformat()}
    chart.observe(
        panel,
        when,
        {"component": parts},
        category="vital-signs",
        profile="us-core-average-blood-pressure" if days else "us-core-blood-pressure",
        visit=visit,
        more={"effectivePeriod": period} if days else None,
    )


def _from_home(chart: Chart) -> None:
    """Write HOME_DAYS of daily measurements that devices at home sent, without an encounter."""
    person = chart.person
    for back in range(HOME_DAYS, 0, -1):
        day = person.until - timedelta(days=back)
        when = chart.site.at(day, 415)
        # A newborn under home monitoring has fewer days.
        if person.born < day:
            top, bottom = person.pressure(day)
            blood_pressure(chart, when, top, bottom, None)
            _sign(chart, "pulse", round(72 + person.constants["pulse"] + chart.rng.gauss(0, 5)), when, None)
            _sign(chart, "weight", person.weight_kg(day), when, None)


def _due_panels(chart: Chart, visit: Visit, last_drawn: dict[str, date]) -> list[str]:
    """List the panels due at a visit: those of illnesses about every five months, those of adults at a check-up, all at admission."""
    person, day = chart.person, visit.day
    panels = [
        panel
        for course in person.courses
        # One day ahead, since a diagnosis is made from the first results.
        if course.onset <= day + timedelta(days=1)
        for panel in PANELS_BY_STORY.get(course.story, ())
    ]
    if visit.inpatient:
        panels += ["metabolic", "blood"]
    elif visit.kind == "checkup" and not person.child(day):
        # The inputs of calculators of cardiovascular risk, besides blood pressure and smoking.
        panels += ["metabolic", "lipids", "inflammation", "blood"]
    return [
        panel
        for panel in dict.fromkeys(panels)
        if visit.inpatient
        or panel not in last_drawn
        # HbA1c covers about three months, so it is drawn more often.
        or (day - last_drawn[panel]).days >= (80 if panel == "sugar" else 150)
    ]


def _write_panels(chart: Chart, visit: Visit, panels: list[str]) -> None:
    """Write the panels of a visit, from one specimen."""
    values = results(chart, visit.day)
    specimen = blood(chart, visit)
    for panel in panels:
        measured = {key: values[key] for key in PANELS[panel][1] if key in values}
        write_panel(chart, visit, panel, measured, specimen)


def blood(chart: Chart, visit: Visit) -> Reference:
    number = {
        "system": f"https://{chart.site.plan.tenant}.example/accessions",
        "value": visit.ref["reference"].partition("/")[2],
    }
    return chart.write("Specimen", {
        "identifier": [number],
        "accessionIdentifier": number,
        "status": "available",
        "type": snomed("119297000", "Blood specimen"),
        "subject": chart.patient,
        "receivedTime": (visit.start + timedelta(minutes=60)).isoformat(),
        "collection": {
            "collectedDateTime": (visit.start + timedelta(minutes=12)).isoformat(),
            "bodySite": snomed("14975008", "Forearm structure"),
        },
        "condition": [hl7("v2-0493", "COOL", "Cool")],
    }, profile="us-core-specimen")  # fmt: skip


def results(chart: Chart, day: date) -> dict[str, float]:
    """Draw the values of one blood sample. They are consistent: filtration, fats and sugar follow their equations."""
    person, rng, years = chart.person, chart.rng, chart.person.years(day)
    a1c = person.a1c(day)
    total_fats = round(
        person.constants["fats"] * (1.35 if person.course(Story.OBESITY) else 1) + rng.gauss(0, 8)
    )
    hdl = round(max(28, person.constants["hdl"] + rng.gauss(0, 2)))
    high = 70 - 62 * person.effect(Story.LIPIDS, day, 1.5) if person.course(Story.LIPIDS, day) else 0
    cholesterol = round(hdl + total_fats / 5 + 98 + high + rng.gauss(0, 6))
    hemoglobin = round(
        person.constants["hemoglobin"]
        - (1.6 if person.course(Story.PREGNANCY, day) else 0)
        + rng.gauss(0, 0.2),
        1,
    )
    sodium, bicarbonate = (
        round(rng.gauss(139.5, 1.6)),
        round(rng.gauss(25 if not person.course(Story.KIDNEY) else 22.5, 1.2)),
    )
    values: dict[str, float] = {
        "sodium": sodium, "bicarbonate": bicarbonate, "chloride": sodium - bicarbonate - round(rng.uniform(9, 13)),
        "potassium": round(rng.gauss(4.7 if person.course(Story.KIDNEY) else 4.2, 0.2), 1),
        "a1c": a1c, "average": body.average_glucose(a1c), "glucose": round((28.7 * a1c - 46.7) * rng.uniform(0.84, 0.96)),
        "cholesterol": cholesterol, "hdl": hdl, "triglycerides": total_fats, "ldl": body.ldl(cholesterol, hdl, total_fats),
        "hscrp": round(0.4 + total_fats / 150 + (1.3 if person.course(Story.OBESITY) else 0) + (0.9 if person.course(Story.CORONARY) else 0), 1),
        "hemoglobin": hemoglobin, "hematocrit": round(hemoglobin * 2.95, 1), "leukocytes": round(rng.gauss(7, 1.1), 1), "platelets": round(rng.gauss(255, 30)),
        "tsh": round(max(0.3, 8.4 - 6.2 * person.effect(Story.HYPOTHYROID, day, 2) if person.course(Story.HYPOTHYROID, day) else rng.gauss(2, 0.4)), 2),
        "inr": round(rng.gauss(2.4, 0.25), 1), "psa": round(max(0.1, 9.5 - 8.6 * person.effect(Story.PROSTATE_CANCER, day, 3)), 1),
        "bnp": round(1_450 - 900 * person.effect(Story.HEART_FAILURE, day, 3) + rng.gauss(0, 60)),
        "viral": round(max(19, 48_000 * (1 - person.effect(Story.HIV, day, 0.4)))),
    }  # fmt: skip
    if person.child(day):
        values["creatinine"] = body.child_creatinine(person.height_cm(day))
    else:
        # Computed from the filtration rate, so that the eGFR in the chart follows from the creatinine.
        values["creatinine"] = body.creatinine_for(
            person.filtration_on(day) + rng.gauss(0, 1.5), years, female=person.female
        )
        values["egfr"] = body.egfr(values["creatinine"], years, female=person.female)
    values["urea"] = round(values["creatinine"] * 11 + 6 + rng.gauss(0, 1.2))
    return values


def write_panel(
    chart: Chart, visit: Visit, panel: str, values: dict[str, float], specimen: Reference
) -> Reference:
    """Write the results of a panel, each with its reference range, and their report. Return the report."""
    # The result discloses the illness as much as the diagnosis does.
    labels = labels_of(chart.person, Story.HIV) if panel == "virus" else ()
    when, issued = visit.start + timedelta(minutes=12), visit.start + timedelta(hours=6)
    references = []
    for key, value in values.items():
        test = TESTS[key]
        references.append(chart.observe(
            loinc(test.loinc, test.display), when, {"valueQuantity": quantity(value, test.unit, test.ucum)},
            category="laboratory", profile="us-core-observation-lab", labels=labels, visit=visit,
            more={"issued": issued.isoformat(), "specimen": specimen, **_interpretation(test, value)},
        ))  # fmt: skip
    return chart.write("DiagnosticReport", {
        "status": "final",
        "category": [hl7("v2-0074", "LAB", "Laboratory")],
        "code": loinc(*PANELS[panel][0]),
        "subject": chart.patient,
        "encounter": visit.ref,
        "effectiveDateTime": when.isoformat(),
        "issued": issued.isoformat(),
        "performer": [chart.site.clinician("pathology").ref, chart.site.ref("Organization", "org-laboratory")],
        "specimen": [specimen],
        "result": references,
    }, profile="us-core-diagnosticreport-lab", labels=labels)  # fmt: skip


def _interpretation(test: Test, value: float) -> dict[str, Any]:
    """Return the interpretation of a result and its reference range; nothing for a test without one."""
    bounds = {
        name: quantity(bound, test.unit, test.ucum)
        for name, bound in (("low", test.low), ("high", test.high)) if bound is not None
    }  # fmt: skip
    if not bounds:
        return {}
    mark = (
        "L"
        if test.low is not None and value < test.low
        else "H"
        if test.high is not None and value > test.high
        else "N"
    )
    words = {"L": "Low", "H": "High", "N": "Normal"}[mark]
    return {"interpretation": [hl7("v3-ObservationInterpretation", mark, words)], "referenceRange": [bounds]}
