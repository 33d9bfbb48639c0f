"""Figures of what is certified, from known rows (K14, K17)."""

from datetime import UTC, datetime, timedelta

from hilum.kernel.ids import AppId, VersionId
from hilum.policies.models import ExceptionKind, PolicyException, Tier
from hilum.revalidation.figure_models import ExceptionsFigure, Share
from hilum.revalidation.figures import currency_by_tier, exceptions_figure

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
A, B, C, D = (AppId(f"app_{name}") for name in "abcd")


def exception(id_: str, agreed: int, ends: int, ended: int | None = None) -> PolicyException:
    """Of so many days ago, until in so many days; ended early so many days ago."""
    return PolicyException(
        id_, ExceptionKind.LOWERED_TIER, A, VersionId("ver_1"), None, "A reason.", NOW + ends * DAY, "a", "b", NOW - agreed * DAY,
        ended_at=None if ended is None else NOW - ended * DAY,
    )  # fmt: skip


def test_currency_is_counted_by_tier_and_names_what_is_not_current() -> None:
    """K17: an app without a certificate is of no tier, and one that is not published counts nowhere."""
    tiers = {A: Tier.LOW, B: Tier.LOW, C: Tier.HIGH}

    found = currency_by_tier({C, B, A, D}, tiers, {A, C, AppId("app_other")})

    assert found == [Share("high", 1, 1, ()), Share("low", 2, 1, (B,)), Share("none", 1, 0, (D,))]
    assert currency_by_tier((), {}, ()) == []


def test_exceptions_are_counted_open_granted_and_over_within_the_period() -> None:
    """K14: one that ended early is over from then on, and the ends of the period count."""
    found = exceptions_figure(
        [
            exception("open_old", 100, 10),
            exception("open_new", 10, 1),
            exception("ran_out", 40, 0),
            exception("ended_early", 20, 50, ended=5),
            exception("over_long_ago", 200, -31),
            exception("granted_at_the_edge", 30, 5),
        ],
        active_apps=7,
        since=NOW - 30 * DAY,
        now=NOW,
    )

    open_ = ("open_old", "granted_at_the_edge", "open_new")
    assert found == ExceptionsFigure(3, 7, granted=3, over=2, median_age_days=30, rows=open_)
    assert exceptions_figure([], 0, NOW - DAY, NOW) == ExceptionsFigure(0, 0, 0, 0, None, ())
