"""Talking to identity providers: their metadata, their keys, the token request. Before any transaction; never within one.

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
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode

import orjson
from cachetools import LRUCache

from hilum.federation import assertions, id_token, policy
from hilum.federation.id_token import Expected
from hilum.federation.models import (
    SEALING,
    TOKEN_BOUND,
    ClientAuth,
    Departure,
    Fault,
    Identity,
    Logout,
    Metadata,
    Provider,
    Settings,
    Unreached,
)
from hilum.infra.fetch import Fetched
from hilum.kernel import base64url
from hilum.kernel.errors import Invalid, Unavailable
from hilum.kernel.ports import Clock, Ids
from hilum.keys.live import Vault

DISCOVERY = "/.well-known/openid-configuration"
FRESH = timedelta(minutes=5)
REFETCHES = timedelta(seconds=30)
"""How often an unknown ``kid`` makes the keys be fetched again. Whoever signs in can cause one."""
WAIT = timedelta(seconds=8)
"""How long a person's browser waits for a token request, with its turn."""
REST = timedelta(seconds=5)
"""How long a provider is not asked again after a failure; sign-ins meanwhile fail at once."""
AT_ONCE = 4
"""Concurrent token requests to one provider: a slow provider delays only its own hospital's people."""
QUEUE = 300
"""How many sign-ins may wait for one provider; further ones fail at once."""
PROVIDERS_KEPT = 1_000
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
    """What a provider gave for a code: who signed in, and the id_token, by which it recognises them at sign-out."""

    identity: Identity
    id_token: str


@dataclass(slots=True)
class _Entry:
    metadata: Metadata | None = None
    metadata_until: float = 0.0
    jwks: dict[str, Any] = field(default_factory=dict)
    jwks_until: float = 0.0
    refetch_from: float = 0.0
    rests: dict[str, tuple[float, Fault]] = field(default_factory=dict)
    """Until when a part of it is not asked for again, and what was wrong with it."""
    waiting: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Count a sign-in that waits. Raises Unreached if too many do."""
        if self.waiting >= QUEUE:
            raise unreached(Fault.PROVIDER_UNREACHABLE)
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def resting(self, part: str, clock: Clock, *, afresh: bool) -> Iterator[None]:
        """Ask for a part of a provider, unless it failed just now; a failure gives it a rest. Raises Unreached."""
        until, fault = self.rests.get(part, (0.0, Fault.PROVIDER_UNREACHABLE))
        if clock.monotonic() < until and not afresh:
            raise unreached(fault)
        try:
            yield
        except Unreached as error:
            # From now and not from when it was asked: the answer may have taken longer than the rest.
            self.rests[part] = clock.monotonic() + REST.total_seconds(), error.fault
            raise


# --- what a browser takes along -------------------------------------------------------------------------------------------------


def is_secret(text: str) -> bool:
    """Check whether a text can be the secret that binds sign-ins to a browser."""
    return _SECRET.fullmatch(text) is not None


def verifier_of(secret: str, nonce: str) -> str:
    """Return the PKCE verifier of a sign-in: only the browser that holds ``secret`` can complete it. Source: RFC 7636 section 4.1."""
    # Derived and not stored: neither the database nor the address of the provider holds it.
    mac = hmac.digest(secret.encode(), b"hilum/federation/" + nonce.encode(), "sha256")
    return base64url.encode(mac)


def seal_departure(vault: Vault, departure: Departure, secret: str, ids: Ids) -> str:
    """Return the ``state`` of a departure, which opens for the browser with ``secret`` only."""
    return vault.seal(STATE, orjson.dumps(departure), nonce=ids, bound_to=_bound(secret))


def open_departure(vault: Vault, state: str, secret: str) -> Departure:
    """Return what was sealed into a ``state``. Raises Refusal if it was not sealed here, or for another browser."""
    if not state:
        id_token.refuse(Fault.STATE_MALFORMED)
    if not is_secret(secret):
        id_token.refuse(Fault.STATE_OF_ANOTHER_BROWSER)
    try:
        found = orjson.loads(vault.open(STATE, state, _bound(secret)))
    except Invalid:
        # A state of another browser does not open either, and cannot be distinguished from an invented one.
        id_token.refuse(Fault.STATE_OF_ANOTHER_BROWSER)
    return Departure(**{**found, "left_at": policy.moment_of(found["left_at"])})


def _bound(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def seal_secret(vault: Vault, secret: str, issuer: str, ids: Ids) -> str:
    """Seal a client's secret, bound to the issuer: with another issuer in the row it does not open. Source: security decision 15."""
    return vault.seal(SEALING, secret.encode(), nonce=ids, bound_to=issuer)


