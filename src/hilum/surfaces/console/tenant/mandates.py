"""Backend services at a hospital and the people who answer for them: asked by an administrator, agreed to by the person who is named."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientType
from hilum.apps.installations import service as installations
from hilum.apps.names.models import Kind
from hilum.apps.service_owners import service
from hilum.apps.service_owners.models import (
    APPROVER_ROLES,
    GRACE,
    SORTS,
    WAITING_LIFE,
    Mandate,
    MandateQuery,
    MandateState,
    NewMandate,
)
from hilum.apps.service_owners.policy import is_approver, may_ask, state_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import ClientId, PersonId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.surfaces.console import fields, words
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.tenant.apps import fits, own

UNANSWERED_SHOWN = 20
"""Services without anybody that the page names."""
APPS_READ = 500
"""Apps of the hospital among whose clients a form looks for backend services."""
_STATES = {
    MandateState.WAITING: ("not agreed yet", "accent"),
    MandateState.IN_FORCE: ("in force", "good"),
    MandateState.APPROVER_LOST: ("nobody answers for it", "bad"),
    MandateState.OVER: ("over", "plain"),
}


async def show_list(visit: Visit) -> Response:
    """List the mandates of the hospital, or those that name the visitor."""
    asks = visit.may_open("tenant.mandate_new")
    nobody = await visit.read(_unanswered) if asks else []
    shown = List(
        columns=(
            Column("Service"),
            Column("State"),
            Column("For"),
            Column("Answers for it"),
            Column("Until", "until", number=True),
        ),
        one="mandate",
        many="mandates",
        empty=Empty(
            "Nobody answers for a backend service yet" if asks else "Nobody named you",
            "Name a colleague for each service: it gets no token here before they agree."
            if asks
            else "When an administrator names you for a backend service, you agree or decline here.",
            address("tenant.mandate_new") if asks else "",
            "Name somebody",
        ),
        filters=(Filter("show", "Show", (Option("findings", "Nobody answers for it"),)),),
    )
    return await visit.show_list(
        shown,
        _listed,
        "console/mandates/list.html",
        nobody=nobody[:UNANSWERED_SHOWN],
        more=len(nobody) - UNANSWERED_SHOWN,
        lead="Programs that read records by themselves. For each, a person here answers for what it does.",
        action=("Name somebody", address("tenant.mandate_new")) if asks else None,
    )


def _unanswered(ctx: Context) -> list[tuple[str, str, Any]]:
    """Return name, what was written down and end of each service that nobody of the hospital answers for."""
    found = installations.list_unanswered(ctx, own(ctx).id)
    return [(each.name, each.text, each.ends_at) for each in found]


def _listed(ctx: Context, asked: Asked) -> Listed:
    query = MandateQuery(findings=asked["show"] == "findings")
    page = PageQuery(asked.after, ROWS, asked.order)
    found = service.list_mandates(ctx, query, page)
    known = _names(ctx, *found)
    rows = [
        (
            Cell(
                known.get(each.client, each.client),
                address("tenant.mandate", each.id),
                known.get(each.app, ""),
            ),
            _state(each, ctx),
            Cell(each.purpose),
            Cell(_approver(ctx, each, known)),
            Cell("", at=each.ends_at),
        )
        for each in found
    ]
    return Listed(rows, next=SORTS.next(found, page))


def _names(ctx: Context, *found: Mandate) -> dict[str, str]:
    ids: list[str] = []
    for each in found:
        ids += [each.client, each.app, each.vendor, each.approver, each.asked_by, each.ended_by]
    of = clients.read_named(ctx, sorted({each.client for each in found})) if found else []
    # A client's id need not look like one: those of the sandbox are words.
    called = {str(each.id): each.name for each in of}
    return fields.names(ctx, ids, [each.tenant for each in found]) | called


def _approver(ctx: Context, found: Mandate, known: dict[str, str]) -> str:
    """Return who answers, as the reader may know it: a clinician sees no names of colleagues."""
    return "You" if is_approver(ctx.actor, found) else known.get(found.approver, "A colleague")


def _state(found: Mandate, ctx: Context) -> Cell:
    state = state_of(found, ctx.now)
    text, tone = _STATES[state]
    if state is MandateState.WAITING and is_approver(ctx.actor, found):
        text = "waiting for you"
    return Cell(text, kind="badge", tone=tone)


async def show_new(visit: Visit) -> Response:
    """Show the form that names somebody for a backend service."""
    return await _form(visit)


async def _form(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    return visit.render(
        "console/mandates/new.html",
        **fields.answered(given, error),
        **await visit.read(partial(_offered, visit=visit)),
    )


def _offered(ctx: Context, visit: Visit) -> dict[str, Any]:
    tenant = own(ctx)
    people = identity.list_people(ctx, tenant.id, PageQuery(limit=PAGE_BOUND))
    me = visit.visitor.person.id
    return {
        "services": _services(ctx, tenant),
        "people": [
            (each.username, f"{each.name}, {words.role(each.role)}")
            for each in people
            if each.active and each.role in APPROVER_ROLES and each.id != me
        ],
        "days": WAITING_LIFE.days,
    }


def _services(ctx: Context, tenant: Tenant) -> list[tuple[str, str]]:
    """Return the backend services of the apps that are installed at a hospital."""
    apps = installations.apps_at(ctx, tenant.id)[:APPS_READ]
    facts = clients.facts_of_apps(ctx, apps) if apps else {}
    ids = [
        each.id
        for of in facts.values()
        for each in of
        if each.type is ClientType.BACKEND
        and each.expires_at is not None
        and each.expires_at > ctx.now
        and fits(each.environment, tenant)
    ]
    known = fields.names(ctx, list(facts))
    found = [each for each in clients.read_named(ctx, ids) if each.backend_use is not None]
    return sorted(((str(each.id), _called(each, known)) for each in found), key=lambda each: each[1])


def _called(client: Client, known: dict[str, str]) -> str:
    app = known.get(client.app, "")
    return client.name if client.name == app or not app else f"{client.name} ({app})"


async def ask(visit: Visit, form: Form) -> Response:
    """Ask a colleague to answer for a backend service."""

    def verb(ctx: Context) -> Mandate:
        if not form.one("client"):
            raise Invalid("mandate_invalid", "Choose a service.", fields={"client": "missing"})
        order = NewMandate(
            own(ctx).id,
            ClientId(form.one("client")),
            PersonId(fields.named(ctx, Kind.PERSON, form.one("approver"), "approver")),
            fields.day(form, "ends_at"),
        )
        return service.ask(ctx, order)

    try:
        found = await visit.write(verb)
    except Invalid as error:
        return await _form(visit, form, error)
    return to(address("tenant.mandate", found.id))


async def show(visit: Visit) -> Response:
    """Show what the approver of a service is asked to agree to, or agreed to."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(partial(_shown, id_=visit.param()))
    return visit.render(
        "console/mandates/mandate.html",
        **fields.answered(given, error),
        **facts,
    )


