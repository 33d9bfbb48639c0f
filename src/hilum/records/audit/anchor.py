"""The anchor: number and digest of each checkpoint in a file outside the database, so that truncation of the database is detected.

One line per checkpoint, each fsynced, and one for each new end of the other signed chains, which begins with the chain's name. An attacker who can write both the database and this file can truncate both; only a copy
elsewhere detects that.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from hilum.foundation.kernel.errors import NotFound, Unavailable
from hilum.records.audit import policy
from hilum.records.audit.models import (
    ANCHOR_BYTES_BOUND,
    ANCHOR_HEADS_KEPT,
    ANCHOR_LINES_KEPT,
    Anchored,
    AnchoredHead,
)

_LINE_BOUND = 256
_END_READ = 1024
"""Bytes at the end of the file in which a line is looked for that was written last."""
_DIGEST = 64


def keep(path: Path, anchored: Anchored, *, fresh: bool) -> None:
    """Append a checkpoint, unless the file ends with it. Raises Unavailable.

    A pipe cannot be read back to see what it ends with, so only ``fresh`` checkpoints are written to it.
    """
    _keep(path, _line(anchored).encode(), fresh=fresh)


def keep_head(path: Path, head: AnchoredHead, *, fresh: bool) -> None:
    """Append the end of a chain, unless it is the last one of its chain. Raises Unavailable."""
    try:
        mine = [each for each in read_heads(path) if each.chain == head.chain] if path.is_file() else []
        if mine and (mine[-1].number, mine[-1].digest) == (head.number, head.digest):
            return
    except NotFound:
        pass
    _keep(path, _line(head).encode(), fresh=fresh)


def _line(anchored: Anchored | AnchoredHead) -> str:
    chain = f"{anchored.chain} " if isinstance(anchored, AnchoredHead) else ""
    return f"{chain}{anchored.number} {anchored.at.isoformat()} {anchored.digest}\n"


def _keep(path: Path, line: bytes, *, fresh: bool) -> None:
    try:
        # Non-blocking: without a reader at the other end, the jobs
        # process would hang here and no checkpoint would be made.
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            if fresh:
                _append(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), line)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(descriptor).st_size
        # The newest checkpoint is offered at every run of the job, whether or not it is new.
        end = os.pread(descriptor, _END_READ, max(0, size - _END_READ))
        if end.endswith(line) or b"\n" + line in end:
            os.close(descriptor)
            return
        # A power cut may have left half a line. It is kept, and ``read`` skips it.
        _append(descriptor, line if not end or end.endswith(b"\n") else b"\n" + line, durable=True)
    except OSError as error:
        raise Unavailable(
            "anchor_unavailable", f"The audit's anchor {path} cannot be written: {error.strerror or error}."
        ) from error
    if size > ANCHOR_BYTES_BOUND:
        with suppress(OSError):  # an append-only file cannot be trimmed, and keeps growing
            _trim(path)


def _append(descriptor: int, line: bytes, *, durable: bool = False) -> None:
    try:
        # A full disk writes in part and reports no error.
        if os.write(descriptor, line) != len(line):
            raise OSError("written in part")
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> list[Anchored]:
    """Read the checkpoints that are anchored in a file, in its order. Raises NotFound, Unavailable."""
    return [each for each in _read(path) if isinstance(each, Anchored)]


def read_heads(path: Path) -> list[AnchoredHead]:
    """Read the ends of other chains that are anchored in a file, in its order. Raises NotFound, Unavailable."""
    return [each for each in _read(path) if isinstance(each, AnchoredHead)]


def read_ends(path: Path) -> list[Anchored]:
    """Read the last checkpoint that is anchored in a file, and each after which the numbers went back. Raises NotFound, Unavailable.

    They go back where the database was replaced by a copy that lacks the newest ones.
    """
    anchored = read(path)
    follows = zip(anchored, [*anchored[1:], None], strict=True)
    return [this for this, after in follows if after is None or after.number <= this.number]


def _read(path: Path) -> list[Anchored | AnchoredHead]:
    if path.exists() and not path.is_file():
        raise Unavailable(
            "anchor_unavailable",
            f"{path} is not a regular file and cannot be read back; pass a copy of what was written to it.",
        )
    try:
        with path.open("rb") as lines:
            return [anchored for anchored in map(_read_line, _bounded(lines)) if anchored]
    except FileNotFoundError as error:
        raise NotFound(
            "anchor_not_found",
            f"There is no anchor at {path}. Checkpoints are anchored in HILUM_AUDIT_ANCHOR, by default audit-anchor.log in HILUM_DATA_DIR.",
        ) from error
    except OSError as error:
        raise Unavailable("anchor_unavailable", f"The anchor at {path} cannot be read.") from error


def _bounded(lines: BinaryIO) -> Iterator[bytes]:
    # Bounded, since the file may have been replaced by one without line ends.
    while line := lines.readline(_LINE_BOUND):
        yield line


def _read_line(line: bytes) -> Anchored | AnchoredHead | None:
    try:
        *chain, number, at, digest = line.decode("ascii").split()
        if not line.endswith(b"\n") or len(bytes.fromhex(digest)) * 2 != _DIGEST:
            return None
        if chain:
            (name,) = chain
            return AnchoredHead(name, int(number), datetime.fromisoformat(at), digest)
        return Anchored(int(number), datetime.fromisoformat(at), digest)
    except ValueError:
        return None


def _trim(path: Path) -> None:
    """Keep the newest lines, of each day the last one and the last that stays in the database, and both lines wherever numbers decreased.

    Those are evidence of truncation.
    """
    lines = read(path)
    kept = [_line(each) for each in read_heads(path)[-ANCHOR_HEADS_KEPT:]]
    lasting = {one.at.date(): one.number for one in lines if one.number % policy.CHECKPOINT_STRIDE == 0}
    neighbours = zip([None, *lines], lines, [*lines[1:], None], strict=False)
    for at, (before, this, after) in enumerate(neighbours):
        stays = lasting.get(this.at.date()) == this.number
        recent = at >= len(lines) - ANCHOR_LINES_KEPT
        back = (before and before.number >= this.number) or (after and after.number <= this.number)
        if recent or stays or back or after is None or after.at.date() != this.at.date():
            kept.append(_line(this))
    # Written beside and renamed: a crash leaves either the old or the new file, never half an anchor.
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="ascii") as file:
        beside.chmod(0o600)
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
