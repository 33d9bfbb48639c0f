"""Which scopes of an app were certified and granted for long, and permitted nothing."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from hilum.apps.clients import service as clients
from hilum.apps.installations import store
from hilum.apps.installations.models import DISTINCT_BOUND, UNUSED_AFTER
from hilum.apps.installations.scope_use import compare, long_unused
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Environment
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.records.audit.models import PermitCount

Permits = Callable[[Collection[str], datetime, str], Sequence[PermitCount]]
"""Reads what was permitted to some clients since a moment, at one tenant or (empty) at all (``audit.live.read_permits``)."""


def unused_scopes(ctx: Context, app: App, asked: Sequence[str], *, permits: Permits) -> tuple[str, ...]:
    """Return which of the scopes asked for were certified for production and granted for 90 days, and permitted nothing in that time (C66)."""
    since = ctx.now - UNUSED_AFTER
    certified = [
        each
        for each in registry.certifications_of(ctx, app.id)
        if each.environment is Environment.PRODUCTION and each.certified_at <= since
    ]
    sets = store.count_by_scopes(ctx.tx, app.id, ctx.now, app.owner_since, DISTINCT_BOUND, until=since)
    # A new app, or one that was nowhere for so long, costs no more than this.
    if not certified or not sets:
        return ()
    found = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    # In connections of its own: whoever submits holds one of the control plane's for a write.
    with lanes.using(Lane.OWN):
        permitted = permits([each.id for each in found], since, "")
    approved = tuple(dict.fromkeys(scope for each in certified for scope in each.scopes))
    return long_unused(tuple(asked), compare(tuple(asked), approved, dict(sets), permitted))
