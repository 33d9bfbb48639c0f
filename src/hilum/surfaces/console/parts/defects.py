"""Defects of certified apps, as the staff and the vendor of the app see them: a list of them, and one."""

from typing import Any

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix import service as policies
from hilum.review.defects import service as defects
from hilum.review.defects.models import Defect, Seen, Severity
from hilum.review.defects.policy import may_judge
from hilum.surfaces.console import policy
from hilum.surfaces.console.desk import address
from hilum.surfaces.console.models import Asked, Cell, Column, Listed

ROWS = 50
TONES = {Severity.LOW: "plain", Severity.MODERATE: "warn", Severity.HIGH: "bad", Severity.CRITICAL: "bad"}
COLUMNS = (
    Column("Defect"),
    Column("App"),
    Column("First seen in"),
    Column("Severity"),
    Column("In the sandbox"),
    Column("State"),
)


def listed(ctx: Context, asked: Asked, page: str) -> Listed:
    """Return the defects that the visitor may see; ``page``: the key of the page of one."""
    found = defects.list_defects(ctx, PageQuery(policy.word(asked.after, "after"), ROWS))
    names = registry.read_apps(ctx, {each.app for each in found})
    rows = [
        (
            Cell(each.summary[:80], address(page, each.id)),
            Cell(f"{names[each.app].name} {each.label}" if each.app in names else each.label),
            Cell(each.seen_in.value),
            Cell(each.severity.value, kind="badge", tone=TONES[each.severity]),
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
