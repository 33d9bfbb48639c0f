"""How the calls of apps ended, for those who answer for them (C20, C228)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.store import apps
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.audit.models import Outcome
from tests.flows.use_ground import Ground
from tests.flows.vendor_ground import join
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    made = Ground(sqlite_uow, clock)
    refused: dict[str, Any] = {"outcome": Outcome.REFUSED, "reason": "scope_insufficient", "status": 403}
    made.use("general", "general", "children", latency_us=60_000)
    made.use("general", days_ago=3, **refused)
    return made


def service(ground: Ground, who: str, **query: Any) -> Any:
    return ground.site.api(who).get(f"/apps/{ground.app}/service", params=query)


def test_the_staff_see_how_calls_ended_by_day_and_hospital(ground: Ground) -> None:
    """C228."""
    found = service(ground, "rita").json()

    assert (found["days"], found["tenant"]) == (7, "")
    total = {
        "calls": 4,
        "answered": 3,
        "refused": 1,
        "mistaken": 0,
        "throttled": 0,
        "failed": 0,
        "within_ms": 100,
    }
    assert found["total"] == total
    assert [(each["tenant"], each["calls"]) for each in found["by_tenant"]] == [
        ("general", 3),
        ("children", 1),
    ]
    days = [(ground.clock.now() - timedelta(days=ago)).date().isoformat() for ago in (3, 1)]
    assert [(each["day"], each["calls"], each["refused"]) for each in found["by_day"]] == [
        (days[0], 1, 1),
        (days[1], 3, 0),
    ]
    assert service(ground, "rita", days=2, tenant="children").json()["total"]["calls"] == 1


def test_a_hospital_sees_its_own_calls_only(ground: Ground) -> None:
    found = service(ground, "gina").json()

    assert (found["tenant"], found["total"]["calls"]) == ("general", 3)
    assert [each["tenant"] for each in found["by_tenant"]] == ["general"]
    assert service(ground, "gina", tenant="children").status_code == 404


@pytest.mark.parametrize("query", [{"days": 0}, {"days": 91}, {"tenant": "nowhere!"}, {"hours": 1}])
def test_what_is_asked_for_must_be_within_its_bounds(ground: Ground, query: dict[str, Any]) -> None:
    assert service(ground, "rita", **query).status_code == 422


def test_a_vendor_sees_no_day_of_the_vendor_before(ground: Ground) -> None:
    """C14, C228: nor the day on which it took the app over, which is partly the former one's."""
    vendor = ground.site.system(registry.get_app, app_id=ground.app).vendor
    join(ground.site, vendor, "v.dev", "developer")
    assert service(ground, "v.dev").json()["total"]["calls"] == 4
    taken = apps.update().values(owner_since=ground.clock.now() - timedelta(days=1))

    ground.site.system(lambda ctx: ctx.tx.execute(taken) and None)

    assert service(ground, "v.dev").json()["total"]["calls"] == 0
    assert service(ground, "rita").json()["total"]["calls"] == 4
