"""What both journals, in files and in PostgreSQL, share: batches of chained records, and the protocols of writers and readers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Protocol

from hilum.foundation.kernel.errors import Invalid, Unavailable
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.foundation.kernel.ports import Ids
from hilum.foundation.kernel.times import from_micros, to_micros
from hilum.records.audit import encoding, policy
from hilum.records.audit.models import (
    Access,
    AccessPage,
    AccessQuery,
    Head,
    OpenIntent,
    Outcome,
    Window,
    WindowQuery,
)

_SALT_BYTES, _SALT_LETTERS = 17, 22
"""Random bytes drawn for each salt, and its letters of 6 bits each: 132 random bits."""
_HEADER_WORDS = ("tenant", "app", "client", "person", "launch", "authorization", "run", "reason", "outcome")


# Order of fields is order of sorting: time first, then journal and number, which make the order total.
@dataclass(frozen=True, slots=True, order=True)
class RecordPosition:
    """The position of a record: time, journal, number in the journal. Lists of accesses are sorted by it."""

    at: datetime
    journal: str
    number: int

    def write(self) -> str:
        """Return it as the cursor of a page."""
        return f"{to_micros(self.at)}.{self.journal}.{self.number}"

    @staticmethod
    def read(cursor: str) -> "RecordPosition":
        """Parse a cursor. Raises Invalid."""
        at, _, rest = cursor.partition(".")
        journal, _, number = rest.rpartition(".")
        if not journal or not all(
            part.isascii() and part.isdigit() and len(part) < 18 for part in (at, number)
        ):
            raise Invalid(
                "cursor_invalid",
                "The cursor is not valid. Pass `next` of the previous page.",
                fields={"after": "cursor_unknown"},
            )
        # Digits are bounded above: a longer number would overflow the database's 64 bits and answer 500.
        return RecordPosition(from_micros(int(at)), journal[:10], int(number))


@dataclass(slots=True)
class Batch:
    """Records to be made durable together, as columns; each record is chained to the one before."""

    request_ids: list[str] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    """Positions of intents in the batch."""
    closed: list[str] = field(default_factory=list)
    """Request ids of writes whose outcome is in the batch."""


def link_batch(accesses: Iterable[Access], previous: bytes, ids: Ids) -> Batch:
    """Encode and chain records in order, the first to ``previous``."""
    batch = Batch()
    accesses = tuple(accesses)
    # One system call for the salts of a batch: each call releases the interpreter's lock, and getting it back
    # may wait for the event loop.
    salts = ids.secret(_SALT_BYTES * len(accesses)).encode()
    # Written out instead of calling policy.link: this loop is between a request and its answer.
    for at, access in enumerate(accesses):
        header, body = encoding.encode(access)
        # A salt for each record: equal payloads have different
        # digests, so that a purged one cannot be found by comparing.
        salt = salts[at * _SALT_LETTERS : (at + 1) * _SALT_LETTERS]
        assert len(salt) == _SALT_LETTERS, "one salt for each record"
        digest = sha256(salt + body).digest()
        previous = sha256(previous + digest + encoding.covered(access.request_id, header)).digest()
        batch.request_ids.append(access.request_id)
        batch.headers.append(header)
        batch.digests.append(digest)
        batch.hashes.append(previous)
        batch.salts.append(salt)
        batch.bodies.append(body)
        if access.outcome is Outcome.INTENDED:
            batch.opened.append(len(batch.hashes) - 1)
        elif policy.closes(access):
            batch.closed.append(access.request_id)
    return batch


@dataclass(frozen=True, slots=True)
class ChainRows:
    """One stored chain to be verified. ``at_least``: how many records it must have, known if another chain follows it.

    ``fault``: what is already wrong before any record is read, such as a wrong first record.
    """

    name: str
    first: bytes
    rows: Iterator[policy.Row]
    at_least: int = 0
    fault: str = ""


class ChainMoved(Unavailable):
    """The chain does not end where expected: a batch whose commit was given up as lost has arrived after all."""

    def __init__(self) -> None:
        super().__init__(
            "audit_unavailable", "The audit journal ends elsewhere than expected; its end must be read again."
        )


class Writer(Protocol):
    """Makes batches durable: the only writer of its chain, in one thread."""

    writer: str

    def open(self) -> None:
        """Prepare for writing. Raises Unavailable."""
        ...

    def tip(self) -> bytes:
        """Return the hash that the next record follows. Raises Unavailable."""
        ...

    def append(self, batch: Batch) -> None:
        """Commit a batch durably, or raise Unavailable and stay usable. Raises ChainMoved when the batch must be linked again."""
        ...

    def claiming(self, wanted: Mapping[str, bytes], at: datetime) -> AbstractContextManager[dict[str, str]]:
        """Claim a key for each request id, among all workers, in one commit with what is appended inside the ``with`` block.

        INVARIANT: no claim is visible without its durable intent. Yields the holder's request id for each request whose key is held. A
        claim lasts at most ``CLAIM_LIFE``. Raises Unavailable, also on exit; then nothing was claimed or appended.
        """
        ...

    def release(self, request_ids: Sequence[str]) -> None:
        """Release the claims of these requests."""
        ...

    def close(self) -> None: ...


Positions = dict[str, int]
"""The number of a record in each journal, by the journal's short name; 0 for journals that are absent."""
NewRecords = dict[str, list[tuple[int, Access]]]
"""Records of each journal with their numbers, in order."""
LocatedAccess = tuple[RecordPosition, Access]
Stored = tuple[str, int, str, bytes, bytes | None]
"""Journal, number, request id, header and payload of a record."""


