"""Limits on concurrent audit reads: per reader and per tenant, so that none of them can exhaust the slots of the others.

Counted per worker. Some slots are reserved for the platform's staff, who also read in a lane of their own (``Lane.STAFF_AUDIT``), so
that tenants, even all together, cannot lock them out.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import HilumError

RETRY_AFTER_S = 1


class TooManyReads(HilumError):
    """The limit of concurrent reads is reached: of this reader, this tenant, all tenants, or this worker."""

    def __init__(self, detail: str) -> None:
        super().__init__("too_many_reads", detail)
        self.retry_after_s = RETRY_AFTER_S


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """``total`` slots, of which one reader may hold ``actor``, one tenant or vendor ``tenant``, and all of them together ``tenants``."""

    total: int
    actor: int
    tenant: int
    tenants: int


# 40 in all, of which tenants together get 24: sixteen concurrent
# reads of one hospital once kept every token from being issued.
READS = SlotLimits(total=40, actor=2, tenant=2, tenants=24)
# A report may count a million records.
REPORTS = SlotLimits(total=4, actor=1, tenant=1, tenants=2)
# Apart from the audit's own: patients who read their access history must not keep a hospital from reading its audit.
DISCLOSURES = SlotLimits(total=16, actor=1, tenant=6, tenants=16)
# Apart from the API's: who looks at pages must not be kept out by programs that read all day.
CONSOLES = SlotLimits(total=24, actor=2, tenant=4, tenants=16)
# Apart from all others: vendors must not keep hospitals and staff from reading.
VENDORS = SlotLimits(total=8, actor=1, tenant=2, tenants=8)
STREAMS = SlotLimits(total=64, actor=4, tenant=12, tenants=48)


def refusal(limits: SlotLimits, in_use: "SlotsInUse", actor: Actor) -> str:
    """Return why this reader may hold no further slot, as a sentence; empty if they may."""
    if in_use.by_actor[str(actor)] >= limits.actor:
        return f"You already have {limits.actor} audit reads running. Wait for one to finish."
    # Staff read for the whole platform and are not limited by tenant.
    if place := _place(actor):
        if in_use.by_tenant[place] >= limits.tenant:
            return f"Your organisation already has {limits.tenant} audit reads running. Try again shortly."
        if in_use.by_tenant.total() >= limits.tenants:
            return "Too many organisations are reading the audit right now. Try again shortly."
    return "" if in_use.total < limits.total else "Too many audit reads are running. Try again shortly."


@dataclass(slots=True)
class SlotsInUse:
    """Slots in use, by reader and by tenant."""

    by_actor: Counter[str] = field(default_factory=Counter)
    by_tenant: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def add(self, actor: Actor, step: int) -> None:
        """Add a slot (``step`` 1) or remove one (-1)."""
        self.total += step
        _count(self.by_actor, str(actor), step)
        if place := _place(actor):
            _count(self.by_tenant, place, step)


def _place(actor: Actor) -> str:
    """Return the hospital or vendor whose slots a reader takes; empty for one who reads for the platform."""
    match actor.kind:
        case ActorKind.PERSON:
            return actor.tenant or "nowhere"
        case ActorKind.MEMBER:
            return actor.vendor or "nowhere"
        case _:
            return ""


def _count(counter: Counter[str], key: str, step: int) -> None:
    counter[key] += step
    # Removed at zero, so that the counters hold current readers only.
    if not counter[key]:
        del counter[key]


class ReaderSlots:
    """The slots of one worker. Belongs to its event loop."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits
        self._in_use = SlotsInUse()

    def acquire(self, actor: Actor) -> None:
        """Acquire a slot; ``release`` releases it. Raises TooManyReads."""
        if why := refusal(self._limits, self._in_use, actor):
            raise TooManyReads(why)
        self._in_use.add(actor, 1)

    def release(self, actor: Actor) -> None:
        """Release a slot."""
        self._in_use.add(actor, -1)

    @contextmanager
    def held(self, actor: Actor) -> Iterator[None]:
        """Hold a slot inside the ``with`` block. Raises TooManyReads."""
        self.acquire(actor)
        try:
            yield
        finally:
            self.release(actor)
