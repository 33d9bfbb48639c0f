"""A FHIR server that wants access tokens, a certificate, or more headers (C70, K20): tried against Authlib's authorization server."""

import asyncio
import ssl
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.system import SystemClock
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Invalid, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream import policy
from hilum.gateway.upstream.access import TokenRefused, asserts_by, open_secrets, seal_secrets
from hilum.gateway.upstream.live import Upstreams
from hilum.gateway.upstream.models import UpstreamRequest
from hilum.identity.people.models import (
    MovedReads,
    TenantFacts,
    TokenAuth,
    UpstreamKind,
    UpstreamRef,
    UpstreamSecrets,
)
from hilum.records.audit.models import Recorded
from hilum.records.keys import service as keys
from hilum.records.keys.live import vault
from hilum.records.keys.models import Purpose
from tests.sim.tls_host import Authority
from tests.sim.token_server import CLIENT, TokenServer, served
from tests.sim.world import SeededIds

LAKESIDE = TenantId("lakeside")
READ = UpstreamRequest("GET", "Patient/1", (("accept", "application/fhir+json"),))


def tenant(server: TokenServer, auth: TokenAuth | None, secret: str = "", **more: Any) -> TenantFacts:
    """Return the hospital of a server, by which Hilum authenticates in a way."""
    named = {"token_auth": auth, "token_url": server.token_url, "client_id": CLIENT, "scope": "system/*.rs"}
    secrets = UpstreamSecrets(
        client_secret=secret, **{each: more.pop(each) for each in ("headers", "key") if each in more}
    )
    upstream = UpstreamRef(UpstreamKind.HTTP, server.base, **(named if auth else {}) | more)
    upstream = replace(upstream, credentials_sealed=seal_secrets(vault(), secrets, upstream, SeededIds()))
    return TenantFacts(LAKESIDE, upstream, MovedReads.REFUSE, active=True)


def statuses(sender: Upstreams, there: TenantFacts, times: int = 1) -> Coroutine[Any, Any, list[int]]:
    async def work() -> list[int]:
        answers = await asyncio.gather(*(sender.send(there, READ) for _ in range(times)))
        return [each.status for each in answers]

    return work()


def playing(story: Any, **more: Any) -> None:
    async def main() -> None:
        sender = Upstreams(vault(), lambda _: None, timedelta(seconds=5), **more)
        try:
            await story(sender)
        finally:
            await sender.close()

    asyncio.run(main())


@pytest.mark.parametrize("auth", [TokenAuth.BASIC, TokenAuth.POST])
def test_a_token_is_asked_for_once_however_many_requests_wait(auth: TokenAuth) -> None:
    with served(TokenServer(delay_s=0.1)) as server:
        there = tenant(server, auth, server.secret)

        async def story(sender: Upstreams) -> None:
            assert await statuses(sender, there, 20) == [200] * 20
            assert await statuses(sender, there) == [200]

        playing(story)
        assert [(each["grant_type"], each["scope"]) for each in server.forms] == [
            ("client_credentials", "system/*.rs")
        ]
        assert {each["authorization"] for each in server.seen} == {"Bearer token-1"}


def test_it_authenticates_with_a_key_of_the_hospital_alone(sqlite_uow: UnitOfWork) -> None:
    """SMART 2.2, client-confidential-asymmetric: RS384, its kid, issuer and audience, once only and for five minutes at most."""
    ask = partial(sqlite_uow.write_now, actor=SYSTEM, trace=Trace("req_test"))
    for ring in (LAKESIDE, "clinic"):
        ask(partial(keys.ensure, purpose=Purpose.UPSTREAM, ring=ring))
    jwks = {
        ring: ask(partial(keys.public_jwks, purpose=Purpose.UPSTREAM, ring=ring))
        for ring in (LAKESIDE, "clinic")
    }
    assert [each["alg"] for each in jwks[LAKESIDE]["keys"]] == ["RS384"]
    with served(TokenServer(jwks=jwks[LAKESIDE])) as server:
        there = tenant(server, TokenAuth.KEY)

        async def story(sender: Upstreams) -> None:
            assert await statuses(sender, there) == [200]
            server.jwks = jwks["clinic"]
            other = replace(there, upstream=replace(there.upstream, scope="system/Patient.rs"))
            with pytest.raises(TokenRefused):
                await sender.send(other, READ)

        # Authlib judges the assertion by its own clock, the real one.
        playing(story, client_assertion=asserts_by(replace(sqlite_uow, clock=SystemClock())))
        assert [sorted(each) for each in server.forms[:1]] == [
            ["client_assertion", "client_assertion_type", "grant_type", "scope"]
        ]
        assert len(server.jtis) == 1


