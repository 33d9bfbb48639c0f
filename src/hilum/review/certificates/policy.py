"""What a certificate says, whether it holds, and how anybody verifies it. Pure."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import served_by
from hilum.apps.registry.models import App, AppState, AppVersion, Certification, Environment, Vendor
from hilum.apps.registry.policy import may_read_catalogue, may_see_vendor, was_reviewed
from hilum.controls.switches.models import SwitchIndex, TargetKind
from hilum.controls.switches.policy import LAUNCHES_STOPPED
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import VendorId
from hilum.policy.matrix.models import Book
from hilum.review.certificates.models import (
    ALGORITHMS,
    BITS,
    CERTIFICATE_TYPE,
    LIST_BOUND,
    LIST_LIFE,
    LIST_SIZE,
    LIST_TYPE,
    MAX_AGE,
    REMIND_BEFORE,
    Addresses,
    Cause,
    Certificate,
    Evidence,
    Status,
    Stops,
    Verdict,
)
from hilum.review.submissions.models import Document, Visibility

_WORDS = {
    Cause.WITHDRAWN: "withdrawn",
    Cause.EXPIRED: "expired",
    Cause.APP_SUSPENDED: "suspended",
    Cause.STOPPED: "stopped",
    Cause.NOT_AS_SIGNED: "not valid",
}
REVIEW, REGULATED, BY_HAND = "review", "regulated_access", "sandbox"
"""What a certificate rests on: a reviewed submission, an access that regulation protects, or a reviewer's order for sandboxes. Nobody reviewed the last two."""
IN_GRACE, SANDBOX_ONLY = "expired_in_grace", "sandbox_only"
UNKNOWN_WORDS = "state not known now"
_COLOURS = {
    Status.VALID: "#1b6e3a",
    Status.SUSPENDED: "#8a4b00",
    Status.GRACE: "#8a4b00",
    Status.INVALID: "#a3182b",
}
_GREY = "#4d5562"
_LEFT, _LETTER, _PAD = 52, 7, 10
"""Widths in a badge, in pixels: the part that names Hilum, a letter on the average, the space beside the words."""
NAME_SHOWN = 40
"""Letters of a name that a badge shows."""


# --- who sees them in the API --------------------------------------------------------------------------------------------------


def sees_only(actor: Actor) -> VendorId | None:
    """Return the vendor whose certificates alone an actor lists; None for one who lists all of them."""
    own = actor.vendor
    return own if own is not None and may_see_vendor(actor, own) else None


def may_list(actor: Actor) -> bool:
    """Check whether an actor may list certificates: whoever reads the catalogue, and vendors' members."""
    return sees_only(actor) is not None or may_read_catalogue(actor)


# --- status --------------------------------------------------------------------------------------------------------------------


def stops_in(index: SwitchIndex, now: datetime) -> Stops:
    """Return what the kill switches in force stop everywhere: launches or everything, of the platform, vendors, apps and versions."""
    found: dict[TargetKind, set[str]] = {}
    for target, switches in index.engaged.items():
        if any(each.mode in LAUNCHES_STOPPED and each.in_force(now) for each in switches):
            found.setdefault(target.kind, set()).add(target.key)

    def of(kind: TargetKind) -> frozenset[str]:
        return frozenset(found.get(kind, ()))

    return Stops(
        TargetKind.PLATFORM in found, of(TargetKind.VENDOR), of(TargetKind.APP), of(TargetKind.VERSION)
    )


def is_stopped(stops: Stops, certification: Certification, app: App) -> bool:
    return (
        stops.everything
        or app.vendor in stops.vendors
        or app.id in stops.apps
        or certification.version in stops.versions
    )


def status_of(
    certification: Certification | None,
    app: App | None,
    stops: Stops,
    now: datetime,
    grace_until: datetime | None = None,
) -> tuple[Status, Cause]:
    """Return the status of a certificate. ``certification``: None if it is missing, or cannot be read. ``grace_until``: None without a grace."""
    if certification is None or app is None:
        return Status.INVALID, Cause.NOT_AS_SIGNED
    # What is final comes first: a withdrawn or expired
    # certificate does not become valid when a switch is released.
    if certification.withdrawn_at is not None:
        return Status.INVALID, Cause.WITHDRAWN
    ended = now >= certification.expires_at
    if ended and (grace_until is None or now >= grace_until):
        return Status.INVALID, Cause.EXPIRED
    if app.state is AppState.SUSPENDED:
        return Status.SUSPENDED, Cause.APP_SUSPENDED
    if is_stopped(stops, certification, app):
        return Status.SUSPENDED, Cause.STOPPED
    return (Status.GRACE, Cause.EXPIRED) if ended else (Status.VALID, Cause.NONE)


