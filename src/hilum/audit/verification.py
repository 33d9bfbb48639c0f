"""Verification: walk every chain there is, and every one that a checkpoint says there should be."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from hilum.audit import encoding, policy, store
from hilum.audit.models import Anchored, Checkpoint, Head, Stream, Verdict
from hilum.audit.rows import AccessReader, ChainRows
from hilum.infra.context import Context
from hilum.keys import service as keys
from hilum.keys.models import Purpose

MayLack = Callable[[bytes], bool]
_NOTHING: Head = (0, "")


def verify(ctx: Context, reader: AccessReader, anchors: Sequence[Anchored] = ()) -> Verdict:
    """Tell whether nothing was edited, removed or reordered, as far as anchors, checkpoints and chains reach."""
    faults = policy.Faults()
    met = dict.fromkeys((each.number for each in anchors), "")
    checkpoints, covered, last = policy.fold_checkpoints(_noting(store.checkpoints(ctx.tx), met), faults)
    anchored = policy.judge_anchors(anchors, met, faults)
    if last is not None:
        made, signed = last
        if not keys.verify_bytes(ctx, Purpose.CHECKPOINT, made.kid, signed, made.signature):
            faults.add(f"checkpoint {made.number} is not signed by a key of this platform")
    purges = store.purges(ctx.tx)
    seen: set[str] = set()
    records = purged = uncovered = 0
    for chain, note, may_lack in _chains(ctx, reader, purges):
        if chain.name in seen:
            faults.add(f"chain {chain.name}: stands in two places")
        seen.add(chain.name)
        if chain.fault:
            faults.add(f"chain {chain.name}: {chain.fault}")
        known: dict[int, set[bytes]] = {}
        for seq, digest in (note, covered.get(chain.name, _NOTHING)):
            if seq:
                known.setdefault(seq, set()).add(bytes.fromhex(digest))
        walk = policy.verify_chain(
            chain.name,
            chain.first,
            chain.rows,
            known=known,
            covered=covered.get(chain.name, _NOTHING)[0],
            may_lack=may_lack,
            faults=faults,
        )
        if walk.records < chain.at_least:
            faults.add(f"chain {chain.name}: holds {walk.records} records where {chain.at_least} were")
        records += walk.records
        purged += walk.purged
        uncovered += walk.uncovered
    for name in sorted(set(covered) - seen):
        faults.add(f"chain {name}: was checkpointed at record {covered[name][0]} and is gone")
    return Verdict(records, checkpoints, uncovered, faults.told(), purged, anchored)


def _noting(
    checkpoints: Iterator[tuple[Checkpoint, bytes]], met: dict[int, str]
) -> Iterator[tuple[Checkpoint, bytes]]:
    """Note the digests of those checkpoints that anchors name."""
    for checkpoint, signed in checkpoints:
        if checkpoint.number in met:
            met[checkpoint.number] = policy.checkpoint_digest(signed, checkpoint.signature)
        yield checkpoint, signed


def _chains(
    ctx: Context, reader: AccessReader, purges: dict[str, datetime]
) -> Iterator[tuple[ChainRows, Head, MayLack]]:
    notes = store.control_heads(ctx.tx)
    for writer in store.control_writers(ctx.tx):
        name = f"{Stream.CONTROL}/{writer}"
        rows = store.control_rows(ctx.tx, writer)
        fault = "" if name in notes else "its note of its end is gone"
        chain = ChainRows(name, policy.genesis(Stream.CONTROL, writer), rows, fault=fault)
        yield chain, notes.get(name, _NOTHING), lambda header: store.may_lack_payload(header, purges)
    horizon = purges.get(Stream.ACCESS)
    for chain in reader.chains():
        yield chain, _NOTHING, lambda header: _before(header, horizon)


def _before(header: bytes, horizon: datetime | None) -> bool:
    return horizon is not None and encoding.at_of(header.partition(b"\n")[2]) < horizon
