"""API routes of requests for apps, groups of them, hospitals' rules, and wider versions."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.kernel.ids import AppId, PersonId, TenantId
from hilum.requests import catalogue, rule_sets, service, versions
from hilum.requests.bodies import (
    AcceptanceShown,
    AcceptAsked,
    ApproveAsked,
    DismissAsked,
    GroupShown,
    GroupsQuery,
    HandedOver,
    HandOverAllAsked,
    HandOverAsked,
    RequestableShown,
    RequestAsked,
    RequestShown,
    RequestsQuery,
    RulesAsked,
    RulesQuery,
    RulesShown,
    TriedShown,
    TryAsked,
    VersionsQuery,
    WiderShown,
)
from hilum.requests.models import GROUP_SORTS, AcceptOrder, AskOrder, Decision
from hilum.web.api import Id, Page, Paging, api_router, audience, page_of, run_read, run_write
from hilum.web.kit import Kit

STAFF_OF_A_HOSPITAL = ("physician", "nurse", "analyst", "administrator", "front_desk")
ASKERS = audience(*STAFF_OF_A_HOSPITAL, "vendor_owner", "vendor_developer")
LOOKERS = audience(*STAFF_OF_A_HOSPITAL, "vendor_owner", "vendor_developer", "staff")
READERS = audience("staff", "administrator")
DECIDERS = audience("administrator")
RULERS = audience("administrator", large=True)
TRY_BATCH = 1_000
"""Past requests that one call of a dry run judges."""


def api(kit: Kit) -> APIRouter:
    """Build the API routes of requests."""
    router = api_router(kit, "requests")
    _requests(router, kit)
    _catalogue(router, kit)
    _groups(router, kit)
    _hand_over(router, kit)
    _rules(router, kit)
    _versions(router, kit)
    return router


def _catalogue(router: APIRouter, kit: Kit) -> None:
    @router.get(
        "/requestable-apps",
        response_model=Page[RequestableShown],
        openapi_extra=audience(*STAFF_OF_A_HOSPITAL),
    )
    async def list_requestable(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List the apps that you may ask your hospital for: those that it could install. A page may be short although more follow."""
        found, following = await run_read(kit, request, partial(catalogue.list_requestable, page=query.page))
        return {"items": [RequestableShown.model_validate(each) for each in found], "next": following}


def _named(tenant: str | None) -> TenantId | None:
    return None if tenant is None else TenantId(tenant)


def _requests(router: APIRouter, kit: Kit) -> None:
    @router.post("/requests", status_code=201, response_model=RequestShown, openapi_extra=ASKERS)
    async def ask(request: Request, body: RequestAsked) -> object:
        """Ask a hospital for an app; its rules may decide at once."""
        order = AskOrder(
            _named(body.tenant), AppId(body.app), body.roles, body.reason, body.scopes, body.workflows
        )
        return RequestShown.of(await run_write(kit, request, partial(service.ask, order=order)))

    @router.get("/requests", response_model=Page[RequestShown], openapi_extra=LOOKERS)
    async def list_requests(request: Request, query: Annotated[RequestsQuery, Query()]) -> object:
        """List requests: an administrator those of the hospital, the staff all, and everybody else their own."""
        tenant = _named(query.tenant)
        verb = partial(service.list_requests, tenant=tenant, group=query.group or "", page=query.page)
        return page_of(await run_read(kit, request, verb), RequestShown.of, query)

    @router.get("/requests/{request_id}", response_model=RequestShown, openapi_extra=LOOKERS)
    async def get_request(request: Request, request_id: Id) -> object:
        """Show a request, with how the hospital's rules judged it for who administers the hospital."""
        found = await run_read(kit, request, partial(service.view_request, request_id=request_id))
        return RequestShown.of(found)

    @router.delete("/requests/{request_id}", response_model=RequestShown, openapi_extra=ASKERS)
    async def withdraw(request: Request, request_id: Id) -> object:
        """Withdraw a request of one's own that nobody has decided."""
        return RequestShown.of(
            await run_write(kit, request, partial(service.withdraw, request_id=request_id))
        )


