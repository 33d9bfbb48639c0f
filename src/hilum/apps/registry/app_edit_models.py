"""Edits of an app's name, description, purpose and logo."""

from dataclasses import dataclass

from hilum.foundation.pictures.models import Picture

TEXTS = ("name", "description", "purpose")
EDITED = (*TEXTS, "logo")
"""What an edit can change. A logo is named by its digest."""
HELD = frozenset({"name", "purpose", "logo"})
"""Fields that people, hospitals and review agreed to: for an app certified for production their edits wait for a reviewer."""
SIDE_BOUND = 120
"""How many characters of each side the refusal of a stale edit shows."""


@dataclass(frozen=True, slots=True)
class AppEditOrder:
    """An edit of an app; None leaves a text. ``revision`` is the one that was read."""

    revision: str
    name: str | None = None
    description: str | None = None
    purpose: str | None = None
    logo: Picture | None = None
