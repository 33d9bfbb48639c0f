"""Edits of what a vendor says and shows of an app: its name, description, purpose and logo."""

from dataclasses import dataclass

from hilum.pictures.models import Picture

TEXTS = ("name", "description", "purpose")
EDITED = (*TEXTS, "logo")
"""What an edit can change. A logo is named by its digest."""
HELD = frozenset({"name", "purpose", "logo"})
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
    logo: Picture | None = None
