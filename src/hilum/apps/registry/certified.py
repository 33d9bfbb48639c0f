"""Certifications for enforcement and for every verb that depends on them."""

from collections.abc import Collection

from hilum.apps.registry import store
from hilum.apps.registry.models import Certification, Certified
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId


def certifications_of(ctx: Context, app: AppId) -> list[Certification]:
    """List all certifications of an app, newest first, without a permission check, for enforcement. Not paged."""
    certifications = read_certified(ctx, [app]).certifications.get(app, ())
    return sorted(certifications, key=lambda certification: certification.id, reverse=True)


def read_certified(ctx: Context, of: Collection[AppId] | None) -> Certified:
    """Read some apps (None: all) with their versions and certifications, including withdrawn ones."""
    by_app: dict[AppId, list[Certification]] = {}
    apps = store.read_apps(ctx.tx, of)
    for certification in store.read_certifications(ctx.tx, of):
        by_app.setdefault(certification.app, []).append(certification)
    certifications = {app: tuple(listed) for app, listed in by_app.items()}
    return Certified(apps, store.read_versions(ctx.tx, of), certifications)