def grace_of(certification: Certification, book: Book, clients: Iterable[ClientFacts]) -> datetime | None:
    """Return until when the clients of a certification are served after its end; None if they are not, or another one gives them as much for longer.

    By the same judgement as enforcement (``eligibility``), with the policy that is in force everywhere.
    """
    until = (
        served_by(book, each, basis)
        for each in clients
        if each.version == certification.version and each.environment is certification.environment
        for basis in each.bases
        if (basis.until, basis.scopes) == (certification.expires_at, certification.scopes)
    )
    last = max((each for each in until if each is not None), default=None)
    return last if last is not None and last > certification.expires_at else None


def gets_certificate(app: App, certification: Certification, now: datetime) -> bool:
    """Check whether a certification is in force and of an app that more than one hospital can have."""
    # What exists at one hospital only is nobody else's business.
    return app.tenant is None and certification.withdrawn_at is None and now < certification.expires_at


def next_reminder(
    expires_at: datetime, now: datetime, grace_until: datetime | None = None
) -> datetime | None:
    """Return when the next mail about the end of a certificate is due: before it, at it, or at the end of its grace; None after that."""
    moments = [*(expires_at - each for each in REMIND_BEFORE), expires_at]
    moments += [] if grace_until is None else [grace_until]
    return min((each for each in moments if each > now), default=None)


def reminder_due(remind_at: datetime, expires_at: datetime, now: datetime) -> timedelta | None:
    """Return how long before the end the mail is that is due; None if none is. Of several that were missed, the last.

    ``remind_at``: those before it were sent, or were over when the certificate was made.
    """
    due = [each for each in (*REMIND_BEFORE, timedelta(0)) if remind_at <= expires_at - each <= now]
    return min(due, default=None)


def is_over_otherwise(found: Certificate) -> bool:
    """Check whether a certificate is over for another reason than its end."""
    return found.status is Status.INVALID and found.cause is not Cause.EXPIRED


def is_replaced(found: Certificate, others: Iterable[Certificate]) -> bool:
    """Check whether another certificate of the app for production ends later, so that nobody need be reminded."""
    return any(
        each.id != found.id
        and each.environment is found.environment
        and each.status is Status.VALID
        and each.expires_at > found.expires_at
        for each in others
    )


# --- what is signed ------------------------------------------------------------------------------------------------------------


def claims_of(
    certification: Certification,
    app: App,
    vendor: Vendor,
    version: AppVersion,
    evidence: Evidence,
    *,
    number: int,
    now: datetime,
    at: Addresses,
) -> dict[str, Any]:
    """Return what a certificate says (C113). It names no hospital, and nobody who reviewed.

    Source: draft-ietf-oauth-status-list-12 section 6.2 (``status``).
    """
    return {
        "iss": at.issuer,
        "sub": certification.id,
        "iat": seconds(now),
        "nbf": seconds(certification.certified_at),
        "exp": seconds(certification.expires_at),
        "app": {"id": app.id, "name": app.name, "category": certification.category},
        "vendor": {"id": vendor.id, "name": vendor.name},
        "version": {"id": version.id, "label": version.label},
        "environment": certification.environment.value,
        "scopes": list(certification.scopes),
        "tier": None if certification.tier is None else certification.tier.value,
        "policy_version": evidence.policy_version or None,
        "basis": _basis(certification),
        "evidence": {
            "submission": {"id": evidence.submission, "sha256": evidence.submission_digest},
            "checks": {"run": evidence.run, "sha256": evidence.run_digest},
            "documents": [
                {"kind": kind, "sha256": digest} | ({"url": url} if url else {})
                for kind, digest, url in evidence.documents
            ],
        }
        if evidence.submission
        else None,
        "status": {"status_list": {"idx": number % LIST_SIZE, "uri": f"{at.status}/{number // LIST_SIZE}"}},
    }


def _basis(certification: Certification) -> str:
    if was_reviewed(certification):
        return REVIEW
    return REGULATED if certification.environment is Environment.PRODUCTION else BY_HAND


