"""Builds a hospital's branding for the page shell, and the address of an app's logo."""

from hilum.foundation.web.pages import Brand
from hilum.foundation.web.urls import Urls, path_of


def brand_of(urls: Urls, tenant: str, *, name: str, colour: str, logo: str) -> Brand:
    """Build a hospital's brand. Its addresses are paths, since a hospital may be served at an origin of its own."""
    return Brand(name, _path(urls.logo("hospital", tenant, logo)), _path(urls.brand_style(colour)))


def app_logo(urls: Urls, app: str, logo: str) -> str:
    """Return the path of an app's logo; empty if it has none."""
    return _path(urls.logo("app", app, logo))


def _path(url: str) -> str:
    return path_of(url) if url else ""
