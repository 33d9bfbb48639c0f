"""What the traffic of a ring says, and where a rollout goes from there (C218)."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.audit.models import LATENCY_EDGES_MS, Traffic
from hilum.kernel.ids import TenantId
from hilum.policies.models import Application, CurrentVersions
from hilum.rollouts.models import Finding, Judged, Limits, Position, Ring, RingTraffic, Step
from hilum.rollouts.policy import (
    ahead_of,
    judge,
    next_step,
    order_in_words,
    position,
    rings_document,
    rollback_orders,
)
from tests.sim.rollouts import DAY, plan
from tests.sim.world import START

BUCKETS = len(LATENCY_EDGES_MS) + 1
STEADY, REGRESSED, UNKNOWN = (
    Judged(each, "") for each in (Finding.STEADY, Finding.REGRESSED, Finding.UNKNOWN)
)


def traffic(permitted: int, refused: int = 0, bucket: int = 1) -> Traffic:
    return Traffic(refused, tuple(permitted if n == bucket else 0 for n in range(BUCKETS)))


NONE = traffic(0)
USUAL = traffic(980, 20)


def found(now: Traffic, before: Traffic = USUAL, **more: Traffic) -> Finding:
    parts = {"recent": now, "others_now": NONE, "others_before": NONE} | more
    by_app = {name: {"app_1": each} for name, each in parts.items()}
    return judge(RingTraffic(now={"app_1": now}, before={"app_1": before}, **by_app), Limits()).finding


@pytest.mark.parametrize(
    ("now", "more", "finding"),
    [
        (traffic(980, 20), {}, Finding.STEADY),
        (traffic(930, 70), {}, Finding.STEADY),
        (traffic(900, 100), {}, Finding.REGRESSED),
        (traffic(0, 1_000), {}, Finding.REGRESSED),
        (traffic(99), {}, Finding.UNKNOWN),
        (traffic(0, 99), {}, Finding.UNKNOWN),
        (NONE, {}, Finding.UNKNOWN),
        # Seven points more of a hundred decisions may be chance; of ten thousand they are none.
        (traffic(83, 17), {"before": traffic(900, 100)}, Finding.STEADY),
        (traffic(8_300, 1_700), {"before": traffic(900, 100)}, Finding.REGRESSED),
        # What was not known before is compared with elsewhere; without that nothing is known.
        (traffic(980, 20), {"before": NONE}, Finding.UNKNOWN),
        (traffic(980, 20), {"before": NONE, "others_now": USUAL}, Finding.STEADY),
        (traffic(800, 200), {"before": NONE, "others_now": USUAL}, Finding.REGRESSED),
        # What rose everywhere is not the version's, but hides no more than the limit.
        (traffic(910, 90), {"others_now": traffic(900, 100), "others_before": USUAL}, Finding.STEADY),
        (traffic(800, 200), {"others_now": traffic(0, 900), "others_before": USUAL}, Finding.REGRESSED),
        # Nor does what few decisions elsewhere say, or that others had fewer refusals than before.
        (traffic(910, 90), {"others_now": traffic(0, 99), "others_before": traffic(99)}, Finding.REGRESSED),
        (traffic(930, 70), {"others_now": USUAL, "others_before": traffic(900, 100)}, Finding.STEADY),
        # As many decisions as are needed are enough.
        (traffic(80, 20), {"before": traffic(98, 2)}, Finding.REGRESSED),
        # The last hours alone.
        (traffic(98_000, 2_000), {"recent": traffic(0, 200)}, Finding.REGRESSED),
        (traffic(98_000, 2_000), {"recent": traffic(0, 99)}, Finding.STEADY),
        (traffic(1_000, bucket=2), {}, Finding.REGRESSED),
        (traffic(1_000, bucket=0), {}, Finding.STEADY),
        (traffic(1_000), {"before": traffic(1_000, bucket=BUCKETS - 1)}, Finding.STEADY),
        (traffic(1_000, bucket=BUCKETS - 1), {"before": traffic(1_000, bucket=BUCKETS - 1)}, Finding.STEADY),
    ],
)
def test_a_ring_regressed_if_more_is_refused_or_slow_than_before_and_than_chance(
    now: Traffic, more: dict[str, Any], finding: Finding
) -> None:
    assert found(now, **more) is finding


@given(st.integers(0, 3_000), st.integers(0, 3_000), st.integers(0, 500), st.integers(0, 2_000))
def test_more_refusals_never_turn_a_regression_into_a_steady_ring(
    permitted: int, refused: int, base_refused: int, more: int
) -> None:
    before = traffic(1_000, base_refused)

    if found(traffic(permitted, refused), before) is Finding.REGRESSED:
        assert found(traffic(permitted, refused + more), before) is Finding.REGRESSED


def test_an_app_with_little_traffic_is_judged_with_the_others_only() -> None:
    now = {"app_1": traffic(980, 20), "app_2": traffic(0, 30)}
    before = {"app_1": USUAL, "app_2": USUAL}
    ring = RingTraffic(now, now, before, {}, {})

    assert judge(ring, Limits()).finding is Finding.STEADY
    assert judge(ring, Limits(least_decisions=30)).finding is Finding.REGRESSED


@pytest.mark.parametrize(
    ("rings", "after", "step"),
    [
        ([STEADY], DAY, Step.ADVANCE),
        ([STEADY], DAY - timedelta(seconds=1), Step.STAY),
        ([UNKNOWN], 9 * DAY, Step.STAY),
        ([REGRESSED], timedelta(0), Step.GO_BACK),
        ([REGRESSED], 9 * DAY, Step.GO_BACK),
        ([STEADY, STEADY], DAY, Step.FINISH),
        ([STEADY, UNKNOWN], DAY, Step.STAY),
        # An earlier ring is watched to the end.
        ([REGRESSED, STEADY], DAY, Step.GO_BACK),
        ([UNKNOWN, STEADY], DAY, Step.FINISH),
        ([], DAY, Step.STAY),
    ],
)
def test_it_advances_when_the_time_is_over_and_the_ring_is_known_to_be_steady(
    rings: list[Judged], after: timedelta, step: Step
) -> None:
    stands = Position((START,) * len(rings), 1 + len(rings))

    assert next_step(plan(), stands, rings, START + after).step is step


def applied(number: int, version: int = 2, *tenants: str) -> Application:
    at = START + number * timedelta(hours=1)
    return Application(number, version, "", tuple(map(TenantId, tenants)), "", "", at, "")


@pytest.mark.parametrize(
    ("since", "reached", "overtaken"),
    [
        ([], 0, False),
        ([applied(2, 2, "mercy")], 1, False),
        ([applied(2, 2, "mercy"), applied(3)], 2, False),
        ([applied(2, 3, "mercy")], 0, True),
        ([applied(2, 2, "general")], 0, True),
        ([applied(2)], 0, True),
        ([applied(2, 2, "mercy"), applied(3, 1, "mercy")], 1, True),
        ([applied(2, 2, "mercy"), applied(3), applied(4)], 2, True),
    ],
)
def test_where_it_stands_follows_from_the_applications_alone(
    since: list[Application], reached: int, overtaken: bool
) -> None:
    stands = position(plan(), since)

    assert (len(stands.reached), stands.overtaken) == (reached, overtaken)
    assert stands.last == (since[-1].number if since else 1)


@pytest.mark.parametrize(
    ("before", "reached", "orders"),
    [
        (CurrentVersions(1, {}, 1), 1, [(1, ("mercy",), 2)]),
        (CurrentVersions(1, {TenantId("mercy"): 5}, 1), 1, [(5, ("mercy",), 2)]),
        (CurrentVersions(1, {TenantId("general"): 5}, 1), 1, [(1, ("mercy",), 2)]),
        (CurrentVersions(1, {TenantId("general"): 5}, 1), 2, [(1, (), 3), (5, ("general",), 4)]),
        (CurrentVersions(1, {}, 1), 0, []),
    ],
)
def test_the_way_back_is_to_what_was_in_force_before_and_nothing_else(
    before: CurrentVersions, reached: int, orders: list[Any]
) -> None:
    stands = Position((START,) * reached, 1 + reached)

    found = rollback_orders(plan(before=before), stands, "why")

    assert [(each.version, each.tenants, each.after) for each in found] == orders


def ring(now: dict[str, Traffic], before: dict[str, Traffic]) -> RingTraffic:
    return RingTraffic(now=now, recent=now, before=before, others_now={}, others_before={})


APPS = tuple(f"app_{n}" for n in range(5))
CALM = dict.fromkeys(APPS, USUAL)
REFUSED_ALL = traffic(0, 100_000)


@pytest.mark.parametrize("narrows", [True, False])
@pytest.mark.parametrize(
    ("spoiled", "finding"),
    [
        ((), Finding.STEADY),
        (APPS[:1], Finding.STEADY),
        (APPS[:2], Finding.REGRESSED),
        (APPS, Finding.REGRESSED),
    ],
)
def test_one_app_alone_does_not_send_a_version_back_that_allows_nothing_new(
    spoiled: tuple[str, ...], finding: Finding, narrows: bool
) -> None:
    """C218: it would gain by it, however busy it is. Of what allows something new, one app that is refused everything is enough."""
    traffic_now = CALM | dict.fromkeys(spoiled, REFUSED_ALL)

    found = judge(ring(traffic_now, CALM), Limits(), narrows=narrows)

    assert found.finding is (finding if narrows or not spoiled else Finding.REGRESSED)
    assert ("one_app" in found.figures) is (narrows and len(spoiled) == 1), "a person sees it"


@pytest.mark.parametrize(
    ("theirs", "finding"), [(2, Finding.STEADY), (1, Finding.REGRESSED), (5, Finding.STEADY)]
)
def test_apps_of_one_vendor_together_do_not_send_it_back_either(theirs: int, finding: Finding) -> None:
    """C218: two apps that are refused everything are two witnesses only if nobody owns both."""
    owners = {app: "ven_1" if n < theirs else f"ven_of_{app}" for n, app in enumerate(APPS)}
    traffic_now = CALM | dict.fromkeys(APPS[:2], REFUSED_ALL)

    found = judge(ring(traffic_now, CALM), Limits(), narrows=True, owners=owners)

    assert found.finding is finding
    assert set(found.figures.get("one_app", ())) == (set(APPS[:2]) if finding is Finding.STEADY else set())


def test_many_small_apps_that_are_refused_send_a_version_back() -> None:
    """None of them has decisions enough to be judged alone."""
    small = tuple(f"small_{n}" for n in range(50))
    before = dict.fromkeys(small, traffic(49, 1))
    now = before | dict.fromkeys(small[:30], traffic(0, 50))

    assert judge(ring(now, before), Limits(), narrows=True).finding is Finding.REGRESSED


def test_where_only_one_app_is_used_a_narrower_version_continues_and_is_watched_by_people() -> None:
    found = judge(ring({"app_0": REFUSED_ALL}, {"app_0": USUAL}), Limits(), narrows=True)

    assert found.finding is Finding.STEADY
    assert list(found.figures["one_app"]) == ["app_0"]


@given(
    st.dictionaries(
        st.sampled_from(APPS), st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), min_size=1
    ),
    st.tuples(st.integers(0, 50_000), st.integers(0, 50_000)),
)
def test_what_one_app_does_never_turns_steady_into_regressed_for_a_narrower_version(
    others: dict[str, tuple[int, int]], own: tuple[int, int]
) -> None:
    """With all other apps calm, whatever one app does."""
    calm = dict.fromkeys(others, USUAL)

    found = judge(ring(calm | {"own": traffic(*own)}, calm | {"own": USUAL}), Limits(), narrows=True)

    assert found.finding is Finding.STEADY


def test_each_later_ring_has_its_earliest_day_and_the_first_has_none() -> None:
    """C180: a ring stays as long as it must, and a regression only makes it later."""
    mercy, children, general = (TenantId(each) for each in ("mercy", "children", "general"))
    rings = (Ring((mercy,), DAY), Ring((children,), 2 * DAY), Ring((), DAY))

    ahead = ahead_of(plan(rings=rings))
    assert [ahead.since(each) for each in (mercy, children, general)] == [None, START + DAY, START + 3 * DAY]
    named = ahead_of(plan(rings=rings[:2]))
    assert [named.since(each) for each in (mercy, children, general)] == [None, START + DAY, None]


def test_a_second_person_reads_the_plan_in_words() -> None:
    """Rings, how long each has the version, and when it goes back."""
    rings = (
        Ring((TenantId("general"),), timedelta(minutes=90)),
        Ring((TenantId("mercy"), TenantId("lakeside")), timedelta(days=1)),
        Ring((), timedelta(days=7)),
    )
    limits = {"refused_points": 5, "slow_points": 1, "least_decisions": 100}
    order = {"version": 4, "rings": rings_document(rings), "limits": limits, "goes_back_by_itself": True}

    assert order_in_words(order | {"reason": "orders"}, str.capitalize) == {
        "version": 4,
        "reason": "orders",
        "ring 1": "General, for 90 minutes",
        "ring 2": "Mercy, Lakeside, for 24 hours",
        "ring 3": "everywhere, for 7 days",
        "goes back": "by itself, if refusals rise by 5 points or slow answers by 1 point, of 100 decisions at least",
    }
