"""When an agreement or a family of tokens is proposed for removal (C219)."""

from datetime import timedelta

import pytest

from hilum.authorization.consent.models import UNUSED_AFTER
from hilum.authorization.consent.policy import is_unused
from tests.sim.world import START

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("used", "ends", "unused"),
    [
        (UNUSED_AFTER, SECOND, True),
        (UNUSED_AFTER - SECOND, SECOND, False),
        # What has ended needs no removal.
        (UNUSED_AFTER, timedelta(0), False),
    ],
)
def test_what_is_in_force_and_unused_for_90_days_is_proposed_for_removal(
    used: timedelta, ends: timedelta, unused: bool
) -> None:
    assert is_unused(START - used, START + ends, START) is unused
