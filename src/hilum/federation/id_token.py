"""The checks of id_tokens and logout tokens. Pure.

Source: OpenID Connect Core 1.0 section 3.1.3.7; OpenID Connect Back-Channel Logout 1.0 section 2.6; RFC 8725
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from hilum.federation import policy
from hilum.federation.models import (
    ALGORITHMS,
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
from hilum.kernel import base64url
from hilum.kernel.times import EPOCH
from hilum.standards import keysets

RSA_BITS_MIN, RSA_BITS_MAX, RSA_EXPONENT_BITS_MAX = 2_048, 8_192, 64
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_OF_THE_SIGN_IN = frozenset(
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
"""Parameters of a header that change nothing about how it is verified."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an id_token must agree with. ``left_at``: when the browser left for the provider."""

    nonce: str
    left_at: datetime
    fresh: bool = False


def refuse(fault: Fault) -> NoReturn:
    """Refuse with the sentence of a fault. Raises Refusal."""
    raise policy.refusal(fault)


def read_header(token: str, algorithm: str, types: frozenset[str]) -> str:
    """Check the form and the header of a signed token, and return its ``kid``; empty if it has none. Raises Refusal.

    ``types``: the values of ``typ`` that are accepted beside none, in lower case. Keys come only from the provider's key set.
    """
    parts = token.split(".")
    # Five parts would be an encrypted token, which was not asked for.
    if len(token) > TOKEN_BOUND or len(parts) != 3 or not all(parts):
        refuse(Fault.TOKEN_MALFORMED)
    header = _json(parts[0])
    # One algorithm, the one that was agreed: neither none, nor HS256 with a public key as its secret (RFC 8725 section 2.1).
    if header.get("alg") != algorithm or algorithm not in ALGORITHMS:
        refuse(Fault.ALGORITHM_NOT_ALLOWED)
    # A parameter that is not understood can change what is verified: a key of the sender's own, crit, b64.
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
    keys = keys_for(jwks, kid, algorithm)
    # Without a kid the set must leave no choice (Core 1.0 section 10.1).
    if not keys or (not kid and len(keys) > 1):
        refuse(Fault.KEY_UNKNOWN)
    if not any(_verifies(token, key, algorithm) for key in keys):
        refuse(Fault.SIGNATURE_WRONG)
    return _json(token.split(".")[1])


def keys_for(jwks: Mapping[str, Any], kid: str, algorithm: str) -> list[dict[str, Any]]:
    """Return the keys of a set that may verify a token with this ``kid``, which may be empty."""
    return keysets.keys_for(jwks, kid, algorithm, ALGORITHMS[algorithm])


def judge_id_token(
    claims: Mapping[str, Any], settings: Settings, expected: Expected, now: datetime
) -> Identity:
    """Check the claims of an id_token in full, and return what it states. Raises Refusal.

    Source: OpenID Connect Core 1.0 section 3.1.3.7, steps 2 to 5 and 9 to 13
    """
    _judge_addressee(claims, settings)
    _judge_times(claims, now, issued_within=ISSUED_WITHIN)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        refuse(Fault.NONCE_WRONG)
    authenticated = _judge_sign_in(claims, settings, expected, now)
    acr = claims.get("acr")
    if settings.acr_values and acr not in settings.acr_values:
        refuse(Fault.ASSURANCE_TOO_LOW)
    ends_at = _moment(claims, "session_expiry")
    if ends_at is not None and ends_at <= now:
        refuse(Fault.SESSION_OVER)
    amr = claims.get("amr")
    shown = {each for each in amr if isinstance(each, str)} if isinstance(amr, list) else set()
    return Identity(
        issuer=settings.issuer,
        subject=_subject(claims, settings.subject_claim),
        sub=_text(claims, "sub"),
        claims=claims,
        authenticated_at=authenticated,
        sid=_text(claims, "sid"),
        has_factor=bool(shown.intersection(settings.factor_amr)) or acr in settings.factor_acr,
        ends_at=ends_at,
    )


def with_userinfo(identity: Identity, stated: Mapping[str, Any], settings: Settings) -> Identity:
    """Add what a UserInfo answer states of names, roles and ``fhirUser``, where the id_token is silent. Raises Refusal.

    Nothing that the sign-in itself rests on is taken from it: neither who it is, nor when and how strongly they signed in.
    Source: OpenID Connect Core 1.0 section 5.3.2: its ``sub`` must be exactly that of the id_token
    """
    sub = stated.get("sub")
    if not isinstance(sub, str) or not hmac.compare_digest(sub.encode(), identity.sub.encode()):
        refuse(Fault.USERINFO_OF_ANOTHER)
    named = (settings.username_claim, settings.name_claim, settings.fhir_user_claim, settings.role_claim)
    # By the first part of a path with dots: below it, what the two state is not mixed.
    names = {each.split(".")[0] for each in named if each} | {each for each in named if each}
    taken = {name: value for name, value in stated.items() if name in names - _OF_THE_SIGN_IN}
    return replace(identity, claims={**taken, **identity.claims})


