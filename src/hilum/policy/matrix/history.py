"""The rule book at a tenant at an earlier time, for explanations: computed from the applications."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix import allowances, loading, store
from hilum.policy.matrix.exception_models import PolicyException
from hilum.policy.matrix.exceptions import EXCEPTION
from hilum.policy.matrix.in_force import (
    Succession,
    as_of,
    excepted,
    exceptions_in_force,
    overridden,
    override_fault,
)
from hilum.policy.matrix.models import Application, Book
from hilum.policy.matrix.override_models import Override
from hilum.policy.matrix.overrides import OVERRIDE
from hilum.policy.matrix.rollout import in_force


@dataclass(frozen=True, slots=True)
class PolicyAt:
    """The rule book that was in force at a tenant at a time, and the overrides and exceptions of an app there.

    ``book`` is with them, as decisions were made, and ``plain`` without; None if the version can no longer be read.
    """

    application: Application
    book: Book | None
    plain: Book | None
    overrides: tuple[Override, ...] = ()
    exceptions: tuple[PolicyException, ...] = ()

    def without(self, one: Override | PolicyException) -> Book:
        """Return the book that would have been in force without an override or an exception."""
        assert self.plain is not None, "of a book that cannot be read nothing is known"
        return _with(
            self.plain,
            [each for each in self.overrides if each is not one],
            [each for each in self.exceptions if each is not one],
        )


def then(ctx: Context, tenant: TenantId, app: AppId, at: datetime) -> PolicyAt | None:
    """Return what was in force at a tenant for an app at a time; None before the first rule book."""
    # Newest first: the last application everywhere replaces every one before it.
    until = store.applications_until(ctx.tx, at)
    application = next((each for each in until if not each.tenants or tenant in each.tenants), None)
    if application is None:
        return None
    try:
        book = as_of(loading.book(ctx, application.version), at)
    except HilumError:
        return PolicyAt(application, None, None)
    live = tuple(
        each
        for each in allowances.at_a_time(ctx, OVERRIDE, app, at)
        if override_fault(each, book, tenant, at) == ""
    )
    allowed = exceptions_in_force(book, allowances.at_a_time(ctx, EXCEPTION, app, at), tenant, at)
    return PolicyAt(application, _with(book, live, allowed), book, live, allowed)


def _with(book: Book, live: Iterable[Override], allowed: Iterable[PolicyException]) -> Book:
    # In the order in which decisions do it (``PolicyFacts.book_at``).
    return overridden(excepted(book, tuple(allowed)), frozenset(each.rule for each in live))


def succession(ctx: Context, number: int) -> Succession | None:
    """Return an application by its number with what it took the place of; None without it, before the first one, or if a book cannot be read."""
    found = [each for each in store.read_applications(ctx.tx) if each.number <= number]
    if len(found) < 2 or found[-1].number != number:
        return None
    before = in_force(found[:-1])
    try:
        return Succession(
            found[-1],
            loading.book(ctx, found[-1].version),
            loading.book(ctx, before.everywhere),
            {tenant: loading.book(ctx, version) for tenant, version in before.at.items()},
        )
    except HilumError:
        return None
