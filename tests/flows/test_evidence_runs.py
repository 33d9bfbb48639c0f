"""A certification run: what an app does in the sandbox is judged from the audit, signed, and counts for review (C120, C122, C126)."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text

from hilum.authorization.tokens import service as tokens
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import ClientId, RunId, TenantId, VendorId
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.review.certificates import service as certificates
from hilum.review.certification_runs import by_hand, service, store
from hilum.review.certification_runs.judging import SCENARIOS
from hilum.review.certification_runs.models import State
from tests.flows.authorize_flow import Front, front
from tests.flows.evidence_ground import App, Certifying, version_of
from tests.flows.token_flow import MERCY

__all__ = ["front"]


@pytest.fixture
def run(front: Front) -> Certifying:
    return Certifying(front)


def low(run: Certifying, app: App) -> None:
    """Take the four scenarios of the low tier."""
    run.begin("launch")
    app.launch()
    app.read()
    run.end()
    run.begin("token_expired")
    app.launch()
    app.read()
    run.front.clock.advance(timedelta(seconds=6))
    app.read()
    run.end()
    run.begin("patient_missing")
    app.launch(patient="", encounter="")
    run.end()
    run.begin("resource_unavailable")
    app.launch()
    app.read()
    run.end()


def test_an_app_that_behaves_passes_and_its_result_is_signed(run: Certifying) -> None:
    """C120, C126: bound to version and policy; the run is in the launch, the token and every record of what the app does."""
    opened = run.open()
    app = App(run)
    low(run, app)

    ended = run.finish()

    assert run.outcomes() == dict.fromkeys(opened.scenarios, "met"), [
        each for each in ended.result["scenarios"] if each["outcome"] != "met"
    ]
    assert ended.state is State.PASSED
    assert (ended.result["version"], ended.result["policy_version"]) == (version_of(run).id, 1)
    mine = run.front.accesses(run=opened.id)
    assert len(mine) == len(app.seen)
    assert {each.event.facts["run"] for each in run.front.run(_mints) if "run" in each.event.facts} == {
        opened.id
    }
    seen = run.front.run(lambda ctx: service.latest_result(ctx, ended.version))
    assert seen is not None
    assert (seen.state, seen.run) == ("passed", ended.id)
    assert ended.result["scopes"] == ["user/Patient.r"]


def _mints(ctx: Any) -> Any:
    return audit.list_events(ctx, EventQuery(action="tokens.access.mint")).events


def test_an_app_that_hammers_fails_and_its_result_passes_no_review(run: Certifying) -> None:
    """C122, C126: the same scenarios, the same platform; only the app is another one."""
    run.open()
    low(run, App(run, patience=6))

    ended = run.finish()

    assert (ended.state, run.outcomes()) == (
        State.FAILED,
        {
            "launch": "met",
            "patient_missing": "met",
            "resource_unavailable": "not_met",
            "token_expired": "not_met",
        },
    )
    assert all(each["fix"] for each in ended.result["scenarios"] if each["outcome"] == "not_met")
    seen = run.front.run(lambda ctx: service.latest_result(ctx, ended.version))
    assert seen is not None
    assert seen.state == "failed"


def test_a_run_in_which_too_little_was_shown_is_incomplete(run: Certifying) -> None:
    """C126: missing records never pass."""
    run.open()
    app = App(run)
    run.begin("launch")
    app.launch()
    run.end()
    app.read()

    ended = run.finish()

    assert ended.state is State.INCOMPLETE
    assert set(run.outcomes().values()) == {"incomplete"}
    assert run.front.run(lambda ctx: service.latest_result(ctx, ended.version)) is None


def test_records_that_were_edited_are_no_evidence(run: Certifying) -> None:
    """C126: a record that says that the app read, where it was refused, breaks its chain."""
    run.open()
    app = App(run)
    low(run, app)
    run.seal()
    with sqlite3.connect(next(run.front.folder.glob("access-*.db"))) as journal:
        changed = journal.execute(
            "UPDATE record SET header = replace(CAST(header AS TEXT), '503', '200') WHERE CAST(header AS TEXT) LIKE '%503%'"
        )
        assert changed.rowcount == 1

    ended = run.finish()

    assert ended.state is State.INCOMPLETE
    assert "was edited" in ended.result["scenarios"][0]["sentence"]
    assert len(ended.result["faults"]) == 1


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("DELETE FROM record WHERE id = (SELECT max(id) - 1 FROM record)", "missing before"),
        ("DELETE FROM record WHERE id = (SELECT max(id) FROM record)", "missing at the end"),
        ("UPDATE payload SET body = '[]' WHERE id = (SELECT max(id) FROM payload)", "edited or removed"),
        ("DELETE FROM payload WHERE id = (SELECT max(id) FROM payload)", "edited or removed"),
    ],
)
def test_records_that_were_removed_are_noticed(run: Certifying, edit: str, said: str) -> None:
    """C126: also at the end, where the chain itself does not show it: a checkpoint does."""
    run.open()
    run.begin("launch")
    app = App(run)
    app.launch()
    for _ in range(3):
        app.read()
    run.end()
    with sqlite3.connect(next(run.front.folder.glob("access-*.db"))) as journal:
        assert journal.execute(edit).rowcount == 1

    ended = run.finish()

    assert ended.state is State.INCOMPLETE
    assert said in ended.result["faults"][0]


def test_events_that_were_edited_are_no_evidence_and_anybody_verifies_a_result(run: Certifying) -> None:
    """C126: what begins a scenario cannot be changed without a trace, and the signed result verifies by the published keys."""
    opened = run.open()
    app = App(run)
    low(run, app)
    ended = run.finish()
    db = run.front.uow.db

    published = run.front.run(partial(certificates.changes_since, change=-1)).keys["keys"]
    (point,) = (each["x"] for each in published if each["kid"] == ended.kid)
    text_of = b"hilum evidence v1\n" + orjson.dumps(ended.result, option=orjson.OPT_SORT_KEYS)
    key = Ed25519PublicKey.from_public_bytes(base64url.decode(point))
    key.verify(base64url.decode(ended.signature), text_of)

    second = run.open()
    assert second.id != opened.id
    low(run, app)
    db.write(
        lambda tx: tx.execute(
            text("UPDATE audit_event SET reason = 'x' WHERE action = 'evidence.scenario.begin'")
        )
    )
    assert "was edited" in run.finish().result["faults"][0]


def test_a_run_is_opened_by_those_who_may_at_a_sandbox_only(run: Certifying) -> None:
    """C120: nothing is ever made to fail where people are treated."""
    front = run.front
    front.run(
        lambda ctx: identity.add_tenant(
            ctx, Tenant(TenantId("hospital"), "Hospital", UpstreamRef(UpstreamKind.EMBEDDED))
        )
    )
    with pytest.raises(Invalid) as refused:
        run.open(tenant=TenantId("hospital"))
    assert refused.value.fields == {"tenant": "tenant_not_sandbox"}
    with pytest.raises(Invalid) as refused:
        run.open(tenant=TenantId("nowhere"))
    assert refused.value.fields == {"tenant": "tenant_not_sandbox"}
    stranger = Actor(
        ActorKind.MEMBER, "mem_2", roles=frozenset({"vendor_developer"}), vendor=VendorId("ven_2")
    )
    with pytest.raises(NotFound):
        run.open(by=stranger)
    viewer = replace(run.developer, roles=frozenset({"vendor_viewer"}))
    for who in (viewer, Actor(ActorKind.PERSON, "per_1", MERCY, frozenset({"physician"}))):
        with pytest.raises(NotPermitted):
            run.open(by=who)

    opened = run.open()
    with pytest.raises(Conflict, match="run_open"):
        run.open()
    for verb, named in (
        (service.begin, {"scenario": "launch", "end_access": tokens.end_access_at}),
        (service.end, {}),
        (service.abandon, {}),
        (service.view, {}),
    ):
        with pytest.raises(NotFound):
            run.does(verb, stranger, run_id=opened.id, **named)
    with pytest.raises(NotPermitted):
        run.does(service.begin, viewer, run_id=opened.id, scenario="launch", end_access=tokens.end_access_at)
    with pytest.raises(NotFound, match="scenario_not_found"):
        run.begin("kill_switch")


def test_a_developer_makes_the_server_fail_for_their_own_client_at_a_sandbox_only(run: Certifying) -> None:
    """C122: recorded, within their own vendor, and never where people are treated."""
    client = run.front.clients[run.client].id
    order: dict[str, Any] = {"client_id": client, "tenant": MERCY, "kind": "slow"}
    stranger = Actor(ActorKind.MEMBER, "mem_2", roles=frozenset({"vendor_developer"}), vendor=VendorId("ven_2"))  # fmt: skip
    viewer = replace(run.developer, roles=frozenset({"vendor_viewer"}))
    for verb in (by_hand.make, by_hand.end):
        with pytest.raises(NotFound):
            run.does(verb, stranger, **order)
        with pytest.raises(NotPermitted):
            run.does(verb, viewer, **order)
        for wrong, code in (
            ({"kind": "quota"}, "fault_unknown"),
            ({"client_id": "cli_0"}, "client_not_found"),
        ):
            with pytest.raises(NotFound, match=code):
                run.does(verb, **order | wrong)
        with pytest.raises(NotPermitted, match="tenant_not_sandbox"):
            run.does(verb, **order | {"tenant": "nowhere"})
    with pytest.raises(NotFound):
        run.does(by_hand.own, stranger, client_id=client)

    made = run.does(by_hand.make, **order)
    servers = run.ports.by_hand
    servers.make(made)
    assert run.does(by_hand.own, viewer, client_id=client) == client
    assert servers.find(client) == [made]
    assert [each.of for each in run.front.faults.of(MERCY)] == [(client,)]
    ended = run.does(by_hand.end, **order)
    servers.end(ended.client, ended.tenant, ended.fault)
    assert not servers.find(client)
    recorded = run.front.run(partial(audit.list_events, query=EventQuery(action="evidence.fault.make")))
    assert [each.event.outcome.value for each in recorded.events].count("done") == 1


def test_a_run_takes_further_scenarios_of_the_policy_by_choice(run: Certifying) -> None:
    """C122: those of its tier stay, all are judged, and one that the policy does not have opens nothing."""
    with pytest.raises(Invalid) as refused:
        run.open(further=("slow_answer", "earthquake"))
    assert refused.value.fields == {"scenarios": "scenario_unknown"}

    opened = run.open(further=("slow_answer",))
    assert set(opened.scenarios) == {"launch", "patient_missing", "resource_unavailable", "slow_answer", "token_expired"}  # fmt: skip
    App(run).launch()
    run.begin("slow_answer")
    ended = run.does(service.abandon, run_id=opened.id)
    assert ended.state is State.ABANDONED
    assert len(run.open(further=("*",)).scenarios) == len(SCENARIOS)


def test_a_hospital_that_is_no_longer_a_sandbox_is_never_made_to_fail(run: Certifying) -> None:
    """C122: judged again each time that a fault is made."""
    run.open()
    App(run).launch()
    run.front.uow.db.write(
        lambda tx: tx.execute(text("UPDATE identity_tenant SET sandbox = false WHERE id = 'mercy'"))
    )

    for scenario in ("launch", "token_expired", "resource_unavailable"):
        with pytest.raises(NotPermitted, match="tenant_not_sandbox"):
            run.begin(scenario)
    assert not run.front.faults.of(MERCY)


def test_a_run_is_in_no_launch_that_is_not_its_own(run: Certifying) -> None:
    """C126: an EHR cannot put what another app does into a run, nor an app's past."""
    app = App(run)
    app.launch()
    app.read()
    opened = run.open()
    app.read()
    front = run.front
    with pytest.raises(Invalid) as refused:
        front.open_launch(client="web", run=opened.id)
    assert refused.value.fields == {"run": "run_not_open"}
    assert front.open_launch(client="web").launch.run == ""
    assert front.open_launch(client=run.client, intent="appointments").launch.run == opened.id

    assert not front.accesses(run=opened.id)
    assert len(front.accesses(app=opened.app)) == 2


