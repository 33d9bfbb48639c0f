"""Values that pages are made of: who looks at them, and lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import NotPermitted
from hilum.identity.people.models import Person
from hilum.identity.signin.models import Session

ROWS = 50
"""Rows of a page of a list."""
EXPORT_BOUND = 5_000
"""Rows of a list that are exported at once."""
QUERY_BOUND = 200
"""Characters of a text that is searched for."""
FOUND_BOUND = 10
"""Things of each kind that a search shows."""
REFUSALS_READ = 1_000
"""Newest refusals that are counted by reason."""
STREAM_LIFE_S = 1_800.0
STREAM_LOOK_S = 0.5
STREAM_TICK_S = 10.0
"""After so long a page is read again, although nothing was announced: what is counted moves by itself."""
STREAMS_BOUND = 64
STREAMS_PER_PERSON = 6


class Console(StrEnum):
    """One console."""

    OPERATIONS = "operations"
    TENANT = "tenant"
    DEVELOPER = "developer"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a console: its address, the question that it answers, and the roles that open it.

    ``parent`` is the page it is part of, ``menu`` the entry of the navigation that leads to it, if one does.
    """

    key: str
    console: Console
    path: str
    title: str
    question: str
    roles: frozenset[str]
    parent: str = ""
    menu: str = ""


class SignInFirst(NotPermitted):
    """Nobody is signed in who could open the page."""

    def __init__(self) -> None:
        super().__init__(
            "not_authenticated", "Your session has ended, or you have not signed in. Nothing was done."
        )


class NotForYou(NotPermitted):
    """The person is signed in, and the page is for others."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page, and from where: ``place`` is the name of their hospital or vendor."""

    session: Session
    person: Person
    actor: Actor
    place: str
    waiting: int = 0
    """What waits for them as the second person."""

    @property
    def role(self) -> str:
        return self.person.role


class State(StrEnum):
    """The state of a thing, the same word and colour on every page."""

    DRAFT = "draft"
    WAITING = "waiting for you"
    IN_REVIEW = "in review"
    APPROVED = "approved"
    EXPIRING = "expiring"
    STOPPED = "stopped"


KINDS: Mapping[State, str] = {
    State.DRAFT: "plain",
    State.WAITING: "accent",
    State.IN_REVIEW: "info",
    State.APPROVED: "good",
    State.EXPIRING: "warn",
    State.STOPPED: "bad",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a list. ``href`` opens it; ``kind`` is badge, moment, number, code or empty; ``tone`` the colour of a badge."""

    text: str
    href: str = ""
    note: str = ""
    kind: str = ""
    tone: str = "plain"
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list. ``order`` is the word that sorts by it, empty if it does not."""

    title: str
    order: str = ""
    number: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """A choice of a filter: what the address says for it, and what the page says."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter in the address. ``unset``: what a list without it shows."""

    name: str
    title: str
    options: tuple[Option, ...]
    unset: str = "All"


@dataclass(frozen=True, slots=True)
class Empty:
    """What an empty list says: that it is, and the next step. ``href`` is where that step begins."""

    title: str
    next_step: str
    href: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of a list asks for: a text, filters by name, an order, a place to continue from, a format.

    ``within``: what else is in the address, such as whose records they are; each link of the list keeps it.
    """

    text: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    order: str = ""
    after: str = ""
    format: str = ""
    within: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.filters.get(name, "")


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list shows: rows of cells, how many there are in all (more than ``counted`` if above; None: unknown), where the next page begins."""

    rows: Sequence[Sequence[Cell]]
    total: int | None = None
    counted: int = 1_000
    next: str = ""
    records: Sequence[Mapping[str, Any]] = ()
    """What a file has in place of the rows: every field of what they show."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One line of a timeline: who did what, when, and why."""

    at: datetime
    what: str
    who: str
    why: str = ""
    tone: str = "plain"
    facts: Mapping[str, Any] = field(default_factory=dict)
