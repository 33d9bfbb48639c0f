"""The token endpoint under attack: races, replay and injection, other tenants, widening (RFC 9700; C37, C44, C45, C48, C52)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from hilum.apps.clients.models import Client
from hilum.authorization.consent import service as consent
from hilum.authorization.token import service
from hilum.authorization.token.client_auth import Assertion, Method, Presented
from hilum.authorization.token.policy import GrantType, TokenRequest
from hilum.authorization.token.service import Caller
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import REPEAT_WITHIN
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, NotPermitted
from tests.effort import effort
from tests.flows import token_flow
from tests.flows.token_flow import (
    LAUNCH_SCOPES,
    MERCY,
    OTHER,
    REDIRECT,
    TRACE,
    VERIFIER,
    Platform,
    refused,
    running_platform,
)
from tests.sim.backends import every_case_on_both
from tests.sim.world import FakeClock

platform = token_flow.platform
T = TypeVar("T")


@pytest.fixture
def both(uow: UnitOfWork, clock: FakeClock) -> Iterator[Platform]:
    """The platform on each database in turn."""
    with running_platform(uow, clock) as made:
        yield made


# --- two at one instant (C45, C48, C52) ----------------------------------------------------------------------------------------


class Workers:
    """Other processes' worth of access to the database: a connection and an audit chain each, let loose at one instant."""

    def __init__(self, platform: Platform, count: int = 4) -> None:
        self.uows = [
            UnitOfWork.create(Database(platform.uow.db.url), platform.clock, platform.uow.ids, f"worker-{n}")
            for n in range(count)
        ]
        self.pool = ThreadPoolExecutor(count)

    def at_once(self, verbs: list[Callable[[Context], T]]) -> list[T | NotPermitted | Conflict]:
        gate = threading.Barrier(len(verbs))

        def work(uow: UnitOfWork, verb: Callable[[Context], T]) -> T | NotPermitted | Conflict:
            gate.wait(timeout=30)
            try:
                return uow.write_now(verb, actor=SYSTEM, trace=TRACE)
            except (NotPermitted, Conflict) as refusal:
                return refusal

        return list(self.pool.map(work, self.uows, verbs))

    def close(self) -> None:
        self.pool.shutdown()
        for uow in self.uows:
            uow.close()


@pytest.fixture
def workers(both: Platform) -> Iterator[Workers]:
    made = Workers(both)
    yield made
    made.close()


def caller(platform: Platform, client: str = "public") -> Caller:
    found = platform.clients[client]
    return Caller(
        Presented(
            Method.NONE if client == "public" else Method.BASIC,
            found.id,
            secret=platform.secrets[client],
        )
    )


def exchange(
    platform: Platform, request: TokenRequest, client: str = "public"
) -> Callable[[Context], dict[str, Any]]:
    who, site = caller(platform, client), platform.site()
    return lambda ctx: service.exchange(ctx, site, who, request)


def is_alive(platform: Platform, token: str) -> bool:
    return (
        platform.uow.read_now(lambda ctx: tokens.find_access(ctx, token), actor=SYSTEM, trace=TRACE)
        is not None
    )


@every_case_on_both
@pytest.mark.parametrize("hands", [2, 4])
def test_codes_redeemed_at_one_instant_by_two_verifiers_earn_one_token_that_is_then_dead(
    both: Platform, workers: Workers, hands: int
) -> None:
    """C45; security decision 9: who intercepted the code has another verifier. At most one 200, and its tokens are dead."""
    for _ in range(effort(10, 1_000 if hands == 2 else 200)):
        code = both.code()
        request = TokenRequest(GrantType.CODE, code=code, redirect_uri=REDIRECT, verifier=VERIFIER)
        thief = replace(request, verifier="w" * 43)

        answers = workers.at_once([exchange(both, request), *[exchange(both, thief)] * (hands - 1)])

        won = [answer for answer in answers if isinstance(answer, dict)]
        lost = [answer for answer in answers if isinstance(answer, NotPermitted)]
        assert len(won) <= 1
        assert [each.code for each in lost] == ["invalid_grant"] * (hands - len(won))
        for answer in won:
            assert not is_alive(both, answer["access_token"])
            again = TokenRequest(GrantType.REFRESH, refresh_token=answer["refresh_token"])
            assert isinstance(workers.at_once([exchange(both, again)])[0], NotPermitted)


