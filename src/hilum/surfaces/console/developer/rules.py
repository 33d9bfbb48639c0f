"""What the policy says of an app: how each version is judged, and everything that the entries of its category say (C181)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from hilum.apps.registry.models import App
from hilum.foundation.infra.context import Context
from hilum.review.submissions import service as review
from hilum.review.submissions.models import AppRules, ScopesOf
from hilum.surfaces.console.desk import Visit
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.parts import entry_words

SCOPES_OF: Mapping[ScopesOf, str] = MappingProxyType(
    {
        ScopesOf.SUBMISSION: "of its open submission",
        ScopesOf.CERTIFICATION: "for which it is certified",
        ScopesOf.CLIENTS: "for which the clients ask",
        ScopesOf.NONE: "none yet: this is what it is at least",
    }
)


async def show(visit: Visit) -> Response:
    """Show what the policy says of an app."""
    app, app_status, facts = await visit.read(lambda ctx: _read(ctx, visit))
    return frame.show(visit, "console/developer/rules.html", app, app_status, **facts)


def _read(ctx: Context, visit: Visit) -> tuple[App, Any, dict[str, Any]]:
    app = frame.own_app(ctx, visit.param())
    found = review.view_rules(ctx, app.id)
    category = found.book.categories.get(app.category)
    facts = {
        "number": found.number,
        "category": category.title if category else app.category.replace("_", " "),
        "versions": [
            {
                "label": each.version.label,
                "scopes_of": SCOPES_OF[each.scopes_of],
                "beyond": each.beyond,
                "ways": [way for way in each.ways if way.used] or each.ways,
            }
            for each in found.versions
        ],
        "more": found.more,
        **_entries(found),
    }
    return app, frame.app_status_of(ctx, app), facts


def _entries(found: AppRules) -> dict[str, Any]:
    labels = {each.version.id: each.version.label for each in found.versions}
    applying = [each for each in found.entries if each.versions or each.clients] or found.entries
    return {
        "entries": [
            {
                "tier": each.tier.value,
                "judges": [labels[version] for version in each.versions],
                "clients": len(each.clients),
                "applies": each in applying,
                "until": each.until,
                "groups": entry_words.grouped(each.entry, each.today, found.book),
            }
            for each in found.entries
        ],
        "workflows": [
            {
                "name": each.workflow.name,
                "title": each.workflow.title,
                "scopes": each.workflow.scopes,
                "tiers": [tier.value for tier in each.tiers],
                "declared": [labels[version] for version in each.declared],
                "opened": [
                    *sorted(each.workflow.intents),
                    *(found.book.placements.get(place, place) for place in sorted(each.workflow.placements)),
                ],
            }
            for each in found.workflows
        ],
    }
