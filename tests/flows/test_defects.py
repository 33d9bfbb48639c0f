"""Defects of certified versions: reported by the vendor, tagged and closed by the staff, and counted for everybody (C127, K2)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewApp, NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import VendorId
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.review.defects import service
from tests.flows.control_site import ControlSite, build, codes, problem
from tests.flows.vendor_ground import certified, furnish_vendor, made
from tests.sim.world import FakeClock

SCOPES = ("launch", "user/Appointment.rs")


class Ground:
    """A version that is certified for production, and two vendors."""

    def __init__(self, site: ControlSite) -> None:
        self.site = site
        site.system(policies.adopt_shipped)
        vendor = VendorId(furnish_vendor(site, "Acme", "acme"))
        furnish_vendor(site, "Rival", "rival")
        order = NewApp(vendor, "Rota", "Plans", "Planning", "scheduling")
        self.app = site.system(registry.add_app, order=order).id
        version = NewVersion("1", workflows=("appointments",), placements=("sidebar",))
        self.version = site.system(registry.add_version, app_id=self.app, order=version).id
        later = NewVersion("2", workflows=("appointments",), placements=("sidebar",))
        self.waiting = site.system(registry.add_version, app_id=self.app, order=later).id
        certified(site, self.version, SCOPES)
        site.clock.advance(timedelta(days=10))

    def report(self, who: str = "acme.developer", **change: Any) -> Any:
        body = {
            "version": self.version,
            "seen_in": "production",
            "severity": "high",
            "summary": "Shows the wrong day.",
            "first_seen_at": self.site.clock.now().isoformat(),
        }
        return self.site.api(who).post("/defects", json=body | change)

    def tag(self, defect: str, who: str = "rita", **body: Any) -> Any:
        return self.site.api(who).post(f"/defects/{defect}/tag", json=body)

    def close(self, defect: str, who: str = "rita") -> Any:
        return self.site.api(who).post(f"/defects/{defect}/close", json={"outcome": "Fixed in 2."})


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return Ground(build(sqlite_uow, clock))


def test_an_escaped_defect_is_closed_only_once_the_sandbox_was_judged(ground: Ground) -> None:
    """C127: yes names a scenario, or proposes one; no says what the sandbox lacks; each step is recorded with its actor."""
    known, unknown, lacking = (made(ground.report())["id"] for _ in range(3))
    problem(ground.close(known), 409, "defect_untagged")
    named = made(ground.tag(known, scenario="token_expired"), 200)
    assert (named["proposed"], named["reproducible"]) == (False, True)
    proposed = made(ground.tag(unknown, scenario="two_time_zones"), 200)
    assert proposed["proposed"] is True
    wrong = problem(ground.tag(lacking), 422, "tag_invalid")
    assert codes(wrong) == {"scenario": "missing", "gap": "missing"}
    made(ground.tag(lacking, gap="The sandbox has one time zone."), 200)
    for each in (known, unknown, lacking):
        assert made(ground.close(each), 200)["outcome"] == "Fixed in 2."
    problem(ground.close(known), 409, "defect_closed")
    problem(ground.tag(known, gap="x"), 409, "defect_closed")
    query = EventQuery(action="defects.defect.tag", limit=10)
    events = ground.site.system(audit.list_events, query=query).events
    assert {each.actor for each in events} == {f"staff:{ground.site.people['rita'].id}"}
    assert "time zone" not in str([each.event.facts for each in events]), (
        "what was written stays in the record"
    )


def test_the_figure_counts_what_is_on_record_and_names_no_app(ground: Ground) -> None:
    """K2: of four defects of a version that went live two escaped, and one of two that are tagged was reproducible; anybody reads it."""
    for seen in ("sandbox", "review"):
        made(ground.report(seen_in=seen))
    made(ground.report(seen_in="review", version=ground.waiting))
    first, second = (made(ground.report())["id"] for _ in range(2))
    made(ground.tag(first, scenario="token_expired"), 200)
    made(ground.tag(second, gap="x"), 200)

    found = made(ground.site.api().get("/defect-figures"), 200)

    assert {name: found[name] for name in found if name != "made_at"} == {
        "escaped": 2,
        "all": 4,
        "share": 0.5,
        "tagged": 2,
        "reproducible": 1,
        "reproducible_share": 0.5,
    }
    assert ground.app not in str(found)


def test_nobody_reports_of_another_vendor_and_no_vendor_judges_itself(ground: Ground) -> None:
    """C127: another vendor's defect is not there; a vendor neither tags nor closes; what cannot be is refused."""
    mine = made(ground.report())["id"]
    problem(ground.report("rival.developer"), 404, "version_not_found")
    assert ground.report("acme.billing").status_code == 403
    assert ground.report("gina").status_code == 403
    for answer in (ground.site.api("rival.owner").get(f"/defects/{mine}"),):
        problem(answer, 404, "defect_not_found")
    assert made(ground.site.api("rival.owner").get("/defects"), 200)["items"] == []
    assert [each["id"] for each in made(ground.site.api("acme.billing").get("/defects"), 200)["items"]] == [
        mine
    ]
    for who in ("acme.owner", "ann"):
        assert ground.tag(mine, who, scenario="token_expired").status_code == 403, who
        assert ground.close(mine, who).status_code == 403, who
    early = (ground.site.clock.now() - timedelta(days=20)).isoformat()
    for change, fields in (
        ({"version": ground.waiting}, {"seen_in": "version_not_live"}),
        ({"first_seen_at": early}, {"first_seen_at": "before_live"}),
        ({"summary": " "}, {"summary": "missing"}),
    ):
        assert codes(problem(ground.report(**change), 422, "defect_invalid")) == fields


def test_a_vendor_has_only_so_many_open(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """K2: no vendor fills the public figure with reports of its own; the staff still records what is found."""
    monkeypatch.setattr(service, "OPEN_BOUND", 1)
    first = made(ground.report(seen_in="sandbox"))["id"]
    problem(ground.report(seen_in="sandbox"), 503, "too_many_defects")
    made(ground.report("rita", seen_in="review"))
    made(ground.close(first), 200)
    problem(ground.report(), 503, "too_many_defects")
