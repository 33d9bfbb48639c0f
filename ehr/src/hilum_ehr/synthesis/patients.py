"""Draws the people of a hospital, before their charts: personal data, illnesses with their onset, and how the body develops."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from hilum_ehr.synthesis import body, names
from hilum_ehr.synthesis.codes import ILLNESSES, Illness
from hilum_ehr.synthesis.models import HospitalPlan, Kin, Kind, PatientPlan, Story

YEAR_DAYS = 365.25
MONTH_DAYS = YEAR_DAYS / 12
HISTORY_DAYS = 1_095
"""How far back an adult's chart goes."""
ADULT_YEARS = 18
PREGNANCY_DAYS = 266


@dataclass(frozen=True, slots=True)
class Course:
    """An illness of one person. Drugs begin on ``treated``; ``ended`` is None for an illness that does not pass."""

    story: Story
    illness: Illness
    onset: date
    treated: date
    ended: date | None = None


@dataclass(slots=True)
class Person:
    """One patient of a synthetic hospital. ``slug`` is a part of every id in the chart."""

    slug: str
    given: tuple[str, ...]
    family: str
    female: bool
    born: date
    until: date
    """The last day that can be in the chart: the day of death, or yesterday."""
    stories: frozenset[Story]
    rng: Random
    is_planned: bool = False
    """Planned by hand. Planned people have visits more often."""
    kin: tuple[Kin, ...] = ()
    suffix: str = ""
    courses: tuple[Course, ...] = ()
    stature_z: float = 0.0
    weight_z: float = 0.0
    first_bmi: float = 25.0
    bmi_a_year: float = 0.1
    filtration: float = 95.0
    """Kidney function when the chart begins, mL/min/1.73 m2."""
    constants: dict[str, float] = field(default_factory=dict)
    """Personal values (resting pressure, pulse, fats) around which measurements scatter."""

    @property
    def died(self) -> date | None:
        return self.until if Story.DECEASED in self.stories else None

    @property
    def begins(self) -> date:
        """Return the first day of the chart: the birth of a planned child, otherwise HISTORY_DAYS back at most."""
        if self.child(self.until) and self.is_planned:
            return self.born
        return max(self.born, self.until - timedelta(days=HISTORY_DAYS))

    def years(self, day: date) -> float:
        return (day - self.born).days / YEAR_DAYS

    def months(self, day: date) -> float:
        return (day - self.born).days / MONTH_DAYS

    def child(self, day: date) -> bool:
        return self.years(day) < ADULT_YEARS

    def course(self, story: Story, day: date | None = None) -> Course | None:
        """Return the course of an illness, or None if it had not begun by ``day``."""
        for course in self.courses:
            if course.story is story and (day is None or course.onset <= day):
                return course
        return None

    def effect(self, story: Story, day: date, half_life_months: float) -> float:
        """Return the share of an illness's treatment effect that has set in by ``day``, 0 to 1."""
        course = self.course(story, day)
        return body.eased((day - course.treated).days / MONTH_DAYS, half_life_months) if course else 0.0

    def height_cm(self, day: date) -> float:
        factor = 1 + body.HEIGHT_SPREAD * self.stature_z
        return round(body.on_curve(body.HEIGHT_CM[self.female], self.months(day)) * factor, 1)

    def weight_kg(self, day: date) -> float:
        if self.child(self.until):
            factor = 1 + body.WEIGHT_SPREAD * self.weight_z
            return round(
                body.on_curve(body.WEIGHT_KG[self.female], self.months(day)) * factor,
                2 if self.months(day) < 12 else 1,
            )
        index = self.first_bmi + self.bmi_a_year * (day - self.begins).days / YEAR_DAYS
        grown = index * (self.height_cm(day) / 100) ** 2
        # Treated diabetics lose weight.
        grown -= 4.0 * self.effect(Story.DIABETES, day, 9)
        pregnancy = self.course(Story.PREGNANCY, day)
        if pregnancy and (pregnancy.ended is None or day <= pregnancy.ended):
            grown += 12.0 * min(1.0, (day - pregnancy.onset).days / PREGNANCY_DAYS)
        return round(grown, 1)

    def head_cm(self, day: date) -> float:
        factor = 1 + body.HEAD_SPREAD * self.stature_z
        return round(body.on_curve(body.HEAD_CM[self.female] + (0.0,) * 15, self.months(day)) * factor, 1)

    def filtration_on(self, day: date) -> float:
        """Return the glomerular filtration rate on a day, mL/min/1.73 m2."""
        loss_a_year = 3.5 if self.course(Story.KIDNEY) else 0.8
        return max(12.0, self.filtration - loss_a_year * (day - self.begins).days / YEAR_DAYS)

    def pressure(self, day: date) -> tuple[int, int]:
        """Draw a systolic and a diastolic pressure (mmHg) by age, illness and the effect of treatment by then."""
        if self.child(day):
            top = 78 + 2.2 * min(self.years(day), 15) + self.rng.gauss(0, 3)
            return round(top), round(top * 0.62)
        top = 104 + 0.25 * self.years(day) + self.constants["pressure"]
        if self.course(Story.HYPERTENSION, day):
            top += 30 - 26 * self.effect(Story.HYPERTENSION, day, 3)
        top += self.rng.gauss(0, 4)
        return round(top), round(top * 0.45 + 20 + self.rng.gauss(0, 2))

    def a1c(self, day: date) -> float:
        """Draw an HbA1c (%): high at the diagnosis of diabetes, lowered by treatment over about a year."""
        if self.course(Story.TYPE1_DIABETES, day):
            return round(10.8 - 3.0 * self.effect(Story.TYPE1_DIABETES, day, 4) + self.rng.gauss(0, 0.2), 1)
        if self.course(Story.DIABETES, day):
            return round(9.1 - 2.2 * self.effect(Story.DIABETES, day, 5) + self.rng.gauss(0, 0.15), 1)
        return round(5.3 + self.constants["sugar"], 1)


