"""Exceptions by two people, for a time: a lowered tier of a version, or writes of an AI that acts alone (C19, C23).

Who asks for one and what it is about is known to the room of apps (``registry.tiers``). ``in_force.exception_fault`` judges one when it is used.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime

from hilum.attestations.policy import digest_of
from hilum.audit.models import Event
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, Unavailable
from hilum.kernel.ids import AppId
from hilum.kernel.limits import too_long, too_short
from hilum.policies import allowances, chain
from hilum.policies.allowance_store import EXCEPTIONS
from hilum.policies.exception_models import (
    EXCEPTIONS_BOUND,
    NOT_STATED,
    REASON_LEAST,
    TEXT_MOST,
    ExceptionOrder,
    PolicyException,
)
from hilum.policies.models import Book
from hilum.policies.override_models import CONTROL_LEAST
from hilum.policies.tables import duration_text


def exception_faults(order: ExceptionOrder, book: Book, now: datetime) -> dict[str, str]:
    """Return the error code of each invalid field of an order that every exception has. Pure."""
    faults: dict[str, str] = {}
    if len(order.reason.strip()) < REASON_LEAST:
        faults["reason"] = too_short(REASON_LEAST)
    elif len(order.reason) > TEXT_MOST:
        faults["reason"] = too_long(TEXT_MOST)
    if len(order.control.strip()) < CONTROL_LEAST:
        faults["control"] = too_short(CONTROL_LEAST)
    elif len(order.control) > TEXT_MOST:
        faults["control"] = too_long(TEXT_MOST)
    if order.ends_at <= now:
        faults["ends_at"] = "not_in_the_future"
    elif order.ends_at > now + book.longest_exception:
        faults["ends_at"] = "too_late"
    return faults


def require_exception(ctx: Context, order: ExceptionOrder, book: Book, more: Mapping[str, str]) -> None:
    """Check an order for an exception; ``more`` are the faults that its kind adds.

    Raises Invalid, Unavailable (too many are in force), Conflict (there is one).
    """
    if faults := exception_faults(order, book, ctx.now) | dict(more):
        detail = "The exception is invalid; see fields."
        if not book.longest_exception:
            detail += " The rule book in force allows none (exceptions.longest)."
        elif "ends_at" in faults:
            detail += f" By the rule book it may last {duration_text(book.longest_exception)} at most."
        raise Invalid("exception_invalid", detail, fields=faults)
    live = EXCEPTIONS.list_live(ctx.tx, ctx.now, EXCEPTIONS_BOUND)
    if len(live) >= EXCEPTIONS_BOUND:
        raise Unavailable("too_many_exceptions", "Too many exceptions are in force. End some of them first.")
    key = order.kind, order.version, order.tenant
    if any((each.kind, each.version, each.tenant) == key for each in live):
        detail = "There is such an exception for this version already. End it first."
        raise Conflict("exception_exists", detail)


def _event(action: str, exception: PolicyException, reason: str) -> Event:
    what = f"{exception.computed} counts as {exception.tier}" if exception.tier else "its AI may write alone"
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


def state_digest(exception: PolicyException) -> str:
    """Return the digest of an exception; without a control in the form of older releases (C109)."""
    if exception.control:
        return digest_of(exception)
    # As a tuple, which has the digest of the dataclass that had no such field.
    names = (each.name for each in fields(exception) if each.name != "control")
    return digest_of(tuple(getattr(exception, name) for name in names))


EXCEPTION = allowances.Kind(
    "exception",
    EXCEPTIONS,
    chain.exception_bytes,
    EXCEPTIONS_BOUND,
    _event,
    "policies.exception.add",
    "policies.exception.end",
    state_digest,
)


def add_exception(ctx: Context, made: PolicyException) -> PolicyException:
    """Sign and store an exception to which two people agreed."""
    return allowances.add(ctx, EXCEPTION, made)


def end_exception(ctx: Context, exception_id: str, reason: str) -> PolicyException:
    """End an exception at once (``allowances.end``). Raises NotFound, NotPermitted, Conflict (it is over)."""
    return allowances.end(ctx, EXCEPTION, exception_id, reason)


def live_exceptions(ctx: Context) -> Mapping[AppId, tuple[PolicyException, ...]]:
    """Return the exceptions that have not ended, by app."""
    return allowances.live(ctx, EXCEPTION)
