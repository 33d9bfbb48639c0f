"""Quotas and token buckets (C129, C130, C147)."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.controls.switches import policy
from hilum.controls.switches.live import Buckets
from hilum.controls.switches.models import Quota, QuotaLevel
from tests.effort import effort
from tests.sim.world import FakeClock

KEY = ("app_1", "general")
TEN = Quota(rate_per_s=1.0, burst=10)


def test_a_full_bucket_lets_its_burst_through_and_then_says_when_to_come_again() -> None:
    """C130."""
    buckets = Buckets(FakeClock())

    answers = [buckets.spend(KEY, TEN) for _ in range(11)]

    assert [each.allowed for each in answers] == [True] * 10 + [False]
    assert [each.remaining for each in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert answers[-1].retry_after_s == pytest.approx(1.0)
    assert {each.limit for each in answers} == {10}


def test_a_refused_request_costs_nothing_and_time_refills_up_to_the_burst() -> None:
    clock = FakeClock()
    buckets = Buckets(clock)
    assert buckets.spend(KEY, TEN, cost=9).allowed
    assert not buckets.spend(KEY, TEN, cost=2).allowed
    assert buckets.spend(KEY, TEN, cost=1).allowed

    clock.advance(timedelta(seconds=3))
    assert buckets.spend(KEY, TEN, cost=3).allowed
    assert not buckets.spend(KEY, TEN).allowed
    clock.advance(timedelta(days=1))

    assert buckets.spend(KEY, TEN, cost=10).allowed


def test_what_costs_more_than_the_bucket_holds_takes_all_of_it() -> None:
    """C131: with many workers a share may hold one, and an expensive search would never pass."""
    clock = FakeClock()
    buckets = Buckets(clock)
    assert buckets.spend(KEY, TEN, cost=99).allowed
    clock.advance(timedelta(seconds=9))
    assert not buckets.spend(KEY, TEN, cost=99).allowed
    clock.advance(timedelta(seconds=1))
    assert buckets.spend(KEY, TEN, cost=99).allowed
    assert Buckets(clock, workers=lambda: 40).spend(KEY, TEN, cost=99).allowed


def test_one_app_at_one_tenant_spends_from_no_other_bucket() -> None:
    """C129, C144."""
    buckets = Buckets(FakeClock())
    assert buckets.spend(KEY, TEN, cost=10).allowed

    assert not buckets.spend(KEY, TEN).allowed
    assert buckets.spend(("app_1", "children"), TEN, cost=10).allowed
    assert buckets.spend(("app_2", "general"), TEN, cost=10).allowed


@pytest.mark.parametrize(
    ("quotas", "passed"),
    [
        ([(1, 10), (1, 2)], [10, 0]),
        ([(1, 3), (20, 100)], [3, 97]),
        ([(1, 100), (1, 1), (1, 100)], [100, 0, 0]),
        ([(1, 4), (1, 50), (1, 4), (1, 50)], [4, 46, 0, 0]),
        ([(5, 10), (1, 10)], [10, 0]),
    ],
)
def test_a_changed_quota_is_in_force_at_once_less_what_is_spent(
    quotas: list[tuple[float, int]], passed: list[int]
) -> None:
    """C129: what goes through at one moment is the widest burst at most, however often the limits change."""
    buckets = Buckets(FakeClock())

    found = [sum(buckets.spend(KEY, Quota(*each)).allowed for _ in range(150)) for each in quotas]

    assert found == passed


def test_a_share_that_grows_because_a_worker_left_gives_no_present() -> None:
    """C130: the worker that left may have spent its share."""
    workers = [2]
    buckets = Buckets(FakeClock(), workers=lambda: workers[0])
    assert sum(buckets.spend(KEY, TEN).allowed for _ in range(20)) == 5

    workers[0] = 1

    assert not buckets.spend(KEY, TEN).allowed
    assert sum(buckets.spend(KEY, Quota(1.0, 30)).allowed for _ in range(40)) == 20, "only what is new"


def test_at_its_bound_a_bucket_is_forgotten_only_once_it_is_full_again() -> None:
    clock = FakeClock()
    buckets = Buckets(clock, bound=2)
    assert buckets.spend(("a", "t"), TEN, cost=10).allowed
    assert buckets.spend(("b", "t"), TEN, cost=10).allowed

    refused = buckets.spend(("c", "t"), TEN)
    clock.advance(timedelta(seconds=10))
    allowed = buckets.spend(("c", "t"), TEN)

    assert (refused.allowed, allowed.allowed) == (False, True)
    assert refused.retry_after_s == pytest.approx(10.0)
    assert len(buckets) == 2


steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]),
        st.integers(1, 6),
        st.sampled_from([0.0, 0.01, 0.5, 1.0, 7.0]),
    ),
    max_size=120,
)


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(steps, st.integers(1, 12), st.sampled_from([0.3, 1.0, 5.0]), st.integers(1, 4))
def test_no_key_ever_spends_more_than_burst_and_rate_times_time(
    taken: list[tuple[str, int, float]], burst: int, rate: float, bound: int
) -> None:
    """House rule 12: quota never exceeds burst + rate x time, over any window, whatever is evicted."""
    clock, quota = FakeClock(), Quota(rate, burst)
    buckets = Buckets(clock, bound=bound)
    spent: dict[str, list[tuple[float, int]]] = {}

    for key, cost, pause in taken:
        clock.advance(timedelta(seconds=pause))
        if buckets.spend((key, "t"), quota, cost).allowed:
            spent.setdefault(key, []).append((clock.monotonic(), min(cost, burst)))

    for history in spent.values():
        for first in range(len(history)):
            for last in range(first, len(history)):
                window = history[last][0] - history[first][0]
                total = sum(cost for _, cost in history[first : last + 1])
                assert total <= burst + rate * window + 1e-6
    assert len(buckets) <= bound


changes = st.lists(
    st.tuples(
        st.sampled_from([Quota(0.5, 2), Quota(2.0, 9), Quota(5.0, 4), Quota(0.3, 20)]),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.3, 2.0, 11.0]),
        st.integers(1, 12),
    ),
    max_size=25,
)


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(changes)
def test_while_limits_and_workers_change_never_more_than_the_widest_goes_through(
    steps: list[tuple[Quota, int, float, int]],
) -> None:
    """House rule 12, over any window."""
    clock, workers = FakeClock(), [1]
    buckets = Buckets(clock, bound=1, workers=lambda: workers[0])
    passed: list[float] = []

    for quota, workers[0], pause, number in steps:
        clock.advance(timedelta(seconds=pause))
        passed += [clock.monotonic() for _ in range(number) if buckets.spend(KEY, quota).allowed]
        buckets.spend(("other", "t"), quota)

    burst = max((each.burst for each, *_ in steps), default=0)
    rate = max((each.rate_per_s for each, *_ in steps), default=0)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - passed[first]) + 1e-6


@pytest.mark.parametrize(
    ("platform", "tenant", "expected"),
    [
        (None, Quota(5, 5), Quota(5, 5)),
        (None, Quota(500, 500), Quota(50, 200)),
        (Quota(100, 300), None, Quota(100, 300)),
        (Quota(100, 300), Quota(20, 1_000), Quota(20, 300)),
        (Quota(1, 1), Quota(20, 20), Quota(1, 1)),
    ],
)
def test_a_tenant_narrows_a_quota_and_never_widens_it(
    platform: Quota | None, tenant: Quota | None, expected: Quota
) -> None:
    """C147."""
    levels = ((QuotaLevel.PLATFORM, platform), (QuotaLevel.TENANT, tenant))
    overrides = [("app_1", "general", level, q) for level, q in levels if q]

    found = policy.quota_levels(overrides)["app_1", "general"]

    assert policy.effective_quota(found, Quota(50, 200)) == expected
    assert policy.effective_quota(None, Quota(50, 200)) == Quota(50, 200)


@pytest.mark.parametrize(
    ("rate", "burst"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1), (1e9, 1), (1, 10**9)]
)
def test_a_quota_that_lets_nothing_or_everything_through_is_none(rate: float, burst: int) -> None:
    with pytest.raises(AssertionError):
        Quota(rate, burst)
