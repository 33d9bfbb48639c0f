"""Sessions, attempts and API tokens as the service keeps them, on each backend (C36, C57; security decisions 3, 6)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import SessionId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Tenant, TenantChange, UpstreamKind, UpstreamRef
from hilum.identity.signin import live, policy, service, store
from hilum.identity.signin.models import (
    API_TOKENS_PER_PERSON,
    ATTEMPTS_FREE,
    SESSIONS,
    SESSIONS_PER_PERSON,
    ApiToken,
    Barred,
    Method,
    NotAuthenticated,
    SlowDown,
)
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from tests.sim.facts import counted
from tests.sim.world import START, FakeClock

GENERAL = TenantId("general")
PASSWORD = "correct horse"
HERE, THERE = "198.51.100.7", "203.0.113.9"


@dataclass
class Ground:
    uow: UnitOfWork
    ann: Any = None
    root: Any = None
    gina: Any = None

    def do(self, verb: Any, *args: Any, actor: Actor = SYSTEM, source: str = HERE, **more: Any) -> Any:
        return self.uow.write_now(
            lambda ctx: verb(ctx, *args, **more), actor=actor, trace=Trace("req_test", source)
        )

    def sign_in(
        self,
        password: str = PASSWORD,
        username: str = "ann",
        tenant: Any = GENERAL,
        source: str = HERE,
        **more: Any,
    ) -> Any:
        attempt = self.do(service.begin_attempt, tenant, username, source=source)
        matched = live.verify_password_now(attempt.digest, password)
        return self.do(
            service.complete_attempt, attempt, matched=matched, production=False, source=source, **more
        )

    def session(self, cookie: str) -> Any:
        return self.do(service.session, cookie, production=False)


@pytest.fixture
def ground(uow: UnitOfWork) -> Ground:
    made = Ground(uow)
    made.do(identity.add_tenant, Tenant(GENERAL, "General", UpstreamRef(UpstreamKind.EMBEDDED)))
    made.do(identity.add_tenant, Tenant(TenantId("mercy"), "Mercy", UpstreamRef(UpstreamKind.EMBEDDED)))
    made.ann = made.do(identity.add_person, NewPerson(GENERAL, "ann", "Ann", "physician"))
    made.gina = made.do(identity.add_person, NewPerson(GENERAL, "gina", "Gina", "administrator"))
    made.root = made.do(identity.add_person, NewPerson(None, "root", "Root", "platform_admin"))
    for person in (made.ann, made.root, made.gina):
        made.do(service.set_password, person.id, live.hash_password_now(PASSWORD, uow.ids))
    return made


def test_a_right_password_begins_a_session_of_just_this_person(ground: Ground) -> None:
    session, cookie = ground.sign_in(username=" ANN ")

    assert (session.person, session.tenant, session.role, session.method) == (
        ground.ann.id,
        GENERAL,
        "physician",
        Method.PASSWORD,
    )
    assert ground.session(cookie) == session
    assert session.csrf == policy.csrf_secret(cookie)
    staff, _ = ground.sign_in(username="root", tenant=None)
    assert (staff.person, staff.tenant) == (ground.root.id, None)


@pytest.mark.parametrize(
    ("username", "tenant", "password"),
    [
        ("ann", "general", "wrong horse"),
        ("ann", "general", ""),
        ("bob", "general", PASSWORD),
        ("ann", "mercy", PASSWORD),
        ("ann", None, PASSWORD),
        ("root", "general", PASSWORD),
        ("ann", "nowhere", PASSWORD),
        ("", "general", PASSWORD),
        ("a\x00nn", "general", PASSWORD),
        ("x" * 5_000, "general", PASSWORD),
    ],
)
def test_anything_else_is_refused_alike_and_recorded(
    ground: Ground, username: str, tenant: str | None, password: str
) -> None:
    """C57: nobody learns from the answer who exists."""
    with pytest.raises(NotAuthenticated) as refused:
        ground.sign_in(password, username, tenant and TenantId(tenant))

    assert (refused.value.code, refused.value.detail) == (
        "wrong_credentials",
        "The username or the password is wrong.",
    )
    found = ground.do(audit.list_events, EventQuery(action="signin.session.begin")).events
    assert [(each.event.outcome, each.event.reason) for each in found] == [
        (Outcome.REFUSED, "wrong_credentials")
    ]


def test_a_person_without_a_password_cannot_sign_in_by_one(ground: Ground) -> None:
    ground.do(identity.add_person, NewPerson(GENERAL, "new", "New", "nurse"))

    for password in ("", "None", "nobody has this password"):
        with pytest.raises(NotAuthenticated):
            ground.sign_in(password, "new")


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        (service.complete_attempt, {"production": False}),
        (service.complete_attempt_with_token, {"production": False}),
        (service.change_password, {"digest": "of the one who knew the old one"}),
    ],
)
def test_a_password_that_is_replaced_while_it_is_compared_opens_nothing(
    ground: Ground, verb: Any, more: dict[str, Any]
) -> None:
    """Security decision 4: it is compared between two transactions. Whoever keeps trying the old one has none under way that counts."""
    attempt = ground.do(service.begin_attempt, GENERAL, "ann")
    assert live.verify_password_now(attempt.digest, PASSWORD)
    ground.do(service.set_password, ground.ann.id, live.hash_password_now("another horse", ground.uow.ids))

    with pytest.raises(NotAuthenticated, match="wrong_credentials"):
        ground.do(verb, attempt, matched=True, **more)

    found = ground.do(audit.list_events, EventQuery(action="signin.session.begin")).events
    assert [(each.event.outcome, each.event.reason) for each in found] == [
        (Outcome.REFUSED, "wrong_credentials")
    ]
    assert ground.sign_in("another horse")[0].person == ground.ann.id


def fail(ground: Ground, times: int, **more: Any) -> None:
    for _ in range(times):
        with pytest.raises(NotAuthenticated):
            ground.sign_in("wrong", **more)


def test_failures_slow_the_pair_and_nobody_else(ground: Ground, clock: FakeClock) -> None:
    """C57."""
    fail(ground, ATTEMPTS_FREE)

    with pytest.raises(SlowDown) as slow:
        ground.sign_in()
    assert slow.value.retry_after_s == 1
    ground.sign_in(source=THERE)
    ground.sign_in(username="gina")
    ground.sign_in(username="root", tenant=None)
    clock.advance(timedelta(seconds=1))
    fail(ground, 1)
    with pytest.raises(SlowDown) as slower:
        ground.sign_in()
    assert slower.value.retry_after_s == 2


def test_waiting_attempts_do_not_lengthen_the_wait_and_success_forgets(
    ground: Ground, clock: FakeClock
) -> None:
    """C57: a stranger who keeps knocking cannot hold the door shut longer than the last failure did."""
    fail(ground, ATTEMPTS_FREE)
    for _ in range(50):
        with pytest.raises(SlowDown):
            ground.sign_in("wrong")
    clock.advance(timedelta(seconds=1))

    ground.sign_in()

    fail(ground, ATTEMPTS_FREE)
    with pytest.raises(SlowDown):
        ground.sign_in()
    clock.advance(timedelta(hours=1, seconds=1))
    fail(ground, ATTEMPTS_FREE)


def test_an_unknown_name_is_slowed_like_a_known_one(ground: Ground) -> None:
    """C57."""
    fail(ground, ATTEMPTS_FREE, username="nobody")

    with pytest.raises(SlowDown):
        ground.sign_in(username="nobody")


def test_attempts_at_one_instant_do_not_slip_through_together(ground: Ground) -> None:
    """C57: an attempt is counted before it is tried."""

    def knock(_: int) -> str:
        try:
            ground.do(service.begin_attempt, GENERAL, "ann")
        except SlowDown:
            return "slow"
        return "tried"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(knock, range(30)))

    assert answers.count("tried") == ATTEMPTS_FREE


def test_old_attempts_are_forgotten_and_leave_no_row(ground: Ground, clock: FakeClock) -> None:
    fail(ground, 2, username="nobody")
    clock.advance(timedelta(hours=1, seconds=1))
    fail(ground, 1, username="other")

    rows = ground.uow.read_now(lambda ctx: ctx.tx.execute(store.attempts.select()).all(), trace=Trace("x"))

    assert [row.failures for row in rows] == [1]
    assert "other" not in repr(rows)


@pytest.mark.parametrize("cookie", ["", "x", "hil_ss_", "hil_ss_" + "a" * 43, "hil_ss_" + "a" * 42 + "\x00"])
def test_a_cookie_that_we_did_not_make_is_nobody(ground: Ground, cookie: str) -> None:
    assert ground.session(cookie) is None
    assert not ground.do(service.end_session_of_cookie, cookie)


def test_a_session_ends_by_sign_out_idleness_age_deactivation_or_its_tenants_end(
    ground: Ground, clock: FakeClock
) -> None:
    """C36: what hangs on a session ends with it, but idleness at the browser is not its end."""
    session, cookie = ground.sign_in()
    clock.advance(timedelta(minutes=29))
    ground.do(service.touch, ground.session(cookie))
    clock.advance(timedelta(minutes=29))
    assert ground.session(cookie) is not None
    clock.advance(timedelta(minutes=2))
    assert ground.session(cookie) is None
    assert ground.do(service.session_alive, session.id)
    clock.advance(timedelta(hours=12))
    assert not ground.do(service.session_alive, session.id)

    ended, ended_cookie = ground.sign_in()
    assert ground.do(service.end_session, ended.id)
    assert not ground.do(service.end_session, ended.id)
    assert (ground.session(ended_cookie), ground.do(service.session_alive, ended.id)) == (None, False)

    third, third_cookie = ground.sign_in()
    ground.do(identity.update_tenant, GENERAL, TenantChange(active=False))
    assert (ground.session(third_cookie), ground.do(service.session_alive, third.id)) == (None, False)
    ground.do(identity.update_tenant, GENERAL, TenantChange(active=True))
    ground.do(identity.deactivate_person, ground.ann.id)
    assert (ground.session(third_cookie), ground.do(service.session_alive, third.id)) == (None, False)
    with pytest.raises(NotAuthenticated):
        ground.sign_in()
    assert not ground.do(service.session_alive, SessionId("ses_none"))


def test_a_login_always_begins_a_new_session_and_ends_the_browsers_old_one(ground: Ground) -> None:
    """Security decision 13: the session id rotates at login."""
    first, cookie = ground.sign_in()

    second, fresh = ground.sign_in(username="gina", replaces=cookie)

    assert first.id != second.id
    assert (ground.session(cookie), ground.session(fresh).person) == (None, ground.gina.id)


def begun(ground: Ground) -> str:
    """Let root's password match where a second factor must follow; return the cookie of what waits for it."""
    attempt = ground.do(service.begin_attempt, None, "root")
    _, cookie = ground.do(service.complete_attempt, attempt, matched=True, production=True)
    return str(cookie)


