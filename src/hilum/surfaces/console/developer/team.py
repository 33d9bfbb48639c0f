"""A vendor's members: who they are, inviting one, a new link, and removing one."""

from typing import Any

from starlette.responses import Response

from hilum.apps.membership import service as membership
from hilum.apps.membership.models import NewMember
from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.enrolment.models import Opened
from hilum.identity.people import service as identity
from hilum.identity.people.models import PEOPLE_SORTS, VendorRole
from hilum.surfaces.console import fields, words
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Listed
from hilum.surfaces.console.parts.one_time_links import opened
from hilum.surfaces.console.shared import approvals

LIST = List(
    columns=(
        Column("Name", "name"),
        Column("Username", "username"),
        Column("Role", "role"),
        Column("State"),
        Column("Added", "-added", number=True),
    ),
    one="member",
    many="members",
    empty=Empty("Nobody yet", "Invite the first colleague: they set their own password through a link."),
)
ROLES = (
    (VendorRole.OWNER, "Everything, also members and agreements. Takes a second person."),
    (VendorRole.DEVELOPER, "Apps, versions, clients and secrets."),
    (VendorRole.SECURITY, "Secrets, security contacts and stops."),
    (VendorRole.BILLING, "Reads only."),
)


async def show_list(visit: Visit) -> Response:
    """List the members of the vendor."""
    waiting = await visit.read(lambda ctx: len(approvals.waiting(ctx, visit)))
    return await visit.show_list(
        LIST,
        _listed,
        "console/people.html",
        title="Team",
        waiting=waiting,
        waits=address("developer.waiting"),
        lead="Who acts for you here. Nobody knows another person's password.",
        action=("Invite somebody", address("developer.invite")),
    )


def _listed(ctx: Context, asked: Asked) -> Listed:
    page = PageQuery(asked.after, ROWS, asked.order)
    found = membership.list_members(ctx, frame.own_vendor(ctx), page)
    rows = [
        (
            Cell(each.name, address("developer.member", each.id)),
            Cell(each.username),
            Cell(words.role(each.role)),
            Cell(
                "active" if each.active else "removed", kind="badge", tone="good" if each.active else "plain"
            ),
            Cell("", at=each.created_at),
        )
        for each in found
    ]
    return Listed(rows, next=PEOPLE_SORTS.next(found, page))


async def show_new(visit: Visit) -> Response:
    """Show the form that invites a member."""
    return _form(visit)


def _form(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    return visit.render(
        "console/new_account.html",
        **fields.answered(given, error),
        heading="Invite somebody",
        lead="They set their own password through a link that works once.",
        usual=VendorRole.DEVELOPER.value,
        button="Invite",
        back=address("developer.team"),
        roles=[(each.value, words.role(each.value).capitalize(), note) for each, note in ROLES],
    )


async def invite(visit: Visit, form: Form) -> Response:
    """Invite a member; show the link once, or that a second person must agree."""

    def verb(ctx: Context) -> Opened | AskedTwo:
        texts = [form.one(each).strip() for each in ("username", "name")]
        order = NewMember(texts[0], texts[1], form.one("role"), form.one("mail").strip())
        return membership.invite(ctx, frame.own_vendor(ctx), order, visit.ports.by_mail)

    try:
        found = await visit.write(verb)
    except Invalid as error:
        return _form(visit, form, error)
    return opened(visit, found)


async def show(visit: Visit) -> Response:
    """Show one member."""

    def look(ctx: Context) -> dict[str, Any]:
        person = identity.view_person(ctx, PersonId(visit.param()))
        return {
            "person": person,
            "role": words.role(person.role),
            "own": person.id == visit.visitor.person.id,
        }

    return visit.render("console/developer/member.html", **await visit.read(look))


async def act(visit: Visit, form: Form) -> Response:
    """Issue a new link for a member, or remove them."""
    person = PersonId(visit.param())
    match form.one("act"):
        case "again":
            found = await visit.write(
                lambda ctx: membership.invite_again(ctx, frame.own_vendor(ctx), person, visit.ports.by_mail)
            )
            return opened(visit, found)
        case "remove":
            fields.require_tick(form, "Tick the box to confirm that they should be removed for good.")
            await visit.write(lambda ctx: membership.remove(ctx, frame.own_vendor(ctx), person))
            return to(address("developer.team"))
        case _:
            raise fields.no_such_act()
