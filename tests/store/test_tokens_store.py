"""Tokens as the service keeps them, on each backend: used once, ended together, never revived."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select

from hilum.authorization.tokens import policy, service, store
from hilum.authorization.tokens.live import TokenTable, make
from hilum.authorization.tokens.models import (
    ACCESS_PREFIX,
    NEGATIVE_WINDOW,
    REFRESH_PREFIX,
    TOKENS,
    AccessToken,
    Exchange,
    Grant,
    IssuedTokens,
    RefreshToken,
)
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.errors import NotPermitted, Unavailable
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    FamilyId,
    LaunchId,
    PersonId,
    TenantId,
    VendorId,
    VersionId,
)
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.effort import effort
from tests.sim.facts import counted, whole
from tests.sim.world import START, FakeClock
from tests.unit.policy.matrix.books import LIFETIMES

TRACE = Trace("req_tokens")
CLIENT, TENANT = ClientId("cli_1"), TenantId("general")
HOUR = timedelta(hours=1)
GRANT = Grant(
    tenant=TENANT,
    client=CLIENT,
    app=AppId("app_1"),
    version=VersionId("ver_1"),
    vendor=VendorId("ven_1"),
    scopes=("launch/patient", "offline_access", "patient/Observation.rs", "patient/Patient.r"),
    person=PersonId("per_1"),
    role="patient",
    fhir_user="Patient/p1",
    person_patients=("p1", "p2"),
    patient="p1",
    encounter="e1",
    authorization=AuthorizationId("aut_1"),
    authorization_expires_at=START + timedelta(days=365),
    launch=LaunchId("lch_1"),
    session="ses_1",
    nonce="n-1",
    extras={"need_patient_banner": True, "fhirContext": [{"reference": "ImagingStudy/1"}]},
    run="run_1",
)
BACKEND = Grant(TENANT, CLIENT, AppId("app_1"), VersionId("ver_1"), VendorId("ven_1"), ("system/*.rs",))


def do(uow: UnitOfWork, verb: Callable[[Context], Any]) -> Any:
    return uow.write_now(verb, trace=TRACE)


def mint(uow: UnitOfWork, grant: Grant = GRANT, *, offline: bool | None = True, **more: Any) -> IssuedTokens:
    options = {"code_family": None, "lifetimes": LIFETIMES, "life": HOUR} | more
    return do(uow, lambda ctx: service.mint(ctx, grant, offline=offline, **options))


def access(uow: UnitOfWork, presented: str) -> AccessToken | None:
    return do(uow, lambda ctx: service.find_access(ctx, presented))


def refresh(uow: UnitOfWork, presented: str) -> RefreshToken | None:
    return do(uow, lambda ctx: service.find_refresh(ctx, presented))


def redeem(
    uow: UnitOfWork, presented: str, client: str = CLIENT, tenant: str = TENANT, **more: Any
) -> RefreshToken:
    return do(
        uow,
        lambda ctx: service.redeem_refresh(
            ctx, presented, Exchange(ClientId(client), TenantId(tenant), b"", authenticated=True), **more
        ),
    )


def revoke(uow: UnitOfWork, presented: str, client: str = CLIENT, tenant: str = TENANT) -> None:
    do(
        uow,
        lambda ctx: service.revoke_presented(
            ctx, presented, client=ClientId(client), tenant=TenantId(tenant)
        ),
    )


def facts(uow: UnitOfWork) -> Any:
    return do(uow, whole(service.facts))


def advances(uow: UnitOfWork) -> int:
    return counted(uow, TOKENS)


def reasons(uow: UnitOfWork, action: str) -> list[str]:
    found = uow.read_now(lambda ctx: audit.list_events(ctx, EventQuery(action=action)), trace=TRACE)
    return [each.event.reason for each in found.events]


# --- issue ---------------------------------------------------------------------------------------------------------------------


def test_what_was_granted_comes_back_with_both_tokens(uow: UnitOfWork, clock: FakeClock) -> None:
    minted = mint(uow)

    token, again = access(uow, minted.access_token), refresh(uow, minted.refresh_token)

    assert again is not None
    assert again.grant == GRANT
    assert again.offline
    assert token is not None
    shared = set(AccessToken.__dataclass_fields__) & set(Grant.__dataclass_fields__)
    assert {name: getattr(token, name) for name in shared} == {name: getattr(GRANT, name) for name in shared}
    assert (token.issued_at, token.expires_at) == (clock.now(), clock.now() + HOUR)
    assert token.family == again.family
    assert minted.expires_in_s == 3600


def test_only_digests_of_tokens_are_stored(uow: UnitOfWork) -> None:
    """C9: a dump of the database holds no usable credential."""
    minted = mint(uow)

    def dump(ctx: Context) -> str:
        rows = [
            repr(row)
            for table in (store.access_token, store.refresh_token, store.token_family)
            for row in ctx.tx.execute(select(table))
        ]
        events = audit.list_events(ctx, EventQuery()).events
        return "".join(rows) + repr(events)

    stored = do(uow, dump)

    for secret in (minted.access_token, minted.refresh_token):
        assert secret not in stored
        assert secret.split("_")[2][:20] not in stored


@pytest.mark.parametrize(
    ("grant", "asked", "given"),
    [
        (GRANT, HOUR, LIFETIMES.access_token),
        (GRANT, timedelta(days=1), LIFETIMES.access_token),
        (GRANT, timedelta(minutes=5), timedelta(minutes=5)),
        (BACKEND, HOUR, LIFETIMES.backend_token),
        (BACKEND, timedelta(seconds=60), timedelta(seconds=60)),
    ],
)
def test_life_is_only_ever_shortened(
    uow: UnitOfWork, grant: Grant, asked: timedelta, given: timedelta
) -> None:
    """C47: user access tokens live at most 1 h, backend tokens at most 300 s."""
    minted = mint(uow, grant, offline=None, life=asked)

    assert minted.expires_in_s == given.total_seconds()
    assert minted.refresh_token == ""


def test_an_access_token_may_carry_less_than_its_refresh_token(uow: UnitOfWork) -> None:
    """C49: a refresh may ask for fewer scopes; the next may ask for all again."""
    minted = mint(uow, access_scopes=("patient/Patient.r",))

    assert minted.scopes == ("patient/Patient.r",)
    assert access(uow, minted.access_token).scopes == ("patient/Patient.r",)  # type: ignore[union-attr]
    assert refresh(uow, minted.refresh_token).grant.scopes == GRANT.scopes  # type: ignore[union-attr]


def test_a_token_counts_until_its_expiry_and_not_a_microsecond_longer(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    minted = mint(uow)

    clock.advance(HOUR - timedelta(microseconds=1))
    assert access(uow, minted.access_token) is not None
    clock.advance(timedelta(microseconds=1))
    assert access(uow, minted.access_token) is None


@pytest.mark.parametrize("offline", [True, False])
def test_refresh_tokens_live_three_months_and_more_or_as_long_as_a_session(
    uow: UnitOfWork, clock: FakeClock, offline: bool
) -> None:
    """C49: not under the regulatory 3 months; each refresh starts the time again."""
    minted = mint(uow, offline=offline)
    life = LIFETIMES.refresh_token if offline else LIFETIMES.session_refresh_token
    assert timedelta(days=92) <= LIFETIMES.refresh_token

    clock.advance(life - timedelta(microseconds=1))
    used = redeem(uow, minted.refresh_token)
    second = mint(uow, used.grant, offline=offline, code_family=used.family)
    clock.advance(life)

    with pytest.raises(NotPermitted, match="expired"):
        redeem(uow, second.refresh_token)


def test_issuing_in_a_revoked_family_is_refused(uow: UnitOfWork) -> None:
    family = FamilyId("fam_1")
    mint(uow, code_family=family)
    do(uow, lambda ctx: service.revoke_family(ctx, family))

    with pytest.raises(NotPermitted, match="invalid_grant"):
        mint(uow, code_family=family)


def test_a_family_revoked_before_its_first_token_stays_barred(uow: UnitOfWork) -> None:
    """C44: a code that was replayed before anything came of it yields nothing later."""
    family = FamilyId("fam_1")

    assert do(uow, lambda ctx: service.revoke_family(ctx, family)) is False

    with pytest.raises(NotPermitted, match="invalid_grant"):
        mint(uow, code_family=family)


# --- refresh -------------------------------------------------------------------------------------------------------------------


def test_a_refresh_token_is_used_once_and_a_second_use_ends_its_family(uow: UnitOfWork) -> None:
    """C48, RFC 9700 section 4.14.2; the revocation is committed although the request is refused."""
    first = mint(uow)
    used = redeem(uow, first.refresh_token)
    second = mint(uow, used.grant, code_family=used.family)

    with pytest.raises(NotPermitted, match="invalid_grant"):
        redeem(uow, first.refresh_token)

    assert access(uow, first.access_token) is None
    assert access(uow, second.access_token) is None
    with pytest.raises(NotPermitted, match="revoked"):
        redeem(uow, second.refresh_token)
    assert used.family in facts(uow).revoked_families
    assert "refresh_reused" in reasons(uow, "tokens.refresh")


def test_a_reuse_touches_no_other_family(uow: UnitOfWork) -> None:
    first, other = mint(uow), mint(uow)
    redeem(uow, first.refresh_token)

    with pytest.raises(NotPermitted):
        redeem(uow, first.refresh_token)

    assert access(uow, other.access_token) is not None
    assert redeem(uow, other.refresh_token)


@pytest.mark.parametrize(("client", "tenant"), [("cli_2", TENANT), (CLIENT, "mercy"), ("cli_2", "mercy")])
def test_anothers_refresh_token_is_refused_and_not_used_up(uow: UnitOfWork, client: str, tenant: str) -> None:
    """C37, C54: a wrong client uses nothing up and ends nothing."""
    minted = mint(uow)

    with pytest.raises(NotPermitted, match="invalid_grant"):
        redeem(uow, minted.refresh_token, client, tenant)

    assert reasons(uow, "tokens.refresh") == ["foreign_client"]
    assert redeem(uow, minted.refresh_token).grant == GRANT


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "x",
        "hil_rt_",
        REFRESH_PREFIX + "A" * 43 + "_" + "B" * 8,
        "hil_at_" + "A" * 43 + "_AAAAAAAA",
        "é" * 59,
    ],
)
def test_garbage_is_refused_as_a_grant(uow: UnitOfWork, presented: str) -> None:
    with pytest.raises(NotPermitted, match="invalid_grant"):
        redeem(uow, presented)
    assert refresh(uow, presented) is None
    assert access(uow, presented) is None


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(uow: UnitOfWork) -> None:
    minted = mint(uow)

    with pytest.raises(NotPermitted):
        redeem(uow, minted.access_token)
    assert access(uow, minted.refresh_token) is None
    assert refresh(uow, minted.access_token) is None


def test_online_access_ends_with_its_session_and_offline_access_does_not(uow: UnitOfWork) -> None:
    """C36."""
    online, offline = mint(uow, offline=False), mint(uow, offline=True)

    with pytest.raises(NotPermitted, match="invalid_grant"):
        redeem(uow, online.refresh_token, online_ended=True)

    assert access(uow, online.access_token) is None
    with pytest.raises(NotPermitted):
        redeem(uow, online.refresh_token)
    assert redeem(uow, offline.refresh_token, online_ended=True)


def test_somebody_else_cannot_end_an_online_family_by_presenting_it(uow: UnitOfWork) -> None:
    online = mint(uow, offline=False)

    with pytest.raises(NotPermitted):
        redeem(uow, online.refresh_token, "cli_2", online_ended=True)

    assert redeem(uow, online.refresh_token)


def test_two_redemptions_at_one_instant_have_one_winner_and_then_none(uow: UnitOfWork) -> None:
    """C48, security decision 9: no two answers, and the winner's tokens are dead after the second use."""
    for _ in range(effort(15, 1_000)):
        minted, barrier = mint(uow), Barrier(2)

        def attempt(
            _: int, presented: str = minted.refresh_token, together: Barrier = barrier
        ) -> IssuedTokens | None:
            def exchange(ctx: Context) -> IssuedTokens:
                used = service.redeem_refresh(
                    ctx, presented, Exchange(CLIENT, TENANT, b"", authenticated=True)
                )
                return service.mint(
                    ctx, used.grant, offline=True, code_family=used.family, lifetimes=LIFETIMES, life=HOUR
                )

            together.wait()
            with suppress(NotPermitted):
                return do(uow, exchange)
            return None

        with ThreadPoolExecutor(2) as pool:
            won = [made for made in pool.map(attempt, range(2)) if made is not None]

        assert len(won) == 1
        assert access(uow, won[0].access_token) is None
        assert access(uow, minted.access_token) is None
        with pytest.raises(NotPermitted):
            redeem(uow, won[0].refresh_token)


