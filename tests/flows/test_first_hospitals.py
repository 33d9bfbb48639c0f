"""A policy that allows something new is at chosen hospitals first, and what was refused there stands beside everywhere (C218, ADR 43)."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.people.store import tenants as tenant_table
from hilum.policy.matrix import service
from hilum.policy.matrix.first_hospitals import BEFORE
from hilum.policy.matrix.models import TAKE_BACK_WITHIN
from hilum.records.audit.models import SLOTS_KEPT, Outcome
from tests.flows.control_site import ControlSite, build, send, with_policy
from tests.flows.policy_ground import NARROWER, WIDER, add, agree, apply, in_force, json_of
from tests.flows.use_ground import Ground
from tests.sim.backends import both_backends
from tests.sim.dry_runs import rehearse
from tests.sim.world import FakeClock

REFUSED: dict[str, Any] = {"outcome": Outcome.REFUSED, "reason": "scope_insufficient"}
FIRST = "must be in force at hospitals that you choose"


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_policy)


def only_synthetic(site: ControlSite) -> None:
    site.system(lambda ctx: ctx.tx.execute(update(tenant_table).values(sandbox=True)))


def refusals(site: ControlSite, version: int, by: str = "otto") -> Any:
    return site.api(by).get(f"/policies/versions/{version}/refusals")


def text_of(page: str) -> str:
    return re.sub(r"<[^>]+>", "", page)


@both_backends
def test_what_was_refused_at_the_first_hospitals_before_and_since_is_counted(
    site: ControlSite, clock: FakeClock
) -> None:
    """C218: at these hospitals only, and nothing that no policy brings about."""
    only_synthetic(site)
    ground, version = Ground(site.uow, clock, site), add(site, WIDER)
    ground.use("general", "general", "general", days_ago=2)
    ground.use("general", days_ago=3, **REFUSED)
    ground.use("general", days_ago=8, **REFUSED)
    agree(site, apply(site, version, "general"))
    assert json_of(refusals(site, version))["since"] == {"decided": 0, "refused": 0}
    clock.advance(timedelta(hours=1))
    ground.use("general", "children", days_ago=0, **REFUSED)
    ground.use("general", days_ago=0, outcome=Outcome.REFUSED, reason="switch_engaged")

    found = json_of(refusals(site, version))

    assert list(found["at"]) == ["general"]
    assert (found["before"], found["since"]) == (
        {"decided": 4, "refused": 1},
        {"decided": 1, "refused": 1},
    )
    figure = "1 of 1 decisions refused (100.0 %) since then; 1 of 4 decisions refused (25.0 %) in the 7 days before."
    assert figure in found["sentence"]
    page = f"/operations/policy/versions/{version}/apply"
    shown = text_of(site.signed_in("root").get(page).text)
    assert (figure in shown, FIRST in shown) == (True, False)
    asked = apply(site, version).json()["approval"]["id"]
    assert figure in text_of(site.signed_in("sam").get(f"/operations/staff/{asked}").text), "also the second"
    clock.advance(SLOTS_KEPT - BEFORE)
    assert json_of(refusals(site, version))["before"] is None, "it would be counted in part only"


def test_other_hospitals_figures_are_the_staffs(site: ControlSite) -> None:
    assert refusals(site, 1, "gina").status_code == 403
    assert json_of(refusals(site, 1)) == {"at": {}, "before": None, "since": None, "sentence": ""}


def test_a_page_says_that_hospitals_come_first_only_where_everywhere_is_refused(site: ControlSite) -> None:
    """Going back to what was everywhere before needs no hospital first, in a sandbox or not."""
    only_synthetic(site)
    wide, narrow = add(site, WIDER), add(site, NARROWER)
    order = {"act": "apply", "where": "everywhere", "reason": "all at once"}

    def everywhere(version: int) -> tuple[bool, int]:
        root, page = site.signed_in("root"), f"/operations/policy/versions/{version}/apply"
        said = FIRST in text_of(root.get(page).text)
        return said, send(root, page, "where", **order).status_code

    rehearse(site.uow, wide)
    assert everywhere(wide) == (True, 409)
    assert apply(site, narrow).status_code == 201
    site.clock.advance(TAKE_BACK_WITHIN)
    rehearse(site.uow, 1)
    assert everywhere(1) == (False, 303)


@both_backends
@pytest.mark.parametrize("end", ["taken back", "replaced"])
def test_a_version_that_was_taken_back_or_replaced_is_first_at_no_hospital(
    site: ControlSite, end: str
) -> None:
    version = add(site, WIDER)
    agree(site, apply(site, version, "mercy"))

    ended = apply(site, 1, "mercy") if end == "taken back" else apply(site, add(site, NARROWER))

    assert ended.status_code == 201
    assert json_of(apply(site, version))["code"] == "too_soon_everywhere"


def test_it_is_judged_again_when_the_second_person_agrees(site: ControlSite) -> None:
    """The hospital that had it first was closed meanwhile."""
    version = add(site, WIDER)
    agree(site, apply(site, version, "mercy"))
    asked = apply(site, version)
    site.system(lambda ctx: ctx.tx.execute(update(tenant_table).values(active=False)))

    refused = agree(site, asked)

    assert (refused.status_code, json_of(refused)["code"]) == (409, "too_soon_everywhere")


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
