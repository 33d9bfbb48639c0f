"""The rule book that applies to an app at a place and time: with ended products, observed cells and exceptions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix.exception_models import ExceptionKind, PolicyException
from hilum.policy.matrix.exceptions import excepted, exception_fault, waived
from hilum.policy.matrix.models import (
    NO_BOOK,
    STAGES_BOUND,
    TIERS,
    Application,
    Book,
    Category,
    Cell,
    CellName,
    Tier,
)
from hilum.policy.matrix.product_models import ScopeStatus


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """The rule books in force, by tenant, each with the tiers that reviewers raised. Before they are read, one that allows nothing.

    ``last`` and ``head`` are the number and digest of the last application. ``exceptions``: by app, those that had not ended when they
    were read.
    """

    everywhere: Book = NO_BOOK
    at: Mapping[TenantId, Book] = field(default_factory=dict)
    last: int = 0
    head: str = ""
    exceptions: Mapping[AppId, tuple[PolicyException, ...]] = field(default_factory=dict)

    def book_at(self, tenant: TenantId, now: datetime, app: AppId | None = None) -> Book:
        """Return the book in force at a tenant, in which the scope products whose sunset is past are retired; for an app also with its exceptions."""
        book = self.at.get(tenant, self.everywhere)
        book = as_of(book, now) if book.sunsets or book.observed_cells else book
        return self.allowing(book, tenant, now, app) if app else book

    def allowing(self, book: Book, tenant: TenantId, now: datetime, app: AppId) -> Book:
        """Return a book for an app at a tenant, with the exceptions that count under this book now."""
        exceptions = self.exceptions.get(app, ())
        return excepted(book, exceptions, tenant, now) if exceptions else book

    def waived_for(self, book: Book, app: AppId, now: datetime) -> tuple[str, ...]:
        """Return the requirements of a book's cells that are waived for an app everywhere, in order: review does not ask for them."""
        return tuple(
            sorted(
                each.path
                for each in self.exceptions.get(app, ())
                if each.kind is ExceptionKind.WAIVED_REQUIREMENT
                and exception_fault(each, book, None, now) == ""
            )
        )

    def asked_of(self, book: Book, app: AppId, now: datetime) -> Book:
        """Return a book as review applies it to an app: without the requirements waived for it everywhere."""
        return waived(book, self.waived_for(book, app, now))

    def as_of(self, now: datetime) -> "PolicyFacts":
        """Return the facts with each book as of a moment."""
        at = {tenant: as_of(book, now) for tenant, book in self.at.items()}
        return replace(self, everywhere=as_of(self.everywhere, now), at=at)

    def books(self) -> tuple[Book, ...]:
        """Return every book that is in force anywhere, the one everywhere first."""
        return tuple(dict.fromkeys((self.everywhere, *self.at.values())))


@dataclass(frozen=True, slots=True)
class Succession:
    """An application with its book, and the books that were in force before it: everywhere, and where there was another one."""

    application: Application
    after: Book
    everywhere: Book
    at: Mapping[TenantId, Book]

    def concerns(self, tenant: TenantId) -> bool:
        """Check whether the application reaches a tenant, and puts another book in force there."""
        reached = not self.application.tenants or tenant in self.application.tenants
        return reached and self.before(tenant) != self.after

    def before(self, tenant: TenantId) -> Book:
        """Return the book that was in force at a tenant before."""
        return self.at.get(tenant, self.everywhere)


def as_of(book: Book, now: datetime) -> Book:
    """Return a book in which products past their sunset are retired, and cells that are still observed are as they were.

    INVARIANT: what is observed is enforced from its day on wherever a book is read for a moment, and needs no job to be (C209).
    """
    enforced = as_enforced(book, now)
    if not book.observed_cells:
        return enforced
    begun = [each.until for _, each in book.observed_cells if _has_begun(each.until, now)]
    # A book changes only on its days.
    return observing(enforced, still_observed(book, max(begun, default=date.min)))


def coming_days(book: Book, now: datetime) -> tuple[date, ...]:
    """Return the days to come on which a book begins to enforce what it observes, in order (C209)."""
    days = {each.until for _, each in book.observed_cells}
    return tuple(sorted(day for day in days if not _has_begun(day, now)))


def enforced_from(book: Book, day: date) -> tuple[object, ...]:
    """Return the cells that a book enforces from a day on, and observes before it; equal if two books begin the same on it."""
    return tuple(
        (name, each, book.categories[name[0]].cells[name[1]])
        for name, each in book.observed_cells
        if each.until == day
    )


def _has_begun(day: date, now: datetime) -> bool:
    # As moments, so that caches of a book's results know when its next day begins.
    return datetime.combine(day, time(), UTC) <= now


@lru_cache(maxsize=STAGES_BOUND)
def still_observed(book: Book, today: date) -> frozenset[CellName]:
    """Return the cells of a book that are observed on a day and not enforced yet."""
    return frozenset(name for name, each in book.observed_cells if today < each.until)


def as_enforced(book: Book, now: datetime) -> Book:
    """Return a book as ``as_of``, but with the cells that are still observed as they will be enforced."""
    past = [day for day in book.sunsets if _has_begun(day, now)]
    return _with_retired(book, past[-1]) if past else book


@lru_cache(maxsize=STAGES_BOUND)
def observing(book: Book, cells: frozenset[CellName]) -> Book:
    """Return a book in which some observed cells are as they were; the same object each time, since what it admits is cached by it."""
    if not cells:
        return book
    return replace(book, categories={name: _as_it_was(each, cells) for name, each in book.categories.items()})


def _as_it_was(category: Category, cells: frozenset[CellName]) -> Category:
    if not any(name == category.name for name, _ in cells):
        return category
    found: dict[Tier, Cell] = {}
    lower: set[str] = set()
    for tier in TIERS:
        cell = category.cells.get(tier)
        if cell is None:
            continue
        if (category.name, tier) in cells and cell.observe is not None and cell.observe.earlier is not None:
            cell = cell.observe.earlier
            lower.update(cell.scopes)
        # A cell lists the scopes of the lower tiers, also those that a lower one is yet to lose.
        found[tier] = (
            cell if lower <= {*cell.scopes} else replace(cell, scopes=tuple(sorted({*cell.scopes, *lower})))
        )
    return replace(category, cells=found)


@lru_cache(maxsize=STAGES_BOUND)
def _with_retired(book: Book, day: date) -> Book:
    # Cached, so that a book between two sunsets is one object: what it admits is cached by it.
    ended = {
        each.name: replace(each, status=ScopeStatus.RETIRED)
        for each in book.products.values()
        if each.in_force and each.sunset is not None and each.sunset <= day
    }
    return replace(book, products={**book.products, **ended})
