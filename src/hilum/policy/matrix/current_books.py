"""The policies in force as facts, and their requirements for one app."""

from dataclasses import replace
from functools import partial

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, current_facts, keyed
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.policy.matrix import loading
from hilum.policy.matrix.exception_service import live_exceptions
from hilum.policy.matrix.exceptions import raises_of
from hilum.policy.matrix.in_force import PolicyFacts
from hilum.policy.matrix.models import POLICIES, Book, Raise


@keyed(r"application/\d+|exception/\w+")
def facts(ctx: Context, since: Since) -> Delta[PolicyFacts]:
    """Read the policies in force, and the exceptions, all of them each time: there are few.

    Raises Unavailable if one does not match what was signed or cannot be read, and, when the facts are applied, if fewer applications are left
    than the process has already seen.
    """
    del since
    found = loading.trusted(ctx)
    numbers = {found.current.everywhere, *found.current.at.values()}
    exceptions = live_exceptions(ctx)
    raised = raises_of(each for of_app in exceptions.values() for each in of_app)
    books = {number: loading.book_in_force(ctx, number, found) for number in numbers}
    if raised:
        books = {number: replace(book, raised=raised) for number, book in books.items()}
    at = {tenant: books[number] for tenant, number in found.current.at.items()}
    everywhere = books[found.current.everywhere]
    read = PolicyFacts(everywhere, at, found.current.last, found.head, exceptions)
    return Delta(read, partial(_not_before, read))


def _not_before(read: PolicyFacts, held: PolicyFacts) -> PolicyFacts:
    """Return the facts that were read. Raises Unavailable if the process held later ones."""
    if read.last < held.last or (read.last == held.last and read.head != held.head):
        detail = (
            f"The policy's last application is {read.last}, and this process has seen number {held.last}: applications were deleted from the"
            " database."
        )
        raise Unavailable("policy_went_back", detail)
    return read


def current(ctx: Context) -> PolicyFacts:
    """Return the policies in force, as this transaction sees them."""
    return current_facts(ctx, POLICIES, facts)


def waived_for(ctx: Context, app: AppId) -> tuple[str, ...]:
    """Return the requirements that are waived for an app everywhere now, in order (C207)."""
    found = current(ctx)
    return found.waived_for(found.everywhere, app, ctx.now)


def raise_of(ctx: Context, version: VersionId) -> Raise | None:
    """Return how a reviewer raised the tier of a version; None if nobody did."""
    return current(ctx).everywhere.raised.get(version)


def asked_of(ctx: Context, app: AppId) -> Book:
    """Return the policy in force everywhere as review applies it to an app: without what is waived for it."""
    found = current(ctx)
    return found.asked_of(found.everywhere, app, ctx.now)


def books_asked_of(ctx: Context, app: AppId) -> tuple[Book, ...]:
    """Return every policy in force anywhere, the one everywhere first, each as review applies it to an app."""
    found = current(ctx)
    return tuple(found.asked_of(book, app, ctx.now) for book in found.books())
