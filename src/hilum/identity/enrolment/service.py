"""Add people, reset accounts, and use links.

An enrolment, in order:

1. ``add_person`` or ``reset``, by an administrator. An account with power, or a link into an account in use, waits for a second person.
2. Two people: the asker gets a setup code and the second person the link; or, if the link is mailed to its owner, the second person gets
   the code. Neither has both. One person: the link is returned, or mailed.
3. ``carry_out``: the second person approved (``approvals``); everything is judged again with the asker's present rights.
4. ``find_link``: the owner opens the link, which shows the account without using the link up.
5. ``use_link``: the attempt is counted, the setup code compared, the link used up, the password set; sessions and API tokens end.
6. The account is of age, so that its owner counts as one of two people, a week later.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel import typed_codes
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, NotFound
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.kernel.sentences import Sentence
from hilum.identity.enrolment import policy, store
from hilum.identity.enrolment.models import (
    CODE_TRIES,
    LINK_LIFE,
    LINK_PREFIX,
    MAILS_TO_ONE,
    IssuedLink,
    Link,
    LinkMail,
    Opened,
    Purpose,
    Visitor,
    WrongCode,
)
from hilum.identity.factors import service as factors
from hilum.identity.federation import service as federation
from hilum.identity.people import policy as identity_policy
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, Role
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind
from hilum.records.notices.policy import mailbox_key

LINKS_KEPT = timedelta(days=30)
"""How long a link's row is kept after it was issued."""
CarryOut = Callable[[Context, Approval, Actor], CarriedOut]
STAFF_PLACE, VENDOR_PLACE = Sentence("Platform staff"), Sentence("Vendor account")


def list_people(ctx: Context, tenant: TenantId | None, page: PageQuery) -> list[Person]:
    """List people of a hospital, or the staff. Staff who read who is a patient leave an event. Raises NotPermitted."""
    people = identity.list_people(ctx, tenant, page)
    if ctx.actor.is_platform and any(each.role == Role.PATIENT for each in people):
        audit.record(ctx, Event("identity.person.list", tenant=tenant or "", facts={"given": len(people)}))
    return people


def add_person(ctx: Context, order: NewPerson, by_mail: LinkMail) -> Opened | Asked:
    """Add a person without a password; return their enrolment link, or the approval that waits.

    Two people are needed for an account with power, and for one that can open a chart that is or was another account's own. Raises
    NotPermitted (right, too many mails), Invalid, NotFound (tenant), Conflict (username or ``fhirUser`` taken), Unavailable (too many wait).
    """
    order = identity.require_addable(ctx, order)
    if not identity.adding_takes_two(ctx, order):
        mailed = _mails_link(ctx, order, by_mail)
        person = identity.add_person(ctx, order)
        return Opened(person, _issue(ctx, person, by_mail if mailed else None))
    return _ask(ctx, ApprovalKind.CREATE, order, _owners(ctx, order), by_mail)


def reset(ctx: Context, person_id: PersonId, by_mail: LinkMail) -> Opened | Asked:
    """Issue a new link into a person's account; return it, or the approval that waits.

    The old password works until a new one is set. Raises NotFound, NotPermitted (right, too many mails), Conflict (inactive),
    Unavailable (too many wait).
    """
    person = identity.view_person(ctx, person_id)
    _require_resettable(ctx, person)
    owners = _owners(ctx, person, but=person.id)
    # An administrator who issues a link into an account in use could impersonate its owner. A link into an
    # account that nobody has entered yet gives no more than adding the account did.
    takes_two = identity_policy.has_power(person.tenant, person.role) or owners["own_of"]
    in_use = signin.has_password(ctx, person.id) or federation.is_linked(ctx, person)
    if ctx.actor.acts_alone or not (takes_two or in_use):
        mailed = _mails_link(ctx, person, by_mail)
        return Opened(person, _issue(ctx, person, by_mail if mailed else None))
    return _ask(ctx, ApprovalKind.RESET, person, owners, by_mail)


