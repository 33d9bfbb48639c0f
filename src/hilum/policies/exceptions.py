"""Exceptions: a version's tier that is lowered, or the writes of an AI that acts alone, by two people and for a time (C19, C23).

An exception is judged when it is used (``in_force.exception_fault``), so it closes to deny by itself; one person ends it early. Who asks
for one and what it is about is known to the room of apps (``registry.tiers``); this one signs it, keeps it and ends it.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.controls.policy import administers
from hilum.infra.context import Context
from hilum.kernel.actor import Actor
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted, Unavailable
from hilum.kernel.ids import AppId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.policies import chain, rollout, store
from hilum.policies.exception_models import (
    EXCEPTIONS_BOUND,
    REASON_LEAST,
    TEXT_MOST,
    ExceptionOrder,
    PolicyException,
)
from hilum.policies.models import POLICIES, Book
from hilum.policies.tables import duration_text

ADD, END = "policies.exception.add", "policies.exception.end"


def exception_faults(order: ExceptionOrder, book: Book, now: datetime) -> dict[str, str]:
    """Return the error code of each invalid field of an order that every exception has. Pure."""
    faults: dict[str, str] = {}
    if len(order.reason.strip()) < REASON_LEAST:
        faults["reason"] = "too_short"
    elif len(order.reason) > TEXT_MOST:
        faults["reason"] = "too_long"
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
        bound = f"By the rule book it may last {duration_text(book.longest_exception)} at most."
        if not book.longest_exception:
            bound = "The rule book in force allows none (exceptions.longest)."
        raise Invalid("exception_invalid", f"The exception is invalid; see fields. {bound}", fields=faults)
    live = store.list_live_exceptions(ctx.tx, ctx.now, EXCEPTIONS_BOUND)
    if len(live) >= EXCEPTIONS_BOUND:
        raise Unavailable("too_many_exceptions", "Too many exceptions are in force. End some of them first.")
    key = order.kind, order.version, order.tenant
    if any((each.kind, each.version, each.tenant) == key for each in live):
        detail = "There is such an exception for this version already. End it first."
        raise Conflict("exception_exists", detail)


def add_exception(ctx: Context, made: PolicyException) -> PolicyException:
    """Sign and keep an exception to which two people agreed."""
    kid, signature = keys.sign_bytes(ctx, Purpose.POLICY, chain.exception_bytes(made))
    signed = replace(made, kid=kid, signature=signature)
    store.add_exception(ctx.tx, signed)
    ctx.advance_epoch(POLICIES, f"exception/{made.id}")
    audit.record(ctx, _event(ADD, signed, reason=signed.reason))
    return signed


def end_exception(ctx: Context, exception_id: str, reason: str) -> PolicyException:
    """End an exception at once: the platform's staff any, a hospital's administrator one of the hospital.

    Raises NotFound, NotPermitted, Conflict (it is over).
    """
    found = store.find_exception(ctx.tx, exception_id)
    if found is None or not _may_see(ctx.actor, found):
        raise NotFound("exception_not_found", "There is no such exception.")
    if not (rollout.may_change(ctx.actor) or (found.tenant and administers(ctx.actor, found.tenant))):
        raise audit.refusal(ctx, Event(END, app=found.app, tenant=found.tenant or ""))
    ended = replace(found, ended_at=ctx.now, ended_by=str(ctx.actor))
    # Two people who end it at the same moment: the second gets a conflict and no second event.
    if ctx.now >= found.ends_at or not store.save_ended_exception(ctx.tx, ended):
        raise Conflict("exception_over", "This exception is over already.")
    ctx.advance_epoch(POLICIES, f"exception/{found.id}")
    audit.record(ctx, _event(END, ended, reason=reason))
    return ended


def list_exceptions(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[PolicyException]:
    """List exceptions, newest first; to a hospital's administrator those that reach the hospital. Raises NotPermitted."""
    if not rollout.may_read(ctx.actor):
        raise NotPermitted("not_permitted", "You may not read exceptions.")
    return store.list_exceptions(ctx.tx, page, tenant=None if ctx.actor.is_platform else ctx.actor.tenant)


def live_exceptions(ctx: Context) -> Mapping[AppId, tuple[PolicyException, ...]]:
    """Return the exceptions that have not ended, by app. One that is not as it was signed allows nothing."""
    found: defaultdict[AppId, tuple[PolicyException, ...]] = defaultdict(tuple)
    for each in store.list_live_exceptions(ctx.tx, ctx.now, EXCEPTIONS_BOUND):
        if keys.verify_bytes(ctx, Purpose.POLICY, each.kid, chain.exception_bytes(each), each.signature):
            found[each.app] += (each,)
    return dict(found)


def exceptions_at(ctx: Context, app: AppId, at: datetime) -> list[PolicyException]:
    """Return the exceptions of an app that had not been ended early at a time, as they were then. Only what is as it was signed."""
    return [
        replace(each, ended_at=None, ended_by="")
        for each in store.exceptions_of(ctx.tx, app, at)
        if (each.ended_at is None or each.ended_at > at)
        and keys.verify_bytes(ctx, Purpose.POLICY, each.kid, chain.exception_bytes(each), each.signature)
    ]


def _may_see(actor: Actor, exception: PolicyException) -> bool:
    return actor.is_platform or (rollout.may_read(actor) and exception.tenant in {None, actor.tenant})


def _event(action: str, exception: PolicyException, *, reason: str) -> Event:
    what = f"{exception.computed} counts as {exception.tier}" if exception.tier else "its AI may write alone"
    facts = {
        "exception": exception.id,
        "kind": exception.kind.value,
        "version": exception.version,
        "reason": reason,
        "detail": f"{what}, until {exception.ends_at:%Y-%m-%d %H:%M} UTC",
        "asked_by": exception.asked_by,
        "book_digest": exception.book_digest,
        "rules": list(exception.rules),
    }
    return Event(action, app=exception.app, tenant=exception.tenant or "", facts=facts)
