"""What a stricter entry of the policy would have refused is counted while it is observed, listed, and told to owners once (C209)."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hilum.apps.contacts.models import ContactKind, NewContact
from hilum.authorization.launches import store as launches
from hilum.authorization.launches.models import Launch
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, LaunchId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.operations.dry_runs import jobs, observing
from hilum.operations.dry_runs.models import ObservedCount
from hilum.policy.matrix import observed as observed_entries
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import UNCLASSIFIED, Applicant, ApplyOrder, ClientAuthentication, Tier
from tests.flows.dry_run_ground import jobs_at
from tests.flows.gateway_ground import CLINIC, GENERAL, Ground, Play, player
from tests.sim.backends import both_backends
from tests.sim.notice_ground import NoticeGround
from tests.sim.proofs import prove_contact
from tests.sim.world import FakeClock, SeededIds
from tests.unit.policy.matrix.books import document

TIERS = ("low", "moderate", "high")
MAIL = "sec@v.example"


@pytest.fixture
def play(one_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Play:
    return player(one_uow, clock, ids, tmp_path)


def stricter(made: Ground, days: int) -> dict[str, Any]:
    """Fewer scopes, one request in ten minutes, and agreements of two days, all of them observed for some days."""
    entries = document()["categories"]["unclassified"]["entries"]
    until = (made.clock.now() + timedelta(days=days)).date()
    change = {
        "quota": {"rate_per_s": 0.001, "burst": 1},
        "observe": {"until": until.isoformat()},
    }
    return {
        f"categories.unclassified.entries.{tier}": entries[tier]
        | change
        | {"scopes": ["patient/Patient.rs", "user/Patient.rs"] if tier == "low" else []}
        | {"lifetimes": entries[tier]["lifetimes"] | {"authorization": "2 d"} if "lifetimes" in entries[tier] else {"authorization": "2 d"}}
        for tier in TIERS
    }  # fmt: skip


def put_in_force(made: Ground, changes: dict[str, Any]) -> int:
    made.run(policies.adopt_shipped)
    number = made.run(lambda ctx: policies.add_version(ctx, document(changes), base=1, note="")).number
    order = ApplyOrder(number, (), 1, "tighter, and told before")
    made.run(lambda ctx: policies._applied(ctx, order, agreed_by=""))
    return number


def count(made: Ground) -> None:
    """Do what the job of dry runs does."""
    at_work = jobs_at(made)
    jobs.ask_due(at_work)
    while at_work.run_next():
        pass


def prove_security_contact(made: Ground) -> None:
    made.run(lambda ctx: prove_contact(ctx, NewContact(made.vendor, ContactKind.SECURITY, MAIL)))


def listed(made: Ground, *, tenant: str = "", app: str = "") -> list[tuple[str, dict[str, tuple[int, str]]]]:
    """Return hospital and what would have been refused, by reason."""
    found = made.run(lambda ctx: observing.list_observed(ctx, tenant=tenant, app=app))
    return [
        (each.row.tenant, {one["reason"]: (one["number"], one["of"]) for one in body["refused"]})
        for each in found
        if (body := each.row.fields)["client"] == made.clients["app"].id
    ]


def mails(made: Ground) -> list[Any]:
    return [each for each in NoticeGround(made.uow).all() if each.kind == "limits_tighten"]


@both_backends
def test_the_looser_of_both_is_enforced_and_what_the_stricter_would_refuse_is_counted_by_reason(
    play: Play,
) -> None:
    async def story(made: Ground) -> None:
        prove_security_contact(made)
        made.authorized("patient/Observation.rs", "patient/Patient.rs")
        number = put_in_force(made, stricter(made, days=30))
        count(made)
        assert listed(made) == [("general", {})], "nothing was done yet"
        made.clock.advance(timedelta(days=3))
        made.keeper.step(0)
        token = made.token("patient/Patient.rs", "patient/Observation.rs")
        seen = [
            (await made.get(each, token)).status
            for each in ["Observation?patient=p1"] * 2 + ["Patient/p1"] * 3
        ]
        assert seen == [200] * 5, "nothing is refused"

        count(made)

        # Of five requests at one moment its burst lets one through.
        expected = {
            "scope_insufficient": (2, "requests"),
            "authorization_expired": (1, "agreements"),
            "quota_exceeded": (4, "requests"),
        }
        assert (
            listed(made)
            == listed(made, tenant=GENERAL)
            == listed(made, app=made.clients["app"].app)
            == [("general", expected)]
        )
        assert listed(made, tenant=CLINIC) == listed(made, app="app_other") == []
        _, observed = made.run(observed_entries.in_force)
        assert [(each.version, each.category, each.tier.value) for each in observed] == [
            (number, "unclassified", tier) for tier in TIERS
        ]
        assert {"scopes", "quota.burst", "lifetimes.authorization"} <= set(observed[0].limits)
        scopes = "patient/Patient.rs", "patient/Observation.rs"
        applicant = Applicant(UNCLASSIFIED, scopes, ClientAuthentication.KEY, certified_tier=Tier.HIGH)
        (coming,) = made.run(
            lambda ctx: observed_entries.foreseen(ctx, applicant, tenant=GENERAL, version=None)
        )
        assert (coming.day, coming.lost) == (observed[0].until, ("patient/Observation.rs",))

    play(story)


def test_owners_get_one_mail_and_the_stricter_entry_is_enforced_from_its_day_without_a_job(
    play: Play,
) -> None:
    async def story(made: Ground) -> None:
        prove_security_contact(made)
        put_in_force(made, stricter(made, days=10))
        search, token = "Observation?patient=p1", made.token("patient/Observation.rs", "patient/Patient.rs")
        assert (await made.get(search, token)).status == 200
        count(made)
        made.clock.advance(timedelta(days=2))
        count(made)

        told = mails(made)
        assert {each.recipient for each in told} == {MAIL}
        assert len(told) == len({each.app for each in made.clients.values()}), "one mail about each app"

        made.clock.advance(timedelta(days=8))
        made.keeper.step(0)
        fresh = made.token("patient/Observation.rs", "patient/Patient.rs")
        assert (await made.get(search, fresh)).status == 403
        assert (listed(made), made.run(observed_entries.in_force)[1]) == ([], ())
        count(made)
        assert len(mails(made)) == len(told)

    play(story)


def test_it_is_counted_once_a_day_and_a_hospital_sees_its_own_rows_only(play: Play) -> None:
    async def story(made: Ground) -> None:
        put_in_force(made, stricter(made, days=30))
        for _ in range(3):
            count(made)
        made.clock.advance(timedelta(days=1))
        count(made)
        assert len(made.run(policies.list_dry_runs)) == 2

        def seen(place: str, role: str, tenant: str = "") -> list[str]:
            actor = Actor(ActorKind.PERSON, "per_9", TenantId(place), frozenset({role}))
            return made.run(
                lambda ctx: [
                    each.row.tenant for each in observing.list_observed(_as(ctx, actor), tenant=tenant)
                ]
            )

        assert set(seen("general", "administrator")) == {"general"}
        assert seen("clinic", "administrator") == []
        for place, role, tenant in (
            ("clinic", "administrator", "general"),
            ("general", "nurse", ""),
        ):
            with pytest.raises(NotPermitted):
                seen(place, role, tenant)

    play(story)


def test_a_failed_count_is_retried_a_day_later_and_none_runs_without_an_observation(
    play: Play,
) -> None:
    """The job looks every second."""

    async def story(made: Ground) -> None:
        made.run(policies.adopt_shipped)
        assert made.run(observing.due) == []
        number = put_in_force(made, stricter(made, days=3))
        assert made.run(observing.due) == [number]
        run = made.run(lambda ctx: policies.ask_dry_run(ctx, number))
        made.run(lambda ctx: policies.fail_dry_run(ctx, run, "internal_error"))

        assert made.run(observing.due) == []
        made.clock.advance(timedelta(days=1))
        assert made.run(observing.due) == [number]
        made.clock.advance(timedelta(days=2))
        assert made.run(observing.due) == [], "its day has come"

    play(story)


def test_launches_and_missing_agreements_are_counted_and_the_vendor_reads_its_own(play: Play) -> None:
    """C209: what a stricter entry would refuse where something begins, and not only of requests."""

    async def story(made: Ground) -> None:
        stricter_still = {"workflows": ["intake"], "placements": ["note"], "agreements": ["data_use"]}
        until = (made.clock.now() + timedelta(days=30)).date().isoformat()
        entries = document()["categories"]["unclassified"]["entries"]
        changes = {
            f"categories.unclassified.entries.{tier}": entries[tier]
            | stricter_still
            | {"observe": {"until": until}}
            for tier in TIERS
        }
        put_in_force(made, changes)
        client = made.clients["app"]
        for n, (intent, placement) in enumerate(
            [("book-appointment", ""), ("book-appointment", "sidebar"), ("", "sidebar"), ("intake", "note")]
        ):
            opened = Launch(
                LaunchId(f"lch_{n}"), GENERAL, client.id, made.people["doctor"].id, made.clock.now(),
                made.clock.now(), intent=intent, placement=placement,
            )  # fmt: skip
            made.run(partial(open_one, opened=opened))
        made.clock.advance(timedelta(hours=1))

        count(made)

        refused = {
            "workflow_not_approved": (2, "launches"),
            "placement_not_allowed": (1, "launches"),
            "agreement_missing": (1, "missing_agreements"),
        }
        assert listed(made, app=client.app) == [("general", refused)]
        _read_by_its_vendor(made, client.app)

    play(story)


def open_one(ctx: Context, opened: Launch) -> None:
    hashes = {"handle_hash": opened.id.encode(), "open_hash": opened.id.encode()}
    launches.LAUNCHES.add(ctx.tx, opened, **hashes, open_expires_at=ctx.now)


def _read_by_its_vendor(made: Ground, app: AppId) -> None:
    def seen(kind: ActorKind, page: PageQuery = FIRST_PAGE, **more: Any) -> list[ObservedCount]:
        actor = Actor(kind, "per_9", **more)
        return made.run(lambda ctx: observing.list_of_app(_as(ctx, actor), app, page))

    member = {"vendor": made.vendor, "roles": frozenset({"reader"})}
    (own,) = seen(ActorKind.MEMBER, **member)
    assert (own.row.tenant, own.row.app) == ("general", app)
    assert seen(ActorKind.MEMBER, PageQuery(own.key, 5), **member) == []
    assert seen(ActorKind.STAFF, roles=frozenset({"security"})) == [own]
    for kind, more in (
        (ActorKind.MEMBER, member | {"vendor": "ven_other"}),
        (ActorKind.MEMBER, member | {"roles": frozenset()}),
        (ActorKind.PERSON, {"tenant": GENERAL, "roles": frozenset({"administrator"})}),
    ):
        with pytest.raises(NotFound):
            seen(kind, **more)


def _as(ctx: Context, actor: Actor) -> Context:
    return ctx.as_actor(actor)