def test_of_two_windows_that_finish_one_sign_in_one_gets_a_session(ground: Ground) -> None:
    """Security decision 6."""
    found, person = ground.do(service.pending, begun(ground))

    ground.do(service.finish_pending, found, person)

    with pytest.raises(Conflict):
        ground.do(service.finish_pending, found, person)


def test_what_was_begun_before_a_full_stop_does_not_go_on_after_it(ground: Ground, clock: FakeClock) -> None:
    """Security decision 8: neither a session, nor a sign-in that waits for its code, nor an API token."""
    waits = begun(ground)
    _, secret = ground.do(service.create_api_token, ground.root.id)
    _, cookie = ground.sign_in(username="root", tenant=None)
    target = Target(TargetKind.PERSON, ground.root.id)
    order = EngageOrder(target, Mode.FULL_STOP, "a drill", clock.now() + timedelta(minutes=1))
    ground.do(controls.engage, order)

    clock.advance(timedelta(minutes=2))

    assert ground.do(service.pending, waits) is None
    assert ground.session(cookie) is None
    assert isinstance(ground.do(service.authenticate_api_token, secret, production=False), Barred)
    assert ground.do(service.pending, begun(ground)) is not None


def test_a_stop_on_a_person_is_said_at_their_own_hospital_alone(ground: Ground, clock: FakeClock) -> None:
    """C57: a cookie that is brought to another hospital names nobody there."""
    _, cookie = ground.sign_in()
    target = Target(TargetKind.PERSON, ground.ann.id)
    order = EngageOrder(target, Mode.FULL_STOP, "a drill", clock.now() + timedelta(minutes=1))
    assert ground.do(service.person_stopped, cookie, GENERAL) is None

    ground.do(controls.engage, order)

    assert ground.do(service.person_stopped, cookie, GENERAL).id == ground.ann.id
    assert ground.do(service.person_stopped, cookie, TenantId("mercy")) is None


