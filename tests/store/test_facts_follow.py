"""The facts of every part that follow each change forbid exactly what a fresh reading forbids (security decisions 7 and 27)."""

import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.registry.models import REGISTRY
from hilum.authorization.breakglass import service as break_glass
from hilum.authorization.breakglass import store as break_glass_store
from hilum.authorization.breakglass.models import BREAK_GLASS, SettingsChange, Use
from hilum.authorization.consent import service as consent
from hilum.authorization.consent import store as consent_store
from hilum.authorization.consent.models import CONSENT, Authorization, Basis
from hilum.authorization.launches import service as launches
from hilum.authorization.launches import store as launches_store
from hilum.authorization.launches.models import EHR_ROLE, LAUNCHES, Launch
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import TOKENS, Grant
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import (
    FAILOVERS,
    QUOTAS,
    SWITCHES,
    EngageOrder,
    Mode,
    Quota,
    SwitchIndex,
    Target,
    TargetKind,
)
from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.epoch import Change, Stamp, fact_change
from hilum.foundation.infra.facts import EVERYTHING, Since, current_facts
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    FamilyId,
    LaunchId,
    Part,
    PersonId,
    TenantId,
    VendorId,
    VersionId,
)
from hilum.gateway.enforcement.snapshot import _FACTS
from hilum.identity.people import service as identity
from hilum.identity.people.models import (
    IDENTITY,
    NewPerson,
    Role,
    Tenant,
    TenantChange,
    UpstreamKind,
    UpstreamRef,
)
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import SESSIONS, Method
from hilum.policy.matrix.models import POLICIES
from tests.effort import effort
from tests.sim.backends import every_case_on_both
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import LIFETIMES

TRACE = Trace("req_test")
SAM = Actor(ActorKind.STAFF, "per_sam", roles=frozenset({"security"}))
SUE = Actor(ActorKind.STAFF, "per_sue", roles=frozenset({"security"}))
GINA = Actor(ActorKind.PERSON, "per_gina", TenantId("general"), frozenset({"administrator"}))
EHR = Actor(ActorKind.CLIENT, "cli_ehr", TenantId("general"), frozenset({EHR_ROLE}))
TENANTS = (TenantId("general"), TenantId("mercy"))
TARGETS = (
    Target(TargetKind.PLATFORM),
    Target(TargetKind.APP, "app_1"),
    Target(TargetKind.APP_TENANT, "app_1/general"),
    Target(TargetKind.PERSON, "per_1"),
    Target(TargetKind.SCOPE, "patient/Observation.rs?category=http://x|vital-signs"),
    Target(TargetKind.RESOURCE_TYPE, "Slot"),
)
WINDOW = timedelta(minutes=65)
PARTS = (SWITCHES, QUOTAS, IDENTITY, TOKENS, SESSIONS, LAUNCHES, CONSENT, BREAK_GLASS)
GRANT = Grant(
    TENANTS[0], ClientId("cli_1"), AppId("app_1"), VersionId("ver_1"), VendorId("ven_1"), ("patient/*.rs",),
    person=PersonId("per_1"), authorization=AuthorizationId("aut_1"), launch=LaunchId("lch_1"),
)  # fmt: skip


