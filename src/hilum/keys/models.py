"""Purposes and states of signing keys."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

KEY_OVERLAP = timedelta(days=1)
"""A retired signing key stays published this long, so that what it signed before the rotation still verifies."""
# Every reader of a tenant's JWKS fetches all of them.
MAX_KEYS_PER_RING = 16
MAX_CHECKPOINT_KEYS = 1_000
"""Public halves of checkpoint keys are kept as long as checkpoints; their private halves are deleted at rotation."""
SECRET_KEY_MIN = 32
OPENED_KEYS_BOUND = 10_000
PURPOSES_BOUND = 100
SEALED_BOUND = 64 * 1024


class Purpose(StrEnum):
    """The one purpose of a key."""

    ID_TOKEN = "id_token"
    """RS256, one ring per tenant."""
    CHECKPOINT = "checkpoint"
    """Ed25519, signs the heads of the audit chains."""


class KeyState(StrEnum):
    ACTIVE = "active"
    RETIRED = "retired"
    """Only verifies."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of a ring. ``public`` is its public JWK.

    ``private_sealed`` is the private JWK sealed under the key-encryption key; empty once the key is retired.
    """

    kid: str
    purpose: Purpose
    ring: str
    algorithm: str
    public: dict[str, str]
    private_sealed: str
    state: KeyState
    created_at: datetime
    retired_at: datetime | None = None