class JournalReader(Protocol):
    """Reads every access journal of the installation while it is written.

    Methods raise Unavailable; ``chains`` may also raise the database's own errors, which verification reports as faults.
    """

    def scan(self, query: AccessQuery) -> list[LocatedAccess]:
        """Find a page of records without the index, by reading the journals backwards."""
        ...

    def at(self, places: Sequence[RecordPosition]) -> list[LocatedAccess]:
        """Read the records at these positions, in any order; positions without a record are skipped."""
        ...

    def heads(self) -> dict[str, Head]:
        """Return the last durable record of every chain, as ``access/<writer>``."""
        ...

    def chains(self) -> Iterator[ChainRows]:
        """Stream every chain in order, for verification."""
        ...

    def stretches(self, since: datetime) -> Iterator[ChainRows]:
        """Stream the part of every chain from a moment on, after the hash before it; each is read before the next one is asked for."""
        ...

    def find(self, request_id: str) -> list[Access]:
        """Find every record of one request, in order."""
        ...

    def open_intents(self) -> list[OpenIntent]:
        """List writes without an outcome, oldest first, at most ``OPEN_INTENTS_BOUND``."""
        ...

    def forget_intents(self, request_ids: Sequence[str]) -> None:
        """Remove writes from that list whose settlement was recorded in another journal."""
        ...

    def ends(self) -> Positions:
        """Return the last record of every journal."""
        ...

    def starts(self, moment: datetime) -> Positions:
        """Return, for every journal, the last record before a moment."""
        ...

    def after(self, positions: Positions, most: int) -> NewRecords:
        """Return later records of every journal, at most ``most`` of each; journals without new records are absent."""
        ...

    def close(self) -> None:
        """Close what ``ends``, ``starts`` and ``after`` keep open."""
        ...

    def purge(self, before: datetime, may_continue: Callable[[], bool] = lambda: True) -> int:
        """Remove the payloads of records older than ``before``; return how many. The chain still verifies without them.

        ``may_continue`` is called before each batch; the purge stops when it returns False.
        """
        ...


class AccessReader(JournalReader, Protocol):
    """Reads the journals, and searches them by their index."""

    def newest(self, query: AccessQuery) -> list[Access]:
        """Find a page of records, newest first. Intents are left out, since their outcome has a record of its own."""
        ...

    def page(self, query: AccessQuery) -> AccessPage:
        """Find a page of records as ``newest`` does, with the cursor of the next page."""
        ...

    def window(self, query: WindowQuery) -> Window:
        """Read what was decided about a target around a stop. Waits up to INDEX_WAITS tenths of a second for the index."""
        ...


def matching(rows: Iterable[Stored], query: AccessQuery) -> Iterator[LocatedAccess]:
    """Yield the stored rows that match. Searches the raw bytes first, since decoding every row would be slow."""
    # The stored form of a value occurs verbatim in the header.
    # A needle may also match another field, so `fits` decides.
    needles = [encoding.quoted(getattr(query, name)) for name in _HEADER_WORDS if getattr(query, name)]
    # Without quotes: an answer about several patients has it within a longer string.
    patient = encoding.quoted(query.patient)[1:-1]
    for journal, number, request_id, header, body in rows:
        if patient and (body is None or patient not in body):
            continue
        if all(needle in header for needle in needles):
            access = encoding.decode(request_id, header, body)
            placed = RecordPosition(access.at, journal, number), access
            if fits(placed, query):
                yield placed


def fits(placed: LocatedAccess, query: AccessQuery) -> bool:
    """Check whether a record matches a query."""
    place, access = placed
    if access.outcome is Outcome.INTENDED or (query.before is not None and access.at >= query.before):
        return False
    if query.since is not None and access.at < query.since:
        return False
    if query.after and place >= RecordPosition.read(query.after):
        return False
    if query.patient and not policy.is_about(access, query.patient):
        return False
    return all(getattr(query, name) in {"", getattr(access, name)} for name in _HEADER_WORDS)


def limit_of(query: AccessQuery) -> int:
    return max(1, min(query.limit, PAGE_BOUND))


def newest_of(pages: Iterable[Iterable[LocatedAccess]], query: AccessQuery) -> list[LocatedAccess]:
    """Merge records into one page, newest first, without duplicates."""
    # A record may be found by the index and in the tail at the same time, when the indexer runs in between.
    every = {place: access for page in pages for place, access in page}
    return sorted(every.items(), key=lambda placed: placed[0], reverse=True)[: limit_of(query)]
