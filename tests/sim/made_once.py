"""Folders that the workers of a run share: the first that needs one fills it, and the others wait."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder that is filled once a run. Nobody writes to it afterwards."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        # Workers are processes, so only a lock of the file system is seen by all of them.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # Renamed when it is whole: a worker that was interrupted leaves nothing half behind.
            begun = shared / f"{name}-begun"
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            fill(begun)
            begun.rename(folder)
    return folder
