"""An identity provider that signs anybody in at once, and lies as a test tells it to."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from tests.sim.world import FakeClock

CLIENT, SECRET = "hilum-at-general", "a secret/of+the client"
Claims = dict[str, Any]
Lie = Callable[[Claims], Claims | None]
_JTIS = count()
_KEYS: dict[str, RSAKey | ECKey] = {}


def key(name: str = "rsa") -> RSAKey | ECKey:
    """Return a private key of the provider, made once in a run."""
    if name not in _KEYS:
        _KEYS[name] = ECKey.generate_key("P-256") if name == "ec" else RSAKey.generate_key(2_048)
    return _KEYS[name]


def public(name: str = "rsa", **more: Any) -> dict[str, Any]:
    return {**key(name).as_dict(private=False), "kid": name, "use": "sig", **more}


def sign(claims: Claims, header: dict[str, Any] | None = None, signer: str = "rsa") -> str:
    head = {"alg": "RS256", "kid": "rsa", **(header or {})}
    body = json.dumps(claims).encode()
    return jws.serialize_compact(head, body, key(signer), algorithms=[head["alg"]])


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@dataclass
class IdentityProvider:
    """``person``: claims of whoever signs in. ``changes``: applied to the id_token's claims. ``token``: replaces the whole token.

    ``described``: replaces members of the metadata. ``answers``: replaces a whole answer, by path. ``front``: parameters of the answer to the browser.
    """

    port: int
    clock: FakeClock
    person: Claims = field(
        default_factory=lambda: {
            "sub": "s-ann",
            "preferred_username": "ann",
            "name": "Ann",
            "roles": ["doctors"],
        }
    )
    changes: Claims = field(default_factory=dict)
    token: Callable[[Claims], str] = sign
    described: Claims = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    front: dict[str, str] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public()])
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    redirects: list[str] = field(default_factory=list)
    registered: Any = None
    """The client's public key, if it authenticates by one."""
    assertions: list[str] = field(default_factory=list)
    userinfo: Claims = field(default_factory=dict)
    """What it states at its UserInfo endpoint to who has the access token."""
    dated: FakeClock | None = None
    """The clock of its answers, if it goes wrong."""

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metadata(self) -> Claims:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end",
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": True,
            **self.described,
        }

    def authorize(self, address: str) -> str:
        """Answer an authorization request as if the person had signed in; return where the browser goes."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer} | self.front
        present = {name: value for name, value in answer.items() if value}
        return f"{asked['redirect_uri']}?{urlencode(present)}"

    def claims(self, asked: dict[str, str]) -> Claims:
        now = int(self.clock.now().timestamp())
        whole = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "auth_time": now - 5,
            "sid": "session-1",
            **self.person,
            **self.changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, Claims]:
        if "client_assertion" in form:
            if not self.knows(form):
                return 401, {"error": "invalid_client"}
            return self.redeemed(form)
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        if [unquote_plus(each) for each in pair] != [CLIENT, SECRET]:
            return 401, {"error": "invalid_client"}
        return self.redeemed(form)

    def knows(self, form: dict[str, str]) -> bool:
        """Check an assertion with the registered key, as RFC 7523 section 3 says, and that it was not used before."""
        try:
            signed = jws.deserialize_compact(form["client_assertion"], self.registered, algorithms=["ES256"])
        except JoseError:
            return False
        claims = json.loads(signed.payload)
        used, now = claims["jti"] in self.assertions, self.clock.now().timestamp()
        self.assertions.append(claims["jti"])
        stated = (claims["iss"], claims["sub"], claims["aud"], form["client_assertion_type"])
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        right = stated == (CLIENT, CLIENT, f"{self.issuer}/token", kind) and "client_secret" not in form
        return right and not used and claims["iat"] <= now < claims["exp"] <= now + 300

    def redeemed(self, form: dict[str, str]) -> tuple[int, Claims]:
        asked = self.codes.pop(form["code"], None)
        if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        digest = sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": self.token(self.claims(asked))}

    def logout_token(self, **changes: Any) -> str:
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 120,
            "jti": f"jti-{next(_JTIS)}",
            "sub": self.person["sub"],
            "sid": "session-1",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        } | changes
        return sign({n: v for n, v in claims.items() if v is not None}, {"typ": "logout+jwt"})


@contextmanager
def running(clock: FakeClock) -> Iterator[IdentityProvider]:
    provider: IdentityProvider

    class Handler(BaseHTTPRequestHandler):
        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response_only(status)
            self.send_header("Date", format_datetime((provider.dated or clock).now(), usegmt=True))
            self.send_header("Content-Type", "application/json")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            provider.asked.append(path)
            if path in provider.answers:
                return self._send(*provider.answers[path])
            if path == "/.well-known/openid-configuration":
                return self._send(200, json.dumps(provider.metadata()).encode())
            if path == "/jwks":
                return self._send(200, json.dumps({"keys": provider.keys}).encode())
            if path == "/authorize":
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                if provider.redirects and asked["redirect_uri"] not in provider.redirects:
                    return self._send(400, b"{}")
                to = f"{asked['redirect_uri']}?{urlencode({'error': 'login_required', 'state': asked['state']})}"
                return self._send(303, b"", {"Location": to})
            return self._send(404, b"{}")

        def do_POST(self) -> None:
            path = urlsplit(self.path).path
            provider.asked.append(path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if path in provider.answers:
                return self._send(*provider.answers[path])
            if path == "/userinfo":
                known = self.headers.get("Authorization") == "Bearer at"
                return self._send(200 if known else 401, json.dumps(provider.userinfo).encode())
            form = {name: values[0] for name, values in parse_qs(body).items()}
            status, answer = provider.redeem(form, self.headers.get("Authorization", ""))
            return self._send(status, json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider = IdentityProvider(server.server_address[1], clock)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
