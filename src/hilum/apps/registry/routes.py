"""API routes of vendors, apps and certifications."""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.apps.registry import service
from hilum.apps.registry.exception_routes import add_exceptions, add_tiers
from hilum.apps.registry.models import (
    APP_SORTS,
    PARTS_BOUND,
    SCOPES_BOUND,
    VENDOR_SORTS,
    AiUse,
    App,
    AppState,
    CertifyOrder,
    Environment,
    NewApp,
    NewVendor,
    NewVersion,
    Profile,
    Subcontractor,
)
from hilum.apps.registry.profiles import missing_metadata
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
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
from hilum.policy.matrix.models import (
    NAMES_BOUND,
    NOT_DECLARED,
    Autonomy,
    ClientAuthentication,
    Population,
    Tier,
)

Scopes = Annotated[tuple[Word, ...], Field(max_length=SCOPES_BOUND)]


Names = Annotated[tuple[Word, ...], Field(max_length=NAMES_BOUND)]


class VendorAsked(Strict):
    name: Line
    support_contact: Line
    security_contact: Line
    website: Word = ""


class VendorShown(Shown):
    id: str
    name: str
    support_contact: str
    security_contact: str
    website: str


class AppAsked(Strict):
    vendor: Id
    name: Line
    description: Prose
    purpose: Prose
    category: Line


class AppShown(Shown):
    id: str
    vendor: str
    name: str
    description: str
    purpose: str
    category: str
    state: AppState
    tenant: str | None
    created_at: datetime | None
    owner_since: datetime | None
    purpose_since: datetime | None
    ask_again_since: datetime | None
    logo: str
    """The digest of its logo, which is at ``/logos/app/{id}/{logo}.png``; empty if it has none."""
    revision: str


class CategoryAsked(Strict):
    category: Line
    reason: Prose


class MovedShown(Shown):
    """What the move means for a certification in force: scopes to certify again in the new category, and those that it does not allow."""

    certification: str
    version: str
    tiers: dict[ClientAuthentication, str]
    certify_again: tuple[str, ...]
    not_allowed: tuple[str, ...]


class CategoryChanged(BaseModel):
    app: AppShown
    certifications: tuple[MovedShown, ...]


class SubcontractorAsked(Strict):
    name: Line
    purpose: Line
    region: Word


class ProfileAsked(Strict):
    """Omitted fields are not stated. ``subcontractors``: an empty list means none."""

    revision: Annotated[int, Field(ge=0, le=1_000_000)]
    owner: Line = ""
    support_contact: Line = ""
    security_contact: Line = ""
    security_escalation: Line = ""
    privacy_policy: Word = ""
    terms: Word = ""
    stores_data: bool | None = None
    retention: Prose = ""
    retention_days: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    subcontractors: Annotated[tuple[SubcontractorAsked, ...], Field(max_length=PARTS_BOUND)] | None = None
    hosting_regions: Annotated[tuple[Word, ...], Field(max_length=PARTS_BOUND)] = ()


class ProfileShown(BaseModel):
    """``missing`` lists the fields without which the app cannot be submitted."""

    app: str
    revision: int
    owner: str
    support_contact: str
    security_contact: str
    security_escalation: str
    privacy_policy: str
    terms: str
    stores_data: bool | None
    retention: str
    retention_days: int | None
    subcontractors: tuple[dict[str, str], ...] | None
    hosting_regions: tuple[str, ...]
    missing: tuple[str, ...]


class ReasonAsked(Strict):
    reason: Prose


class AiUseAsked(Strict):
    """The AI that a version uses. ``human_step``: what a person does before anything comes of it. ``model_card_digest``: SHA-256 in hex."""

    model: Line
    purpose: Prose
    autonomy: Autonomy
    human_step: Prose = ""
    model_card: Word = ""
    model_card_digest: Word = ""


class AiUseShown(Shown):
    model: str
    purpose: str
    autonomy: Autonomy
    human_step: str
    model_card: str
    model_card_digest: str


class VersionAsked(Strict):
    """Workflows and placements of the policy. An omitted list counts as all, and so against the app; an empty list means none.

    Without ``ai_use`` it declares that it uses no AI. ``optional_scopes``: those that it can do without; left out, it does not say.
    ``population``: how many patients of a hospital it reaches; left out, it counts as every one.
    """

    label: Line
    workflows: Names = NOT_DECLARED
    placements: Names = NOT_DECLARED
    ai_use: AiUseAsked | None = None
    optional_scopes: Scopes | None = None
    population: Population | None = None


