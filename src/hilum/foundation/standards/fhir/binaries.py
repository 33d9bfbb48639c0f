"""A Binary that an app may store: its bytes, their type and whose they are.

Source: FHIR R4 binary.html
"""

import base64
import re
from typing import Any

_OF_BINARY = {"resourceType", "id", "contentType", "securityContext", "data"}
_MEDIA = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}")


def binary_fault(binary: dict[str, Any]) -> str:
    """Return why an app may not store this Binary; empty if it may. Its id is ignored, since the server assigns it.

    Source: FHIR R4 binary.html; datatypes.html#base64Binary (here without white space)
    """
    if strange := sorted(binary.keys() - _OF_BINARY):
        return f"A Binary that an app stores has no {strange[0][:40]!r}: only contentType, securityContext and data."
    media, data = binary.get("contentType"), binary.get("data")
    if not isinstance(media, str) or not _MEDIA.fullmatch(media):
        return "A Binary needs its contentType, such as application/pdf."
    try:
        content = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except ValueError:
        content = b""
    return "" if content else "A Binary needs its content as data: base64 without white space."
