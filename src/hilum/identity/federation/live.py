"""The client to identity providers: metadata, keys, token and UserInfo requests. Never call it within a transaction.

Source: OpenID Connect Discovery 1.0 section 4; OpenID Connect Core 1.0 sections 3.1.3 and 9; RFC 7636
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode

import orjson
from cachetools import LRUCache

from hilum.foundation.infra.fair_slots import FairSlots, Shares
from hilum.foundation.infra.fetch import Fetched
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.errors import Invalid, Unavailable
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.standards import jws
from hilum.foundation.standards.networks import network_of
from hilum.identity.federation import assertions, id_token, policy
from hilum.identity.federation.id_token import Expected
from hilum.identity.federation.models import (
    SEALING,
    TOKEN_BOUND,
    BegunSignIn,
    ClientAuth,
    Fault,
    Identity,
    Logout,
    Metadata,
    Provider,
    Settings,
    Unreached,
)
from hilum.records.keys.live import Vault

DISCOVERY = "/.well-known/openid-configuration"
CACHE_LIFE = timedelta(minutes=5)
REFETCH_INTERVAL = timedelta(seconds=30)
"""How often an unknown ``kid`` causes the keys to be fetched again. Anyone who signs in can send one."""
REQUEST_DEADLINE = timedelta(seconds=8)
"""How long a token or UserInfo request may take, with the wait for its turn."""
BACKOFF = timedelta(seconds=5)
"""How long a provider is not contacted again after a failure. Sign-ins in that time fail at once."""
QUEUE_BOUND = 300
"""How many sign-ins may wait for one provider. Further ones fail at once."""
SHARES = Shares(slots=8, waiting=QUEUE_BOUND, network_slots=1, network_waiting=8)
"""Token and UserInfo requests to one provider. One slot for a network: who sends codes that they made up must not keep others out."""
PROVIDERS_CACHED = 1_000
KEYS_BOUND = 50
STATE = "federation-state"
ASSERTION = "federation-assertion"
ID_TOKEN_TYPES = frozenset({"jwt"})
LOGOUT_TOKEN_TYPES = frozenset({"jwt", "logout+jwt"})
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{1,8000}=*")
"""RFC 6750 section 2.1."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class Fetcher(Protocol):
    """The part of the safe fetcher that is used here; each method raises Unavailable."""

    async def get(self, url: str, *, accept: str = "application/json") -> Fetched: ...

    async def exchange(self, url: str, body: bytes, headers: Mapping[str, str]) -> Fetched: ...

    async def look(self, url: str, *, accept: str = "text/html") -> Fetched: ...


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code was exchanged for: who signed in, and the id_token, which is the hint at sign-out."""

    identity: Identity
    id_token: str


@dataclass(slots=True)
class _Entry:
    metadata: Metadata | None = None
    metadata_until: float = 0.0
    jwks: dict[str, Any] = field(default_factory=dict)
    jwks_until: float = 0.0
    refetch_from: float = 0.0
    backoffs: dict[str, tuple[float, Fault]] = field(default_factory=dict)
    """By part of the provider: until when it is not requested again, and the fault of the last request."""
    waiting: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    slots: FairSlots = field(
        default_factory=lambda: FairSlots(SHARES, lambda: unreached(Fault.PROVIDER_UNREACHABLE))
    )

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Count a sign-in that waits. Raises Unreached if too many do."""
        if self.waiting >= QUEUE_BOUND:
            raise unreached(Fault.PROVIDER_UNREACHABLE)
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def backing_off(self, part: str, clock: Clock, *, refresh: bool) -> Iterator[None]:
        """Run a request for a part of a provider, unless the last one failed less than BACKOFF ago. Raises Unreached."""
        until, fault = self.backoffs.get(part, (0.0, Fault.PROVIDER_UNREACHABLE))
        if clock.monotonic() < until and not refresh:
            raise unreached(fault)
        try:
            yield
        except Unreached as error:
            # From the failure on, since the request may have taken longer than BACKOFF.
            self.backoffs[part] = clock.monotonic() + BACKOFF.total_seconds(), error.fault
            raise


# --- state that the browser keeps -------------------------------------------------------------------------------------------------


def is_secret(text: str) -> bool:
    """Check whether a text has the form of the secret that binds sign-ins to a browser."""
    return _SECRET.fullmatch(text) is not None


