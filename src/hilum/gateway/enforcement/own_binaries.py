"""The Binaries that apps store: their ids, which prove whose they are, and which pointers at them a write may add. Pure.

A Binary says neither whose it is nor how sensitive, so no write may point at one (ADR 27), except at what this app stored for this
patient at this hospital. No list of those is kept: the id that the gateway chose proves it.
Source: security decisions 12 and 22; docs/adr/0027-attachments-and-addresses.md
"""

import re
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from hilum.foundation.standards.fhir.attachments import attachment_keys
from hilum.foundation.standards.fhir.visibility import subjects_of
from hilum.gateway.enforcement.attachments import Mention

Mac = Callable[[bytes], str]
"""Authenticates some bytes under a key that no app has, in at least 22 letters and digits."""
_ID = re.compile(r"(own-[0-9a-f]{24}-)([0-9a-f]{32})")
_NOT_OWN = {"contained", "extension", "modifierExtension"}
"""Attachments below these are not the record's own: they open no Binary (``standards.fhir.attachments``)."""


def new_id(secret: str, owner: tuple[str, str, str], mac: Mac) -> str:
    """Return the id of a new Binary. ``secret``: fresh randomness. ``owner``: hospital, app and patient."""
    begin = f"own-{sha256(secret.encode()).hexdigest()[:24]}-"
    return begin + _proof(begin, owner, mac)


def is_of(id_: str, owner: tuple[str, str, str], mac: Mac) -> bool:
    """Check whether the gateway chose this id for this hospital, app and patient."""
    found = _ID.fullmatch(id_)
    return found is not None and compare_digest(found[2], _proof(found[1], owner, mac))


def _proof(begin: str, owner: tuple[str, str, str], mac: Mac) -> str:
    # Lengths first, so that no two owners make one text.
    parts = "".join(f"{len(each)}:{each}" for each in (*owner, begin))
    return sha256(mac(parts.encode()).encode()).hexdigest()[:32]


def points_at_own(
    mention: Mention,
    resource: dict[str, Any],
    bases: tuple[str, ...],
    *,
    tenant: str,
    app: str,
    mac: Mac,
) -> bool:
    """Check whether a string that a write adds is the plain address, in an attachment of its own, of what the app stored for its one patient."""
    path, text = mention
    keys = attachment_keys(str(resource.get("resourceType")))
    if len(path) < 2 or path[-1] != "url" or path[-2] not in keys or not _NOT_OWN.isdisjoint(path):
        return False
    # One spelling only: what is allowed is matched literally, what is refused in any spelling.
    base = next((each for each in bases if text.startswith(each)), "")
    type_, _, id_ = text.removeprefix(base).partition("/")
    subjects = subjects_of(resource, bases)
    if type_ != "Binary" or not subjects or len(subjects) != 1:
        return False
    (patient,) = subjects
    return is_of(id_, (tenant, app, patient), mac)
