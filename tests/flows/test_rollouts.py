"""A version of the rule book reaches hospitals ring by ring, pauses on a regression and goes back by itself (C218)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete

from hilum.audit import service as audit
from hilum.audit.models import EventQuery
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.errors import HilumError
from hilum.policies import store
from hilum.rollouts import service as rollouts
from hilum.rollouts.models import Step, Verdict
from hilum.sunsets import store as walks
from hilum.sunsets.models import Phase
from tests.flows.control_site import ControlSite, build, with_rule_book
from tests.flows.rule_book_ground import NARROWER, WIDER, add, agree, apply, in_force, json_of
from tests.sim.dry_runs import rehearse
from tests.sim.one_world import in_one_world
from tests.sim.rollouts import DAY, Traffic, in_transaction
from tests.sim.world import FakeClock

DAY_S = int(DAY.total_seconds())
RINGS = [{"tenants": ["mercy"], "dwell_s": DAY_S}, {"tenants": ["children"], "dwell_s": DAY_S}]
PLAN = [*RINGS, {"tenants": [], "dwell_s": DAY_S}]


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return site_on(sqlite_uow, clock)


@pytest.fixture
def traffic(site: ControlSite) -> Traffic:
    return busy(site)


def site_on(uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(uow, clock, then=with_rule_book)


def busy(site: ControlSite) -> Traffic:
    """Make every hospital busy in the days before."""
    made = Traffic(site)
    for tenant in ("mercy", "children", "general"):
        made.record(tenant, 980, 20, at=site.clock.now() - DAY)
    return made


def ask(site: ControlSite, changes: dict[str, Any] = WIDER, by: str = "root", **more: Any) -> Any:
    version = add(site, changes)
    rehearse(site.uow, version)
    body = {"version": version, "rings": PLAN, "after": in_force(site)["last"], "reason": "Because."}
    return site.api(by).post("/policies/rollouts", json=body | more)


def begun(site: ControlSite, **more: Any) -> dict[str, Any]:
    """Begin a rollout as two people, and return it."""
    answer = agree(site, ask(site, **more))
    assert answer.status_code == 200, answer.text
    return shown(site)


def shown(site: ControlSite) -> dict[str, Any]:
    found: dict[str, Any] = site.api("root").get("/policies/rollouts").json()["items"][0]
    return found


def at(site: ControlSite) -> tuple[int, dict[str, int]]:
    found = in_force(site)
    return found["everywhere"], found["at"]


def actions(site: ControlSite) -> list[str]:
    found = site.system(audit.list_events, query=EventQuery(limit=50)).events
    return [each.event.action for each in found if each.event.action.startswith("policies.rollout")]


def test_a_version_reaches_one_ring_after_the_other_and_ends_everywhere(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C218: two people agree to the plan once; each ring has its time."""
    site = site_on(uow, clock)
    traffic = busy(site)
    asked = ask(site)
    order = asked.json()["approval"]["order"]
    assert (order["rings"], order["goes_back_by_itself"]) == (PLAN, True)
    assert agree(site, asked).status_code == 200
    assert at(site) == (1, {"mercy": 2})

    traffic.record("mercy", 196, 4)
    clock.advance(DAY - timedelta(seconds=1))
    traffic.carry_out_verdict()
    assert at(site) == (1, {"mercy": 2})
    walk = site.system(lambda ctx: walks.lock_walk(ctx.tx, walks.AHEAD))
    assert (walk.key, walk.phase) == (shown(site)["id"], Phase.DONE), (
        "hospitals of later rings have their notice (C180)"
    )
    clock.advance(timedelta(seconds=1))
    traffic.carry_out_verdict()
    assert at(site) == (1, {"mercy": 2, "children": 2})
    traffic.record("children", 196, 4)
    clock.advance(DAY)
    traffic.carry_out_verdict()
    assert at(site) == (2, {})
    traffic.record("general", 196, 4)
    clock.advance(DAY)
    traffic.carry_out_verdict()

    found = shown(site)
    assert (found["state"], found["before"]["everywhere"]) == ("done", 1)
    done = site.api("root").get("/policies/applications").json()["items"]
    assert [each["applied_by"] for each in done[:2]] == ["system:system"] * 2
    assert {each["agreed_by"] for each in done[:3]} == {found["agreed_by"]}
    assert traffic.carry_out_verdict() is None


def test_it_goes_back_by_itself_when_more_is_refused_than_before(
    site: ControlSite, clock: FakeClock, traffic: Traffic
) -> None:
    """C218: at once, and not when the dwell is over."""
    begun(site)
    clock.advance(timedelta(minutes=11))
    traffic.record("mercy", 150, 50)

    traffic.carry_out_verdict()

    assert at(site) == (1, {"mercy": 1})
    found = shown(site)
    assert found["state"] == "went_back"
    assert found["why"] == "Ring 1 regressed: 25.0 % of its decisions are refused, 2.0 % before."
    newest = site.api("root").get("/policies/applications").json()["items"][0]
    assert (newest["version"], newest["tenants"], newest["applied_by"]) == (1, ["mercy"], "system:system")
    assert "goes back by itself" in newest["reason"]
    assert actions(site)[:3] == ["policies.rollout.end", "policies.rollout.pause", "policies.rollout.start"]
    clock.advance(2 * DAY)
    assert traffic.carry_out_verdict() is None
    assert at(site) == (1, {"mercy": 1})


