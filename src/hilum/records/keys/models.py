"""Purposes and states of signing keys."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

KEY_OVERLAP = timedelta(days=1)
"""A retired signing key stays published this long, so that what it signed before the rotation still verifies."""
# Every reader of a tenant's JWKS fetches all of them.
MAX_KEYS_PER_RING = 16
MAX_KEPT_KEYS = 1_000
"""The most keys in a ring whose signatures never expire. Private halves are deleted at rotation."""
SECRET_KEY_MIN = 32
CACHED_KEYS_BOUND = 10_000
PURPOSES_BOUND = 100
SEALED_BOUND = 64 * 1024


class Purpose(StrEnum):
    """The one purpose of a key."""

    ID_TOKEN = "id_token"
    """RS256, one ring per tenant."""
    UPSTREAM = "upstream"
    """RS384, one ring per tenant: authenticates Hilum at the tenant's FHIR server."""
    CHECKPOINT = "checkpoint"
    """Ed25519, signs the heads of the audit chains."""
    POLICY = "policy"
    """Ed25519, signs versions of the policy and that they were put in force."""
    CERTIFICATE = "certificate"
    """Ed25519, signs certificates and their status lists, which anybody verifies by the published keys."""
    EVIDENCE = "evidence"
    """Ed25519, signs the results of certification runs, which anybody verifies by the published keys."""


OF_TENANTS = frozenset({Purpose.ID_TOKEN, Purpose.UPSTREAM})
"""What has a ring for each tenant."""
SIGNS_FOR_EVER = frozenset(
    {
        Purpose.CHECKPOINT,
        Purpose.POLICY,
        Purpose.CERTIFICATE,
        Purpose.EVIDENCE,
    }
)
"""What these sign is verified for as long as it is kept, so their public halves are never deleted."""


class KeyState(StrEnum):
    ACTIVE = "active"
    RETIRED = "retired"
    """Only verifies; its private half was deleted."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of a ring. ``public`` is its public JWK.

    ``private_sealed`` is the private JWK, sealed under the key-encryption key; for a retired key, its sealed public half. It proves that
    the platform made the key: write access to the database suffices to add a public half, but not to forge a sealed one.
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
