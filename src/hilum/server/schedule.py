"""Schedules jobs among several nodes: each runs on one node at a time under a lease, and moves to another node when that one dies.

A run, in order: 1 acquire the job's lease, or renew it when a third of its life is over; without it, do what the job does ``aside``;
2 run the job, each of whose transactions first checks the lease's fence under a lock and rolls back if another node has it; 3 count and
log the outcome; 4 wait for the next time. A job that is killed between two of its transactions is continued by the next run, so each
must leave a state that the next can work with.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TypeVar

from hilum.foundation.infra import logs, metrics, nodes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.nodes import Lease
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import HilumError

T = TypeVar("T")
LEASE_FOR = timedelta(seconds=15)
"""How long a job may be overdue before another node takes it over from one that died."""
RENEWED_AFTER = LEASE_FOR / 3
ASKED_AFTER = timedelta(seconds=1)
"""How often a node tries to acquire a lease that another one holds."""
DONE = "done"
_log = logs.get("app")


@dataclass(slots=True)
class JobLease:
    """One job's lease as this process last read it. ``write`` runs a verb only while this process holds the lease, and renews it in time."""

    uow: UnitOfWork
    job: str
    holder: str
    stop: threading.Event
    lease: Lease | None = None
    asked_at: float = float("-inf")
    life: timedelta = LEASE_FOR

    def take(self) -> bool:
        """Acquire or renew the lease when that is due; return whether this process holds it."""
        now = self.uow.clock.monotonic()
        due = RENEWED_AFTER if self.lease else ASKED_AFTER
        if now - self.asked_at >= due.total_seconds():
            self.lease = self.uow.write_now(self._acquire, actor=SYSTEM, trace=self._trace())
            self.asked_at = now
        return self.lease is not None

    def _acquire(self, ctx: Context) -> Lease | None:
        return nodes.acquire(ctx.tx, self.job, self.holder, self.life)

    def write(self, verb: Callable[[Context], T]) -> T:
        """Run one verb in a transaction that fails if another process has the lease. Raises Conflict."""
        if not self.take():
            raise nodes.lost(self.job)
        held = self.lease
        assert held is not None

        def fenced(ctx: Context) -> T:
            # In the same transaction: a holder that was frozen past its lease must not write over its successor.
            nodes.require(ctx.tx, held)
            return verb(ctx)

        try:
            return self.uow.write_now(fenced, actor=SYSTEM, trace=self._trace())
        except HilumError as error:
            if error.code == nodes.LEASE_LOST:
                self.lease = None
            raise

    def read(self, verb: Callable[[Context], T]) -> T:
        """Run a verb in a read transaction."""
        return self.uow.read_now(verb, actor=SYSTEM, trace=self._trace())

    def repeat(self, verb: Callable[[Context], object], *, pause_s: float = 0.0) -> None:
        """Run a verb in one transaction after another until it returns nothing (0, None or empty), or the process stops.

        ``pause_s``: the pause between two transactions, in which others may write.
        """
        while self.write(verb) and not self.stop.wait(pause_s):
            pass

    def walk(self, verb: Callable[..., str]) -> None:
        """Run a verb over a list, in one transaction after another, until the list or the process ends.

        The verb takes the key ``after`` which to continue, and returns that of the next run; empty at the end.
        """
        after = self.write(partial(verb, after=""))
        while after and not self.stop.is_set():
            after = self.write(partial(verb, after=after))

    def release(self) -> None:
        """Release the lease, so that another node can acquire it at once."""
        held, self.lease = self.lease, None
        if held is not None:
            self.uow.write_now(lambda ctx: nodes.release(ctx.tx, held), actor=SYSTEM, trace=self._trace())

    def _trace(self) -> Trace:
        return Trace(self.uow.ids.new("req"), source="jobs")


@dataclass(slots=True)
class Job:
    """A job that runs at the interval ``every`` under the lease of its name. ``aside`` runs on every other node instead."""

    name: str
    every: timedelta
    run: Callable[[JobLease], object]
    aside: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Schedule:
    """Runs jobs until stopped, each in its own thread, so that a long job does not delay the others."""

    uow: UnitOfWork
    holder: str
    may_run: Callable[[], bool] = lambda: True
    stop: threading.Event = field(default_factory=threading.Event)
    done_at: dict[str, float] = field(default_factory=dict)
    """When each job last succeeded, on the monotonic clock."""
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, *jobs: Job) -> None:
        """Start every job."""
        for job in jobs:
            self.done_at[job.name] = self.uow.clock.monotonic()
            metrics.JOB_AGE.follow(partial(self.age_s, job.name), job.name)
            thread = threading.Thread(target=self._keep_running, args=(job,), name=job.name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self, within_s: float) -> None:
        """Stop every job after its current step, and release its lease."""
        self.stop.set()
        for thread in self._threads:
            # Daemon threads: one that does not end in time ends with the process, and its lease expires.
            thread.join(within_s)

    def _keep_running(self, job: Job) -> None:
        # The lease outlives the pause until the next run. Otherwise another node would take the job
        # in every pause, and it would run once a period on each.
        held = JobLease(self.uow, job.name, self.holder, self.stop, life=job.every + LEASE_FOR)
        while not self.stop.is_set():
            begun = self.uow.clock.monotonic()
            if self.may_run():
                self._note(job, attempt(lambda: self.run_once(job, held)))
            self.stop.wait(max(0.0, begun + job.every.total_seconds() - self.uow.clock.monotonic()))
        if self.may_run():
            attempt(lambda: self.run_once(job, held))
        # Released, so that another node need not wait for the lease to expire.
        attempt(held.release)

    def age_s(self, job: str) -> float:
        """Return the seconds since a job last succeeded in this process, or since it was started."""
        return self.uow.clock.monotonic() - self.done_at[job]

    def _note(self, job: Job, outcome: str) -> None:
        metrics.JOBS.add(job.name, outcome)
        if outcome == DONE:
            self.done_at[job.name] = self.uow.clock.monotonic()

    def run_once(self, job: Job, held: JobLease) -> None:
        """Run a job once if this process holds its lease, else what it does ``aside``."""
        if held.take():
            job.run(held)
        else:
            job.aside()


def attempt(step: Callable[[], None]) -> str:
    """Run a step, and return ``done`` or the code of its failure, which is logged and not raised."""
    try:
        step()
    except HilumError as error:
        _log.warning("app.job.failed", code=error.code)
        return error.code
    except Exception as error:  # noqa: BLE001 - the job's edge: one that breaks must not end the others
        _log.error("app.job.broken", error=type(error).__name__)
        return "broken"
    return DONE