def verifier_of(secret: str, nonce: str) -> str:
    """Return the PKCE verifier of a sign-in: only the browser that holds ``secret`` can complete it. Source: RFC 7636 section 4.1."""
    # Derived rather than stored, so that neither the database nor the provider's URL contains it.
    mac = hmac.digest(secret.encode(), b"hilum/identity/federation/" + nonce.encode(), "sha256")
    return base64url.encode(mac)


def seal_state(vault: Vault, begun: BegunSignIn, secret: str, ids: Ids) -> str:
    """Seal a begun sign-in as ``state``, which only the browser that holds ``secret`` can open."""
    return vault.seal(STATE, orjson.dumps(begun), nonce=ids, bound_to=_bound(secret))


def open_state(vault: Vault, state: str, secret: str) -> BegunSignIn:
    """Open a ``state``. Raises Refusal if it was not sealed here, or for another browser."""
    if not state:
        id_token.refuse(Fault.STATE_MALFORMED)
    if not is_secret(secret):
        id_token.refuse(Fault.STATE_OF_ANOTHER_BROWSER)
    try:
        fields = orjson.loads(vault.open(STATE, state, _bound(secret)))
    except Invalid:
        # The state of another browser cannot be distinguished from a forged one.
        id_token.refuse(Fault.STATE_OF_ANOTHER_BROWSER)
    return BegunSignIn(**{**fields, "left_at": datetime.fromisoformat(fields["left_at"])})


