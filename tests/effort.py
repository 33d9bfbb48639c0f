"""How much a test tries: small counts by default, the promised ones with ``EFFORT=full``; and how much work something takes."""

import os
import sys
from collections.abc import Callable

FULL = os.environ.get("EFFORT") == "full"


def effort(small: int, full: int) -> int:
    """Choose the count for this run."""
    return full if FULL else small


def calls_of(verb: Callable[[], object]) -> int:
    """Count the calls of functions that something takes, which is the same on every machine."""
    calls, before = 0, sys.getprofile()

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        verb()
    finally:
        sys.setprofile(before)
    return calls
