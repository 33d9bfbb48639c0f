"""Ask for service owners, agree to them, end them, and follow their approvers."""

from dataclasses import replace
from datetime import datetime

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientFacts
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment
from hilum.apps.service_owners import policy, store
from hilum.apps.service_owners.models import (
    APPROVER_ROLES,
    GRACE,
    SERVICE_OWNERS,
    SORTS,
    WAITING_BOUND,
    WAITING_LIFE,
    NewServiceOwner,
    ServiceOwner,
    ServiceOwnerId,
    ServiceOwnerQuery,
    ServiceOwnerState,
)
from hilum.foundation.actions.models import Denied, Effect, Noun, Reason, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Unavailable, not_shown
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.web.api import MEMBER, STAFF
from hilum.identity.people import service as identity
from hilum.identity.people.models import IDENTITY
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind
from hilum.records.notices.policy import plain_name

_TOO_NEW = "Your account is less than a week old, so you cannot be one of the two people that this needs. Ask a colleague."


def _visible(ctx: Context, service_owner_id: str, *, lock: bool = False) -> ServiceOwner:
    found = store.get_service_owner(ctx.tx, service_owner_id, lock=lock)
    if not policy.may_see(ctx.actor, found):
        raise NotFound("service_owner_not_found", "There is no such service owner.")
    return found


def _event(action: str, subject: ServiceOwner | NewServiceOwner) -> Event:
    if isinstance(subject, NewServiceOwner):
        return Event(action, tenant=subject.tenant, client=subject.client, person=subject.approver)
    facts = {
        "service_owner": subject.id,
        "asked_by": subject.asked_by,
        "ends_at": subject.ends_at.isoformat(),
    }
    if subject.lost_at is not None:
        facts["since"] = subject.lost_at.isoformat()
    return Event(
        action,
        tenant=subject.tenant,
        app=subject.app,
        client=subject.client,
        person=subject.approver,
        facts=facts,
    )


SERVICE_OWNER = Noun(
    "service_owner",
    "service_owners",
    ServiceOwner,
    load=_visible,
    about=_event,
    title="{client}",
    help="Manage who of a hospital answers for a backend service; without a service owner it gets no tokens at a production hospital.",
    lead="A backend service of {app}, by {vendor}",
    columns=(
        Shows("client", "Service", note="app"),
        Shows("state", "State"),
        Shows("purpose", "For"),
        Shows("approver", "Answers for it"),
        Shows("ends_at", "Until"),
        Shows("lost_at", "Lost"),
    ),
    facts=(
        Shows("purpose", "Purpose", wide=True),
        Shows("population", "Whose records", wide=True),
        Shows("schedule", "When it runs", wide=True),
        Shows("tenant", "Where"),
        Shows("approver", "Answers for it"),
        Shows("agreed_at", "Agreed"),
        Shows("asked_by", "Asked by"),
        Shows("asked_at", "Asked"),
        Shows("ends_at", "Until"),
        Shows("ended_by", "Ended by", kind="actor"),
        Shows("end_reason", "Why it ended"),
    ),
    derived={"state": policy.state_of},
    badge=policy.badge_of,
    notices=policy.notices_of,
)
READERS = (*sorted(APPROVER_ROLES), MEMBER, STAFF)
CONCERNED = tuple(sorted(APPROVER_ROLES))


