"""The facts of enforcement: all of them once, and from then on what changed.

Each change of the registry names whose facts it touched (``making.change``). What is named is read again, and what is not found any
more is gone; everything else is shared with the facts before. Nothing hangs on the time of reading.
"""

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from hilum.clients import service as client_registry
from hilum.clients.models import ClientFacts
from hilum.infra.context import Context
from hilum.infra.facts import Delta, Since, keyed
from hilum.installations import store
from hilum.installations.models import InstallationFacts, Installations, RegistryFacts
from hilum.kernel.ids import AppId, TenantId
from hilum.kernel.persistent import PersistentMap

T = TypeVar("T")
ASKED_AT_ONCE = 500
Apps = Mapping[AppId, tuple[ClientFacts, ...]]
Place = tuple[TenantId, AppId]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking a growing million of values that hold no cycle, with every thread standing still."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@keyed(r"app/[^/]+|at/[^/]+/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[RegistryFacts]:
    """Return every client joined with app and certification, every standing installation, and origins by tenant.

    Of what changed since it reads only what was named.
    """
    if since.changes is None:
        return Delta(_whole(ctx))
    some: list[AppId] = []
    places: dict[Place, InstallationFacts | None] = {}
    for kind, *name in (key.split("/") for key in since.named()):
        if kind == "app":
            some.append(AppId(name[0]))
        else:
            places[TenantId(name[0]), AppId(name[1])] = None
    apps: dict[AppId, tuple[ClientFacts, ...]] = {}
    for few in _parts(some):
        apps |= dict.fromkeys(few, ()) | client_registry.facts_of_apps(ctx, few)
    for here in _parts(places):
        places |= {(tenant, app): found for tenant, app, found in store.read_installation_facts(ctx.tx, here)}
    return Delta(change=lambda before: _merged(before, apps, places))


@_uncollected()
def _whole(ctx: Context) -> RegistryFacts:
    apps = client_registry.facts_of_apps(ctx, None)
    one = {app: app for app in apps}  # the one text of an id, which all pages share
    pages: dict[TenantId, dict[AppId, InstallationFacts]] = {}
    for tenant, app, facts in store.read_installation_facts(ctx.tx, None):
        page = pages.get(tenant)
        if page is None:
            page = pages[tenant] = {}
        page[one.get(app, app)] = facts
    clients = {each.id: each for found in apps.values() for each in found}
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
    before: RegistryFacts, anew: Apps, places: Mapping[Place, InstallationFacts | None]
) -> RegistryFacts:
    """Put what was read in the place of what was known; an app without clients and a place without facts are gone."""
    lost = [each.id for app in anew for each in before.apps.get(app, ())]
    clients = PersistentMap.of(before.clients).changed(
        {each.id: each for found in anew.values() for each in found}, lost
    )
    apps = PersistentMap.of(before.apps).changed({app: found for app, found in anew.items() if found}, anew)
    touched = {tenant: dict(before.pages.get(tenant, {})) for tenant, _ in places}
    for (tenant, app), facts in places.items():
        touched[tenant].pop(app, None)
        if facts is not None:
            touched[tenant][app] = facts
    pages = PersistentMap.of(before.pages).changed(
        {tenant: page for tenant, page in touched.items() if page}, touched
    )
    moved = [app for app in anew if _origins(before.apps, (app,)) != _origins(apps, (app,))]
    near = {tenant for tenant in pages if any(app in pages[tenant] for app in moved)} if moved else set()
    unions = {tenant: _origins(apps, pages.get(tenant, ())) for tenant in touched.keys() | near}
    origins = PersistentMap.of(before.origins).changed(
        {tenant: union for tenant, union in unions.items() if union}, unions
    )
    return RegistryFacts(clients, Installations(pages), origins, apps)


def _origins(apps: Apps, installed: Iterable[AppId]) -> frozenset[str]:
    return frozenset(origin for app in installed for client in apps.get(app, ()) for origin in client.origins)


def _parts(whole: Collection[T]) -> Iterator[list[T]]:
    left = iter(whole)
    while part := list(islice(left, ASKED_AT_ONCE)):
        yield part
