"""A TCP path that a test can freeze, delay and cut, between a program and the server that it uses. Loopback only.

Frozen, it behaves like a network that drops every packet: connections stay open, nothing passes, and no error is reported. What was sent
before is delivered when the path thaws, even if its sender has given up meanwhile, as real networks do.
"""

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for a connection that ends with RST."""


class TcpProxy:
    """Listens on loopback, at a port or any free one, and forwards to ``port``. A context manager; safe to use from any thread."""

    def __init__(self, port: int, *, delay_s: float = 0.0, at: int = 0) -> None:
        self._target = port
        self._delay_s = delay_s
        self._requests, self._answers = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self.accepted = self.hung_up = 0
        """Connections so far, and how many of them the server ended and their clients may know of it."""
        self.round_trips = 0
        """How often a client sent something after an answer, over all connections. Exact only with a delay: what is sent at once
        may otherwise be answered in between."""
        self._listener = socket.create_server(("127.0.0.1", at), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.thaw()
        threading.Thread(target=self._accept, name="tcp-proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, url: str) -> str:
        """Return ``url`` with this proxy's host and port."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    def lead_to(self, port: int) -> None:
        """Forward new connections to another server, as when an address moves; open ones stay where they are."""
        self._target = port

    def freeze(self, *, requests: bool = True, answers: bool = True) -> None:
        """Hold what goes to the server, what comes back, or both, until ``thaw``. New connections are accepted and held too."""
        if requests:
            self._requests.clear()
        if answers:
            self._answers.clear()

    def thaw(self) -> None:
        """Forward everything again, first what was held."""
        self._requests.set()
        self._answers.set()

    def delay(self, seconds: float) -> None:
        """Delay everything by this time, in each direction."""
        self._delay_s = seconds

    def cut(self) -> None:
        """Reset every connection; what was held is lost. New ones are accepted."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _reset(each)

    def close(self) -> None:
        """Stop listening and reset every connection."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.thaw()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            server.settimeout(5)
            try:
                server.connect(("127.0.0.1", self._target))
            except OSError:
                server.close()
                _reset(client)
                continue
            # The limit was for connecting; afterwards a frozen path is the test's doing.
            server.settimeout(None)
            for each in (client, server):
                # Nagle's algorithm would add 40 ms to the small packets of a database.
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            ended: list[socket.socket] = []
            answered = threading.Event()
            answered.set()
            for source, sink, gate in ((client, server, self._requests), (server, client, self._answers)):
                threading.Thread(
                    target=self._pump, args=(source, sink, gate, ended, answered), daemon=True
                ).start()

    def _count(self, answered: threading.Event) -> None:
        if answered.is_set():
            answered.clear()
            with self._lock:
                self.round_trips += 1

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        gate: threading.Event,
        ended: list[socket.socket],
        answered: threading.Event,
    ) -> None:
        """Forward one direction; an end on one side ends the other only once all before it was delivered.

        ``ended`` has the sources whose end came; with both of them the connection is over.
        """
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                is_answer = gate is self._answers
                if not is_answer:
                    self._count(answered)
                if self._delay_s:
                    time.sleep(self._delay_s)
                gate.wait()
                if is_answer:
                    answered.set()
                sink.sendall(chunk)
        gate.wait()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self.hung_up += gate is self._answers
            ended.append(source)
            over = len(ended) == 2
            if over:
                self._sockets -= {source, sink}
        if over:
            source.close()
            sink.close()


def _reset(each: socket.socket) -> None:
    with suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    # Closing alone would leave a thread that waits in ``recv`` waiting; shutting down first would send FIN where RST is meant.
    with suppress(OSError):
        each.shutdown(socket.SHUT_RD)
    each.close()
