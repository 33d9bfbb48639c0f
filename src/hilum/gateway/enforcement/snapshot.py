"""The snapshot of enforcement facts: one immutable value per process, kept up to date by threads of its own.

Each part of the facts is held with the stamp of the epoch that it is of. A thread watches the database; when a part's stamp moves, it
reads what changed and publishes another snapshot, the switches first. What takes long, a part that must be read whole, is read by
another thread, so that it never delays a switch; meanwhile that part is not confirmed.

The snapshot's age is the monotonic time since its oldest part was confirmed to be the database's present one. Past the bound there is
no snapshot, and the gateway refuses: a worker that cannot learn of a switch must not act as if there were none. Quotas alone may be
behind for longer (QUOTA_LAG).

A failover may lose commits. What was known of the copy before stays in the snapshot (``Snapshot.earlier``), and switches that the other
copy lacks are engaged there again, until a person confirms (ADR 162).
Source: security decisions 7 and 27
"""

import asyncio
import gc
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Any, Protocol, TypeVar

from hilum.apps.installations import service as installations
from hilum.apps.registry.models import REGISTRY
from hilum.authorization.breakglass import service as breakglass
from hilum.authorization.breakglass.models import BREAK_GLASS
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import CONSENT
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import LAUNCHES
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import TOKENS
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import (
    FAILOVERS,
    QUOTAS,
    SWITCHES,
    ControlFacts,
    Switch,
    SwitchIndex,
    Target,
)
from hilum.controls.switches.policy import parse_target
from hilum.foundation.infra import epoch, logs
from hilum.foundation.infra.change_feed import ChangeFeed
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.database_clock import SteadyClock
from hilum.foundation.infra.epoch import Stamp, Stamps
from hilum.foundation.infra.facts import EVERYTHING, Delta, Facts, Since
from hilum.foundation.kernel.errors import HilumError, Unavailable
from hilum.foundation.kernel.ids import Part
from hilum.foundation.kernel.ports import Clock
from hilum.gateway.enforcement.models import (
    EARLIER_BOUND,
    FOLLOWED_AT_ONCE,
    NEWER_POLLS,
    QUOTA_LAG,
    SNAPSHOT_POLL,
    STALENESS_BOUND,
    Snapshot,
)
from hilum.identity.people import service as identity
from hilum.identity.people.models import IDENTITY
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import SESSIONS
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import POLICIES

T = TypeVar("T")
StopListener = Callable[[Switch, timedelta], None]
"""Called, in a thread of its own, with each newly engaged switch and the time since it was engaged. It may write and wait."""

_FACTS: dict[Part, Facts[Any]] = {
    SWITCHES: controls.switch_facts,
    TOKENS: tokens.facts,
    SESSIONS: signin.facts,
    LAUNCHES: launches.facts,
    CONSENT: consent.facts,
    BREAK_GLASS: breakglass.facts,
    IDENTITY: identity.facts,
    REGISTRY: installations.facts,
    POLICIES: policies.facts,
    QUOTAS: controls.quota_facts,
    FAILOVERS: controls.failover_facts,
}
"""Every part, the most urgent first."""
_URGENT = frozenset({SWITCHES})
"""Published before anything else is read."""
_READ_WHOLE = frozenset({POLICIES})
"""Read whole at each change, however few there are: a policy may take long to parse."""
_MAY_LAG = {QUOTAS: QUOTA_LAG}
_STALE_AFTER_S = STALENESS_BOUND.total_seconds()
_OF_NO_COPY = Stamp(-1)
"""The stamp of a part that was read from another copy of the database: no copy has it."""
LOAD_PAUSE_S, LOAD_PAUSE_BOUND_S = 0.1, 5.0
"""The pause after a load that failed: the first, and the longest."""
_log = logs.get("gateway")


class Reader(Protocol):
    """The port to stored facts: runs a verb in one reading transaction, in the calling thread."""

    def __call__(self, verb: Callable[[Context], T], /) -> T: ...


@dataclass(frozen=True, slots=True)
class _Held:
    """One part: its value, the stamp of that value, and when the stamp was last confirmed to be current."""

    stamp: Stamp
    value: Any
    confirmed_at: float


