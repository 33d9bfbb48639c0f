"""API routes of vendors' contacts."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request

from hilum.apps.contacts import domains, policy, service
from hilum.apps.contacts.domain_models import ListedContact
from hilum.apps.contacts.models import Contact, ContactKind, ContactState, NewContact
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Strict,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit

KEEPERS = audience("platform_admin", "vendor_owner", "vendor_security")
READERS = audience("staff", "member")


class ContactAsked(Strict):
    vendor: Id
    kind: ContactKind
    address: Line


class ContactsQuery(Paging):
    vendor: Id | None = None


class ContactShown(BaseModel):
    """``proof_ends_at``: until when the proof counts. ``link_expires_at``: until when the newest link works, if it was not used.

    ``domain_proved``: whether the address is at a domain that the vendor has proved.
    """

    id: str
    vendor: str
    kind: ContactKind
    address: str
    state: ContactState
    added_at: datetime
    proved_at: datetime | None
    proof_ends_at: datetime | None
    link_expires_at: datetime | None
    domain_proved: bool

    @classmethod
    def of(cls, seen: ListedContact, now: datetime) -> "ContactShown":
        contact = seen.contact
        works = policy.link_works(contact, now)
        return cls(
            id=contact.id,
            vendor=contact.vendor,
            kind=contact.kind,
            address=contact.address,
            state=policy.state_of(contact, now),
            added_at=contact.added_at,
            proved_at=contact.proved_at,
            proof_ends_at=contact.proof_ends_at,
            link_expires_at=contact.link_expires_at if works else None,
            domain_proved=seen.domain_proved,
        )


def api(kit: Kit) -> APIRouter:
    """Build the API routes of contacts."""
    router = api_router(kit, "contacts")

    def shown(seen: ListedContact) -> ContactShown:
        return ContactShown.of(seen, kit.clock.now())

    async def changed(request: Request, verb: Callable[[Context], Contact]) -> ContactShown:
        return shown(await run_write(kit, request, lambda ctx: domains.seen(ctx, [verb(ctx)])[0]))

    @router.post("/contacts", status_code=201, response_model=ContactShown, openapi_extra=KEEPERS)
    async def add_contact(request: Request, body: ContactAsked) -> object:
        """Add a contact of a vendor, and send it a one-time link by which its owner proves the address."""
        order = NewContact(VendorId(body.vendor), body.kind, body.address)
        verb = partial(service.add_contact, order=order, link_url=kit.urls.contact)
        return await changed(request, verb)

    @router.get("/contacts", response_model=Page[ContactShown], openapi_extra=READERS)
    async def list_contacts(request: Request, query: Annotated[ContactsQuery, Query()]) -> object:
        """List contacts with the state of their proofs, of one vendor or of all; to members those of their vendor."""
        verb = partial(service.list_contacts, vendor=query.vendor or "", page=query.page)
        found = await run_read(kit, request, lambda ctx: domains.seen(ctx, verb(ctx)))
        return page_of(found, shown, query, key=lambda each: each.contact.id)

    @router.post("/contacts/{contact}/link", response_model=ContactShown, openapi_extra=KEEPERS)
    async def send_link(request: Request, contact: Id) -> object:
        """Send a contact a new link; the one before stops working."""
        verb = partial(service.send_link, contact_id=contact, link_url=kit.urls.contact)
        return await changed(request, verb)

    @router.delete("/contacts/{contact}", response_model=ContactShown, openapi_extra=KEEPERS)
    async def remove_contact(request: Request, contact: Id) -> object:
        """Remove a contact; its link and its proof end."""
        return await changed(request, partial(service.remove_contact, contact_id=contact))

    return router
