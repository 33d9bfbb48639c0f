"""The operations listener: serves ``/healthz``, ``/readyz`` with reasons and ``/metrics`` apart from the site, even when the site cannot answer.

It runs in a thread of the supervisor, to which every process reports (``server.reports``). Each connection is one request with few headers,
answered within seconds and closed; Host and body are ignored.
"""

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from hilum.foundation.infra import logs, metrics
from hilum.foundation.kernel.ports import Clock
from hilum.server.reports import Faults

WORKERS = "platform"
JOBS = "jobs"
REPORT_BOUND = 1024 * 1024
"""Bytes of one report of a process."""
HEAD_BOUND = 8 * 1024
"""Bytes of a request's head."""
HEAD_WITHIN_S = 5.0
CONNECTIONS_BOUND = 64
SILENT_AFTER_S = 3.0
"""A process that has not reported for this time cannot answer, or has ended."""
STALLED_AFTER_S = 5.0
"""An event loop that is this far behind its own timers is stalled."""
OWN: dict[str, tuple[str, tuple[str, ...], str]] = {
    "hilum_ready": ("gauge", (), "1 when this node can answer, as `/readyz` says."),
    "hilum_not_ready": ("gauge", ("reason",), "1 for each reason why this node cannot answer."),
    "hilum_notice": ("gauge", ("notice",), "1 for each notice of `/readyz`."),
    "hilum_workers": ("gauge", (), "Web workers that report."),
    "hilum_part_restarts": ("counter", ("part",), "Restarts of a part by the supervisor."),
    "hilum_process_starts": (
        "counter",
        ("part",),
        "Processes that started to report, restarts of single workers included.",
    ),
}
"""The supervisor's own metrics, beside those that processes report: kind, labels, meaning."""
_log = logs.get("app")
_Identity = tuple[int, float]
"""A process by its id and its start, because the system reuses ids."""


def process_lives(pid: int) -> bool:
    """Check whether a process of this id exists."""
    try:
        # Signal 0 only checks. EPERM means that the process exists, under another user.
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@dataclass(slots=True)
class _Process:
    part: str
    connection: int
    reported_at: float
    faults: Faults
    notices: Faults
    metrics: dict[str, Any]


@dataclass(slots=True)
class State:
    """The content of ``/readyz``. ``reasons``: why the node is not ready; ``notices``: what needs an operator although it is ready."""

    reasons: Faults = field(default_factory=dict)
    notices: Faults = field(default_factory=dict)
    workers: int = 0

    @property
    def ready(self) -> bool:
        return not self.reasons


