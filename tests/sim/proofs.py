"""A vendor in good order: every contact and a domain proved, as the round trips end, without a mail server and a web host."""

from typing import Any

from hilum.apps.contacts import domains
from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import ContactKind, NewContact
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Certification, CertifyOrder
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import VendorId


def prove(ctx: Context, vendor: str, **addresses: str) -> None:
    """Prove what a vendor has not proved: open the link of each contact's mail, and find the file of a domain.

    ``addresses``: of contacts by kind, for a vendor that has none of it.
    """
    system, id_ = ctx.as_actor(SYSTEM), VendorId(vendor)
    # Addresses of its own, since a mailbox gets few mails a day.
    host = f"{vendor.replace('_', '-')}.example"
    lapsed = {each.kind.value: each.address for each in contacts.list_contacts(system, id_)}
    for each in contacts.unproved(system, id_):
        if each == "domain":
            held = domains.list_domains(system, id_) or [domains.add_domain(system, id_, host)]
            domains.end_check(system, held[0], "")
        else:
            address = lapsed.get(each) or addresses.get(each, f"{each}@{host}")
            prove_contact(system, NewContact(id_, ContactKind(each), address))


def prove_contact(ctx: Context, order: NewContact) -> None:
    """Add a contact, unless the vendor has it, and open the link of its mail."""
    links: list[str] = []

    def link_url(secret: str) -> str:
        links.append(secret)
        return f"https://hilum.example/contacts/{secret}"

    held = contacts.list_contacts(ctx, order.vendor)
    same = [each for each in held if (each.kind, each.address) == (order.kind, order.address)]
    if same:
        contacts.send_link(ctx, same[0].id, link_url=link_url)
    else:
        contacts.add_contact(ctx, order, link_url=link_url)
    contacts.confirm(ctx, links[0])


def all_proved(_: Context, __: VendorId) -> tuple[str, ...]:
    """Return nothing that is not proved: in worlds that are not about vendors, and count the mails to them."""
    return ()


def certify(ctx: Context, order: CertifyOrder, **more: Any) -> Certification:
    """Certify a version of a vendor in good order."""
    version = registry.get_version(ctx, order.version)
    prove(ctx, registry.get_app(ctx, version.app).vendor)
    return registry.certify(ctx, order, unproved=contacts.unproved, **more)
