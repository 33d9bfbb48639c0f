"""When a credential counts as unused. Pure."""

from datetime import datetime
from hashlib import sha256

from hilum.apps.clients.models import UNUSED_AFTER

_KID, _KID_KEPT = "kid:", 60


def kid_credential(kid: str) -> str:
    """Return the name under which the use of a key is kept; a ``kid`` that is long or not plain text is kept as a digest."""
    plain = len(kid) <= _KID_KEPT and kid.isascii() and kid.isprintable() and not kid.startswith("#")
    return _KID + (
        kid if plain else "#" + sha256(kid.encode("utf-8", "replace")).hexdigest()[: _KID_KEPT - 1]
    )


def kid_of(credential: str) -> str | None:
    """Return the ``kid`` of the credential of a key, or ``#`` with its digest; None for another credential."""
    return credential.removeprefix(_KID) if credential.startswith(_KID) else None


def knows_unused(recorded_since: datetime | None, now: datetime) -> bool:
    """Check whether uses have been recorded long enough to tell that a credential is unused."""
    return recorded_since is not None and recorded_since <= now - UNUSED_AFTER


def is_unused(made: datetime | None, used: datetime | None, ends: datetime | None, now: datetime) -> bool:
    """Check whether a credential that has not ended was neither made nor used within UNUSED_AFTER. Unknown means no."""
    if made is None or (ends is not None and ends <= now):
        return False
    return max(made, used or made) <= now - UNUSED_AFTER
