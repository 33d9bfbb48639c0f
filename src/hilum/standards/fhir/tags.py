"""The tag that says which request wrote a version of a resource, so that a write whose answer was lost can be found again.

Source: FHIR R4 resource.html#tag (tags are kept by servers and change nothing of the meaning)
"""

from typing import Any

import orjson

from hilum.standards.fhir.shaping import load

REQUEST_TAG = "urn:hilum:request"


def tagged(body: bytes, request_id: str) -> bytes:
    """Write the tag into a resource, in the place of any older one. What is no resource with a well-formed ``meta`` stays as it is."""
    try:
        resource = load(body)
    except ValueError:
        return body
    if not isinstance(resource, dict) or not isinstance(meta := resource.get("meta", {}), dict):
        return body
    if not isinstance(tags := meta.get("tag", []), list):
        return body
    others = [each for each in tags if not _is_ours(each)]
    made = {**resource, "meta": {**meta, "tag": [*others, {"system": REQUEST_TAG, "code": request_id}]}}
    try:
        return orjson.dumps(made)
    except orjson.JSONEncodeError:
        return body


def request_of(resource: Any) -> str:
    """Return the request that wrote a resource, by its tag; empty where there is none."""
    meta = resource.get("meta") if isinstance(resource, dict) else None
    tags = meta.get("tag") if isinstance(meta, dict) else None
    for each in tags if isinstance(tags, list) else ():
        if _is_ours(each) and isinstance(each.get("code"), str):
            return str(each["code"])
    return ""


def _is_ours(tag: object) -> bool:
    return isinstance(tag, dict) and tag.get("system") == REQUEST_TAG
