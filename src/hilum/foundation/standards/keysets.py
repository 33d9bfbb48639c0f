"""Sets of public keys that a client may register. Pure.

Source: RFC 7517 section 5; SMART App Launch 2.2, client-confidential-asymmetric#registering-a-client
"""

from collections.abc import Mapping
from typing import Any

from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.limits import too_many

# Bounds the work of an authentication, which looks for the assertion's key in the set.
KEYS_BOUND = 20
# RFC 7518 section 3.3 requires 2048 bits at least.
RSA_BITS_MIN = 2_048
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
    # One kid may denote an RSA and an EC key (RFC 7517 section 4.5); two keys of one type under one kid would be ambiguous.
    if len({(key["kid"], key.get("kty")) for key in keys}) < len(keys):
        return "jwks_kid_repeated"
    return "" if any(_usable(key) for key in keys) else "jwks_no_usable_key"


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
