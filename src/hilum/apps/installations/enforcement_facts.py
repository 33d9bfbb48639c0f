"""The facts that enforcement needs: all of them once, then only those that changed.

Each change of the registry names whose facts changed (``registry.announce_change``). Those are read again, and removed if they no longer
exist; all others are shared with the previous facts. The facts do not depend on when they are read: decisions apply the time.
"""

from collections.abc import Iterable, Mapping

from hilum.apps.clients import service as client_registry
from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations import store
from hilum.apps.installations.models import InstallationFacts, Installations, RegistryFacts
from hilum.foundation.infra.collector import uncollected
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.ids import AppAtTenant, AppId, TenantId
from hilum.foundation.kernel.persistent import PersistentMap

QUERY_SIZE = 500
"""Apps, or places, that are read in one statement."""
Apps = Mapping[AppId, tuple[ClientFacts, ...]]


@keyed(r"app/[^/]+|at/[^/]+/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[RegistryFacts]:
    """Return the facts of every client, every current installation, and the origins at each tenant.

    If ``since`` lists changes, only what they name is read.
    """
    # First read, a gap in the changes, or a key that this release does not know (`keyed`): everything is read.
    if since.changes is None:
        return Delta(_whole(ctx))
    changed: list[AppId] = []
    places: dict[AppAtTenant, InstallationFacts | None] = {}
    for kind, *name in (key.split("/") for key in since.named()):
        if kind == "app":
            changed.append(AppId(name[0]))
        else:
            places[TenantId(name[0]), AppId(name[1])] = None
    apps: dict[AppId, tuple[ClientFacts, ...]] = {}
    for batch in batched(changed, QUERY_SIZE):
        read = client_registry.facts_of_apps(ctx, batch)
        # Empty first: an app that is no longer found must be removed from the facts, not kept.
        apps |= dict.fromkeys(batch, ()) | read
    for keys in batched(places, QUERY_SIZE):
        for tenant, app, found in store.read_installation_facts(ctx.tx, keys):
            places[tenant, app] = found
    # Applied by the snapshot's thread to the facts that it holds then, which share everything that did not change.
    return Delta(change=lambda before: _merged(before, apps, places))


@uncollected()
def _whole(ctx: Context) -> RegistryFacts:
    apps = client_registry.facts_of_apps(ctx, None)
    interned = {app: app for app in apps}  # one string per id, shared by all pages, saves memory
    pages: dict[TenantId, dict[AppId, InstallationFacts]] = {}
    for tenant, app, facts in store.read_installation_facts(ctx.tx):
        # Written out instead of setdefault, which would build a dict for each of a million rows.
        page = pages.get(tenant)
        if page is None:
            page = pages[tenant] = {}
        page[interned.get(app, app)] = facts
    clients = {each.id: each for found in apps.values() for each in found}
    # Computed once for each app and not for each installation.
    of_app = {app: _origins(apps, (app,)) for app in apps}
    unions = ((tenant, [of_app[app] for app in page if app in of_app]) for tenant, page in pages.items())
    origins = {tenant: union for tenant, found in unions if (union := frozenset().union(*found))}
    return RegistryFacts(
        PersistentMap(clients),
        Installations(PersistentMap(pages)),
        PersistentMap(origins),
        PersistentMap(apps),
    )


def _merged(
    before: RegistryFacts,
    read: Apps,
    places: Mapping[AppAtTenant, InstallationFacts | None],
) -> RegistryFacts:
    """Replace the facts that were read again; an app without clients and a place without an installation are removed."""
    removed = [each.id for app in read for each in before.apps.get(app, ())]
    clients = PersistentMap.of(before.clients).changed(
        {each.id: each for found in read.values() for each in found}, removed
    )
    apps = PersistentMap.of(before.apps).changed({app: found for app, found in read.items() if found}, read)
    # Copies: the snapshot in use still refers to the old pages, and nothing in it may change.
    touched = {tenant: dict(before.pages.get(tenant, {})) for tenant, _ in places}
    for (tenant, app), facts in places.items():
        touched[tenant].pop(app, None)
        if facts is not None:
            touched[tenant][app] = facts
    pages = PersistentMap.of(before.pages).changed(
        {tenant: page for tenant, page in touched.items() if page}, touched
    )
    # An app's clients may have other origins now, which changes the union at every tenant where it is installed.
    moved = [app for app in read if _origins(before.apps, (app,)) != _origins(apps, (app,))]
    # A look at every tenant, only when an app's origins changed.
    affected = {tenant for tenant in pages if any(app in pages[tenant] for app in moved)} if moved else set()
    unions = {tenant: _origins(apps, pages.get(tenant, ())) for tenant in touched.keys() | affected}
    origins = PersistentMap.of(before.origins).changed(
        {tenant: union for tenant, union in unions.items() if union}, unions
    )
    return RegistryFacts(clients, Installations(pages), origins, apps)


def _origins(apps: Apps, installed: Iterable[AppId]) -> frozenset[str]:
    return frozenset(origin for app in installed for client in apps.get(app, ()) for origin in client.origins)
