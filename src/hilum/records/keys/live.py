"""The vault: derives a key for each purpose from HILUM_SECRET_KEY, and keeps keys in memory only."""

import hmac
from threading import Lock
from typing import Any

from cachetools import LRUCache
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ports import Ids
from hilum.records.keys.models import CACHED_KEYS_BOUND, PURPOSES_BOUND, SEALED_BOUND, SECRET_KEY_MIN

_NONCE = 12
_SALT = b"hilum/records/keys/v1"


class Vault:
    """Seals, opens and authenticates small values. Thread-safe; one per process.

    Every purpose has a key of its own (HKDF-SHA256, RFC 5869), so a value made for one purpose is invalid for another.
    """

    def __init__(self, secret_key: str) -> None:
        if len(secret_key) < SECRET_KEY_MIN:
            raise Invalid("secret_key_short", f"HILUM_SECRET_KEY needs at least {SECRET_KEY_MIN} characters.")
        self._root = secret_key.encode()
        self._derived: dict[tuple[str, str], bytes] = {}
        self._cached_keys: LRUCache[str, Any] = LRUCache(CACHED_KEYS_BOUND)
        self._lock = Lock()

    def _key(self, use: str, purpose: str) -> bytes:
        key = self._derived.get((use, purpose))
        if key is None:
            assert len(self._derived) < PURPOSES_BOUND, "purposes are constants of the code, never data"
            # The use is part of it too: a MAC key must never be an encryption key.
            info = f"{use}:{purpose}".encode()
            key = HKDF(algorithm=SHA256(), length=32, salt=_SALT, info=info).derive(self._root)
            self._derived[use, purpose] = key
        return key

    def seal(self, purpose: str, plaintext: bytes, *, nonce: bytes | Ids, bound_to: str) -> str:
        """Encrypt and authenticate (AES-256-GCM); the result has only ``[A-Za-z0-9_-]``. ``nonce``: 12 fresh random bytes, or their source."""
        fresh = nonce if isinstance(nonce, bytes) else _decode(nonce.secret(_NONCE))
        assert len(fresh) == _NONCE, "AES-GCM takes 12 bytes"
        # bound_to is authenticated but not encrypted: a sealed value that was moved to another row,
        # ring or step cannot be opened there. The nonce must never repeat under one key.
        sealed = AESGCM(self._key("seal", purpose)).encrypt(fresh, plaintext, bound_to.encode())
        return base64url.encode(fresh + sealed)

    def open(self, purpose: str, sealed: str, bound_to: str) -> bytes:
        """Decrypt a value sealed for the same purpose and context. Raises Invalid for any other."""
        # Sealed values come back from browsers: a value longer than any of ours is not decoded.
        if len(sealed) > SEALED_BOUND:
            raise Invalid("seal_broken", "This value was not sealed by this platform, or was changed.")
        try:
            raw = _decode(sealed)
            key = AESGCM(self._key("seal", purpose))
            return key.decrypt(raw[:_NONCE], raw[_NONCE:], bound_to.encode())
        except (InvalidTag, ValueError) as error:
            raise Invalid(
                "seal_broken", "This value was not sealed by this platform, or was changed."
            ) from error

    def mac(self, purpose: str, data: bytes, size: int = 6) -> str:
        """Return the first ``size`` bytes of the HMAC-SHA256 of ``data`` in base64url: 8 characters for 6 bytes."""
        return base64url.encode(hmac.digest(self._key("mac", purpose), data, "sha256")[:size])

    def cached_key(self, kid: str) -> Any:
        """Return a cached private key, or None."""
        with self._lock:
            return self._cached_keys.get(kid)

    def cache_key(self, kid: str, key: Any) -> None:
        """Cache a private key in memory; the least recently used is evicted."""
        with self._lock:
            self._cached_keys[kid] = key


_installed: Vault | None = None


def install(new_vault: Vault) -> None:
    """Set the process's vault. Called by app, cli and tests before requests are served."""
    global _installed
    _installed = new_vault


def vault() -> Vault:
    """Return the process's vault."""
    assert _installed is not None, "app installs the vault before it serves"
    return _installed


def _decode(text: str) -> bytes:
    raw = base64url.decode(text)
    if base64url.encode(raw) != text:  # unused bits may differ: one sealed value must not have several texts
        raise ValueError("not the canonical base64url of these bytes")
    return raw