@action(
    SERVICE_OWNER,
    "ask",
    who=("administrator",),
    creates=True,
    past="named who answers for a backend service",
    button="Name a colleague",
    consequence=f"They have {WAITING_LIFE.days} days. Until they agree, the service gets no token here, unless somebody else answers for it now.",
)
def ask(ctx: Context, order: NewServiceOwner) -> ServiceOwner:
    """Ask a colleague to answer for a backend service; they agree with their own account.

    Nothing is permitted before.

    Raises NotFound (client), NotPermitted, Invalid, Unavailable (too many wait).
    """
    if not policy.may_ask(ctx.actor, order.tenant):
        raise Denied(order)
    _require_counting(ctx, order)
    # The row is locked: together, several requests must not exceed the bound.
    tenant = identity.get_tenant(ctx, order.tenant, lock=True)
    client = clients.get_client(ctx, order.client)
    app = registry.get_app(ctx, client.app)
    if app.tenant not in {None, tenant.id}:
        raise NotFound("client_not_found", "There is no such client.")
    approver = identity.find_person(ctx, order.approver)
    if faults := policy.ask_faults(order, client, approver, ctx.actor, ctx.now):
        ends = f" The client ends on {client.expires_at:%Y-%m-%d}." if client.expires_at else ""
        raise Invalid(
            "service_owner_invalid", f"The service owner is invalid; see fields.{ends}", fields=faults
        )
    if store.count_waiting(ctx.tx, tenant.id, ctx.now - WAITING_LIFE) >= WAITING_BOUND:
        raise Unavailable(
            "too_many_service_owners", "Too many service owners wait for their approvers. End some first."
        )
    assert client.backend_use is not None, "judged above"
    assert client.expires_at is not None, "judged above"
    use = client.backend_use
    asked = ServiceOwner(
        id=ctx.ids.new("svo"),
        tenant=tenant.id,
        client=client.id,
        app=app.id,
        vendor=app.vendor,
        purpose=use.purpose,
        population=use.population,
        schedule=use.schedule_and_volume,
        approver=order.approver,
        asked_by=PersonId(ctx.actor.id),
        asked_at=ctx.now,
        ends_at=order.ends_at or client.expires_at,
    )
    store.add_service_owner(ctx.tx, asked)
    if approver is not None and approver.mail:
        cause, zone = _cause(asked, "asked"), identity.zone_of(ctx, asked.tenant)
        facts = _facts(ctx, asked, asked.ends_at)
        notices.put_mail(ctx, Mail(MailKind.SERVICE_OWNER_ASKED, approver.mail, cause, facts, zone=zone))
    return asked


@action(
    SERVICE_OWNER,
    "agree",
    who=CONCERNED,
    effect=Effect.WIDENS,
    past="agreed to a backend service",
    button="I answer for it",
    asks="Do you agree to answer for this at your hospital?",
    consequence="If you agree, {client} gets tokens at {tenant} until {ends_at}, for what is said above. Your name is shown beside what it does. You can end it at any time.",
    when=policy.can_agree,
)
def agree(ctx: Context, service_owner_id: ServiceOwnerId) -> ServiceOwner:
    """Agree to answer for a backend service, as its approver. It replaces the service owner that the service had there before.

    Raises NotFound, NotPermitted (not the approver, too new, who asked no longer counts), Conflict (over, agreed to, or changed since).
    """
    found = _visible(ctx, service_owner_id, lock=True)
    if not policy.is_approver(ctx.actor, found):
        detail = "Only the person named in the service owner can agree to it, with their own account."
        raise Denied(found, "not_the_approver", detail)
    if not policy.may_approve(identity.find_person(ctx, found.approver), found.tenant):
        raise Denied(found)
    _require_counting(ctx, found)
    # The requester is the other of the two people: a stop on them since then ends the request.
    if not identity.counts_as_one_of_two(ctx, found.asked_by, since=found.asked_at):
        detail = "The administrator who asked for it is no longer active, or has been stopped since. Another administrator must ask again."
        raise Denied(found, "asker_no_longer_counts", detail)
    if policy.state_of(found, ctx.now) is not ServiceOwnerState.WAITING:
        raise Conflict(
            "service_owner_decided",
            "This service owner has already been agreed to, or has ended. Read it again.",
        )
    client = clients.find_client(ctx, found.client)
    use = None if client is None else client.backend_use
    shown = (found.purpose, found.population, found.schedule)
    same = client is not None and registry.get_app(ctx, client.app).vendor == found.vendor
    if use is None or not same or (use.purpose, use.population, use.schedule_and_volume) != shown:
        detail = "The service has changed since this was requested. An administrator must request it again."
        raise Conflict("service_owner_stale", detail)
    # The tenant's row is locked, so that two approvers who agree at once do not both hold a service owner.
    identity.get_tenant(ctx, found.tenant, lock=True)
    by, why = str(ctx.actor), f"replaced by {found.id}"
    agreed = replace(found, agreed_at=ctx.now)
    before = store.list_agreed_at(ctx.tx, found.tenant, found.client, lock=True)
    ended = [replace(each, ended_at=ctx.now, ended_by=by, end_reason=why) for each in before]
    for each in [*ended, agreed]:
        _save(ctx, each)
    return agreed


