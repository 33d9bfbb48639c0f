"""Add contacts, send them links, and record what their owners answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeVar

from hilum.apps.contacts import policy, store
from hilum.apps.contacts.domain_models import DomainState
from hilum.apps.contacts.domain_policy import proof_line, proof_url, record_name
from hilum.apps.contacts.domain_policy import state_of as domain_state
from hilum.apps.contacts.domains import add_domain, list_domains, proved_contacts, remove_domain
from hilum.apps.contacts.models import (
    CONTACTS_BOUND,
    LINK_LIFE,
    LINK_PREFIX,
    MAILS_OF_ONE,
    MAILS_TO_ONE,
    REMIND_BEFORE,
    WINDOW,
    Contact,
    ContactKind,
    ContactState,
    NewContact,
    Visitor,
)
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.identity.people.models import VendorRole
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices import policy as notices_policy
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent

__all__ = [
    "DomainState",
    "add_domain",
    "domain_state",
    "list_domains",
    "proof_line",
    "proof_url",
    "proved_contacts",
    "record_name",
    "remove_domain",
]
NOTHING_STATED: Mapping[ContactKind, str] = MappingProxyType({})
K = TypeVar("K")
LinkUrl = Callable[[str], str]
"""Returns the URL of a link's page."""


def add_contact(ctx: Context, order: NewContact, *, link_url: LinkUrl) -> Contact:
    """Add a contact of a vendor and send it a link. Raises NotFound (vendor), NotPermitted (right, too many mails), Invalid, Conflict."""
    event = Event("contacts.contact.add", facts={"vendor": order.vendor, "kind": order.kind.value})
    if ctx.actor.vendor is not None and ctx.actor.vendor != order.vendor:
        raise NotFound("vendor_not_found", "There is no such vendor.")
    if not policy.may_manage(ctx.actor, order.vendor, order.kind):
        raise audit.refusal(ctx, event)
    registry.get_vendor(ctx, order.vendor)
    address = notices_policy.parse_address(order.address)
    if not address:
        raise Invalid(
            "contact_invalid", "The contact is invalid; see fields.", fields={"address": "address_malformed"}
        )
    mailbox = notices_policy.mailbox_key(address)
    _require_wanted(ctx, order.vendor, mailbox, event)
    found = store.CONTACTS.find(ctx.tx, lock=True, vendor=order.vendor, kind=order.kind, address=address)
    if found is not None and found.removed_at is None:
        raise Conflict("contact_exists", "The vendor has this contact already.")
    if found is None and len(store.all_of(ctx.tx, order.vendor)) >= CONTACTS_BOUND:
        raise Conflict("contacts_full", f"A vendor has at most {CONTACTS_BOUND} contacts.")
    id_ = found.id if found else ctx.ids.new("con")
    added = Contact(id_, order.vendor, order.kind, address, mailbox, str(ctx.actor), ctx.now)
    # A refusal commits, so it comes before the contact is written.
    _count_mail(ctx, added)
    if found is None and not store.CONTACTS.add_new(ctx.tx, added):
        raise Conflict("contact_exists", "The vendor has this contact already.")
    audit.record(ctx, replace(event, facts=event.facts | {"contact": added.id}))
    return _send(ctx, added, MailKind.CONTACT_PROOF, link_url)


def send_link(ctx: Context, contact_id: str, *, link_url: LinkUrl) -> Contact:
    """Send a contact a new link; the one before stops working. Raises NotFound, NotPermitted (right, declined, too many mails), Conflict."""
    event = Event("contacts.link.send", facts={"contact": contact_id})
    contact = _managed(ctx, contact_id, event)
    if contact.removed_at is not None:
        raise Conflict("contact_removed", "This contact was removed. Add it again.")
    _require_wanted(ctx, contact.vendor, contact.mailbox, event)
    _count_mail(ctx, contact)
    return _send(ctx, contact, MailKind.CONTACT_PROOF, link_url)


