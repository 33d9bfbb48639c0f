"""Places for those who read the audit: so many for one reader and one tenant that others always find one too.

Counted in this worker. Some places are kept for the platform's staff, who also read in a lane of their own (``Lane.STAFF_AUDIT``), so
that no tenant, nor all together, can shut them out.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import HilumError

RETRY_AFTER_S = 1


class TooManyReads(HilumError):
    """One reader, or one tenant's readers, have as many reads under way as they may."""

    def __init__(self, detail: str, retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__("too_many_reads", detail)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Shares:
    """``total`` places, of which one reader may have ``actor``, one tenant ``tenant``, and all tenants together ``tenants``."""

    total: int
    actor: int
    tenant: int
    tenants: int


READS = Shares(total=40, actor=2, tenant=2, tenants=24)
STREAMS = Shares(total=64, actor=4, tenant=12, tenants=48)


def refusal(shares: Shares, taken: "Taken", actor: Actor) -> str:
    """Return why this reader may have no further place, in a sentence; empty when they may."""
    if taken.by_actor[str(actor)] >= shares.actor:
        return f"You already have {shares.actor} audit reads running. Wait for one to finish."
    if actor.kind is ActorKind.PERSON:
        if taken.by_tenant[actor.tenant or ""] >= shares.tenant:
            return f"Your organisation has {shares.tenant} of these under way already. Try again shortly."
        if taken.by_tenant.total() >= shares.tenants:
            return "Too many organisations read the audit at this moment. Try again shortly."
    return "" if taken.total < shares.total else "Too many read the audit at this moment. Try again shortly."


@dataclass(slots=True)
class Taken:
    """Who has places now."""

    by_actor: Counter[str] = field(default_factory=Counter)
    by_tenant: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def add(self, actor: Actor, step: int) -> None:
        """Take a place (1) or give it back (-1)."""
        self.total += step
        _count(self.by_actor, str(actor), step)
        if actor.kind is ActorKind.PERSON:
            _count(self.by_tenant, actor.tenant or "", step)


def _count(counter: Counter[str], key: str, step: int) -> None:
    counter[key] += step
    if not counter[key]:
        del counter[key]


class Places:
    """The places of one worker, on its event loop."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._taken = Taken()

    def take(self, actor: Actor) -> None:
        """Take a place; ``leave`` gives it back. Raises TooManyReads."""
        if why := refusal(self._shares, self._taken, actor):
            raise TooManyReads(why)
        self._taken.add(actor, 1)

    def leave(self, actor: Actor) -> None:
        """Return a place."""
        self._taken.add(actor, -1)

    @contextmanager
    def held(self, actor: Actor) -> Iterator[None]:
        """Hold a place meanwhile. Raises TooManyReads."""
        self.take(actor)
        try:
            yield
        finally:
            self.leave(actor)
