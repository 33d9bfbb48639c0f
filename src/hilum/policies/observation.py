"""The rules in force that are observed: which, until when, and by which dry run what they would refuse is listed (C209)."""

from dataclasses import dataclass
from datetime import date

from hilum.infra.context import Context
from hilum.policies import service, store
from hilum.policies.models import CurrentVersions, Tier


@dataclass(frozen=True, slots=True)
class Observed:
    """A tier rule that is observed. ``dry_run``: the newest one of its version; its result lists what the rule would refuse."""

    version: int
    rule: str
    tier: Tier
    until: date
    dry_run: str


def in_force(ctx: Context) -> tuple[CurrentVersions, tuple[Observed, ...]]:
    """Return which version is in force where, as ``service.in_force``, and the rules that are still observed. Raises NotPermitted."""
    found = service.in_force(ctx)
    if found.fault:
        return found, ()
    observed = []
    for number in sorted({found.everywhere, *found.at.values()}):
        run = store.find_finished_dry_run(ctx.tx, number)
        observed += [
            Observed(number, rule.name, rule.tier, rule.observe_until, "" if run is None else run.id)
            for rule in service.get_version(ctx, number)[1].observed
            if rule.observe_until is not None and ctx.now.date() < rule.observe_until
        ]
    return found, tuple(observed)
