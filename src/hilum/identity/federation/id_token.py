"""The checks of id_tokens and logout tokens. Pure.

Source: OpenID Connect Core 1.0 section 3.1.3.7; OpenID Connect Back-Channel Logout 1.0 section 2.6; RFC 8725
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

import orjson

from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.times import EPOCH
from hilum.foundation.standards import jws
from hilum.identity.federation import policy
from hilum.identity.federation.models import (
    ISSUED_WITHIN,
    LOGOUT_TOKEN_LIFE,
    SKEW,
    SUBJECT_BOUND,
    TOKEN_BOUND,
    VALUE_BOUND,
    Fault,
    Identity,
    Logout,
    Settings,
)

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_SIGN_IN_CLAIMS = frozenset(
    {
        "iss",
        "sub",
        "aud",
        "azp",
        "exp",
        "iat",
        "nbf",
        "nonce",
        "auth_time",
        "acr",
        "amr",
        "sid",
        "session_expiry",
    }
)
_HEADER = frozenset({"alg", "kid", "typ", "cty", "x5t", "x5t#S256"})
"""Header parameters that do not change how a token is verified."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an id_token must match. ``left_at``: when the browser left for the provider; ``fresh``: the person must have signed in since."""

    nonce: str
    left_at: datetime
    fresh: bool = False


def refuse(fault: Fault) -> NoReturn:
    """Refuse with the sentence of a fault. Raises Refusal."""
    raise policy.refusal(fault)


def read_header(token: str, algorithm: str, types: frozenset[str]) -> str:
    """Check the form and the header of a signed token, and return its ``kid``; empty if it has none. Raises Refusal.

    ``types``: the values of ``typ`` that are accepted, in lower case; it may be absent. Keys come only from the provider's key set.
    """
    parts = token.split(".")
    # Five parts would be an encrypted token, which was not requested.
    if len(token) > TOKEN_BOUND or len(parts) != 3 or not all(parts):
        refuse(Fault.TOKEN_MALFORMED)
    header = _json(parts[0])
    # Only the agreed algorithm: neither "none", nor HS256 with a public key as its secret (RFC 8725 section 2.1).
    if header.get("alg") != algorithm or algorithm not in jws.ALGORITHMS:
        refuse(Fault.ALGORITHM_NOT_ALLOWED)
    # An unknown parameter can change what is verified: the sender's own key, crit, b64.
    if not _HEADER.issuperset(header):
        refuse(Fault.HEADER_NOT_ALLOWED)
    typ = header.get("typ", "")
    if not isinstance(typ, str) or (typ and typ.lower() not in types):
        refuse(Fault.HEADER_NOT_ALLOWED)
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > VALUE_BOUND:
        refuse(Fault.HEADER_NOT_ALLOWED)
    return kid


