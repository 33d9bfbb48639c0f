"""Overrides of rules by API: two people, a reason, a control, an end; one person ends it early (C207)."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix import service
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.server.restore import allowances_in_force
from tests.flows import back_channel
from tests.flows.back_channel import Platform
from tests.flows.control_site import ControlSite, build, codes, problem
from tests.flows.gateway_ground import Ground, patient, player
from tests.flows.override_ground import CONTROL, REASON, override, with_overridable_rule, withhold
from tests.flows.rule_book_ground import add, agree, apply
from tests.flows.vendor_ground import made, register
from tests.sim.backends import both_backends
from tests.sim.one_world import in_one_world
from tests.sim.world import START, FakeClock, SeededIds
from tests.unit.policy.matrix.books import document, with_rule
from tests.unit.policy.matrix.exception_facts import EXCEPTION

UNTIL = START + timedelta(days=10)
GENERAL, MERCY = TenantId("general"), TenantId("mercy")


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_overridable_rule)


@pytest.fixture
def app(site: ControlSite) -> str:
    return site.furnished("registered", lambda: str(register(site.api("root"))[0]["id"]))


def body(**change: Any) -> dict[str, Any]:
    return {
        "rule": "reads-slots",
        "tenant": "general",
        "reason": REASON,
        "control": CONTROL,
        "ends_at": UNTIL.isoformat(),
    } | change


def ask(site: ControlSite, app: str, by: str = "root", **change: Any) -> Any:
    return site.api(by).post(f"/apps/{app}/overrides", json=body(**change))


def judged_by(site: ControlSite, app: str, tenant: TenantId = GENERAL) -> set[str]:
    """Return the rules by which an app is judged at a hospital now, as every endpoint reads them."""
    book = site.system(service.current).book_at(tenant, site.clock.now(), AppId(app))
    return {rule.name for rule in book.tier_rules}


def listed(site: ControlSite, by: str = "root") -> list[dict[str, Any]]:
    return list(made(site.api(by).get("/policies/overrides"), 200)["items"])


@both_backends
def test_nothing_is_overridden_before_a_second_person_agrees(site: ControlSite, app: str) -> None:
    """C207."""
    waits = ask(site, app)

    assert "reads-slots" in judged_by(site, app)
    shown = waits.json()["approval"]
    assert shown["before"]["rule"]["name"] == "reads-slots"
    assert (shown["order"]["reason"], shown["order"]["control"]) == (REASON, CONTROL)
    problem(site.api("root").post(f"/approvals/{shown['id']}/approve"), 403, "asked_by_you")
    assert "reads-slots" in judged_by(site, app)

    assert agree(site, waits).status_code == 200

    assert "reads-slots" not in judged_by(site, app)
    assert "reads-slots" in judged_by(site, app, MERCY)
    assert [(each["state"], each["app"], each["tenant"], each["control"]) for each in listed(site)] == [
        ("in_force", app, "general", CONTROL)
    ]


@both_backends
def test_an_override_ends_by_itself_without_a_job(site: ControlSite, app: str) -> None:
    """C207."""
    agree(site, ask(site, app))

    site.clock.advance(timedelta(days=10))

    assert "reads-slots" in judged_by(site, app)
    assert [each["state"] for each in listed(site)] == ["expired"]


def test_a_restore_lists_what_is_lifted_again_with_the_command_that_ends_it(
    site: ControlSite, app: str
) -> None:
    """C207: an end of after the backup is lost with it, and a person looks at each; what is over comes back for nobody."""
    agree(site, ask(site, app))
    override = listed(site)[0]["id"]
    lowered = replace(EXCEPTION, app=AppId(app), tenant=GENERAL)
    site.system(service.add_exception, made=lowered)
    site.system(service.add_exception, made=replace(lowered, id="exc_2", ends_at=START - timedelta(days=1)))

    assert site.system(allowances_in_force) == (
        f"exception exc_1 for {app} at general, until 2026-03-12 09:00 UTC: hilum policy end-exception exc_1",
        f"override {override} of reads-slots for {app} at general, until 2026-03-12 09:00 UTC: hilum policy end-override {override}",
    )

    site.api("root").post(f"/policies/overrides/{override}/end", json={"reason": "Done."})
    assert len(site.system(allowances_in_force)) == 1


@both_backends
def test_one_person_ends_an_override_early_and_once(site: ControlSite, app: str) -> None:
    agree(site, ask(site, app))
    override = listed(site)[0]["id"]

    assert (
        made(site.api("root").post(f"/policies/overrides/{override}/end", json={"reason": "Done."}), 200)[
            "state"
        ]
        == "ended"
    )

    assert "reads-slots" in judged_by(site, app)
    problem(
        site.api("root").post(f"/policies/overrides/{override}/end", json={"reason": "Done."}),
        409,
        "override_over",
    )


@both_backends
def test_a_hospital_ends_its_own_override_and_sees_no_other_hospitals(site: ControlSite, app: str) -> None:
    agree(site, ask(site, app))
    path = f"/policies/overrides/{listed(site)[0]['id']}/end"

    assert listed(site, "mary") == []
    problem(site.api("mary").post(path, json={"reason": "Curious."}), 404, "override_not_found")
    assert made(site.api("gina").post(path, json={"reason": "We do not want it."}), 200)["ended_by"]
    assert "reads-slots" in judged_by(site, app)


def test_an_override_and_its_end_are_in_the_audit_with_rule_reason_and_control(
    site: ControlSite, app: str
) -> None:
    agree(site, ask(site, app))
    site.api("root").post(f"/policies/overrides/{listed(site)[0]['id']}/end", json={"reason": "Done."})

    events = site.system(audit.list_events, query=EventQuery(action="policies.override", app=app)).events

    assert [(each.event.action, each.event.tenant, each.event.facts["target"]) for each in events] == [
        ("policies.override.end", "general", "reads-slots"),
        ("policies.override.add", "general", "reads-slots"),
    ]
    assert events[1].event.facts["reason"] == REASON
    assert CONTROL in events[1].event.facts["detail"]


@in_one_world(
    ("change", "field", "code"),
    [
        ({"rule": "nothing-of-the-kind"}, "rule", "rule_unknown"),
        ({"rule": document()["tier_rules"][0]["name"]}, "rule", "rule_not_overridable"),
        ({"reason": "because"}, "reason", "too_short"),
        ({"control": "          "}, "control", "too_short"),
        ({"ends_at": START.isoformat()}, "ends_at", "not_in_the_future"),
        ({"ends_at": (START + timedelta(days=31)).isoformat()}, "ends_at", "too_late"),
        ({"tenant": None}, "rule", "rule_unknown"),
    ],
)
def test_what_may_not_be_overridden_is_refused_with_its_field(
    site: ControlSite, app: str, change: dict[str, Any], field: str, code: str
) -> None:
    assert codes(problem(ask(site, app, **change), 422, "override_invalid"))[field] == code
    assert listed(site) == []


@in_one_world("by", ["sam", "rita", "otto", "gina", "ann"])
def test_only_a_platform_administrator_asks_for_an_override(site: ControlSite, app: str, by: str) -> None:
    assert ask(site, app, by).status_code == 403
    assert ask(site, "app_nothing", by).status_code == 403


def test_an_override_of_an_app_or_at_a_hospital_that_is_not_there_is_refused(
    site: ControlSite, app: str
) -> None:
    problem(ask(site, "app_nothing"), 404, "app_not_found")
    assert ask(site, app, tenant="nowhere").status_code == 404


def test_an_override_whose_rule_changed_while_it_waited_is_not_agreed_to(site: ControlSite, app: str) -> None:
    waits = ask(site, app)
    absolute = add(site, with_rule("absolute") | {"overrides": {"longest": "30 d"}})
    assert apply(site, absolute, "general").status_code == 201

    assert agree(site, waits).status_code == 409

    assert listed(site) == []


def test_making_the_rule_absolute_ends_what_was_overridden(site: ControlSite, app: str) -> None:
    agree(site, ask(site, app))
    absolute = add(site, with_rule("absolute") | {"overrides": {"longest": "30 d"}})
    assert apply(site, absolute, "general").status_code == 201

    assert "reads-slots" in judged_by(site, app)
    assert [each["state"] for each in listed(site)] == ["not_overridable"]


# --- enforcement ---------------------------------------------------------------------------------------------------------------

platform = back_channel.platform
SCOPES = ("launch", "patient/Observation.rs", "patient/Patient.rs")


def test_a_token_has_what_an_override_allows_at_this_hospital_only(platform: Platform) -> None:
    platform.run(withhold)
    assert platform.earn(scopes=SCOPES)["scope"].split() == ["launch", "patient/Observation.rs"]
    app = platform.run(lambda ctx: clients.get_client(ctx, platform.clients["public"].id)).app

    platform.run(lambda ctx: override(ctx, app, back_channel.OTHER, START + timedelta(days=1)))
    assert platform.earn(scopes=SCOPES)["scope"].split() == ["launch", "patient/Observation.rs"]

    platform.run(lambda ctx: override(ctx, app, back_channel.MERCY, START + timedelta(days=1)))
    assert platform.earn(scopes=SCOPES)["scope"].split() == list(SCOPES)


def test_the_gateway_refuses_again_from_the_moment_an_override_ends(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """C207: by the snapshot alone. Nothing has to run at that moment, and the token is still live."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token = made.token("patient/Patient.rs")
        made.run(withhold)
        assert (await made.get("Patient/p1", token)).status == 403

        app = made.clients["app"].app
        made.run(lambda ctx: override(ctx, app, GENERAL, clock.now() + timedelta(minutes=5)))
        assert (await made.get("Patient/p1", token)).status == 200

        clock.advance(timedelta(minutes=5))
        made.keeper.step(0)
        assert (await made.get("Patient/p1", token)).status == 403

    player(sqlite_uow, clock, ids, tmp_path)(story)
