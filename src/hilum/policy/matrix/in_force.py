"""The rule book that applies to an app at a place and time: with ended products, overrides and exceptions. Pure."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix import requirements
from hilum.policy.matrix.exception_models import ExceptionKind, PolicyException
from hilum.policy.matrix.models import (
    NAMES_BOUND,
    NO_BOOK,
    STAGES_BOUND,
    TIERS,
    Application,
    Book,
    Category,
    Cell,
    CellName,
    Lowering,
    Tier,
    TierRule,
)
from hilum.policy.matrix.override_models import Level, Override
from hilum.policy.matrix.product_models import ScopeStatus

OVERRIDDEN_BOUND = 1_000
"""How many books without overridden rules are cached: one for each book and set of rules."""

# --- what is in force where ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """The rule books in force, by tenant. Before they are read, one that allows nothing.

    ``last`` and ``head`` are the number and digest of the last application. ``overrides``: by app, those that had not ended when they
    were read.
    """

    everywhere: Book = NO_BOOK
    at: Mapping[TenantId, Book] = field(default_factory=dict)
    last: int = 0
    head: str = ""
    overrides: Mapping[AppId, tuple[Override, ...]] = field(default_factory=dict)
    exceptions: Mapping[AppId, tuple[PolicyException, ...]] = field(default_factory=dict)

    def book_at(self, tenant: TenantId, now: datetime, app: AppId | None = None) -> Book:
        """Return the book in force at a tenant, in which the scope products whose sunset is past are retired.

        For an app also without the rules that are overridden for it there now.
        """
        book = self.at.get(tenant, self.everywhere)
        book = as_of(book, now) if book.sunsets or book.observed or book.observed_cells else book
        return self.allowing(book, tenant, now, app) if app else book

    def allowing(self, book: Book, tenant: TenantId, now: datetime, app: AppId) -> Book:
        """Return a book for an app at a tenant, with the allowances that count under this book now."""
        if exceptions := self.exceptions.get(app, ()):
            book = excepted(book, exceptions_in_force(book, exceptions, tenant, now))
        overrides = self.overrides.get(app, ())
        return overridden(book, rules_overridden(book, overrides, tenant, now)) if overrides else book

    @staticmethod
    def fault_of(
        allowed: Override | PolicyException, book: Book, tenant: TenantId | None, now: datetime
    ) -> str:
        """Return why an allowance does not apply under a book at a tenant; empty if it does."""
        if isinstance(allowed, Override):
            return override_fault(allowed, book, tenant, now)
        return exception_fault(allowed, book, tenant, now)

    @staticmethod
    def end_of(allowed: Override | PolicyException, book: Book) -> datetime:
        """Return the latest moment until which an allowance counts under a book."""
        return override_end(allowed, book) if isinstance(allowed, Override) else exception_end(allowed, book)

    def set_aside(self, book: Book, app: AppId, now: datetime) -> frozenset[str]:
        """Return the requirements of a book's cells that are set aside for an app everywhere: review does not apply them."""
        found = rules_overridden(book, self.overrides.get(app, ()), None, now)
        return frozenset(path for path in found if requirements.is_of_review(book, path))

    def asked_of(self, book: Book, app: AppId, now: datetime) -> Book:
        """Return a book as review applies it to an app: without the requirements set aside for it everywhere."""
        return requirements.without_requirements(book, self.set_aside(book, app, now))

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
    """Return a book in which products past their sunset are retired, rules still observed are advisory and cells still observed as they were.

    INVARIANT: what is observed is enforced from its day on wherever a book is read for a moment, and needs no job to be (C209).
    """
    enforced = as_enforced(book, now)
    if not book.observed and not book.observed_cells:
        return enforced
    days = {rule.observe_until for rule in book.observed} | {each.until for _, each in book.observed_cells}
    begun = [day for day in days if day is not None and _has_begun(day, now)]
    # A book changes only on its days.
    rules, cells = still_observed(book, max(begun, default=date.min))
    return observing(enforced, rules, cells)


def coming_days(book: Book, now: datetime) -> tuple[date, ...]:
    """Return the days to come on which a book begins to enforce what it observes, in order (C209)."""
    days = {rule.observe_until for rule in book.observed} | {each.until for _, each in book.observed_cells}
    return tuple(sorted(day for day in days if day is not None and not _has_begun(day, now)))


def enforced_from(book: Book, day: date) -> tuple[object, ...]:
    """Return the rules and cells that a book enforces from a day on, and observes before it; equal if two books begin the same on it."""
    rules = [rule for rule in book.observed if rule.observe_until == day]
    cells = [
        (name, each, book.categories[name[0]].cells[name[1]])
        for name, each in book.observed_cells
        if each.until == day
    ]
    return (*rules, *cells)


def _has_begun(day: date, now: datetime) -> bool:
    # As moments, so that caches of a book's results know when its next day begins.
    return datetime.combine(day, time(), UTC) <= now


@lru_cache(maxsize=STAGES_BOUND)
def still_observed(book: Book, today: date) -> tuple[frozenset[str], frozenset[CellName]]:
    """Return the rules and the cells of a book that are observed on a day and not enforced yet."""
    rules = (
        rule.name for rule in book.observed if rule.observe_until is not None and today < rule.observe_until
    )
    return frozenset(rules), frozenset(name for name, each in book.observed_cells if today < each.until)


def as_enforced(book: Book, now: datetime) -> Book:
    """Return a book as ``as_of``, but with the rules that are still observed as they will be enforced."""
    past = [day for day in book.sunsets if _has_begun(day, now)]
    return _with_retired(book, past[-1]) if past else book


