"""Read the inputs of the figures about certified apps."""

from datetime import timedelta
from itertools import islice

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM, require_platform
from hilum.foundation.kernel.pages import walk
from hilum.policy.matrix import service as policies
from hilum.review.certificates import service as certificates
from hilum.review.listings import service as listings
from hilum.review.recertification import figures, store, use_store
from hilum.review.recertification.figure_models import ROWS_SHOWN, Figures, OverRequests
from hilum.review.submissions import service as review

EXCEPTIONS_READ = 5_000
"""How many of the newest exceptions the figure counts."""


def view_over_requests(ctx: Context, days: int) -> OverRequests:
    """Return K5 (over-request) over the last days, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    since = ctx.now - timedelta(days=days)
    return figures.over_requests(
        review.asked_beyond(ctx, since),
        use_store.read_uses(ctx.tx),
        use_store.most_unused(ctx.tx, ROWS_SHOWN),
    )


def view_figures(ctx: Context, days: int) -> Figures:
    """Return K5, K14 and K17 over the last days, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    published = listings.published(ctx)
    tiers = {app: each.tier for app, each in certificates.current_of_all(ctx, published).items()}
    current = certificates.validly_certified(ctx) - store.apps_overdue(ctx.tx, ctx.now)
    reading = ctx.as_actor(SYSTEM)
    pages = walk(lambda page: policies.shown_exceptions(reading, page), key=lambda each: each[0].id)
    exceptions = (each for each, _ in islice(pages, EXCEPTIONS_READ))
    since = ctx.now - timedelta(days=days)
    return Figures(
        days,
        ctx.now,
        tuple(figures.currency_by_tier(published, tiers, current)),
        figures.exceptions_figure(exceptions, certificates.count_certified(ctx), since, ctx.now),
        view_over_requests(ctx, days),
    )
