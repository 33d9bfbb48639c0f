"""Shares what FastAPI derives from the signatures of endpoints among the sites of a test run. Nearly every test builds a site of
hundreds of routes, and describing them was most of its set-up.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, get_origin

from fastapi import routing
from fastapi._body_limit import wrap_app_with_body_limit
from starlette.types import Receive, Scope, Send

KEPT_BOUND = 2_000


def types_of(endpoint: Callable[..., Any]) -> list[Any]:
    """List the types of the parameters and of the result. What annotates them is written beside them, so it is the same."""
    given: list[Any] = list(endpoint.__annotations__.values())
    return [each.__origin__ if get_origin(each) is Annotated else each for each in given]


class Later:
    """A route's application, built at its first request: of hundreds of routes a test asks for a few."""

    def __init__(self, route: Any, max_body_size: int | None) -> None:
        self._route, self._max_body_size = route, max_body_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route
        # Each site's endpoint is its own: it holds the site's database.
        route.dependant = replace(route.dependant, call=route.endpoint)
        answer = routing.request_response(route.get_route_handler())
        route.app = wrap_app_with_body_limit(answer, self._max_body_size)
        await route.app(scope, receive, send)


def share_described() -> None:
    """Describe each route once. What is described of an endpoint follows from its code, its path and how it is declared."""
    describe = routing.APIRoute.__init__
    described: dict[tuple[object, ...], tuple[list[Any], dict[str, Any]]] = {}

    def shared(route: Any, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        key = (
            getattr(endpoint, "__code__", endpoint),
            path,
            declared["status_code"],
            frozenset(declared["methods"] or ()),
        )
        types, held = described.get(key, ((), {}))
        if not held or types != types_of(endpoint):
            describe(route, path, endpoint, **declared)
            assert len(described) < KEPT_BOUND
            described[key] = types_of(endpoint), dict(vars(route))
            return
        later = Later(route, declared["max_body_size"])
        vars(route).update(held, endpoint=endpoint, app=later)

    routing.APIRoute.__init__ = shared  # type: ignore[method-assign, assignment]
