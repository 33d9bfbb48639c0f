"""Parses forms with files: multipart/form-data exactly as browsers write it; anything else is refused. Pure.

Source: RFC 7578 sections 4 and 5; RFC 2046 section 5.1.1; HTML, "multipart form data" (how browsers write names).
"""

import re
from collections.abc import Collection

from hilum.foundation.kernel.errors import Invalid

PARTS_BOUND = 64
HEAD_BOUND = 1_024
MEDIA_TYPE = "multipart/form-data"
_BOUNDARY = re.compile(
    r"""multipart/form-data\s*;\s*boundary=("?)([A-Za-z0-9'()+_,./:=?-]{1,70})\1\s*""", re.IGNORECASE
)
_DISPOSITION = re.compile(r'form-data; name="([^"]*)"(?:; filename="([^"]*)")?')
_HEADERS = frozenset({"content-disposition", "content-type"})

Fields = list[tuple[str, str]]


def split(content_type: str, body: bytes, *, files: Collection[str]) -> tuple[Fields, dict[str, bytes]]:
    """Return the fields of a form in their order, and the content of the file chosen in each field of ``files``. Raises Invalid.

    A field in which no file was chosen is left out. A file in any other field is refused, and so is a second one.
    """
    boundary = _BOUNDARY.fullmatch(content_type)
    if boundary is None:
        raise _malformed()
    # One split more than the bound: a form with too many parts then does not end in the closing boundary.
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary[2].encode(), PARTS_BOUND + 1)
    if len(pieces) < 2 or pieces[0] or pieces[-1] not in {b"--", b"--\r\n"}:
        raise _malformed()
    fields: Fields = []
    chosen: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        name, filename, content = _part(piece)
        if filename is None:
            fields.append((name, _text(content)))
        elif name not in files:
            raise _malformed()
        elif name in chosen:
            raise Invalid("form_repeated", "A field was sent twice.", fields={name[:64]: "sent_twice"})
        elif filename or content:
            chosen[name] = content
    return fields, chosen


def _part(piece: bytes) -> tuple[str, str | None, bytes]:
    """Return the name of a part, that of its file if it has one, and its content."""
    head, blank, content = piece.partition(b"\r\n\r\n")
    if not blank or not head.startswith(b"\r\n") or len(head) > HEAD_BOUND:
        raise _malformed()
    headers: dict[str, str] = {}
    for line in _text(head[2:]).split("\r\n"):
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name not in _HEADERS or name in headers:
            raise _malformed()
        headers[name] = value.strip(" \t")
    disposition = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if disposition is None:
        raise _malformed()
    return disposition[1], disposition[2], content


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed() from None


def _malformed() -> Invalid:
    return Invalid("form_malformed", f"The form is not valid {MEDIA_TYPE}.")
