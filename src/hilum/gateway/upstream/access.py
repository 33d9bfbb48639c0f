"""How a FHIR server lets Hilum in: what is sealed for it, the TLS by which it is reached, and its access tokens.

A token is asked for once, however many requests wait for it, and renewed before it ends, so that a renewal delays nobody. Each worker has a
token of its own.
"""

import asyncio
import base64
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import orjson
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from hilum.foundation.infra import logs
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Invalid, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.ports import Ids
from hilum.gateway.upstream import policy
from hilum.gateway.upstream.http1 import TooLarge
from hilum.gateway.upstream.http_client import HttpClient, Lost, NotSent
from hilum.gateway.upstream.models import UpstreamRequest, UpstreamResponse
from hilum.identity.people.models import TenantFacts, TokenAuth, UpstreamRef, UpstreamSecrets
from hilum.records.keys import service as keys
from hilum.records.keys.live import Vault
from hilum.records.keys.models import Purpose

PURPOSE = "upstream"
AWAY = "upstream_unavailable"
ASSERTION_LIFE = timedelta(minutes=4)
"""At most five minutes (SMART App Launch 2.2, client-confidential-asymmetric), and clocks differ."""
RETRY_S = 5.0
"""How long a token endpoint is not asked again after it failed."""
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
_log = logs.get("upstream")
Headers = tuple[tuple[str, str], ...]
Assert = Callable[[TenantId, UpstreamRef], Awaitable[str]]
"""Makes a client assertion for a hospital's FHIR server (``client_assertion``)."""


