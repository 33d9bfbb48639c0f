"""Who may sign for which discipline, and who has a conflict of interest with which vendor."""

from collections.abc import Mapping
from typing import Any

from hilum.apps.contacts import service as contacts
from hilum.apps.registry import service as registry
from hilum.apps.registry.policy import reason_fault
from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.controls.switches.policy import rules_the_platform
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted, Readers, not_shown
from hilum.foundation.kernel.ids import PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery, walk
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person, StaffRole
from hilum.policy.matrix.models import Discipline
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.review.submissions import discipline_store, policy
from hilum.review.submissions.models import ConflictOfInterest, ConflictOfInterestKind, DisciplineRights

CHANGE = "review.right.change"
DECLARE, END = "review.conflict_of_interest.declare", "review.conflict_of_interest.end"


# --- rights --------------------------------------------------------------------------------------------------------------------


def change_rights(
    ctx: Context, person_id: PersonId, disciplines: tuple[Discipline, ...]
) -> DisciplineRights | Asked:
    """Set for which disciplines a reviewer signs. One that is added waits for a second person; one that is taken away is gone at once (C100, C182).

    Raises NotFound, NotPermitted, Invalid, Unavailable (too many wait).
    """
    person = _reviewer(ctx, person_id)
    event = Event(CHANGE, person=person.id)
    if not (rules_the_platform(ctx.actor) or ctx.actor.acts_alone):
        raise audit.refusal(ctx, event)
    before, after = disciplines_of(ctx, person.id), _ordered(disciplines)
    if ctx.actor.acts_alone or set(after) <= set(before):
        return _save(ctx, person, after)
    order = {"disciplines": _words(after), "username": person.username}
    act = Act(ApprovalKind.DISCIPLINES, None, person.id, order=order, before={"disciplines": _words(before)})
    return Asked(identity.ask(ctx, act))


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    person = _reviewer(ctx, PersonId(approval.act.target))
    now: Mapping[str, Any] = {"disciplines": _words(disciplines_of(ctx, person.id))}
    identity.require_unchanged(approval.act, now)
    if not rules_the_platform(asker):
        raise NotPermitted("asker_no_longer_counts", "The person who requested this may no longer do so.")
    _save(ctx, person, _ordered(tuple(map(Discipline, approval.act.order["disciplines"]))))
    return CarriedOut(person.id)


CARRY_OUT = {ApprovalKind.DISCIPLINES: _carry_out}
"""How this room's acts are carried out once a second person has agreed."""


def _reviewer(ctx: Context, person_id: PersonId) -> Person:
    person = identity.find_person(ctx, person_id)
    if person is None or not ctx.actor.is_platform:
        raise NotFound("person_not_found", "There is no such person.")
    if person.tenant is not None or person.role != StaffRole.REVIEWER or not person.active:
        raise Invalid(
            "rights_invalid", "Only reviewers may sign; see fields.", fields={"person": "not_a_reviewer"}
        )
    return person


def _ordered(disciplines: tuple[Discipline, ...]) -> tuple[Discipline, ...]:
    return tuple(each for each in Discipline if each in disciplines)


def _words(disciplines: tuple[Discipline, ...]) -> list[str]:
    return [each.value for each in disciplines]


def _save(ctx: Context, person: Person, disciplines: tuple[Discipline, ...]) -> DisciplineRights:
    changed = DisciplineRights(person.id, disciplines, ctx.now, str(ctx.actor))
    discipline_store.save_rights(ctx.tx, changed)
    audit.record(ctx, Event(CHANGE, person=person.id, facts={"disciplines": _words(disciplines)}))
    return changed


def disciplines_of(ctx: Context, person: PersonId) -> tuple[Discipline, ...]:
    """Return the disciplines for which a reviewer signs: what is stored, if the audit recorded just that. Else none."""
    found = discipline_store.find_rights(ctx.tx, person)
    if found is None:
        return ()
    query = EventQuery(action=CHANGE, person=person, outcome="done", limit=1)
    recorded = [each.event.facts.get("disciplines") for each in audit.list_events(ctx, query).events]
    return found.disciplines if recorded == [_words(found.disciplines)] else ()


def may_sign(ctx: Context, reviewer: str, discipline: Discipline) -> bool:
    """Check whether who gave a verdict, as ``staff:<id>``, is active and signs for its discipline now."""
    person = identity.find_person(ctx, PersonId(reviewer.partition(":")[2]))
    if person is None or not person.active or person.role != StaffRole.REVIEWER:
        return False
    return discipline in disciplines_of(ctx, person.id)


