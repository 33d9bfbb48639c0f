"""Lives, before their charts: a person's data, their illnesses with onset, and how their body develops."""

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
    """An illness in one life. Drugs begin on ``treated``; ``ended`` only for what passes."""

    story: Story
    illness: Illness
    onset: date
    treated: date
    ended: date | None = None


@dataclass(slots=True)
class Life:
    slug: str
    given: tuple[str, ...]
    family: str
    female: bool
    born: date
    until: date
    """The last day that can be in the chart: the day of death, or yesterday."""
    stories: frozenset[Story]
    rng: Random
    written: bool = False
    """Planned by hand, so it is seen more often."""
    kin: tuple[Kin, ...] = ()
    suffix: str = ""
    courses: tuple[Course, ...] = ()
    stature_z: float = 0.0
    weight_z: float = 0.0
    first_bmi: float = 25.0
    bmi_a_year: float = 0.1
    filtration: float = 95.0
    """Kidney function when the chart begins, mL/min/1.73 m2."""
    temper: dict[str, float] = field(default_factory=dict)
    """Constants of this body (resting pressure, pulse, fats) around which measurements scatter."""

    @property
    def died(self) -> date | None:
        return self.until if Story.DECEASED in self.stories else None

    @property
    def begins(self) -> date:
        """When the chart begins: at birth for a child whose chart was planned, some years back for others."""
        if self.child(self.until) and self.written:
            return self.born
        return max(self.born, self.until - timedelta(days=HISTORY_DAYS))

    def years(self, day: date) -> float:
        return (day - self.born).days / YEAR_DAYS

    def months(self, day: date) -> float:
        return (day - self.born).days / MONTH_DAYS

    def child(self, day: date) -> bool:
        return self.years(day) < ADULT_YEARS

    def course(self, story: Story, day: date | None = None) -> Course | None:
        """Find the course of an illness, if it had begun by ``day``."""
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
        # Loss of filtration a year, diseased and healthy.
        lost = 3.5 if self.course(Story.KIDNEY) else 0.8
        return max(12.0, self.filtration - lost * (day - self.begins).days / YEAR_DAYS)

    def pressure(self, day: date) -> tuple[int, int]:
        """Return systolic and diastolic pressure: age, illness, what the drugs have done by then, and scatter."""
        if self.child(day):
            top = 78 + 2.2 * min(self.years(day), 15) + self.rng.gauss(0, 3)
            return round(top), round(top * 0.62)
        top = 104 + 0.25 * self.years(day) + self.temper["pressure"]
        if self.course(Story.HYPERTENSION, day):
            top += 30 - 26 * self.effect(Story.HYPERTENSION, day, 3)
        top += self.rng.gauss(0, 4)
        return round(top), round(top * 0.45 + 20 + self.rng.gauss(0, 2))

    def a1c(self, day: date) -> float:
        """Return HbA1c (%): high at the diagnosis of diabetes, eased by treatment over about a year."""
        if self.course(Story.TYPE1_DIABETES, day):
            return round(10.8 - 3.0 * self.effect(Story.TYPE1_DIABETES, day, 4) + self.rng.gauss(0, 0.2), 1)
        if self.course(Story.DIABETES, day):
            return round(9.1 - 2.2 * self.effect(Story.DIABETES, day, 5) + self.rng.gauss(0, 0.15), 1)
        return round(5.3 + self.temper["sugar"], 1)


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
"""In planned charts these are untreated for some visits, so that the drug's effect can be seen."""


def lives(plan: HospitalPlan, *, seed: int, today: date) -> list[Life]:
    """Draw all patients of a hospital. Each has a random stream of their own, so that one more life changes no other."""
    taken = {written.slug for written in plan.notable}
    drawn = [_written(written, _stream(plan, seed, written.slug), today) for written in plan.notable]
    number = 0
    # Two drawn people may have the same name; the second is drawn again, since the slug is their id.
    while len(drawn) < plan.size:
        life = _drawn(plan, _stream(plan, seed, f"#{number}"), today)
        number += 1
        if life.slug not in taken:
            taken.add(life.slug)
            drawn.append(life)
    return drawn


