"""Keeps slots free for new connections: when most are taken, silent connections are closed, first those of the network with the most.

The server hands over requests, not connections, so a connection that never sends a request shows only here, among the open files of
the process. Nothing is closed while there is room. Where the system does not list a process's files (no ``/proc``), only the server's
timeout for headers applies.
"""

import socket
import struct
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hilum.foundation.infra import logs, metrics
from hilum.foundation.standards.networks import network_of

CHECK_EVERY_S = 0.25
HIGH, LOW = 0.75, 0.5
"""Share of the slots in use at which closing begins, and the share at which it ends."""
SILENT_MS = 2_000
"""A connection without traffic in either direction for this time is silent."""
FILES = Path("/proc/self/fd")
_INFO_BYTES = 60
_LAST_SENT, _LAST_RECEIVED = 44, 52
"""Offsets in Linux's ``struct tcp_info`` of the milliseconds since data was last sent and received."""
_log = logs.get("app")


@dataclass(frozen=True, slots=True)
class Peer:
    """One open connection: its file descriptor, the peer's network, and for how long it has been silent."""

    file: int
    network: str
    silent_ms: int


def to_close(peers: list[Peer], bound: int) -> list[Peer]:
    """Return the connections to close: none below the high mark, else silent ones down to the low mark, of the largest network first."""
    surplus = len(peers) - int(bound * LOW)
    if len(peers) <= bound * HIGH:
        return []
    by_network: defaultdict[str, list[Peer]] = defaultdict(list)
    for peer in peers:
        by_network[peer.network].append(peer)
    chosen: list[Peer] = []
    for of_network in sorted(by_network.values(), key=len, reverse=True):
        silent = sorted(
            (peer for peer in of_network if peer.silent_ms >= SILENT_MS), key=lambda peer: -peer.silent_ms
        )
        chosen += silent[: max(0, surplus - len(chosen))]
    return chosen


class Connections:
    """The thread that checks. ``bound``: how many connections the server accepts; ``port``: where it listens."""

    def __init__(self, bound: int, port: int) -> None:
        self._bound, self._port = bound, port
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)

    def start(self) -> None:
        """Start checking, if the system lists open files."""
        if FILES.is_dir():
            self._thread.start()

    def stop(self) -> None:
        """Stop checking."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_EVERY_S):
            with suppress(OSError):
                self.close_surplus()

    def close_surplus(self) -> int:
        """Close silent connections if too few slots are free; return how many were closed."""
        files = [int(each.name) for each in FILES.iterdir()]
        # Listing the files is cheap. Each socket's state is read only when slots are scarce.
        if len(files) <= self._bound * HIGH:
            return 0
        closed = 0
        for peer in to_close([peer for file in files if (peer := self._peer(file)) is not None], self._bound):
            closed += self._shut(peer)
        if closed:
            metrics.CONNECTIONS_CLOSED.add(by=closed)
            _log.warning("app.connections.closed", count=closed, bound=self._bound)
        return closed

    def _peer(self, file: int) -> Peer | None:
        """Describe a connection of this server; None if the file is anything else.

        The descriptor is detached, never closed: closing one of a SQLite file would release this process's POSIX locks on it.
        """
        borrowed = None
        try:
            borrowed = socket.socket(fileno=file)
            if borrowed.getsockname()[1] != self._port:
                return None
            address = borrowed.getpeername()[0]
            info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            sent, received = (struct.unpack_from("=I", info, at)[0] for at in (_LAST_SENT, _LAST_RECEIVED))
        except (OSError, IndexError, TypeError, struct.error):
            return None
        finally:
            if borrowed is not None:
                borrowed.detach()
        return Peer(file, network_of(address), min(sent, received))

    def _shut(self, peer: Peer) -> bool:
        """Shut a connection down, if its descriptor still belongs to the same silent peer."""
        # Meanwhile the server may have closed this connection and reused its descriptor for another one.
        now = self._peer(peer.file)
        if now is None or now.network != peer.network or now.silent_ms < SILENT_MS:
            return False
        borrowed = None
        try:
            borrowed = socket.socket(fileno=peer.file)
            # Shut down and not closed: the server owns the
            # descriptor, sees the end of the stream and closes it.
            borrowed.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        finally:
            if borrowed is not None:
                borrowed.detach()
        return True
