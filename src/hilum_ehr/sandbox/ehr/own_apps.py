"""Apps of developers that a browser has opened in a chart here. In memory, bounded in number."""

from dataclasses import dataclass

from cachetools import LRUCache

BROWSERS_BOUND = 1_000
APPS_BOUND = 20


@dataclass(frozen=True, slots=True)
class OwnApp:
    """A developer's own app at a hospital. ``launch_uri``: where it stands now, if elsewhere than it is registered.

    ``facility``: where in the hospital it is opened, if that is said.
    """

    tenant: str
    client: str
    name: str
    launch_uri: str = ""
    facility: str = ""


class OwnApps:
    """The apps of each browser, by the secret of its forms: on a public sandbox nobody sees another's."""

    def __init__(self) -> None:
        self._kept: LRUCache[str, tuple[OwnApp, ...]] = LRUCache(BROWSERS_BOUND)

    def keep(self, browser: str, app: OwnApp) -> None:
        """Add an app in front, or move it there; beyond the bound the oldest is dropped."""
        known = self.find(browser, app.tenant, app.client)
        # Its name is known only where it was registered here.
        name = app.name or (known.name if known else "") or app.client
        others = (each for each in self._kept.get(browser, ()) if each is not known)
        fresh = OwnApp(app.tenant, app.client, name, app.launch_uri, app.facility)
        self._kept[browser] = (fresh, *others)[:APPS_BOUND]

    def at(self, browser: str, tenant: str) -> tuple[OwnApp, ...]:
        """List a browser's apps at a hospital, the last used first."""
        return tuple(each for each in self._kept.get(browser, ()) if each.tenant == tenant)

    def find(self, browser: str, tenant: str, client: str) -> OwnApp | None:
        """Return a browser's app by its client id."""
        return next((each for each in self.at(browser, tenant) if each.client == client), None)
