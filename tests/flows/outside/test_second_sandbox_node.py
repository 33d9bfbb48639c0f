"""A sandbox is served from the node that holds its files; whoever tries from another one is told so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.postgres import free_port
from tests.sim.running import start
from tests.sim.seeded import KEY


@pytest.mark.parametrize("words", [("sandbox", "run"), ("sandbox", "seed"), ("serve",)])
def test_a_second_node_on_a_sandboxs_database_ends_with_a_sentence(
    words: tuple[str, ...], seeded: Path, tmp_path: Path
) -> None:
    """It was a traceback, over and over, and the advice in it changed nothing."""
    database = tmp_path / "hilum.db"
    shutil.copy(seeded / "hilum.db", database)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    settings = KEY | {
        "HILUM_MODE": "sandbox",
        "HILUM_DATABASE_URL": f"sqlite:///{database}",
        "HILUM_DATA_DIR": str(tmp_path / "elsewhere"),
        "HILUM_BASE_URL": f"http://127.0.0.1:{free_port()}",
        "HILUM_SANDBOX_URL": f"http://localhost:{free_port()}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "hilum.cli.main", *words],
        env=kept | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "sandbox_files_missing" in done.stderr
    assert "set HILUM_DATA_DIR to the directory that holds its files" in done.stderr


def test_what_is_advised_works(seeded: Path, tmp_path: Path) -> None:
    """With the directory that holds the files the same database is served."""
    home = tmp_path / "home"
    shutil.copytree(seeded, home)
    (home / "hilum.db").rename(tmp_path / "hilum.db")

    running = start(home, database_url=f"sqlite:///{tmp_path}/hilum.db", **KEY)
    try:
        assert running.card["tenants"]
    finally:
        running.stop()
