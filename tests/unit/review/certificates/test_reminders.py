"""When the end of a certificate is announced (C114, C225)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.apps.registry.models import Environment
from hilum.review.certificates import policy
from hilum.review.certificates.models import Cause, Status
from tests.unit.review.certificates.facts import NOW, SHOWN

DAY = timedelta(days=1)
ENDS = NOW + 200 * DAY


@pytest.mark.parametrize(
    ("days_left", "after"),
    [(200, 90), (90, 60), (61, 60), (60, 30), (8, 7), (7, 0), (0.1, 0), (0, None), (-1, None)],
)
def test_the_next_reminder_is_at_90_60_30_and_7_days_and_at_the_end(
    days_left: float, after: int | None
) -> None:
    found = policy.next_reminder(ENDS, ENDS - days_left * DAY)

    assert found == (None if after is None else ENDS - after * DAY)


@pytest.mark.parametrize(("days_left", "after"), [(7, 0), (0, -14), (-13.9, -14), (-14, None)])
def test_after_the_end_the_end_of_its_grace_is_announced(days_left: float, after: int | None) -> None:
    """C114."""
    found = policy.next_reminder(ENDS, ENDS - days_left * DAY, ENDS + 14 * DAY)

    assert found == (None if after is None else ENDS - after * DAY)


@pytest.mark.parametrize(
    ("since", "days_left", "due"),
    [
        (90, 90, 90),
        (90, 75, 90),
        (90, 50, 60),
        (90, 5, 7),
        (90, -2, 0),
        (60, 61, None),
        (200, 100, None),
        (30, 30, 30),
        (0, 0, 0),
    ],
)
def test_of_reminders_that_were_missed_the_last_one_is_sent(
    since: int, days_left: int, due: int | None
) -> None:
    """C114: after a night without the jobs process nobody gets four mails."""
    found = policy.reminder_due(ENDS - since * DAY, ENDS, ENDS - days_left * DAY)

    assert found == (None if due is None else due * DAY)


def test_nobody_is_reminded_of_what_is_followed_by_another_or_was_withdrawn() -> None:
    later = replace(SHOWN, id="cert_2", expires_at=SHOWN.expires_at + DAY)

    assert policy.is_replaced(SHOWN, [SHOWN, later])
    for other in (
        SHOWN,
        replace(later, expires_at=SHOWN.expires_at),
        replace(later, status=Status.SUSPENDED),
        replace(later, environment=Environment.SANDBOX),
    ):
        assert not policy.is_replaced(SHOWN, [SHOWN, other])
    assert policy.is_over_otherwise(replace(SHOWN, status=Status.INVALID, cause=Cause.WITHDRAWN))
    assert not policy.is_over_otherwise(replace(SHOWN, status=Status.INVALID, cause=Cause.EXPIRED))
    assert not policy.is_over_otherwise(SHOWN)
