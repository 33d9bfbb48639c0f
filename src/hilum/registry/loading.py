"""The facts of enforcement: all of them once, and from then on what changed.

Each change of the registry leaves a row that names whose facts it touched (``store.changes``). What is named is read anew, and what is
not found any more is gone; everything else is shared with the facts before. Nothing hangs on the time of reading.
"""

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from hilum.infra import epoch
from hilum.infra.context import Context
from hilum.infra.epoch import Part
from hilum.kernel.ids import AppId, TenantId
from hilum.registry import policy, store
from hilum.registry.models import (
    CHANGES_BOUND,
    Certification,
    ClientFacts,
    InstallationFacts,
    Installations,
    RegistryFacts,
)

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


def enforcement_facts(ctx: Context, before: RegistryFacts | None = None) -> RegistryFacts:
    """Give every client joined with app and certification, every standing installation, and origins by tenant.

    With the facts of ``before`` it reads only what changed since.
    """
    n = epoch.read(ctx.tx)[1][Part.REGISTRY]
    if before is None or not 0 <= n - before.n <= CHANGES_BOUND:
        return _whole(ctx, n)
    named = store.list_changes(ctx.tx, after=before.n, limit=CHANGES_BOUND + 1)
    if len(named) > CHANGES_BOUND:
        return _whole(ctx, n)
    apps: dict[AppId, tuple[ClientFacts, ...]] = {}
    for some in _parts({app for tenant, app in named if not tenant}):
        apps |= dict.fromkeys(some, ()) | _read_apps(ctx, some)
    places: dict[Place, InstallationFacts | None] = {}
    for few in _parts({place for place in named if place[0]}):
        places |= dict.fromkeys(few)
        places |= {(tenant, app): facts for tenant, app, facts in store.read_installation_facts(ctx.tx, few)}
    return _merged(before, n, apps, places)


@_uncollected()
def _whole(ctx: Context, n: int) -> RegistryFacts:
    apps = _read_apps(ctx, None)
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
    return RegistryFacts(clients, Installations(pages), origins, apps, n)


def _merged(
    before: RegistryFacts, n: int, anew: Apps, places: Mapping[Place, InstallationFacts | None]
) -> RegistryFacts:
    """Put what was read anew in the place of what was known; an app without clients and a place without facts are gone."""
    clients, apps = dict(before.clients), dict(before.apps)
    for app, found in anew.items():
        for each in apps.pop(app, ()):
            del clients[each.id]
        clients.update((each.id, each) for each in found)
        if found:
            apps[app] = found
    pages = dict(before.pages)
    touched = {tenant: dict(pages.get(tenant, {})) for tenant, _ in places}
    for (tenant, app), facts in places.items():
        touched[tenant].pop(app, None)
        if facts is not None:
            touched[tenant][app] = facts
    pages = {tenant: page for tenant, page in (pages | touched).items() if page}
    moved = [app for app in anew if _origins(before.apps, (app,)) != _origins(apps, (app,))]
    near = {tenant for tenant, page in pages.items() if any(app in page for app in moved)}
    origins = dict(before.origins)
    origins |= {tenant: _origins(apps, pages.get(tenant, ())) for tenant in touched.keys() | near}
    known = {tenant: found for tenant, found in origins.items() if found}
    return RegistryFacts(clients, Installations(pages), known, apps, n)


def _read_apps(ctx: Context, of: Collection[AppId] | None) -> dict[AppId, tuple[ClientFacts, ...]]:
    certifications: dict[AppId, list[Certification]] = {}
    for certification in store.read_certifications(ctx.tx, of):
        certifications.setdefault(certification.app, []).append(certification)
    found: dict[AppId, list[ClientFacts]] = {}
    for client, app in store.read_clients(ctx.tx, of):
        facts = policy.join(client, app, certifications.get(app.id, ()))
        found.setdefault(app.id, []).append(facts)
    return {app: tuple(facts) for app, facts in found.items()}


def _origins(apps: Apps, installed: Iterable[AppId]) -> frozenset[str]:
    return frozenset(origin for app in installed for client in apps.get(app, ()) for origin in client.origins)


def _parts(whole: Collection[T]) -> Iterator[list[T]]:
    left = iter(whole)
    while part := list(islice(left, ASKED_AT_ONCE)):
        yield part
