"""Connections to PostgreSQL, with deadlines that hold even when the server or the network stalls.

The server's own timeouts end long statements. They do not help when the server is stopped or packets are lost, so each wait is
bounded here too. A connection that missed its deadline is closed: a late answer would be taken for that of the next statement.
"""

from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus, TransactionStatus

from hilum.foundation.infra.lanes import BOUNDS, Bounds, Lane

T = TypeVar("T")
CONNECT_S = 2
"""The least that libpq allows."""
# Below the statement limits of the lanes that write, so that a wait for a lock is reported as one.
LOCK_S = 2.0
SERVER_FIRST_S = 0.5
"""How much longer an answer is waited for than the server's own timeout, whose error is more specific and leaves the connection usable."""
# A process that was frozen within a transaction holds its row locks, and the claim of a create, no
# longer than this (ADR 26).
IDLE_IN_TRANSACTION_S = 10.0
_POLL_S = 0.1
_KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    # Milliseconds. Keepalives do not cover data that was sent and is not acknowledged.
    "tcp_user_timeout": 6_000,
}
"""With these the kernel detects a dead peer within some ten seconds, even on an idle connection."""


class ServerTimeout(psycopg.OperationalError):
    """The server did not answer in time; it may or may not have executed the statement."""


class _Cursor(psycopg.Cursor[Any]):
    """Sends BEGIN together with the first statement of a transaction, which saves a round trip."""

    def execute(self, *args: Any, **options: Any) -> Self:
        info = self.connection.info
        begins = not self.connection.autocommit and info.transaction_status is TransactionStatus.IDLE
        if not begins or info.pipeline_status is not PipelineStatus.OFF:
            return super().execute(*args, **options)
        with self.connection.pipeline():
            return super().execute(*args, **options)


class Link(psycopg.Connection[Any]):
    """A connection that waits at most ``statement_s`` for an answer, and never past ``until`` (monotonic time)."""

    statement_s: float | None = None
    until: float | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = _Cursor

    def _start_query(self) -> PQGen[None]:
        # The driver's own method, which in a pipeline waits for the answer to BEGIN. Without this one, only that wait returns.
        if not self.autocommit and self.info.transaction_status is TransactionStatus.IDLE:
            yield from self._exec_command(b"BEGIN")

    def wait(self, gen: PQGen[T], interval: float = _POLL_S, timeout: float | None = None) -> T:
        begun = monotonic()
        bounds = [each for each in (timeout, self.statement_s) if each is not None]
        if self.until is not None:
            bounds.append(max(0.0, self.until - begun))
        if not bounds:
            return super().wait(gen, interval)
        bound = min(bounds)
        try:
            return super().wait(gen, interval, bound)
        except psycopg.OperationalError as error:
            if timeout is None and monotonic() - begun >= bound:
                # Only for our own bound: the time-out of a caller, as ``notifies`` has, is a normal end of its wait.
                self.pgconn.finish()
                # A pipeline's end is suspended here. Left to the collector, it would fail later, where nobody can catch it.
                with suppress(psycopg.Error):
                    gen.close()
                raise ServerTimeout("the server did not answer in time") from error
            raise


Statement = tuple[str, Any]
"""An SQL text with the driver's placeholders, and its values."""
QUEUED = "queued"
"""Key in a connection's ``info`` of the statements that wait to be sent, whose results are not needed."""


def send(link: Link, statements: Sequence[Statement], *, commit: bool) -> None:
    """Send statements, then the commit, in one round trip. The first error aborts the transaction; nothing after it is executed."""
    if not statements:
        if commit:
            link.commit()
        return
    # Nothing was sent in this transaction yet, so these statements are all of it. The server commits a pipeline as one transaction;
    # BEGIN and COMMIT would each cost as much as a statement.
    is_whole = commit and link.info.transaction_status is TransactionStatus.IDLE
    if is_whole:
        link.autocommit = True
    try:
        with link.pipeline():
            for sql, values in statements:
                link.execute(sql, values)
            if commit and not is_whole:
                link.execute("COMMIT")  # ``link.commit`` would wait for its own answer: one more round trip
    except IndexError as error:
        # A commit at the end of a pipeline that fails is one result more than psycopg (3.3) waits for, if it arrives early.
        raise psycopg.OperationalError("the transaction was not committed") from error
    finally:
        if is_whole and link.info.transaction_status is TransactionStatus.IDLE:
            link.autocommit = False
        elif is_whole:  # libpq cannot leave the pipeline once the commit at its end has failed
            link.close()


def connect(url: str, lane: Lane, *, autocommit: bool = False) -> Link:
    """Connect with the deadlines of a lane. Raises psycopg.OperationalError."""
    bounds = BOUNDS[lane]
    link: Link = Link.connect(
        url,
        autocommit=autocommit,
        connect_timeout=CONNECT_S,
        application_name=f"hilum {lane}",
        options=_options(url, bounds),
        **_KEEPALIVES,
    )
    link.statement_s = None if bounds.statement_s is None else bounds.statement_s + SERVER_FIRST_S
    return link


def _options(url: str, bounds: Bounds) -> str:
    """Return the server's timeouts as connection options. Those in the operator's URL come last and therefore win."""
    timeouts = {}
    if bounds.statement_s is not None:
        timeouts = {
            "statement_timeout": bounds.statement_s,
            "lock_timeout": LOCK_S,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_S,
        }
    own = " ".join(f"-c {name}={round(value * 1000)}" for name, value in timeouts.items())
    configured = conninfo_to_dict(url).get("options")
    return f"{own} {configured}" if configured else own