def test_a_run_ends_by_itself_and_leaves_nothing_behind(run: Certifying) -> None:
    run.open()
    app = App(run)
    run.begin("launch")
    app.launch()
    run.front.clock.advance(timedelta(hours=5))

    with pytest.raises(Conflict, match="run_over"):
        run.begin("launch")
    assert run.front.run(service.close_expired) == 1
    assert run.front.run(service.close_expired) == 0
    assert run.open().state is State.OPEN
    run.front.clock.advance(timedelta(days=200))
    assert run.front.run(service.purge) == 1


def test_two_runs_of_one_app_never_lower_its_quota_for_good(run: Certifying) -> None:
    """C126: each would put back what it found, the other's low one. What the platform sets meanwhile stays."""
    opened = run.open(further=("quota_exceeded",))
    other = replace(opened, id=RunId("run_other"), client=ClientId("other"))
    run.does(lambda ctx: store.add(ctx.tx, other))
    run.begin("quota_exceeded")
    with pytest.raises(Conflict, match="scenario_elsewhere"):
        run.does(service.begin, run_id=other.id, scenario="quota_exceeded", end_access=tokens.end_access_at)

    ours = Quota(9, 90)
    run.front.run(lambda ctx: controls.set_quota(ctx, opened.app, opened.tenant, ours))
    run.end()
    run.does(service.begin, run_id=other.id, scenario="quota_exceeded", end_access=tokens.end_access_at)
    run.does(service.end, run_id=other.id)

    assert run.front.run(lambda ctx: controls.quotas_of(ctx, opened.app, opened.tenant)).platform == ours