class Providers:
    """Speaks to every hospital's identity provider, with a cache of metadata and keys. One per process, used from its event loop only."""

    def __init__(self, fetcher: Fetcher, clock: Clock, vault: Vault) -> None:
        self._fetcher, self._clock, self._vault = fetcher, clock, vault
        self._entries: LRUCache[str, _Entry] = LRUCache(PROVIDERS_KEPT)

    async def metadata(
        self, settings: Settings, allowed: frozenset[str], *, afresh: bool = False
    ) -> Metadata:
        """Return a provider's metadata. Raises Unreached, also if it leads to a host that is not allowed now."""
        # Before the cache: a host that was taken off the list is no longer connected to.
        if policy.origin_of(settings.issuer) not in allowed:
            raise unreached(Fault.HOST_NOT_ALLOWED)
        entry = self._entry(settings)
        with entry.queued():
            async with entry.lock:
                now = self._clock.monotonic()
                if afresh or entry.metadata is None or now >= entry.metadata_until:
                    with entry.resting("metadata", self._clock, afresh=afresh):
                        entry.metadata = await self._discover(settings)
                    entry.metadata_until = now + FRESH.total_seconds()
                metadata = entry.metadata
        if policy.foreign_origins(metadata, allowed, userinfo=settings.userinfo):
            raise unreached(Fault.HOST_NOT_ALLOWED)
        return metadata

    def known_metadata(self, settings: Settings, allowed: frozenset[str]) -> Metadata | None:
        """Return a provider's metadata as they were last fetched, without asking it; None if there are none or their hosts are not allowed."""
        metadata = self._entry(settings).metadata
        if metadata is None or policy.foreign_origins(metadata, allowed, userinfo=settings.userinfo):
            return None
        return metadata

    async def keys(
        self, settings: Settings, metadata: Metadata, kid: str, *, afresh: bool = False
    ) -> Mapping[str, Any]:
        """Return a provider's key set, fetched again if it lacks the ``kid``. Raises Unreached."""
        entry = self._entry(settings)
        with entry.queued():
            async with entry.lock:
                now = self._clock.monotonic()
                stale = afresh or not entry.jwks or now >= entry.jwks_until
                found = id_token.keys_for(entry.jwks, kid, settings.algorithm)
                if stale or (not found and now >= entry.refetch_from):
                    with entry.resting("keys", self._clock, afresh=afresh):
                        entry.jwks = _key_set(await self._get(metadata.jwks_uri))
                    entry.jwks_until = now + FRESH.total_seconds()
                    entry.refetch_from = now + REFETCHES.total_seconds()
                return entry.jwks

    def leave_url(
        self,
        provider: Provider,
        metadata: Metadata,
        departure: Departure,
        *,
        secret: str,
        returns_to: str,
        ids: Ids,
    ) -> str:
        """Return the address that a browser is sent to. Source: OpenID Connect Core 1.0 section 3.1.2.1."""
        settings = provider.settings
        challenge = hashlib.sha256(verifier_of(secret, departure.nonce).encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": returns_to,
            "scope": " ".join(settings.scopes),
            "state": seal_departure(self._vault, departure, secret, ids),
            "nonce": nonce_of(departure),
            "code_challenge": base64url.encode(challenge),
            "code_challenge_method": "S256",
        }
        if settings.acr_values:
            parameters["acr_values"] = " ".join(settings.acr_values)
        if departure.fresh:
            parameters |= {"prompt": "login", "max_age": "0"}
        elif settings.max_age_s:
            parameters["max_age"] = str(settings.max_age_s)
        joined = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joined}{urlencode(parameters)}"

    async def redeem(
        self,
        provider: Provider,
        metadata: Metadata,
        departure: Departure,
        *,
        code: str,
        secret: str,
        returns_to: str,
    ) -> Redeemed:
        """Exchange a code and check the id_token in full. Raises Unreached, Refusal."""
        settings = provider.settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": returns_to,
            "code_verifier": verifier_of(secret, departure.nonce),
        }
        answer = _token_answer(await self.ask_token(provider, metadata, form))
        token = answer.get("id_token")
        if not isinstance(token, str) or not token:
            id_token.refuse(Fault.TOKEN_MISSING)
        claims = await self._verified(settings, metadata, token, ID_TOKEN_TYPES)
        expected = Expected(nonce_of(departure), departure.left_at, departure.fresh)
        identity = id_token.judge_id_token(claims, settings, expected, self._clock.now())
        if settings.userinfo:
            more = await self._userinfo(settings, metadata, answer.get("access_token"))
            identity = id_token.with_userinfo(identity, more, settings)
        return Redeemed(identity, token)

    async def _userinfo(self, settings: Settings, metadata: Metadata, token: object) -> dict[str, Any]:
        """Return what the UserInfo endpoint states. Raises Unreached. Source: OpenID Connect Core 1.0 section 5.3."""
        if not metadata.userinfo_endpoint or not isinstance(token, str) or not _BEARER.fullmatch(token):
            raise unreached(Fault.USERINFO_MISSING)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        entry = self._entry(settings)
        try:
            with entry.queued():
                async with asyncio.timeout(WAIT.total_seconds()), entry.places:
                    answer = await self._fetcher.exchange(metadata.userinfo_endpoint, b"", headers)
        except (Unavailable, TimeoutError):
            raise unreached(Fault.PROVIDER_UNREACHABLE) from None
        found = json_object(answer)
        if answer.status != 200 or found is None or len(answer.body) > 2 * TOKEN_BOUND:
            raise unreached(Fault.USERINFO_MISSING)
        return found

    async def read_logout(self, settings: Settings, metadata: Metadata, token: str) -> Logout:
        """Check a logout token in full. Raises Unreached, Refusal. Source: OpenID Connect Back-Channel Logout 1.0 section 2.6."""
        claims = await self._verified(settings, metadata, token, LOGOUT_TOKEN_TYPES)
        return id_token.judge_logout_token(claims, settings, self._clock.now())

    async def ask_token(self, provider: Provider, metadata: Metadata, form: Mapping[str, str]) -> Fetched:
        """Send a request to a provider's token endpoint, with Hilum's credentials there. Raises Unreached."""
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
        entry = self._entry(settings)
        try:
            with entry.queued():
                async with asyncio.timeout(WAIT.total_seconds()), entry.places:
                    return await self._fetcher.exchange(
                        metadata.token_endpoint, urlencode(fields).encode(), headers
                    )
        except (Unavailable, TimeoutError):
            raise unreached(Fault.PROVIDER_UNREACHABLE) from None

    def _asserted(self, settings: Settings, metadata: Metadata, key: str, verifier: str) -> dict[str, str]:
        """Return the fields that authenticate by a key. Raises Unreached."""
        # Used once: another moment or another sign-in gives another one.
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
        """Return the first answer to a GET, as a browser without cookies gets it. Raises Unavailable."""
        return await self._fetcher.look(address)

    async def discovery(self, settings: Settings) -> Fetched:
        """Return the answer with a provider's metadata as it was sent. Raises Unreached."""
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


