"""Key sets in memory and the limit on failures, without a network or a database (C10, C11, C57)."""

import asyncio
from datetime import timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.authorization.token.failure_limiter import (
    FAILURES_BOUND,
    PAIRS_BOUND,
    Failures,
)
from hilum.authorization.token.keysets import (
    FETCHES_PER_WINDOW,
    KID_BOUND,
    LONGEST_LIFE,
    REFETCHES_PER_WINDOW,
    SETS_BOUND,
    KeySets,
    life_of,
    read_set,
)
from hilum.foundation.infra.fetch import Fetched
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.strangers import (
    AGGREGATES_BOUND,
    RECORDED_BOUND,
    WINDOW_S,
    AggregatedRefusals,
)
from tests.sim.world import FakeClock


class Host:
    """An outsider's host, by what it would answer."""

    def __init__(self, *kids: str, control: str = "max-age=600") -> None:
        self.kids, self.control, self.asked, self.down = list(kids), control, 0, False

    async def get(self, url: str, *, accept: str = "") -> Fetched:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("fetch_failed", "Down.")
        keys = [{"kid": kid, "kty": "RSA", "n": "AQ", "e": "AQAB"} for kid in self.kids]
        return Fetched(200, {"cache-control": self.control}, orjson.dumps({"keys": keys}))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 300),
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": 'public, max-age="60"'}, 60),
        ({"cache-control": "MAX-AGE=60"}, 60),
        ({"cache-control": "max-age=60", "age": "50"}, 10),
        ({"cache-control": "max-age=60", "age": "90"}, 0),
        ({"cache-control": "max-age=60", "age": "x"}, 60),
        ({"cache-control": "max-age=99999999999999"}, 3600),
        ({"cache-control": "max-age=-5"}, 300),
        ({"cache-control": "no-store, max-age=60"}, 0),
        ({"cache-control": "no-cache"}, 0),
        ({"cache-control": "s-maxage=9, private"}, 300),
    ],
)
def test_a_set_is_kept_as_long_as_its_host_says_and_no_longer_than_an_hour(
    headers: dict[str, str], seconds: int
) -> None:
    """C10; RFC 9111 section 5.2.2."""
    assert life_of(headers) == timedelta(seconds=seconds)


@given(st.text(max_size=60), st.text(max_size=12))
def test_no_header_makes_a_life_out_of_bounds(control: str, age: str) -> None:
    assert timedelta(0) <= life_of({"cache-control": control, "age": age}) <= LONGEST_LIFE


def test_askers_at_once_make_one_fetch() -> None:
    host, clock = Host("a"), FakeClock()
    sets = KeySets(host, clock)

    async def ask() -> None:
        await asyncio.gather(*(sets.get("https://app.example/jwks", "a") for _ in range(20)))

    asyncio.run(ask())

    assert host.asked == 1


def test_an_unknown_kid_looks_again_a_few_times_a_minute_only() -> None:
    """C11."""
    host, clock = Host("a"), FakeClock()
    sets = KeySets(host, clock)

    async def ask(times: int) -> None:
        for _ in range(times):
            await sets.get("https://app.example/jwks", "unknown")

    asyncio.run(ask(30))
    assert host.asked == 1 + REFETCHES_PER_WINDOW
    clock.advance(timedelta(minutes=1))
    asyncio.run(ask(30))
    assert host.asked == 1 + 2 * REFETCHES_PER_WINDOW


def test_a_host_that_forbids_caching_is_still_asked_only_so_often() -> None:
    host, clock = Host("a", control="no-store"), FakeClock()
    sets = KeySets(host, clock)

    async def ask() -> int:
        refused = 0
        for _ in range(FETCHES_PER_WINDOW + 5):
            try:
                await sets.get("https://app.example/jwks", "a")
            except Unavailable:
                refused += 1
        return refused

    assert asyncio.run(ask()) == 5
    assert host.asked == FETCHES_PER_WINDOW


def test_a_failing_host_leaves_no_stale_keys_in_force() -> None:
    """C10: a fetch failure never opens access."""
    host, clock = Host("a"), FakeClock()
    sets = KeySets(host, clock)

    async def ask() -> object:
        return (await sets.get("https://app.example/jwks", "a")).jwks

    assert asyncio.run(ask())
    host.down = True
    clock.advance(timedelta(seconds=600))

    with pytest.raises(Unavailable):
        asyncio.run(ask())


