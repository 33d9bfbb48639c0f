"""The documents behind an app's certifications, for those who may read them (C104), and why it asks for each scope."""

from collections.abc import Collection

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Certification, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId
from hilum.review.submissions import policy, store
from hilum.review.submissions.models import CertifiedDocument, Submission

CERTIFICATIONS_BOUND = 20
"""How many of an app's certifications in force are covered, the newest first."""


def list_certified_documents(ctx: Context, app_id: AppId) -> tuple[CertifiedDocument, ...]:
    """List the documents behind an app's certifications for production that the actor may read, newest first. Raises NotFound if the actor may not see the app."""
    app = registry.view_app(ctx, app_id)
    return tuple(
        CertifiedDocument(each.id, each.version, one, expired=one.last_day < ctx.now.date())
        for each, submission in _certified(ctx, app, frozenset({Environment.PRODUCTION}))
        for one in submission.order.documents
        if policy.may_read(ctx.actor, app.vendor, one)
    )


def reasons_of(ctx: Context, app_id: AppId) -> dict[str, str]:
    """Return what the vendor wrote of each scope that is certified, of several words the newest, without a check of rights."""
    found: dict[str, str] = {}
    for _, submission in _certified(ctx, registry.get_app(ctx, app_id), frozenset(Environment)):
        for asked in submission.order.scopes:
            if asked.justification.strip():
                found.setdefault(asked.scope, asked.justification.strip())
    return found


def _certified(
    ctx: Context, app: App, environments: Collection[Environment]
) -> list[tuple[Certification, Submission]]:
    """Return the newest certifications in force of an app for some environments, each with its submission."""
    of = [
        each
        for each in registry.in_force(ctx, registry.certifications_of(ctx, app.id))
        if each.environment in environments and each.submission
    ]
    of.sort(key=lambda each: (each.certified_at, each.id), reverse=True)
    found = []
    for each in of[:CERTIFICATIONS_BOUND]:
        submission = store.find_submission(ctx.tx, each.submission)
        # A former vendor's submission does not tell what the present vendor wrote and attached.
        if submission is not None and submission.vendor == app.vendor:
            found.append((each, submission))
    return found
