"""Forgetting what has expired, in batches small enough that nobody waits, until nothing is left to forget."""

from datetime import timedelta

from hilum.app.schedule import Held
from hilum.controls import service as controls
from hilum.frontchannel import service as frontchannel
from hilum.infra import epoch
from hilum.infra.context import Context
from hilum.launches import service as launches
from hilum.tokens import service as tokens

PURGE_EVERY = timedelta(minutes=1)
BREATH_S = 0.02
"""Between two batches others may write."""


def forget_changes(ctx: Context) -> int:
    """Forget which facts changed long ago, at most a batch; return how many. Who missed them reads everything."""
    return epoch.purge(ctx.tx, ctx.now)


FORGETTING = (controls.settle_expired, forget_changes, tokens.purge, frontchannel.purge, launches.purge)


def purge(held: Held) -> None:
    """Settle switches that ran out, and forget codes, requests, jtis, tokens and launches that are over, until none is left."""
    for forget in FORGETTING:
        while held.write(forget) and not held.stop.wait(BREATH_S):
            pass
