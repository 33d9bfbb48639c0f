"""The verdict on a ring's traffic, and the next step of a rollout. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import pairwise
from math import sqrt
from types import MappingProxyType
from typing import Any, NamedTuple

from hilum.audit.models import LATENCY_EDGES_MS, Traffic
from hilum.kernel.batches import batched
from hilum.kernel.ids import TenantId
from hilum.kernel.limits import out_of_range, too_many
from hilum.kernel.lists import counted
from hilum.policies.models import TENANTS_BOUND, Application, ApplyOrder
from hilum.rollouts.models import (
    DWELL_BOUND,
    DWELL_LEAST,
    RINGS_BOUND,
    RINGS_LEAST,
    STANDARD_ERRORS,
    VENDORS_LEAST,
    ByApp,
    Finding,
    Judged,
    Limits,
    Position,
    Ring,
    RingTraffic,
    Rollout,
    Step,
    Verdict,
)
from hilum.sunsets.models import UpcomingVersion

_SLOW_PERCENTILE = 0.95
_PLANNED = frozenset({"rings", "limits", "goes_back_by_itself"})
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
NO_OWNERS: Mapping[str, str] = MappingProxyType({})


class Share(NamedTuple):
    """How many of a number of decisions or answers: ``hits`` of ``whole``."""

    hits: int
    whole: int

    @property
    def ratio(self) -> float:
        return self.hits / self.whole


def rings_fault(rings: Sequence[Ring]) -> str:
    """Return the error code of a plan's rings; empty if they are valid."""
    if not RINGS_LEAST <= len(rings) <= RINGS_BOUND:
        return out_of_range(RINGS_LEAST, RINGS_BOUND, "rings")
    named = [tenant for ring in rings for tenant in ring.tenants]
    if len(set(named)) != len(named):
        return "hospital_repeated"
    if any(len(ring.tenants) > TENANTS_BOUND for ring in rings):
        return too_many(TENANTS_BOUND)
    if rings[-1].tenants or not all(ring.tenants for ring in rings[:-1]):
        return "last_is_everywhere"
    return "" if all(DWELL_LEAST <= ring.dwell <= DWELL_BOUND for ring in rings) else "dwell_out_of_range"


def dwell_before_everywhere(rings: Sequence[Ring]) -> timedelta:
    """Return how long the first ring has a version before it reaches everybody."""
    return sum((ring.dwell for ring in rings[:-1]), timedelta(0))


def ahead_of(plan: Rollout) -> UpcomingVersion:
    """Return the earliest day on which a rollout reaches each hospital of its later rings, if every ring before takes its minimum time (C180)."""
    at: dict[TenantId, datetime] = {}
    day, elsewhere = plan.began_at, None
    for before, ring in pairwise(plan.rings):
        day += before.dwell
        at |= dict.fromkeys(ring.tenants, day)
        elsewhere = elsewhere if ring.tenants else day
    return UpcomingVersion(plan.id, plan.version, at, elsewhere, frozenset(plan.rings[0].tenants))


def position(plan: Rollout, since: Iterable[Application]) -> Position:
    """Return the position of a rollout, from the applications since it was agreed to, oldest first."""
    reached: list[datetime] = []
    last = plan.before.last
    for each in since:
        last = each.number
        fits = len(reached) < len(plan.rings) and each.tenants == plan.rings[len(reached)].tenants
        if not fits or each.version != plan.version:
            return Position(tuple(reached), last, overtaken=True)
        reached.append(each.applied_at)
    return Position(tuple(reached), last)


def rollback_orders(plan: Rollout, where: Position, reason: str) -> list[ApplyOrder]:
    """Return the orders, one after the other, that restore the versions in force before the rollout."""
    orders: list[tuple[int, tuple[TenantId, ...]]] = []
    if len(where.reached) == len(plan.rings):
        # After the last ring the version is in force everywhere: that is restored first, and then the
        # hospitals that had others.
        orders.append((plan.before.everywhere, ()))
        places = dict(plan.before.at)
    else:
        names = [tenant for ring in plan.rings[: len(where.reached)] for tenant in ring.tenants]
        places = {tenant: plan.before.version_at(tenant) for tenant in names}
    for version in sorted(set(places.values())):
        at = sorted(tenant for tenant, number in places.items() if number == version)
        orders += [(version, tuple(some)) for some in batched(at, TENANTS_BOUND)]
    return [
        ApplyOrder(version, tenants, where.last + n, reason) for n, (version, tenants) in enumerate(orders)
    ]


