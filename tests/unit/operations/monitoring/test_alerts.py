"""Which calls exceed a limit of the policy, and what becomes of alerts (C20, C179)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry.models import App
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.operations.monitoring import policy
from hilum.operations.monitoring.models import (
    CALLS_LEAST,
    HITS_LEAST,
    QUIET,
    Alert,
    AlertKind,
    Followed,
    Skip,
    Watched,
)
from hilum.policy.matrix.models import AlertThresholds, Tier
from hilum.records.audit.models import SERVED_EDGES_MS, Served
from hilum.records.notices.policy import facts_faults
from hilum.records.notices.templates import ALERT
from tests.sim.world import START
from tests.unit.policy.matrix.books import book

LIMITS = AlertThresholds(refused_percent=20, failed_percent=10, latency_ms_p95=2_000)
WATCHED = Watched(AppId("app_1"), TenantId("general"), VendorId("ven_1"), LIMITS)


def calls(answered: int = 0, slow: int = 0, **ended: int) -> Served:
    """Answers within 50 ms, ``slow`` ones between 2 and 3 seconds, and what ended otherwise."""
    buckets = [0] * (len(SERVED_EDGES_MS) + 1)
    buckets[0], buckets[SERVED_EDGES_MS.index(3_000)] = answered, slow
    return Served(answered=tuple(buckets), **ended)


@pytest.mark.parametrize(
    ("kind", "served", "verdict"),
    [
        ("refused", calls(80, refused=20), False),
        ("refused", calls(79, refused=21), True),
        ("refused", calls(28, refused=21), None),
        ("refused", calls(29, refused=21), True),
        ("failed", calls(90, failed=10), False),
        ("failed", calls(89, failed=11), True),
        ("failed", calls(89, mistaken=4, throttled=4, failed=3), True),
        ("failed", calls(41, failed=9), False),
        ("failed", calls(40, failed=10), True),
        ("failed", calls(0, refused=1_000), False),
        ("slow", calls(190, slow=10), False),
        ("slow", calls(189, slow=11), True),
        ("slow", calls(0, slow=9, refused=1_000), None),
        ("slow", calls(41, slow=9), False),
        ("slow", calls(40, slow=10), True),
        ("refused", calls(), None),
        ("failed", calls(), None),
        ("slow", calls(), None),
    ],
)
def test_a_limit_is_exceeded_by_a_share_of_enough_calls(
    kind: str, served: Served, verdict: bool | None
) -> None:
    """C20: with too few nothing is known, and a handful of calls is no breach."""
    assert policy.exceeds(AlertKind(kind), served, LIMITS) is verdict


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (AlertKind.REFUSED, {"refused_percent": 21}),
        (AlertKind.FAILED, {"failed_percent": 11}),
        (AlertKind.SLOW, {"latency_ms_p95": 2_001}),
    ],
)
def test_changing_the_entry_changes_what_exceeds_it(kind: AlertKind, changed: dict[str, int]) -> None:
    """C179."""
    served = {
        AlertKind.REFUSED: calls(79, refused=21),
        AlertKind.FAILED: calls(89, failed=11),
        AlertKind.SLOW: calls(89, slow=11),
    }[kind]

    assert policy.exceeds(kind, served, LIMITS) is True
    assert policy.exceeds(kind, served, replace(LIMITS, **changed)) is False


def alert(kind: AlertKind = AlertKind.REFUSED, **more: Any) -> Alert:
    made = Alert("alt_1", WATCHED.app, WATCHED.tenant, WATCHED.vendor, kind, 20, {"calls": 1}, START, START)
    return replace(made, **more)


def shown(found: Followed) -> tuple[list[str], list[str], list[tuple[str, str]], str]:
    return (
        [each.kind.value for each in found.opened],
        [each.kind.value for each in found.kept],
        [(each.kind.value, each.why.value) for each in found.closed if each.why],
        found.skip.value if found.skip else "",
    )


def test_each_exceeded_limit_opens_one_alert_with_its_numbers() -> None:
    found = policy.follow(WATCHED, calls(50, slow=20, refused=60, failed=20), (), START)

    assert shown(found) == (["refused", "failed", "slow"], [], [], "")
    refused = found.opened[0]
    assert (refused.limit, refused.figures["calls"], refused.figures["refused"]) == (20, 150, 60)
    assert found.opened[2].figures["within_ms"] == 3_000


BAD, GOOD, FEW = calls(100, refused=100), calls(200), calls(CALLS_LEAST - 1)


@pytest.mark.parametrize(
    ("served", "after", "watched", "expected"),
    [
        (BAD, timedelta(0), WATCHED, ([], ["refused"], [], "")),
        (GOOD, timedelta(0), WATCHED, ([], [], [("refused", "over")], "")),
        (FEW, QUIET - timedelta(seconds=1), WATCHED, ([], [], [], "few_calls")),
        (FEW, QUIET, WATCHED, ([], [], [("refused", "quiet")], "few_calls")),
        (
            BAD,
            timedelta(0),
            replace(WATCHED, vendor=VendorId("ven_2")),
            (["refused"], [], [("refused", "not_watched")], ""),
        ),
        (BAD, timedelta(0), replace(WATCHED, limits=None, skip=Skip.NO_ENTRY), ([], [], [], "no_entry")),
        (
            BAD,
            QUIET,
            replace(WATCHED, limits=None, skip=Skip.NO_ENTRY),
            ([], [], [("refused", "quiet")], "no_entry"),
        ),
        (
            BAD,
            timedelta(0),
            replace(WATCHED, limits=None, skip=Skip.NOT_INSTALLED),
            ([], [], [("refused", "not_watched")], "not_installed"),
        ),
        (
            BAD,
            timedelta(0),
            replace(WATCHED, limits=None, skip=Skip.NOT_CERTIFIED),
            ([], [], [("refused", "not_watched")], "not_certified"),
        ),
    ],
)
def test_an_alert_ends_when_it_is_known_to_be_over_or_nothing_is_known_for_a_day(
    served: Served, after: timedelta, watched: Watched, expected: tuple[Any, ...]
) -> None:
    """Unknown closes nothing at once, also a policy that cannot be read."""
    assert shown(policy.follow(watched, served, [alert()], START + after)) == expected


@pytest.mark.parametrize(
    "watched",
    [
        replace(WATCHED, limits=None, skip=each)
        for each in (Skip.NO_ENTRY, Skip.NOT_CERTIFIED, Skip.NOT_INSTALLED)
    ],
)
def test_what_is_not_known_opens_no_alert_and_is_counted(watched: Watched) -> None:
    found = policy.follow(watched, BAD, (), START)

    assert found == Followed(skip=watched.skip)


def test_fewer_than_ten_calls_are_never_a_breach() -> None:
    nearly = calls(CALLS_LEAST, refused=HITS_LEAST - 1)

    assert policy.exceeds(AlertKind.REFUSED, nearly, replace(LIMITS, refused_percent=1)) is False


def test_the_strictest_of_several_entries_counts_and_a_entry_that_is_missing_is_no_limit() -> None:
    """C20: of an app that moved, or whose tier was raised."""
    of = book()

    low = policy.limits_under(of, {"scheduling"}, {Tier.LOW})
    both = policy.limits_under(of, {"scheduling"}, {Tier.LOW, Tier.MODERATE})

    assert low is not None
    assert both is not None
    assert (low.refused_percent, both.refused_percent) == (20, 10)
    assert policy.limits_under(of, {"scheduling", "nothing"}, {Tier.LOW}) is None
    assert policy.limits_under(of, (), (Tier.LOW,)) is None


def test_a_mail_names_three_and_counts_the_others() -> None:
    assert policy.in_words(["c", "a"], 3) == "a, c"
    assert policy.in_words(["c", "a", "b", "d", "e", "a"], 3) == "a, b, c and 2 more"


def test_names_of_any_length_fit_into_the_mail() -> None:
    """C20: or apps of one vendor with long names would keep everybody's alerts from being opened."""
    line = policy.in_words((letter * 200 for letter in "abcdef"), 3)

    assert facts_faults(ALERT.fields, {"apps": line, "places": line, "kind": "slow"}) == {}
    assert line == ", ".join(f"{letter * 79}…" for letter in "abc") + " and 3 more"
    assert policy.in_words(("Rota", "Chart"), 3) == "Chart, Rota"