@lru_cache(maxsize=STAGES_BOUND)
def observing(book: Book, rules: frozenset[str], cells: frozenset[CellName] = frozenset()) -> Book:
    """Return a book in which some rules are advisory and some observed cells as they were; the same object each time.

    The same, since what it admits is cached by it.
    """
    if not rules and not cells:
        return book
    made = (replace(each, level=Level.ADVISORY) if each.name in rules else each for each in book.tier_rules)
    categories = {name: _as_it_was(each, cells) for name, each in book.categories.items()}
    return replace(book, tier_rules=tuple(made), categories=categories)


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
    assert book.products is not None, "only products have a sunset"
    ended = {
        each.name: replace(each, status=ScopeStatus.RETIRED)
        for each in book.products.values()
        if each.in_force and each.sunset is not None and each.sunset <= day
    }
    return replace(book, products={**book.products, **ended})


# --- overrides (C207) ----------------------------------------------------------------------------------------------------------


def rules_overridden(
    book: Book, overrides: Collection[Override], tenant: TenantId | None, now: datetime
) -> frozenset[str]:
    """Return the rules of a book that some overrides of an app set aside now at a tenant; None: everywhere."""
    return frozenset(each.rule for each in overrides if override_fault(each, book, tenant, now) == "")


def override_fault(override: Override, book: Book, tenant: TenantId | None, now: datetime) -> str:
    """Return why an override sets nothing aside under a book at a tenant; empty if it does.

    INVARIANT: whatever is over, changed or not known closes to deny, and needs no job to do so.
    """
    if fault := _allowance_fault(override, override_end(override, book), tenant, now):
        return fault
    found = levelled(book, override.rule)
    if found is None or found[0] is not Level.OVERRIDABLE:
        return "not_overridable"
    return "" if found[1] == override.rule_digest else "rule_changed"


def _allowance_fault(
    allowed: Override | PolicyException, ends_at: datetime, tenant: TenantId | None, now: datetime
) -> str:
    """Return why nothing that two people allowed counts at a tenant now; empty if it may."""
    if allowed.tenant not in {None, tenant}:
        return "elsewhere"
    if allowed.ended_at is not None:
        return "ended"
    return "expired" if now >= ends_at else ""


def levelled(book: Book, name: str) -> tuple[Level, str] | None:
    """Return level and digest of a tier rule, or of a requirement of a cell by its path; None if the book has neither."""
    rule = next((each for each in book.tier_rules if each.name == name), None)
    if rule is not None:
        return rule.level, rule_digest(rule)
    requirement = requirements.find(book, name)
    return None if requirement is None else (requirement.level, requirements.digest(requirement))


def override_end(override: Override, book: Book) -> datetime:
    """Return until when an override counts: a book may allow overrides less time than the one by which it was agreed to."""
    return min(override.ends_at, override.agreed_at + book.longest_override)


@lru_cache(maxsize=NAMES_BOUND)
def rule_digest(rule: TierRule) -> str:
    """Return the digest of a tier rule: of its name, sentence, conditions and level."""
    # Without what is left out, so that a condition which a later release adds changes no digest.
    stated = {
        each.name: getattr(rule, each.name)
        for each in fields(rule)
        if getattr(rule, each.name) != each.default
    }
    plain = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in stated.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=OVERRIDDEN_BOUND)
def overridden(book: Book, rules: frozenset[str]) -> Book:
    """Return a book without some tier rules and requirements of cells; the same object each time, since what it admits is cached by it."""
    if not rules:
        return book
    kept = tuple(rule for rule in book.tier_rules if rule.name not in rules)
    # A name that is a tier rule's is nothing else.
    book = requirements.without_requirements(book, rules - {rule.name for rule in book.tier_rules})
    if len(kept) == len(book.tier_rules):
        return book
    return replace(book, tier_rules=kept, without_overrides=book)


# --- exceptions (C19, C23) -----------------------------------------------------------------------------------------------------


def exceptions_in_force(
    book: Book, exceptions: Collection[PolicyException], tenant: TenantId | None, now: datetime
) -> tuple[PolicyException, ...]:
    """Return those of some exceptions that count under a book at a tenant now; None: everywhere."""
    return tuple(each for each in exceptions if exception_fault(each, book, tenant, now) == "")


def exception_fault(exception: PolicyException, book: Book, tenant: TenantId | None, now: datetime) -> str:
    """Return why an exception does not apply under a book at a tenant; empty if it does. What it lowers is judged app by app.

    INVARIANT: whatever is over, changed or not known closes to deny, and needs no job to do so.
    """
    if fault := _allowance_fault(exception, exception_end(exception, book), tenant, now):
        return fault
    if exception.kind is ExceptionKind.AUTONOMOUS_WRITES:
        return "" if exception.tenant is not None else "elsewhere"
    if exception.tier not in set(Tier):
        return "tier_unknown"
    # Two people agreed to a tier computed by this book; nobody agreed to another book's result.
    return "" if exception.book_digest == book.digest else "book_changed"


def exception_end(exception: PolicyException, book: Book) -> datetime:
    """Return until when an exception counts: a book may allow exceptions less time than the one by which it was agreed to."""
    return min(exception.ends_at, exception.agreed_at + book.longest_exception)


@lru_cache(maxsize=OVERRIDDEN_BOUND)
def excepted(book: Book, exceptions: tuple[PolicyException, ...]) -> Book:
    """Return a book with some exceptions; the same object each time, since what it admits is cached by it."""
    if not exceptions:
        return book
    lowered = {
        each.version: Lowering(Tier(each.tier), each.category, frozenset(each.rules))
        for each in exceptions
        if each.kind is ExceptionKind.LOWERED_TIER
    }
    alone = frozenset(each.version for each in exceptions if each.kind is ExceptionKind.AUTONOMOUS_WRITES)
    return replace(book, lowered=lowered, autonomous=alone)
