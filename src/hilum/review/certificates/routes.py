"""API routes of certificates."""

from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.web.api import Id, Page, Shown, Sorted, api_router, audience, one_of, page_of, run_read
from hilum.foundation.web.kit import Kit
from hilum.review.certificates import service
from hilum.review.certificates.models import SORTS, Certificate, Status

READERS = audience("staff", "administrator", "member")


class Word(StrEnum):
    """The status of a certificate."""

    VALID = "valid"
    INVALID = "invalid"
    SUSPENDED = "suspended"
    GRACE = "grace"


class CertificatesQuery(Sorted):
    """``app``: only those of this app, by id."""

    app: Id | None = None
    status: Word | None = None
    sort: Annotated[str, one_of(SORTS)] = ""


class CertificateListed(Shown):
    """``cause``: why it is not valid. ``grace_until``: until when hospitals that have the app may keep using it, once it has expired."""

    id: str
    app: str
    app_name: str
    vendor: str
    vendor_name: str
    version: str
    label: str
    environment: str
    tier: str | None
    status: str
    cause: str
    changed_at: datetime
    issued_at: datetime
    expires_at: datetime
    grace_until: datetime | None


class CertificateShown(CertificateListed):
    """``certificate``: the signed document, as anybody gets it from ``address``."""

    address: str
    certificate: str


def api(kit: Kit) -> APIRouter:
    """Build the API routes of certificates."""
    router = api_router(kit, "certificates")

    @router.get("/certificates", response_model=Page[CertificateListed], openapi_extra=READERS)
    async def list_certificates(request: Request, query: Annotated[CertificatesQuery, Query()]) -> object:
        """List certificates, by id or in the order that is asked for: a vendor's member their own, staff and administrators all."""
        status = None if query.status is None else Status[query.status.name]
        verb = partial(service.list_certificates, page=query.page, app=query.app or "", status=status)
        return page_of(await run_read(kit, request, verb), _listed, query, key=SORTS.cursor(query.sort))

    @router.get("/certificates/{certificate}", response_model=CertificateShown, openapi_extra=READERS)
    async def get_certificate(request: Request, certificate: Id) -> object:
        """Show a certificate by its id, or the current one of an app by the app's id."""
        found = await run_read(kit, request, partial(service.view, certificate_id=certificate))
        return _listed(found) | {
            "address": kit.urls.certificates(f"/{found.id}"),
            "certificate": found.text,
        }

    return router


def _listed(found: Certificate) -> dict[str, object]:
    shown = {name: getattr(found, name) for name in CertificateListed.model_fields}
    return shown | {"status": found.status.name.lower()}
