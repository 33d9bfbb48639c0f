"""API routes of the policy."""

from datetime import date, datetime
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.controls.approvals.models import Asked
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.api import (
    Id,
    Line,
    Page,
    Paging,
    Prose,
    Shown,
    Strict,
    Word,
    api_router,
    audience,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit
from hilum.policy.matrix import observed, service
from hilum.policy.matrix.exception_models import Autonomy, Population
from hilum.policy.matrix.exceptions import WAIVABLE_KINDS
from hilum.policy.matrix.first_hospitals import Refusals
from hilum.policy.matrix.models import (
    LIST_BOUND,
    NAMES_BOUND,
    NOT_DECLARED,
    NUMBER_BOUND,
    TENANTS_BOUND,
    Admission,
    Applicant,
    Application,
    ApplyOrder,
    ClientAuthentication,
    Tier,
    Version,
)
from hilum.records.audit.models import CountedTraffic

Number = Annotated[int, Field(ge=0, le=NUMBER_BOUND)]
OWNERS = audience("platform_admin")
AUTHORS = audience("platform_admin", large=True)
STAFF = audience("staff")
VALIDATORS = audience("staff", large=True)
READERS = audience("staff", "administrator")


class NumberPaging(Paging):
    after: Annotated[str, Field(pattern=r"^[0-9]{0,9}$")] = ""


class DocumentAsked(Strict):
    """``document`` is the policy as JSON; the command line converts TOML."""

    document: dict[str, Any]


class VersionAsked(DocumentAsked):
    """``base`` is the version that the document was made from; 0 for the shipped one."""

    base: Number
    note: Prose


class VersionShown(Shown):
    number: int
    digest: str
    base: int
    note: str
    added_by: str
    added_at: datetime
    kid: str
    signature: str


class BookShown(VersionShown):
    """A version with its whole document: every entry in full."""

    document: dict[str, Any]


class FaultShown(Shown):
    """What is wrong at one place of a document."""

    path: str
    code: str
    sentence: str


class ValidationShown(BaseModel):
    """``digest`` is empty unless the document is valid."""

    valid: bool
    digest: str
    faults: tuple[FaultShown, ...]


class CountShown(Shown):
    """Decisions, and how many of them were refused."""

    decided: int
    refused: int


class RefusalsShown(BaseModel):
    """``at``: since when each hospital has the version; empty if none has it first. ``before``: null if it is no longer counted."""

    at: dict[str, datetime] = {}
    before: CountShown | None = None
    since: CountShown | None = None
    sentence: str = ""


class ChangeShown(Shown):
    path: str
    before: Any
    after: Any


class PrivilegeIncreaseShown(Shown):
    path: str
    sentence: str


class ScopeProductShown(Shown):
    """A scope product as it is today: one whose sunset is past is retired."""

    name: str
    owner: str
    purpose: str
    data_class: str
    version: int
    status: str
    covers: tuple[str, ...]
    successor: str
    no_successor: str
    deprecated_from: date | None
    sunset: date | None
    custom: bool
    demand: str
    tests: tuple[str, ...]


class ScopeProductsShown(BaseModel):
    """``finding``: that more custom ones are in force than the policy wants; empty if not."""

    products: tuple[ScopeProductShown, ...]
    finding: str


class ScopeProductsQuery(Strict):
    tenant: Id | None = None


class ComparisonShown(BaseModel):
    """What differs, and what the second version allows that the first does not. If that is empty, one person may put it in force."""

    changes: tuple[ChangeShown, ...]
    privilege_increases: tuple[PrivilegeIncreaseShown, ...]


class CompareQuery(Strict):
    before: Number
    after: Number


class ObservedShown(Shown):
    """The ``limits`` of an entry that are as before until a day. ``dry_run`` lists what would be refused."""

    version: int
    category: str
    tier: Tier
    until: date
    limits: tuple[str, ...]
    dry_run: str


class InForceShown(BaseModel):
    """``last`` is the number of the last application, which an order to apply a version must name as ``after``.

    ``fault`` says why nothing is decided by the policy; empty if it is in order.
    """

    everywhere: int
    at: dict[str, int]
    last: int
    fault: str
    observed: list[ObservedShown]


class ApplyAsked(Strict):
    """``tenants`` empty: everywhere. ``after``: ``last`` of what is in force, as whoever asks this has read it.

    ``emergency``: without a dry run, which only a version that allows nothing new may skip.
    """

    version: Number
    tenants: Annotated[tuple[Id, ...], Field(max_length=TENANTS_BOUND)] = ()
    after: Number
    reason: Prose
    emergency: bool = False


class ApplicationShown(Shown):
    number: int
    version: int
    digest: str
    tenants: tuple[str, ...]
    reason: str
    applied_by: str
    applied_at: datetime
    previous: str
    agreed_by: str
    kid: str
    signature: str


class AssessAsked(Strict):
    """What an app would ask for.

    Workflows or placements that are left out count as not declared. ``tenant``: under the policy in force there; ``version``: under
    that version instead.
    """

    category: Line
    scopes: Annotated[tuple[Word, ...], Field(max_length=LIST_BOUND)]
    client_authentication: ClientAuthentication
    workflows: Annotated[tuple[Line, ...], Field(max_length=NAMES_BOUND)] = NOT_DECLARED
    placements: Annotated[tuple[Line, ...], Field(max_length=NAMES_BOUND)] = NOT_DECLARED
    autonomy: Autonomy | None = None
    population: Population | None = None
    tenant: Id | None = None
    version: Number | None = None


class ReasonShown(Shown):
    rule: str
    tier: Tier
    sentence: str
    scope: str


class WithheldShown(Shown):
    scope: str
    why: str


class ForeseenShown(Shown):
    """Scopes that are withheld from a day on, until which the policy observes what withholds them; the tier that is acted at then."""

    day: date
    lost: tuple[str, ...]
    acts_at: Tier | None


class AssessmentShown(BaseModel):
    """``tier`` is that of all it asks for, ``acts_at`` that of what is admitted; empty if nothing is.

    ``foreseen``: what it loses once what is observed is enforced. ``requires``: what the entry in which it acts asks for.
    """

    tier: Tier
    sentence: str
    reasons: tuple[ReasonShown, ...]
    acts_at: str
    scopes: tuple[str, ...]
    withheld: tuple[WithheldShown, ...]
    foreseen: tuple[ForeseenShown, ...] = ()
    requires: tuple[str, ...] = ()


def api(kit: Kit, traffic: CountedTraffic) -> APIRouter:
    """Build the API routes of the policy."""
    router = api_router(kit, "policies")
    _in_force(router, kit, traffic)
    for part in (_versions, _questions):
        part(router, kit)
    return router


def _versions(router: APIRouter, kit: Kit) -> None:
    @router.post("/policies/versions", status_code=201, response_model=VersionShown, openapi_extra=AUTHORS)
    async def add_version(request: Request, body: VersionAsked) -> object:
        """Add a version of the policy, signed. It is in force nowhere until it is applied."""
        verb = partial(service.add_version, document=body.document, base=body.base, note=body.note)
        return await run_write(kit, request, verb)

    @router.get("/policies/versions", response_model=Page[VersionShown], openapi_extra=READERS)
    async def list_versions(request: Request, query: Annotated[NumberPaging, Query()]) -> object:
        """List versions, newest first."""
        found = await run_read(kit, request, partial(service.list_versions, page=query.page))
        return page_of(found, VersionShown.model_validate, query, key=_number)

    @router.get("/policies/versions/{number}", openapi_extra=READERS)
    async def get_version(request: Request, number: Number) -> BookShown:
        """Show a version with its document; 0 is the policy that this release ships with."""
        version = await run_read(kit, request, partial(service.get_signed, number=number))
        shown = VersionShown.model_validate(version).model_dump()
        return BookShown(**shown, document=orjson.loads(version.document))

    @router.post("/policies/validate", openapi_extra=VALIDATORS)
    async def validate(request: Request, body: DocumentAsked) -> ValidationShown:
        """Validate a document without storing it, and list everything that is wrong."""
        book, faults = await run_read(kit, request, partial(service.validate, document=body.document))
        shown = tuple(map(FaultShown.model_validate, faults))
        return ValidationShown(valid=book is not None, digest=book.digest if book else "", faults=shown)

    @router.get("/policies/compare", openapi_extra=READERS)
    async def compare(request: Request, query: Annotated[CompareQuery, Query()]) -> ComparisonShown:
        """List what differs between two versions, and what the second allows that the first does not."""
        verb = partial(service.compare, before=query.before, after=query.after)
        changed, wider = await run_read(kit, request, verb)
        return ComparisonShown(
            changes=tuple(map(ChangeShown.model_validate, changed)),
            privilege_increases=tuple(map(PrivilegeIncreaseShown.model_validate, wider)),
        )


def _number(found: Version | Application) -> str:
    return str(found.number)


def _refusals_shown(found: Refusals | None) -> RefusalsShown:
    if found is None:
        return RefusalsShown()
    before = None if found.before is None else CountShown.model_validate(found.before)
    return RefusalsShown(
        at={str(tenant): since for tenant, since in found.at.items()},
        before=before,
        since=CountShown.model_validate(found.since),
        sentence=found.in_words(),
    )


def _in_force(router: APIRouter, kit: Kit, traffic: CountedTraffic) -> None:
    @router.get("/policies", openapi_extra=READERS)
    async def in_force(request: Request) -> InForceShown:
        """Show which version is in force everywhere, at which hospitals another one is, and what is observed until when."""
        found, entries = await run_read(kit, request, observed.in_force)
        return InForceShown(
            everywhere=found.everywhere,
            at={str(tenant): number for tenant, number in found.at.items()},
            last=found.last,
            fault=found.fault,
            observed=[ObservedShown.model_validate(each) for each in entries],
        )

    @router.get("/policies/applications", response_model=Page[ApplicationShown], openapi_extra=STAFF)
    async def list_applications(request: Request, query: Annotated[NumberPaging, Query()]) -> object:
        """List when which version was put in force where, newest first."""
        found = await run_read(kit, request, partial(service.list_applications, page=query.page))
        return page_of(found, ApplicationShown.model_validate, query, key=_number)

    @router.get("/policies/versions/{number}/refusals", openapi_extra=STAFF)
    async def view_refusals(request: Request, number: Number) -> RefusalsShown:
        """Count the decisions refused at the hospitals that have a version before it is everywhere: in the week before they had it, and since."""
        verb = partial(service.view_refusals, version=number, traffic=traffic)
        return _refusals_shown(await run_read(kit, request, verb))

    @router.post(
        "/policies/applications",
        status_code=201,
        response_model=ApplicationShown,
        responses=WAITS,
        openapi_extra=OWNERS,
    )
    async def apply(request: Request, body: ApplyAsked) -> object:
        """Put a version in force, also an earlier one. What allows something new waits for a second person (202).

        That must be in force at some hospital before it is everywhere (409 too_soon_everywhere).
        """
        tenants = tuple(map(TenantId, body.tenants))
        order = ApplyOrder(body.version, tenants, body.after, body.reason, body.emergency)
        # Two large policies take a while to compare, which must not delay other writers.
        await run_read(kit, request, partial(service.prepare, order=order))
        done = await run_write(kit, request, partial(service.apply, order=order))
        return waits(done) if isinstance(done, Asked) else done


def _questions(router: APIRouter, kit: Kit) -> None:
    @router.get("/policies/scopes", openapi_extra=READERS)
    async def scope_products(
        request: Request, query: Annotated[ScopeProductsQuery, Query()]
    ) -> ScopeProductsShown:
        """List the scope products that are in force at a hospital, or everywhere: who answers for which scopes, and until when."""
        verb = partial(service.scope_products, tenant=query.tenant)
        products, finding = await run_read(kit, request, verb)
        return ScopeProductsShown(
            products=tuple(map(ScopeProductShown.model_validate, products)), finding=finding
        )

    @router.post("/policies/assess", openapi_extra=READERS)
    async def assess(request: Request, body: AssessAsked) -> AssessmentShown:
        """Return the tier that an app would have and why, what it would be admitted to and what would be withheld."""
        applicant = Applicant(
            body.category,
            body.scopes,
            body.client_authentication,
            body.workflows,
            body.placements,
            # As if review certified all that it asks for.
            certified_tier=Tier.HIGH,
            autonomy=body.autonomy,
            population=body.population,
        )

        def verb(ctx: Context) -> AssessmentShown:
            found = service.admission_of(ctx, applicant, tenant=body.tenant, version=body.version)
            coming = observed.foreseen(ctx, applicant, tenant=body.tenant, version=body.version)
            return _shown(found, coming)

        return await run_read(kit, request, verb)


def _shown(found: Admission, coming: tuple[observed.ForeseenLoss, ...]) -> AssessmentShown:
    entry = found.entry
    return AssessmentShown(
        tier=found.assessment.tier,
        sentence=str(found.assessment),
        reasons=tuple(map(ReasonShown.model_validate, found.assessment.reasons)),
        acts_at="" if found.tier is None else found.tier.value,
        scopes=found.scopes,
        withheld=tuple(map(WithheldShown.model_validate, found.withheld)),
        foreseen=tuple(map(ForeseenShown.model_validate, coming)),
        requires=tuple(f"{kind}.{name}" for kind in WAIVABLE_KINDS for name in sorted(getattr(entry, kind)))
        if entry
        else (),
    )
