"""Entity tags, which identify the version of a resource.

Source: FHIR R4 http.html#versioning; RFC 9110 section 8.8.3
"""

import re
from typing import Any

_ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]{1,100})"')


def etag_of(header: str, resource: Any) -> str:
    """Return a server's ``ETag`` header if well-formed, else the weak ETag of the resource's version; empty without either."""
    if _ETAG.fullmatch(header):
        return header
    meta = resource.get("meta") if isinstance(resource, dict) else None
    version = meta.get("versionId") if isinstance(meta, dict) else None
    # Weak, as FHIR recommends: the same version may be serialized differently (FHIR R4 http.html#versioning).
    etag = f'W/"{version}"'
    return etag if isinstance(version, str) and _ETAG.fullmatch(etag) else ""


def tag_of(etag: str) -> str:
    """Return the opaque part of an ETag; empty if it is malformed."""
    match = _ETAG.fullmatch(etag)
    return match[1] if match else ""


def matches_condition(condition: str, etag: str) -> bool:
    """Check whether an ``If-None-Match`` header matches this ETag, by weak comparison."""
    tag = tag_of(etag)
    # If-None-Match compares weakly: a client may send the tag with or without W/ (RFC 9110 section 13.1.2).
    return bool(tag) and (
        condition == "*" or any(tag_of(each.strip()) == tag for each in condition.split(","))
    )
