"""Permissions on installations, and validation of orders. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from hilum.clients.models import ClientFacts
from hilum.clients.policy import admission
from hilum.controls.policy import administers
from hilum.identity.policy import ROLES
from hilum.installations.models import Installation, InstallationFacts, InstallOrder, NarrowOrder
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import TenantId
from hilum.policies.models import Book
from hilum.registry.policy import may_suspend, scope_faults
from hilum.standards.smart.scopes import LAUNCH_AND_IDENTITY, all_covered, narrow


def may_install(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may install apps at a tenant; that is for the tenant to decide, not for the platform's staff."""
    # The platform's staff certify; the hospital decides whom it lets in (ADR 17).
    return actor.kind in {ActorKind.HOST, ActorKind.SYSTEM} or administers(actor, tenant)


def may_uninstall(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may remove or narrow an installation; those who may suspend apps may too."""
    # Taking away needs less than giving: security may end an installation in an incident.
    return may_install(actor, tenant) or may_suspend(actor)


def may_see_installations(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor may list the installations of a tenant (None: of all)."""
    return actor.is_platform or administers(actor, tenant or "")


def install_faults(
    order: InstallOrder, certified: Iterable[str], *, only_backend: bool, now: datetime
) -> dict[str, str]:
    """Return the error code of each invalid field: scopes must be certified, and roles must exist (C147)."""
    faults: dict[str, str] = {}
    if order.scopes is not None:
        faults |= scope_faults(order.scopes)
        # Only well-formed scopes are compared: one that does not parse is covered by nothing and would be
        # reported as not certified.
        if not faults and not all_covered(order.scopes, certified):
            faults["scopes"] = "scopes_not_certified"
    # A backend service acts for no person, so no role is needed; any other app without roles could be used by
    # nobody.
    if not order.roles and not only_backend:
        faults["roles"] = "roles_missing"
    elif not order.roles <= ROLES:
        faults["roles"] = "role_unknown"
    if order.expires_at is not None and order.expires_at <= now:
        faults["expires_at"] = "not_in_the_future"
    return faults


def narrow_faults(order: NarrowOrder, before: Installation, *, now: datetime) -> dict[str, str]:
    """Return the error code of each field that would widen the installation or is invalid."""
    faults: dict[str, str] = {}
    if order.scopes is not None and not all_covered(order.scopes, before.scopes):
        faults["scopes"] = "widens"
    if order.roles is not None and not order.roles <= before.roles:
        faults["roles"] = "widens"
    if order.expires_at is not None:
        if order.expires_at <= now:
            faults["expires_at"] = "not_in_the_future"
        # An end where there was none narrows.
        elif before.expires_at is not None and order.expires_at > before.expires_at:
            faults["expires_at"] = "widens"
    return faults


def narrowed(order: NarrowOrder, before: Installation) -> Installation:
    """Return the installation after a narrowing; launch and identity scopes stay, also where the order does not name them."""
    return replace(
        before,
        scopes=before.scopes if order.scopes is None else _with_launch(order.scopes, before.scopes),
        roles=before.roles if order.roles is None else order.roles,
        expires_at=before.expires_at if order.expires_at is None else order.expires_at,
    )


def _with_launch(scopes: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Return scopes with the launch and identity scopes of before."""
    # They reach no records. Without them the app would no longer be launched, and nobody would see why.
    return tuple(dict.fromkeys((*(each for each in before if each in LAUNCH_AND_IDENTITY), *scopes)))


def allowed_scopes(facts: ClientFacts, installation: InstallationFacts, book: Book) -> tuple[str, ...]:
    """Return the most that this client may be granted at this tenant: registered AND certified AND admitted by the rule book AND installed.

    Source: C68, C179
    """
    # Registered by the vendor, certified by review, admitted by the rule book, approved by the hospital: each
    # can only take away.
    return narrow(admission(book, facts).scopes, installation.scopes)
