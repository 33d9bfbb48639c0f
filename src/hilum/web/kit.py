"""What app hands to every room that has routes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from hilum.infra.context import Trace
from hilum.infra.edge import Edge
from hilum.infra.settings import Mode
from hilum.kernel.actor import Actor
from hilum.kernel.ports import Clock, Ids
from hilum.web.pages import Pages
from hilum.web.urls import Urls


@dataclass(frozen=True, slots=True)
class Kit:
    """The edge, the world's ports, addresses, pages, and who asks.

    ``authenticate`` names the actor behind an API request's bearer token; it raises NotAuthenticated when there is none that counts.
    """

    edge: Edge
    clock: Clock
    ids: Ids
    urls: Urls
    mode: Mode
    pages: Pages
    authenticate: Callable[[Request], Awaitable[Actor]]

    @property
    def is_sandbox(self) -> bool:
        return self.mode is Mode.SANDBOX


def trace_of(request: Request) -> Trace:
    """Read what the outermost layer learnt of a request: its id, the caller's address and own id."""
    state = request.scope.get("state", {})
    return Trace(
        request_id=str(state.get("request_id", "")),
        source=str(state.get("source", "")),
        correlation_id=str(state.get("correlation_id", "")),
    )
