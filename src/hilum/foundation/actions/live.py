"""What is declared, for programs that must not import services: importing them takes five times as long as a command."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

FILE = Path(__file__).with_name("declared.json")
"""Written from the declarations (``make docs``), and compared with them by ``tests/house/test_actions.py``."""


@cache
def declared() -> Mapping[str, Any]:
    """Return the description of each noun, with its actions."""
    nouns: Mapping[str, Any] = orjson.loads(FILE.read_bytes())
    return nouns


def actions() -> list[Mapping[str, Any]]:
    """Return the description of each action."""
    return [action for noun in declared().values() for action in noun["actions"]]