# --- revocation ----------------------------------------------------------------------------------------------------------------


def test_a_person_s_grants_end_together_offline_too(uow: UnitOfWork) -> None:
    """C36, C91: what rested on a role that is gone, and nobody else's."""
    own = [mint(uow, offline=offline) for offline in (True, False, None)]
    others = mint(uow, replace(GRANT, person=PersonId("per_2")))
    before = advances(uow)

    assert do(uow, lambda ctx: service.revoke_person(ctx, PersonId("per_1"), "role_lost")) == 3
    assert do(uow, lambda ctx: service.revoke_person(ctx, PersonId("per_1"), "role_lost")) == 0

    assert [access(uow, each.access_token) for each in own] == [None] * 3
    with pytest.raises(NotPermitted, match="invalid_grant"):
        redeem(uow, own[0].refresh_token)
    assert redeem(uow, others.refresh_token)
    assert advances(uow) > before
    assert reasons(uow, "tokens.family.revoke") == ["role_lost"]


def test_revoking_an_access_token_ends_it_alone(uow: UnitOfWork) -> None:
    """RFC 7009 section 2.1."""
    minted = mint(uow)
    before = advances(uow)

    revoke(uow, minted.access_token)

    assert access(uow, minted.access_token) is None
    assert policy.fingerprint(minted.access_token) in facts(uow).revoked_tokens
    assert advances(uow) == before + 1
    assert redeem(uow, minted.refresh_token)


