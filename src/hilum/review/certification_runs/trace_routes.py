"""API routes of what a trace proposes, and of the contract that is certified."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.web.api import Id, Shown, Strict, api_router, caller, run_read
from hilum.foundation.web.kit import Kit, trace_of
from hilum.review.certification_runs import service
from hilum.review.certification_runs.models import Proposal
from hilum.review.certification_runs.routes import READERS, Ports


class TraceAsked(Strict):
    """Name a ``run`` that was judged, or a sandbox ``client`` and over how many ``days`` to look."""

    run: Id | None = None
    client: Id | None = None
    days: Literal["1", "7", "30"] = "7"


class CallShown(Shown):
    """A kind of call: the interaction, the type, the names of search parameters, and how often it was made."""

    interaction: str
    type: str
    parameters: list[str]
    workflow: str
    number: int


class ProposedShown(Shown):
    """``calls`` that need the scope; of scopes of launch, identity and session the ``launches`` that used it."""

    scope: str
    calls: list[CallShown]
    launches: int


class ProposalShown(Shown):
    """``left_out``: scopes of the client that nothing needed. Not ``whole``: only the newest requests were looked at."""

    client: str
    version: str
    scopes: list[ProposedShown]
    left_out: list[str]
    requests: int
    whole: bool


class ContractAsked(Strict):
    """``certification``: of which; of the newest one for production that is in force if left out."""

    certification: Id | None = None


class ContractCallShown(CallShown):
    """``scopes``: those that permitted such calls in the run, cut to type and letter."""

    scopes: list[str]


class ContractShown(Shown):
    """``submitted``: the digest of what was submitted. ``result``: that of the signed result of the run."""

    certification: str
    app: str
    version: str
    submission: str
    submitted: str
    run: str
    result: str
    shapes: list[ContractCallShown]
    made_at: datetime


def api(kit: Kit, ports: Ports) -> APIRouter:
    """Build the API routes of traces and contracts."""
    router = api_router(kit, "evidence")

    @router.get("/apps/{app}/proposed-scopes", openapi_extra=READERS)
    async def propose_scopes(
        request: Request, app: Id, query: Annotated[TraceAsked, Query()]
    ) -> ProposalShown:
        """Propose the least scopes that would have permitted what an app did in the sandbox, each with the calls that need it. The read is recorded."""
        if (query.run is None) == (query.client is None):
            fields = {"run": "missing", "client": "missing"}
            raise Invalid(
                "trace_invalid", "Name a run or a client of the sandbox, and not both.", fields=fields
            )
        found: Proposal
        if query.run is not None:
            verb = partial(service.propose_of_run, app_id=AppId(app), run_id=query.run)
            found = await run_read(kit, request, verb)
        else:
            client = query.client or ""
            looked = partial(
                service.propose_of_client,
                app_id=AppId(app),
                client_id=client,
                days=int(query.days),
                accesses=ports.accesses,
            )
            actor = await caller(kit, request)
            found = await ports.recorded(
                service.reading_of_trace(client), looked, actor=actor, trace=trace_of(request)
            )
        return ProposalShown.model_validate(found)

    @router.get("/apps/{app}/contract", openapi_extra=READERS)
    async def show_contract(
        request: Request, app: Id, query: Annotated[ContractAsked, Query()]
    ) -> ContractShown:
        """Show which shapes of calls were certified of an app: those of its run in the sandbox, signed and bound to what was submitted."""
        verb = partial(service.view_contract, app_id=AppId(app), certification=query.certification or "")
        return ContractShown.model_validate(await run_read(kit, request, verb))

    return router