class Life:
    """A platform on which anything may be stopped, revoked, ended and released. A verb that is refused is part of life."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock, chance: random.Random) -> None:
        self.uow, self.clock, self.chance, self.count = uow, clock, chance, 0
        self.alive: dict[str, list[Any]] = {
            kind: [] for kind in ("sw", "tok", "fam", "ses", "lch", "aut", "per", "btg")
        }
        self.ended_at: dict[Any, datetime] = {}
        for tenant in TENANTS:
            self.do(identity.add_tenant, Tenant(tenant, tenant, UpstreamRef(UpstreamKind.EMBEDDED)))

    def do(self, verb: Any, *args: Any, actor: Actor = SYSTEM, **more: Any) -> Any:
        return self.uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=actor, trace=TRACE)

    def name(self) -> str:
        self.count += 1
        return str(self.count)

    def taken(self, kind: str) -> Any:
        if not self.alive[kind]:
            raise HilumError("nothing_there", "There is nothing to take.")
        return self.alive[kind].pop(self.chance.randrange(len(self.alive[kind])))

    # --- what may happen

    def engage(self) -> None:
        ends = self.chance.choice(
            [None, None, self.clock.now() + timedelta(minutes=self.chance.choice([1, 30]))]
        )
        order = EngageOrder(self.chance.choice(TARGETS), self.chance.choice(list(Mode)), "a drill", ends)
        self.alive["sw"].append(self.do(controls.engage, order, actor=SAM, person_tenant="general"))

    def release(self) -> None:
        switch = self.taken("sw")
        for actor in (SAM, SUE):
            self.do(controls.release, switch.id, actor=actor, counts=lambda *_: True)

    def reopen(self) -> None:
        self.do(controls.end_issued, self.chance.choice(TARGETS))

    def settle(self) -> None:
        self.do(controls.settle_expired)

    def set_quota(self) -> None:
        quota = self.chance.choice([None, Quota(self.chance.choice([1, 10]), 5)])
        self.do(controls.set_quota, f"app_{self.chance.choice([1, 2])}", "general", quota, actor=SAM)

    def move_tenant(self) -> None:
        self.do(
            identity.update_tenant,
            self.chance.choice(TENANTS),
            TenantChange(active=self.chance.choice([True, False])),
        )

    def add_person(self) -> None:
        order = NewPerson(TENANTS[1], f"p{self.name()}", "Somebody", Role.NURSE)
        self.alive["per"].append(self.do(identity.add_person, order))

    def deactivate(self) -> None:
        person = self.taken("per")
        self.do(identity.deactivate_person, person.id)
        self.ended_at[person.id] = self.clock.now()

    def mint(self) -> None:
        family = FamilyId(f"fam_{self.name()}")
        mint = partial(tokens.mint, lifetimes=LIFETIMES, life=timedelta(hours=1))
        minted = self.do(mint, GRANT, offline=True, code_family=family)
        self.alive["tok"].append(minted)
        self.alive["fam"].append(family)

    def revoke_token(self) -> None:
        minted = self.taken("tok")
        self.do(tokens.revoke_presented, minted.access_token, client=GRANT.client, tenant=GRANT.tenant)

    def revoke_family(self) -> None:
        self.do(tokens.revoke_family, self.taken("fam"))

    def end_access(self) -> None:
        self.do(tokens.end_access_at, GRANT.client, GRANT.tenant, families=True, because="ended")

    def narrow(self) -> None:
        self.do(tokens.narrow_authorization, GRANT.authorization, ("patient/Observation.rs",))

    def begin_session(self) -> None:
        person = self.do(
            identity.add_person, NewPerson(TENANTS[0], f"s{self.name()}", "Somebody", Role.NURSE)
        )
        self.alive["ses"].append(self.do(signin.begin_session, person, Method.PASSWORD)[0])

    def end_session(self) -> None:
        self.do(signin.end_session, self.taken("ses").id)

    def open_launch(self) -> None:
        now, n = self.clock.now(), self.name()
        made = Launch(
            LaunchId(f"lch_{n}"), TENANTS[0], ClientId("cli_1"), PersonId("per_1"), now, now + timedelta(minutes=5),
            patient="p1", opened_by=EHR.id, used_at=now,
        )  # fmt: skip
        handle, url = f"h{n}".encode(), f"o{n}".encode()
        self.do(
            lambda ctx: launches_store.LAUNCHES.add(
                ctx.tx, made, handle_hash=handle, open_hash=url, open_expires_at=now
            )
        )
        self.alive["lch"].append(made)

    def move_launch(self) -> None:
        self.do(launches.move, self.taken("lch").id, f"p{self.name()}", None, actor=EHR)

    def end_launch(self) -> None:
        self.do(launches.end, self.taken("lch").id, actor=EHR)

    def break_glass(self) -> None:
        now, n = self.clock.now(), self.name()
        made = Use(
            f"btg_{n}", TENANTS[0], PersonId("per_1"), "physician", ClientId("cli_1"), AppId("app_1"),
            LaunchId(f"lch_g{self.chance.choice([1, 2, 3])}"), "p1", "an emergency", ("hiv",), now,
            now + timedelta(minutes=15), now + timedelta(days=3),
        )  # fmt: skip

        def verb(ctx: Context) -> None:
            running = break_glass_store.read_running(ctx.tx, now, launch=made.launch)
            if not running:
                break_glass_store.USES.add(ctx.tx, made)
                ctx.advance_epoch(BREAK_GLASS, f"use/{made.id}")

        self.do(verb)
        self.alive["btg"].append(made)

    def end_break_glass(self) -> None:
        self.do(break_glass.end_use, self.taken("btg").id, actor=GINA)

    def set_break_glass(self) -> None:
        change = SettingsChange(
            enabled=self.chance.choice([True, False]), minutes=self.chance.choice([5, 15])
        )
        self.do(break_glass.change_settings, TENANTS[0], change)

    def agree(self) -> None:
        now = self.clock.now()
        made = Authorization(
            AuthorizationId(f"aut_x{self.name()}"), TENANTS[0], PersonId("per_1"), AppId("app_1"), VersionId("ver_1"),
            ClientId("cli_1"), Basis.PERSON, ("patient/*.rs",), now, now + timedelta(days=9),
        )  # fmt: skip
        self.do(lambda ctx: consent_store.AUTHORIZATIONS.add(ctx.tx, made))
        self.alive["aut"].append(made)

    def withdraw(self) -> None:
        self.do(consent.withdraw, self.taken("aut").id)

    def narrow_agreement(self) -> None:
        self.do(consent.narrow, self.taken("aut").id, ("patient/Observation.rs",))

    def forget(self) -> None:
        self.do(lambda ctx: epoch.purge(ctx.tx, ctx.now))

    def wait(self) -> None:
        self.clock.advance(timedelta(minutes=self.chance.choice([1, 7, 40, 70])))


HAPPENINGS = tuple(name for name, value in vars(Life).items() if callable(value) and name not in {"__init__", "do", "name", "taken"})  # fmt: skip


class Follower:
    """A process that follows some parts."""

    def __init__(self, uow: UnitOfWork) -> None:
        self.uow = uow
        self.held: dict[Part, tuple[Stamp, Any]] = {}
        self.read_whole = 0
        self.follow()
        self.read_whole = 0

    def follow(self) -> None:
        def verb(ctx: Context) -> None:
            epoch.use_repeatable_read(ctx.tx)
            stamps = epoch.read(ctx.tx)
            for part in PARTS:
                stamp, value = self.held.get(part, (None, None))
                if stamp == stamps[part]:
                    continue
                changes = None if stamp is None else epoch.changes(ctx.tx, part, stamp, stamps[part])
                self.read_whole += changes is None
                self.held[part] = stamps[part], _FACTS[part](ctx, Since(changes)).applied(value)

        self.uow.read_now(verb, actor=SYSTEM, trace=TRACE)


def forbidden(index: SwitchIndex, now: datetime) -> dict[Target, tuple[set[str], datetime | None]]:
    """Per target: the switches in force, and until when what was issued is dead. An expired full stop and its end say the same."""
    found = {}
    for target in {*index.engaged, *index.not_issued_before}:
        switches = index.engaged.get(target, ())
        over = [
            s.expires_at
            for s in switches
            if s.mode is Mode.FULL_STOP and s.expires_at and s.expires_at <= now
        ]
        ends = [moment for moment in (*over, index.not_issued_before.get(target)) if moment is not None]
        eligibility = {switch.id for switch in switches if switch.in_force(now)}
        if eligibility or ends:
            found[target] = eligibility, max(ends, default=None)
    return found


def sets_of(part: Part, value: Any) -> list[Any]:
    fields = {
        IDENTITY: ("inactive_people",), TOKENS: ("revoked_tokens", "revoked_families"), LAUNCHES: ("moved", "ended"),
        CONSENT: ("revoked",),
    }.get(part, ())  # fmt: skip
    return [set(value)] if part == SESSIONS else [set(getattr(value, name)) for name in fields]


@every_case_on_both
@pytest.mark.parametrize("seed", range(effort(1, 60)))
def test_whatever_happens_what_followed_forbids_what_a_fresh_reading_forbids(
    uow: UnitOfWork, clock: FakeClock, seed: int
) -> None:
    chance = random.Random(seed)
    life = Life(uow, clock, chance)
    follower = Follower(uow)
    past: dict[tuple[Part, int], dict[Any, datetime]] = {}
    for count in range(150):
        clock.advance(timedelta(seconds=1))
        name = chance.choice(HAPPENINGS)
        with suppress(HilumError):
            getattr(life, name)()
        if count % chance.choice([1, 5]) and count < 149:
            continue
        follower.follow()
        fresh, now = Follower(uow), clock.now()

        for part in PARTS:
            mine, true = follower.held[part][1], fresh.held[part][1]
            if part == SWITCHES:
                assert forbidden(mine, now) == forbidden(true, now), name
            elif part == QUOTAS:
                assert mine.overrides == true.overrides, name
            elif part == BREAK_GLASS:
                running = {launch: each for launch, each in mine.open.items() if now < each.ends_at}
                assert (running, dict(mine.allowed)) == (true.open, dict(true.allowed)), name
            elif part == IDENTITY:
                assert mine.tenants == true.tenants, name
            for n, (held, needed) in enumerate(zip(sets_of(part, mine), sets_of(part, true), strict=True)):
                known = past.setdefault((part, n), {})
                known.update((each, now) for each in needed)
                assert needed <= held, (name, part)
                assert held <= known.keys(), (name, part)
    assert any(sets for part in PARTS for sets in sets_of(part, follower.held[part][1])), (
        "the life was not empty"
    )
    assert follower.read_whole < 30, "what changed was current_facts, not read again"


def test_a_negative_list_is_followed_without_reading_a_single_row_of_it(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """A launch that ends costs what changed, not what there is."""
    life = Life(uow, clock, random.Random(1))
    follower = Follower(uow)
    for _ in range(5):
        life.open_launch()
        life.end_launch()
    whole = _FACTS[LAUNCHES]

    def refuse(ctx: Context, since: Since) -> Any:
        assert since.changes is not None
        blind: Any = _Blind(ctx)
        return whole(blind, since)

    _FACTS[LAUNCHES] = replace(whole, read=refuse)
    try:
        follower.follow()
    finally:
        _FACTS[LAUNCHES] = whole

    assert len(follower.held[LAUNCHES][1].ended) == 5
    assert follower.read_whole == 0


class _Blind:
    """A context without a database."""

    def __init__(self, ctx: Context) -> None:
        self.now = ctx.now


def test_what_a_verb_sees_of_the_switches_is_exact_and_follows_what_changed(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """What a token rests on: not a moment's staleness, and one change does not make ten thousand switches be read."""
    life = Life(uow, clock, random.Random(1))
    asked: list[Since] = []

    def noted(ctx: Context, since: Since) -> Any:
        asked.append(since)
        return controls.switch_facts(ctx, since)

    facts = replace(controls.switch_facts, read=noted)

    def seen() -> set[Target]:
        return uow.read_now(lambda ctx: set(current_facts(ctx, SWITCHES, facts).engaged), trace=TRACE)

    def engage(ctx: Context) -> tuple[set[Target], set[Target]]:
        before = set(current_facts(ctx, SWITCHES, facts).engaged)
        controls.engage(ctx, EngageOrder(TARGETS[2], Mode.FULL_STOP, "x"), person_tenant="general")
        return before, set(current_facts(ctx, SWITCHES, facts).engaged)

    assert seen() == set()
    switch = life.do(controls.engage, EngageOrder(TARGETS[1], Mode.FULL_STOP, "x"), actor=SAM)
    assert seen() == {TARGETS[1]} == seen()
    assert life.do(engage, actor=SAM) == ({TARGETS[1]}, {TARGETS[1], TARGETS[2]})
    for actor in (SAM, SUE):
        life.do(controls.release, switch.id, actor=actor, counts=lambda *_: True)
    assert seen() == {TARGETS[2]}

    assert [None if since.changes is None else since.named() for since in asked] == [
        None,
        ["app:app_1"],
        None,
        ["app_tenant:app_1/general", "app:app_1"],
    ]


