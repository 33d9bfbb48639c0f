"""Defects of certified apps, as their vendor reports them and the staff judge them: the pages of the declared actions (C127)."""

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppsQuery
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.policy.matrix import service as policies
from hilum.review.defects import service as defects
from hilum.surfaces.console.actions import Offered, Pages

VERSIONS_SHOWN = 500
_WHERE = "where it was first seen, and whether the sandbox could have shown it."


def _versions(ctx: Context) -> Offered:
    """Offer the versions of the vendor's apps, those added last first."""
    apps = {
        each.id: each
        for each in registry.browse_apps(ctx, AppsQuery(vendor=ctx.actor.vendor or "", limit=PAGE_BOUND)).apps
        if each.tenant is None
    }
    versions = registry.read_versions(ctx, list(apps)).values() if apps else ()
    newest = sorted(versions, key=lambda each: each.id, reverse=True)[:VERSIONS_SHOWN]
    nothing = "No version yet", "A defect is of a version. Your apps have none.", "/developer", "My apps"
    return Offered(
        [(each.id, f"{apps[each.app].name}, version {each.label}") for each in newest], nothing=nothing
    )


def _scenarios(ctx: Context) -> Offered:
    return Offered(sorted(policies.current(ctx).everywhere.scenarios.items()), free=True)


DEVELOPER = Pages(
    "developer.defect",
    listed=defects.list_defects,
    show=defects.view,
    new=defects.report,
    offers={"version": _versions},
    links={"app": "developer.app"},
    lead=f"What is wrong with versions of your apps, {_WHERE}",
    new_lead="The platform's staff see it, and say whether the sandbox could have shown it. Published figures count it without your name.",
    empty=lambda _may: (
        "No defect is recorded",
        "Report what is wrong with a version that is in use, so that review learns from it.",
    ),
)
OPERATIONS = Pages(
    "operations.defect",
    listed=defects.list_defects,
    show=defects.view,
    new=defects.report,
    acts=(defects.tag, defects.close),
    offers={"scenario": _scenarios},
    links={"app": "operations.app"},
    lead=f"What is wrong with certified versions, {_WHERE}",
    new_lead="Its vendor sees it. Published figures count it without a name.",
    empty=lambda _may: ("No defect is recorded", "Vendors report one on their own pages, and you here."),
)
