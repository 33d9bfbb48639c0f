"""Detects changes of a SQLite file without a statement, which would release the interpreter's lock and then wait for other threads.

Every commit of every process writes a new header into the index of the write-ahead log, which all processes map into memory. Equal headers
mean that nothing was committed in between.
Source: https://www.sqlite.org/walformat.html, section 2.1
"""

import os
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from sys import byteorder
from threading import Lock

_HEADER = 96
"""Bytes of the header, which is stored twice. The bytes after it also change with readers and checkpoints."""
_VERSION = (3_007_000).to_bytes(4, byteorder)


@dataclass(slots=True)
class _Mapped:
    descriptor: int
    memory: mmap
    users: int = 0


_mapped: dict[tuple[int, int], _Mapped] = {}
"""The mapped files by device and inode. Closing any descriptor of a file releases all locks of the process on it, SQLite's too, so each
file is opened once and closed after the last connection to it."""
_lock = Lock()


class ChangeMark:
    """The mark of one file. Create it while a connection to the file is open, and close it after all connections of its owner."""

    def __init__(self, path: Path) -> None:
        self._key: tuple[int, int] | None = None
        self._memory: mmap | None = None
        index = path.with_name(path.name + "-shm")
        with _lock:
            try:
                status = index.stat()
                key = status.st_dev, status.st_ino
                mapped = _mapped.get(key)
                if mapped is None:
                    descriptor = os.open(index, os.O_RDONLY | os.O_CLOEXEC)
                    mapped = _mapped[key] = _Mapped(descriptor, mmap(descriptor, 0, access=ACCESS_READ))
            except (OSError, ValueError):  # no index: the file has no write-ahead log, and so no mark
                return
            mapped.users += 1
            self._key, self._memory = key, mapped.memory

    def read(self) -> bytes | None:
        """Return the mark, which is the same as long as the file's content is; None if changes cannot be detected."""
        if self._memory is None:
            return None
        mark = self._memory[:_HEADER]
        return mark if mark.startswith(_VERSION) else None

    def close(self) -> None:
        with _lock:
            if self._key is None:
                return
            mapped = _mapped[self._key]
            mapped.users -= 1
            if not mapped.users:
                del _mapped[self._key]
                mapped.memory.close()
                os.close(mapped.descriptor)
            self._key = self._memory = None
