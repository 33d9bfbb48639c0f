"""API routes of people's agreements, exported as FHIR R4 Consent resources."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from hilum.authorization.consent import service
from hilum.authorization.consent.models import AgreementLife, Basis
from hilum.authorization.consent.policy import is_unused, used_at
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import AuthorizationId, PersonId, TenantId
from hilum.foundation.web.api import Id, Page, Paging, Shown, api_router, audience, caller, page_of, run_write
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.urls import with_query

READERS = audience("administrator", "patient")
PEOPLE_BOUND = 100


class AuthorizationsQuery(Paging):
    """``person``: the id of one person. People who are no administrators may list only their own, which is the default."""

    person: Id | None = None


class ConsentsQuery(AuthorizationsQuery):
    """A page has fewer entries, because each comes with all of its versions."""

    limit: Annotated[int, Field(ge=1, le=PEOPLE_BOUND)] = PEOPLE_BOUND


class FamilyShown(Shown):
    """A token family that can still be refreshed. ``ends_by``: the reason with which a refresh fails after ``ends_at``."""

    id: str
    offline: bool
    started_at: datetime
    last_used_at: datetime
    ends_at: datetime
    ends_by: str
    unused: bool


class AuthorizationShown(Shown):
    """``last_used_at``: when a token was last issued under it; null if none is on record. ``ends_by``: the reason with which a refresh fails after ``ends_at``.

    ``unused``: it is in force but was not used for 90 days, so its removal is proposed: by the person, or by the hospital with the app.
    """

    id: str
    person: str
    app: str
    client: str
    basis: Basis
    patient: str
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None
    ends_at: datetime
    ends_by: str
    ended: bool
    unused: bool
    families: tuple[FamilyShown, ...]

    @classmethod
    def of(cls, life: AgreementLife, *, now: datetime) -> "AuthorizationShown":
        """Build it from an agreement with its end."""
        agreed = life.agreement
        assert agreed.ends is not None, "it is listed with its end"
        return cls(
            id=agreed.id,
            person=agreed.person,
            app=agreed.app,
            client=agreed.client,
            basis=agreed.basis,
            patient=agreed.patient,
            scopes=agreed.scopes,
            created_at=agreed.created_at,
            last_used_at=agreed.last_used_at,
            ends_at=agreed.ends.at,
            ends_by=agreed.ends.why,
            ended=agreed.ends.at <= now,
            unused=is_unused(used_at(agreed), agreed.ends.at, now),
            families=tuple(
                FamilyShown(
                    id=each.id,
                    offline=each.offline,
                    started_at=each.started_at,
                    last_used_at=each.minted_at,
                    ends_at=end.at,
                    ends_by=end.why,
                    unused=is_unused(each.minted_at, end.at, now),
                )
                for each, end in life.families
            ),
        )


def api(kit: Kit) -> APIRouter:
    """Build the API routes of agreements."""
    router = api_router(kit, "consent")
    base = kit.urls.base_url

    @router.get("/consents", openapi_extra=READERS)
    async def list_consents(request: Request, query: Annotated[ConsentsQuery, Query()]) -> Response:
        """Export agreements of patients and proxies as a Bundle of Consent resources in all versions; its link ``next`` is the next page.

        A hospital's administrator gets all of the hospital, others their own. The read is recorded.
        """
        actor = await caller(kit, request)
        tenant, of = _whose(actor, query.person or "")

        def work(ctx: Context) -> dict[str, Any]:
            bundle = service.export(ctx, tenant, query.page, base=base, person=of)
            last = bundle[-1].agreement if len(bundle) >= query.limit else None
            after = f"{last.person}~{last.id}" if last else ""
            here = with_query(
                kit.urls.api("/consents"), person=query.person or "", limit=str(query.limit), after=after
            )
            following = {"link": [{"relation": "next", "url": here}]} if after else {}
            return service.bundle_of(bundle, ctx.now) | following

        return fhir_answer(await kit.uow.write(work, actor=actor, trace=trace_of(request)))

    @router.get("/authorizations", response_model=Page[AuthorizationShown], openapi_extra=READERS)
    async def list_authorizations(request: Request, query: Annotated[AuthorizationsQuery, Query()]) -> object:
        """List agreements by person, also ended ones, with their last use and end and the newest token families under each.

        A hospital's administrator gets all of the hospital, including those of its staff, others their own. The read is recorded.
        """
        actor = await caller(kit, request)
        tenant, of = _whose(actor, query.person or "")

        def work(ctx: Context) -> dict[str, Any]:
            found = service.list_lives(ctx, tenant, query.page, person=of)
            shown = partial(AuthorizationShown.of, now=ctx.now)
            return page_of(
                found, shown, query, key=lambda each: f"{each.agreement.person}~{each.agreement.id}"
            )

        return await kit.uow.write(work, actor=actor, trace=trace_of(request))

    @router.get("/consents/{authorization}", openapi_extra=READERS)
    async def get_consent(request: Request, authorization: Id) -> Response:
        """Export one agreement as a Bundle of its versions, oldest first. The read is recorded."""

        def work(ctx: Context) -> dict[str, Any]:
            found = service.export_one(ctx, AuthorizationId(authorization), base=base)
            return service.bundle_of([found], ctx.now)

        return fhir_answer(await run_write(kit, request, work))

    return router


def fhir_answer(bundle: dict[str, Any]) -> Response:
    """Build the response with a Bundle; no browser renders it as a page, and nothing caches it."""
    return Response(
        orjson.dumps(bundle),
        media_type="application/fhir+json",
        headers={"cache-control": "no-store", "x-content-type-options": "nosniff"},
    )


def _whose(actor: Actor, person: str) -> tuple[TenantId, PersonId | None]:
    """Return the hospital and the person whose agreements a caller lists; None for everybody's, which is an administrator's default."""
    of = person or ("" if "administrator" in actor.roles else actor.id)
    return actor.tenant or TenantId(""), PersonId(of) if of else None
