"""The figures K5, K14 and K17 about certified apps and their requests, with the rows behind them. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from statistics import median

from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix.models import PolicyException, Tier
from hilum.review.recertification.figure_models import (
    ROWS_SHOWN,
    ExceptionsFigure,
    OverRequest,
    OverRequests,
    Share,
    Units,
)
from hilum.review.submissions.models import AskedBeyond

UNTIERED = "none"


def currency_by_tier(
    published: Collection[AppId], tiers: Mapping[AppId, Tier | None], current: Collection[AppId]
) -> list[Share]:
    """Return K17 by tier: the published apps with a valid certificate and no overdue finding. ``rows``: the others.

    ``tiers``: the tier of each app's certificate; an app without one has no tier.
    """
    by_tier: dict[str, list[AppId]] = {}
    for app in sorted(published):
        tier = tiers.get(app)
        by_tier.setdefault(UNTIERED if tier is None else tier.value, []).append(app)
    return [
        Share(
            tier,
            len(of),
            sum(each in current for each in of),
            tuple(each for each in of if each not in current)[:ROWS_SHOWN],
        )
        for tier, of in sorted(by_tier.items())
    ]


def exceptions_figure(
    exceptions: Iterable[PolicyException], active_apps: int, since: datetime, now: datetime
) -> ExceptionsFigure:
    """Return K14 from ``since`` to now, of what loosens something. An exception that ended early counts as over from then on."""
    found = [each for each in exceptions if each.kind.loosens]
    ends = {each.id: min(filter(None, (each.ends_at, each.ended_at)), default=now) for each in found}
    open_ = sorted((each for each in found if now < ends[each.id]), key=lambda each: each.starts_at)
    ages = [(now - each.starts_at) // timedelta(days=1) for each in open_]
    return ExceptionsFigure(
        len(open_),
        active_apps,
        sum(since <= each.starts_at <= now for each in found),
        sum(since <= end <= now for end in ends.values()),
        int(median(ages)) if ages else None,
        tuple(each.id for each in open_)[:ROWS_SHOWN],
    )


def over_requests(
    asked: Iterable[AskedBeyond], units: Mapping[str, Units], apps: Iterable[str]
) -> OverRequests:
    """Return K5 by tier, from the submissions of the period and the scopes granted now."""
    found = list(asked)
    of = {each.tier or UNTIERED: each for each in found}
    tiers = tuple(
        OverRequest(
            tier,
            of[tier].submissions if tier in of else 0,
            of[tier].beyond if tier in of else 0,
            units[tier].granted if tier in units else 0,
            units[tier].unused if tier in units else 0,
        )
        for tier in sorted({*of, *units})
    )
    rows = sorted((row for each in found for row in each.rows), reverse=True)
    return OverRequests(tiers, tuple(rows)[:ROWS_SHOWN], tuple(apps)[:ROWS_SHOWN])
