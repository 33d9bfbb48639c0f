"""Defects of certified apps: what is open, whether the sandbox could have shown it, and what was done."""

from functools import partial

from starlette.responses import Response

from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.web.forms import Form
from hilum.review.defects import service as defects
from hilum.review.defects.models import Tag
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Empty
from hilum.surfaces.console.parts import defects as parts

LIST = List(
    columns=parts.COLUMNS,
    one="defect",
    many="defects",
    empty=Empty(
        "No defect is recorded", "Vendors report one on their own pages, and you with hilum defect report."
    ),
)


async def show_list(visit: Visit) -> Response:
    """List defects, newest first."""
    lead = "What is wrong with certified versions, where it was first seen, and whether the sandbox could have shown it."
    return await visit.show_list(LIST, partial(parts.listed, page="operations.defect"), lead=lead)


async def show(visit: Visit) -> Response:
    """Show a defect, with the forms that tag and close it."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    facts = await visit.read(partial(parts.shown, id_=visit.param(), app_page="operations.app"))
    return visit.render("console/defect.html", **fields.answered(given, error), **facts)


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