@pytest.mark.parametrize("hands", [2, 4])
def test_one_request_sent_several_times_at_one_instant_earns_one_pair_of_tokens(
    both: Platform, workers: Workers, hands: int
) -> None:
    """C45, C48; security decision 9; ADR 163: whoever is answered has the same tokens, and they live."""
    for _ in range(effort(6, 200)):
        for client in ("public", "symmetric"):
            asked = TokenRequest(
                GrantType.CODE, code=both.code(client), redirect_uri=REDIRECT, verifier=VERIFIER
            )
            for _ in range(1 if client == "public" else 2):
                answers = workers.at_once([exchange(both, asked, client)] * hands)

                won = [answer for answer in answers if isinstance(answer, dict)]
                assert len(won) == hands
                assert len({(each["access_token"], each["refresh_token"]) for each in won}) == 1
                assert is_alive(both, won[0]["access_token"])
                asked = TokenRequest(GrantType.REFRESH, refresh_token=won[0]["refresh_token"])


def test_refreshes_for_different_scopes_at_one_instant_leave_nothing_alive_but_never_two_families(
    both: Platform, workers: Workers
) -> None:
    """C48: one wins; the other is a replay, which ends the family."""
    for _ in range(effort(6, 1_000)):
        first = both.earn()
        request = TokenRequest(GrantType.REFRESH, refresh_token=first["refresh_token"])
        other = replace(request, scope="launch patient/Observation.rs")

        answers = workers.at_once([exchange(both, request), exchange(both, other)])

        won = [answer for answer in answers if isinstance(answer, dict)]
        assert len(won) == 1
        assert not is_alive(both, won[0]["access_token"])
        assert not is_alive(both, first["access_token"])


def test_a_refresh_and_a_narrowing_at_one_instant_leave_no_token_with_what_was_taken(
    both: Platform, workers: Workers
) -> None:
    """C91, C93: an app that refreshes without a pause gains nothing by it."""
    fewer = tuple(scope for scope in LAUNCH_SCOPES if scope != "patient/Observation.rs")
    for _ in range(effort(20, 300)):
        held = both.earn()["refresh_token"]
        known = both.run(partial(tokens.find_refresh, presented=held))
        assert known is not None
        agreed = known.grant.authorization

        verbs: list[Callable[[Context], Any]] = [
            exchange(both, TokenRequest(GrantType.REFRESH, refresh_token=held)),
            partial(consent.narrow, authorization=agreed, scopes=fewer),
        ]
        outcome = workers.at_once(verbs)[0]

        if isinstance(outcome, dict):
            found = both.run(partial(tokens.find_access, presented=outcome["access_token"]))
            assert found is None or "patient/Observation.rs" not in found.scopes
        both.run(partial(consent.withdraw, authorization=agreed))


def test_one_assertion_at_one_instant_is_taken_once(both: Platform, workers: Workers) -> None:
    """C52: the memory of jti is shared by all workers."""
    client, site = both.clients["backend"], both.site()
    request = TokenRequest(GrantType.CLIENT_CREDENTIALS, scope="system/*.rs")
    for n in range(effort(6, 1_000)):
        proved = Assertion(client.id, f"race-{n}", both.clock.now() + timedelta(minutes=5))
        who = Caller(Presented(Method.ASSERTION, client.id), proved, client)

        answers = workers.at_once([partial(service.exchange, site=site, caller=who, request=request)] * 3)

        assert sum(isinstance(answer, dict) for answer in answers) == 1
        assert {answer.code for answer in answers if isinstance(answer, NotPermitted)} == {"invalid_client"}


