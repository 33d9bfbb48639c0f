"""Which keys are published, and which may be deleted. Pure."""

from collections.abc import Iterable
from datetime import datetime

from hilum.records.keys.models import (
    KEY_OVERLAP,
    MAX_KEPT_KEYS,
    MAX_KEYS_PER_RING,
    SIGNS_FOR_EVER,
    KeyState,
    Purpose,
    SigningKey,
)

ED25519 = "Ed25519"
"""Source: RFC 9864 section 2.2. Keys from before say "EdDSA", which it deprecates, and sign with that until they are rotated."""
ALGORITHMS = {
    Purpose.ID_TOKEN: "RS256",
    Purpose.UPSTREAM: "RS384",
    Purpose.CHECKPOINT: ED25519,
    Purpose.POLICY: ED25519,
    Purpose.CERTIFICATE: ED25519,
    Purpose.EVIDENCE: ED25519,
}


def published(keys: Iterable[SigningKey], now: datetime) -> tuple[SigningKey, ...]:
    """List the keys that a verifier may need, the active one first."""
    needed = [key for key in keys if not outlived(key, now)]
    return tuple(sorted(needed, key=lambda key: (key.state is not KeyState.ACTIVE, key.kid)))


def outlived(key: SigningKey, now: datetime) -> bool:
    """Check whether every signature of the key has expired. Those of id_tokens and client assertions do."""
    # A checkpoint, a policy or a certification must be verifiable for as long as it is kept.
    if key.state is KeyState.ACTIVE or key.purpose in SIGNS_FOR_EVER:
        return False
    return key.retired_at is not None and now >= key.retired_at + KEY_OVERLAP


def ring_bound(purpose: Purpose) -> int:
    """Return the greatest number of keys in a ring."""
    return MAX_KEPT_KEYS if purpose in SIGNS_FOR_EVER else MAX_KEYS_PER_RING
