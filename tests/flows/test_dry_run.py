"""A dry run lists what a version would change, out of the decisions that the gateway recorded, before it is put in force (C180, C208)."""

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import NarrowOrder
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.settings import read
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NotFound, Unavailable
from hilum.operations.dry_runs.models import Kind
from hilum.operations.dry_runs.replay import Replay
from hilum.policy.matrix import service as policies
from hilum.policy.matrix import store
from hilum.policy.matrix.models import DRY_RUNS_WAITING, ApplyOrder, DryRun, DryRunState
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.server.jobs import jobs_of
from hilum.server.schedule import JobLease
from tests.conftest import SECRET_KEY
from tests.flows.dry_run_ground import ENTRIES, add, dry_run, jobs_at, rows
from tests.flows.gateway_ground import GENERAL, Ground, Play, player
from tests.sim.backends import both_backends
from tests.sim.dry_runs import TRACE
from tests.sim.world import FakeClock, SeededIds

READ_ONLY = {f"{ENTRIES}.low.scopes": ["patient/*.rs", "user/*.rs", "system/*.rs"]}
TIERS = ("low", "moderate", "high")
NO_OBSERVATIONS = {
    f"{ENTRIES}.{tier}.scopes": ["patient/Patient.rs", "user/Patient.rs"] if tier == "low" else []
    for tier in TIERS
}
WEIGHT = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "w"},
    "subject": {"reference": "Patient/p1"},
}


