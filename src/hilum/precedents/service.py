"""Share a hospital's decisions about apps, and read those that others share (C221)."""

from dataclasses import replace

from hilum.agreements import service as agreements
from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.evidence import service as evidence
from hilum.evidence.models import CertifiedEvidence
from hilum.identity import service as identity
from hilum.identity.models import Tenant
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.installations.models import Installation
from hilum.kernel.errors import Invalid, NotFound, Readers, not_shown
from hilum.kernel.ids import AppId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.precedents import policy, store
from hilum.precedents.models import (
    CANDIDATES_BOUND,
    PRECEDENTS_BOUND,
    WHOLE,
    Precedent,
    Precedents,
    Sharing,
    SharingOrder,
    Terms,
)
from hilum.registry import service as registry
from hilum.registry.models import App, environment_of

SET = "precedents.sharing.set"
_NOT_YOURS = "Only the hospital's administrators may see and decide this."


def set_sharing(ctx: Context, order: SharingOrder) -> Sharing | None:
    """Set whether a hospital shares its approval of an app, or of every app. Returns None if an app's own choice was removed.

    Raises NotPermitted, NotFound (the app is not approved there), Invalid.
    """
    said = {None: "as_hospital", True: "yes", False: "no"}[order.shares]
    facts = {"shares": said, "app": order.app or "", "reasons": bool(order.reasons)}
    event = Event(SET, tenant=order.tenant, app=order.app or "", facts=facts)
    if not policy.may_share(ctx.actor, order.tenant):
        raise audit.refusal(ctx, event, _NOT_YOURS)
    if identity.find_tenant(ctx, order.tenant) is None:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    if faults := policy.order_faults(order):
        raise Invalid("sharing_invalid", "This cannot be shared as asked; see fields.", fields=faults)
    if order.app is not None:
        app = registry.view_app(ctx, order.app)
        if installations.current(ctx, order.tenant, app) is None:
            raise NotFound(
                "installation_not_found", "The app is not approved here, so there is nothing to share."
            )
    key, made = policy.key_of(order), None
    if order.shares is None:
        store.remove(ctx.tx, order.tenant, key)
    else:
        made = Sharing(order.tenant, key, order.shares, order.reasons.strip(), str(ctx.actor), ctx.now)
        store.save(ctx.tx, made)
    audit.record(ctx, event)
    return made


def list_sharing(ctx: Context, tenant: TenantId, page: PageQuery = FIRST_PAGE) -> list[Sharing]:
    """List a hospital's choices by app, the general one first. Raises NotPermitted."""
    _require_look(ctx, tenant)
    return store.list_of(ctx.tx, tenant, page)


def sharing_of(ctx: Context, tenant: TenantId, app: AppId) -> tuple[Sharing | None, bool]:
    """Return a hospital's choice for an app, None without one, and whether it shares its approval. Raises NotPermitted."""
    _require_look(ctx, tenant)
    own = store.find(ctx.tx, tenant, app)
    if own is None:
        return None, shares_in_general(ctx, tenant)
    installed = installations.installed_at(ctx, tenant, [app]).get(app)
    # It shares nothing until somebody chooses again.
    if installed is None or not policy.covers(own, installed.approved_at):
        return None, False
    return own, own.shares


def shares_in_general(ctx: Context, tenant: TenantId) -> bool:
    """Check whether a hospital shares its approvals in general. Raises NotPermitted."""
    _require_look(ctx, tenant)
    whole = store.find(ctx.tx, tenant, WHOLE)
    return whole is not None and whole.shares


def _require_look(ctx: Context, tenant: TenantId) -> None:
    if not policy.may_look(ctx.actor, tenant):
        raise not_shown("what a hospital shares", Readers.HOSPITAL)


def find(
    ctx: Context,
    tenant_id: TenantId,
    app_id: AppId,
    *,
    scopes: tuple[str, ...] | None = None,
    roles: frozenset[str] | None = None,
) -> Precedents:
    """Return the approvals of an app that other hospitals share, compared with what this one would grant.

    ``scopes`` None: what it grants already, or else everything certified. Raises NotPermitted, NotFound.
    """
    if not policy.may_look(ctx.actor, tenant_id):
        raise not_shown("what hospitals share with this one", Readers.HOSPITAL)
    tenant, app = identity.find_tenant(ctx, tenant_id), registry.view_app(ctx, app_id)
    if tenant is None:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    mine = _mine(ctx, tenant, app)
    mine = replace(
        mine,
        scopes=mine.scopes if scopes is None else scopes,
        roles=mine.roles if roles is None else roles,
    )
    found = []
    for choice in store.list_sharing(ctx.tx, app.id, tenant.id, CANDIDATES_BOUND):
        other = identity.find_tenant(ctx, choice.tenant)
        # An approval of a synthetic hospital is no precedent for a real one.
        if other is None or not other.active or other.sandbox is not tenant.sandbox:
            continue
        installed = installations.current(ctx, other.id, app)
        if installed is not None and policy.covers(choice, installed.approved_at):
            found.append(_precedent(ctx, other, app, installed, reasons=choice.reasons, mine=mine))
    found.sort(key=lambda each: (each.approved_at, each.tenant), reverse=True)
    items = tuple(found[:PRECEDENTS_BOUND])
    return Precedents(items, _evidence(ctx, app, tenant) if items else None)


def _mine(ctx: Context, tenant: Tenant, app: App) -> Terms:
    certified = installations.certified_scopes(ctx, app.id, environment_of(tenant))
    held = agreements.kinds_in_force(ctx, app.vendor, tenant.id)
    installed = installations.current(ctx, tenant.id, app)
    if installed is None:
        return Terms(certified, certified, agreements=held)
    return replace(_terms(installed, held), asked=certified)


def _precedent(
    ctx: Context, other: Tenant, app: App, installed: Installation, *, reasons: str, mine: Terms
) -> Precedent:
    terms = _terms(installed, agreements.kinds_in_force(ctx, app.vendor, other.id))
    differing = policy.compare(terms, mine, other.name)
    return Precedent(
        other.id,
        other.name,
        terms,
        installed.approved_at,
        installed.validated_at,
        reasons,
        differing,
        policy.same(differing),
    )


def _terms(installed: Installation, held: frozenset[str]) -> Terms:
    record = installed.record
    return Terms(
        installed.scopes,
        # Older installations do not record which scopes were certified then.
        () if record is None else record.asked,
        installed.roles,
        held,
        everywhere=installed.facilities is None and not installed.denied,
        workflow=installed.default_workflow,
        pinned=bool(installed.networks),
        expires_at=installed.expires_at,
    )


def _evidence(ctx: Context, app: App, tenant: Tenant) -> CertifiedEvidence | None:
    """Return the evidence of the newest certification that is valid there."""
    environment = environment_of(tenant)
    of = registry.in_force(ctx, registry.certifications_of(ctx, app.id))
    for each in sorted(of, key=lambda each: each.id, reverse=True):
        if each.environment is environment and (found := evidence.evidence_of(ctx, each)) is not None:
            return found
    return None
