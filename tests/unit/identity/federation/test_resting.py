"""What a provider that is down costs: nobody waits in line for one timeout after another."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import orjson
import pytest

from hilum.foundation.infra.fetch import Fetched
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.federation import live
from hilum.identity.federation.live import Providers
from hilum.identity.federation.models import Fault, Metadata, Provider, Settings, Unreached
from hilum.records.keys.live import Vault
from tests.conftest import SECRET_KEY
from tests.sim.world import FakeClock, SeededIds

ISSUER = "https://login.hospital.example"
SETTINGS = Settings("General", ISSUER, "hilum")
ALLOWED = frozenset({ISSUER})
METADATA = Metadata(ISSUER, f"{ISSUER}/a", f"{ISSUER}/t", f"{ISSUER}/k", f"{ISSUER}/end")
Ask = Callable[[Providers], Awaitable[object]]


class Slow:
    """A provider whose answers take as long as ``takes``; without ``body`` none comes."""

    def __init__(self, clock: FakeClock, takes: timedelta, body: bytes = b"") -> None:
        self.clock, self.takes, self.body = clock, takes, body
        self.asked = 0

    async def get(self, url: str, *, accept: str = "application/json") -> Fetched:
        self.asked += 1
        await asyncio.sleep(0)
        self.clock.advance(self.takes)
        if not self.body:
            raise Unavailable("unreachable", "It does not answer.")
        return Fetched(200, {}, self.body)

    async def exchange(self, url: str, body: bytes, headers: object) -> Fetched:
        raise NotImplementedError

    async def look(self, url: str, *, accept: str = "text/html") -> Fetched:
        raise NotImplementedError


def metadata(providers: Providers) -> Awaitable[object]:
    return providers.metadata(SETTINGS, ALLOWED)


def keys(providers: Providers) -> Awaitable[object]:
    return providers.keys(SETTINGS, METADATA, "rsa")


async def outcomes(providers: Providers, ask: Ask, count: int) -> list[object]:
    return await asyncio.gather(*(ask(providers) for _ in range(count)), return_exceptions=True)


@pytest.mark.parametrize("ask", [metadata, keys])
def test_of_many_who_come_at_once_one_waits_for_a_provider_that_is_down(ask: Ask) -> None:
    """Its rest begins when it failed: the timeout is as long as the rest."""
    clock = FakeClock()
    slow = Slow(clock, live.BACKOFF + timedelta(seconds=1))
    providers = Providers(slow, clock, Vault(SECRET_KEY))

    found = asyncio.run(outcomes(providers, ask, 40))

    assert all(isinstance(each, Unreached) for each in found)
    assert slow.asked == 1
    clock.advance(live.BACKOFF)
    asyncio.run(outcomes(providers, ask, 1))
    assert slow.asked == 2


def test_a_key_that_is_not_found_at_a_provider_that_is_down_rests_too() -> None:
    """Whoever sends tokens with unknown keys must not make each of them wait for a timeout."""
    clock = FakeClock()
    slow = Slow(clock, timedelta(0), b'{"keys":[]}')
    providers = Providers(slow, clock, Vault(SECRET_KEY))
    asyncio.run(outcomes(providers, keys, 1))
    clock.advance(live.REFETCH_INTERVAL)
    slow.body, slow.takes = b"", timedelta(seconds=6)

    assert all(isinstance(each, Unreached) for each in asyncio.run(outcomes(providers, keys, 20)))
    assert slow.asked == 2


def test_more_than_the_bound_do_not_wait_for_one_provider() -> None:
    clock = FakeClock()
    body = orjson.dumps(
        {
            "issuer": ISSUER,
            "authorization_endpoint": METADATA.authorization_endpoint,
            "token_endpoint": METADATA.token_endpoint,
            "jwks_uri": METADATA.jwks_uri,
        }
    )
    providers = Providers(Slow(clock, timedelta(seconds=1), body), clock, Vault(SECRET_KEY))

    found = asyncio.run(outcomes(providers, metadata, live.QUEUE_BOUND + 7))

    assert sum(isinstance(each, Unreached) for each in found) == 7
    assert sum(isinstance(each, Metadata) for each in found) == live.QUEUE_BOUND
    assert all(isinstance(each, Metadata) for each in asyncio.run(outcomes(providers, metadata, 5)))


def test_the_sign_out_page_asks_nothing_of_a_provider() -> None:
    """Whoever wants to leave does not wait for a provider that is down."""
    clock = FakeClock()
    slow = Slow(clock, timedelta(0))
    providers = Providers(slow, clock, Vault(SECRET_KEY))

    assert providers.cached_metadata(SETTINGS, ALLOWED) is None
    assert slow.asked == 0


class Held(Slow):
    """A provider whose token endpoint answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(FakeClock(), timedelta(0))
        self.go = asyncio.Event()
        self.at_once = self.most = 0

    async def exchange(self, url: str, body: bytes, headers: object) -> Fetched:
        self.asked += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.go.wait()
        self.at_once -= 1
        return Fetched(400, {}, b'{"error":"invalid_grant"}')


def test_one_network_takes_its_share_of_a_providers_token_endpoint_and_no_more() -> None:
    """ADR 28: while one network sends codes that it made up, people of others reach their hospital's provider."""
    held, vault = Held(), Vault(SECRET_KEY)
    providers = Providers(held, held.clock, vault)
    sealed = live.seal_secret(vault, "secret", ISSUER, SeededIds())
    provider = Provider("idp_1", TenantId("general"), SETTINGS, sealed, 1, held.clock.now(), "")

    async def ask(source: str) -> object:
        try:
            return (await providers.ask_token(provider, METADATA, {"code": "x"}, source)).status
        except Unreached as error:
            return error.fault

    async def play() -> tuple[list[object], list[object]]:
        flood = [asyncio.create_task(ask(f"2001:db8::{n:x}")) for n in range(150)]
        people = [asyncio.create_task(ask(f"198.51.100.{n}")) for n in range(40)]
        for _ in range(10):
            await asyncio.sleep(0)
        held.go.set()
        return await asyncio.gather(*flood), await asyncio.gather(*people)

    flood, people = asyncio.run(play())

    assert people == [400] * 40
    assert flood.count(400) == live.SHARES.network_slots + live.SHARES.network_waiting
    assert flood.count(Fault.PROVIDER_UNREACHABLE) == 150 - flood.count(400)
    assert held.most == live.SHARES.slots
