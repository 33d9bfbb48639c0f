"""Exceptions by two people, for a time: a lowered tier of a version, or writes of an AI that acts alone (C19, C23).

Who asks for one and what it is about is known to the module of apps (``registry.tiers``). ``in_force.exception_fault`` judges one when it is used.
"""

from collections.abc import Mapping

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Unavailable
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix import allowances
from hilum.policy.matrix.allowance_store import EXCEPTIONS
from hilum.policy.matrix.allowances import invalid, stated_faults
from hilum.policy.matrix.exception_models import (
    EXCEPTIONS_BOUND,
    NOT_STATED,
    ExceptionOrder,
    PolicyException,
)
from hilum.policy.matrix.models import Book
from hilum.records.audit.models import Event


def require_exception(ctx: Context, order: ExceptionOrder, book: Book, more: Mapping[str, str]) -> None:
    """Check an order for an exception; ``more`` are the faults that its kind adds.

    Raises Invalid, Unavailable (too many are in force), Conflict (there is one).
    """
    if faults := stated_faults(order, book.longest_exception, ctx.now) | dict(more):
        raise invalid("exception", faults, book.longest_exception)
    live = EXCEPTIONS.list_live(ctx.tx, ctx.now, EXCEPTIONS_BOUND)
    if len(live) >= EXCEPTIONS_BOUND:
        raise Unavailable("too_many_exceptions", "Too many exceptions are in force. End some of them first.")
    key = order.kind, order.version, order.tenant
    if any((each.kind, each.version, each.tenant) == key for each in live):
        detail = "This version already has such an exception. End it first."
        raise Conflict("exception_exists", detail)


def _event(action: str, exception: PolicyException, reason: str) -> Event:
    what = (
        f"{exception.computed} is treated as {exception.tier}" if exception.tier else "its AI may write alone"
    )
    facts = {
        "exception": exception.id,
        "kind": exception.kind.value,
        "version": exception.version,
        "reason": reason,
        "detail": f"{what}, until {exception.ends_at:%Y-%m-%d %H:%M} UTC; instead: {exception.control or NOT_STATED}",
        "asked_by": exception.asked_by,
        "book_digest": exception.book_digest,
        "rules": list(exception.rules),
    }
    return Event(action, app=exception.app, tenant=exception.tenant or "", facts=facts)


EXCEPTION = allowances.Kind(
    "exception",
    EXCEPTIONS,
    EXCEPTIONS_BOUND,
    _event,
    "policies.exception.add",
    "policies.exception.end",
)


def add_exception(ctx: Context, made: PolicyException) -> PolicyException:
    """Store an exception to which two people agreed."""
    return allowances.add(ctx, EXCEPTION, made)


def end_exception(ctx: Context, exception_id: str, reason: str) -> PolicyException:
    """End an exception at once (``allowances.end``). Raises NotFound, NotPermitted, Conflict (it is over)."""
    return allowances.end(ctx, EXCEPTION, exception_id, reason)


def live_exceptions(ctx: Context) -> Mapping[AppId, tuple[PolicyException, ...]]:
    """Return the exceptions that have not ended, by app."""
    return allowances.live(ctx, EXCEPTION)
