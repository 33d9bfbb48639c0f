"""A cell's criteria for the service of its apps; by default none."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

LATENCY_BOUND_MS = 60_000
"""The largest latency limit. Longer latencies are not distinguished, so this one limits nothing."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """The limits of a cell for an app's service; by default none (C228).

    With fewer than ``least_calls`` an app is not judged. ``grace_days``: days to fix a criterion that it does not meet.
    """

    unavailable_percent: int = 100
    errors_percent: int = 100
    latency_ms_p95: int = LATENCY_BOUND_MS
    least_calls: int = 1_000
    grace_days: int = 60


NO_CRITERIA = Criteria()
SERVICE: Mapping[str, int] = MappingProxyType(
    {f"service_{name}": value for name, value in asdict(NO_CRITERIA).items()}
)
"""The fields of a cell that hold these limits, with what each is where a cell does not state it."""
