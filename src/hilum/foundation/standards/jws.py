"""Checking the signature of a compact JWS with the public keys of another party, at a bounded cost. Pure.

A key set comes from a host that may be hostile: of each key only its public members reach the JOSE library, and its size, and the number of
keys that are tried, are limited.
Source: RFC 7515; RFC 7517; RFC 7518 section 3; RFC 8725 section 3
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from hilum.foundation.kernel import base64url

ALGORITHMS: Mapping[str, tuple[str, str]] = {
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
}
"""Signature algorithms, each with the only key type and curve that it may use. None is symmetric."""
# RFC 7518 section 3.3: at least 2048 bits. The upper bounds limit what one signature check costs the event
# loop: an exponent of 3,000 bits takes ten milliseconds.
RSA_BITS_MIN = 2_048
RSA_BITS_MAX = 8_192
RSA_EXPONENT_BITS_MAX = 64
KEYS_TRIED = 4
"""How many keys of one ``kid`` and type are tried, since each costs a signature check."""
KEYS_CACHED = 2_000
"""How many imported public keys the process caches, by their material."""
_PUBLIC_MEMBERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}
)
# What the library raises for material that is no key, and for what is no signed token.
_UNUSABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError)


def keys_for(jwks: Mapping[str, Any], kid: str, algorithm: str) -> list[dict[str, Any]]:
    """Return the keys of a set that suit an algorithm and, unless it is empty, have the ``kid``; at most KEYS_TRIED.

    Two keys may share a ``kid`` if their types differ. The keys are reduced to their public members. Source: RFC 7517 section 4.
    """
    kty, curve = ALGORITHMS[algorithm]
    keys = jwks.get("keys")
    matching = [
        {name: key.get(name) for name in _PUBLIC_MEMBERS[kty]}
        for key in (keys if isinstance(keys, list) else [])
        if isinstance(key, dict)
        and (not kid or key.get("kid") == kid)
        and key.get("kty") == kty
        and (not curve or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and _may_verify(key)
    ]
    return matching[:KEYS_TRIED]


def _may_verify(key: Mapping[str, Any]) -> bool:
    """Check the permitted operations of a key, if it states them. Source: RFC 7517 section 4.3."""
    operations = key.get("key_ops")
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def verifies(token: str, key: Mapping[str, Any], algorithm: str) -> bool:
    """Check the signature of a token with one key; False for unusable material."""
    try:
        jws.deserialize_compact(token, _imported(tuple(key.items())), algorithms=[algorithm])
    except _UNUSABLE:
        return False
    return True


def is_usable(key: Mapping[str, Any]) -> bool:
    """Check whether a key can verify signatures: its material is valid, and neither too weak nor too large."""
    try:
        _imported(tuple(key.items()))
    except _UNUSABLE:
        return False
    return True


@lru_cache(maxsize=KEYS_CACHED)
def _imported(members: tuple[tuple[str, Any], ...]) -> RSAKey | ECKey:
    """Import a public key, cached by its whole material. Raises for unusable material; errors are not cached."""
    key = dict(members)
    if key["kty"] != "RSA":
        return ECKey.import_key(key)
    if not RSA_BITS_MIN <= _bits(str(key["n"])) <= RSA_BITS_MAX:
        raise ValueError(f"the RSA modulus must have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")
    if _bits(str(key["e"])) > RSA_EXPONENT_BITS_MAX:
        raise ValueError(f"the RSA exponent must have at most {RSA_EXPONENT_BITS_MAX} bits")
    return RSAKey.import_key(key)


def _bits(number: str) -> int:
    return int.from_bytes(base64url.decode(number), "big").bit_length()


def thumbprint(key: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a public key's material, which does not depend on its ``kid``. Source: RFC 7638."""
    members = _PUBLIC_MEMBERS.get(str(key.get("kty")), ("kty",))
    material = {name: key.get(name) for name in sorted(members)}
    return hashlib.sha256(orjson.dumps(material, option=orjson.OPT_SORT_KEYS)).hexdigest()
