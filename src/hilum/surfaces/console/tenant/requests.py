"""What people of a hospital and vendors ask for, and the two answers."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.installations.models import LeftOut
from hilum.apps.installations.policy import may_install
from hilum.authorization.consent.policy import plain_words
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.hospitals.requests import service as requests
from hilum.hospitals.requests.models import REQUEST_SORTS, AppRequest, ApproveOrder, State
from hilum.surfaces.console import fields, service, words
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.tenant import forms as choices

LIST = List(
    columns=(
        Column("App"),
        Column("State"),
        Column("Asked by"),
        Column("For"),
        Column("Since", "since", number=True),
    ),
    one="request",
    many="requests",
    empty=Empty(
        "Nobody asks for an app",
        "What your colleagues and vendors ask for is listed here.",
    ),
    filters=(
        Filter(
            "state",
            "State",
            tuple(
                Option(state.value, state.value.capitalize()) for state in State if state is not State.OPEN
            ),
            unset="Waiting",
        ),
    ),
)
_TONES = {State.OPEN: "accent", State.APPROVED: "good"}


async def show_list(visit: Visit) -> Response:
    """List requests, those that wait first."""
    return await visit.show_list(LIST, _listed)


def _listed(ctx: Context, asked: Asked) -> Listed:
    state = State(asked["state"]) if asked["state"] else State.OPEN
    page = PageQuery(asked.after, ROWS, asked.order)
    found = requests.list_requests(ctx, state=state, page=page)
    names = service.names(ctx, [id_ for request in found for id_ in (request.app, request.person)])
    rows = [
        (
            Cell(names.app(request.app), address("tenant.ask", request.id)),
            Cell(_in_words(request), kind="badge", tone=_TONES.get(state, "plain")),
            Cell(names.person(request.person)),
            Cell(", ".join(sorted(map(words.role, request.roles)))),
            Cell("", at=request.asked_at),
        )
        for request in found
    ]
    return Listed(rows, None, next=REQUEST_SORTS.next(found, page))


def _in_words(request: AppRequest) -> str:
    return "waiting for you" if request.state is State.OPEN else request.state.value


async def show(visit: Visit) -> Response:
    """Show who asks for an app, for what and why, and the two answers."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(lambda ctx: _shown(ctx, visit.param()))
    return visit.render("console/tenant/request.html", **fields.answered(given, error), **facts)


def _shown(ctx: Context, request_id: str) -> dict[str, Any]:
    request = requests.view_request(ctx, request_id)
    is_open = request.state is State.OPEN
    names = service.names(ctx, [request.app, request.person, request.decided_by])
    return {
        "asked": request,
        "app": names.app(request.app),
        "app_href": address("tenant.app", request.app),
        "is_open": is_open,
        "state": _in_words(request),
        "person": names.person(request.person),
        "role": words.asker(request.role),
        "decided_by": names.actor(request.decided_by) if request.decided_by else "",
        "permissions": choices.in_words(request.scopes),
        "roles": sorted(map(words.role, request.roles)),
        "others": requests.count_waiting(ctx, request.tenant, request.app).count - 1 if is_open else 0,
        "without": _without(ctx, request),
    }


def _without(ctx: Context, request: AppRequest) -> list[tuple[LeftOut, str]]:
    """Return what the app would go without, of what it says that it needs, each with its words; nothing for who may not decide."""
    if not may_install(ctx.actor, request.tenant):
        return []
    needed = [left_out for left_out in requests.preview(ctx, request.id) if left_out.needed]
    return [(left_out, plain_words(left_out.scope).title) for left_out in needed]


async def decide(visit: Visit, form: Form) -> Response:
    """Approve what is asked for, or decline it with a reason."""
    request_id, reason = visit.param(), form.one("reason")
    verb: partial[AppRequest]
    match form.one("decision"):
        case "approve":
            order = ApproveOrder(request_id, reason, anyway=form.one("anyway") == "yes")
            verb = partial(requests.approve, order=order)
        case "decline":
            everybody = form.one("everybody") == "yes"
            verb = partial(requests.decline, request_id=request_id, reason=reason, everybody=everybody)
        case _:
            raise Invalid(
                "decision_missing", "Choose whether to approve or to decline.", fields={"decision": "missing"}
            )
    try:
        await visit.write(verb)
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address("tenant.ask", request_id))