def test_it_is_renewed_before_it_ends_and_no_request_waits_for_that() -> None:
    with served(TokenServer(life_s=2)) as server:
        there = tenant(server, TokenAuth.POST, server.secret)

        async def story(sender: Upstreams) -> None:
            await sender.send(there, READ)
            server.delay_s = 0.2
            await asyncio.sleep(1.55)
            loop = asyncio.get_running_loop()
            before = loop.time()
            assert await statuses(sender, there) == [200]
            assert loop.time() - before < 0.2
            await asyncio.sleep(0.4)
            assert await statuses(sender, there) == [200]

        playing(story)
        assert (len(server.forms), server.seen[-1]["authorization"]) == (2, "Bearer token-2")


def test_one_that_its_server_no_longer_accepts_is_asked_for_anew_and_only_a_read_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hilum.gateway.upstream.access.RETRY_S", 0.0)
    with served(TokenServer()) as server:
        there = tenant(server, TokenAuth.POST, server.secret)

        async def story(sender: Upstreams) -> None:
            await sender.send(there, READ)
            server.given.clear()
            assert await statuses(sender, there) == [200]
            server.given.clear()
            write = UpstreamRequest("PUT", "Patient/1", (), b"{}")
            assert (await sender.write(there, write, Recorded("req_1"))).status == 401
            assert (await sender.write(there, write, Recorded("req_2"))).status == 200

        playing(story)
        assert len(server.forms) == 3


def test_a_server_that_accepts_no_token_does_not_make_its_token_endpoint_busy() -> None:
    with served(TokenServer(answer={"access_token": "no", "token_type": "Bearer"})) as server:
        there = tenant(server, TokenAuth.POST, server.secret)

        async def story(sender: Upstreams) -> None:
            assert await statuses(sender, there, 10) == [401] * 10
            assert await statuses(sender, there, 10) == [401] * 10

        playing(story)
        assert len(server.forms) == 1


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"status": 401}, "answers 401 invalid_client"),
        ({"status": 500}, "answers 500"),
        ({"status": 302}, "answers 302"),
        ({"answer": {}}, "another type"),
        ({"answer": {"access_token": "t", "token_type": "mac"}}, "another type"),
        ({"answer": {"access_token": "", "token_type": "bearer"}}, "no access token"),
        ({"answer": {"access_token": "a\r\nx: y", "token_type": "bearer"}}, "no access token"),
        ({"secret": "another"}, "answers 401 invalid_client"),
    ],
)
def test_a_token_endpoint_that_gives_none_is_not_asked_again_at_once(
    how: dict[str, Any], reason: str
) -> None:
    """An app learns neither the reason nor what the endpoint says; the host learns the reason."""
    with served(TokenServer(**{name: value for name, value in how.items() if name != "secret"})) as server:
        there = tenant(server, TokenAuth.POST, how.get("secret", server.secret))

        async def story(sender: Upstreams) -> None:
            for _ in range(2):
                with pytest.raises(TokenRefused) as caught:
                    await sender.send(there, READ)
                assert reason in caught.value.reason
                assert "Jane" not in caught.value.reason + str(caught.value)

        playing(story)
        assert (len(server.forms), server.seen) == (1, [])


