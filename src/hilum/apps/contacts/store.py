"""Tables of contacts and domains, and of how many mails and checks a mailbox or vendor caused."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    String,
    Table,
    UniqueConstraint,
    or_,
    select,
)

from hilum.apps.contacts.domain_models import DOMAINS_BOUND, Domain
from hilum.apps.contacts.models import CONTACTS_BOUND, DUE_BATCH, Contact
from hilum.foundation.infra import budgets as budgets_of
from hilum.foundation.infra.budgets import budget_table
from hilum.foundation.infra.db import Instant, in_batches, metadata
from hilum.foundation.infra.rows import Rows, given
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.kernel.pages import PageQuery

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


CONTACTS = Rows(contacts, Contact, "contact")
DOMAINS = Rows(domains, Domain, "domain")


def has_declined(tx: Connection, vendor: VendorId, mailbox: str) -> bool:
    """Check whether a mailbox has declined a vendor, as whatever kind of contact."""
    return CONTACTS.any(tx, contacts.c.declined_at.is_not(None), vendor=vendor, mailbox=mailbox)


def list_of_mailbox(tx: Connection, vendor: VendorId, mailbox: str) -> list[Contact]:
    """List and lock a vendor's contacts at one mailbox, of every kind, without those that were removed."""
    query = CONTACTS.select(vendor=vendor, mailbox=mailbox, removed_at=None).order_by(contacts.c.id)
    return CONTACTS.read(tx, query.with_for_update())


def list_contacts(tx: Connection, vendor: str, page: PageQuery) -> list[Contact]:
    """List contacts by id, of one vendor or (empty) of all, without those that were removed."""
    return CONTACTS.page(tx, page, removed_at=None, **given(vendor=vendor or None))


def all_of(tx: Connection, vendor: VendorId) -> list[Contact]:
    """List a vendor's contacts that were not removed; there are at most CONTACTS_BOUND."""
    query = CONTACTS.select(vendor=vendor, removed_at=None)
    return CONTACTS.read(tx, query.limit(CONTACTS_BOUND + 1))


def proving(tx: Connection, vendors: Collection[VendorId], now: datetime) -> list[Contact]:
    """Read the contacts of some vendors whose proof has not ended."""
    in_force = contacts.c.proof_ends_at > now
    return CONTACTS.among(tx, "vendor", vendors, in_force, removed_at=None, declined_at=None)


def use_link(tx: Connection, digest: str, now: datetime) -> Contact | None:
    """Use a link up in one statement; None if it has been used, replaced or ended. Of two uses at one moment one succeeds."""
    usable = {"link_digest": digest, "removed_at": None, "declined_at": None}
    return CONTACTS.step(tx, {"link_digest": ""}, contacts.c.link_expires_at > now, **usable)


def list_ended(tx: Connection, now: datetime) -> list[Contact]:
    """List and lock contacts whose proof has ended and whose lapse is not recorded yet."""
    return _due(tx, CONTACTS.where(contacts.c.proof_ends_at <= now, lapsed_at=None, removed_at=None))


def list_ending(tx: Connection, now: datetime, before: datetime) -> list[Contact]:
    """List and lock contacts whose proof ends before a time and who were not reminded of that."""
    ending = (
        contacts.c.proof_ends_at > now,
        contacts.c.proof_ends_at <= before,
        or_(contacts.c.reminded_for.is_(None), contacts.c.reminded_for != contacts.c.proof_ends_at),
    )
    return _due(tx, CONTACTS.where(*ending, lapsed_at=None, removed_at=None, declined_at=None))


def _due(tx: Connection, due: Iterable[Any]) -> list[Contact]:
    query = CONTACTS.select(*due).order_by(contacts.c.proof_ends_at).limit(DUE_BATCH)
    return CONTACTS.read(tx, query.with_for_update(skip_locked=True))


def spend(tx: Connection, key: str, bound: int, now: datetime, window_start: datetime) -> bool:
    """Count one mail or check against a budget; False if ``bound`` were counted in its window."""
    return budgets_of.spend(tx, budgets, key, bound, now=now, window_start=window_start)


def delete_budgets(tx: Connection, before: datetime) -> None:
    budgets_of.delete_old(tx, budgets, before)


def domains_of(tx: Connection, vendor: VendorId) -> list[Domain]:
    """List all of a vendor's domains; there are at most DOMAINS_BOUND."""
    return DOMAINS.read(tx, DOMAINS.select(vendor=vendor).limit(DOMAINS_BOUND + 1))


def with_proved_domain(tx: Connection, vendors: Collection[VendorId], now: datetime) -> set[str]:
    """Return those of some vendors that have a domain whose proof has not ended."""
    found: set[str] = set()
    for batch in in_batches(vendors):
        proved = domains.c.vendor.in_(batch), domains.c.proof_ends_at > now
        found |= set(tx.execute(select(domains.c.vendor).where(*proved).distinct()).scalars())
    return found


def list_renewable(tx: Connection, now: datetime, limit: int) -> list[Domain]:
    """List and lock domains whose proof is in force and due to be renewed."""
    due = (domains.c.next_check_at <= now, domains.c.proof_ends_at > now)
    return _due_domains(tx, DOMAINS.where(*due, lapsed_at=None), domains.c.next_check_at, limit)


def list_ended_domains(tx: Connection, now: datetime) -> list[Domain]:
    """List and lock domains whose proof has ended and whose lapse is not recorded yet."""
    ended = DOMAINS.where(domains.c.proof_ends_at <= now, lapsed_at=None)
    return _due_domains(tx, ended, domains.c.proof_ends_at, DUE_BATCH)


def _due_domains(tx: Connection, due: Iterable[Any], order: Column[Any], limit: int) -> list[Domain]:
    query = DOMAINS.select(*due).order_by(order).limit(limit)
    return DOMAINS.read(tx, query.with_for_update(skip_locked=True))


def end_links(tx: Connection) -> int:
    """End every link; return how many there were."""
    return CONTACTS.change(tx, {"link_digest": ""}, contacts.c.link_digest != "")
