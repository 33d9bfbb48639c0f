"""A hospital's FHIR server that holds a request until a test lets it go on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from tests.flows.gateway_ground import Answer, Ground
from tests.sim.fhir_upstream import OtherServer

Take = Callable[[Ground, Any], Any]


class Gate:
    """The hospital's FHIR server, which can be held at its n-th request from now."""

    def __init__(self) -> None:
        self.other = OtherServer()
        self.hold_at = 0
        self.count = 0
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/metadata":
            self.count += 1
        if self.hold_at and self.count == self.hold_at:
            self.reached.set()
            await self.go.wait()
        await self.other(scope, receive, send)

    @property
    def asked(self) -> list[str]:
        return [f"{method} {target}" for method, target, _ in self.other.seen if target != "metadata"]


def stop(kind: TargetKind, key: str = "", mode: Mode = Mode.FULL_STOP) -> Take:
    order = EngageOrder(Target(kind, key), mode, "a drill")
    return lambda made, _: made.run(lambda ctx: controls.engage(ctx, order))


async def held(made: Ground, gate: Gate, sent: Awaitable[Answer], at: int = 1) -> asyncio.Task[Answer]:
    """Send a request, and return once the FHIR server holds its n-th question."""
    gate.count, gate.hold_at = 0, at
    task = asyncio.ensure_future(sent)
    async with asyncio.timeout(10):
        await gate.reached.wait()
    return task
