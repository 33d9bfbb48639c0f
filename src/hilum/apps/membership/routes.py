"""The API's routes of a vendor's members."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.requests import Request

from hilum.apps.membership import service
from hilum.apps.membership.models import NewMember
from hilum.controls.approvals.models import Asked
from hilum.foundation.kernel.ids import PersonId, VendorId
from hilum.foundation.web.api import (
    Id,
    Line,
    Page,
    Shown,
    Sorted,
    Strict,
    Word,
    api_router,
    audience,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits, with_secret
from hilum.foundation.web.kit import Kit
from hilum.identity.enrolment.models import LinkMail, Opened
from hilum.identity.people.models import PEOPLE_SORTS

KEEPERS = audience("platform_admin", "vendor_owner")


class MemberAsked(Strict):
    """``role`` is one of a vendor's roles. There is no password: the member sets it through the link.

    With ``mail`` the link is mailed there, if this platform sends mail, and shown to nobody else. An account's address never changes.
    """

    username: Line
    name: Line
    role: Line
    mail: Annotated[Word, Field(max_length=254)] = ""


class MemberShown(Shown):
    id: str
    vendor: str
    username: str
    name: str
    role: str
    mail: str
    active: bool
    created_at: datetime | None


class InvitationShown(Shown):
    """A one-time link, shown only here. Its owner opens ``url`` and sets the password. ``url`` is null if the link was mailed to them."""

    url: str | None
    expires_at: datetime
    mailed: bool


class MemberInvited(MemberShown):
    """A member with the link for its owner."""

    enrolment: InvitationShown


class MembersQuery(Sorted):
    sort: Annotated[str, one_of(PEOPLE_SORTS)] = ""


def api(kit: Kit, by_mail: LinkMail) -> APIRouter:
    """Build the API routes of a vendor's members."""
    router = api_router(kit, "membership")

    def sent(found: Opened | Asked) -> Response:
        if isinstance(found, Asked):
            return waits(found)
        link = found.link
        url = kit.urls.enrol(link.tenant or "", link.secret) if link.secret else None
        invitation = InvitationShown(url=url, expires_at=link.expires_at, mailed=url is None)
        shown = MemberShown.model_validate(found.person).model_dump()
        return with_secret(MemberInvited(**shown, enrolment=invitation), 201)

    @router.get("/vendors/{vendor}/members", response_model=Page[MemberShown], openapi_extra=KEEPERS)
    async def list_members(request: Request, vendor: Id, query: Annotated[MembersQuery, Query()]) -> object:
        """List a vendor's members by username, former ones too."""
        verb = partial(service.list_members, vendor=VendorId(vendor), page=query.page)
        found = await run_read(kit, request, verb)
        return page_of(found, MemberShown.model_validate, query, key=PEOPLE_SORTS.cursor(query.sort))

    @router.post(
        "/vendors/{vendor}/members",
        status_code=201,
        response_model=MemberInvited,
        responses=WAITS,
        openapi_extra=KEEPERS,
    )
    async def invite(request: Request, vendor: Id, body: MemberAsked) -> Response:
        """Invite a member; their link is mailed, or in the answer if there is no address. An owner waits for a second person (202)."""
        order = NewMember(**body.model_dump())
        verb = partial(service.invite, vendor=VendorId(vendor), order=order, by_mail=by_mail)
        return sent(await run_write(kit, request, verb))

    @router.post(
        "/vendors/{vendor}/members/{person}/invitation",
        status_code=201,
        response_model=MemberInvited,
        responses=WAITS,
        openapi_extra=KEEPERS,
    )
    async def invite_again(request: Request, vendor: Id, person: Id) -> Response:
        """Create a new link for a member; earlier ones stop working. For an account in use it waits for a second person (202)."""
        verb = partial(
            service.invite_again, vendor=VendorId(vendor), person=PersonId(person), by_mail=by_mail
        )
        return sent(await run_write(kit, request, verb))

    @router.delete("/vendors/{vendor}/members/{person}", response_model=MemberShown, openapi_extra=KEEPERS)
    async def remove(request: Request, vendor: Id, person: Id) -> object:
        """Remove a member for good; not the last owner."""
        verb = partial(service.remove, vendor=VendorId(vendor), person=PersonId(person))
        return await run_write(kit, request, verb)

    return router
