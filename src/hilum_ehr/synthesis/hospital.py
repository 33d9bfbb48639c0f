"""The entry point: builds every resource of a hospital from a plan, a seed and a day."""

from datetime import date

import orjson

from hilum_ehr.synthesis.care_plans import write_plans
from hilum_ehr.synthesis.chart import Chart
from hilum_ehr.synthesis.codes import ILLNESSES
from hilum_ehr.synthesis.documents import write_papers
from hilum_ehr.synthesis.measures import write_measures
from hilum_ehr.synthesis.medicines import write_medicines
from hilum_ehr.synthesis.models import NOTABLE_ENCOUNTERS_BOUND, ChartSummary, HospitalPlan, Resource, Story
from hilum_ehr.synthesis.patients import Life, lives
from hilum_ehr.synthesis.people import full_name, write_person
from hilum_ehr.synthesis.places import Site, build_site
from hilum_ehr.synthesis.profiles import write_extras
from hilum_ehr.synthesis.social import questionnaire, write_social
from hilum_ehr.synthesis.visits import write_visits

GROUPS: tuple[tuple[str, str, Story | None], ...] = (
    ("group-all", "Everybody", None),
    ("group-diabetes", "People with type 2 diabetes", Story.DIABETES),
    ("group-asthma", "People with asthma", Story.ASTHMA),
)


def synthesize(plan: HospitalPlan, *, seed: int, today: date) -> list[Resource]:
    """Build every resource of a hospital. The same plan, seed and day produce the same resources in the same order.

    Nothing in it happens after ``today`` but appointments; references resolve within the list.
    """
    site = build_site(plan, seed=seed, today=today)
    site.add("Questionnaire", "food-at-home", questionnaire())
    # Lives before charts: groups need everybody, and each chart draws from its own life's random numbers.
    people = lives(plan, seed=seed, today=today)
    charts = [resource for life in people for resource in _chart(site, life)]
    _groups(site, people)
    # Constants are shared while charts are written; the caller gets values of its own.
    owned: list[Resource] = orjson.loads(orjson.dumps(site.resources + charts))
    return owned


def describe(plan: HospitalPlan, *, seed: int, today: date) -> tuple[ChartSummary, ...]:
    """List the charts that ``synthesize`` builds, the planned ones first, with a reason to open each."""
    site = build_site(plan, seed=seed, today=today)
    notable = {written.slug: written.notable for written in plan.notable}
    found = []
    for life in lives(plan, seed=seed, today=today):
        chart = Chart(site, life)
        # The same steps in the same order as `_chart`, so that they draw the same random numbers and the ids
        # agree; what comes later is not needed here.
        write_person(chart)
        write_visits(chart)
        words = (
            notable.get(life.slug)
            or ", ".join(ILLNESSES[course.story].name for course in life.courses)
            or "healthy"
        )
        encounters = tuple(visit.ref["reference"].partition("/")[2] for visit in reversed(chart.visits))
        name = full_name(life.given, life.family)
        found.append(
            ChartSummary(plan.patient_id(life.slug), name, words, encounters[:NOTABLE_ENCOUNTERS_BOUND])
        )
    return tuple(found)


def _chart(site: Site, life: Life) -> list[Resource]:
    chart = Chart(site, life)
    write_person(chart)
    # Visits first: everything else is written at one, and refers to its encounter and problems.
    write_visits(chart)
    if chart.visits:
        write_measures(chart)
        write_medicines(chart)
        write_papers(chart)
        write_plans(chart)
        write_social(chart)
        write_extras(chart)
    return chart.close()


def _groups(site: Site, people: list[Life]) -> None:
    for name, title, story in GROUPS:
        members = [life for life in people if story is None or story in life.stories]
        if members:
            site.add("Group", name, {
                "active": True,
                "type": "person",
                "actual": True,
                "name": title,
                "quantity": len(members),
                "managingEntity": site.organization,
                "member": [{"entity": {"reference": f"Patient/{site.plan.patient_id(life.slug)}"}} for life in members],
            })  # fmt: skip