def reset_factors(ctx: Context, person_id: PersonId, reason: str) -> Asked | None:
    """Request to remove the second factors of a person who lost them; return the approval that waits, None if the host did it alone.

    A person with an address is mailed about the request and about the removal. Raises NotFound, NotPermitted (right, oneself), Conflict
    (inactive, no factor), Unavailable (too many wait).
    """
    person = identity.view_person(ctx, person_id)
    _require_resettable(ctx, person, "enrolment.factors.reset")
    before = _factors_of(ctx, person)
    if ctx.actor.acts_alone:
        _remove_factors(ctx, person, reason)
        return None
    order = {"username": person.username, "name": person.name, "role": person.role, "reason": reason}
    waiting = Asked(identity.ask(ctx, Act(ApprovalKind.FACTORS, person.tenant, person.id, order, before)))
    colleague = identity.get_person(ctx, PersonId(ctx.actor.id)).name
    _mail_factors(ctx, person, MailKind.FACTORS_RESET_ASKED, waiting.approval.id, colleague)
    return waiting


def _factors_of(ctx: Context, person: Person) -> dict[str, Any]:
    """Return the factors of a person for the second person to see. Raises Conflict if there is none."""
    held = factors.held(ctx, person.id)
    if not held.any:
        raise Conflict("factor_none", "This person has no second factor. They set one up when they sign in.")
    since = held.totp_since.isoformat() if held.totp_since else ""
    return {"authenticator_since": since, "passkeys": [each.name for each in held.passkeys]}