def _stream(plan: HospitalPlan, seed: int, name: str) -> Random:
    # Seeded by text: Python's Random hashes strings the same in every process and release.
    return Random(f"{seed}:{plan.tenant}:{name}")  # noqa: S311 - people who do not exist need no secrecy


def _written(written: PatientPlan, rng: Random, today: date) -> Life:
    born = today - timedelta(days=written.age_days)
    stories = frozenset(written.stories)
    # Yesterday, since today's visits would change during the day.
    until = today - timedelta(days=96 if Story.DECEASED in stories else 1)
    life = Life(
        written.slug, written.given, written.family, written.female, born, until, stories, rng, written=True
    )
    life.kin, life.suffix = written.kin, written.suffix
    _embody(life)
    life.courses = tuple(
        _course(life, story, written.gave_birth_days_ago) for story in written.stories if story in ILLNESSES
    )
    return life


def _drawn(plan: HospitalPlan, rng: Random, today: date) -> Life:
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
    # Sorted: the order of a set differs between processes, and drawing follows it.
    ordered = tuple(sorted(stories))
    slug = f"{names.slug(family)}-{names.slug(given[0])}"
    life = Life(
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
        life.kin = (Kin("parent", rng.choice(names.WOMEN), family, "MTH"),)
    _embody(life)
    life.courses = tuple(_course(life, story) for story in ordered if story in ILLNESSES)
    return life


def _embody(life: Life) -> None:
    rng = life.rng
    life.stature_z, life.weight_z = rng.gauss(0, 0.8), rng.gauss(0, 0.8)
    if Story.PREMATURITY in life.stories:
        life.stature_z, life.weight_z = rng.uniform(-2.0, -1.2), rng.uniform(-2.4, -1.4)
    life.first_bmi = rng.uniform(31, 37) if Story.OBESITY in life.stories else rng.uniform(20.5, 29.5)
    life.bmi_a_year = rng.uniform(-0.2, 0.4)
    life.filtration = (
        rng.uniform(44, 56)
        if Story.KIDNEY in life.stories
        else min(118.0, rng.uniform(104, 126) - 0.5 * life.years(life.until))
    )
    life.temper = {
        "pressure": rng.gauss(0, 5), "pulse": rng.gauss(0, 6), "sugar": rng.uniform(-0.3, 0.3), "hdl": rng.gauss(52, 9), "fats": rng.gauss(125, 28),
        "hemoglobin": rng.gauss(13.4 if life.female else 14.8, 0.6),
    }  # fmt: skip


def _course(life: Life, story: Story, gave_birth_days_ago: int | None = None) -> Course:
    rng, illness = life.rng, ILLNESSES[story]
    if story is Story.PREGNANCY:
        ended = None if gave_birth_days_ago is None else life.until - timedelta(days=gave_birth_days_ago - 1)
        onset = (
            ended - timedelta(days=PREGNANCY_DAYS)
            if ended
            else life.until - timedelta(days=rng.randint(90, 240))
        )
        return Course(story, illness, onset, onset + timedelta(days=70), ended)
    if illness.from_birth:
        return Course(story, illness, life.born, life.born + timedelta(days=30))
    earliest = life.born + timedelta(
        days=round((_NOT_BEFORE.get(story, 1) if life.child(life.until) else ADULT_YEARS) * YEAR_DAYS)
    )
    # Planned illnesses begin with the chart, so that their whole course can be seen.
    back = rng.randint(1_050, 1_090) if life.written else rng.randint(200, 2_900)
    onset = max(life.until - timedelta(days=back), min(earliest, life.until - timedelta(days=120)), life.born)
    waits = rng.randint(170, 230) if life.written and story in _DIET_FIRST else rng.randint(20, 60)
    return Course(story, illness, onset, onset + timedelta(days=waits))
