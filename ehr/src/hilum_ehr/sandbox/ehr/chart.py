"""Builds the summary of a chart from its resources. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from hilum.foundation.web.charts import Chart, Series, line_chart
from hilum_ehr.synthesis.models import Resource

PROBLEMS_SHOWN = 12
MEDICATIONS_SHOWN = 12
LABS_SHOWN = 10
ENCOUNTERS_SHOWN = 12
YEAR_DAYS = 365.2425
ADULT_YEARS = 18
SYSTOLIC, DIASTOLIC = "8480-6", "8462-4"


@dataclass(frozen=True, slots=True)
class Sign:
    """A vital sign that the summary draws. ``usual``: the normal range, drawn as a band; ``of_adults``: the range is that of adults."""

    code: str
    name: str
    unit: str
    usual: tuple[float, float] | None = None
    of_adults: bool = False


PRESSURE = Sign("85354-9", "Blood pressure", "mmHg")
SIGNS = (
    Sign("8867-4", "Heart rate", "/min", (60, 100), of_adults=True),
    Sign("29463-7", "Weight", "kg"),
    Sign("8302-2", "Height", "cm"),
    Sign("59408-5", "Oxygen saturation", "%", (94, 100)),
    Sign("8310-5", "Temperature", "°C", (36.1, 37.5)),
)
LAB_NAMES = {
    "4548-4": "Hemoglobin A1c",
    "27353-2": "Average glucose",
    "2951-2": "Sodium",
    "2823-3": "Potassium",
    "2075-0": "Chloride",
    "2028-9": "Bicarbonate",
    "3094-0": "Urea nitrogen",
    "2160-0": "Creatinine",
    "2345-7": "Glucose",
    "98979-8": "eGFR",
    "2093-3": "Total cholesterol",
    "2085-9": "HDL cholesterol",
    "13457-7": "LDL cholesterol",
    "2571-8": "Triglycerides",
    "30522-7": "hs-CRP",
    "718-7": "Hemoglobin",
    "4544-3": "Hematocrit",
    "6690-2": "White cells",
    "777-3": "Platelets",
    "3016-3": "TSH",
    "6301-6": "INR",
    "2857-1": "PSA",
    "33762-6": "NT-proBNP",
    "20447-9": "HIV viral load",
}
"""Short clinical names for LOINC's long ones."""


@dataclass(frozen=True, slots=True)
class Banner:
    """Who the chart is about. ``age`` is in the unit of that age."""

    id: str
    name: str
    age: str
    sex: str
    born: str
    mrn: str
    deceased: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    title: str
    detail: str = ""
    when: str = ""
    flag: str = ""
    """high, low or abnormal, if the laboratory flagged it."""


@dataclass(frozen=True, slots=True)
class Vital:
    name: str
    latest: str
    when: str
    chart: Chart


@dataclass(frozen=True, slots=True)
class Visit:
    id: str
    label: str
    open: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything the chart page shows; the page says when a list is empty."""

    banner: Banner
    problems: tuple[Item, ...]
    medications: tuple[Item, ...]
    allergies: tuple[Item, ...]
    vitals: tuple[Vital, ...]
    labs: tuple[Item, ...]
    visits: tuple[Visit, ...]

    @property
    def allergic_to(self) -> tuple[str, ...]:
        """Return the allergies, without statements that none is known."""
        return tuple(item.title for item in self.allergies if not item.title.lower().startswith("no known"))


def summary(chart: dict[str, list[Resource]], *, today: date) -> Summary:
    """Build the summary of a chart."""
    return Summary(
        banner=banner(chart["patient"][0], today=today),
        problems=_items(chart["problems"], _problem, PROBLEMS_SHOWN),
        medications=_medications(chart["medications"]),
        allergies=_items(chart["allergies"], _allergy, PROBLEMS_SHOWN),
        vitals=_vitals(chart["vitals"], adult=_is_adult(chart["patient"][0], today)),
        labs=_labs(chart["labs"]),
        visits=visits(chart["encounters"]),
    )


def banner(patient: Resource, *, today: date) -> Banner:
    """Build the summary of a patient's demographics."""
    birth = patient.get("birthDate", "")
    # The age at death, not today's.
    end = str(patient.get("deceasedDateTime", ""))[:10]
    deceased = end or ("yes" if patient.get("deceasedBoolean") else "")
    until = _date(end) or today
    return Banner(
        id=patient["id"],
        name=name_of(patient),
        age=_age(birth, until),
        sex=str(patient.get("gender", "unknown")),
        born=_day(birth) if birth else "unknown",
        mrn=next((each["value"] for each in patient.get("identifier", ()) if each.get("value")), ""),
        deceased=_day(deceased) if end else deceased,
    )