def test_it_goes_back_when_answers_become_slow(site: ControlSite, clock: FakeClock, traffic: Traffic) -> None:
    begun(site)
    traffic.record("mercy", 100, 4)
    traffic.record("mercy", 100, ms=400)

    traffic.carry_out_verdict()

    assert shown(site)["state"] == "went_back"
    assert "longer than 25 ms" in shown(site)["why"]


def test_it_goes_back_from_everywhere_to_exactly_what_was_in_force_before(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """Also to another version that one hospital had, and not to one book for all."""
    site = site_on(uow, clock)
    traffic = busy(site)
    special = add(site, NARROWER)
    assert apply(site, special, "general").status_code == 201
    begun(site)
    for tenant in ("mercy", "children"):
        traffic.record(tenant, 200, 4)
        clock.advance(DAY)
        traffic.carry_out_verdict()
    assert at(site) == (3, {})
    traffic.record("general", 100, 100)

    traffic.carry_out_verdict()

    assert shown(site)["state"] == "went_back"
    assert at(site) == (1, {"general": special})


@pytest.mark.parametrize("decisions", [0, 99])
def test_too_little_traffic_is_not_known_yet_and_does_not_advance(
    site: ControlSite, clock: FakeClock, traffic: Traffic, decisions: int
) -> None:
    begun(site)
    if decisions:
        traffic.record("mercy", decisions)
    clock.advance(5 * DAY)

    traffic.carry_out_verdict()

    assert at(site) == (1, {"mercy": 2})
    assert shown(site)["why"] == f"Not known yet at ring 1: {decisions} decisions, and 100 are needed."


def test_one_app_that_is_refused_everything_is_not_hidden_by_a_busy_one(
    site: ControlSite, clock: FakeClock, traffic: Traffic
) -> None:
    traffic.record("mercy", 200, app="app_2", at=clock.now() - DAY)
    begun(site)
    traffic.record("mercy", 100_000, 2_000)
    traffic.record("mercy", 0, 120, app="app_2")

    traffic.carry_out_verdict()

    assert shown(site)["state"] == "went_back"
    assert "app_2" in shown(site)["why"]


@pytest.mark.parametrize(
    "reason", ["tenant_mismatch", "switch_engaged", "request_unsupported", "token_revoked"]
)
def test_an_app_that_gets_itself_refused_beside_the_rule_book_sends_nothing_back(
    site: ControlSite, traffic: Traffic, reason: str
) -> None:
    """C218: not an app of another hospital by its address, not nonsense, and not a kill switch that people engaged meanwhile."""
    begun(site)
    traffic.record("mercy", 196, 4)
    traffic.record("mercy", 0, 5_000, app="app_2", reason=reason)
    traffic.record("mercy", 0, 5_000, reason=reason)

    traffic.carry_out_verdict()

    assert at(site) == (1, {"mercy": 2})
    found = shown(site)
    assert (found["state"], found["measured"]["rings"][0]["figures"]["decisions"]) == ("running", 200)


def test_whoever_applies_something_else_ends_it_and_it_touches_nothing_more(
    site: ControlSite, clock: FakeClock, traffic: Traffic
) -> None:
    begun(site)
    other = add(site, NARROWER)
    assert apply(site, other, "mercy").status_code == 201
    traffic.record("mercy", 0, 500)
    clock.advance(DAY)

    traffic.carry_out_verdict()

    assert shown(site)["state"] == "overtaken"
    assert at(site) == (1, {"mercy": other})


def test_a_person_stops_it_and_what_it_has_reached_stays(
    site: ControlSite, clock: FakeClock, traffic: Traffic
) -> None:
    found = begun(site)
    where = f"/policies/rollouts/{found['id']}/stop"
    assert site.api("gina").post(where, json={"reason": "x"}).status_code == 403

    assert site.api("root").post(where, json={"reason": "We look."}).json()["state"] == "stopped"

    traffic.record("mercy", 0, 500)
    assert traffic.carry_out_verdict() is None
    assert at(site) == (1, {"mercy": 2})
    # Hospitals of later rings get no notice of what will not come.
    assert site.system(rollouts.announce, plan_id=found["id"]) is False
    assert site.system(lambda ctx: walks.lock_walk(ctx.tx, walks.AHEAD)).key != found["id"]
    assert json_of(site.api("root").post(where, json={"reason": "x"}))["code"] == "rollout_over"


def test_a_run_that_broke_off_between_the_pause_and_the_way_back_is_resumed(
    site: ControlSite, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(site)
    traffic.record("mercy", 0, 500)
    with monkeypatch.context() as patched:
        patched.setattr(rollouts, "roll_back", _killed)
        with pytest.raises(KeyboardInterrupt):
            traffic.carry_out_verdict()
    assert shown(site)["state"] == "paused"
    assert at(site) == (1, {"mercy": 2})

    traffic.carry_out_verdict()

    assert shown(site)["state"] == "went_back"
    assert at(site) == (1, {"mercy": 1})


def _killed(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_an_application_that_was_deleted_stops_it(
    site: ControlSite, clock: FakeClock, traffic: Traffic
) -> None:
    begun(site)
    traffic.record("mercy", 0, 500)
    clock.advance(DAY)
    in_transaction(site, delete(store.applications).where(store.applications.c.number == 2))

    with pytest.raises(HilumError):
        traffic.carry_out_verdict()


@in_one_world(
    ("rings", "code"),
    [
        (PLAN[:1], "out_of_range"),
        ([PLAN[2]], "out_of_range"),
        ([PLAN[0], PLAN[1]], "last_is_everywhere"),
        ([PLAN[2], PLAN[2]], "last_is_everywhere"),
        ([PLAN[0], PLAN[0], PLAN[2]], "hospital_repeated"),
        ([PLAN[0] | {"dwell_s": 3_599}, PLAN[2]], "dwell_out_of_range"),
        ([PLAN[0] | {"dwell_s": DAY_S - 1}, PLAN[2]], "shorter_than_soak"),
    ],
)
def test_a_plan_that_is_none_is_refused_by_field(site: ControlSite, rings: Any, code: str) -> None:
    answer = ask(site, rings=rings)

    assert answer.status_code == 422, answer.text
    assert json_of(answer)["fields"]["rings"]["code"] == code


@in_one_world("who", ["sam", "rita", "otto", "gina"])
def test_only_a_platform_administrator_begins_one(site: ControlSite, who: str) -> None:
    assert ask(site, by=who).status_code == 403
    assert at(site) == (1, {})


def test_one_person_alone_begins_what_only_narrows(site: ControlSite) -> None:
    """C218: only restrictive changes may skip rings; they need not."""
    assert ask(site, NARROWER).status_code == 201

    assert at(site) == (1, {"mercy": 2})


def test_a_version_that_is_in_force_everywhere_is_not_rolled_out(site: ControlSite) -> None:
    """There would be nothing to go back to. Where it is not yet at every hospital, it may be."""
    body = {"version": 1, "rings": PLAN, "after": in_force(site)["last"], "reason": "Because."}
    refused = site.api("root").post("/policies/rollouts", json=body)
    assert (refused.status_code, json_of(refused)["code"]) == (409, "already_in_force")

    other = add(site, NARROWER)
    assert apply(site, other, "mercy").status_code == 201
    assert ask(site, NARROWER).status_code == 201, "an equal book of another number"


def test_an_app_that_is_refused_on_purpose_does_not_send_a_narrower_version_back(
    site: ControlSite, clock: FakeClock, traffic: Traffic
) -> None:
    """C218: of what allows nothing new; its figures show that it was alone. A second app that is refused sends it back."""
    for app in ("app_2", "app_3"):
        traffic.record("mercy", 200, app=app, at=clock.now() - DAY)
    assert ask(site, NARROWER).status_code == 201
    traffic.record("mercy", 196, 4)
    traffic.record("mercy", 0, 50_000, app="app_2")

    traffic.carry_out_verdict()

    found = shown(site)
    assert found["state"] == "running"
    assert list(found["measured"]["rings"][0]["figures"]["one_app"]) == ["app_2"]

    traffic.record("mercy", 0, 200, app="app_3")
    traffic.carry_out_verdict()
    assert shown(site)["state"] == "went_back"


def test_the_plan_is_what_was_shown_or_it_is_not_begun(site: ControlSite) -> None:
    asked = ask(site)
    rehearse(site.uow, asked.json()["approval"]["order"]["version"])

    refused = agree(site, asked)

    assert (refused.status_code, json_of(refused)["code"]) == (409, "target_changed")
    assert at(site) == (1, {})


def test_one_rollout_runs_at_a_time(site: ControlSite) -> None:
    begun(site)

    refused = ask(site, NARROWER)

    assert (refused.status_code, json_of(refused)["code"]) == (409, "rollout_running")


def test_a_hospital_sees_no_rollout_since_other_hospitals_are_in_it(site: ControlSite) -> None:
    begun(site)

    assert site.api("gina").get("/policies/rollouts").status_code == 403
    assert site.api("gina").get(f"/policies/rollouts/{shown(site)['id']}").status_code == 403


def test_of_two_nodes_that_carry_on_at_once_one_takes_the_step(
    site: ControlSite, clock: FakeClock, traffic: Traffic
) -> None:
    """What was measured before another node took a step is not taken for another one."""
    begun(site)
    traffic.record("mercy", 200)
    clock.advance(DAY)
    plan, stands = site.system(rollouts.unfinished)
    traffic.carry_out_verdict()
    verdict = Verdict(Step.ADVANCE, "It was right a moment ago.")

    late = partial(rollouts.carry_out_verdict, plan_id=plan.id, seen=stands, verdict=verdict)
    site.system(late)

    assert at(site) == (1, {"mercy": 2, "children": 2})
