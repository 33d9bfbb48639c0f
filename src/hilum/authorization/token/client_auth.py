"""Client authentication at the token endpoint: read the credentials presented and validate assertions. Pure.

Source: RFC 6749 section 2.3; RFC 7521 section 4.2; RFC 7523 section 3; SMART App Launch 2.2, client-confidential-asymmetric.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn
from urllib.parse import unquote_plus

import orjson

from hilum.apps.clients.models import Client, ClientType
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.kernel.times import EPOCH
from hilum.foundation.standards import jws
from hilum.foundation.standards.oauth import Parameters, TokenError

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=5)
ASSERTION_SKEW = timedelta(seconds=10)
"""How far a client's clock may be ahead of this server's. There is no allowance for a clock behind: an expired assertion is expired."""
ASSERTION_BOUND = 8 * 1024
JTI_BOUND = 256
ALGORITHMS = ("RS384", "ES384")
"""The two algorithms that SMART requires."""
IDENTIFYING = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})
"""Form parameters that identify a client."""
_ID = re.compile(r"[A-Za-z0-9_.~-]{1,128}")


class Method(StrEnum):
    """Client authentication methods, by their names in RFC 8414."""

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
    """The credentials in a request, not yet verified. ``secret`` and ``assertion`` never leave the token endpoint.

    ``decoded``: header and claims of the assertion.
    """

    method: Method
    client: ClientId
    secret: str = ""
    assertion: str = ""
    decoded: tuple[dict[str, Any], dict[str, Any]] = field(default=({}, {}), repr=False)

    @property
    def digest(self) -> str:
        """Return the digest under which the secret is stored."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion with a valid signature and claims. Whether its ``jti`` was used before is checked in the transaction."""

    client: ClientId
    jti: str
    expires_at: datetime


def refuse_client(detail: str) -> NoReturn:
    """Refuse with ``invalid_client``. ``detail`` is disclosed and recorded, so it must contain no secret and no key. Raises NotPermitted."""
    raise NotPermitted(TokenError.INVALID_CLIENT, detail)


def read(authorization: str, form: Parameters) -> Presented:
    """Read the client's id and credentials from a request, without verifying them. Raises NotPermitted(invalid_client).

    Exactly one method may be used (RFC 6749 section 2.3); ``client_id`` may accompany it if it names the same client.
    """
    scheme, _, rest = authorization.partition(" ")
    basic = scheme.lower() == "basic"
    # Any other scheme is refused rather than ignored: the request would count as a public client's.
    if authorization and not basic:
        refuse_client("The Authorization header must use the Basic scheme.")
    asserted = bool(form.get("client_assertion") or form.get("client_assertion_type"))
    methods = basic + asserted + bool(form.get("client_secret"))
    # RFC 6749 section 2.3. With two methods, one layer could
    # check one of them and another layer trust the other.
    if methods > 1:
        refuse_client("The request uses more than one client authentication method.")
    if basic:
        presented = _read_basic(rest.strip())
    elif asserted:
        presented = _read_assertion(form)
    else:
        method = Method.POST if form.get("client_secret") else Method.NONE
        presented = Presented(method, ClientId(form.get("client_id")), secret=form.get("client_secret"))
    if not _ID.fullmatch(presented.client):
        refuse_client("The client id is missing or malformed.")
    if form.get("client_id") not in {"", presented.client}:
        refuse_client("client_id differs from the client of the credentials.")
    return presented


def _read_basic(encoded: str) -> Presented:
    try:
        text = base64.b64decode(encoded, validate=True).decode()
        # Our client ids and secrets have no character that form encoding changes, so this decodes encoded
        # and raw credentials alike.
        client, colon, secret = (unquote_plus(part, errors="strict") for part in text.partition(":"))
    except (binascii.Error, ValueError):
        refuse_client("The Basic credentials are not valid base64 of client_id:secret.")
    if not colon:
        refuse_client("The Basic credentials are not valid base64 of client_id:secret.")
    return Presented(Method.BASIC, ClientId(client), secret=secret)


def _read_assertion(form: Parameters) -> Presented:
    assertion = form.get("client_assertion")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        refuse_client(f"client_assertion_type must be {ASSERTION_TYPE}.")
    header, claims = decode_unverified(assertion)
    # Not verified yet: it only selects the client whose keys must verify it.
    issuer = claims.get("iss")
    client = ClientId(issuer if isinstance(issuer, str) else "")
    return Presented(Method.ASSERTION, client, assertion=assertion, decoded=(header, claims))


