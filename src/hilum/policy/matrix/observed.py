"""What the policies in force still observe: until when, what an app will lose, and the dry run that counts it (C209)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix import service, store
from hilum.policy.matrix.admission import admit
from hilum.policy.matrix.comparison import tightened
from hilum.policy.matrix.in_force import as_of, coming_days, still_observed
from hilum.policy.matrix.models import Applicant, CurrentVersions, Tier


@dataclass(frozen=True, slots=True)
class Observed:
    """The ``limits`` of an entry that will be tighter. ``dry_run``: the newest one of its version; its result lists what would be refused."""

    version: int
    category: str
    tier: Tier
    until: date
    limits: tuple[str, ...]
    dry_run: str


@dataclass(frozen=True, slots=True)
class ForeseenLoss:
    """The scopes that an app loses from a day on, and the tier at which it acts then."""

    day: date
    lost: tuple[str, ...]
    acts_at: Tier | None


def foreseen(
    ctx: Context, applicant: Applicant, *, tenant: str | None, version: int | None
) -> tuple[ForeseenLoss, ...]:
    """Return an app's losses by observed entries, for each day on which it loses something. Raises as ``service.admission_of``."""
    if version is None:
        found = service.current(ctx)
        book = found.everywhere if tenant is None else found.at.get(TenantId(tenant), found.everywhere)
    else:
        book = service.get_version(ctx, version)[1]
    before = admit(as_of(book, ctx.now), applicant)
    losses: list[ForeseenLoss] = []
    for day in coming_days(book, ctx.now):
        after = admit(as_of(book, datetime.combine(day, time(), UTC)), applicant)
        lost = tuple(scope for scope in before.scopes if not all_covered((scope,), after.scopes))
        if lost or after.tier is not before.tier:
            losses.append(ForeseenLoss(day, lost, after.tier))
        before = after
    return tuple(losses)


def in_force(ctx: Context) -> tuple[CurrentVersions, tuple[Observed, ...]]:
    """Return the versions in force by place, as ``service.in_force``, and what is still observed. Raises NotPermitted."""
    found = service.in_force(ctx)
    if found.fault:
        return found, ()
    observed: list[Observed] = []
    for number in sorted({found.everywhere, *found.at.values()}):
        run = store.find_finished_dry_run(ctx.tx, number)
        book = service.get_version(ctx, number)[1]
        entries = still_observed(book, ctx.now.date())
        observed += [
            Observed(number, name, tier, each.until, tightened(book, (name, tier)), run.id if run else "")
            for (name, tier), each in book.observed_entries
            if (name, tier) in entries
        ]
    return found, tuple(observed)
