"""The trial of a rule book that allows something new: where it counts, from when, and what can be tried (C218)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hilum.controls import service as controls
from hilum.controls.models import EngageOrder, Mode, Target, TargetKind
from hilum.identity import service as identity
from hilum.identity.models import Tenant, UpstreamKind, UpstreamRef
from hilum.identity.store import tenants as tenant_table
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.ids import TenantId
from hilum.policies import service
from tests.flows.control_site import ControlSite, build, with_rule_book
from tests.flows.test_rule_book import NARROWER, SOAK, WIDER, add, agree, apply, in_force, problem
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
    if answer.status_code == 409:
        assert problem(answer)["code"] == "too_soon_everywhere"
    return bool(answer.status_code == 409)


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

    assert (refused.status_code, problem(refused)["code"]) == (409, "too_many_versions")
    assert replaced.status_code == 201
    assert in_force(site)["at"] == {"general": version}
