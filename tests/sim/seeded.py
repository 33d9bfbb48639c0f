"""A seeded sandbox that is not served. Seeding takes long, so it is done once a run, and each test starts from a copy."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KEY: dict[str, Any] = {"HILUM_SECRET_KEY": "outside-key-encryption-key-0123456789abcdef"}
SEEDED_WITHIN_S = 600


def seeded_home(factory: pytest.TempPathFactory) -> Path:
    """Return the home of three hospitals; the first worker that needs it creates it, and the others wait."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    home = shared / "seeded"
    with (shared / "seeded.lock").open("w") as lock:
        # Workers are processes, so only a lock of the file system is seen by all of them.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            # Renamed when it is whole: a run that was interrupted leaves no half sandbox behind.
            _seed(shared / "being-seeded")
            (shared / "being-seeded").rename(home)
    return home


def _seed(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    environment |= KEY | {"HILUM_DATA_DIR": str(home), "HILUM_DATABASE_URL": f"sqlite:///{home}/hilum.db"}
    command = [sys.executable, "-m", "hilum.cli.main", "sandbox", "seed"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=SEEDED_WITHIN_S)