def list_rights(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[DisciplineRights]:
    """List who signs for which disciplines, for the platform's staff. Raises NotPermitted."""
    _require_staff(ctx)
    return discipline_store.list_rights(ctx.tx, page)


def _require_staff(ctx: Context) -> None:
    if not ctx.actor.is_platform:
        raise not_shown("who reviews", Readers.STAFF)


# --- conflicts of interest ----------------------------------------------------------------------------------------------------------------------


def declare_conflict(ctx: Context, vendor: VendorId, reason: str) -> ConflictOfInterest:
    """Declare a conflict of interest with a vendor, which bars one from its submissions at once (C101). Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event(DECLARE, person=ctx.actor.id, facts={"vendor": vendor})
    if not policy.may_decide(ctx.actor):
        raise audit.refusal(ctx, event)
    registry.get_vendor(ctx, vendor)
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    declared = ConflictOfInterest(ctx.ids.new("coi"), PersonId(ctx.actor.id), vendor, reason.strip(), ctx.now)
    if not discipline_store.add_conflict(ctx.tx, declared):
        raise Conflict(
            "conflict_of_interest_declared",
            "You have declared a conflict of interest with this vendor already.",
        )
    facts = event.facts | {"conflict_of_interest": declared.id, "reason": declared.reason}
    audit.record(ctx, Event(event.action, person=declared.person, facts=facts))
    return declared


def end_conflict(ctx: Context, conflict_id: str, reason: str) -> ConflictOfInterest:
    """End a conflict of interest, as somebody else of the staff who may decide what takes two people. Raises NotFound, NotPermitted, Invalid, Conflict."""
    found = view_conflict(ctx, conflict_id)
    facts = {"conflict_of_interest": found.id, "vendor": found.vendor}
    event = Event(END, person=found.person, facts=facts)
    # Who is barred must not lift that, and neither may a colleague who reviews beside them.
    if not (rules_the_platform(ctx.actor) or ctx.actor.acts_alone) or ctx.actor.id == found.person:
        raise audit.refusal(ctx, event)
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    ended = ConflictOfInterest(
        found.id,
        found.person,
        found.vendor,
        found.reason,
        found.declared_at,
        ctx.now,
        str(ctx.actor),
        reason.strip(),
    )
    if not discipline_store.save_conflict_ended(ctx.tx, ended):
        raise Conflict("conflict_of_interest_over", "This conflict of interest has ended already.")
    audit.record(ctx, Event(event.action, person=found.person, facts=facts | {"reason": reason.strip()}))
    return ended


def view_conflict(ctx: Context, conflict_id: str) -> ConflictOfInterest:
    """Get a conflict of interest, for the platform's staff. Raises NotFound."""
    found = discipline_store.find_conflict(ctx.tx, conflict_id) if ctx.actor.is_platform else None
    if found is None:
        raise NotFound("conflict_of_interest_not_found", "There is no such conflict of interest.")
    return found


def list_conflicts(ctx: Context, page: PageQuery = FIRST_PAGE, vendor: str = "") -> list[ConflictOfInterest]:
    """List the conflicts of interest that reviewers declared, for the platform's staff. Raises NotPermitted."""
    _require_staff(ctx)
    return discipline_store.list_conflicts(ctx.tx, page, vendor=vendor)


def may_assign(actor: Actor) -> bool:
    """Check whether an actor may give back a discipline that a colleague took: who may be one of two people for the platform."""
    return rules_the_platform(actor) or actor.acts_alone


def is_tied(ctx: Context, reviewer: str, vendor: VendorId) -> bool:
    """Check whether who gave a verdict, as ``staff:<id>``, has declared a conflict of interest with the vendor."""
    return _is_declared(ctx, PersonId(reviewer.partition(":")[2]), vendor)


def _is_declared(ctx: Context, person: PersonId, vendor: VendorId) -> bool:
    """Check whether a conflict of interest is declared and has not ended, by the table or by the audit: a row that somebody deleted lifts none."""
    if discipline_store.is_tied(ctx.tx, person, vendor):
        return True

    def named(action: str) -> set[str]:
        found = audit.list_events(ctx, EventQuery(action=action, person=person, outcome="done")).events
        return {
            each.event.facts["conflict_of_interest"]
            for each in found
            if each.event.facts.get("vendor") == vendor
        }

    return bool(named(DECLARE) - named(END))


def conflicts_to(ctx: Context, vendor: VendorId) -> tuple[ConflictOfInterestKind, ...]:
    """Return the acting reviewer's conflicts of interest with a vendor: by what they declared, or by their mail address."""
    if ctx.actor.kind is not ActorKind.STAFF:
        return ()
    person = identity.get_person(ctx, PersonId(ctx.actor.id))
    found = [ConflictOfInterestKind.DECLARED] if _is_declared(ctx, person.id, vendor) else []
    mail = person.mail.strip().lower()
    if not mail:
        return tuple(found)
    # Read as the platform: a reviewer may not list a vendor's members and contacts.
    system = ctx.as_actor(SYSTEM)
    members = walk(
        lambda page: identity.list_people(system, TenantId(vendor), page), key=lambda each: each.username
    )
    if any(each.mail.strip().lower() == mail for each in members):
        found.append(ConflictOfInterestKind.MEMBER)
    domains = walk(lambda page: contacts.list_domains(system, vendor, page), key=lambda each: each.id)
    reached = walk(lambda page: contacts.list_contacts(system, vendor, page), key=lambda each: each.id)
    names = {each.name for each in domains} | {each.address.rpartition("@")[2].lower() for each in reached}
    host = mail.rpartition("@")[2]
    if any(host == name or host.endswith(f".{name}") for name in names if name):
        found.append(ConflictOfInterestKind.MAIL_DOMAIN)
    return tuple(found)