def test_keys_that_changed_between_the_route_and_the_transaction_are_not_believed(
    both: Platform, workers: Workers
) -> None:
    """C11: what was proved by a key set that is no longer the client's proves nothing."""
    client, site = both.clients["backend"], both.site()
    request = TokenRequest(GrantType.CLIENT_CREDENTIALS, scope="system/*.rs")
    proved = Assertion(client.id, "changed", both.clock.now() + timedelta(minutes=5))
    now = replace(client)
    before = replace(client, jwks=None, jwks_uri="https://app.example/jwks.json")

    def ask(proved_with: Client | None, assertion: Assertion | None = proved) -> Any:
        who = Caller(Presented(Method.ASSERTION, client.id), assertion, proved_with)
        return workers.at_once([lambda ctx: service.exchange(ctx, site, who, request)])[0]

    assert isinstance(ask(before), NotPermitted)
    assert isinstance(ask(None), NotPermitted)
    assert isinstance(ask(now, None), NotPermitted)
    assert isinstance(ask(now, replace(proved, client=both.clients["asymmetric"].id)), NotPermitted)
    assert isinstance(ask(now), dict)


def test_a_refusal_outlives_the_process_that_decided_it(both: Platform, workers: Workers) -> None:
    """C44, security decision 3: the revocation is committed when the refusal is raised."""
    code = both.code()
    body = both.redeem(code).json()
    both.clock.advance(REPEAT_WITHIN)
    replay = TokenRequest(GrantType.CODE, code=code, redirect_uri=REDIRECT, verifier=VERIFIER)

    assert isinstance(workers.at_once([exchange(both, replay)])[0], NotPermitted)

    fresh = Database(both.uow.db.url)
    other = UnitOfWork.create(fresh, both.clock, both.uow.ids, "another-process")
    found = other.read_now(
        lambda ctx: tokens.find_access(ctx, body["access_token"]), actor=SYSTEM, trace=TRACE
    )
    other.close()
    assert found is None


def test_the_store_of_jti_away_means_refusal(platform: Platform) -> None:
    """C52: store down means refusal, with a hint to come back."""
    database = platform.uow.db

    def impatient(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA busy_timeout=20")

    event.listen(database.writing, "checkout", impatient)
    assertion = platform.assertion("backend")

    with database.engine.connect() as holding:
        holding.exec_driver_sql("BEGIN IMMEDIATE")
        away = platform.backend(client_assertion=assertion)
        holding.rollback()

    refused(away, "temporarily_unavailable", 503)
    assert int(away.headers["retry-after"]) > 0
    assert platform.backend(client_assertion=assertion).status_code == 200


# --- injection and other tenants -----------------------------------------------------------------------------------------------


def test_an_injected_code_fails_on_the_verifier_of_the_victims_browser(platform: Platform) -> None:
    """RFC 9700 section 4.5: a stolen code put into another session of the same client."""
    stolen = platform.code()

    answer = platform.redeem(stolen, code_verifier="attacker-" + "x" * 43)

    refused(answer, "invalid_grant")
    refused(platform.redeem(stolen), "invalid_grant")


def test_a_code_of_one_tenant_earns_nothing_at_another_and_is_not_used_up(platform: Platform) -> None:
    """C37."""
    code = platform.code()

    refused(platform.redeem(code, tenant=OTHER), "invalid_grant")

    assert platform.redeem(code).status_code == 200


def test_a_refresh_token_of_one_tenant_earns_nothing_at_another_and_lives_on(platform: Platform) -> None:
    """C37."""
    body = platform.earn()

    refused(platform.refresh(body["refresh_token"], tenant=OTHER), "invalid_grant")

    assert platform.refresh(body["refresh_token"]).status_code == 200


def test_an_app_that_is_installed_at_both_tenants_still_may_not_carry_grants_across(
    platform: Platform,
) -> None:
    """C37, C145."""
    from hilum.apps.clients.models import ClientType

    platform.add_app("both", ClientType.PUBLIC, tenants=(MERCY, OTHER))
    code, body = platform.code("both"), platform.earn("both")

    refused(platform.redeem(code, "both", OTHER), "invalid_grant")
    refused(platform.refresh(body["refresh_token"], "both", OTHER), "invalid_grant")
    assert platform.introspect(body["access_token"], "other-resource", OTHER) == {"active": False}


@pytest.mark.parametrize(
    "scope",
    [
        "patient/*.cruds",
        "user/*.cruds",
        "system/*.cruds",
        "hilum/launch",
        "openid system/*.rs",
        "patient/*.cruds launch",
    ],
)
def test_a_scope_sent_with_a_code_widens_nothing(platform: Platform, scope: str) -> None:
    body = platform.redeem(platform.code(), scope=scope).json()

    assert body["scope"].split() == list(LAUNCH_SCOPES)


@pytest.mark.parametrize("name", ["client_secret", "Authorization"])
def test_no_answer_and_no_record_repeats_a_secret(platform: Platform, name: str) -> None:
    """C153: planted strings."""
    planted = "hil_cs_PLANTED-secret-that-must-not-appear"
    platform.secrets["symmetric"] = planted
    form: dict[str, Any] = {"client_secret": planted} if name == "client_secret" else {}
    code = platform.code("symmetric")

    answer = platform.redeem(code, "symmetric", **form)

    assert answer.status_code == 401
    assert planted not in answer.text
    records = str(platform.events("authserver.token.refuse"))
    assert "PLANTED" not in records
    assert code not in records


def test_no_secret_of_a_grant_is_recorded(platform: Platform) -> None:
    """C153."""
    code = platform.code()
    body = platform.redeem(code).json()
    platform.refresh(body["refresh_token"])
    platform.refresh(body["refresh_token"])
    platform.redeem(code)

    everything = str(platform.all_events())

    for secret in (code, VERIFIER, body["access_token"], body["refresh_token"], body["id_token"]):
        assert secret not in everything


# --- whatever is sent ----------------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=80) | st.sampled_from(
    ["authorization_code", "refresh_token", "client_credentials", "openid"]
)
NAMES = st.sampled_from(
    [
        *("grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope", "client_id"),
        *("client_secret", "client_assertion", "client_assertion_type", "token", "token_type_hint", "x"),
    ]
) | st.text(max_size=20)


