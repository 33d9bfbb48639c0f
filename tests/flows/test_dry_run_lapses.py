"""A dry run honours exceptions, and lists what would lapse: by age, by what is newly asked, by what nobody fixed (C180, C207, C208)."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.operations.dry_runs import service as dryruns
from hilum.operations.dry_runs.models import Kind
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import DryRun
from hilum.review.recertification import store as revalidation
from hilum.review.recertification.models import Finding, Severity, State
from tests.flows.authorize_flow import Front, front, keep_using
from tests.flows.connected_ground import connect
from tests.flows.dry_run_ground import ENTRIES, dry_run, rows
from tests.flows.exception_ground import STRICT, lower, withhold
from tests.flows.gateway_ground import GENERAL, Ground, Play, player
from tests.flows.policy_ground import everywhere
from tests.sim.backends import both_backends
from tests.sim.dry_runs import dry_run as dry_run_of
from tests.sim.world import FakeClock, SeededIds
from tests.unit.policy.matrix.books import document

__all__ = ["front"]

DAY = timedelta(days=1)


@pytest.fixture
def play(one_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Play:
    return player(one_uow, clock, ids, tmp_path)


def everyone(name: str, value: Any) -> dict[str, Any]:
    return {f"{ENTRIES}.{tier}.{name}": value for tier in ("low", "moderate", "high")}


def lapses(made: Ground, run: DryRun, what: str) -> list[dict[str, Any]]:
    found = rows(made, run, Kind.LAPSE)
    assert len(found) == run.counts["lapses"]
    return [each for each in found if each["what"] == what]


@both_backends
def test_a_lowered_tier_ends_with_its_policy_and_what_it_gave_changes(play: Play) -> None:
    """C19: it counts while the version is tried, and no other policy keeps it."""

    async def story(made: Ground) -> None:
        token, version = made.token("patient/Patient.rs"), made.clients["app"].version
        made.run(withhold)
        ends = made.clock.now() + 3 * DAY
        made.run(lambda ctx: lower(ctx, version, ends))
        assert (await made.get("Patient/p1", token)).status == 200

        run = dry_run(made, STRICT | {"title": "Another book"})

        assert [each["resource_type"] for each in rows(made, run, Kind.DECISION_CHANGE)] == ["Patient"]
        [ended] = lapses(made, run, "exception_ends")
        assert (ended["app"], ended["which"]) == (made.clients["app"].app, ["lowered_tier", "book_changed"])
        assert ended["before"][:10] == ends.date().isoformat()

    play(story)


def test_a_certificate_older_than_its_new_life_lapses_with_its_grace_only(play: Play) -> None:
    """C114: within its grace hospitals that have the app go on, so nothing decision_changes."""

    async def story(made: Ground) -> None:
        made.clock.advance(60 * DAY)
        assert (await made.get("Patient/p1", made.token("patient/Patient.rs"))).status == 200
        shorter = everyone("certificate_life", "50 d")

        over = dry_run(made, shorter)
        within = dry_run(made, shorter | everyone("grace_days", 14))

        app = made.clients["app"].id
        for run, day, decision_changes, loss in ((over, -10, 1, "lapses"), (within, 4, 0, "ends_sooner")):
            [found] = [each for each in lapses(made, run, "certificate_ends") if each["client"] == app]
            until = (made.clock.now() + day * DAY).date().isoformat()
            assert (found["until"][:10], found["number"]) == (until, 1)
            [listed] = [each for each in rows(made, run, Kind.CERTIFICATION) if each["client"] == app]
            assert (listed["loss"], listed["served_until"][:10]) == (loss, until)
            assert len(rows(made, run, Kind.DECISION_CHANGE)) == decision_changes

    play(story)


def overdue(ctx: Context, app: AppId, vendor: VendorId, days: int) -> None:
    said = ("address.tls", "launch", Severity.HIGH, State.OPEN, "Seen.", "curl", "Fix.")
    opened = ctx.now - (days + 14) * DAY
    found = Finding(f"fnd_{app}", app, vendor, "cert_1", *said, opened, ctx.now, ctx.now - days * DAY)
    revalidation.add_finding(ctx.tx, found)


@pytest.mark.parametrize(
    ("before", "after", "days", "what"),
    [
        ("no_new_launches", "suspend", 40, "app_suspended"),
        ("no_new_launches", "suspend", 10, ""),
        ("warn", "no_new_launches", 10, "app_stopped"),
        ("suspend", "suspend", 40, ""),
        ("suspend", "warn", 40, ""),
    ],
)
def test_what_overdue_findings_would_stop_is_listed_where_the_escalation_goes_further(
    play: Play, before: str, after: str, days: int, what: str
) -> None:
    """C226: the shipped policy suspends after thirty days."""

    async def story(made: Ground) -> None:
        made.run(partial(withhold, changes=everyone("automation", before)))
        app = made.clients["app"].app
        made.run(lambda ctx: overdue(ctx, app, made.vendor, days))

        run = dry_run(made, everyone("automation", after))

        found = [each for each in rows(made, run, Kind.LAPSE) if each["what"].startswith("app_")]
        assert [(each["app"], each["what"], each["number"]) for each in found] == (
            [(app, what, 1)] if what else []
        )

    play(story)


def test_proofs_and_agreements_that_a_book_begins_to_ask_for_are_listed_where_they_are_missing(
    play: Play,
) -> None:
    """C6, C7, C189."""

    async def story(made: Ground) -> None:
        made.run(partial(withhold, changes=everyone("proofs", []) | everyone("agreements", [])))

        run = dry_run(made, everyone("proofs", ["owner", "domain"]) | everyone("agreements", ["data_use"]))

        app = made.clients["app"]
        [proofs] = [each for each in lapses(made, run, "proofs_missing") if each["client"] == app.id]
        assert (proofs["which"], proofs["tenant"]) == (["domain", "owner"], "")
        [missing] = [each for each in lapses(made, run, "agreements_missing") if each["client"] == app.id]
        assert (missing["which"], missing["tenant"]) == (["data_use"], GENERAL)

    play(story)


def test_what_could_be_refreshed_no_more_is_counted_beside_agreements_that_end(front: Front) -> None:
    """C89, C194: an agreement that ends takes its tokens with it, which are not counted again."""
    keep_using(front, connect(front)["refresh_token"], days=33, times=3)
    front.clock.advance(DAY)
    front.run(policies.adopt_shipped)

    def found(changes: dict[str, Any]) -> list[tuple[str, str, list[str], int]]:
        version = front.run(lambda ctx: policies.add_version(ctx, document(changes), base=1, note="")).number
        run = dry_run_of(front.uow, version)
        listed = front.run(lambda ctx: dryruns.list_rows(ctx, run.id, Kind.LAPSE))
        return [
            (each.tenant, each.fields["what"], each.fields["which"], each.fields["number"]) for each in listed
        ]

    assert found(everywhere("lifetimes", {"absolute": "100 d"})) == [
        ("mercy", "refresh_tokens_end", ["absolute_limit_reached"], 1)
    ]
    both = {"absolute": "100 d", "expiry": "fixed", "authorization": "100 d"}
    assert found(everywhere("lifetimes", both)) == [("mercy", "agreements_end", ["fixed_end_reached"], 1)]
    assert found(everywhere("lifetimes", {"absolute": "101 d"})) == []
