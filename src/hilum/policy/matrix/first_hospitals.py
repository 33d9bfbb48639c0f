"""Chosen hospitals first: which ones have a version before it is everywhere, and how many decisions were refused there before and since (C218)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.lists import listed
from hilum.identity.people import service as identity
from hilum.policy.matrix import loading, rollout, store
from hilum.records.audit.models import SLOT, SLOTS_KEPT, CountedTraffic, Traffic

BEFORE = timedelta(days=7)
"""The period before a hospital had a version with which the time since is compared."""
NAMED = 3
"""Hospitals that the sentence names."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Decisions at the hospitals that have a version first, in the week before they had it and since. ``before`` None: no longer counted."""

    at: Mapping[TenantId, datetime]
    before: Traffic | None
    since: Traffic

    def in_words(self, name_of: Callable[[TenantId], str] = str) -> str:
        """Return both figures in words, with the hospitals."""
        at = [f"{name_of(each)} since {moment:%-d %B %Y, %H:%M} UTC" for each, moment in self.at.items()]
        if self.before is None:
            figures = f"{_share(self.since)} since then, within the last {SLOTS_KEPT.days} days; what was before is no longer counted"
        else:
            figures = (
                f"{_share(self.since)} since then; {_share(self.before)} in the {BEFORE.days} days before"
            )
        note = (
            "Counted by ten minutes, without refusals that no policy brings about, such as those by a stop."
        )
        return f"In force at {listed(at, NAMED)}: {figures}. {note}"


def _share(traffic: Traffic) -> str:
    if not traffic.decided:
        return "no decisions"
    percent = 100 * traffic.refused / traffic.decided
    return f"{traffic.refused:,} of {traffic.decided:,} decisions refused ({percent:.1f} %)"


def needs_hospitals_first(ctx: Context, version: int) -> bool:
    """Check whether a version, if it allows something new, must be in force at some hospitals before it is everywhere."""
    return not store.was_everywhere(ctx.tx, version)


def require_first(ctx: Context, version: int, found: loading.Applied) -> None:
    """Check that what allows something new is in force at a hospital before it is everywhere. Raises Conflict."""
    if not needs_hospitals_first(ctx, version):
        return
    if not rollout.first_at(version, found.applications, identity.list_shared(ctx)):
        detail = f"A version that allows something new must be in force at some hospitals before it is everywhere. Apply version {version} at an open one first; a synthetic hospital counts only where there is no other."
        raise Conflict("too_soon_everywhere", detail)


def view_refusals(ctx: Context, version: int, traffic: CountedTraffic) -> Refusals | None:
    """Return how many decisions were refused at the hospitals that have a version first; None if none has it."""
    found = loading.applied(ctx)
    at = rollout.first_at(version, found.applications, identity.list_shared(ctx))
    if found.fault or not at:
        return None
    before, since = Traffic(), Traffic()
    for began in sorted(set(at.values())):
        tenants = [tenant for tenant, moment in at.items() if moment == began]
        before = sum(traffic(began - BEFORE, began, tenants).values(), before)
        # The ten minutes in progress count too.
        since = sum(traffic(began, ctx.now + SLOT, tenants).values(), since)
    whole = min(at.values()) - BEFORE >= ctx.now - SLOTS_KEPT
    return Refusals(at, before if whole else None, since)
