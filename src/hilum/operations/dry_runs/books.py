"""The policy in force for an app at a hospital and the one that would be, with exceptions applied. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from hilum.apps.clients.models import ClientFacts
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.operations.dry_runs.models import Effect
from hilum.operations.dry_runs.policy import effect_of
from hilum.policy.matrix.models import Book, PolicyException
from hilum.policy.matrix.policy import PolicyFacts

EVERYWHERE = TenantId("")
"""Represents the hospitals without exceptions of their own."""


@dataclass(slots=True, eq=False)
class Books:
    """The policy in force somewhere and the one that would be, with the cached effect on each client."""

    before: Book
    after: Book
    now: datetime
    effects: dict[ClientId, Effect | None] = field(default_factory=dict)

    def effect(self, facts: ClientFacts) -> Effect | None:
        """Return the effect on a client; None if there is none."""
        if facts.id not in self.effects:
            self.effects[facts.id] = effect_of(facts, self.before, self.after, self.now)
        return self.effects[facts.id]


@dataclass(slots=True)
class BooksAt:
    """The policies by hospital and app. Exceptions count as they would with each policy in force (C19, C23, C207)."""

    in_force: PolicyFacts
    candidate: Book
    now: datetime
    everywhere: Books = field(init=False)
    distinct: list[Books] = field(init=False)
    """The pairs of policies for apps without exceptions."""
    _at: dict[TenantId, Books] = field(init=False)
    _allowing: dict[tuple[AppId, TenantId], Books] = field(default_factory=dict)
    _made: dict[tuple[Book, Book], Books] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A raised tier counts under every book.
        self.candidate = replace(self.candidate, raised=self.in_force.everywhere.raised)
        self.everywhere = self._books(self.in_force.everywhere, self.candidate)
        self._at = {tenant: self._books(book, self.candidate) for tenant, book in self.in_force.at.items()}
        self.distinct = list(dict.fromkeys((self.everywhere, *self._at.values())))

    def _books(self, before: Book, after: Book) -> Books:
        # One for each pair of policies, at however many hospitals they are in force.
        return self._made.setdefault((before, after), Books(before, after, self.now))

    def exceptions(self, app: AppId) -> tuple[PolicyException, ...]:
        """Return an app's exceptions that had not ended when they were read; without raised tiers, which every policy has."""
        return tuple(each for each in self.in_force.exceptions.get(app, ()) if each.kind.loosens)

    def plain(self, tenant: TenantId) -> Books:
        """Return the policies at a hospital for an app without exceptions."""
        return self._at.get(tenant, self.everywhere)

    def at(self, tenant: TenantId, app: AppId) -> Books:
        """Return the policies at a hospital for an app."""
        return self.finder(app)(tenant)

    def finder(self, app: AppId) -> Callable[[TenantId], Books]:
        """Return a function that finds an app's policies at a hospital; prepared once for an app with a thousand places."""
        return partial(self._allowed, app) if self.exceptions(app) else self.plain

    def _allowed(self, app: AppId, tenant: TenantId) -> Books:
        found = self._allowing.get((app, tenant))
        if found is None:
            plain = self.plain(tenant)
            before, after = (
                self.in_force.allowing(book, tenant, self.now, app) for book in (plain.before, plain.after)
            )
            found = self._allowing[app, tenant] = self._books(before, after)
        return found

    def of(self, app: AppId) -> list[Books]:
        """Return the distinct policies of an app."""
        if not self.exceptions(app):
            return self.distinct
        return list(dict.fromkeys(self._allowed(app, tenant) for tenant in self._tenants(app)))

    def _tenants(self, app: AppId) -> list[TenantId]:
        own = self.own_tenants(app)
        # One hospital for each policy that is in force somewhere: elsewhere it is the same.
        others = {book: tenant for tenant, book in self.in_force.at.items() if tenant not in own}
        return [EVERYWHERE, *own, *others.values()]

    def own_tenants(self, app: AppId) -> list[TenantId]:
        """Return the hospitals with an exception for an app."""
        return sorted({each.tenant for each in self.exceptions(app) if each.tenant is not None})
