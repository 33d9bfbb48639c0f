"""Apps of developers that a browser has opened in a chart here. In memory, bounded in number."""

from dataclasses import dataclass, replace

from cachetools import LRUCache

BROWSERS_BOUND = 1_000
APPS_BOUND = 20


@dataclass(frozen=True, slots=True)
class OwnApp:
    """A developer's own app at a hospital. ``launch_uri``: where it is served now, if not at its registered address.

    ``facility``: the Location or Organization of the hospital at which it is opened; empty if unknown.
    """

    tenant: str
    client: str
    name: str
    launch_uri: str = ""
    facility: str = ""


class OwnApps:
    """Keeps each browser's apps apart by the secret of its forms, so that on a public sandbox nobody sees another's."""

    def __init__(self) -> None:
        self._apps: LRUCache[str, tuple[OwnApp, ...]] = LRUCache(BROWSERS_BOUND)

    def keep(self, browser: str, app: OwnApp) -> None:
        """Add an app in front, or move it there; beyond the bound the oldest is dropped."""
        known = self.find(browser, app.tenant, app.client)
        # Only an app that was registered here has a name.
        name = app.name or (known.name if known else "") or app.client
        others = (each for each in self._apps.get(browser, ()) if each is not known)
        self._apps[browser] = (replace(app, name=name), *others)[:APPS_BOUND]

    def at(self, browser: str, tenant: str) -> tuple[OwnApp, ...]:
        """List a browser's apps at a hospital, the last used first."""
        return tuple(each for each in self._apps.get(browser, ()) if each.tenant == tenant)

    def find(self, browser: str, tenant: str, client: str) -> OwnApp | None:
        """Return a browser's app by its client id."""
        return next((each for each in self.at(browser, tenant) if each.client == client), None)
