"""Drills of kill switches by the API: what they stop, what a dead one leaves, and what is recorded (C139)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.controls import service as controls
from hilum.drills.models import DOORS, DRILL_LIFE, TRIES_LEAST
from hilum.drills.policy import signed_bytes
from hilum.infra import nodes
from hilum.infra.unit_of_work import UnitOfWork
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.switchboard import service as switchboard
from tests.flows.control_site import ControlSite, problem, site_on
from tests.flows.drill_ground import Drill as Records
from tests.flows.drill_ground import canary
from tests.sim.journals import journal_of
from tests.sim.world import FakeClock

SEEN = {
    "doors": [{"name": name, "closed": TRIES_LEAST, "last_open_ms": 40.0} for name in DOORS],
    "revived": False,
    "works_again": True,
}


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


def test_a_drill_that_everybody_confirmed_passes_and_its_record_is_signed(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    site = site_on(uow, clock)
    drill = begun(site, canary(site))
    path = f"/drills/{drill['id']}"
    stopped = post(site, f"{path}/engage").json()
    assert in_force(site) == [stopped["switch"]]
    clock.advance(timedelta(milliseconds=40))
    folder = journal_of(uow)
    records = Records(uow, clock, folder)
    records.write(records.made(clock.now(), -1_000, tenant="mercy"))
    records.confirm(site.system(controls.get_switch, switch_id=stopped["switch"]), "1")
    clock.advance(timedelta(seconds=2))

    released = post(site, f"{path}/release")
    assert released.status_code == 200, released.text
    assert in_force(site) == []
    done = post(site, f"{path}/finish", SEEN).json()

    assert (done["state"], done["record"]["faults"], done["containment"]["verdict"]) == (
        "passed",
        [],
        "contained",
    )
    signed = signed_bytes(done["record"])
    verify = {"purpose": Purpose.CHECKPOINT, "kid": done["kid"], "signature": done["signature"]}
    assert site.system(keys.verify_bytes, data=signed, **verify)
    assert site.api("otto").get("/drills").json()["items"][0]["id"] == drill["id"]
    assert problem(post(site, f"{path}/finish", SEEN), 409, "drill_over")


def test_the_node_of_a_site_is_live_however_long_ago_the_site_was_built(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had to confirm a stop is who was live as it was engaged, and sites are copied minutes after they were built."""
    monkeypatch.setattr(nodes, "LIVE_FOR", timedelta(0))
    drill = begun(site, canary(site))

    stopped = post(site, f"/drills/{drill['id']}/engage").json()

    _, confirmations = site.system(switchboard.confirmations, switch_id=stopped["switch"])
    assert confirmations.expected == {"a": 1}


def test_a_drill_without_proof_fails_whatever_the_command_says(site: ControlSite) -> None:
    drill = begun(site, canary(site))
    post(site, f"/drills/{drill['id']}/engage")

    done = post(site, f"/drills/{drill['id']}/finish", SEEN).json()

    assert (done["state"], done["record"]["passed"]) == ("failed", False)
    assert {"not_contained", "worker_too_slow"} <= set(done["record"]["faults"])
    assert in_force(site) == []


def test_a_drill_that_died_leaves_nothing_stopped_and_the_next_one_cleans_up(
    site: ControlSite, clock: FakeClock
) -> None:
    client = canary(site)
    dead = begun(site, client)
    post(site, f"/drills/{dead['id']}/engage")
    assert len(in_force(site)) == 1
    problem(post(site, "/drills", {"client": client, "tenant": "general"}), 409, "drill_running")

    clock.advance(DRILL_LIFE)

    assert in_force(site) == [], "it ended by itself"
    begun(site, client, by="sam")
    assert site.api("root").get(f"/drills/{dead['id']}").json()["state"] == "abandoned"


@pytest.mark.parametrize("scope", ["system/Patient.rs", "system/Organization.cruds"])
def test_what_reaches_patients_is_never_stopped_by_a_drill(site: ControlSite, scope: str) -> None:
    client = canary(site, scope)

    refused = post(site, "/drills", {"client": client, "tenant": "general"})

    assert problem(refused, 422, "canary_invalid")["fields"]["client"]["code"] == "canary_reaches_patients"
    problem(post(site, "/drills", {"client": client, "tenant": "nowhere"}), 404, "tenant_not_found")


@pytest.mark.parametrize("by", ["gina", "rita", "otto", "ann"])
def test_only_who_may_stop_everything_carries_out_drills(site: ControlSite, by: str) -> None:
    client = canary(site)

    assert post(site, "/drills", {"client": client, "tenant": "general"}, by).status_code == 403
    drill = begun(site, client)
    assert post(site, f"/drills/{drill['id']}/engage", by=by).status_code == 403
    assert in_force(site) == []


def test_a_colleague_does_not_carry_on_a_drill_and_it_stops_once(site: ControlSite) -> None:
    drill = begun(site, canary(site))
    path = f"/drills/{drill['id']}"
    problem(post(site, f"{path}/engage", by="sam"), 403, "not_permitted")
    assert post(site, f"{path}/engage").status_code == 200

    problem(post(site, f"{path}/engage"), 409, "drill_engaged")


def test_hospitals_do_not_see_drills(site: ControlSite) -> None:
    begun(site, canary(site))

    assert site.api("gina").get("/drills").status_code == 403