def decode_unverified(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a compact JWS without verifying its signature. Raises NotPermitted(invalid_client)."""
    parts = assertion.split(".")
    # The size first, before anything is decoded. Five parts would be an encrypted JWT.
    if len(assertion) > ASSERTION_BOUND or len(parts) != 3 or not all(parts):
        refuse_client("The client assertion is not a signed JWT in compact form, or is too long.")
    try:
        header, claims = (orjson.loads(base64url.decode(part)) for part in parts[:2])
    except ValueError:
        refuse_client("The header or claims of the client assertion are not JSON.")
    if not isinstance(header, dict) or not isinstance(claims, dict):
        refuse_client("The header and claims of the client assertion must be JSON objects.")
    return header, claims


def judge_header(header: Mapping[str, Any], client: Client) -> str:
    """Check the header of an assertion and return its ``kid``. Raises NotPermitted(invalid_client).

    Keys come only from the registration, since an attacker could sign with a key of their own: ``jku`` must be the registered URL, and
    ``jwk``, ``x5c`` and ``x5u`` are refused.
    Source: SMART App Launch 2.2, client-confidential-asymmetric#authenticating-to-the-token-endpoint.
    """
    algorithm = header.get("alg")
    # A closed list: neither "none", nor HS256 with the public key as its secret (RFC 8725 section 2.1).
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        refuse_client("The client assertion must be signed with RS384 or ES384 (alg).")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        refuse_client("The header of the client assertion has no kid.")
    # A JWT that was signed for another purpose says so in its typ (RFC 8725 section 3.11).
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.upper() != "JWT":
        refuse_client("The typ of the client assertion must be JWT.")
    if "jku" in header and (not client.jwks_uri or header["jku"] != client.jwks_uri):
        refuse_client("The jku of the client assertion is not the registered jwks_uri.")
    # An unknown parameter can change what is verified: the
    # sender's own key, crit, b64 (RFC 7515 section 4.1.11).
    if foreign := sorted(set(header) - {"alg", "kid", "typ", "jku"}):
        refuse_client(
            f"The header of the client assertion has a parameter that is not accepted: {foreign[0][:40]}."
        )
    return kid


def judge_claims(
    claims: Mapping[str, Any], client: ClientId, *, audiences: frozenset[str], issuer: str, now: datetime
) -> Assertion:
    """Check issuer, subject, audience, lifetime and ``jti`` of an assertion. Raises NotPermitted(invalid_client).

    Source: RFC 7523 section 3; SMART App Launch 2.2: iss = sub = client id, aud = token URL, exp at most five minutes ahead, jti.
    """
    if claims.get("iss") != client or claims.get("sub") != client:
        refuse_client("iss and sub of the client assertion must both be the client id.")
    # An assertion for another server must not work here.
    if not _is_for_this_server(claims.get("aud"), audiences, issuer):
        refuse_client(
            "aud of the client assertion must be the token URL of this server, and no other server's."
        )
    now_s = (now - EPOCH).total_seconds()
    furthest = now_s + (ASSERTION_LIFE + ASSERTION_SKEW).total_seconds()
    expires = _seconds(claims, "exp", required=True)
    if not now_s < expires:
        refuse_client("The client assertion has expired.")
    # SMART's limit of five minutes bounds how long a used jti is stored.
    if expires > furthest:
        refuse_client("exp of the client assertion is more than five minutes ahead.")
    ahead = now_s + ASSERTION_SKEW.total_seconds()
    if _seconds(claims, "nbf") > ahead or _seconds(claims, "iat") > ahead:
        refuse_client("The client assertion is not valid yet (nbf or iat).")
    if (
        "iat" in claims
        and expires - _seconds(claims, "iat") > (ASSERTION_LIFE + ASSERTION_SKEW).total_seconds()
    ):
        refuse_client("The client assertion is valid for more than five minutes.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_BOUND:
        refuse_client(f"jti of the client assertion must be a string of 1 to {JTI_BOUND} characters.")
    return Assertion(client, jti, EPOCH + timedelta(seconds=expires) + ASSERTION_SKEW)


def _is_for_this_server(audience: object, audiences: frozenset[str], issuer: str) -> bool:
    """Check whether the audience contains one of this server's URLs, and nothing but those and its issuer.

    The issuer may accompany a URL, since many libraries send both, but does not suffice. An assertion that is also for another server is
    refused, because that server could replay it here.
    Source: RFC 7523 section 3, point 3; SMART App Launch 2.2, client-confidential-asymmetric.
    """
    values = audience if isinstance(audience, list) else [audience]
    accepted = [
        value for value in values if isinstance(value, str) and (value in audiences or value == issuer)
    ]
    return len(accepted) == len(values) and not audiences.isdisjoint(accepted)


def _seconds(claims: Mapping[str, Any], name: str, *, required: bool = False) -> float:
    value = claims.get(name)
    if value is None and not required:
        return 0.0
    # JSON true is an int in Python.
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
    """Validate the header, claims and signature of an assertion with the client's key set. Raises NotPermitted(invalid_client)."""
    header, claims = presented.decoded
    kid = judge_header(header, client)
    proved = judge_claims(claims, client.id, audiences=audiences, issuer=issuer, now=now)
    keys = jws.keys_for(jwks, kid, header["alg"])
    if not any(jws.verifies(presented.assertion, key, header["alg"]) for key in keys):
        refuse_client("The client assertion is not signed by a registered key of the client.")
    return proved


def judge_method(client: Client, presented: Presented) -> None:
    """Refuse a method that is not the one registered for the client. Raises NotPermitted(invalid_client) (C50)."""
    registered = METHOD_OF[client.type]
    if presented.method is registered:
        return
    if registered is Method.NONE:
        refuse_client("A public client must send client_id and no credentials.")
    refuse_client(f"This client must authenticate with {registered}.")
