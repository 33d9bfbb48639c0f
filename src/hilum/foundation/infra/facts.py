"""The contract of enforcement facts: ``facts(ctx, since) -> delta``.

Each module whose facts enforcement needs has one such function for each of its parts. It reads the changes since a stamp, or everything,
and returns a delta, which the snapshot applies to its current value. With each change the module also announces the changed keys
(``Context.advance_epoch``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.epoch import Change
from hilum.foundation.kernel.ids import Part

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Since:
    """What to read: everything (None), or the present state of what these changes name, oldest first."""

    changes: tuple[Change, ...] | None = None

    def named(self) -> list[str]:
        """Return the changed keys, without duplicates."""
        return list(dict.fromkeys(change.key for change in self.changes or ()))


EVERYTHING = Since()


@dataclass(frozen=True, slots=True)
class Delta(Generic[V]):
    """The whole value, or a function from the previous value to the new one, which share unchanged parts.

    With both, ``change`` is used where there is a previous value: it may refuse the new one.
    """

    whole: V | None = None
    change: Callable[[V], V] | None = None

    def applied(self, before: V | None) -> V:
        """Return the new value, given the previous one."""
        if self.change is None or (before is None and self.whole is not None):
            assert self.whole is not None, "a delta has a whole value or a change"
            return self.whole
        assert before is not None, "a change needs a previous value"
        return self.change(before)


@dataclass(frozen=True, slots=True)
class Facts(Generic[V]):
    """How one part's facts are read, and which change keys this release understands.

    The result depends only on the stored rows, and on the time only in that expired entries may be left out.
    """

    read: Callable[[Context, Since], Delta[V]]
    keys: re.Pattern[str]

    def __call__(self, ctx: Context, since: Since, /) -> Delta[V]:
        """Read the facts that changed; all of them when a change has a key that this release does not understand."""
        return self.read(ctx, self.understood(since))

    def understood(self, since: Since) -> Since:
        """Return ``since``, or EVERYTHING when it has an unknown key, which a newer release may write during a rolling upgrade.

        Ignoring such a change could permit what it forbids.
        """
        # fullmatch: a key of a newer release may begin like one of ours and mean something else.
        known = all(self.keys.fullmatch(change.key) for change in since.changes or ())
        return since if known else EVERYTHING


def keyed(keys: str) -> Callable[[Callable[[Context, Since], Delta[V]]], Facts[V]]:
    """Turn a module's function into the ``Facts`` of a part; ``keys`` is a pattern that every change key matches in full.

    A new kind of key must not match the patterns of earlier releases, which would misread it.
    """
    return lambda read: Facts(read, re.compile(keys, re.DOTALL))


def current_facts(ctx: Context, part: Part, facts: Facts[V]) -> V:
    """Return a part's facts as this transaction sees them: the cached value with the changes since."""
    view = ctx.view
    if view is None or part in view.own:  # this transaction's own changes are in no cached value
        return facts(ctx, EVERYTHING).applied(None)
    stamp, cached = view.stamp(ctx.tx, part), view.cache.latest(part, current_facts)
    if cached is not None and cached[0] == stamp:
        value: V = cached[1]
        return value
    # None where the rows do not lead from the cached stamp to the present one without a gap.
    changes = None if cached is None else epoch.changes(ctx.tx, part, cached[0], stamp)
    # A part may refuse to go back, but not after a failover that lost its changes.
    if changes is None and cached is not None and epoch.has_parted(ctx.tx, part, cached[0], stamp):
        cached = None
    value = facts(ctx, Since(changes)).applied(None if cached is None else cached[1])
    view.cache.put(part, current_facts, stamp, value)
    return value
