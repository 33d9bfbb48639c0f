"""What is declared: arguments and their types, nouns, actions. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, StringConstraints

from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.events import Event
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import Sorts

PROSE_BOUND = 2_000
KEY_BOUND = 255
"""Characters of a key under which a creation is sent."""
KEYS_KEPT = timedelta(hours=24)
"""How long the same key creates nothing again."""
PURGE_BATCH = 1_000


class Effect(StrEnum):
    """What an action does to what is allowed. One that widens it needs a fresh second factor and the version that was seen."""

    READS = "reads"
    CHANGES = "changes"
    NARROWS = "narrows"
    WIDENS = "widens"


@dataclass(frozen=True, slots=True)
class Arg:
    """How people read and type an argument.

    ``names``: the kind of thing whose id it is, which people may name. ``listed_by``: the command that lists what can be named. ``placed``:
    the command takes it without an option. ``target``: the id of the record that the action is done to. ``own``: without it, the actor's
    own hospital. ``area``: several lines. ``document``: the SHA-256 of a file, which a command computes. ``default``: on surfaces, where the function itself has none.
    """

    help: str
    example: str = ""
    label: str = ""
    names: str = ""
    listed_by: str = ""
    placed: bool = False
    target: bool = False
    own: bool = False
    area: bool = False
    document: bool = False
    default: Any = None


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of the range of UTC times") from None


ID = StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
LINE = StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=200)
WORD = StringConstraints(pattern=r"^[\x21-\x7e]*$", max_length=1_000)
PROSE = StringConstraints(pattern=r"^[^\x00]*$", max_length=PROSE_BOUND)
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
OwnTenant = Annotated[
    TenantId, ID, Arg("The hospital; by default, your own.", "mercy", names="tenant", own=True)
]
OneTenant = Annotated[str, ID, Arg("Only those of one hospital.", names="tenant")]


Reason = Annotated[str, PROSE, Arg("Why; it is recorded.", '"no longer needed"', label="Why", area=True)]


@dataclass(frozen=True, slots=True)
class Shows:
    """A field of a record in tables and lists of facts. ``kind``: in place of its type. ``note``: the field that stands below it."""

    name: str
    label: str
    note: str = ""
    kind: str = ""
    wide: bool = False


Sentence = str | Callable[[Any, datetime], str]
"""A sentence, or a function of a record and the time that returns one. ``{name}`` stands for a field as the reader sees it."""
When = Callable[[Actor, Any, datetime], bool]


@dataclass(frozen=True, slots=True)
class Noun:
    """What actions are about, said once for all of them and all surfaces.

    ``load(ctx, id, lock=)`` reads a record that the actor may see, or raises NotFound. ``about(action, subject)`` builds the event of an
    action from a record, from an order, or from None where there is neither. ``derived``: fields that depend on the time. ``hidden``: fields
    that no surface shows. ``badge``: the state in words, with its colour, for a reader. ``notices``: titles and sentences of what readers
    are warned about.
    """

    name: str
    module: str
    record: type
    load: Callable[..., Any]
    about: Callable[[str, Any], Event]
    title: Sentence = "{id}"
    help: str = ""
    lead: str = ""
    columns: tuple[Shows, ...] = ()
    facts: tuple[Shows, ...] = ()
    derived: Mapping[str, Callable[[Any, datetime], Any]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    badge: Callable[[Actor, Any, datetime], tuple[str, str]] | None = None
    notices: Callable[[Any, datetime], Sequence[tuple[str, str]]] = lambda _record, _now: ()
    plural: str = ""

    @property
    def many(self) -> str:
        return self.plural or f"{self.name}s"


@dataclass(frozen=True, slots=True)
class Action:
    """One declared action. ``run`` is the function, which judges and records."""

    noun: Noun
    verb: str
    run: Callable[..., Any]
    who: tuple[str, ...]
    effect: Effect
    creates: bool = False
    step_up: bool = False
    past: str = ""
    button: str = ""
    asks: str = ""
    consequence: Sentence = ""
    more: str = ""
    when: When | None = None
    sorts: Sorts | None = None

    @property
    def reads(self) -> bool:
        return self.effect is Effect.READS

    @property
    def code(self) -> str:
        """The action as the audit names it."""
        return f"{self.noun.module}.{self.noun.name}.{self.verb}"

    @property
    def summary(self) -> str:
        return (self.run.__doc__ or "").partition("\n")[0].strip()


@dataclass(frozen=True, slots=True)
class Input:
    """An argument as a surface sees it. ``kind``: text, area, choice, document, flag, moment, integer or list."""

    name: str
    kind: str
    required: bool
    arg: Arg
    choices: tuple[str, ...] = ()
    longest: int = 0

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The choices with their words, for a form."""
        return [(choice, choice.replace("_", " ")) for choice in self.choices]

    @property
    def label(self) -> str:
        return self.arg.label or self.name.replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True)
class Creation:
    """A creation that was sent under a key. ``id``: a digest of the actor, the action and the key; ``digest``: of the arguments."""

    id: str
    digest: str
    at: datetime
    record: str = ""
    """The id of what it created."""


class Denied(NotPermitted):
    """A rule refuses an action. ``subject`` is the record or order of the event that its declaration records."""

    def __init__(self, subject: Any, code: str = "not_permitted", detail: str = "") -> None:
        super().__init__(code, detail)
        self.subject = subject
