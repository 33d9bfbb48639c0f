"""The access journal of a worker: durable before the answer leaves, by eager group commit in a thread of its own.

The loop rings once a turn for all records that the turn brought; the thread makes whatever has come durable in one commit and wakes
those who wait, while the next batch gathers. No timer: a lone record waits for nobody. Ringing for each record would wake the thread,
and pay for a commit, at every second or third request.

Nobody waits longer than ``JOURNAL_DEADLINE``. What was refused because it could not be recorded is noted, and the notes are recorded
once the journal works again; they are lost if the process ends before. Of more notes than are kept, the oldest are counted, and
recorded as one for each reason.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from hilum.audit import policy
from hilum.audit.access_index import open_index
from hilum.audit.files import FileReader, JournalFile
from hilum.audit.journal_health import Watch
from hilum.audit.journal_records import AccessReader, ChainMoved, Writer, link_batch
from hilum.audit.models import (
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
    Recorded,
)
from hilum.audit.postgres import PostgresReader, PostgresWriter
from hilum.audit.search import Indexed, index_what_came
from hilum.infra import logs, metrics
from hilum.kernel.errors import HilumError, Unavailable
from hilum.kernel.ports import Clock, Ids
from hilum.standards.strangers import WINDOW_S, AggregatedRefusals, Sources

_log = logs.get("audit")


@dataclass(slots=True, eq=False)
class _Waiting:
    """A record on its way. ``given_up``: its caller was refused, so it must not be written any more unless it was already sent."""

    access: Access
    future: "asyncio.Future[None] | None" = None
    is_note: bool = False
    given_up: bool = False
    deadline: float = 0.0


_DEADLINE_S = JOURNAL_DEADLINE.total_seconds()
FOLDED_NOTES = "folded_notes"
"""The rule of a record that counts notes for which there was no room. Its id, time, status and reason are those of the last that it counts."""


class Journal:
    """Records accesses. Belongs to one event loop; the thread behind it owns the chain."""

    def __init__(self, writer: Writer, ids: Ids, watch: Watch | None = None) -> None:
        self._writer = writer
        self._watch = watch
        self._ids = ids
        self._gathered: deque[_Waiting] = deque()
        self._awaited: deque[_Waiting] = deque()
        self._releases: deque[str] = deque()
        self._notes: deque[Access] = deque()
        self._folded_notes: dict[tuple[Outcome, str], Access] = {}
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._to_ring = False
        self._expiry: asyncio.TimerHandle | None = None
        self._note_timer: asyncio.TimerHandle | None = None
        self._failing = False
        self._strangers = UnauthenticatedRefusals()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Open the journal and begin. Raises Unavailable when it cannot be written. The first record does so where nobody did."""
        if self._thread is None:
            self._writer.open()
            self._thread = Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()

    @property
    def writer(self) -> str:
        """Name of this journal's chain."""
        return self._writer.writer

    @property
    def waiting(self) -> int:
        """Return how many records wait to be made durable."""
        return len(self._gathered)

    @property
    def failing(self) -> bool:
        """Return whether the journal cannot be written just now. Not for the event loop: it may try, and wait a second."""
        return self._watch is not None and self._watch.failing()

    async def record(self, access: Access) -> None:
        """Return when the record is durable.

        Raises Unavailable when the queue is full, the disk refuses, or it takes longer than ``JOURNAL_DEADLINE``: then nothing may
        leave. Raises Claimed for the intent of a create that another request holds.
        """
        if self._closed or len(self._gathered) >= JOURNAL_QUEUE_BOUND:
            raise Unavailable("audit_unavailable", "The audit journal cannot keep up.")
        if self._thread is None:
            self.start()
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = _Waiting(access, future, deadline=loop.time() + _DEADLINE_S)
        self._gathered.append(waiting)
        self._awaited.append(waiting)
        if self._expiry is None:
            self._expiry = loop.call_later(_DEADLINE_S, self._expire, loop)
        if not self._to_ring:
            self._to_ring = True
            loop.call_soon(self._ring)
        await future

    async def intend(self, intent: Access) -> Recorded:
        """Record that a write is about to leave. Raises as ``record`` does; then it must not leave."""
        await self.record(intent)
        return Recorded(intent.request_id)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse whoever waited too long. Whether a batch that was already sent arrives is found when the chain's end is read again."""
        self._expiry = None
        awaited, now = self._awaited, loop.time()
        while awaited and (_is_over(awaited[0]) or awaited[0].deadline <= now):
            waiting = awaited.popleft()
            if not _is_over(waiting):
                waiting.given_up = True
                self._is_failing("audit_deadline")
                assert waiting.future is not None, "only those with a caller are awaited"
                waiting.future.set_exception(
                    Unavailable("audit_unavailable", "The audit journal did not answer in time.")
                )
        if awaited:
            self._expiry = loop.call_later(max(0.0, awaited[0].deadline - now), self._expire, loop)

    def release(self, request_id: str) -> None:
        """Let an identical create pass again: this one's app was sent its outcome. Not waited for."""
        self._releases.append(request_id)
        self._bell.put(True)

    def note(self, access: Access) -> None:
        """Record this once the journal works again: a request that was refused because it could not be recorded."""
        if len(self._notes) >= NOTES_BOUND:
            self._fold(self._notes.popleft())
        self._notes.append(access)
        if self._note_timer is None and not self._closed:
            seconds = NOTE_RETRY.total_seconds()
            self._note_timer = asyncio.get_running_loop().call_later(seconds, self._try_notes)

    def _fold(self, oldest: Access) -> None:
        """Count a note for which there is no room in the one record that is made of its like."""
        if oldest.rule != FOLDED_NOTES:
            metrics.JOURNAL_FOLDED.add(by=oldest.count)
        key = oldest.outcome, oldest.reason
        before = self._folded_notes.get(key)
        self._folded_notes[key] = Access(
            request_id=oldest.request_id,
            decision=oldest.decision,
            at=oldest.at,
            tenant="",
            interaction=oldest.interaction,
            resource_type="",
            status=oldest.status,
            outcome=oldest.outcome,
            reason=oldest.reason,
            rule=FOLDED_NOTES,
            count=oldest.count + (before.count if before is not None else 0),
        )

    def _try_notes(self) -> None:
        self._note_timer = None
        self._queue_notes()

    def _queue_notes(self) -> None:
        """Queue the notes as far as there is room. Those that fail come back, to be tried again later."""
        room = JOURNAL_QUEUE_BOUND - len(self._gathered)
        while room > 0 and (self._folded_notes or self._notes):
            note = self._folded_notes.popitem()[1] if self._folded_notes else self._notes.popleft()
            self._gathered.append(_Waiting(note, is_note=True))
            room -= 1
        self._bell.put(True)

    def _ring(self) -> None:
        self._to_ring = False
        self._bell.put(True)

    async def record_refusal_by_stranger(self, access: Access) -> None:
        """Record a refusal of somebody unauthenticated: the first of a source and minute singly, the rest as one counted record."""
        for folded in self._strangers.turn(access):
            self.note(folded)
        if self._strangers.is_single(access):
            await self.record(access)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self.flush_strangers)

    def flush_strangers(self) -> None:
        """Write the counted records that are due; runs a minute after the first of them, and at close. They wait for room as notes do."""
        self._timer = None
        for folded in self._strangers.flush():
            self.note(folded)
        self._queue_notes()

    def close(self) -> None:
        """Make durable what is queued, then stop. Later records are refused."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._timer, self._note_timer):
            if timer is not None:
                timer.cancel()
        self.flush_strangers()
        if self._thread is not None:
            self._bell.put(False)
            self._thread.join(JOURNAL_CLOSE_WITHIN.total_seconds())
            if self._thread.is_alive():
                _log.error("audit.journal.stuck", writer=self.writer, lost=self._unwritten())
                return
        self._writer.close()
        if lost := self._unwritten():
            _log.error("audit.notes.lost", writer=self.writer, count=lost)

    def _unwritten(self) -> int:
        """Return how many requests the notes stand for that were not made durable."""
        queued = (each.access for each in self._gathered.copy() if each.future is None)
        return sum(each.count for each in (*self._notes, *self._folded_notes.values(), *queued))

    def _run(self) -> None:
        open_ = True
        while open_:
            open_ = self._rung()
            self._release()
            full = True
            while full:
                full = len(self._gathered) >= JOURNAL_BATCH_BOUND
                if batch := self._taken():
                    self._commit(batch)

    def _rung(self) -> bool:
        """Wait for a ring, and hear all that came; False for the last."""
        open_ = self._bell.get()
        with suppress(Empty):
            while open_:
                open_ = self._bell.get_nowait()
        return open_

    def _taken(self) -> list[_Waiting]:
        gathered = self._gathered
        taken = [gathered.popleft() for _ in range(min(len(gathered), JOURNAL_BATCH_BOUND))]
        return [each for each in taken if not each.given_up]

    def _release(self) -> None:
        released = [self._releases.popleft() for _ in range(len(self._releases))]
        if released:
            try:
                self._writer.release(released)
            except Exception as error:  # noqa: BLE001 - the thread's edge, as in _commit: the journal must go on
                self._releases.extendleft(reversed(released))
                if not isinstance(error, HilumError):
                    _log.error("audit.release.failed", writer=self.writer, error=type(error).__name__)

    def _write(self, batch: list[_Waiting]) -> int:
        """Append a batch, with the claims that its creates need in the same commit; return how many records. What is held is refused."""
        wanted: dict[str, bytes] = {}
        for each in batch:
            if each.access.outcome is Outcome.INTENDED and (key := policy.claim_of(each.access)):
                wanted[each.access.request_id] = key
        with ExitStack() as claims:
            if wanted:
                at = max(each.access.at for each in batch)
                try:
                    held = claims.enter_context(self._writer.claiming(wanted, at))
                except HilumError as error:  # nobody's business but theirs
                    batch = self._without(batch, dict.fromkeys(wanted, error))
                else:
                    batch = self._without(batch, {each: Claimed(holder) for each, holder in held.items()})
            if batch:
                accesses = (each.access for each in batch)
                self._writer.append(link_batch(accesses, self._writer.tip(), self._ids))
        return len(batch)

    def _without(self, batch: list[_Waiting], refused: Mapping[str, HilumError]) -> list[_Waiting]:
        """Return a batch without the intents that are refused, whose callers are told."""
        for each in batch:
            if each.access.request_id in refused and each.access.outcome is Outcome.INTENDED:
                self._wake_soon([each], refused[each.access.request_id])
                each.given_up = True
        return [each for each in batch if not each.given_up] if refused else batch

    def _append(self, batch: list[_Waiting]) -> int:
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
            if self._watch is not None:
                self._watch.commit(partial(self._append, batch), len(batch))
            else:
                self._append(batch)
        except HilumError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the thread's edge: whoever waits must hear of it
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
                if each.is_note and failure is not None:
                    self.note(each.access)
            elif not future.done():
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)
        awaited = self._awaited
        while awaited and _is_over(awaited[0]):
            awaited.popleft()
        if failure is None:
            if self._failing:
                self._failing = False
                _log.warning("audit.journal.recovered", writer=self.writer)
            self._queue_notes()
        elif not isinstance(failure, Claimed):
            self._is_failing(failure.code)

    def _is_failing(self, code: str) -> None:
        if self._watch is not None:
            self._watch.failed()
        if not self._failing:
            self._failing = True
            _log.error("audit.journal.failing", writer=self.writer, code=code)


def _is_over(waiting: _Waiting) -> bool:
    return waiting.future is None or waiting.future.done()


class UnauthenticatedRefusals:
    """Folds unauthenticated refusals by tenant and network. Each counted record looks like the last refusal that it counts."""

    def __init__(self) -> None:
        self._sources, self._aggregated = Sources(), AggregatedRefusals()
        self._last: dict[tuple[str, str], Access] = {}

    def turn(self, access: Access) -> list[Access]:
        """Return the counted records that are due at the time of this access."""
        return self.flush() if self._aggregated.are_due(access.at.timestamp()) else []

    def is_single(self, access: Access) -> bool:
        """Count the access; True when it deserves a record of its own."""
        now = access.at.timestamp()
        loud = self._sources.is_loud(access.source, now)
        self._sources.refused(access.source, now)
        if not loud:
            tenant, network = self._aggregated.add(access.tenant, access.source, now)
            bare = replace(access, path="", query="", tenant=tenant, source=network, rule="folded")
            self._last[tenant, network] = bare
        return loud

    def flush(self) -> list[Access]:
        """Return the counted records, and begin again at nothing."""
        last, self._last = self._last, {}
        return [
            replace(last[tenant, network], count=count) for tenant, network, count in self._aggregated.take()
        ]


def open_journal(
    database_url: str, directory: Path, writer: str, ids: Ids, *, clock: Clock | None = None
) -> Journal:
    """Make this process's journal: in the PostgreSQL that the control plane uses, else in a file of ``directory``.

    ``writer`` names the process and its boot; no two that ever ran share it. With a clock it is watched: ``Journal.failing``.
    """
    if database_url.startswith("postgresql"):
        return Journal(PostgresWriter(database_url, writer), ids, Watch(clock) if clock is not None else None)
    file = JournalFile(directory, writer)
    return Journal(file, ids, Watch(clock, lambda: file.path) if clock is not None else None)


def open_reader(directory: Path, database_url: str) -> AccessReader:
    """Open what reads all journals of the installation."""
    postgresql = database_url.startswith("postgresql")
    journals = PostgresReader(database_url) if postgresql else FileReader(directory)
    return Indexed(journals, lambda: open_index(database_url, directory))


def index_accesses(directory: Path, database_url: str, go_on: Callable[[], bool] = lambda: True) -> int:
    """Index what was recorded since the last time; return how many records. ``go_on`` is asked before each batch."""
    index = open_index(database_url, directory, make=True)
    assert index is not None, "it was made"
    return index_what_came(open_reader(directory, database_url), index, go_on)


@dataclass(frozen=True, slots=True)
class Intents:
    """The writes of the whole installation that have no outcome yet. All but ``look_up`` blocks, so it is for a thread."""

    open_reader: Callable[[], AccessReader]
    in_thread: Callable[[Callable[[], list[Access]]], Awaitable[list[Access]]] = asyncio.to_thread
    """Runs a look-up for an event loop; bounds how many run, and so connect, at once."""

    async def look_up(self, request_id: str) -> list[Access]:
        """Return what ``find`` does, off the event loop. Raises Unavailable."""
        return await self.in_thread(lambda: self.find(request_id))

    def find(self, request_id: str) -> list[Access]:
        """Return every record of one request. Raises Unavailable."""
        return self.open_reader().find(request_id)

    def list_open(self) -> list[OpenIntent]:
        """List writes without an outcome, oldest first, at most ``OPEN_INTENTS_BOUND``. Raises Unavailable."""
        return self.open_reader().open_intents()

    def forget(self, request_ids: Sequence[str]) -> None:
        """Take settled ones off the list. Raises Unavailable."""
        self.open_reader().forget_intents(request_ids)


def access_heads(directory: Path, database_url: str) -> dict[str, Head]:
    """Tell the durable heads of all access chains, for a checkpoint."""
    return open_reader(directory, database_url).heads()
