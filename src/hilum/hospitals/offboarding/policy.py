"""Who may let a hospital leave, and what its erasure waits for. Pure."""

from collections.abc import Collection
from datetime import datetime

from hilum.controls.approvals.policy import may_decide
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.limits import out_of_range
from hilum.hospitals.offboarding.models import (
    ERASE_AFTER_MAX,
    ERASE_AFTER_MIN,
    REASON_BOUND,
    Offboarding,
    State,
    Waits,
)


def may_ask(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may be one of the two people: an administrator of the hospital or of the platform."""
    # The host never counts as the first person, or one person with a shell could end a hospital.
    return not actor.acts_alone and may_decide(actor, tenant)


def ask_faults(reason: str, days: int) -> dict[str, str]:
    """Return the faults of a requested offboarding, by field."""
    faults = {}
    if not reason.strip() or len(reason) > REASON_BOUND:
        faults["reason"] = "reason_malformed"
    if not ERASE_AFTER_MIN <= days <= ERASE_AFTER_MAX:
        faults["erase_after_days"] = out_of_range(ERASE_AFTER_MIN, ERASE_AFTER_MAX, "days")
    return faults


def waits_for(found: Offboarding, holds: Collection[str], now: datetime) -> Waits:
    """Return what the erasure waits for; a hold wins over a day that has come, and over an erasure that has begun."""
    if found.state is State.ERASED:
        return Waits.NOTHING
    if found.exported_at is None:
        return Waits.EXPORT
    if now < found.erase_at:
        return Waits.DATE
    return Waits.HOLD if holds else Waits.NOTHING