def name_of(patient: Resource) -> str:
    """Return a patient's name as it is used today."""
    # Former names stay in the record (US Core), but are not how a person is addressed.
    names = [name for name in patient.get("name", ()) if name.get("use") not in {"old", "maiden"}]
    first = names[0] if names else {}
    if first.get("text"):
        return str(first["text"])
    parts = [*first.get("given", ()), first.get("family", ""), *first.get("suffix", ())]
    return " ".join(part for part in parts if isinstance(part, str) and part) or "Name unknown"


def visits(encounters: Iterable[Resource]) -> tuple[Visit, ...]:
    """List the newest encounters."""
    by_start = []
    for each in encounters:
        start = str(each.get("period", {}).get("start", ""))
        kind = _text(next(iter(each.get("type", ())), {})) or each.get("class", {}).get("display", "")
        label = " · ".join(part for part in (_day(start), kind) if part)
        visit = Visit(each["id"], label or each["id"], each.get("status") == "in-progress")
        by_start.append((start, visit))
    # As text: FHIR's dates sort by time if they are of one zone, as the synthetic ones are.
    by_start.sort(key=lambda pair: pair[0], reverse=True)
    return tuple(visit for _, visit in by_start[:ENCOUNTERS_SHOWN])


def _items(
    resources: Iterable[Resource], shape: Callable[[Resource], tuple[str, Item] | None], bound: int
) -> tuple[Item, ...]:
    shaped = [pair for resource in resources if (pair := shape(resource)) is not None]
    newest: dict[str, tuple[str, Item]] = {}
    # Of several entries with one title the newest is shown, such as a renewed prescription.
    for when, item in sorted(shaped, key=lambda pair: pair[0], reverse=True):
        newest.setdefault(item.title, (when, item))
    return tuple(item for _, item in list(newest.values())[:bound])


def _problem(resource: Resource) -> tuple[str, Item] | None:
    categories = {
        coding.get("code") for each in resource.get("category", ()) for coding in each.get("coding", ())
    }
    # The problem list only: diagnoses of visits are listed with the visits.
    if "encounter-diagnosis" in categories or _code(resource.get("clinicalStatus")) not in {
        "active",
        "recurrence",
        "",
    }:
        return None
    when = str(resource.get("onsetDateTime") or resource.get("recordedDate") or "")
    return when, Item(_text(resource.get("code")), when=f"since {_month(when)}" if when else "")


def _medications(resources: list[Resource]) -> tuple[Item, ...]:
    """List the active prescriptions. The Medications that they refer to are among the resources."""
    named = {f"Medication/{each['id']}": each for each in resources if each["resourceType"] == "Medication"}

    def shape(resource: Resource) -> tuple[str, Item] | None:
        if resource["resourceType"] == "Medication" or resource.get("status") != "active":
            return None
        reference = resource.get("medicationReference", {})
        elsewhere = named.get(reference.get("reference", ""), {})
        title = (
            _text(resource.get("medicationCodeableConcept"))
            or reference.get("display")
            or _text(elsewhere.get("code"))
        )
        dose = next((each.get("text", "") for each in resource.get("dosageInstruction", ())), "")
        when = str(resource.get("authoredOn", ""))
        return when, Item(title or "Medication", dose, _month(when))

    return _items(resources, shape, MEDICATIONS_SHOWN)


def _allergy(resource: Resource) -> tuple[str, Item] | None:
    if _code(resource.get("clinicalStatus")) not in {"active", ""}:
        return None
    reactions = [
        _text(each) for reaction in resource.get("reaction", ()) for each in reaction.get("manifestation", ())
    ]
    flag = "high" if resource.get("criticality") == "high" else ""
    return str(resource.get("recordedDate", "")), Item(
        _text(resource.get("code")), ", ".join(reactions), flag=flag
    )


def _is_adult(patient: Resource, today: date) -> bool:
    born = _date(str(patient.get("birthDate", "")))
    return born is not None and (today - born).days >= ADULT_YEARS * YEAR_DAYS


def _vitals(observations: list[Resource], *, adult: bool) -> tuple[Vital, ...]:
    # The usual range of a heart rate is an adult's; a child's chart shows the curve without a band.
    signs = tuple(replace(sign, usual=None) if sign.of_adults and not adult else sign for sign in SIGNS)
    vitals = [_pressure(observations), *(_sign(observations, sign) for sign in signs)]
    return tuple(vital for vital in vitals if vital is not None)