def next_step(plan: Rollout, where: Position, found: Sequence[Judged], now: datetime) -> Verdict:
    """Return the next step of a rollout. ``found``: the verdict on each ring that it reached."""
    rings = tuple(found)
    if where.overtaken or not rings:
        return Verdict(Step.STAY, "Something else was applied meanwhile.")
    for number, each in enumerate(found, 1):
        if each.finding is Finding.REGRESSED:
            return Verdict(Step.GO_BACK, f"Ring {number} regressed: {each.why}", rings)
    current = len(where.reached)
    if found[-1].finding is not Finding.STEADY:
        return Verdict(Step.STAY, f"Not known yet at ring {current}: {found[-1].why}", rings)
    dwells_until = where.reached[-1] + plan.rings[current - 1].dwell
    if now < dwells_until:
        return Verdict(Step.STAY, f"Ring {current} dwells until {dwells_until.isoformat()}.", rings)
    if current == len(plan.rings):
        return Verdict(Step.FINISH, "Every ring was reached, and nothing regressed.", rings)
    return Verdict(Step.ADVANCE, f"Ring {current} dwelt for its time, and nothing regressed.", rings)


def judge(
    traffic: RingTraffic,
    limits: Limits,
    *,
    narrows: bool = False,
    owners: Mapping[str, str] = NO_OWNERS,
) -> Judged:
    """Judge the traffic of a ring: of all its apps together, and of each alone, since a busy app would hide that another is refused everything.

    An app with little traffic is judged only with the others.
    ``narrows``: the version allows nothing new. Then whose app it refuses gains if it goes back, and can make itself refused: it counts
    only what regressed for the apps of several vendors, whichever one of them is left out. ``owners``: the vendor of each app.
    """
    together = _judge_one(_together(traffic), "", limits)
    if together.finding is Finding.UNKNOWN:
        return together
    alone = {
        app: found for app in sorted(traffic.now) if _regressed(found := _judge_one(traffic, app, limits))
    }
    several = len({owners.get(app, app) for app in alone}) >= VENDORS_LEAST
    if narrows and not several and not _without_any_one(traffic, limits, owners):
        figures = {**together.figures, "one_app": {app: each.why for app, each in alone.items()}}
        return Judged(Finding.STEADY, "", figures if alone else together.figures)
    if _regressed(together) or not alone:
        return together
    app, found = next(iter(alone.items()))
    return Judged(found.finding, f"{app}: {found.why}", {**together.figures, "app": app, **found.figures})


def _regressed(judged: Judged) -> bool:
    return judged.finding is Finding.REGRESSED


def _without_any_one(traffic: RingTraffic, limits: Limits, owners: Mapping[str, str]) -> bool:
    """Check whether a ring regressed even without any single vendor's apps."""
    of: dict[str, set[str]] = {}
    for app in traffic.now:
        of.setdefault(owners.get(app, app), set()).add(app)
    return bool(of) and all(
        _regressed(_judge_one(_together(traffic, apps), "", limits)) for apps in of.values()
    )


def _together(traffic: RingTraffic, but: Collection[str] = ()) -> RingTraffic:
    """Return the combined traffic of all apps except some."""
    return RingTraffic(
        *({"": _sum({app: each for app, each in part.items() if app not in but})} for part in _parts(traffic))
    )


def _parts(traffic: RingTraffic) -> tuple[ByApp, ...]:
    return traffic.now, traffic.recent, traffic.before, traffic.others_now, traffic.others_before


def _sum(by_app: ByApp) -> Traffic:
    return sum(by_app.values(), Traffic())


def _judge_one(traffic: RingTraffic, app: str, limits: Limits) -> Judged:
    now, recent, before, others_now, others_before = (each.get(app, Traffic()) for each in _parts(traffic))
    least = limits.least_decisions
    if now.decided < least:
        return Judged(Finding.UNKNOWN, f"{now.decided} decisions, and {least} are needed.", _shown(now))
    # Without enough traffic before, compare with the other hospitals now; without either there is nothing to compare with.
    base = before if before.decided >= least else others_now
    if base.decided < least:
        why = f"Nothing to compare with: {before.decided} decisions before, {others_now.decided} elsewhere, and {least} are needed."
        return Judged(Finding.UNKNOWN, why, _shown(now))
    compares = base is before and min(others_now.decided, others_before.decided) >= least
    drift = _share(others_now) - _share(others_before) if compares else 0.0
    figures = _shown(now) | {"base_refused_percent": _percent(_share(base))}
    for each in (now, recent):
        if each.decided < least:
            continue
        refused, was_refused = Share(each.refused, each.decided), Share(base.refused, base.decided)
        if _risen(refused, was_refused, drift, limits.refused_points):
            why = (
                f"{_percent(_share(each))} % of its decisions are refused, {_percent(_share(base))} % before."
            )
            return Judged(Finding.REGRESSED, why, figures)
        if fault := _slower(each, base, limits):
            return Judged(Finding.REGRESSED, fault, figures)
    return Judged(Finding.STEADY, "", figures)


