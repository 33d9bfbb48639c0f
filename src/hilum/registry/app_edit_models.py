"""Edits of what a vendor says of an app: its name, description and purpose."""

from dataclasses import dataclass

TEXTS = ("name", "description", "purpose")
"""What an edit can change."""
HELD = frozenset({"name", "purpose"})
"""What people, hospitals and review agreed to: of an app that is certified for production it waits for a reviewer."""
SIDE_BOUND = 120
"""How many letters of each side the refusal of a stale edit shows."""


@dataclass(frozen=True, slots=True)
class AppEditOrder:
    """An edit of an app; None leaves a text. ``revision`` is the one that was read."""

    revision: str
    name: str | None = None
    description: str | None = None
    purpose: str | None = None
