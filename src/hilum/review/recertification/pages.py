"""The public figure: how many published apps have a valid certificate and nothing overdue (K17)."""

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hilum.foundation.infra.context import Trace
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.web.json_routes import JsonRoute
from hilum.foundation.web.kit import Kit
from hilum.review.recertification import service
from hilum.review.recertification.models import FIGURE_FOR, Currency

_TRACE = Trace("currency")
_HEADERS = {"Access-Control-Allow-Origin": "*"}


def pages(kit: Kit) -> list[BaseRoute]:
    """Build the public route."""
    figure = _Figure(kit)
    return [JsonRoute("/certificates/currency.json", {"GET": figure.show}, _refused)]


def _refused(_: Request) -> Response:
    body = {"status": 405, "code": "method_not_allowed", "detail": "Only GET is possible here."}
    return Response(orjson.dumps(body), 405, {"Cache-Control": "no-store"}, "application/problem+json")


class _Figure:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._lock = asyncio.Lock()
        self._held: Currency | None = None

    async def show(self, request: Request) -> Response:
        """GET the figure; it is computed once in FIGURE_FOR, however many requests arrive."""
        del request
        async with self._lock:
            held = self._held
            if held is None or self._kit.clock.now() - held.at >= FIGURE_FOR:
                try:
                    held = self._held = await self._kit.uow.read(service.currency, trace=_TRACE)
                except HilumError:
                    body = {"status": 503, "code": "not_known", "detail": "Try again soon."}
                    headers = _HEADERS | {"Cache-Control": "no-store", "Retry-After": "5"}
                    return Response(orjson.dumps(body), 503, headers, "application/problem+json")
        # Rounded down, so that it never claims more than is current.
        percent = held.current * 1000 // held.published / 10 if held.published else None
        shown = {
            "published": held.published,
            "current": held.current,
            "percent": percent,
            "as_of": held.at.isoformat(),
        }
        headers = _HEADERS | {"Cache-Control": f"public, max-age={int(FIGURE_FOR.total_seconds())}"}
        return Response(orjson.dumps(shown), 200, headers, "application/json")
