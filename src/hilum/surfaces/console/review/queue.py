"""The queue of submissions: what waits for people, oldest first, and what became of the others."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from starlette.responses import Response

from hilum.apps.registry.models import Environment
from hilum.foundation.infra.context import Context
from hilum.policy.matrix.models import Discipline, Tier
from hilum.review.submissions import service as review
from hilum.review.submissions.models import COUNTED_BOUND, BrowseQuery, Clock, DisciplineReview, Run, State
from hilum.surfaces.console import service
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.parts import clocks, disciplines, submissions

STATES: Mapping[str, tuple[State, ...]] = MappingProxyType(
    {
        "": (State.SUBMITTED, State.CHECKING, State.IN_REVIEW),
        "people": (State.IN_REVIEW,),
        "checks": (State.SUBMITTED, State.CHECKING),
        "certified": (State.CERTIFIED,),
        "rejected": (State.REJECTED,),
        "withdrawn": (State.WITHDRAWN,),
    }
)
"""The states behind each word of the filter."""
USUAL = "usual"
"""The order where nobody asked for one: what waits, the oldest first, and what is closed, the newest first."""
_CLOSED = frozenset({"certified", "rejected", "withdrawn"})
LIST = List(
    columns=(
        Column("App"),
        Column("State"),
        Column("For"),
        Column("Tier"),
        Column("Checks"),
        Column("Disciplines"),
        Column("Decision due", "due", number=True),
        Column("Submitted", "submitted", number=True),
    ),
    one="submission",
    many="submissions",
    empty=Empty(
        "Nothing waits", "What vendors submit is listed here, the oldest first, as soon as it is checked."
    ),
    filters=(
        Filter(
            "state",
            "State",
            (
                Option("people", "Waiting for people"),
                Option("checks", "Being checked"),
                Option("certified", "Approved"),
                Option("rejected", "Rejected"),
                Option("withdrawn", "Withdrawn"),
            ),
            unset="Open",
        ),
        Filter(
            "environment",
            "For",
            (Option("production", "Production"), Option("sandbox", "Sandbox")),
            unset="Both",
        ),
        Filter("tier", "Tier", tuple(Option(each.value, each.value.capitalize()) for each in Tier)),
        Filter(
            "discipline",
            "Discipline to judge",
            tuple(Option(each.value, each.value.capitalize()) for each in Discipline),
        ),
        Filter("for", "Waits for", (Option("me", "Me"),), unset="Anybody"),
    ),
    own=USUAL,
)


async def show(visit: Visit) -> Response:
    """Show the queue."""
    return await visit.show_list(
        LIST, _listed, lead="What vendors submitted, longest waiting first.", title="Queue"
    )


def _listed(ctx: Context, asked: Asked) -> Listed:
    query = BrowseQuery(
        STATES[asked["state"]],
        environment=Environment(asked["environment"]) if asked["environment"] else None,
        discipline=Discipline(asked["discipline"]) if asked["discipline"] else None,
        tier=Tier(asked["tier"]) if asked["tier"] else None,
        mine=asked["for"] == "me",
        newest=asked.order == USUAL and asked["state"] in _CLOSED,
        sort="" if asked.order == USUAL else asked.order,
        after=asked.after,
        limit=ROWS,
    )
    page = review.browse(ctx, query)
    clocked = review.clocks_by_submission(ctx, page.submissions)
    runs, reviewed = (
        review.last_runs(ctx, page.submissions),
        review.disciplines_by_submission(ctx, page.submissions),
    )
    names = service.names(ctx, [id_ for each in page.submissions for id_ in (each.app, each.vendor)])
    rows = []
    for each in page.submissions:
        run = runs.get(each.id)
        state, tone = submissions.state_badge(each, run, reviewed.get(each.id, ()), reviews=True)
        tier = run.judgement.route.tier if run else None
        title = f"{names.app(each.app)}, version {each.label}"
        rows.append(
            (
                Cell(title, address("review.submission", each.id), names.vendor(each.vendor)),
                Cell(state, kind="badge", tone=tone),
                Cell(each.environment.value),
                Cell(tier.value if tier else "", note=run.judgement.route.track if run else ""),
                _checked(run),
                Cell(_disciplines(reviewed.get(each.id, ()))),
                _due(clocked.get(each.id, ())),
                Cell("", at=each.submitted_at) if each.submitted_at else Cell(""),
            )
        )
    return Listed(rows, page.total, COUNTED_BOUND, page.next)


def _due(found: Iterable[Clock]) -> Cell:
    clock = clocks.decision(found)
    if clock is None or clock.stopped_at is not None:
        return Cell("")
    note = "missed" if clock.missed else ""
    return Cell("", at=clock.due_at, note=note) if clock.due_at else Cell("the vendor answers", note=note)


def _disciplines(found: Iterable[DisciplineReview]) -> str:
    return ", ".join(f"{each.discipline}: {disciplines.STATES[each.state][0]}" for each in found)


def _checked(run: Run | None) -> Cell:
    if run is None:
        return Cell("not yet")
    bad = sum(each.blocks for each in run.judgement.checks)
    return Cell(f"{bad} did not pass" if bad else "passed", kind="badge", tone="warn" if bad else "good")