def verified(token: str, kid: str, jwks: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """Return the claims of a token that a key of the set signed. Raises Refusal."""
    keys = jws.keys_for(jwks, kid, algorithm)
    # Without a kid, only one key may match (Core 1.0 section 10.1).
    if not keys or (not kid and len(keys) > 1):
        refuse(Fault.KEY_UNKNOWN)
    if not any(jws.verifies(token, key, algorithm) for key in keys):
        refuse(Fault.SIGNATURE_WRONG)
    return _json(token.split(".")[1])


def judge_id_token(
    claims: Mapping[str, Any], settings: Settings, expected: Expected, now: datetime
) -> Identity:
    """Check the claims of an id_token in full, and return what it states. Raises Refusal.

    Source: OpenID Connect Core 1.0 section 3.1.3.7, steps 2 to 5 and 9 to 13
    """
    _judge_issuer_and_audience(claims, settings)
    _judge_times(claims, now, issued_within=ISSUED_WITHIN)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        refuse(Fault.NONCE_WRONG)
    authenticated_at = _judge_sign_in(claims, settings, expected, now)
    acr = claims.get("acr")
    if settings.acr_values and acr not in settings.acr_values:
        refuse(Fault.ASSURANCE_TOO_LOW)
    ends_at = _moment(claims, "session_expiry")
    if ends_at is not None and ends_at <= now:
        refuse(Fault.SESSION_OVER)
    amr = claims.get("amr")
    methods = {each for each in amr if isinstance(each, str)} if isinstance(amr, list) else set()
    return Identity(
        issuer=settings.issuer,
        subject=_subject(claims, settings.subject_claim),
        sub=_text(claims, "sub"),
        claims=claims,
        authenticated_at=authenticated_at,
        sid=_text(claims, "sid"),
        has_factor=bool(methods.intersection(settings.factor_amr)) or acr in settings.factor_acr,
        ends_at=ends_at,
    )


def with_userinfo(identity: Identity, stated: Mapping[str, Any], settings: Settings) -> Identity:
    """Add names, roles and ``fhirUser`` from a UserInfo response if the id_token lacks them. Raises Refusal.

    Claims about the sign-in itself come from the id_token only: who the person is, and when and how they signed in.
    Source: OpenID Connect Core 1.0 section 5.3.2: its ``sub`` must be exactly that of the id_token
    """
    sub = stated.get("sub")
    if not isinstance(sub, str) or not hmac.compare_digest(sub.encode(), identity.sub.encode()):
        refuse(Fault.USERINFO_OF_ANOTHER)
    claims = (settings.username_claim, settings.name_claim, settings.fhir_user_claim, settings.role_claim)
    # A path with dots is merged by its first part, so that the two responses are never mixed below it.
    names = {each.split(".")[0] for each in claims if each} | {each for each in claims if each}
    if settings.username_claim == "email":
        names.add("email_verified")
    added = {name: value for name, value in stated.items() if name in names - _SIGN_IN_CLAIMS}
    return replace(identity, claims={**added, **identity.claims})


def judge_logout_token(claims: Mapping[str, Any], settings: Settings, now: datetime) -> Logout:
    """Check the claims of a logout token, and return whose sessions end. Raises Refusal.

    Source: OpenID Connect Back-Channel Logout 1.0 section 2.6
    """
    _judge_issuer_and_audience(claims, settings)
    _judge_times(claims, now, issued_within=LOGOUT_TOKEN_LIFE)
    events = claims.get("events")
    # A nonce is forbidden, so that no id_token can be sent as a logout token.
    if "nonce" in claims or not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        refuse(Fault.TOKEN_MALFORMED)
    jti, subject, sid = _text(claims, "jti"), _text(claims, "sub"), _text(claims, "sid")
    if not jti or not (subject or sid):
        refuse(Fault.TOKEN_MALFORMED)
    issued = _moment(claims, "iat")
    assert issued is not None, "checked by _judge_times"
    return Logout(subject, sid, jti, issued)


def _judge_issuer_and_audience(claims: Mapping[str, Any], settings: Settings) -> None:
    if claims.get("iss") != settings.issuer:
        refuse(Fault.ISSUER_WRONG)
    audience = claims.get("aud")
    # No further audience is accepted: it could present the token here (step 3).
    if audience not in (settings.client_id, [settings.client_id]):
        refuse(Fault.AUDIENCE_WRONG)
    if claims.get("azp", settings.client_id) != settings.client_id:
        refuse(Fault.PARTY_WRONG)


def _judge_times(claims: Mapping[str, Any], now: datetime, *, issued_within: timedelta) -> None:
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    # The provider's clock may be ahead or behind.
    if expires is None or now >= expires + SKEW:
        refuse(Fault.EXPIRED)
    if issued is None or issued > now + SKEW or issued < now - issued_within - SKEW or issued >= expires:
        refuse(Fault.ISSUED_WRONG)
    begins = _moment(claims, "nbf")
    if begins is not None and begins > now + SKEW:
        refuse(Fault.NOT_YET_VALID)


def _judge_sign_in(
    claims: Mapping[str, Any], settings: Settings, expected: Expected, now: datetime
) -> datetime | None:
    """Return when the person signed in at the provider, None if it does not state that. Raises Refusal."""
    auth_time = _moment(claims, "auth_time")
    if auth_time is None:
        if settings.max_age_s or expected.fresh:
            refuse(Fault.SIGN_IN_TIME_MISSING)
        return None
    if auth_time > now + SKEW:
        refuse(Fault.SIGN_IN_TOO_OLD)
    if expected.fresh and auth_time < expected.left_at - SKEW:
        refuse(Fault.SIGN_IN_TOO_OLD)
    if settings.max_age_s and auth_time + timedelta(seconds=settings.max_age_s) < now - SKEW:
        refuse(Fault.SIGN_IN_TOO_OLD)
    return min(auth_time, now)


def _subject(claims: Mapping[str, Any], name: str) -> str:
    subject = claims.get(name)
    # sub is required even if another claim identifies people: without it the token is no id_token.
    both = (claims.get("sub"), subject)
    if not all(isinstance(each, str) and 0 < len(each) <= SUBJECT_BOUND for each in both):
        refuse(Fault.SUBJECT_MISSING)
    assert isinstance(subject, str)
    if not subject.isascii() or not subject.isprintable() or subject != subject.strip():
        refuse(Fault.SUBJECT_MISSING)
    return subject


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= SUBJECT_BOUND else ""


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Return a NumericDate claim as a time; None if it is missing or malformed."""
    value = claims.get(name)
    # JSON true is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        return None
    return EPOCH + timedelta(seconds=value)


def _json(part: str) -> dict[str, Any]:
    try:
        document = orjson.loads(base64url.decode(part))
    except ValueError:
        refuse(Fault.TOKEN_MALFORMED)
    if not isinstance(document, dict):
        refuse(Fault.TOKEN_MALFORMED)
    return document


def usable_keys(jwks: Mapping[str, Any], algorithm: str) -> Sequence[Mapping[str, Any]]:
    """Return the keys of a set that can verify a signature of this algorithm."""
    return [key for key in jws.keys_for(jwks, "", algorithm) if jws.is_usable(key)]
