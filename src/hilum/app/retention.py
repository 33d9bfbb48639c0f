"""Forgetting what has expired, in batches small enough that nobody waits, until nothing is left to forget."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from hilum.app.schedule import Held
from hilum.audit import live as journals
from hilum.audit import service as audit
from hilum.controls import service as controls
from hilum.frontchannel import service as frontchannel
from hilum.infra import epoch
from hilum.infra.context import Context
from hilum.infra.settings import Settings
from hilum.launches import service as launches
from hilum.signin import service as signin
from hilum.tokens import service as tokens

PURGE_EVERY = timedelta(minutes=1)
RETAIN_EVERY = timedelta(hours=1)
BREATH_S = 0.01
"""Between two batches others may write."""
ACCESSES = "access"
EVENT_CLASSES = (
    "approvals", "audit", "authserver", "consent", "controls", "enrolment", "gateway", "host", "identity", "infra", "keys", "launches", "registry", "signin", "tokens",
)  # fmt: skip
"""The classes of events: the word that an action begins with."""


def forget_changes(ctx: Context) -> int:
    """Forget which facts changed long ago, at most a batch; return how many. Who missed them reads everything."""
    return epoch.purge(ctx.tx, ctx.now)


def purge(held: Held, settings: Settings) -> None:
    """Settle switches that ran out, and forget codes, requests, jtis, tokens, sessions and launches that are over, until none is left."""
    for forget in (
        controls.settle_expired,
        forget_changes,
        partial(tokens.purge, used_kept=settings.keep.used_tokens),
        frontchannel.purge,
        signin.purge,
        partial(launches.purge, kept=settings.keep.launches),
    ):
        _until_none(held, forget)


def retain(held: Held, settings: Settings) -> None:
    """Purge the payloads of accesses and events that were kept long enough. Holds win; the chains keep every digest."""
    today = held.edge.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for kind in EVENT_CLASSES:
        _until_none(held, partial(audit.purge_payloads, kind=kind, before=today - settings.keep.events))
    before = held.write(lambda ctx: audit.open_access_purge(ctx, today - settings.keep.accesses))

    def may_continue() -> bool:
        """Asked before each batch: a purge may take hours, and a hold or another holder of the lease may come meanwhile."""
        return (
            not held.stop.is_set() and held.write(lambda ctx: audit.purgeable_before(ctx, before)) == before
        )

    journals.open_reader(settings.data_dir / "journal", settings.database_url).purge(before, may_continue)


def _until_none(held: Held, forget: Callable[[Context], int]) -> None:
    while held.write(forget) and not held.stop.wait(BREATH_S):
        pass
