"""Levels of what a cell requires, and what two people set aside for one app: at a hospital, in review, and in what is explained (C207)."""

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.controls.approvals.models import Act, Approval, ApprovalKind
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import AppId, PersonId
from hilum.policy.matrix import requirements
from hilum.policy.matrix import service as policies
from hilum.review.submissions import service as review
from tests.flows.agreement_ground import Ground
from tests.flows.control_site import ControlSite, build, codes, problem
from tests.flows.explain_ground import READ, asked_later, explained
from tests.flows.gateway_ground import patient, player
from tests.flows.review_ground import pass_lens, signs
from tests.flows.review_world import World, again, checks_of, decide, in_order, results
from tests.flows.rule_book_ground import agree, put_document_in_force, put_in_force
from tests.flows.vendor_ground import made
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock, SeededIds

REASON, CONTROL = "The lawyers need two weeks.", "The contract of the vendor binds it meanwhile."
BAA, FLOW = "agreements.business_associate", "evidence.data_flow"
HELPER = "categories.clinical_decision_support.cells"
ROTA = "categories.scheduling.cells.low"


def overridable(cells: str, *tiers: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {f"{cells}.{tier}.levels": {"overridable": [name]} for tier in tiers}
    return found | {"overrides": {"longest": "30 d"}}


def ask(site: ControlSite, app: str, rule: str, days: int = 10, **change: Any) -> Any:
    ends = site.clock.now() + timedelta(days=days)
    body = {"rule": rule, "tenant": None, "reason": REASON, "control": CONTROL, "ends_at": ends.isoformat()}
    return site.api("root").post(f"/apps/{app}/overrides", json=body | change)


# --- at a hospital -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    made_ground = Ground(build(sqlite_uow, clock))

    def with_book() -> None:
        made_ground.site.system(policies.adopt_shipped)
        put_in_force(made_ground.site, overridable(HELPER, "moderate", "high", name=BAA))

    made_ground.site.furnished("overridable agreements", with_book)
    return made_ground


def test_an_agreement_is_set_aside_by_two_people_at_one_hospital_and_asked_for_again_after_the_end(
    ground: Ground, clock: FakeClock
) -> None:
    """C207, C189: closed to deny, with no job."""
    tiers = [
        ask(ground.site, ground.app, f"{HELPER}.{tier}.{BAA}", tenant="mercy")
        for tier in ("moderate", "high")
    ]
    assert codes(problem(ground.install(), 422, "installation_invalid")) == {"app": "agreements_missing"}
    shown = tiers[0].json()["approval"]["before"]["rule"]
    assert shown == {"name": f"{HELPER}.moderate.{BAA}", "level": "overridable", "title": ""}
    problem(
        ground.site.api("root").post(f"/approvals/{tiers[0].json()['approval']['id']}/approve"),
        403,
        "asked_by_you",
    )

    for waits in tiers:
        assert agree(ground.site, waits).status_code == 200

    made(ground.install())
    assert ground.fault() is None
    listed = made(ground.site.api("root").get("/policies/overrides"), 200)["items"]
    assert {(each["state"], each["control"]) for each in listed} == {("in_force", CONTROL)}
    clock.advance(timedelta(days=10))
    assert ground.fault() == "agreement_missing"


@in_one_world(
    ("change", "field", "code"),
    [
        ({"rule": f"{HELPER}.moderate.lenses.clinical"}, "rule", "rule_unknown"),
        ({"rule": f"{HELPER}.moderate.client_authentication.none"}, "rule", "rule_unknown"),
        ({"rule": f"{HELPER}.moderate.evidence.data_flow"}, "rule", "rule_not_overridable"),
        ({"rule": f"{HELPER}.low.{BAA}"}, "rule", "rule_unknown"),
        ({"rule": BAA}, "rule", "rule_unknown"),
        ({"control": "  "}, "control", "too_short"),
        ({"days": 31}, "ends_at", "too_late"),
    ],
)
def test_what_is_absolute_or_unknown_is_set_aside_by_nobody(
    ground: Ground, change: dict[str, Any], field: str, code: str
) -> None:
    order = {"rule": f"{HELPER}.moderate.{BAA}"} | change
    assert codes(problem(ask(ground.site, ground.app, **order), 422, "override_invalid")) == {field: code}


def test_the_levels_of_the_cell_are_in_an_assessment(ground: Ground) -> None:
    order = {"category": "clinical_decision_support", "scopes": ["patient/Observation.rs"]}
    order["client_authentication"] = "private_key_jwt"

    found = made(ground.site.api("root").post("/policies/assess", json=order), 200)

    assert found["overridable"] == [f"{HELPER}.{found['acts_at']}.{BAA}"]
    assert found["overridable"][0] in found["requires"]
    assert found["advises"] == []


# --- in review -----------------------------------------------------------------------------------------------------------------


def test_review_lists_what_is_set_aside_for_an_app_and_certifies_nothing_once_that_is_over(
    world: World,
) -> None:
    """C207, C110: what was checked is judged again as it was; the decision asks whether it still holds."""
    found = in_order(world)
    signs(found.site, "rita", "technical")
    asks = {f"{ROTA}.evidence": ["automated_checks", "data_flow"], f"{ROTA}.review.sample_percent": 100}
    put_in_force(found.site, asks | overridable("categories.scheduling.cells", "low", name=FLOW))
    missing = problem(found.submit(), 422, "submission_incomplete")
    assert codes(missing) == {"documents.data_flow": "evidence_missing"}
    rule = f"{ROTA}.{FLOW}"
    here = problem(ask(found.site, found.app, rule, tenant="general"), 422, "override_invalid")
    assert codes(here) == {"tenant": "judged_by_review"}

    assert agree(found.site, ask(found.site, found.app, rule)).status_code == 200
    sent = made(found.submit())["id"]
    assert world.check()

    run = checks_of(found, sent)
    assert results(run)["requirements.level", FLOW] == "not_required"
    assert ("evidence.attached", "data_flow") not in results(run)
    pass_lens(found, sent)
    override = made(found.site.api("root").get("/policies/overrides"), 200)["items"][0]["id"]
    ended = {"reason": "It is there now."}
    made(found.site.api("root").post(f"/policies/overrides/{override}/end", json=ended), 200)
    problem(decide(found, sent), 403, "override_over")
    again(found, sent)
    assert world.check()
    assert results(checks_of(found, sent))["evidence.attached", "data_flow"] == "failed"
    problem(decide(found, sent), 403, "checks_not_passed")


def test_what_was_certified_by_an_override_is_asked_for_it_once_that_is_over(world: World) -> None:
    """C207, C115: by the nightly look, which then finds it missing."""
    found = in_order(world)
    signs(found.site, "rita", "technical")
    asks = {f"{ROTA}.evidence": ["automated_checks", "data_flow"], f"{ROTA}.review.sample_percent": 100}
    put_in_force(found.site, asks | overridable("categories.scheduling.cells", "low", name=FLOW))
    agree(found.site, ask(found.site, found.app, f"{ROTA}.{FLOW}"))
    sent = made(found.submit())["id"]
    assert world.check()
    pass_lens(found, sent)
    made(decide(found, sent), 200)
    (certified,) = found.site.system(registry.certifications_of, app=AppId(found.app))

    def missing() -> list[str]:
        checks = found.site.system(review.judge_again, certification=certified, looks=())
        return [each.about for each in checks if each.rule == "evidence.attached" and each.blocks]

    assert missing() == []
    world.clock.advance(timedelta(days=10))
    assert missing() == ["data_flow"]


def test_what_is_only_advised_is_listed_and_keeps_nobody_waiting(world: World) -> None:
    found = in_order(world)
    signs(found.site, "rita", "technical")
    asks = {f"{ROTA}.evidence": ["automated_checks", "data_flow"], f"{ROTA}.review.sample_percent": 100}
    put_in_force(found.site, asks | {f"{ROTA}.levels": {"advisory": [FLOW]}})

    sent = made(found.submit())["id"]
    assert world.check()

    assert results(checks_of(found, sent))["requirements.level", FLOW] == "not_required"
    pass_lens(found, sent)
    assert made(decide(found, sent), 200)["state"] == "certified"


# --- in what is explained --------------------------------------------------------------------------------------------------------


def set_aside(ctx: Context, app: AppId, path: str, ends_at: datetime) -> None:
    """Set a requirement aside everywhere as two people who agreed."""
    found = requirements.find(policies.current(ctx).everywhere, path)
    assert found is not None
    order = {"rule": path, "app": app, "tenant": None, "reason": REASON, "control": CONTROL}
    act = Act(
        ApprovalKind.OVERRIDE,
        None,
        app,
        order | {"ends_at": ends_at.isoformat()},
        {"rule": requirements.shown(found)},
    )
    approval = Approval("apr_1", act, PersonId("root"), ctx.now, ends_at)
    policies.CARRY_OUT[ApprovalKind.OVERRIDE](ctx, approval, SYSTEM)


def test_an_explanation_names_what_was_set_aside_for_the_app(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """C205."""
    cells = "categories.unclassified.cells"
    changes = overridable(cells, "low", "moderate", "high", name=BAA)
    changes |= {f"{cells}.{tier}.agreements": ["business_associate"] for tier in ("low", "moderate", "high")}

    async def story(ground: Any) -> None:
        ground.load(patient("p1"))
        token, app = ground.token(READ), ground.clients["app"].app
        ground.run(policies.adopt_shipped)
        ground.run(lambda ctx: put_document_in_force(ctx, changes))
        before = await asked_later(ground, token, 200)
        ends = clock.now() + timedelta(minutes=30)
        for tier in ("low", "moderate", "high"):
            ground.run(partial(set_aside, app=app, path=f"{cells}.{tier}.{BAA}", ends_at=ends))
        during = await asked_later(ground, token, 200)

        assert "Override" not in explained(ground, before, tmp_path)
        text = explained(ground, during, tmp_path)
        assert text.count("Override ") == 1, "of the cell in which the app acted"
        assert f"{BAA}, and the app may act without it" in text

    player(sqlite_uow, clock, ids, tmp_path)(story)
