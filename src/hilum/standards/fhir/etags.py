"""Entity tags: which version of a record an answer shows.

Source: FHIR R4 http.html#versioning; RFC 9110 section 8.8.3
"""

import re
from typing import Any

_ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]{1,100})"')


def etag_of(told: str, resource: Any) -> str:
    """Return the ETag that a server told, else the one that the resource's version makes; empty where there is neither."""
    if _ETAG.fullmatch(told):
        return told
    meta = resource.get("meta") if isinstance(resource, dict) else None
    version = meta.get("versionId") if isinstance(meta, dict) else None
    made = f'W/"{version}"'
    return made if isinstance(version, str) and _ETAG.fullmatch(made) else ""


def tag_of(etag: str) -> str:
    """Take the opaque part out of an ETag; empty for what is none."""
    found = _ETAG.fullmatch(etag)
    return found[1] if found else ""


def is_known(condition: str, etag: str) -> bool:
    """Return whether an If-None-Match names this ETag."""
    tag = tag_of(etag)
    return bool(tag) and (
        condition == "*" or any(tag_of(each.strip()) == tag for each in condition.split(","))
    )
