"""A receiver of Hilum's webhooks, with the standard library only.

    WEBHOOK_SECRET=whsec_... python examples/webhook_receiver.py 9100

Several secrets, separated by commas, are accepted while one replaces another. The form is that of Standard Webhooks 1.0.0: HMAC-SHA256
over ``id.timestamp.body``. Three rules make it safe: verify before anything is parsed; refuse what is older than five minutes, or from the
future; remember ids, since an event may arrive more than once.
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


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> bool:
    """Check that one of the secrets signed this body under its id, and not more than five minutes ago."""
    id_, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id_ or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    # Without this, whoever recorded a webhook once could send it again for ever.
    if abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    received = headers.get("webhook-signature", "").split(" ")
    signed = f"{id_}.{timestamp}.".encode() + body
    expected = [_signature(secret, signed) for secret in secrets]
    # All are compared, in constant time: which one matched, or how far, must not show in the time it takes.
    matches = [
        hmac.compare_digest(one.encode("utf-8", "replace"), each.encode())
        for one in received[:10]
        for each in expected
    ]
    return any(matches)


def _signature(secret: str, signed: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise SystemExit("WEBHOOK_SECRET is not a secret of the form whsec_<base64>") from None
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is new or a repetition, and 401 to what is not signed."""

    secrets: Sequence[str] = ()
    seen: OrderedDict[str, None] = OrderedDict()  # noqa: RUF012 - shared on purpose; a real receiver keeps ids in its database

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > BODY_BOUND:
            self._answer(413)
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not verify(headers, body, self.secrets, time.time()):
            self._answer(401)
            return
        id_ = headers["webhook-id"]
        if id_ not in self.seen:
            self.seen[id_] = None
            while len(self.seen) > IDS_BOUND:
                self.seen.popitem(last=False)
            event = json.loads(body)
            # Here the event is put into a queue of the receiver's own: Hilum waits 15 seconds for the answer.
            print(f"{event['type']} {json.dumps(event['data'])}", flush=True)
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


def main() -> None:
    Receiver.secrets = tuple(filter(None, os.environ.get("WEBHOOK_SECRET", "").split(",")))
    if not Receiver.secrets or len(sys.argv) != 2:
        raise SystemExit("usage: WEBHOOK_SECRET=whsec_... webhook_receiver.py PORT")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
