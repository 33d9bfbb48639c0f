"""What of a look is a finding, when it is due, and how far that climbs (C115, C226)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.controls.switches.models import Mode, Switch, Target, TargetKind
from hilum.foundation.kernel.actor import SYSTEM
from hilum.review.recertification import policy
from hilum.review.recertification.models import (
    DAYS,
    FINDINGS_BOUND,
    Level,
    Limits,
    Severity,
    State,
)
from hilum.review.submissions.models import Check, Result
from tests.unit.review.certificates.facts import CERTIFIED
from tests.unit.review.recertification.facts import DAY, LIMITS, NOW, SUBJECT, VENDOR, concern, finding


@pytest.mark.parametrize(
    ("result", "certain"),
    [(Result.FAILED, True), (Result.UNKNOWN, False), (Result.PASSED, None), (Result.NOT_REQUIRED, None)],
)
def test_only_what_is_wrong_or_cannot_be_seen_concerns(result: Result, certain: bool | None) -> None:
    check = Check("address.stays", "launch: https://a.example", result, "It moved.", "curl", "Fix it.")

    found = policy.concerns_of([check, check], SUBJECT)

    assert [(each.severity, each.certain) for each in found] == (
        [] if certain is None else [(Severity.CRITICAL, certain)]
    )


@pytest.mark.parametrize(("kind", "severity"), [("keys", Severity.HIGH), ("terms", Severity.MEDIUM)])
def test_an_app_whose_key_set_is_gone_cannot_authenticate(kind: str, severity: Severity) -> None:
    """C115: so it is as grave as keys that do not work, with two weeks and not thirty days."""
    gone = Check("address.answers", f"{kind}: https://a.example/x", Result.FAILED, "404", "curl", "Fix it.")

    (found,) = policy.concerns_of([gone], SUBJECT)

    assert found.severity is severity


def test_many_addresses_that_do_not_answer_push_out_nothing_graver() -> None:
    away = [Check("address.answers", f"{n}", Result.UNKNOWN, "", "", "") for n in range(FINDINGS_BOUND + 1)]
    changed = Check("keys.kept", "keys", Result.FAILED, "Another key.", "curl", "Fix it.")

    found = policy.concerns_of([*away, changed], SUBJECT)

    assert (len(found), found[0].rule) == (FINDINGS_BOUND, "keys.kept")


def test_scopes_without_a_use_are_one_finding_of_the_lowest_severity() -> None:
    """C115."""
    (found,) = policy.concerns_of((), replace(SUBJECT, unused=("user/Slot.rs", "user/Patient.r")))

    assert (found.rule, found.severity) == ("scopes.used", Severity.LOW)
    assert "user/Slot.rs, user/Patient.r" in found.evidence


@pytest.mark.parametrize(("severity", "days"), [("critical", 7), ("high", 14), ("medium", 30), ("low", 90)])
def test_a_finding_is_due_by_its_severity(severity: str, days: int) -> None:
    """C115."""
    found = policy.follow(SUBJECT, VENDOR, (), [concern(severity=Severity(severity))], limits=LIMITS, now=NOW)

    (opened,) = found.opened
    assert (opened.state, opened.due_at) == (State.OPEN, NOW + days * DAY)
    assert DAYS[Severity(severity)] == days
    assert all((opened.rule, opened.evidence, opened.reproduction, opened.fix))


def test_what_could_not_be_seen_becomes_a_finding_the_second_time() -> None:
    """C115: a host may be away for a night, and its deadline begins when that is known."""
    unseen = concern(certain=False)

    (suspected,) = policy.follow(SUBJECT, VENDOR, (), [unseen], limits=LIMITS, now=NOW).suspected
    held = replace(suspected, id="fnd_1")
    second = policy.follow(SUBJECT, VENDOR, [held], [unseen], limits=LIMITS, now=NOW + DAY)
    fixed = policy.follow(SUBJECT, VENDOR, [held], [], limits=LIMITS, now=NOW + DAY)

    assert (suspected.state, suspected.due_at) == (State.SUSPECTED, None)
    (opened,) = second.opened
    assert (opened.id, opened.due_at) == ("fnd_1", NOW + 8 * DAY)
    assert [each.id for each in fixed.closed] == ["fnd_1"]


def test_a_finding_keeps_its_deadline_until_it_is_seen_to_be_fixed() -> None:
    """C115: what cannot be seen is not fixed."""
    held = finding()

    for seen in (concern(evidence="Again."), concern(certain=False)):
        (kept,) = policy.follow(SUBJECT, VENDOR, [held], [seen], limits=LIMITS, now=NOW + 3 * DAY).kept
        assert (kept.due_at, kept.opened_at, kept.seen_at) == (held.due_at, NOW, NOW + 3 * DAY)
    (other,) = policy.follow(
        SUBJECT, VENDOR, [held], [concern(about="elsewhere")], limits=LIMITS, now=NOW
    ).closed
    assert (other.state, other.closed_at) == (State.CLOSED, NOW)


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (0, Level.NOTIFY),
        (3, Level.NOTIFY),
        (3.5, Level.WARN),
        (6.9, Level.WARN),
        (7, Level.STOP),
        (36, Level.STOP),
        (37, Level.SUSPEND),
        (66, Level.SUSPEND),
        (67, Level.WITHDRAW),
    ],
)
def test_a_critical_finding_climbs_level_by_level(days: float, level: Level) -> None:
    """C226: at its deadline the listing is hidden and launches stop; the rest takes longer."""
    assert policy.level_of(finding(), LIMITS, NOW + days * DAY) is level


def test_neither_a_suspicion_nor_what_was_fixed_climbs() -> None:
    later = NOW + 400 * DAY

    assert policy.level_of(finding(state=State.SUSPECTED, due_at=None), LIMITS, later) is Level.NONE
    assert policy.level_of(finding(state=State.CLOSED), LIMITS, later) is Level.NONE
    assert policy.level_due([], LIMITS, later) is Level.NONE
    assert policy.level_due([finding(state=State.CLOSED), finding()], LIMITS, NOW) is Level.NOTIFY


@pytest.mark.parametrize(
    ("days", "level"),
    [
        (6.9, Level.WARN),
        (7, Level.SUSPEND),
        (16.9, Level.SUSPEND),
        (17, Level.WITHDRAW),
    ],
)
def test_the_entry_says_how_long_after_the_deadline_more_is_due(days: float, level: Level) -> None:
    """C226: at once, if it says none."""
    assert policy.level_of(finding(), Limits(suspend_days=0, withdraw_days=10), NOW + days * DAY) is level


@pytest.mark.parametrize("due", list(Level))
@pytest.mark.parametrize("automatic", list(Level))
def test_the_platform_climbs_no_further_than_its_limit_and_withdraws_nothing(
    due: Level, automatic: Level
) -> None:
    """C115: above the limit a person decides; by default that is above "nothing new is launched"."""
    taken = policy.level_taken(due, Limits(automatic=automatic))

    assert taken <= min(due, automatic)
    assert taken < Level.WITHDRAW
    assert policy.level_taken(Level.WITHDRAW, LIMITS) is Level.STOP


@pytest.mark.parametrize(
    ("left", "mended_for", "certification", "again_in"),
    [
        (4 * DAY, DAY, CERTIFIED.id, 4 * DAY),
        (4 * DAY, 12 * DAY, CERTIFIED.id, 4 * DAY),
        (-2 * DAY, DAY, CERTIFIED.id, -2 * DAY),
        (99 * DAY, DAY, CERTIFIED.id, 7 * DAY),
        (4 * DAY, DAY, "cert_before", 7 * DAY),
    ],
    ids=[
        "one night",
        "fixed in time and past its day",
        "overdue",
        "no more than at first",
        "certified before",
    ],
)
def test_what_comes_again_has_the_time_that_was_left_when_it_was_fixed(
    left: timedelta, mended_for: timedelta, certification: str, again_in: timedelta
) -> None:
    """C115: fixing for one night gives no new deadline, and whoever fixed in time is not stopped at once. Also where it could not be seen twice."""
    closed_at = NOW - mended_for
    earlier = finding(
        state=State.CLOSED, due_at=closed_at + left, closed_at=closed_at, certification=certification
    )

    (seen,) = policy.follow(SUBJECT, VENDOR, (), [concern()], recent=[earlier], limits=LIMITS, now=NOW).opened
    suspected = replace(earlier, state=State.SUSPECTED, due_at=None, closed_at=None)
    unseen = concern(certain=False)
    (again,) = policy.follow(
        SUBJECT, VENDOR, [suspected], [unseen], recent=[earlier], limits=LIMITS, now=NOW
    ).opened

    assert (seen.due_at, again.due_at) == (NOW + again_in, NOW + again_in)
    assert (seen.opened_at, again.opened_at) == (NOW, NOW), "it counts as found once more"


ESCALATIONS = Switch(
    "swi_1", Target(TargetKind.VERSION, "ver_1"), Mode.NO_NEW_LAUNCHES, "Not fixed.", str(SYSTEM), NOW
)


@pytest.mark.parametrize(
    ("switch", "is_its"),
    [
        (ESCALATIONS, True),
        (replace(ESCALATIONS, engaged_by="staff:per_1"), False),
        # A release that words it otherwise still lets go of it.
        (replace(ESCALATIONS, reason="Found, and not fixed."), True),
        (replace(ESCALATIONS, mode=Mode.FULL_STOP), False),
        (replace(ESCALATIONS, target=Target(TargetKind.VERSION, "ver_other")), False),
        (replace(ESCALATIONS, target=Target(TargetKind.APP, "ver_1")), False),
    ],
    ids=["its", "a person's", "reworded", "wider", "another app's", "another target"],
)
def test_the_escalation_lets_go_of_nothing_that_it_did_not_engage(switch: Switch, is_its: bool) -> None:
    """C226: its row names switches and is not signed."""
    assert policy.is_of_escalation(switch, {"ver_1"}) is is_its