def nonce_of(departure: Departure) -> str:
    """Return the nonce as it is sent: a digest, since the verifier is derived from what it is a digest of."""
    return hashlib.sha256(f"nonce/{departure.nonce}".encode()).hexdigest()


def unreached(fault: Fault) -> Unreached:
    """Return the error of a provider that does not answer, or not as one."""
    return Unreached(fault, policy.SENTENCES[fault].happened)


def read_metadata(answer: Fetched, issuer: str) -> Metadata:
    """Parse a provider's metadata. Raises Unreached. Source: OpenID Connect Discovery 1.0 section 4.3."""
    found = json_object(answer)
    # Exactly the issuer that was asked: otherwise one provider could speak for another.
    if answer.status != 200 or found is None or found.get("issuer") != issuer:
        raise unreached(Fault.METADATA_WRONG)
    needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    optional = ("end_session_endpoint", "userinfo_endpoint")
    addresses = {name: _address(found.get(name)) for name in (*needed, *optional)}
    if not all(addresses[name] for name in needed):
        raise unreached(Fault.METADATA_WRONG)
    sends_iss = found.get("authorization_response_iss_parameter_supported") is True
    return Metadata(issuer, **addresses, sends_iss=sends_iss)


def _address(value: object) -> str:
    return value if isinstance(value, str) and policy.origin_of(value) else ""


def _key_set(answer: Fetched) -> dict[str, Any]:
    found = json_object(answer)
    keys = found.get("keys") if found and answer.status == 200 else None
    if not isinstance(keys, list) or len(keys) > KEYS_BOUND or not all(isinstance(key, dict) for key in keys):
        raise unreached(Fault.KEYS_UNREADABLE)
    return {"keys": keys}


def _token_answer(answer: Fetched) -> dict[str, Any]:
    found = json_object(answer)
    if answer.status == 200 and found is not None and len(answer.body) <= 2 * TOKEN_BOUND:
        return found
    if answer.status >= 500:
        raise unreached(Fault.PROVIDER_UNREACHABLE)
    # RFC 6749 section 5.2
    error = found.get("error") if found else None
    if error in {"invalid_client", "unauthorized_client"} or answer.status == 401:
        raise unreached(Fault.CLIENT_REFUSED)
    if error == "invalid_grant":
        id_token.refuse(Fault.CODE_REFUSED)
    raise unreached(Fault.ANSWER_MALFORMED)


def json_object(answer: Fetched) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None if it is not one."""
    try:
        found = orjson.loads(answer.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