def _shown(ctx: Context, id_: str) -> dict[str, Any]:
    found = service.get_mandate(ctx, id_)
    known = _names(ctx, found)
    state, mine = state_of(found, ctx.now), is_approver(ctx.actor, found)
    return {
        "found": found,
        "name": known.get(found.client, found.client),
        "app": known.get(found.app, found.app),
        "vendor": known.get(found.vendor, "its vendor"),
        "hospital": known.get(found.tenant, found.tenant),
        "state": _state(found, ctx),
        "approver": _approver(ctx, found, known),
        "asked_by": known.get(found.asked_by, "an administrator"),
        "ended_by": fields.who(known, found.ended_by, "an administrator") if found.ended_by else "",
        "waits": state is MandateState.WAITING,
        "waits_until": found.asked_at + WAITING_LIFE,
        "lost_until": found.lost_at + GRACE if found.lost_at else None,
        "agrees": mine and state is MandateState.WAITING,
        "ends": state is not MandateState.OVER and (mine or may_ask(ctx.actor, found.tenant)),
    }


async def act(visit: Visit, form: Form) -> Response:
    """Agree as the person who is named, or end the mandate."""
    id_ = visit.param()

    def verb(ctx: Context) -> object:
        match form.one("act"):
            case "agree":
                return service.agree(ctx, id_)
            case "end":
                return service.end(ctx, id_, form.one("reason"))
            case _:
                raise fields.no_such_act()

    try:
        await visit.write(verb)
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address("tenant.mandate", id_))