def test_revoking_a_refresh_token_ends_its_access_tokens(uow: UnitOfWork) -> None:
    """C54."""
    minted = mint(uow)

    revoke(uow, minted.refresh_token)

    assert access(uow, minted.access_token) is None
    with pytest.raises(NotPermitted):
        redeem(uow, minted.refresh_token)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_anothers_token_is_neither_revoked_nor_reported_as_done(uow: UnitOfWork, kind: str) -> None:
    """C54, RFC 7009 section 2.1."""
    minted = mint(uow)

    with pytest.raises(NotPermitted, match="unauthorized_client"):
        revoke(uow, getattr(minted, kind), client="cli_2")

    assert access(uow, minted.access_token) is not None
    assert redeem(uow, minted.refresh_token)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_another_tenants_token_is_nothing_to_revoke(uow: UnitOfWork, kind: str) -> None:
    minted = mint(uow)

    revoke(uow, getattr(minted, kind), tenant="mercy")

    assert access(uow, minted.access_token) is not None


@pytest.mark.parametrize("token", ["", "unknown", "hil_at_short", ACCESS_PREFIX + "A" * 43 + "_" + "A" * 8])
def test_revoking_what_is_unknown_is_no_error(uow: UnitOfWork, token: str) -> None:
    """RFC 7009 section 2.2."""
    before = advances(uow)

    revoke(uow, token)

    assert advances(uow) == before


