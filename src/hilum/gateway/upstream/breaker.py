"""Circuit breakers: what failed several times in a row is not tried for a while, and then by one request first.

Source: M. Nygard, Release It!, second edition, chapter 5 (circuit breaker). One for each FHIR server, which only failures to connect open,
since no app can cause those; and one for each app at a server, opened by its requests that were sent and not answered, so that requests that
nobody can answer do not hold slots of a server, which other apps need, for a whole deadline each.
"""

from dataclasses import dataclass

from hilum.foundation.infra import logs
from hilum.foundation.kernel.ids import TenantId

FAILURES = 5
"""So many failures in a row, without a success in between, open a breaker."""
OPEN_S = 5.0
"""How long an open breaker lets nothing through. Then one request is let through; the others wait as long again for what becomes of it."""
KEPT = 10_000
_log = logs.get("upstream")
Circuit = tuple[TenantId, str]
"""A server by its hospital, and the app; empty for the server itself."""


@dataclass(slots=True)
class _Failing:
    failures: int = 0
    open_until: float = 0.0


class Breakers:
    """The breakers of one process. Only what fails has a state, so that nothing is paid for what works. Times are in seconds of the loop."""

    __slots__ = ("_failing",)

    def __init__(self) -> None:
        self._failing: dict[Circuit, _Failing] = {}

    def closed_in(self, circuit: Circuit, now: float) -> float:
        """Return after how many seconds a request may go through; 0 if it may now, and is then the only one for a while if the breaker is open."""
        state = self._failing.get(circuit)
        if state is None or state.failures < FAILURES:
            return 0.0
        if now < state.open_until:
            return state.open_until - now
        state.open_until = now + OPEN_S  # this one is the probe
        return 0.0

    def failed(self, circuit: Circuit, now: float) -> None:
        """Count a failure."""
        state = self._failing.get(circuit)
        if state is None:
            if len(self._failing) >= KEPT:
                self._failing.clear()
            state = self._failing[circuit] = _Failing()
        state.failures += 1
        if state.failures >= FAILURES:
            state.open_until = now + OPEN_S
        if state.failures == FAILURES:
            _log.warning("upstream.circuit.open", tenant=circuit[0], app=circuit[1])

    def succeeded(self, circuit: Circuit) -> None:
        """Close a breaker."""
        state = self._failing.pop(circuit, None)
        if state is not None and state.failures >= FAILURES:
            _log.warning("upstream.circuit.closed", tenant=circuit[0], app=circuit[1])

    def __len__(self) -> int:
        """How many circuits have failed since their last success."""
        return len(self._failing)
