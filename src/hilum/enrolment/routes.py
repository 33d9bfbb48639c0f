"""The API's people, resets and approvals."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.enrolment import service
from hilum.enrolment.models import Approval, ApprovalKind, ApprovalState, Asked, Opened
from hilum.identity import service as identity
from hilum.identity.models import PROXIES_BOUND, Chart, NewPerson, Person
from hilum.kernel.ids import PersonId, TenantId
from hilum.web.api import (
    ONESELF,
    Id,
    Line,
    Moment,
    Page,
    Paging,
    Strict,
    Word,
    api_router,
    audience,
    change,
    look,
    page_of,
)
from hilum.web.kit import Kit

ADMINISTRATORS = ("platform_admin", "administrator")
SECONDS = ("platform_admin", "security", "administrator")


class NewPersonAsked(Strict):
    """``tenant`` is left out for the platform's staff. There is no password: its owner sets it through the link."""

    tenant: Id | None = None
    username: Line
    name: Line
    role: Line
    fhir_user: Word = ""
    patients: Annotated[tuple[Word, ...], Field(max_length=PROXIES_BOUND)] = ()


class ChartShown(BaseModel):
    """``until``: when it is theirs no more; null without an end."""

    patient: str
    until: datetime | None


class PersonShown(BaseModel):
    id: str
    tenant: str | None
    username: str
    name: str
    role: str
    fhir_user: str
    patients: tuple[str, ...]
    charts: list[ChartShown]
    active: bool
    created_at: datetime | None

    @classmethod
    def of(cls, person: Person) -> "PersonShown":
        ends = dict(person.chart_ends)
        return cls(
            id=person.id,
            tenant=person.tenant,
            username=person.username,
            name=person.name,
            role=person.role,
            fhir_user=person.fhir_user,
            patients=person.patients,
            charts=[ChartShown(patient=each, until=ends.get(each)) for each in person.patients],
            active=person.active,
            created_at=person.created_at,
        )


class LinkShown(BaseModel):
    """A one-time link, shown here only. Its owner opens ``url`` and sets the password."""

    url: str
    expires_at: datetime


class PersonOpened(PersonShown):
    """A person with the link for its owner. Where ``setup_code_needed``, the owner also needs the code that the asker was shown."""

    enrolment: LinkShown
    setup_code_needed: bool


class ApprovalShown(BaseModel):
    """What waits for a second person, or was decided. ``person`` is empty while there is nobody yet."""

    id: str
    kind: ApprovalKind
    state: ApprovalState
    tenant: str | None
    person: str
    username: str
    name: str
    role: str
    fhir_user: str
    patients: tuple[str, ...]
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None

    @classmethod
    def of(cls, found: Approval) -> "ApprovalShown":
        order = found.order
        return cls(
            id=found.id,
            kind=found.kind,
            state=found.state,
            tenant=found.tenant,
            person=found.person,
            username=order.username,
            name=order.name,
            role=order.role,
            fhir_user=order.fhir_user,
            patients=order.patients,
            asked_by=found.asked_by,
            asked_at=found.asked_at,
            expires_at=found.expires_at,
            decided_by=found.decided_by,
            decided_at=found.decided_at,
        )


class ApprovalAsked(BaseModel):
    """Nothing happens before a second person approves. ``setup_code`` is for the account's owner, by another way than the link."""

    approval: ApprovalShown
    setup_code: str


class ChartAsked(Strict):
    patient: Word
    until: Moment | None = None


class ChartsAsked(Strict):
    """The whole list: what is not in it is taken away."""

    charts: Annotated[tuple[ChartAsked, ...], Field(max_length=PROXIES_BOUND)]


class TenantQuery(Paging):
    tenant: Id | None = None


_WAITS: dict[int | str, dict[str, Any]] = {
    202: {"model": ApprovalAsked, "description": "Waits for a second person."}
}


def api(kit: Kit) -> APIRouter:
    """Build the API routes of people and approvals."""
    router = api_router(kit)
    _people(router, kit)
    _ways_in(router, kit)
    _approvals(router, kit)
    return router


