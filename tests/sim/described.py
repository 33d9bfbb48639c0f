"""Shares what FastAPI derives from the signatures of endpoints among the sites of a test run. Nearly every test builds a site of
hundreds of routes, and describing them was most of its set-up.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any

from fastapi import applications, routing
from fastapi._body_limit import wrap_app_with_body_limit
from fastapi.openapi.utils import get_openapi
from starlette import routing as paths
from starlette.types import Receive, Scope, Send

KEPT_BOUND = 2_000
_ANNOTATED: type[Any] = type(Annotated[int, 0])


def types_of(endpoint: Callable[..., Any]) -> list[Any]:
    """List the types of the parameters and of the result. What annotates them is written beside them, so it is the same."""
    given: list[Any] = list(endpoint.__annotations__.values())
    return [each.__origin__ if type(each) is _ANNOTATED else each for each in given]


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
    paths.compile_path = lru_cache(KEPT_BOUND)(paths.compile_path)
    add = routing.APIRouter.add_api_route
    described: dict[tuple[object, ...], tuple[list[Any], dict[str, Any]]] = {}

    def shared(router: Any, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        code = getattr(endpoint, "__code__", endpoint)
        methods = frozenset(declared.get("methods") or ())
        key = code, router.prefix, path, declared.get("status_code"), methods, *router.tags
        types, held = described.get(key, ((), {}))
        if not held or types != types_of(endpoint):
            add(router, path, endpoint, **declared)
            assert len(described) < KEPT_BOUND
            described[key] = types_of(endpoint), dict(vars(router.routes[-1]))
            return
        route = object.__new__(declared.get("route_class_override") or router.route_class)
        vars(route).update(held, endpoint=endpoint, app=Later(route, held["max_body_size"]))
        router.routes.append(route)
        router._mark_routes_changed()

    routing.APIRouter.add_api_route = shared  # type: ignore[method-assign, assignment]
    vars(applications)["get_openapi"] = _share_documents(get_openapi)


def _share_documents(make: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Write the document of the same routes once."""
    documents: dict[tuple[object, ...], dict[str, Any]] = {}

    def written(**given: Any) -> dict[str, Any]:
        routes = [each for each in given["routes"] if isinstance(each, routing.APIRoute)]
        key = (
            given["title"],
            *((each.path, frozenset(each.methods or ()), each.endpoint.__code__) for each in routes),
        )
        if key not in documents:
            documents[key] = make(**given)
        return documents[key]

    return written
