"""The format of tokens, and whether an issued one is still valid. Pure."""

import re
from datetime import datetime
from hashlib import sha256

from hilum.kernel.decision import Reason
from hilum.tokens.models import (
    ACCESS_PREFIX,
    MAC_LENGTH,
    REFRESH_PREFIX,
    SECRET_LENGTH,
    AccessToken,
    RefreshToken,
    TokenFacts,
)

ACCESS_LENGTH = len(ACCESS_PREFIX) + SECRET_LENGTH + 1 + MAC_LENGTH
MAC_PURPOSE = "token"
_SHAPE = re.compile(rf"(hil_[ar]t_[A-Za-z0-9_-]{{{SECRET_LENGTH}}})_([A-Za-z0-9_-]{{{MAC_LENGTH}}})")


def signed_part(token: str, prefix: str) -> tuple[bytes, str] | None:
    """Split a token into the part that its MAC covers and the MAC; None if it is malformed.

    ``<prefix><43>_<8>``: the last 8 characters are the MAC of everything before the underscore.
    """
    shape = _SHAPE.fullmatch(token) if token.startswith(prefix) else None
    return None if shape is None else (shape[1].encode(), shape[2])


def fingerprint(token: str) -> bytes:
    """Return the SHA-256 under which a token is stored."""
    # A plain hash is enough: nobody guesses 256 random bits, unlike a password. A copy of the
    # database holds no usable token.
    return sha256(token.encode()).digest()


def prefix_of(token: str) -> str:
    """Return the prefix of an access or refresh token; empty for any other text."""
    return next((prefix for prefix in (ACCESS_PREFIX, REFRESH_PREFIX) if token.startswith(prefix)), "")


def judge(token: AccessToken, facts: TokenFacts, now: datetime) -> Reason | None:
    """Return why the token is not valid now; None if it is. It is valid while ``now < expires_at``."""
    if now >= token.expires_at:
        return Reason.TOKEN_INVALID
    if token.family in facts.revoked_families or token.hash in facts.revoked_tokens:
        return Reason.TOKEN_REVOKED
    if token.session in facts.ended_sessions and not token.launch and "offline_access" not in token.scopes:
        # A launch's tokens end with the launch instead, which the gateway checks separately.
        return Reason.TOKEN_REVOKED
    return None


def require_proof(token: AccessToken, proof: str) -> Reason | None:  # noqa: ARG001
    """Return why a token's proof of possession is not valid; None if it needs none. ``proof`` is the request's, empty without one.

    No token is bound to a key today. One that is marked bound is refused, because proofs cannot be verified yet (C56, RFC 9449).
    """
    return Reason.PROOF_INVALID if token.proof_key else None


def refresh_fault(token: RefreshToken, now: datetime) -> str:
    """Return why a refresh token cannot be redeemed now: revoked, used or expired; empty if it can."""
    if token.family_revoked_at is not None:
        return "revoked"
    if token.used_at is not None:
        return "used"
    return "expired" if now >= token.expires_at else ""
