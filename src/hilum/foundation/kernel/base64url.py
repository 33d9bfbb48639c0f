"""base64url without padding. Source: RFC 4648 section 5, RFC 7515 section 2."""

import base64


def encode(raw: bytes) -> str:
    """Return bytes as text."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of a text. Raises ValueError for characters and lengths that no bytes have."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
