"""The snapshot of enforcement facts: one immutable value per process, kept true by a thread of its own.

Its age is the monotonic time since the control epoch was last confirmed. Past the bound there is no snapshot, and the gateway
refuses: a worker that cannot hear a switch must not act as if there were none.
Source: security decision 7
"""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from typing import Any, Protocol, TypeVar

from hilum.consent import service as consent
from hilum.controls import service as controls
from hilum.controls.models import ControlFacts, Switch
from hilum.gateway.models import NEWER_POLLS, SNAPSHOT_POLL, STALENESS_BOUND, Snapshot
from hilum.identity import service as identity
from hilum.infra import epoch, logs
from hilum.infra.context import Context
from hilum.infra.epoch import Part
from hilum.infra.signals import Signal
from hilum.kernel.errors import HilumError
from hilum.kernel.ports import Clock
from hilum.launches import service as launches
from hilum.registry import service as registry
from hilum.tokens import service as tokens

T = TypeVar("T")
StopHeard = Callable[[Switch, timedelta], None]
"""Told, in a thread of its own, of each newly heard switch and the time since it was engaged. It may write and wait."""

_FACTS: dict[Part, Callable[[Context], Any]] = {
    Part.IDENTITY: identity.enforcement_facts,
    Part.CONTROLS: controls.enforcement_facts,
    Part.TOKENS: tokens.enforcement_facts,
    Part.CONSENT: consent.enforcement_facts,
    Part.LAUNCHES: launches.enforcement_facts,
}
_log = logs.get("gateway")


class Reader(Protocol):
    """The port to stored facts: runs a verb in one reading transaction, in the calling thread."""

    def __call__(self, verb: Callable[[Context], T], /) -> T: ...


class SnapshotKeeper:
    """Keeps the snapshot of one process. ``current`` may be asked from any thread."""

    def __init__(
        self, read: Reader, signal: Signal, clock: Clock, *, on_stop: StopHeard | None = None
    ) -> None:
        self._read, self._signal, self._clock, self._on_stop = read, signal, clock, on_stop
        self._parts: dict[Part, tuple[int, Any]] = {}
        self._snapshot: Snapshot | None = None
        self._confirmed_at = float("-inf")
        self._stopping = Event()
        self._thread: Thread | None = None
        self._failing = False
        self._teller = ThreadPoolExecutor(1, thread_name_prefix="stops")

    def current(self) -> Snapshot | None:
        """Give the snapshot; None if it was not confirmed within the bound."""
        if self._clock.monotonic() - self._confirmed_at > STALENESS_BOUND.total_seconds():
            return None
        return self._snapshot

    async def newer(self, than: float) -> Snapshot | None:
        """Wait for what was committed before the monotonic moment ``than``, a few polls at most; then give what is current."""
        for _ in range(NEWER_POLLS):
            if self._confirmed_at > than or self._thread is None:
                break
            await asyncio.sleep(SNAPSHOT_POLL.total_seconds() / 2)
        return self.current()

    def start(self) -> None:
        """Load the first snapshot and begin to watch. What was loaded stays, so the garbage collector need not walk it again."""
        self.step(0.0)
        gc.freeze()
        self._thread = Thread(target=self._watch, name="snapshot", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._signal.close()
        self._teller.shutdown()

    def step(self, wait_s: float) -> None:
        """Wait at most so long for a change, take it in, and confirm the snapshot. A failure only lets it age."""
        try:
            asked_at = self._clock.monotonic()
            changed = self._signal.changed(wait_s)
            if changed or self._snapshot is None or self._failing:
                self._load()
            self._confirmed_at = asked_at
        except HilumError as error:
            if not self._failing:
                _log.error("gateway.snapshot.failed", code=error.code)
            self._failing = True
        else:
            self._failing = False

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step(SNAPSHOT_POLL.total_seconds())
            except Exception:  # noqa: BLE001 - the thread's edge: whatever breaks a load, the snapshot ages and refuses
                _log.exception("gateway.snapshot.broken")
                self._failing = True
                self._stopping.wait(SNAPSHOT_POLL.total_seconds())

    def _load(self) -> None:
        total, loaded = self._read(self._changed_facts)
        before = self._parts.get(Part.CONTROLS)
        self._parts.update(loaded)
        facts = {part.value: value for part, (_, value) in self._parts.items()}
        self._snapshot = Snapshot(total, **facts)
        if Part.CONTROLS in loaded and before is not None and self._on_stop is not None:
            self._tell_stops(before[1], loaded[Part.CONTROLS][1])

    def _changed_facts(self, ctx: Context) -> tuple[int, dict[Part, tuple[int, Any]]]:
        """Read the epoch and the facts of every part that moved since, in one view of the data."""
        total, counts = epoch.read(ctx.tx)
        moved = [part for part in Part if part not in self._parts or self._parts[part][0] != counts[part]]
        _, before = self._parts.get(Part.REGISTRY, (0, None))
        read = _FACTS | {Part.REGISTRY: partial(registry.enforcement_facts, before=before)}
        return total, {part: (counts[part], read[part](ctx)) for part in moved}

    def _tell_stops(self, before: ControlFacts, after: ControlFacts) -> None:
        assert self._on_stop is not None, "asked only with a listener"
        known = {switch.id for switches in before.switches.engaged.values() for switch in switches}
        now = self._clock.now()
        for switches in after.switches.engaged.values():
            for switch in switches:
                if switch.id not in known:
                    self._teller.submit(self._on_stop, switch, now - switch.engaged_at)