def _groups(router: APIRouter, kit: Kit) -> None:
    @router.get("/request-groups", response_model=Page[GroupShown], openapi_extra=READERS)
    async def list_groups(request: Request, query: Annotated[GroupsQuery, Query()]) -> object:
        """List what is asked for, one entry for each app; without ``state`` what is open."""
        tenant = _named(query.tenant)
        verb = partial(service.list_groups, tenant=tenant, state=query.state, page=query.page)
        return page_of(
            await run_read(kit, request, verb), GroupShown.of, query, key=GROUP_SORTS.cursor(query.sort)
        )

    @router.get("/request-groups/{group}", response_model=GroupShown, openapi_extra=READERS)
    async def get_group(request: Request, group: Id) -> object:
        """Show what is asked for of one app, together."""
        return GroupShown.of(await run_read(kit, request, partial(service.view_group, group_id=group)))

    @router.post("/request-groups/{group}/approve", response_model=GroupShown, openapi_extra=DECIDERS)
    async def approve(request: Request, group: Id, body: ApproveAsked) -> object:
        """Approve all requests of a group: the app is installed, or its installation is widened."""
        decision = Decision(
            group, body.revision, body.reason, body.roles, body.scopes, body.expires_at, body.anyway
        )
        return GroupShown.of(await run_write(kit, request, partial(service.approve, decision=decision)))

    @router.post("/request-groups/{group}/dismiss", response_model=GroupShown, openapi_extra=DECIDERS)
    async def dismiss(request: Request, group: Id, body: DismissAsked) -> object:
        """Dismiss all requests of a group; those who asked see the reason."""
        decision = Decision(group, body.revision, body.reason)
        return GroupShown.of(await run_write(kit, request, partial(service.dismiss, decision=decision)))


def _hand_over(router: APIRouter, kit: Kit) -> None:
    @router.post("/request-groups/hand-over", response_model=HandedOver, openapi_extra=DECIDERS)
    async def hand_over_all(request: Request, body: HandOverAllAsked) -> object:
        """Hand over every open group of one administrator, who may have left, to another."""
        tenant = _named(body.tenant)
        verb = partial(service.hand_over_all, tenant=tenant, of=PersonId(body.of), to=PersonId(body.to))
        number, more = await run_write(kit, request, verb)
        return HandedOver(groups=number, more=more)

    @router.post("/request-groups/{group}/hand-over", response_model=GroupShown, openapi_extra=DECIDERS)
    async def hand_over(request: Request, group: Id, body: HandOverAsked) -> object:
        """Hand an open group over to an administrator, who decides it."""
        verb = partial(service.hand_over, group_id=group, to=PersonId(body.to), revision=body.revision)
        return GroupShown.of(await run_write(kit, request, verb))


def _rules(router: APIRouter, kit: Kit) -> None:
    @router.get("/request-rules", response_model=RulesShown, openapi_extra=READERS)
    async def get_rules(request: Request, query: Annotated[RulesQuery, Query()]) -> object:
        """Show the rules in force at a hospital, in their order."""
        tenant = _named(query.tenant)
        return RulesShown.of(await run_read(kit, request, partial(rule_sets.view_rules, tenant=tenant)))

    @router.get("/request-rules/versions", response_model=Page[RulesShown], openapi_extra=READERS)
    async def list_versions(request: Request, query: Annotated[VersionsQuery, Query()]) -> object:
        """List the versions of a hospital's rules, newest first."""
        tenant = _named(query.tenant)
        verb = partial(rule_sets.list_versions, tenant=tenant, page=query.page)
        found = await run_read(kit, request, verb)
        return page_of(found, RulesShown.of, query, key=lambda each: str(each.version))

    @router.put("/request-rules", response_model=RulesShown, openapi_extra=RULERS)
    async def put_rules(request: Request, body: RulesAsked) -> object:
        """Put rules in force instead of version ``base``. They approve under the caller's name."""
        tenant = _named(body.tenant)
        verb = partial(
            rule_sets.put_in_force, tenant=tenant, rules=body.parsed, base=body.base, note=body.note
        )
        return RulesShown.of(await run_write(kit, request, verb))

    @router.post("/request-rules/try", response_model=TriedShown, openapi_extra=RULERS)
    async def try_rules(request: Request, body: TryAsked) -> object:
        """Judge the requests of the last 90 days by other rules, and list what they would decide differently; nothing changes."""
        tenant = _named(body.tenant)
        verb = partial(
            rule_sets.try_rules, tenant=tenant, rules=body.parsed, after=body.after, limit=TRY_BATCH
        )
        # A write, since a refusal is recorded.
        return TriedShown.of(await run_write(kit, request, verb))


def _versions(router: APIRouter, kit: Kit) -> None:
    @router.get(
        "/installations/{installation}/newer-version", response_model=WiderShown, openapi_extra=READERS
    )
    async def compare(request: Request, installation: Id) -> object:
        """Show what the newest certified version of an installed app has more than the installation, by workflow."""
        return WiderShown.of(
            await run_read(kit, request, partial(versions.compare, installation_id=installation))
        )

    @router.post(
        "/installations/{installation}/accept-version",
        response_model=AcceptanceShown,
        openapi_extra=DECIDERS,
    )
    async def accept(request: Request, installation: Id, body: AcceptAsked) -> object:
        """Accept a wider version, all of it or a part. Grants from before have no more than they had."""
        order = AcceptOrder(installation, body.digest, body.scopes, body.roles)
        acceptance, after = await run_write(kit, request, partial(versions.accept, order=order))
        return AcceptanceShown.of(acceptance, after)
