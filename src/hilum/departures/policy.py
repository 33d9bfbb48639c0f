"""Who may let a hospital leave, what its erasure waits for, and the signed documents. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hilum.approvals.policy import may_decide
from hilum.departures.fates import ELSEWHERE, FATES
from hilum.departures.models import (
    ERASE_AFTER_MAX,
    ERASE_AFTER_MIN,
    REASON_BOUND,
    Departure,
    ErasureAction,
    Recorded,
    State,
    Waits,
)
from hilum.kernel import base64url
from hilum.kernel.actor import Actor
from hilum.kernel.ids import TenantId
from hilum.kernel.limits import out_of_range

EXPORT, PROOF = "hilum export v1", "hilum erasure proof v1"
"""The formats of the two signed documents, and the first line of what is signed of each."""
NO_ROWS = sha256(b"").hexdigest()


def may_ask(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may be one of the two people: an administrator of the hospital or of the platform."""
    # The host never counts as the first person, or one person with a shell could end a hospital.
    return not actor.acts_alone and may_decide(actor, tenant)


def ask_faults(reason: str, days: int) -> dict[str, str]:
    """Return the faults of a requested departure, by field."""
    faults = {}
    if not reason.strip() or len(reason) > REASON_BOUND:
        faults["reason"] = "reason_malformed"
    if not ERASE_AFTER_MIN <= days <= ERASE_AFTER_MAX:
        faults["erase_after_days"] = out_of_range(ERASE_AFTER_MIN, ERASE_AFTER_MAX, "days")
    return faults


def waits_for(found: Departure, recorded: Recorded, holds: Collection[str], now: datetime) -> Waits:
    """Return what the erasure waits for; a hold wins over a day that has come, and over an erasure that has begun.

    The row alone is not trusted: whoever writes to the database could claim that the day has come, or that an export exists.
    """
    if found.state is State.ERASED:
        return Waits.NOTHING
    if recorded.erase_at is None:
        return Waits.RECORD
    if found.exported_at is None:
        return Waits.EXPORT
    if found.export.get("manifest") not in recorded.exports:
        return Waits.RECORD
    if now < found.erase_at:
        return Waits.DATE
    if now < recorded.erase_at:
        return Waits.RECORD
    return Waits.HOLD if holds else Waits.NOTHING


def added(digest: str, rows: Iterable[bytes]) -> str:
    """Return the digest of the rows of a table, after more of them."""
    for row in rows:
        digest = sha256(digest.encode() + row).hexdigest()
    return digest


def proof(found: Departure, *, now: datetime, checkpoint: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the erasure proof that is signed: what was erased, what stays and why."""
    counts = found.progress.get("counts", {})
    done = [
        {
            "table": each.table,
            "what": each.why,
            "deed": each.deed.value,
            "rows": counts.get(each.table, {}).get("rows", 0),
            "digest": counts.get(each.table, {}).get("digest", NO_ROWS),
        }
        for each in FATES
        if each.deed is not ErasureAction.KEEP
    ]
    stays = [{"what": each.table, "why": each.why} for each in FATES if each.deed is ErasureAction.KEEP]
    return {
        "format": PROOF,
        "departure": found.id,
        "tenant": found.tenant,
        "name": found.name,
        "asked_by": found.asked_by,
        "agreed_by": found.agreed_by,
        "left_at": found.left_at.isoformat(),
        "erase_at": found.erase_at.isoformat(),
        "erased_at": now.isoformat(),
        "had": dict(found.preview),
        "export": dict(found.export),
        "erased": done,
        "stays": stays + [{"what": what, "why": why} for what, why in ELSEWHERE],
        "checkpoint": dict(checkpoint),
        "key": key,
    }


def signed_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the signed bytes of an export's manifest or a proof."""
    # The key signs checkpoints and reports too: the first line tells them apart.
    first = str(document.get("format", "")).encode()
    return first + b"\n" + orjson.dumps(dict(document), option=orjson.OPT_SORT_KEYS)


def check_signed(signed: Mapping[str, Any], *, key: str = "") -> str:
    """Return why a signed document is not valid; empty if it is. ``key``: the public key that must have signed it; by default the one in it."""
    document, signature = signed.get("document"), signed.get("signature")
    if not isinstance(document, dict) or not isinstance(signature, str):
        return "it has no document or no signature"
    if document.get("format") not in {EXPORT, PROOF}:
        return "it is neither an export nor an erasure proof"
    stated = str(document.get("key", ""))
    if key and key != stated:
        return "it was signed by another key than the one that was named"
    try:
        Ed25519PublicKey.from_public_bytes(base64url.decode(stated)).verify(
            base64url.decode(signature), signed_bytes(document)
        )
    except (InvalidSignature, ValueError):
        return "its signature is not that of its key"
    return ""