def test_a_token_endpoint_that_is_down_makes_the_server_unreachable() -> None:
    with served(TokenServer()) as server:
        there = tenant(server, TokenAuth.POST, server.secret)

    async def story(sender: Upstreams) -> None:
        with pytest.raises(Unavailable) as caught:
            await sender.send(there, READ)
        assert caught.value.code == "upstream_unavailable"

    playing(story)


def test_a_token_in_force_outlives_its_endpoint() -> None:
    """Until it ends, requests go on."""
    with served(TokenServer(life_s=2)) as server:
        there = tenant(server, TokenAuth.POST, server.secret)

        async def story(sender: Upstreams) -> None:
            await sender.send(there, READ)
            server.status = 503
            await asyncio.sleep(1.55)
            assert await statuses(sender, there, 5) == [200] * 5
            await asyncio.sleep(0.3)
            with pytest.raises(TokenRefused):
                await sender.send(there, READ)

        playing(story)


def test_a_secret_is_sent_to_no_other_token_endpoint() -> None:
    """Security decision 15: bound to the host of the server and to the token endpoint."""
    with served(TokenServer()) as server:
        there = tenant(server, TokenAuth.POST, server.secret)
        moved = replace(there.upstream, token_url=server.base + "/mine")
        with pytest.raises(Invalid):
            open_secrets(vault(), moved)

        async def story(sender: Upstreams) -> None:
            with pytest.raises(Unavailable):
                await sender.send(replace(there, upstream=moved), READ)

        playing(story)
        assert server.forms == []


def test_other_headers_that_a_server_wants_are_on_each_request() -> None:
    with served(TokenServer()) as server:
        there = tenant(server, TokenAuth.POST, server.secret, headers={"Subscription-Key": "k3y"})
        playing(lambda sender: statuses(sender, there))
        assert server.seen[0]["subscription-key"] == "k3y"


def test_a_private_authority_and_a_client_certificate(authority: Authority) -> None:
    """Mutual TLS: without the authority nothing is sent, without the certificate the server lets nobody in."""
    tls = authority.server("localhost")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.file)
    trusted = authority.file.read_text()
    certificate, key = authority.client_certificate("hilum")
    with served(TokenServer(), tls) as server:
        full = {"authorities": trusted, "certificate": certificate, "key": key}

        async def story(sender: Upstreams) -> None:
            assert await statuses(sender, tenant(server, TokenAuth.POST, server.secret, **full)) == [200]
            for less in ({}, {"authorities": trusted}):
                with pytest.raises(Unavailable):
                    await sender.send(tenant(server, TokenAuth.POST, server.secret, **less), READ)

        playing(story)


@pytest.mark.parametrize(
    "change",
    [
        {"key": ""},
        {"key": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"},
        {"certificate": "x"},
        {"authorities": "x"},
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused_when_it_is_set(
    authority: Authority, change: dict[str, str]
) -> None:
    certificate, key = authority.client_certificate("hilum")
    given = {"certificate": certificate, "key": key} | change
    upstream = UpstreamRef(
        UpstreamKind.HTTP,
        "https://a.example",
        certificate=given["certificate"],
        authorities=given.get("authorities", ""),
    )
    with pytest.raises(Invalid):
        seal_secrets(vault(), UpstreamSecrets(key=given["key"]), upstream, SeededIds())


@pytest.mark.parametrize(
    ("expires_in", "times"),
    [
        (3600, (3540.0, 3595.0)),
        (100, (75.0, 95.0)),
        (10, (7.5, 9.0)),
        (None, (240.0, 295.0)),
        (0, (240.0, 295.0)),
        (-5, (240.0, 295.0)),
        ("3600", (240.0, 295.0)),
        (True, (240.0, 295.0)),
        (10**9, (86_340.0, 86_395.0)),
    ],
)
def test_when_a_token_is_renewed(expires_in: object, times: tuple[float, float]) -> None:
    assert policy.token_times(expires_in) == times
