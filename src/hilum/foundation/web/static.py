"""Serves static files from memory, under URLs that change with their content."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FILES_BOUND = 200
FILE_BYTES_BOUND = 1024 * 1024
SHELL = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    media_type: str


class Assets:
    """The files of one site: the shell's, and those of ``folders``. Names must be unique.

    All files share one build digest in their URL, so that script modules can import each other by relative paths.
    """

    def __init__(self, *folders: Path) -> None:
        self._files = dict(_read_all((SHELL, *folders)))
        digest = hashlib.sha256()
        for name in sorted(self._files):
            digest.update(name.encode() + b"\0" + self._files[name].body)
        self.build = digest.hexdigest()[:12]

    def path(self, name: str) -> str:
        """Return the path of a file. An unknown name is a bug."""
        assert name in self._files, name
        return f"/static/{self.build}/{name}"

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        return [
            Route("/static/{build}/{name:path}", self._serve, methods=["GET"]),
            Route("/favicon.ico", self._favicon, methods=["GET"]),
        ]

    async def _serve(self, request: Request) -> Response:
        asset = self._files.get(request.path_params["name"])
        if asset is None:
            return Response("There is no such file.\n", 404, media_type="text/plain")
        # During an upgrade, pages of both builds request files. Each gets this build's file, but no
        # cache may keep it under the other build's URL.
        current = request.path_params["build"] == self.build
        return _answer(asset, "public, max-age=31536000, immutable" if current else "no-cache")

    async def _favicon(self, _request: Request) -> Response:
        return _answer(self._files["mark.svg"], "public, max-age=86400")


def _answer(asset: Asset, caching: str) -> Response:
    headers = {
        "cache-control": caching,
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "cross-origin-resource-policy": "same-origin",
    }
    # The policy is for an SVG that is opened directly: it is then a document, and could run script on this origin.
    if asset.media_type.startswith(("text/javascript", "text/css")):
        del headers["content-security-policy"]
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def download(body: bytes, name: str, media: str) -> Response:
    """Return a file that a browser saves and does not show."""
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox",
    }
    return Response(body, media_type=media, headers=headers)


def image(content: bytes, *, caching: str = "no-store") -> Response:
    """Build the response of a PNG picture. Its headers keep browsers from treating the content as anything else."""
    headers = {
        "cache-control": caching,
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
        # A hospital's EHR shows an app's logo beside the frame in which it opens it.
        "cross-origin-resource-policy": "cross-origin",
    }
    return Response(content, headers=headers, media_type="image/png")


def _read_all(folders: Iterable[Path]) -> Iterable[tuple[str, Asset]]:
    names: set[str] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            media_type = _TYPES.get(path.suffix)
            if not path.is_file() or media_type is None:
                continue
            name = path.relative_to(folder).as_posix()
            assert name not in names, f"two static files are called {name}"
            assert path.stat().st_size <= FILE_BYTES_BOUND, name
            names.add(name)
            assert len(names) <= FILES_BOUND
            yield name, Asset(path.read_bytes(), media_type)