def _managed(ctx: Context, contact_id: str, event: Event) -> Contact:
    """Get a contact for a change, locked. Raises NotFound, also for another vendor's, and NotPermitted."""
    contact = store.CONTACTS.get(ctx.tx, contact_id, lock=True)
    if ctx.actor.vendor is not None and ctx.actor.vendor != contact.vendor:
        raise store.CONTACTS.missing()
    if not policy.may_manage(ctx.actor, contact.vendor, contact.kind):
        raise audit.refusal(ctx, replace(event, facts=event.facts | {"vendor": contact.vendor}))
    return contact


def _require_wanted(ctx: Context, vendor: VendorId, mailbox: str, event: Event) -> None:
    if store.has_declined(ctx.tx, vendor, mailbox):
        detail = "The recipient of mail at this address declined to be a contact of this vendor. Use another address."
        raise audit.refusal(ctx, replace(event, reason="contact_declined"), detail)


def _count_mail(ctx: Context, contact: Contact) -> None:
    """Count one mail to a contact. Raises NotPermitted if its mailbox or vendor got as many as a day allows."""
    start = ctx.now - WINDOW
    if store.spend(ctx.tx, f"to/{contact.mailbox}", MAILS_TO_ONE, ctx.now, start) and store.spend(
        ctx.tx, f"of/{contact.vendor}", MAILS_OF_ONE, ctx.now, start
    ):
        return
    facts = {"vendor": contact.vendor, "kind": contact.kind.value}
    event = Event("contacts.link.send", reason="contact_mail_bound", facts=facts)
    detail = "This address, or this vendor's contacts together, reached the limit of mails for a day. Try again tomorrow."
    raise audit.refusal(ctx, event, detail)


def _send(ctx: Context, contact: Contact, template: MailKind, link_url: LinkUrl) -> Contact:
    """Issue a link and put its mail into the outbox; the caller has counted it where mails are limited."""
    secret, until = LINK_PREFIX + ctx.ids.secret(), ctx.now + LINK_LIFE
    # A new link replaces the one before: one way in at a time.
    issued = replace(
        contact, link_digest=policy.digest(secret), link_issued_at=ctx.now, link_expires_at=until
    )
    store.CONTACTS.save(ctx.tx, issued)
    facts = {
        "vendor": registry.get_vendor(ctx, contact.vendor).name,
        "contact": policy.WORDS[contact.kind],
        "address": contact.address,
        "link": link_url(secret),
        "until": until.isoformat(),
    }
    if template == MailKind.CONTACT_RENEWAL and contact.proof_ends_at is not None:
        facts["ends"] = contact.proof_ends_at.isoformat()
    cause = f"contacts/{contact.id}/{issued.link_digest}"
    notices.put_mail(ctx, Mail(template, contact.address, cause, facts, vendor=contact.vendor, until=until))
    audit.record(ctx, Event("contacts.link.send", facts={"contact": contact.id, "vendor": contact.vendor}))
    return issued


def remove_contact(ctx: Context, contact_id: str) -> Contact:
    """Remove a contact; its link and proof end. Raises NotFound, NotPermitted, Conflict (removed already)."""
    event = Event("contacts.contact.remove", facts={"contact": contact_id})
    contact = _managed(ctx, contact_id, event)
    if contact.removed_at is not None:
        raise Conflict("contact_removed", "This contact was removed already.")
    # The row stays: that an address declined must outlive the contact.
    removed = replace(
        contact, removed_at=ctx.now, proved_at=None, proof_ends_at=None, lapsed_at=None, link_digest=""
    )
    store.CONTACTS.save(ctx.tx, removed)
    audit.record(ctx, replace(event, facts=event.facts | {"vendor": contact.vendor}))
    return removed


