"""Resolve names and ids for an actor."""

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from hilum.apps.clients import service as clients
from hilum.apps.names.models import MATCHES_BOUND, Kind, Match
from hilum.apps.names.policy import may_look_up_app, may_look_up_tenant, may_look_up_vendors, named_at
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, ClientId, FacilityId, PersonId, TenantId, VendorId, VersionId
from hilum.identity.people import policy as people
from hilum.identity.people import service as identity


def find(ctx: Context, kind: Kind, named: str, place: str = "") -> list[Match]:
    """Find what has this id or exactly this name and the actor may see. An id is never read as a name.

    ``place``: the hospital or vendor of people and facilities; by default the actor's own, for staff the platform. A version is named
    ``APP@LABEL``, and a person of another place ``USERNAME@PLACE``.
    """
    if not named:
        return []
    found = _FINDERS[kind](ctx, named, place or ctx.actor.tenant or ctx.actor.vendor or "")
    by_id = [each for each in found if each.id == named]
    return (by_id or sorted(found, key=lambda each: each.id))[:MATCHES_BOUND]


def names(ctx: Context, ids: Collection[str]) -> dict[str, str]:
    """Return the names for ids of any kind, except those that the actor may not see. The prefix of an id is its kind."""
    found: dict[str, str] = {}
    for prefix, read in _NAMES.items():
        if of := sorted(each for each in ids if each.startswith(prefix)):
            found |= read(ctx, of)
    return found


def _apps(ctx: Context, named: str, _: str) -> list[Match]:
    found = [each for each in registry.find_apps_named(ctx, named) if _may_look_up(ctx, each)]
    return [Match(each.id, each.name, registry.get_vendor(ctx, each.vendor).name) for each in found]


def _may_look_up(ctx: Context, app: App) -> bool:
    return may_look_up_app(ctx.actor, app) or clients.is_offered_to(ctx, app.id)


def _vendors(ctx: Context, named: str, _: str) -> list[Match]:
    if not may_look_up_vendors(ctx.actor):
        return []
    return [Match(each.id, each.name) for each in registry.find_vendors_named(ctx, named)]


def _tenants(ctx: Context, named: str, _: str) -> list[Match]:
    found = identity.find_tenants_named(ctx, named)
    return [Match(each.id, each.name, each.id) for each in found if may_look_up_tenant(ctx.actor, each)]


def _clients(ctx: Context, named: str, _: str) -> list[Match]:
    found = clients.find_named(ctx, named)
    apps = registry.read_apps(ctx, {each.app for each in found})
    return [
        Match(each.id, each.name, f"{apps[each.app].name}, {each.environment}")
        for each in found
        if may_look_up_app(ctx.actor, apps[each.app])
    ]


def _people(ctx: Context, named: str, place: str) -> list[Match]:
    at = TenantId(place) if place else None
    found = identity.find_person(ctx, PersonId(named)) or identity.find_person_by_username(ctx, at, named)
    # A username may hold an @, so the whole text is looked for first.
    username, elsewhere = named_at(named)
    if found is None and username:
        found = identity.find_person_by_username(ctx, TenantId(elsewhere), username)
    if found is None or not (ctx.actor.id == found.id or people.may_see_name(ctx.actor, found)):
        return []
    return [Match(found.id, found.username, found.tenant or "")]


def _facilities(ctx: Context, named: str, place: str) -> list[Match]:
    tenant = TenantId(place)
    if not place or not people.may_see_tenant(ctx.actor, tenant):
        return []
    return [
        Match(each.id, each.name, each.reference)
        for each in identity.find_facilities_named(ctx, tenant, named)
    ]


def _versions(ctx: Context, named: str, _: str) -> list[Match]:
    of, label = named_at(named)
    apps = {each.id: each.name for each in _apps(ctx, of, "")} if of else {}
    found = registry.find_versions_named(ctx, [AppId(each) for each in apps], label)
    return [Match(each.id, f"{apps[each.app]}@{each.label}", each.app) for each in found]


def _visible_apps(ctx: Context, of: Iterable[str]) -> dict[str, str]:
    found = registry.read_apps(ctx, [AppId(each) for each in of]).values()
    return {each.id: each.name for each in found if _may_look_up(ctx, each)}


def _names_of_vendors(ctx: Context, of: Iterable[str]) -> dict[str, str]:
    matches = [match for each in of for match in _vendors(ctx, VendorId(each), "") if match.id == each]
    return {each.id: each.name for each in matches}


def _names_of_versions(ctx: Context, of: Iterable[str]) -> dict[str, str]:
    found = registry.find_versions(ctx, [VersionId(each) for each in of])
    apps = _visible_apps(ctx, {each.app for each in found})
    return {each.id: f"{apps[each.app]}@{each.label}" for each in found if each.app in apps}


def _names_of_clients(ctx: Context, of: Iterable[str]) -> dict[str, str]:
    found = clients.read_named(ctx, [ClientId(each) for each in of])
    apps = _visible_apps(ctx, {each.app for each in found})
    return {each.id: each.name for each in found if each.app in apps}


def _names_of_people(ctx: Context, of: Iterable[str]) -> dict[str, str]:
    found = identity.list_names(ctx, [PersonId(each) for each in of])
    return {str(id_): name for id_, name in found.items()}


def _names_of_facilities(ctx: Context, of: Iterable[str]) -> dict[str, str]:
    found = (identity.find_facility(ctx, FacilityId(each)) for each in of)
    return {
        each.id: each.name
        for each in found
        if each is not None and people.may_see_tenant(ctx.actor, each.tenant)
    }


Find = Callable[[Context, str, str], list[Match]]
Names = Callable[[Context, Iterable[str]], dict[str, str]]
_FINDERS: Mapping[Kind, Find] = MappingProxyType(
    {
        Kind.APP: _apps,
        Kind.VENDOR: _vendors,
        Kind.TENANT: _tenants,
        Kind.CLIENT: _clients,
        Kind.PERSON: _people,
        Kind.FACILITY: _facilities,
        Kind.VERSION: _versions,
    }
)
_NAMES: Mapping[str, Names] = MappingProxyType(
    {
        "app_": _visible_apps,
        "ven_": _names_of_vendors,
        "ver_": _names_of_versions,
        "cli_": _names_of_clients,
        "per_": _names_of_people,
        "fac_": _names_of_facilities,
    }
)
