"""The policy that applies to an app at a place and time: with ended products, observed entries and exceptions. Pure."""

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
    CellName,
    PolicyEntry,
    Tier,
)
from hilum.policy.matrix.product_models import ScopeStatus


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """The policies in force, by tenant, each with the tiers that reviewers raised. Before they are read, one that allows nothing.

    ``last`` and ``head`` are the number and digest of the last application. ``exceptions``: by app, those that had not ended when they
    were read.
    """

    everywhere: Book = NO_BOOK
    at: Mapping[TenantId, Book] = field(default_factory=dict)
    last: int = 0
    head: str = ""
    exceptions: Mapping[AppId, tuple[PolicyException, ...]] = field(default_factory=dict)

    def book_at(self, tenant: TenantId, now: datetime, app: AppId | None = None) -> Book:
        """Return the policy in force at a tenant, in which the scope products whose sunset is past are retired; for an app also with its exceptions."""
        book = self.at.get(tenant, self.everywhere)
        book = as_of(book, now) if book.sunsets or book.observed_entries else book
        return self.allowing(book, tenant, now, app) if app else book

    def allowing(self, book: Book, tenant: TenantId, now: datetime, app: AppId) -> Book:
        """Return a policy for an app at a tenant, with the exceptions that count under this policy now."""
        exceptions = self.exceptions.get(app, ())
        return excepted(book, exceptions, tenant, now) if exceptions else book

    def waived_for(self, book: Book, app: AppId, now: datetime) -> tuple[str, ...]:
        """Return the requirements of a policy's entries that are waived for an app everywhere, in order: review does not ask for them."""
        return tuple(
            sorted(
                each.path
                for each in self.exceptions.get(app, ())
                if each.kind is ExceptionKind.WAIVED_REQUIREMENT
                and exception_fault(each, book, None, now) == ""
            )
        )

    def asked_of(self, book: Book, app: AppId, now: datetime) -> Book:
        """Return a policy as review applies it to an app: without the requirements waived for it everywhere."""
        return waived(book, self.waived_for(book, app, now))

    def as_of(self, now: datetime) -> "PolicyFacts":
        """Return the facts with each policy as of a moment."""
        at = {tenant: as_of(book, now) for tenant, book in self.at.items()}
        return replace(self, everywhere=as_of(self.everywhere, now), at=at)

    def books(self) -> tuple[Book, ...]:
        """Return every policy that is in force anywhere, the one everywhere first."""
        return tuple(dict.fromkeys((self.everywhere, *self.at.values())))


@dataclass(frozen=True, slots=True)
class Succession:
    """An application with its policy, and the policies that were in force before it: everywhere, and where there was another one."""

    application: Application
    after: Book
    everywhere: Book
    at: Mapping[TenantId, Book]

    def concerns(self, tenant: TenantId) -> bool:
        """Check whether the application reaches a tenant, and puts another policy in force there."""
        reached = not self.application.tenants or tenant in self.application.tenants
        return reached and self.before(tenant) != self.after

    def before(self, tenant: TenantId) -> Book:
        """Return the policy that was in force at a tenant before."""
        return self.at.get(tenant, self.everywhere)


def as_of(book: Book, now: datetime) -> Book:
    """Return a policy in which products past their sunset are retired, and entries that are still observed are as they were.

    INVARIANT: what is observed is enforced from its day on wherever a policy is read for a moment, and needs no job to be (C209).
    """
    enforced = as_enforced(book, now)
    if not book.observed_entries:
        return enforced
    begun = [each.until for _, each in book.observed_entries if _has_begun(each.until, now)]
    # A policy changes only on its days.
    return observing(enforced, still_observed(book, max(begun, default=date.min)))


def coming_days(book: Book, now: datetime) -> tuple[date, ...]:
    """Return the days to come on which a policy begins to enforce what it observes, in order (C209)."""
    days = {each.until for _, each in book.observed_entries}
    return tuple(sorted(day for day in days if not _has_begun(day, now)))


def enforced_from(book: Book, day: date) -> tuple[object, ...]:
    """Return the entries that a policy enforces from a day on, and observes before it; equal if two policies begin the same on it."""
    return tuple(
        (name, each, book.categories[name[0]].entries[name[1]])
        for name, each in book.observed_entries
        if each.until == day
    )


def _has_begun(day: date, now: datetime) -> bool:
    # As moments, so that caches of a policy's results know when its next day begins.
    return datetime.combine(day, time(), UTC) <= now


@lru_cache(maxsize=STAGES_BOUND)
def still_observed(book: Book, today: date) -> frozenset[CellName]:
    """Return the entries of a policy that are observed on a day and not enforced yet."""
    return frozenset(name for name, each in book.observed_entries if today < each.until)


def as_enforced(book: Book, now: datetime) -> Book:
    """Return a policy as ``as_of``, but with the entries that are still observed as they will be enforced."""
    past = [day for day in book.sunsets if _has_begun(day, now)]
    return _with_retired(book, past[-1]) if past else book


@lru_cache(maxsize=STAGES_BOUND)
def observing(book: Book, entries: frozenset[CellName]) -> Book:
    """Return a policy in which some observed entries are as they were; the same object each time, since what it admits is cached by it."""
    if not entries:
        return book
    return replace(
        book, categories={name: _as_it_was(each, entries) for name, each in book.categories.items()}
    )


def _as_it_was(category: Category, entries: frozenset[CellName]) -> Category:
    if not any(name == category.name for name, _ in entries):
        return category
    found: dict[Tier, PolicyEntry] = {}
    lower: set[str] = set()
    for tier in TIERS:
        entry = category.entries.get(tier)
        if entry is None:
            continue
        if (
            (category.name, tier) in entries
            and entry.observe is not None
            and entry.observe.earlier is not None
        ):
            entry = entry.observe.earlier
            lower.update(entry.scopes)
        # An entry lists the scopes of the lower tiers, also those that a lower one is yet to lose.
        found[tier] = (
            entry
            if lower <= {*entry.scopes}
            else replace(entry, scopes=tuple(sorted({*entry.scopes, *lower})))
        )
    return replace(category, entries=found)


@lru_cache(maxsize=STAGES_BOUND)
def _with_retired(book: Book, day: date) -> Book:
    # Cached, so that a policy between two sunsets is one object: what it admits is cached by it.
    ended = {
        each.name: replace(each, status=ScopeStatus.RETIRED)
        for each in book.products.values()
        if each.in_force and each.sunset is not None and each.sunset <= day
    }
    return replace(book, products={**book.products, **ended})
