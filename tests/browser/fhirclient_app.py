"""An app of two pages that a foreign developer builds with fhirclient."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx2
from playwright.sync_api import Frame, Page

from tests.browser.axe import MODULES
from tests.browser.stage import Stage
from tests.sim.pages_host import hosting

LIBRARY = MODULES / "fhirclient" / "build" / "fhir-client.pure.min.js"
PAGE = '<!doctype html><html lang="en"><title>app</title><script src="/fhir-client.js"></script><script type="module">{script}</script><p id="out">…</p>'
LAUNCH = "FHIR.oauth2.authorize({client_id: '%s', scope: '%s', redirect_uri: '/app'});"
FRAMED = (
    "FHIR.oauth2.authorize({client_id: '%s', scope: '%s', redirect_uri: '/app', completeInTarget: true});"
)
"""The library asks whoever opens an app in a frame to say where it goes on."""


def frame_of(page: Page, until: str) -> Frame:
    """Allow the app that is in the chart; return its frame."""
    handle = page.locator("iframe").element_handle()
    frame = handle.content_frame() if handle else None
    assert frame is not None
    frame.click("button[value=allow]")
    frame.wait_for_url(lambda url: until in url)
    return frame


@contextmanager
def app(pages: dict[str, str]) -> Iterator[str]:
    """Serve an app of two pages on an origin of its own."""
    assert LIBRARY.exists(), "fhirclient is missing: run `npm ci` in tests/browser (make test does)"
    files = {"/fhir-client.js": ("text/javascript", LIBRARY.read_bytes())}

    def answer(address: str) -> tuple[str, bytes]:
        path = urlsplit(address).path
        return files.get(path) or ("text/html", pages.get(path, "").encode())

    with hosting(answer) as origin:
        yield origin


def register(stage: Stage, origin: str, scope: str) -> str:
    """Register by RFC 7591, as a foreign developer does."""
    metadata = {
        "client_name": "fhirclient",
        "redirect_uris": [f"{origin}/app"],
        "launch_url": f"{origin}/launch",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": scope,
    }
    tenant = stage.running.tenant()
    answer = httpx2.post(f"{tenant['issuer']}/oauth/register", json=metadata)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["client_id"])
