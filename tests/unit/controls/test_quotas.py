"""Quotas and token buckets (C129, C130, C147)."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.controls import policy
from hilum.controls.live import Buckets
from hilum.controls.models import Quota, QuotaLevel
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
    assert not buckets.spend(KEY, TEN, cost=11).allowed
    assert buckets.spend(KEY, TEN, cost=10).allowed

    clock.advance(timedelta(seconds=3))
    assert buckets.spend(KEY, TEN, cost=3).allowed
    assert not buckets.spend(KEY, TEN).allowed
    clock.advance(timedelta(days=1))

    assert not buckets.spend(KEY, TEN, cost=11).allowed
    assert buckets.spend(KEY, TEN, cost=10).allowed


def test_one_app_at_one_tenant_spends_from_no_other_bucket() -> None:
    """C129, C144."""
    buckets = Buckets(FakeClock())
    assert buckets.spend(KEY, TEN, cost=10).allowed

    assert not buckets.spend(KEY, TEN).allowed
    assert buckets.spend(("app_1", "children"), TEN, cost=10).allowed
    assert buckets.spend(("app_2", "general"), TEN, cost=10).allowed


def test_a_lowered_quota_holds_at_once_and_a_raised_one_gives_no_present() -> None:
    buckets = Buckets(FakeClock())
    assert buckets.spend(KEY, TEN).allowed

    assert not buckets.spend(KEY, Quota(1.0, 2), cost=3).allowed
    assert buckets.spend(KEY, Quota(1.0, 2), cost=2).allowed
    assert not buckets.spend(KEY, Quota(1.0, 1_000)).allowed


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
            spent.setdefault(key, []).append((clock.monotonic(), cost))

    for history in spent.values():
        for first in range(len(history)):
            for last in range(first, len(history)):
                window = history[last][0] - history[first][0]
                total = sum(cost for _, cost in history[first : last + 1])
                assert total <= burst + rate * window + 1e-6
    assert len(buckets) <= bound


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
