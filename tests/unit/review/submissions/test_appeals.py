"""Who decides an appeal and until when, and which submissions a person examines (C103, C107, C110)."""

from datetime import timedelta

import pytest

from hilum.policy.matrix.models import Lens
from hilum.review.submissions.models import APPEAL_WITHIN, PERCENT_PARTS, State, TieKind
from hilum.review.submissions.policy import Signer, appeal_bar, draw, is_drawn, may_appeal
from tests.sim.world import START

MOMENT = timedelta(microseconds=1)
RITA = Signer("staff:rita", decides=True, lenses=(Lens.LEGAL,))


@pytest.mark.parametrize(
    ("signer", "acted", "bar"),
    [
        (RITA, False, ""),
        (RITA, True, "acted_before"),
        (Signer("staff:rita", decides=False, lenses=()), False, "not_permitted"),
        (Signer("staff:rita", decides=True, lenses=(), wrote=True), False, "own_submission"),
        (Signer("staff:rita", decides=True, lenses=(), ties=(TieKind.DECLARED,)), False, "tied_to_vendor"),
    ],
)
def test_an_appeal_is_decided_by_somebody_who_has_not_judged_the_submission(
    signer: Signer, *, acted: bool, bar: str
) -> None:
    assert appeal_bar(signer, acted=acted) == bar


@pytest.mark.parametrize(
    ("state", "after", "may"),
    [
        (State.REJECTED, timedelta(0), True),
        (State.REJECTED, APPEAL_WITHIN - MOMENT, True),
        (State.REJECTED, APPEAL_WITHIN, False),
        (State.REJECTED, None, False),
        (State.WITHDRAWN, timedelta(0), False),
        (State.CERTIFIED, timedelta(0), False),
        (State.IN_LENSES, timedelta(0), False),
    ],
)
def test_only_a_rejection_is_appealed_and_only_for_a_time(
    state: State, after: timedelta | None, *, may: bool
) -> None:
    closed_at = None if after is None else START

    assert may_appeal(state, closed_at, START + (after or timedelta(0))) is may


@pytest.mark.parametrize(
    ("number", "percent", "drawn"),
    [
        (0, 0, False),
        (0, 1, True),
        (99, 1, True),
        (100, 1, False),
        (PERCENT_PARTS - 1, 99, False),
        (PERCENT_PARTS - 1, 100, True),
    ],
)
def test_of_a_hundred_submissions_as_many_are_examined_as_the_share_says(
    number: int, percent: int, *, drawn: bool
) -> None:
    assert is_drawn(number, percent) is drawn


def test_what_is_drawn_follows_from_seed_and_content_alone() -> None:
    """C110: anybody draws it again."""
    assert draw("seed", "digest") == draw("seed", "digest")
    assert (
        len({draw("seed", f"digest{n}") for n in range(50)} | {draw(f"s{n}", "digest") for n in range(50)})
        > 90
    )
    assert all(0 <= draw("seed", f"digest{n}") < PERCENT_PARTS for n in range(50))
