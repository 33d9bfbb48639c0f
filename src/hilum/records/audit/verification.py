"""Verification of every stored chain, and of every chain that a checkpoint says must exist."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.lists import counted
from hilum.records.audit import encoding, policy, store
from hilum.records.audit.journal_records import AccessReader, ChainRows
from hilum.records.audit.models import (
    OPEN_INTENTS_BOUND,
    SETTLEMENT,
    Anchored,
    Checkpoint,
    Head,
    Outcome,
    Stream,
    Unsettled,
    Verdict,
)
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

MayLack = Callable[[bytes], bool]
_NOTHING: Head = (0, "")


def verify(ctx: Context, reader: AccessReader, anchors: Sequence[Anchored] = ()) -> Verdict:
    """Verify that nothing was edited, removed or reordered, against chains, checkpoints and anchors."""
    faults = policy.Faults()
    # Filled while the checkpoints are streamed, so that they are read once.
    met = dict.fromkeys((each.number for each in anchors), "")
    checkpoints: int = 0
    covered: dict[str, Head] = {}

    def is_signed(checkpoint: Checkpoint, signed: bytes) -> bool:
        return keys.verify_bytes(ctx, Purpose.CHECKPOINT, checkpoint.kid, signed, checkpoint.signature)

    with _reported(faults, "the checkpoints"):
        stored = _noting(store.checkpoints(ctx.tx), met)
        checkpoints, covered = policy.fold_checkpoints(stored, faults, now=ctx.now, is_signed=is_signed)
    anchored = policy.judge_anchors(anchors, met, faults, last=checkpoints, now=ctx.now)
    seen: set[str] = set()
    walks: list[policy.ChainCounts] = []
    writes = _Writes()
    with _reported(faults, "the list of chains"):
        for chain, note, may_lack in _chains(ctx, reader, faults):
            # The same name twice: a chain was copied to hide an edited one.
            if chain.name in seen:
                faults.add(f"chain {chain.name}: occurs twice")
            seen.add(chain.name)
            if chain.fault:
                faults.add(f"chain {chain.name}: {chain.fault}")
            with _reported(faults, f"chain {chain.name}"):
                rows = writes.noting(chain.rows) if chain.name.startswith(f"{Stream.ACCESS}/") else chain.rows
                walk = _walk(
                    replace(chain, rows=rows), note, covered.get(chain.name, _NOTHING), may_lack, faults
                )
                walks.append(walk)
    # Checkpoints say which chains must exist, so that a chain cannot be removed as a whole.
    for name in sorted(set(covered) - seen):
        faults.add(f"chain {name}: was checkpointed at record {covered[name][0]} and is gone")
    records, purged, uncovered = (
        sum(getattr(walk, each) for walk in walks) for each in ("records", "purged", "uncovered")
    )
    return Verdict(records, checkpoints, uncovered, faults.sentences(), purged, anchored, writes.unsettled())


class _Writes:
    """Collects writes with an intent and no outcome, over all chains. Removes settled ones at once, so memory stays small.

    A settlement may be in a chain that is verified before that of its intent: ``_early`` holds those.
    """

    def __init__(self) -> None:
        self._open: dict[str, datetime] = {}
        self._early: set[str] = set()

    def noting(self, rows: Iterator[policy.Row]) -> Iterator[policy.Row]:
        """Yield a chain's rows unchanged, and inspect those of writes."""
        for row in rows:
            header = row[1]
            # A search of bytes: only headers of writes are decoded.
            if _INTENDED in header:
                request_id, _, rest = header.partition(b"\n")
                name = request_id.decode(errors="replace")
                if name in self._early:
                    self._early.discard(name)
                else:
                    self._open[name] = encoding.at_of(rest)
            elif (self._open or _SETTLED in header) and policy.may_be_write(header):
                self._close(header)
            yield row

    def _close(self, header: bytes) -> None:
        request_id, _, rest = header.partition(b"\n")
        try:
            access = encoding.decode(request_id.decode(errors="replace"), rest, None)
        except ValueError:
            return  # tampered: verify_chain reports it
        if policy.closes(access):
            found = self._open.pop(access.request_id, None)
            if found is None and access.rule == SETTLEMENT:
                self._early.add(access.request_id)

    def unsettled(self) -> tuple[Unsettled, ...]:
        ordered = sorted(self._open.items(), key=lambda each: (each[1], each[0]))
        return tuple(Unsettled(*each) for each in ordered[:OPEN_INTENTS_BOUND])


_INTENDED = f'"{Outcome.INTENDED}"'.encode()
_SETTLED = f'"{SETTLEMENT}"'.encode()


@contextmanager
def _reported(faults: policy.Faults, where: str) -> Iterator[None]:
    """Report as a fault what cannot be read, since this platform never wrote it. An unreachable database is raised instead."""
    try:
        yield
    except store.UNREADABLE as error:
        if store.is_unreachable(error):
            raise
        faults.add(f"{where}: a value cannot be read, so this platform did not write it")


def _walk(
    chain: ChainRows, note: Head, covered: Head, may_lack: MayLack, faults: policy.Faults
) -> policy.ChainCounts:
    required: dict[int, set[bytes]] = {}
    # Both the stored head and the checkpointed one must be met; if they disagree at one seq, the set has two
    # hashes and neither matches.
    for seq, digest in (note, covered):
        if seq:
            required.setdefault(seq, set()).add(bytes.fromhex(digest))
    walk = policy.verify_chain(
        chain.name,
        chain.first,
        chain.rows,
        required=required,
        covered=covered[0],
        may_lack=may_lack,
        faults=faults,
    )
    if walk.records < chain.at_least:
        faults.add(f"chain {chain.name}: holds {counted(walk.records, 'record')} where {chain.at_least} were")
    return walk


def _noting(
    checkpoints: Iterator[tuple[Checkpoint, bytes]], met: dict[int, str]
) -> Iterator[tuple[Checkpoint, bytes]]:
    """Yield the checkpoints unchanged, and store in ``met`` the digests of the anchored ones."""
    for checkpoint, signed in checkpoints:
        if checkpoint.number in met:
            met[checkpoint.number] = policy.checkpoint_digest(signed, checkpoint.signature)
        yield checkpoint, signed


def _chains(
    ctx: Context, reader: AccessReader, faults: policy.Faults
) -> Iterator[tuple[ChainRows, Head, MayLack]]:
    purges: dict[str, datetime] = {}
    with _reported(faults, "the purge events"):
        purges = store.purges(ctx.tx)
    notes: dict[str, Head] = {}
    with _reported(faults, "the stored heads"):
        notes = store.control_heads(ctx.tx)
    for writer in store.control_writers(ctx.tx):
        name = f"{Stream.CONTROL}/{writer}"
        rows = store.control_rows(ctx.tx, writer)
        fault = "" if name in notes else "its stored head is gone"
        chain = ChainRows(name, policy.genesis(Stream.CONTROL, writer), rows, fault=fault)
        yield chain, notes.get(name, _NOTHING), lambda header: store.may_lack_payload(header, purges)
    horizon = purges.get(Stream.ACCESS)
    for chain in reader.chains():
        yield chain, _NOTHING, lambda header: _before(header, horizon)


def _before(header: bytes, horizon: datetime | None) -> bool:
    # Access payloads have one class, so one horizon.
    return horizon is not None and encoding.at_of(header.partition(b"\n")[2]) < horizon
