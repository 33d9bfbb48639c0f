"""The policy at a tenant at an earlier time, for explanations: computed from the applications."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix import loading, store
from hilum.policy.matrix.exception_models import PolicyException
from hilum.policy.matrix.exception_service import exceptions_at
from hilum.policy.matrix.exceptions import excepted, exception_fault, raises_of
from hilum.policy.matrix.in_force import Succession, as_of
from hilum.policy.matrix.models import Application, Book
from hilum.policy.matrix.rollout import in_force


@dataclass(frozen=True, slots=True)
class PolicyAt:
    """The policy that was in force at a tenant at a time, and the exceptions of an app there.

    ``book`` is with them, as decisions were made; None if the version can no longer be read.
    """

    application: Application
    book: Book | None
    tenant: TenantId
    at: datetime
    plain: Book | None = None
    exceptions: tuple[PolicyException, ...] = ()

    def without(self, one: PolicyException) -> Book:
        """Return the policy that would have been in force without an exception."""
        assert self.plain is not None, "of a policy that cannot be read nothing is known"
        return _with(self.plain, [each for each in self.exceptions if each is not one], self.tenant, self.at)


def then(ctx: Context, tenant: TenantId, app: AppId, at: datetime) -> PolicyAt | None:
    """Return what was in force at a tenant for an app at a time; None before the first policy."""
    # Newest first: the last application everywhere replaces every one before it.
    until = store.applications_until(ctx.tx, at)
    application = next((each for each in until if not each.tenants or tenant in each.tenants), None)
    if application is None:
        return None
    try:
        book = as_of(loading.book(ctx, application.version), at)
    except HilumError:
        return PolicyAt(application, None, tenant, at)
    live = tuple(
        each for each in exceptions_at(ctx, app, at) if exception_fault(each, book, tenant, at) == ""
    )
    return PolicyAt(application, _with(book, live, tenant, at), tenant, at, book, live)


def _with(book: Book, exceptions: Collection[PolicyException], tenant: TenantId, at: datetime) -> Book:
    """Return a policy with exceptions, as decisions read it (``PolicyFacts.book_at``)."""
    return excepted(replace(book, raised=raises_of(exceptions)), exceptions, tenant, at)


def succession(ctx: Context, number: int) -> Succession | None:
    """Return an application by its number with what it took the place of; None without it, before the first one, or if a policy cannot be read."""
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
