"""Single records of the control chains with what precedes them, and the checkpoints since a moment."""

from collections.abc import Collection, Iterator
from datetime import datetime

from sqlalchemy import Connection, desc, select

from hilum.foundation.infra.db import in_batches
from hilum.records.audit import policy
from hilum.records.audit.models import Checkpoint
from hilum.records.audit.store import (
    STREAM_BATCH,
    audit_checkpoint,
    audit_event,
    header_of,
    read_checkpoint,
    with_payload,
)


def links(tx: Connection, writer: str, seqs: Collection[int]) -> dict[int, tuple[policy.Row, bytes]]:
    """Return records of a control chain, each with the hash of the one before it; empty if that is gone."""
    wanted = sorted({each for seq in seqs for each in (seq, seq - 1)})
    rows: dict[int, policy.Row] = {}
    for some in in_batches(wanted):
        found = with_payload().where(audit_event.c.writer == writer, audit_event.c.seq.in_(some))
        for row in tx.execute(found).mappings():
            seq = int(row["seq"])
            body = (row["salt"], row["body"])
            rows[seq] = (seq, header_of(row), bytes(row["digest"]), bytes(row["hash"]), *body)
    return {seq: (rows[seq], rows[seq - 1][3] if seq - 1 in rows else b"") for seq in seqs if seq in rows}


def checkpoints_since(tx: Connection, moment: datetime) -> Iterator[tuple[Checkpoint, bytes]]:
    """Stream the checkpoints since a moment, newest first, with the bytes that were signed."""
    newest_first = select(audit_checkpoint).order_by(desc(audit_checkpoint.c.number))
    with tx.execute(newest_first.execution_options(yield_per=STREAM_BATCH)) as rows:
        for row in rows:
            if row.at < moment:
                return
            yield read_checkpoint(row)
