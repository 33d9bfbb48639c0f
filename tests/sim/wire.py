"""A wire to a server that can be slow, freeze and break: what a network does, between one client and a real server."""

import selectors
import socket
import threading
import time
from contextlib import suppress

CHUNK = 65_536
LOOK_EVERY_S = 0.02


class Wire:
    """Forwards TCP from ``listen`` to a server. ``delay_s`` is added to each way.

    ``freeze``: connections stay open and nothing passes, as when a path is lost without a word. ``cut``: connections are reset and
    new ones are closed at once. ``mend`` lets everything pass again, also what was held.
    """

    def __init__(self, server: str, *, delay_s: float = 0.0) -> None:
        host, _, port = server.rpartition(":")
        self._server = host, int(port)
        self.delay_s = delay_s
        self._passes = threading.Event()
        self._passes.set()
        self._broken = self._closed = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._door = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listen = f"127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Hold everything back from now on, new connections too."""
        self._passes.clear()

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._broken = True
        self._reset()

    def mend(self) -> None:
        """Let everything pass again."""
        self._broken = False
        self._passes.set()

    def close(self) -> None:
        """End it for good."""
        self._closed = True
        self._passes.set()
        self._door.close()
        self._reset()

    def _reset(self) -> None:
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            if self._broken:
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        self._passes.wait()
        far = None
        try:
            far = socket.create_connection(self._server, timeout=5)
            for each in (near, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                each.setblocking(True)
            with self._lock:
                self._open |= {near, far}
            if self._broken:
                return
            self._pump(near, far)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open -= {near} | ({far} if far else set())
            near.close()
            if far is not None:
                far.close()

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while not self._broken and not self._closed:
                for key, _ in selector.select(LOOK_EVERY_S * 25):
                    chunk = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]  # a selector gives back what it was given
                    if not chunk:
                        return
                    if self.delay_s:
                        time.sleep(self.delay_s)
                    self._passes.wait()
                    if self._broken:
                        return
                    key.data.sendall(chunk)
