"""Starlette routes of JSON endpoints on a site with pages: an unsupported method is answered in JSON, not by an error page.

Every route outside ``/api/v1`` is a Starlette route; raw ASGI is for FHIR requests only (docs/architecture.md, two ways to serve HTTP).
"""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Response]]


class JsonRoute(Route):
    """One path with a handler per method; that of GET answers HEAD too.

    ``refuse`` answers every other method, with the supported ones in ``Allow``. Source: RFC 9110 sections 15.5.6 and 10.2.1.
    """

    def __init__(
        self, path: str, handlers: Mapping[str, Handler], refuse: Callable[[Request], Response]
    ) -> None:
        async def answer(request: Request) -> Response:
            # RFC 9110 section 9.3.2: HEAD is answered as GET; the server drops the body.
            method = "GET" if request.method == "HEAD" else request.method
            return await handlers[method](request)

        super().__init__(path, answer, methods=list(handlers))
        self._refuse = refuse
        self._allow = ", ".join(sorted(self.methods or ()))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request whose path matches."""
        if scope["method"] in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = self._refuse(Request(scope))
        response.headers["allow"] = self._allow
        await response(scope, receive, send)
