"""The API of dry runs: a platform administrator starts them, a hospital sees its own rows only (C180, C208)."""

from typing import Any

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.operations.dry_runs import store
from hilum.operations.dry_runs.models import Kind
from hilum.policy.matrix.models import DryRun
from tests.flows.control_site import TRACE, ControlSite, build, with_policy
from tests.flows.policy_ground import NARROWER, add
from tests.sim.backends import both_backends
from tests.sim.dry_runs import Jobs, dry_run, packs_of
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

RUNS = "/policies/dry-runs"


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_policy)


def done(site: ControlSite) -> DryRun:
    """A run that is done, with a decision change and a summary of each of two hospitals."""
    run = dry_run(site.uow, add(site, NARROWER))
    rows = [*packs_of(Kind.DECISION_CHANGE, 1, "children"), *packs_of(Kind.HOSPITAL, 1, "children")]
    more = [
        each._replace(last=each.last + 1)
        for kind in (Kind.DECISION_CHANGE, Kind.HOSPITAL)
        for each in packs_of(kind, 1)
    ]
    site.uow.write_now(lambda ctx: store.add_packs(ctx.tx, run.id, [*rows, *more]), trace=TRACE)
    return run


def items(site: ControlSite, by: str, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = site.api(by).get(f"{RUNS}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


@both_backends
def test_a_platform_administrator_starts_a_dry_run_and_reads_its_result(site: ControlSite) -> None:
    version = add(site, NARROWER)
    asked = site.api("root").post(RUNS, json={"version": version})
    assert (asked.status_code, asked.json()["state"], asked.json()["digest"]) == (202, "waiting", "")

    run = Jobs(site.uow, journal_of(site.uow)).run_next()

    assert run is not None
    found = site.api("root").get(f"{RUNS}/{asked.json()['id']}").json()
    assert (found["state"], found["progress"], found["digest"]) == ("done", 100, run.digest)
    assert (found["after"], found["version"], found["counts"]["decision_changes"]) == (1, version, 0)
    assert [each["id"] for each in site.api("sam").get(RUNS).json()["items"]] == [run.id]
    for kind in Kind:
        assert items(site, "root", f"{run.id}/{kind.value.replace('_', '-')}") == []


@in_one_world("by", ["sam", "rita", "otto", "gina", "ann"])
def test_nobody_else_starts_one(site: ControlSite, by: str) -> None:
    answer = site.api(by).post(RUNS, json={"version": 1})

    assert answer.status_code == 403
    assert site.api("root").get(RUNS).json()["items"] == []


@both_backends
def test_a_hospital_sees_its_own_rows_and_nothing_of_all_hospitals_together(site: ControlSite) -> None:
    run = done(site)

    assert [each["tenant"] for each in items(site, "gina", f"{run.id}/decision-changes")] == ["general"]
    assert [
        each["tenant"] for each in items(site, "gina", f"{run.id}/decision-changes", tenant="general")
    ] == ["general"]
    assert [each["tenant"] for each in items(site, "gina", f"{run.id}/hospitals")] == ["general"]
    shown = site.api("gina").get(f"{RUNS}/{run.id}").json()
    assert (shown["counts"], shown["decisions"]) == ({}, 0)
    assert [each["counts"] for each in site.api("gina").get(RUNS).json()["items"]] == [{}]
    for path, query in (("decision-changes", {"tenant": "children"}), ("apps", {}), ("certifications", {})):
        answer = site.api("gina").get(f"{RUNS}/{run.id}/{path}", params=query)
        assert answer.status_code == 403, path


@both_backends
def test_the_staff_select_rows_by_hospital_and_app(site: ControlSite) -> None:
    run = done(site)

    assert len(items(site, "otto", f"{run.id}/decision-changes")) == 2
    [found] = items(site, "otto", f"{run.id}/decision-changes", tenant="children", app="app_0")
    assert found == {
        "tenant": "children",
        "app": "app_0",
        "client": "cli_1",
        "verdict": "allow_to_refuse",
        "scope": "patient/*.rs",
        "resource_type": "Patient",
        "interaction": "read",
        "number": 3,
        "first": found["first"],
        "last": found["last"],
        "example": "req_1",
    }
    assert items(site, "otto", f"{run.id}/decision-changes", app="app_2") == []


@both_backends
def test_rows_that_are_stored_together_or_by_a_release_before_are_one_list(site: ControlSite) -> None:
    """A page may end within what is stored together, and goes on there."""
    run = dry_run(site.uow, add(site, NARROWER))
    packs = [
        pack for n in range(30) for pack in packs_of(Kind.DECISION_CHANGE, 4, f"hospital_{n:02}", together=4)
    ]
    made = [pack._replace(last=4 * (n + 1)) for n, pack in enumerate(packs)]
    alone = [
        each._replace(last=120 + n, app="app_0", body=each.body[1:-1])
        for n, each in enumerate(packs_of(Kind.DECISION_CHANGE, 1), 1)
    ]
    site.uow.write_now(lambda ctx: store.add_packs(ctx.tx, run.id, [*made, *alone]), trace=TRACE)

    found: list[tuple[str, str]] = []
    after = ""
    for size in (3, 7, 50, 100):
        page = (
            site.api("otto")
            .get(f"{RUNS}/{run.id}/decision-changes", params={"limit": size, "after": after})
            .json()
        )
        found += [(each["tenant"], each["app"]) for each in page["items"]]
        after = page["next"] or ""

    every = [(f"hospital_{n:02}", f"app_{k}") for n in range(30) for k in range(4)] + [("general", "app_0")]
    assert (found, after) == (every, "")
    named = items(site, "otto", f"{run.id}/decision-changes", app="app_0", limit=200)
    assert [each["tenant"] for each in named] == [f"hospital_{n:02}" for n in range(30)] + ["general"]
    assert items(site, "otto", f"{run.id}/decision-changes", app="app_") == []
    assert len(items(site, "otto", f"{run.id}/decision-changes", tenant="hospital_07")) == 4


@in_one_world(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", RUNS, {"version": 77}, 404, "policy_not_found"),
        ("POST", RUNS, {"version": 0}, 422, "fields_invalid"),
        ("POST", RUNS, {"version": 1, "tenants": ["general"]}, 422, "fields_invalid"),
        ("GET", f"{RUNS}/dry_nothing", None, 404, "dry_run_not_found"),
        ("GET", f"{RUNS}/dry_nothing/decision-changes", None, 404, "dry_run_not_found"),
        ("GET", f"{RUNS}/dry_nothing/decision-changes?after=x", None, 422, "fields_invalid"),
        ("GET", f"{RUNS}/dry_nothing/secrets", None, 404, "not_found"),
    ],
)
def test_what_does_not_exist_or_is_malformed_is_a_clear_problem(
    site: ControlSite, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = site.api("root").request(method, path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_without_a_token_nothing_is_disclosed(site: ControlSite) -> None:
    for path in (RUNS, f"{RUNS}/dry_1", f"{RUNS}/dry_1/decision-changes"):
        assert site.api().get(path).status_code == 401
