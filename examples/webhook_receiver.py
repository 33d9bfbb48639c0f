"""A receiver of Hilum's webhooks, with the standard library only.

    WEBHOOK_SECRET=whsec_... python examples/webhook_receiver.py 9100

Several secrets, separated by commas, are accepted while one replaces another. Three rules make a receiver safe: verify the signature before
anything is parsed; refuse a timestamp more than five minutes in the past or in the future; remember ids, since an event may arrive more than
once. Source: Standard Webhooks 1.0.0 (HMAC-SHA256 over ``id.timestamp.body``).
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_S = 300
BODY_BOUND = 64 * 1024
IDS_BOUND = 10_000
SIGNATURES_BOUND = 10


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> bool:
    """Check that one of the secrets signed this id, timestamp and body, and that the timestamp is within TOLERANCE_S of ``now``."""
    id_, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id_ or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    # Without this bound, a recorded webhook could be sent again at any time.
    if abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    received = headers.get("webhook-signature", "").split(" ")
    content = f"{id_}.{timestamp}.".encode() + body
    expected = [_signature(secret, content) for secret in secrets]
    # All are compared, in constant time, so that the time taken does not show which one matched, or how far.
    matches = [
        hmac.compare_digest(signature.encode("utf-8", "replace"), right.encode())
        for signature in received[:SIGNATURES_BOUND]
        for right in expected
    ]
    return any(matches)


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to a signed event, also if it arrived before, and 401 to anything else."""

    secrets: Sequence[str] = ()
    handled: OrderedDict[str, None] = OrderedDict()  # noqa: RUF012 - of all requests; a real receiver keeps ids in its database

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isascii() or not length.isdigit() or int(length) > BODY_BOUND:
            self._answer(413)
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not verify(headers, body, self.secrets, time.time()):
            self._answer(401)
            return
        id_ = headers["webhook-id"]
        if id_ not in self.handled:
            event = json.loads(body)
            # A real receiver puts the event into a queue here, since Hilum waits 15 seconds for the answer.
            print(f"{event['type']} {json.dumps(event['data'])}", flush=True)
            # Only now: after an error Hilum sends the event again, and it must be handled then.
            self.handled[id_] = None
            while len(self.handled) > IDS_BOUND:
                self.handled.popitem(last=False)
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


def main() -> None:
    Receiver.secrets = tuple(filter(None, os.environ.get("WEBHOOK_SECRET", "").split(",")))
    if not Receiver.secrets or len(sys.argv) != 2:
        raise SystemExit("usage: WEBHOOK_SECRET=whsec_... webhook_receiver.py PORT")
    try:
        for secret in Receiver.secrets:
            _signature(secret, b"")
    except binascii.Error:
        raise SystemExit("WEBHOOK_SECRET is not a secret of the form whsec_<base64>") from None
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
