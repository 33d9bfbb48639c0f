"""Shares what FastAPI derives from the signatures of endpoints among the sites of a test run. Nearly every test builds a site of
hundreds of routes, and describing them was most of its set-up.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, get_origin

from fastapi import routing

KEPT_BOUND = 2_000


def types_of(endpoint: Callable[..., Any]) -> list[Any]:
    """List the types of the parameters and of the result. What annotates them is written beside them, so it is the same."""
    given: list[Any] = list(endpoint.__annotations__.values())
    return [each.__origin__ if get_origin(each) is Annotated else each for each in given]


def share_described() -> None:
    """Describe each route once. What is described of an endpoint follows from its code, its path and how it is declared."""
    describe = routing._populate_api_route_state
    described: dict[tuple[object, ...], dict[str, Any]] = {}

    def shared(route: Any, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        key = (
            getattr(endpoint, "__code__", endpoint),
            path,
            declared["status_code"],
            frozenset(declared["methods"] or ()),
        )
        held = described.get(key)
        if held is None or types_of(held["endpoint"]) != types_of(endpoint):
            describe(route, path, endpoint, **declared)
            assert len(described) < KEPT_BOUND
            described[key] = dict(vars(route))
            return
        # Each site's endpoint is its own: it holds the site's database.
        own = {"endpoint": endpoint, "dependant": replace(held["dependant"], call=endpoint)}
        vars(route).update(held | own)

    routing._populate_api_route_state = shared