def _bound(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def seal_secret(vault: Vault, secret: str, issuer: str, ids: Ids) -> str:
    """Seal a client's secret, bound to the issuer, so that it does not open with another issuer in the row. Source: security decision 15."""
    return vault.seal(SEALING, secret.encode(), nonce=ids, bound_to=issuer)


class Providers:
    """The client to every hospital's identity providers, with a cache of metadata and keys. One per process, used from its event loop only."""

    def __init__(self, fetcher: Fetcher, clock: Clock, vault: Vault) -> None:
        self._fetcher, self._clock, self._vault = fetcher, clock, vault
        self._entries: LRUCache[str, _Entry] = LRUCache(PROVIDERS_CACHED)

    async def metadata(
        self, settings: Settings, allowed: frozenset[str], *, refresh: bool = False
    ) -> Metadata:
        """Return a provider's metadata. Raises Unreached, also if it refers to a host that is not allowed."""
        # Before the cache, so that a host that was removed from the list is no longer contacted.
        if policy.origin_of(settings.issuer) not in allowed:
            raise unreached(Fault.HOST_NOT_ALLOWED)
        entry = self._entry(settings)
        with entry.queued():
            async with entry.lock:
                now = self._clock.monotonic()
                if refresh or entry.metadata is None or now >= entry.metadata_until:
                    with entry.backing_off("metadata", self._clock, refresh=refresh):
                        entry.metadata = await self._discover(settings)
                    entry.metadata_until = now + CACHE_LIFE.total_seconds()
                metadata = entry.metadata
        if policy.foreign_origins(metadata, allowed, userinfo=settings.userinfo):
            raise unreached(Fault.HOST_NOT_ALLOWED)
        return metadata

    def cached_metadata(self, settings: Settings, allowed: frozenset[str]) -> Metadata | None:
        """Return a provider's metadata as last fetched; None if there are none, or if their hosts are not allowed."""
        metadata = self._entry(settings).metadata
        if metadata is None or policy.foreign_origins(metadata, allowed, userinfo=settings.userinfo):
            return None
        return metadata

    async def keys(
        self, settings: Settings, metadata: Metadata, kid: str, *, refresh: bool = False
    ) -> Mapping[str, Any]:
        """Return a provider's key set, fetched again if it lacks the ``kid``. Raises Unreached."""
        entry = self._entry(settings)
        with entry.queued():
            async with entry.lock:
                now = self._clock.monotonic()
                stale = refresh or not entry.jwks or now >= entry.jwks_until
                matching = jws.keys_for(entry.jwks, kid, settings.algorithm)
                if stale or (not matching and now >= entry.refetch_from):
                    with entry.backing_off("keys", self._clock, refresh=refresh):
                        entry.jwks = _key_set(await self._get(metadata.jwks_uri))
                    entry.jwks_until = now + CACHE_LIFE.total_seconds()
                    entry.refetch_from = now + REFETCH_INTERVAL.total_seconds()
                return entry.jwks

    def leave_url(
        self,
        provider: Provider,
        metadata: Metadata,
        begun: BegunSignIn,
        *,
        secret: str,
        returns_to: str,
        ids: Ids,
    ) -> str:
        """Build the URL of the authentication request. Source: OpenID Connect Core 1.0 section 3.1.2.1."""
        settings = provider.settings
        challenge = hashlib.sha256(verifier_of(secret, begun.nonce).encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": returns_to,
            "scope": " ".join(settings.scopes),
            "state": seal_state(self._vault, begun, secret, ids),
            "nonce": nonce_of(begun),
            "code_challenge": base64url.encode(challenge),
            "code_challenge_method": "S256",
        }
        if settings.acr_values:
            parameters["acr_values"] = " ".join(settings.acr_values)
        if begun.fresh:
            parameters |= {"prompt": "login", "max_age": "0"}
        elif settings.max_age_s:
            parameters["max_age"] = str(settings.max_age_s)
        joined = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joined}{urlencode(parameters)}"

    async def redeem(
        self,
        provider: Provider,
        metadata: Metadata,
        begun: BegunSignIn,
        *,
        code: str,
        secret: str,
        returns_to: str,
        source: str,
    ) -> Redeemed:
        """Exchange a code and check the id_token in full. ``source``: the browser's address. Raises Unreached, Refusal."""
        settings = provider.settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": returns_to,
            "code_verifier": verifier_of(secret, begun.nonce),
        }
        answer = _token_answer(await self.ask_token(provider, metadata, form, source))
        token = answer.get("id_token")
        if not isinstance(token, str) or not token:
            id_token.refuse(Fault.TOKEN_MISSING)
        claims = await self._verified(settings, metadata, token, ID_TOKEN_TYPES)
        expected = Expected(nonce_of(begun), begun.left_at, begun.fresh)
        identity = id_token.judge_id_token(claims, settings, expected, self._clock.now())
        if settings.userinfo:
            userinfo = await self._userinfo(settings, metadata, answer.get("access_token"), source)
            identity = id_token.with_userinfo(identity, userinfo, settings)
        return Redeemed(identity, token)

    async def _userinfo(
        self, settings: Settings, metadata: Metadata, token: object, source: str
    ) -> dict[str, Any]:
        """Fetch the claims of the UserInfo endpoint. Raises Unreached. Source: OpenID Connect Core 1.0 section 5.3."""
        if not metadata.userinfo_endpoint or not isinstance(token, str) or not _BEARER.fullmatch(token):
            raise unreached(Fault.USERINFO_MISSING)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        answer = await self._exchange(settings, source, metadata.userinfo_endpoint, b"", headers)
        claims = json_object(answer)
        if answer.status != 200 or claims is None or len(answer.body) > 2 * TOKEN_BOUND:
            raise unreached(Fault.USERINFO_MISSING)
        return claims

    async def read_logout(self, settings: Settings, metadata: Metadata, token: str) -> Logout:
        """Check a logout token in full. Raises Unreached, Refusal. Source: OpenID Connect Back-Channel Logout 1.0 section 2.6."""
        claims = await self._verified(settings, metadata, token, LOGOUT_TOKEN_TYPES)
        return id_token.judge_logout_token(claims, settings, self._clock.now())

    async def ask_token(
        self, provider: Provider, metadata: Metadata, form: Mapping[str, str], source: str
    ) -> Fetched:
        """Send a request to a provider's token endpoint, authenticated as the hospital's client there. Raises Unreached."""
        settings = provider.settings
        secret = self._secret(provider)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        fields = dict(form)
        if settings.client_auth is ClientAuth.BASIC:
            # Form-encoded before base64 (RFC 6749 section 2.3.1).
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif settings.client_auth is ClientAuth.KEY:
            fields |= self._asserted(settings, metadata, secret, fields.get("code_verifier", ""))
        else:
            fields |= {"client_id": settings.client_id, "client_secret": secret}
        body = urlencode(fields).encode()
        return await self._exchange(settings, source, metadata.token_endpoint, body, headers)

    async def _exchange(
        self, settings: Settings, source: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Fetched:
        """Send a request once it is its network's turn. Raises Unreached."""
        slot = self._entry(settings).slots.held(network_of(source))
        try:
            async with asyncio.timeout(REQUEST_DEADLINE.total_seconds()), slot:
                return await self._fetcher.exchange(url, body, headers)
        except (Unavailable, TimeoutError):
            raise unreached(Fault.PROVIDER_UNREACHABLE) from None

    def _asserted(self, settings: Settings, metadata: Metadata, key: str, verifier: str) -> dict[str, str]:
        """Return the form fields of ``private_key_jwt``. Raises Unreached."""
        # A jti for this request alone: time and verifier differ for each.
        unique = f"{settings.client_id}/{self._clock.monotonic()}/{verifier}"
        signed = assertions.assertion(
            key,
            client_id=settings.client_id,
            audience=metadata.token_endpoint,
            jti=self._vault.mac(ASSERTION, unique.encode(), size=24),
            now=self._clock.now(),
        )
        if not signed:
            raise unreached(Fault.CLIENT_REFUSED)
        return {
            "client_id": settings.client_id,
            "client_assertion_type": assertions.TYPE,
            "client_assertion": signed,
        }

    async def look(self, address: str) -> Fetched:
        """Return the response to a GET without following redirects, as a browser without cookies gets it. Raises Unavailable."""
        return await self._fetcher.look(address)

    async def discovery(self, settings: Settings) -> Fetched:
        """Fetch a provider's metadata, not parsed. Raises Unreached."""
        return await self._get(settings.issuer.rstrip("/") + DISCOVERY)

    async def _discover(self, settings: Settings) -> Metadata:
        return read_metadata(await self.discovery(settings), settings.issuer)

    async def _get(self, address: str) -> Fetched:
        try:
            return await self._fetcher.get(address, accept="application/json")
        except Unavailable:
            raise unreached(Fault.PROVIDER_UNREACHABLE) from None

    async def _verified(
        self, settings: Settings, metadata: Metadata, token: str, types: frozenset[str]
    ) -> dict[str, Any]:
        kid = id_token.read_header(token, settings.algorithm, types)
        jwks = await self.keys(settings, metadata, kid)
        return id_token.verified(token, kid, jwks, settings.algorithm)

    def _secret(self, provider: Provider) -> str:
        try:
            return self._vault.open(SEALING, provider.secret_sealed, provider.settings.issuer).decode()
        except Invalid:
            raise unreached(Fault.CLIENT_REFUSED) from None

    def _entry(self, settings: Settings) -> _Entry:
        return self._entries.setdefault(settings.issuer, _Entry())


def nonce_of(begun: BegunSignIn) -> str:
    """Return the nonce to send: a digest, because the PKCE verifier is derived from the nonce itself."""
    return hashlib.sha256(f"nonce/{begun.nonce}".encode()).hexdigest()


def unreached(fault: Fault) -> Unreached:
    """Build the error of a provider that does not answer, or not as it should."""
    return Unreached(fault, policy.SENTENCES[fault].happened)


def read_metadata(answer: Fetched, issuer: str) -> Metadata:
    """Parse a provider's metadata. Raises Unreached. Source: OpenID Connect Discovery 1.0 section 4.3."""
    stated = json_object(answer)
    # Exactly the configured issuer, or one provider could speak for another.
    if answer.status != 200 or stated is None or stated.get("issuer") != issuer:
        raise unreached(Fault.METADATA_WRONG)
    needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    optional = ("end_session_endpoint", "userinfo_endpoint")
    addresses = {name: _address(stated.get(name)) for name in (*needed, *optional)}
    if not all(addresses[name] for name in needed):
        raise unreached(Fault.METADATA_WRONG)
    sends_iss = stated.get("authorization_response_iss_parameter_supported") is True
    return Metadata(issuer, **addresses, sends_iss=sends_iss)


def _address(value: object) -> str:
    return value if isinstance(value, str) and policy.origin_of(value) else ""


def _key_set(answer: Fetched) -> dict[str, Any]:
    stated = json_object(answer)
    keys = stated.get("keys") if stated and answer.status == 200 else None
    if not isinstance(keys, list) or len(keys) > KEYS_BOUND or not all(isinstance(key, dict) for key in keys):
        raise unreached(Fault.KEYS_UNREADABLE)
    return {"keys": keys}


def _token_answer(answer: Fetched) -> dict[str, Any]:
    stated = json_object(answer)
    if answer.status == 200 and stated is not None and len(answer.body) <= 2 * TOKEN_BOUND:
        return stated
    if answer.status >= 500:
        raise unreached(Fault.PROVIDER_UNREACHABLE)
    # RFC 6749 section 5.2
    error = stated.get("error") if stated else None
    if error in {"invalid_client", "unauthorized_client"} or answer.status == 401:
        raise unreached(Fault.CLIENT_REFUSED)
    if error == "invalid_grant":
        id_token.refuse(Fault.CODE_REFUSED)
    raise unreached(Fault.ANSWER_MALFORMED)


def json_object(answer: Fetched) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None if it is not one."""
    try:
        document = orjson.loads(answer.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
