"""A FHIR server that wants access tokens, beside Authlib's authorization server, which gives them to one client."""

import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import KeySet
from werkzeug.serving import make_server

CLIENT = "hilum-at-lakeside"
METHODS = ["client_secret_basic", "client_secret_post", JWTBearerClientAssertion.CLIENT_AUTH_METHOD]


@dataclass
class TokenServer:
    """``jwks`` are the client's keys. ``given``: the tokens that are in force; ``forms``: what was sent to the token endpoint."""

    secret: str = "s3cret"
    jwks: dict[str, Any] = field(default_factory=dict)
    life_s: int = 300
    delay_s: float = 0.0
    status: int = 0
    """Answer the token endpoint with this status, when set."""
    answer: dict[str, Any] | None = None
    """Answer the token endpoint with this, when set."""
    base: str = ""
    given: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request to the FHIR server."""
    jtis: set[str] = field(default_factory=set)

    @property
    def token_url(self) -> str:
        return self.base.removesuffix("/fhir") + "/oauth/token"


class _Client(ClientMixin):  # type: ignore[misc]
    def __init__(self, server: TokenServer) -> None:
        self.client_id, self._server = CLIENT, server

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self._server.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return True

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"

    def get_allowed_scope(self, scope: str) -> str:
        return scope


def _assertions(server: TokenServer) -> JWTBearerClientAssertion:
    class Assertions(JWTBearerClientAssertion):  # type: ignore[misc]
        def get_audiences(self) -> list[str]:
            return [server.token_url]

        def validate_jti(self, claims: Any, jti: str) -> bool:
            is_new = jti not in server.jtis
            server.jtis.add(jti)
            return is_new and claims["exp"] - time.time() <= 300

        def resolve_client_public_key(self, client: Any) -> Any:
            return KeySet.import_key_set(server.jwks)  # type: ignore[arg-type]

        def process_assertion_claims(self, assertion: str, resolve_key: Any) -> Any:
            # Authlib's own takes no RS384, which SMART requires of servers.
            token = jwt.decode(assertion, resolve_key, algorithms=["RS384", "ES384"])
            self.verify_claims(token.claims)
            return token.claims

    return Assertions(validate_jti=True)


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


def _app(server: TokenServer) -> Flask:
    app = Flask("token-server")
    app.config["SERVER_NAME"] = None

    def save(token: dict[str, Any], _request: Any) -> None:
        server.given.append(token["access_token"])

    found = AuthorizationServer(
        app, query_client=lambda id_: _Client(server) if id_ == CLIENT else None, save_token=save
    )
    makes = BearerTokenGenerator(
        lambda **_: f"token-{len(server.forms)}", expires_generator=lambda *_: server.life_s
    )
    found.register_token_generator("default", makes)
    found.register_client_auth_method(JWTBearerClientAssertion.CLIENT_AUTH_METHOD, _assertions(server))
    found.register_grant(_Grant)

    @app.post("/oauth/token")
    def token() -> Any:
        server.forms.append(request.form.to_dict())
        time.sleep(server.delay_s)
        if server.status:
            return jsonify(error="invalid_client", error_description="of Jane Roe"), server.status
        return jsonify(server.answer) if server.answer is not None else found.create_token_response()

    @app.route("/fhir/<path:_path>", methods=["GET", "POST", "PUT"])
    def fhir(_path: str) -> Any:
        server.seen.append({name.lower(): value for name, value in request.headers.items()})
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if bearer not in server.given:
            return Response("{}", 401, content_type="application/fhir+json")
        return Response('{"resourceType":"Patient","id":"1"}', 200, content_type="application/fhir+json")

    return app


@contextmanager
def served(server: TokenServer, tls: ssl.SSLContext | None = None) -> Iterator[TokenServer]:
    """Serve it on a loopback port, over TLS if its side of that is given."""
    # Authlib refuses plain HTTP, also on this machine, unless it is told so.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    made = make_server("127.0.0.1", 0, _app(server), threaded=True, ssl_context=tls)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    server.base = f"{scheme}://{host}:{made.server_port}/fhir"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        made.shutdown()
        thread.join(10)
        made.server_close()
