"""What is installed where, read for other modules without a check of rights."""

from collections.abc import Collection, Iterable, Iterator

from hilum.apps.clients import policy as rules
from hilum.apps.clients import service as clients
from hilum.apps.installations import store
from hilum.apps.installations.models import APPS_ASKED, Installation, InstallationFacts
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import REGISTRY, App, Environment
from hilum.apps.registry.policy import is_in_force
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix.models import Book


def certified_scopes(ctx: Context, app: AppId, environment: Environment) -> tuple[str, ...]:
    """Return the scopes of all versions of an app that are certified for an environment now."""
    # Together: the installation limits the hospital, each client is limited by its own version.
    found = registry.certifications_of(ctx, app)
    return union(each.scopes for each in found if is_in_force(each, environment, ctx.now))


def current(ctx: Context, tenant: TenantId, app: App) -> Installation | None:
    """Find an app's installation that has not ended, and is of after the app last changed hands, without a check of rights."""
    found = next(iter(store.read_current(ctx.tx, tenant, [app.id])), None)
    return None if found is None or has_ended(ctx, found, app) else found


def installation(ctx: Context, tenant: TenantId, app: AppId) -> InstallationFacts | None:
    """Return the facts of an app's current installation at a tenant, or None if there is none that can be read."""
    # Kept until anything of the registry changes, as of clients.
    return ctx.cached(REGISTRY, ("installed", tenant, app), lambda ctx: _facts(ctx, tenant, app))


def _facts(ctx: Context, tenant: TenantId, app: AppId) -> InstallationFacts | None:
    return next((found for *_, found in store.read_installation_facts(ctx.tx, [(tenant, app)])), None)


def installations_of(
    ctx: Context, apps: Collection[AppId]
) -> Iterator[tuple[TenantId, AppId, InstallationFacts]]:
    """Stream the current installations of some apps as the table has them. They must be few enough for one statement."""
    return store.read_installation_facts(ctx.tx, apps=apps)


def installed_at(ctx: Context, tenant: TenantId, apps: Collection[AppId]) -> dict[AppId, Installation]:
    """Return the current installations of some apps at a tenant, which must be few enough for one statement, without a check of rights."""
    return {each.app: each for each in store.read_current(ctx.tx, tenant, apps)}


def left_out_at(ctx: Context, app: AppId, tenants: Collection[TenantId]) -> dict[TenantId, tuple[str, ...]]:
    """Return what some hospitals knowingly left out of what an app needs, for those that did. They must be few enough for one statement."""
    found = store.read_at(ctx.tx, app, tenants) if tenants else ()
    return {each.tenant: each.without for each in found if each.without}


def apps_at(ctx: Context, tenant: TenantId) -> list[AppId]:
    """List the apps that are installed at a tenant, as the table has them."""
    return store.list_apps_at(ctx.tx, tenant)


def scopes_at(ctx: Context, tenant: TenantId) -> Iterator[tuple[AppId, tuple[str, ...]]]:
    """Stream the apps installed at one tenant with their scopes, as the table has them, without those that have ended."""
    for _, app, found in store.read_installation_facts(ctx.tx, tenant=tenant):
        if found.expires_at is None or ctx.now < found.expires_at:
            yield app, found.scopes


def origins_at(ctx: Context, tenant: TenantId) -> frozenset[str]:
    """Return the origins of all clients installed at one tenant, as ``facts`` has them for every tenant."""
    return clients.origins_of(ctx, _readable_at(ctx, tenant))


def _readable_at(ctx: Context, tenant: TenantId) -> list[AppId]:
    return [app for _, app, _ in store.read_installation_facts(ctx.tx, tenant=tenant)]


def workflows_at(ctx: Context, tenant: TenantId, book: Book) -> tuple[str, ...]:
    """Return the workflows of a policy that an app installed at a tenant may do and that expand into scopes, of the first APPS_ASKED apps."""
    apps = _readable_at(ctx, tenant)[:APPS_ASKED]
    found = clients.facts_of_apps(ctx, apps)
    allowed = {
        name
        for of in found.values()
        for each in of
        if each.active
        for name in rules.workflows_allowed(book, each, ctx.now)
    }
    return tuple(
        sorted(name for name in allowed if name in book.workflows and book.workflows[name].scopes is not None)
    )


def has_ended(ctx: Context, found: Installation, app: App) -> bool:
    """Check whether an installation has ended by itself: by its date, or because the app changed hands."""
    if found.expires_at is not None and found.expires_at <= ctx.now:
        return True
    return app.owner_since is not None and found.approved_at < app.owner_since


def union(sets: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the scopes of all sets, each once."""
    return tuple(dict.fromkeys(each for scopes in sets for each in scopes))
