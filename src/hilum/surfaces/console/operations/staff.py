"""The staff: who they are, what waits for a second person, and adding a colleague."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.enrolment import service as enrolment
from hilum.identity.enrolment.models import Opened
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, StaffRole
from hilum.surfaces.console import fields, words
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.parts.one_time_links import opened
from hilum.surfaces.console.shared import approvals

SHOWN = 100
ROLES = (
    (StaffRole.PLATFORM_ADMIN, "Everything but certifying. The policy, hospitals, accounts."),
    (StaffRole.SECURITY, "Stops anything, agrees as the second person, reads the audit."),
    (StaffRole.REVIEWER, "Certifies versions of apps."),
    (StaffRole.AUDITOR, "Reads everything, changes nothing."),
)


async def show(visit: Visit) -> Response:
    """Show what waits for a second person, and the staff to who administers them."""
    return visit.render("console/operations/staff.html", **await visit.read(partial(_shown, visit=visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    people: list[Person] = []
    if "platform_admin" in ctx.actor.roles:
        people = identity.list_people(ctx, None, PageQuery(limit=SHOWN))
    return {
        "waiting": approvals.waiting(ctx, visit),
        "people": [
            (each.name, each.username, words.role(each.role), each.active, each.created_at) for each in people
        ],
        "rules": "platform_admin" in ctx.actor.roles,
    }


async def show_new(visit: Visit) -> Response:
    """Show the form that adds a colleague to the staff."""
    return _form(visit)


def _form(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    return visit.render(
        "console/new_account.html",
        **fields.answered(given, error),
        heading="Add a colleague",
        lead="A second of you agrees and gets the link; you get a setup code. The owner needs both.",
        usual=StaffRole.AUDITOR.value,
        button="Ask for the account",
        back=address("operations.staff"),
        roles=[(each.value, words.role(each.value).capitalize(), note) for each, note in ROLES],
    )


async def add(visit: Visit, form: Form) -> Response:
    """Ask for a colleague's account: a second of the staff agrees, and gets the link."""

    def verb(ctx: Context) -> Opened | AskedTwo:
        name, mail = " ".join(form.one("name").split()), form.one("mail").strip()
        order = NewPerson(None, form.one("username").strip(), name, form.one("role"), mail=mail)
        return enrolment.add_person(ctx, order, visit.ports.by_mail)

    try:
        found = await visit.write(verb)
    except Invalid as error:
        return _form(visit, form, error)
    return opened(visit, found)
