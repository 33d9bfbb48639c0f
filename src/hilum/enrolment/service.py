"""Adding people, resetting accounts, agreeing as the second person, and using links."""

from dataclasses import replace
from datetime import timedelta

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.enrolment import policy, store
from hilum.enrolment.models import (
    APPROVAL_LIFE,
    APPROVALS_PENDING_BOUND,
    CODE_TRIES,
    LINK_LIFE,
    LINK_PREFIX,
    Approval,
    ApprovalKind,
    ApprovalState,
    Asked,
    IssuedLink,
    Link,
    Opened,
    Purpose,
    Visitor,
    WrongCode,
)
from hilum.identity import service as identity
from hilum.identity.models import NewPerson, Person
from hilum.infra.context import Context
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import Conflict, NotFound, NotPermitted, Unavailable
from hilum.kernel.ids import PersonId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.signin import policy as signin_policy
from hilum.signin import service as signin

LINKS_KEPT = timedelta(days=30)
STAFF_PLACE = "Platform staff"
_TELL = {
    "approval_over": "This was already decided, or it expired. Ask for it again if it is still needed.",
    "asked_by_you": "You requested this, so somebody else must approve it.",
    "about_you": "This is about your own account, so somebody else must approve it.",
    "account_too_new": "This takes two people whose accounts are at least a week old, and yours is not. Ask a colleague.",
    "asker_no_longer_counts": "The person who requested this is inactive or stopped, or their account is less than a week old. Refuse it, then request it yourself.",
}


def add_person(ctx: Context, order: NewPerson) -> Opened | Asked:
    """Add somebody without a password: their enrolment link, or for an account with power what waits for a second person.

    Raises NotPermitted, Invalid, NotFound (tenant), Conflict (username or ``fhirUser`` taken), Unavailable (too many wait).
    """
    order = identity.require_addable(ctx, order)
    if policy.creating_takes_two(ctx.actor, order.tenant, order.role):
        return _ask(ctx, ApprovalKind.CREATE, order, PersonId(""))
    person = identity.add_person(ctx, order)
    return Opened(person, _issue(ctx, person))


def reset(ctx: Context, person_id: PersonId) -> Opened | Asked:
    """Open a way into somebody's account for its owner: a new link, or what waits for a second person.

    The password before counts until another is set. Raises NotFound, NotPermitted, Conflict (inactive), Unavailable (too many wait).
    """
    person = identity.view_person(ctx, person_id)
    if person.id == ctx.actor.id:
        detail = "To change your own password, use `hilum person password`. If you have forgotten it, ask a colleague to reset it."
        raise _refused(ctx, "enrolment.approval.ask", "about_you", detail, person=person.id)
    if not person.active:
        raise Conflict("person_inactive", "This person is inactive; they need a new account.")
    enrolled = signin.has_password(ctx, person.id)
    if policy.resetting_takes_two(ctx.actor, person.tenant, person.role, enrolled=enrolled):
        order = NewPerson(
            person.tenant, person.username, person.name, person.role, person.fhir_user, person.patients
        )
        return _ask(ctx, ApprovalKind.RESET, order, person.id)
    return Opened(person, _issue(ctx, person))


def _ask(ctx: Context, kind: ApprovalKind, order: NewPerson, person: PersonId) -> Asked:
    if not identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id)):
        raise _refused(
            ctx, "enrolment.approval.ask", "account_too_new", _TELL["account_too_new"], person=person
        )
    if store.count_pending(ctx.tx, order.tenant, ctx.now) >= APPROVALS_PENDING_BOUND:
        raise Unavailable(
            "too_many_approvals",
            "Too many requests wait for a second person. Approve or refuse some of them first.",
        )
    approval_id, code = ctx.ids.new("apr"), policy.code_from(ctx.ids.secret())
    approval = Approval(
        id=approval_id,
        kind=kind,
        order=order,
        person=person,
        asked_by=PersonId(ctx.actor.id),
        asked_at=ctx.now,
        expires_at=ctx.now + APPROVAL_LIFE,
        code_digest=policy.code_digest(approval_id, code),
    )
    store.add_approval(ctx.tx, approval)
    audit.record(ctx, _event("enrolment.approval.ask", approval))
    return Asked(approval, code)


