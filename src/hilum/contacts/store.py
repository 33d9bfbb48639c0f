"""Tables of contacts and domains, and of how many mails and checks a mailbox or vendor caused."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Row,
    String,
    Table,
    UniqueConstraint,
    or_,
    select,
)

from hilum.contacts.domain_models import DOMAINS_BOUND, Domain
from hilum.contacts.models import CONTACTS_BOUND, DUE_BATCH, Contact, ContactKind
from hilum.infra import budgets as budgets_of
from hilum.infra.budgets import budget_table
from hilum.infra.db import Instant, get_row, in_batches, insert_or_ignore, metadata
from hilum.infra.sorting import by_key
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import VendorId
from hilum.kernel.pages import PageQuery

contacts = Table(
    "contacts_contact",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("address", String(254), nullable=False),
    Column("mailbox", String(64), nullable=False),
    Column("added_by", String(120), nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("proved_at", Instant),
    Column("proof_ends_at", Instant),
    Column("lapsed_at", Instant),
    Column("declined_at", Instant),
    Column("removed_at", Instant),
    Column("link_digest", String(64), nullable=False),
    Column("link_issued_at", Instant),
    Column("link_expires_at", Instant),
    Column("reminded_for", Instant),
    UniqueConstraint("vendor", "kind", "address"),
    Index("ix_contacts_contact_vendor", "vendor", "id"),
    Index("ix_contacts_contact_link", "link_digest"),
    Index("ix_contacts_contact_ends", "lapsed_at", "proof_ends_at"),
)

domains = Table(
    "contacts_domain",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("name", String(253), nullable=False),
    Column("token", String(64), nullable=False),
    Column("added_by", String(120), nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("proved_at", Instant),
    Column("proof_ends_at", Instant),
    Column("lapsed_at", Instant),
    Column("checked_at", Instant),
    Column("fault", String(64), nullable=False),
    Column("next_check_at", Instant),
    Column("warned_for", Instant),
    UniqueConstraint("vendor", "name"),
    Index("ix_contacts_domain_vendor", "vendor", "id"),
    Index("ix_contacts_domain_renewal", "next_check_at"),
    Index("ix_contacts_domain_ends", "lapsed_at", "proof_ends_at"),
)

budgets = budget_table("contacts_budget")


def _contact(row: Row[Any]) -> Contact:
    found = dict(row._mapping)
    return Contact(**found | {"vendor": VendorId(row.vendor), "kind": ContactKind(row.kind)})


def _row(contact: Contact) -> dict[str, Any]:
    return asdict(contact) | {"kind": contact.kind.value}


def add_contact(tx: Connection, contact: Contact) -> bool:
    """Add a contact; return False if the vendor has one of this kind and address."""
    return tx.execute(insert_or_ignore(tx, contacts).values(_row(contact))).rowcount == 1


def get_contact(tx: Connection, contact: str) -> Contact:
    """Get a contact, locked until the transaction ends. Raises NotFound."""
    return _contact(get_row(tx, contacts, contact, "contact", lock=True))


def no_such_contact() -> NotFound:
    return NotFound("contact_not_found", "There is no such contact.")


def find_same(tx: Connection, vendor: VendorId, kind: ContactKind, address: str) -> Contact | None:
    same = (contacts.c.vendor == vendor, contacts.c.kind == kind.value, contacts.c.address == address)
    row = tx.execute(select(contacts).where(*same).with_for_update()).first()
    return None if row is None else _contact(row)


def has_declined(tx: Connection, vendor: VendorId, mailbox: str) -> bool:
    """Check whether a mailbox has declined a vendor, as whatever kind of contact."""
    declined = (
        contacts.c.vendor == vendor,
        contacts.c.mailbox == mailbox,
        contacts.c.declined_at.is_not(None),
    )
    return tx.execute(select(contacts.c.id).where(*declined).limit(1)).first() is not None


def list_of_mailbox(tx: Connection, vendor: VendorId, mailbox: str) -> list[Contact]:
    """List and lock a vendor's contacts at one mailbox, of every kind, without those that were removed."""
    same = (contacts.c.vendor == vendor, contacts.c.mailbox == mailbox, contacts.c.removed_at.is_(None))
    query = select(contacts).where(*same).order_by(contacts.c.id)
    return [_contact(row) for row in tx.execute(query.with_for_update())]


def find_by_link(tx: Connection, digest: str) -> Contact | None:
    row = tx.execute(select(contacts).where(contacts.c.link_digest == digest)).first()
    return None if row is None else _contact(row)


def list_contacts(tx: Connection, vendor: str, page: PageQuery) -> list[Contact]:
    """List contacts by id, of one vendor or (empty) of all, without those that were removed."""
    query = select(contacts).where(contacts.c.removed_at.is_(None))
    query = query.where(contacts.c.vendor == vendor) if vendor else query
    return [_contact(row) for row in tx.execute(by_key(query, contacts.c.id, page))]


def all_of(tx: Connection, vendor: VendorId) -> list[Contact]:
    """List a vendor's contacts that were not removed; there are at most CONTACTS_BOUND."""
    query = select(contacts).where(contacts.c.vendor == vendor, contacts.c.removed_at.is_(None))
    return [_contact(row) for row in tx.execute(query.limit(CONTACTS_BOUND + 1))]


def proving(tx: Connection, vendors: Collection[VendorId], now: datetime) -> list[Contact]:
    """Read the contacts of some vendors whose proof has not ended."""
    proved = (
        contacts.c.removed_at.is_(None),
        contacts.c.declined_at.is_(None),
        contacts.c.proof_ends_at > now,
    )
    rows = [
        row
        for batch in in_batches(vendors)
        for row in tx.execute(select(contacts).where(contacts.c.vendor.in_(batch), *proved))
    ]
    return [_contact(row) for row in rows]


