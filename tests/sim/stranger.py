"""Somebody at the other end of a TCP connection who speaks HTTP badly, slowly or not at all."""

import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Said:
    """What came back: the status (0 for none), headers in lower case, the body, whether the server closed, and after how long."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    closed: bool = False
    took_s: float = 0.0
    raw: bytes = b""


class Connection:
    """One connection to a site, by its origin."""

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=10)
        self.begun = time.monotonic()

    def send(self, data: bytes) -> "Connection":
        with suppress(ConnectionError):
            self.socket.sendall(data)
        return self

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> "Connection":
        """Send a request's head with the right Host, and so much of a body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *headers, "", ""]
        return self.send("\r\n".join(lines).encode() + body)

    def has_answer(self) -> bool:
        """Return whether something came back, or the server closed."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def hear(self, within_s: float = 5.0) -> Said:
        """Read until the server closes or the time is over."""
        raw, closed = b"", False
        until = time.monotonic() + within_s
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                part = self.socket.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                closed = True
                break
            if not part:
                closed = True
                break
            raw += part
            if _whole(raw):
                until = min(until, time.monotonic() + 1.0)
        said = _parse(raw)
        said.closed, said.took_s = closed, time.monotonic() - self.begun
        return said

    def close(self) -> None:
        self.socket.close()


def _whole(raw: bytes) -> bool:
    said = _parse(raw)
    return said.status > 0 and len(said.body) >= int(said.headers.get("content-length", "0"))


def _parse(raw: bytes) -> Said:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/1"):
        return Said(raw=raw)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Said(int(words[1]), headers, body, raw=raw)
