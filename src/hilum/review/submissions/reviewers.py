"""Who may sign for which discipline."""

from collections.abc import Mapping
from typing import Any

from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.controls.switches.policy import rules_the_platform
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Invalid, NotFound, NotPermitted, Readers, not_shown
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person, StaffRole
from hilum.policy.matrix.models import Discipline
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.review.submissions import discipline_store
from hilum.review.submissions.models import DisciplineRights

CHANGE = "review.right.change"


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


def may_assign(actor: Actor) -> bool:
    """Check whether an actor may give back a discipline that a colleague took: who may be one of two people for the platform."""
    return rules_the_platform(actor) or actor.acts_alone
