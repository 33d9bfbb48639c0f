"""Drills of kill switches by the API: what they stop, what a dead one leaves, and what is recorded (C139)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.controls.switches import service as controls
from hilum.foundation.infra import nodes
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.operations.drills.models import DRILL_LIFE, ENDPOINTS, TRIES_LEAST
from hilum.operations.switch_administration import service as switch_administration
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.control_site import ControlSite, problem, site_on
from tests.flows.drill_ground import Drill as Records
from tests.flows.drill_ground import canary
from tests.flows.vendor_ground import made
from tests.sim.journals import journal_of
from tests.sim.world import FakeClock

SEEN = {"measured": [{"endpoint": name, "refused": TRIES_LEAST, "last_open_ms": 40.0} for name in ENDPOINTS]}


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return site_on(sqlite_uow, clock)


def post(site: ControlSite, path: str, body: Any = None, by: str = "root") -> Any:
    return site.api(by).post(path, json=body)


def begun(site: ControlSite, client: str, by: str = "root") -> dict[str, Any]:
    answer = post(site, "/drills", {"client": client, "tenant": "general"}, by)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def in_force(site: ControlSite) -> list[str]:
    found = site.api("root").get("/switches").json()["items"]
    return [each["id"] for each in found if each["in_force"]]


def test_a_drill_that_everybody_confirmed_passes_and_is_recorded(uow: UnitOfWork, clock: FakeClock) -> None:
    site = site_on(uow, clock)
    drill = begun(site, canary(site))
    assert in_force(site) == [drill["switch"]]
    clock.advance(timedelta(milliseconds=40))
    records = Records(uow, clock, journal_of(uow))
    records.write(records.made(clock.now(), -1_000, tenant="mercy"))
    records.confirm(site.system(controls.get_switch, switch_id=drill["switch"]), "1")
    clock.advance(timedelta(seconds=2))

    done = made(post(site, f"/drills/{drill['id']}/end", SEEN), 200)

    assert in_force(site) == []
    assert (done["passed"], done["faults"], done["containment"]) == (True, [], "contained")
    assert site.api("otto").get("/drills").json()["items"] == [done]
    (event,) = site.system(audit.list_events, query=EventQuery(action="drills.drill.end")).events
    assert event.event.facts["passed"] is True
    assert problem(post(site, f"/drills/{drill['id']}/end", SEEN), 409, "drill_over")


def test_the_node_of_a_site_is_live_however_long_ago_the_site_was_built(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had to confirm a stop is who was live as it was engaged, and sites are copied minutes after they were built."""
    monkeypatch.setattr(nodes, "LIVE_FOR", timedelta(0))

    drill = begun(site, canary(site))

    _, confirmations = site.system(switch_administration.confirmations, switch_id=drill["switch"])
    assert confirmations.expected == {"a": 1}


def test_a_drill_without_proof_fails_whatever_the_command_says(site: ControlSite) -> None:
    drill = begun(site, canary(site))

    done = made(post(site, f"/drills/{drill['id']}/end", SEEN), 200)

    assert not done["passed"]
    assert {"not_contained", "worker_too_slow"} <= set(done["faults"])
    assert in_force(site) == []


def test_a_drill_that_died_leaves_nothing_stopped(site: ControlSite, clock: FakeClock) -> None:
    client = canary(site)
    dead = begun(site, client)
    assert len(in_force(site)) == 1

    clock.advance(DRILL_LIFE)

    assert in_force(site) == [], "it ended by itself"
    begun(site, client, by="sam")
    assert not made(post(site, f"/drills/{dead['id']}/end", SEEN), 200)["passed"]
    assert len(in_force(site)) == 1, "that of the other drill"


@pytest.mark.parametrize("scope", ["system/Patient.rs", "system/Organization.cruds"])
def test_what_reaches_patients_is_never_stopped_by_a_drill(site: ControlSite, scope: str) -> None:
    client = canary(site, scope)

    refused = post(site, "/drills", {"client": client, "tenant": "general"})

    assert problem(refused, 422, "canary_invalid")["fields"]["client"]["code"] == "canary_reaches_patients"
    problem(post(site, "/drills", {"client": client, "tenant": "nowhere"}), 404, "tenant_not_found")
    assert in_force(site) == []


@pytest.mark.parametrize("by", ["gina", "rita", "otto", "ann"])
def test_only_who_may_stop_everything_carries_out_drills(site: ControlSite, by: str) -> None:
    client = canary(site)

    assert post(site, "/drills", {"client": client, "tenant": "general"}, by).status_code == 403
    assert in_force(site) == []
    drill = begun(site, client)
    assert post(site, f"/drills/{drill['id']}/end", SEEN, by=by).status_code == 403
    assert in_force(site) == [drill["switch"]]


def test_a_colleague_does_not_end_a_drill_and_hospitals_do_not_see_it(site: ControlSite) -> None:
    drill = begun(site, canary(site))

    problem(post(site, f"/drills/{drill['id']}/end", SEEN, by="sam"), 403, "not_permitted")

    assert site.api("gina").get("/drills").status_code == 403
