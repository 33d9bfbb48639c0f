"""Allowances: what two people allow one app until a moment. Overrides set a rule aside (C207), exceptions lower a tier or permit an AI's writes (C19, C23).

Whether one counts is decided at each use (``in_force``), so it expires to deny; one person may end it early. ``overrides`` and ``exceptions`` have the request and approval of each kind.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, Protocol

from hilum.controls.switches.policy import administers
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.limits import too_long, too_short
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix import rollout
from hilum.policy.matrix.allowance_store import Rows, W
from hilum.policy.matrix.models import POLICIES
from hilum.policy.matrix.override_models import TEXT_LEAST, TEXT_MOST
from hilum.policy.matrix.tables import duration_text
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


@dataclass(frozen=True, slots=True)
class Kind(Generic[W]):
    """A kind of allowance. ``event`` returns the audit event; ``bound``: the most that may be open."""

    noun: str
    rows: Rows[W]
    bound: int
    event: Callable[[str, W, str], Event]
    add_action: str
    end_action: str


class Stated(Protocol):
    """What an order of every kind states: why, what is done instead, and until when."""

    @property
    def reason(self) -> str: ...
    @property
    def control(self) -> str: ...
    @property
    def ends_at(self) -> datetime: ...


def stated_faults(order: Stated, longest: timedelta, now: datetime) -> dict[str, str]:
    """Return the error code of each field of an order that is invalid whatever its kind; ``longest``: how long the rule book lets one last."""
    faults: dict[str, str] = {}
    for name, text in (("reason", order.reason), ("control", order.control)):
        if len(text.strip()) < TEXT_LEAST:
            faults[name] = too_short(TEXT_LEAST)
        elif len(text) > TEXT_MOST:
            faults[name] = too_long(TEXT_MOST)
    if order.ends_at <= now:
        faults["ends_at"] = "not_in_the_future"
    elif order.ends_at > now + longest:
        faults["ends_at"] = "too_late"
    return faults


def invalid(noun: str, faults: Mapping[str, str], longest: timedelta) -> Invalid:
    """Build the error of an order with faults, which says how long the rule book lets one last."""
    bound = f"By the rule book it may last {duration_text(longest)} at most."
    if not longest:
        bound = f"The rule book in force allows none ({noun}s.longest)."
    return Invalid(f"{noun}_invalid", f"The {noun} is invalid; see fields. {bound}", fields=dict(faults))


def add(ctx: Context, kind: Kind[W], made: W) -> W:
    """Store an allowance that two people agreed to."""
    kind.rows.add(ctx.tx, made)
    ctx.advance_epoch(POLICIES, f"{kind.noun}/{made.id}")
    audit.record(ctx, kind.event(kind.add_action, made, made.reason))
    return made


def end(ctx: Context, kind: Kind[W], allowance_id: str, reason: str) -> W:
    """End an allowance at once: the platform's staff any, a hospital's administrator one of the hospital.

    Raises NotFound, NotPermitted, Conflict (it is over).
    """
    found = get(ctx, kind, allowance_id)
    if not (rollout.may_change(ctx.actor) or (found.tenant and administers(ctx.actor, found.tenant))):
        raise audit.refusal(ctx, Event(kind.end_action, app=found.app, tenant=found.tenant or ""))
    ended = replace(found, ended_at=ctx.now, ended_by=str(ctx.actor))
    # Two people who end it at the same moment: the second gets a conflict and no second event.
    if ctx.now >= found.ends_at or not kind.rows.save_ended(ctx.tx, ended):
        raise Conflict(f"{kind.noun}_over", f"This {kind.noun} has already ended.")
    ctx.advance_epoch(POLICIES, f"{kind.noun}/{found.id}")
    audit.record(ctx, kind.event(kind.end_action, ended, reason))
    return ended


def get(ctx: Context, kind: Kind[W], allowance_id: str) -> W:
    """Get an allowance. Raises NotFound, also where the actor may not see it."""
    found = kind.rows.find(ctx.tx, allowance_id)
    if found is None or not _may_see(ctx.actor, found):
        raise NotFound(f"{kind.noun}_not_found", f"There is no such {kind.noun}.")
    return found


def list_page(ctx: Context, kind: Kind[W], page: PageQuery = FIRST_PAGE) -> list[W]:
    """List allowances, newest first; to a hospital's administrator those that reach the hospital. Raises NotPermitted."""
    if not rollout.may_read(ctx.actor):
        raise not_shown(f"{kind.noun}s", Readers.HOSPITALS)
    return kind.rows.list_page(ctx.tx, page, tenant=None if ctx.actor.is_platform else ctx.actor.tenant)


def live(ctx: Context, kind: Kind[W]) -> Mapping[AppId, tuple[W, ...]]:
    """Return the open allowances by app."""
    found: defaultdict[AppId, tuple[W, ...]] = defaultdict(tuple)
    for each in kind.rows.list_live(ctx.tx, ctx.now, kind.bound):
        found[each.app] += (each,)
    return dict(found)


def at_a_time(ctx: Context, kind: Kind[W], app: AppId, at: datetime) -> list[W]:
    """Return an app's allowances that had not been ended early at a time, as they were then."""
    return [
        replace(each, ended_at=None, ended_by="")
        for each in kind.rows.list_of(ctx.tx, app, at)
        if each.ended_at is None or each.ended_at > at
    ]


def _may_see(actor: Actor, allowance: W) -> bool:
    return actor.is_platform or (rollout.may_read(actor) and allowance.tenant in {None, actor.tenant})
