"""Which hospitals have a version before it is everywhere, and what is said of them (C218, ADR 43)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from hilum.policy.matrix.first_hospitals import Refusals
from hilum.policy.matrix.models import Application
from hilum.policy.matrix.rollout import first_at
from hilum.records.audit.models import Traffic
from tests.sim.world import START

MERCY, CLINIC = TenantId("mercy"), TenantId("clinic")
LATER = START + timedelta(hours=1)
EVERYWHERE = Application(1, 1, "d", (), "", "staff:a", START, "")
AT_MERCY = Application(2, 2, "d", (MERCY,), "", "staff:a", START, "")
AT_BOTH = replace(AT_MERCY, number=3, tenants=(MERCY, CLINIC), applied_at=LATER)
BACK = replace(AT_MERCY, number=3, version=1, applied_at=LATER)
REAL = Tenant(MERCY, "Mercy", UpstreamRef(UpstreamKind.EMBEDDED))
SYNTHETIC = replace(REAL, sandbox=True)
OTHER = replace(REAL, id=CLINIC, name="Clinic")


@pytest.mark.parametrize(
    ("applications", "tenants", "expected"),
    [
        ([EVERYWHERE], [REAL, OTHER], {}),
        ([EVERYWHERE, AT_MERCY], [REAL, OTHER], {MERCY: START}),
        ([EVERYWHERE, AT_MERCY, AT_BOTH], [REAL, OTHER], {MERCY: START, CLINIC: LATER}),
        ([EVERYWHERE, AT_MERCY, BACK], [REAL, OTHER], {}),
        ([EVERYWHERE, AT_MERCY, BACK, replace(AT_BOTH, number=4)], [REAL], {MERCY: LATER}),
        ([EVERYWHERE, replace(AT_MERCY, version=3)], [REAL], {}),
        ([EVERYWHERE, AT_MERCY], [replace(REAL, active=False), OTHER], {}),
        ([EVERYWHERE, AT_MERCY], [SYNTHETIC, OTHER], {}),
        ([EVERYWHERE, AT_MERCY], [SYNTHETIC, replace(OTHER, sandbox=True)], {MERCY: START}),
        ([EVERYWHERE, AT_MERCY], [SYNTHETIC, replace(OTHER, active=False)], {}),
        ([EVERYWHERE, AT_MERCY], [OTHER], {}),
    ],
)
def test_open_hospitals_that_have_it_come_first_and_synthetic_ones_only_among_themselves(
    applications: list[Application], tenants: list[Tenant], expected: dict[TenantId, object]
) -> None:
    assert first_at(2, applications, tenants) == expected


def test_nothing_is_said_of_what_was_not_counted() -> None:
    at = {TenantId(name): START for name in "abcde"}

    silent, old = Refusals(at, Traffic(), Traffic()), Refusals(at, None, Traffic(1))

    assert "and 2 more: no decisions since then; no decisions in the 7 days before." in silent.in_words()
    assert "since then, within the last 30 days; what was before is no longer counted." in old.in_words()
