"""Requirements that two people waive for one app: in review, at night, and in what is explained (C207)."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hilum.apps.registry import service as registry
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix import service as policies
from hilum.review.submissions import service as review
from tests.flows.control_site import codes, problem
from tests.flows.exception_ground import end, exceptions, waive
from tests.flows.explain_ground import READ, asked_later, explained
from tests.flows.gateway_ground import patient, player
from tests.flows.policy_ground import agree, put_document_in_force, put_in_force
from tests.flows.review_ground import pass_discipline, signs
from tests.flows.review_world import World, again, checks_of, decide, in_order, results
from tests.flows.vendor_ground import made
from tests.sim.world import FakeClock, SeededIds
from tests.unit.policy.matrix.exception_facts import WAIVER

FLOW = "evidence.data_flow"
ROTA = "categories.scheduling.entries.low"
WAIVABLE = {"exceptions.waivable": [FLOW]}


REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"requirement": "disciplines.clinical"}, "requirement", "requirement_not_waivable"),
    ({"requirement": "agreements.business_associate"}, "requirement", "requirement_not_waivable"),
    ({"requirement": "evidence.automated_checks"}, "requirement", "requirement_not_waivable"),
    ({"requirement": "evidence.nothing"}, "requirement", "requirement_not_waivable"),
    ({"tier": "high"}, "tier", "not_an_option"),
    ({"tier": None}, "tier", "not_an_option"),
    ({"version": "ver_1"}, "version", "not_expected"),
    ({"control": "  "}, "control", "too_short"),
    ({"ends_at": None}, "ends_at", "missing"),
)


def test_what_may_not_be_waived_is_refused_with_its_field_and_by_whoever_may_not(world: World) -> None:
    """C207."""
    found = in_order(world)
    put_in_force(found.site, {f"{ROTA}.evidence": ["automated_checks", "data_flow"], **WAIVABLE})

    for change, field, code in REFUSED:
        refused = problem(waive(found.site, found.app, **change), 422, "exception_invalid")
        assert codes(refused)[field] == code, change
    for by in ("rita", "sam", "otto", "gina", "ann"):
        assert waive(found.site, found.app, by).status_code == 403, by

    assert exceptions(found.site) == []


# --- in review -----------------------------------------------------------------------------------------------------------------


def test_review_lists_what_is_waived_for_an_app_and_certifies_nothing_once_that_is_over(
    world: World,
) -> None:
    """C207, C110: what was checked is judged again as it was; the decision asks whether it still holds."""
    found = in_order(world)
    signs(found.site, "rita", "technical")
    asks = {
        f"{ROTA}.evidence": ["automated_checks", "data_flow"],
        f"{ROTA}.review.automatic": False,
        **WAIVABLE,
    }
    put_in_force(found.site, asks)
    missing = problem(found.submit(), 422, "submission_incomplete")
    assert codes(missing) == {"documents.data_flow": "evidence_missing"}
    here = problem(waive(found.site, found.app, tenant="general"), 422, "exception_invalid")
    assert codes(here) == {"tenant": "not_expected"}

    assert agree(found.site, waive(found.site, found.app)).status_code == 200
    sent = made(found.submit())["id"]
    assert world.check()

    run = checks_of(found, sent)
    assert results(run)["requirements.waived", FLOW] == "not_required"
    assert ("evidence.attached", "data_flow") not in results(run)
    pass_discipline(found, sent)
    made(end(found.site, exceptions(found.site)[0]["id"]), 200)
    problem(decide(found, sent), 403, "exception_over")
    again(found, sent)
    assert world.check()
    assert results(checks_of(found, sent))["evidence.attached", "data_flow"] == "failed"
    problem(decide(found, sent), 403, "checks_not_passed")


def test_what_was_certified_by_an_exception_is_asked_for_it_once_that_is_over(world: World) -> None:
    """C207, C115: by the nightly look, which then finds it missing."""
    found = in_order(world)
    signs(found.site, "rita", "technical")
    asks = {
        f"{ROTA}.evidence": ["automated_checks", "data_flow"],
        f"{ROTA}.review.automatic": False,
        **WAIVABLE,
    }
    put_in_force(found.site, asks)
    agree(found.site, waive(found.site, found.app))
    sent = made(found.submit())["id"]
    assert world.check()
    pass_discipline(found, sent)
    made(decide(found, sent), 200)
    (certified,) = found.site.system(registry.certifications_of, app=AppId(found.app))

    def missing() -> list[str]:
        checks = found.site.system(review.judge_again, certification=certified, looks=())
        return [each.about for each in checks if each.rule == "evidence.attached" and each.blocks]

    assert missing() == []
    world.clock.advance(timedelta(days=10))
    assert missing() == ["data_flow"]


# --- in what is explained --------------------------------------------------------------------------------------------------------


def test_an_explanation_names_what_was_waived_for_the_app(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """C205."""
    entries = "categories.unclassified.entries"
    changes = {
        f"{entries}.{tier}.evidence": ["automated_checks", "data_flow"]
        for tier in ("low", "moderate", "high")
    } | WAIVABLE

    async def story(ground: Any) -> None:
        ground.load(patient("p1"))
        token, app = ground.token(READ), ground.clients["app"].app
        ground.run(policies.adopt_shipped)
        ground.run(lambda ctx: put_document_in_force(ctx, changes))
        before = await asked_later(ground, token, 200)
        of_app = replace(
            WAIVER,
            app=app,
            category="unclassified",
            starts_at=clock.now(),
            ends_at=clock.now() + timedelta(minutes=30),
        )
        for tier in ("low", "moderate", "high"):
            waiver = replace(of_app, id=f"exc_{tier}", tier=tier)
            ground.run(lambda ctx, waiver=waiver: policies.add_exception(ctx, waiver))
        during = await asked_later(ground, token, 200)

        assert "Exception" not in explained(ground, before, tmp_path)
        text = explained(ground, during, tmp_path)
        assert text.count("Exception exc_") == 1, "of the entry in which the app acted"
        assert f"{FLOW}, and the app may act without it" in text

    player(sqlite_uow, clock, ids, tmp_path)(story)
