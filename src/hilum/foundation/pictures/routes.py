"""The public addresses of shown pictures and of hospitals' colours."""

import re
from collections.abc import Callable
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.pictures import service
from hilum.foundation.pictures.models import Owners
from hilum.foundation.standards.colours import brand_rules
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.static import image

_DIGEST = re.compile(r"[0-9a-f]{64}")
_OWNER_BOUND = 100
_CACHING = "public, max-age=300"
"""A logo may be visible for so long after a stop has hidden it."""
IsStopped = Callable[[Context, AppId], bool]
"""Returns whether an app is stopped. Its logo is hidden then, since it would look as if the app worked."""


def pages(kit: Kit, is_stopped: IsStopped) -> list[Route]:
    """Return the routes."""

    def find(ctx: Context, kind: Owners, owner: str, digest: str) -> bytes | None:
        content = service.find(ctx, kind, owner, digest, shown=True)
        stopped = content is not None and kind is Owners.APP and is_stopped(ctx, AppId(owner))
        return None if stopped else content

    async def picture(request: Request) -> Response:
        kind, owner, digest = (request.path_params[name] for name in ("kind", "owner", "digest"))
        if kind not in set(Owners) or len(owner) > _OWNER_BOUND or not _DIGEST.fullmatch(digest):
            raise HTTPException(404)
        verb = partial(find, kind=Owners(kind), owner=owner, digest=digest)
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
