"""What people of a hospital and vendors ask for, one page for each app that is asked for."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.consent.policy import plain_words
from hilum.console import fields, service, words
from hilum.console.desk import Visit, address, to
from hilum.console.lists import List
from hilum.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.console.tenant import forms as choices
from hilum.infra.context import Context
from hilum.installations.models import LeftOut
from hilum.installations.policy import may_install
from hilum.kernel.errors import Invalid
from hilum.kernel.pages import PageQuery
from hilum.requests import service as requests
from hilum.requests.models import GROUP_SORTS, Decision, GroupView, State
from hilum.web.forms import Form

LIST = List(
    columns=(
        Column("App"),
        Column("State"),
        Column("Asked by", number=True),
        Column("For"),
        Column("Since", "since", number=True),
        Column("Attention"),
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
            tuple(Option(each.value, each.value.capitalize()) for each in State if each is not State.OPEN),
            unset="Waiting",
        ),
    ),
)
_TONES = {State.OPEN: "accent", State.APPROVED: "good"}


async def show_list(visit: Visit) -> Response:
    """List groups of requests, those that wait first."""
    return await visit.show_list(
        LIST,
        _listed,
        lead="All who ask for one app are one request.",
        action=("Rules", address("tenant.rules"), "quiet"),
    )


def _listed(ctx: Context, asked: Asked) -> Listed:
    state = State(asked["state"]) if asked["state"] else State.OPEN
    page = PageQuery(asked.after, ROWS, asked.order)
    found = requests.list_groups(ctx, None, state, page)
    names = service.names(ctx, [each.group.app for each in found])
    rows = [
        (
            Cell(names.app(each.group.app), address("tenant.ask", each.id)),
            Cell(
                "waiting for you" if state is State.OPEN else state.value,
                kind="badge",
                tone=_TONES.get(state, "plain"),
            ),
            Cell(str(len(each.requests))),
            Cell(", ".join(sorted({words.role(role) for one in each.requests for role in one.roles}))),
            Cell("", at=each.group.opened_at),
            Cell(each.group.attention.replace("_", " ")),
        )
        for each in found
    ]
    return Listed(rows, None, next=GROUP_SORTS.next(found, page))


async def show(visit: Visit) -> Response:
    """Show who asks for an app, for what and why, and the two answers."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(lambda ctx: _shown(ctx, visit.param()))
    return visit.render("console/tenant/request.html", **fields.answered(given, error), **facts)


def _shown(ctx: Context, group: str) -> dict[str, Any]:
    found = requests.view_group(ctx, group)
    ids = [found.group.app, found.group.decided_by, *(each.person for each in found.requests)]
    names = service.names(ctx, ids)
    return {
        "group": found.group,
        "app": names.app(found.group.app),
        "app_href": address("tenant.app", found.group.app),
        "is_open": found.group.state is State.OPEN,
        "decided_by": names.actor(found.group.decided_by) if found.group.decided_by else "",
        "requests": _rows(found, names),
        "permissions": choices.in_words(
            dict.fromkeys(scope for each in found.requests for scope in each.facts.scopes)
        ),
        "roles": sorted({words.role(role) for each in found.requests for role in each.roles}),
        "not_counted": found.not_counted,
        "without": _without(ctx, found),
    }


def _without(ctx: Context, found: GroupView) -> list[tuple[LeftOut, str]]:
    """Return what the app would go without, of what it says that it needs, each with its words; nothing for who may not decide."""
    if found.group.state is not State.OPEN or not may_install(ctx.actor, found.group.tenant):
        return []
    needed = [each for each in requests.preview(ctx, found.id) if each.needed]
    return [(each, plain_words(each.scope).title) for each in needed]


def _rows(found: GroupView, names: service.Names) -> list[tuple[str, str, str, Any]]:
    return [
        (names.person(each.person), words.role(each.role), each.reason, each.asked_at)
        for each in found.requests
    ]


async def decide(visit: Visit, form: Form) -> Response:
    """Approve all that is asked for together, or dismiss it with a reason."""
    revision = form.one("revision")
    if not revision.isdecimal() or len(revision) > 9:
        raise Invalid("form_invalid", "Open the page again.", fields={"revision": "malformed"})
    verbs = {"approve": requests.approve, "dismiss": requests.dismiss}
    if form.one("decision") not in verbs:
        raise Invalid(
            "decision_missing", "Choose whether to approve or to dismiss.", fields={"decision": "missing"}
        )
    decision = Decision(visit.param(), int(revision), form.one("reason"), anyway=form.one("anyway") == "yes")
    try:
        await visit.write(partial(verbs[form.one("decision")], decision=decision))
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address("tenant.ask", visit.param()))
