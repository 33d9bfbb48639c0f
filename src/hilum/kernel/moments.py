"""The present, as a judgement whose result is to be kept may see it: it notes until when the judgement holds."""

from datetime import datetime
from typing import Any, Self

_OWN = frozenset({"until", "__class__"})


class WatchedMoment(datetime):
    """A moment that records the earliest later moment that it was compared with (``until``); None without one.

    A judgement that did nothing with the present but compare it comes out the same at every moment from this one to ``until``, so what
    ends by the clock needs no second list of ends beside the judgement itself. Any other use (its date, a difference, its hash) may
    depend on it in ways that are not followed: then ``until`` is the moment itself, and the result is good for no later one.
    """

    __slots__ = ("until",)
    until: datetime | None

    @classmethod
    def of(cls, at: datetime) -> Self:
        """Return a moment as one that is watched from now on."""
        made = cls.combine(at.date(), at.timetz())
        object.__setattr__(made, "until", None)
        return made

    def __lt__(self, other: Any, /) -> bool:
        _met(self, other)
        return datetime.__lt__(self, other)

    def __le__(self, other: Any, /) -> bool:
        _met(self, other)
        return datetime.__le__(self, other)

    def __gt__(self, other: Any, /) -> bool:
        _met(self, other)
        return datetime.__gt__(self, other)

    def __ge__(self, other: Any, /) -> bool:
        _met(self, other)
        return datetime.__ge__(self, other)

    # What the interpreter looks up on the type, past __getattribute__.
    def __eq__(self, other: object) -> bool:
        _give_up(self)
        return datetime.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        _give_up(self)
        return datetime.__ne__(self, other)

    def __hash__(self) -> int:
        _give_up(self)
        return datetime.__hash__(self)

    def __add__(self, other: Any, /) -> Any:
        _give_up(self)
        return datetime.__add__(_plain(self), other)

    __radd__ = __add__

    def __sub__(self, other: Any, /) -> Any:
        _give_up(self)
        return datetime.__sub__(_plain(self), other)

    def __rsub__(self, other: Any, /) -> Any:
        _give_up(self)
        return datetime.__sub__(other, _plain(self))

    def __str__(self) -> str:
        _give_up(self)
        return datetime.__str__(_plain(self))

    def __repr__(self) -> str:
        _give_up(self)
        return datetime.__repr__(_plain(self))

    def __format__(self, spec: str, /) -> str:
        _give_up(self)
        return datetime.__format__(_plain(self), spec)

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return datetime.__getattribute__(self, name)
        _give_up(self)
        return getattr(_plain(self), name)


def _met(moment: WatchedMoment, other: object) -> None:
    # By the methods of datetime itself: the operators would come back here.
    if not isinstance(other, datetime) or not datetime.__le__(moment, other):
        return
    until = object.__getattribute__(moment, "until")
    if until is None or datetime.__lt__(other, until):
        object.__setattr__(moment, "until", other)


def _give_up(moment: WatchedMoment) -> None:
    object.__setattr__(moment, "until", _plain(moment))


def _plain(moment: WatchedMoment) -> datetime:
    return datetime.combine(datetime.date(moment), datetime.timetz(moment))
