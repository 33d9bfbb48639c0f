"""Where a test run writes: in memory when there is room, because no test asks what a power cut leaves and a flush to a disk costs milliseconds."""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - the system's own file system in memory
ROOM = 4 * 2**30


def use_memory() -> None:
    """Let every temporary file of this process and of those it starts be in memory. TMPDIR, when set, is left as it is."""
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None
