"""The anchor: number and digest of each checkpoint in a place outside the database, so that a database cut at its end is found short.

A line each, made durable by itself. Whoever can write the database and this place can still cut both; a copy elsewhere holds against them.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from hilum.audit.models import ANCHOR_BYTES_BOUND, ANCHOR_LINES_KEPT, Anchored
from hilum.kernel.errors import NotFound, Unavailable

_LINE_BOUND = 256
_DIGEST = 64


def keep(path: Path, anchored: Anchored, *, fresh: bool) -> None:
    """Append a checkpoint, unless the file ends with it. Raises Unavailable.

    What is no file (a pipe) can only be written to: it gets ``fresh`` ones only.
    """
    line = f"{anchored.number} {anchored.at.isoformat()} {anchored.digest}\n".encode()
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            if fresh:
                _append(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), line)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = os.fstat(descriptor).st_size
        end = os.pread(descriptor, _LINE_BOUND, max(0, size - _LINE_BOUND))
        if end.endswith(line):
            os.close(descriptor)
            return
        # A line that a power cut tore is left as it is, and read by nobody.
        _append(descriptor, line if not end or end.endswith(b"\n") else b"\n" + line, durable=True)
    except OSError as error:
        raise Unavailable("anchor_unavailable", "The audit's anchor cannot be written.") from error
    if size > ANCHOR_BYTES_BOUND:
        with suppress(OSError):  # a file that can only be appended to grows on
            _trim(path)


def _append(descriptor: int, line: bytes, *, durable: bool = False) -> None:
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError("written in part")
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> list[Anchored]:
    """Read what is anchored in a file, in its order. Raises NotFound, Unavailable."""
    if path.exists() and not path.is_file():
        raise Unavailable(
            "anchor_unavailable", f"{path} cannot be read again; name a copy of what it was told."
        )
    try:
        with path.open("rb") as lines:
            return [found for found in map(_read_line, _bounded(lines)) if found]
    except FileNotFoundError as error:
        raise NotFound("anchor_not_found", f"There is no anchor at {path}.") from error
    except OSError as error:
        raise Unavailable("anchor_unavailable", f"The anchor at {path} cannot be read.") from error


def _bounded(lines: BinaryIO) -> Iterator[bytes]:
    while line := lines.readline(_LINE_BOUND):
        yield line


def _read_line(line: bytes) -> Anchored | None:
    try:
        number, at, digest = line.decode("ascii").split()
        if not line.endswith(b"\n") or len(bytes.fromhex(digest)) * 2 != _DIGEST:
            return None
        return Anchored(int(number), datetime.fromisoformat(at), digest)
    except ValueError:
        return None


def _trim(path: Path) -> None:
    """Keep the newest lines, the last of each day, and both lines wherever the numbers went back: those are evidence."""
    found = read(path)
    kept = []
    neighbours = zip([None, *found], found, [*found[1:], None], strict=False)
    for at, (before, this, after) in enumerate(neighbours):
        recent = at >= len(found) - ANCHOR_LINES_KEPT
        back = (before and before.number >= this.number) or (after and after.number <= this.number)
        if recent or back or after is None or after.at.date() != this.at.date():
            kept.append(f"{this.number} {this.at.isoformat()} {this.digest}\n")
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="ascii") as file:
        beside.chmod(0o600)
        file.writelines(kept)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