def test_revoking_twice_says_nothing_new(uow: UnitOfWork) -> None:
    minted = mint(uow)
    revoke(uow, minted.access_token)
    before = advances(uow)

    revoke(uow, minted.access_token)

    assert advances(uow) == before


OTHER = {
    "authorization": replace(GRANT, authorization=AuthorizationId("aut_2")),
    "launch": replace(GRANT, launch=LaunchId("lch_2")),
    "person": replace(GRANT, person=PersonId("per_2")),
    "app": replace(GRANT, app=AppId("app_2")),
    "tenant": replace(GRANT, tenant=TenantId("mercy")),
    "client": replace(GRANT, client=ClientId("cli_2")),
}


@pytest.mark.parametrize(
    ("verb", "offline", "spared"),
    [
        (lambda ctx: service.revoke_authorization(ctx, GRANT.authorization), True, ["authorization"]),
        (lambda ctx: service.revoke_launch(ctx, GRANT.launch), False, ["launch"]),
        (
            partial(service.end_access_at, client=CLIENT, tenant=TENANT, families=True, because="ended"),
            True,
            ["client", "tenant"],
        ),
    ],
    ids=["authorization", "launch", "client at a tenant"],
)
def test_ending_a_whole_ends_access_and_refresh_and_nothing_beside(
    uow: UnitOfWork, verb: Any, offline: bool, spared: list[str]
) -> None:
    """C91: both kinds of token die in one transaction, and the epoch changes for every worker."""
    mine = [mint(uow, offline=offline), mint(uow, offline=offline)]
    others = [mint(uow, OTHER[name], offline=offline) for name in spared]
    before = advances(uow)

    assert do(uow, verb) >= 2

    assert advances(uow) == before + 1
    for minted in mine:
        assert access(uow, minted.access_token) is None
        with pytest.raises(NotPermitted):
            redeem(uow, minted.refresh_token)
    for minted in others:
        assert access(uow, minted.access_token) is not None
        assert refresh(uow, minted.refresh_token).family_revoked_at is None  # type: ignore[union-attr]


