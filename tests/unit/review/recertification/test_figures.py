"""Figures of what is certified, from known rows (K5, K14, K17)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.policy.matrix.models import ExceptionKind, PolicyException, Tier
from hilum.review.recertification import units
from hilum.review.recertification.figure_models import (
    ExceptionsFigure,
    OverRequest,
    OverRequests,
    Share,
    Units,
)
from hilum.review.recertification.figures import currency_by_tier, exceptions_figure, over_requests
from hilum.review.submissions.models import AskedBeyond

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
A, B, C, D = (AppId(f"app_{name}") for name in "abcd")


def exception(id_: str, agreed: int, ends: int, ended: int | None = None) -> PolicyException:
    """Of so many days ago, until in so many days; ended early so many days ago."""
    return PolicyException(
        ExceptionKind.LOWERED_TIER,
        A,
        "A reason.",
        VersionId("ver_1"),
        ends_at=NOW + ends * DAY,
        id=id_,
        owner="a",
        agreed_by="b",
        starts_at=NOW - agreed * DAY,
        ended_at=None if ended is None else NOW - ended * DAY,
    )


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


def installed(*scopes: str, days: int = 200, **more: Any) -> InstallationFacts:
    """At a hospital since so many days."""
    return replace(
        InstallationFacts(scopes, frozenset({"physician"}), None, NOW - days * DAY, Environment.PRODUCTION),
        **more,
    )


def test_units_are_counted_by_hospital_type_and_letter() -> None:
    """K5: the exact numbers; another hospital's use counts nowhere else, and what is new was not there for long enough."""
    since = NOW - 90 * DAY
    places = [
        (
            TenantId("general"),
            installed("launch", "openid", "user/Slot.rs", "patient/Slot.r", "user/Task.cru"),
        ),
        (TenantId("mercy"), installed("user/Slot.rs")),
        (TenantId("young"), installed("user/Slot.rs", days=89)),
        (TenantId("edge"), installed("user/Slot.r", days=90)),
        (TenantId("ended"), installed("user/Slot.rs", expires_at=NOW)),
        (TenantId("sandbox"), installed("user/Slot.rs", environment=Environment.SANDBOX)),
    ]
    used = [
        ("read", "Slot", "general"),
        ("search-type", "Slot", "mercy"),
        ("update", "Task", "general"),
        ("vread", "Task", "general"),
        ("create", "Task", "mercy"),
        ("capabilities", "", "edge"),
    ]

    # general: Slot r and s, Task c, r and u; of these Slot s and Task c nobody used. mercy: Slot r. edge: Slot r.
    assert units.count(places, used, since, NOW) == Units(granted=5 + 2 + 2 + 1, unused=2 + 1 + 1)
    assert units.count([], used, since, NOW) == Units(0, 0)
    assert len(units.units_of(("patient/*.r",))) > 30, "a wildcard is each type"
    assert units.together({"a": Units(3, 1), "b": Units(4, 2)}) == Units(7, 3)


def test_over_requests_are_counted_by_tier_with_the_rows_behind_them() -> None:
    """K5: a tier that only one of the two halves knows is listed too."""
    asked = [AskedBeyond("low", 4, 1, ("sub_2",)), AskedBeyond("", 1, 1, ("sub_3",))]

    found = over_requests(asked, {"low": Units(10, 4), "high": Units(6, 0)}, ["app_a"])

    assert found == OverRequests(
        (OverRequest("high", 0, 0, 6, 0), OverRequest("low", 4, 1, 10, 4), OverRequest("none", 1, 1, 0, 0)),
        ("sub_3", "sub_2"),
        ("app_a",),
    )
    assert over_requests([], {}, []) == OverRequests((), (), ())
