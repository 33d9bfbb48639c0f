"""The entry point: builds every resource of a hospital from a plan, a seed and a day."""

from datetime import date

import orjson

from hilum_ehr.synthesis.care_plans import write_care_plans
from hilum_ehr.synthesis.chart import Chart
from hilum_ehr.synthesis.codes import ILLNESSES
from hilum_ehr.synthesis.documents import write_documents
from hilum_ehr.synthesis.measures import write_measurements
from hilum_ehr.synthesis.medicines import write_medicines
from hilum_ehr.synthesis.models import NOTABLE_ENCOUNTERS_BOUND, ChartSummary, HospitalPlan, Resource, Story
from hilum_ehr.synthesis.patients import Person, draw_people
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

    Nothing but appointments happens after ``today``, and references resolve within the list.
    """
    site = build_site(plan, seed=seed, today=today)
    site.add("Questionnaire", "food-at-home", questionnaire())
    people = draw_people(plan, seed=seed, today=today)
    charts = [resource for person in people for resource in _chart(site, person)]
    _groups(site, people)
    # A copy: the resources share constants, which a caller could change.
    resources: list[Resource] = orjson.loads(orjson.dumps(site.resources + charts))
    return resources


def describe(plan: HospitalPlan, *, seed: int, today: date) -> tuple[ChartSummary, ...]:
    """List the charts that ``synthesize`` builds, the planned ones first, with a reason to open each."""
    site = build_site(plan, seed=seed, today=today)
    reasons = {planned.slug: planned.notable for planned in plan.notable}
    summaries = []
    for person in draw_people(plan, seed=seed, today=today):
        chart = Chart(site, person)
        # The first steps of `_chart`, in the same order: they draw the same random numbers, so that the ids agree.
        write_person(chart)
        write_visits(chart)
        reason = (
            reasons.get(person.slug)
            or ", ".join(ILLNESSES[course.story].name for course in person.courses)
            or "healthy"
        )
        encounters = tuple(visit.ref["reference"].partition("/")[2] for visit in reversed(chart.visits))
        name = full_name(person.given, person.family)
        summaries.append(
            ChartSummary(plan.patient_id(person.slug), name, reason, encounters[:NOTABLE_ENCOUNTERS_BOUND])
        )
    return tuple(summaries)


def _chart(site: Site, person: Person) -> list[Resource]:
    chart = Chart(site, person)
    write_person(chart)
    # Visits first: the rest refers to their encounters and problems.
    write_visits(chart)
    if chart.visits:
        write_measurements(chart)
        write_medicines(chart)
        write_documents(chart)
        write_care_plans(chart)
        write_social(chart)
        write_extras(chart)
    return chart.close()


def _groups(site: Site, people: list[Person]) -> None:
    for name, title, story in GROUPS:
        members = [person for person in people if story is None or story in person.stories]
        if members:
            site.add("Group", name, {
                "active": True,
                "type": "person",
                "actual": True,
                "name": title,
                "quantity": len(members),
                "managingEntity": site.organization,
                "member": [{"entity": {"reference": f"Patient/{site.plan.patient_id(person.slug)}"}} for person in members],
            })  # fmt: skip
