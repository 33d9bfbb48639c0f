"""The place for a test run's temporary files.

Temporary files are in memory if there is room: no test depends on what a power cut leaves, and a flush to a disk costs milliseconds.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - the system's own file system in memory
# More than a whole run writes.
ROOM = 4 * 2**30


def use_memory() -> None:
    """Put temporary files of this process and its children into memory, unless TMPDIR is set."""
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def keep_compiled() -> None:
    """Store compiled modules of this process and its children: tests start many processes, and compiling is most of a start."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
