"""A sandbox is served from the node that holds its files; whoever tries from another one is told so."""

import shutil
from pathlib import Path

import pytest

from tests.effort import FULL
from tests.sim.command_line import run_hilum
from tests.sim.postgres import free_port
from tests.sim.running import start
from tests.sim.seeded import KEY


def elsewhere(tmp_path: Path, home: Path) -> dict[str, str]:
    """Return the settings of a node with this data directory, on a sandbox's database that lies outside it."""
    return KEY | {
        "HILUM_MODE": "sandbox",
        "HILUM_DATABASE_URL": f"sqlite:///{tmp_path}/hilum.db",
        "HILUM_DATA_DIR": str(home),
        "HILUM_BASE_URL": f"http://127.0.0.1:{free_port()}",
        "HILUM_SANDBOX_URL": f"http://localhost:{free_port()}",
    }


@pytest.mark.parametrize("words", [("sandbox", "run"), ("sandbox", "seed"), ("serve",)])
def test_a_second_node_on_a_sandboxs_database_ends_with_a_sentence(
    words: tuple[str, ...], seeded: Path, tmp_path: Path
) -> None:
    """It was a traceback, over and over, and the advice in it changed nothing."""
    shutil.copy(seeded / "hilum.db", tmp_path / "hilum.db")
    done = run_hilum(words, elsewhere(tmp_path, tmp_path / "elsewhere"))

    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "sandbox_files_missing" in done.stderr
    assert "set HILUM_DATA_DIR to the directory that holds its files" in done.stderr


def test_what_is_advised_works(seeded: Path, tmp_path: Path) -> None:
    """With the directory that holds the files the same database is served."""
    home = tmp_path / "home"
    shutil.copytree(seeded, home)
    (home / "hilum.db").rename(tmp_path / "hilum.db")

    settings = elsewhere(tmp_path, home)
    done = run_hilum(("sandbox", "seed"), settings)

    assert done.returncode == 0, done.stderr
    if FULL:
        running = start(home, database_url=settings["HILUM_DATABASE_URL"])
        try:
            assert running.card["tenants"]
        finally:
            running.stop()
