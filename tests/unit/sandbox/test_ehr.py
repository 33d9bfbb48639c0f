"""What the simulator shows: a chart's summary and the inspector's lines."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.errors import NotFound
from hilum_ehr.sandbox.ehr.chart import banner, summary
from hilum_ehr.sandbox.ehr.inspector import CALLS_SHOWN, inspect
from hilum_ehr.sandbox.ehr.sessions import LAUNCHES_BOUND, SESSION_LIFE, SESSIONS_BOUND, Sessions
from hilum_ehr.synthesis.hospital import synthesize
from hilum_ehr.synthesis.policy import hospitals
from tests.sim.world import FakeClock, SeededIds

TODAY = date(2026, 3, 2)
KINDS = {
    "medications": "MedicationRequest",
    "problems": "Condition",
    "allergies": "AllergyIntolerance",
    "encounters": "Encounter",
}


def charts(tenant: int) -> list[dict[str, list[dict[str, Any]]]]:
    """Every chart of a synthetic hospital as the store would give it."""
    resources = synthesize(hospitals()[tenant], seed=1, today=TODAY)
    by_patient: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for each in resources:
        if each["resourceType"] == "Patient":
            empty: dict[str, list[dict[str, Any]]] = {name: [] for name in (*KINDS, "vitals", "labs")}
            by_patient[f"Patient/{each['id']}"] = {"patient": [each], **empty}
    for each in resources:
        found = by_patient.get((each.get("subject") or each.get("patient") or {}).get("reference", ""))
        if found is None:
            continue
        for name, kind in KINDS.items():
            if each["resourceType"] == kind:
                found[name].append(each)
        if each["resourceType"] == "Observation":
            category = each["category"][0]["coding"][0]["code"]
            found.get({"vital-signs": "vitals", "laboratory": "labs"}.get(category, ""), []).append(each)
    return list(by_patient.values())


@pytest.mark.parametrize("tenant", [0, 1, 2])
def test_every_synthetic_chart_can_be_summed_up(tenant: int) -> None:
    for chart in charts(tenant):
        made = summary(chart, today=TODAY)

        assert made.banner.name
        assert all(item.title for item in (*made.problems, *made.medications, *made.allergies, *made.labs))
        assert all(vital.latest and vital.chart.lines for vital in made.vitals)


def test_a_chart_with_nothing_in_it_is_empty_and_not_broken() -> None:
    made = summary(
        {
            "patient": [{"resourceType": "Patient", "id": "p"}],
            **{name: [] for name in (*KINDS, "vitals", "labs")},
        },
        today=TODAY,
    )

    assert (made.banner.name, made.banner.age, made.banner.born) == ("Name unknown", "age unknown", "unknown")
    assert (made.vitals, made.labs, made.problems) == ((), (), ())


@pytest.mark.parametrize(
    ("days", "age"),
    [(0, "0 days"), (24, "24 days"), (200, "6 months"), (900, "2 years"), (61 * 365 + 90, "61 years")],
)
def test_an_age_is_shown_in_its_unit(days: int, age: str) -> None:
    born = (TODAY - timedelta(days=days)).isoformat()

    assert banner({"id": "p", "birthDate": born}, today=TODAY).age == age


def test_who_has_died_does_not_grow_older() -> None:
    found = banner(
        {"id": "p", "birthDate": "1940-01-01", "deceasedDateTime": "2000-06-01T00:00:00Z"}, today=TODAY
    )

    assert (found.age, found.deceased) == ("60 years", "1 Jun 2000")


def test_an_earlier_name_is_not_the_name() -> None:
    names = [{"use": "old", "family": "Before"}, {"use": "official", "given": ["Ada"], "family": "Now"}]

    assert banner({"id": "p", "name": names}, today=TODAY).name == "Ada Now"


def test_a_refused_call_shows_its_reason_and_a_permitted_one_its_scope() -> None:
    found = inspect(
        [
            {"outcome": "done", "rule": "patient/Patient.rs", "status": 200, "interaction": "read", "resource_type": "Patient", "at": "2026-03-02T09:00:00.5+00:00", "latency_us": 1234},
            {"outcome": "refused", "reason": "scope_insufficient", "detail": "Not granted.", "status": 403, "at": "2026-03-02T09:00:01+00:00"},
        ]
    )  # fmt: skip

    assert [call.why for call in found.calls] == ["scope_insufficient", "patient/Patient.rs"]
    assert [call.permitted for call in found.calls] == [False, True]
    assert (found.permitted, found.refused) == (1, 1)
    assert (found.calls[1].what, found.calls[1].latency, found.calls[1].at) == (
        "read Patient",
        "1.2 ms",
        "09:00:00.500",
    )


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["outcome", "status", "at", "rule", "path", "removed"]),
            st.none() | st.text() | st.integers(),
        ),
        max_size=5,
    )
)
def test_no_record_breaks_the_inspector(records: list[dict[str, Any]]) -> None:
    assert len(inspect(records).calls) == len(records)


def test_the_inspector_shows_the_newest_only() -> None:
    records = [{"at": f"2026-03-02T09:00:{n % 60:02}+00:00"} for n in range(CALLS_SHOWN + 20)]

    assert len(inspect(records).calls) == CALLS_SHOWN


def test_calls_after_midnight_stand_above_those_before() -> None:
    late, early = "2026-03-02T23:59:59.9+00:00", "2026-03-03T00:00:00+00:00"

    assert [call.at for call in inspect([{"at": late}, {"at": early}]).calls] == [
        "00:00:00.000",
        "23:59:59.900",
    ]


def sessions() -> tuple[Sessions, FakeClock]:
    clock = FakeClock()
    return Sessions(clock, SeededIds()), clock


def test_a_session_is_forgotten_when_it_is_old() -> None:
    kept, clock = sessions()
    session = kept.begin("general", "dr.adeyemi", "p1", "e1")
    clock.advance(SESSION_LIFE)

    with pytest.raises(NotFound):
        kept.get(session.id)


def test_a_session_that_ended_is_unknown() -> None:
    kept, _ = sessions()
    session = kept.begin("general", "dr.adeyemi", "p1", "e1")

    kept.end(session.id)

    with pytest.raises(NotFound):
        kept.get(session.id)
    assert kept.end(session.id) is None


def test_sessions_and_their_launches_are_bounded() -> None:
    kept, _ = sessions()
    first = kept.begin("general", "dr.adeyemi", "p1", "")
    for _ in range(SESSIONS_BOUND):
        last = kept.begin("general", "dr.adeyemi", "p1", "")
    for n in range(LAUNCHES_BOUND + 5):
        kept.opened(last.id, f"l{n}", "app")

    with pytest.raises(NotFound):
        kept.get(first.id)
    assert len(kept.get(last.id).apps) == LAUNCHES_BOUND
    newest = kept.get(last.id).current("app")
    assert newest is not None
    assert newest.launch == f"l{LAUNCHES_BOUND + 4}"


def test_a_medicine_named_in_a_resource_of_its_own_is_called_by_its_name() -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "m",
        "status": "active",
        "medicationReference": {"reference": "Medication/d"},
    }
    drug = {"resourceType": "Medication", "id": "d", "status": "active", "code": {"text": "Iron 325 mg"}}
    chart: dict[str, list[dict[str, Any]]] = {name: [] for name in (*KINDS, "vitals", "labs")}

    made = summary(
        chart | {"patient": [{"resourceType": "Patient", "id": "p"}], "medications": [order, drug]},
        today=TODAY,
    )

    assert [item.title for item in made.medications] == ["Iron 325 mg"]
