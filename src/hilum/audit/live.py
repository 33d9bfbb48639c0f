"""The access journal of a worker: durable before the answer leaves, by eager group commit in a thread of its own.

The loop rings once a turn for all records that the turn brought; the thread makes whatever has come durable in one commit and wakes
those who wait, while the next batch gathers. No timer: a lone record waits for nobody. Ringing for each record would wake the thread,
and pay for a commit, at every second or third request.
"""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from hilum.audit.files import FileReader, JournalFile
from hilum.audit.models import (
    ANONYMOUS_SOURCE_WINDOW,
    JOURNAL_BATCH_BOUND,
    JOURNAL_QUEUE_BOUND,
    SINGLE_REFUSALS_PER_SOURCE_MINUTE,
    SOURCES_BOUND,
    Access,
    Head,
)
from hilum.audit.postgres import PostgresReader, PostgresWriter
from hilum.audit.rows import AccessReader, Writer, link_batch
from hilum.kernel.errors import HilumError, Unavailable
from hilum.kernel.ports import Ids

_Waiting = tuple["asyncio.Future[None] | None", Access]


class Journal:
    """Records accesses. Belongs to one event loop; the thread behind it owns the chain."""

    def __init__(self, writer: Writer, ids: Ids) -> None:
        self._writer = writer
        self._ids = ids
        self._gathered: deque[_Waiting] = deque()
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._to_ring = False
        self._strangers = _Strangers()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread: Thread | None = None

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

    async def record(self, access: Access) -> None:
        """Return when the record is durable. Raises Unavailable when the queue is full or the disk refuses: then nothing may leave."""
        if self._closed or len(self._gathered) >= JOURNAL_QUEUE_BOUND:
            raise Unavailable("audit_unavailable", "The audit journal cannot keep up.")
        if self._thread is None:
            self.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._gathered.append((future, access))
        if not self._to_ring:
            self._to_ring = True
            loop.call_soon(self._ring)
        await future

    def _ring(self) -> None:
        self._to_ring = False
        self._bell.put(True)

    async def record_refusal_by_stranger(self, access: Access) -> None:
        """Record a refusal of somebody unauthenticated: the first of a source and minute singly, the rest as one counted record."""
        for folded in self._strangers.turn(access):
            self._put(folded)
        if self._strangers.is_single(access):
            await self.record(access)
        elif self._timer is None:
            seconds = ANONYMOUS_SOURCE_WINDOW.total_seconds()
            self._timer = asyncio.get_running_loop().call_later(seconds, self.flush_strangers)

    def flush_strangers(self) -> None:
        """Write the counted records that are due; runs a minute after the first of them, and at close."""
        self._timer = None
        for folded in self._strangers.flush():
            self._put(folded)

    def _put(self, access: Access) -> None:
        if len(self._gathered) < JOURNAL_QUEUE_BOUND:
            self._gathered.append((None, access))
            self._bell.put(True)

    def close(self) -> None:
        """Make durable what is queued, then stop. Later records are refused."""
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.flush_strangers()
        self._closed = True
        if self._thread is not None:
            self._bell.put(False)
            self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        open_ = True
        while open_:
            open_ = self._rung()
            while batch := self._taken():
                self._commit(batch)
                if len(batch) < JOURNAL_BATCH_BOUND:
                    break

    def _rung(self) -> bool:
        """Wait for a ring, and hear all that came; False for the last."""
        open_ = self._bell.get()
        with suppress(Empty):
            while open_:
                open_ = self._bell.get_nowait()
        return open_

    def _taken(self) -> list[_Waiting]:
        gathered = self._gathered
        return [gathered.popleft() for _ in range(min(len(gathered), JOURNAL_BATCH_BOUND))]

    def _commit(self, batch: list[_Waiting]) -> None:
        failure: HilumError | None = None
        try:
            linked = link_batch((access for _, access in batch), self._writer.tip(), self._ids)
            self._writer.append(linked)
        except HilumError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the thread's edge: whoever waits must hear of it
            failure = Unavailable("audit_unavailable", f"The audit journal failed: {type(error).__name__}.")
        loop = next((future.get_loop() for future, _ in batch if future is not None), None)
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake, batch, failure)

    def _wake(self, batch: list[_Waiting], failure: HilumError | None) -> None:
        for future, _ in batch:
            if future is None or future.done():
                continue
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)


class _Strangers:
    """Counts unauthenticated refusals by source and minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._seen: dict[str, int] = {}
        self._folded: dict[str, tuple[int, Access]] = {}

    def turn(self, access: Access) -> list[Access]:
        """Begin a new minute if the access lies in one; gives the counted records of the last."""
        minute = int(access.at.timestamp() // ANONYMOUS_SOURCE_WINDOW.total_seconds())
        if minute == self._minute:
            return []
        self._minute = minute
        self._seen.clear()
        return self.flush()

    def is_single(self, access: Access) -> bool:
        """Count the access; True when it deserves a record of its own. Past the bound all further sources are one."""
        known = access.source in self._seen or len(self._seen) < SOURCES_BOUND
        source = access.source if known else ""
        count = self._seen.get(source, 0) + 1
        self._seen[source] = count
        if count <= SINGLE_REFUSALS_PER_SOURCE_MINUTE:
            return True
        before = self._folded.get(source)
        bare = replace(access, path="", query="", source=source, rule="folded")
        self._folded[source] = ((before[0] if before else 0) + 1, bare)
        return False

    def flush(self) -> list[Access]:
        folded = [replace(access, count=count) for count, access in self._folded.values()]
        self._folded.clear()
        return folded


def open_journal(database_url: str, directory: Path, writer: str, ids: Ids) -> Journal:
    """Make this process's journal: in the PostgreSQL that the control plane uses, else in a file of ``directory``.

    ``writer`` names the process and its boot; no two that ever ran share it.
    """
    made: Writer
    if database_url.startswith("postgresql"):
        made = PostgresWriter(database_url, writer)
    else:
        made = JournalFile(directory, writer)
    return Journal(made, ids)


def open_reader(directory: Path, database_url: str) -> AccessReader:
    """Open what reads all journals of the installation."""
    return PostgresReader(database_url) if database_url.startswith("postgresql") else FileReader(directory)


def access_heads(directory: Path, database_url: str) -> dict[str, Head]:
    """Tell the durable heads of all access chains, for a checkpoint."""
    return open_reader(directory, database_url).heads()
