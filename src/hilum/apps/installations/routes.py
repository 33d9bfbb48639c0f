"""API routes of installations."""

from datetime import datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request

from hilum.apps.installations import service
from hilum.apps.installations.completeness import Reasons
from hilum.apps.installations.models import NETWORKS_BOUND, SORTS, InstallOrder, NarrowOrder, Proposal
from hilum.apps.registry.models import SCOPES_BOUND, Environment
from hilum.foundation.kernel.ids import AppId, FacilityId, TenantId
from hilum.foundation.web.api import (
    Id,
    Line,
    Moment,
    Page,
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
from hilum.identity.people.models import FACILITIES_BOUND

Scopes = Annotated[tuple[Word, ...], Field(max_length=SCOPES_BOUND)]
Facilities = Annotated[frozenset[Id], Field(max_length=FACILITIES_BOUND)]
Networks = Annotated[tuple[Line, ...], Field(max_length=NETWORKS_BOUND)]
Roles = Annotated[frozenset[Line], Field(max_length=20)]


class InstallationAsked(Strict):
    """If ``scopes`` is omitted, all certified ones; launch and identity scopes always come with them. Without ``facilities``, all of them.

    ``denied``: facilities where it may not be opened, in any case. ``networks``: where its backend clients come from; empty: anywhere.
    ``anyway``: also without scopes that the app says it needs; what is left out so is kept in the approval record.
    """

    tenant: Id
    app: Id
    roles: Roles = frozenset()
    scopes: Scopes | None = None
    expires_at: Moment | None = None
    facilities: Facilities | None = None
    denied: Facilities = frozenset()
    default_workflow: Line = ""
    networks: Networks = ()
    anyway: bool = False

    @property
    def order(self) -> InstallOrder:
        return InstallOrder(
            TenantId(self.tenant),
            AppId(self.app),
            self.roles,
            self.scopes,
            self.expires_at,
            _named(self.facilities),
            _named(self.denied) or frozenset(),
            self.default_workflow,
            self.networks,
            self.anyway,
        )


class LeftOutShown(Shown):
    """A scope that the app would not get. ``needed``: it says that it does not work without; else its version does not say.

    ``reason``: why the vendor asks for it; ``work``: the declared workflows that need it.
    """

    scope: str
    needed: bool
    reason: str
    work: tuple[str, ...]


class PreviewShown(Shown):
    """``complete``: nothing is left out that the app says it needs."""

    complete: bool
    left_out: tuple[LeftOutShown, ...]


class NetworksAsked(Strict):
    """In CIDR notation, such as ``192.0.2.0/24`` or ``2001:db8::/48``; empty: from anywhere."""

    networks: Networks


class NarrowAsked(Strict):
    """``denied``: facilities to deny beside those that are denied already. ``anyway``: also if the app says that it does not work then.

    ``revision``: of the installation that you read; refused with 409 if it has changed since. Empty: whatever it is by now.
    """

    roles: Roles | None = None
    scopes: Scopes | None = None
    expires_at: Moment | None = None
    facilities: Facilities | None = None
    denied: Facilities = frozenset()
    default_workflow: Line | None = None
    anyway: bool = False
    revision: Line = ""


class RecordShown(Shown):
    """What was ``asked`` (the scopes certified then) and what was given at the approval; ``facilities`` null: all of them.

    ``without``: what the app says that it needs, and was knowingly left out or taken away since.
    """

    asked: tuple[str, ...]
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    facilities: tuple[str, ...] | None
    denied: tuple[str, ...]
    expires_at: datetime | None
    without: tuple[str, ...]


class InstallationShown(Shown):
    id: str
    tenant: str
    app: str
    scopes: tuple[str, ...]
    roles: frozenset[str]
    approved_by: str
    approved_at: datetime
    expires_at: datetime | None
    removed_at: datetime | None
    environment: Environment
    facilities: frozenset[str] | None
    denied: frozenset[str]
    validated_at: datetime | None
    validated_by: str
    default_workflow: str
    networks: tuple[str, ...]
    without: tuple[str, ...]
    revision: str


class InstallationRecordShown(InstallationShown):
    """With the record of its approval; null for older installations."""

    record: RecordShown | None


class InstallationsQuery(Sorted):
    tenant: Id | None = None
    sort: Annotated[str, one_of(SORTS)] = ""


class ScopesQuery(Strict):
    """``tenant``: one hospital; without it all of them for the staff, and their own for an administrator."""

    days: Literal["30", "90"] = "90"
    tenant: Id | None = None


class ScopeUseShown(Shown):
    """A scope: ``granted`` at so many hospitals, ``used`` by so many permitted requests.

    ``kept``: the part that was used. ``unused``: the rest; a wildcard in it stands for all that ``kept`` does not name.
    """

    scope: str
    asked: bool
    approved: bool
    granted: int
    used: int
    last: datetime | None
    kept: tuple[str, ...]
    unused: tuple[str, ...]


class ScopeComparisonShown(Shown):
    """``narrow_to``: the scopes to narrow ``installation`` to, if that is proposed; ``whole``: nothing was left out at a bound."""

    app: str
    tenant: str
    days: int
    since: datetime
    rows: tuple[ScopeUseShown, ...]
    whole: bool
    installation: str
    installed_at: datetime | None
    proposal: Proposal
    narrow_to: tuple[str, ...]


READERS = audience("staff", "administrator")
NARROWERS = audience("administrator", "platform_admin", "security")


def api(kit: Kit, permits: service.Permits, reasons: Reasons) -> APIRouter:
    """Build the API routes of installations. ``permits`` reads what was permitted to clients, ``reasons`` what for vendors ask for scopes."""
    router = api_router(kit, "registry")
    _installations(router, kit, reasons)
    _networks(router, kit)

    comparers = audience("staff", "administrator", "member")

    @router.get("/apps/{app}/scopes", response_model=ScopeComparisonShown, openapi_extra=comparers)
    async def compare_scopes(request: Request, app: Id, query: Annotated[ScopesQuery, Query()]) -> object:
        """Compare the scopes of an app that are asked for, approved, granted and used, over 30 or 90 days."""
        tenant = None if query.tenant is None else TenantId(query.tenant)
        verb = partial(
            service.compare_scopes, app_id=AppId(app), days=int(query.days), tenant=tenant, permits=permits
        )
        return await run_read(kit, request, verb)

    return router


def _installations(router: APIRouter, kit: Kit, reasons: Reasons) -> None:
    @router.post(
        "/installations",
        status_code=201,
        response_model=InstallationShown,
        openapi_extra=audience("administrator"),
    )
    async def install(request: Request, body: InstallationAsked) -> object:
        """Approve an app at a tenant. Without what the app says that it needs only with ``anyway``."""
        return await run_write(kit, request, partial(service.install, order=body.order, reasons=reasons))

    @router.post(
        "/installations/preview", response_model=PreviewShown, openapi_extra=audience("administrator")
    )
    async def preview(request: Request, body: InstallationAsked) -> object:
        """List what an installation would leave out of what the app needs, what for, and what stops. Nothing changes."""
        # A write, since a refusal is recorded.
        found = await run_write(kit, request, partial(service.preview, order=body.order, reasons=reasons))
        return {"complete": not any(each.needed for each in found), "left_out": found}

    @router.get("/installations", response_model=Page[InstallationShown], openapi_extra=READERS)
    async def list_installations(request: Request, query: Annotated[InstallationsQuery, Query()]) -> object:
        """List current installations, by id or in the order that is asked for."""
        tenant = None if query.tenant is None else TenantId(query.tenant)
        found = await run_read(
            kit, request, partial(service.list_installations, tenant=tenant, page=query.page)
        )
        return page_of(found, InstallationShown.model_validate, query, key=SORTS.cursor(query.sort))

    @router.get(
        "/installations/{installation}", response_model=InstallationRecordShown, openapi_extra=READERS
    )
    async def get_installation(request: Request, installation: Id) -> object:
        """Show an installation: who approved it, what was asked and given, and when it was last validated."""
        return await run_read(kit, request, partial(service.get_installation, installation_id=installation))

    @router.post(
        "/installations/{installation}/validation",
        response_model=InstallationRecordShown,
        openapi_extra=audience("administrator"),
    )
    async def revalidate(request: Request, installation: Id) -> object:
        """Record that the hospital looked at an installation in force again, and leaves it as it is."""
        return await run_write(kit, request, partial(service.revalidate, installation_id=installation))

    @router.patch("/installations/{installation}", response_model=InstallationShown, openapi_extra=NARROWERS)
    async def narrow_installation(request: Request, installation: Id, body: NarrowAsked) -> object:
        """Reduce the scopes, roles, facilities or duration of an installation."""
        order = NarrowOrder(
            body.scopes,
            body.roles,
            body.expires_at,
            _named(body.facilities),
            _named(body.denied) or frozenset(),
            body.default_workflow,
            body.anyway,
            body.revision,
        )
        verb = partial(
            service.narrow_installation, installation_id=installation, order=order, reasons=reasons
        )
        return await run_write(kit, request, verb)

    @router.delete("/installations/{installation}", response_model=InstallationShown, openapi_extra=NARROWERS)
    async def uninstall(request: Request, installation: Id) -> object:
        """Remove an app from a tenant."""
        return await run_write(kit, request, partial(service.uninstall, installation_id=installation))


def _networks(router: APIRouter, kit: Kit) -> None:
    @router.put(
        "/installations/{installation}/networks", response_model=InstallationShown, openapi_extra=NARROWERS
    )
    async def pin_networks(request: Request, installation: Id, body: NetworksAsked) -> object:
        """Set the networks that the app's backend clients come from at this hospital. Security staff may only pin further."""
        verb = partial(service.pin_networks, installation_id=installation, asked=body.networks)
        return await run_write(kit, request, verb)


def _named(asked: frozenset[str] | None) -> frozenset[FacilityId] | None:
    return None if asked is None else frozenset(map(FacilityId, asked))
