"""API routes of vendors' domains."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.apps.contacts import domain_policy as policy
from hilum.apps.contacts import domains
from hilum.apps.contacts.domain_checks import DomainChecker
from hilum.apps.contacts.domain_models import Domain, DomainState
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Strict,
    api_router,
    audience,
    caller,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit, trace_of

KEEPERS = audience("platform_admin", "vendor_owner")
CHECKERS = audience("platform_admin", "vendor_owner", "vendor_developer")
READERS = audience("staff", "member")


class DomainAsked(Strict):
    """``name`` is a domain in ASCII, such as vendor.example; an international one in its form with xn--."""

    name: Annotated[Line, Field(max_length=253)]


class DomainShown(BaseModel):
    """Serve ``proof_line`` as a line of the file at ``proof_url``, over https, or as a TXT record of ``proof_record``. ``fault``: why the last check failed."""

    id: str
    vendor: str
    name: str
    state: DomainState
    proof_url: str
    proof_record: str
    proof_line: str
    added_at: datetime
    proved_at: datetime | None
    proof_ends_at: datetime | None
    checked_at: datetime | None
    fault: str

    @classmethod
    def of(cls, domain: Domain, now: datetime) -> "DomainShown":
        return cls(
            id=domain.id,
            vendor=domain.vendor,
            name=domain.name,
            state=policy.state_of(domain, now),
            proof_url=policy.proof_url(domain.name),
            proof_record=policy.record_name(domain.name),
            proof_line=policy.proof_line(domain),
            added_at=domain.added_at,
            proved_at=domain.proved_at,
            proof_ends_at=domain.proof_ends_at,
            checked_at=domain.checked_at,
            fault=domain.fault,
        )


def api(kit: Kit, checker: DomainChecker) -> APIRouter:
    """Build the API routes of domains."""
    router = api_router(kit, "contacts")

    def shown(domain: Domain) -> DomainShown:
        return DomainShown.of(domain, kit.clock.now())

    @router.post(
        "/vendors/{vendor}/domains", status_code=201, response_model=DomainShown, openapi_extra=KEEPERS
    )
    async def add_domain(request: Request, vendor: Id, body: DomainAsked) -> object:
        """Add a domain of a vendor. The answer says which line to serve, and where."""
        verb = partial(domains.add_domain, vendor=VendorId(vendor), name=body.name)
        return shown(await run_write(kit, request, verb))

    @router.get("/vendors/{vendor}/domains", response_model=Page[DomainShown], openapi_extra=READERS)
    async def list_domains(request: Request, vendor: Id, query: Annotated[Paging, Query()]) -> object:
        """List a vendor's domains with the state of their proofs."""
        verb = partial(domains.list_domains, vendor=VendorId(vendor), page=query.page)
        return page_of(await run_read(kit, request, verb), shown, query)

    @router.post(
        "/vendors/{vendor}/domains/{domain}/check", response_model=DomainShown, openapi_extra=CHECKERS
    )
    async def check_domain(request: Request, vendor: Id, domain: Id) -> object:
        """Look at the domain's file and TXT record now: one of them proves the domain, or ``fault`` says why not."""
        actor = await caller(kit, request)
        return shown(
            await checker.check(kit.uow, VendorId(vendor), domain, actor=actor, trace=trace_of(request))
        )

    @router.delete("/vendors/{vendor}/domains/{domain}", response_model=DomainShown, openapi_extra=KEEPERS)
    async def remove_domain(request: Request, vendor: Id, domain: Id) -> object:
        """Remove a domain; its proof ends."""
        verb = partial(domains.remove_domain, vendor=VendorId(vendor), domain_id=domain)
        return shown(await run_write(kit, request, verb))

    return router
