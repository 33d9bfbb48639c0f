"""The connected-apps page: what a person agreed to at a hospital, and how they narrow and withdraw it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.authorization.authorize import policy
from hilum.authorization.authorize.models import CONNECTED_APPS_BOUND
from hilum.authorization.consent import policy as consent_policy
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Authorization
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.web.urls import Site
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person, Tenant
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin


class SignedIn(NamedTuple):
    """A hospital and the person who is signed in there."""

    tenant: Tenant
    person: Person


def signed_in(ctx: Context, site: Site, cookie: str) -> SignedIn | None:
    """Return the hospital of a site and the person of a session cookie; None if nobody is signed in there."""
    session = signin.session(ctx, cookie) if cookie else None
    tenant = identity.find_tenant(ctx, site.tenant)
    if session is None or tenant is None or session.tenant != site.tenant:
        return None
    signin.touch(ctx, session)
    return SignedIn(tenant, identity.get_person(ctx, session.person))


@dataclass(frozen=True, slots=True)
class ConnectedApp:
    """One entry of the connected-apps page: all agreements with an app, of any of its clients."""

    authorization: Authorization
    app: App
    vendor_name: str


@dataclass(frozen=True, slots=True)
class ConnectedApps:
    tenant: Tenant
    person: Person
    apps: tuple[ConnectedApp, ...]


def connected_apps(ctx: Context, site: Site, cookie: str) -> ConnectedApps | None:
    """List a person's connected apps (C93); None if nobody is signed in at this tenant."""
    browser = signed_in(ctx, site, cookie)
    if browser is None:
        return None
    tenant, person = browser
    # The page is bounded; a withdrawal reads all of them.
    listed = consent.list_for_person(ctx, site.tenant, person.id)[:CONNECTED_APPS_BOUND]
    return ConnectedApps(tenant, person, tuple(_connected(ctx, each) for each in listed))


def _connected(ctx: Context, entry: Authorization) -> ConnectedApp:
    app = registry.get_app(ctx, entry.app)
    return ConnectedApp(entry, app, registry.get_vendor(ctx, app.vendor).name)


def disconnect(ctx: Context, site: Site, cookie: str, authorization: str) -> bool:
    """Withdraw all of a person's agreements with an app, and revoke its tokens (C91). Return False if nobody is signed in."""
    browser = signed_in(ctx, site, cookie)
    if browser is None:
        return False
    own = _own_authorization(ctx, site, browser.person, authorization)
    consent.withdraw(ctx.as_actor(signin_policy.actor_of(browser.person)), own.id)
    return True


def narrow_app(ctx: Context, site: Site, cookie: str, authorization: str, ticked: Iterable[str]) -> bool:
    """Remove what is no longer ticked from all agreements with an app. Return False if nobody is signed in.

    Raises Invalid if nothing would be left.
    """
    browser = signed_in(ctx, site, cookie)
    if browser is None:
        return False
    own = _own_authorization(ctx, site, browser.person, authorization)
    ticks, by = tuple(ticked), policy.consenter_of(browser.person)
    remaining = consent_policy.apply_ticks(own.scopes, ticks, by=by)
    if not policy.is_useful(smart.parse_stored(remaining)):
        raise Invalid("nothing_left", "Nothing would be left to share. Remove the app instead.")
    declined = consent_policy.declined(own.scopes, ticks, by=by)
    consent.take_back(ctx.as_actor(signin_policy.actor_of(browser.person)), own, declined, by=by)
    return True


def _own_authorization(ctx: Context, site: Site, person: Person, authorization: str) -> Authorization:
    listed = consent.list_for_person(ctx, site.tenant, person.id)
    # Only among the person's own, so that the id of another person's agreement is answered as unknown.
    own = next((each for each in listed if each.id == authorization), None)
    if own is None:
        raise NotFound("authorization_not_found", "This app is not connected.")
    return own
