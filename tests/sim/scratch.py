"""Where a test run writes.

Temporary files are in memory when there is room: no test asks what a power cut leaves, and a flush to a disk costs milliseconds.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - the system's own file system in memory
ROOM = 4 * 2**30


def use_memory() -> None:
    """Let every temporary file of this process and of those it starts be in memory. TMPDIR, when set, is left as it is."""
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def keep_compiled() -> None:
    """Let this process and those it starts keep compiled modules: tests start many processes, and compiling is most of a start."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