def test_after_a_restore_no_sign_in_waits_any_more(ground: Ground) -> None:
    waits = begun(ground)

    ground.do(service.end_all)

    assert ground.do(service.pending, waits) is None


def test_nobody_confirms_the_token_of_somebody_else(ground: Ground) -> None:
    """Security decision 25: though they know its secret."""
    token, secret = ground.do(service.create_api_token, ground.root.id)
    gina = policy.actor_of(ground.gina)

    with pytest.raises(NotAuthenticated):
        ground.do(service.own_token, secret, actor=gina)
    with pytest.raises(NotFound):
        ground.do(service.confirm_token, token, actor=gina)


def test_a_session_with_a_role_that_its_person_has_not_is_nobody(ground: Ground) -> None:
    """ADR 29: a role never changes, so somebody wrote it into the database."""
    _, cookie = ground.sign_in()
    written = store.sessions.update().values(role="administrator")

    ground.do(lambda ctx: ctx.tx.execute(written) and None)

    assert ground.session(cookie) is None


def test_the_ehr_vouches_for_active_people_only(ground: Ground) -> None:
    """Security decision 2: only ``open_url`` begins such a session, never a launch."""
    session, cookie = ground.do(service.begin_session, ground.ann, "ehr")

    assert (session.method, ground.session(cookie)) == (Method.EHR, session)
    with pytest.raises(NotPermitted):
        ground.do(service.begin_session, replace(ground.ann, active=False), Method.EHR)