def _people(router: APIRouter, kit: Kit) -> None:
    @router.get(
        "/people",
        tags=["identity"],
        response_model=Page[PersonShown],
        openapi_extra=audience(*ADMINISTRATORS),
    )
    async def list_people(request: Request, query: Annotated[TenantQuery, Query()]) -> object:
        """List people of a tenant by username; without one, the staff."""
        verb = partial(identity.list_people, tenant=_tenant(query.tenant), page=query.page)
        found = await look(kit, request, verb)
        return page_of(found, PersonShown.of, query, key=lambda each: each.username)

    @router.get("/people/{person}", tags=["identity"], openapi_extra=audience(ONESELF, *ADMINISTRATORS))
    async def get_person(request: Request, person: Id) -> PersonShown:
        """Show somebody."""
        verb = partial(identity.view_person, person_id=PersonId(person))
        return PersonShown.of(await look(kit, request, verb))

    @router.delete("/people/{person}", tags=["identity"], openapi_extra=audience(*ADMINISTRATORS))
    async def deactivate_person(request: Request, person: Id) -> PersonShown:
        """Deactivate somebody for good; not the last platform administrator."""
        verb = partial(identity.deactivate_person, person_id=PersonId(person))
        return PersonShown.of(await change(kit, request, verb))

    @router.put("/people/{person}/charts", tags=["identity"], openapi_extra=audience(*ADMINISTRATORS))
    async def set_charts(request: Request, person: Id, body: ChartsAsked) -> PersonShown:
        """Set the charts that a patient or a proxy may open, each until a moment or without an end. It takes effect at once."""
        charts = tuple(Chart(each.patient, each.until) for each in body.charts)
        verb = partial(identity.set_charts, person_id=PersonId(person), charts=charts)
        return PersonShown.of(await change(kit, request, verb))


def _ways_in(router: APIRouter, kit: Kit) -> None:
    def sent(found: Opened | Asked) -> Response:
        if isinstance(found, Opened):
            return _json(_opened(kit, found, setup_code_needed=False), 201)
        return _json(
            ApprovalAsked(approval=ApprovalShown.of(found.approval), setup_code=found.setup_code), 202
        )

    @router.post(
        "/people",
        tags=["enrolment"],
        status_code=201,
        response_model=PersonOpened,
        responses=_WAITS,
        openapi_extra=audience(*ADMINISTRATORS),
    )
    async def add_person(request: Request, body: NewPersonAsked) -> Response:
        """Add somebody; the answer holds the link through which they set their password.

        The platform's staff and administrators of a tenant wait for a second person (202); then nobody exists yet.
        """
        order = NewPerson(
            tenant=_tenant(body.tenant),
            username=body.username,
            name=body.name,
            role=body.role,
            fhir_user=body.fhir_user,
            patients=body.patients,
        )
        return sent(await change(kit, request, partial(service.add_person, order=order)))

    @router.post(
        "/people/{person}/reset",
        tags=["enrolment"],
        status_code=201,
        response_model=PersonOpened,
        responses=_WAITS,
        openapi_extra=audience(*ADMINISTRATORS),
    )
    async def reset_person(request: Request, person: Id) -> Response:
        """Make a new link through which somebody sets their password; links before it are dead.

        For an account in use, or one with power over others, it waits for a second person (202).
        """
        verb = partial(service.reset, person_id=PersonId(person))
        return sent(await change(kit, request, verb))


def _approvals(router: APIRouter, kit: Kit) -> None:
    @router.get(
        "/approvals",
        tags=["enrolment"],
        response_model=Page[ApprovalShown],
        openapi_extra=audience(*SECONDS),
    )
    async def list_approvals(request: Request, query: Annotated[TenantQuery, Query()]) -> object:
        """List what waits for a second person, oldest first."""
        verb = partial(service.list_approvals, tenant=_tenant(query.tenant), page=query.page)
        found = await look(kit, request, verb)
        return page_of(found, ApprovalShown.of, query)

    @router.post(
        "/approvals/{approval}/approve",
        tags=["enrolment"],
        response_model=PersonOpened,
        openapi_extra=audience(*SECONDS),
    )
    async def approve(request: Request, approval: Id) -> Response:
        """Agree, as the second person. The link in the answer works only with the setup code that the asker was shown."""
        verb = partial(service.approve, approval_id=approval)
        return _json(_opened(kit, await change(kit, request, verb), setup_code_needed=True), 200)

    @router.post("/approvals/{approval}/refuse", tags=["enrolment"], openapi_extra=audience(*SECONDS))
    async def refuse(request: Request, approval: Id) -> ApprovalShown:
        """Turn down what was asked, or take back what one asked oneself."""
        return ApprovalShown.of(await change(kit, request, partial(service.refuse, approval_id=approval)))


def _json(shown: BaseModel, status: int) -> Response:
    """Write an answer that holds a secret, which no cache may keep."""
    headers = {"cache-control": "no-store"}
    return Response(shown.model_dump_json(), status, media_type="application/json", headers=headers)


def _tenant(text: str | None) -> TenantId | None:
    return None if text is None else TenantId(text)


def _opened(kit: Kit, found: Opened, *, setup_code_needed: bool) -> PersonOpened:
    url = kit.urls.enrol(found.link.tenant or "", found.link.secret)
    return PersonOpened(
        **PersonShown.of(found.person).model_dump(),
        enrolment=LinkShown(url=url, expires_at=found.link.expires_at),
        setup_code_needed=setup_code_needed,
    )
