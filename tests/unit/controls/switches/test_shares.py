"""A quota divided among workers."""

from hypothesis import given
from hypothesis import strategies as st

from hilum.controls.switches.live import Buckets
from hilum.controls.switches.models import Quota
from tests.sim.world import FakeClock


@given(st.integers(1, 16), st.integers(16, 200), st.floats(1, 100))
def test_workers_together_never_let_more_through_than_the_quota(
    workers: int, burst: int, rate: float
) -> None:
    """C130."""
    clock = FakeClock()
    pools = [Buckets(clock, workers=lambda: workers) for _ in range(workers)]

    passed = sum(
        pool.spend(("app", "general"), Quota(rate, burst)).allowed for pool in pools for _ in range(burst + 1)
    )

    assert passed <= burst


def test_a_worker_lets_one_request_through_even_of_a_tiny_quota() -> None:
    assert Buckets(FakeClock(), workers=lambda: 8).spend(("app", "general"), Quota(1.0, 2)).allowed