ACME, GENERAL, CLINIC = VendorId("ven_acme"), TenantId("general"), TenantId("clinic")
STAFF = Actor(ActorKind.STAFF, "per_s", roles=frozenset({"auditor"}))
MEMBER = Actor(ActorKind.MEMBER, "per_m", roles=frozenset({"vendor_developer"}), vendor=ACME)
GINA = Actor(ActorKind.PERSON, "per_g", GENERAL, frozenset({"administrator"}))
ANN = Actor(ActorKind.PERSON, "per_a", GENERAL, frozenset({"physician"}))
CLIENT = Actor(ActorKind.CLIENT, "cli_1", GENERAL, frozenset({"administrator"}))


@pytest.mark.parametrize(
    ("actor", "tenant", "shown"),
    [
        (STAFF, "", ("", "")),
        (STAFF, "clinic", ("", "clinic")),
        (MEMBER, "", (ACME, "")),
        (MEMBER, "clinic", (ACME, "clinic")),
        (GINA, "", ("", "general")),
        (GINA, "general", ("", "general")),
        (GINA, "clinic", None),
        (ANN, "", None),
        (ANN, "general", None),
        (CLIENT, "", None),
    ],
)
def test_nobody_lists_alerts_about_others(actor: Actor, tenant: str, shown: tuple[str, str] | None) -> None:
    """C20: a vendor those about its apps, at any hospital; a hospital's administrator those at it, of any vendor."""
    assert policy.alerts_shown(actor, tenant) == shown


APP = App(AppId("app_1"), ACME, "Chart", "Shows", "Review", category="unclassified")


@pytest.mark.parametrize(
    ("actor", "app", "at", "expected"),
    [
        (STAFF, APP, None, True),
        (MEMBER, APP, None, True),
        (replace(MEMBER, vendor=VendorId("ven_other")), APP, None, False),
        (MEMBER, replace(APP, tenant=GENERAL), None, False),
        (GINA, APP, GENERAL, True),
        (GINA, APP, CLINIC, False),
        (GINA, APP, None, False),
        (ANN, APP, GENERAL, False),
        (CLIENT, APP, GENERAL, False),
    ],
)
def test_who_sees_how_an_app_works(actor: Actor, app: App, at: TenantId | None, expected: bool) -> None:
    """C20: at one hospital its administrators, everywhere its vendor and the platform."""
    assert policy.may_see_service(actor, app, at) is expected
