"""Who must have a second factor, and which codes count. Pure.

Source: RFC 6238 (TOTP), RFC 4226 (HOTP); security decision 25; docs/adr/0065-a-second-factor.md
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from urllib.parse import quote, urlencode, urlsplit

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from hilum.foundation.kernel import base64url, typed_codes
from hilum.foundation.standards.networks import is_address
from hilum.identity.factors.models import (
    CODE_BOUND,
    CODE_DIGITS,
    FRESH_FOR,
    LOCKED_AFTER,
    PASSKEY_NAME_BOUND,
    SKEW_STEPS,
    STEP_S,
    Held,
    Passkey,
    Site,
    Step,
    Totp,
)
from hilum.identity.people.models import Role, StaffRole, VendorRole

MUST: Mapping[str, bool] = MappingProxyType(
    {
        StaffRole.PLATFORM_ADMIN: True,
        StaffRole.SECURITY: True,
        StaffRole.REVIEWER: True,
        # Reads the audit of every hospital.
        StaffRole.AUDITOR: True,
        Role.ADMINISTRATOR: True,
        VendorRole.OWNER: True,
        # Replaces secrets and keys of an app that hospitals trust.
        VendorRole.DEVELOPER: True,
        VendorRole.SECURITY: True,
        VendorRole.BILLING: False,
        # Clinicians sign in to their EHR, which vouches for them; patients choose.
        Role.PHYSICIAN: False,
        Role.NURSE: False,
        Role.ANALYST: False,
        Role.FRONT_DESK: False,
        Role.PATIENT: False,
    }
)
"""Which roles must have a second factor in production (C8). Any person of any role may have one."""
_DIGITS = re.compile(rf"[0-9]{{{CODE_DIGITS}}}")


def must_have(role: str, *, production: bool) -> bool:
    """Check whether a role must have a second factor; an unknown role must."""
    return production and MUST.get(role, True)


def step_after_password(role: str, held: Held, *, production: bool) -> Step:
    """Return what is missing after a person's password matched.

    INVARIANT: in production no role that must have a second factor gets ``NONE``, and nobody who has one gets it anywhere.
    """
    if held.any:
        return Step.FACTOR
    return Step.ENROL if must_have(role, production=production) else Step.NONE


def is_fresh(entered_at: datetime | None, now: datetime) -> bool:
    """Check whether a second factor was entered within FRESH_FOR, as acts that widen what others may do require."""
    return entered_at is not None and now < entered_at + FRESH_FOR


def step_of(moment: datetime) -> int:
    """Return the time step of a moment. Source: RFC 6238 section 4.2."""
    return int(moment.timestamp()) // STEP_S


def code_at(seed: bytes, step: int) -> str:
    """Return the code of a seed at a step."""
    # SHA-1 and six digits, since authenticator apps ignore other parameters; HOTP does not rest on collisions (RFC 6194).
    return HOTP(seed, CODE_DIGITS, SHA1(), enforce_key_length=False).generate(step).decode()  # noqa: S303


def matching_step(seed: bytes, code: str, now: datetime, *, after: int) -> int | None:
    """Return the step whose code was entered, within the permitted skew and later than ``after``; None if there is none."""
    present = step_of(now)
    matched = None
    # Every step is compared, so that the time does not reveal which one matched.
    for step in range(present - SKEW_STEPS, present + SKEW_STEPS + 1):
        matches = hmac.compare_digest(code_at(seed, step).encode(), code.encode())
        if matches and step > after:
            matched = step
    return matched


def is_locked(app: Totp) -> bool:
    """Check whether an authenticator app has had too many wrong codes in a row."""
    return app.failures >= LOCKED_AFTER


def read_digits(text: str) -> str:
    """Return the digits of an authenticator app's code, without the spaces that apps show; empty if it has another form."""
    plain = text[:CODE_BOUND].replace(" ", "")
    return plain if _DIGITS.fullmatch(plain) else ""


def read_recovery(text: str) -> str:
    """Return a recovery code in its stored spelling; empty if it has another form. Case, spaces, dashes and misread letters do not matter."""
    code = typed_codes.plain(text[:CODE_BOUND])
    return code if typed_codes.is_code(code) else ""


def base32(seed: bytes) -> str:
    """Return a seed in the form that people type into an authenticator app."""
    return base64.b32encode(seed).decode().rstrip("=")


def from_base32(text: str) -> bytes:
    """Return the seed of its base32 text."""
    return base64.b32decode(text + "=" * (-len(text) % 8))


def seed_from(secret: str) -> bytes:
    """Decode a random secret in base64url to the bytes of a seed."""
    return base64url.decode(secret)


def provisioning_uri(seed: bytes, *, site: str, account: str) -> str:
    """Return the URI that an authenticator app reads from the QR code."""
    # The key URI format: the label is "issuer:account", and the issuer comes again as a parameter.
    label = quote(f"{site}:{account}", safe="")
    query = urlencode({"secret": base32(seed), "issuer": site, "digits": CODE_DIGITS, "period": STEP_S})
    return f"otpauth://totp/{label}?{query}"


def passkey_site(origin: str, name: str) -> Site:
    """Return the relying party of a page's origin; without a host if that is an IP address. Source: WebAuthn Level 2 section 5.1.2."""
    host = urlsplit(origin).hostname or ""
    secure = origin.startswith("https://") or host == "localhost"
    return Site(origin, host if secure and not is_address(host) else "", name)


def count_is_credible(stored: int, sent: int) -> bool:
    """Check a passkey's signature counter: it grew, or the authenticator does not count. Source: WebAuthn Level 2 section 7.2 step 21."""
    return sent > stored or (sent == 0 and stored == 0)


def passkey_id(passkey: Passkey) -> str:
    """Return the short id by which pages and records refer to a passkey."""
    return hashlib.sha256(passkey.credential.encode()).hexdigest()[:16]


def passkey_name(text: str, taken: int) -> str:
    """Return the name of a new passkey as it is shown; a numbered one if none was typed. ``taken``: how many passkeys there are."""
    plain = " ".join("".join(each for each in text if each.isprintable()).split())[:PASSKEY_NAME_BOUND]
    return plain or f"Passkey {taken + 1}"