def _slower(now: Traffic, base: Traffic, limits: Limits) -> str:
    """Return a sentence if answers became slower; empty if they did not, or if there are too few."""
    if min(now.answered, base.answered) < limits.least_decisions:
        return ""
    bucket = _percentile(base)
    slow = Share(now.slower_than(bucket), now.answered)
    was_slow = Share(base.slower_than(bucket), base.answered)
    if bucket == len(LATENCY_EDGES_MS) or not _risen(slow, was_slow, 0.0, limits.slow_points):
        return ""
    return f"{_percent(slow.ratio)} % of its answers take longer than {LATENCY_EDGES_MS[bucket]} ms, which 95 % did not before."


def _percentile(traffic: Traffic) -> int:
    """Return the bucket of the p95."""
    most = (1 - _SLOW_PERCENTILE) * traffic.answered
    return next(each for each in range(len(traffic.permitted)) if traffic.slower_than(each) <= most)


def _risen(now: Share, base: Share, drift: float, points: int) -> bool:
    """Check whether a share rose by more than so many points, and by more than chance explains.

    ``drift``: how much it rose elsewhere meanwhile, which the version did not cause; bounded, or trouble elsewhere would hide trouble here.
    """
    allowed = points / 100
    rise = now.ratio - base.ratio - min(max(drift, 0.0), allowed)
    both = Share(now.hits + base.hits, now.whole + base.whole).ratio
    # Of the difference of two proportions, if both are of one population.
    error = sqrt(both * (1 - both) * (1 / now.whole + 1 / base.whole))
    return rise > max(allowed, STANDARD_ERRORS * error)


def _share(traffic: Traffic) -> float:
    return traffic.refused / traffic.decided if traffic.decided else 0.0


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _shown(now: Traffic) -> dict[str, Any]:
    return {"decisions": now.decided, "refused_percent": _percent(_share(now))}


def document(plan: Rollout) -> dict[str, Any]:
    """Return the signed part of a plan as JSON-serializable values."""
    return {
        "what": "rollout",
        "id": plan.id,
        "version": plan.version,
        "digest": plan.digest,
        "rings": rings_document(plan.rings),
        "limits": asdict(plan.limits),
        "reason": plan.reason,
        "before": {
            "everywhere": plan.before.everywhere,
            "at": {str(tenant): number for tenant, number in sorted(plan.before.at.items())},
            "last": plan.before.last,
        },
        "dry_run": plan.dry_run,
        "asked_by": plan.asked_by,
        "agreed_by": plan.agreed_by,
        "began_at": plan.began_at.isoformat(),
    }


def rings_document(rings: Iterable[Ring]) -> list[dict[str, Any]]:
    """Return rings as JSON-serializable values."""
    return [{"tenants": list(ring.tenants), "dwell_s": int(ring.dwell.total_seconds())} for ring in rings]


def ring_in_words(ring: Ring, name_of: Callable[[TenantId], str] = str) -> tuple[str, str]:
    """Return the hospitals of a ring and how long it has a version, in words."""
    where = ", ".join(map(name_of, ring.tenants)) or "everywhere"
    if ring.dwell % _HOUR:
        return where, counted(ring.dwell // timedelta(minutes=1), "minute")
    if ring.dwell % _DAY or ring.dwell == _DAY:
        return where, counted(ring.dwell // _HOUR, "hour")
    return where, counted(ring.dwell // _DAY, "day")


def order_in_words(order: Mapping[str, Any], name_of: Callable[[TenantId], str] = str) -> dict[str, Any]:
    """Return an order that waits for a second person with its rings and limits in words."""
    rings = enumerate(read_rings(order["rings"]), 1)
    limits = Limits(**order["limits"])
    refused, slow = counted(limits.refused_points, "point"), counted(limits.slow_points, "point")
    return {
        **{name: value for name, value in order.items() if name not in _PLANNED},
        **{f"ring {number}": ", for ".join(ring_in_words(ring, name_of)) for number, ring in rings},
        "goes back": f"by itself, if refusals rise by {refused} or slow answers by {slow}, of {counted(limits.least_decisions, 'decision')} at least",
    }


def read_rings(values: Iterable[dict[str, Any]]) -> tuple[Ring, ...]:
    """Return rings from the result of ``rings_document``."""
    return tuple(
        Ring(tuple(map(TenantId, each["tenants"])), timedelta(seconds=each["dwell_s"])) for each in values
    )
