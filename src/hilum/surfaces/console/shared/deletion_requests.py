"""Requests to delete what an app has: at a hospital what is open, at a vendor what to answer."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.deletion_requests import service
from hilum.apps.deletion_requests.models import (
    REASON_BOUND,
    Answer,
    Cause,
    DeletionRequest,
    DeletionRequestQuery,
    State,
)
from hilum.apps.deletion_requests.policy import may_answer
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Console, Empty, Filter, Listed, Option

CAUSES = {
    Cause.AGREEMENT: "a person withdrew their consent",
    Cause.INSTALLATION: "the hospital removed the app",
    Cause.CERTIFICATION: "no version of it is certified any longer",
    Cause.TRANSFER: "it belongs to another vendor now",
}
STATES = {
    State.OPEN: ("not answered yet", "accent"),
    State.DELETED: ("deleted", "good"),
    State.KEPT: ("something is kept", "warn"),
}
ANSWERS: dict[Answer, tuple[str, str]] = {
    State.DELETED: ("Everything was deleted", "Nothing is left. This cannot be taken back."),
    State.KEPT: ("Something is kept", "With the reason, which the hospital sees."),
}
LIST = List(
    columns=(
        Column("App"),
        Column("Why"),
        Column("State"),
        Column("Asked", number=True),
        Column("Answer due", number=True),
    ),
    one="request",
    many="requests",
    empty=Empty(
        "Nothing was asked for",
        "When a consent is withdrawn or an app is removed, its vendor is asked to delete what it has.",
    ),
    filters=(
        Filter("state", "State", tuple(Option(each.value, text) for each, (text, _) in STATES.items())),
    ),
)


async def show_list(visit: Visit) -> Response:
    """List the requests that the visitor's organisation may see."""
    return await visit.show_list(
        LIST,
        lambda ctx, asked: _listed(ctx, visit, asked),
        lead="Delete what your app has, and say so."
        if visit.page.console is Console.DEVELOPER
        else "What vendors were asked to delete, and what they answered.",
    )


def _listed(ctx: Context, visit: Visit, asked: Asked) -> Listed:
    state = State(asked["state"]) if asked["state"] else None
    page = PageQuery(asked.after, ROWS)
    found = service.list_requests(ctx, DeletionRequestQuery(state=state), page)
    known = fields.names(ctx, [each.app for each in found], [each.tenant for each in found])
    vendors = visit.page.console is Console.DEVELOPER
    rows = [
        (
            Cell(
                known.get(each.app, each.app),
                address("developer.deletion_request", each.id) if vendors else "",
            ),
            Cell(CAUSES[each.cause], note=_about(each, known)),
            _state(each, ctx),
            Cell("", at=each.requested_at),
            Cell("", at=each.due_at),
        )
        for each in found
    ]
    return Listed(rows, next=found[-1].id if len(found) == ROWS else "")


def _about(deletion_request: DeletionRequest, known: dict[str, str]) -> str:
    place = known.get(deletion_request.tenant, "every hospital")
    return f"one person at {place}" if deletion_request.authorization else place


def _state(deletion_request: DeletionRequest, ctx: Context) -> Cell:
    text, tone = STATES[deletion_request.state]
    if deletion_request.state is State.OPEN and ctx.now >= deletion_request.due_at:
        text, tone = "overdue", "bad"
    return Cell(text, note=deletion_request.reason, kind="badge", tone=tone)


async def show(visit: Visit) -> Response:
    """Show one request to its vendor."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(partial(_shown, visit=visit))
    return visit.render("console/developer/deletion_request.html", **fields.answered(given, error), **facts)


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    deletion_request = service.get_request(ctx, visit.param())
    known = fields.names(ctx, [deletion_request.app, deletion_request.answered_by], [deletion_request.tenant])
    return {
        "deletion_request": deletion_request,
        "app": known.get(deletion_request.app, deletion_request.app),
        "cause": CAUSES[deletion_request.cause],
        "about": _about(deletion_request, known),
        "state": _state(deletion_request, ctx),
        "answered_by": fields.who(known, deletion_request.answered_by, "a former member"),
        "answers": [(each.value, text, note) for each, (text, note) in ANSWERS.items()]
        if deletion_request.state is not State.DELETED and may_answer(ctx.actor, deletion_request)
        else [],
        "bound": REASON_BOUND,
    }


async def act(visit: Visit, form: Form) -> Response:
    """Record the answer of a vendor's member."""
    answer = next((each for each in ANSWERS if each.value == form.one("answer")), None)
    if answer is None:
        return await _page(visit, form, Invalid("answer_invalid", "", fields={"answer": "missing"}))
    try:
        await visit.write(
            partial(
                service.answer, deletion_request_id=visit.param(), answer=answer, reason=form.one("reason")
            )
        )
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address("developer.deletion_request", visit.param()))
