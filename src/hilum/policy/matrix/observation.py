"""Observed rules and cells of the books in force: until when, and the dry run that counts them (C209)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix import service, store
from hilum.policy.matrix.admission import admit
from hilum.policy.matrix.comparison import tightened
from hilum.policy.matrix.in_force import as_of, still_observed
from hilum.policy.matrix.models import Applicant, Book, CurrentVersions, Tier


@dataclass(frozen=True, slots=True)
class Observed:
    """A tier rule, or some limits of a cell, that are observed.

    ``rule``: its name; empty for a cell, which ``category`` and ``tier`` name and whose ``limits`` will be tighter. ``dry_run``: the newest
    one of its version; its result lists what would be refused.
    """

    version: int
    rule: str
    tier: Tier
    until: date
    dry_run: str
    category: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeseenLoss:
    """The scopes that an app loses from a day on, and the tier at which it acts then."""

    day: date
    lost: tuple[str, ...]
    acts_at: Tier | None


def foreseen(
    ctx: Context, applicant: Applicant, *, tenant: str | None, version: int | None
) -> tuple[ForeseenLoss, ...]:
    """Return an app's losses by observed rules, for each day on which it loses something. Raises as ``service.admission_of``."""
    if version is None:
        found = service.current(ctx)
        book = found.everywhere if tenant is None else found.at.get(TenantId(tenant), found.everywhere)
    else:
        book = service.get_version(ctx, version)[1]
    days = [each.observe_until for each in book.observed if each.observe_until is not None]
    days += [each.until for _, each in book.observed_cells]
    before = admit(as_of(book, ctx.now), applicant)
    losses: list[ForeseenLoss] = []
    for day in sorted({each for each in days if each > ctx.now.date()}):
        after = admit(as_of(book, datetime.combine(day, time(), UTC)), applicant)
        lost = tuple(each for each in before.scopes if not all_covered((each,), after.scopes))
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
        observed += _observed(
            service.get_version(ctx, number)[1], ctx.now.date(), number, run.id if run else ""
        )
    return found, tuple(observed)


def _observed(book: Book, today: date, version: int, run: str) -> list[Observed]:
    rules, cells = still_observed(book, today)
    return [
        *(
            Observed(version, rule.name, rule.tier, rule.observe_until, run)
            for rule in book.observed
            if rule.name in rules and rule.observe_until is not None
        ),
        *(
            Observed(version, "", tier, each.until, run, name, tightened(book, (name, tier)))
            for (name, tier), each in book.observed_cells
            if (name, tier) in cells
        ),
    ]
