"""Evidence is dated, says who reads it and until when it holds; when it expires its check reopens (C104)."""

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from hilum.review.submissions.jobs import keep_time
from tests.flows.certified_app import Certified
from tests.flows.control_site import problem
from tests.flows.policy_ground import put_in_force
from tests.flows.review_ground import Ground, pass_discipline, signs
from tests.flows.review_world import World, checks_of, decide, in_order, results
from tests.flows.vendor_ground import made
from tests.sim.jwks_host import Page

DAY = timedelta(days=1)
ABOUT = ("evidence.attached", "data_flow")
FLOW = b"%PDF of a data flow"


@pytest.fixture
def ground(world: World) -> Ground:
    """An app whose entries of the policy ask for a document of its data flow, and whom a person examines."""
    made_ground = in_order(world)
    entry = "categories.scheduling.entries"
    change: dict[str, Any] = {
        f"{entry}.{tier}.evidence": ["automated_checks", "data_flow"] for tier in ("low", "moderate")
    }

    def build() -> None:
        put_in_force(made_ground.site, change | {f"{entry}.low.review.automatic": False})
        signs(made_ground.site, "rita", "technical")

    made_ground.site.furnished("a data flow is asked for", build)
    return made_ground


def document(ground: Ground, world: World, *, holds: int, visibility: str = "reviewers") -> dict[str, Any]:
    origin = f"https://acme.example:{world.hosts['acme.example'].port}"
    today = world.clock.now().date()
    return {
        "kind": "data_flow",
        "url": world.page(origin, "/flow.pdf", Page(body=FLOW)),
        "sha256": sha256(FLOW).hexdigest(),
        "dated": today.isoformat(),
        "expires": (today + holds * DAY).isoformat(),
        "visibility": visibility,
    }


def sent(ground: Ground, world: World, **of: Any) -> str:
    found = str(made(ground.submit(documents=[document(ground, world, **of)]))["id"])
    assert world.check()
    return found


def test_an_open_submission_whose_evidence_expired_is_checked_again_and_not_certified(
    ground: Ground, world: World
) -> None:
    """C104: once, by itself; until it was, the decision refuses."""
    found = sent(ground, world, holds=3)
    assert results(checks_of(ground, found))[ABOUT] == "passed"
    pass_discipline(ground, found)
    world.clock.advance(3 * DAY)
    keep_time(world.lease())
    assert ground.see(found)["state"] == "in_review", "its last day is not over"

    world.clock.advance(DAY)
    problem(decide(ground, found), 403, "evidence_expired")
    keep_time(world.lease())
    assert ground.see(found)["state"] == "checking"
    assert "expired" in ground.see(found)["history"][-1]["reason"]

    assert world.check()
    assert results(checks_of(ground, found))[ABOUT] == "failed"
    problem(decide(ground, found), 403, "checks_not_passed")
    keep_time(world.lease())
    assert ground.see(found)["state"] == "in_review", "once"


@pytest.mark.parametrize(
    ("visibility", "readers"),
    [("reviewers", {"rita", "acme.developer"}), ("hospitals", {"rita", "acme.developer", "gina"})],
)
def test_documents_are_visible_as_declared_and_an_expired_one_is_a_finding(
    ground: Ground, world: World, visibility: str, readers: set[str]
) -> None:
    """C104, C115."""
    found = sent(ground, world, holds=20, visibility=visibility)
    pass_discipline(ground, found)
    ends = (world.clock.now() + 120 * DAY).isoformat()
    made(decide(ground, found, expires_at=ends), 200)

    for who in ("rita", "acme.developer", "gina"):
        items = made(ground.site.api(who).get(f"/apps/{ground.app}/documents"), 200)["items"]
        assert [each["kind"] for each in items] == ["data_flow"] * (who in readers)
        assert not any(each["expired"] for each in items)
    if visibility != "reviewers":
        return
    origin = f"https://acme.example:{world.hosts['acme.example'].port}"
    certified = Certified(world, ground, origin)
    certified.night()
    assert certified.rules() == [], "what it does not lack is no finding"
    world.clock.advance(20 * DAY)
    certified.night()
    (late,) = [each for each in certified.findings() if each["rule"] == "evidence.attached"]
    assert late["about"] == "data_flow"
    assert late["due_at"]
