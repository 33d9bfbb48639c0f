"""Token buckets of one process, one per app and tenant. Used from the event loop's thread only."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from hilum.controls.switches.models import BUCKETS_BOUND, Quota, QuotaResult
from hilum.foundation.kernel.ports import Clock


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    quota: Quota
    """This worker's share of ``whole``."""
    whole: Quota
    spent: float = 0.0
    """What was spent and is not refilled yet, which other limits do not change."""

    def refill(self, now: float) -> None:
        if now > self.at:
            gained = (now - self.at) * self.quota.rate_per_s
            self.tokens, self.at = min(float(self.quota.burst), self.tokens + gained), now
            self.spent = max(0.0, self.spent - gained)

    def change(self, whole: Quota, quota: Quota, workers: int) -> None:
        """Take over another quota, or another share of it. A narrowed quota takes effect now; so does a widened one, less what is spent."""
        moved = share(self.whole, workers)
        if moved != self.quota:
            # A larger share because a worker left fills up at its rate: what that worker had spent is not known here.
            self.tokens = min(self.tokens, float(moved.burst))
            self.spent = max(self.spent, moved.burst - self.tokens)
        if quota != moved:
            self.tokens = max(min(self.tokens, float(quota.burst)), quota.burst - self.spent)
        self.whole, self.quota = whole, quota


class Buckets:
    """Token buckets; never lets more than burst + rate x time through for one key, whatever is evicted.

    At its bound it evicts the bucket that was idle longest, but only once that one is full again, as a new one would be; until then
    a new key is refused. ``workers`` counts the workers of all nodes: each has an equal share of a quota, so that together they do
    not exceed it.
    """

    def __init__(
        self, clock: Clock, bound: int = BUCKETS_BOUND, *, workers: Callable[[], int] = lambda: 1
    ) -> None:
        self._clock, self._bound, self._workers = clock, bound, workers
        # Ordered by last use, so the first bucket is the one that was idle longest.
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def spend(self, key: tuple[str, str], quota: Quota, cost: int = 1) -> QuotaResult:
        """Spend ``cost`` tokens of the bucket of (app, tenant); if there are too few, spend none and return the time after which there are enough.

        What costs more than the bucket holds takes all of it.
        """
        now = self._clock.monotonic()
        whole, workers = quota, self._workers()
        # The number changes while nodes come and go, so the
        # share is computed at each request and cached by value.
        if workers > 1:
            quota = share(quota, workers)
        bucket = self._buckets.get(key)
        if bucket is None:
            wait = self._make_room(now)
            if wait > 0:
                return QuotaResult(allowed=False, limit=quota.burst, remaining=0, retry_after_s=wait)
            bucket = self._buckets[key] = _Bucket(float(quota.burst), now, quota, whole)
        else:
            self._buckets.move_to_end(key)
            bucket.refill(now)
            if quota is not bucket.quota and quota != bucket.quota:
                bucket.change(whole, quota, workers)
        cost = min(cost, quota.burst)
        if bucket.tokens < cost:
            # Nothing is spent by a refusal: retrying must not push the next success further away.
            wait = (cost - bucket.tokens) / quota.rate_per_s
            return QuotaResult(
                allowed=False, limit=quota.burst, remaining=int(bucket.tokens), retry_after_s=wait
            )
        bucket.tokens -= cost
        bucket.spent += cost
        return QuotaResult(allowed=True, limit=quota.burst, remaining=int(bucket.tokens), retry_after_s=0.0)

    def __len__(self) -> int:
        return len(self._buckets)

    def _make_room(self, now: float) -> float:
        """Evict a bucket if there are too many; return the seconds until one can be evicted, 0 if there is room."""
        if len(self._buckets) < self._bound:
            return 0.0
        oldest = next(iter(self._buckets))
        bucket = self._buckets[oldest]
        bucket.refill(now)
        missing = max(bucket.quota.burst - bucket.tokens, bucket.spent)
        # Evicting a bucket that is not full would give its app a
        # fresh burst, so filling the table would defeat the quotas.
        if missing > 0:
            return missing / bucket.quota.rate_per_s
        del self._buckets[oldest]
        return 0.0


@lru_cache(maxsize=1_000)
def share(quota: Quota, workers: int) -> Quota:
    """Return one worker's share of a quota, with a burst of at least one, or no request would ever pass."""
    return Quota(quota.rate_per_s / workers, max(1, quota.burst // workers))
