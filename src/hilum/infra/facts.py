"""The contract of enforcement facts: ``facts(ctx, since) -> delta``.

Each room whose facts enforcement stands on offers one such function for each of its parts. It reads what changed since, or everything,
and returns a delta that the snapshot applies to the value that it holds. What a room must do beside that is to name, with each change,
what it changed (``Context.advance_epoch``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hilum.infra import epoch
from hilum.infra.context import Context
from hilum.infra.epoch import Change
from hilum.kernel.ids import Part

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Since:
    """What a room is asked: everything (None), or what became of what these changes name, the oldest first."""

    changes: tuple[Change, ...] | None = None

    def named(self) -> list[str]:
        """Return the keys that changed, each once."""
        return list(dict.fromkeys(change.key for change in self.changes or ()))


EVERYTHING = Since()


@dataclass(frozen=True, slots=True)
class Delta(Generic[V]):
    """What was read: the whole value, or what makes the value after of the value before, sharing what did not change."""

    whole: V | None = None
    change: Callable[[V], V] | None = None

    def applied(self, before: V | None) -> V:
        """Return the value after."""
        if self.change is None:
            assert self.whole is not None, "a delta is one or the other"
            return self.whole
        assert before is not None, "a change is asked for only by who holds a value"
        return self.change(before)


@dataclass(frozen=True, slots=True)
class Facts(Generic[V]):
    """One part's facts: how they are read, and which keys of changes this release knows.

    What is read hangs on nothing but the rows, and on the time only as far as old entries may be left out.
    """

    read: Callable[[Context, Since], Delta[V]]
    keys: re.Pattern[str]

    def __call__(self, ctx: Context, since: Since, /) -> Delta[V]:
        """Return what became of the facts; all of them where a change names what this release does not know."""
        return self.read(ctx, self.understood(since))

    def understood(self, since: Since) -> Since:
        """Return ``since``, or EVERYTHING where it names a key unknown here: in a rolling upgrade a newer release may write one.

        What it changed is not known then, so leaving it out could permit what it forbids.
        """
        known = all(self.keys.fullmatch(change.key) for change in since.changes or ())
        return since if known else EVERYTHING


def keyed(keys: str) -> Callable[[Callable[[Context, Since], Delta[V]]], Facts[V]]:
    """Make a room's function the facts of a part whose changes are named by keys that match ``keys`` as a whole.

    A new kind of key must not match the pattern of a release before it.
    """
    return lambda read: Facts(read, re.compile(keys, re.DOTALL))


def followed(ctx: Context, part: Part, facts: Facts[V]) -> V:
    """Return a part's facts as this transaction sees them: what the process remembers of it, with what changed since."""
    view = ctx.view
    if view is None or part in view.own:
        return facts(ctx, EVERYTHING).applied(None)
    stamp, held = view.stamp(ctx.tx, part), view.memory.latest(part, followed)
    if held is not None and held[0] == stamp:
        value: V = held[1]
        return value
    changes = None if held is None else epoch.changes(ctx.tx, part, held[0], stamp)
    value = facts(ctx, Since(changes)).applied(None if held is None else held[1])
    view.memory.keep(part, followed, stamp, value)
    return value
