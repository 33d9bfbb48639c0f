"""Defects of certified apps: what is open, whether the sandbox could have shown it, and what was done."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.console import fields, policy
from hilum.console.desk import Visit, address, to
from hilum.console.lists import List
from hilum.console.models import Asked, Cell, Column, Empty, Listed
from hilum.defects import service as defects
from hilum.defects.models import Defect, Seen, Severity, Tag
from hilum.defects.policy import may_judge
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.kernel.pages import PageQuery
from hilum.policies import service as policies
from hilum.registry import service as registry
from hilum.web.forms import Form
from hilum.web.problems import status_of

ROWS = 50
TONES = {Severity.LOW: "plain", Severity.MODERATE: "warn", Severity.HIGH: "bad", Severity.CRITICAL: "bad"}
LIST = List(
    columns=(
        Column("Defect"),
        Column("App"),
        Column("First seen in"),
        Column("Severity"),
        Column("In the sandbox"),
        Column("State"),
    ),
    one="defect",
    many="defects",
    empty=Empty(
        "No defect is recorded", "Vendors report one on their own pages, and you with hilum defect report."
    ),
)


async def show_list(visit: Visit) -> Response:
    """List defects, newest first."""

    async def read(asked: Asked) -> Listed:
        return await visit.read(partial(listed, asked=asked, page="operations.defect"))

    lead = "What is wrong with certified versions, where it was first seen, and whether the sandbox could have shown it."
    return await visit.listing(LIST, read, lead=lead)


def listed(ctx: Context, asked: Asked, page: str) -> Listed:
    """Return the defects that the visitor may see; ``page``: the key of the page of one."""
    found = defects.list_defects(ctx, PageQuery(policy.word(asked.after, "after"), ROWS))
    names = registry.read_apps(ctx, {each.app for each in found})
    rows = [
        (
            Cell(each.summary[:80], address(page, each.id)),
            Cell(f"{names[each.app].name} {each.label}" if each.app in names else each.label),
            Cell(each.seen_in.value),
            Cell(each.severity.value, kind="pill", tone=TONES[each.severity]),
            Cell(shown_tag(each)),
            Cell("closed" if each.closed_at else "open"),
        )
        for each in found
    ]
    return Listed(rows, None, next=found[-1].id if len(found) == ROWS else "")


def shown_tag(found: Defect) -> str:
    """Return a defect's tag in words."""
    if found.reproducible is None:
        return "not said yet" if found.seen_in is Seen.PRODUCTION else ""
    return "reproducible" if found.reproducible else "not reproducible"


async def show(visit: Visit) -> Response:
    """Show a defect, with the forms that tag and close it."""
    return await _page(visit)


async def _page(
    visit: Visit, given: Form = fields.NO_FORM, trouble: Conflict | Invalid | NotPermitted | None = None
) -> Response:
    facts = await visit.read(partial(shown, id_=visit.param(), app_page="operations.app"))
    return visit.render(
        "console/operations/defect.html",
        status=status_of(trouble) if trouble is not None else 200,
        given=given,
        detail=trouble.detail if trouble is not None else "",
        faults=fields.sentences(trouble.fields) if isinstance(trouble, Invalid) else {},
        **facts,
    )


def shown(ctx: Context, id_: str, app_page: str) -> dict[str, Any]:
    """Return what a page shows of a defect; ``app_page``: the key of the page of its app."""
    found = defects.view(ctx, id_)
    app = registry.get_app(ctx, found.app)
    book = policies.current(ctx).everywhere
    return {
        "found": found,
        "tone": TONES[found.severity],
        "name": f"{app.name} {found.label}",
        "app": address(app_page, app.id),
        "tagged": shown_tag(found),
        "scenarios": sorted(book.scenarios.items()),
        "acts": may_judge(ctx.actor) and found.closed_at is None,
    }


async def act(visit: Visit, form: Form) -> Response:
    """Tag or close a defect."""
    try:
        match form.one("act"):
            case "tag":
                order = Tag(form.one("answer") == "yes", form.one("scenario")[:100], form.one("gap"))
                await visit.write(partial(defects.tag, defect_id=visit.param(), order=order))
            case "close":
                verb = partial(defects.close, defect_id=visit.param(), outcome=form.one("outcome"))
                await visit.write(verb)
            case _:
                raise fields.no_such_act()
    except (Conflict, Invalid, NotPermitted) as error:
        return await _page(visit, form, error)
    return to(visit.path)
