"""Changes of apps and clients that wait for a reviewer, in words, for the vendor and for reviewers."""

import json
from hashlib import sha256
from typing import Any

from hilum.clients import service as clients
from hilum.console import words
from hilum.console.desk import Visit
from hilum.infra.context import Context
from hilum.registry import service as registry
from hilum.registry.models import EditState, HeldEdit

STATES = {
    EditState.PENDING: ("in review", "info"),
    EditState.APPLIED: ("approved", "good"),
    EditState.REFUSED: ("refused", "bad"),
}


def of_what(held: HeldEdit, known: dict[str, str]) -> str:
    """Return the name of what a change is of."""
    return known.get(held.client, "a client") if held.client else known.get(held.app, "an app")


def held(ctx: Context, visit: Visit) -> HeldEdit:
    """Return the change that a page is about."""
    id_ = visit.param()
    if id_.startswith("aed_"):
        return visit.ports.app_edits.view(ctx, id_)
    return registry.view_held(ctx, clients.CLIENT_CHANGE, id_)


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
