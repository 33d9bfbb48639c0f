"""What a hospital shows of itself above a page, and an app beside its name."""

from hilum.web.pages import Brand
from hilum.web.urls import Urls, path_of


def brand_of(urls: Urls, tenant: str, *, name: str, colour: str, logo: str) -> Brand:
    """Return how a hospital shows itself, with addresses within the origin of the page: it may have one of its own."""
    return Brand(name, _own(urls.logo("hospital", tenant, logo)), _own(urls.brand_style(colour)))


def app_logo(urls: Urls, app: str, logo: str) -> str:
    """Return the address of an app's logo within the origin of the page; empty if it has none."""
    return _own(urls.logo("app", app, logo))


def _own(url: str) -> str:
    return path_of(url) if url else ""
