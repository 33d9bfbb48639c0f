"""A certification run is what production asks for: without one nothing that needs it is certified, and an old one counts no more (C105, C232)."""

from datetime import timedelta

import pytest

from hilum.review.certification_runs.judging import SCENARIOS
from hilum.review.certification_runs.models import RESULT_LIFE
from tests.flows.control_site import codes, problem
from tests.flows.policy_ground import put_in_force
from tests.flows.review_ground import Ground, pass_discipline, signs
from tests.flows.review_world import (
    World,
    again,
    checks_of,
    decide,
    in_order,
    opened,
    passed,
    results,
    sandbox_client,
)
from tests.flows.vendor_ground import made

ABOUT = ("evidence.attached", "sandbox_run")


@pytest.fixture
def ground(world: World) -> Ground:
    """An app whose entry of the policy asks for a run."""
    made_ground = in_order(world)
    entry = "categories.scheduling.entries"
    change = {f"{entry}.{tier}.evidence": ["automated_checks", "sandbox_run"] for tier in ("low", "moderate")}

    def build() -> None:
        # And a person examines every one.
        put_in_force(made_ground.site, change | {f"{entry}.low.review.automatic": False})
        signs(made_ground.site, "rita", "technical")

    made_ground.site.furnished("a run is asked for", build)
    return made_ground


def test_what_needs_a_run_is_certified_with_one_and_not_without(ground: Ground, world: World) -> None:
    """C105, C120: a run of this version, with every scenario that the policy requires."""
    client = sandbox_client(ground)
    sent = str(made(ground.submit())["id"])
    assert world.check()
    assert results(checks_of(ground, sent))[ABOUT] == "failed"
    problem(decide(ground, sent), 403, "checks_not_passed")

    run = passed(ground, client)
    again(ground, sent)
    assert world.check()

    judged = checks_of(ground, sent)
    assert results(judged)[ABOUT] == "passed"
    assert any(run in each["evidence"] for each in judged["checks"])
    replay = made(ground.site.api("rita").get(f"/submissions/{sent}/checks/replay"), 200)
    assert replay["same"] is True
    pass_discipline(ground, sent)
    made(decide(ground, sent), 200)


def test_a_run_counts_for_ninety_days(ground: Ground, world: World) -> None:
    """C232: also between the checks and the decision."""
    client = sandbox_client(ground)
    passed(ground, client)
    sent = str(made(ground.submit())["id"])
    world.clock.advance(RESULT_LIFE - timedelta(days=1))
    assert world.check()
    assert results(checks_of(ground, sent))[ABOUT] == "passed"
    world.clock.advance(timedelta(days=2))
    problem(decide(ground, sent), 403, "evidence_old")
    again(ground, sent)
    world.check()
    assert results(checks_of(ground, sent))[ABOUT] == "failed"


def test_a_run_by_the_api(ground: Ground) -> None:
    """C120: opened, taken and finished by the vendor's developers, and seen by the staff; without records it is incomplete."""
    client = sandbox_client(ground)
    developer = ground.site.api("acme.developer")
    run = opened(ground, client)
    path = f"/evidence-runs/{run['id']}"

    assert {each["name"] for each in run["scenarios"]} <= set(SCENARIOS)
    assert all(each["how"] and each["good"] and each["title"] for each in run["scenarios"])
    problem(developer.post("/evidence-runs", json={"client": client, "tenant": "general"}), 409, "run_open")
    refused = developer.post("/evidence-runs", json={"client": client, "tenant": "mercy"})
    assert codes(problem(refused, 422, "run_invalid")) == {"tenant": "tenant_not_sandbox"}
    refused = developer.post("/evidence-runs", json={"client": ground.client, "tenant": "general"})
    assert codes(problem(refused, 422, "run_invalid")) == {"client": "client_not_of_sandbox"}
    begun = made(developer.post(f"{path}/scenarios/token_expired/begin"), 200)
    assert begun["scenario"] == "token_expired"
    problem(developer.post(f"{path}/scenarios/chart_moved/begin"), 404, "scenario_not_found")
    assert made(developer.post(f"{path}/scenarios/end"), 200)["scenario"] == ""
    assert made(developer.get(f"{path}/rows"), 200) == {"items": []}
    for who in ("gina", "ann"):
        assert ground.site.api(who).get(path).status_code == 403
    for who in ("rita", "root", "acme.billing"):
        assert made(ground.site.api(who).get(path), 200)["state"] == "open"
    assert ground.site.api("acme.billing").post(f"{path}/finish").status_code == 403

    ended = made(developer.post(f"{path}/finish"), 200)

    assert ended["state"] == "incomplete"
    assert ended["kid"]
    assert ended["signature"]
    assert ended["result"]["records"] == 3
    problem(developer.post(f"{path}/finish"), 409, "run_over")
    second = opened(ground, client)
    assert made(developer.post(f"/evidence-runs/{second['id']}/abandon"), 200)["state"] == "abandoned"
    listed = made(developer.get("/evidence-runs", params={"app": ground.app}), 200)["items"]
    assert [each["state"] for each in listed] == ["abandoned", "incomplete"]
    kept = made(developer.get(f"{path}/rows"), 200)["items"]
    assert {each["name"] for each in kept} == {
        "evidence.run.open",
        "evidence.scenario.begin",
        "evidence.scenario.end",
    }
