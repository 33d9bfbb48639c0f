"""People of a hospital: who has an account, adding one with a link, and ending one."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.enrolment import service as enrolment
from hilum.identity.enrolment.models import Opened
from hilum.identity.federation import service as federation
from hilum.identity.people import service as identity
from hilum.identity.people.models import PEOPLE_SORTS, NewPerson
from hilum.surfaces.console import fields, words
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Listed
from hilum.surfaces.console.parts.one_time_links import opened
from hilum.surfaces.console.shared import approvals
from hilum.surfaces.console.tenant.apps import own
from hilum.surfaces.console.tenant.forms import ROLES

LIST = List(
    columns=(
        Column("Name", "name"),
        Column("Username", "username"),
        Column("Role", "role"),
        Column("State"),
        Column("In the FHIR server"),
        Column("Added", "-added", number=True),
    ),
    one="person",
    many="people",
    empty=Empty(
        "Nobody yet",
        "Add the first colleague: they set their own password through a link.",
        "/tenant/people/new",
        "Add a person",
    ),
    searched="Part of a name or username",
)


async def show_list(visit: Visit) -> Response:
    """List the people of the hospital."""
    waiting = await visit.read(lambda ctx: len(approvals.waiting(ctx, visit)))
    return await visit.show_list(
        LIST,
        _listed,
        "console/people.html",
        waiting=waiting,
        waits=address("tenant.waiting"),
        lead="You never know another person's password: each sets it through a link.",
        action=("Add a person", address("tenant.person_new")),
    )


def _listed(ctx: Context, asked: Asked) -> Listed:
    page = PageQuery(asked.after, ROWS, asked.order)
    found = identity.list_people(ctx, own(ctx).id, page, named=asked.text)
    rows = [
        (
            Cell(each.name, address("tenant.person", each.id)),
            Cell(each.username),
            Cell(words.role(each.role)),
            Cell("active" if each.active else "ended", kind="badge", tone="good" if each.active else "plain"),
            Cell(each.fhir_user),
            Cell("", at=each.created_at),
        )
        for each in found
    ]
    return Listed(rows, None, next=PEOPLE_SORTS.next(found, page))


async def show_new(visit: Visit) -> Response:
    """Show the form that adds a person."""
    return _form(visit)


def _form(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    roles = [(each.value, words.role(each.value).capitalize()) for each in ROLES]
    return visit.render(
        "console/tenant/person_new.html",
        **fields.answered(given, error),
        roles=roles,
    )


async def add(visit: Visit, form: Form) -> Response:
    """Add a person; show the link for them once, or that a second person must agree."""

    def verb(ctx: Context) -> Opened | AskedTwo:
        order = NewPerson(
            own(ctx).id,
            form.one("username").strip(),
            form.one("name").strip(),
            form.one("role"),
            form.one("fhir_user").strip(),
            tuple(form.one("patients").split()),
            form.one("mail").strip(),
        )
        return enrolment.add_person(ctx, order, visit.ports.by_mail)

    try:
        found = await visit.write(verb)
    except Invalid as error:
        return _form(visit, form, error)
    return opened(visit, found)


async def show(visit: Visit) -> Response:
    """Show one person."""
    return visit.render("console/tenant/person.html", **await visit.read(lambda ctx: _shown(ctx, visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    person = identity.view_person(ctx, PersonId(visit.param()))
    mine = person.id == visit.visitor.person.id
    linkable = person.active and not mine and not federation.is_linked(ctx, person)
    return {
        "person": person,
        "role": words.role(person.role),
        "own": mine,
        "link": address("tenant.link_new", person=person.username)
        if linkable and federation.list_providers(ctx, own(ctx).id)
        else "",
        "stop": address("tenant.stop", kind="person", key=person.id),
        "activity": address("tenant.activity", person=person.id),
    }


async def act(visit: Visit, form: Form) -> Response:
    """End an account for good, or issue a new link into it."""
    person = PersonId(visit.param())
    match form.one("act"):
        case "reset":
            return opened(
                visit,
                await visit.write(partial(enrolment.reset, person_id=person, by_mail=visit.ports.by_mail)),
            )
        case "deactivate":
            fields.require_tick(form, "Tick the box to confirm that the account should end for good.")
            await visit.write(partial(identity.deactivate_person, person_id=person))
            return to(address("tenant.person", person))
        case _:
            raise fields.no_such_act()
