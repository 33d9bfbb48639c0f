"""Values of the guides."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guide:
    """A guide as it is shown. ``sections`` are (anchor, text) of its second-level headings; ``body`` is HTML without the title."""

    name: str
    title: str
    lead: str
    sections: tuple[tuple[str, str], ...]
    anchors: frozenset[str]
    body: str


@dataclass(frozen=True, slots=True)
class Library:
    """All guides by name, in the order of the index."""

    guides: Mapping[str, Guide]