@settings(
    max_examples=effort(60, 3_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    endpoint=st.sampled_from(["token", "introspect", "revoke"]),
    fields=st.dictionaries(NAMES, TEXTS, max_size=8),
    authorization=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
)
def test_no_form_earns_a_token_or_breaks_anything(
    platform: Platform, endpoint: str, fields: dict[str, str], authorization: str | None
) -> None:
    """Never a 500 for input (contract, Errors)."""
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = platform.http.post(f"/t/{MERCY}/oauth/{endpoint}", data=fields, headers=headers)

    assert answer.status_code in {400, 401, 413, 429}, answer.text
    assert set(answer.json()) == {"error", "error_description"}


@settings(
    max_examples=effort(60, 3_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=st.binary(max_size=200))
def test_no_bytes_break_anything(platform: Platform, body: bytes) -> None:
    kinds = ("application/x-www-form-urlencoded", "application/json")

    for endpoint, kind in zip(("token", "register"), kinds, strict=True):
        answer = platform.http.post(
            f"/t/{MERCY}/oauth/{endpoint}", content=body, headers={"Content-Type": kind}
        )
        assert answer.status_code in {400, 401, 413, 429}, answer.text


@pytest.mark.in_threads
def test_parallel_mixed_flows_give_no_5xx_and_mix_nothing_up(platform: Platform) -> None:
    """C58, the token endpoint's part."""
    codes = [
        (platform.code(scopes=(*LAUNCH_SCOPES[:4], "patient/Patient.rs"), patient=f"p{n}"), f"p{n}")
        for n in range(24)
    ]

    def go(pair: tuple[str, str]) -> tuple[int, str, str]:
        answer = platform.redeem(pair[0])
        return answer.status_code, answer.json().get("patient", ""), pair[1]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(go, codes))

    assert [(status, told) for status, told, _ in answers] == [(200, meant) for _, _, meant in answers]