def save_contact(tx: Connection, contact: Contact) -> None:
    tx.execute(contacts.update().where(contacts.c.id == contact.id).values(_row(contact)))


def use_link(tx: Connection, digest: str, now: datetime) -> Contact | None:
    """Use a link up in one statement; None if it has been used, replaced or ended. Of two uses at one moment one succeeds."""
    usable = (
        contacts.c.link_digest == digest,
        contacts.c.link_expires_at > now,
        contacts.c.removed_at.is_(None),
        contacts.c.declined_at.is_(None),
    )
    row = tx.execute(contacts.update().where(*usable).values(link_digest="").returning(contacts)).first()
    return None if row is None else _contact(row)


def list_ended(tx: Connection, now: datetime) -> list[Contact]:
    """List and lock contacts whose proof has ended and whose lapse is not recorded yet."""
    ended = (contacts.c.lapsed_at.is_(None), contacts.c.proof_ends_at <= now, contacts.c.removed_at.is_(None))
    return _due(tx, ended)


def list_ending(tx: Connection, now: datetime, before: datetime) -> list[Contact]:
    """List and lock contacts whose proof ends before a time and who were not reminded of that."""
    ending = (
        contacts.c.lapsed_at.is_(None),
        contacts.c.proof_ends_at > now,
        contacts.c.proof_ends_at <= before,
        contacts.c.removed_at.is_(None),
        contacts.c.declined_at.is_(None),
        or_(contacts.c.reminded_for.is_(None), contacts.c.reminded_for != contacts.c.proof_ends_at),
    )
    return _due(tx, ending)


def _due(tx: Connection, due: Iterable[Any]) -> list[Contact]:
    query = select(contacts).where(*due).order_by(contacts.c.proof_ends_at).limit(DUE_BATCH)
    return [_contact(row) for row in tx.execute(query.with_for_update(skip_locked=True))]


def spend(tx: Connection, key: str, bound: int, now: datetime, window_start: datetime) -> bool:
    """Count one mail or check against a budget; False if ``bound`` were counted in its window."""
    return budgets_of.spend(tx, budgets, key, bound, now=now, window_start=window_start)


def delete_budgets(tx: Connection, before: datetime) -> None:
    budgets_of.delete_old(tx, budgets, before)


def _domain(row: Row[Any]) -> Domain:
    return Domain(**dict(row._mapping) | {"vendor": VendorId(row.vendor)})


def add_domain(tx: Connection, domain: Domain) -> bool:
    """Add a domain; return False if the vendor has it."""
    return tx.execute(insert_or_ignore(tx, domains).values(asdict(domain))).rowcount == 1


def get_domain(tx: Connection, domain: str) -> Domain:
    """Get a domain, locked until the transaction ends. Raises NotFound."""
    return _domain(get_row(tx, domains, domain, "domain", lock=True))


def no_such_domain() -> NotFound:
    return NotFound("domain_not_found", "There is no such domain.")


def list_domains(tx: Connection, vendor: VendorId, page: PageQuery) -> list[Domain]:
    """List a vendor's domains by id."""
    query = select(domains).where(domains.c.vendor == vendor)
    return [_domain(row) for row in tx.execute(by_key(query, domains.c.id, page))]


def domains_of(tx: Connection, vendor: VendorId) -> list[Domain]:
    """List all of a vendor's domains; there are at most DOMAINS_BOUND."""
    query = select(domains).where(domains.c.vendor == vendor).limit(DOMAINS_BOUND + 1)
    return [_domain(row) for row in tx.execute(query)]


def with_proved_domain(tx: Connection, vendors: Collection[VendorId], now: datetime) -> set[str]:
    """Return those of some vendors that have a domain whose proof has not ended."""
    found: set[str] = set()
    for batch in in_batches(vendors):
        proved = domains.c.vendor.in_(batch), domains.c.proof_ends_at > now
        found |= set(tx.execute(select(domains.c.vendor).where(*proved).distinct()).scalars())
    return found


def save_domain(tx: Connection, domain: Domain) -> None:
    tx.execute(domains.update().where(domains.c.id == domain.id).values(asdict(domain)))


def delete_domain(tx: Connection, domain: str) -> None:
    tx.execute(domains.delete().where(domains.c.id == domain))


def list_renewable(tx: Connection, now: datetime, limit: int) -> list[Domain]:
    """List and lock domains whose proof is in force and due to be renewed."""
    due = (domains.c.next_check_at <= now, domains.c.proof_ends_at > now, domains.c.lapsed_at.is_(None))
    return _due_domains(tx, due, domains.c.next_check_at, limit)


def list_ended_domains(tx: Connection, now: datetime) -> list[Domain]:
    """List and lock domains whose proof has ended and whose lapse is not recorded yet."""
    ended = (domains.c.lapsed_at.is_(None), domains.c.proof_ends_at <= now)
    return _due_domains(tx, ended, domains.c.proof_ends_at, DUE_BATCH)


def _due_domains(tx: Connection, due: Iterable[Any], order: Column[Any], limit: int) -> list[Domain]:
    query = select(domains).where(*due).order_by(order).limit(limit)
    return [_domain(row) for row in tx.execute(query.with_for_update(skip_locked=True))]


def end_links(tx: Connection) -> int:
    """End every link; return how many there were."""
    return tx.execute(contacts.update().where(contacts.c.link_digest != "").values(link_digest="")).rowcount