# --- a rolling upgrade: a newer release names what this one does not know ----------------------------------------------------------

NAMED = {
    SWITCHES: ("platform", "app:app_1", "app_tenant:app_1/general", "scope:patient/*.rs?category=http://x|y"),
    QUOTAS: ("app_1/general",),
    IDENTITY: ("tenant/general", "person/per_1"),
    TOKENS: ("token/00ff", "family/fam_1"),
    SESSIONS: ("ses_1",),
    LAUNCHES: ("moved/lch_1", "ended/lch_1"),
    CONSENT: ("withdrawn/aut_1", "narrowed/aut_1"),
    REGISTRY: ("app/app_1", "at/general/app_1"),
    POLICIES: ("application/1",),
    BREAK_GLASS: ("use/btg_1", "settings/general"),
    FAILOVERS: ("",),
}
UNKNOWN = (
    "newer/thing",
    "newer:thing",
    "newer/thing/else",
    "thing",
    "/",
    ":",
    "token/xyz",
    "token/0",
    "person/",
    "at/general",
)
HAPPENED = {
    SWITCHES: ("engage",),
    IDENTITY: ("add_person", "deactivate"),
    TOKENS: ("mint", "revoke_token"),
    SESSIONS: ("begin_session", "end_session"),
    LAUNCHES: ("open_launch", "end_launch"),
    CONSENT: ("agree", "withdraw"),
}


