"""Client authentication at an identity provider by a private key: parsing the key, and signing the assertion. Pure.

Source: OpenID Connect Core 1.0 section 9 (private_key_jwt); RFC 7523 section 3; RFC 7517
"""

from datetime import datetime, timedelta
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LIFE = timedelta(seconds=60)
RSA_BITS = range(2_048, 8_193)
KID_BOUND = 100
_CURVES = {"P-256": "ES256", "P-384": "ES384"}


def signing_key(text: str) -> tuple[RSAKey | ECKey, str, str] | None:
    """Parse a private JWK; return the key, its algorithm and its ``kid``, or None if it is not one or too weak."""
    try:
        jwk = orjson.loads(text)
        if not isinstance(jwk, dict) or not isinstance(jwk.get("d"), str):
            return None
        kid = jwk.get("kid")
        if not isinstance(kid, str) or not 0 < len(kid) <= KID_BOUND:
            return None
        if jwk.get("kty") == "EC" and jwk.get("crv") in _CURVES:
            return ECKey.import_key(_members(jwk, "crv", "x", "y", "d")), _CURVES[jwk["crv"]], kid
        if jwk.get("kty") == "RSA":
            key = RSAKey.import_key(_members(jwk, "n", "e", "d", "p", "q", "dp", "dq", "qi"))
            return (key, "RS256", kid) if key.raw_value.key_size in RSA_BITS else None
    except (JoseError, ValueError, TypeError):
        return None
    return None


def assertion(text: str, *, client_id: str, audience: str, jti: str, now: datetime) -> str:
    """Return a signed assertion of a client for a token endpoint, valid for LIFE; empty if ``text`` is not a signing key."""
    parsed = signing_key(text)
    if parsed is None:
        return ""
    key, algorithm, kid = parsed
    at = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": jti,
        "iat": at,
        "exp": at + int(LIFE.total_seconds()),
    }
    header = {"alg": algorithm, "kid": kid, "typ": "JWT"}
    return jws.serialize_compact(header, orjson.dumps(claims), key, algorithms=[algorithm])


def _members(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    # Only the key material: use, alg or key_ops of the JWK could contradict its use here.
    return {"kty": jwk["kty"]} | {name: jwk[name] for name in names if name in jwk}
