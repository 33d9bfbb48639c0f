"""What an open chart makes fail reaches the apps that are opened there, ends by itself, and touches nobody else (C122)."""

from datetime import timedelta
from pathlib import Path

import pytest

from hilum.foundation.kernel.errors import Conflict, NotFound
from hilum_ehr.sandbox.ehr.failing import ChartFaults
from hilum_ehr.sandbox.ehr.sessions import EhrSession, Sessions
from hilum_ehr.sandbox.faults import FAULT_LIFE, HAND_BOUND, Fault, FaultBook
from tests.sim.world import START, FakeClock, SeededIds


class Charts:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.sessions = Sessions(self.clock, SeededIds())
        self.book = FaultBook(folder, self.clock)
        self.failing = ChartFaults(self.book, self.clock)

    def chart(self, patient: str = "p1") -> EhrSession:
        return self.sessions.begin("general", "dora", patient, "")

    def opens(self, session: EhrSession, client: str, launch: str) -> EhrSession:
        self.sessions.opened(session.id, launch, client)
        self.failing.extend(session, client, launch)
        return self.sessions.get(session.id)

    def reached(self) -> set[str]:
        return {name for each in self.book.of("general") for name in each.of}


@pytest.fixture
def charts(tmp_path: Path) -> Charts:
    return Charts(tmp_path)


def test_a_fault_for_one_app_follows_it_through_its_launches_in_one_chart(charts: Charts) -> None:
    mine, theirs = charts.opens(charts.chart(), "lumen", "l1"), charts.opens(charts.chart(), "lumen", "l9")

    charts.failing.make(mine, "unavailable", "lumen")
    charts.opens(mine, "lumen", "l2")
    charts.opens(mine, "other", "l3")
    charts.opens(theirs, "lumen", "l8")

    assert charts.reached() == {"l1", "l2"}
    (made,) = charts.failing.of(mine)
    assert (made.kind, made.client, made.until) == ("unavailable", "lumen", START + FAULT_LIFE)
    assert charts.failing.of(theirs) == ()


def test_a_fault_for_a_patient_reaches_every_app_of_one_chart(charts: Charts) -> None:
    mine = charts.opens(charts.chart(), "lumen", "l1")

    charts.failing.make(mine, "slow", "")
    charts.opens(mine, "other", "l2")

    (fault,) = charts.book.of("general")
    assert (fault.of, fault.chart) == (("l1", "l2"), "p1")


def test_a_fault_is_ended_by_its_own_chart_or_by_itself(charts: Charts) -> None:
    mine, theirs = charts.opens(charts.chart(), "lumen", "l1"), charts.opens(charts.chart(), "lumen", "l9")
    for each in (mine, theirs):
        charts.failing.make(each, "slow", "lumen")
    charts.failing.make(mine, "conflict", "")

    charts.failing.end(mine, "slow", "lumen")
    assert [each.kind for each in charts.failing.of(mine)] == ["conflict"]
    charts.failing.end_all(mine)
    assert charts.reached() == {"l9"}
    charts.clock.advance(FAULT_LIFE + timedelta(seconds=1))
    assert charts.reached() == set()


@pytest.mark.parametrize(("kind", "client"), [("earthquake", "lumen"), ("slow", "other"), ("../x", "")])
def test_nothing_else_is_made_to_fail(charts: Charts, kind: str, client: str) -> None:
    mine = charts.opens(charts.chart(), "lumen", "l1")

    with pytest.raises(NotFound):
        charts.failing.make(mine, kind, client)

    assert charts.reached() == set()


def test_charts_never_end_the_faults_of_certification_runs(charts: Charts) -> None:
    """However many charts somebody opens."""
    until = (START + timedelta(minutes=2)).isoformat()
    charts.book.add(Fault("general", "slow", until, ("run_1",), made_by="run_1"))
    for _ in range(HAND_BOUND):
        charts.failing.make(charts.chart(), "slow", "")

    with pytest.raises(Conflict, match="faults_bound"):
        charts.failing.make(charts.chart(), "slow", "")
    assert "run_1" in charts.reached()
