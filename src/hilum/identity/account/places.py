"""The place of an account: a hospital, a vendor, or the platform's staff."""

from functools import partial

from starlette.requests import Request

from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.urls import path_of
from hilum.identity.factors.models import Site
from hilum.identity.factors.policy import passkey_site
from hilum.identity.people import service as identity
from hilum.identity.people.policy import is_vendor
from hilum.identity.signin.models import STAFF, VENDOR, Place
from hilum.identity.signin.policy import console_of


async def place_of(kit: Kit, request: Request) -> Place:
    """Return the place in a page's address. Raises NotFound for a hospital that is closed or does not exist."""
    tenant = request.path_params.get("tenant")
    if tenant is None:
        return Place(None, STAFF)
    if is_vendor(tenant):
        return Place(TenantId(tenant), VENDOR)
    find = partial(identity.find_tenant, tenant=TenantId(tenant))
    hospital = await kit.uow.read(find, trace=trace_of(request))
    if hospital is None or not hospital.active:
        raise NotFound("tenant_not_found", "This address does not belong to a hospital on this platform.")
    return Place(hospital.id, hospital.name)


def passkeys_of(kit: Kit, place: Place) -> Site:
    """Return the site for which passkeys of a place are valid, with the name under which devices and authenticator apps list the account."""
    name = place.name if place.at_hospital else kit.pages.shell.site
    # In a key URI, a colon ends the issuer's name.
    return passkey_site(kit.urls.origin(place.key), name.replace(":", " "))


def home_of(kit: Kit, place: Place, role: str) -> str:
    """Return the path after a sign-in that names none: the role's console if it has one, else the page of connected apps or the account."""
    if console := console_of(role):
        return path_of(kit.urls.console(console))
    if place.at_hospital:
        return path_of(kit.urls.manage(place.key))
    return path_of(kit.urls.account(place.key) if place.tenant else kit.urls.home())
