"""Checks whether a worker can answer, and collects the reasons why not."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hilum.foundation.infra import logs
from hilum.foundation.infra.database_faults import Fault
from hilum.foundation.kernel.ports import Clock
from hilum.server.reports import Faults

PROBE_EVERY_S = 1.0
PROBE_BYTES = 256 * 1024
"""Bytes that a probe writes to the journal's disk."""
SNAPSHOT_STALE = (
    "snapshot_stale",
    "Current permissions could not be confirmed for two seconds: the database does not answer.",
)
RELEASE_CLOSED = (
    "release_closed",
    "The database was migrated to a release that this one does not work with. Install a newer release.",
)
DISK_FULL = "disk_full", "The disk of the data directory is full."
NOT_WRITABLE = "directory_not_writable", "The data directory cannot be written to."
STOPPED = "platform_stopped", "A kill switch stops the whole platform: FHIR requests are refused on purpose."
OTHER_COPY = (
    "other_copy",
    "The database lost changes in a failover. What was forbidden before stays refused; do what was lost again, then run hilum switch confirm-failover.",
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logs.get("app")


def audit_unavailable(fault: Fault | None) -> tuple[str, str]:
    """Return code and sentence for a journal that cannot be written, with the class of the fault where it has one."""
    sentence = "The access journal cannot be written, so every FHIR request is refused."
    return "audit_unavailable", sentence if fault is None else f"{sentence} {fault.what} {fault.next}"


class Directory:
    """A probe that writes to a directory, about once a second: permissions alone do not show a full disk."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._tried_at = float("-inf")
        self._fault: tuple[str, str] | None = None

    def fault(self) -> tuple[str, str] | None:
        """Return what the last probe found wrong, as code and sentence; None if nothing."""
        now = self._clock.monotonic()
        if now - self._tried_at >= PROBE_EVERY_S:
            self._tried_at, self._fault = now, self._try()
        return self._fault

    def _try(self) -> tuple[str, str] | None:
        probe = self._path / f".probe-{os.getpid()}"
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            with probe.open("wb") as file:
                # Zeros are enough: space is allocated for them, which a probe that only creates the
                # file would not show.
                file.write(bytes(PROBE_BYTES))
        except OSError as error:
            return DISK_FULL if error.errno in _FULL else NOT_WRITABLE
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return None


class Readiness:
    """The readiness of one worker. ``check`` runs in the reporter's thread; ``faults`` may be read from any."""

    def __init__(self, *checks: Callable[[], tuple[str, str] | None]) -> None:
        self._checks = checks
        self._faults: Faults = {}

    @property
    def faults(self) -> Faults:
        """Return the faults of the last check, by code."""
        return self._faults

    def check(self) -> Faults:
        """Run every check and return the faults; a fault is logged when it appears and when it disappears."""
        faults = dict(fault for check in self._checks if (fault := check()) is not None)
        for code in faults.keys() - self._faults.keys():
            _log.error("app.readiness.lost", reason=code, detail=faults[code])
        for code in self._faults.keys() - faults.keys():
            _log.warning("app.readiness.regained", reason=code)
        self._faults = faults
        return faults
