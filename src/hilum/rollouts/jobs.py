"""The job that runs rollouts, in the jobs process of the node that holds its lease: it measures, and advances or goes back.

A run, in order: 1 read the open rollout and its position; 2 count the newest decisions; 3 judge the traffic of every ring that was reached;
4 record the verdict, in one transaction; 5 if it is to go back, do so in another; 6 notify hospitals of later rings. A run that breaks off
between 4 and 5 leaves it paused, and the next one continues there.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from hilum.audit.models import SLOT, Traffic
from hilum.infra.context import Context
from hilum.kernel.errors import HilumError, NotFound
from hilum.rollouts import policy, service
from hilum.rollouts.models import BASELINE, RECENT, Position, RingTraffic, Rollout, RolloutState

T = TypeVar("T")


class Transactions(Protocol):
    """Runs verbs as the system; ``write`` works only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


class Decisions(Protocol):
    """The counted traffic (``audit.live.count_decisions``)."""

    def traffic(
        self, since: datetime, until: datetime, *, tenants: Collection[str], beside: bool = False
    ) -> dict[str, Traffic]: ...


def run(tx: Transactions, count_decisions: Callable[[], Decisions], now: datetime) -> Rollout | None:
    """Advance the open rollout, or roll it back, and return it; None if there is none."""
    found = tx.read(service.unfinished)
    if found is None:
        return None
    plan, position = found
    try:
        if plan.state is not RolloutState.PAUSED:
            rings = measure(plan, position, count_decisions(), now)
            apps = {app for each in rings for app in each.now if plan.narrows}
            owners = tx.read(partial(service.vendors_of, apps=apps))
            judged = [policy.judge(each, plan.limits, narrows=plan.narrows, owners=owners) for each in rings]
            verdict = policy.next_step(plan, position, judged, now)
            plan = tx.write(
                partial(service.carry_out_verdict, plan_id=plan.id, seen=position, verdict=verdict)
            )
        if plan.state is RolloutState.PAUSED:
            plan = tx.write(partial(service.roll_back, plan_id=plan.id))
    except HilumError as error:
        with suppress(NotFound):
            tx.write(partial(service.note, plan_id=plan.id, why=f"It could not continue: {error.detail}"))
        raise
    # Last, since the verdict on the traffic must not wait for it. A ring lasts at least an hour, so this is early enough.
    for _ in range(service.ANNOUNCED_AT_ONCE):
        if not tx.write(partial(service.announce, plan_id=plan.id)):
            break
    return plan


def measure(plan: Rollout, position: Position, decisions: Decisions, now: datetime) -> list[RingTraffic]:
    """Return the traffic of each ring that was reached, from the ten minutes in which it was reached."""
    named = [tenant for ring in plan.rings for tenant in ring.tenants]
    reached = [tenant for ring in plan.rings[: len(position.reached)] for tenant in ring.tenants]
    everywhere = len(position.reached) == len(plan.rings)
    found = []
    # The ten minutes that are in progress count too: a regression is not waited for.
    until = now + SLOT
    for ring, began in zip(plan.rings, position.reached, strict=False):
        own, beside = ring.tenants or tuple(named), not ring.tenants
        traffic = partial(decisions.traffic, tenants=own, beside=beside)
        if everywhere:
            others_now, others_before = {}, {}
        else:
            others_now = decisions.traffic(began, until, tenants=reached, beside=True)
            others_before = decisions.traffic(began - BASELINE, began, tenants=reached, beside=True)
        found.append(
            RingTraffic(
                traffic(began, until),
                traffic(max(began, now - RECENT), until),
                traffic(began - BASELINE, began),
                others_now,
                others_before,
            )
        )
    return found
