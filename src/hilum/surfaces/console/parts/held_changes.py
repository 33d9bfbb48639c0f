"""Changes of apps and clients that wait for a reviewer, in words, for the vendor and for reviewers."""

import json
from hashlib import sha256
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import EditState, HeldEdit
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.static import image
from hilum.surfaces.console import words
from hilum.surfaces.console.desk import Visit
from hilum.surfaces.console.fields import names
from hilum.surfaces.console.models import ROWS, Asked

STATES = {
    EditState.PENDING: ("in review", "info"),
    EditState.APPLIED: ("approved", "good"),
    EditState.REFUSED: ("refused", "bad"),
}


def of_what(held: HeldEdit, known: dict[str, str]) -> str:
    """Return the name of what a change is of."""
    return known.get(held.client, "a client") if held.client else known.get(held.app, "an app")


def edits(visit: Visit, *, of_apps: bool) -> registry.HeldEdits:
    """Return what is done with changes of apps, or of clients."""
    return visit.ports.app_edits.held if of_apps else visit.ports.client_edits


def edits_of(visit: Visit) -> registry.HeldEdits:
    """Return what is done with changes of the kind that a page is about."""
    return edits(visit, of_apps=visit.param().startswith("aed_"))


def held(ctx: Context, visit: Visit) -> HeldEdit:
    """Return the change that a page is about."""
    return edits_of(visit).view(ctx, visit.param())


def page(
    ctx: Context, visit: Visit, asked: Asked, *, of_apps: bool
) -> tuple[list[HeldEdit], dict[str, str], str]:
    """Return one page of changes, the names of what they are of and of their vendors, and where the next page begins."""
    found = edits(visit, of_apps=of_apps).list_page(ctx, PageQuery(asked.after, ROWS))
    known = names(ctx, [id_ for each in found for id_ in (each.app, each.client or "", each.vendor)])
    return found, known, found[-1].id if len(found) == ROWS else ""


async def show_logo(visit: Visit) -> Response:
    """Send the logo that a change asks for, to who may see the change: it has no public address until a reviewer agrees."""
    return image(await visit.read(lambda ctx: visit.ports.app_edits.logo(ctx, visit.param())))


def rows_of(found: HeldEdit) -> list[tuple[str, str, str]]:
    """Return what a change replaces: field, before, after. A logo has no text."""
    return [
        (words.field(name), text_of(found.before.get(name)), text_of(value))
        for name, value in sorted(found.order.items())
        if name != "logo"
    ]


def what(found: HeldEdit) -> str:
    """Return the fields of a change in words."""
    return ", ".join(map(words.field, sorted(found.order)))


def text_of(value: object) -> str:
    """Return a value of a change as text; of a key set the names of its keys, each with a digest: another key may have the same name."""
    if value is None:
        return ""
    if isinstance(value, dict) and isinstance(value.get("keys"), list):
        keys = (each for each in value["keys"] if isinstance(each, dict))
        return "keys " + ", ".join(f"{each.get('kid', 'without a name')} ({_digest(each)})" for each in keys)
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value)


def _digest(key: dict[str, Any]) -> str:
    return sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
