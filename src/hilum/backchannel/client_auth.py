"""How a client shows at the back channel who it is: what was presented, and whether an assertion holds. Pure.

Source: RFC 6749 section 2.3; RFC 7521 section 4.2; RFC 7523 section 3; SMART App Launch 2.2, client-confidential-asymmetric.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import unquote_plus

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from hilum.clients.models import Client, ClientType
from hilum.kernel.errors import NotPermitted
from hilum.kernel.ids import ClientId
from hilum.standards.oauth import Parameters, TokenError

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=5)
ASSERTION_SKEW = timedelta(seconds=10)
"""How far ahead of ours a client's clock may be. Behind it gets nothing: an expired assertion is expired."""
ASSERTION_BOUND = 8 * 1024
JTI_BOUND = 256
RSA_BITS_MIN = 2_048
RSA_BITS_MAX = 8_192
RSA_EXPONENT_BITS_MAX = 64
KEYS_TRIED = 4
"""So many keys of one ``kid`` and type: a set with dozens, or with long exponents, would hold up everybody else in the process."""
KEYS_KEPT = 2_000
"""Imported public keys that the process keeps, by their material."""
ALGORITHMS: Mapping[str, tuple[str, str]] = {"RS384": ("RSA", ""), "ES384": ("EC", "P-384")}
"""The two that SMART names, each with the only kind of key it goes with."""
NAMING = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})
"""Form parameters by which a client says who it is."""
_PUBLIC_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[A-Za-z0-9_.~-]{1,128}")


class Method(StrEnum):
    """Client authentication methods, in the words of RFC 8414."""

    NONE = "none"
    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    ASSERTION = "private_key_jwt"


METHOD_OF: Mapping[ClientType, Method] = {
    ClientType.PUBLIC: Method.NONE,
    ClientType.SYMMETRIC: Method.BASIC,
    ClientType.EHR: Method.BASIC,
    ClientType.RESOURCE_SERVER: Method.BASIC,
    ClientType.ASYMMETRIC: Method.ASSERTION,
    ClientType.BACKEND: Method.ASSERTION,
}
"""The one method that a client of each type may use (C50)."""


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request says of its client: not yet believed. ``secret`` and ``assertion`` never leave the back channel."""

    method: Method
    client: ClientId
    secret: str = ""
    assertion: str = ""

    @property
    def digest(self) -> str:
        """The secret as it is stored."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion whose signature and claims hold; that its ``jti`` was not used before is still to be seen."""

    client: ClientId
    jti: str
    expires_at: datetime


def refuse_client(detail: str) -> NoReturn:
    """Refuse with ``invalid_client``; the sentence names no secret and no key."""
    raise NotPermitted(TokenError.INVALID_CLIENT, detail)


def read(authorization: str, form: Parameters) -> Presented:
    """Find out by which method a client presents itself, and as whom. Raises NotPermitted(invalid_client).

    Exactly one method is taken (RFC 6749 section 2.3); a ``client_id`` beside it is fine when it names the same client.
    """
    scheme, _, rest = authorization.partition(" ")
    basic = scheme.lower() == "basic"
    if authorization and not basic:
        refuse_client("The Authorization header is not of a kind that authenticates clients here.")
    asserted = bool(form.get("client_assertion") or form.get("client_assertion_type"))
    ways = basic + asserted + bool(form.get("client_secret"))
    if ways > 1:
        refuse_client("The client authenticates in more than one way.")
    if basic:
        presented = _read_basic(rest.strip())
    elif asserted:
        presented = _read_assertion(form)
    else:
        method = Method.POST if form.get("client_secret") else Method.NONE
        presented = Presented(method, ClientId(form.get("client_id")), secret=form.get("client_secret"))
    if not _ID.fullmatch(presented.client):
        refuse_client("The client does not say who it is.")
    if form.get("client_id") not in {"", presented.client}:
        refuse_client("client_id names another client than the credentials.")
    return presented


