"""Tables whose cases leave the world of a test as it was: one world for all of them, where ``parametrize`` would build one for each."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest

from tests.effort import FULL
from tests.sim.backends import BACKENDS

PLAY = "play"
"""The fixture of a ground on which a test plays one story."""


def in_one_world(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Callable[..., Any]], Any]:
    """Call a test with each case in turn, in one world; otherwise like ``pytest.mark.parametrize``.

    For refusals and questions. Stories are played on one ground. Over PostgreSQL the first case is tried, as ``repeated_on_postgres``
    has it.
    """
    listed = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
    tried = list(cases)
    assert tried, "a test of no case proves nothing"

    def decorate(test: Callable[..., Any]) -> Any:
        given = inspect.signature(test)

        @wraps(test)
        def each_in_turn(request: pytest.FixtureRequest, **world: Any) -> None:
            if "request" in given.parameters:
                world["request"] = request
            stories: list[tuple[Any, Any]] = []
            for case in _tried(tried, request):
                values = dict(zip(listed, (case,) if len(listed) == 1 else case, strict=True))
                if PLAY in world:
                    values[PLAY] = lambda story, case=case: stories.append((case, story))
                with _noted(case):
                    test(**world | values)
            if stories:
                world[PLAY](lambda ground: _all_of(stories, ground))

        asked = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        others = [each for name, each in given.parameters.items() if name not in {*listed, "request"}]
        each_in_turn.__signature__ = given.replace(parameters=[asked, *others])  # type: ignore[attr-defined]
        return each_in_turn

    return decorate


async def _all_of(stories: list[tuple[Any, Any]], ground: Any) -> None:
    for case, story in stories:
        with _noted(case):
            await story(ground)


@contextmanager
def _noted(case: Any) -> Iterator[None]:
    """Note the case in which a test failed."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"In the case {repr(case)[:300]}.")
        raise


def _tried(cases: Sequence[Any], request: pytest.FixtureRequest) -> Sequence[Any]:
    params = getattr(getattr(request.node, "callspec", None), "params", {})
    on_postgres = "postgresql" in [params.get(each) for each in BACKENDS]
    every = request.node.get_closest_marker("every_case_on_both") is not None
    return cases[:1] if on_postgres and not (every or FULL) else cases
