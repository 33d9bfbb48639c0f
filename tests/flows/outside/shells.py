"""Shells in which people run `hilum`: at another machine, and at the one where the platform runs."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.sim.command_line import run_hilum
from tests.sim.running import Running

DONE, REFUSED, MISUSED = 0, 1, 2
Done = subprocess.CompletedProcess[str]


@dataclass
class Shell:
    """A shell on some host, with its variables."""

    variables: dict[str, str] = field(default_factory=dict)
    typed: str = ""

    def hilum(self, *words: str, **more: str) -> Done:
        """Run one command."""
        done = run_hilum(words, self.variables | more, typed=self.typed)
        assert done.returncode in {DONE, REFUSED, MISUSED}, done.stderr
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def json(self, *words: str) -> Any:
        done = self.hilum(*words, "--json")
        assert done.returncode == DONE, done.stderr
        return orjson.loads(done.stdout)

    def refuses(self, *words: str, saying: str, **more: str) -> Done:
        done = self.hilum(*words, **more)
        assert done.returncode == REFUSED, (done.stdout, done.stderr)
        assert saying in done.stderr, done.stderr
        assert "\nrefused: " in "\n" + done.stderr, done.stderr
        return done


def by(running: Running, username: str, tmp: Path) -> Shell:
    """Somebody of the staff at another machine: nothing but an address and a token."""
    token = next(each["api_token"] for each in running.card["staff"] if each["username"] == username)
    return Shell({"HILUM_API_URL": running.base, "HILUM_API_TOKEN": token, "HOME": str(tmp)})


def host(running: Running) -> Shell:
    """The machine where a platform runs; its operator has a token in the environment too."""
    variables = {name: value for name, value in running.environment.items() if name.startswith("HILUM_")}
    return Shell(variables | {"HILUM_API_TOKEN": "hil_pat_whatever"})


def administrator(running: Running, tmp: Path) -> Shell:
    """A hospital's administrator, signed in by ``hilum login``."""
    home = tmp / "administrator"
    home.mkdir()
    shell = Shell({"HILUM_API_URL": running.base, "HOME": str(home)})
    done = shell.hilum(*LOGIN, "sandbox-admin.hall")
    assert done.returncode == DONE, done.stderr
    return shell


LOGIN = ("login", "--tenant", "general", "--username", "admin.hall", "--password")
