"""Accounts that are linked with an identity of the hospital's provider: who comes in as whom, linking one by two people, and unlinking (ADR 64)."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.names.models import Kind
from hilum.authorization.tokens import service as tokens
from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.federation import service as federation
from hilum.identity.federation.models import LinkedPerson
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.fields import require_tick
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Listed
from hilum.surfaces.console.tenant.apps import own

LIST = List(
    columns=(
        Column("Person"),
        Column("Subject there"),
        Column("Provider"),
        Column("Linked", number=True),
        Column("Last sign-in", number=True),
    ),
    one="linked account",
    many="linked accounts",
    empty=Empty(
        "Nobody is linked",
        "An account is linked with a subject of your provider by two of you, or recognised by a claim if you trust one.",
        "/tenant/sign-in/links/new",
        "Link an account",
    ),
)


async def show_list(visit: Visit) -> Response:
    """List the accounts that are linked."""

    def look(ctx: Context, asked: Asked) -> Listed:
        found = federation.list_links(ctx, own(ctx).id, PageQuery(asked.after, ROWS))
        known, providers = fields.names(ctx, [each.person for each in found]), _providers(ctx)
        rows = [
            (
                Cell(known.get(each.person, "somebody who has left"), address("tenant.link", each.id)),
                Cell(each.subject, kind="code"),
                Cell(providers.get(each.issuer, each.issuer)),
                Cell("", at=each.linked_at),
                Cell("", at=each.seen_at) if each.seen_at else Cell("not yet"),
            )
            for each in found
        ]
        return Listed(rows, next=found[-1].id if len(found) == ROWS else "")

    lead = "A person is the provider's subject, never a name or an address."
    action = ("Link an account", address("tenant.link_new"))
    return await visit.show_list(LIST, look, lead=lead, action=action)


def _providers(ctx: Context) -> dict[str, str]:
    """Return the names of the hospital's providers by issuer."""
    return {each.settings.issuer: each.settings.name for each in federation.list_providers(ctx, own(ctx).id)}


async def show_new(visit: Visit) -> Response:
    """Show the form that links an account; the address may name it."""
    person = visit.query().one("person")[:64]
    return await _form(visit, Form({"person": (person,)}) if person else fields.NO_FORM)


async def _form(visit: Visit, given: Form, error: fields.Refused | None = None) -> Response:
    def look(ctx: Context) -> list[tuple[str, str]]:
        return [(each.id, each.settings.name) for each in federation.list_providers(ctx, own(ctx).id)]

    return visit.render(
        "console/tenant/link_new.html",
        **fields.answered(given, error),
        providers=await visit.read(look),
    )


async def ask(visit: Visit, form: Form) -> Response:
    """Ask a colleague to link an account with a subject of a provider."""

    def verb(ctx: Context) -> LinkedPerson | AskedTwo:
        person = fields.named(ctx, Kind.PERSON, form.one("person"), "person")
        return federation.link(ctx, form.one("provider"), form.one("subject").strip(), PersonId(person))

    try:
        done = await visit.write(verb)
    except (Invalid, Conflict, NotPermitted) as error:
        return await _form(visit, form, error)
    return to_approval(visit, done) if isinstance(done, AskedTwo) else to(address("tenant.links"))


async def show(visit: Visit) -> Response:
    """Show one link, and what its removal ends."""
    return await _page(visit)


async def _page(visit: Visit, error: fields.Refused | None = None) -> Response:
    def look(ctx: Context) -> dict[str, Any]:
        found = federation.view_link(ctx, visit.param())
        known = fields.names(ctx, [found.person, found.linked_by])
        return {
            "found": found,
            "person": known.get(found.person, "somebody who has left"),
            "person_page": address("tenant.person", found.person),
            "provider": _providers(ctx).get(found.issuer, found.issuer),
            "linked_by": fields.who(known, found.linked_by, "a colleague"),
        }

    return visit.render("console/tenant/link.html", **fields.answered(error=error), **await visit.read(look))


async def remove(visit: Visit, form: Form) -> Response:
    """Unlink an account; its sessions, API tokens and apps' access end."""
    try:
        require_tick(form, "Tick the box to confirm that the account should be unlinked.")
        await visit.write(partial(federation.unlink, link_id=visit.param(), end_grants=tokens.revoke_person))
    except (Invalid, NotPermitted) as error:
        return await _page(visit, error)
    return to(address("tenant.links"))