class ProcessReports:
    """The last report of every process. Counters of a process are kept after its end, so that a sum never falls."""

    def __init__(
        self, clock: Clock, workers: int, *, jobs: bool = True, lives: Callable[[int], bool] = process_lives
    ) -> None:
        """Expect reports of ``workers`` workers, and with ``jobs`` of a jobs process."""
        self._clock, self._workers, self._jobs, self._lives = clock, workers, jobs, lives
        self._processes: dict[_Identity, _Process] = {}
        self._disconnected: dict[_Identity, _Process] = {}
        self._past: dict[str, dict[tuple[str, ...], Any]] = {}
        self.starts: dict[str, int] = {}

    def receive(self, report: dict[str, Any], connection: int) -> None:
        """Record a report; later connections have greater numbers.

        A process that reconnects continues its counters. A report that arrives late over its earlier connection is ignored.
        """
        identity = int(report["pid"]), float(report["began"])
        self._settle_ended()
        before = self._processes.get(identity) or self._disconnected.pop(identity, None)
        if before is None:
            self.starts[report["part"]] = self.starts.get(report["part"], 0) + 1
        # A slow report over a connection that was replaced meanwhile.
        elif before.connection > connection:
            return
        self._processes[identity] = _Process(
            report["part"],
            connection,
            self._clock.monotonic(),
            report["faults"],
            report["notices"],
            report["metrics"],
        )

    def lose(self, connection: int) -> None:
        """Set the process of a closed connection aside with its counters: it may have ended, or may reconnect."""
        for identity, each in list(self._processes.items()):
            if each.connection == connection:
                self._disconnected[identity] = self._processes.pop(identity)
        self._settle_ended()

    def _settle_ended(self) -> None:
        """Add the counters of disconnected processes that have ended to the past: they cannot report again."""
        # A process that still runs may reconnect, and would then be counted twice.
        for identity in [each for each in self._disconnected if not self._lives(each[0])]:
            _merge(self._past, self._disconnected.pop(identity).metrics, lasting=True)

    def state(self) -> State:
        """Judge this node: ready when at least one worker reports, and every worker that reports can answer."""
        state = State()
        workers = self._reporting(WORKERS)
        state.workers = len(workers)
        for each in workers:
            state.reasons.update(each.faults)
            state.notices.update(each.notices)
            if _lag_of(each) > STALLED_AFTER_S:
                state.reasons["worker_stalled"] = "A worker's event loop is stalled."
        if not workers:
            state.reasons["no_worker"] = (
                "No worker is reporting: they are starting or cannot start. See the log."
            )
        elif len(workers) < self._workers:
            state.notices["workers_missing"] = (
                f"{self._workers - len(workers)} of {self._workers} workers do not report."
            )
        jobs = self._reporting(JOBS)
        # A notice, not a reason: answers do not depend on the jobs process, and taking the node out
        # of service would not restart it (ADR 28).
        if self._jobs and not jobs:
            state.notices["jobs_silent"] = (
                "The jobs process is not reporting: it is starting or cannot start. See the log."
            )
        for each in jobs:
            state.notices.update(each.faults | each.notices)
        return state

    def _reporting(self, part: str) -> list[_Process]:
        """Return the processes of a part that reported lately. Silence is treated as absence: a process that hangs cannot report it."""
        now = self._clock.monotonic()
        return [
            each
            for each in self._processes.values()
            if each.part == part and now - each.reported_at <= SILENT_AFTER_S
        ]

    def merged(self) -> dict[str, dict[tuple[str, ...], Any]]:
        """Return the metrics of all processes together, by metric and labels."""
        merged = {name: dict(values) for name, values in self._past.items()}
        for each in list(self._disconnected.values()):
            _merge(merged, each.metrics, lasting=True)
        for each in list(self._processes.values()):
            _merge(merged, each.metrics)
        return merged


def _lag_of(process: _Process) -> float:
    return max((float(value) for _, value in process.metrics.get(metrics.LOOP_LAG.name, ())), default=0.0)


def _merge(
    into: dict[str, dict[tuple[str, ...], Any]], reported: dict[str, Any], *, lasting: bool = False
) -> None:
    """Add the metrics of one process. ``lasting``: only counters and histograms, since the gauges of an ended process mean nothing.

    A histogram's counts are replaced, never changed: other sums may hold the same list.
    """
    for metric in metrics.METRICS:
        if lasting and metric.kind == "gauge":
            continue
        values = into.setdefault(metric.name, {})
        for labels, value in reported.get(metric.name, ()):
            key = tuple(labels)
            before = values.get(key)
            if before is None:
                values[key] = value
            elif isinstance(value, list):
                values[key] = [a + b for a, b in zip(before, value, strict=True)]
            elif isinstance(metric, metrics.Gauge) and metric.merged == "max":
                values[key] = max(before, value)
            else:
                values[key] = before + value