def _carry_out_factors(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    person = identity.view_person(ctx.as_actor(asker), PersonId(approval.act.target))
    _require_resettable(ctx.as_actor(asker), person, "enrolment.factors.reset")
    # A factor that was set up since is not the one that was lost.
    identity.require_unchanged(approval.act, _factors_of(ctx, person))
    _remove_factors(ctx, person, str(approval.act.order["reason"]))
    colleague = identity.get_person(ctx, approval.asked_by).name
    _mail_factors(ctx, person, MailKind.FACTORS_RESET, approval.id, colleague)
    return CarriedOut(person.id)


def _remove_factors(ctx: Context, person: Person, reason: str) -> None:
    factors.remove_all(ctx, person, why=reason)
    signin.end_credentials(ctx, person.id)
    # Whoever has the password can set up a new factor now, so the account is not of age for a week.
    identity.restart_age(ctx, person.id, ctx.now)


def _mail_factors(ctx: Context, person: Person, kind: MailKind, approval: str, colleague: str) -> None:
    if not person.mail:
        return
    facts = {"place": _place_of(ctx, person), "username": person.username, "colleague": colleague}
    cause = f"{kind.value}/{approval}"
    notices.put_mail(ctx, Mail(kind, person.mail, cause, facts, vendor=person.vendor or ""))


def _mails_link(ctx: Context, who: NewPerson | Person, by_mail: LinkMail) -> bool:
    """Check whether a link is mailed, and count it. Raises NotPermitted beyond MAILS_TO_ONE a day."""
    if not (who.mail and by_mail.works):
        return False
    _count_mail(ctx, who)
    return True


def _count_mail(ctx: Context, who: NewPerson | Person) -> None:
    # A refusal commits, so this comes before anything is written.
    if not notices.spend(ctx, f"enrol/{mailbox_key(who.mail)}", MAILS_TO_ONE):
        event = Event("enrolment.link.issue", tenant=who.tenant or "", reason="enrolment_mail_bound")
        detail = "This address reached the limit of links for a day. Try again tomorrow."
        raise audit.refusal(ctx, event, detail)


def _owners(ctx: Context, who: NewPerson | Person, *, but: str = "") -> dict[str, Any]:
    """Return the accounts, past ones too, whose own charts this account could open, for the second person to see."""
    return {"own_of": identity.list_owners(ctx, who.tenant, who.fhir_user, who.patients, but=but)}


def _require_resettable(ctx: Context, person: Person, action: str = "enrolment.person.reset") -> None:
    # With a reset of one's own account, a stolen API token would give the whole account without the password.
    if person.id == ctx.actor.id:
        event = Event(action, tenant=person.tenant or "", person=person.id, reason="about_you")
        detail = "To change your own password, use `hilum person password`; to change your second factor, your account's page. If you have lost either, ask a colleague to reset it."
        raise audit.refusal(ctx, event, detail)
    if not person.active:
        raise Conflict("person_inactive", "This person is inactive for good. Add a new account for them.")


def _ask(
    ctx: Context, kind: ApprovalKind, who: NewPerson | Person, before: Mapping[str, Any], by_mail: LinkMail
) -> Asked:
    approval_id, target = ctx.ids.new("apr"), who.id if isinstance(who, Person) else ""
    code = sealed = ""
    # Neither of the two may have both. A mailed link goes to an address that the asker stated, so then the second
    # person gets the code instead.
    if not (who.mail and by_mail.works):
        code = typed_codes.code_from(ctx.ids.secret())
        sealed = policy.code_digest(approval_id, code)
    act = Act(kind, who.tenant, target, policy.write_person(who), before, sealed)
    return Asked(identity.ask(ctx, act, approval_id), setup_code=code)


def one_of_two(ctx: Context, person_id: PersonId, since: datetime) -> Actor | None:
    """Return a person as an actor if they count as one of two people for a request from ``since``; None otherwise."""
    if not identity.counts_as_one_of_two(ctx, person_id, since=since):
        return None
    return signin_policy.actor_of(identity.get_person(ctx, person_id))


def _carry_out_create(ctx: Context, approval: Approval, asker: Actor, *, by_mail: LinkMail) -> CarriedOut:
    order = policy.read_person(approval.act.tenant, approval.act.order)
    # With the asker's present rights, not those at the time of the request.
    identity.require_addable(ctx.as_actor(asker), order)
    identity.require_unchanged(approval.act, _owners(ctx, order))
    return _opened(ctx, identity.add_person(ctx.as_actor(asker), order, agreed=True), approval, by_mail)


def _carry_out_reset(ctx: Context, approval: Approval, asker: Actor, *, by_mail: LinkMail) -> CarriedOut:
    person = identity.view_person(ctx.as_actor(asker), PersonId(approval.act.target))
    identity.require_unchanged(approval.act, _owners(ctx, person, but=person.id))
    _require_resettable(ctx.as_actor(asker), person)
    return _opened(ctx, person, approval, by_mail)


def _opened(ctx: Context, person: Person, approval: Approval, by_mail: LinkMail) -> CarriedOut:
    sealed = approval.act.sealed
    # Decided at the request, whatever is configured now: whoever got the code must not get the link.
    if sealed:
        link = _issue(ctx, person, None, approval=approval.id, code_digest=sealed)
        return CarriedOut(person.id, link.secret, link.expires_at)
    _count_mail(ctx, person)
    code = typed_codes.code_from(ctx.ids.secret())
    digest = policy.code_digest(approval.id, code)
    link = _issue(ctx, person, by_mail, approval=approval.id, code_digest=digest)
    return CarriedOut(person.id, "", link.expires_at, setup_code=code)


def carry_out(by_mail: LinkMail) -> dict[ApprovalKind, CarryOut]:
    """Return how this room's acts are carried out once a second person has agreed."""
    return {
        ApprovalKind.CREATE: partial(_carry_out_create, by_mail=by_mail),
        ApprovalKind.RESET: partial(_carry_out_reset, by_mail=by_mail),
        ApprovalKind.FACTORS: _carry_out_factors,
    }


def _issue(
    ctx: Context, person: Person, by_mail: LinkMail | None, *, approval: str = "", code_digest: str = ""
) -> IssuedLink:
    """Issue a link, which is mailed to its owner or returned. Earlier unused links of the person stop working."""
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
        approval=approval,
        code_digest=code_digest,
    )
    # Only one valid link at a time: an earlier one may have gone to the wrong address.
    store.save_links_replaced(ctx.tx, person.id, ctx.now)
    store.delete_links_before(ctx.tx, ctx.now - LINKS_KEPT)
    store.LINKS.add(ctx.tx, link)
    facts = {
        "purpose": link.purpose.value,
        "expires_at": link.expires_at.isoformat(),
        "approval": link.approval,
        "mailed": "yes" if by_mail else "no",
    }
    event = Event("enrolment.link.issue", tenant=person.tenant or "", person=person.id, facts=facts)
    audit.record(ctx, event)
    if by_mail is None:
        return IssuedLink(secret, person.tenant, link.expires_at)
    _mail_link(ctx, person, link, by_mail.url(person.tenant or "", secret))
    return IssuedLink("", person.tenant, link.expires_at)


