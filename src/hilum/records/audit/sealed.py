"""Records that are evidence: read with the proof that they are as they were written, without walking whole chains.

Accesses are read from the journals and not by their index, so that a row taken from the index hides nothing; each chain is followed from a moment
to its end, and compared with the signed checkpoints on the way. Events are compared with the hash of the record before each; that nobody
rehashed what follows is what ``verify`` finds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from hilum.foundation.infra.context import Context
from hilum.records.audit import encoding, policy, sealed_store
from hilum.records.audit.journal_records import AccessReader, ChainRows
from hilum.records.audit.models import Access, Checkpoint, RecordedEvent, Stream
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

RECORDS_BOUND = 500_000
"""Records of all chains that are followed for one reader."""
SEALED_WITHIN = timedelta(minutes=1)
"""How old a record may be that no checkpoint covers yet: they are made every second."""
Signed = tuple[Checkpoint, bytes]


@dataclass(slots=True)
class Sealed:
    """Accesses with their place and link, and what is wrong with the chains that they are of, in sentences."""

    accesses: list[tuple[Access, str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    followed: int = 0


def accesses(ctx: Context, reader: AccessReader, run: str, since: datetime) -> Sealed:
    """Return every access of a run since a moment, from chains that hold."""
    found = Sealed()
    # Before the records are: what a checkpoint covers was durable when it was made, so it must be there.
    heads: dict[str, dict[int, Signed]] = defaultdict(dict)
    for checkpoint, signed in sealed_store.checkpoints_since(ctx.tx, since):
        for name, (seq, _) in checkpoint.heads.items():
            heads[name][seq] = checkpoint, signed

    def genuine(of: Signed) -> bool:
        checkpoint, signed = of
        return keys.verify_bytes(ctx, Purpose.CHECKPOINT, checkpoint.kid, signed, checkpoint.signature)

    for chain in reader.stretches(since):
        _follow(found, chain, heads.get(chain.name, {}), genuine, needle=run, now=ctx.now)
        if found.followed > RECORDS_BOUND:
            found.faults.append("Too many requests were recorded in the meantime to follow the chains.")
            return found
    return found


def _follow(
    found: Sealed,
    chain: ChainRows,
    heads: Mapping[int, Signed],
    genuine: Callable[[Signed], bool],
    *,
    needle: str,
    now: datetime,
) -> None:
    previous, expected, last_head = chain.first, 0, 0
    quoted, unsealed = encoding.quoted(needle), None
    for seq, header, digest, stored, salt, payload in chain.rows:
        found.followed += 1
        if found.followed > RECORDS_BOUND:
            return
        if expected and seq != expected:
            found.faults.append(f"Records are missing before record {seq} of {chain.name}.")
        # Unlike in a verification of the whole audit, a purged payload is a fault here: what the app did
        # can no longer be read.
        if payload is None or salt is None or sha256(salt + payload).digest() != digest:
            found.faults.append(f"The contents of record {seq} of {chain.name} were edited or removed.")
        elif policy.link(previous, digest, header) != stored:
            found.faults.append(
                f"Record {seq} of {chain.name} was edited, or does not follow the one before it."
            )
        # A cheap test of the bytes: most records of a chain are of other requests. What is decoded decides.
        elif quoted in header:
            request_id, _, rest = header.partition(b"\n")
            access = encoding.decode(request_id.decode(), rest, payload)
            if access.run == needle:
                found.accesses.append((access, f"{chain.name}.{seq}", stored.hex()))
        if seq in heads:
            if bytes.fromhex(heads[seq][0].heads[chain.name][1]) != bytes(stored):
                found.faults.append(f"Record {seq} of {chain.name} is not the one that was signed for.")
            last_head, unsealed = seq, None
        # The oldest record after the last checkpoint: its age shows whether a checkpoint is overdue.
        elif unsealed is None:
            unsealed = header
        previous, expected = bytes(stored), seq + 1
    if any(seq >= expected for seq in heads) and expected:
        found.faults.append(f"Records are missing at the end of {chain.name}.")
    if last_head and not genuine(heads[last_head]):
        found.faults.append(f"The checkpoint over {chain.name} is not signed by this platform.")
    if unsealed is not None and _at(unsealed) < now - SEALED_WITHIN:
        found.faults.append(f"No checkpoint covers the end of {chain.name} yet. Try again in a minute.")


def _at(header: bytes) -> datetime:
    """Return when a record was made; the beginning of time if that cannot be read."""
    try:
        return encoding.at_of(header.partition(b"\n")[2])
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def event_links(
    ctx: Context, events: Iterable[RecordedEvent]
) -> tuple[dict[tuple[str, int], str], list[str]]:
    """Return the link of each event in its chain, and a sentence for each that is not as it was written."""
    by_writer: dict[str, set[int]] = defaultdict(set)
    for each in events:
        by_writer[each.writer].add(each.seq)
    found: dict[tuple[str, int], str] = {}
    faults: list[str] = []
    for writer, seqs in sorted(by_writer.items()):
        linked = sealed_store.links(ctx.tx, writer, seqs)
        for seq in sorted(seqs):
            if seq not in linked or not _holds(writer, *linked[seq]):
                faults.append(f"Event {seq} of {Stream.CONTROL}/{writer} was edited.")
            else:
                found[writer, seq] = linked[seq][0][3].hex()
    return found, faults


def _holds(writer: str, row: policy.Row, previous: bytes) -> bool:
    seq, header, digest, stored, salt, payload = row
    if seq == 1:
        previous = policy.genesis(Stream.CONTROL, writer)
    if digest != policy.NO_PAYLOAD and (
        payload is None or salt is None or policy.payload_digest(salt, payload) != digest
    ):
        return False
    return policy.link(previous, digest, header) == stored
