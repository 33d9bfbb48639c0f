"""A small SMART app on a server, with a secret: it launches, keeps its token to itself, and shows people what came of what they asked for."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

VERIFIER = "a-verifier-of-a-small-server-app-that-has-enough-letters"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass
class ServerApp:
    """``client``, ``secret`` and ``scope`` as registered; ``token`` is what the last launch gave."""

    origin: str = ""
    client: str = ""
    secret: str = ""
    scope: str = ""
    iss: str = ""
    token: dict[str, Any] = field(default_factory=dict)

    def launched(self, query: dict[str, str]) -> str:
        """Return where the browser goes to ask for access."""
        self.iss = query["iss"]
        asked = {
            "response_type": "code",
            "client_id": self.client,
            "redirect_uri": f"{self.origin}/app",
            "scope": self.scope,
            "state": "one-launch-at-a-time",
            "aud": self.iss,
            "launch": query["launch"],
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"{self._endpoint('authorization')}?{urlencode(asked)}"

    def returned(self, query: dict[str, str]) -> str:
        """Redeem the code; return what the page says."""
        form = {
            "grant_type": "authorization_code",
            "code": query["code"],
            "redirect_uri": f"{self.origin}/app",
            "code_verifier": VERIFIER,
        }
        answer = httpx2.post(self._endpoint("token"), data=form, auth=(self.client, self.secret))
        self.token = answer.json()
        return "ready" if answer.status_code == 200 else f"failed: {answer.text}"

    def ask(self, method: str, target: str, body: Any = None) -> httpx2.Response:
        """Call the FHIR server with the token."""
        headers = {"authorization": f"Bearer {self.token['access_token']}"}
        if body is not None:
            headers["content-type"] = "application/fhir+json"
        return httpx2.request(method, f"{self.iss}/{target}", json=body, headers=headers)

    def _endpoint(self, name: str) -> str:
        found = httpx2.get(f"{self.iss}/.well-known/smart-configuration").json()
        return str(found[f"{name}_endpoint"])


@contextmanager
def serving() -> Iterator[ServerApp]:
    """Serve the app on an origin of its own."""
    made = ServerApp()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/launch":
                self.send_response(303)
                self.send_header("Location", made.launched(query))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            text = made.returned(query) if parts.path == "/app" else "nothing here"
            page = f'<!doctype html><html lang="en"><title>notes</title><p id="out">{text}</p>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 its name there
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.origin = f"http://localhost:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
