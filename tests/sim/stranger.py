"""A client at the other end of a TCP connection that speaks HTTP badly, slowly or not at all."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.sim.running import Running

JSON, FORM = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"
FHIR, TOKEN, REGISTER = "/t/general/fhir/Observation", "/t/general/oauth/token", "/t/general/oauth/register"


@dataclass
class Received:
    """What was received: the status (0 for none), headers in lower case, the body, whether the server closed, and after how long."""

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
        """Send the head of a request with the right Host, and the start of its body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *headers, "", ""]
        return self.send("\r\n".join(lines).encode() + body)

    def has_answer(self) -> bool:
        """Check whether data has arrived, or the server has closed."""
        # poll and not select: a test opens more than 1,024 sockets.
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self, within_s: float = 5.0) -> Received:
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
            # After a whole answer a moment longer, to see whether the server closes.
            if _whole(raw):
                until = min(until, time.monotonic() + 1.0)
        received = _parse(raw)
        received.closed, received.took_s = closed, time.monotonic() - self.begun
        return received

    def close(self) -> None:
        self.socket.close()


def _whole(raw: bytes) -> bool:
    received = _parse(raw)
    return received.status > 0 and len(received.body) >= int(received.headers.get("content-length", "0"))


def _parse(raw: bytes) -> Received:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/1"):
        return Received(raw=raw)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Received(int(words[1]), headers, body, raw=raw)


@contextmanager
def connections(running: Running, count: int) -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        made = [Connection(running.base) for _ in range(count)]
        for each in made:
            stack.callback(each.close)
        yield made