def _read_basic(encoded: str) -> Presented:
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        # Client ids and secrets of ours hold nothing that form-encoding changes, so this reads raw and encoded ones alike.
        client, colon, secret = (unquote_plus(part, errors="strict") for part in text.partition(":"))
    except (binascii.Error, ValueError):
        refuse_client("The Basic credentials cannot be read.")
    if not colon:
        refuse_client("The Basic credentials cannot be read.")
    return Presented(Method.BASIC, ClientId(client), secret=secret)


def _read_assertion(form: Parameters) -> Presented:
    assertion = form.get("client_assertion")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        refuse_client(f"client_assertion_type must be {ASSERTION_TYPE}.")
    _, claims = peek(assertion)
    issuer = claims.get("iss")
    return Presented(
        Method.ASSERTION, ClientId(issuer if isinstance(issuer, str) else ""), assertion=assertion
    )


def peek(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read header and claims of a compact JWS without believing them. Raises NotPermitted(invalid_client)."""
    parts = assertion.split(".")
    if len(assertion) > ASSERTION_BOUND or len(parts) != 3 or not all(parts):
        refuse_client("The client assertion is not a signed JWT.")
    try:
        header, claims = (orjson.loads(_decode(part)) for part in parts[:2])
    except ValueError:
        refuse_client("The client assertion cannot be read.")
    if not isinstance(header, dict) or not isinstance(claims, dict):
        refuse_client("The client assertion cannot be read.")
    return header, claims


def _decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def judge_header(header: Mapping[str, Any], client: Client) -> str:
    """Give the ``kid`` of an acceptable header. Raises NotPermitted(invalid_client).

    Keys come only from the registration: ``jku`` must repeat what is registered, and ``jwk``, ``x5c``, ``x5u`` are not taken.
    Source: SMART App Launch 2.2, client-confidential-asymmetric#authenticating-to-the-token-endpoint.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        refuse_client("The client assertion is not signed by RS384 or ES384.")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        refuse_client("The client assertion names no key (kid).")
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.upper() != "JWT":
        refuse_client("The client assertion is a JWT of another kind (typ).")
    if "jku" in header and (not client.jwks_uri or header["jku"] != client.jwks_uri):
        refuse_client("The client assertion names a key set (jku) that is not registered.")
    if foreign := sorted(set(header) - {"alg", "kid", "typ", "jku"}):
        refuse_client(f"The client assertion has a header parameter that is not taken: {foreign[0][:40]}.")
    return kid


def judge_claims(
    claims: Mapping[str, Any], client: ClientId, *, audiences: frozenset[str], issuer: str, now: datetime
) -> Assertion:
    """Judge who an assertion is by, for whom and for how long. Raises NotPermitted(invalid_client).

    Source: RFC 7523 section 3; SMART App Launch 2.2: iss = sub = client id, aud = token URL, exp at most five minutes ahead, jti.
    """
    if claims.get("iss") != client or claims.get("sub") != client:
        refuse_client("iss and sub of the client assertion must both be the client id.")
    if not _is_for_this_server(claims.get("aud"), audiences, issuer):
        refuse_client(
            "aud of the client assertion must be the token URL of this server, and name no other server."
        )
    now_s = (now - _EPOCH).total_seconds()
    furthest = now_s + (ASSERTION_LIFE + ASSERTION_SKEW).total_seconds()
    expires = _seconds(claims, "exp", required=True)
    if not now_s < expires:
        refuse_client("The client assertion has expired.")
    if expires > furthest:
        refuse_client("The client assertion lives longer than five minutes.")
    ahead = now_s + ASSERTION_SKEW.total_seconds()
    if _seconds(claims, "nbf") > ahead or _seconds(claims, "iat") > ahead:
        refuse_client("The client assertion is not valid yet.")
    if (
        "iat" in claims
        and expires - _seconds(claims, "iat") > (ASSERTION_LIFE + ASSERTION_SKEW).total_seconds()
    ):
        refuse_client("The client assertion lives longer than five minutes.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_BOUND:
        refuse_client("The client assertion has no usable jti.")
    return Assertion(client, jti, _EPOCH + timedelta(seconds=expires) + ASSERTION_SKEW)


def _is_for_this_server(audience: object, audiences: frozenset[str], issuer: str) -> bool:
    """Judge that one of the server's URLs is named, and nobody but this server: its issuer may stand beside it, never alone.

    Many libraries name both. An assertion that names another server too could be carried there, or come from there.
    Source: RFC 7523 section 3, point 3; SMART App Launch 2.2, client-confidential-asymmetric.
    """
    named = audience if isinstance(audience, list) else [audience]
    known = [one for one in named if isinstance(one, str) and (one in audiences or one == issuer)]
    return len(known) == len(named) and not audiences.isdisjoint(known)


def _seconds(claims: Mapping[str, Any], name: str, *, required: bool = False) -> float:
    value = claims.get(name)
    if value is None and not required:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse_client(f"{name} of the client assertion is not a number.")
    return float(value)


def prove(
    presented: Presented,
    client: Client,
    jwks: Mapping[str, Any],
    *,
    audiences: frozenset[str],
    issuer: str,
    now: datetime,
) -> Assertion:
    """Judge an assertion whole, by the client's key set. Raises NotPermitted(invalid_client)."""
    header, claims = peek(presented.assertion)
    kid = judge_header(header, client)
    proved = judge_claims(claims, client.id, audiences=audiences, issuer=issuer, now=now)
    verify(presented.assertion, keys_for(jwks, kid, header["alg"]), header["alg"])
    return proved


def keys_for(jwks: Mapping[str, Any], kid: str, algorithm: str) -> list[dict[str, Any]]:
    """Pick the keys of a set that bear the ``kid`` and go with the algorithm; public members only.

    Two keys may share a ``kid`` when their types differ. Source: SMART App Launch 2.2; RFC 7517 section 4.5.
    """
    kty, curve = ALGORITHMS[algorithm]
    keys = jwks.get("keys")
    fitting = [
        {name: key.get(name) for name in _PUBLIC_MEMBERS[kty]}
        for key in (keys if isinstance(keys, list) else [])
        if isinstance(key, dict)
        and key.get("kid") == kid
        and key.get("kty") == kty
        and (not curve or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (not isinstance(key.get("key_ops"), list) or "verify" in key["key_ops"])
    ]
    return fitting[:KEYS_TRIED]


def verify(assertion: str, keys: Iterable[Mapping[str, Any]], algorithm: str) -> None:
    """Check the signature against each key of a set. Raises NotPermitted(invalid_client) when none made it."""
    if not any(_made_by(assertion, key, algorithm) for key in keys):
        refuse_client("The client assertion is not signed by a registered key of the client.")


def _made_by(assertion: str, key: Mapping[str, Any], algorithm: str) -> bool:
    try:
        jws.deserialize_compact(assertion, _imported(tuple(key.items())), algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return True


@lru_cache(maxsize=KEYS_KEPT)
def _imported(members: tuple[tuple[str, Any], ...]) -> RSAKey | ECKey:
    """Import a public key by its whole material. Raises what no key can be made of; that is not kept."""
    key = dict(members)
    if key["kty"] != "RSA":
        return ECKey.import_key(key)
    if not RSA_BITS_MIN <= _bits(str(key["n"])) <= RSA_BITS_MAX:
        raise ValueError("the key is too small, or too large")
    if _bits(str(key["e"])) > RSA_EXPONENT_BITS_MAX:
        raise ValueError("the exponent is too large")
    return RSAKey.import_key(key)


def _bits(number: str) -> int:
    return int.from_bytes(_decode(number), "big").bit_length()


def thumbprint(key: Mapping[str, Any]) -> str:
    """Name a public key by its material, whatever its ``kid``. Source: RFC 7638."""
    members = _PUBLIC_MEMBERS.get(str(key.get("kty")), ("kty",))
    material = {name: key.get(name) for name in sorted(members)}
    return hashlib.sha256(orjson.dumps(material, option=orjson.OPT_SORT_KEYS)).hexdigest()


def judge_method(client: Client, presented: Presented) -> None:
    """Hold a client to the method of its registration. Raises NotPermitted(invalid_client) (C50)."""
    registered = METHOD_OF[client.type]
    if presented.method is registered:
        return
    if registered is Method.NONE:
        refuse_client("A public client has no secret; it names itself by client_id alone.")
    refuse_client(f"This client authenticates by {registered} only.")
