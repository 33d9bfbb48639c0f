"""API of the access history, for the patient who is signed in and for those who act for them."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.foundation.web.api import Id, Moment, Page, Strict, Word, api_router, audience, caller
from hilum.foundation.web.kit import Kit, trace_of
from hilum.hospitals.disclosures import service
from hilum.hospitals.disclosures.models import PAGE_SIZE, Entry, HistoryQuery
from hilum.hospitals.disclosures.reading import Disclosures, Held
from hilum.hospitals.disclosures.service import Reader

PATIENTS = audience("patient")


class HistoryAsked(Strict):
    """``patient``: whose record. ``since`` is inclusive, ``before`` exclusive; ``after``: ``next`` of the previous page."""

    patient: Id
    app: Id | None = None
    since: Moment | None = None
    before: Moment | None = None
    after: Word = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_BOUND)] = PAGE_SIZE

    def asked(self) -> HistoryQuery:
        return HistoryQuery(self.patient, self.app or "", self.since, self.before, self.after, self.limit)


def api(kit: Kit, reader: Reader, held: Held) -> APIRouter:
    """Build the API of the access history."""
    router = api_router(kit, "disclosures")
    disclosures = Disclosures(kit, reader, held)

    @router.get("/history", response_model=Page[Entry], openapi_extra=PATIENTS)
    async def list_history(request: Request, query: Annotated[HistoryAsked, Query()]) -> object:
        """List what apps did with a record, newest first, refused requests too. The read is recorded."""
        actor = await caller(kit, request)
        page = await disclosures.read(service.read_page, query.asked(), actor=actor, trace=trace_of(request))
        return {"items": page.entries, "next": page.next}

    return router
