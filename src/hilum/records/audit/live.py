"""The access journal of a worker: records are durable before the answer leaves, by eager group commit in a dedicated thread.

The event loop wakes the thread once per iteration for all records of that iteration. The thread commits everything queued at once and
wakes the callers, while the next batch queues. There is no timer, so a single record is committed immediately. Waking the thread for
each record instead would cost a commit for every second or third request.

No caller waits longer than ``JOURNAL_DEADLINE``. Requests refused because they could not be recorded are kept as notes, and recorded
once the journal works again; they are lost if the process ends before. Beyond ``NOTES_BOUND`` the oldest notes are aggregated into one
record per reason.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from hilum.foundation.infra import logs, metrics
from hilum.foundation.infra.database_faults import Fault
from hilum.foundation.kernel.errors import HilumError, Unavailable
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.standards.strangers import WINDOW_S, AggregatedRefusals, Sources
from hilum.records.audit import access_index, policy, windows
from hilum.records.audit.access_index import open_index
from hilum.records.audit.decision_counts import DecisionCounts, find_counts, open_counts
from hilum.records.audit.files import FileReader, JournalFile
from hilum.records.audit.journal_health import JournalHealth
from hilum.records.audit.journal_records import AccessReader, ChainMoved, Writer, link_batch
from hilum.records.audit.models import (
    COUNTED_REFUSALS,
    JOURNAL_BATCH_BOUND,
    JOURNAL_CLOSE_WITHIN,
    JOURNAL_DEADLINE,
    JOURNAL_QUEUE_BOUND,
    NOTE_RETRY,
    NOTES_BOUND,
    Access,
    Claimed,
    Head,
    OpenIntent,
    Outcome,
    PermitCount,
    ReachedDay,
    Recorded,
    RecordedCalls,
    Served,
    ServedApp,
    Traffic,
)
from hilum.records.audit.postgres import PostgresReader, PostgresWriter
from hilum.records.audit.search import Indexed, index_new_records

AGGREGATED_NOTES = "folded_notes"
"""The rule of a record that aggregates notes beyond the bound. Its id, time, status and reason are those of the last one counted."""
_DEADLINE_S = JOURNAL_DEADLINE.total_seconds()
_log = logs.get("audit")


@dataclass(slots=True, eq=False)
class _Waiting:
    """A queued record. ``given_up``: its caller was refused, so it must not be written unless its batch was already sent."""

    access: Access
    future: "asyncio.Future[None] | None" = None
    is_note: bool = False
    given_up: bool = False
    deadline: float = 0.0


class Journal:
    """Records accesses. Belongs to one event loop; the thread behind it owns the chain."""

    def __init__(self, writer: Writer, ids: Ids, health: JournalHealth | None = None) -> None:
        self._writer = writer
        self._health = health
        self._ids = ids
        # Two threads share this queue without a lock: the loop appends, the journal's thread pops, and both
        # are atomic in CPython.
        self._queue: deque[_Waiting] = deque()
        # In order of deadline, since all wait equally long; one timer for the first is enough.
        self._awaited: deque[_Waiting] = deque()
        self._releases: deque[str] = deque()
        self._notes: deque[Access] = deque()
        self._aggregated_notes: dict[tuple[Outcome, str], Access] = {}
        self._wakeups: SimpleQueue[bool] = SimpleQueue()
        self._wake_scheduled = False
        self._expiry: asyncio.TimerHandle | None = None
        self._note_timer: asyncio.TimerHandle | None = None
        self._failing = False
        # Refusals of strangers are aggregated before they reach the queue, so that nobody fills the audit
        # (security decision 5).
        self._unauthenticated = UnauthenticatedRefusals()
        self._refusal_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Open the journal and start its thread, unless started. Raises Unavailable when it cannot be written."""
        if self._thread is None:
            self._writer.open()
            # A daemon, because a commit that never returns must not keep the process from ending; `close`
            # waits for it, within a bound.
            self._thread = Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()

    @property
    def writer(self) -> str:
        """The name of this journal's chain."""
        return self._writer.writer

    @property
    def waiting(self) -> int:
        """Return how many records wait to be made durable."""
        return len(self._queue)

    @property
    def failing(self) -> bool:
        """Check whether the journal cannot be written now. Not for the event loop: it may probe the file, which takes up to a second."""
        return self._health is not None and self._health.failing()

    @property
    def fault(self) -> Fault | None:
        """Return why the last commit failed, where that is known."""
        return None if self._health is None else self._health.fault

    async def record(self, access: Access) -> None:
        """Record an access; return once it is durable.

        Raises Unavailable when the queue is full, the disk refuses, or it takes longer than ``JOURNAL_DEADLINE``: then no data may be
        returned. Raises Claimed for the intent of a create whose key another request holds.
        """
        # Refuse at once: a request that cannot be recorded must not
        # be answered, and queueing it would only delay the refusal.
        if self._closed or len(self._queue) >= JOURNAL_QUEUE_BOUND:
            raise Unavailable("audit_unavailable", "The audit journal cannot keep up. Try again shortly.")
        if self._thread is None:
            self.start()
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = _Waiting(access, future, deadline=loop.time() + _DEADLINE_S)
        self._queue.append(waiting)
        self._awaited.append(waiting)
        if self._expiry is None:
            self._expiry = loop.call_later(_DEADLINE_S, self._expire, loop)
        # Scheduled and not called: all records of this turn of the loop then share one commit.
        if not self._wake_scheduled:
            self._wake_scheduled = True
            loop.call_soon(self._wake_thread)
        await future

    async def intend(self, intent: Access) -> Recorded:
        """Record that a write is about to be sent. Raises as ``record`` does; then it must not be sent."""
        await self.record(intent)
        return Recorded(intent.request_id)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse callers that waited too long. A batch already sent may still arrive; ``tip`` finds out when it reads the chain's end."""
        self._expiry = None
        awaited, now = self._awaited, loop.time()
        while awaited and (_is_over(awaited[0]) or awaited[0].deadline <= now):
            waiting = awaited.popleft()
            if not _is_over(waiting):
                # The thread skips the record if it has not taken it yet. If it has, the record may become
                # durable although its caller was refused: that is the safe direction.
                waiting.given_up = True
                self._note_failure("audit_deadline")
                assert waiting.future is not None, "only those with a caller are awaited"
                waiting.future.set_exception(
                    Unavailable(
                        "audit_unavailable", "The audit journal did not answer in time. Try again shortly."
                    )
                )
        if awaited:
            self._expiry = loop.call_later(max(0.0, awaited[0].deadline - now), self._expire, loop)

    def release(self, request_id: str) -> None:
        """Release a create's claim, once its app was sent the outcome: an identical create may pass again. Returns at once."""
        # Not awaited: the app has its answer. If the process ends first, the claim expires after CLAIM_LIFE.
        self._releases.append(request_id)
        self._wakeups.put(True)

    def note(self, access: Access) -> None:
        """Record later a request that was refused because it could not be recorded."""
        # Memory is bounded while the journal is down, and no refusal goes uncounted.
        if len(self._notes) >= NOTES_BOUND:
            self._aggregate_note(self._notes.popleft())
        self._notes.append(access)
        if self._note_timer is None and not self._closed:
            seconds = NOTE_RETRY.total_seconds()
            self._note_timer = asyncio.get_running_loop().call_later(seconds, self._try_notes)

    def _aggregate_note(self, oldest: Access) -> None:
        """Add a note beyond the bound to the aggregate record of its outcome and reason."""
        if oldest.rule != AGGREGATED_NOTES:
            metrics.JOURNAL_FOLDED.add(by=oldest.count)
        # Tenant, app and path are dropped: one record for each outcome and reason is all that fits.
        key = oldest.outcome, oldest.reason
        before = self._aggregated_notes.get(key)
        self._aggregated_notes[key] = Access(
            request_id=oldest.request_id,
            decision=oldest.decision,
            at=oldest.at,
            tenant="",
            interaction=oldest.interaction,
            resource_type="",
            status=oldest.status,
            outcome=oldest.outcome,
            reason=oldest.reason,
            rule=AGGREGATED_NOTES,
            count=oldest.count + (before.count if before is not None else 0),
        )

    def _try_notes(self) -> None:
        self._note_timer = None
        self._queue_notes()

    def _queue_notes(self) -> None:
        """Queue as many notes as fit. Those that fail become notes again, and are retried later."""
        room = JOURNAL_QUEUE_BOUND - len(self._queue)
        while room > 0 and (self._aggregated_notes or self._notes):
            note = self._aggregated_notes.popitem()[1] if self._aggregated_notes else self._notes.popleft()
            self._queue.append(_Waiting(note, is_note=True))
            room -= 1
        self._wakeups.put(True)

    def _wake_thread(self) -> None:
        self._wake_scheduled = False
        self._wakeups.put(True)

    async def record_unauthenticated_refusal(self, access: Access) -> None:
        """Record an unauthenticated refusal: the first ones of a source and minute one by one, the rest as one counted record."""
        for counted in self._unauthenticated.take_due(access):
            self.note(counted)
        if self._unauthenticated.count_refusal(access):
            await self.record(access)
        # Counted and not recorded now, so nothing is awaited: a flood of refusals never waits for the disk.
        elif self._refusal_timer is None:
            self._refusal_timer = asyncio.get_running_loop().call_later(WINDOW_S, self.flush_unauthenticated)

    def flush_unauthenticated(self) -> None:
        """Queue the counted records, as notes. Runs a minute after the first of them, and at close."""
        self._refusal_timer = None
        for counted in self._unauthenticated.flush():
            self.note(counted)
        self._queue_notes()

    def close(self) -> None:
        """Commit what is queued, then stop. Later records are refused."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._refusal_timer, self._note_timer):
            if timer is not None:
                timer.cancel()
        self.flush_unauthenticated()
        if self._thread is not None:
            self._wakeups.put(False)
            self._thread.join(JOURNAL_CLOSE_WITHIN.total_seconds())
            # The writer must not be closed below while its thread still uses it.
            if self._thread.is_alive():
                _log.error("audit.journal.stuck", writer=self.writer, lost=self._unwritten())
                return
        self._writer.close()
        if lost := self._unwritten():
            _log.error("audit.notes.lost", writer=self.writer, count=lost)

    def _unwritten(self) -> int:
        """Return how many requests the unwritten notes represent."""
        queued = (each.access for each in self._queue.copy() if each.future is None)
        return sum(each.count for each in (*self._notes, *self._aggregated_notes.values(), *queued))

    def _run(self) -> None:
        open_ = True
        while open_:
            open_ = self._wait_for_wakeup()
            # Releases first: an app that received its answer may create again in the same batch.
            self._release()
            full = True
            while full:
                # Without a wake-up of its own: records that came in during the commit may exceed one batch.
                full = len(self._queue) >= JOURNAL_BATCH_BOUND
                if batch := self._next_batch():
                    self._commit(batch)

    def _wait_for_wakeup(self) -> bool:
        """Wait for a wake-up, and consume all that are queued; return False for the last one, from ``close``."""
        open_ = self._wakeups.get()
        with suppress(Empty):
            while open_:
                open_ = self._wakeups.get_nowait()
        return open_

    def _next_batch(self) -> list[_Waiting]:
        gathered = self._queue
        taken = [gathered.popleft() for _ in range(min(len(gathered), JOURNAL_BATCH_BOUND))]
        return [each for each in taken if not each.given_up]

    def _release(self) -> None:
        released = [self._releases.popleft() for _ in range(len(self._releases))]
        if released:
            try:
                self._writer.release(released)
            except Exception as error:  # noqa: BLE001 - the thread's edge, as in _commit: the thread must survive
                self._releases.extendleft(reversed(released))
                if not isinstance(error, HilumError):
                    _log.error("audit.release.failed", writer=self.writer, error=type(error).__name__)

    def _write(self, batch: list[_Waiting]) -> int:
        """Append a batch, with the claims of its creates in the same commit; return how many records. Creates whose key is held are refused."""
        wanted: dict[str, bytes] = {}
        for each in batch:
            if each.access.outcome is Outcome.INTENDED and (key := policy.claim_key(each.access)):
                wanted[each.access.request_id] = key
        with ExitStack() as claims:
            if wanted:
                # The newest time of the batch is the time by which older claims expire.
                at = max(each.access.at for each in batch)
                try:
                    # Entered before the append and left after it: the
                    # claims commit only with the intents (ADR 26).
                    held = claims.enter_context(self._writer.claiming(wanted, at))
                except HilumError as error:  # fails the creates only; the rest of the batch is written
                    batch = self._without(batch, dict.fromkeys(wanted, error))
                else:
                    batch = self._without(batch, {each: Claimed(holder) for each, holder in held.items()})
            if batch:
                accesses = (each.access for each in batch)
                self._writer.append(link_batch(accesses, self._writer.tip(), self._ids))
        return len(batch)

    def _without(self, batch: list[_Waiting], refused: Mapping[str, HilumError]) -> list[_Waiting]:
        """Return a batch without the refused intents, and fail their callers."""
        for each in batch:
            # Only the intent is refused. Other records of the same request, such as its refusal, are written.
            if each.access.request_id in refused and each.access.outcome is Outcome.INTENDED:
                self._wake_soon([each], refused[each.access.request_id])
                each.given_up = True
        return [each for each in batch if not each.given_up] if refused else batch

    def _append(self, batch: list[_Waiting]) -> int:
        # Once more after ChainMoved: a batch given up as lost has arrived after all, and is linked before this one.
        for again in (True, False):
            try:
                return self._write([each for each in batch if not each.given_up])
            except ChainMoved:
                if not again:
                    raise
        raise AssertionError("the second try returns or raises")

    def _commit(self, batch: list[_Waiting]) -> None:
        failure: HilumError | None = None
        try:
            if self._health is not None:
                self._health.commit(partial(self._append, batch), len(batch))
            else:
                self._append(batch)
        except HilumError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the thread's edge: callers must not wait forever
            failure = Unavailable("audit_unavailable", f"The audit journal failed: {type(error).__name__}.")
        self._wake_soon(batch, failure)

    def _wake_soon(self, batch: list[_Waiting], failure: HilumError | None) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):  # closed at this moment
                loop.call_soon_threadsafe(self._wake, batch, failure)

    def _wake(self, batch: list[_Waiting], failure: HilumError | None) -> None:
        for each in batch:
            future = each.future
            if future is None:
                # A note has no caller to refuse; it is kept and tried again.
                if each.is_note and failure is not None:
                    self.note(each.access)
            elif not future.done():
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)
        awaited = self._awaited
        # As ``_is_over`` does, and without a call for each record.
        while awaited and ((future := awaited[0].future) is None or future.done()):
            awaited.popleft()
        if failure is None:
            if self._failing:
                self._failing = False
                _log.warning("audit.journal.recovered", writer=self.writer)
            # Only if there are any: waking the thread for nothing costs a change of threads for each batch.
            if self._notes or self._aggregated_notes:
                self._queue_notes()
        # A claim that is held is an answer, not a failure of the journal.
        elif not isinstance(failure, Claimed):
            self._note_failure(failure.code)

    def _note_failure(self, code: str) -> None:
        """Have readiness report that the journal fails; log it once, until it works again."""
        if self._health is not None:
            self._health.failed()
        if not self._failing:
            self._failing = True
            _log.error("audit.journal.failing", writer=self.writer, code=code)


def _is_over(waiting: _Waiting) -> bool:
    return waiting.future is None or waiting.future.done()


class UnauthenticatedRefusals:
    """Aggregates unauthenticated refusals by tenant and network. Each counted record is a copy of the last refusal that it counts."""

    def __init__(self) -> None:
        self._sources, self._aggregated = Sources(), AggregatedRefusals()
        self._last: dict[tuple[str, str], Access] = {}

    def take_due(self, access: Access) -> list[Access]:
        """Return the counted records that are due at the time of this access."""
        return self.flush() if self._aggregated.are_due(access.at.timestamp()) else []

    def count_refusal(self, access: Access) -> bool:
        """Count the access; return whether it gets a record of its own."""
        now = access.at.timestamp()
        is_single = self._sources.is_recorded(access.source, now)
        self._sources.refused(access.source, now)
        if not is_single:
            tenant, network = self._aggregated.add(access.tenant, access.source, now)
            # Of many requests that are counted together, one path would be arbitrary, and paths are PHI.
            bare = replace(access, path="", query="", tenant=tenant, source=network, rule=COUNTED_REFUSALS)
            self._last[tenant, network] = bare
        return is_single

    def flush(self) -> list[Access]:
        """Return the counted records, and reset the counts."""
        last_of_each, self._last = self._last, {}
        due = self._aggregated.take()
        return [replace(last_of_each[tenant, network], count=count) for tenant, network, count in due]


@dataclass(frozen=True, slots=True)
class Intents:
    """The writes of the whole installation that have no outcome yet. All methods but ``look_up`` block, and belong in a thread."""

    open_reader: Callable[[], AccessReader]
    in_thread: Callable[[Callable[[], list[Access]]], Awaitable[list[Access]]] = asyncio.to_thread
    """Runs a look-up in a thread; bounds how many run, and thus connect to the database, at once."""

    async def look_up(self, request_id: str) -> list[Access]:
        """Return every record of one request, off the event loop. Raises Unavailable."""
        return await self.in_thread(lambda: self.find(request_id))

    def find(self, request_id: str) -> list[Access]:
        """Return every record of one request. Raises Unavailable."""
        return self.open_reader().find(request_id)

    def list_open(self) -> list[OpenIntent]:
        """List writes without an outcome, oldest first, at most ``OPEN_INTENTS_BOUND``. Raises Unavailable."""
        return self.open_reader().open_intents()

    def forget(self, request_ids: Sequence[str]) -> None:
        """Remove settled writes from the list. Raises Unavailable."""
        self.open_reader().forget_intents(request_ids)


def open_journal(
    database_url: str, directory: Path, writer: str, ids: Ids, *, clock: Clock | None = None
) -> Journal:
    """Create this process's journal: in the control plane's PostgreSQL, else in a file of ``directory``.

    ``writer`` must be unique among all processes and boots that ever ran. ``Journal.failing`` works only with a clock.
    """
    if database_url.startswith("postgresql"):
        return Journal(PostgresWriter(database_url, writer), ids, JournalHealth(clock) if clock else None)
    file = JournalFile(directory, writer)
    return Journal(file, ids, JournalHealth(clock, lambda: file.path) if clock is not None else None)


def open_reader(directory: Path, database_url: str) -> AccessReader:
    """Open a reader of all journals of the installation."""
    postgresql = database_url.startswith("postgresql")
    journals = PostgresReader(database_url) if postgresql else FileReader(directory)
    return Indexed(journals, lambda: open_index(database_url, directory))


def index_accesses(
    directory: Path, database_url: str, may_continue: Callable[[], bool] = lambda: True
) -> int:
    """Index what was recorded since the last call; return how many records. ``may_continue`` is called before each batch."""
    index = open_index(database_url, directory, make=True)
    assert index is not None, "make=True creates it"
    return index_new_records(open_reader(directory, database_url), index, may_continue)


def count_decisions(
    directory: Path, database_url: str, now: datetime, may_continue: Callable[[], bool] = lambda: True
) -> DecisionCounts:
    """Count the decisions recorded since the last call, and return the counts. ``may_continue`` is called before each batch."""
    counts = open_counts(database_url, directory)
    counts.update(open_reader(directory, database_url), now, may_continue)
    return counts


def read_permits(
    directory: Path, database_url: str, clients: Collection[str], since: datetime, tenant: str
) -> list[PermitCount]:
    """Return what was permitted to some clients since the day of a moment, at one tenant or (empty) at all, as far as it is counted."""
    counts = find_counts(database_url, directory)
    return [] if counts is None else counts.permits(clients, since, tenant)


def read_used(
    directory: Path, database_url: str, clients: Collection[str], since: datetime
) -> list[tuple[str, str, str]]:
    """Return what was permitted to some clients since the day of a moment, each once: interaction, type, tenant."""
    counts = find_counts(database_url, directory)
    return [] if counts is None else counts.used(clients, since)


def read_reached(
    directory: Path,
    database_url: str,
    client: str,
    day: date,
    hours: Sequence[tuple[datetime, datetime]] | None,
) -> list[ReachedDay]:
    """Return whom and when a client reached on a day of UTC, for each tenant, as far as it is indexed."""
    index = open_index(database_url, directory)
    if index is None:
        return []
    return index.read(partial(access_index.reached_on, client=client, day=day, hours=hours))


def is_indexed(directory: Path, database_url: str) -> bool:
    """Check whether all accesses recorded until now are indexed; waits a few seconds for it."""
    with closing(open_reader(directory, database_url)) as journals:
        return windows.is_indexed(journals, open_index(database_url, directory))


def read_places(
    directory: Path,
    database_url: str,
    clients: Collection[str],
    since: datetime,
    kinds: Collection[tuple[str, str, str]],
) -> list[tuple[str, str, str]]:
    """Return at which tenants some clients were permitted some kinds since the day of a moment: interaction, type, tenant."""
    counts = find_counts(database_url, directory)
    return [] if counts is None else counts.places(clients, since, kinds)


def read_traffic(
    directory: Path, database_url: str, since: datetime, until: datetime, tenants: Collection[str] | None
) -> dict[str, Traffic]:
    """Return the traffic of each app at some tenants, or with None at all, in slots of ten minutes, as far as it is counted."""
    counts = find_counts(database_url, directory)
    return {} if counts is None else counts.traffic(since, until, tenants)


def read_calls(
    directory: Path, database_url: str, client: str, tenants: Collection[str], *, since: datetime, most: int
) -> RecordedCalls:
    """Return the calls of a client at some tenants since a moment, as far as they are indexed; of more than ``most`` the newest."""
    verb = partial(access_index.calls, client=client, tenants=tenants, since=since, most=most)
    index = open_index(database_url, directory)
    return RecordedCalls(since, {}) if index is None else index.read(verb)


def read_served(directory: Path, database_url: str, app: str, since: datetime, tenant: str) -> ServedApp:
    """Return how the calls of an app ended since the day of a moment, by day and by tenant, at one tenant or (empty) at all, as far as it is counted."""
    counts = find_counts(database_url, directory)
    if counts is None:
        return ServedApp()
    return ServedApp(counts.served_by_day(app, since, tenant), counts.served_by_tenant(app, since, tenant))


def read_totals(
    directory: Path, database_url: str, tenants: Collection[str], since: datetime
) -> dict[str, Served]:
    """Return how the calls of all apps at some tenants ended since the day of a moment, as far as it is counted."""
    counts = find_counts(database_url, directory)
    return {} if counts is None else counts.served_totals(tenants, since)


def access_heads(directory: Path, database_url: str) -> dict[str, Head]:
    """Return the durable heads of all access chains, for a checkpoint."""
    return open_reader(directory, database_url).heads()