class VersionShown(Shown):
    id: str
    app: str
    label: str
    created_at: datetime
    workflows: tuple[str, ...]
    placements: tuple[str, ...]
    ai_use: AiUseShown | None
    optional_scopes: tuple[str, ...] | None
    population: Population | None


class CertificationAsked(Strict):
    version: Id
    environment: Environment
    scopes: Scopes
    expires_at: Moment


class CertificationShown(Shown):
    id: str
    app: str
    version: str
    environment: Environment
    scopes: tuple[str, ...]
    certified_by: str
    certified_at: datetime
    expires_at: datetime
    category: str
    withdrawn_at: datetime | None
    submission: str
    tier: Tier | None
    tiers: dict[ClientAuthentication, Tier]


REGISTRARS = audience("platform_admin")
READERS = audience("staff", "administrator", "member")
DEVELOPERS = audience("platform_admin", "vendor_owner", "vendor_developer")
WRITERS = audience("platform_admin", "vendor_owner", "vendor_developer", large=True)
OWNERS = audience("platform_admin", "vendor_owner")
PROFILERS = audience("platform_admin", "vendor_owner", large=True)


def api(
    kit: Kit,
    *,
    barred: service.Barred,
    ended: service.Ended = service.ignored,
) -> APIRouter:
    """Build the API routes of the registry."""
    router = api_router(kit, "registry")
    for part in (
        _vendors_and_apps,
        _states,
        add_tiers,
        partial(add_exceptions, barred=barred),
        _profiles,
        partial(
            _certifications,
            ended=ended,
            barred=barred,
        ),
    ):
        part(router, kit)
    return router


class VendorsQuery(Sorted):
    sort: Annotated[str, one_of(VENDOR_SORTS)] = ""


class AppsAsked(Sorted):
    sort: Annotated[str, one_of(APP_SORTS)] = ""


def _new_version(body: VersionAsked) -> NewVersion:
    return NewVersion(
        body.label,
        body.workflows,
        body.placements,
        _ai_use(body.ai_use),
        body.optional_scopes,
        body.population,
    )


def _vendors_and_apps(router: APIRouter, kit: Kit) -> None:
    @router.post("/vendors", status_code=201, response_model=VendorShown, openapi_extra=REGISTRARS)
    async def add_vendor(request: Request, body: VendorAsked) -> object:
        """Add a vendor."""
        return await run_write(
            kit, request, partial(service.add_vendor, order=NewVendor(**body.model_dump()))
        )

    @router.get("/vendors", response_model=Page[VendorShown], openapi_extra=READERS)
    async def list_vendors(request: Request, query: Annotated[VendorsQuery, Query()]) -> object:
        """List vendors."""
        found = await run_read(kit, request, partial(service.list_vendors, page=query.page))
        return page_of(found, VendorShown.model_validate, query, key=VENDOR_SORTS.cursor(query.sort))

    @router.post("/apps", status_code=201, response_model=AppShown, openapi_extra=DEVELOPERS)
    async def add_app(request: Request, body: AppAsked) -> object:
        """Add an app of a vendor, in a category of the policy that is open."""
        order = NewApp(VendorId(body.vendor), body.name, body.description, body.purpose, body.category)
        return await run_write(kit, request, partial(service.add_app, order=order))

    @router.get("/apps", response_model=Page[AppShown], openapi_extra=READERS)
    async def list_apps(request: Request, query: Annotated[AppsAsked, Query()]) -> object:
        """List apps."""
        found = await run_read(kit, request, partial(service.list_apps, page=query.page))
        return page_of(found, AppShown.model_validate, query, key=APP_SORTS.cursor(query.sort))

    @router.get("/apps/{app}", response_model=AppShown, openapi_extra=READERS)
    async def get_app(request: Request, app: Id) -> object:
        """Show an app."""
        return await run_read(kit, request, partial(service.view_app, app_id=AppId(app)))

    @router.post("/apps/{app}/category", openapi_extra=audience("platform_admin", "reviewer"))
    async def change_category(request: Request, app: Id, body: CategoryAsked) -> CategoryChanged:
        """Move an app to another category. What only the new one allows is withheld until it is certified there."""
        verb = partial(service.change_category, app_id=AppId(app), category=body.category, reason=body.reason)
        moved, certifications = await run_write(kit, request, verb)
        return CategoryChanged(
            app=AppShown.model_validate(moved),
            certifications=tuple(map(MovedShown.model_validate, certifications)),
        )

    @router.post("/apps/{app}/versions", status_code=201, response_model=VersionShown, openapi_extra=WRITERS)
    async def add_version(request: Request, app: Id, body: VersionAsked) -> object:
        """Add a version of an app, with the workflows and placements that it is made for."""
        order = _new_version(body)
        return await run_write(kit, request, partial(service.add_version, app_id=AppId(app), order=order))

    @router.get("/apps/{app}/versions", response_model=Page[VersionShown], openapi_extra=READERS)
    async def list_versions(request: Request, app: Id, query: Annotated[Paging, Query()]) -> object:
        """List an app's versions, newest first."""
        verb = partial(service.list_versions, app_id=AppId(app), page=query.page)
        return page_of(await run_read(kit, request, verb), VersionShown.model_validate, query)


