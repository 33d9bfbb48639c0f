"""A datetime for decisions whose result is cached: it records until when the decision stays the same."""

from datetime import datetime
from typing import Any, Self

_OWN = frozenset({"until", "__class__"})


class WatchedMoment(datetime):
    """The present time, which records in ``until`` the earliest later moment that it was compared with; None if there is none.

    A decision that only compares the present has the same result at every moment before ``until``, so no separate list of expiries is
    needed beside the decision itself. Any other use (its date, a difference, its hash) may depend on the time in ways that cannot be
    tracked: then ``until`` is the moment itself, and the result must not be reused.
    """

    __slots__ = ("until",)
    until: datetime | None

    @classmethod
    def of(cls, at: datetime) -> Self:
        """Return a watched copy of a moment."""
        watched = cls.combine(at.date(), at.timetz())
        object.__setattr__(watched, "until", None)
        return watched

    def __lt__(self, other: Any, /) -> bool:
        _record(self, other)
        return datetime.__lt__(self, other)

    def __le__(self, other: Any, /) -> bool:
        _record(self, other)
        return datetime.__le__(self, other)

    def __gt__(self, other: Any, /) -> bool:
        _record(self, other)
        return datetime.__gt__(self, other)

    def __ge__(self, other: Any, /) -> bool:
        _record(self, other)
        return datetime.__ge__(self, other)

    # The interpreter looks these up on the type, without __getattribute__.
    def __eq__(self, other: object) -> bool:
        _stop_tracking(self)
        return datetime.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        _stop_tracking(self)
        return datetime.__ne__(self, other)

    def __hash__(self) -> int:
        _stop_tracking(self)
        return datetime.__hash__(self)

    def __add__(self, other: Any, /) -> Any:
        _stop_tracking(self)
        return datetime.__add__(_plain(self), other)

    __radd__ = __add__

    def __sub__(self, other: Any, /) -> Any:
        _stop_tracking(self)
        return datetime.__sub__(_plain(self), other)

    def __rsub__(self, other: Any, /) -> Any:
        _stop_tracking(self)
        return datetime.__sub__(other, _plain(self))

    def __str__(self) -> str:
        _stop_tracking(self)
        return datetime.__str__(_plain(self))

    def __repr__(self) -> str:
        _stop_tracking(self)
        return datetime.__repr__(_plain(self))

    def __format__(self, spec: str, /) -> str:
        _stop_tracking(self)
        return datetime.__format__(_plain(self), spec)

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return datetime.__getattribute__(self, name)
        _stop_tracking(self)
        return getattr(_plain(self), name)


def _record(moment: WatchedMoment, other: object) -> None:
    # With datetime's own methods: the operators would call this function again.
    if not isinstance(other, datetime) or not datetime.__le__(moment, other):
        return
    until = object.__getattribute__(moment, "until")
    if until is None or datetime.__lt__(other, until):
        object.__setattr__(moment, "until", other)


def _stop_tracking(moment: WatchedMoment) -> None:
    object.__setattr__(moment, "until", _plain(moment))


def _plain(moment: WatchedMoment) -> datetime:
    return datetime.combine(datetime.date(moment), datetime.timetz(moment))