def test_a_launchs_end_spares_offline_access(uow: UnitOfWork) -> None:
    """C36."""
    offline, online, plain = mint(uow, offline=True), mint(uow, offline=False), mint(uow, offline=None)

    do(uow, lambda ctx: service.revoke_launch(ctx, GRANT.launch))

    assert access(uow, offline.access_token) is not None
    assert access(uow, online.access_token) is None
    assert access(uow, plain.access_token) is None


def test_a_clients_own_tokens_end_with_it(uow: UnitOfWork) -> None:
    minted = mint(uow, BACKEND, offline=None)

    assert do(uow, partial(service.end_access_at, client=CLIENT, tenant=TENANT, because="ended")) == 1

    assert access(uow, minted.access_token) is None
    assert policy.fingerprint(minted.access_token) in facts(uow).revoked_tokens


def test_narrowing_ends_access_tokens_and_cuts_refresh_tokens(uow: UnitOfWork) -> None:
    minted, other = mint(uow), mint(uow, OTHER["authorization"])

    do(
        uow,
        lambda ctx: service.narrow_authorization(
            ctx, GRANT.authorization, ("offline_access", "patient/Patient.rs")
        ),
    )

    assert access(uow, minted.access_token) is None
    assert redeem(uow, minted.refresh_token).grant.scopes == ("offline_access", "patient/Patient.r")
    assert access(uow, other.access_token) is not None
    assert refresh(uow, other.refresh_token).grant.scopes == GRANT.scopes  # type: ignore[union-attr]


