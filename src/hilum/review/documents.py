"""The documents behind an app's certifications, for those who may read them (C104)."""

from hilum.infra.context import Context
from hilum.kernel.ids import AppId
from hilum.registry import service as registry
from hilum.registry.models import Environment
from hilum.review import policy, store
from hilum.review.models import CertifiedDocument

CERTIFICATIONS_BOUND = 20
"""How many of an app's certifications in force are covered, the newest first."""


def list_certified_documents(ctx: Context, app_id: AppId) -> tuple[CertifiedDocument, ...]:
    """List the documents behind an app's certifications for production that the actor may read, newest first. Raises NotFound if the actor may not see the app."""
    app = registry.view_app(ctx, app_id)
    of = [
        each
        for each in registry.in_force(ctx, registry.certifications_of(ctx, app.id))
        if each.environment is Environment.PRODUCTION and each.submission
    ]
    of.sort(key=lambda each: (each.certified_at, each.id), reverse=True)
    found = []
    for each in of[:CERTIFICATIONS_BOUND]:
        submission = store.find_submission(ctx.tx, each.submission)
        # A former vendor's submission does not tell what the present vendor attached.
        if submission is None or submission.vendor != app.vendor:
            continue
        found += [
            CertifiedDocument(each.id, each.version, one, expired=one.last_day < ctx.now.date())
            for one in submission.order.documents
            if policy.may_read(ctx.actor, app.vendor, one)
        ]
    return tuple(found)
