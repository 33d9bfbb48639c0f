"""The addresses of pictures that are shown, and of the colours of hospitals. They are public, as the pages they stand on."""

import re
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.pictures import service
from hilum.pictures.models import Owners
from hilum.standards.colours import brand_rules
from hilum.web.kit import Kit, trace_of
from hilum.web.static import image

_DIGEST = re.compile(r"[0-9a-f]{64}")
_OWNER_BOUND = 100
_CACHING = "public, max-age=86400"


def pages(kit: Kit) -> list[Route]:
    """Return the routes."""

    async def picture(request: Request) -> Response:
        kind, owner, digest = (request.path_params[name] for name in ("kind", "owner", "digest"))
        if kind not in set(Owners) or len(owner) > _OWNER_BOUND or not _DIGEST.fullmatch(digest):
            raise HTTPException(404)
        verb = partial(service.find, kind=Owners(kind), owner=owner, digest=digest, shown=True)
        content = await kit.uow.read(verb, trace=trace_of(request))
        if content is None:
            raise HTTPException(404)
        return image(content, caching=_CACHING)

    async def colour(request: Request) -> Response:
        rules = brand_rules("#" + request.path_params["colour"])
        if not rules:
            raise HTTPException(404)
        headers = {
            "cache-control": "public, max-age=31536000, immutable",
            "x-content-type-options": "nosniff",
        }
        return Response(rules, headers=headers, media_type="text/css")

    return [
        Route("/logos/{kind}/{owner}/{digest}.png", picture, methods=["GET"]),
        Route("/brand/{colour}.css", colour, methods=["GET"]),
    ]