def _mail_link(ctx: Context, person: Person, link: Link, url: str) -> None:
    facts = {
        "place": _place_of(ctx, person),
        "username": person.username,
        "link": url,
        "until": link.expires_at.isoformat(),
    }
    cause = f"enrolment/{link.digest}"
    vendor = person.vendor or ""
    zone, until = identity.zone_of(ctx, person.tenant), link.expires_at
    notices.put_mail(ctx, Mail(MailKind.ENROLMENT, person.mail, cause, facts, vendor, until=until, zone=zone))


def _place_of(ctx: Context, person: Person) -> str:
    """Return the name of an account's place: the hospital's own name, or a phrase for staff and vendors."""
    if person.vendor is not None:
        return VENDOR_PLACE
    return STAFF_PLACE if person.tenant is None else identity.get_tenant(ctx, person.tenant).name


def end_all(ctx: Context) -> int:
    """End every unused link, after a restore; return how many there were."""
    return store.end_all(ctx.tx, ctx.now)


def find_link(ctx: Context, secret: str, tenant: TenantId | None) -> Visitor:
    """Find the account of a link without using the link up. Raises NotFound if it cannot be used at this tenant now."""
    link = store.LINKS.find(ctx.tx, digest=policy.digest(secret)) if policy.looks_like_link(secret) else None
    # Only under the URL of its own tenant, whose name, form and cookie the owner sees.
    if link is None or link.tenant != tenant or policy.link_fault(link, ctx.now):
        raise _unusable()
    person = identity.get_person(ctx, link.person)
    if identity.bar_on(ctx, person, issued_at=link.issued_at) is not None:
        raise _unusable()
    return Visitor(person, link.purpose, _place_of(ctx, person), link.expires_at, bool(link.code_digest))


def use_link(ctx: Context, secret: str, tenant: TenantId | None, *, code: str, digest: str) -> Person:
    """Set the password of a link's owner, once; their sessions and API tokens end. ``digest`` is the hash of the password.

    Raises NotFound (cannot be used), WrongCode, Conflict (used at this moment).
    """
    # Counted before the code is compared, so that concurrent attempts cannot exceed CODE_TRIES.
    link = store.count_try(ctx.tx, policy.digest(secret), ctx.now) if policy.looks_like_link(secret) else None
    if link is None or link.tenant != tenant:
        raise _unusable()
    person = identity.get_person(ctx, link.person)
    event = Event(
        "enrolment.link.use",
        tenant=person.tenant or "",
        person=person.id,
        facts={"purpose": link.purpose.value, "approval": link.approval},
    )
    if link.code_digest and not policy.code_matches(link.code_digest, link.approval, code):
        audit.record(ctx, replace(event, outcome=Outcome.REFUSED, reason="setup_code_wrong"))
        # This refusal commits, and with it the counted attempt.
        raise WrongCode(CODE_TRIES - link.tries)
    if identity.bar_on(ctx, person, issued_at=link.issued_at) is not None:
        audit.record(ctx, replace(event, outcome=Outcome.REFUSED, reason="not_permitted"))
        raise _unusable()
    # One statement, after everything else was judged: of two concurrent uses, one sets the password.
    if not store.save_link_used(ctx.tx, link.digest, ctx.now):
        raise Conflict(
            "concurrent_change",
            "This link has just been used. If it was not you, ask for a new link and inform your administrator.",
        )
    signin.enrol(ctx, person, digest)
    # The colleague who issued the link could have used it, so the account is not of age for a week.
    if not link.issued_by.startswith(f"{ActorKind.HOST}:"):
        identity.restart_age(ctx, person.id, ctx.now)
    audit.record(ctx.as_actor(signin_policy.actor_of(person)), event)
    return person


def _unusable() -> NotFound:
    return NotFound(
        "link_unusable",
        "This link has been used, has expired or was replaced by a newer one. Ask your administrator for a new one.",
    )