class _Collector:
    """Renders the board for prometheus-client."""

    def __init__(self, board: ProcessReports, extra: Callable[[], Iterable[Metric]]) -> None:
        self._board, self._extra = board, extra

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        merged = self._board.merged()
        for metric in metrics.METRICS:
            values = merged.get(metric.name, {})
            if isinstance(metric, metrics.Histogram):
                yield _histogram(metric, values)
                continue
            family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            rendered = family(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in values.items():
                rendered.add_metric(labels, value)
            yield rendered
        yield from self._extra()


def _histogram(metric: metrics.Histogram, values: dict[tuple[str, ...], Any]) -> HistogramMetricFamily:
    rendered = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, (*counts, total_s) in values.items():
        cumulative, buckets = 0.0, []
        for bound, count in zip((*map(str, metrics.SECONDS), "+Inf"), counts, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        rendered.add_metric(labels, buckets, sum_value=total_s)
    return rendered


class Operations:
    """The thread that listens, at the first of the addresses that can be used. ``restarts`` returns how often each part was restarted."""

    def __init__(
        self,
        board: ProcessReports,
        listen: Sequence[tuple[str, int] | None],
        restarts: Callable[[], dict[str, int]] = dict,
    ) -> None:
        """``listen``: addresses to try; None listens for reports only."""
        self.board = board
        self.listen, self._restarts = listen, restarts
        # mkdtemp makes the folder accessible to this user only, so no other user can report.
        self._folder = Path(tempfile.mkdtemp(prefix="hilum-"))
        # A loop and a thread of its own: probes are answered while the supervisor waits for its
        # children. The loop is made in the thread: its files would be the children's too.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="operations", daemon=True)
        self._begun: threading.Event = threading.Event()
        self._failure: OSError | OverflowError | None = None
        self._connections = self._reporters = 0
        self.address = ""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(board, self._own))

    @property
    def socket_path(self) -> str:
        """Return the path of the socket to which processes report."""
        return str(self._folder / "reports")

    def start(self) -> None:
        """Listen. Raises OSError if the address cannot be used, OverflowError for a port out of range."""
        self._thread.start()
        self._begun.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop listening; a no-op before ``start``."""
        if self._failure is None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.ident is not None:
            self._thread.join(HEAD_WITHIN_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._open())
        except (OSError, OverflowError) as error:
            self._failure = error
        self._begun.set()
        if self._failure is None:
            loop.run_forever()

    async def _open(self) -> None:
        await asyncio.start_unix_server(self._receive, self.socket_path, limit=REPORT_BOUND)
        for at, each in enumerate(self.listen):
            if each is None:
                return
            try:
                server = await asyncio.start_server(self._serve, *each, limit=HEAD_BOUND)
            except (OSError, OverflowError):
                if at + 1 < len(self.listen):
                    continue
                raise
            host, port, *_ = server.sockets[0].getsockname()
            self.address = f"{host}:{port}"
            return

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Receive the reports of one process until it disconnects."""
        self._reporters += 1
        connection = self._reporters
        try:
            while line := await reader.readline():
                self.board.receive(orjson.loads(line), connection)
        except (OSError, ValueError, KeyError, asyncio.IncompleteReadError) as error:
            _log.warning("app.report.unreadable", error=type(error).__name__)
        finally:
            self.board.lose(connection)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        self._connections += 1
        try:
            # Above the bound a connection is closed without an answer: the prober tries again, and
            # nobody can hold this thread by connecting.
            if self._connections <= CONNECTIONS_BOUND:
                async with asyncio.timeout(HEAD_WITHIN_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # too slow, too large or gone: the connection is closed below without an answer
        finally:
            self._connections -= 1
            with suppress(OSError):
                writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in {b"GET", b"HEAD"}:
            return _response("405 Method Not Allowed", b"", "text/plain", "Allow: GET, HEAD")
        if path == b"/healthz":
            response = _response("200 OK", orjson.dumps({"status": "alive"}), "application/json")
        elif path == b"/readyz":
            response = self._readiness()
        elif path == b"/metrics":
            response = _response("200 OK", generate_latest(self._registry), CONTENT_TYPE_LATEST)
        else:
            response = _response("404 Not Found", b"", "text/plain")
        return response if method == b"GET" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _readiness(self) -> bytes:
        state = self.board.state()
        # Codes and sentences of the platform only: the address needs no authentication.
        body = {
            "status": "ready" if state.ready else "not ready",
            "reasons": [{"code": code, "detail": detail} for code, detail in sorted(state.reasons.items())],
            "notices": [{"code": code, "detail": detail} for code, detail in sorted(state.notices.items())],
            "workers": state.workers,
        }
        if state.ready:
            return _response("200 OK", orjson.dumps(body), "application/json")
        return _response("503 Service Unavailable", orjson.dumps(body), "application/json", "Retry-After: 1")

    def _own(self) -> Iterable[Metric]:
        state = self.board.state()
        values: dict[str, dict[str, float]] = {
            "hilum_ready": {"": float(state.ready)},
            "hilum_not_ready": dict.fromkeys(state.reasons, 1.0),
            "hilum_notice": dict.fromkeys(state.notices, 1.0),
            "hilum_workers": {"": state.workers},
            "hilum_part_restarts": dict(self._restarts()),
            "hilum_process_starts": dict(self.board.starts),
        }
        for name, (kind, labels, meaning) in OWN.items():
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            rendered = family(name, meaning, labels=labels)
            for label, value in sorted(values[name].items()):
                rendered.add_metric([label] if labels else [], value)
            yield rendered


def _response(status: str, body: bytes, kind: str, *headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
