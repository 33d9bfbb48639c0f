"""What the two kinds of journal share: a batch of records linked into a chain, and how stored records are read back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

from hilum.audit import encoding, policy
from hilum.audit.models import Access, AccessPage, AccessQuery, Head, OpenIntent, Outcome
from hilum.kernel.errors import Invalid, Unavailable
from hilum.kernel.pages import PAGE_BOUND
from hilum.kernel.ports import Ids

_SALT_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEADER_WORDS = ("tenant", "app", "client", "person", "launch", "authorization", "run", "reason", "outcome")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record stands: when, in which journal, and as which of its records. Their order is that of every list of accesses."""

    at: datetime
    journal: str
    number: int

    def write(self) -> str:
        """Write it as the cursor of a page."""
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}.{self.journal}.{self.number}"

    @staticmethod
    def read(cursor: str) -> "Place":
        """Read a cursor. Raises Invalid."""
        at, _, rest = cursor.partition(".")
        journal, _, number = rest.rpartition(".")
        if not journal or not all(
            part.isascii() and part.isdigit() and len(part) < 18 for part in (at, number)
        ):
            raise Invalid("cursor_invalid", "This page cannot be found.", fields={"after": "cursor_unknown"})
        return Place(_EPOCH + timedelta(microseconds=int(at)), journal[:10], int(number))


@dataclass(slots=True)
class Batch:
    """Records to be made durable together, column by column, each hashed onto the one before."""

    request_ids: list[str] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    """Places in the batch of intents."""
    closed: list[str] = field(default_factory=list)
    """Request ids of writes whose outcome is in the batch."""


def link_batch(accesses: Iterable[Access], previous: bytes, ids: Ids) -> Batch:
    """Encode and hash records in their order, the first onto ``previous``."""
    batch = Batch()
    for access in accesses:
        header, body = encoding.encode(access)
        salt = ids.secret(_SALT_BYTES).encode()
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
    """One stored chain to be verified. ``at_least``: how many records it must hold, since another chain follows it.

    ``fault`` is what is wrong with its place already.
    """

    name: str
    first: bytes
    rows: Iterator[policy.Row]
    at_least: int = 0
    fault: str = ""


class ChainMoved(Unavailable):
    """The chain ends elsewhere than was thought: a batch that nobody waited for any more arrived after all."""

    def __init__(self) -> None:
        super().__init__("audit_unavailable", "The audit journal has moved on.")


class Writer(Protocol):
    """Makes batches durable: the only writer of its chain, in one thread."""

    writer: str

    def open(self) -> None:
        """Get ready to write. Raises Unavailable."""
        ...

    def tip(self) -> bytes:
        """Give the hash that the next record follows. Raises Unavailable."""
        ...

    def append(self, batch: Batch) -> None:
        """Make a batch durable, or raise Unavailable and be ready for the next. Raises ChainMoved when it must be linked again."""
        ...

    def claiming(self, wanted: Mapping[str, bytes], at: datetime) -> AbstractContextManager[dict[str, str]]:
        """Claim a key for each request id, among all workers, in one commit with what is appended within: none stands without its intent.

        Yields, for those that another request holds, that request's id. A claim lasts ``CLAIM_LIFE`` at most. Raises Unavailable, also at
        the end; then nothing was claimed or appended.
        """
        ...

    def release(self, request_ids: Sequence[str]) -> None:
        """Release the claims of these requests."""
        ...

    def close(self) -> None: ...


Positions = dict[str, int]
"""The number of a record in each journal, by the journal's short name; a journal that is not named stands at 0."""
Followed = dict[str, list[tuple[int, Access]]]
"""Records of each journal with their numbers, in their order."""


Placed = tuple[Place, Access]
Stored = tuple[str, int, str, bytes, bytes | None]
"""Journal, number, request id, header and payload of a record."""


class JournalReader(Protocol):
    """Reads every access journal of the installation while it is written."""

    def scan(self, query: AccessQuery) -> list[Placed]:
        """Find a page of records by reading the journals from their ends."""
        ...

    def at(self, places: Sequence[Place]) -> list[Placed]:
        """Read the records at these places, in any order; a place without a record is left out. Raises Unavailable."""
        ...

    def heads(self) -> dict[str, Head]:
        """Tell the last durable record of every chain, as ``access/<writer>``."""
        ...

    def chains(self) -> Iterator[ChainRows]:
        """Stream every chain in order, for verification."""
        ...

    def find(self, request_id: str) -> list[Access]:
        """Find every record of one request, in order."""
        ...

    def open_intents(self) -> list[OpenIntent]:
        """List writes without an outcome, oldest first, at most ``OPEN_INTENTS_BOUND``. Raises Unavailable."""
        ...

    def forget_intents(self, request_ids: Sequence[str]) -> None:
        """Take writes off that list whose settlement is on record in another journal. Raises Unavailable."""
        ...

    def ends(self) -> Positions:
        """Tell the last record of every journal. Raises Unavailable."""
        ...

    def starts(self, moment: datetime) -> Positions:
        """Tell of every journal the last record before a moment. Raises Unavailable."""
        ...

    def after(self, positions: Positions, most: int) -> Followed:
        """Give what follows in every journal, at most so many of each; a journal without news is left out. Raises Unavailable."""
        ...

    def close(self) -> None:
        """Let go of what following keeps open."""
        ...

    def purge(self, before: datetime, may_go_on: Callable[[], bool] = lambda: True) -> int:
        """Remove the payloads of records older than ``before``; return how many. The chain holds without them.

        ``may_go_on`` is asked before each batch; the purge ends where it says no.
        """
        ...


class AccessReader(JournalReader, Protocol):
    """Reads the journals, and searches them by their index."""

    def newest(self, query: AccessQuery) -> list[Access]:
        """Find a page of records, newest first. Intents are left out: their outcome is what happened."""
        ...

    def page(self, query: AccessQuery) -> AccessPage:
        """Find a page of records as ``newest`` does, and where the next begins."""
        ...


def chosen(rows: Iterable[Stored], query: AccessQuery) -> Iterator[Placed]:
    """Keep the stored rows that fit, judging the bytes before reading them."""
    needles = [encoding.quoted(getattr(query, name)) for name in _HEADER_WORDS if getattr(query, name)]
    patient = encoding.quoted(query.patient) if query.patient else b""
    for journal, number, request_id, header, body in rows:
        if patient and (body is None or patient not in body):
            continue
        if all(needle in header for needle in needles):
            access = encoding.decode(request_id, header, body)
            placed = Place(access.at, journal, number), access
            if fits(placed, query):
                yield placed


def fits(placed: Placed, query: AccessQuery) -> bool:
    """Return whether a record is one that the query asks for."""
    place, access = placed
    if access.outcome is Outcome.INTENDED or (query.before is not None and access.at >= query.before):
        return False
    if query.after and place >= Place.read(query.after):
        return False
    return all(getattr(query, name) in {"", getattr(access, name)} for name in (*_HEADER_WORDS, "patient"))


def limit_of(query: AccessQuery) -> int:
    return max(1, min(query.limit, PAGE_BOUND))


def newest_of(pages: Iterable[Iterable[Placed]], query: AccessQuery) -> list[Placed]:
    """Join records into one page, newest first."""
    every = {place: access for page in pages for place, access in page}
    return sorted(every.items(), key=lambda placed: placed[0], reverse=True)[: limit_of(query)]
