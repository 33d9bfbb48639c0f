"""The pages of the guides. They are the same for everybody, need no script, and caches may keep them."""

import hashlib
from pathlib import Path

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.foundation.web.pages import Pages
from hilum.surfaces.guides import policy
from hilum.surfaces.guides.service import guides

TEMPLATES = Path(__file__).parent / "templates"
CACHING = "public, max-age=300"
"""For five minutes; then a browser asks whether it changed."""


def routes(pages: Pages) -> list[Route]:
    """Return the routes of the guides. They are public: nobody is asked who they are."""
    page = _Guides(pages)
    return [
        Route(policy.ROOT, page.index, methods=["GET"]),
        Route(f"{policy.ROOT}/{{name}}", page.show, methods=["GET"]),
    ]


class _Guides:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def index(self, request: Request) -> Response:
        found = [(f"{policy.ROOT}/{each.name}", each.title, each.lead) for each in guides().guides.values()]
        return _kept(request, self._pages.render(request, "guides/index.html", found=found))

    async def show(self, request: Request) -> Response:
        guide = guides().guides.get(request.path_params["name"])
        if guide is None:
            raise HTTPException(404)
        # The one text that is not escaped here: it was, when it was rendered from the platform's own files.
        body = Markup(guide.body)  # noqa: S704 - of our own files, in which the renderer escapes markup
        answer = self._pages.render(request, "guides/guide.html", guide=guide, body=body, index=policy.ROOT)
        return _kept(request, answer)


def _kept(request: Request, answer: Response) -> Response:
    """Let caches keep a page, and answer 304 if the client already has it."""
    tag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:24]}"'
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"etag": tag, "cache-control": CACHING})
    answer.headers.update({"etag": tag, "cache-control": CACHING, "vary": "sec-fetch-dest"})
    return answer
