"""What people of a hospital agreed to: with which app, about whom, and until when. Ended agreements too."""

from functools import partial

from starlette.responses import Response

from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import AgreementLife
from hilum.authorization.consent.policy import is_unused, used_at
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.surfaces.console import service
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import KINDS, ROWS, Asked, Cell, Column, Empty, Listed, State
from hilum.surfaces.console.policy import ending
from hilum.surfaces.console.shared import activity

LIST = List(
    columns=(
        Column("Person"),
        Column("App"),
        Column("State"),
        Column("Agreed"),
        Column("Last used"),
        Column("Ends"),
    ),
    one="agreement",
    many="agreements",
    empty=Empty(
        "Nothing yet", "What somebody agrees to when an app is opened is listed here, and when it ends."
    ),
)


async def show_list(visit: Visit) -> Response:
    """List agreements, by person. The read is recorded."""
    ids = {name: text for name, text in activity.given(visit).items() if name == "person"}

    async def read(asked: Asked) -> Listed:
        # A write, since the read leaves an event with its number of agreements.
        found = await visit.write(partial(_found, person=ids.get("person", ""), after=asked.after))
        return await visit.read(partial(_listed, found=found))

    frame = await activity.frame(visit, ids, "consents")
    frame["fields"] = ["person"]
    return await visit.listing(LIST, read, "console/activity.html", within=ids, **frame)


def _found(ctx: Context, person: str, after: str) -> list[AgreementLife]:
    of = PersonId(person) if person else None
    return consent.list_lives(ctx, ctx.actor.tenant or TenantId(""), PageQuery(after, ROWS), person=of)


def _listed(ctx: Context, found: list[AgreementLife]) -> Listed:
    agreements = [each.agreement for each in found]
    names = service.names(ctx, [id_ for each in agreements for id_ in (each.person, each.app)])
    rows = []
    for each in agreements:
        assert each.ends is not None, "it is listed with its end"
        state = ending(each.ends.at, ctx.now)
        over = state is State.STOPPED
        rows.append(
            (
                Cell(
                    names.person(each.person),
                    address("tenant.activity", person=each.person),
                    f"patient {each.patient}" if each.patient else "",
                ),
                Cell(names.app(each.app), address("tenant.app", each.app)),
                Cell("over" if over else state.value, kind="badge", tone="plain" if over else KINDS[state]),
                Cell("", at=each.created_at),
                Cell(
                    "",
                    at=each.last_used_at,
                    note="not used for 90 days: end it?"
                    if is_unused(used_at(each), each.ends.at, ctx.now)
                    else "",
                ),
                Cell("", at=each.ends.at, note=each.ends.why.value.replace("_", " ")),
            )
        )
    last = agreements[-1] if len(agreements) >= ROWS else None
    return Listed(rows, next=f"{last.person}~{last.id}" if last else "")
