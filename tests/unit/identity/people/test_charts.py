"""Which charts a person may open and from when they may not, and what moves a hospital's data (security decision 15)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.identity.people import policy
from hilum.identity.people.models import (
    CHART_RACE,
    NEGATIVE_WINDOW,
    Chart,
    IdentityFacts,
    Person,
    Role,
    Tenant,
    UpstreamKind,
    UpstreamRef,
)
from tests.sim.world import START

NOW, DAY, MOMENT = START, timedelta(days=1), timedelta(microseconds=1)
GENERAL = TenantId("general")
PAT = Person(
    PersonId("per_1"),
    GENERAL,
    "pat",
    "Pat",
    Role.PATIENT,
    fhir_user="Patient/p1",
    patients=("p1", "p2"),
    chart_ends=(("p2", NOW + DAY),),
)


@pytest.mark.parametrize(
    ("after", "charts"), [(timedelta(0), ("p1", "p2")), (DAY - MOMENT, ("p1", "p2")), (DAY, ("p1",))]
)
def test_a_chart_is_open_until_its_end_and_no_other_ends_with_it(
    after: timedelta, charts: tuple[str, ...]
) -> None:
    now = policy.charts_at(PAT, NOW + after)

    assert now.patients == charts
    assert policy.charts_at(now, NOW + 2 * DAY).patients == ("p1",)


@pytest.mark.parametrize(
    ("person", "charts", "code"),
    [
        (PAT, [Chart("p1")], None),
        (PAT, [Chart("p1"), Chart("p3", NOW + MOMENT)], None),
        (replace(PAT, fhir_user="RelatedPerson/r"), [Chart("p2")], None),
        (PAT, [], "own_chart_stays"),
        (PAT, [Chart("p1", NOW + DAY)], "own_chart_stays"),
        (PAT, [Chart("p1"), Chart("p3", NOW)], "not_in_the_future"),
        (PAT, [Chart("p1"), Chart("p1")], "named_twice"),
        (PAT, [Chart("p1"), Chart("a/b")], "patient_id_malformed"),
        (replace(PAT, role=Role.PHYSICIAN), [Chart("p1")], "role_has_no_charts"),
    ],
)
def test_which_charts_a_person_may_be_given(person: Person, charts: list[Chart], code: str | None) -> None:
    assert policy.chart_faults(person, charts, NOW) == ({} if code is None else {"charts": code})


@pytest.mark.parametrize(
    ("charts", "wider", "lost"),
    [
        ([Chart("p1"), Chart("p2", NOW + DAY)], (), {}),
        ([Chart("p1"), Chart("p2", NOW + DAY + MOMENT)], ("p2",), {}),
        ([Chart("p1"), Chart("p2")], ("p2",), {}),
        ([Chart("p1"), Chart("p2", NOW + DAY), Chart("p3")], ("p3",), {}),
        ([Chart("p1")], (), {"p2": NOW}),
        ([Chart("p1"), Chart("p2", NOW + NEGATIVE_WINDOW)], (), {"p2": NOW + NEGATIVE_WINDOW}),
        ([Chart("p1"), Chart("p2", NOW + NEGATIVE_WINDOW + MOMENT)], (), {}),
    ],
)
def test_what_a_change_opens_and_what_it_takes(
    charts: list[Chart], wider: tuple[str, ...], lost: dict[str, Any]
) -> None:
    """What it opens takes two people; what it takes ends the tokens that contain it."""
    assert policy.charts_widened(PAT, charts) == wider
    assert policy.charts_lost(PAT, charts, NOW) == lost


@pytest.mark.parametrize(
    ("charts", "issued", "now", "lost"),
    [
        (("p1", "p2"), NOW, NOW, True),
        (("p2",), NOW + CHART_RACE, NOW + CHART_RACE, True),
        (("p2",), NOW + CHART_RACE + MOMENT, NOW + DAY, False),
        (("p2",), NOW - DAY, NOW - MOMENT, False),
        (("p1",), NOW - DAY, NOW + DAY, False),
        ((), NOW - DAY, NOW + DAY, False),
    ],
)
def test_a_token_of_before_the_loss_of_a_chart_is_dead_and_so_is_one_of_just_after(
    charts: tuple[str, ...], issued: Any, now: Any, *, lost: bool
) -> None:
    facts = IdentityFacts(lost_charts={PAT.id: {"p2": NOW}})

    assert policy.holds_lost_chart(facts, PAT.id, charts, issued_at=issued, now=now) is lost
    assert not policy.holds_lost_chart(facts, PersonId("per_2"), charts, issued_at=issued, now=now)


HOSPITAL = Tenant(
    GENERAL,
    "General",
    UpstreamRef(UpstreamKind.HTTP, "https://fhir.general.example/r4"),
    base_url="https://general.example",
    ehr_origins=("https://ehr.general.example",),
)


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({}, False),
        ({"name": "The General", "time_zone": "Europe/Madrid"}, False),
        ({"ehr_origins": ()}, False),
        ({"ehr_origins": ("https://ehr.general.example", "https://evil.example")}, True),
        ({"base_url": "https://evil.example"}, True),
        ({"base_url": ""}, True),
        ({"upstream": UpstreamRef(UpstreamKind.HTTP, "https://evil.example/r4")}, True),
        ({"upstream": UpstreamRef(UpstreamKind.EMBEDDED)}, True),
    ],
)
def test_what_sends_data_or_browsers_elsewhere_is_a_move(change: dict[str, Any], *, moved: bool) -> None:
    """Such a change takes two people."""
    assert policy.moves(HOSPITAL, replace(HOSPITAL, **change)) is moved
