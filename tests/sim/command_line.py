"""The command line, as somebody at the host's shell would use it."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from click.testing import CliRunner

from hilum.server.commands.main import main
from tests.sim.launcher import launch

SERVING = (("serve",), ("sandbox", "run"))
"""Commands that start processes, unless they refuse: they are run in a process of their own."""
ANSWERS_WITHIN_S = 120


def run_hilum(
    words: Sequence[str], environment: Mapping[str, str], *, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run one command under this environment alone. It runs in this process, where starting costs nothing, unless it may serve."""
    if any(tuple(words[: len(each)]) == each for each in SERVING) and "--help" not in words:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
        with tempfile.TemporaryDirectory() as folder:
            shown, errors = Path(folder) / "out", Path(folder) / "err"
            code = launch(words, {**kept, **environment}, shown, errors).wait(ANSWERS_WITHIN_S)
            return subprocess.CompletedProcess(list(words), code, shown.read_text(), errors.read_text())
    before = dict(os.environ)
    none: dict[str, str | None] = {name: None for name in before if name.startswith("HILUM_")}
    try:
        done = CliRunner().invoke(main, list(words), input=typed, env={**none, **environment})
    finally:  # a command may set defaults
        os.environ.clear()
        os.environ.update(before)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(list(words), done.exit_code, done.stdout, done.stderr)
