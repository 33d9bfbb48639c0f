"""Which rejections can be appealed, and until when (C107)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.review.submissions.models import APPEAL_WITHIN, State, Step, Submission, SubmissionOrder
from hilum.review.submissions.policy import appeal_bar
from tests.sim.world import START

MOMENT = timedelta(microseconds=1)
REJECTED = Submission(
    "sub_1", AppId("app_1"), VendorId("ven_1"), VersionId("ver_1"), "1", Environment.PRODUCTION, SubmissionOrder(),
    "member:per_1", START, START, State.REJECTED, closed_at=START,
)  # fmt: skip
REJECTION = Step("sub_1", 5, State.IN_REVIEW, State.REJECTED, "staff:rita", START, "It is not.")
APPEAL = Step("sub_1", 6, State.REJECTED, State.IN_REVIEW, "member:per_1", START, "It is.")


@pytest.mark.parametrize(
    ("state", "steps", "after", "bar"),
    [
        (State.REJECTED, [REJECTION], timedelta(0), ""),
        (State.REJECTED, [REJECTION], APPEAL_WITHIN - MOMENT, ""),
        (State.REJECTED, [REJECTION], APPEAL_WITHIN, "appeal_late"),
        (State.REJECTED, [REJECTION, APPEAL, replace(REJECTION, number=7)], timedelta(0), "appeal_made"),
        (State.WITHDRAWN, [], timedelta(0), "not_rejected"),
        (State.CERTIFIED, [], timedelta(0), "not_rejected"),
        (State.IN_REVIEW, [], timedelta(0), "not_rejected"),
    ],
)
def test_only_a_rejection_is_appealed_once_and_only_for_a_time(
    state: State, steps: list[Step], after: timedelta, bar: str
) -> None:
    assert appeal_bar(replace(REJECTED, state=state), steps, START + after) == bar