@pytest.mark.parametrize("kid", ["k" * (KID_BOUND + 1), ["k" * KID_BOUND], {"k": "k" * KID_BOUND}])
def test_a_host_cannot_fill_the_memory_with_names_of_keys(kid: object) -> None:
    """House rule 15: every cache has a bound; the names of past keys are remembered (C11), and stand on record."""
    answer = Fetched(200, {}, orjson.dumps({"keys": [{"kid": kid, "kty": "EC"}, {"kid": "a", "kty": "EC"}]}))

    assert read_set(answer) == {"keys": [{"kid": "a", "kty": "EC"}]}


def test_no_more_sets_are_kept_than_the_bound() -> None:
    host, clock = Host("a"), FakeClock()
    sets = KeySets(host, clock)

    async def ask() -> None:
        for n in range(SETS_BOUND + 10):
            await sets.get(f"https://app{n}.example/jwks", "a")
        await sets.get("https://app0.example/jwks", "a")

    asyncio.run(ask())

    assert host.asked == SETS_BOUND + 11


def test_failures_count_for_one_pair_and_a_success_begins_again() -> None:
    """C57."""
    clock = FakeClock()
    failures = Failures(clock)

    for _ in range(FAILURES_BOUND - 1):
        failures.failed("a", "192.0.2.1")
    assert failures.wait_s("a", "192.0.2.1") == 0
    failures.succeeded("a", "192.0.2.1")
    for _ in range(FAILURES_BOUND):
        failures.failed("a", "192.0.2.1")

    assert failures.wait_s("a", "192.0.2.1") == WINDOW_S
    assert failures.wait_s("a", "192.0.2.2") == failures.wait_s("b", "192.0.2.1") == 0
    clock.advance(timedelta(seconds=WINDOW_S))
    assert failures.wait_s("a", "192.0.2.1") == 0
    failures.failed("a", "192.0.2.1")
    assert failures.wait_s("a", "192.0.2.1") == 0


def test_whoever_has_a_whole_network_of_addresses_is_one_address() -> None:
    """C57; security decision 5: one subscriber's /64 has more addresses than any count of failures or records."""
    failures, folds = Failures(FakeClock()), AggregatedRefusals()

    for n in range(FAILURES_BOUND):
        failures.failed("app", f"2001:db8:0:1::{n:x}")
        folds.add("mercy", f"2001:db8:0:1::{n:x}", 0)

    assert failures.wait_s("app", "2001:db8:0:1::ffff") > 0
    assert not failures.is_recorded("2001:db8:0:1::ffff")
    assert failures.wait_s("app", "2001:db8:0:2::1") == 0
    assert folds.take() == [("mercy", "2001:db8:0:1::/64", FAILURES_BOUND)]


def test_the_memory_of_failures_is_bounded() -> None:
    failures = Failures(FakeClock())

    for n in range(PAIRS_BOUND + 500):
        failures.failed(f"client-{n}", "192.0.2.1")

    assert len(failures._pairs) == PAIRS_BOUND


def test_an_address_gets_records_until_it_was_refused_often() -> None:
    """Security decision 5."""
    clock = FakeClock()
    failures = Failures(clock)

    for n in range(RECORDED_BOUND):
        assert failures.is_recorded("192.0.2.1")
        failures.failed(f"client-{n}", "192.0.2.1")

    assert not failures.is_recorded("192.0.2.1")
    assert failures.is_recorded("192.0.2.2")
    clock.advance(timedelta(seconds=WINDOW_S))
    assert failures.is_recorded("192.0.2.1")


def test_what_is_counted_is_counted_by_tenant_and_address_and_taken_once() -> None:
    """Security decision 5."""
    folds = AggregatedRefusals()
    assert not folds.are_due(0)
    for tenant, source in (("a", "s1"), ("a", "s1"), ("b", "s1"), ("a", "s2")):
        folds.add(tenant, source, 1.0)

    assert not folds.are_due(WINDOW_S)
    assert folds.are_due(1.0 + WINDOW_S)
    assert sorted(folds.take()) == [("a", "s1", 2), ("a", "s2", 1), ("b", "s1", 1)]
    assert folds.take() == []
    assert not folds.are_due(1.0 + WINDOW_S)


def test_counting_is_bounded_and_loses_nothing() -> None:
    folds = AggregatedRefusals()

    for n in range(AGGREGATES_BOUND + 500):
        folds.add("a", f"s{n}", 0)
        folds.add(f"t{n}", "s", 0)

    taken = folds.take()
    assert len(taken) <= AGGREGATES_BOUND + 1
    assert sum(count for _, _, count in taken) == 2 * (AGGREGATES_BOUND + 500)
