"""When a mandate's end is announced (C17)."""

from datetime import timedelta

import pytest

from hilum.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId
from hilum.mandates.models import Mandate
from hilum.mandates.policy import reminder_due
from tests.sim.world import START

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "left", "due"),
    [
        (100, 31, None),
        (100, 30, 30),
        (100, 8, 30),
        (100, 7, 7),
        (100, 0, None),
        (100, -1, None),
        (20, 19, None),
        (20, 7, 7),
        (7, 6, None),
    ],
)
def test_a_reminder_is_due_once_its_time_has_come_and_not_from_the_beginning(
    days: int, left: int, due: int | None
) -> None:
    mandate = Mandate(
        "mnd_1",
        TenantId("north"),
        ClientId("cli_1"),
        AppId("app_1"),
        VendorId("ven_1"),
        purpose="Reports",
        population="All",
        schedule="Nightly",
        approver=PersonId("per_1"),
        asked_by=PersonId("per_2"),
        asked_at=START,
        agreed_at=START,
        ends_at=START + days * DAY,
    )

    found = reminder_due(mandate, START + (days - left) * DAY)

    assert found == (None if due is None else due * DAY)
