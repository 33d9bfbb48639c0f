"""How much a test tries: small counts by default, the promised ones with ``EFFORT=full``."""

import os

FULL = os.environ.get("EFFORT") == "full"


def effort(small: int, full: int) -> int:
    """Choose the count for this run."""
    return full if FULL else small
