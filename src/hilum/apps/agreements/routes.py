"""API routes of agreements."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.apps.agreements import policy, service
from hilum.apps.agreements.models import (
    PARTIES_BOUND,
    SORTS,
    Agreement,
    AgreementQuery,
    AgreementState,
    NewAgreement,
    Side,
)
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.foundation.web.api import (
    MEMBER,
    Id,
    Line,
    Moment,
    Page,
    Prose,
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
from hilum.foundation.web.kit import Kit

SIGNERS = audience("administrator", "vendor_owner")
READERS = audience("staff", "administrator", MEMBER)


class AgreementAsked(Strict):
    """``document``: the SHA-256 of the signed document in hex; the document itself is not sent.

    ``entity``: the hospital's legal entity that signed it; empty for the hospital itself. Without ``ends_at`` it is in force until one of
    the organisations ends it.
    """

    vendor: Id
    tenant: Id
    kind: Word
    parties: Annotated[tuple[Line, ...], Field(max_length=PARTIES_BOUND)]
    document: Word
    effective_at: Moment
    ends_at: Moment | None = None
    entity: Line = ""


class ConfirmAsked(Strict):
    """``document``: the SHA-256 of the document that the confirming organisation holds."""

    document: Word


class EndAsked(Strict):
    """``at``: a later moment, for a period of notice; without it the agreement ends now."""

    reason: Prose
    at: Moment | None = None


class AgreementShown(BaseModel):
    """``finding_since``: since when it has been over without a replacement in force."""

    id: str
    vendor: str
    tenant: str
    entity: str
    kind: str
    state: AgreementState
    parties: tuple[str, ...]
    document: str
    effective_at: datetime
    ends_at: datetime | None
    recorded_by: str
    recorded_for: Side
    recorded_at: datetime
    confirmed_by: str
    confirmed_at: datetime | None
    ended_by: str
    end_reason: str
    finding_since: datetime | None

    @classmethod
    def of(cls, agreement: Agreement, now: datetime) -> "AgreementShown":
        shown = {name: getattr(agreement, name) for name in cls.model_fields if name != "state"}
        return cls(state=policy.state_of(agreement, now), **shown)


class AgreementsQuery(Sorted):
    """``findings``: only agreements that are over without a replacement in force."""

    vendor: Id | None = None
    tenant: Id | None = None
    findings: bool = False
    sort: Annotated[str, one_of(SORTS)] = ""


def api(kit: Kit) -> APIRouter:
    """Build the API routes of agreements."""
    router = api_router(kit, "agreements")

    def shown(agreement: Agreement) -> AgreementShown:
        return AgreementShown.of(agreement, kit.clock.now())

    @router.post("/agreements", status_code=201, response_model=AgreementShown, openapi_extra=SIGNERS)
    async def add(request: Request, body: AgreementAsked) -> object:
        """Record an agreement of a vendor with a hospital for your organisation; it takes effect once the other one has confirmed it."""
        order = NewAgreement(
            **body.model_dump() | {"vendor": VendorId(body.vendor), "tenant": TenantId(body.tenant)}
        )
        return shown(await run_write(kit, request, partial(service.add, order=order)))

    @router.get("/agreements", response_model=Page[AgreementShown], openapi_extra=READERS)
    async def list_agreements(request: Request, query: Annotated[AgreementsQuery, Query()]) -> object:
        """List the agreements of your organisation; the platform's staff list all."""
        filters = AgreementQuery(query.vendor or "", query.tenant or "", query.findings)
        verb = partial(service.list_agreements, query=filters, page=query.page)
        return page_of(await run_read(kit, request, verb), shown, query, key=SORTS.cursor(query.sort))

    @router.get("/agreements/{agreement}", response_model=AgreementShown, openapi_extra=READERS)
    async def get_agreement(request: Request, agreement: Id) -> object:
        """Get one agreement."""
        return shown(await run_read(kit, request, partial(service.get_agreement, agreement_id=agreement)))

    @router.post("/agreements/{agreement}/confirm", response_model=AgreementShown, openapi_extra=SIGNERS)
    async def confirm(request: Request, agreement: Id, body: ConfirmAsked) -> object:
        """Confirm an agreement that the other organisation recorded, with the digest of your copy of the document."""
        verb = partial(service.confirm, agreement_id=agreement, document=body.document)
        return shown(await run_write(kit, request, verb))

    @router.post("/agreements/{agreement}/end", response_model=AgreementShown, openapi_extra=SIGNERS)
    async def end(request: Request, agreement: Id, body: EndAsked) -> object:
        """End an agreement, or decline to confirm it. Either organisation does it alone."""
        verb = partial(service.end, agreement_id=agreement, reason=body.reason, at=body.at)
        return shown(await run_write(kit, request, verb))

    return router