def test_a_person_has_a_bounded_number_of_sessions_and_the_oldest_end(
    ground: Ground, clock: FakeClock
) -> None:
    cookies = []
    for _ in range(SESSIONS_PER_PERSON + 2):
        clock.advance(timedelta(seconds=1))
        cookies.append(ground.do(service.begin_session, ground.ann, Method.EHR)[1])

    alive = [ground.session(cookie) is not None for cookie in cookies]

    assert alive == [False, False] + [True] * SESSIONS_PER_PERSON


def test_outlived_sessions_are_cleared_away(ground: Ground, clock: FakeClock) -> None:
    ground.sign_in()
    clock.advance(timedelta(days=3))
    ground.sign_in(username="gina")
    ground.uow.write_now(service.purge, trace=Trace("x"))

    rows = ground.uow.read_now(lambda ctx: ctx.tx.execute(store.sessions.select()).all(), trace=Trace("x"))

    assert [row.person for row in rows] == [ground.gina.id]


@pytest.mark.parametrize("way", ["a new password", "the end of all", "one session too many"])
def test_whatever_ends_sessions_is_announced_to_every_worker(
    ground: Ground, uow: UnitOfWork, way: str
) -> None:
    """C36, C91; security decision 7: a worker reads what has ended only when the epoch advances."""
    session, _ = ground.sign_in()
    before = counted(uow, SESSIONS)

    if way == "a new password":
        ground.do(service.set_password, ground.ann.id, "digest")
    elif way == "the end of all":
        ground.do(service.end_sessions_of, ground.ann.id)
    else:
        for _ in range(SESSIONS_PER_PERSON):
            ground.do(service.begin_session, ground.ann, Method.PASSWORD)

    assert not ground.do(service.session_alive, session.id)
    after = counted(uow, SESSIONS)
    assert after == before + 1


