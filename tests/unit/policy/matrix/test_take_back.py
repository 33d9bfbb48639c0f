"""An author takes back alone what they put in force alone, within an hour (ADR 43)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.policy.matrix.models import TAKE_BACK_WITHIN, Application
from hilum.policy.matrix.rollout import take_back
from tests.sim.world import START

ROOT = Actor(ActorKind.STAFF, "per_1", roles=frozenset({"platform_admin"}))
GENERAL, CLINIC = TenantId("general"), TenantId("clinic")
FIRST = Application(1, 1, "d", (), "", "staff:per_9", START, "", agreed_by="staff:per_8")
MINE = Application(2, 2, "d", (), "", "staff:per_1", START, "")
HERE = replace(MINE, tenants=(GENERAL,))
HELD = replace(FIRST, number=2, version=3, tenants=(CLINIC,))
LAST = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("applications", "version", "tenants"),
    [
        ([FIRST, MINE], 1, ()),
        ([FIRST, HERE], 1, (GENERAL,)),
        ([FIRST, HELD, replace(HERE, number=3)], 1, (GENERAL,)),
        ([FIRST, HELD, replace(HERE, number=3, tenants=(CLINIC,))], 3, (CLINIC,)),
        ([FIRST, HELD, replace(FIRST, number=3, version=4), replace(MINE, number=4)], 4, ()),
    ],
)
def test_the_version_before_comes_back_where_it_was(
    applications: list[Application], version: int, tenants: tuple[TenantId, ...]
) -> None:
    found = take_back(applications, ROOT, START + TAKE_BACK_WITHIN - LAST)

    assert found is not None
    assert found[:3] == (version, frozenset(tenants), applications[-1].number)


@pytest.mark.parametrize(
    ("applications", "actor", "after"),
    [
        pytest.param([], ROOT, LAST, id="nothing in force"),
        pytest.param([MINE], ROOT, LAST, id="what was before is not known"),
        pytest.param([HELD, replace(HERE, number=3)], ROOT, LAST, id="nor what was everywhere"),
        pytest.param([FIRST, MINE], ROOT, TAKE_BACK_WITHIN, id="an hour is over"),
        pytest.param([FIRST, MINE], ROOT, -LAST, id="another clock is ahead"),
        pytest.param([FIRST, MINE], replace(ROOT, id="per_2"), LAST, id="another author"),
        pytest.param([FIRST, MINE], Actor(ActorKind.HOST, "root"), LAST, id="the host"),
        pytest.param(
            [FIRST, replace(MINE, applied_by="system:")], Actor(ActorKind.SYSTEM, ""), LAST, id="system"
        ),
        pytest.param(
            [FIRST, replace(MINE, agreed_by="staff:per_3")], ROOT, LAST, id="two people: it allowed something"
        ),
        pytest.param([FIRST, MINE, replace(HELD, number=3)], ROOT, LAST, id="something came between"),
        pytest.param([FIRST, HELD, replace(MINE, number=3)], ROOT, LAST, id="two versions were before"),
        pytest.param(
            [FIRST, HELD, replace(HERE, number=3, tenants=(CLINIC, GENERAL))],
            ROOT,
            LAST,
            id="one at each of two",
        ),
    ],
)
def test_everything_else_takes_two_people(
    applications: list[Application], actor: Actor, after: timedelta
) -> None:
    assert take_back(applications, actor, START + after) is None
