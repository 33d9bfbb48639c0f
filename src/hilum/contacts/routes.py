"""API routes of vendors' contacts."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.requests import Request

from hilum.contacts import policy, service
from hilum.contacts.models import Contact, ContactKind, ContactState, NewContact
from hilum.kernel.ids import VendorId
from hilum.web.api import Id, Line, Page, Paging, Strict, api_router, audience, page_of, run_read, run_write
from hilum.web.kit import Kit

KEEPERS = audience("platform_admin", "vendor_owner", "vendor_security")
READERS = audience("staff", "member")


class ContactAsked(Strict):
    vendor: Id
    kind: ContactKind
    address: Line


class ContactsQuery(Paging):
    vendor: Id | None = None


class ContactShown(BaseModel):
    """``proof_ends_at``: until when the proof counts. ``link_expires_at``: until when the newest link works, if it was not used."""

    id: str
    vendor: str
    kind: ContactKind
    address: str
    state: ContactState
    added_at: datetime
    proved_at: datetime | None
    proof_ends_at: datetime | None
    link_expires_at: datetime | None

    @classmethod
    def of(cls, contact: Contact, now: datetime) -> "ContactShown":
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
        )


def api(kit: Kit) -> APIRouter:
    """Build the API routes of contacts."""
    router = api_router(kit, "contacts")

    def shown(contact: Contact) -> ContactShown:
        return ContactShown.of(contact, kit.clock.now())

    @router.post("/contacts", status_code=201, response_model=ContactShown, openapi_extra=KEEPERS)
    async def add_contact(request: Request, body: ContactAsked) -> object:
        """Add a contact of a vendor, and send it a one-time link by which its owner proves the address."""
        order = NewContact(VendorId(body.vendor), body.kind, body.address)
        verb = partial(service.add_contact, order=order, link_url=kit.urls.contact)
        return shown(await run_write(kit, request, verb))

    @router.get("/contacts", response_model=Page[ContactShown], openapi_extra=READERS)
    async def list_contacts(request: Request, query: Annotated[ContactsQuery, Query()]) -> object:
        """List contacts with the state of their proofs, of one vendor or of all; to members those of their vendor."""
        verb = partial(service.list_contacts, vendor=query.vendor or "", page=query.page)
        return page_of(await run_read(kit, request, verb), shown, query)

    @router.post("/contacts/{contact}/link", response_model=ContactShown, openapi_extra=KEEPERS)
    async def send_link(request: Request, contact: Id) -> object:
        """Send a contact a new link; the one before stops working."""
        verb = partial(service.send_link, contact_id=contact, link_url=kit.urls.contact)
        return shown(await run_write(kit, request, verb))

    @router.delete("/contacts/{contact}", response_model=ContactShown, openapi_extra=KEEPERS)
    async def remove_contact(request: Request, contact: Id) -> object:
        """Remove a contact; its link and its proof end."""
        return shown(await run_write(kit, request, partial(service.remove_contact, contact_id=contact)))

    return router