def documents_of(documents: Iterable[Document]) -> tuple[tuple[str, str, str], ...]:
    """Return kind and digest of each reviewed document, and its address if everybody may read it, else empty (C104)."""
    return tuple(
        (each.kind, each.sha256, each.url if each.visibility is Visibility.PUBLIC else "")
        for each in documents
    )


def is_as_signed(found: Certificate, text: str, keys: Mapping[str, Any]) -> bool:
    """Check whether a certificate's text is signed, and of this certification with this place in the status lists."""
    claims = _opened(text, keys, CERTIFICATE_TYPE, "certificate")
    if isinstance(claims, Verdict) or claims.get("sub") != found.id:
        return False
    listed = claims.get("status", {}).get("status_list", {})
    # The platform may have had another address when it was signed.
    named = str(listed.get("uri", "")).rpartition("/")[2]
    return (named, listed.get("idx")) == (str(found.number // LIST_SIZE), found.number % LIST_SIZE)


def list_claims(
    number: int, statuses: Mapping[int, Status], *, now: datetime, at: Addresses
) -> dict[str, Any]:
    """Return a status list. ``statuses``: by place, of those that are not valid.

    Source: draft-ietf-oauth-status-list-12 section 5.1.
    """
    return {
        "iss": at.issuer,
        "sub": f"{at.status}/{number}",
        "iat": seconds(now),
        "exp": seconds(now + LIST_LIFE),
        "ttl": int(MAX_AGE.total_seconds()),
        "status_list": {"bits": BITS, "lst": packed(statuses)},
    }


def packed(statuses: Mapping[int, Status]) -> str:
    """Return statuses by place as a compressed byte array; a place that is not listed is valid.

    Source: draft-ietf-oauth-status-list-12 section 4.1: the first status in the lowest bits of the first byte, DEFLATE in the ZLIB format, base64url.
    """
    raw = bytearray(LIST_BOUND)
    per_byte = 8 // BITS
    for place, status in statuses.items():
        raw[place // per_byte] |= status << (place % per_byte * BITS)
    return base64url.encode(zlib.compress(bytes(raw), 9))


def status_at(lst: str, bits: int, place: int) -> int | None:
    """Return the status at a place of a compressed byte array; None if it has no such place or is no such array."""
    if bits not in {1, 2, 4, 8} or place < 0:
        return None
    try:
        inflating = zlib.decompressobj()
        # Bounded: a few bytes may inflate to gigabytes.
        raw = inflating.decompress(base64url.decode(lst), LIST_BOUND)
    except (ValueError, zlib.error):
        return None
    per_byte = 8 // bits
    if place // per_byte >= len(raw):
        return None
    return raw[place // per_byte] >> (place % per_byte * bits) & ((1 << bits) - 1)


def seconds(moment: datetime) -> int:
    """Return a moment as a NumericDate. Source: RFC 7519 section 2."""
    return int(moment.timestamp())


# --- verifying -----------------------------------------------------------------------------------------------------------------


def verify(text: str, keys: Mapping[str, Any], *, now: datetime, status_list: str | None = None) -> Verdict:
    """Verify a certificate by published keys, and its status by a status list if one is given. Needs no platform (C113).

    Anything unknown makes it not valid; what holds for sandboxes only is SANDBOX_ONLY. A key that was replaced since stays in the
    published set, so what it signed verifies.
    """
    verdict = _verified(text, keys, now, status_list)
    in_force = verdict.code in {"", IN_GRACE}
    if not in_force or verdict.claims.get("environment") == Environment.PRODUCTION:
        return verdict
    detail = f"The certificate is for sandboxes only, not for use with real patients. {verdict.detail}"
    return replace(verdict, code=SANDBOX_ONLY, detail=detail)


def _verified(text: str, keys: Mapping[str, Any], now: datetime, status_list: str | None) -> Verdict:
    claims = _opened(text, keys, CERTIFICATE_TYPE, "certificate")
    if isinstance(claims, Verdict):
        return claims
    instant = seconds(now)
    begins, ends = claims.get("nbf"), claims.get("exp")
    if not isinstance(begins, int) or not isinstance(ends, int):
        return Verdict("certificate_malformed", "The certificate does not state its period of validity.")
    if instant < begins:
        return Verdict("not_yet_valid", f"The certificate is valid from {_day(begins)} on.", claims)
    if instant >= ends:
        return _expired(claims, status_list, keys, instant)
    # Not ``if not status_list``: an empty list was given, and is judged as a malformed one.
    if status_list is None:
        until = f"The signature is valid, and the certificate is valid until {_day(ends)} unless it was withdrawn."
        return Verdict("", until, claims)
    return _by_list(claims, status_list, keys, instant)


def _expired(
    claims: Mapping[str, Any], status_list: str | None, keys: Mapping[str, Any], instant: int
) -> Verdict:
    """Return that a certificate has expired, and whether hospitals may keep using the app, if a status list says so."""
    detail = f"The certificate expired on {_day(int(claims['exp']))}."
    if status_list is None:
        return Verdict("expired", detail, claims)
    listed = _by_list(claims, status_list, keys, instant)
    if listed.code != IN_GRACE:
        return Verdict("expired", detail, claims, checked=listed.checked)
    detail += " Hospitals that have installed the app may keep using it for a grace period; no other hospital may install it."
    return Verdict(IN_GRACE, detail, claims, checked=True)


def _by_list(claims: Mapping[str, Any], text: str, keys: Mapping[str, Any], instant: int) -> Verdict:
    listed = _opened(text, keys, LIST_TYPE, "status list")
    if isinstance(listed, Verdict):
        return Verdict(listed.code, listed.detail, claims)
    try:
        at, lst = claims["status"]["status_list"], listed["status_list"]
        place, uri, bits, array = at["idx"], at["uri"], lst["bits"], lst["lst"]
        begins, ends = int(listed["iat"]), int(listed["exp"])
    except (KeyError, TypeError, ValueError):
        return Verdict("status_list_malformed", "The certificate or the status list is incomplete.", claims)
    # RFC 8725 section 3.12: one list must not be taken for another.
    if listed.get("sub") != uri or listed.get("iss") != claims.get("iss"):
        detail = f"This is not the status list that the certificate names: {uri}."
        return Verdict("status_list_other", detail, claims)
    if instant >= ends:
        return Verdict(
            "status_list_old", f"The status list is of {_day(begins)}. Fetch it again: {uri}.", claims
        )
    found = status_at(array, bits, place) if isinstance(array, str) and isinstance(place, int) else None
    if found == Status.VALID:
        return Verdict(
            "",
            "The signature is valid, and the certificate was valid when the list was made.",
            claims,
            checked=True,
        )
    if found == Status.SUSPENDED:
        return Verdict("suspended", "The certificate is suspended.", claims, checked=True)
    if found == Status.GRACE:
        return Verdict(
            IN_GRACE, "The certificate has expired and is in its grace period.", claims, checked=True
        )
    if found == Status.INVALID:
        return Verdict("revoked", "The certificate was withdrawn, or has expired.", claims, checked=True)
    return Verdict(
        "status_unknown", "The status list does not contain this certificate.", claims, checked=True
    )


def _opened(text: str, keys: Mapping[str, Any], typ: str, what: str) -> Verdict | Mapping[str, Any]:
    """Return the claims of a signed document, or why they are not to be believed."""
    malformed = Verdict(f"{what.replace(' ', '_')}_malformed", f"This is not a {what}.")
    try:
        head, body, signature = text.strip().split(".")
        header = orjson.loads(base64url.decode(head))
        # One spelling only: no padding, and no bits set beyond the last byte.
        is_plain = base64url.encode(base64url.decode(signature)) == signature
    except ValueError:
        return malformed
    if not isinstance(header, dict) or not is_plain:
        return malformed
    # Before any key is looked at: what was signed for another use must not pass (RFC 8725 section 3.11).
    if header.get("typ") != typ or header.get("alg") not in ALGORITHMS or "crit" in header:
        return Verdict("type_wrong", f"This is not signed as a {what} of this platform.")
    key = _key(keys, header.get("kid"))
    if key is None:
        detail = "The key that signed this is not in the key set. Fetch it again from the issuer."
        return Verdict("key_unknown", detail)
    try:
        key.verify(base64url.decode(signature), f"{head}.{body}".encode())
        claims = orjson.loads(base64url.decode(body))
    except (InvalidSignature, ValueError):
        return Verdict("signature_invalid", f"The {what} was changed, or was not signed by this issuer.")
    return claims if isinstance(claims, dict) else malformed


def _key(keys: Mapping[str, Any], kid: object) -> Ed25519PublicKey | None:
    found: Any = keys.get("keys")
    for each in found if isinstance(found, list) else ():
        if not isinstance(each, dict) or each.get("kid") != kid or not kid:
            continue
        if each.get("kty") == "OKP" and each.get("crv") == "Ed25519" and isinstance(each.get("x"), str):
            try:
                return Ed25519PublicKey.from_public_bytes(base64url.decode(each["x"]))
            except ValueError:
                return None
    return None


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d")


# --- the badge -----------------------------------------------------------------------------------------------------------------


def current(certificates: Iterable[Certificate]) -> Certificate | None:
    """Return the certificate that represents an app: the best status first, then the newest."""
    order = {Status.VALID: 3, Status.GRACE: 2, Status.SUSPENDED: 1, Status.INVALID: 0}
    return max(certificates, key=lambda each: (order[each.status], each.number), default=None)


def is_of_review(text: str) -> bool:
    """Check whether the text of a certificate, which is known to be this platform's, says that it rests on a review."""
    try:
        claims = orjson.loads(base64url.decode(text.split(".")[1]))
    except (IndexError, ValueError):
        return False
    return isinstance(claims, dict) and claims.get("basis", REVIEW) == REVIEW


def said(found: Certificate | None, *, known: bool, now: datetime, reviewed: bool = True) -> str:
    """Return the state of a certificate in words, for a badge."""
    if found is None:
        return "no certificate"
    name = found.app_name if len(found.app_name) <= NAME_SHOWN else f"{found.app_name[: NAME_SHOWN - 1]}…"
    label = found.label if len(found.label) <= NAME_SHOWN else f"{found.label[: NAME_SHOWN - 1]}…"
    what = f"{name} {label}: "
    grace_until = _grace_end(found, now)
    # It has certainly ended. Whether hospitals may keep using it is unknown while its state is.
    if now >= found.expires_at and (grace_until is None or not known):
        return what + _WORDS[Cause.EXPIRED]
    if grace_until is not None:
        return f"{what}expired, in grace until {grace_until:%Y-%m-%d}"
    if not known:
        return what + UNKNOWN_WORDS
    if found.status is not Status.VALID:
        return what + _WORDS.get(found.cause, "not valid")
    if found.environment is not Environment.PRODUCTION:
        certified = "for sandboxes only"
    else:
        certified = "certified" if reviewed else "regulated access"
    return f"{what}{certified} until {found.expires_at:%Y-%m-%d}"


def _grace_end(found: Certificate, now: datetime) -> datetime | None:
    """Return until when a certificate is in its grace; None if it is in none."""
    in_grace = found.status is Status.GRACE and found.grace_until is not None and now < found.grace_until
    return found.grace_until if in_grace else None


def _status_now(found: Certificate, now: datetime) -> Status:
    """Return the status of a certificate now, which may have ended since its status was judged."""
    if now < found.expires_at:
        return found.status
    return Status.INVALID if _grace_end(found, now) is None else Status.GRACE


def badge(found: Certificate | None, *, known: bool, now: datetime, reviewed: bool = True) -> str:
    """Return an SVG that says the state of a certificate in words, not by colour alone; names in it are escaped."""
    text = "".join(
        each for each in said(found, known=known, now=now, reviewed=reviewed) if each.isprintable()
    )
    colour = _GREY
    if found is not None and known and reviewed and found.environment is Environment.PRODUCTION:
        colour = _COLOURS[_status_now(found, now)]
    width = len(text) * _LETTER + 2 * _PAD
    words = escape(text, {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + _LEFT}" height="24" role="img" aria-label="Hilum: {words}">'
        f"<title>Hilum: {words}</title>"
        f'<rect width="{_LEFT}" height="24" fill="#1d2430"/><rect x="{_LEFT}" width="{width}" height="24" fill="{colour}"/>'
        '<g fill="#ffffff" font-family="Verdana, Geneva, sans-serif" font-size="12">'
        f'<text x="9" y="16">Hilum</text><text x="{_LEFT + _PAD}" y="16" textLength="{width - 2 * _PAD}" '
        f'lengthAdjust="spacingAndGlyphs">{words}</text></g></svg>'
    )
