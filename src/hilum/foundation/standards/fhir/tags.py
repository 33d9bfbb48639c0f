"""The tag with the id of the request that wrote a version, by which a write whose response was lost is found.

Source: FHIR R4 resource.html#tag (servers keep tags, and tags do not change the meaning)
"""

from typing import Any

import orjson

from hilum.foundation.standards.fhir.shaping import load

REQUEST_TAG = "urn:hilum:request"


def tagged(body: bytes, request_id: str) -> bytes:
    """Add the tag to a resource, replacing an older one. Anything but a resource with a well-formed ``meta`` is returned unchanged."""
    try:
        resource = load(body)
    except ValueError:
        return body
    if not isinstance(resource, dict) or not isinstance(meta := resource.get("meta", {}), dict):
        return body
    if not isinstance(tags := meta.get("tag", []), list):
        return body
    # A client that reads a resource and writes it back sends the tag of the earlier write. Kept, it would
    # prove that the earlier request had written this version.
    others = [each for each in tags if not _is_ours(each)]
    copy = {**resource, "meta": {**meta, "tag": [*others, {"system": REQUEST_TAG, "code": request_id}]}}
    try:
        return orjson.dumps(copy)
    # A resource that cannot be tagged is sent untagged; a lost answer to it then stays "unknown" instead of being settled.
    except orjson.JSONEncodeError:
        return body


def request_of(resource: Any) -> str:
    """Return the id of the request that wrote a resource, from its tag; empty without one."""
    meta = resource.get("meta") if isinstance(resource, dict) else None
    tags = meta.get("tag") if isinstance(meta, dict) else None
    for each in tags if isinstance(tags, list) else ():
        if _is_ours(each) and isinstance(each.get("code"), str):
            return str(each["code"])
    return ""


def _is_ours(tag: object) -> bool:
    return isinstance(tag, dict) and tag.get("system") == REQUEST_TAG
