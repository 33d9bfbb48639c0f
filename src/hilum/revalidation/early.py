"""Whether a certified app must be reviewed before its certificate ends, by a published formula (C225)."""

from collections.abc import Collection, Sequence

from hilum.infra.context import Context
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import AppId
from hilum.registry import service as registry
from hilum.registry.models import Certification, ReviewSource, UseExcess
from hilum.revalidation import policy, store
from hilum.revalidation.early_models import MANY_WITHIN, EarlyReview
from hilum.revalidation.models import Finding


def view_early(ctx: Context, app_id: AppId) -> EarlyReview:
    """Return whether an app must be reviewed early, and the inputs of that decision, for its vendor's members and the staff. Raises NotFound."""
    app = registry.get_app(ctx, app_id)
    if not policy.may_see(ctx.actor, app.vendor):
        raise NotFound("app_not_found", "There is no such app.")
    return _judged(ctx, app.id, store.open_findings(ctx.tx, app.id))


def note_early(ctx: Context, certification: Certification, findings: Sequence[Finding]) -> None:
    """Open a review of what was certified if its findings require one, and close it once they do not."""
    found = _judged(ctx, certification.app, findings)
    # Tier and use have reviews of their own, with more details.
    triggers = [each for each in found.triggers if each in policy.BY_FINDINGS]
    needed = []
    if triggers and certification.tier is not None:
        sentence = " ".join(policy.FORMULA[each] for each in triggers)
        tier = certification.tier
        needed = [UseExcess(certification.app, certification.version, certification.id, tier, tier, sentence)]
    registry.note_finding_reviews(ctx, [certification.app], needed)


def close_early(ctx: Context, app: AppId) -> None:
    """Close the review that findings required of an app that is no longer certified."""
    registry.note_finding_reviews(ctx, [app], ())


def _judged(ctx: Context, app: AppId, findings: Collection[Finding]) -> EarlyReview:
    sources = {each.source for each in registry.open_reviews_of(ctx, app)}
    inputs = policy.early_inputs(
        findings,
        recent=store.count_opened(ctx.tx, app, ctx.now - MANY_WITHIN),
        tier_risen=ReviewSource.BOOK in sources,
        use_beyond=ReviewSource.USE in sources,
        now=ctx.now,
    )
    return EarlyReview(inputs, policy.early_triggers(inputs))
