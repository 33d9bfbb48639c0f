"""The jobs process: checkpoints about every second, and forgetting what has expired."""

import signal
import threading
from collections.abc import Callable
from datetime import timedelta

from hilum.app.ground import open_edge
from hilum.audit import anchor
from hilum.audit import live as journals
from hilum.audit import service as audit
from hilum.audit.models import CHECKPOINT_EVERY
from hilum.frontchannel import service as frontchannel
from hilum.infra import logs
from hilum.infra.context import Trace
from hilum.infra.edge import Edge
from hilum.infra.settings import Settings
from hilum.infra.system import SystemClock, SystemIds
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import HilumError
from hilum.launches import service as launches
from hilum.tokens import service as tokens

PURGE_EVERY = timedelta(minutes=1)
_log = logs.get("app")


def run(settings: Settings) -> None:
    """Run every job on its schedule until told to stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    edge = open_edge(settings, SystemClock(), SystemIds(), "jobs")
    schedule = ((CHECKPOINT_EVERY, lambda: checkpoint(edge, settings)), (PURGE_EVERY, lambda: purge(edge)))
    due = [edge.clock.monotonic() for _ in schedule]
    try:
        while not stop.is_set():
            for at, (every, job) in enumerate(schedule):
                if edge.clock.monotonic() >= due[at]:
                    _attempt(job)
                    due[at] = edge.clock.monotonic() + every.total_seconds()
            stop.wait(max(0.0, min(due) - edge.clock.monotonic()))
        _attempt(lambda: checkpoint(edge, settings))
    finally:
        edge.close()


def checkpoint(edge: Edge, settings: Settings) -> None:
    """Fold every chain's head into a signed checkpoint, if one moved, and note the newest outside the database."""
    trace = Trace(edge.ids.new("req"), source="jobs")
    last = edge.read_now(audit.newest_checkpoint, actor=SYSTEM, trace=trace)
    after = last.number if last is not None else 0
    heads = journals.access_heads(settings.data_dir / "journal", settings.database_url)
    made = edge.write_now(lambda ctx: audit.checkpoint(ctx, heads, after=after), actor=SYSTEM, trace=trace)
    newest = edge.read_now(audit.newest_checkpoint, actor=SYSTEM, trace=trace)
    if newest is not None:
        anchor.keep(settings.anchor, newest, fresh=made is not None)


def purge(edge: Edge) -> None:
    """Forget codes, requests, jtis and tokens that expired."""
    trace = Trace(edge.ids.new("req"), source="jobs")
    for forget in (tokens.purge, frontchannel.purge, launches.purge):
        edge.write_now(forget, actor=SYSTEM, trace=trace)


def _attempt(job: Callable[[], None]) -> None:
    try:
        job()
    except HilumError as error:
        _log.warning("app.job.failed", code=error.code)
    except Exception as error:  # noqa: BLE001 - the job's edge: one that breaks must not end the others
        _log.error("app.job.broken", error=type(error).__name__)