@pytest.mark.parametrize("tenant", ["", "\0", "nowhere", "general\0", "x" * 32])
def test_a_tenant_that_is_none_has_nobody_to_sign_in(ground: Ground, tenant: str) -> None:
    """C57; contract, Errors: never a 500 for bad input. Staff belong to no tenant, not to one without a name."""
    with pytest.raises(NotAuthenticated):
        ground.sign_in(username="root", tenant=TenantId(tenant))


def test_a_new_password_ends_sessions_and_tokens_and_the_old_one_is_dead(ground: Ground) -> None:
    _, cookie = ground.sign_in()
    _, secret = ground.do(service.create_api_token, ground.ann.id)

    ground.do(service.enrol, ground.ann, live.hash_password_now("another word", ground.uow.ids))

    assert ground.session(cookie) is None
    with pytest.raises(NotAuthenticated):
        ground.do(service.authenticate_api_token, secret, production=False)
    fail(ground, 1)
    ground.sign_in("another word")


def test_nobody_touches_another_persons_credentials(ground: Ground) -> None:
    ann, foreign = (
        policy.actor_of(ground.ann),
        Actor(ActorKind.PERSON, "per_m", TenantId("mercy"), frozenset({"administrator"})),
    )
    for actor in (ann, foreign):
        with pytest.raises(NotPermitted):
            ground.do(service.begin_change, ground.gina.id, actor=actor)
        with pytest.raises(NotPermitted):
            ground.do(service.set_password, ground.gina.id, "x", actor=actor)
        with pytest.raises(NotPermitted):
            ground.do(service.create_api_token, ground.gina.id, actor=actor)
        with pytest.raises(NotPermitted):
            ground.do(service.end_sessions_of, ground.gina.id, actor=actor)
        with pytest.raises(NotFound):
            ground.do(service.list_api_tokens, ground.gina.id, actor=actor)
    token, _ = ground.do(service.create_api_token, ground.gina.id)
    with pytest.raises(NotFound):
        ground.do(service.revoke_api_token, token.id, actor=ann)
    with pytest.raises(NotPermitted):
        ground.do(service.create_api_token, ground.ann.id, actor=policy.actor_of(ground.gina))

    _, cookie = ground.sign_in()
    _, secret = ground.do(service.create_api_token, ground.ann.id)
    assert ground.do(service.end_sessions_of, ground.ann.id, actor=ann) == 1
    assert ground.session(cookie) is None
    ground.do(service.authenticate_api_token, secret, production=False)
    _, cookie = ground.sign_in()
    assert ground.do(service.end_sessions_of, ground.ann.id, actor=policy.actor_of(ground.gina)) == 1
    assert ground.session(cookie) is None
    with pytest.raises(NotAuthenticated):
        ground.do(service.authenticate_api_token, secret, production=False)


def test_an_api_token_acts_as_its_person_until_it_expires_or_is_revoked(
    ground: Ground, clock: FakeClock
) -> None:
    """Contract, API authentication: expiring, hashed, role-bound."""
    token, secret = ground.do(service.create_api_token, ground.gina.id, life=timedelta(days=1), name="script")

    assert ground.do(service.authenticate_api_token, secret, production=False) == policy.actor_of(ground.gina)
    assert ground.do(service.list_api_tokens, ground.gina.id) == [token]
    ground.do(service.revoke_api_token, token.id, actor=policy.actor_of(ground.gina))
    with pytest.raises(NotAuthenticated):
        ground.do(service.authenticate_api_token, secret, production=False)
    with pytest.raises(Conflict):
        ground.do(service.revoke_api_token, token.id)
    _, second = ground.do(service.create_api_token, ground.gina.id, life=timedelta(days=1))
    clock.advance(timedelta(days=1))
    with pytest.raises(NotAuthenticated):
        ground.do(service.authenticate_api_token, second, production=False)
    assert ground.do(service.list_api_tokens, ground.gina.id) == []


