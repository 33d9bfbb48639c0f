"""The API's routes of people, their charts and resets."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from starlette.requests import Request

from hilum.controls.approvals.models import Asked
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.web.api import (
    ONESELF,
    Id,
    Line,
    Moment,
    Page,
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
from hilum.foundation.web.approvals import WAITS, ApprovalAsked, waits, with_secret
from hilum.foundation.web.kit import Kit
from hilum.identity.enrolment import service
from hilum.identity.enrolment.models import LinkMail, Opened
from hilum.identity.people import service as identity
from hilum.identity.people.models import PEOPLE_SORTS, PROXIES_BOUND, Chart, NewPerson, Person
from hilum.identity.people.policy import is_vendor

ADMINISTRATORS = ("platform_admin", "administrator")


class NewPersonAsked(Strict):
    """Without ``tenant``, for the platform's staff. There is no password: the person sets it through the link.

    With ``mail`` the link is mailed there, if this platform sends mail, and shown to nobody. An account's address never changes.
    """

    tenant: Id | None = None
    username: Line
    name: Line
    role: Line
    fhir_user: Word = ""
    patients: Annotated[tuple[Word, ...], Field(max_length=PROXIES_BOUND)] = ()
    mail: Annotated[Word, Field(max_length=254)] = ""


class FactorsReset(Strict):
    """``reason``: how you verified the person's identity, and what was lost."""

    reason: Annotated[
        Line, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*$")
    ]


class ChartShown(BaseModel):
    """``until``: when the person may no longer open the chart; null without an end."""

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
    mail: str
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
            mail=person.mail,
            active=person.active,
            created_at=person.created_at,
        )


class LinkShown(BaseModel):
    """A one-time link, shown only here. Its owner opens ``url`` and sets the password. ``url`` is null if the link was mailed to them."""

    url: str | None
    expires_at: datetime
    mailed: bool


class PersonOpened(PersonShown):
    """A person with the link for its owner."""

    enrolment: LinkShown


class ChartAsked(Strict):
    patient: Word
    until: Moment | None = None


class ChartsAsked(Strict):
    """The whole list: charts that are not in it are removed."""

    charts: Annotated[tuple[ChartAsked, ...], Field(max_length=PROXIES_BOUND)]


class TenantQuery(Sorted):
    tenant: Id | None = None
    sort: Annotated[str, one_of(PEOPLE_SORTS)] = ""


SetCharts = Callable[[Context, PersonId, tuple[Chart, ...]], Person | Asked]


def api(kit: Kit, by_mail: LinkMail, set_charts: SetCharts = identity.set_charts) -> APIRouter:
    """Build the API routes of people."""
    router = api_router(kit)
    _people(router, kit, set_charts)
    _links(router, kit, by_mail)
    return router


def _people(router: APIRouter, kit: Kit, change_charts: SetCharts) -> None:
    @router.get(
        "/people",
        tags=["identity"],
        response_model=Page[PersonShown],
        openapi_extra=audience(*ADMINISTRATORS),
    )
    async def list_people(request: Request, query: Annotated[TenantQuery, Query()]) -> object:
        """List people of a tenant, or without one the staff, by username or in the requested order."""
        verb = partial(service.list_people, tenant=_tenant(query.tenant), page=query.page)
        people = await run_write(kit, request, verb)
        return page_of(people, PersonShown.of, query, key=PEOPLE_SORTS.cursor(query.sort))

    @router.get("/people/{person}", tags=["identity"], openapi_extra=audience(ONESELF, *ADMINISTRATORS))
    async def get_person(request: Request, person: Id) -> PersonShown:
        """Show a person."""
        verb = partial(identity.view_person, person_id=PersonId(person))
        return PersonShown.of(await run_read(kit, request, verb))

    @router.delete("/people/{person}", tags=["identity"], openapi_extra=audience(*ADMINISTRATORS))
    async def deactivate_person(request: Request, person: Id) -> PersonShown:
        """Deactivate a person for good; not the last platform administrator."""
        verb = partial(identity.deactivate_person, person_id=PersonId(person))
        return PersonShown.of(await run_write(kit, request, verb))

    @router.put(
        "/people/{person}/charts",
        tags=["identity"],
        response_model=PersonShown,
        responses=WAITS,
        openapi_extra=audience(*ADMINISTRATORS),
    )
    async def set_charts(request: Request, person: Id, body: ChartsAsked) -> object:
        """Set the charts that a patient or a proxy may open, each until a moment or without an end. It takes effect at once.

        A chart that is or was another account's own waits for a second person (202).
        """
        charts = tuple(Chart(each.patient, each.until) for each in body.charts)
        outcome = await run_write(kit, request, lambda ctx: change_charts(ctx, PersonId(person), charts))
        return PersonShown.of(outcome) if isinstance(outcome, Person) else waits(outcome)


