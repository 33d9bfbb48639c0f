"""The public addresses: certificates, keys, status lists and badges. Nothing here takes a credential."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.web.json_routes import JsonRoute
from hilum.foundation.web.kit import Kit
from hilum.review.certificates import policy
from hilum.review.certificates.live import Published
from hilum.review.certificates.models import KEYS_MAX_AGE, MAX_AGE, Certificate

JWS, STATUS_LIST, SVG, JSON = (
    "application/jwt",
    "application/statuslist+jwt",
    "image/svg+xml",
    "application/json",
)
ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
# An SVG opened directly is a document of this origin.
_SVG_HEADERS = {"content-security-policy": "default-src 'none'; sandbox", "x-content-type-options": "nosniff"}


def pages(kit: Kit) -> list[BaseRoute]:
    """Build the public routes."""
    public = _Public(kit)
    gets: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/certificates/keys.json": public.keys,
        "/certificates/status/{number:int}": public.status,
        "/certificates/of/{app}": public.of_app,
        "/certificates/of/{app}/badge.svg": public.badge_of_app,
        "/certificates/{certificate}": public.one,
        "/certificates/{certificate}/badge.svg": public.badge,
    }
    return [
        JsonRoute(path, {"GET": handler, "OPTIONS": _preflight}, _refused) for path, handler in gets.items()
    ]


async def _preflight(request: Request) -> Response:
    del request
    headers = ANY_ORIGIN | {"Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "*"}
    return Response(None, 204, headers)


def _refused(_: Request) -> Response:
    return _problem(405, "method_not_allowed", "Only GET is possible here.")


class _Public:
    def __init__(self, kit: Kit) -> None:
        self._clock = kit.clock
        self._published = Published(kit.uow)

    async def keys(self, request: Request) -> Response:
        """GET the keys that verify certificates and status lists, including replaced ones."""
        await self._published.refresh()
        return _answer(request, orjson.dumps(self._published.keys), JSON, KEYS_MAX_AGE)

    async def status(self, request: Request) -> Response:
        """GET a status list."""
        await self._published.refresh()
        text = self._published.status_list(request.path_params["number"])
        if not text:
            return _problem(404, "status_list_not_found", "There is no such status list.")
        # An outdated list would show withdrawn certificates as valid.
        if not self._published.is_known:
            return _unknown()
        return _answer(request, text.encode(), STATUS_LIST, MAX_AGE)

    async def one(self, request: Request) -> Response:
        """GET a certificate by its id."""
        await self._published.refresh()
        return await self._text(request, self._published.find(request.path_params["certificate"]))

    async def of_app(self, request: Request) -> Response:
        """GET the certificate of an app for production, by the app's id or name."""
        await self._published.refresh()
        return await self._text(request, self._published.of_app(request.path_params["app"]))

    async def _text(self, request: Request, found: Certificate | None) -> Response:
        if found is None:
            return _problem(404, "certificate_not_found", "There is no such certificate.")
        try:
            text = await self._published.text(found)
        except HilumError:
            return _unknown()
        return _answer(request, text.encode(), JWS, MAX_AGE)

    async def badge(self, request: Request) -> Response:
        """GET the badge of a certificate."""
        await self._published.refresh()
        return await self._drawn(request, self._published.find(request.path_params["certificate"]))

    async def badge_of_app(self, request: Request) -> Response:
        """GET the badge of an app."""
        await self._published.refresh()
        return await self._drawn(request, self._published.of_app(request.path_params["app"]))

    async def _drawn(self, request: Request, found: Certificate | None) -> Response:
        reviewed = True
        if found is not None:
            try:
                reviewed = policy.is_of_review(await self._published.text(found))
            except HilumError:
                return _unknown()
        known, now = self._published.is_known, self._clock.now()
        drawn = policy.badge(found, known=known, now=now, reviewed=reviewed)
        answer = _answer(request, drawn.encode(), SVG, MAX_AGE, status=404 if found is None else 200)
        answer.headers.update(_SVG_HEADERS)
        return answer


def _answer(
    request: Request, body: bytes, media_type: str, max_age: timedelta, *, status: int = 200
) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = ANY_ORIGIN | {
        "Cache-Control": f"public, max-age={int(max_age.total_seconds())}",
        "ETag": tag,
        # A badge is there to be shown on the vendor's own pages.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    # RFC 9110 section 13.1.2: a weak comparison.
    held = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if status == 200 and (tag in held or "*" in held):
        return Response(None, 304, headers)
    return Response(body, status, headers, media_type)


def _unknown() -> Response:
    detail = "The status of certificates is not known at the moment. Try again soon."
    return _problem(503, "certificates_not_known", detail)


def _problem(status: int, code: str, detail: str) -> Response:
    headers = ANY_ORIGIN | {"Cache-Control": "no-store"} | ({"Retry-After": "5"} if status == 503 else {})
    body = {"status": status, "code": code, "detail": detail}
    return Response(orjson.dumps(body), status, headers, "application/problem+json")