@action(
    SERVICE_OWNER,
    "end",
    who=CONCERNED,
    effect=Effect.NARROWS,
    past="ended the approval of a backend service",
    button="End or decline it",
    consequence=policy.end_consequence,
    when=policy.can_end,
)
def end(ctx: Context, service_owner_id: ServiceOwnerId, reason: Reason) -> ServiceOwner:
    """End a service owner, or decline it; the service gets no new tokens from then on.

    Its approver or an administrator does it alone.

    Raises NotFound, NotPermitted, Invalid, Conflict (over already).
    """
    found = _visible(ctx, service_owner_id, lock=True)
    if not (policy.is_approver(ctx.actor, found) or policy.may_ask(ctx.actor, found.tenant)):
        raise Denied(found)
    if not reason.strip():
        fields = {"reason": "reason_missing"}
        raise Invalid("service_owner_invalid", "Say why the service owner ends.", fields=fields)
    if policy.state_of(found, ctx.now) is ServiceOwnerState.OVER:
        raise Conflict("service_owner_over", "This service owner has already ended.")
    ended = replace(found, ended_at=ctx.now, ended_by=str(ctx.actor), end_reason=reason.strip())
    _save(ctx, ended)
    return ended


@action(SERVICE_OWNER, "show", who=READERS, effect=Effect.READS)
def get_service_owner(ctx: Context, service_owner_id: ServiceOwnerId) -> ServiceOwner:
    """Show one service owner: what its approver was asked, and what they answered.

    Raises NotFound, also for whom it does not concern.
    """
    return _visible(ctx, service_owner_id)


@action(SERVICE_OWNER, "list", who=READERS, effect=Effect.READS, sorts=SORTS)
def list_service_owners(
    ctx: Context, query: ServiceOwnerQuery, page: PageQuery = FIRST_PAGE
) -> list[ServiceOwner]:
    """List service owners: those of your organisation, or those that name you.

    Raises NotPermitted.
    """
    actor = ctx.actor
    if actor.vendor:
        query = replace(query, vendor=query.vendor or actor.vendor)
    elif not actor.is_platform and policy.may_ask(actor, actor.tenant or ""):
        query = replace(query, tenant=query.tenant or actor.tenant or "")
    elif not actor.is_platform:
        query = replace(query, approver=actor.id)
    if not policy.may_list(actor, query):
        raise not_shown(
            "these service owners",
            "the vendor's members, administrators and approvers of the hospital, and the platform's staff",
        )
    return store.list_service_owners(ctx.tx, query, page)


def answered_until(
    ctx: Context, tenant: TenantId, client: Client, facts: ClientFacts, environment: Environment
) -> datetime | None:
    """Return until when a backend service may get tokens at a hospital, by its service owner or, where none is needed, by its own end; None: not now."""
    if not policy.is_needed(client, environment) and not _replaces_text(ctx, tenant, client, environment):
        return client.expires_at
    # Called for each token of a backend service, so cached until the service owner or its approver changes.
    found = ctx.cached(
        SERVICE_OWNERS, ("agreed", tenant, client.id), lambda ctx: _agreed_at(ctx, tenant, client)
    )
    # The hospital's person agreed to the former vendor's service.
    if found is None or not policy.is_of_vendor(found, facts):
        return None
    approver = ctx.cached(
        IDENTITY, ("approver", found.approver), lambda ctx: identity.find_person(ctx, found.approver)
    )
    return policy.until(found, approver, ctx.now)