def _links(router: APIRouter, kit: Kit, by_mail: LinkMail) -> None:
    def sent(found: Opened | Asked) -> Response:
        return with_secret(_opened(kit, found), 201) if isinstance(found, Opened) else waits(found)

    @router.post(
        "/people",
        tags=["enrolment"],
        status_code=201,
        response_model=PersonOpened,
        responses=WAITS,
        openapi_extra=audience(*ADMINISTRATORS),
    )
    async def add_person(request: Request, body: NewPersonAsked) -> Response:
        """Add a person; the answer holds the link through which they set their password.

        Staff of the platform, administrators of a tenant, and people who could open a chart that is or was another account's own are
        added only once a second person approves (202).
        """
        order = NewPerson(
            tenant=_tenant(body.tenant),
            username=body.username,
            name=body.name,
            role=body.role,
            fhir_user=body.fhir_user,
            patients=body.patients,
            mail=body.mail,
        )
        return sent(await run_write(kit, request, partial(service.add_person, order=order, by_mail=by_mail)))

    @router.post(
        "/people/{person}/reset",
        tags=["enrolment"],
        status_code=201,
        response_model=PersonOpened,
        responses=WAITS,
        openapi_extra=audience(*ADMINISTRATORS),
    )
    async def reset_person(request: Request, person: Id) -> Response:
        """Create a new link through which a person sets their password; earlier links stop working.

        For an account in use, or one that takes two people to add, it waits for a second person (202).
        """
        verb = partial(service.reset, person_id=PersonId(person), by_mail=by_mail)
        return sent(await run_write(kit, request, verb))

    @router.post(
        "/people/{person}/reset-factors",
        tags=["enrolment"],
        status_code=202,
        response_model=ApprovalAsked,
        openapi_extra=audience(*ADMINISTRATORS, "vendor_owner"),
    )
    async def reset_factors(request: Request, person: Id, body: FactorsReset) -> Response:
        """Request to remove the second factors of a person who lost them; it waits for a second person.

        After the approval the person's sessions and API tokens end, and they set up a new factor when they sign in. They get a mail.
        """
        verb = partial(service.reset_factors, person_id=PersonId(person), reason=body.reason)
        return waits(await run_write(kit, request, verb))


def _tenant(text: str | None) -> TenantId | None:
    # Members have routes of their own, which check that the vendor exists.
    if text is not None and is_vendor(text):
        raise NotFound("tenant_not_found", "There is no such hospital.")
    return None if text is None else TenantId(text)


def _opened(kit: Kit, found: Opened) -> PersonOpened:
    # Only a digest of the secret is stored, so a lost link can be replaced but not shown again.
    link = found.link
    url = kit.urls.enrol(link.tenant or "", link.secret) if link.secret else None
    return PersonOpened(
        **PersonShown.of(found.person).model_dump(),
        enrolment=LinkShown(url=url, expires_at=link.expires_at, mailed=url is None),
    )