def _pressure(observations: list[Resource]) -> Vital | None:
    upper: list[tuple[datetime, float]] = []
    lower: list[tuple[datetime, float]] = []
    for each in observations:
        at = _instant(each)
        if at is None or not _has_code(each, PRESSURE.code):
            continue
        values = {
            _code(part.get("code")): part.get("valueQuantity", {}).get("value")
            for part in each.get("component", ())
        }
        # The two curves must have the same points.
        if values.get(SYSTOLIC) is not None and values.get(DIASTOLIC) is not None:
            upper.append((at, float(values[SYSTOLIC])))
            lower.append((at, float(values[DIASTOLIC])))
    chart = line_chart(
        [Series("Systolic", tuple(upper)), Series("Diastolic", tuple(lower))], unit=PRESSURE.unit
    )
    if chart is None:
        return None
    at, value = max(upper)
    return Vital(PRESSURE.name, f"{value:g}/{max(lower)[1]:g} {PRESSURE.unit}", _day(at.isoformat()), chart)


def _sign(observations: list[Resource], sign: Sign) -> Vital | None:
    points = tuple(
        (at, float(each["valueQuantity"]["value"]))
        for each in observations
        if _has_code(each, sign.code)
        and each.get("valueQuantity", {}).get("value") is not None
        and (at := _instant(each)) is not None
    )
    chart = line_chart(
        [Series(sign.name, points)],
        unit=sign.unit,
        usual=sign.usual,
        usual_name="Usual in adults" if sign.of_adults else "Usual range",
    )
    if chart is None:
        return None
    # By time, since it is first in the pair.
    at, value = max(points)
    return Vital(sign.name, f"{value:g} {sign.unit}", _day(at.isoformat()), chart)


def _labs(observations: list[Resource]) -> tuple[Item, ...]:
    newest: dict[str, tuple[datetime, Item]] = {}
    for each in observations:
        at, quantity = _instant(each), each.get("valueQuantity")
        if at is None or not quantity or quantity.get("value") is None:
            continue
        code = _code(each.get("code"))
        title = LAB_NAMES.get(code) or _text(each.get("code"))
        flag = {"H": "high", "HH": "high", "L": "low", "LL": "low", "A": "abnormal"}.get(
            _code(next(iter(each.get("interpretation", ())), None)), ""
        )
        item = Item(title, f"{quantity['value']:g} {_unit(quantity)}".strip(), _day(at.isoformat()), flag)
        if code not in newest or newest[code][0] < at:
            newest[code] = (at, item)
    # Flagged results first, then the newest.
    shown = sorted(
        newest.values(), key=lambda pair: (pair[1].flag == "", -pair[0].timestamp(), pair[1].title)
    )
    return tuple(item for _, item in shown[:LABS_SHOWN])


def _unit(quantity: dict[str, Any]) -> str:
    """Return a unit as clinicians write it, without UCUM's annotations."""
    return str(quantity.get("unit", "")).replace("{1.73_m2}", "1.73 m²").replace("{", "").replace("}", "")


def _has_code(observation: Resource, code: str) -> bool:
    return any(coding.get("code") == code for coding in observation.get("code", {}).get("coding", ()))


def _code(concept: Any) -> str:
    codings = concept.get("coding", ()) if concept else ()
    return str(codings[0].get("code", "")) if codings else ""


def _text(concept: Any) -> str:
    if not concept:
        return ""
    codings = concept.get("coding", ())
    return str(concept.get("text") or (codings[0].get("display", "") if codings else ""))


def _instant(observation: Resource) -> datetime | None:
    text = str(
        observation.get("effectiveDateTime") or observation.get("effectivePeriod", {}).get("start") or ""
    )
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    # A date without time has no zone, without which it could not be compared.
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def _age(birth: str, today: date) -> str:
    born = _date(birth)
    if born is None:
        return "age unknown"
    days = (today - born).days
    if days < 60:
        return f"{days} days"
    if days < 2 * 365:
        return f"{days // 30} months"
    return f"{int(days / YEAR_DAYS)} years"


def _day(text: str) -> str:
    day = _date(text)
    return f"{day.day} {day:%b %Y}" if day else text[:10]


def _month(text: str) -> str:
    day = _date(text)
    return f"{day:%b %Y}" if day else text[:7]
