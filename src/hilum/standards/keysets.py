"""Sets of public keys that a client may register. Pure.

Source: RFC 7517 section 5; SMART App Launch 2.2, client-confidential-asymmetric#registering-a-client
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hilum.kernel import base64url
from hilum.kernel.limits import too_many

# Bounds the work of an authentication, which looks for the assertion's key in the set.
KEYS_BOUND = 20
# RFC 7518 section 3.3 requires 2048 bits at least.
RSA_BITS_MIN = 2_048
KEYS_TRIED = 4
"""Keys of one ``kid`` and type that are tried. Dozens of keys, or long exponents, would let whoever published them block the process."""
PUBLIC_MEMBERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}
)
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def jwks_fault(jwks: Mapping[str, Any]) -> str:
    """Return the code of what is wrong with a set of public keys, or empty; at least one key must suit RS384 or ES384.

    Source: RFC 7517 section 5; SMART App Launch 2.2, client-confidential-asymmetric#registering-a-client
    """
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        return "jwks_malformed"
    if not keys:
        return "jwks_empty"
    if len(keys) > KEYS_BOUND:
        return too_many(KEYS_BOUND, "jwks_too_many")
    # JWK members that matter here are short printable texts; anything else is refused rather than stored.
    if not all(_is_plain(value) for key in keys for item in key.items() for value in item):
        return "jwks_malformed"
    # A private or symmetric key that was sent to us is no longer secret.
    if any(key.get("kty") == "oct" or not _PRIVATE_MEMBERS.isdisjoint(key) for key in keys):
        return "jwks_private_material"
    kids = [key.get("kid") for key in keys]
    # SMART requires the `kid` header in assertions, so a key without one could never be selected.
    if not all(isinstance(kid, str) and kid for kid in kids):
        return "jwks_kid_missing"
    # One kid may denote an RSA and an EC key (RFC 7517 section 4.5); two keys of one type under one kid would
    # be ambiguous.
    if len({(key["kid"], key.get("kty")) for key in keys}) < len(keys):
        return "jwks_kid_repeated"
    return "" if any(_usable(key) for key in keys) else "jwks_no_usable_key"


def keys_for(
    jwks: Mapping[str, Any], kid: str, algorithm: str, suits: tuple[str, str]
) -> list[dict[str, Any]]:
    """Return the keys of a set that have the ``kid``, if it is not empty, and suit the algorithm, reduced to their public members.

    ``suits``: the key type and, if it matters, the curve of the algorithm. Two keys may share a ``kid`` if their types differ.
    Source: RFC 7517 sections 4.3 and 4.5
    """
    kty, curve = suits
    keys = jwks.get("keys")
    matching = [
        # Nothing else of what a host publishes reaches the JOSE library: no private member, no certificate, no operation.
        {name: key.get(name) for name in PUBLIC_MEMBERS[kty]}
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
    """Check the permitted operations of a key, if it states them."""
    found = key.get("key_ops")
    return found is None or (isinstance(found, list) and "verify" in found)


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= 20 and all(isinstance(each, str) and _is_plain(each) for each in value)
    if isinstance(value, str):
        return len(value) <= 10_000 and value.isascii() and value.isprintable()
    return value is None or isinstance(value, bool | int)


# SMART requires RS384 and ES384 of every server; other keys may be in the set and are never used.
def _usable(key: Mapping[str, Any]) -> bool:
    if key.get("kty") == "RSA":
        modulus = _decoded(key.get("n"))
        return len(modulus) * 8 >= RSA_BITS_MIN and bool(_decoded(key.get("e")))
    if key.get("kty") == "EC" and key.get("crv") == "P-384":
        # The coordinates of P-384 are always 48 bytes, leading zeros included (RFC 7518 section 6.2.1.2).
        return len(_decoded(key.get("x"))) == 48 and len(_decoded(key.get("y"))) == 48
    return False


def _decoded(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > 2_000:
        return b""
    try:
        return base64url.decode(text)
    except ValueError:
        return b""
