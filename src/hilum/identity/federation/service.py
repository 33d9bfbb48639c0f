"""Set up identity providers and their hosts, and link people. The sign-in itself is in ``sign_in``."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.rows import given
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.federation import policy, store
from hilum.identity.federation.models import (
    HOSTS_BOUND,
    PROVIDERS_BOUND,
    SEALING,
    SESSIONS_KEPT,
    Host,
    LinkedPerson,
    Passwords,
    Provider,
    Settings,
)
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person, Role
from hilum.identity.signin import service as signin
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys.live import vault

EndGrants = Callable[[Context, PersonId, str], object]
"""Revokes what apps hold for a person, with a reason for the record (``tokens.service.revoke_person``)."""
SIGN_IN, SET_UP, HOST, LINK = (
    "federation.session.begin",
    "federation.provider.change",
    "federation.host.add",
    "federation.link.add",
)


@dataclass(frozen=True, slots=True)
class Change:
    """A provider's new settings. An empty ``secret_sealed`` keeps the present secret."""

    settings: Settings
    secret_sealed: str = ""


# --- hosts ----------------------------------------------------------------------------------------------------------------------


def add_host(ctx: Context, origin: str, *, loopback: bool = False) -> Host | Asked:
    """Allow an origin to serve identity providers; it waits for a second person. Raises NotPermitted, Invalid, Conflict, Unavailable."""
    _require_host(ctx, origin, loopback=loopback)
    if ctx.actor.acts_alone:
        return _add_host(ctx, origin)
    return Asked(identity.ask(ctx, Act(ApprovalKind.PROVIDER_HOST, None, origin, order={"origin": origin})))