def list_contacts(ctx: Context, vendor: str, page: PageQuery = FIRST_PAGE) -> list[Contact]:
    """List contacts by id, of one vendor or (empty) of all; a member's are those of their vendor. Raises NotFound, NotPermitted."""
    vendor = vendor or ctx.actor.vendor or ""
    if ctx.actor.vendor is not None and vendor != ctx.actor.vendor:
        raise NotFound("vendor_not_found", "There is no such vendor.")
    if not policy.may_read(ctx.actor, vendor):
        raise not_shown("contacts", Readers.VENDOR)
    return store.list_contacts(ctx.tx, vendor, page)


def proved_address(ctx: Context, vendor: VendorId) -> str:
    """Return a vendor's proved address: its owner's, else that for support or security; empty if none is proved now."""
    proved = [
        each for each in store.all_of(ctx.tx, vendor) if policy.state_of(each, ctx.now) is ContactState.PROVED
    ]
    order = list(ContactKind)
    first = min(proved, key=lambda each: (order.index(each.kind), each.id), default=None)
    return "" if first is None else first.address


def reached(ctx: Context, vendor: VendorId) -> list[str]:
    """Return where a vendor is mailed about what it must act on: its proved contacts; without any the accounts of its owners."""
    proved = [each.address for each in proved_contacts(ctx, vendor)]
    owners = [] if proved else identity.list_recipients(ctx, TenantId(vendor), {VendorRole.OWNER})
    return list(dict.fromkeys(proved or [address for _, address in owners]))


def bouncing(ctx: Context, vendor: VendorId) -> list[tuple[Contact, datetime]]:
    """Return the proved contacts of a vendor to which the last mail was refused for good, with when."""
    proved = proved_contacts(ctx, vendor)
    refused = notices.refused_last(ctx, {each.address for each in proved})
    return [(each, refused[each.address]) for each in proved if each.address in refused]


def missing_proofs(ctx: Context, vendor: VendorId) -> list[ContactKind]:
    """Return the kinds of contact of which a vendor has none that is proved now (C7)."""
    return policy.missing_proofs(store.all_of(ctx.tx, vendor), ctx.now)


def unproved(ctx: Context, vendor: VendorId, stated: Mapping[ContactKind, str] = NOTHING_STATED) -> list[str]:
    """Return what a vendor has not proved, or let lapse: kinds of contact, and ``domain`` if it has none that is proved (C6, C7).

    ``stated``: addresses that hospitals are given. A kind of contact counts as not proved, too, unless that very address is.
    """
    return unproved_of(ctx, {vendor: (vendor, stated)})[vendor]


def unproved_of(
    ctx: Context, of: Mapping[K, tuple[VendorId, Mapping[ContactKind, str]]]
) -> dict[K, list[str]]:
    """Return what ``unproved`` returns, and what is stated, for many vendors at once, in two reads."""
    vendors = sorted({vendor for vendor, _ in of.values()})
    proved: dict[VendorId, list[Contact]] = {}
    for each in store.proving(ctx.tx, vendors, ctx.now):
        proved.setdefault(each.vendor, []).append(each)
    at_home = store.with_proved_domain(ctx.tx, vendors, ctx.now)
    found = {}
    for key, (vendor, stated) in of.items():
        kinds = [kind.value for kind in policy.unproved_kinds(proved.get(vendor, ()), stated)]
        found[key] = kinds if vendor in at_home else [*kinds, "domain"]
    return found


# The page of a link.


def find_link(ctx: Context, secret: str) -> Visitor:
    """Find the contact that a link is for, without using it up. Raises NotFound if it cannot be used."""
    found = (
        store.CONTACTS.find(ctx.tx, link_digest=policy.digest(secret))
        if policy.looks_like_link(secret)
        else None
    )
    if found is None or not policy.link_works(found, ctx.now) or found.link_expires_at is None:
        raise _unusable()
    return Visitor(found, registry.get_vendor(ctx, found.vendor).name, found.link_expires_at)