_GENERAL_MIX: tuple[tuple[Story, float], ...] = (
    (Story.HYPERTENSION, 0.42), (Story.LIPIDS, 0.30), (Story.DIABETES, 0.22), (Story.OBESITY, 0.2), (Story.DEPRESSION, 0.15), (Story.ARTHRITIS, 0.15),
    (Story.REFLUX, 0.14), (Story.ASTHMA, 0.1), (Story.KIDNEY, 0.12), (Story.HYPOTHYROID, 0.1), (Story.ANXIETY, 0.1), (Story.CORONARY, 0.1),
    (Story.ATRIAL_FIBRILLATION, 0.07), (Story.HEART_FAILURE, 0.07), (Story.COPD, 0.08), (Story.MIGRAINE, 0.08), (Story.BREAST_CANCER, 0.05),
    (Story.PROSTATE_CANCER, 0.05), (Story.OPIOID_USE, 0.03), (Story.HIV, 0.02), (Story.FOOD_INSECURITY, 0.08),
)  # fmt: skip
_CHILD_MIX: tuple[tuple[Story, float], ...] = (
    (Story.ASTHMA, 0.25), (Story.RHINITIS, 0.2), (Story.ECZEMA, 0.2), (Story.ADHD, 0.15), (Story.TYPE1_DIABETES, 0.06), (Story.EPILEPSY, 0.06),
    (Story.PREMATURITY, 0.1), (Story.CYSTIC_FIBROSIS, 0.03), (Story.FOOD_INSECURITY, 0.1),
)  # fmt: skip
_ONLY_OLD = {Story.CORONARY: 45, Story.ATRIAL_FIBRILLATION: 50, Story.HEART_FAILURE: 55, Story.COPD: 45, Story.KIDNEY: 45, Story.PROSTATE_CANCER: 55,
             Story.BREAST_CANCER: 40, Story.ARTHRITIS: 40, Story.DEMENTIA: 65}  # fmt: skip
_NOT_BEFORE = {
    Story.ADHD: 6,
    Story.ASTHMA: 2,
    Story.RHINITIS: 3,
    Story.TYPE1_DIABETES: 4,
    Story.EPILEPSY: 2,
    Story.DEPRESSION: 12,
    Story.OPIOID_USE: 15,
}

_DIET_FIRST = frozenset({Story.HYPERTENSION, Story.DIABETES, Story.LIPIDS})
"""In planned charts these are untreated at the first visits, so that the chart shows the effect of the drugs."""


def draw_people(plan: HospitalPlan, *, seed: int, today: date) -> list[Person]:
    """Draw all patients of a hospital, the planned ones first. Each has a random stream, so that one more changes no other."""
    people = [_planned(planned, _stream(plan, seed, planned.slug), today) for planned in plan.notable]
    slugs = {person.slug for person in people}
    number = 0
    while len(people) < plan.size:
        person = _unplanned(plan, _stream(plan, seed, f"#{number}"), today)
        number += 1
        # Two people may draw the same name; the second is left out, since ids contain the slug.
        if person.slug not in slugs:
            slugs.add(person.slug)
            people.append(person)
    return people


def _stream(plan: HospitalPlan, seed: int, name: str) -> Random:
    # Seeded by text: Python's Random hashes strings the same in every process and release.
    return Random(f"{seed}:{plan.tenant}:{name}")  # noqa: S311 - people who do not exist need no secrecy


