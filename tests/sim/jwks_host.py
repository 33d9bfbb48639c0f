"""A host of a client's key set, whose answers a test chooses: slow, huge, or redirected elsewhere."""

import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Page:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    before_body: Callable[[], object] = lambda: None
    times: int = 1
    """How often the body is sent, for one that is too large to hold."""


@dataclass
class JwksHost:
    """``pages`` maps a path to its response; ``asked`` lists every request."""

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def jwks_uri(self) -> str:
        return f"{self.origin}/jwks.json"

    def serve(self, jwks: dict[str, Any], cache_control: str = "") -> None:
        headers = {"Content-Type": "application/json"}
        if cache_control:
            headers["Cache-Control"] = cache_control
        self.pages["/jwks.json"] = Page(headers=headers, body=json.dumps(jwks).encode())

    def times_asked(self, path: str = "/jwks.json") -> int:
        return sum(1 for asked, _ in self.asked if asked == path)


@contextmanager
def running(tls: ssl.SSLContext | None = None, *, poll_s: float = 0.02) -> Iterator[JwksHost]:
    """Serve a host; ``poll_s``: how often it looks whether it shall end."""
    host: JwksHost

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            if tls is not None:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            if tls is not None:
                self.request.close()

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            host.asked.append((path, {name.lower(): value for name, value in self.headers.items()}))
            page = host.pages.get(path, Page(404))
            try:
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(page.body) * page.times))
                self.end_headers()
                # Between head and body, where a slow host makes its clients wait.
                page.before_body()
                for _ in range(page.times):
                    self.wfile.write(page.body)
            # The fetcher closes the connection when it has seen too much.
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            # A client that does not trust the certificate ends the handshake.
            if not isinstance(sys.exception(), ssl.SSLError | OSError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host = JwksHost(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": poll_s}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
