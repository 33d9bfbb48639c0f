"""The staff: who they are, what waits for a second person, and adding a colleague."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.console import approvals, words
from hilum.console.desk import Visit
from hilum.identity import service as identity
from hilum.identity.models import Person
from hilum.infra.context import Context
from hilum.kernel.pages import PageQuery

SHOWN = 100


async def show(visit: Visit) -> Response:
    """Show what waits for a second person, and the staff to who administers them."""
    return visit.render("console/operations/staff.html", **await visit.read(partial(_shown, visit=visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    people: list[Person] = []
    if "platform_admin" in ctx.actor.roles:
        people = identity.list_people(ctx, None, PageQuery(limit=SHOWN))
    return {
        "waiting": approvals.waiting(ctx, visit),
        "people": [
            (each.name, each.username, words.role(each.role), each.active, each.created_at) for each in people
        ],
        "rules": "platform_admin" in ctx.actor.roles,
    }