@pytest.fixture
def play(one_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Play:
    return player(one_uow, clock, ids, tmp_path)


def order(version: int) -> ApplyOrder:
    return ApplyOrder(version, (), 1, "a drill")


async def use(made: Ground) -> list[int]:
    """Read a patient twice, search Observations, write one, and try a Condition without a scope for it."""
    reading, writing = (
        made.token("patient/Patient.rs", "patient/Observation.rs"),
        made.token("user/Observation.c"),
    )
    return [
        (await made.get("Patient/p1", reading)).status,
        (await made.get("Patient/p1", reading)).status,
        (await made.get("Observation?patient=p1", reading)).status,
        (await made.send("POST", "Observation", writing, body=WEIGHT)).status,
        (await made.get("Condition?patient=p1", reading)).status,
    ]


@both_backends
def test_a_dry_run_lists_each_decision_that_would_flip_with_its_count_times_and_an_example(
    play: Play,
) -> None:
    async def story(made: Ground) -> None:
        assert await use(made) == [200, 200, 200, 201, 403]
        first = made.clock.now()
        made.clock.advance(timedelta(days=2))
        await use(made)

        run = dry_run(made, NO_OBSERVATIONS)

        assert run.state is DryRunState.DONE
        decision_changes = rows(made, run, Kind.DECISION_CHANGE)
        assert [
            (f["interaction"], f["resource_type"], f["verdict"], f["scope"], f["number"])
            for f in decision_changes
        ] == [
            ("create", "Observation", "allow_to_refuse", "user/Observation.c", 2),
            ("search-type", "Observation", "allow_to_refuse", "patient/Observation.rs", 2),
        ]
        assert {(f["tenant"], f["client"]) for f in decision_changes} == {(GENERAL, made.clients["app"].id)}
        assert {f["first"][:10] for f in decision_changes} == {first.date().isoformat()}
        assert {f["last"][:10] for f in decision_changes} == {made.clock.now().date().isoformat()}
        assert all(f["example"].startswith("req_") for f in decision_changes)
        assert (run.counts["decision_changes"], run.counts["refused"], run.counts["allowed"]) == (2, 4, 0)
        assert run.decisions == 10

    play(story)


def test_what_is_listed_is_what_happens_once_the_version_is_in_force(play: Play) -> None:
    """C208. The same function judges: every request that was listed is refused, and every other one is answered as before."""

    async def story(made: Ground) -> None:
        tokens = [
            made.token("patient/*.cruds"),
            made.token("user/*.rs"),
            made.token("patient/Observation.rs"),
        ]
        targets = ["Patient/p1", "Observation?patient=p1", "MedicationRequest?patient=p1"]
        before = {(t, n): (await made.get(t, tokens[n])).status for t in targets for n in range(3)}
        run = dry_run(made, NO_OBSERVATIONS)
        decision_changes = {(f["resource_type"], f["scope"]) for f in rows(made, run, Kind.DECISION_CHANGE)}

        made.run(lambda ctx: policies._applied(ctx, order(run.version), agreed_by=""))

        scopes = ["patient/*.cruds", "user/*.rs", "patient/Observation.rs"]
        for (target, n), status in before.items():
            listed = (target.partition("?")[0].partition("/")[0], scopes[n]) in decision_changes
            assert (await made.get(target, tokens[n])).status == (403 if listed else status), (
                target,
                scopes[n],
            )
        assert decision_changes

    play(story)


def test_a_dry_run_lists_the_apps_certifications_installations_agreements_and_hospitals(play: Play) -> None:
    """C180, C208: which lapse, when, where."""

    async def story(made: Ground) -> None:
        made.authorized("patient/Observation.rs", "patient/Patient.rs")
        made.authorized("patient/Observation.rs", person="patient")
        made.authorized("patient/Patient.rs", person="nurse")

        run = dry_run(made, NO_OBSERVATIONS)

        app = made.clients["app"]
        apps = {each["client"]: each for each in rows(made, run, Kind.APP)}
        assert set(apps) == {made.clients[name].id for name in ("app", "second", "backend")}
        assert (apps[app.id]["tier_before"], apps[app.id]["tier_after"]) == ("high", "moderate")
        assert apps[app.id]["hospitals"] == 1
        assert {"patient/*.cruds", "user/*.cruds"} <= set(apps[app.id]["lost"])
        lapse = {each["client"]: each["loss"] for each in rows(made, run, Kind.CERTIFICATION)}
        assert lapse == {
            app.id: "narrowed",
            made.clients["second"].id: "narrowed",
            made.clients["backend"].id: "lapses",
        }
        here = {each["client"]: each for each in rows(made, run, Kind.INSTALLATION)}
        assert (here[app.id]["agreements"], here[app.id]["ended"], here[app.id]["loss"]) == (2, 1, "narrowed")
        assert here[made.clients["backend"].id]["loss"] == "lapses"
        assert rows(made, run, Kind.HOSPITAL) == [
            {
                "tenant": GENERAL,
                "version_before": 1,
                "apps": 3,
                "lapsing": 1,
                "agreements": 2,
                "ended": 1,
                "refused": 0,
                "less": 0,
                "allowed": 0,
                "over_quota": 0,
                "within_quota": 0,
            }
        ]
        assert run.counts["certifications_lapsing"] == 1

    play(story)


@pytest.mark.parametrize(
    ("life", "loss", "decision_changes"), [("30 d", "lapses", 2), ("100 d", "ends_sooner", 0)]
)
def test_a_shorter_life_of_certificates_is_a_lapse_when_it_is_over_and_an_earlier_end_before(
    play: Play, life: str, loss: str, decision_changes: int
) -> None:
    """C208: which lapse, when. Under the version a lapsed app is refused, and its decisions change."""

    async def story(made: Ground) -> None:
        made.clock.advance(timedelta(days=60))
        assert (await made.get("Patient/p1", made.token("patient/Patient.rs"))).status == 200
        assert (await made.get("Patient/p1", made.token("user/Patient.rs"))).status == 200

        run = dry_run(
            made, {f"{ENTRIES}.{tier}.certificate_life": life for tier in ("low", "moderate", "high")}
        )

        app = made.clients["app"].id
        [found] = [each for each in rows(made, run, Kind.CERTIFICATION) if each["client"] == app]
        certified = made.clock.now() - timedelta(days=60)
        assert found["loss"] == loss
        assert (
            found["until"][:10]
            == (certified + timedelta(days=int(life.split(maxsplit=1)[0]))).date().isoformat()
        )
        assert len(rows(made, run, Kind.DECISION_CHANGE)) == decision_changes

    play(story)


@both_backends
def test_a_changed_quota_is_tried_on_the_recorded_calls_of_an_app_at_a_hospital(play: Play) -> None:
    """C208: the refusals that it would bring, by the buckets that enforce it; and on the way back those that would not be."""

    async def story(made: Ground) -> None:
        tight = {f"{ENTRIES}.{tier}.quota": {"rate_per_s": 0.01, "burst": 2} for tier in TIERS}
        await use(made)
        run = dry_run(made, tight)
        [row] = of_calls(made, run)
        assert [each for each in row["limits"] if each["path"] == "quota.burst"] == [
            {"path": "quota.burst", "before": "200", "after": "2"}
        ]
        # Of five calls two are within the burst, and the last was refused for its scope.
        assert (row["tenant"], row["quota"]["calls"], row["quota"]["refused"]) == (GENERAL, 5, 2)
        assert (run.counts["over_quota"], run.counts["within_quota"], run.counts["refused"]) == (2, 0, 0)

        made.run(lambda ctx: policies._applied(ctx, order(run.version), agreed_by=""))
        made.keeper.step(0)
        reading = made.token("patient/Patient.rs")
        assert [(await made.get("Patient/p1", reading)).status for _ in range(3)] == [200, 200, 429]
        made.run(lambda ctx: policies.ask_dry_run(ctx, 1))
        back = jobs_at(made).run_next()

        assert back is not None
        [row] = of_calls(made, back)
        assert (row["quota"]["calls"], row["quota"]["refused"], row["quota"]["permitted"]) == (8, 0, 1)
        assert (back.counts["over_quota"], back.counts["within_quota"]) == (0, 1)

        own = Quota(0.01, 1)
        made.run(lambda ctx: controls.set_quota(ctx, made.clients["app"].app, GENERAL, own))
        made.run(lambda ctx: policies.ask_dry_run(ctx, 1))
        kept = jobs_at(made).run_next()
        assert kept is not None
        assert of_calls(made, kept) == [], "the hospital's own quota is the lower one under both"

    play(story)


def of_calls(made: Ground, run: DryRun) -> list[dict[str, Any]]:
    """Return the rows of the app that called."""
    return [
        each
        for each in rows(made, run, Kind.INSTALLATION)
        if (each["tenant"], each["client"]) == (GENERAL, made.clients["app"].id)
    ]


def test_a_quota_is_not_tried_on_a_record_that_is_not_complete(play: Play) -> None:
    async def story(made: Ground) -> None:
        await use(made)
        tight = {f"{ENTRIES}.{tier}.quota": {"rate_per_s": 0.01, "burst": 2} for tier in TIERS}
        version = add(made, tight)
        made.run(lambda ctx: policies.ask_dry_run(ctx, version))

        run = jobs_at(made).run_next(indexed=False)

        assert run is not None
        assert run.counts["quotas_untried"] == run.counts["apps"] > 0
        assert {each["quota"] for each in rows(made, run, Kind.INSTALLATION)} == {None}

    play(story)


def test_what_would_newly_be_allowed_is_listed_from_the_refusals_of_the_last_days(play: Play) -> None:
    async def story(made: Ground) -> None:
        version = add(made, NO_OBSERVATIONS)
        made.run(lambda ctx: policies._applied(ctx, order(version), agreed_by=""))
        token = made.token("patient/Observation.rs")
        assert (await made.get("Observation?patient=p1", token)).status == 403
        made.run(lambda ctx: policies.ask_dry_run(ctx, 1))

        run = jobs_at(made).run_next()

        assert run is not None
        [change] = rows(made, run, Kind.DECISION_CHANGE)
        assert (change["verdict"], change["resource_type"]) == ("refuse_to_allow", "Observation")
        assert "patient/*.cruds" in change["scope"]

    play(story)


def test_a_version_that_changes_nothing_for_an_app_lists_nothing(play: Play) -> None:
    async def story(made: Ground) -> None:
        await use(made)

        run = dry_run(made, {"categories.scheduling.entries.low.quota": {"burst": 99}})

        assert {kind: rows(made, run, kind) for kind in Kind} == {kind: [] for kind in Kind}
        assert run.decisions == 5

    play(story)


def test_what_the_hospital_took_itself_is_no_flip_of_the_version(play: Play) -> None:
    async def story(made: Ground) -> None:
        await use(made)
        held = made.run(lambda ctx: installations.list_installations(ctx, GENERAL))
        mine = next(each for each in held if each.app == made.clients["app"].app)
        made.run(
            lambda ctx: installations.narrow_installation(ctx, mine.id, NarrowOrder(("patient/Patient.rs",)))
        )

        run = dry_run(made, NO_OBSERVATIONS)

        assert rows(made, run, Kind.DECISION_CHANGE) == []

    play(story)


def test_decisions_at_a_hospital_that_removed_the_app_are_counted_as_not_judged(play: Play) -> None:
    async def story(made: Ground) -> None:
        await use(made)
        held = made.run(lambda ctx: installations.list_installations(ctx, GENERAL))
        mine = next(each for each in held if each.app == made.clients["app"].app)
        made.run(lambda ctx: installations.uninstall(ctx, mine.id))

        run = dry_run(made, NO_OBSERVATIONS)

        assert rows(made, run, Kind.DECISION_CHANGE) == []
        # Nothing that the version admits would have turned the refusal of the Condition, wherever the app is installed.
        assert run.counts["unjudged"] == 4

    play(story)


@both_backends
def test_decisions_of_more_than_ninety_days_ago_are_not_replayed(play: Play) -> None:
    async def story(made: Ground) -> None:
        await use(made)
        made.clock.advance(timedelta(days=92))

        run = dry_run(made, NO_OBSERVATIONS)

        assert (run.decisions, rows(made, run, Kind.DECISION_CHANGE)) == (0, [])

    play(story)


@both_backends
def test_a_run_that_broke_off_begins_again_and_finds_the_same(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between two steps, on another node: nothing is listed twice, and the digest is the same."""
    monkeypatch.setattr("hilum.operations.dry_runs.jobs.APPS_AT_ONCE", 1)

    async def story(made: Ground) -> None:
        await use(made)
        whole = dry_run(made, NO_OBSERVATIONS)
        made.run(lambda ctx: policies.ask_dry_run(ctx, whole.version))

        assert jobs_at(made).run_next(lambda: is_at_its_beginning(made)) is None
        broken = made.run(policies.next_dry_run)
        assert broken is not None
        assert broken.state is DryRunState.RUNNING
        again = jobs_at(made).run_next()

        assert again is not None
        assert again.digest == whole.digest
        assert rows(made, again, Kind.DECISION_CHANGE) == rows(made, whole, Kind.DECISION_CHANGE)
        assert rows(made, again, Kind.APP) == rows(made, whole, Kind.APP)

    play(story)


def is_at_its_beginning(made: Ground) -> bool:
    """Check that no more than a part of the result is stored."""
    run = made.run(policies.next_dry_run)
    return run is None or run.progress < 20


def test_the_digest_of_a_result_is_in_the_audit_and_differs_where_the_result_does(play: Play) -> None:
    async def story(made: Ground) -> None:
        first = dry_run(made, NO_OBSERVATIONS)
        await use(made)
        made.run(lambda ctx: policies.ask_dry_run(ctx, first.version))
        second = jobs_at(made).run_next()

        assert second is not None
        assert first.digest != second.digest
        events = made.run(
            lambda ctx: audit.list_events(ctx, EventQuery(action="policies.dry_run.finish"))
        ).events
        assert [each.event.facts["digest"] for each in events] == [second.digest, first.digest]

    play(story)


@both_backends
def test_rows_beyond_the_bound_are_counted_and_covered_by_the_digest(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(made: Ground) -> None:
        monkeypatch.setattr("hilum.operations.dry_runs.replay.PACKED_ROWS", 1)
        await use(made)
        whole = dry_run(made, NO_OBSERVATIONS)
        monkeypatch.setattr("hilum.operations.dry_runs.replay.ROWS_BOUND", 3)
        made.run(lambda ctx: policies.ask_dry_run(ctx, whole.version))

        cut = jobs_at(made).run_next()

        assert cut is not None
        kept = sum(len(rows(made, cut, kind)) for kind in Kind)
        every = sum(len(rows(made, whole, kind)) for kind in Kind)
        assert (kept, cut.counts["left_out"]) == (4, every - 4)
        assert len(rows(made, cut, Kind.HOSPITAL)) == 1
        assert cut.digest == whole.digest

    play(story)


@both_backends
def test_the_rows_of_old_runs_are_deleted(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.operations.dry_runs.service.RUNS_KEPT", 1)
    monkeypatch.setattr("hilum.operations.dry_runs.store.DELETE_BATCH", 2)

    async def story(made: Ground) -> None:
        first = dry_run(made, NO_OBSERVATIONS)
        assert rows(made, first, Kind.APP)
        made.run(lambda ctx: policies.ask_dry_run(ctx, first.version))

        second = jobs_at(made).run_next()

        assert second is not None
        # Not an empty list, which would say that nothing changes to whoever has to agree.
        with pytest.raises(NotFound, match="dry_run_rows_deleted"):
            rows(made, first, Kind.APP)
        assert rows(made, second, Kind.APP)

    play(story)


def test_a_version_that_cannot_be_read_fails_its_run_and_the_next_one_is_done(play: Play) -> None:
    async def story(made: Ground) -> None:
        version = add(made, NO_OBSERVATIONS)
        other = add(made, READ_ONLY)
        broken = made.run(lambda ctx: policies.ask_dry_run(ctx, version))
        made.run(lambda ctx: policies.ask_dry_run(ctx, other))
        broke = update(store.versions).where(store.versions.c.number == version).values(document="{}")
        made.run(lambda ctx: ctx.tx.execute(broke))

        assert jobs_at(made).run_next() is None
        done = jobs_at(made).run_next()

        failed = made.run(lambda ctx: policies.get_dry_run(ctx, broken.id))
        assert (failed.state, failed.fault) == (DryRunState.FAILED, "policy_not_as_signed")
        assert done is not None
        assert done.version == other

    play(story)


def test_a_run_that_breaks_unexpectedly_fails_and_holds_up_no_other(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(made: Ground) -> None:
        version, other = add(made, NO_OBSERVATIONS), add(made, READ_ONLY)
        broken = made.run(lambda ctx: policies.ask_dry_run(ctx, version))
        made.run(lambda ctx: policies.ask_dry_run(ctx, other))
        with monkeypatch.context() as patch:
            patch.setattr(Replay, "hospitals", lambda _: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                jobs_at(made).run_next()

        done = jobs_at(made).run_next()

        failed = made.run(lambda ctx: policies.get_dry_run(ctx, broken.id))
        assert (failed.state, failed.fault) == (DryRunState.FAILED, "internal_error")
        assert done is not None
        assert done.version == other

    play(story)


@both_backends
def test_asking_twice_waits_once_and_only_so_many_wait(play: Play) -> None:
    async def story(made: Ground) -> None:
        version = add(made, READ_ONLY)
        first = made.run(lambda ctx: policies.ask_dry_run(ctx, version))
        assert made.run(lambda ctx: policies.ask_dry_run(ctx, version)) == first
        for _ in range(DRY_RUNS_WAITING - 1):
            other = add(made, READ_ONLY)
            made.run(partial(policies.ask_dry_run, version=other))
        last = add(made, READ_ONLY)

        with pytest.raises(Unavailable, match="too_many_dry_runs"):
            made.run(lambda ctx: policies.ask_dry_run(ctx, last))
        with pytest.raises(NotFound):
            made.run(lambda ctx: policies.ask_dry_run(ctx, 99))

    play(story)


def test_the_jobs_process_carries_dry_runs_out(sqlite_uow: UnitOfWork, tmp_path: Path) -> None:
    settings = read(
        {
            "HILUM_DATA_DIR": str(tmp_path),
            "HILUM_DATABASE_URL": sqlite_uow.db.url,
            "HILUM_SECRET_KEY": SECRET_KEY,
        }
    )
    jobs = {job.name: job for job in jobs_of(sqlite_uow, settings)}

    def verb(ctx: Context) -> DryRun:
        policies.adopt_shipped(ctx)
        return policies.ask_dry_run(ctx, 1)

    asked = sqlite_uow.write_now(verb, actor=SYSTEM, trace=TRACE)
    lease = JobLease(sqlite_uow, "dry_runs", "node/1", threading.Event())
    jobs["dry_runs"].run(lease)

    done = sqlite_uow.read_now(lambda ctx: policies.get_dry_run(ctx, asked.id), actor=SYSTEM, trace=TRACE)
    assert (done.state, done.progress) == (DryRunState.DONE, 100)
