"""Which role opens which page, and what the pages say: the state of a thing, the sentences of a list. Pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from hilum.foundation.kernel import lists
from hilum.foundation.kernel.actor import ActorKind
from hilum.foundation.kernel.errors import Invalid
from hilum.identity.signin.models import Method
from hilum.surfaces.console.catalogue import developer, operations, review, tenant
from hilum.surfaces.console.models import Asked, Console, Filter, Page, State, Visitor

EXPIRING = timedelta(days=30)
"""How long before its end a thing is called expiring."""
_CURSOR = re.compile(r"[A-Za-z0-9_.@+~-]{0,1500}")
_WORD = re.compile(r"[a-z0-9_.-]{0,64}")
_KIND_OF: Mapping[Console, ActorKind] = MappingProxyType(
    {
        Console.OPERATIONS: ActorKind.STAFF,
        Console.TENANT: ActorKind.PERSON,
        Console.DEVELOPER: ActorKind.MEMBER,
        Console.REVIEW: ActorKind.STAFF,
    }
)


PAGES: Mapping[str, Page] = MappingProxyType(
    {page.key: page for of in (operations, tenant, developer, review) for page in of.PAGES}
)
"""Every page by its key. What is not here does not exist."""


def may_open(visitor: Visitor, page: Page) -> bool:
    """Check whether a person may open a page: signed in by themselves, of the console, with one of its roles. An unknown role opens nothing."""
    if not is_of(visitor, page.console):
        return False
    return not visitor.actor.roles.isdisjoint(page.roles)


def is_of(visitor: Visitor, console: Console) -> bool:
    """Check whether a person belongs at a console. A session for which an EHR vouched is for launches only (ADR 9)."""
    return visitor.actor.kind is _KIND_OF[console] and visitor.session.method is not Method.EHR


def is_of_staff(console: Console) -> bool:
    """Check whether a console is that of the platform's staff."""
    return _KIND_OF[console] is ActorKind.STAFF


def opened(visitor: Visitor, console: Console) -> tuple[Page, ...]:
    """List the pages to which a person's navigation leads."""
    of_it = (page for page in PAGES.values() if page.console is console and page.menu)
    return tuple(page for page in of_it if may_open(visitor, page))


def menus(visitor: Visitor, console: Console) -> dict[str, list[Page]]:
    """Return the entries of a person's navigation, each with its pages; it leads to the first."""
    found: dict[str, list[Page]] = {}
    for page in opened(visitor, console):
        found.setdefault(page.menu, []).append(page)
    return found


def beside(visitor: Visitor, console: Console) -> tuple[Page, ...]:
    """List the first page of each other console at which a person belongs."""
    firsts = (next(iter(opened(visitor, each)), None) for each in Console if each is not console)
    return tuple(page for page in firsts if page is not None)


def trail(page: Page) -> tuple[Page, ...]:
    """List the pages above a page, the highest first."""
    found: list[Page] = []
    while page.parent:
        page = PAGES[page.parent]
        found.insert(0, page)
    return tuple(found)


def ending(ends_at: datetime | None, now: datetime) -> State:
    """Return whether something that is approved until a moment is over, about to be, or approved."""
    if ends_at is None:
        return State.APPROVED
    if ends_at <= now:
        return State.STOPPED
    return State.EXPIRING if ends_at <= now + EXPIRING else State.APPROVED


def counted(number: int | None, bound: int, one: str, many: str) -> str:
    """Return how many there are, in words that claim no more than was counted."""
    if number is None:
        return ""
    if number > bound:
        return f"More than {bound:,} {many}"
    return lists.counted(number, one, many)


def asked(given: Mapping[str, str], filters: Iterable[Filter], orders: Iterable[str]) -> Asked:
    """Read what the address of a list asks for. Raises Invalid for a value that the list does not have."""
    kept: dict[str, str] = {}
    for each in filters:
        value = given.get(each.name, "")
        if value and value not in {option.value for option in each.options}:
            raise _malformed(each.name)
        kept[each.name] = value
    order, after, wanted = (given.get(name, "") for name in ("sort", "after", "format"))
    allowed = tuple(orders)
    if order and order not in allowed:
        raise _malformed("sort")
    if not _CURSOR.fullmatch(after):
        raise _malformed("after")
    if wanted not in {"", "csv", "json"}:
        raise _malformed("format")
    text = " ".join(given.get("q", "").split())[:200]
    if "\x00" in text:
        raise _malformed("q")
    return Asked(text, kept, order or (allowed[0] if allowed else ""), after, wanted)


def word(text: str, name: str) -> str:
    """Return a word of an address unchanged. Raises Invalid if it is malformed."""
    if not _WORD.fullmatch(text):
        raise _malformed(name)
    return text


def _malformed(name: str) -> Invalid:
    return Invalid(
        "filter_malformed", "The address of this page is not valid.", fields={name: "word_malformed"}
    )