def _changed(*keys: str) -> Since:
    return Since(tuple(Change(n, key, datetime.now(UTC)) for n, key in enumerate(keys, 1)))


@pytest.mark.parametrize("part", _FACTS)
def test_a_part_is_read_whole_where_any_of_its_changes_is_unknown(part: Part) -> None:
    """ADR 5; security decision 7: what a change of a newer release forbids is found out, not left out and not stumbled over."""
    facts = _FACTS[part]
    known = _changed(*NAMED[part])

    assert facts.understood(known) is known
    assert facts.understood(EVERYTHING) is EVERYTHING
    for key in UNKNOWN:
        assert facts.understood(_changed(*NAMED[part], key)) is EVERYTHING, key


@pytest.mark.parametrize("part", HAPPENED)
def test_a_release_refuses_a_newer_releases_change_that_it_cannot_read(
    uow: UnitOfWork, clock: FakeClock, part: Part
) -> None:
    life = Life(uow, clock, random.Random(1))
    follower = Follower(uow)
    for each in HAPPENED[part]:
        getattr(life, each)()
    renamed = fact_change.update().where(fact_change.c.part == part).values(key="newer/thing")
    assert uow.db.write(lambda tx: tx.execute(renamed).rowcount)

    follower.follow()

    mine, true = follower.held[part][1], Follower(uow).held[part][1]
    if part == SWITCHES:
        assert forbidden(mine, clock.now()) == forbidden(true, clock.now()) != {}
    else:
        assert sets_of(part, mine) == sets_of(part, true)
        assert any(sets_of(part, mine))
