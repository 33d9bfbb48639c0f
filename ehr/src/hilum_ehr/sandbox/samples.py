"""The sample apps: static pages whose scripts use the platform's public interfaces only, as a third party's would."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.foundation.web.pages import Policy
from hilum_ehr.sandbox.site import Site

Handler = Callable[[Request], Awaitable[Response]]
APPS = ("lumen", "wellspring")


def routes(site: Site) -> list[Route]:
    """Build the sample apps' routes: each app has a start page, a launch address and a redirect address."""
    samples = Samples(site)
    site_routes = [Route("/apps", samples.index)]
    for name in APPS:
        site_routes += [
            Route(f"/apps/{name}", samples.page(name, "start"), name=f"{name}-start"),
            Route(f"/apps/{name}/launch", samples.page(name, "launch"), name=f"{name}-launch"),
            Route(f"/apps/{name}/app", samples.page(name, "app"), name=f"{name}-app"),
        ]
    return site_routes


class Samples:
    """The pages of the sample apps."""

    def __init__(self, site: Site) -> None:
        self._site = site
        hospitals = [(each.tenant, each.name, site.urls.fhir_base(each.tenant)) for each in site.hospitals]
        self._hospitals = hospitals
        # The apps call the platform from the browser, as a third party's would, and have no other right.
        self._policy = Policy(
            frame_ancestors=("'self'",), connect_src=(site.urls.base_url,), form_action=(site.urls.base_url,)
        )

    async def index(self, request: Request) -> Response:
        """List the sample apps."""
        apps = [app for app in self._site.plan.apps if app.slug in APPS]
        return self._site.pages.render(request, "sandbox/apps.html", apps=apps, urls=self._site.urls)

    def page(self, name: str, part: str) -> Handler:
        """Return the handler of one page of one app."""

        async def show(request: Request) -> Response:
            return self._site.pages.render(
                request, f"apps/{name}.html", policy=self._policy, part=part, hospitals=self._hospitals
            )

        return show
