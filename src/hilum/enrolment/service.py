"""Adding people, resetting accounts, and using links."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hilum.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.enrolment import policy, store
from hilum.enrolment.models import (
    CODE_TRIES,
    LINK_LIFE,
    LINK_PREFIX,
    IssuedLink,
    Link,
    Opened,
    Purpose,
    Visitor,
    WrongCode,
)
from hilum.identity import policy as identity_policy
from hilum.identity import service as identity
from hilum.identity.models import NewPerson, Person
from hilum.infra.context import Context
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import Conflict, NotFound, NotPermitted
from hilum.kernel.ids import PersonId, TenantId
from hilum.signin import policy as signin_policy
from hilum.signin import service as signin

LINKS_KEPT = timedelta(days=30)
STAFF_PLACE, VENDOR_PLACE = "Platform staff", "Vendor account"


def add_person(ctx: Context, order: NewPerson) -> Opened | Asked:
    """Add a person without a password; return their enrolment link, or what waits for a second person.

    Two people are needed for an account with power, and for one that can open a chart that is or was another account's own. Raises
    NotPermitted, Invalid, NotFound (tenant), Conflict (username or ``fhirUser`` taken), Unavailable (too many wait).
    """
    order = identity.require_addable(ctx, order)
    if not identity.adding_takes_two(ctx, order):
        person = identity.add_person(ctx, order)
        return Opened(person, _issue(ctx, person))
    return _ask(ctx, ApprovalKind.CREATE, order, _owners(ctx, order))


def reset(ctx: Context, person_id: PersonId) -> Opened | Asked:
    """Issue a new link into a person's account; return it, or what waits for a second person.

    The old password works until a new one is set. Raises NotFound, NotPermitted, Conflict (inactive), Unavailable (too many wait).
    """
    person = identity.view_person(ctx, person_id)
    _require_resettable(ctx, person)
    owners = _owners(ctx, person, but=person.id)
    # With a link into an account in use, the administrator who issues it could become that person.
    # Into an account that nobody has entered yet it opens no more than adding the account did.
    guarded = identity_policy.has_power(person.tenant, person.role) or owners["own_of"]
    if ctx.actor.acts_alone or not (guarded or signin.has_password(ctx, person.id)):
        return Opened(person, _issue(ctx, person))
    return _ask(ctx, ApprovalKind.RESET, person, owners, person.id)


def _owners(ctx: Context, who: NewPerson | Person, *, but: str = "") -> dict[str, Any]:
    """Return the accounts whose own charts this account could open, past accounts too, as the second person is shown them."""
    return {"own_of": identity.list_owners(ctx, who.tenant, who.fhir_user, who.patients, but=but)}


def _require_resettable(ctx: Context, person: Person) -> None:
    # A reset of one's own account would make a stolen API token the whole account, without the
    # present password.
    if person.id == ctx.actor.id:
        event = Event(
            "enrolment.person.reset",
            Outcome.REFUSED,
            tenant=person.tenant or "",
            person=person.id,
            reason="about_you",
        )
        audit.record(ctx, event)
        detail = "To change your own password, use `hilum person password`. If you have forgotten it, ask a colleague to reset it."
        raise NotPermitted("about_you", detail)
    if not person.active:
        raise Conflict("person_inactive", "This person is inactive for good. Add a new account for them.")


def _ask(
    ctx: Context, kind: ApprovalKind, who: NewPerson | Person, before: Mapping[str, Any], target: str = ""
) -> Asked:
    # The asker gets the code and the second person the link: neither alone holds what opens the
    # account.
    approval_id, code = ctx.ids.new("apr"), policy.code_from(ctx.ids.secret())
    sealed = policy.code_digest(approval_id, code)
    act = Act(kind, who.tenant, target, policy.write_person(who), before, sealed)
    return Asked(identity.ask(ctx, act, approval_id), setup_code=code)


def one_of_two(ctx: Context, person_id: PersonId, since: datetime) -> Actor | None:
    """Return a person as an actor, if they count as one of two people now for what they asked at ``since``; else None."""
    if not identity.counts_as_one_of_two(ctx, person_id, since=since):
        return None
    return signin_policy.actor_of(identity.get_person(ctx, person_id))


def _carry_out_create(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    order = policy.read_person(approval.act.tenant, approval.act.order)
    # Judged again with the rights that the asker has now, not those of the day on which they asked.
    identity.require_addable(ctx.as_actor(asker), order)
    identity.require_unchanged(approval.act, _owners(ctx, order))
    return _opened(ctx, identity.add_person(ctx.as_actor(asker), order, agreed=True), approval)


def _carry_out_reset(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    person = identity.view_person(ctx.as_actor(asker), PersonId(approval.act.target))
    identity.require_unchanged(approval.act, _owners(ctx, person, but=person.id))
    _require_resettable(ctx.as_actor(asker), person)
    return _opened(ctx, person, approval)


def _opened(ctx: Context, person: Person, approval: Approval) -> CarriedOut:
    link = _issue(ctx, person, approval)
    return CarriedOut(person.id, link.secret, link.expires_at)


CARRY_OUT = {ApprovalKind.CREATE: _carry_out_create, ApprovalKind.RESET: _carry_out_reset}
"""How this room's acts are carried out once a second person has agreed."""


