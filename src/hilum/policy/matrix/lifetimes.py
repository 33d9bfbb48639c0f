"""Lifetimes in a document: read, write and check them. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from hilum.policy.matrix.lifetime_models import within
from hilum.policy.matrix.models import (
    ACCESS_TOKEN_BOUND,
    BACKEND_TOKEN_BOUND,
    LIFE_BOUND,
    Book,
    Cell,
    Expiry,
    Fault,
    Lifetimes,
)
from hilum.policy.matrix.tables import Table, duration_text

_REQUIRED = {
    "access_token": ACCESS_TOKEN_BOUND,
    "backend_token": BACKEND_TOKEN_BOUND,
    "refresh_token": LIFE_BOUND,
    "session_refresh_token": LIFE_BOUND,
    "authorization": LIFE_BOUND,
}
NONE = "none"
LONGEST = timedelta.max
"""Represents a missing limit in comparisons."""


def read_lifetimes(table: Table) -> Lifetimes:
    """Read lifetimes. By default newer limits do not apply, and agreements are rolling."""
    lives = {name: table.duration(name, bound) for name, bound in _REQUIRED.items()}
    idle, absolute = (_limit(table, name) for name in ("idle", "absolute"))
    expiry = Expiry(table.word("expiry", tuple(Expiry))) if table.has("expiry") else Expiry.ROLLING
    table.close()
    return Lifetimes(**lives, idle=idle, absolute=absolute, expiry=expiry)


def _limit(table: Table, name: str) -> timedelta | None:
    """Read an optional limit: missing, or ``none`` to override the base."""
    if table.raw.get(name) == NONE:
        table.skip(name)
        return None
    return table.duration(name, LIFE_BOUND) if table.has(name) else None


def rendered_lifetimes(lives: Lifetimes) -> dict[str, str]:
    """Return lifetimes for a document, omitting missing limits so that older books keep their digests."""
    written = {name: duration_text(getattr(lives, name)) for name in _REQUIRED}
    for name, limit in (("idle", lives.idle), ("absolute", lives.absolute)):
        if limit is not None:
            written[name] = duration_text(limit)
    return written if lives.expiry is Expiry.ROLLING else written | {"expiry": lives.expiry.value}


def longer_fields(below: Lifetimes, above: Lifetimes) -> Iterator[str]:
    """Yield the fields that are longer than in other lifetimes."""
    for name in (*_REQUIRED, "idle", "absolute"):
        lower, higher = getattr(below, name), getattr(above, name)
        if (LONGEST if higher is None else higher) > (LONGEST if lower is None else lower):
            yield f"lifetimes.{name}"
    if above.expiry.rank > below.expiry.rank:
        yield "lifetimes.expiry"


def lifetime_faults(book: Book) -> Iterator[Fault]:
    """Find limits shorter than an access token's life, under which an app could not refresh in time."""
    for category in book.categories.values():
        for tier, cell in category.cells.items():
            for name, limit in (("idle", cell.lifetimes.idle), ("absolute", cell.lifetimes.absolute)):
                if limit is not None and limit < cell.lifetimes.access_token:
                    path = f"categories.{category.name}.cells.{tier}.lifetimes.{name}"
                    least = duration_text(cell.lifetimes.access_token)
                    yield Fault(path, "too_short", f"It is shorter than an access token lives: {least}.")


def refreshed_for(cell: Cell) -> timedelta:
    """Return the time for which an idle app can certainly refresh: the life of a refresh token, or a shorter limit."""
    lives = cell.lifetimes
    shortest = within(within(lives.refresh_token, lives.idle), lives.absolute)
    if cell.dormant_ends:
        shortest = within(shortest, timedelta(days=cell.dormant_days))
    if lives.expiry is not Expiry.ROLLING:
        shortest = within(shortest, lives.authorization)
    if lives.expiry is Expiry.ONE_TIME:
        shortest = within(shortest, lives.access_token)
    assert shortest is not None, "a refresh token has a life"
    return shortest
