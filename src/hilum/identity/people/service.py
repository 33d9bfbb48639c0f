"""Add, change and find tenants and people. The verbs of the module's other modules are exported from here, too."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Target, TargetKind
from hilum.controls.switches.policy import MAY_STOP_ANYTHING
from hilum.foundation.infra import nodes
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, require_platform
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PAGE_BOUND, PageQuery
from hilum.identity.people import orders, policy, store
from hilum.identity.people.branding import set_branding
from hilum.identity.people.enforcement_facts import facts
from hilum.identity.people.facilities import (
    add_facility,
    find_facilities_named,
    find_facility,
    find_facility_named,
    find_former_facilities,
    list_facilities,
    remove_facility,
    unknown_facilities,
)
from hilum.identity.people.mailing import list_recipients, mail_administrators, zone_of
from hilum.identity.people.models import (
    APPROVAL_MAILS,
    IDENTITY,
    NAMES_BOUND,
    NEGATIVE_WINDOW,
    SECOND_PEOPLE_MIN,
    TENANT_SORTS,
    TENANTS_BOUND,
    Bar,
    Chart,
    NewPerson,
    Person,
    Role,
    StaffRole,
    Tenant,
    TenantChange,
    UpstreamKind,
    UpstreamRef,
    VendorRole,
)
from hilum.identity.people.ownership import list_sandboxes, list_shared
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind
from hilum.records.notices.policy import parse_address

__all__ = [
    "add_facility",
    "facts",
    "find_facilities_named",
    "find_facility",
    "find_facility_named",
    "find_former_facilities",
    "list_facilities",
    "list_recipients",
    "list_sandboxes",
    "list_shared",
    "mail_administrators",
    "remove_facility",
    "set_branding",
    "unknown_facilities",
    "zone_of",
]
_SECOND_PERSON_NEEDED = "This takes a second person. Request it, and have a colleague approve it."


def add_tenant(ctx: Context, tenant: Tenant) -> Tenant:
    """Add a tenant. Raises NotPermitted, Invalid, Conflict (the id is taken)."""
    if not policy.may_manage_tenants(ctx.actor):
        raise audit.refusal(ctx, Event("identity.tenant.add", tenant=str(tenant.id)))
    if faults := policy.tenant_faults(tenant):
        raise Invalid("tenant_invalid", "The hospital cannot be added as described.", fields=faults)
    _require_one_node(ctx, tenant.upstream)
    if store.TENANTS.count(ctx.tx) >= TENANTS_BOUND:
        raise Unavailable("too_many_tenants", f"This platform holds at most {TENANTS_BOUND} tenants.")
    if not store.TENANTS.add_new(ctx.tx, tenant):
        raise Conflict("tenant_exists", "There is already a tenant with this id.")
    facts = {"sandbox": tenant.sandbox, "upstream": tenant.upstream.kind.value}
    ctx.advance_epoch(IDENTITY, f"tenant/{tenant.id}")
    audit.record(ctx, Event("identity.tenant.add", tenant=tenant.id, facts=facts))
    return tenant


def update_tenant(ctx: Context, tenant_id: TenantId, change: TenantChange) -> Tenant | Asked:
    """Change a tenant. Only platform administrators may change its origins, its FHIR server and whether it is active.

    A change that moves its data or its people's browsers waits as a whole for a second person. Tokens and sessions from before a tenant is
    activated again stay invalid. Raises NotFound, NotPermitted, Invalid, Unavailable (too many wait).
    """
    # Locked first: the whole row is saved, which would otherwise undo a concurrent change.
    before = _require_present(store.TENANTS.get(ctx.tx, tenant_id, lock=True))
    after = _checked_change(ctx, before, change)
    # Also for a hospital that is not active, or one person could move it by deactivating it first (ADR 29).
    if ctx.actor.acts_alone or not policy.moves(before, after):
        return _save_tenant(ctx, before, after, change)
    fields = orders.changed_fields(change)
    act = Act(
        ApprovalKind.TENANT,
        tenant_id,
        tenant_id,
        order=orders.write_tenant(after, fields),
        before=orders.write_tenant(before, fields),
        sealed=change.upstream.credentials_sealed if change.upstream else "",
    )
    return Asked(ask(ctx, act))


def _carry_out_change(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act = approval.act
    # The second person agreed to replace exactly what was there when the change was requested.
    before = _require_present(store.TENANTS.get(ctx.tx, TenantId(act.target), lock=True))
    change = orders.read_tenant_change(act.order, act.sealed)
    require_unchanged(act, orders.write_tenant(before, orders.changed_fields(change)))
    as_asker = ctx.as_actor(asker)
    _save_tenant(as_asker, before, _checked_change(as_asker, before, change), change)
    return CarriedOut(act.target)


def _checked_change(ctx: Context, before: Tenant, change: TenantChange) -> Tenant:
    tenant_id = before.id
    if not policy.may_administer(ctx.actor, tenant_id):
        raise audit.refusal(ctx, Event("identity.tenant.update", tenant=tenant_id))
    platform_only = (change.base_url, change.active, change.upstream, change.ehr_origins)
    if any(part is not None for part in platform_only) and not policy.may_manage_tenants(ctx.actor):
        raise audit.refusal(ctx, Event("identity.tenant.update", tenant=tenant_id))
    after = replace(before, **orders.changed_fields(change))
    if faults := policy.tenant_faults(after):
        raise Invalid("tenant_invalid", "The hospital cannot be changed as described.", fields=faults)
    # Also when it is activated: nodes may have been added while it was inactive.
    if change.upstream is not None or (after.active and not before.active):
        _require_one_node(ctx, after.upstream)
    return after


def _save_tenant(ctx: Context, before: Tenant, after: Tenant, change: TenantChange) -> Tenant:
    tenant_id = before.id
    store.TENANTS.save(ctx.tx, after)
    if after.active and not before.active:
        # Tokens and sessions from before stay invalid (ADR 6).
        controls.end_issued(ctx, Target(TargetKind.TENANT, tenant_id))
    ctx.advance_epoch(IDENTITY, f"tenant/{tenant_id}")
    audit.record(
        ctx,
        Event(
            "identity.tenant.update",
            tenant=tenant_id,
            facts={"changed": sorted(orders.changed_fields(change))},
        ),
    )
    return after


def _require_one_node(ctx: Context, upstream: UpstreamRef) -> None:
    """Check that no embedded FHIR server is used if several nodes serve, since its data is on one of them. Raises Invalid."""
    if upstream.kind is UpstreamKind.EMBEDDED and nodes.count_live(ctx.tx) > 1:
        raise Invalid(
            "embedded_needs_one_node",
            "The tenant's upstream is embedded: its data would be on one node, and several nodes serve. Set the address of a FHIR server.",
            fields={"upstream": "upstream_needs_one_node"},
        )


def get_tenant(ctx: Context, tenant: TenantId, *, lock: bool = False) -> Tenant:
    """Get a tenant; with ``lock`` its row is locked until the transaction ends. Raises NotFound."""
    if lock and policy.fits_tenant_id(tenant):
        return _require_present(store.TENANTS.get(ctx.tx, tenant, lock=True))
    present = find_tenant(ctx, tenant)
    if present is None:
        raise no_tenant()
    return present


def _require_present(tenant: Tenant) -> Tenant:
    """Return a tenant that has not left. Raises NotFound."""
    if tenant.left_at is not None:
        raise no_tenant()
    return tenant


def no_tenant() -> NotFound:
    """Return the refusal for a missing tenant, also for one that the actor may not see."""
    return NotFound("tenant_not_found", "There is no such hospital.")


def find_tenant(ctx: Context, tenant: TenantId) -> Tenant | None:
    """Find a tenant by the text of an address, which need not be a valid id; None if there is none, or it has left."""
    stored = store.TENANTS.find(ctx.tx, id=tenant) if policy.fits_tenant_id(tenant) else None
    # A hospital that has left is treated as one that never existed.
    return None if stored is None or stored.left_at is not None else stored


def was_tenant(ctx: Context, tenant: TenantId) -> bool:
    """Check whether a tenant exists or has left; records of one that left remain."""
    return policy.fits_tenant_id(tenant) and store.TENANTS.find(ctx.tx, id=tenant) is not None


def end_tenant(ctx: Context, tenant_id: TenantId) -> Tenant:
    """Record that a tenant has left, for good; no verb finds it afterwards. Two people agreed to it (``offboardings``). Raises NotFound."""
    before = get_tenant(ctx, tenant_id, lock=True)
    after = replace(before, active=False, left_at=ctx.now)
    store.TENANTS.save(ctx.tx, after)
    ctx.advance_epoch(IDENTITY, f"tenant/{tenant_id}")
    audit.record(ctx, Event("identity.tenant.leave", tenant=tenant_id))
    return after


def list_tenants(ctx: Context) -> list[Tenant]:
    """List the tenants that have not left, by id, without a permission check."""
    return [each for each in store.list_tenants(ctx.tx) if each.left_at is None]


def find_tenants_named(ctx: Context, named: str) -> list[Tenant]:
    """Find tenants by id or exact name, without a permission check."""
    return store.find_tenants_named(ctx.tx, named, NAMES_BOUND)


def view_tenants(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Tenant]:
    """List the tenants that the actor may see; only the staff see those that have left. Raises NotPermitted."""
    if ctx.actor.is_platform:
        return store.TENANTS.sorted(ctx.tx, TENANT_SORTS, page)
    own = ctx.actor.tenant
    if own is None or not policy.may_see_tenant(ctx.actor, own):
        raise not_shown("hospitals' settings", Readers.HOSPITAL)
    return [store.TENANTS.get(ctx.tx, own)] if page.holds(own) else []


def view_tenant(ctx: Context, tenant: TenantId) -> Tenant:
    """Get a tenant that the actor may see. Raises NotFound, also for one that they may not see."""
    if not policy.may_see_tenant(ctx.actor, tenant):
        raise no_tenant()
    return get_tenant(ctx, tenant)


def require_addable(ctx: Context, order: NewPerson) -> NewPerson:
    """Check that the actor may add this person, and return the order as it will be stored.

    Raises NotPermitted, Invalid, NotFound (tenant), Conflict (the username, or an active person's ``fhirUser``, is taken).
    """
    if not policy.may_administer(ctx.actor, order.tenant):
        raise audit.refusal(ctx, Event("identity.person.add", tenant=order.tenant or ""))
    # ``membership`` checks that a vendor exists: this room is below the registry.
    if order.tenant is not None and not policy.is_vendor(order.tenant):
        get_tenant(ctx, order.tenant)
    mail = parse_address(order.mail)
    if order.mail.strip() and not mail:
        raise Invalid(
            "person_invalid",
            "The person cannot be added as described.",
            fields={"mail": "address_malformed"},
        )
    order = replace(order, username=order.username.strip().lower(), name=order.name.strip(), mail=mail)
    if faults := policy.person_faults(order):
        raise Invalid("person_invalid", "The person cannot be added as described.", fields=faults)
    if store.PEOPLE.find(ctx.tx, tenant=order.tenant, username=order.username) is not None:
        raise Conflict("username_taken", "Another account has this username already. Choose another one.")
    has_fhir_user = order.tenant is not None and bool(order.fhir_user)
    if has_fhir_user and store.find_active_by_fhir_user(ctx.tx, order.tenant, order.fhir_user) is not None:
        raise Conflict("fhir_user_taken", "An active person of this hospital has this fhirUser already.")
    return order


def list_owners(
    ctx: Context, tenant: TenantId | None, fhir_user: str, charts: Iterable[str], *, but: str = ""
) -> list[str]:
    """List the usernames of a tenant's accounts, active or not, whose ``fhirUser`` is this one or one of these patients, except account ``but``."""
    return store.list_owners(ctx.tx, tenant, policy.owns(fhir_user, charts), but=but)


def add_person(ctx: Context, order: NewPerson, *, agreed: bool = False) -> Person:
    """Add a person to a tenant, or to the staff. ``agreed``: a second person has approved it.

    Raises as ``require_addable``, and NotPermitted if it takes two people and is not ``agreed``.
    """
    order = require_addable(ctx, order)
    agreed = agreed or ctx.actor.acts_alone
    if agreed and order.fhir_user:
        # In this transaction, so that no third account can claim the fhirUser in between (ADR 29).
        store.release_claim(ctx.tx, order.tenant, order.fhir_user)
    if not agreed and adding_takes_two(ctx, order):
        event = Event("identity.person.add", tenant=order.tenant or "", reason="second_person_missing")
        raise audit.refusal(ctx, event, _SECOND_PERSON_NEEDED)
    person = Person(
        id=PersonId(ctx.ids.new("per")),
        tenant=order.tenant,
        username=order.username,
        name=order.name,
        role=order.role,
        fhir_user=order.fhir_user,
        patients=order.patients,
        mail=order.mail,
        created_at=ctx.now,
        age_counts_from=policy.age_from(ctx.actor, ctx.now),
    )
    # Two concurrent requests may both pass the checks above, but not the constraints.
    if not store.add_person(ctx.tx, person, ctx.now):
        raise Conflict(
            "person_taken",
            "Another account has just taken this username or fhirUser. Look at the list of people, and try again.",
        )
    facts = {"role": person.role}
    audit.record(ctx, Event("identity.person.add", tenant=order.tenant or "", person=person.id, facts=facts))
    return person


def get_person(ctx: Context, person: PersonId, *, lock: bool = False) -> Person:
    """Get a person, active or not, with the charts that they may open now; ``lock`` as for ``get_tenant``. Raises NotFound."""
    return policy.charts_at(store.PEOPLE.get(ctx.tx, person, lock=lock), ctx.now)


def find_person(ctx: Context, person: PersonId) -> Person | None:
    """Find a person, active or not, with the charts that they may open now."""
    return _with_charts(ctx, store.PEOPLE.find(ctx.tx, id=person))


def find_person_by_username(ctx: Context, tenant: TenantId | None, username: str) -> Person | None:
    """Find a person by username at a tenant (None: among the staff), active or not."""
    normal = policy.normal_username(username)
    return _with_charts(ctx, store.PEOPLE.find(ctx.tx, tenant=tenant, username=normal)) if normal else None


def find_active_by_fhir_user(ctx: Context, tenant: TenantId, fhir_user: str) -> Person | None:
    """Find the active person of a tenant with a ``fhirUser``."""
    person = store.find_active_by_fhir_user(ctx.tx, tenant, fhir_user)
    return None if person is None else find_person(ctx, person)


def view_person(ctx: Context, person_id: PersonId) -> Person:
    """Get the actor, or a person whom the actor administers. Raises NotFound, also for any other person."""
    person = get_person(ctx, person_id)
    if ctx.actor.id != person.id and not policy.may_administer(ctx.actor, person.tenant):
        raise NotFound("person_not_found", "There is no such person.")
    return person


def find_people(ctx: Context, ids: Collection[PersonId]) -> dict[PersonId, Person]:
    """Find people by their ids, active or not, without a permission check."""
    return {each.id: each for each in store.PEOPLE.among(ctx.tx, "id", ids)}


def list_names(ctx: Context, ids: Collection[PersonId]) -> dict[PersonId, str]:
    """Return people's names by their ids, the actor's own among them, without those that the actor may not see."""
    people = store.PEOPLE.among(ctx.tx, "id", ids)
    return {
        each.id: each.name
        for each in people
        if each.id == ctx.actor.id or policy.may_see_name(ctx.actor, each)
    }


def search_people(ctx: Context, text: str, limit: int) -> list[Person]:
    """List active people by a part of their name: for the staff of all hospitals, else of the actor's. Leaves out names the actor may not see.

    Staff find no patients, not even an administrator: a list of who is a patient leaves an event, and a search none.
    """
    own = None if ctx.actor.is_platform else ctx.actor.tenant
    if own is None and not ctx.actor.is_platform:
        raise not_shown("the people of a hospital", "its people and the platform's staff")
    people = store.search_people(ctx.tx, text, limit, tenant=own)
    seen = (each for each in people if policy.may_see_name(ctx.actor, each))
    return [each for each in seen if own is not None or each.role != Role.PATIENT]


def search_tenants(ctx: Context, text: str, limit: int) -> list[Tenant]:
    """List hospitals by a part of their name or id, for the staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.search_tenants(ctx.tx, text, limit)


def tenant_names(ctx: Context, of: Collection[TenantId]) -> dict[TenantId, str]:
    """Return hospitals' names by their ids; they are public."""
    return {each.id: each.name for each in store.read_tenants(ctx.tx, of)}


def list_people(
    ctx: Context, tenant: TenantId | None, page: PageQuery = FIRST_PAGE, *, named: str = ""
) -> list[Person]:
    """List people of a tenant (None: the staff) by username or in the page's order; ``named``: whose name contains it. Raises NotPermitted."""
    if not policy.may_administer(ctx.actor, tenant):
        raise not_shown("the people here", "their administrators")
    return [policy.charts_at(each, ctx.now) for each in store.list_people(ctx.tx, tenant, page, named=named)]


def adding_takes_two(ctx: Context, order: NewPerson) -> bool:
    """Check whether adding a person takes two people: an account with power, or one for a chart that is or was another account's own."""
    if ctx.actor.acts_alone:
        return False
    return policy.has_power(order.tenant, order.role) or bool(
        list_owners(ctx, order.tenant, order.fhir_user, order.patients)
    )


def set_charts(ctx: Context, person_id: PersonId, charts: tuple[Chart, ...]) -> Person | Asked:
    """Set the charts that a patient or a proxy may open. It applies at once, also to tokens in use.

    A change that opens another account's own chart waits as a whole for a second person. Raises NotFound, NotPermitted, Invalid,
    Unavailable.
    """
    # Locked, so that the charts which this change replaces are those that it is compared with.
    person = policy.charts_at(store.PEOPLE.get(ctx.tx, person_id, lock=True), ctx.now)
    _require_charts(ctx, person, charts)
    wider = policy.charts_widened(person, charts)
    owners = list_owners(ctx, person.tenant, "", wider, but=person_id)
    if ctx.actor.acts_alone or not owners:
        return _save_charts(ctx, person, charts)
    act = Act(
        ApprovalKind.CHARTS,
        person.tenant,
        person_id,
        order={"username": person.username, "charts": orders.write_charts(charts)},
        before={"charts": orders.write_charts(orders.charts_of(person)), "own_of": owners},
    )
    return Asked(ask(ctx, act))


def _carry_out_charts(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act = approval.act
    person = policy.charts_at(store.PEOPLE.get(ctx.tx, act.target, lock=True), ctx.now)
    charts, as_asker = orders.read_charts(act.order["charts"]), ctx.as_actor(asker)
    owners = list_owners(ctx, person.tenant, "", policy.charts_widened(person, charts), but=person.id)
    held = orders.write_charts(orders.charts_of(person))
    require_unchanged(act, {"charts": held, "own_of": owners})
    _require_charts(as_asker, person, charts)
    _save_charts(as_asker, person, charts)
    return CarriedOut(act.target)


def _require_charts(ctx: Context, person: Person, charts: tuple[Chart, ...]) -> None:
    if not policy.may_administer(ctx.actor, person.tenant):
        if ctx.actor.tenant is not None:
            raise NotFound("person_not_found", "There is no such person.")
        raise audit.refusal(ctx, Event("identity.person.set_charts", tenant=person.tenant or ""))
    if person.tenant is not None and person.vendor is None:
        # Nothing is stored about people of a hospital that has left.
        get_tenant(ctx, person.tenant)
    if faults := policy.chart_faults(person, charts, ctx.now):
        raise Invalid("charts_invalid", "The charts cannot be set as described.", fields=faults)


def _save_charts(ctx: Context, person: Person, charts: tuple[Chart, ...]) -> Person:
    person_id = person.id
    lost = policy.charts_lost(person, charts, ctx.now)
    store.save_charts(ctx.tx, person_id, charts)
    # Tokens in use contain the charts at their issue, so the gateway needs each loss as a fact.
    store.save_chart_losses(ctx.tx, person_id, lost, since=ctx.now - NEGATIVE_WINDOW)
    ctx.advance_epoch(IDENTITY, f"person/{person_id}")
    facts = {
        "charts": len(charts),
        "lost": len(lost),
        "ending": sum(each.until is not None for each in charts),
    }
    event = Event("identity.person.set_charts", tenant=person.tenant or "", person=person_id, facts=facts)
    audit.record(ctx, event)
    return get_person(ctx, person_id)


def restart_age(ctx: Context, person_id: PersonId, since: datetime) -> None:
    """Count the age of an account from a moment, since a colleague has just issued a link into it."""
    store.PEOPLE.change(ctx.tx, {"age_counts_from": since}, id=person_id)


def list_shared_fhir_users(ctx: Context, *, limit: int = PAGE_BOUND) -> list[tuple[TenantId, str]]:
    """List each ``fhirUser`` that several active people of a tenant have, which older releases allowed."""
    return store.list_shared_fhir_users(ctx.tx, limit=limit)


def deactivate_person(ctx: Context, person_id: PersonId) -> Person:
    """Deactivate a person for good: their sign-ins, launches and tokens end.

    Raises NotFound, NotPermitted (also if fewer than SECOND_PEOPLE_MIN of the staff would remain who can be the second person), Conflict
    (inactive already, the last owner of a vendor, or the last platform administrator). The host may leave fewer, to recover a platform.
    """
    person = store.PEOPLE.get(ctx.tx, person_id)
    if not policy.may_administer(ctx.actor, person.tenant):
        if ctx.actor.tenant is not None:
            raise NotFound("person_not_found", "There is no such person.")
        raise audit.refusal(ctx, Event("identity.person.deactivate", tenant=person.tenant or ""))
    if person.tenant is None and person.role in MAY_STOP_ANYTHING and not ctx.actor.acts_alone:
        _require_enough_left(ctx, person_id)
    if person.role == VendorRole.OWNER and lock_owners(ctx, person.tenant) == [person_id]:
        raise Conflict(
            "last_owner", "This is the last owner of the vendor. Add another before removing this one."
        )
    # Tokens need not be revoked: every use of one checks whether its person is active.
    if not store.save_deactivated(ctx.tx, person_id, ctx.now):
        raise Conflict("person_inactive", "This person is already inactive.")
    ctx.advance_epoch(IDENTITY, f"person/{person_id}")
    audit.record(ctx, Event("identity.person.deactivate", tenant=person.tenant or "", person=person_id))
    return replace(person, active=False, deactivated_at=ctx.now)


def lock_owners(ctx: Context, place: TenantId | None) -> list[PersonId]:
    """List and lock the active owners of a vendor, so that two who remove each other at once do not leave none (C8)."""
    return [person for person, _ in store.lock_active(ctx.tx, place, {VendorRole.OWNER})]


def count_people(ctx: Context, place: TenantId) -> int:
    """Count the active people of a tenant or vendor, without a permission check."""
    return store.PEOPLE.count(ctx.tx, tenant=place, active=True)


def _require_enough_left(ctx: Context, leaving: PersonId) -> None:
    """Check that a platform administrator and SECOND_PEOPLE_MIN possible second people remain. Raises Conflict, NotPermitted."""
    # Locked, so that two who deactivate each other at once do not both find enough others.
    left = [each for each in store.lock_active(ctx.tx, None, MAY_STOP_ANYTHING) if each[0] != leaving]
    if all(role != StaffRole.PLATFORM_ADMIN for _, role in left):
        raise Conflict(
            "last_administrator",
            "This is the last active platform administrator. Add another before deactivating this one.",
        )
    counting = (person for person, _ in left if counts_as_one_of_two(ctx, person))
    if len(list(islice(counting, SECOND_PEOPLE_MIN))) < SECOND_PEOPLE_MIN:
        raise audit.refusal(
            ctx,
            Event("identity.person.deactivate", reason="too_few_left"),
            "Fewer than two of the staff who can act as a second person would remain. Add a colleague and wait until the account is"
            " a week old, or stop this person by a kill switch; on the host, use `hilum person deactivate --local`.",
        )


def bar_on(
    ctx: Context, person: Person, *, issued_at: datetime | None = None, writing: bool = False
) -> Bar | None:
    """Return why a person's credential is not accepted now, read from the rows; None if it is. See ``policy.bar_on``."""
    tenant = None if person.tenant is None else find_tenant(ctx, person.tenant)
    # Only the switches on these targets, since every sign-in reads them.
    index = controls.stops_on(ctx, policy.stops_over(person))
    return policy.bar_on(person, tenant, index, now=ctx.now, issued_at=issued_at, writing=writing)


def counts_as_one_of_two(ctx: Context, person_id: PersonId, *, since: datetime | None = None) -> bool:
    """Check whether a person may be one of the two people of an act: active, of age, neither stopped nor limited to reading.

    ``since``: when they requested the act. A full stop on them after that voids it, even if the stop was released since.
    """
    person = store.PEOPLE.find(ctx.tx, id=person_id)
    if person is None or not policy.is_of_age(person, ctx.now):
        return False
    return bar_on(ctx, person, issued_at=since, writing=True) is None


def ask(ctx: Context, act: Act, approval_id: str = "") -> Approval:
    """Record that an act waits for a second person, if the actor counts as one of two. Raises NotPermitted, Unavailable (too many wait)."""
    counts = counts_as_one_of_two(ctx, PersonId(ctx.actor.id))
    approval = approvals.ask(ctx, act, counts=counts, approval_id=approval_id)
    _mail_approvers(ctx, approval)
    return approval


def _mail_approvers(ctx: Context, approval: Approval) -> None:
    """Mail people who could approve an act, at most APPROVAL_MAILS a day each."""
    act = approval.act
    facts = {
        "kind": act.kind.value,
        "approval": approval.id,
        "asker": get_person(ctx, approval.asked_by).name,
        "until": approval.expires_at.isoformat(),
    }
    zone, until = zone_of(ctx, act.tenant), approval.expires_at
    for person, address in list_recipients(ctx, act.tenant, policy.roles_with_power(act.tenant)):
        if person in {approval.asked_by, act.target}:
            continue
        # Limited, since somebody may request and withdraw again and again.
        if notices.spend(ctx, f"approval/{person}", APPROVAL_MAILS):
            cause = f"approval/{approval.id}"
            notices.put_mail(
                ctx, Mail(MailKind.APPROVAL_WAITS, address, cause, facts, until=until, zone=zone)
            )


def require_unchanged(act: Act, now: Mapping[str, Any]) -> None:
    """Check that what an act replaces has not changed since the act was requested. Raises Conflict."""
    if now != act.before:
        raise Conflict(
            "target_changed",
            "What this would replace has changed since it was requested. Refuse it, and request it again if it is still needed.",
        )


CARRY_OUT = {ApprovalKind.TENANT: _carry_out_change, ApprovalKind.CHARTS: _carry_out_charts}
"""How this room's acts are carried out once a second person has agreed."""


def _with_charts(ctx: Context, person: Person | None) -> Person | None:
    return None if person is None else policy.charts_at(person, ctx.now)
