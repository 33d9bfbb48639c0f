"""The trial of a rule book that allows something new: where it counts, from when, and what can be tried (C218)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hilum.audit.models import Outcome
from hilum.controls import service as controls
from hilum.controls.models import EngageOrder, Mode, Target, TargetKind
from hilum.identity import service as identity
from hilum.identity.models import Tenant, UpstreamKind, UpstreamRef
from hilum.identity.store import tenants as tenant_table
from hilum.infra.unit_of_work import UnitOfWork
from hilum.installations import service as installations
from hilum.kernel.ids import TenantId
from hilum.policies import service
from hilum.policies.models import UNCLASSIFIED
from tests.flows.control_site import ControlSite, build, with_rule_book
from tests.flows.rule_book_ground import NARROWER, SOAK, WIDER, add, agree, apply, in_force, json_of
from tests.flows.use_ground import Ground
from tests.sim.backends import both_backends
from tests.sim.world import FakeClock

HALF = SOAK / 2


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_rule_book)


def tried(site: ControlSite, version: int, *tenants: str) -> None:
    """Put a version that allows something new in force at some hospitals."""
    answer = apply(site, version, *tenants)
    assert (answer.status_code if answer.status_code == 201 else agree(site, answer).status_code) in {
        200,
        201,
    }


def too_soon(site: ControlSite, version: int) -> bool:
    answer = apply(site, version)
    assert answer.status_code in {202, 409}, answer.text
    return bool(answer.status_code == 409 and json_of(answer)["code"] == "too_soon_everywhere")


def test_a_trial_counts_from_the_application_that_began_it(site: ControlSite, clock: FakeClock) -> None:
    version = add(site, WIDER)
    tried(site, version, "mercy")

    clock.advance(SOAK - timedelta(seconds=1))
    assert too_soon(site, version)
    clock.advance(timedelta(seconds=1))
    assert not too_soon(site, version)


@both_backends
def test_a_trial_that_was_taken_back_begins_at_its_beginning_again(
    site: ControlSite, clock: FakeClock
) -> None:
    """Five minutes of a trial, a day before, counted as a day of one."""
    version = add(site, WIDER)
    tried(site, version, "mercy")
    clock.advance(timedelta(minutes=5))
    apply(site, 1, "mercy")
    clock.advance(SOAK)

    tried(site, version, "mercy")

    assert too_soon(site, version)
    clock.advance(SOAK)
    assert not too_soon(site, version)


def test_a_trial_counts_at_one_and_the_same_hospital(site: ControlSite, clock: FakeClock) -> None:
    lakeside = Tenant(TenantId("lakeside"), "Lakeside", UpstreamRef(UpstreamKind.EMBEDDED))
    site.system(identity.add_tenant, tenant=lakeside)
    version = add(site, WIDER)
    tried(site, version, "mercy")
    clock.advance(HALF)
    tried(site, version, "lakeside")
    apply(site, 1, "mercy")

    clock.advance(HALF)
    assert too_soon(site, version)
    clock.advance(HALF)
    assert not too_soon(site, version)


def test_further_hospitals_do_not_begin_a_trial_again(site: ControlSite, clock: FakeClock) -> None:
    version = add(site, WIDER)
    tried(site, version, "mercy")
    clock.advance(HALF)
    tried(site, version, "mercy", "general")

    clock.advance(HALF)

    assert not too_soon(site, version)


def test_another_book_everywhere_ends_every_trial(site: ControlSite, clock: FakeClock) -> None:
    version = add(site, WIDER)
    tried(site, version, "mercy")
    clock.advance(SOAK)

    assert apply(site, add(site, NARROWER)).status_code == 201

    assert too_soon(site, version)


def test_a_synthetic_hospital_tries_nothing_beside_real_ones(site: ControlSite, clock: FakeClock) -> None:
    version = add(site, WIDER)
    tried(site, version, "general", "children")

    clock.advance(SOAK)

    assert too_soon(site, version)


def test_a_platform_of_synthetic_hospitals_tries_at_them(site: ControlSite, clock: FakeClock) -> None:
    site.system(lambda ctx: ctx.tx.execute(update(tenant_table).values(sandbox=True)))
    version = add(site, WIDER)
    tried(site, version, "general")

    clock.advance(SOAK)

    assert not too_soon(site, version)


def _closed(site: ControlSite, clock: FakeClock) -> None:
    site.system(lambda ctx: ctx.tx.execute(update(tenant_table).values(active=False)))
    clock.advance(SOAK)


def _reopened(site: ControlSite, clock: FakeClock) -> None:
    """Reopening a hospital ends what was issued before, as the end of a full stop does."""
    clock.advance(SOAK)
    site.system(controls.end_issued, target=Target(TargetKind.TENANT, "mercy"))


def _stopped(site: ControlSite, clock: FakeClock) -> None:
    clock.advance(SOAK)
    site.system(
        controls.engage, order=EngageOrder(Target(TargetKind.TENANT, "mercy"), Mode.FULL_STOP, "drill")
    )


def _stopped_for_a_while(site: ControlSite, clock: FakeClock) -> None:
    clock.advance(HALF)
    until: datetime = clock.now() + timedelta(minutes=1)
    order = EngageOrder(Target(TargetKind.PLATFORM, ""), Mode.FULL_STOP, "drill", until)
    site.system(controls.engage, order=order)
    clock.advance(HALF)


@both_backends
@pytest.mark.parametrize("interrupted", [_closed, _reopened, _stopped, _stopped_for_a_while])
def test_a_hospital_where_nobody_works_tries_nothing(
    site: ControlSite, clock: FakeClock, interrupted: Any
) -> None:
    version = add(site, WIDER)
    tried(site, version, "mercy")

    interrupted(site, clock)

    assert too_soon(site, version)


def test_no_more_versions_are_in_force_at_once_than_processes_keep(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "IN_FORCE_BOUND", 2)
    apply(site, add(site, NARROWER), "general")
    version = add(site, NARROWER)

    refused = apply(site, version, "children")
    replaced = apply(site, version, "general")

    assert (refused.status_code, json_of(refused)["code"]) == (409, "too_many_versions")
    assert replaced.status_code == 201
    assert in_force(site)["at"] == {"general": version}


LATER = timedelta(hours=1)
UNCLASSIFIED_WIDER = {f"categories.{UNCLASSIFIED}.cells.low.quota": {"burst": 1_000}}


def ground_of(site: ControlSite, clock: FakeClock, category: str = UNCLASSIFIED) -> Ground:
    """An app at a hospital of a platform that has only synthetic ones, where those are tried at."""
    site.system(lambda ctx: ctx.tx.execute(update(tenant_table).values(sandbox=True)))
    return Ground(site.uow, clock, site, category)


def _not_at_all(_ground: Ground) -> None:
    pass


def _elsewhere(ground: Ground) -> None:
    ground.use("children", days_ago=0)


def _refused(ground: Ground) -> None:
    ground.use("general", days_ago=0, reason="scope_missing", outcome=Outcome.REFUSED)


def _before(ground: Ground) -> None:
    ground.use("general", days_ago=3)


@pytest.mark.parametrize("use", [_not_at_all, _elsewhere, _refused, _before])
def test_a_trial_counts_only_where_an_app_was_used_in_its_time(
    site: ControlSite, clock: FakeClock, use: Callable[[Ground], None]
) -> None:
    """C218."""
    ground = ground_of(site, clock)
    version = add(site, UNCLASSIFIED_WIDER)
    tried(site, version, "general")
    clock.advance(SOAK + LATER)

    use(ground)

    refused = json_of(apply(site, version))
    assert refused["code"] == "trial_unused"
    assert "at general, but no app that it concerns" in refused["detail"]
    assert f"Use an app of {UNCLASSIFIED}" in refused["detail"]


def test_the_use_of_an_app_that_it_does_not_concern_is_no_trial(site: ControlSite, clock: FakeClock) -> None:
    ground, version = ground_of(site, clock), add(site, WIDER)
    tried(site, version, "general")
    clock.advance(SOAK + LATER)

    ground.use("general", days_ago=0)

    assert json_of(apply(site, version))["code"] == "trial_unused"


@both_backends
def test_what_an_app_that_it_concerns_used_in_its_trial_is_put_in_force_everywhere(
    site: ControlSite, clock: FakeClock
) -> None:
    """C218."""
    ground, version = ground_of(site, clock), add(site, UNCLASSIFIED_WIDER)
    tried(site, version, "general")
    clock.advance(SOAK + LATER)
    ground.use("general", days_ago=0)

    agreed = agree(site, apply(site, version))

    assert agreed.status_code == 200, agreed.text
    assert in_force(site) == {"everywhere": version, "at": {}, "last": 3}


def test_the_use_is_judged_again_when_the_second_person_agrees(site: ControlSite, clock: FakeClock) -> None:
    ground, version = ground_of(site, clock), add(site, UNCLASSIFIED_WIDER)
    tried(site, version, "general")
    clock.advance(SOAK + LATER)
    ground.use("general", days_ago=0)

    asked = apply(site, version)

    assert asked.status_code == 202, asked.text
    site.system(installations.uninstall, installation_id=ground.installed["general"])
    refused = agree(site, asked)
    assert (refused.status_code, json_of(refused)["code"]) == (409, "trial_unused")
