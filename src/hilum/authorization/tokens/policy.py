"""The format of tokens, and whether an issued one is still valid. Pure."""

import re
from datetime import datetime
from hashlib import sha256

from hilum.authorization.tokens.models import (
    ACCESS_PREFIX,
    MAC_LENGTH,
    REFRESH_PREFIX,
    REPEAT_WITHIN,
    SECRET_LENGTH,
    AccessToken,
    Exchange,
    RefreshToken,
    TokenFacts,
)
from hilum.foundation.kernel.decision import Reason

ACCESS_LENGTH = len(ACCESS_PREFIX) + SECRET_LENGTH + 1 + MAC_LENGTH
MAC_PURPOSE = "token"
ANSWER_PURPOSE = "token-answer"
_SHAPE = re.compile(rf"(hil_[ar]t_[A-Za-z0-9_-]{{{SECRET_LENGTH}}})_([A-Za-z0-9_-]{{{MAC_LENGTH}}})")


def signed_part(token: str, prefix: str) -> tuple[bytes, str] | None:
    """Split a token into the part that its MAC covers and the MAC; None if it is malformed.

    A token is ``<prefix><secret>_<mac>``, with 43 characters of secret and 8 of MAC.
    """
    shape = _SHAPE.fullmatch(token) if token.startswith(prefix) else None
    return None if shape is None else (shape[1].encode(), shape[2])


def fingerprint(token: str) -> bytes:
    """Return the SHA-256 under which a token is stored."""
    # Unlike a password, 256 random bits need no slow hash.
    return sha256(token.encode()).digest()


def cause_of(*parameters: str) -> bytes:
    """Return the digest of a token request: of the presented code or refresh token, and of all that its answer depends on."""
    return b"".join(map(fingerprint, parameters))


def may_repeat(token: AccessToken, following: RefreshToken | None, exchange: Exchange, now: datetime) -> bool:
    """Check whether an exchange may get the tokens again that its cause was answered with, as far as these tokens tell (ADR 163).

    ``following`` is the refresh token of that answer, if it had one: once that is used, the answer has evidently arrived.
    """
    own = token.client == exchange.client and token.tenant == exchange.tenant
    unused = following is None or not refresh_fault(following, now)
    return own and unused and now < token.issued_at + REPEAT_WITHIN


def prefix_of(token: str) -> str:
    """Return the prefix of an access or refresh token; empty for any other text."""
    return next((prefix for prefix in (ACCESS_PREFIX, REFRESH_PREFIX) if token.startswith(prefix)), "")


def judge(token: AccessToken, facts: TokenFacts, now: datetime) -> Reason | None:
    """Return why the token is not valid now; None if it is. It is valid while ``now < expires_at``."""
    if now >= token.expires_at:
        return Reason.TOKEN_INVALID
    if token.family in facts.revoked_families or token.hash in facts.revoked_tokens:
        return Reason.TOKEN_REVOKED
    # A launch's tokens end with the launch instead, which the gateway checks.
    if token.session in facts.ended_sessions and not token.launch and "offline_access" not in token.scopes:
        return Reason.TOKEN_REVOKED
    return None


def require_proof(token: AccessToken, proof: str) -> Reason | None:  # noqa: ARG001
    """Return why a request's proof of possession is not valid; None if the token needs none. ``proof`` is empty if there is none.

    Hilum binds no token to a key and verifies no proof yet, so a bound token is refused (C56). Source: RFC 9449
    """
    return Reason.PROOF_INVALID if token.proof_key else None


def refresh_fault(token: RefreshToken, now: datetime) -> str:
    """Return why a refresh token cannot be redeemed now: revoked, used or expired; empty if it can."""
    if token.family_revoked_at is not None:
        return "revoked"
    if token.used_at is not None:
        return "used"
    return "expired" if now >= token.expires_at else ""
