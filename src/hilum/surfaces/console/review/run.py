"""One certification run as the staff see it: what was concluded of each scenario, and the records by which it was judged, one by one."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.review.certification_runs import service as evidence
from hilum.surfaces.console import service
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.parts import run_words


async def show(visit: Visit) -> Response:
    """Show a run."""
    start = run_words.start(visit.query())
    return visit.render(
        "console/review/run.html", **await visit.read(partial(_read, visit=visit, start=start))
    )


def _read(ctx: Context, visit: Visit, start: int) -> dict[str, Any]:
    run = evidence.view(ctx, visit.param())
    (brief,) = run_words.briefly(ctx, [run])
    names = service.names(ctx, [run.app, run.vendor, run.opened_by])
    return {
        **brief,
        **run_words.records(run, start, address("review.run", run.id)),
        "app": names.app(run.app),
        "vendor": names.vendor(run.vendor),
        "opened_by": names.actor(run.opened_by),
        "app_page": address("operations.app", run.app),
        "scenarios": run_words.scenarios(run),
        "faults": run.result.get("faults", ()),
    }
