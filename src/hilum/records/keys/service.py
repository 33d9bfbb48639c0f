"""Signing key rings: created at first use, rotated with overlap, opened once per process."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jwt
from joserfc.jwk import RSAKey

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.kernel.ports import Ids
from hilum.records.keys import policy, store
from hilum.records.keys.live import vault
from hilum.records.keys.models import KeyState, Purpose, SigningKey

_RSA_BITS = 2048
_SEALING, _RETIRED = "signing-key", "retired-signing-key"
_CHECKING, _CHECKED = "key-check", b"the key-encryption key of this platform"
_PUBLIC_MEMBERS = frozenset({"kty", "n", "e", "crv", "x"})


def ensure(ctx: Context, purpose: Purpose, ring: str) -> SigningKey:
    """Return the ring's signing key; create the first one if there is none, which needs a write transaction."""
    for _ in range(2):  # if another process adds its key first, the second round returns that one
        key = store.active(ctx.tx, purpose, ring)
        if key is not None:
            return key
        store.KEYS.add_new(ctx.tx, _generate(ctx, purpose, ring))
    raise Conflict("key_ring_busy", "Another request is creating this key. Retry.")


def rotate(ctx: Context, purpose: Purpose, ring: str) -> SigningKey:
    """Create a new active key and retire the old one, which verifies id_tokens for another KEY_OVERLAP, other signatures for ever.

    Raises NotPermitted if there is no key yet, or if too many keys are still needed; Conflict if another process rotates the ring.
    """
    keys = store.KEYS.all(ctx.tx, purpose=purpose, ring=ring)
    # A key without signatures would look as if they had been deleted.
    if not keys:
        detail = "This ring has no key yet, so there is nothing to rotate. The first signature creates one."
        raise NotPermitted("key_ring_empty", detail)
    outlived = [key.kid for key in keys if policy.outlived(key, ctx.now)]
    if len(keys) - len(outlived) >= policy.ring_bound(purpose):
        raise NotPermitted(
            "key_ring_full",
            f"All {policy.ring_bound(purpose)} keys of this ring are still needed for verification. Rotate later.",
        )
    # Deleted first, so that a ring that is rotated regularly never becomes full.
    if outlived:
        store.remove(ctx.tx, outlived)
    for key in keys:
        if key.state is KeyState.ACTIVE:
            # Its private half is deleted at once, so that nobody with a copy of the database can sign
            # with a retired key.
            store.retire(ctx.tx, key.kid, ctx.now, proof=_proof(ctx, key))
    key = _generate(ctx, purpose, ring)
    if not store.KEYS.add_new(ctx.tx, key):
        raise Conflict("key_ring_busy", "Another request is rotating this ring. Retry.")
    return key


def is_same_key(ctx: Context) -> bool | None:
    """Check whether this process's key is the one that the database was set up with; None if none was stored yet."""
    # Checked at start-up. With another key a node would look ready and refuse every valid token.
    sealed = store.find_check(ctx.tx)
    if sealed is None:
        return None
    try:
        return vault().open(_CHECKING, sealed, "") == _CHECKED
    except Invalid:
        return False


def store_key_check(ctx: Context) -> None:
    """Store a value by which every later process recognizes this process's key. The first one stored stays."""
    store.add_check(ctx.tx, vault().seal(_CHECKING, _CHECKED, nonce=ctx.ids, bound_to=""))


def opens(ctx: Context, purpose: Purpose, ring: str) -> bool:
    """Check whether this process's vault opens the ring's signing key; True for a ring without one."""
    key = store.active(ctx.tx, purpose, ring)
    try:
        return key is None or bool(_open(key))
    except Invalid:
        return False


def sign_jwt(
    ctx: Context, ring: str, claims: Mapping[str, Any], *, purpose: Purpose = Purpose.ID_TOKEN
) -> str:
    """Sign claims as an id_token or a client assertion of the ring (a tenant's id) with its RSA key; the header carries the kid.

    Source: OpenID Connect Core 1.0 section 2; SMART App Launch 2.2, scopes-and-launch-context#scopes-for-requesting-identity-data and
    client-confidential-asymmetric#authenticating-to-the-token-endpoint.
    """
    key = ensure(ctx, purpose, ring)
    private = _opened_rsa(key)
    return jwt.encode(
        {"typ": "JWT", "alg": key.algorithm, "kid": key.kid}, dict(claims), private, [key.algorithm]
    )


def public_jwks(ctx: Context, purpose: Purpose, ring: str) -> dict[str, list[dict[str, str]]]:
    """Return the JWK set that verifies every unexpired signature of the ring. Empty before its first key."""
    own = (key for key in store.KEYS.all(ctx.tx, purpose=purpose, ring=ring) if _is_own(key))
    keys = policy.published(own, ctx.now)
    # Only public members are stored in ``public``, so no private one can get in here.
    return {"keys": [key.public | {"kid": key.kid, "use": "sig", "alg": key.algorithm} for key in keys]}


def sign_bytes(ctx: Context, purpose: Purpose, data: bytes) -> tuple[str, str]:
    """Sign with the purpose's Ed25519 key; return its kid and the signature in base64url."""
    return signer(ctx, purpose)(data)


