"""Adding, ending and listing exceptions. Who asks for one and what it is about is known to the module of apps (``registry.exceptions``)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from hilum.controls.switches.policy import administers
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.limits import too_long, too_short
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix import exception_store as store
from hilum.policy.matrix import rollout
from hilum.policy.matrix.exception_models import (
    EXCEPTIONS_BOUND,
    TEXT_LEAST,
    TEXT_MOST,
    ExceptionKind,
    ExceptionOrder,
    PolicyException,
)
from hilum.policy.matrix.fields import duration_text
from hilum.policy.matrix.models import POLICIES, Book
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

ADD, END = "policies.exception.add", "policies.exception.end"


def require_exception(ctx: Context, order: ExceptionOrder, book: Book, more: Mapping[str, str]) -> None:
    """Check an order under the policy that it is about; ``more`` are the faults that its kind adds.

    Raises Invalid, Unavailable (too many are in force), Conflict (there is one).
    """
    if faults := stated_faults(order, book, ctx.now) | dict(more):
        bound = f"By the policy it may last {duration_text(book.exceptions.longest)} at most."
        if not book.exceptions.longest:
            bound = "The policy in force allows none (exceptions.longest)."
        detail = f"The exception is invalid; see fields.{f' {bound}' if order.kind.loosens else ''}"
        raise Invalid("exception_invalid", detail, fields=faults)
    if order.kind.loosens and store.count_loosening(ctx.tx, ctx.now) >= EXCEPTIONS_BOUND:
        raise Unavailable("too_many_exceptions", "Too many exceptions are in force. End some of them first.")
    key = (
        order.kind,
        order.app,
        order.version,
        order.tenant,
        order.requirement and (order.tier, order.requirement),
    )
    for each in store.list_live(ctx.tx, ctx.now):
        held = (
            each.kind,
            each.app,
            each.version,
            each.tenant,
            each.requirement and (each.tier, each.requirement),
        )
        if held == key:
            raise Conflict("exception_exists", "There already is such an exception. End it first.")


def stated_faults(order: ExceptionOrder, book: Book, now: datetime) -> dict[str, str]:
    """Return the error code of each text and date of an order that is invalid. Pure."""
    faults: dict[str, str] = {}
    texts = {"reason": order.reason, "control": order.control}
    for name, text in texts.items() if order.kind.loosens else [("reason", order.reason)]:
        if len(text.strip()) < TEXT_LEAST:
            faults[name] = too_short(TEXT_LEAST)
        elif len(text) > TEXT_MOST:
            faults[name] = too_long(TEXT_MOST)
    if not order.kind.loosens:
        # Its end gives access back, which a person decides.
        return faults | ({} if order.ends_at is None else {"ends_at": "not_expected"})
    if order.ends_at is None:
        faults["ends_at"] = "missing"
    elif order.ends_at <= now:
        faults["ends_at"] = "not_in_the_future"
    elif order.ends_at > now + book.exceptions.longest:
        faults["ends_at"] = "too_late"
    return faults


def add_exception(ctx: Context, made: PolicyException) -> PolicyException:
    """Store an exception that was checked, and, if it loosens anything, agreed to by two people."""
    store.add(ctx.tx, made)
    ctx.advance_epoch(POLICIES, f"exception/{made.id}")
    audit.record(ctx, _event(ADD, made, made.reason))
    return made


def end_exception(ctx: Context, found: PolicyException, reason: str) -> PolicyException:
    """End an exception at once: the platform's staff any, a hospital's administrator one of the hospital.

    A raised tier gives access back when it ends: ``registry.exceptions`` asks for another reviewer. Raises NotPermitted, Conflict (it is over).
    """
    may = rollout.may_change(ctx.actor) or (found.tenant and administers(ctx.actor, found.tenant))
    if found.kind.loosens and not may:
        raise audit.refusal(ctx, Event(END, app=found.app, tenant=found.tenant or ""))
    ended = replace(found, ended_at=ctx.now, ended_by=str(ctx.actor))
    over = found.ends_at is not None and ctx.now >= found.ends_at
    # Two people who end it at the same moment: the second gets a conflict and no second event.
    if over or not store.save_ended(ctx.tx, ended):
        raise Conflict("exception_over", "This exception has already ended.")
    ctx.advance_epoch(POLICIES, f"exception/{found.id}")
    audit.record(ctx, _event(END, ended, reason))
    return ended


def get_exception(ctx: Context, exception_id: str) -> PolicyException:
    """Get an exception. Raises NotFound, also where the actor may not see it."""
    found = store.find(ctx.tx, exception_id)
    if found is None or not _may_see(ctx.actor, found):
        raise NotFound("exception_not_found", "There is no such exception.")
    return found


def list_exceptions(
    ctx: Context, page: PageQuery = FIRST_PAGE, kind: ExceptionKind | None = None
) -> list[PolicyException]:
    """List exceptions, newest first; to a hospital's administrator those that reach the hospital. Raises NotPermitted."""
    if not rollout.may_read(ctx.actor):
        raise not_shown("exceptions", Readers.HOSPITALS)
    own = None if ctx.actor.is_platform else ctx.actor.tenant
    return store.list_page(ctx.tx, page, tenant=own, kind=kind)


def live_exceptions(ctx: Context) -> Mapping[AppId, tuple[PolicyException, ...]]:
    """Return the exceptions that have not ended, by app."""
    found: defaultdict[AppId, tuple[PolicyException, ...]] = defaultdict(tuple)
    for each in store.list_live(ctx.tx, ctx.now):
        found[each.app] += (each,)
    return dict(found)


def exceptions_at(ctx: Context, app: AppId, at: datetime) -> list[PolicyException]:
    """Return an app's exceptions that had begun and had not been ended early at a time, as they were then."""
    return [
        replace(each, ended_at=None, ended_by="")
        for each in store.list_at(ctx.tx, app, at)
        if each.ended_at is None or each.ended_at > at
    ]


def _may_see(actor: Actor, exception: PolicyException) -> bool:
    return actor.is_platform or (rollout.may_read(actor) and exception.tenant in {None, actor.tenant})


def _event(action: str, exception: PolicyException, reason: str) -> Event:
    until = "" if exception.ends_at is None else f", until {exception.ends_at:%Y-%m-%d %H:%M} UTC"
    instead = f"; instead: {exception.control}" if exception.control else ""
    facts = {
        "exception": exception.id,
        "kind": exception.kind.value,
        "version": exception.version or "",
        "reason": reason,
        "detail": f"{in_words(exception)}{until}{instead}",
        "owner": exception.owner,
        "book_digest": exception.book_digest,
        "rules": list(exception.rules),
    }
    return Event(action, app=exception.app, tenant=exception.tenant or "", facts=facts)


def in_words(exception: PolicyException) -> str:
    """Return what an exception changes. Pure."""
    match exception.kind:
        case ExceptionKind.RAISED_TIER:
            return f"{exception.computed} is treated as {exception.tier}, by a reviewer"
        case ExceptionKind.LOWERED_TIER:
            return f"{exception.computed} is treated as {exception.tier}"
        case ExceptionKind.AUTONOMOUS_WRITES:
            return "its AI may write alone"
        case ExceptionKind.WAIVED_REQUIREMENT:
            return f"{exception.requirement} is not asked of it at the {exception.tier} tier"
