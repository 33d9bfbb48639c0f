"""Reads enforcement facts whole, as a process does when it starts."""

from collections.abc import Callable
from typing import Any, TypeVar

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import ControlFacts
from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.facts import EVERYTHING, Delta, Since
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import Part

V = TypeVar("V")


def whole(facts: Callable[[Context, Since], Delta[V]]) -> Callable[[Context], V]:
    """Return a verb that reads everything."""
    return lambda ctx: facts(ctx, EVERYTHING).applied(None)


def control_facts(ctx: Context) -> ControlFacts:
    return ControlFacts(whole(controls.switch_facts)(ctx), whole(controls.quota_facts)(ctx))


def counted(uow: UnitOfWork, part: Part) -> int:
    """Return how often a part changed."""
    found: Any = uow.read_now(lambda ctx: epoch.read(ctx.tx)[part].n, trace=Trace("req_test"))
    return int(found)