def _issue(ctx: Context, person: Person, approval: Approval | None = None) -> IssuedLink:
    """Issue a link; the person's earlier unused links stop working."""
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
        code_digest=approval.act.sealed if approval else "",
    )
    # One way in at a time: an earlier link may have gone to the wrong address.
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
    """End every unused link, after a restore; return how many there were."""
    return store.end_all(ctx.tx, ctx.now)


def find_link(ctx: Context, secret: str, tenant: TenantId | None) -> Visitor:
    """Find whom a link is for, without using it up. Raises NotFound if it cannot be used at this tenant now."""
    found = store.find_link(ctx.tx, policy.digest(secret)) if policy.looks_like_link(secret) else None
    # A link is used under the address of its own tenant only, whose form, cookie and name its owner
    # sees.
    if found is None or found.tenant != tenant or policy.link_fault(found, ctx.now):
        raise _unusable()
    person = identity.get_person(ctx, found.person)
    if identity.bar_on(ctx, person, issued_at=found.issued_at) is not None:
        raise _unusable()
    place = VENDOR_PLACE if person.vendor else STAFF_PLACE
    if tenant is not None and not person.vendor:
        place = identity.get_tenant(ctx, tenant).name
    return Visitor(person, found.purpose, place, found.expires_at, bool(found.code_digest))


def use_link(ctx: Context, secret: str, tenant: TenantId | None, *, code: str, digest: str) -> Person:
    """Set the password of a link's owner, once; their sessions and API tokens end. ``digest`` is the hash of the password.

    Raises NotFound (cannot be used), WrongCode, Conflict (used at this moment).
    """
    # The attempt is counted before the code is compared: attempts at the same moment must not share one count.
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
        # A decided refusal commits, so the counted try stands.
        raise WrongCode(CODE_TRIES - found.tries)
    if identity.bar_on(ctx, person, issued_at=found.issued_at) is not None:
        audit.record(ctx, replace(event, outcome=Outcome.REFUSED, reason="not_permitted"))
        raise _unusable()
    # One statement, after everything else was judged: of two uses at one moment one sets the
    # password.
    if not store.save_link_used(ctx.tx, found.digest, ctx.now):
        raise Conflict(
            "concurrent_change",
            "This link has just been used. If it was not you, ask for a new link and inform your administrator.",
        )
    signin.enrol(ctx, person, digest)
    # A colleague who issued this link could have used it: the account counts as one of two people only after a week again.
    if not found.issued_by.startswith(f"{ActorKind.HOST}:"):
        identity.restart_age(ctx, person.id, ctx.now)
    audit.record(ctx.as_actor(signin_policy.actor_of(person)), event)
    return person


def _unusable() -> NotFound:
    return NotFound(
        "link_unusable",
        "This link has been used, has expired or was replaced by a newer one. Ask your administrator for a new one.",
    )