def signer(ctx: Context, purpose: Purpose) -> Callable[[bytes], tuple[str, str]]:
    """Return a function that signs as ``sign_bytes`` does, for many values in one transaction."""
    key = ensure(ctx, purpose, "")
    private = vault().cached_key(key.kid)
    if private is None:
        private = Ed25519PrivateKey.from_private_bytes(base64url.decode(_open(key)["d"]))
        vault().cache_key(key.kid, private)
    return lambda data: (key.kid, base64url.encode(private.sign(data)))


def sign_compact(ctx: Context, purpose: Purpose, claims: Mapping[str, Any], *, typ: str) -> str:
    """Sign claims with the purpose's Ed25519 key as a compact JWS of type ``typ``, which distinguishes it from other documents.

    Source: RFC 7515 section 3.1; RFC 8037 section 3.1; RFC 8725 section 3.11.
    """
    key = ensure(ctx, purpose, "")
    header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
    signed = f"{base64url.encode(orjson.dumps(header))}.{base64url.encode(orjson.dumps(claims))}"
    _, signature = signer(ctx, purpose)(signed.encode())
    return f"{signed}.{signature}"


def public_key(ctx: Context, purpose: Purpose, kid: str) -> str:
    """Return the public half of an Ed25519 key in base64url, for offline verification; empty if there is no such key."""
    key = store.KEYS.find(ctx.tx, purpose=purpose, kid=kid)
    return "" if key is None else key.public.get("x", "")


def verify_bytes(ctx: Context, purpose: Purpose, kid: str, data: bytes, signature: str) -> bool:
    """Check whether the purpose's key ``kid`` signed ``data``; False for a key that this platform did not make."""
    key = store.KEYS.find(ctx.tx, purpose=purpose, kid=kid)
    # The algorithm comes from the stored key and never from what is verified.
    if key is None or key.public.get("crv") != "Ed25519":
        return False
    if not _is_own(key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(base64url.decode(key.public["x"])).verify(
            base64url.decode(signature), data
        )
    # In SQLite somebody may have written a signature that is no text.
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _generate(ctx: Context, purpose: Purpose, ring: str) -> SigningKey:
    private = _rsa_pair() if policy.ALGORITHMS[purpose].startswith("RS") else _ed25519_pair(ctx.ids)
    public = {name: value for name, value in private.items() if name in _PUBLIC_MEMBERS}
    kid = ctx.ids.new("key")
    sealed = vault().seal(
        _SEALING, orjson.dumps(private), nonce=ctx.ids, bound_to=_bound_to(purpose, ring, kid)
    )
    return SigningKey(
        kid, purpose, ring, policy.ALGORITHMS[purpose], public, sealed, KeyState.ACTIVE, ctx.now
    )


def _rsa_pair() -> dict[str, str]:
    jwk = RSAKey.generate_key(_RSA_BITS, private=True, auto_kid=False).as_dict(private=True)
    return {name: value for name, value in jwk.items() if isinstance(value, str)}


def _ed25519_pair(ids: Ids) -> dict[str, str]:
    seed = base64url.decode(ids.secret(32))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(public), "d": base64url.encode(seed)}


def _opened_rsa(key: SigningKey) -> RSAKey:
    private: RSAKey | None = vault().cached_key(key.kid)
    if private is None:
        private = RSAKey.import_key(dict[str, str | list[str]](_open(key)))
        vault().cache_key(key.kid, private)
    return private


def _open(key: SigningKey) -> dict[str, str]:
    bound_to = _bound_to(key.purpose, key.ring, key.kid)
    opened: dict[str, str] = orjson.loads(vault().open(_SEALING, key.private_sealed, bound_to))
    return opened


def _is_own(key: SigningKey) -> bool:
    """Check whether this platform made a key: its sealed half cannot be forged with write access to the database alone."""
    try:
        if key.state is KeyState.ACTIVE:
            proven = _public_half(_open(key))
        else:
            bound_to = _bound_to(key.purpose, key.ring, key.kid)
            proven = vault().open(_RETIRED, key.private_sealed, bound_to).decode()
    except Invalid:
        return False
    return proven == _public_half(key.public)


def _proof(ctx: Context, key: SigningKey) -> str:
    """Seal the public half of a retiring key, as proof that this platform made it; return an empty text if it did not."""
    if not _is_own(key):
        return ""
    bound_to = _bound_to(key.purpose, key.ring, key.kid)
    return vault().seal(_RETIRED, _public_half(key.public).encode(), nonce=ctx.ids, bound_to=bound_to)


def _public_half(jwk: Mapping[str, str]) -> str:
    """Return the public half of a key as one text: modulus and exponent of RSA, the point of Ed25519."""
    # With the modulus alone, an exponent of 1 would make every signature easy to forge.
    return f"{jwk['n']}.{jwk.get('e')}" if "n" in jwk else jwk.get("x", "")


def _bound_to(purpose: Purpose, ring: str, kid: str) -> str:
    return f"{purpose}/{ring}/{kid}"