def approve(ctx: Context, approval_id: str) -> Opened:
    """Agree to what another asked for: the account is made or its reset takes effect, and the link is shown, here only.

    Raises NotFound, NotPermitted, Conflict (decided meanwhile; username or ``fhirUser`` taken; inactive).
    """
    approval = _visible(ctx, approval_id)
    asker = _asker(ctx, approval)
    of_age = identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id))
    fault = policy.decision_fault(approval, ctx.actor, asker=asker, of_age=of_age, now=ctx.now)
    if fault == "approval_over":
        raise Conflict(fault, _TELL[fault])
    if fault or asker is None:
        audit.record(
            ctx,
            replace(_event("enrolment.approval.approve", approval), outcome=Outcome.REFUSED, reason=fault),
        )
        raise NotPermitted(fault, _TELL.get(fault, "You may not do this."))
    if not store.save_decided(ctx.tx, approval, ApprovalState.APPROVED, by=ctx.actor.id, at=ctx.now):
        raise Conflict("concurrent_change", "Somebody else decided this at the same moment.")
    if approval.kind is ApprovalKind.CREATE:
        person = identity.add_person(ctx.as_actor(asker), approval.order)
    else:
        person = identity.get_person(ctx, approval.person)
        if not person.active:
            raise Conflict("person_inactive", "This person is inactive; they need a new account.")
    audit.record(ctx, replace(_event("enrolment.approval.approve", approval), person=person.id))
    return Opened(person, _issue(ctx, person, approval))


def refuse(ctx: Context, approval_id: str) -> Approval:
    """Turn down what was asked, or take back what one asked oneself. Raises NotFound, Conflict (decided already)."""
    approval = _visible(ctx, approval_id)
    pending = approval.state is ApprovalState.PENDING
    if not pending or not store.save_decided(
        ctx.tx, approval, ApprovalState.REFUSED, by=ctx.actor.id, at=ctx.now
    ):
        raise Conflict("approval_over", _TELL["approval_over"])
    audit.record(ctx, _event("enrolment.approval.refuse", approval))
    by = PersonId(ctx.actor.id)
    return replace(approval, state=ApprovalState.REFUSED, decided_by=by, decided_at=ctx.now)


def list_approvals(
    ctx: Context, *, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Approval]:
    """List what waits for a second person, oldest first; an administrator of a tenant sees the tenant's. Raises NotPermitted."""
    asked = tenant if ctx.actor.tenant is None else tenant or ctx.actor.tenant
    if not policy.may_decide(ctx.actor, asked):
        raise NotPermitted("not_permitted", "You may not see the requests of this hospital or of the staff.")
    return store.list_pending(ctx.tx, ctx.now, tenant=asked, page=page)


def _visible(ctx: Context, approval_id: str) -> Approval:
    approval = store.get_approval(ctx.tx, approval_id)
    if not policy.may_refuse(approval, ctx.actor):
        raise NotFound("approval_not_found", "There is no such approval.")
    return approval


def _asker(ctx: Context, approval: Approval) -> Actor | None:
    """Return who asked, if they still count as one of two people."""
    person = identity.find_person(ctx, approval.asked_by)
    if person is None or not identity.counts_as_one_of_two(ctx, person.id):
        return None
    return signin_policy.actor_of(person)


