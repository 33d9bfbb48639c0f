"""Metrics of a process: counters, histograms and gauges, cheap enough for the hot path.

Each process reports them to the one that serves ``/metrics``, which merges them (``server.operations``). Label values come from fixed
sets in the code (a reason, a status, a job), never from a request: no patient, person or path.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

LABELS_BOUND = 256
"""Label combinations that one metric keeps; further ones are counted under ``other``."""
OTHER = "other"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Labels = tuple[str, ...]


class Counter:
    """Counts upwards, by labels."""

    kind = "counter"

    def __init__(self, name: str, meaning: str, labels: Labels = ()) -> None:
        self.name, self.meaning, self.labels = name, meaning, labels
        self._values: dict[Labels, float] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        """Add ``by`` to the count."""
        values = self._values
        # A label that followed a request after all must not fill the memory, here or in the metrics server.
        if labels not in values and len(values) >= LABELS_BOUND:
            labels = (OTHER,) * len(self.labels)
        values[labels] = values.get(labels, 0) + by

    def read(self) -> list[Any]:
        """Return each combination of labels with its value."""
        # A copy: the reporter's thread reads while the event loop adds labels.
        return [[list(labels), value] for labels, value in self._values.copy().items()]


class Histogram:
    """Sorts durations into buckets, by labels."""

    kind = "histogram"

    def __init__(self, name: str, meaning: str, labels: Labels = ()) -> None:
        self.name, self.meaning, self.labels = name, meaning, labels
        self._values: dict[Labels, list[float]] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one duration."""
        buckets = self._values.get(labels)
        if buckets is None:
            if len(self._values) >= LABELS_BOUND:
                labels = (OTHER,) * len(self.labels)
            # One count for each bound, one above the last, and the sum.
            buckets = self._values.setdefault(labels, [0.0] * (len(SECONDS) + 2))
        buckets[bisect_left(SECONDS, seconds)] += 1
        buckets[-1] += seconds

    def read(self) -> list[Any]:
        """Return each combination of labels with its bucket counts, the last one unbounded, and the sum of the durations."""
        return [[list(labels), list(buckets)] for labels, buckets in self._values.copy().items()]


class Gauge:
    """A value that goes up and down, read when it is reported. ``merged``: how the values of several processes are combined."""

    kind = "gauge"

    def __init__(self, name: str, meaning: str, labels: Labels = (), *, merged: str = "sum") -> None:
        self.name, self.meaning, self.labels, self.merged = name, meaning, labels, merged
        self._sources: dict[Labels, Callable[[], float]] = {}

    def follow(self, source: Callable[[], float], *labels: str) -> None:
        """Read the value from ``source`` from now on."""
        self._sources[labels] = source

    def read(self) -> list[Any]:
        """Return each combination of labels with its value now."""
        # Only now: a gauge costs the hot path nothing.
        return [[list(labels), float(source())] for labels, source in self._sources.copy().items()]


Metric = Counter | Histogram | Gauge

