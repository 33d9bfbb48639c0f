"""Certifications for enforcement and for every verb that depends on them, without those of apps that cannot be read (ADR 150)."""

from collections.abc import Collection

from hilum.infra import unreadable
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict
from hilum.kernel.ids import AppId
from hilum.registry import store
from hilum.registry.models import Certification, Certified

UNREADABLE = "A value of it, or of one of its certifications, cannot be read."


def certifications_of(ctx: Context, app: AppId) -> list[Certification]:
    """List all certifications of an app, newest first, without a permission check, for enforcement. Not paged. None if one cannot be read."""
    found = read_certified(ctx, [app]).certifications.get(app, ())
    return sorted(found, key=lambda each: each.id, reverse=True)


def read_certified(ctx: Context, of: Collection[AppId] | None) -> Certified:
    """Read some apps (None: all) with their versions and certifications, including withdrawn ones.

    An app has no certifications, and is among the faults, if its own row or one of them cannot be read: that one may be withdrawn (ADR 150).
    """
    by_app: dict[AppId, list[Certification]] = {}
    with unreadable.noting() as left_out:
        apps = store.read_apps(ctx.tx, of)
        for each in store.read_certifications(ctx.tx, of):
            by_app.setdefault(each.app, []).append(each)
    faults = dict.fromkeys((AppId(each.app or each.id) for each in left_out), UNREADABLE)
    certifications = {app: tuple(found) for app, found in by_app.items() if app not in faults}
    return Certified(apps, store.read_versions(ctx.tx, of), certifications, faults)


def require_readable(ctx: Context, app: AppId) -> None:
    """Check that an app's certifications can be read, before a change that needs a reviewer if there are any. Raises Conflict."""
    if fault := read_certified(ctx, [app]).faults.get(app):
        raise Conflict(
            "certifications_unreadable",
            f"{fault} The app cannot be changed until an operator has put that right.",
        )
