"""The regulated lane: who asks for protected access, until when they are answered, and whether they are who they say they are (C112)."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.policy.matrix.models import StepCondition
from hilum.review.submissions import service as review
from hilum.review.submissions.models import LANE_SORTS, LaneRequest, LaneState
from hilum.review.submissions.policy import may_decide
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Listed

LIST = List(
    columns=(
        Column("App"),
        Column("State"),
        Column("Due", "due", number=True),
        Column("Asked", "asked", number=True),
    ),
    one="request",
    many="requests",
    empty=Empty(
        "Nobody asks",
        "Requests for access that regulation protects are listed here, the oldest first. A vendor asks on the page Review of its app.",
    ),
    own="asked",
)
_STATES: Mapping[LaneState, tuple[str, str]] = MappingProxyType(
    {
        LaneState.ASKED: ("waits for a reviewer", "accent"),
        LaneState.VERIFIED: ("they are who they say they are", "info"),
        LaneState.REFUSED: ("refused", "bad"),
        LaneState.ENABLED: ("enabled", "good"),
    }
)
_LACKS: Mapping[StepCondition, str] = MappingProxyType(
    {
        StepCondition.IDENTITY_VERIFIED: "A reviewer has confirmed that they are who they say they are.",
        StepCondition.METADATA_COMPLETE: "The vendor has stated all that hospitals must know.",
        StepCondition.KEYS_REGISTERED: "The app has a production client, with its keys.",
        StepCondition.SECURITY_TERMS_ACCEPTED: "The vendor has stated the terms of use.",
    }
)


async def show_list(visit: Visit) -> Response:
    """Show the requests, oldest first."""
    lead = "Access to a patient's own record. No discipline, check, fee or certificate counts here."
    return await visit.show_list(LIST, _listed, lead=lead)


def _listed(ctx: Context, asked: Asked) -> Listed:
    page = PageQuery(asked.after, ROWS, asked.order)
    shown = review.list_access(ctx, page)
    names = service.names(ctx, [id_ for each in shown for id_ in (each.app, each.vendor)])
    rows = [
        (
            Cell(names.app(each.app), address("review.access", each.id), names.vendor(each.vendor)),
            Cell(_STATES[each.state][0], kind="badge", tone=_STATES[each.state][1]),
            Cell("", at=each.due_at, note="missed" if each.missed else "") if each.due_at else Cell(""),
            Cell("", at=each.asked_at),
        )
        for each in shown
    ]
    return Listed(rows, next=LANE_SORTS.next(shown, page))


async def show(visit: Visit) -> Response:
    """Show a request, with what its next step lacks."""
    return await _page(visit)


async def _page(
    visit: Visit,
    given: Form = fields.NO_FORM,
    trouble: Invalid | Conflict | NotPermitted | None = None,
) -> Response:
    return visit.render(
        "console/review/access.html",
        **fields.answered(given, trouble),
        **await visit.read(partial(_read, visit=visit)),
    )


def _read(ctx: Context, visit: Visit) -> dict[str, Any]:
    found, lacking = review.view_access(ctx, visit.param())
    names = service.names(ctx, [found.app, found.vendor, found.asked_by, found.decided_by])
    verifies = may_decide(ctx.actor) and found.state is LaneState.ASKED
    return {
        "found": found,
        "app": names.app(found.app),
        "label": service.version_label(ctx, found.version),
        "vendor": names.vendor(found.vendor),
        "asked_by": names.actor(found.asked_by),
        "decided_by": names.actor(found.decided_by) if found.decided_by else "",
        "state": _STATES[found.state],
        "lacking": [_LACKS[each] for each in lacking] if _waits(found) else [],
        "bar": _BAR if verifies and review.conflicts_to(ctx, found.vendor) else "",
        "verifies": verifies and not review.conflicts_to(ctx, found.vendor),
        "app_page": address("operations.app", found.app),
    }


_BAR = "You have a conflict of interest with this vendor, so a colleague must verify the requester."


def _waits(found: LaneRequest) -> bool:
    return found.state in {LaneState.ASKED, LaneState.VERIFIED}


async def verify(visit: Visit, form: Form) -> Response:
    """Record whether who asks is who they say they are."""
    try:
        answer = form.one("act")
        if answer not in {"authentic", "not_authentic"}:
            raise fields.no_such_act()
        verb = partial(
            review.verify_access,
            request_id=visit.param(),
            reason=form.one("reason"),
            authentic=answer == "authentic",
        )
        await visit.write(verb)
    except (Invalid, Conflict, NotPermitted) as error:
        return await _page(visit, form, error)
    return to(visit.path)
