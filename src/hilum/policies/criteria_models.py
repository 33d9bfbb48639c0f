"""What a cell asks of the service of its apps where it says nothing: nothing."""

from collections.abc import Mapping
from types import MappingProxyType

LATENCY_BOUND_MS = 60_000
"""The longest latency that a limit may name. Longer ones are not distinguished, so this one limits nothing."""
SERVICE: Mapping[str, int] = MappingProxyType(
    {
        "service_unavailable_percent": 100,
        "service_errors_percent": 100,
        "service_latency_ms_p95": LATENCY_BOUND_MS,
        "service_least_calls": 1_000,
        "service_grace_days": 60,
    }
)
