"""API routes of requests for apps, and of wider versions."""

from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field
from starlette.requests import Request

from hilum.apps.registry.models import SCOPES_BOUND
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.web.api import (
    Id,
    Line,
    Moment,
    Page,
    Paging,
    Prose,
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
from hilum.foundation.web.kit import Kit
from hilum.hospitals.requests import catalogue, service
from hilum.hospitals.requests.models import (
    REQUEST_SORTS,
    AcceptOrder,
    ApproveOrder,
    AskOrder,
    State,
)

STAFF_OF_A_HOSPITAL = ("physician", "nurse", "analyst", "administrator", "front_desk")
ASKERS = audience(*STAFF_OF_A_HOSPITAL, "vendor_owner", "vendor_developer")
LOOKERS = audience(*STAFF_OF_A_HOSPITAL, "vendor_owner", "vendor_developer", "staff")
READERS = audience("staff", "administrator")
DECIDERS = audience("administrator")
Scopes = Annotated[tuple[Word, ...], Field(max_length=SCOPES_BOUND)]
Roles = Annotated[frozenset[Line], Field(max_length=20)]
SortedWords = Annotated[list[str], BeforeValidator(sorted)]


# --- bodies --------------------------------------------------------------------------------------------------------------------


class RequestAsked(Strict):
    """Without ``scopes`` and ``workflows`` it is for all that the app may have; without ``tenant`` at one's own hospital."""

    app: Id
    tenant: Id | None = None
    roles: Roles = frozenset()
    scopes: Scopes = ()
    workflows: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    reason: Prose


class RequestsQuery(Sorted):
    """Without ``state`` in every state. ``own``: your own requests, also if you administer the hospital."""

    tenant: Id | None = None
    state: State | None = None
    own: bool = False
    sort: Annotated[str, one_of(REQUEST_SORTS)] = ""


class ApproveAsked(Strict):
    """Without ``roles`` and ``scopes`` what the request asks for. ``anyway``: also without scopes that the app says it needs."""

    roles: Roles | None = None
    scopes: Scopes | None = None
    expires_at: Moment | None = None
    reason: Prose = ""
    anyway: bool = False


class DeclineAsked(Strict):
    """``everybody``: every open request for the app at the hospital."""

    reason: Prose
    everybody: bool = False


class AcceptAsked(Strict):
    """``digest``: of the difference that was read. Without ``scopes`` all that is new is accepted; ``roles`` are added."""

    digest: Id
    scopes: Scopes | None = None
    roles: Roles = frozenset()


# --- answers -------------------------------------------------------------------------------------------------------------------


class RequestShown(Shown):
    """A request. ``scopes``: all that it asks for, workflows expanded. ``answer``: the reason of the decision."""

    id: str
    tenant: str
    app: str
    person: str
    role: str
    roles: SortedWords
    scopes: tuple[str, ...]
    workflows: tuple[str, ...]
    reason: str
    asked_at: datetime
    state: State
    decided_by: str
    decided_at: datetime | None
    answer: str
    installation: str


class TaskShown(Shown):
    name: str
    title: str
    purpose: str


class RequestableShown(Shown):
    """An app that your hospital could install. ``tasks``: workflows by which it can be asked for; ``asked``: you have an open request for it."""

    app: str
    name: str
    vendor: str
    purpose: str
    tasks: tuple[TaskShown, ...]
    installed: bool
    asked: bool


class NewScopeShown(Shown):
    scope: str
    words: str
    writes: bool


class NewWorkShown(Shown):
    """The new scopes of one workflow; without a name: scopes that no workflow of the version needs. ``is_new``: the workflow itself is new."""

    name: str
    title: str
    purpose: str
    is_new: bool
    scopes: tuple[NewScopeShown, ...]


class WiderShown(Shown):
    """What a newer version has more. ``version`` is empty if nothing is new; ``withheld``: certified, and not allowed by the policy here.

    ``revives``: accepting all of it ends what was issued before, since it gives back what was narrowed away.
    """

    installation: str
    app: str
    version: str
    label: str
    digest: str
    scopes: tuple[str, ...]
    work: tuple[NewWorkShown, ...]
    withheld: tuple[str, ...]
    revives: bool


class AcceptanceShown(Shown):
    """What was accepted and left out of a version, and the installation's scopes and roles after it."""

    installation: str
    app: str
    version: str
    accepted: tuple[str, ...]
    left_out: tuple[str, ...]
    scopes: tuple[str, ...]
    roles: SortedWords


# --- routes --------------------------------------------------------------------------------------------------------------------


def api(kit: Kit) -> APIRouter:
    """Build the API routes of requests."""
    router = api_router(kit, "requests")
    _asking(router, kit)
    _decisions(router, kit)
    _versions(router, kit)
    return router


def _named(tenant: str | None) -> TenantId | None:
    return None if tenant is None else TenantId(tenant)


def _asking(router: APIRouter, kit: Kit) -> None:
    @router.get(
        "/requestable-apps",
        response_model=Page[RequestableShown],
        openapi_extra=audience(*STAFF_OF_A_HOSPITAL),
    )
    async def list_requestable(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the apps that you may ask your hospital for: those that it could install. A page may be short although more follow."""
        apps, following = await run_read(kit, request, partial(catalogue.list_requestable, page=query.page))
        return {"items": [RequestableShown.model_validate(app) for app in apps], "next": following}

    @router.post("/requests", status_code=201, response_model=RequestShown, openapi_extra=ASKERS)
    async def ask(request: Request, body: RequestAsked) -> object:
        """Ask a hospital for an app."""
        order = AskOrder(
            _named(body.tenant), AppId(body.app), body.roles, body.reason, body.scopes, body.workflows
        )
        return await run_write(kit, request, partial(service.ask, order=order))

    @router.get("/requests", response_model=Page[RequestShown], openapi_extra=LOOKERS)
    async def list_requests(request: Request, query: Annotated[RequestsQuery, Query()]) -> object:
        """List requests: an administrator those of the hospital, the staff all, and everybody else their own."""
        verb = partial(
            service.list_requests,
            tenant=_named(query.tenant),
            state=query.state,
            own=query.own,
            page=query.page,
        )
        requests = await run_read(kit, request, verb)
        return page_of(requests, RequestShown.model_validate, query, key=REQUEST_SORTS.cursor(query.sort))

    @router.get("/requests/{request_id}", response_model=RequestShown, openapi_extra=LOOKERS)
    async def get_request(request: Request, request_id: Id) -> object:
        """Show a request, and how it was decided."""
        return await run_read(kit, request, partial(service.view_request, request_id=request_id))

    @router.delete("/requests/{request_id}", response_model=RequestShown, openapi_extra=ASKERS)
    async def withdraw(request: Request, request_id: Id) -> object:
        """Withdraw a request of one's own that nobody has decided."""
        return await run_write(kit, request, partial(service.withdraw, request_id=request_id))


def _decisions(router: APIRouter, kit: Kit) -> None:
    @router.post("/requests/{request_id}/approve", response_model=RequestShown, openapi_extra=DECIDERS)
    async def approve(request: Request, request_id: Id, body: ApproveAsked) -> object:
        """Approve a request: the app is installed, or its installation is widened. Requests for no more than that are approved with it."""
        order = ApproveOrder(request_id, body.reason, body.roles, body.scopes, body.expires_at, body.anyway)
        return await run_write(kit, request, partial(service.approve, order=order))

    @router.post("/requests/{request_id}/decline", response_model=RequestShown, openapi_extra=DECIDERS)
    async def decline(request: Request, request_id: Id, body: DeclineAsked) -> object:
        """Decline a request, or every open one for its app; those who asked see the reason."""
        verb = partial(service.decline, request_id=request_id, reason=body.reason, everybody=body.everybody)
        return await run_write(kit, request, verb)


def _versions(router: APIRouter, kit: Kit) -> None:
    @router.get(
        "/installations/{installation}/newer-version", response_model=WiderShown, openapi_extra=READERS
    )
    async def compare(request: Request, installation: Id) -> object:
        """Show what the newest certified versions of an installed app have more than the installation, by workflow."""
        return await run_read(kit, request, partial(service.compare, installation_id=installation))

    @router.post(
        "/installations/{installation}/accept-version",
        response_model=AcceptanceShown,
        openapi_extra=DECIDERS,
    )
    async def accept(request: Request, installation: Id, body: AcceptAsked) -> object:
        """Accept a wider version, all of it or a part. Grants from before have no more than they had."""
        order = AcceptOrder(installation, body.digest, body.scopes, body.roles)
        return await run_write(kit, request, partial(service.accept, order=order))
