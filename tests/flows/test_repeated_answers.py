"""A token request whose answer may have been lost: the same request gets the same answer for ten seconds (ADR 163; security decision 9)."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from hilum.authorization.consent import service as consent
from hilum.authorization.token import service
from hilum.authorization.token.client_auth import Method, Presented
from hilum.authorization.token.policy import GrantType, TokenRequest
from hilum.authorization.token.service import Caller
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.live import TokenTable
from hilum.authorization.tokens.models import REPEAT_PAUSE, REPEAT_WITHIN
from hilum.controls.switches.models import TargetKind
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Unavailable
from tests.flows import token_flow
from tests.flows.token_flow import LAUNCH_SCOPES, TRACE, Platform, refused, running_platform
from tests.sim.tcp_proxy import TcpProxy
from tests.sim.world import FakeClock, SeededIds

platform = token_flow.platform
CLIENTS = pytest.mark.parametrize("client", ["public", "symmetric", "asymmetric"])
JUST_WITHIN = REPEAT_WITHIN - timedelta(milliseconds=1)
FEWER: dict[str, Any] = {"scope": "launch patient/Observation.rs"}


def pair(answer: Any) -> tuple[str, str]:
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"], answer.json()["refresh_token"]


def is_theft(platform: Platform) -> bool:
    """Whether anything is on record as a replay or a theft, or was revoked."""
    reasons = {event.reason for event in platform.all_events()}
    return bool(reasons & {"refresh_reused", "code_replayed"})


@CLIENTS
def test_the_same_refresh_gets_the_same_tokens_until_ten_seconds_are_over(
    platform: Platform, client: str
) -> None:
    """C48: and as often as it is sent in that time, since a repeated answer may be lost too."""
    old = platform.earn(client)["refresh_token"]
    first = platform.refresh(old, client, **FEWER)
    platform.clock.advance(timedelta(seconds=4))
    again = [platform.refresh(old, client, **FEWER)]
    platform.clock.advance(JUST_WITHIN - timedelta(seconds=4))
    again.append(platform.refresh(old, client, **FEWER))

    assert {pair(answer) for answer in again} == {pair(first)}
    assert [each.json()["scope"] for each in again] == [first.json()["scope"]] * 2
    assert first.json()["expires_in"] - again[0].json()["expires_in"] == 4
    assert not is_theft(platform)
    assert len(platform.events("tokens.access.repeat")) == 2
    assert platform.refresh(pair(first)[1], client).status_code == 200


@CLIENTS
def test_the_same_code_gets_the_same_tokens_until_ten_seconds_are_over(
    platform: Platform, client: str
) -> None:
    """C44, C45: and its id_token and launch context with them."""
    code = platform.code(client)
    first = platform.redeem(code, client)
    platform.clock.advance(JUST_WITHIN)
    again = platform.redeem(code, client)

    assert pair(again) == pair(first)
    assert (again.json()["patient"], again.json()["scope"]) == ("p1", first.json()["scope"])
    assert again.json()["id_token"]
    assert not is_theft(platform)


def test_a_code_without_a_refresh_token_is_repeated_without_one(platform: Platform) -> None:
    code = platform.code(scopes=("launch", "patient/Observation.rs"))
    first = platform.redeem(code).json()

    assert platform.redeem(code).json() == first
    assert "refresh_token" not in first


@pytest.mark.parametrize(
    "fields", [{"scope": "launch patient/Observation.rs"}, {"scope": " ".join(LAUNCH_SCOPES)}]
)
def test_a_refresh_with_other_parameters_is_a_theft_at_once(
    platform: Platform, fields: dict[str, Any]
) -> None:
    """RFC 9700 section 4.14.2: only the very same request may be one whose answer was lost."""
    old = platform.earn("symmetric")["refresh_token"]
    access, _ = pair(platform.refresh(old, "symmetric"))

    refused(platform.refresh(old, "symmetric", **fields), "invalid_grant")

    assert is_theft(platform)
    assert not platform.is_alive(access)


@pytest.mark.parametrize("fields", [{"code_verifier": "w" * 43}, {"redirect_uri": "https://app.example/b"}])
def test_an_intercepted_code_is_a_replay_at_once(platform: Platform, fields: dict[str, Any]) -> None:
    """C44, RFC 6749 section 4.1.2, RFC 7636: whoever has the code without its verifier ends what it earned."""
    code = platform.code()
    access, _ = pair(platform.redeem(code))

    refused(platform.redeem(code, **fields), "invalid_grant")

    assert is_theft(platform)
    assert not platform.is_alive(access)


def test_a_code_that_a_wrong_verifier_used_up_earns_its_owner_nothing(platform: Platform) -> None:
    """Security decision 9: there was no answer that could be repeated."""
    code = platform.code()
    refused(platform.redeem(code, code_verifier="w" * 43), "invalid_grant")

    refused(platform.redeem(code), "invalid_grant")


def test_another_client_repeats_nothing(platform: Platform) -> None:
    """C37, C50: and ends nothing."""
    old = platform.earn("symmetric")["refresh_token"]
    access, _ = pair(platform.refresh(old, "symmetric"))

    refused(platform.refresh(old, "asymmetric"), "invalid_grant")
    refused(platform.refresh(old), "invalid_grant")

    assert not is_theft(platform)
    assert platform.is_alive(access)


def test_once_the_new_refresh_token_is_used_the_old_one_is_stolen(platform: Platform) -> None:
    """RFC 9700 section 4.14.2: the answer has arrived."""
    old = platform.earn("symmetric")["refresh_token"]
    _, new = pair(platform.refresh(old, "symmetric"))
    access, _ = pair(platform.refresh(new, "symmetric"))

    refused(platform.refresh(old, "symmetric"), "invalid_grant")

    assert is_theft(platform)
    assert not platform.is_alive(access)


@pytest.mark.parametrize("kind", ["refresh", "code"])
def test_once_the_gateway_has_seen_the_new_access_token_a_repeat_is_a_replay(
    platform: Platform, kind: str
) -> None:
    """RFC 9700 section 4.14.2: the answer has arrived."""
    if kind == "code":
        ask = partial(platform.redeem, platform.code("symmetric"), "symmetric")
    else:
        ask = partial(platform.refresh, platform.earn("symmetric")["refresh_token"], "symmetric")
    access, _ = pair(ask())

    async def use() -> None:
        noted = asyncio.Event()

        async def write(verb: Any, *, trace: Trace) -> None:
            await platform.uow.write(verb, trace=trace)
            noted.set()

        await TokenTable(platform.uow.reads, write).get(access)
        await noted.wait()

    asyncio.run(use())

    refused(ask(), "invalid_grant")
    assert is_theft(platform)
    assert not platform.is_alive(access)


def test_a_thief_beside_a_public_client_is_found_at_the_second_repeat_of_a_day(platform: Platform) -> None:
    """RFC 9700 section 4.14.2: who presents each token within ten seconds of its owner would else never be noticed."""
    first = platform.earn()["refresh_token"]
    _, second = pair(platform.refresh(first))
    assert pair(platform.refresh(first))[1] == second
    platform.clock.advance(REPEAT_PAUSE - timedelta(seconds=1))
    access, _ = pair(platform.refresh(second))

    refused(platform.refresh(second), "invalid_grant")

    assert is_theft(platform)
    assert not platform.is_alive(access)


def test_a_client_with_credentials_repeats_as_often_as_answers_are_lost(platform: Platform) -> None:
    """ADR 163: and a public one again after a day."""
    for client, pause in (("symmetric", timedelta(0)), ("public", REPEAT_PAUSE)):
        token = platform.earn(client)["refresh_token"]
        for _ in range(3):
            _, new = pair(platform.refresh(token, client))
            assert pair(platform.refresh(token, client))[1] == new
            token = new
            platform.clock.advance(pause + timedelta(seconds=1))
    assert not is_theft(platform)


@pytest.mark.parametrize("what", ["switch", "withdrawn", "revoked"])
def test_what_ended_since_is_judged_again_and_is_no_theft(platform: Platform, what: str) -> None:
    """C82, C91, C54: kill switches, agreements and revocation."""
    old = platform.earn("symmetric")["refresh_token"]
    _, new = pair(platform.refresh(old, "symmetric"))
    if what == "switch":
        platform.engage(TargetKind.APP, platform.clients["symmetric"].app)
    elif what == "revoked":
        platform.post("revoke", "symmetric", {"token": new})
    else:
        held = platform.run(partial(tokens.find_refresh, presented=new))
        assert held is not None
        platform.run(partial(consent.withdraw, authorization=held.grant.authorization))

    refused(platform.refresh(old, "symmetric"), "invalid_grant")

    assert not is_theft(platform)


# --- a commit whose answer is lost ---------------------------------------------------------------------------------------------


@pytest.fixture
def on_postgres(postgres_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[Platform]:
    uow = UnitOfWork.create(Database(postgres_url), clock, ids, "test-writer")
    with running_platform(uow, clock) as made:
        yield made
    uow.close()


@pytest.mark.parametrize("kind", ["refresh", "code"])
def test_a_commit_whose_answer_is_lost_costs_no_client_its_access(on_postgres: Platform, kind: str) -> None:
    """ADR 163: committed, its answer lost, the client told 503 and, as that asks, back with the same request."""
    platform = on_postgres
    if kind == "code":
        code = platform.code("symmetric")
        request = TokenRequest(
            GrantType.CODE, code=code, redirect_uri=token_flow.REDIRECT, verifier=token_flow.VERIFIER
        )
        used = "SELECT count(*) FROM authorization_code WHERE used_at IS NOT NULL"
    else:
        request = TokenRequest(GrantType.REFRESH, refresh_token=platform.earn("symmetric")["refresh_token"])
        used = "SELECT count(*) FROM refresh_token WHERE used_at IS NOT NULL"
    presented = Presented(
        Method.BASIC, platform.clients["symmetric"].id, secret=platform.secrets["symmetric"]
    )
    verb = partial(service.exchange, site=platform.site(), caller=Caller(presented), request=request)
    url = platform.uow.db.url
    port = int(psycopg.conninfo.conninfo_to_dict(url)["port"] or 0)

    async def story(node: UnitOfWork, proxy: TcpProxy, db: psycopg.Connection[Any]) -> Any:
        before = db.execute(used).fetchone()

        def unanswered(ctx: Context) -> Any:
            body = verb(ctx)
            proxy.freeze(requests=False)
            return body

        lost = asyncio.create_task(node.write(unanswered, trace=TRACE))
        async with asyncio.timeout(60):
            while db.execute(used).fetchone() == before:
                await asyncio.sleep(0.01)
        proxy.cut()
        proxy.thaw()
        with pytest.raises(Unavailable):
            await lost
        return await node.write(verb, trace=TRACE)

    with TcpProxy(port) as proxy, psycopg.connect(url, autocommit=True) as db:
        node = UnitOfWork.create(Database(proxy.url(url)), platform.clock, platform.uow.ids, "node-b")
        body = asyncio.run(story(node, proxy, db))
        node.close()

    assert platform.is_alive(body["access_token"])
    assert not is_theft(platform)
    assert platform.refresh(body["refresh_token"], "symmetric").status_code == 200
