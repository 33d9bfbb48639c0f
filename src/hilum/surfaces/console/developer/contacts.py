"""How a vendor is reached, and which domains are its own: contacts with their proofs, and what proves domains."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.contacts import policy
from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import Contact, ContactKind, ContactState, NewContact
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame

_STATES = {
    ContactState.WAITING: ("not proved", "warn"),
    ContactState.PROVED: ("proved", "good"),
    ContactState.LAPSED: ("proof over", "bad"),
    ContactState.DECLINED: ("declined", "bad"),
    ContactState.REMOVED: ("removed", "plain"),
}
_DOMAINS = {
    contacts.DomainState.WAITING: ("not proved", "warn"),
    contacts.DomainState.PROVED: ("proved", "good"),
    contacts.DomainState.LAPSED: ("proof over", "bad"),
}
KINDS = {
    ContactKind.OWNER: ("Owner", "Who answers for the vendor"),
    ContactKind.SUPPORT: ("Support", "Whom hospitals ask"),
    ContactKind.SECURITY: ("Security", "Whom we reach when something is wrong"),
}
_FAULTS = {
    "proof_not_found": "There is no such file there.",
    "proof_differs": "The file does not contain the line.",
    "record_differs": "The TXT record has another line, and the file does not have the right one either.",
}


async def show(visit: Visit) -> Response:
    """Show the vendor's contacts and domains with their proofs."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(partial(_shown, visit=visit))
    return visit.render(
        "console/developer/contacts.html",
        **fields.answered(given, error),
        **facts,
    )


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    vendor = frame.own_vendor(ctx)
    found = [
        each
        for each in contacts.list_contacts(ctx, vendor, PageQuery(limit=PAGE_BOUND))
        if each.removed_at is None
    ]
    owns, checks = frame.may(visit, VendorRight.PROFILE), frame.may(visit, VendorRight.APPS)
    return {
        "contacts": [
            (each, KINDS[each.kind][0], *_STATES[policy.state_of(each, ctx.now)], _manages(ctx, each))
            for each in sorted(found, key=lambda each: (list(ContactKind).index(each.kind), each.address))
        ],
        "missing": contacts.unproved(ctx, vendor),
        "domains": [
            (
                each,
                *_DOMAINS[contacts.domain_state(each, ctx.now)],
                contacts.proof_url(each.name),
                contacts.proof_line(each),
                contacts.record_name(each.name),
                _FAULTS.get(each.fault, "The file could not be fetched.") if each.fault else "",
            )
            for each in contacts.list_domains(ctx, vendor, PageQuery(limit=PAGE_BOUND))
        ],
        "kinds": [
            (kind.value, f"{title}: {note.lower()}")
            for kind, (title, note) in KINDS.items()
            if policy.may_manage(ctx.actor, vendor, kind)
        ],
        "owns": owns,
        "checks": owns or checks,
    }


def _manages(ctx: Context, contact: Contact) -> bool:
    return policy.may_manage(ctx.actor, contact.vendor, contact.kind)


async def act(visit: Visit, form: Form) -> Response:
    """Add or remove a contact or a domain, send a link, or look at a domain's file now."""
    try:
        await _act(visit, form)
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address("developer.contacts"))


async def _act(visit: Visit, form: Form) -> None:
    link_url, id_ = visit.kit.urls.contact, form.one("id")
    match form.one("act"):
        case "add":
            await visit.write(partial(_add, form=form, visit=visit))
        case "send":
            await visit.write(partial(contacts.send_link, contact_id=id_, link_url=link_url))
        case "remove":
            await visit.write(partial(contacts.remove_contact, contact_id=id_))
        case "domain":
            await visit.write(
                lambda ctx: contacts.add_domain(ctx, frame.own_vendor(ctx), form.one("name").strip())
            )
        case "check":
            # The session is judged here; the file is fetched with no transaction open.
            vendor = await visit.write(frame.own_vendor)
            await visit.ports.check_domain(vendor, id_, visit.visitor.actor, visit.trace)
        case "drop":
            await visit.write(lambda ctx: contacts.remove_domain(ctx, frame.own_vendor(ctx), id_))
        case _:
            raise fields.no_such_act()


def _add(ctx: Context, form: Form, visit: Visit) -> Contact:
    try:
        kind = ContactKind(form.one("kind"))
    except ValueError as error:
        raise Invalid("contact_invalid", "Choose a kind.", fields={"kind": "not_an_option"}) from error
    order = NewContact(frame.own_vendor(ctx), kind, form.one("address").strip())
    return contacts.add_contact(ctx, order, link_url=visit.kit.urls.contact)