def judge_logout_token(claims: Mapping[str, Any], settings: Settings, now: datetime) -> Logout:
    """Check the claims of a logout token, and return whose sessions end. Raises Refusal.

    Source: OpenID Connect Back-Channel Logout 1.0 section 2.6
    """
    _judge_addressee(claims, settings)
    _judge_times(claims, now, issued_within=LOGOUT_TOKEN_LIFE)
    events = claims.get("events")
    # A nonce is forbidden, so that no id_token can be sent as a logout token.
    if "nonce" in claims or not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        refuse(Fault.TOKEN_MALFORMED)
    jti, subject, sid = _text(claims, "jti"), _text(claims, "sub"), _text(claims, "sid")
    if not jti or not (subject or sid):
        refuse(Fault.TOKEN_MALFORMED)
    issued = _moment(claims, "iat")
    assert issued is not None, "judged above"
    return Logout(subject, sid, jti, issued)


def _judge_addressee(claims: Mapping[str, Any], settings: Settings) -> None:
    if claims.get("iss") != settings.issuer:
        refuse(Fault.ISSUER_WRONG)
    audience = claims.get("aud")
    # No other audience is trusted: whoever receives this token too could present it here (step 3).
    if audience not in (settings.client_id, [settings.client_id]):
        refuse(Fault.AUDIENCE_WRONG)
    if claims.get("azp", settings.client_id) != settings.client_id:
        refuse(Fault.PARTY_WRONG)


def _judge_times(claims: Mapping[str, Any], now: datetime, *, issued_within: timedelta) -> None:
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    # The times are the provider's, whose clock may be ahead or behind.
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
    found = _moment(claims, "auth_time")
    if found is None:
        if settings.max_age_s or expected.fresh:
            refuse(Fault.SIGN_IN_TIME_MISSING)
        return None
    if found > now + SKEW:
        refuse(Fault.SIGN_IN_TOO_OLD)
    if expected.fresh and found < expected.left_at - SKEW:
        refuse(Fault.SIGN_IN_TOO_OLD)
    if settings.max_age_s and found + timedelta(seconds=settings.max_age_s) < now - SKEW:
        refuse(Fault.SIGN_IN_TOO_OLD)
    return min(found, now)


def _subject(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    # sub is required whichever claim is used: a token without it is not an id_token.
    both = (claims.get("sub"), found)
    if not all(isinstance(each, str) and 0 < len(each) <= SUBJECT_BOUND for each in both):
        refuse(Fault.SUBJECT_MISSING)
    assert isinstance(found, str)
    if not found.isascii() or not found.isprintable() or found != found.strip():
        refuse(Fault.SUBJECT_MISSING)
    return found


def _text(claims: Mapping[str, Any], name: str) -> str:
    found = claims.get(name)
    return found if isinstance(found, str) and len(found) <= SUBJECT_BOUND else ""


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time of a token; None if it is missing or none, which every check refuses where it is required."""
    value = claims.get(name)
    # JSON true is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        return None
    return EPOCH + timedelta(seconds=value)


def _json(part: str) -> dict[str, Any]:
    try:
        found = orjson.loads(base64url.decode(part))
    except ValueError:
        refuse(Fault.TOKEN_MALFORMED)
    if not isinstance(found, dict):
        refuse(Fault.TOKEN_MALFORMED)
    return found


def _verifies(token: str, key: Mapping[str, Any], algorithm: str) -> bool:
    try:
        jws.deserialize_compact(token, _imported(key), algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return True


def _imported(key: Mapping[str, Any]) -> RSAKey | ECKey:
    """Import a public key. Raises ValueError for one that is too weak, or that costs too much to verify with."""
    if key["kty"] != "RSA":
        return ECKey.import_key(dict(key))
    sizes = [_bits(str(key[name])) for name in ("n", "e")]
    if not RSA_BITS_MIN <= sizes[0] <= RSA_BITS_MAX or sizes[1] > RSA_EXPONENT_BITS_MAX:
        raise ValueError("the size of the RSA key is not accepted")
    return RSAKey.import_key(dict(key))


def _bits(encoded: str) -> int:
    raw = base64url.decode(encoded)
    return int.from_bytes(raw).bit_length()


def usable_keys(jwks: Mapping[str, Any], algorithm: str) -> Sequence[Mapping[str, Any]]:
    """Return the keys of a set that can verify a signature of this algorithm."""
    return list(_usable(keys_for(jwks, "", algorithm)))


def _usable(keys: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for key in keys:
        try:
            _imported(key)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
        yield key