class SnapshotKeeper:
    """Keeps the snapshot of one process. ``current`` may be asked from any thread."""

    def __init__(
        self,
        read: Reader,
        signal: ChangeFeed,
        clock: Clock,
        *,
        load: Reader | None = None,
        on_stop: StopListener | None = None,
        on_other_copy: Callable[[], None] = lambda: None,
        on_lost: Callable[[list[Switch]], None] = lambda _: None,
    ) -> None:
        """``load`` reads whole parts, at start and in the loader's thread; without it ``read`` does.

        ``on_other_copy`` is called when the database turned out to be another copy, so that connections to the old one are closed;
        ``on_lost``, in a thread of its own, with the switches that were known and that the other copy lacks.
        """
        self._read, self._signal, self._clock, self._on_stop = read, signal, clock, on_stop
        self._load = load or read
        self._on_other_copy, self._on_lost = on_other_copy, on_lost
        # The pause after the last failed load of a part, and when it ends.
        self._failed: dict[Part, tuple[float, float]] = {}
        self._parts: dict[Part, _Held] = {}
        self._seen = Stamps()
        self._breaks = signal.breaks
        self._unverified: set[Part] = set()
        self._loading: set[Part] = set()
        self._lock = Lock()
        self._snapshot: Snapshot | None = None
        self._earlier: tuple[Snapshot, ...] = ()
        self._unpublished = False
        self._unreported: list[Switch] = []
        self._confirmed_at = float("-inf")
        self._stopping = Event()
        self._thread: Thread | None = None
        self._failing = False
        self._stop_notifier = ThreadPoolExecutor(1, thread_name_prefix="stops")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="facts")

    def current(self) -> Snapshot | None:
        """Return the snapshot; None if it was not confirmed within the bound, or too many failovers wait for a person."""
        if self._clock.monotonic() - self._confirmed_at > _STALE_AFTER_S:
            return None
        if len(self._earlier) > EARLIER_BOUND:
            return None
        return self._snapshot

    def age_s(self) -> float:
        """Return the time since the snapshot was confirmed last, in seconds; infinite before the first time."""
        return self._clock.monotonic() - self._confirmed_at

    async def newer(self, than: float) -> Snapshot | None:
        """Wait at most a few polls for what was committed before the monotonic moment ``than``; return the current snapshot."""
        for _ in range(NEWER_POLLS):
            if self._confirmed_at > than or self._thread is None:
                break
            await asyncio.sleep(SNAPSHOT_POLL.total_seconds() / 2)
        return self.current()

    def start(self) -> None:
        """Load the first snapshot and begin to watch. What was loaded stays, so the garbage collector need not walk it again."""
        collects = gc.isenabled()
        gc.disable()  # or it walks the growing million of values again and again, and frees none
        try:
            self.step(0.0)
        finally:
            gc.freeze()
            if collects:
                gc.enable()
        self._thread = Thread(target=self._watch, name="snapshot", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._signal.close()
        self._stop_notifier.shutdown()
        self._loader.shutdown()

    def step(self, wait_s: float) -> None:
        """Wait at most ``wait_s`` for a change, apply it, and confirm what is up to date. A failure only lets the snapshot age."""
        try:
            # Taken before the database is asked: the answer confirms the state of that moment, not
            # that of its arrival.
            asked_at = self._clock.monotonic()
            changed = self._signal.changed(wait_s)
            # Counts that went back, or the same count under another mark: a failover or a restore (ADR 5).
            went_back = bool(self._signal.stamps) and not self._signal.stamps.follows(self._seen)
            if went_back or self._signal.breaks != self._breaks:
                self._reread_all(other_copy=went_back)
            if changed or self._failing or self._is_behind():
                self._follow(asked_at)
            else:
                self._confirm(asked_at)
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

    def _reread_all(self, *, other_copy: bool) -> None:
        """Mark everything to be read again: the database that answers now may be another copy than the one that was read."""
        self._breaks = self._signal.breaks
        self._unverified = set(self._parts)
        if other_copy:
            _log.error("gateway.snapshot.other_copy")
            self._on_other_copy()
            self._seen = Stamps()

    def _keep_earlier(self, part: Part) -> None:
        """Keep what was known, since this copy of the database lacks changes of a part; from now on everything is of no copy until it is read."""
        _log.error("gateway.snapshot.changes_lost", part=part)
        with self._lock:
            if (last := self._snapshot) is not None:
                self._earlier = (*last.earlier, replace(last, earlier=()))
            self._parts = {name: replace(held, stamp=_OF_NO_COPY) for name, held in self._parts.items()}
        self._unverified = set(self._parts)
        self._on_other_copy()

    def _is_behind(self) -> bool:
        return any(
            (part in self._unverified or not self._is_current(part)) and not self._is_waiting(part)
            for part in _FACTS
        )

    def _is_waiting(self, part: Part) -> bool:
        """Check whether a part is being loaded, or paused after a failed load."""
        _, due = self._failed.get(part, (0.0, float("-inf")))
        return part in self._loading or self._clock.monotonic() < due

    def _is_current(self, part: Part) -> bool:
        """Check whether a part is held with the database's current stamp."""
        held = self._parts.get(part)
        return held is not None and held.stamp == self._seen[part]

    def _confirm(self, asked_at: float) -> None:
        """Confirm, as of ``asked_at``, each part whose stamp is the database's current one."""
        with self._lock:
            for part, held in self._parts.items():
                if self._is_current(part):
                    self._parts[part] = replace(held, confirmed_at=max(asked_at, held.confirmed_at))
            self._judge_age()

    def _judge_age(self) -> None:
        if len(self._parts) < len(_FACTS):
            return
        none = timedelta(0)
        # As old as its oldest part: a part that is not confirmed could miss a stop.
        self._confirmed_at = min(
            held.confirmed_at + _MAY_LAG.get(part, none).total_seconds() for part, held in self._parts.items()
        )

    def _follow(self, asked_at: float) -> None:
        """Read the stamps and the changes of the parts that moved, in one view of the data; leave slow reads to the loader."""

        def verb(ctx: Context) -> None:
            epoch.use_repeatable_read(ctx.tx)
            self._seen = epoch.read(ctx.tx)
            # The watch's connection and this one may lead to two servers while an address moves.
            # Nothing is confirmed until they agree.
            if not self._seen.follows(self._signal.stamps):
                self._reread_all(other_copy=True)
                raise Unavailable(
                    "database_differs", "The database is not the one that is watched; its address moved."
                )
            self._advance_clock(self._seen)
            for part, facts in _FACTS.items():
                if self._is_current(part) and part not in self._unverified:
                    continue
                if self._is_waiting(part):
                    continue
                since = self._since(ctx, part)
                # A whole part can take seconds. Read here, it would keep the next switch unseen for as long.
                long = (
                    since is EVERYTHING or len(since.changes or ()) > FOLLOWED_AT_ONCE or part in _READ_WHOLE
                )
                if long and part not in _URGENT and self._thread is not None:
                    self._loading.add(part)
                    self._loader.submit(self._load_whole, part)
                    continue
                self._apply(part, self._seen[part], facts(ctx, since), asked_at, since)
                self._unverified.discard(part)
                # At once: a stop does not wait for the parts that are read after it.
                if part in _URGENT:
                    self._publish()

        (self._load if self._thread is None else self._read)(verb)
        self._publish()
        self._confirm(asked_at)

    def _advance_clock(self, stamps: Stamps) -> None:
        """Move this process's time forward to the latest change in the database."""
        if isinstance(self._clock, SteadyClock) and stamps.newest is not None:
            self._clock.not_before(stamps.newest)

    def _since(self, ctx: Context, part: Part) -> Since:
        held = self._parts.get(part)
        if held is None:
            return EVERYTHING
        changes = None
        if part not in self._unverified:
            changes = epoch.changes(ctx.tx, part, held.stamp, self._seen[part])
        # A copy that lost commits may have made more since, so that its counts are ahead.
        if changes is None and epoch.has_parted(ctx.tx, part, held.stamp, self._seen[part]):
            self._keep_earlier(part)
        return EVERYTHING if changes is None else _FACTS[part].understood(Since(changes))

    def _load_whole(self, part: Part) -> None:
        """Read a part whole in the loader's thread. Until that is done the part ages, if its stamp moved."""

        def verb(ctx: Context) -> tuple[Stamp, Delta[Any]]:
            epoch.use_repeatable_read(ctx.tx)
            stamp, held = epoch.read(ctx.tx)[part], self._parts.get(part)
            # Only the watching thread changes copies: it keeps what was known before.
            if held is not None and epoch.has_parted(ctx.tx, part, held.stamp, stamp):
                raise Unavailable("database_differs", "The database is not the one that was read before.")
            return stamp, _FACTS[part](ctx, EVERYTHING)

        try:
            asked_at, breaks = self._clock.monotonic(), self._breaks
            stamp, delta = self._load(verb)
            # If the connection broke meanwhile, this may be of
            # the copy from before: it is used, and read again.
            if breaks == self._breaks:
                self._unverified.discard(part)
            self._apply(part, stamp, delta, asked_at)
            self._publish()
            self._failed.pop(part, None)
        except HilumError as error:
            _log.error("gateway.snapshot.failed", code=error.code, part=part)
            self._pause(part)
        except Exception:  # noqa: BLE001 - the thread's edge, as above
            _log.exception("gateway.snapshot.broken", part=part)
            self._pause(part)
        finally:
            self._loading.discard(part)

    def _pause(self, part: Part) -> None:
        """Pause a part whose load failed, twice as long after each failure, before it is loaded again."""
        before, _ = self._failed.get(part, (0.0, 0.0))
        # A part that cannot be read must not be read in a loop: its failed reads would keep the lane busy.
        pause = min(max(LOAD_PAUSE_S, 2 * before), LOAD_PAUSE_BOUND_S)
        self._failed[part] = pause, self._clock.monotonic() + pause

    def _apply(
        self, part: Part, stamp: Stamp, delta: Delta[Any], asked_at: float, since: Since = EVERYTHING
    ) -> None:
        held = self._parts.get(part)
        is_of_other_copy = held is not None and held.stamp is _OF_NO_COPY
        # A part may refuse to go back. What it goes back from stays in force beside it.
        value = delta.applied(None if held is None or is_of_other_copy else held.value)
        with self._lock:
            self._parts[part] = _Held(stamp, value, asked_at)
            self._unpublished = True
        if part == SWITCHES and held is not None and is_of_other_copy:
            # Compared the other way round: engaged in the copy before, and not in this one.
            self._stop_notifier.submit(self._on_lost, _newly_engaged(value, held.value, held.value.engaged))
        if part == SWITCHES and held is not None and self._on_stop is not None:
            # For the metric and the record of how long a stop
            # took to arrive; enforcement does not depend on it.
            targets = value.engaged if since is EVERYTHING else map(parse_target, since.named())
            engaged = _newly_engaged(held.value, value, targets)
            with self._lock:
                self._unreported += engaged

    def _publish(self) -> None:
        """Publish a snapshot of the parts as they are. Its number counts all changes in it, and never occurs twice in a process."""
        with self._lock:
            if len(self._parts) < len(_FACTS) or not self._unpublished:
                return
            self._unpublished = False
            value = {part: held.value for part, held in self._parts.items()}
            total = sum(held.stamp.n for held in self._parts.values())
            last, confirmed = self._snapshot, value[FAILOVERS]
            self._earlier = tuple(facts for facts in self._earlier if facts.confirmations >= confirmed)
            snapshot = Snapshot(
                total,
                identity=value[IDENTITY],
                registry=value[REGISTRY],
                controls=ControlFacts(value[SWITCHES], value[QUOTAS]),
                tokens=replace(value[TOKENS], ended_sessions=value[SESSIONS]),
                consent=value[CONSENT],
                launches=value[LAUNCHES],
                policies=value[POLICIES],
                break_glass=value[BREAK_GLASS],
                confirmations=confirmed,
                earlier=self._earlier,
            )
            self._snapshot = snapshot if last is None else replace(snapshot, epoch=max(total, last.epoch + 1))
            self._judge_age()
            engaged, self._unreported = self._unreported, []
        now = self._clock.now()
        for switch in engaged:
            assert self._on_stop is not None, "noted only with a listener"
            self._stop_notifier.submit(self._on_stop, switch, now - switch.engaged_at)


def _newly_engaged(before: SwitchIndex, after: SwitchIndex, targets: Iterable[Target]) -> list[Switch]:
    found = []
    for target in targets:
        earlier = {switch.id for switch in before.engaged.get(target, ())}
        found += [switch for switch in after.engaged.get(target, ()) if switch.id not in earlier]
    return found
