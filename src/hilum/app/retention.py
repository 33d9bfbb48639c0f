"""Forgetting what has expired, in batches small enough that nobody waits, until nothing is left to forget."""

from datetime import timedelta

from hilum.app.schedule import Held
from hilum.frontchannel import service as frontchannel
from hilum.launches import service as launches
from hilum.tokens import service as tokens

PURGE_EVERY = timedelta(minutes=1)
BREATH_S = 0.02
"""Between two batches others may write."""
FORGETTING = (tokens.purge, frontchannel.purge, launches.purge)


def purge(held: Held) -> None:
    """Forget codes, requests, jtis, tokens and launches that are over, until none is left or the process stops."""
    for forget in FORGETTING:
        while held.write(forget) and not held.stop.wait(BREATH_S):
            pass
