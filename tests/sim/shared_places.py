"""Processes that files share, stopped while their worker runs files of another ground: waiting alone takes each of them a fiftieth of a core,
and there are a dozen.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.grounds import ground_of


@dataclass
class Place:
    """What a fixture has started. ``resume`` starts it again as it was, at the same addresses and on the same data."""

    fixture: str
    ground: str
    pause: Callable[[], object]
    resume: Callable[[], object]
    stands: bool = True


_places: list[Place] = []


@contextmanager
def shared(
    fixture: str, ground: str, pause: Callable[[], object], resume: Callable[[], object]
) -> Iterator[None]:
    """Share what a fixture has started, for as long as the fixture stands."""
    place = Place(fixture, ground, pause, resume)
    _places.append(place)
    try:
        yield
    finally:
        _places.remove(place)


def prepare(item: pytest.Function) -> None:
    """Start what a test needs and was stopped, and stop what files of its ground do not need."""
    ground = ground_of(item.nodeid.partition("::")[0])
    for place in _places:
        needed = place.fixture in item.fixturenames
        if needed and not place.stands:
            place.resume()
            place.stands = True
        elif place.stands and not needed and place.ground != ground:
            place.pause()
            place.stands = False