def test_the_negative_list_forgets_what_no_token_can_outlive(uow: UnitOfWork, clock: FakeClock) -> None:
    minted = mint(uow)
    revoke(uow, minted.refresh_token)
    revoked = facts(uow).revoked_families
    assert len(revoked) == 1

    clock.advance(NEGATIVE_WINDOW - timedelta(seconds=1))
    assert facts(uow).revoked_families == revoked
    clock.advance(timedelta(seconds=1))
    assert facts(uow).revoked_families == frozenset()


def test_purging_forgets_what_is_over_and_keeps_what_could_be_replayed(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    minted = mint(uow)
    backend = mint(uow, BACKEND, offline=None)
    used = redeem(uow, minted.refresh_token)
    second = mint(uow, used.grant, code_family=used.family)
    clock.advance(timedelta(days=2))

    assert do(uow, service.purge) > 0
    assert do(uow, service.purge) == 0

    def count(ctx: Context) -> int:
        return int(ctx.tx.execute(select(func.count()).select_from(store.access_token)).scalar_one())

    assert do(uow, count) == 0
    assert access(uow, backend.access_token) is None
    with pytest.raises(NotPermitted):
        redeem(uow, minted.refresh_token)
    with pytest.raises(NotPermitted, match="revoked"):
        redeem(uow, second.refresh_token)


def test_a_revocation_is_kept_as_long_as_a_token_of_it_may_live(uow: UnitOfWork, clock: FakeClock) -> None:
    """C91: however short used tokens are kept."""
    minted = mint(uow)
    revoke(uow, minted.refresh_token)
    clock.advance(NEGATIVE_WINDOW - timedelta(seconds=1))

    do(uow, lambda ctx: service.purge(ctx, used_kept=timedelta(0)))

    assert len(facts(uow).revoked_families) == 1


# --- jti -----------------------------------------------------------------------------------------------------------------------


def remember(uow: UnitOfWork, issuer: str, jti: str, until: Any) -> bool:
    return bool(do(uow, lambda ctx: service.record_jti(ctx, issuer, jti, until)))


def test_a_jti_is_taken_once_per_issuer(uow: UnitOfWork, clock: FakeClock) -> None:
    """C52."""
    until = clock.now() + timedelta(minutes=5)

    assert remember(uow, "cli_1", "j", until)
    assert not remember(uow, "cli_1", "j", until)
    assert remember(uow, "cli_2", "j", until)
    assert remember(uow, "cli_1", "j2", until)
    clock.advance(timedelta(minutes=5) - timedelta(microseconds=1))
    assert not remember(uow, "cli_1", "j", until + HOUR)


@pytest.mark.parametrize("jti", ["", "j" * 513])
def test_a_jti_that_cannot_be_kept_is_refused(uow: UnitOfWork, clock: FakeClock, jti: str) -> None:
    assert not remember(uow, "cli_1", jti, clock.now() + HOUR)


def test_a_jti_that_is_over_already_is_refused(uow: UnitOfWork, clock: FakeClock) -> None:
    assert not remember(uow, "cli_1", "j", clock.now())


def test_issuer_and_jti_are_kept_apart(uow: UnitOfWork, clock: FakeClock) -> None:
    until = clock.now() + HOUR

    assert remember(uow, "cli_1", "ab", until)
    assert remember(uow, "cli_1a", "b", until)
    assert remember(uow, "cli_1ab", "x", until)


def test_two_uses_of_a_jti_at_one_instant_have_one_winner(uow: UnitOfWork, clock: FakeClock) -> None:
    """C52: the memory is shared by all workers."""
    until = clock.now() + HOUR
    for n in range(effort(20, 1_000)):
        barrier = Barrier(3)

        def attempt(_: int, jti: str = f"j{n}", together: Barrier = barrier) -> bool:
            together.wait()
            return remember(uow, "cli_1", jti, until)

        with ThreadPoolExecutor(3) as pool:
            assert sorted(pool.map(attempt, range(3))) == [False, False, True]


def test_what_is_over_is_forgotten(uow: UnitOfWork, clock: FakeClock) -> None:
    remember(uow, "cli_1", "j", clock.now() + timedelta(minutes=5))
    clock.advance(timedelta(minutes=5))

    assert do(uow, service.purge) == 1


# --- a worker's table ----------------------------------------------------------------------------------------------------------


def test_a_worker_reads_a_token_once_and_then_knows_it(uow: UnitOfWork) -> None:
    minted, reads = mint(uow), []

    async def counting(verb: Any) -> Any:
        reads.append(1)
        return await uow.reads(verb)

    async def work() -> None:
        table = TokenTable(counting, uow.write)
        assert table.get_cached(minted.access_token) is None
        many = await asyncio.gather(*(table.get(minted.access_token) for _ in range(20)))
        assert {type(each) for each in many} == {AccessToken}
        assert table.get_cached(minted.access_token) == many[0]
        assert await table.get(minted.access_token) == many[0]
        assert len(reads) == 1

    asyncio.run(work())


def test_strangers_never_reach_the_store_and_never_fill_the_table(uow: UnitOfWork) -> None:
    """Security decision 6: the MAC is checked first."""
    reads = []

    async def counting(verb: Any) -> Any:
        reads.append(1)
        return await uow.reads(verb)

    async def work() -> None:
        table = TokenTable(counting, uow.write)
        for n in range(50):
            garbage = f"{ACCESS_PREFIX}{n:043d}_AAAAAAAA"
            found = await table.get(garbage)
            assert isinstance(found, Deny)
            assert found.reason is Reason.TOKEN_INVALID
        assert reads == []
        unknown = make(uow.ids, ACCESS_PREFIX)
        assert isinstance(await table.get(unknown), Deny)
        assert isinstance(await table.get(unknown), Deny)
        assert (len(reads), len(table)) == (2, 0)

    asyncio.run(work())


def test_a_revoked_token_is_reported_as_revoked_and_not_cached(uow: UnitOfWork) -> None:
    minted = mint(uow)
    revoke(uow, minted.refresh_token)

    async def work() -> None:
        table = TokenTable(uow.reads, uow.write)
        found = await table.get(minted.access_token)
        assert isinstance(found, Deny)
        assert found.reason is Reason.TOKEN_REVOKED
        assert len(table) == 0

    asyncio.run(work())


def test_the_table_forgets_the_least_recently_used(uow: UnitOfWork) -> None:
    tokens = [mint(uow).access_token for _ in range(3)]

    async def work() -> None:
        table = TokenTable(uow.reads, uow.write, bound=2)
        await table.get(tokens[0])
        await table.get(tokens[1])
        table.get_cached(tokens[0])
        await table.get(tokens[2])
        assert len(table) == 2
        assert table.get_cached(tokens[0]) is not None
        assert table.get_cached(tokens[1]) is None

    asyncio.run(work())


def test_a_store_that_is_away_is_a_refusal_and_is_asked_again_later(uow: UnitOfWork) -> None:
    minted, away = mint(uow), [True]

    async def flaky(verb: Any) -> Any:
        if away[0]:
            raise Unavailable("database_unavailable")
        return await uow.reads(verb)

    async def work() -> None:
        table = TokenTable(flaky, uow.write)
        with pytest.raises(Unavailable):
            await table.get(minted.access_token)
        away[0] = False
        assert isinstance(await table.get(minted.access_token), AccessToken)

    asyncio.run(work())


def test_one_who_hangs_up_does_not_take_the_answer_from_the_others(uow: UnitOfWork) -> None:
    minted = mint(uow)

    async def work() -> None:
        table = TokenTable(uow.reads, uow.write)
        first = asyncio.create_task(table.get(minted.access_token))
        second = asyncio.create_task(table.get(minted.access_token))
        await asyncio.sleep(0)
        first.cancel()
        assert isinstance(await second, AccessToken)

    asyncio.run(work())