def _issue(ctx: Context, person: Person, approval: Approval | None = None) -> IssuedLink:
    """Issue a link; every unused one of the person before it is dead."""
    enrolled = signin.has_password(ctx, person.id)
    secret = LINK_PREFIX + ctx.ids.secret()
    link = Link(
        digest=policy.digest(secret),
        person=person.id,
        tenant=person.tenant,
        purpose=Purpose.RESET if enrolled else Purpose.ENROL,
        issued_by=str(ctx.actor),
        issued_at=ctx.now,
        expires_at=ctx.now + LINK_LIFE,
        approval=approval.id if approval else "",
        code_digest=approval.code_digest if approval else "",
    )
    store.save_links_replaced(ctx.tx, person.id, ctx.now)
    store.delete_links_before(ctx.tx, ctx.now - LINKS_KEPT)
    store.add_link(ctx.tx, link)
    facts = {
        "purpose": link.purpose.value,
        "expires_at": link.expires_at.isoformat(),
        "approval": link.approval,
    }
    event = Event("enrolment.link.issue", tenant=person.tenant or "", person=person.id, facts=facts)
    audit.record(ctx, event)
    return IssuedLink(secret, person.tenant, link.expires_at)


def end_all(ctx: Context) -> int:
    """Let no link and no pending approval be used any more, after a restore; return how many links those were."""
    return store.end_all(ctx.tx, ctx.now)


def find_link(ctx: Context, secret: str, tenant: TenantId | None) -> Visitor:
    """Find whom a link is for, without using it. Raises NotFound for whatever cannot be used here and now."""
    found = store.find_link(ctx.tx, policy.digest(secret)) if policy.looks_like_link(secret) else None
    if found is None or found.tenant != tenant or policy.link_fault(found, ctx.now):
        raise _unusable()
    person = identity.get_person(ctx, found.person)
    if identity.bar_on(ctx, person, issued_at=found.issued_at) is not None:
        raise _unusable()
    place = STAFF_PLACE if tenant is None else identity.get_tenant(ctx, tenant).name
    return Visitor(person, found.purpose, place, found.expires_at, bool(found.code_digest))


def use_link(ctx: Context, secret: str, tenant: TenantId | None, *, code: str, digest: str) -> Person:
    """Set the password of a link's owner, once; their sessions and API tokens end. ``digest`` is the password's, hashed before.

    Raises NotFound (cannot be used), WrongCode.
    """
    found = (
        store.count_try(ctx.tx, policy.digest(secret), ctx.now) if policy.looks_like_link(secret) else None
    )
    if found is None or found.tenant != tenant:
        raise _unusable()
    person = identity.get_person(ctx, found.person)
    event = Event(
        "enrolment.link.use",
        tenant=person.tenant or "",
        person=person.id,
        facts={"purpose": found.purpose.value, "approval": found.approval},
    )
    if found.code_digest and not policy.code_matches(found.code_digest, found.approval, code):
        audit.record(ctx, replace(event, outcome=Outcome.REFUSED, reason="setup_code_wrong"))
        raise WrongCode(CODE_TRIES - found.tries)
    if identity.bar_on(ctx, person, issued_at=found.issued_at) is not None:
        audit.record(ctx, replace(event, outcome=Outcome.REFUSED, reason="not_permitted"))
        raise _unusable()
    if not store.save_link_used(ctx.tx, found.digest, ctx.now):
        raise Conflict(
            "concurrent_change",
            "This link has just been used. If it was not you, ask for a new link and inform your administrator.",
        )
    signin.enrol(ctx, person, digest)
    if not found.issued_by.startswith(f"{ActorKind.HOST}:"):
        identity.restart_age(ctx, person.id, ctx.now)
    audit.record(ctx.as_actor(signin_policy.actor_of(person)), event)
    return person


def _unusable() -> NotFound:
    return NotFound("link_unusable", "This link has been used, has expired or was replaced by a newer one.")


def _event(action: str, approval: Approval) -> Event:
    facts = {
        "approval": approval.id,
        "kind": approval.kind.value,
        "role": approval.order.role,
        "asked_by": approval.asked_by,
    }
    return Event(action, tenant=approval.tenant or "", person=approval.person, facts=facts)


def _refused(ctx: Context, action: str, reason: str, detail: str, *, person: PersonId) -> NotPermitted:
    tenant = ctx.actor.tenant or ""
    audit.record(ctx, Event(action, Outcome.REFUSED, tenant=tenant, person=person, reason=reason))
    return NotPermitted(reason, detail)
