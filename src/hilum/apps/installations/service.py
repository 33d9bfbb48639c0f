"""Install apps at tenants, register sandbox apps dynamically, and read the facts about installations."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hilum.apps.agreements import service as agreements
from hilum.apps.clients import policy as rules
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType
from hilum.apps.deletion_requests import service as deletion_requests
from hilum.apps.installations import answering, completeness, policy, store
from hilum.apps.installations.adding import add, audited
from hilum.apps.installations.answering import UnansweredService, list_unanswered
from hilum.apps.installations.completeness import Reasons, needs_at, no_reasons
from hilum.apps.installations.dynamic import register_dynamically
from hilum.apps.installations.enforcement_facts import facts
from hilum.apps.installations.held import (
    apps_at,
    certified_scopes,
    current,
    has_ended,
    installation,
    installations_of,
    installed_at,
    left_out_at,
    origins_at,
    scopes_at,
    union,
    workflows_at,
)
from hilum.apps.installations.models import (
    COMPARED_BOUND,
    DISTINCT_BOUND,
    SORTS,
    Installation,
    InstallOrder,
    LeftOut,
    NarrowOrder,
    Proposal,
    ScopeComparison,
    WidenOrder,
)
from hilum.apps.installations.places import hospitals_of
from hilum.apps.installations.scope_use import compare, propose
from hilum.apps.installations.unused import Permits, unused_scopes
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Environment, environment_of
from hilum.apps.registry.policy import beyond, may_see_app
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.rows import given
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.identity.people.models import Facility, NewFacility, Tenant
from hilum.identity.people.policy import is_member, is_open_to
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

__all__ = [
    "Permits",
    "UnansweredService",
    "apps_at",
    "certified_scopes",
    "current",
    "facts",
    "has_ended",
    "hospitals_of",
    "installation",
    "installations_of",
    "installed_at",
    "left_out_at",
    "list_unanswered",
    "needs_at",
    "origins_at",
    "register_dynamically",
    "scopes_at",
    "unused_scopes",
    "workflows_at",
]
_INSTALL_ANYWAY = "To install it anyway, confirm with `--anyway` (`anyway` in the API), or grant these too."
_NARROW_ANYWAY = "To narrow it anyway, confirm with `--anyway` (`anyway` in the API); to stop it, remove it."


def install(ctx: Context, order: InstallOrder, reasons: Reasons = no_reasons) -> Installation:
    """Install an app at a tenant for roles, with scopes that are certified, until a date; without one that it needs only with ``anyway`` (C211).

    Raises NotPermitted, NotFound, Invalid, Conflict (already installed, or a service of it rests on a text).
    """
    tenant, app = _installable(ctx, order)
    environment = environment_of(tenant)
    certified = certified_scopes(ctx, app.id, environment)
    if not certified:
        fields = {"app": "app_not_certified"}
        detail = "No version of the app is certified for this hospital now. Ask the platform's reviewers to certify one."
        raise Invalid("installation_invalid", detail, fields=fields)
    require_active(ctx, app)
    only_backend = clients.serves_backends_only(ctx, app.id)
    faults = policy.install_faults(order, certified, only_backend=only_backend, now=ctx.now)
    networks = _networks(ctx, app.id, order.networks)
    if isinstance(networks, str):
        faults["networks"] = networks
    else:
        order = replace(order, networks=networks)
    if faults := faults | _place_faults(ctx, order, order.tenant, app.id):
        detail = f"The installation is invalid; see fields. {beyond(order.scopes, certified, allowed_as='certified')}"
        raise Invalid("installation_invalid", detail.strip(), fields=faults)
    # Each launch judges them again; here who installs the app can still do something about it.
    if lacking := agreements.missing_for_app(ctx, tenant, app, order.roles):
        detail = agreements.missing_detail(lacking, app.vendor, tenant.id)
        raise Invalid("installation_invalid", detail, fields={"app": "agreements_missing"})
    answering.require_named(ctx, tenant, app.id)
    given = policy.install_scopes(order, certified)
    missing = completeness.of_new(ctx, tenant, app.id, given, reasons)
    without = completeness.accepted(missing, anyway=order.anyway, how=_INSTALL_ANYWAY)
    # What people agree to for a study ends with it, so its end must be known.
    if order.expires_at is None and _is_study(ctx, app.id, tenant, environment):
        detail = (
            "The policy makes agreements with this app end with a study. Say when it ends at this hospital."
        )
        raise Invalid("installation_invalid", detail, fields={"expires_at": "study_end_missing"})
    _close_former(ctx, order.tenant, app)
    registry.announce_change(ctx, app.id, at=order.tenant)
    return add(ctx, order, given, environment, asked=certified, without=without)


def _close_former(ctx: Context, tenant: TenantId, app: App) -> None:
    """Close an installation of the app that no longer counts: it still holds the unique index, which allows one for each app."""
    before = store.INSTALLATIONS.find(ctx.tx, tenant=tenant, app=app.id, removed_at=None)
    if before is None:
        return
    # With the date of its end, so that the history is true.
    if before.expires_at is not None and before.expires_at <= ctx.now:
        store.save_removed(ctx.tx, before.id, by="system:expiry", at=before.expires_at)
    # The hospital approved the app under its former vendor.
    elif app.owner_since is not None and before.approved_at < app.owner_since:
        store.save_removed(ctx.tx, before.id, by="system:transfer", at=app.owner_since)


def _installable(ctx: Context, order: InstallOrder) -> tuple[Tenant, App]:
    """Return the hospital and the app of an order, which the actor may give. Raises NotPermitted, NotFound."""
    if not policy.may_install(ctx.actor, order.tenant):
        raise audit.refusal(ctx, Event("registry.installation.add", tenant=order.tenant, app=order.app))
    tenant = identity.get_tenant(ctx, order.tenant)
    app = registry.get_app(ctx, order.app)
    # Another hospital's system client, and another vendor's app where the hospital is a vendor's own, is answered like an app that does not exist.
    if app.tenant not in {None, order.tenant} or not is_open_to(tenant, app.vendor):
        raise NotFound("app_not_found", "There is no such app.")
    return tenant, app


def require_active(ctx: Context, app: App) -> None:
    """Check that an app to be given anything here is not suspended. Raises Invalid."""
    if suspension := registry.suspension_of(ctx, app):
        raise Invalid("installation_invalid", suspension, fields={"app": "app_suspended"})


def preview(ctx: Context, order: InstallOrder, reasons: Reasons = no_reasons) -> tuple[LeftOut, ...]:
    """Return what an installation would leave out of what the app needs, or may need, at the hospital. Nothing changes. Raises as ``install``."""
    tenant, app = _installable(ctx, order)
    environment = environment_of(tenant)
    given = policy.install_scopes(order, certified_scopes(ctx, app.id, environment))
    return completeness.of_new(ctx, tenant, app.id, given, reasons)


def _networks(ctx: Context, app: AppId, asked: Sequence[str]) -> tuple[str, ...] | str:
    """Return the networks of an order in their stored form, or the error code of the list."""
    networks = policy.networks_of(asked)
    if not networks or isinstance(networks, str):
        return networks
    found = clients.facts_of_apps(ctx, (app,)).get(app, ())
    # On an app that only people use it would look like a limit and be none.
    if all(each.type is not ClientType.BACKEND for each in found):
        return "networks_not_for_people"
    return networks


def pin_networks(ctx: Context, installation_id: str, asked: Sequence[str]) -> Installation:
    """Set the networks that an app's backend clients come from at a hospital; none: from anywhere (C213).

    Whoever may narrow the installation may pin it further; to admit an address that was not admitted is for those who may install.
    Raises NotFound, NotPermitted, Invalid, Conflict.
    """
    action = "registry.installation.pin"
    before = _installation_for(ctx, installation_id, action)
    networks = _networks(ctx, before.app, asked)
    if isinstance(networks, str):
        raise Invalid("installation_invalid", "The networks are invalid.", fields={"networks": networks})
    facts = {"installation": before.id, "before": list(before.networks), "networks": list(networks)}
    event = Event(action, tenant=before.tenant, app=before.app, facts=facts)
    further = policy.pins_further(networks, before.networks)
    if not further and not policy.may_install(ctx.actor, before.tenant):
        raise audit.refusal(ctx, event)
    if before.removed_at is not None or has_ended(ctx, before, registry.get_app(ctx, before.app)):
        raise already_removed(or_ended=True)
    after = replace(before, networks=networks)
    if not store.save_installation(ctx.tx, after):
        raise already_removed()
    registry.announce_change(ctx, after.app, at=after.tenant)
    audit.record(ctx, event)
    return after


def _is_study(ctx: Context, app: AppId, tenant: Tenant, environment: Environment) -> bool:
    found = clients.facts_of_apps(ctx, (app,)).get(app, ())
    working = [each for each in found if each.environment is environment]
    return policy.is_study(policies.current(ctx).book_at(tenant.id, ctx.now, app), working, ctx.now)


def narrow_installation(
    ctx: Context, installation_id: str, order: NarrowOrder, reasons: Reasons = no_reasons
) -> Installation:
    """Reduce the scopes, roles or duration of an installation. Raises NotFound, NotPermitted, Invalid, Conflict (also of another revision)."""
    before = _installation_for(ctx, installation_id, "registry.installation.narrow")
    if order.revision and order.revision != before.revision:
        detail = "This installation has changed since you read it. Read it again, and repeat your action."
        raise Conflict("changed_since_read", detail)
    faults = policy.narrow_faults(order, before, now=ctx.now)
    if faults := _place_faults(ctx, order, before.tenant, before.app) | faults:
        wider = beyond(order.scopes, before.scopes, allowed_as="installed")
        detail = "Some changes are not possible; see fields."
        if wider:
            detail = f"An installation can only be narrowed. {wider}"
        raise Invalid("installation_invalid", detail, fields=faults)
    after = policy.narrowed(order, before)
    missing = completeness.of_narrowing(ctx, before, after, reasons)
    without = completeness.accepted(missing, anyway=order.anyway, how=_NARROW_ANYWAY)
    after = completeness.recorded(after, without)
    # `get_installation` finds removed ones too.
    if not store.save_installation(ctx.tx, after):
        raise already_removed()
    facts = audited(after) | ({"without": list(without)} if without else {})
    registry.announce_change(ctx, after.app, at=after.tenant)
    audit.record(ctx, Event("registry.installation.narrow", tenant=after.tenant, app=after.app, facts=facts))
    return after


def add_facility(ctx: Context, order: NewFacility) -> Facility:
    """Add a facility to a hospital; a deny of a removed one with its name or reference is kept. Raises as ``identity.add_facility``.

    A facility that is added again has a new id, since what was issued at the one before stays ended. What was denied there stays denied.
    """
    facility = identity.add_facility(ctx, order)
    former = identity.find_former_facilities(ctx, facility)
    if not former:
        return facility
    denying = [each for each in store.list_denying(ctx.tx, facility.tenant) if each.denied & former]
    for after in (replace(each, denied=each.denied | {facility.id}) for each in denying):
        store.save_installation(ctx.tx, after)
        registry.announce_change(ctx, after.app, at=after.tenant)
        event = Event(
            "registry.installation.narrow", tenant=after.tenant, app=after.app, facts=audited(after)
        )
        audit.record(ctx, event)
    return facility


def widen(ctx: Context, installation_id: str, order: WidenOrder) -> Installation:
    """Add certified scopes and roles to an installation; grants from before get nothing of it.

    If it gives back what a narrowing took away, what was issued before ends. Raises NotFound, NotPermitted, Invalid, Conflict.
    """
    action = "registry.installation.widen"
    before = _installation_for(ctx, installation_id, action)
    # Security staff may take away, which is less than to give.
    if not policy.may_install(ctx.actor, before.tenant):
        raise audit.refusal(ctx, Event(action, tenant=before.tenant, app=before.app))
    app = registry.get_app(ctx, before.app)
    if before.removed_at is not None or has_ended(ctx, before, app):
        raise already_removed(or_ended=True)
    require_active(ctx, app)
    certified = certified_scopes(ctx, before.app, before.environment)
    if faults := policy.widen_faults(order, certified):
        detail = f"The installation is invalid; see fields. {beyond(order.scopes, certified, allowed_as='certified')}"
        raise Invalid("installation_invalid", detail.strip(), fields=faults)
    tenant, roles = identity.get_tenant(ctx, before.tenant), before.roles | order.roles
    if lacking := agreements.missing_for_app(ctx, tenant, app, roles):
        detail = agreements.missing_detail(lacking, app.vendor, tenant.id)
        raise Invalid("installation_invalid", detail, fields={"app": "agreements_missing"})
    # Whoever gives an app more has looked at it again, so that counts as validating it.
    answering.require_named(ctx, tenant, before.app)
    after = policy.widened(order, before, certified, by=str(ctx.actor), now=ctx.now)
    if not store.save_installation(ctx.tx, after):
        raise already_removed()
    facts = {
        "installation": after.id,
        "scopes": list(order.scopes),
        "roles": sorted(order.roles),
        "approved_anew": after.approved_at == ctx.now,
    }
    registry.announce_change(ctx, after.app, at=after.tenant)
    audit.record(ctx, Event(action, tenant=after.tenant, app=after.app, facts=facts))
    return after


def get_installation(ctx: Context, installation_id: str) -> Installation:
    """Get an installation, removed or not, with its approval record. Raises NotFound, also for one that the actor may not see."""
    found = store.INSTALLATIONS.get(ctx.tx, installation_id)
    if not policy.may_see_installations(ctx.actor, found.tenant):
        raise NotFound("installation_not_found", "There is no such installation.")
    return found


def revalidate(ctx: Context, installation_id: str) -> Installation:
    """Record that the hospital looked at an installation again and leaves it as it is (C97).

    Raises NotFound, NotPermitted, Conflict (removed, ended, or from before a transfer, which needs a new approval; or a service of it has only a text as approver).
    """
    found = store.INSTALLATIONS.get(ctx.tx, installation_id, lock=True)
    if not policy.may_install(ctx.actor, found.tenant):
        if not policy.may_see_installations(ctx.actor, found.tenant):
            raise NotFound("installation_not_found", "There is no such installation.")
        raise audit.refusal(ctx, Event("registry.installation.validate", tenant=found.tenant, app=found.app))
    in_force = current(ctx, found.tenant, registry.get_app(ctx, found.app))
    if in_force is None or in_force.id != found.id:
        raise Conflict(
            "installation_not_in_force",
            "This installation is not in force: it was removed or has ended, or the app has another vendor now. Install the app again.",
        )
    answering.require_named(ctx, identity.get_tenant(ctx, found.tenant), found.app)
    store.INSTALLATIONS.change(ctx.tx, {"validated_at": ctx.now, "validated_by": str(ctx.actor)}, id=found.id)
    event = Event("registry.installation.validate", tenant=found.tenant, app=found.app)
    audit.record(ctx, replace(event, facts={"installation": found.id}))
    return replace(found, validated_at=ctx.now, validated_by=str(ctx.actor))


def uninstall(ctx: Context, installation_id: str) -> Installation:
    """Remove an app from a tenant; its tokens there are refused from the next snapshot on. Raises NotFound, NotPermitted, Conflict."""
    before = _installation_for(ctx, installation_id, "registry.installation.remove")
    if not store.save_removed(ctx.tx, before.id, by=str(ctx.actor), at=ctx.now):
        raise already_removed()
    facts = {"installation": before.id}
    registry.announce_change(ctx, before.app, at=before.tenant)
    audit.record(
        ctx, Event("registry.installation.remove", tenant=before.tenant, app=before.app, facts=facts)
    )
    deletion_requests.ask_of_hospital(ctx, before.tenant, before.app, before.id)
    return replace(before, removed_at=ctx.now, removed_by=str(ctx.actor))


def already_removed(*, or_ended: bool = False) -> Conflict:
    """Return the refusal of a change of an installation that was removed, or perhaps has ended."""
    also = ", or has ended" if or_ended else ""
    return Conflict("installation_removed", f"This installation has already been removed{also}.")


def _installation_for(ctx: Context, installation_id: str, action: str) -> Installation:
    found = store.INSTALLATIONS.get(ctx.tx, installation_id, lock=True)
    if policy.may_uninstall(ctx.actor, found.tenant):
        return found
    # Those who may not see it are answered as for an id that does not exist; the others are refused by name.
    if not policy.may_see_installations(ctx.actor, found.tenant):
        raise NotFound("installation_not_found", "There is no such installation.")
    raise audit.refusal(ctx, Event(action, tenant=found.tenant, app=found.app))


def list_installations(
    ctx: Context, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Installation]:
    """List current installations; a tenant's administrator sees only the tenant's. Raises NotPermitted."""
    # Without a filter an administrator lists their own tenant, never all.
    of = tenant if ctx.actor.is_platform else tenant or ctx.actor.tenant
    if not policy.may_see_installations(ctx.actor, of):
        raise not_shown("the installations of a hospital", Readers.HOSPITAL)
    return store.INSTALLATIONS.sorted(ctx.tx, SORTS, page, removed_at=None, **given(tenant=of))


def compare_scopes(
    ctx: Context, app_id: AppId, days: int, tenant: TenantId | None, permits: Permits
) -> ScopeComparison:
    """Compare an app's asked, approved, granted and used scopes over some days, at one hospital or at all; an administrator's is their own.

    A member of the app's vendor compares all hospitals together, since the vendor took the app over, and learns whether a scope was used, not how
    often. Raises NotFound (also for another hospital).
    """
    app = registry.get_app(ctx, app_id)
    if not may_see_app(ctx.actor, app):
        raise NotFound("app_not_found", "There is no such app.")
    at = tenant if ctx.actor.is_platform else tenant or ctx.actor.tenant
    own = at is None and is_member(ctx.actor, app.vendor)
    if not own and not policy.may_see_installations(ctx.actor, at):
        raise NotFound("tenant_not_found", "There is no such hospital.")
    installed = None
    if at is None:
        sets = store.count_by_scopes(ctx.tx, app.id, ctx.now, app.owner_since, DISTINCT_BOUND)
    else:
        installed = current(ctx, identity.get_tenant(ctx, at).id, app)
        sets = [] if installed is None else [(installed.scopes, 1)]
    found = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    bases = (basis for each in found for basis in each.bases if basis.until and ctx.now < basis.until)
    since = ctx.now - timedelta(days=days)
    if own and app.owner_since is not None:
        since = max(since, app.owner_since)
    rows = compare(
        union(each.scopes for each in found),
        union(each.scopes for each in bases),
        dict(sets),
        permits([each.id for each in found], since, at or ""),
    )
    if own:
        # A request for a record that is withheld is not counted, one for a record that is absent is: the exact number, after a
        # single request, would say which it was.
        rows = tuple(replace(each, used=min(each.used, 1), last=None) for each in rows)
    whole = len(rows) < COMPARED_BOUND and len(sets) < DISTINCT_BOUND
    comparison = ScopeComparison(app.id, at or "", days, since, rows, whole)
    if installed is None:
        return comparison
    early = installed.approved_at > since
    proposal, narrow_to = (Proposal.TOO_EARLY, ()) if early else propose(installed.scopes, rows)
    return replace(
        comparison,
        installation=installed.id,
        installed_at=installed.approved_at,
        proposal=proposal,
        narrow_to=narrow_to,
    )


def _place_faults(
    ctx: Context, order: InstallOrder | NarrowOrder, tenant: TenantId, app: AppId
) -> dict[str, str]:
    """Return what is wrong with where, and for which task, an app is to be opened."""
    named = order.denied | (order.facilities or frozenset())
    if not named and order.facilities is None and not order.default_workflow:
        return {}
    only_backend = clients.serves_backends_only(ctx, app)
    unknown = identity.unknown_facilities(ctx, tenant, named)
    faults = policy.facility_faults(order, unknown, only_backend=only_backend)
    book = policies.current(ctx).book_at(tenant, ctx.now, app)
    found = clients.facts_of_apps(ctx, (app,)).get(app, ())
    allowed = {each for facts in found for each in rules.workflows_allowed(book, facts, ctx.now)}
    if fault := policy.workflow_fault(order.default_workflow or "", book, allowed, only_backend=only_backend):
        faults["default_workflow"] = fault
    return faults
