"""A small site of pages, forms and an API over the real shell, without any module of the domain."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.web import errors, problems
from hilum.foundation.web.pages import NO_DEFAULTS, PageDefaults, Pages, Shell
from hilum.foundation.web.static import Assets

ORIGIN = "http://127.0.0.1:8000"
Handler = Callable[[Request], Awaitable[Response]]


def pages(
    *,
    sandbox: bool = True,
    defaults: Callable[[str], PageDefaults] = lambda _: NO_DEFAULTS,
    opens_an_app: Callable[[str], bool] = lambda _: False,
) -> Pages:
    return Pages(Assets(), Shell(sandbox=sandbox, defaults=defaults, opens_an_app=opens_an_app))


def request(
    headers: dict[str, str] | None = None,
    *,
    body: bytes = b"",
    query: bytes = b"",
    method: str = "POST",
    path: str = "/",
) -> Request:
    """Make a request as a server hands it over."""
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": raw,
        "state": {"request_id": "req_1"},
    }
    return Request(scope, receive)


def refusing(error: Exception) -> Starlette:
    """Make a site whose page raises."""

    async def page(_request: Request) -> Response:
        raise error

    async def fine(_request: Request) -> Response:
        return PlainTextResponse("fine")

    app = Starlette(routes=[Route("/", page), Route("/fine", fine, methods=["POST"])])
    errors.install(app, pages())
    return app


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    count: int = 1


def api(error: HilumError | Exception | None = None) -> FastAPI:
    """Make an API with one route that raises, or takes a body."""
    app = FastAPI()
    problems.install(app)

    @app.post("/api/v1/things")
    async def add(body: Body) -> dict[str, str]:
        if error is not None:
            raise error
        return {"name": body.name}

    return app


async def ask(app: Any, method: str, path: str, **sent: Any) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        return await http.request(method, path, **sent)
