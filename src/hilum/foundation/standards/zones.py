"""Time zones by their names. Pure.

Source: IANA Time Zone Database, theory.html#naming (area and city, as in Europe/Madrid).
"""

import re
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_NAME = re.compile(r"[A-Z][A-Za-z_]{0,30}(?:/[A-Z][A-Za-z_+-]{0,30}){1,2}")


@lru_cache(maxsize=1_000)
def zone_of(name: str) -> tzinfo | None:
    """Return the time zone with a name such as ``Europe/Madrid``; UTC for an empty name, None for an unknown one."""
    if not name:
        return UTC
    if not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return None


def zone_fault(name: str) -> str:
    """Return the error code of a zone's name; empty if it can be used."""
    return "" if zone_of(name) is not None else "zone_unknown"