GATEWAY_REQUESTS = Counter(
    "hilum_gateway_requests",
    "FHIR requests answered, by HTTP status and by the reason of a refusal (empty where there was none).",
    ("status", "reason"),
)
GATEWAY_SECONDS = Histogram(
    "hilum_gateway_seconds",
    "Time from a FHIR request to its answer, audit record and upstream included.",
    ("status",),
)
TRAFFIC_SHED = Counter(
    "hilum_traffic_shed",
    "FHIR requests refused because their traffic class already held its whole share of a FHIR server's places.",
    ("traffic_class",),
)
TRAFFIC_PLACES = Gauge(
    "hilum_traffic_places",
    "Requests at FHIR servers (`held`) and requests that wait to be sent to them (`waiting`), by traffic class.",
    ("traffic_class", "state"),
)
SITE_REQUESTS = Counter(
    "hilum_site_requests", "Other requests answered, by kind of address and HTTP status.", ("kind", "status")
)
SITE_SECONDS = Histogram(
    "hilum_site_seconds", "Time from any other request to the beginning of its answer.", ("kind",)
)
TURNED_AWAY = Counter(
    "hilum_turned_away", "Requests refused before any module saw them, by the code of the refusal.", ("code",)
)
CONNECTIONS_CLOSED = Counter(
    "hilum_connections_closed", "Silent connections closed because most places were taken."
)
REQUESTS_UNDER_WAY = Gauge("hilum_requests_under_way", "Requests that are being served.")
BODY_BYTES = Gauge("hilum_body_bytes", "Bytes of request bodies held in memory.")
JOURNAL_RECORDS = Counter("hilum_journal_records", "Access records made durable.")
JOURNAL_FAILURES = Counter("hilum_journal_failures", "Access records that could not be made durable.")
JOURNAL_FOLDED = Counter(
    "hilum_journal_folded",
    "Refusals that could not be recorded one by one in time and were recorded as a count.",
)
JOURNAL_SECONDS = Histogram("hilum_journal_commit_seconds", "Time of one commit of the access journal.")
JOURNAL_QUEUE = Gauge("hilum_journal_queue", "Access records that wait to be made durable.", merged="max")
SNAPSHOT_AGE = Gauge(
    "hilum_snapshot_age_seconds",
    "Time since the oldest worker confirmed its snapshot; over 2 it refuses.",
    merged="max",
)
SWITCH_SECONDS = Histogram(
    "hilum_switch_enforced_seconds", "Time from a kill switch's commit to a worker's refusal."
)
DATABASE_WAITING = Gauge(
    "hilum_database_waiting",
    "Tasks that wait for a thread of a database pool.",
    ("pool",),
    merged="max",
)
DATABASE_BUSY = Gauge("hilum_database_busy", "Busy threads of a database pool.", ("pool",))
LOOP_LAG = Gauge("hilum_event_loop_lag_seconds", "How late the slowest worker's event loop is.", merged="max")
MEMORY = Gauge("hilum_memory_bytes", "Resident memory of all reporting processes together.")
FILES = Gauge("hilum_open_files", "Open files and connections of the process that has most.", merged="max")
JOBS = Counter(
    "hilum_job_runs",
    "Runs of scheduled jobs, by job and outcome (`done`, or the code of a failure).",
    ("job", "outcome"),
)
JOB_AGE = Gauge(
    "hilum_job_age_seconds", "Time since a job last succeeded on this node.", ("job",), merged="max"
)

NOTICE_ATTEMPTS = Counter(
    "hilum_notice_attempts",
    "Attempts at sending mail and webhooks, by channel and result.",
    ("channel", "result"),
)
NOTICES = Gauge(
    "hilum_notices",
    "Notices that are open, unknown or dead, by channel; counted up to 10,000 each.",
    ("channel", "state"),
    merged="max",
)
NOTICE_AGE = Gauge(
    "hilum_notice_age_seconds",
    "How long the oldest open notice of a channel has waited.",
    ("channel",),
    merged="max",
)

METRICS: tuple[Metric, ...] = (
    GATEWAY_REQUESTS,
    GATEWAY_SECONDS,
    TRAFFIC_SHED,
    TRAFFIC_PLACES,
    SITE_REQUESTS,
    SITE_SECONDS,
    TURNED_AWAY,
    CONNECTIONS_CLOSED,
    REQUESTS_UNDER_WAY,
    BODY_BYTES,
    JOURNAL_RECORDS,
    JOURNAL_FAILURES,
    JOURNAL_FOLDED,
    JOURNAL_SECONDS,
    JOURNAL_QUEUE,
    SNAPSHOT_AGE,
    SWITCH_SECONDS,
    DATABASE_WAITING,
    DATABASE_BUSY,
    LOOP_LAG,
    MEMORY,
    FILES,
    JOBS,
    JOB_AGE,
    NOTICE_ATTEMPTS,
    NOTICES,
    NOTICE_AGE,
)
"""All metrics of a process, in the order of ``/metrics``."""


def read() -> dict[str, list[Any]]:
    """Return this process's values by the name of the metric; metrics without values are left out."""
    values_by_name = ((each.name, each.read()) for each in METRICS)
    return {name: values for name, values in values_by_name if values}
