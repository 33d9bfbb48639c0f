"""The steps that make, reset and remove snapshots, one transaction each; ``live`` has their order."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType, NewSystemClient
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppState, Environment
from hilum.authorization.consent import service as consent
from hilum.authorization.launches import service as launches
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from hilum.foundation.kernel.ids import ClientId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.hospitals.vendor_hospitals import policy, store
from hilum.hospitals.vendor_hospitals.models import (
    APPS_BOUND,
    CLAIMED_FOR,
    PLACES,
    SNAPSHOTS_BOUND,
    Card,
    CastMember,
    Furnisher,
    NewSnapshot,
    Opened,
    Snapshot,
    SnapshotApp,
    State,
    Template,
)
from hilum.identity.factors import service as factors
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Tenant, TenantChange, UpstreamKind, UpstreamRef
from hilum.identity.people.policy import ROLES
from hilum.identity.signin import service as signin
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.review.certification_runs import service as evidence
from hilum.review.certification_runs.models import Ground

ReadCalled = Callable[[Collection[TenantId], datetime], Collection[TenantId]]
"""Returns those of some hospitals where an app was answered since a moment, from the daily counts."""
_DAY = timedelta(days=1)
WITHOUT_PASSWORD = frozenset({"administrator"})
"""Roles without a password: a snapshot is governed by the rights of its vendor, not of a hospital."""


def reserve(
    ctx: Context, order: NewSnapshot, templates: Mapping[str, Template], *, secret: str, claim: str
) -> Snapshot:
    """Reserve a place for a new snapshot, and return it: nobody else can use it meanwhile. Raises NotPermitted, Invalid, Unavailable (too many)."""
    vendor = _maker(ctx, "snapshots.snapshot.create")
    store.lock(ctx.tx)
    held = store.list_of(ctx.tx, vendor)
    if faults := policy.order_faults(order, templates, held):
        detail = "The snapshot cannot be made as described; see fields."
        if "template" in faults and not templates:
            detail = "This sandbox has no templates yet. Its operator makes them with `hilum sandbox seed`."
        raise Invalid("snapshot_invalid", detail, fields=faults)
    place = policy.free_place(held, ctx.now)
    if place is None:
        detail = f"Your vendor has {PLACES} snapshots, which is the limit. Remove or reset one."
        raise Unavailable("too_many_snapshots", detail)
    slot, before = place
    taken = 0 if before is not None and before.state is State.MAKING else 1
    if store.count_present(ctx.tx) + taken > SNAPSHOTS_BOUND:
        detail = "This sandbox has reached its limit of snapshots. Remove one that you no longer need, or ask its operator."
        raise Unavailable("too_many_snapshots", detail)
    made = Snapshot(
        policy.tenant_id_of(secret) if before is None else before.id,
        vendor,
        slot,
        order.name.strip(),
        order.template,
        ClientId("") if before is None else before.client,
        State.MAKING,
        str(ctx.actor),
        ctx.now,
        ctx.now,
        ctx.now,
        claim,
    )
    if before is not None:
        store.SNAPSHOTS.save(ctx.tx, made)
    elif not store.SNAPSHOTS.add_new(ctx.tx, made):
        # An earlier release takes places without the lock.
        raise place_taken()
    return made


def holds(ctx: Context, begun: Snapshot) -> bool:
    """Check whether the operation that began to make or reset a snapshot still holds it."""
    found = store.SNAPSHOTS.find(ctx.tx, id=begun.id)
    return found is not None and (found.state, found.claim) == (begun.state, begun.claim)


def give_up(ctx: Context, begun: Snapshot) -> None:
    """Free the place of a snapshot whose making failed."""
    found = store.SNAPSHOTS.get(ctx.tx, begun.id, lock=True)
    if holds(ctx, begun):
        store.SNAPSHOTS.save(ctx.tx, replace(found, state=State.REMOVED, claim=""))


def is_gone(ctx: Context, snapshot_id: TenantId) -> bool:
    """Check whether a snapshot should have no card and records."""
    found = store.SNAPSHOTS.find(ctx.tx, id=snapshot_id)
    return found is None or found.state is State.REMOVED


def create(
    ctx: Context, begun: Snapshot, template: Template, *, fresh: Card, digest: str
) -> tuple[Snapshot, Card]:
    """Add a snapshot whose records are in place; return it with its card.

    Raises NotPermitted, Conflict (it took too long, and the place is another's).
    """
    vendor = _maker(ctx, "snapshots.snapshot.create")
    found = store.SNAPSHOTS.get(ctx.tx, begun.id, lock=True)
    if found.vendor != vendor or not holds(ctx, begun):
        raise place_taken()
    system = ctx.as_actor(SYSTEM)
    if found.client:
        client, secret = found.client, _renew_secret(system, found.client)
        name = policy.hospital_name(found.name, template)
        identity.update_tenant(system, found.id, TenantChange(name=name, active=True))
    else:
        client, secret = _add_tenant(system, found, template)
    made = replace(
        found,
        client=client,
        state=State.READY,
        claim="",
        made_at=ctx.now,
        reset_at=ctx.now,
        used_at=ctx.now,
    )
    store.SNAPSHOTS.save(ctx.tx, made)
    card = _furnish(system, made, template, replace(fresh, client_id=client, client_secret=secret), digest)
    audit.record(ctx, _event("snapshots.snapshot.create", made, template=made.template))
    return made, card


def place_taken() -> Conflict:
    """Return the refusal of an operation that lost its claim to another one."""
    return Conflict("snapshot_taken", "A colleague made or reset a snapshot at this moment. Try again.")


def _add_tenant(system: Context, made: Snapshot, template: Template) -> tuple[ClientId, str]:
    """Add the tenant of a snapshot with its EHR; return the client of that, and its secret."""
    name, upstream = policy.hospital_name(made.name, template), UpstreamRef(UpstreamKind.EMBEDDED)
    origins = (template.origin,)
    identity.add_tenant(
        system, Tenant(made.id, name, upstream, ehr_origins=origins, sandbox=True, vendor=made.vendor)
    )
    keys.ensure(system, Purpose.ID_TOKEN, made.id)
    system_client, secret = clients.add_system_client(
        system, NewSystemClient(made.id, ClientType.EHR, "Sandbox EHR")
    )
    return system_client.id, secret


def begin_reset(
    ctx: Context, snapshot_id: TenantId, templates: Mapping[str, Template], claim: str
) -> Snapshot:
    """Close a snapshot for a reset: everything in progress there ends, including an earlier reset.

    Raises NotFound, NotPermitted, Unavailable (its template is missing).
    """
    found = _changeable(ctx, snapshot_id, "snapshots.snapshot.reset")
    # Before it is closed: without a template nothing would open it again.
    if found.template not in templates:
        detail = "This sandbox has no template for it now. Its operator makes them with `hilum sandbox seed`."
        raise Unavailable("snapshot_template_missing", detail)
    _close(ctx.as_actor(SYSTEM), found)
    begun = replace(found, state=State.RESETTING, claim=claim)
    store.SNAPSHOTS.save(ctx.tx, begun)
    audit.record(ctx, _event("snapshots.snapshot.reset", begun, step="begin"))
    return begun


def finish_reset(
    ctx: Context, begun: Snapshot, template: Template, fresh: Card, digest: str
) -> tuple[Snapshot, Card]:
    """Open a snapshot whose records are those of its template again; nothing issued before is valid (ADR 6).

    Raises NotFound, NotPermitted, Conflict.
    """
    found = _changeable(ctx, begun.id, "snapshots.snapshot.reset")
    if not holds(ctx, begun):
        raise Conflict("snapshot_not_resetting", "A colleague reset this snapshot at this moment.")
    system = ctx.as_actor(SYSTEM)
    identity.update_tenant(system, found.id, TenantChange(active=True))
    secret = _renew_secret(system, found.client)
    done = replace(found, state=State.READY, claim="", reset_at=ctx.now, used_at=ctx.now)
    store.SNAPSHOTS.save(ctx.tx, done)
    card = replace(fresh, client_id=found.client, client_secret=secret)
    card = _furnish(system, done, template, card, digest)
    audit.record(ctx, _event("snapshots.snapshot.reset", done, step="finish"))
    return done, card


def remove(ctx: Context, snapshot_id: TenantId) -> Snapshot:
    """Close a snapshot for good: nobody finds it afterwards. Its records are deleted next. Raises NotFound, NotPermitted."""
    found = _visible(ctx, snapshot_id, lock=True)
    event = _event("snapshots.snapshot.remove", found)
    if not policy.may_remove(ctx.actor, found.vendor):
        raise audit.refusal(ctx, event)
    _close(ctx.as_actor(SYSTEM), found)
    done = replace(found, state=State.REMOVED, claim="")
    store.SNAPSHOTS.save(ctx.tx, done)
    audit.record(ctx, event)
    return done


def put_apps(ctx: Context, snapshot_id: TenantId) -> tuple[Snapshot, tuple[SnapshotApp, ...]]:
    """Install the vendor's apps that are certified for the sandbox now; return the snapshot and its apps. Raises NotFound, NotPermitted."""
    found = _changeable(ctx, snapshot_id, "snapshots.snapshot.put_apps")
    apps = _put_apps(ctx.as_actor(SYSTEM), found)
    audit.record(ctx, _event("snapshots.snapshot.put_apps", found, apps=len(apps)))
    return found, apps


def view(ctx: Context, snapshot_id: TenantId) -> Snapshot:
    """Get a snapshot that the actor may see. Raises NotFound, also for another vendor's."""
    return _visible(ctx, snapshot_id)


def ground_of(ctx: Context, tenant_id: TenantId, furnisher: Furnisher) -> Ground:
    """Return the ground of a certification run at a hospital: a snapshot, with the number of changed records, or a shared hospital."""
    found = store.SNAPSHOTS.find(ctx.tx, id=tenant_id)
    if found is None:
        return evidence.ground_at(ctx, tenant_id)
    return Ground(
        own=True,
        reset_at=found.reset_at,
        changed=furnisher.count_changed(found.id, found.template, found.reset_at),
    )


def list_snapshots(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Snapshot]:
    """List the snapshots of the actor's vendor; for the staff those of every vendor. By id."""
    if not ctx.actor.is_platform and (ctx.actor.vendor is None or not ctx.actor.roles):
        raise NotFound("snapshot_not_found", "There is no such snapshot.")
    return store.list_present(ctx.tx, None if ctx.actor.is_platform else ctx.actor.vendor, page)


def open_card(ctx: Context, snapshot_id: TenantId, furnisher: Furnisher) -> Opened:
    """Return the credentials of a snapshot, and record its use. Raises NotFound, also for non-members, Unavailable (not ready)."""
    found = _visible(ctx, snapshot_id)
    if not policy.may_open(ctx.actor, found.vendor):
        raise _no_snapshot()
    card, template = furnisher.find(found.id), furnisher.templates().get(found.template)
    if found.state is not State.READY or card is None or template is None:
        raise Unavailable(
            "snapshot_not_ready",
            "This snapshot is not ready: its last reset was interrupted. Reset it again.",
        )
    store.note_use(ctx.tx, [found.id], ctx.now)
    audit.record(ctx, _event("snapshots.snapshot.open", found))
    return Opened(found, card, template.cast, furnisher.address(card))


def remove_unused(ctx: Context, since: datetime, called: ReadCalled) -> list[Snapshot]:
    """Remove a batch of snapshots without use since a moment: no opened card, no launch, no call; return them."""
    found = store.list_unused(ctx.tx, since)
    used = launches.last_launches(ctx, [each.id for each in found], since)
    left = [each.id for each in found if each.id not in used]
    # A service that is never launched. On which day it called is not asked: a day later it is asked whether it still does.
    used |= dict.fromkeys(called(left, since), since + _DAY)
    for tenant, at in used.items():
        store.note_use(ctx.tx, [tenant], at)
    return [remove(ctx, each.id) for each in found if each.id not in used]


def end_broken_off(ctx: Context) -> list[Snapshot]:
    """Free the places of a batch of unfinished snapshots; return them."""
    found = store.list_broken_off(ctx.tx, ctx.now - CLAIMED_FOR)
    for each in found:
        store.SNAPSHOTS.save(ctx.tx, replace(each, state=State.REMOVED, claim=""))
    return found


def _maker(ctx: Context, action: str) -> VendorId:
    vendor = ctx.actor.vendor
    if vendor is None or not policy.may_make(ctx.actor, vendor):
        raise audit.refusal(
            ctx, Event(action), "Only owners and developers of a vendor make snapshots, for their vendor."
        )
    return vendor


def _visible(ctx: Context, snapshot_id: TenantId, *, lock: bool = False) -> Snapshot:
    found = store.SNAPSHOTS.get(ctx.tx, snapshot_id, lock=lock)
    if not policy.may_see(ctx.actor, found.vendor) or not found.is_there:
        raise _no_snapshot()
    return found


def _no_snapshot() -> NotFound:
    return NotFound("snapshot_not_found", "There is no such snapshot.")


def _changeable(ctx: Context, snapshot_id: TenantId, action: str) -> Snapshot:
    found = _visible(ctx, snapshot_id, lock=True)
    if not policy.may_make(ctx.actor, found.vendor):
        raise audit.refusal(ctx, _event(action, found))
    return found


def _close(system: Context, found: Snapshot) -> None:
    identity.update_tenant(system, found.id, TenantChange(active=False))
    consent.end_all_at(system, found.id)


def _renew_secret(system: Context, client: ClientId) -> str:
    _, secret = clients.rotate_secret(system, client, overlap=timedelta(0))
    return secret


def _furnish(system: Context, found: Snapshot, template: Template, card: Card, digest: str) -> Card:
    for member in template.cast:
        _keep_person(system, found.id, member, digest)
    return replace(card, apps=_put_apps(system, found))


def _keep_person(system: Context, tenant: TenantId, member: CastMember, digest: str) -> None:
    person = identity.find_person_by_username(system, tenant, member.username)
    if person is None:
        order = NewPerson(
            tenant, member.username, member.name, member.role, member.fhir_user, member.patients
        )
        person = identity.add_person(system, order)
    # Reset to how they began: a second factor that somebody set up there would keep everybody else out.
    elif factors.held(system, person.id).any:
        factors.remove_all(system, person, why="snapshot_reset")
    if member.role not in WITHOUT_PASSWORD:
        signin.set_password(system, person.id, digest)


def _put_apps(system: Context, found: Snapshot) -> tuple[SnapshotApp, ...]:
    """Install the vendor's apps that may be installed in a sandbox, and list the clients that a chart can open."""
    listed: list[SnapshotApp] = []
    for app in registry.list_of_vendor(system, found.vendor, APPS_BOUND):
        if app.state is AppState.ACTIVE and app.tenant is None and _is_installed(system, found.id, app):
            listed += [
                SnapshotApp(client.id, app.name, app.description)
                for client in clients.launched_of(system, [app.id]).get(app.id, ())
                if client.environment is Environment.SANDBOX
            ]
    return tuple(listed)


def _is_installed(system: Context, tenant: TenantId, app: App) -> bool:
    if installations.current(system, tenant, app) is not None:
        return True
    try:
        # For every role: a snapshot is for trying, and a hospital that treats people narrows the roles itself.
        installations.install(system, InstallOrder(tenant, app.id, frozenset(ROLES)))
    except Invalid:
        # Not certified for the sandbox yet, or the policy requires something that nobody can state here.
        return False
    return True


def _event(action: str, found: Snapshot, **facts: object) -> Event:
    return Event(action, tenant=found.id, facts={"vendor": found.vendor, "name": found.name, **facts})
