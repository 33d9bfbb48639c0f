"""Addresses that programs call, standing among pages: a method that is not taken is refused in a program's words, never by a page."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]


class ProgramRoute(Route):
    """One address with a handler for each method; that of GET answers HEAD too.

    ``refuse`` answers every other method; ``Allow`` names those that are taken. Source: RFC 9110 sections 15.5.6 and 10.2.1.
    """

    def __init__(
        self, path: str, handlers: Mapping[str, Handler], refuse: Callable[[Request], Response]
    ) -> None:
        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await handlers[method](request)

        super().__init__(path, answer, methods=list(handlers))
        self._refuse = refuse
        self._allow = ", ".join(sorted(self.methods or ()))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path is this one's."""
        if scope["method"] in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = self._refuse(Request(scope))
        response.headers["allow"] = self._allow
        await response(scope, receive, send)
