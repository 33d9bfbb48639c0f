"""Try a quota on recorded calls, with the token buckets that enforce it (C208)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hilum.controls.switches.live import Buckets
from hilum.controls.switches.models import Quota
from hilum.foundation.kernel.decision import Reason
from hilum.operations.dry_runs.models import QuotaTrial
from hilum.records.audit.models import RecordedCalls

ReadCalls = Callable[..., RecordedCalls]
"""``audit.live.read_calls`` of the installation: (client, tenants, since=, most=)."""


@dataclass(slots=True)
class _RecordedTime:
    """A clock that shows when a call was recorded."""

    at: float = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at


def try_quota(quota: Quota, calls: Sequence[tuple[datetime, str, int]], since: datetime) -> QuotaTrial:
    """Count how many calls a quota would have refused that were permitted, and permitted that were refused for their quota.

    The bucket is full at first, and one for all workers: with several, each with its share, more may be refused.
    """
    clock = _RecordedTime()
    buckets = Buckets(clock)
    refused = permitted = 0
    for at, reason, cost in calls:
        clock.at = at.timestamp()
        # A call that is refused for another reason costs as much as one that is permitted.
        allowed = buckets.spend(("app", "tenant"), quota, max(1, cost)).allowed
        refused += not reason and not allowed
        permitted += reason == Reason.QUOTA_EXCEEDED and allowed
    return QuotaTrial(len(calls), since, refused, permitted)
