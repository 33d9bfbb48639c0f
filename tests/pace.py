"""Pace of the suite: each folder's time against its budget at the end of a run, and the order in which workers run its files.

Seconds are those of all workers together. A slow or busy machine fails no test: exceeding a budget fails the run only with
``--within-budget``.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.grounds import ground_of

BUDGETS_S = {
    "tests/attack": 70,
    "tests/browser": 295,
    "tests/conformance": 20,
    "tests/flows": 460,
    "tests/flows/outside": 385,
    "tests/house": 40,
    "tests/store": 155,
    "tests/unit": 92,
}
"""What each folder took on 2026-11-28 in a fresh clone with three workers on two cores, and some 7 % more. Such a run takes 482 to 492 s; the aim is
480.
"""
DURATIONS = Path(__file__).with_name("durations.json")
"""How long each file took in the last run with ``--store-durations``, in seconds."""
# A new file counts as a middling one until durations are stored.
UNKNOWN_S = 5.0
PHASES = ("setup", "call", "teardown")


@dataclass
class Spent:
    tests: int = 0
    setup: float = 0.0
    call: float = 0.0
    teardown: float = 0.0

    @property
    def total(self) -> float:
        return self.setup + self.call + self.teardown


class Pace:
    """Adds up what every file took."""

    def __init__(self) -> None:
        self.files: dict[str, Spent] = defaultdict(Spent)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A worker that died is reported as a test of no phase; without this the report would end the whole run.
        if report.when not in PHASES:
            return
        spent = self.files[report.nodeid.partition("::")[0]]
        spent.tests += report.when == "call"
        setattr(spent, report.when, getattr(spent, report.when) + report.duration)

    def folders(self) -> dict[str, Spent]:
        found: dict[str, Spent] = defaultdict(Spent)
        for file, spent in self.files.items():
            folder = max(
                (each for each in BUDGETS_S if file.startswith(each + "/")), key=len, default="others"
            )
            for name in ("tests", *PHASES):
                setattr(found[folder], name, getattr(found[folder], name) + getattr(spent, name))
        return found

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("seconds of all workers, by folder")
        write(f"{'':22}{'tests':>7}{'setup':>9}{'call':>9}{'teardown':>10}{'total':>9}{'budget':>9}")
        for folder, spent in sorted(self.folders().items()):
            columns = (
                f"{spent.tests:7}{spent.setup:9.1f}{spent.call:9.1f}{spent.teardown:10.1f}{spent.total:9.1f}"
            )
            budget = BUDGETS_S.get(folder, 0)
            write(f"{folder:22}{columns}{budget:9}" + ("  over its budget" if spent.total > budget else ""))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        over = [folder for folder, spent in self.folders().items() if spent.total > BUDGETS_S.get(folder, 0)]
        if session.config.getoption("--within-budget") and over and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if session.config.getoption("--store-durations"):
            took = durations() | {file: round(spent.total, 1) for file, spent in self.files.items()}
            # Files that were deleted leave the table.
            there = {file: took[file] for file in sorted(took) if (session.config.rootpath / file).exists()}
            DURATIONS.write_text(json.dumps(there, indent=1) + "\n")


def durations() -> dict[str, float]:
    return dict(json.loads(DURATIONS.read_text())) if DURATIONS.exists() else {}


def next_file(
    waiting: list[str], mine: set[str], taken: set[str], took: dict[str, float], *, first: bool = False
) -> str:
    """Choose a worker's next file: one that needs the processes it has started, else such that nobody has started, else one without them.

    Of those it is the longest, so that no worker is left with a long file in the end. The first file of a worker needs no processes if
    another worker starts some: that one seeds the sandbox, for which this one would only wait.
    """
    own, fresh, plain, others = range(4)
    if first and taken:
        fresh, plain = plain, fresh

    def rank(file: str) -> tuple[int, float]:
        ground = ground_of(file)
        place = (
            own if ground and ground in mine else others if ground in taken else fresh if ground else plain
        )
        return place, -took.get(file, UNKNOWN_S)

    return min(waiting, key=rank)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pace")
    group.addoption(
        "--within-budget", action="store_true", help="fail when a folder takes longer than its budget"
    )
    group.addoption(
        "--store-durations", action="store_true", help=f"write {DURATIONS.name}, which orders later runs"
    )


def pytest_configure(config: pytest.Config) -> None:
    # In the controller only: workers send it their reports.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Pace(), "hilum-pace")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Order the files of ``--dist loadfile``."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    took = durations()

    class Paced(LoadFileScheduling):  # type: ignore[misc]  # without types
        def _assign_work_unit(self, node: Any) -> None:
            stood = {one: {ground_of(file) for file in files} for one, files in self.assigned_work.items()}
            mine = stood.get(node, set()) - {""}
            taken = set().union(*stood.values()) - {""} - mine
            # xdist takes from the front of the queue.
            chosen = next_file(list(self.workqueue), mine, taken, took, first=not self.assigned_work[node])
            self.workqueue.move_to_end(chosen, last=False)
            super()._assign_work_unit(node)

    return Paced(config, log)
