"""What a report and a tag must say, and the exact figure that known defects make (C127, K2)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.review.defects import policy
from hilum.review.defects.models import Defect, NewDefect, Seen, Severity, State, Tag
from tests.sim.world import START

DAY = timedelta(days=1)
ONE, TWO, NEVER = VersionId("ver_1"), VersionId("ver_2"), VersionId("ver_3")
OURS = VendorId("ven_1")
LIVE = START - 200 * DAY
ORDER = NewDefect(ONE, Seen.PRODUCTION, Severity.HIGH, "Shows the wrong dose.", LIVE + DAY)


def defect(version: VersionId, seen: Seen, after_days: float = 1, reproducible: bool | None = None) -> Defect:
    return Defect(
        "def_1",
        AppId("app_1"),
        OURS,
        version,
        "1.0",
        seen,
        Severity.LOW,
        "x",
        LIVE + after_days * DAY,
        None if version == NEVER else LIVE,
        "staff:x",
        START,
        reproducible=reproducible,
    )


def test_the_figure_of_known_defects_is_exact() -> None:
    """K2: of nine defects of versions that went live three escaped; one on the 91st day did not, and one of a version that never went live counts nowhere."""
    known = [
        defect(ONE, Seen.SANDBOX),
        defect(ONE, Seen.REVIEW),
        defect(ONE, Seen.REVIEW),
        defect(ONE, Seen.PRODUCTION, 1, reproducible=True),
        defect(ONE, Seen.PRODUCTION, 90, reproducible=False),
        defect(ONE, Seen.PRODUCTION, 90.0001, reproducible=True),
        defect(TWO, Seen.SANDBOX),
        defect(TWO, Seen.SANDBOX),
        defect(TWO, Seen.PRODUCTION, 0),
        defect(NEVER, Seen.SANDBOX),
    ]

    found = policy.leakage(known, {ONE, TWO})

    assert (found.escaped, found.all, found.tagged, found.reproducible) == (3, 9, 2, 1)
    assert found.share == pytest.approx(1 / 3)
    assert found.reproducible_share == pytest.approx(1 / 2)
    assert found.by_version == {ONE: (2, 6), TWO: (1, 3)}


def test_of_nothing_there_is_no_share() -> None:
    found = policy.leakage([defect(NEVER, Seen.SANDBOX)], set())
    assert (found.share, found.reproducible_share, found.all) == (None, None, 0)


@pytest.mark.parametrize(
    ("change", "live", "faults"),
    [
        ({}, LIVE, {}),
        ({"seen_in": Seen.SANDBOX}, None, {}),
        ({"seen_in": Seen.REVIEW, "first_seen_at": LIVE - DAY}, LIVE, {}),
        ({"first_seen_at": None}, LIVE, {}),
        ({}, None, {"seen_in": "version_not_live"}),
        ({"first_seen_at": LIVE - DAY}, LIVE, {"first_seen_at": "before_live"}),
        ({"first_seen_at": START + DAY}, LIVE, {"first_seen_at": "in_the_future"}),
        ({"summary": "  "}, LIVE, {"summary": "missing"}),
        ({"summary": "x" * 2_001}, LIVE, {"summary": "too_long"}),
    ],
    ids=["good", "sandbox", "review", "now", "not live", "before", "future", "empty", "long"],
)
def test_a_report_says_what_can_be(change: dict[str, object], live: object, faults: dict[str, str]) -> None:
    assert policy.report_faults(replace(ORDER, **change), live, START) == faults  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tag", "faults"),
    [
        (Tag("patient_switched"), {}),
        (Tag("dose_in_two_units"), {}),
        (Tag(gap="No record has two units."), {}),
        (Tag("Not A Name"), {"scenario": "scenario_malformed"}),
        (Tag("patient_switched", "and a gap"), {"gap": "not_with_scenario"}),
        (Tag(), {"scenario": "missing", "gap": "missing"}),
        (Tag(gap=" "), {"scenario": "missing", "gap": "missing"}),
        (Tag(gap="x" * 2_001), {"gap": "too_long"}),
    ],
    ids=["known", "proposed", "gap", "malformed", "both", "neither", "blank", "long"],
)
def test_yes_takes_a_scenario_and_no_takes_a_gap(tag: Tag, faults: dict[str, str]) -> None:
    assert policy.tag_faults(tag) == faults


@pytest.mark.parametrize("seen", list(Seen))
@pytest.mark.parametrize("answer", [None, True, False])
def test_only_an_escaped_one_that_nobody_judged_stays_open(seen: Seen, answer: bool | None) -> None:
    is_blocked = seen is Seen.PRODUCTION and answer is None
    found = policy.state_of(defect(ONE, seen, reproducible=answer), START)
    assert found is (State.TO_TAG if is_blocked else State.OPEN)


MEMBER = Actor(ActorKind.MEMBER, "per_1", roles=frozenset({"vendor_developer"}), vendor=OURS)
STAFF = Actor(ActorKind.STAFF, "per_2", roles=frozenset({"reviewer"}))
RIGHTS = [
    (MEMBER, "report see"),
    (replace(MEMBER, roles=frozenset({"vendor_billing"})), "see"),
    (replace(MEMBER, vendor=VendorId("ven_2")), ""),
    (STAFF, "report judge see"),
    (replace(STAFF, roles=frozenset({"auditor"})), "see"),
    (Actor(ActorKind.PERSON, "per_3", roles=frozenset({"administrator"})), ""),
]


@pytest.mark.parametrize(("actor", "may"), RIGHTS, ids=range(len(RIGHTS)))
def test_a_vendor_reports_and_the_staff_judges(actor: Actor, may: str) -> None:
    found = {
        "report": policy.may_report(actor, OURS),
        "judge": policy.may_judge(actor),
        "see": policy.may_see(actor, OURS),
    }
    assert {name for name, holds in found.items() if holds} == set(may.split())