def confirm(ctx: Context, secret: str) -> Contact:
    """Prove an address by its link, once. Raises NotFound if the link cannot be used."""
    contact = _use(ctx, secret)
    ends = policy.proof_end(ctx.now)
    proved = replace(contact, proved_at=ctx.now, proof_ends_at=ends, lapsed_at=None)
    store.CONTACTS.save(ctx.tx, proved)
    _record(ctx, "contacts.address.prove", proved)
    facts = _event_facts(proved) | {"until": ends.isoformat()}
    cause = f"proved/{proved.id}/{ends.isoformat()}"
    notices.put_event(ctx, VendorEvent(EventKind.CONTACT_PROVED, proved.vendor, cause, facts))
    return proved


def decline(ctx: Context, secret: str) -> Contact:
    """Record that the recipient of mail at an address is not a contact of the vendor: the address gets no more mail about it. Raises NotFound."""
    contact = _use(ctx, secret)
    # The page promises no more mail about the vendor, so the vendor's other contacts with this mailbox end too.
    for each in store.list_of_mailbox(ctx.tx, contact.vendor, contact.mailbox):
        _decline(ctx, each)
    return store.CONTACTS.get(ctx.tx, contact.id, lock=True)


def _decline(ctx: Context, contact: Contact) -> None:
    declined = replace(
        contact, declined_at=ctx.now, proved_at=None, proof_ends_at=None, lapsed_at=None, link_digest=""
    )
    store.CONTACTS.save(ctx.tx, declined)
    _record(ctx, "contacts.address.decline", declined)


def _use(ctx: Context, secret: str) -> Contact:
    found = store.use_link(ctx.tx, policy.digest(secret), ctx.now) if policy.looks_like_link(secret) else None
    if found is None:
        raise _unusable()
    return found


def _unusable() -> NotFound:
    return NotFound(
        "contact_link_unusable",
        "This link has been used, has expired or was replaced by a newer one.",
    )


def _record(ctx: Context, action: str, contact: Contact) -> None:
    facts = {"contact": contact.id, "vendor": contact.vendor, "kind": contact.kind.value}
    audit.record(ctx, Event(action, facts=facts))


def _event_facts(contact: Contact) -> dict[str, str]:
    return {"contact_id": contact.id, "contact": policy.WORDS[contact.kind], "vendor_id": contact.vendor}


# What is due.


def lapse_due(ctx: Context) -> int:
    """Record proofs that have ended, at most a batch; return how many. Call again until it returns 0."""
    store.delete_budgets(ctx.tx, ctx.now - WINDOW)
    ended = store.list_ended(ctx.tx, ctx.now)
    for contact in ended:
        assert contact.proof_ends_at is not None, "listed by it"
        store.CONTACTS.save(ctx.tx, replace(contact, lapsed_at=ctx.now))
        _record(ctx, "contacts.address.lapse", contact)
        since = contact.proof_ends_at.isoformat()
        facts = _event_facts(contact) | {"since": since}
        order = VendorEvent(EventKind.CONTACT_LAPSED, contact.vendor, f"lapsed/{contact.id}/{since}", facts)
        notices.put_event(ctx, order)
    return len(ended)


def remind_due(ctx: Context, *, link_url: LinkUrl) -> int:
    """Send a new link to contacts whose proof ends soon, once for each proof and at most a batch; return how many."""
    ending = store.list_ending(ctx.tx, ctx.now, ctx.now + REMIND_BEFORE)
    for contact in ending:
        # Not counted against a mailbox's budget: it gets one for each of its proofs, which would otherwise lapse without warning.
        _send(ctx, replace(contact, reminded_for=contact.proof_ends_at), MailKind.CONTACT_RENEWAL, link_url)
    return len(ending)


def end_links(ctx: Context) -> int:
    """End every link, after a restore; return how many there were."""
    return store.end_links(ctx.tx)
