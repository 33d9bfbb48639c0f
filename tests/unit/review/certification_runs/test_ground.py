"""Where a certification run was made, as it is signed and as people read it (C126)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.foundation.kernel.ids import AppId, ClientId, RunId, TenantId, VendorId, VersionId
from hilum.review.certification_runs import policy
from hilum.review.certification_runs.models import Ground, Records, Run, RunGround
from hilum.surfaces.console.parts import run_words
from tests.sim.world import START

RUN = Run(
    RunId("run_1"), AppId("app_1"), VendorId("ven_1"), VersionId("ver_1"), "1", ClientId("cli_1"), TenantId("own-1"),
    1, "low", {"launch": "A launch"}, "member:per_1", START, START + timedelta(hours=4),
)  # fmt: skip
OWN = Ground(own=True, reset_at=START - timedelta(days=1), changed=3)
AT_END = replace(OWN, changed=5)
RESET_AGAIN = replace(OWN, reset_at=START + timedelta(minutes=1), changed=0)


def opened(ground: Ground) -> Run:
    return replace(RUN, ground=policy.written_ground(ground))


def judged(before: Ground, after: Ground) -> Run:
    """Nothing of the row counts once a result was signed."""
    result = policy.result_of(opened(before), Records(()), START, after)
    return replace(RUN, result=result, ground=policy.written_ground(Ground(own=False)))


@pytest.mark.parametrize(
    ("run", "found", "words"),
    [
        (RUN, RunGround(None), "is not known"),
        (opened(Ground(own=False)), RunGround(own=False), "shared by all vendors"),
        (opened(OWN), RunGround(own=True, reset_at=OWN.reset_at, changed_before=3), "3 of its records were changed between"),
        (opened(replace(OWN, changed=0)), RunGround(own=True, reset_at=OWN.reset_at, changed_before=0), "None of its records was"),
        (opened(replace(OWN, changed=None)), RunGround(own=True, reset_at=OWN.reset_at), "not known how many"),
        (judged(OWN, AT_END), RunGround(True, OWN.reset_at, 3, 5), "5 of its records were changed by the end"),
        (judged(OWN, RESET_AGAIN), RunGround(True, OWN.reset_at, 3, 0, reset_meanwhile=True), "reset again while"),
        (judged(Ground(own=False), Ground(own=False)), RunGround(own=False), "shared by all vendors"),
        (judged(Ground(), Ground(own=False)), RunGround(None), "is not known"),
        (judged(Ground(own=False), AT_END), RunGround(True, changed_at_end=5, reset_meanwhile=True), "snapshot of the vendor's own"),
        (replace(opened(Ground(own=False)), result={"state": "passed"}), RunGround(None), "is not known"),
    ],
    ids=["before", "shared", "own", "unchanged", "unreadable", "judged", "reset", "judged shared", "judged before", "row changed", "of a release before"],
)  # fmt: skip
def test_where_a_run_was_made_is_what_was_signed(run: Run, found: RunGround, words: str) -> None:
    assert policy.ground_of(run) == found
    assert words in run_words.ground(run)[1]
