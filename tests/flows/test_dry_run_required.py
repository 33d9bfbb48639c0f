"""No version is in force anywhere before a dry run of exactly that version is done and recent; only an emergency that narrows skips it (C208, C218)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.policy.matrix import service
from hilum.policy.matrix.dry_runs import dry_run_fault
from hilum.policy.matrix.models import DRY_RUN_VALID, TAKE_BACK_WITHIN, ApplyOrder, DryRun, DryRunState
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.control_site import ControlSite, build, with_policy
from tests.flows.policy_ground import NARROWER, WIDER, add, agree, in_force, json_of
from tests.sim.backends import both_backends
from tests.sim.dry_runs import Jobs, dry_run
from tests.sim.world import START, FakeClock

DIGEST = "d" * 64


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_policy)


def apply(site: ControlSite, version: int, *tenants: str, **more: Any) -> Any:
    body = {"version": version, "tenants": tenants, "after": in_force(site)["last"], "reason": "Because."}
    return site.api("root").post("/policies/applications", json=body | more)


def refused(answer: Any, code: str) -> None:
    assert (answer.status_code, json_of(answer)["code"]) == (409, code), answer.text


def applied(site: ControlSite) -> dict[str, Any]:
    found = site.system(audit.list_events, query=EventQuery(action="policies.book.apply")).events
    # By number: two connections' events of one moment have no order.
    return max((each.event.facts for each in found), key=lambda facts: facts.get("application", 0))


@pytest.mark.parametrize("changes", [NARROWER, WIDER])
@pytest.mark.parametrize("tenants", [(), ("general",)])
def test_a_version_without_a_dry_run_is_not_applied_anywhere_rings_included(
    site: ControlSite, changes: dict[str, Any], tenants: tuple[str, ...]
) -> None:
    version = add(site, changes)

    answer = apply(site, version, *tenants)

    refused(answer, "too_soon_everywhere" if changes is WIDER and not tenants else "dry_run_missing")
    assert in_force(site)["last"] == 1


def test_a_dry_run_of_another_version_does_not_count(site: ControlSite) -> None:
    version, other = add(site, NARROWER), add(site, NARROWER)
    dry_run(site.uow, other)

    refused(apply(site, version), "dry_run_missing")


def test_a_dry_run_that_waits_does_not_count(site: ControlSite) -> None:
    version = add(site, NARROWER)
    site.api("root").post("/policies/dry-runs", json={"version": version})

    refused(apply(site, version), "dry_run_missing")


@both_backends
def test_the_dry_run_and_its_digest_are_in_the_audit_of_the_application(site: ControlSite) -> None:
    version = add(site, NARROWER)
    run = dry_run(site.uow, version)

    assert apply(site, version).status_code == 201

    assert applied(site)["dry_run"] == {"id": run.id, "digest": run.digest}
    assert applied(site)["emergency"] is False


@both_backends
def test_a_dry_run_is_too_old_after_its_bound_and_serves_until_then(
    site: ControlSite, clock: FakeClock
) -> None:
    version = add(site, NARROWER)
    dry_run(site.uow, version)
    clock.advance(DRY_RUN_VALID)

    refused(apply(site, version), "dry_run_outdated")
    dry_run(site.uow, version)
    clock.advance(DRY_RUN_VALID - timedelta(seconds=1))
    assert apply(site, version).status_code == 201


@both_backends
def test_what_is_applied_meanwhile_outdates_a_dry_run(site: ControlSite) -> None:
    """It compared with something that is in force no longer: the same version at more hospitals takes another run too."""
    version, other = add(site, NARROWER), add(site, NARROWER)
    dry_run(site.uow, version)
    dry_run(site.uow, other)
    assert apply(site, other, "general").status_code == 201

    refused(apply(site, version), "dry_run_outdated")
    refused(apply(site, other), "dry_run_outdated")


@both_backends
def test_the_second_person_agrees_to_the_dry_run_that_was_shown(site: ControlSite) -> None:
    version = add(site, WIDER)
    run = dry_run(site.uow, version)
    asked = apply(site, version, "general")

    assert asked.json()["approval"]["order"]["dry_run"] == {"id": run.id, "digest": run.digest}
    assert agree(site, asked).status_code == 200
    assert applied(site)["dry_run"] == {"id": run.id, "digest": run.digest}


def test_another_dry_run_since_means_asking_again(site: ControlSite) -> None:
    """Two people decide by one result, and not each by another."""
    version = add(site, WIDER)
    dry_run(site.uow, version)
    asked = apply(site, version, "general")
    dry_run(site.uow, version)

    refused(agree(site, asked), "target_changed")
    assert in_force(site)["last"] == 1


def test_a_request_that_waited_until_its_dry_run_was_too_old_is_not_carried_out(
    site: ControlSite, clock: FakeClock
) -> None:
    version = add(site, WIDER)
    dry_run(site.uow, version)
    clock.advance(DRY_RUN_VALID - timedelta(hours=1))
    asked = apply(site, version, "general")
    clock.advance(timedelta(hours=1))

    refused(agree(site, asked), "dry_run_outdated")


def test_an_emergency_that_only_narrows_skips_the_dry_run_and_says_so(site: ControlSite) -> None:
    """C218: only restrictive changes skip."""
    version = add(site, NARROWER)

    assert apply(site, version, emergency=True).status_code == 201

    assert in_force(site)["everywhere"] == version
    assert (applied(site)["emergency"], applied(site)["dry_run"]) == (True, {})


def test_an_emergency_that_allows_anything_new_is_refused_even_with_a_dry_run(site: ControlSite) -> None:
    version = add(site, WIDER)
    dry_run(site.uow, version)

    refused(apply(site, version, "general", emergency=True), "emergency_only_narrows")
    assert site.api("root").get("/approvals").json()["items"] == []


def test_undoing_a_narrowing_takes_a_dry_run_too(site: ControlSite) -> None:
    apply(site, add(site, NARROWER), emergency=True)
    site.clock.advance(TAKE_BACK_WITHIN)

    refused(apply(site, 1), "dry_run_missing")
    refused(apply(site, 1, emergency=True), "emergency_only_narrows")
    dry_run(site.uow, 1)
    assert apply(site, 1).status_code == 202


def test_a_dry_run_that_failed_does_not_count(site: ControlSite) -> None:
    version = add(site, NARROWER)
    run = site.system(service.ask_dry_run, version=version)
    site.system(service.fail_dry_run, run=run, fault="policy_unreadable")

    refused(apply(site, version), "dry_run_missing")
    jobs = Jobs(site.uow, Path("unused"))
    assert jobs.read(service.next_dry_run) is None, "it is not tried again by itself"


RUN = DryRun(
    "dry_1",
    4,
    DIGEST,
    "staff:per_1",
    START,
    state=DryRunState.DONE,
    after=7,
    finished_at=START + timedelta(minutes=1),
)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"order": 5}, "dry_run_outdated"),
        ({"digest": "e" * 64}, "dry_run_outdated"),
        ({"after": 8}, "dry_run_outdated"),
        ({"now": START + timedelta(minutes=1) + DRY_RUN_VALID}, "dry_run_outdated"),
        ({"now": START + DRY_RUN_VALID}, ""),
        ({"run": None}, "dry_run_missing"),
        ({"run": DryRun("dry_1", 4, DIGEST, "staff:per_1", START, after=7)}, "dry_run_missing"),
    ],
)
def test_a_dry_run_suffices_for_exactly_one_version_and_state_and_a_bounded_time(
    change: dict[str, Any], fault: str
) -> None:
    order = ApplyOrder(change.get("order", 4), (), change.get("after", 7), "")

    found = dry_run_fault(
        change.get("run", RUN),
        order,
        change.get("digest", DIGEST),
        change.get("now", START + timedelta(hours=1)),
    )

    assert found == fault


@both_backends
def test_the_author_of_a_narrowing_goes_back_alone_within_an_hour(
    site: ControlSite,
) -> None:
    """ADR 43: without a dry run, and on record as what it is."""
    version = add(site, NARROWER)
    narrowed = apply(site, version, emergency=True)
    assert narrowed.status_code == 201, narrowed.text
    body = {"version": 1, "tenants": [], "after": in_force(site)["last"], "reason": "A mistake."}
    refused(
        site.api("root").post("/policies/applications", json=body | {"tenants": ["general"]}),
        "dry_run_missing",
    )

    back = site.api("root").post("/policies/applications", json=body)

    assert (back.status_code, in_force(site)["everywhere"]) == (201, 1)
    assert (json_of(back)["agreed_by"], applied(site)["takes_back"]) == ("", body["after"])

    assert apply(site, version, emergency=True).status_code == 201
    site.clock.advance(TAKE_BACK_WITHIN)
    refused(apply(site, 1), "dry_run_missing")