def is_answered_for(ctx: Context, tenant: TenantId, client: Client) -> bool:
    """Check whether somebody of a hospital answers for a backend service there now."""
    found = _agreed_at(ctx, tenant, client)
    if found is None:
        return False
    until = policy.until(found, identity.find_person(ctx, found.approver), ctx.now)
    return until is not None and ctx.now < until


def _replaces_text(ctx: Context, tenant: TenantId, client: Client, environment: Environment) -> bool:
    """Check whether somebody at a hospital ever agreed to answer for a client from before service owners: then its vendor's text no longer counts there."""
    if environment is Environment.SANDBOX or not policy.states_a_text(client):
        return False
    key = ("ever", tenant, client.id)
    return ctx.cached(SERVICE_OWNERS, key, lambda ctx: store.was_agreed(ctx.tx, tenant, client.id)) is True


def _agreed_at(ctx: Context, tenant: TenantId, client: Client) -> ServiceOwner | None:
    """Find the service owner of a client at a hospital that was agreed to and is not ended."""
    found = store.list_agreed_at(ctx.tx, tenant, client.id)
    return found[-1] if found else None


def follow_approvers(ctx: Context, after: str) -> str:
    """Record the loss of approvers and mail what ends soon, at most for a batch of service owners; return the id to continue ``after``, empty at the end."""
    found = store.list_agreed(ctx.tx, after, ctx.now)
    for each in found:
        approver = identity.find_person(ctx, each.approver)
        since = policy.lost_since(approver, each, ctx.now)
        due = policy.reminder_due(each, ctx.now)
        if since is None:
            if due is None:
                continue
            facts, cause = _facts(ctx, each, each.ends_at), _cause(each, f"ends/{due.days}")
            also = [approver.mail] if approver is not None and approver.mail else []
            identity.mail_administrators(
                ctx, each.tenant, MailKind.SERVICE_OWNER_ENDS, cause, facts, also=also
            )
        elif store.save_lost(ctx.tx, each.id, since):
            ctx.advance_epoch(SERVICE_OWNERS, f"service_owner/{each.id}")
            audit.record(
                ctx, _event("service_owners.service_owner.lose_approver", replace(each, lost_at=since))
            )
            ends = min(each.ends_at, since + GRACE)
            facts, cause = _facts(ctx, each, ends), _cause(each, "lost")
            identity.mail_administrators(ctx, each.tenant, MailKind.SERVICE_OWNER_LOST, cause, facts)
    return found[-1].id if found else ""


def _cause(found: ServiceOwner, why: str) -> str:
    return f"service_owners/{found.id}/{why}"


def _facts(ctx: Context, found: ServiceOwner, ends: datetime) -> dict[str, str]:
    """Return what a mail says of a service owner."""
    client, app = clients.find_client(ctx, found.client), registry.get_app(ctx, found.app)
    return {
        # One name that no mail can show must not delay all others.
        "service": client.name if client is not None and plain_name(client.name) else found.client,
        "app": app.name if plain_name(app.name) else app.id,
        "service_owner": found.id,
        "ends": ends.isoformat(),
    }


def _save(ctx: Context, service_owner: ServiceOwner) -> None:
    """Store a changed service owner, and advance the facts. A waiting service owner has no effect, so requesting one does not."""
    store.save_service_owner(ctx.tx, service_owner)
    ctx.advance_epoch(SERVICE_OWNERS, f"service_owner/{service_owner.id}")


def _require_counting(ctx: Context, subject: ServiceOwner | NewServiceOwner) -> None:
    if not identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id)):
        raise Denied(subject, "account_too_new", _TOO_NEW)