@pytest.mark.parametrize(
    "bearer",
    ["", "x", "hil_pat_" + "a" * 43, "hil_at_" + "a" * 43, "hil_pat_" + "\x00" * 43, "hil_pat_" + "é" * 43],
)
def test_a_bearer_that_is_no_token_of_ours_is_nobody(ground: Ground, bearer: str) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        ground.do(service.authenticate_api_token, bearer, production=False)

    assert refused.value.code == "token_invalid"


def test_an_api_token_dies_with_its_person_or_tenant(ground: Ground) -> None:
    _, secret = ground.do(service.create_api_token, ground.gina.id)
    ground.do(identity.update_tenant, GENERAL, TenantChange(active=False))
    shut = ground.do(service.authenticate_api_token, secret, production=False)
    ground.do(identity.update_tenant, GENERAL, TenantChange(active=True))
    ground.do(identity.deactivate_person, ground.gina.id)
    gone = ground.do(service.authenticate_api_token, secret, production=False)

    for barred in (shut, gone):
        assert isinstance(barred, Barred)
        assert (barred.refusal.code, barred.reason) == ("token_invalid", "inactive")


def test_tokens_are_bounded_in_number_life_and_roles(ground: Ground) -> None:
    with pytest.raises(Invalid) as refused:
        ground.do(service.create_api_token, ground.ann.id, life=timedelta(days=91), roles=("administrator",))
    assert refused.value.fields == {"expires_in_s": "out_of_range", "roles": "beyond_your_own"}
    for _ in range(API_TOKENS_PER_PERSON):
        ground.do(service.create_api_token, ground.ann.id)

    with pytest.raises(NotPermitted):
        ground.do(service.create_api_token, ground.ann.id)


def test_a_database_dump_holds_no_usable_credential(ground: Ground) -> None:
    """C9."""
    _, cookie = ground.sign_in()
    _, secret = ground.do(service.create_api_token, ground.ann.id)

    def dump(ctx: Any) -> str:
        tables = (store.passwords, store.sessions, store.attempts, store.api_tokens)
        return repr([tuple(row) for table in tables for row in ctx.tx.execute(table.select())])

    dumped = ground.uow.read_now(dump, trace=Trace("x"))

    assert dumped.count(ground.ann.id) >= 3, "a password, a session and a token of hers"
    assert not [word for word in (cookie, secret, PASSWORD, policy.csrf_secret(cookie)) if word in dumped]


def test_an_api_token_has_a_mac_that_reveals_a_guess_without_a_look_up(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Security decision 6, as for access tokens. A token of a release without MACs counts until it expires."""
    _, secret = ground.do(service.create_api_token, ground.ann.id)
    body, _, mac = secret.rpartition("_")
    guesses = [
        f"{body}_{'A' * 8}",
        f"{body[:-1]}{'a' if body[-1] != 'a' else 'b'}_{mac}",
        f"{secret}A",
        secret[:-1],
    ]
    looked: list[str] = []
    find = store.API_TOKENS.find

    def noted(tx: Connection, *, digest: str) -> ApiToken | None:
        looked.append(digest)
        return find(tx, digest=digest)

    monkeypatch.setattr(store.API_TOKENS, "find", noted)

    for guess in guesses:
        with pytest.raises(NotAuthenticated):
            ground.do(service.authenticate_api_token, guess, production=False)
    assert looked == []
    assert ground.do(service.authenticate_api_token, secret, production=False) == policy.actor_of(ground.ann)

    older = "hil_pat_" + "o" * 43
    token = ApiToken(
        "pat_older", ground.ann.id, "older", (ground.ann.role,), START, START + timedelta(days=9)
    )
    ground.do(lambda ctx: store.API_TOKENS.add(ctx.tx, token, digest=policy.digest(older)))
    assert ground.do(service.authenticate_api_token, older, production=False) == policy.actor_of(ground.ann)
