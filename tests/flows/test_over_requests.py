"""What vendors ask for and are granted too much (K5)."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.records.audit import live as journals
from hilum.review.recertification.service import Use
from tests.flows.certified_app import Certified
from tests.flows.contract_ground import place_of
from tests.flows.control_site import problem
from tests.flows.journal_ground import access
from tests.flows.review_ground import SCOPES, Ground, signs
from tests.flows.review_world import World, decide, in_order, submitted
from tests.flows.vendor_ground import made

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ground(world: World) -> Ground:
    found = in_order(world)
    signs(found.site, "rita", "technical")
    return found


def figures(ground: Ground, who: str = "rita", days: int = 90) -> Any:
    return made(ground.site.api(who).get("/revalidation/figures", params={"days": days}), 200)


def tiers(ground: Ground, days: int = 90) -> dict[str, tuple[int, ...]]:
    found = figures(ground, days=days)["over_requests"]["tiers"]
    names = ("submissions", "beyond", "granted", "unused")
    return {each["tier"]: tuple(each[name] for name in names) for each in found}


def test_what_is_asked_for_beyond_the_workflows_and_granted_unused_is_counted(
    ground: Ground, world: World
) -> None:
    """K5: of the first checks, whatever becomes of it; and of the scopes that a hospital gave for ninety days."""
    sent = submitted(ground, world)
    ends = (world.clock.now() + 300 * DAY).isoformat()
    made(decide(ground, sent, expires_at=ends), 200)
    install = {"tenant": "mercy", "app": ground.app, "roles": ["patient"], "scopes": ["user/Slot.rs"]}
    made(ground.site.api("mary").post("/installations", json=install))
    assert tiers(ground) == {"low": (1, 0, 0, 0)}
    world.clock.advance(80 * DAY)
    place = place_of(ground)
    read = {
        "app": ground.app,
        "client": ground.client,
        "rule": "user/Slot.rs",
        "resource_type": "Slot",
        "tenant": "mercy",
    }
    place.write(access(1, at=world.clock.now(), **read, interaction="read"))
    journals.count_decisions(place.directory, place.url, world.clock.now())
    use = Use(lambda *_: (), used=partial(journals.read_used, place.directory, place.url))
    certified = Certified(world, ground, "", use)
    certified.keep_proofs()
    certified.night()
    assert tiers(ground) == {"low": (1, 0, 2, 0)}, "not there for long enough"
    world.clock.advance(30 * DAY)
    certified.night()
    assert tiers(ground) == {"low": (0, 0, 2, 1)}, "and submitted longer ago than the period"
    assert figures(ground)["over_requests"]["apps"] == [ground.app]

    wide = [*SCOPES, {"scope": "user/Task.r", "justification": "Shows tasks."}]
    added = {"label": "2", "workflows": ["appointments"], "placements": ["sidebar"]}
    path = f"/apps/{ground.app}/versions"
    version = made(ground.site.api("acme.developer").post(path, json=added))["id"]
    other = replace(ground, version=version)
    beyond = str(made(other.submit(scopes=wide))["id"])
    assert world.check()
    counted = figures(ground)["over_requests"]
    assert (counted["rows"], sum(each["beyond"] for each in counted["tiers"])) == ([beyond], 1)
    problem(ground.site.api("acme.owner").get("/revalidation/figures"), 403, "not_permitted")
