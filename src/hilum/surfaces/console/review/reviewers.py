"""Who signs for which discipline, and the conflicts of interest with vendors that reviewers declared (C100, C101)."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.controls.switches.policy import rules_the_platform
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people import service as identity
from hilum.policy.matrix.models import Discipline
from hilum.review.recertification import service as revalidation
from hilum.review.submissions import service as review
from hilum.review.submissions.models import DisciplineRights
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.actions import Pages
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Listed

MULTI = ("disciplines",)
LIST = List(
    columns=(
        Column("Reviewer"),
        Column("Signs for"),
        Column("Said by"),
        Column("Since", number=True),
    ),
    one="reviewer",
    many="reviewers",
    empty=Empty(
        "Nobody signs yet", "A reviewer may sign for a discipline once two of the staff have agreed."
    ),
)
FIGURES_DAYS = 90


async def show(visit: Visit) -> Response:
    """Show who signs for which discipline."""
    return await _page(visit)


async def _page(
    visit: Visit, given: Form = fields.NO_FORM, trouble: fields.Refused | None = None
) -> Response:
    return await visit.show_list(
        LIST,
        lambda ctx, asked: _signing(ctx, visit, asked),
        "console/review/reviewers.html",
        **await visit.read(partial(_beside, visit=visit, given=given)),
        **fields.answered(given, trouble),
    )


def _signing(ctx: Context, visit: Visit, asked: Asked) -> Listed:
    found = review.list_rights(ctx, PageQuery(asked.after, ROWS + 1))
    shown, changes = found[:ROWS], _changes(visit)
    people = identity.find_people(ctx, [each.person for each in shown])
    names = service.names(ctx, [each.changed_by for each in shown])
    rows = []
    for each in shown:
        person = people.get(each.person)
        username = person.username if person else ""
        href = f"{address('review.reviewers', who=username)}#change" if changes and username else ""
        ended = "" if person and person.active else "the account has ended"
        rows.append(
            (
                Cell(person.name if person else each.person, href, ended or username),
                _disciplines(ctx, each),
                Cell(names.actor(each.changed_by)),
                Cell("", at=each.changed_at),
            )
        )
    return Listed(rows, next=shown[-1].person if len(found) > ROWS else "")


def _disciplines(ctx: Context, rights: DisciplineRights) -> Cell:
    said = ", ".join(each.value for each in rights.disciplines) or "none any longer"
    if review.disciplines_of(ctx, rights.person) != rights.disciplines:
        # Whoever writes to the database gives nobody a right, and somebody should know.
        return Cell(said, note="differs from the audit record, so it is ignored")
    return Cell(said)


def _changes(visit: Visit) -> bool:
    return rules_the_platform(visit.visitor.actor)


def _beside(ctx: Context, visit: Visit, given: Form) -> dict[str, Any]:
    who = given.one("username") or visit.query().one("who")[:64]
    person = identity.find_person_by_username(ctx, None, who) if who and _changes(visit) else None
    signs = review.disciplines_of(ctx, person.id) if person else ()
    asked = revalidation.view_over_requests(ctx, FIGURES_DAYS)
    return {
        "changes": _changes(visit),
        "who": who,
        "signs": given.many("disciplines") if given.one("username") else tuple(each.value for each in signs),
        "disciplines": [(each.value, review.shipped_scorecards().of[each].title) for each in Discipline],
        "asked": asked.tiers,
        "days": FIGURES_DAYS,
        "conflicts": address("review.conflicts"),
    }


async def act(visit: Visit, form: Form) -> Response:
    """Set for which disciplines a reviewer signs: one that is added waits for a second person."""
    try:
        done = await visit.write(partial(_change, form=form))
    except (Invalid, Conflict, NotPermitted, Unavailable) as error:
        return await _page(visit, form, error)
    return to_approval(visit, done) if isinstance(done, AskedTwo) else to(visit.path)


def _change(ctx: Context, form: Form) -> DisciplineRights | AskedTwo:
    person = identity.find_person_by_username(ctx, None, form.one("username").strip()[:64])
    if person is None:
        detail = "Nobody on the staff has this username. Check its spelling."
        raise Invalid("form_invalid", detail, fields={"username": "name_unknown"})
    wanted = tuple(each for each in Discipline if each.value in form.many("disciplines"))
    return review.change_rights(ctx, person.id, wanted)


# --- conflicts of interest ----------------------------------------------------------------------------------------------------------


CONFLICTS = Pages(
    "review.conflict",
    listed=review.list_conflicts,
    show=review.view_conflict,
    new=review.declare_conflict,
    acts=(review.end_conflict,),
    lead="A reviewer who has a conflict of interest with a vendor judges nothing from it. Conflicts of interest by mail address are found without being declared.",
    new_lead="From then on you judge nothing that the vendor submits.",
    empty=lambda _may: (
        "No conflict of interest is declared",
        "A reviewer who has a conflict of interest with a vendor declares it, and judges nothing from that vendor.",
    ),
)