def _states(router: APIRouter, kit: Kit) -> None:
    stoppers = audience("platform_admin", "security")

    @router.post("/apps/{app}/suspend", response_model=AppShown, openapi_extra=stoppers)
    async def suspend_app(request: Request, app: Id, body: ReasonAsked) -> object:
        """Suspend an app everywhere, with a reason."""
        return await run_write(
            kit, request, partial(service.suspend_app, app_id=AppId(app), reason=body.reason)
        )

    @router.post("/apps/{app}/ask-again", response_model=AppShown, openapi_extra=stoppers)
    async def ask_again(request: Request, app: Id, body: ReasonAsked) -> object:
        """Have everybody who agreed to an app asked again at the next launch, such as after an incident."""
        return await run_write(
            kit, request, partial(service.ask_again, app_id=AppId(app), reason=body.reason)
        )

    @router.post("/apps/{app}/resume", response_model=AppShown, openapi_extra=stoppers)
    async def resume_app(request: Request, app: Id, body: ReasonAsked) -> object:
        """End an app's suspension, with a reason."""
        return await run_write(
            kit, request, partial(service.resume_app, app_id=AppId(app), reason=body.reason)
        )


def _ai_use(asked: AiUseAsked | None) -> AiUse | None:
    return None if asked is None else AiUse(**asked.model_dump())


def _profiles(router: APIRouter, kit: Kit) -> None:
    @router.get("/apps/{app}/profile", openapi_extra=audience("staff", "member"))
    async def get_profile(request: Request, app: Id) -> ProfileShown:
        """Show what a vendor states about an app, and which statements are missing before it can be submitted."""
        return _profile(*await run_read(kit, request, partial(service.view_profile, app_id=AppId(app))))

    @router.put("/apps/{app}/profile", openapi_extra=PROFILERS)
    async def save_profile(request: Request, app: Id, body: ProfileAsked) -> ProfileShown:
        """Replace what a vendor states about an app. ``revision`` is the one that was read; after another change it is refused (409)."""
        stated = body.model_dump()
        others = stated.pop("subcontractors")
        parts = None if others is None else tuple(Subcontractor(**each) for each in others)
        profile = Profile(**stated, subcontractors=parts)
        verb = partial(service.save_profile, app_id=AppId(app), profile=profile)
        return _profile(*await run_write(kit, request, verb))


def _profile(app: App, profile: Profile) -> ProfileShown:
    return ProfileShown(app=app.id, missing=missing_metadata(app, profile), **asdict(profile))


def _certifications(
    router: APIRouter,
    kit: Kit,
    *,
    ended: service.Ended,
    barred: service.Barred,
) -> None:
    @router.post(
        "/certifications",
        status_code=201,
        response_model=CertificationShown,
        openapi_extra=audience("reviewer"),
    )
    async def certify(request: Request, body: CertificationAsked) -> object:
        """Certify a version by hand for these scopes until a date, for sandboxes. For production its disciplines decide: `/submissions`."""
        order = CertifyOrder(VersionId(body.version), body.environment, body.scopes, body.expires_at)
        verb = partial(
            service.certify,
            order=order,
            barred=barred,
        )
        return await run_write(kit, request, verb)

    @router.get("/apps/{app}/certifications", response_model=Page[CertificationShown], openapi_extra=READERS)
    async def list_certifications(request: Request, app: Id, query: Annotated[Paging, Query()]) -> object:
        """List an app's certifications, newest first."""
        verb = partial(service.list_certifications, app_id=AppId(app), page=query.page)
        return page_of(await run_read(kit, request, verb), CertificationShown.model_validate, query)

    @router.delete(
        "/certifications/{certification}",
        response_model=CertificationShown,
        openapi_extra=audience("reviewer"),
    )
    async def withdraw_certification(request: Request, certification: Id) -> object:
        """Withdraw a certification."""
        verb = partial(service.withdraw_certification, certification_id=certification, ended=ended)
        return await run_write(kit, request, verb)