def _carry_out_host(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    origin = str(approval.act.order["origin"])
    # Loopback was judged when it was requested, by the platform's mode, which does not change.
    _require_host(ctx.as_actor(asker), origin, loopback=True)
    return CarriedOut(_add_host(ctx.as_actor(asker), origin).id)


def _require_host(ctx: Context, origin: str, *, loopback: bool) -> None:
    if not policy.may_manage_hosts(ctx.actor):
        raise audit.refusal(ctx, Event(HOST))
    if fault := policy.host_fault(origin, loopback=loopback):
        raise Invalid("host_invalid", "The host cannot be allowed as described.", fields={"origin": fault})
    allowed = store.allowed_origins(ctx.tx)
    if origin in allowed:
        raise Conflict("host_allowed", "This host is on the list already.")
    if len(allowed) >= HOSTS_BOUND:
        raise Unavailable("too_many_hosts", f"The list holds at most {HOSTS_BOUND} hosts.")


def _add_host(ctx: Context, origin: str) -> Host:
    host = Host(ctx.ids.new("hst"), origin, ctx.now, str(ctx.actor))
    if not store.HOSTS.add_new(ctx.tx, host):
        raise Conflict("host_allowed", "This host is on the list already.")
    audit.record(ctx, Event(HOST, facts={"origin": origin}))
    return host


def remove_host(ctx: Context, host_id: str) -> None:
    """Remove a host from the list; nothing is fetched from it, and nobody redirected there, from then on. Raises NotPermitted, NotFound."""
    if not policy.may_manage_hosts(ctx.actor):
        raise audit.refusal(ctx, Event("federation.host.remove"))
    removed = store.take_host(ctx.tx, host_id)
    audit.record(ctx, Event("federation.host.remove", facts={"origin": removed.origin}))


def list_hosts(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Host]:
    """List the allowed hosts, which administrators of hospitals see too. Raises NotPermitted."""
    if not (ctx.actor.is_platform or policy.may_see(ctx.actor, ctx.actor.tenant or TenantId(""))):
        raise not_shown("the list of hosts", Readers.HOSPITALS)
    return store.HOSTS.page(ctx.tx, page)


# --- providers ------------------------------------------------------------------------------------------------------------------


def add_provider(ctx: Context, tenant: TenantId, change: Change) -> Provider | Asked:
    """Set up an identity provider of a hospital; it waits for a second person.

    Raises NotFound (tenant), NotPermitted, Invalid, Conflict (there is one of this issuer and client), Unavailable (too many).
    """
    provider_id = ctx.ids.new("idp")
    _require_addable(ctx, tenant, change)
    if ctx.actor.acts_alone:
        return _add_provider(ctx, provider_id, tenant, change)
    return Asked(identity.ask(ctx, _act(tenant, provider_id, change, None)))


def change_provider(ctx: Context, provider_id: str, change: Change, *, number: int) -> Provider | Asked:
    """Change a provider. A change that only narrows applies at once; any other waits as a whole for a second person.

    ``number``: that of the provider that the actor read. Raises NotFound, NotPermitted, Invalid, Conflict (changed since), Unavailable.
    """
    before = _visible(ctx, provider_id)
    _require_settings(ctx, before.tenant, change.settings, but=before.id)
    if before.number != number:
        raise Conflict(
            "stale_edit",
            "A colleague changed this provider since you read it. Read it again, and repeat your change.",
        )
    _require_secret(before, change)
    is_wider = bool(change.secret_sealed) or policy.widens(before.settings, change.settings)
    if ctx.actor.acts_alone or not is_wider:
        return _save(ctx, before, change)
    return Asked(identity.ask(ctx, _act(before.tenant, before.id, change, before)))


def _require_secret(before: Provider | None, change: Change) -> None:
    # A secret for one issuer is never sent to another, and a key is never sent as a secret.
    required = before is None or policy.needs_secret(before.settings, change.settings)
    if required and not change.secret_sealed:
        raise Invalid(
            "provider_invalid",
            "The provider cannot be set up as described.",
            fields={"client_secret": "missing"},
        )


def _act(tenant: TenantId, target: str, change: Change, before: Provider | None) -> Act:
    return Act(
        ApprovalKind.PROVIDER,
        tenant,
        target,
        order=store.write_settings(change.settings) | {"new_secret": bool(change.secret_sealed)},
        before={} if before is None else _shown(before),
        sealed=change.secret_sealed,
    )


def _shown(provider: Provider) -> dict[str, Any]:
    return store.write_settings(provider.settings) | {"number": provider.number}


def _carry_out_provider(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    order = {name: value for name, value in act.order.items() if name != "new_secret"}
    change = Change(store.read_settings(order), act.sealed)
    tenant = TenantId(act.tenant or "")
    if not act.before:
        _require_addable(as_asker, tenant, change)
        return CarriedOut(_add_provider(as_asker, act.target, tenant, change).id)
    before = store.PROVIDERS.get(ctx.tx, act.target)
    identity.require_unchanged(act, _shown(before))
    _require_settings(as_asker, tenant, change.settings, but=before.id)
    return CarriedOut(_save(as_asker, before, change).id)


def _require_addable(ctx: Context, tenant: TenantId, change: Change) -> None:
    # Locked, because two concurrent requests would both find room for one more.
    identity.get_tenant(ctx, tenant, lock=True)
    _require_settings(ctx, tenant, change.settings)
    _require_secret(None, change)
    if len(store.providers_of(ctx.tx, tenant)) >= PROVIDERS_BOUND:
        raise Unavailable(
            "too_many_providers", f"A hospital has at most {PROVIDERS_BOUND} identity providers."
        )


def _require_settings(ctx: Context, tenant: TenantId, settings: Settings, *, but: str = "") -> None:
    if not policy.may_set_up(ctx.actor, tenant):
        if ctx.actor.tenant is not None:
            # People of a hospital must not find out which providers other hospitals have.
            raise NotFound("provider_not_found", "There is no such identity provider.")
        raise audit.refusal(ctx, Event(SET_UP, tenant=tenant))
    faults = policy.settings_faults(settings)
    if "issuer" not in faults and policy.origin_of(settings.issuer) not in store.allowed_origins(ctx.tx):
        faults["issuer"] = "host_not_allowed"
    if faults:
        raise Invalid("provider_invalid", "The provider cannot be set up as described.", fields=faults)
    for other in store.providers_of(ctx.tx, tenant):
        same = (other.settings.issuer, other.settings.client_id) == (settings.issuer, settings.client_id)
        if same and other.id != but:
            raise Conflict(
                "provider_exists", "This hospital has a provider of this issuer and client already."
            )


def _add_provider(ctx: Context, provider_id: str, tenant: TenantId, change: Change) -> Provider:
    provider = Provider(
        provider_id, tenant, change.settings, change.secret_sealed, 1, ctx.now, str(ctx.actor)
    )
    store.PROVIDERS.add(ctx.tx, provider)
    return _changed(ctx, provider, "federation.provider.add")


def _save(ctx: Context, before: Provider, change: Change) -> Provider:
    after = replace(
        before,
        settings=change.settings,
        secret_sealed=change.secret_sealed or before.secret_sealed,
        number=before.number + 1,
        changed_at=ctx.now,
        changed_by=str(ctx.actor),
    )
    if not store.PROVIDERS.save(ctx.tx, after, number=after.number - 1):
        raise Conflict("concurrent_change", "A colleague changed this at the same moment. Read it again.")
    # Whoever switches a provider off no longer trusts it, so the sessions that it began end.
    went_off = before.settings.active and not after.settings.active
    return _changed(ctx, after, SET_UP, sessions=_end_sessions(ctx, after) if went_off else 0)


def _end_sessions(ctx: Context, provider: Provider) -> int:
    ended = 0
    while batch := store.take_sessions(ctx.tx, provider.id):
        ended += sum(signin.end_session(ctx, each) for each in batch)
    return ended


def _changed(ctx: Context, provider: Provider, action: str, *, sessions: int = 0) -> Provider:
    settings = tuple(each.settings for each in store.providers_of(ctx.tx, provider.tenant))
    match policy.passwords_of(settings):
        case Passwords.EVERYONE:
            signin.set_password_roles(ctx, provider.tenant, None)
        case Passwords.ADMINISTRATORS:
            signin.set_password_roles(ctx, provider.tenant, {Role.ADMINISTRATOR.value})
        case Passwords.NOBODY:
            signin.set_password_roles(ctx, provider.tenant, set())
    facts = {
        "provider": provider.id,
        "issuer": provider.settings.issuer,
        "number": provider.number,
        "sessions_ended": sessions,
    }
    audit.record(ctx, Event(action, tenant=provider.tenant, facts=facts))
    return provider


def view_provider(ctx: Context, provider_id: str) -> Provider:
    """Get a provider of a hospital that the actor may see. Raises NotFound."""
    return _visible(ctx, provider_id)


def list_providers(
    ctx: Context, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Provider]:
    """List the providers of a hospital; by default all for the staff, and their own for an administrator. Raises NotFound."""
    return store.PROVIDERS.page(ctx.tx, page, **given(tenant=_place(ctx, tenant)))


def trial(ctx: Context, provider_id: str) -> tuple[Provider, frozenset[str]]:
    """Return a provider and the allowed hosts for a trial, for those who may set it up. Raises NotFound, NotPermitted."""
    provider = _visible(ctx, provider_id)
    event = Event("federation.provider.try", tenant=provider.tenant)
    if not policy.may_set_up(ctx.actor, provider.tenant):
        raise audit.refusal(ctx, event)
    audit.record(ctx, replace(event, facts={"provider": provider.id}))
    return provider, store.allowed_origins(ctx.tx)


def _place(ctx: Context, tenant: TenantId | None) -> TenantId | None:
    of = tenant if ctx.actor.is_platform else tenant or ctx.actor.tenant
    if (of is None and not ctx.actor.is_platform) or (of and not policy.may_see(ctx.actor, of)):
        raise NotFound("tenant_not_found", "There is no such hospital.")
    return of


def _visible(ctx: Context, provider_id: str) -> Provider:
    provider = store.PROVIDERS.get(ctx.tx, provider_id)
    if not policy.may_see(ctx.actor, provider.tenant):
        raise NotFound("provider_not_found", "There is no such identity provider.")
    return provider


# --- links ----------------------------------------------------------------------------------------------------------------------


def link(ctx: Context, provider_id: str, subject: str, person_id: PersonId) -> LinkedPerson | Asked:
    """Link a subject of a provider with an account; it waits for a second person, since the subject then enters the account.

    Raises NotFound, NotPermitted, Invalid, Conflict (either is linked already, the person is inactive), Unavailable.
    """
    provider, person = _require_linkable(ctx, provider_id, subject, person_id)
    if ctx.actor.acts_alone:
        return add_link(ctx, provider, subject, person)
    order = {"username": person.username, "issuer": provider.settings.issuer, "subject": subject}
    before = {"provider": provider.id, "issuer": provider.settings.issuer}
    return Asked(
        identity.ask(
            ctx, Act(ApprovalKind.PROVIDER_LINK, person.tenant, person.id, order=order, before=before)
        )
    )


def _carry_out_link(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    subject = str(act.order["subject"])
    provider, person = _require_linkable(as_asker, str(act.before["provider"]), subject, PersonId(act.target))
    identity.require_unchanged(act, {"provider": provider.id, "issuer": provider.settings.issuer})
    add_link(as_asker, provider, subject, person)
    # As after an enrolment link: whoever controls the subject can enter the account from now on.
    identity.restart_age(ctx, person.id, ctx.now)
    return CarriedOut(person.id)


def _require_linkable(
    ctx: Context, provider_id: str, subject: str, person_id: PersonId
) -> tuple[Provider, Person]:
    provider = _visible(ctx, provider_id)
    person = identity.view_person(ctx, person_id)
    if not policy.may_set_up(ctx.actor, provider.tenant):
        raise audit.refusal(ctx, Event(LINK, tenant=provider.tenant, person=person_id))
    if person.tenant != provider.tenant:
        raise NotFound("person_not_found", "There is no such person.")
    # Otherwise a stolen API token of an administrator would suffice to take over the account.
    if person.id == ctx.actor.id:
        event = Event(LINK, tenant=provider.tenant, person=person_id, reason="about_you")
        raise audit.refusal(ctx, event, "This is about your own account, so a colleague must request it.")
    if fault := policy.subject_fault(subject):
        raise Invalid("link_invalid", "The person cannot be linked as described.", fields={"subject": fault})
    if not person.active:
        raise Conflict(
            "person_inactive", "This person is inactive for good, so nobody can be linked with the account."
        )
    issuer = provider.settings.issuer
    of_subject = {"tenant": provider.tenant, "issuer": issuer, "subject": subject}
    if store.LINKS.any(ctx.tx, **of_subject) or store.LINKS.any(ctx.tx, issuer=issuer, person=person.id):
        raise Conflict(
            "linked_already", "This subject or this person is linked already. Remove that link first."
        )
    return provider, person


def add_link(ctx: Context, provider: Provider, subject: str, person: Person) -> LinkedPerson:
    """Link a subject with an account. The caller has judged the right to. Raises Conflict if either is linked already."""
    added = LinkedPerson(
        ctx.ids.new("lnk"),
        provider.tenant,
        provider.settings.issuer,
        subject,
        person.id,
        ctx.now,
        str(ctx.actor),
    )
    if not store.LINKS.add_new(ctx.tx, added):
        raise Conflict(
            "linked_already", "This subject or person was linked at the same moment. Read the links again."
        )
    facts = {"provider": provider.id, "link": added.id}
    audit.record(ctx, Event(LINK, tenant=provider.tenant, person=person.id, facts=facts))
    return added


def unlink(ctx: Context, link_id: str, *, end_grants: EndGrants) -> None:
    """Remove a link: the subject no longer enters the account. Raises NotFound, NotPermitted.

    The person's sessions and API tokens end, and by ``end_grants`` what apps hold for them, offline too.
    """
    found = store.LINKS.get(ctx.tx, link_id)
    event = Event("federation.link.remove", tenant=found.tenant)
    if not policy.may_set_up(ctx.actor, found.tenant):
        if ctx.actor.tenant is not None:
            raise NotFound("link_not_found", "There is no such link.")
        raise audit.refusal(ctx, event)
    store.remove_link(ctx.tx, found, ctx.now)
    signin.end_credentials(ctx, found.person)
    end_grants(ctx, found.person, "unlinked")
    audit.record(ctx, replace(event, person=found.person, facts={"link": found.id}))


def list_links(
    ctx: Context, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[LinkedPerson]:
    """List who is linked with which subject. Raises NotFound."""
    return store.LINKS.page(ctx.tx, page, **given(tenant=_place(ctx, tenant)))


def view_link(ctx: Context, link_id: str) -> LinkedPerson:
    """Get a link. Raises NotFound, also for another hospital's."""
    link = store.LINKS.get(ctx.tx, link_id)
    if not policy.may_see(ctx.actor, link.tenant):
        raise NotFound("link_not_found", "There is no such link.")
    return link


def is_linked(ctx: Context, person: Person) -> bool:
    """Check whether an account is linked with a subject of a provider."""
    return store.LINKS.any(ctx.tx, person=person.id)


# --- upkeep --------------------------------------------------------------------------------------------------------------------


def unopened(ctx: Context) -> list[TenantId]:
    """List the hospitals with a provider whose client secret cannot be opened with this process's key."""
    return [each.tenant for each in store.read_providers(ctx.tx) if not _opens(each)]


def _opens(provider: Provider) -> bool:
    try:
        return bool(vault().open(SEALING, provider.secret_sealed, provider.settings.issuer))
    except Invalid:
        return False


def end_all(ctx: Context) -> None:
    """Delete the list of sessions that providers began, after a restore that ended them."""
    store.end_all(ctx.tx)


def purge(ctx: Context) -> int:
    """Delete expired sessions and used states; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, now=ctx.now - SESSIONS_KEPT)


CARRY_OUT = {
    ApprovalKind.PROVIDER: _carry_out_provider,
    ApprovalKind.PROVIDER_HOST: _carry_out_host,
    ApprovalKind.PROVIDER_LINK: _carry_out_link,
}
"""How this room's acts are carried out once a second person has agreed."""
