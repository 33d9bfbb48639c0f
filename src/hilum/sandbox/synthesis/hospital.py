"""The one entrance: from a plan, a seed and a day to every resource of a hospital."""

from datetime import date

import orjson

from hilum.sandbox.models import HospitalPlan, Resource
from hilum.sandbox.synthesis.chart import Chart
from hilum.sandbox.synthesis.lives import Life, lives
from hilum.sandbox.synthesis.measures import write_measures
from hilum.sandbox.synthesis.medicines import write_medicines
from hilum.sandbox.synthesis.people import write_person
from hilum.sandbox.synthesis.places import Site, build_site
from hilum.sandbox.synthesis.visits import write_visits


def synthesize(plan: HospitalPlan, *, seed: int, today: date) -> list[Resource]:
    """Make every resource of a hospital. The same plan, seed and day give the same resources in the same order.

    Nothing in it happens after ``today`` but appointments; references resolve within the list.
    """
    site = build_site(plan, seed=seed, today=today)
    resources = list(site.resources)
    for life in lives(plan, seed=seed, today=today):
        resources += _chart(site, life)
    # Constants are shared while charts are written; the caller gets values of its own.
    owned: list[Resource] = orjson.loads(orjson.dumps(resources))
    return owned


def _chart(site: Site, life: Life) -> list[Resource]:
    chart = Chart(site, life)
    write_person(chart)
    write_visits(chart)
    write_measures(chart)
    write_medicines(chart)
    return chart.close()
