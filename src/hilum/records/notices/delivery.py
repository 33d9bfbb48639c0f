"""Send what is due, in threads of the jobs process: a bounded number at a time, each attempt with a deadline.

An attempt at a mail, in order: 1 claim (commit); 2 connect and sign in, or take an open connection; name sender and recipient;
3 record that it may leave (commit); 4 send the content and wait for the answer; 5 record the outcome (commit). After a crash before 3
the mail is sent again, since nothing left; after a crash between 3 and 5 it is unknown. A webhook has no step 3: it is repeated under its id.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import ceil
from typing import TypeVar

from hilum.foundation.infra import logs, metrics
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import HilumError
from hilum.records.notices import service
from hilum.records.notices.models import PAUSE_FIRST, PAUSE_MAX, Attempt, Channel, Outcome, Result

T = TypeVar("T")
HandOver = Callable[[], bool]
"""Records that the mail may leave now; returns False if it must not."""
Send = Callable[[Attempt, HandOver], Outcome]
LOOK_EVERY_S = 1.0
SETTLE_EVERY_S = 10.0
"""How often abandoned attempts are settled while others are sent."""
RECORD_TRIES, RECORD_PAUSE_S = 10, 3.0
"""How often an outcome is recorded again if the database is away: longer than a failover, shorter than the lease."""
_log = logs.get("notices")


@dataclass(slots=True)
class Sender:
    """Sends the notices of one channel, at most ``lanes`` at a time. ``send`` does the network's part and raises nothing expected."""

    uow: UnitOfWork
    channel: Channel
    send: Send
    lanes: int
    stop: threading.Event = field(default_factory=threading.Event)
    rest: Callable[[], None] = lambda: None
    """Called when a run ends."""
    record_pause_s: float = RECORD_PAUSE_S
    _ended: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    _running: list[str] = field(default_factory=list)
    _pause: timedelta = timedelta(0)
    _paused_until: float = float("-inf")
    _settled_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, may_continue: Callable[[], bool] = lambda: True) -> None:
        """Send until nothing is due. ``may_continue`` is asked at least each second; attempts in progress are not interrupted."""
        # Looked at by reading: a write each second would keep others from writing on SQLite.
        if not self._read(partial(service.is_anything_due, channel=self.channel)):
            return
        try:
            while not self.stop.is_set() and may_continue():
                self._settle_abandoned()
                self._start_due()
                if not self._running:
                    return
                self._wait()
        finally:
            self.rest()

    def wait_for_attempts(self, within_s: float) -> None:
        """Wait until the attempts in progress have ended, or for about this time."""
        for _ in range(self.lanes + ceil(within_s / LOOK_EVERY_S)):
            if self._running:
                self._wait()

    def _settle_abandoned(self) -> None:
        """Settle what a process left that has died; a queue may take long, so not only before it."""
        now = self.uow.clock.monotonic()
        if now - self._settled_at >= SETTLE_EVERY_S:
            self._settled_at = now
            while self._write(service.settle_abandoned):
                pass

    def _start_due(self) -> None:
        while len(self._running) < self.lanes and not self._is_paused():
            busy = frozenset(self._running) if self.channel is Channel.WEBHOOK else frozenset[str]()
            attempt = self._write(partial(service.claim, channel=self.channel, busy=busy))
            if attempt is None:
                return
            self._running.append(attempt.notice.recipient)
            # Daemon threads: an attempt that waits for a slow server must not delay the end of the process.
            threading.Thread(target=self._attempt, args=(attempt,), name=self.channel, daemon=True).start()

    def _wait(self) -> None:
        try:
            self._running.remove(self._ended.get(timeout=LOOK_EVERY_S))
        except queue.Empty:
            return

    def _attempt(self, attempt: Attempt) -> None:
        try:
            outcome = self.send(attempt, partial(self._hand_over, attempt))
            self._record(attempt, outcome)
        # Whatever breaks, the lease ends, and with it this attempt.
        except HilumError as error:
            _log.warning("notices.attempt.unrecorded", code=error.code, notice=attempt.notice.id)
        except Exception as error:  # noqa: BLE001 - the thread's edge: one attempt must not end the others
            _log.error("notices.attempt.broken", error=type(error).__name__, notice=attempt.notice.id)
        finally:
            self._ended.put(attempt.notice.recipient)

    def _hand_over(self, attempt: Attempt) -> bool:
        return self._write(partial(service.hand_over, notice=attempt.notice))

    def _record(self, attempt: Attempt, outcome: Outcome) -> None:
        metrics.NOTICE_ATTEMPTS.add(self.channel.value, outcome.result.value)
        pause = self._channel_pause(outcome)
        verb = partial(service.end_attempt, notice=attempt.notice, outcome=outcome, pause=pause)
        for left in reversed(range(RECORD_TRIES)):
            try:
                self._write(verb)
                return
            except HilumError:
                # The mail was accepted and only its record is missing: without it the mail becomes unknown.
                if not left or self.stop.wait(self.record_pause_s):
                    raise

    def _channel_pause(self, outcome: Outcome) -> timedelta:
        """Pause the channel, longer each time, while its server cannot be used; return for how long."""
        with self._lock:
            if outcome.result is not Result.UNREACHABLE:
                self._pause = timedelta(0)
            # Several attempts that fail at one moment lengthen the pause once.
            elif not self._is_paused():
                self._pause = min(self._pause * 2, PAUSE_MAX) or PAUSE_FIRST
                self._paused_until = self.uow.clock.monotonic() + self._pause.total_seconds()
                _log.warning("notices.channel.paused", channel=self.channel.value, code=outcome.reason)
            return self._pause

    def _is_paused(self) -> bool:
        return self.uow.clock.monotonic() < self._paused_until

    def _read(self, verb: Callable[[Context], T]) -> T:
        trace = Trace(self.uow.ids.new("req"), source="jobs")
        return self.uow.read_now(verb, actor=SYSTEM, trace=trace)

    def _write(self, verb: Callable[[Context], T]) -> T:
        trace = Trace(self.uow.ids.new("req"), source="jobs")
        return self.uow.write_now(verb, actor=SYSTEM, trace=trace)