class TokenRefused(Unavailable):
    """A token endpoint gave no access token. ``reason`` is for the host; an app is not told it."""

    def __init__(self, reason: str) -> None:
        super().__init__(AWAY, "The FHIR server gave no access token.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, with the loop's times from which it is renewed, and until which it is used."""

    header: str
    asked_at: float
    renew_at: float
    ends_at: float


@dataclass(slots=True)
class Access:
    """How one FHIR server is reached now. ``fixed``: the headers that each request bears."""

    upstream: UpstreamRef
    secrets: UpstreamSecrets
    fixed: Headers
    tls: ssl.SSLContext | None
    token: Token | None = None
    asking: "asyncio.Task[Token] | None" = None
    refused: TokenRefused | None = None
    asks_at: float = 0.0
    """Not before this time of the loop is a token asked for again."""


def seal_secrets(vault: Vault, secrets: UpstreamSecrets, upstream: UpstreamRef, ids: Ids) -> str:
    """Seal what a FHIR server accepts Hilum by, for ``UpstreamRef.credentials_sealed``: for its host and its token endpoint alone.

    Raises Invalid if the certificate and its key cannot be used.
    """
    tls_of(upstream, secrets)
    return vault.seal(PURPOSE, orjson.dumps(asdict(secrets)), nonce=ids, bound_to=policy.bound_to(upstream))


def open_secrets(vault: Vault, upstream: UpstreamRef) -> UpstreamSecrets:
    """Return what was sealed for a FHIR server. Raises Invalid for what was sealed for another one."""
    if not upstream.credentials_sealed:
        return UpstreamSecrets()
    opened = vault.open(PURPOSE, upstream.credentials_sealed, policy.bound_to(upstream))
    return UpstreamSecrets(**orjson.loads(opened))


def open_access(vault: Vault, upstream: UpstreamRef) -> Access:
    """Open how a FHIR server is reached. Raises Invalid."""
    secrets = open_secrets(vault, upstream)
    authorization = (("authorization", secrets.authorization),) if secrets.authorization else ()
    return Access(upstream, secrets, (*authorization, *secrets.headers.items()), tls_of(upstream, secrets))


def tls_of(upstream: UpstreamRef, secrets: UpstreamSecrets) -> ssl.SSLContext | None:
    """Return the TLS of a server with an authority or a client certificate of its own; None for the one of all others. Raises Invalid."""
    if not upstream.authorities and not upstream.certificate:
        return None
    try:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if upstream.authorities:
            context.load_verify_locations(cadata=upstream.authorities)
        if upstream.certificate:
            _load_certificate(context, upstream.certificate, secrets.key)
    # TypeError: the key has a password.
    except (ssl.SSLError, ValueError, TypeError) as error:
        detail = "The certificate and its key cannot be used: give both in PEM, the key without a password."
        raise Invalid("tenant_invalid", detail, fields={"upstream": "certificate_unusable"}) from error
    return context


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate by a file, as OpenSSL wants it; the key is in it under a password that only this call knows."""
    password = os.urandom(32).hex()
    private = load_pem_private_key(key.encode(), None)
    sealed = private.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(certificate.encode() + b"\n" + sealed)
        file.flush()
        context.load_cert_chain(file.name, password=password)


def client_assertion(ctx: Context, tenant: TenantId, upstream: UpstreamRef) -> str:
    """Sign that Hilum is the client of a hospital's FHIR server, for its token endpoint.

    Source: SMART App Launch 2.2, client-confidential-asymmetric#authenticating-to-the-token-endpoint; RFC 7523 section 3.
    """
    claims = {
        "iss": upstream.client_id,
        "sub": upstream.client_id,
        "aud": upstream.token_url,
        "jti": ctx.ids.secret(),
        "iat": int(ctx.now.timestamp()),
        "exp": int((ctx.now + ASSERTION_LIFE).timestamp()),
    }
    return keys.sign_jwt(ctx, tenant, claims, purpose=Purpose.UPSTREAM)


def asserts_by(uow: UnitOfWork) -> Assert:
    """Return what makes client assertions with the keys of a database."""

    async def client_assertion_of(tenant: TenantId, upstream: UpstreamRef) -> str:
        verb = partial(client_assertion, tenant=tenant, upstream=upstream)
        return await uow.write(verb, actor=SYSTEM, trace=Trace("upstream-token"))

    return client_assertion_of


class Tokens:
    """Gets the access tokens of FHIR servers. One per process, for its event loop only."""

    def __init__(self, http: HttpClient, client_assertion: Assert) -> None:
        self._http, self._assert = http, client_assertion

    async def header_of(self, tenant: TenantFacts, access: Access) -> str:
        """Return the Authorization header with a token that is in force. Raises TokenRefused."""
        now = asyncio.get_running_loop().time()
        token = access.token
        if token is not None and now < token.renew_at:
            return token.header
        if access.asking is None and now >= access.asks_at:
            access.asking = asyncio.get_running_loop().create_task(self._ask(tenant.id, access))
            access.asking.add_done_callback(lambda task: _settle(tenant.id, access, task))
        if token is not None and now < token.ends_at:
            return token.header
        if access.asking is None:
            raise access.refused or TokenRefused("it was not asked")
        # Shielded, so that one caller's cancellation does not fail the others.
        return (await asyncio.shield(access.asking)).header

    def forget(self, access: Access) -> bool:
        """Forget a token that its server does not accept; return whether another one may be asked for now."""
        now = asyncio.get_running_loop().time()
        # A server that refuses every token must not make its token endpoint busy with every request.
        if access.token is None or now < access.token.asked_at + RETRY_S:
            return False
        access.token = None
        return True

    async def _ask(self, tenant: TenantId, access: Access) -> Token:
        upstream, asked_at = access.upstream, asyncio.get_running_loop().time()
        form = {"grant_type": "client_credentials"}
        if upstream.scope:
            form["scope"] = upstream.scope
        headers: Headers = _FORM
        match upstream.token_auth:
            case TokenAuth.KEY:
                assertion = await self._assert(tenant, upstream)
                form |= {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
            case TokenAuth.POST:
                form |= {"client_id": upstream.client_id, "client_secret": access.secrets.client_secret}
            case _:
                headers = (*headers, ("authorization", _basic(upstream, access.secrets)))
        parts = urlsplit(upstream.token_url)
        request = UpstreamRequest("POST", parts.path.removeprefix("/"), body=urlencode(form).encode())
        try:
            answer = await self._http.send(policy.host_of(upstream.token_url), request, headers, access.tls)
        except (NotSent, Lost, TooLarge) as error:
            raise TokenRefused("its token endpoint does not answer") from error
        return _token(answer, asked_at)


def _settle(tenant: TenantId, access: Access, task: "asyncio.Task[Token]") -> None:
    """Keep what a token endpoint answered."""
    access.asking = None
    if task.cancelled():
        return
    error = task.exception()
    if error is None:
        access.token, access.refused = task.result(), None
        return
    access.refused = (
        error if isinstance(error, TokenRefused) else TokenRefused("the token cannot be asked for")
    )
    access.asks_at = asyncio.get_running_loop().time() + RETRY_S
    _log.error("upstream.token.refused", tenant=tenant, reason=access.refused.reason)


def _basic(upstream: UpstreamRef, secrets: UpstreamSecrets) -> str:
    # Source: RFC 6749 section 2.3.1, which encodes both before they are joined.
    joined = f"{quote_plus(upstream.client_id)}:{quote_plus(secrets.client_secret)}"
    return f"Basic {base64.b64encode(joined.encode()).decode()}"


def _token(answer: UpstreamResponse, asked_at: float) -> Token:
    """Return the token of an answer. Raises TokenRefused."""
    try:
        stated = orjson.loads(answer.body)
    except ValueError:
        stated = None
    found: Mapping[str, Any] = stated if isinstance(stated, dict) else {}
    if fault := policy.token_fault(answer.status, found):
        raise TokenRefused(fault)
    renew_after, ends_after = policy.token_times(found.get("expires_in"))
    return Token(f"Bearer {found['access_token']}", asked_at, asked_at + renew_after, asked_at + ends_after)
