"""Requests to delete what an app has: at a hospital what is open, at a vendor what to answer."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.console import fields
from hilum.console.desk import Visit, address, at, to
from hilum.console.lists import List
from hilum.console.models import ROWS, Asked, Cell, Column, Console, Empty, Filter, Listed, Option
from hilum.disposals import service
from hilum.disposals.models import (
    LEGAL_REASON_BOUND,
    SORTS,
    Answer,
    AnswerOrder,
    Cause,
    Disposal,
    DisposalQuery,
    State,
)
from hilum.disposals.policy import FOLLOWS, may_answer, state_of
from hilum.infra.context import Context
from hilum.kernel.errors import Invalid
from hilum.kernel.pages import PageQuery
from hilum.web.forms import Form

CAUSES = {
    Cause.AGREEMENT: "a person withdrew their consent",
    Cause.INSTALLATION: "the hospital removed the app",
    Cause.CERTIFICATION: "no version of it is certified any longer",
    Cause.LAPSE: "an agreement with the hospital that it needs has ended",
    Cause.TRANSFER: "it belongs to another vendor now",
}
STATES = {
    State.OPEN: ("not answered yet", "accent"),
    State.OVERDUE: ("overdue", "bad"),
    State.DISPOSED: ("deleted", "good"),
    State.RETAINED: ("kept by law", "warn"),
    State.PARTLY: ("partly kept by law", "warn"),
}
ANSWERS = (
    (Answer.DISPOSED, "Everything was deleted", "Nothing is left. This cannot be taken back."),
    (Answer.PARTLY, "Partly deleted", "What a law demands is kept; the rest is deleted."),
    (Answer.RETAINED, "All of it is kept", "A law demands it."),
)
LIST = List(
    columns=(
        Column("App"),
        Column("Why"),
        Column("State"),
        Column("Asked", "-asked", number=True),
        Column("Answer due", "due", number=True),
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
    own="asked",
)


async def show_list(visit: Visit) -> Response:
    """List the requests that the visitor's organisation may see."""
    vendors = visit.page.console is Console.DEVELOPER
    return await visit.show_list(
        LIST,
        lambda ctx, asked: _listed(ctx, visit, asked),
        lead="Delete what your app has, and say so here or by the app itself."
        if vendors
        else "What vendors were asked to delete, and what they answered. One without an answer in time is a finding.",
    )


def _listed(ctx: Context, visit: Visit, asked: Asked) -> Listed:
    state = State(asked["state"]) if asked["state"] else None
    page = PageQuery(asked.after, ROWS, asked.order)
    found = service.list_requests(ctx, DisposalQuery(state=state), page)
    known = fields.names(ctx, [each.app for each in found], [each.tenant for each in found])
    rows = [
        (
            Cell(known.get(each.app, each.app), address(at(visit, "disposal"), each.id)),
            Cell(CAUSES[each.cause], note=_about(each, known, visit)),
            _state(each, ctx),
            Cell("", at=each.requested_at),
            Cell("", at=each.due_at),
        )
        for each in found
    ]
    return Listed(rows, next=SORTS.next(found, page))


def _about(found: Disposal, known: dict[str, str], visit: Visit) -> str:
    """Return whose records a request is about. Which patient is in the signed text alone, which only the app receives."""
    vendors = visit.page.console is Console.DEVELOPER
    place = known.get(found.tenant, "every hospital") if vendors else "here"
    if found.patient:
        return f"one person at {place}" if vendors else "one person here"
    return place if vendors else "everybody here"


def _state(found: Disposal, ctx: Context) -> Cell:
    text, tone = STATES[state_of(found, ctx.now)]
    return Cell(text, kind="badge", tone=tone)


async def show(visit: Visit) -> Response:
    """Show one request."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(partial(_shown, visit=visit))
    return visit.render(
        "console/disposals/disposal.html",
        **fields.answered(given, error),
        **facts,
    )


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    found = service.get_request(ctx, visit.param())
    known = fields.names(ctx, [found.app, found.vendor, found.client, found.answered_by], [found.tenant])
    may = may_answer(ctx.actor, found)
    follows = FOLLOWS[found.answer]
    return {
        "found": found,
        "app": known.get(found.app, found.app),
        "vendor": known.get(found.vendor, "The vendor"),
        "cause": CAUSES[found.cause],
        "about": _about(found, known, visit),
        "client": known.get(found.client, found.client),
        "state": _state(found, ctx),
        "answered_by": fields.who(known, found.answered_by, "the app itself"),
        "answers": [(each.value, text, note) for each, text, note in ANSWERS if may and each in follows],
        "bound": LEGAL_REASON_BOUND,
    }


async def act(visit: Visit, form: Form) -> Response:
    """Record the answer of a vendor's member."""
    try:
        answer = Answer(form.one("answer"))
    except ValueError:
        return await _page(visit, form, Invalid("answer_invalid", "", fields={"answer": "missing"}))
    order = AnswerOrder(answer, form.one("legal_reason").strip())
    try:
        await visit.write(partial(service.answer, disposal_id=visit.param(), order=order))
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address(at(visit, "disposal"), visit.param()))