def _planned(plan: PatientPlan, rng: Random, today: date) -> Person:
    born = today - timedelta(days=plan.age_days)
    stories = frozenset(plan.stories)
    # Yesterday, since today's visits would change during the day.
    until = today - timedelta(days=96 if Story.DECEASED in stories else 1)
    person = Person(
        plan.slug, plan.given, plan.family, plan.female, born, until, stories, rng, is_planned=True
    )
    person.kin, person.suffix = plan.kin, plan.suffix
    _draw_body(person)
    person.courses = tuple(
        _course(person, story, plan.gave_birth_days_ago) for story in plan.stories if story in ILLNESSES
    )
    return person


def _unplanned(plan: HospitalPlan, rng: Random, today: date) -> Person:
    female = rng.random() < 0.52
    given = (rng.choice(names.WOMEN if female else names.MEN),)
    family = rng.choice(names.FAMILIES)
    if plan.kind is Kind.CHILDREN:
        age, mix = rng.randint(20, 17 * 365), _CHILD_MIX
    else:
        age, mix = rng.randint(19 * 365, 88 * 365), _GENERAL_MIX
    years = age / YEAR_DAYS
    stories = {
        story for story, share in mix
        if rng.random() < share and _ONLY_OLD.get(story, 0) < years and _NOT_BEFORE.get(story, 0) < years
        and not (story is Story.PROSTATE_CANCER and female) and not (story is Story.BREAST_CANCER and not female)
    }  # fmt: skip
    if female and 20 < years < 42 and rng.random() < 0.2:
        stories.add(Story.PREGNANCY)
    # Kidney disease without high blood pressure is rare.
    if Story.KIDNEY in stories and Story.HYPERTENSION not in stories:
        stories.add(Story.HYPERTENSION)
    # Sorted: random numbers are drawn in this order, and that of a set differs between processes.
    ordered = tuple(sorted(stories))
    slug = f"{names.slug(family)}-{names.slug(given[0])}"
    person = Person(
        slug,
        given,
        family,
        female,
        today - timedelta(days=age),
        today - timedelta(days=1),
        frozenset(ordered),
        rng,
    )
    if plan.kind is Kind.CHILDREN:
        person.kin = (Kin("parent", rng.choice(names.WOMEN), family, "MTH"),)
    _draw_body(person)
    person.courses = tuple(_course(person, story) for story in ordered if story in ILLNESSES)
    return person


def _draw_body(person: Person) -> None:
    rng = person.rng
    person.stature_z, person.weight_z = rng.gauss(0, 0.8), rng.gauss(0, 0.8)
    if Story.PREMATURITY in person.stories:
        person.stature_z, person.weight_z = rng.uniform(-2.0, -1.2), rng.uniform(-2.4, -1.4)
    person.first_bmi = rng.uniform(31, 37) if Story.OBESITY in person.stories else rng.uniform(20.5, 29.5)
    person.bmi_a_year = rng.uniform(-0.2, 0.4)
    person.filtration = (
        rng.uniform(44, 56)
        if Story.KIDNEY in person.stories
        else min(118.0, rng.uniform(104, 126) - 0.5 * person.years(person.until))
    )
    person.constants = {
        "pressure": rng.gauss(0, 5), "pulse": rng.gauss(0, 6), "sugar": rng.uniform(-0.3, 0.3), "hdl": rng.gauss(52, 9), "fats": rng.gauss(125, 28),
        "hemoglobin": rng.gauss(13.4 if person.female else 14.8, 0.6),
    }  # fmt: skip


def _course(person: Person, story: Story, gave_birth_days_ago: int | None = None) -> Course:
    rng, illness = person.rng, ILLNESSES[story]
    if story is Story.PREGNANCY:
        ended = (
            None if gave_birth_days_ago is None else person.until - timedelta(days=gave_birth_days_ago - 1)
        )
        onset = (
            ended - timedelta(days=PREGNANCY_DAYS)
            if ended
            else person.until - timedelta(days=rng.randint(90, 240))
        )
        return Course(story, illness, onset, onset + timedelta(days=70), ended)
    if illness.from_birth:
        return Course(story, illness, person.born, person.born + timedelta(days=30))
    earliest = person.born + timedelta(
        days=round((_NOT_BEFORE.get(story, 1) if person.child(person.until) else ADULT_YEARS) * YEAR_DAYS)
    )
    # Planned illnesses begin with the chart, so that it shows their whole course.
    days_ago = rng.randint(1_050, 1_090) if person.is_planned else rng.randint(200, 2_900)
    onset = max(
        person.until - timedelta(days=days_ago),
        min(earliest, person.until - timedelta(days=120)),
        person.born,
    )
    untreated_days = (
        rng.randint(170, 230) if person.is_planned and story in _DIET_FIRST else rng.randint(20, 60)
    )
    return Course(story, illness, onset, onset + timedelta(days=untreated_days))
